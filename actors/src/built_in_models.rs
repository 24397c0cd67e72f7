//! Models that are part of the program: they learn as they go, or from each series anew, so no artefact of them is in the
//! store and none is promoted. Here are their papers.
//!
//! Their figures are those of docs/BENCHMARKS.md; a test holds both together.

use crate::market::{self, PARAMS_VERSION};
use crate::{forecasts, secrets};
use models::alert::{Granularity, Metric};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

/// A figure and its value.
pub type Figure = (&'static str, f64);

/// A model that is part of the program, with its papers.
#[derive(Clone, Debug, PartialEq)]
pub struct BuiltIn {
    /// `anomaly`, `figures_together`, `forecast`.
    pub kind: &'static str,
    /// Version of its parameters.
    pub version: u32,
    /// The parameters, an object.
    pub parameters: Value,
    /// SHA-256 of their JSON text without spaces, hexadecimal.
    pub parameters_sha256: String,
    /// What they were chosen and calibrated on.
    pub calibrated_on: &'static str,
    /// What it reaches on public data.
    pub figures: &'static [Figure],
    /// The model card, Markdown.
    pub card: String,
}

/// What is said of a model beside its parameters.
struct Told {
    predicts: &'static str,
    /// What becomes of what it says.
    is_for: &'static str,
    /// What it must not be taken for.
    not_for: &'static str,
    /// Of whom its numbers are.
    of_whom: &'static str,
    calibrated_on: &'static str,
    limits: &'static str,
    figures: &'static [Figure],
}

const ANOMALY: Told = Told {
    predicts: "how unusual each hour and day of an operator's figures is, and what was to be expected of it",
    calibrated_on: "numbers: 22 development series of the Numenta Anomaly Benchmark; rate of alerts: four kinds of noise, 200,000 points each",
    is_for: "the rule `series_unusual` raises an alert of high scores, and staff looks at the operator's figures",
    not_for: "a silent feed (`feed_silent`), sums that do not fit what was declared, or the proof of a fault: a holiday is unusual, too",
    of_whom: "sums of all players of an operator: no person is scored, and where few play a few of them make a figure unusual",
    limits: "it learns as it goes and says nothing of the first 200 hours or 28 days of a series; the figures are those of `mlinzi model anomaly` with its defaults, which hours have here, too, but on roots of the figures; days have parameters of their own, which nobody has scored there",
    figures: &[("nab_dev_standard", 76.4), ("nab_dev_low_fp", 68.3), ("nab_dev_low_fn", 81.2)],
};

const TOGETHER: Told = Told {
    predicts: "whether count, stakes, payouts and players of an hour fit each other",
    calibrated_on: "rate of alerts: the noise of the model `anomaly`; checked on two simulated quiet months",
    is_for: "the rule `series_unusual` raises an alert where figures that are ordinary each do not fit",
    not_for: "figures that are unusual by themselves: `anomaly` speaks of those",
    of_whom: "sums of all players of an operator: no person is scored",
    limits: "it learns from the newest 1,008 hours and says nothing in the first 567; nothing public scores it here",
    figures: &[],
};

const FORECAST: Told = Told {
    predicts: "revenue and volume of the days ahead, with an interval that holds 80 % of them",
    calibrated_on: "methods: development parts of M3, Tourism and New York; weights and widths are learnt from each input anew",
    is_for: "staff that asks for an operator's days to come: worked out when somebody asks",
    not_for: "alerts: no rule hears it; nor what ought to be declared or remitted",
    of_whom: "sums of all players of an operator: no person is forecast",
    limits: "methods are weighed by earlier origins of the series that it is given: a short one has few",
    figures: &[
        ("forecast_m3_smape", 13.36),
        ("forecast_m3_mase", 0.83),
        ("forecast_m3_coverage", 0.803),
        ("forecast_tourism_mase", 1.433),
        ("forecast_tourism_coverage", 0.843),
        ("forecast_ny_mase", 0.809),
        ("forecast_ny_coverage", 0.821),
    ],
};

impl BuiltIn {
    fn new(kind: &'static str, version: u32, parameters: Value, told: &Told) -> Self {
        let parameters_sha256 = secrets::hex(digest(&SHA256, parameters.to_string().as_bytes()).as_ref());
        let Told { predicts, is_for, not_for, of_whom, calibrated_on, limits, figures } = *told;
        let mut card = format!(
            "# Model card: {kind}, version {version}\n\nBuilt in: there is no artefact, and nothing to promote.\n\n\
             - It says {predicts}.\n- Intended use: {is_for}.\n- Out of scope: {not_for}.\n- Of whom: {of_whom}.\n\
             - Calibrated on {calibrated_on}.\n- Limits: {limits}.\n- Parameters: `{parameters}`\n\
             - SHA-256 of them: `{parameters_sha256}`\n"
        );
        if !figures.is_empty() {
            card.push_str("\nOn public data that was in view while it was made: data that nobody here has seen counts for more.\n");
            card.push_str("\n| figure | measured |\n|---|---|\n");
        }
        figures.iter().for_each(|(name, value)| card.push_str(&format!("| `{name}` | {value} |\n")));
        Self { kind, version, parameters, parameters_sha256, calibrated_on, figures, card }
    }
}

/// All of them, with the parameters that are in force.
#[must_use]
pub fn all() -> Vec<BuiltIn> {
    let of = market::series_params;
    let hours = of(Granularity::Hour, Metric::Count);
    let [days, holds] = [Metric::Count, Metric::Hold].map(|metric| of(Granularity::Day, metric));
    let together = market::together_params();
    let forecast = forecasts::params();
    vec![
        BuiltIn::new(
            "anomaly",
            PARAMS_VERSION,
            json!({"hours": hours, "days": days, "holds_of_days": holds}),
            &ANOMALY,
        ),
        BuiltIn::new("figures_together", PARAMS_VERSION, json!(together), &TOGETHER),
        BuiltIn::new("forecast", forecast.version, json!(forecast), &FORECAST),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_those_of_the_benchmarks() {
        let benchmarks = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/BENCHMARKS.md"));
        let benchmarks = benchmarks.expect("docs/BENCHMARKS.md");
        let rows = [
            ("nab_", "Numenta"),
            ("forecast_m3_", "| M3"),
            ("forecast_tourism_", "| Tourism"),
            ("forecast_ny_", "| New York"),
        ];
        for (name, value) in all().iter().flat_map(|model| model.figures) {
            let (_, row) = rows.iter().find(|(begin, _)| name.starts_with(begin)).expect("a row");
            let line = benchmarks.lines().find(|line| line.starts_with('|') && line.contains(row)).expect("a line");
            let text = value.to_string();
            assert!(line.contains(text.trim_start_matches('0')), "{name} is {text}: {line}");
        }
    }

    #[test]
    fn each_has_papers_of_the_parameters_in_force() {
        let all = all();
        assert_eq!(all.iter().map(|model| model.kind).collect::<Vec<_>>(), ["anomaly", "figures_together", "forecast"]);
        for model in &all {
            let part = ["hours", "density"].iter().find_map(|part| model.parameters.get(part));
            let of = part.unwrap_or(&model.parameters);
            assert_eq!(of["version"], model.version, "{model:?}");
            assert_eq!(model.parameters_sha256.len(), 64);
            let parameters = model.parameters.to_string();
            let told = [parameters.as_str(), model.parameters_sha256.as_str(), model.calibrated_on];
            assert!(told.iter().all(|text| model.card.contains(text)), "{}", model.card);
            let parts = ["- Intended use: ", "- Out of scope: ", "- Of whom: sums of all players", "- Limits: "];
            assert!(parts.iter().all(|part| model.card.contains(part)), "{}", model.card);
            let has_figures = model.card.contains("public data that was in view");
            assert_eq!(has_figures, !model.figures.is_empty(), "{}", model.card);
            // what hears it is a rule, and the forecast is heard by none
            let is_heard = model.card.contains(engine::rules::series_unusual::ABOUT.name);
            assert_eq!(is_heard, model.kind != "forecast", "{}", model.card);
        }
        let rests = ["hours", "days"].map(|windows| &all[0].parameters[windows]["rest_points"]);
        assert_eq!(rests, [160, 14]);
    }
}
