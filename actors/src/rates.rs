//! How often a rule has spoken: findings of its versions in spans, and how long operators were watched in them.

use crate::directory::Directory;
use engine::rules::life::{Life, Version};
use models::jurisdiction::JurisdictionNo;
use models::operator::OperatorState;
use models::ts::{HOUR, Ts};
use store::{FindingsOf, Store, StoreError};

/// What a forecast is made of is at least as long, microseconds.
pub(crate) const TRIED_MIN: i64 = HOUR;
/// Spans of a rule that are counted at once at most, the newest ones; a rule has as many versions.
const SPANS_MAX: usize = 256;

/// A version in a span in which it was live, or in the shadow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tried {
    pub version: u32,
    /// `live` or `shadow`.
    pub mode: &'static str,
    pub from: Ts,
    /// No longer part of it.
    pub to: Ts,
}

/// Findings that were raised, and hours of all operators together in which they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Raised {
    pub findings: u64,
    pub operator_hours: u64,
}

/// How long all of them are together, microseconds.
pub(crate) fn micros(tried: &[Tried]) -> i64 {
    tried.iter().map(|span| span.to.0 - span.from.0).sum()
}

/// A version in the shadow, within a span.
pub(crate) fn in_shadow(version: &Version, (from, to): (Ts, Ts)) -> Vec<Tried> {
    let parts = version.shadows.iter().filter_map(|span| span.within(from, to));
    parts.map(|(from, to)| Tried { version: version.number, mode: "shadow", from, to }).collect()
}

fn live_of(life: &Life, version: u32, (from, to): (Ts, Ts)) -> Vec<Tried> {
    let parts = life.live_spans(version).into_iter().filter_map(|span| span.within(from, to));
    parts.map(|(from, to)| Tried { version, mode: "live", from, to }).collect()
}

/// Whatever was live within a span, in its order.
pub(crate) fn live(life: &Life, span: (Ts, Ts)) -> Vec<Tried> {
    let mut all: Vec<Tried> = life.versions().iter().flat_map(|version| live_of(life, version.number, span)).collect();
    all.sort_by_key(|tried| tried.from);
    all
}

/// The version that is live at the end of a span, within it; where that is too short to say much, or none is, whatever was
/// live in it.
pub(crate) fn live_before(life: &Life, span: (Ts, Ts)) -> Vec<Tried> {
    let now = life.live_at(span.1).map_or_else(Vec::new, |version| live_of(life, version.number, span));
    if micros(&now) >= TRIED_MIN { now } else { live(life, span) }
}

/// How often a rule has spoken in spans.
///
/// # Errors
/// [`StoreError`]
pub(crate) async fn raised(
    store: &Store,
    directory: &Directory,
    (jurisdiction, rule): (JurisdictionNo, &str),
    tried: &[Tried],
) -> Result<Raised, StoreError> {
    let tried = &tried[tried.len().saturating_sub(SPANS_MAX)..];
    let of = |span: &Tried| FindingsOf {
        jurisdiction,
        rule: rule.to_owned(),
        version: span.version,
        mode: span.mode,
        from: span.from,
        to: span.to,
    };
    let wanted: Vec<FindingsOf> = tried.iter().map(of).collect();
    let findings = store.rule_hits(&wanted).await?.iter().sum();
    let micros: i64 = tried.iter().map(|span| operator_micros(directory, jurisdiction, (span.from, span.to))).sum();
    Ok(Raised { findings, operator_hours: (micros / HOUR) as u64 })
}

/// How long the operators of a jurisdiction were watched in a span, all together, microseconds.
fn operator_micros(directory: &Directory, jurisdiction: JurisdictionNo, (from, to): (Ts, Ts)) -> i64 {
    let own = directory.operators.values().filter(|operator| operator.jurisdiction == jurisdiction);
    own.filter(|operator| operator.state == OperatorState::Active)
        .map(|operator| (to.0 - operator.registered_at.max(from).0).max(0))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::rule::{RuleAct, RuleChanged};
    use serde_json::json;

    /// A rule of which version 2 was live from 50 hours on, and nothing is from an hour on.
    fn life(off_at: Option<i64>) -> Life {
        let mut life = Life::standard("KE", "structured_deposits").expect("a rule");
        let params = json!({"deposits_min": 4});
        let mut acts = vec![
            (49, RuleAct::Proposed { version: 2, params, effective_from: None, effective_to: None }),
            (50, RuleAct::Promoted { version: 2, from: Ts(50 * HOUR), to: None, forecast: None }),
        ];
        acts.extend(off_at.map(|at| (at, RuleAct::TurnedOff)));
        for (change, (at, act)) in (1..).zip(acts) {
            let changed = RuleChanged {
                jurisdiction: JurisdictionNo(0),
                rule: "structured_deposits".to_owned(),
                change,
                by: None,
                at: Ts(at * HOUR),
                note: "why".to_owned(),
                act,
            };
            life.apply(&changed).expect("it follows");
        }
        life
    }

    #[test]
    fn what_was_live_before_is_the_last_version_where_it_has_lived() {
        // now | when it was turned off | versions and their hours
        for (now, off_at, wanted) in [
            (40, None, vec![(1, 10, 40)]),
            (60, None, vec![(2, 50, 60)]),
            // it has just begun: it says nothing yet
            (50, None, vec![(1, 10, 50)]),
            // what is off has been on
            (60, Some(55), vec![(1, 10, 50), (2, 50, 55)]),
        ] {
            let tried = live_before(&life(off_at), (Ts(10 * HOUR), Ts(now * HOUR)));
            let told: Vec<_> = tried.iter().map(|t| (t.version, t.from.0 / HOUR, t.to.0 / HOUR)).collect();
            assert_eq!(told, wanted, "{now} {off_at:?}");
            assert!(tried.iter().all(|span| span.mode == "live"));
        }
    }
}
