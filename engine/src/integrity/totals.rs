//! What an operator declares about a day, held against what is stored of it.

use super::{Figures, Said, revision};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use models::alert::{AlertRevision, RevisionKind, Severity, Window};
use models::feed::Source;
use models::feed::integrity::{ComparedTotal, Declaration, Total, TotalsCompared};
use models::record::RecordKind;
use models::ts::Ts;
use std::collections::BTreeMap;

/// Name of the rule.
pub const RULE: &str = "declared_totals_differ";
/// Share of the declared amount from which on a difference is urgent, millionths.
const URGENT_PPM: u32 = 10_000;
/// Lines that an alert names.
const LINES_NAMED: usize = 5;

/// What may differ without anybody hearing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// Difference of a sum, as a share of what was declared, millionths.
    pub amount_ppm: u32,
    /// Difference of a count.
    pub count: u32,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { amount_ppm: 1_000, count: 0 }
    }
}

/// Is a sum further from the declared one than this share of it?
fn is_beyond(declared: i64, stored: i64, ppm: u32) -> bool {
    let difference = (i128::from(stored) - i128::from(declared)).unsigned_abs();
    difference * 1_000_000 > u128::from(declared.unsigned_abs()) * u128::from(ppm)
}

/// Does a line differ? One that was not declared says nothing.
#[must_use]
pub fn differs(line: &ComparedTotal, tolerance: Tolerance) -> bool {
    line.declared.is_some_and(|declared| {
        declared.count.abs_diff(line.stored.count) > u64::from(tolerance.count)
            || is_beyond(declared.amount_minor, line.stored.amount_minor, tolerance.amount_ppm)
    })
}

/// What is stored of a day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Kind by kind.
    pub totals: BTreeMap<RecordKind, Total>,
    /// Number of the newest batch in it.
    pub through: i64,
}

/// Holds a declaration against what is stored, with what was found before.
#[must_use]
pub fn compare(
    declaration: &Declaration,
    stored: &Stored,
    before: Option<&TotalsCompared>,
    tolerance: Tolerance,
    now: Ts,
) -> TotalsCompared {
    let declared: BTreeMap<RecordKind, Total> = declaration
        .totals
        .iter()
        .map(|total| (total.kind, Total { count: total.count, amount_minor: total.amount_minor }))
        .collect();
    let mut kinds: Vec<RecordKind> = declared.keys().chain(stored.totals.keys()).copied().collect();
    kinds.sort_unstable();
    kinds.dedup();
    let line = |kind: RecordKind| ComparedTotal {
        kind,
        declared: declared.get(&kind).copied(),
        stored: stored.totals.get(&kind).copied().unwrap_or_default(),
    };
    let lines: Vec<ComparedTotal> = kinds.into_iter().map(line).collect();
    let is_off = lines.iter().any(|line| differs(line, tolerance));
    let (was_off, turns) = before.map_or((false, 0), |before| (before.differs, before.turns));
    TotalsCompared {
        source_no: declaration.source_no,
        day: declaration.day.clone(),
        from: declaration.from,
        to: declaration.to,
        version: declaration.version,
        status: declaration.status,
        through: stored.through,
        at: now,
        differs: is_off,
        turns: turns + i64::from(is_off != was_off),
        lines,
    }
}

/// What has to be said of a day, where it turned from agreeing to differing or back.
#[must_use]
pub fn alert(
    source: &Source,
    operator_code: &str,
    compared: &TotalsCompared,
    before: Option<&TotalsCompared>,
    tolerance: Tolerance,
) -> Option<AlertRevision> {
    if before.map_or(0, |before| before.turns) == compared.turns {
        return None;
    }
    let off = || compared.lines.iter().filter(|line| differs(line, tolerance));
    let urgent = off().any(|line| {
        line.declared.is_some_and(|d| {
            is_beyond(d.amount_minor, line.stored.amount_minor, URGENT_PPM)
                || is_beyond(d.count, line.stored.count, URGENT_PPM)
        })
    });
    let sum = |amount: fn(&ComparedTotal) -> i64| off().map(amount).fold(0, i64::saturating_add);
    let mut reasons: Vec<String> = off().take(LINES_NAMED).map(|line| in_words(line, &compared.day)).collect();
    let kind = match compared.differs {
        true => RevisionKind::Raised,
        false => {
            reasons = vec![format!("what is stored of {} is what was declared", compared.day)];
            RevisionKind::Withdrawn
        }
    };
    let said = Said {
        kind,
        severity: if urgent { Severity::High } else { Severity::Medium },
        window: Window { start: compared.from, end: compared.to },
        step: compared.turns,
        now: compared.at,
    };
    let figures = Figures {
        observed: sum(|line| line.stored.amount_minor),
        expected: sum(|line| line.declared.unwrap_or_default().amount_minor),
        reasons,
    };
    Some(revision(RULE, source, operator_code, said, figures))
}

/// The first instant of a day and of the next one in a zone; none where the day or the zone is none.
#[must_use]
pub fn day_span(day: &str, time_zone: &str) -> Option<(Ts, Ts)> {
    let zone = TimeZone::get(time_zone).ok()?;
    let date: Date = day.parse().ok().filter(|date: &Date| date.to_string() == day)?;
    let start = |date: Date| {
        let midnight = date.to_zoned(zone.clone()).ok()?;
        Some(Ts(midnight.timestamp().as_microsecond()))
    };
    Some((start(date)?, start(date.tomorrow().ok()?)?))
}

/// The day that an instant lies in, by a zone's midnight.
#[must_use]
pub fn day_of(at: Ts, time_zone: &str) -> Option<String> {
    let zone = TimeZone::get(time_zone).ok()?;
    let instant = Timestamp::from_microsecond(at.0).ok()?;
    Some(instant.to_zoned(zone).date().to_string())
}

/// So many days after a day, or before it.
#[must_use]
pub fn day_after(day: &str, days: i64) -> Option<String> {
    let date: Date = day.parse().ok()?;
    date.checked_add(days.days()).ok().map(|date| date.to_string())
}

fn in_words(line: &ComparedTotal, day: &str) -> String {
    let declared = line.declared.unwrap_or_default();
    format!(
        "{day}, {}: {} records of {} minor units declared, {} of {} stored",
        line.kind.as_str(),
        declared.count,
        declared.amount_minor,
        line.stored.count,
        line.stored.amount_minor
    )
}
