//! The report on paper: the newest score with each component, the history, the formula, lines to sign on.

use engine::compliance::{ABOUT, BANDS, FORMULA, LEAST_WEIGHT, SPAN_DAYS, VERSION};
use models::compliance::{Band, ComplianceScored, Component};

use super::{Report, csv, views};
use crate::report::{Column, ReportError, Sheets, Weight};

const TEXT: f32 = 9.0;

/// In words, for a head.
fn title(component: Component) -> &'static str {
    match component {
        Component::Checks => "Checks before play",
        Component::LastBetWorst => "Last bet after exclusion, worst",
        Component::LastBetMedian => "Last bet after exclusion, median",
        Component::Completeness => "Completeness of feeds",
        Component::Freshness => "Freshness of feeds",
        Component::Quarantine => "Records refused",
        Component::Payments => "Payments late",
        Component::Alerts => "Confirmed alerts",
    }
}

fn column(title: &'static str, width: f32, is_number: bool) -> Column {
    Column { title, width, is_number }
}

/// Points of full marks, in hundredths of a percent.
fn percent(ppm: Option<i64>) -> String {
    ppm.map_or_else(|| "not measured".to_owned(), |ppm| format!("{}.{:02} %", ppm / 10_000, ppm % 10_000 / 100))
}

fn marks(scored: &ComplianceScored) -> String {
    scored.score().map_or_else(|| "not measured".to_owned(), |score| score.to_string())
}

fn band(scored: &ComplianceScored) -> &'static str {
    match scored.band {
        // short enough for a column
        Some(Band::NotEnoughMeasured) => "too little",
        named => named.map_or("-", |band| band.as_str()),
    }
}

pub(super) fn pdf(report: &Report) -> Result<Vec<u8>, ReportError> {
    let digest = csv::sha256(&report.history);
    let name = format!("Compliance of {}", report.operator.name);
    let foot = format!("{} {} to {}, SHA-256 of the history {digest}", report.operator.code, report.from, report.to);
    sheets(report, &digest)?.written(&name, &foot)
}

fn sheets(report: &Report, digest: &str) -> Result<Sheets, ReportError> {
    let Report { operator, jurisdiction, from, to, current, history } = report;
    let mut sheets = Sheets::new()?;
    sheets.text("Compliance report", 18.0, Weight::Bold);
    sheets.text(&operator.name, 13.0, Weight::Bold);
    sheets.skip(4.0);
    sheets.text(
        &format!("Operator {} ({}), jurisdiction {jurisdiction}", operator.code, operator.id),
        TEXT,
        Weight::Regular,
    );
    sheets.text(&format!("Days {from} to {to}, by the jurisdiction's midnight"), TEXT, Weight::Regular);
    sheets.skip(10.0);
    match current {
        Some(scored) => newest(&mut sheets, scored),
        None => sheets.text("No day of the operator was scored yet.", TEXT, Weight::Regular),
    }
    sheets.skip(14.0);
    sheets.text("History", 13.0, Weight::Bold);
    if history.is_empty() {
        sheets.text("No day of the span has a score.", TEXT, Weight::Regular);
    } else {
        days(&mut sheets, history);
    }
    sheets.skip(14.0);
    formula(&mut sheets);
    sheets.skip(14.0);
    let about = "The digest below is that of the history as CSV, as the same request gives it with format=csv.";
    sheets.text(about, TEXT, Weight::Regular);
    sheets.text(&format!("SHA-256 {digest}"), TEXT, Weight::Regular);
    sheets.signatures(&["Prepared by, date", "Reviewed by, date", "For the operator, date"]);
    Ok(sheets)
}

fn newest(sheets: &mut Sheets, scored: &ComplianceScored) {
    let said = match scored.band {
        Some(Band::NotEnoughMeasured) => {
            format!("Too little measured for a band on {} (score {} of 100)", scored.day, marks(scored))
        }
        _ => format!("Score {} of 100 ({}) on {}", marks(scored), band(scored), scored.day),
    };
    sheets.text(&said, 13.0, Weight::Bold);
    let stood = format!(
        "Formula {}, revision {}, worked out at {}; components weighing {} of 100 were measured in the {SPAN_DAYS} days to {}",
        scored.formula, scored.revision, scored.at, scored.measured_weight, scored.day
    );
    sheets.text(&stood, TEXT, Weight::Regular);
    sheets.skip(4.0);
    let columns = [
        column("Component", 2.4, false),
        column("Weight", 0.7, true),
        column("Measured", 1.4, true),
        column("Points", 1.2, true),
        column("Worked out of", 4.3, false),
    ];
    let rows = scored.components.iter().map(|one| {
        let value = one.value.map_or_else(|| "nothing".to_owned(), |value| views::unit(one.component).shown(value));
        let figures: Vec<String> =
            one.figures.iter().map(|(name, figure)| format!("{} {figure}", name.replace('_', " "))).collect();
        vec![
            title(one.component).to_owned(),
            one.weight.to_string(),
            value,
            percent(one.points_ppm),
            figures.join(", "),
        ]
    });
    sheets.table(&columns, &rows.collect::<Vec<_>>());
}

fn days(sheets: &mut Sheets, history: &[ComplianceScored]) {
    let columns = [
        // wide enough for their titles in one line
        column("Day", 1.6, false),
        column("Score", 0.9, true),
        column("Band", 1.15, false),
        column("Measured", 1.4, true),
        column("Checks", 1.1, true),
        column("Worst", 0.95, true),
        column("Median", 1.15, true),
        column("Complete", 1.4, true),
        column("Fresh", 0.95, true),
        column("Refused", 1.25, true),
        column("Paid", 0.9, true),
        column("Alerts", 1.0, true),
        column("Rev.", 0.75, true),
    ];
    let points = |scored: &ComplianceScored, of: Component| {
        let one = scored.components.iter().find(|one| one.component == of).and_then(|one| one.points_ppm);
        one.map_or_else(|| "-".to_owned(), |ppm| format!("{}.{}", ppm / 10_000, ppm % 10_000 / 1_000))
    };
    let rows = history.iter().map(|scored| {
        let mut row = vec![
            scored.day.clone(),
            scored.score().map_or_else(|| "-".to_owned(), |score| score.to_string()),
            band(scored).to_owned(),
            scored.measured_weight.to_string(),
        ];
        row.extend(Component::ALL.iter().map(|of| points(scored, *of)));
        row.push(scored.revision.to_string());
        row
    });
    sheets.text(
        "Points of each component in percent of full marks; - where nothing was measured.",
        TEXT,
        Weight::Regular,
    );
    sheets.table(&columns, &rows.collect::<Vec<_>>());
}

fn formula(sheets: &mut Sheets) {
    sheets.text(&format!("Formula {VERSION}"), 13.0, Weight::Bold);
    sheets.text(FORMULA, TEXT, Weight::Regular);
    let bands: Vec<String> = BANDS.iter().map(|(band, from)| format!("{} from {from}", band.as_str())).collect();
    let bands = format!(
        "Bands: {}; none where less than {LEAST_WEIGHT} of 100 was measured. Span: {SPAN_DAYS} days.",
        bands.join(", ")
    );
    sheets.text(&bands, TEXT, Weight::Regular);
    sheets.skip(4.0);
    let columns = [
        column("Component", 1.7, false),
        column("Weight", 0.95, true),
        column("What is measured", 3.6, false),
        column("Line: value = points", 1.9, false),
        column("Source", 2.6, false),
    ];
    let rows = ABOUT.iter().map(|about| {
        let line: Vec<String> = about
            .line
            .iter()
            .map(|(value, ppm)| format!("{} = {} %", about.unit.shown(*value), ppm / 10_000))
            .collect();
        vec![
            title(about.component).to_owned(),
            about.weight.to_string(),
            about.what.to_owned(),
            line.join("; "),
            about.source.to_owned(),
        ]
    });
    sheets.table(&columns, &rows.collect::<Vec<_>>());
}
