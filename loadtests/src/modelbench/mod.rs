//! `make bench-models`: what rules and models reach, measured by commands. One file a group of figures.

mod data;
mod feeds;
mod intake;
mod odd;
mod planted;
mod quiet;
mod rings;
mod scored;
mod speed;
mod sums;
mod tally;

use crate::report::{Figures, Report, say};
use anyhow::Context;
use std::ops::RangeInclusive;

/// Figures with what takes them.
pub struct Measure {
    /// Names of its figures.
    pub names: &'static [&'static str],
    /// Takes them.
    pub run: fn(&mut Report) -> anyhow::Result<()>,
}

/// All of them, in the order they run.
pub static MEASURES: &[Measure] = &[
    Measure { names: &["anomaly_points_per_s"], run: speed::anomaly },
    Measure { names: &["score_us"], run: speed::live },
    Measure { names: &["fraud_score_us", "fraud_score_us_p50", "fraud_train_s"], run: speed::transaction_risk },
    Measure { names: &["nab_dev_standard", "nab_dev_low_fp", "nab_dev_low_fn"], run: data::nab },
    Measure { names: &["nab_prefix"], run: data::nab_prefix },
    Measure { names: &["fraud_dev0_auc", "fraud_dev0_ap", "fraud_dev0_card_precision"], run: data::fraud },
    Measure { names: &["risk_dev_auc", "risk_dev_calibration_error"], run: data::risk },
    Measure {
        names: &[
            "forecast_m3_smape",
            "forecast_m3_mase",
            "forecast_m3_coverage",
            "forecast_m1_mase",
            "forecast_m1_coverage",
            "forecast_tourism_mase",
            "forecast_tourism_coverage",
            "forecast_ny_mase",
            "forecast_ny_coverage",
        ],
        run: data::forecasts,
    },
    Measure { names: &["planted_recall", "planted_precision"], run: planted::run },
    Measure { names: &["false_alerts_per_operator_day", "drops_and_spikes_seen"], run: quiet::run },
];

/// A number that the environment asks for.
///
/// # Errors
/// It is none of those that may be asked for.
fn asked(name: &str, usual: u64, range: RangeInclusive<u64>) -> anyhow::Result<u64> {
    let Some(asked) = std::env::var_os(name) else { return Ok(usual) };
    let number = asked.to_str().and_then(|text| text.parse().ok()).filter(|number| range.contains(number));
    number.with_context(|| format!("{name}: not from {} to {}", range.start(), range.end()))
}

/// The figures as the table of docs/BENCHMARKS.md.
#[must_use]
pub fn table(figures: &Figures) -> String {
    let known = MEASURES.iter().flat_map(|measure| measure.names).filter_map(|name| Some((name, figures.get(*name)?)));
    let row = |(name, figure): (&&str, &crate::report::Figure)| {
        let value = match figure.value {
            v if v.abs() >= 1_000.0 => format!("{v:.0}"),
            v => format!("{v:.3}"),
        };
        format!("| `{name}` | **{value}** {} | {} | `{}` |\n", figure.unit, figure.reference, figure.command)
    };
    let head = "| figure | measured | against what | command |\n|---|---|---|---|\n".to_owned();
    known.map(row).fold(head, |text, row| text + &row)
}

/// Takes the measures of these names; true where all could be taken.
///
/// # Errors
/// The report cannot be written.
pub fn run(wanted: &[&Measure], report: &mut Report) -> anyhow::Result<bool> {
    let mut all = true;
    for measure in wanted {
        report.forget(measure.names)?;
        let start = std::time::Instant::now();
        if let Err(error) = (measure.run)(report) {
            say(&format!("{}: not measured: {error:#}", measure.names.join(", ")));
            all = false;
        }
        say(&format!("  took {:.1} s", start.elapsed().as_secs_f64()));
    }
    Ok(all)
}
