//! A history as CSV (RFC 4180): a row a day, oldest first. Numbers and words of closed sets: nothing has to be quoted,
//! and no spreadsheet takes a cell for a formula.

use std::fmt::Write as _;

use models::compliance::{ComplianceScored, Component, OPEN};
use ring::digest::{SHA256, digest};

/// The columns before those of the components.
const COLUMNS: &str = "day,revision,score,score_ppm,band,measured_weight,formula,computed_at";

/// The columns behind those of the components: figures that say how much nobody can or did judge.
const FIGURES: [(&str, Component, &str); 4] = [
    ("bets_identified_ppm", Component::LastBetWorst, "bets_identified_ppm"),
    ("alerts_raised", Component::Alerts, "raised"),
    ("alerts_unjudged", Component::Alerts, "unjudged"),
    ("alerts_open", Component::Alerts, OPEN),
];

fn cell(number: Option<i64>) -> String {
    number.map_or(String::new(), |number| number.to_string())
}

/// The history, with a head; a value that was not measured is an empty cell.
pub(super) fn written(history: &[ComplianceScored]) -> String {
    let mut text = COLUMNS.to_owned();
    for component in Component::ALL {
        let name = component.as_str();
        let _ = write!(text, ",{name}_value,{name}_points_ppm");
    }
    for (column, ..) in FIGURES {
        let _ = write!(text, ",{column}");
    }
    text.push_str("\r\n");
    for scored in history {
        let _ = write!(
            text,
            "{},{},{},{},{},{},{},{}",
            scored.day,
            scored.revision,
            cell(scored.score()),
            cell(scored.score_ppm),
            scored.band.map_or("", |band| band.as_str()),
            scored.measured_weight,
            scored.formula,
            scored.at,
        );
        for component in Component::ALL {
            let one = scored.components.iter().find(|one| one.component == *component);
            let (value, points) = (one.and_then(|one| one.value), one.and_then(|one| one.points_ppm));
            let _ = write!(text, ",{},{}", cell(value), cell(points));
        }
        for (_, component, figure) in FIGURES {
            let one = scored.components.iter().find(|one| one.component == component);
            let _ = write!(text, ",{}", cell(one.and_then(|one| one.figures.get(figure).copied())));
        }
        text.push_str("\r\n");
    }
    text
}

/// SHA-256 of the CSV, in hex: whoever has the file can tell that a report is about it.
pub(super) fn sha256(history: &[ComplianceScored]) -> String {
    let hash = digest(&SHA256, written(history).as_bytes());
    hash.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
