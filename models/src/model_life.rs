//! What becomes of versions of models in a jurisdiction, told by the acts alone: which scores, which did, and what may be done.
//!
//! An act is of one jurisdiction, where somebody promotes, goes back or retires. A registration and a judgement are of every
//! one, and so is what was done before acts had a jurisdiction (migration 0045): then one version scored for all. What is true
//! in a jurisdiction follows from the acts that count there ([`acts_in`]), in their order; nothing else says it.

use crate::ids::KeyId;
use crate::jurisdiction::JurisdictionNo;
use crate::record::closed_set;
use crate::risk_model::{ModelForecast, ModelState};
use crate::ts::Ts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

closed_set!(
    /// What was done with a version.
    ModelAct {
        Registered = "registered", Promoted = "promoted", RolledBack = "rolled_back", Retired = "retired",
        Evaluated = "evaluated",
    }
);

/// An act in the life of the versions of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelActed {
    /// Of which version: of a way back the one that scores again.
    pub version: u32,
    /// What.
    pub act: ModelAct,
    /// Who.
    pub by: String,
    /// With which key; none where the name was only typed, and of before migration 0043.
    pub by_key: Option<KeyId>,
    /// When.
    pub at: Ts,
    /// Why, where a reason is asked for.
    pub reason: Option<String>,
    /// The version that scored until a promotion or a way back; none where none did.
    pub other: Option<u32>,
    /// Of a promotion: how many alerts were expected.
    pub forecasts: Vec<ModelForecast>,
    /// Where it counts; none: in every one.
    pub jurisdiction: Option<JurisdictionNo>,
}

fn counting(acts: &[ModelActed], place: Option<JurisdictionNo>) -> Vec<ModelActed> {
    let counts = |acted: &&ModelActed| acted.jurisdiction.is_none() || acted.jurisdiction == place;
    acts.iter().filter(counts).cloned().collect()
}

/// The acts that count in a jurisdiction: its own, and those that are of every one.
#[must_use]
pub fn acts_in(acts: &[ModelActed], jurisdiction: JurisdictionNo) -> Vec<ModelActed> {
    counting(acts, Some(jurisdiction))
}

/// What became of a version in a jurisdiction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where it is in its life.
    pub state: ModelState,
    /// Who made it the one that scores last, and when.
    pub promoted: Option<(String, Ts)>,
    /// Who replaced or retired it, and when.
    pub ended: Option<(String, Ts)>,
}

/// What became of a version; `acts` are those of its kind that count in a jurisdiction, in their order.
#[must_use]
pub fn standing(acts: &[ModelActed], version: u32) -> Standing {
    let mut now = Standing { state: ModelState::Registered, promoted: None, ended: None };
    for acted in acts {
        let said = || Some((acted.by.clone(), acted.at));
        match acted.act {
            ModelAct::Promoted | ModelAct::RolledBack if acted.version == version => {
                now = Standing { state: ModelState::Promoted, promoted: said(), ended: None };
            }
            ModelAct::Promoted | ModelAct::RolledBack if now.state == ModelState::Promoted => {
                (now.state, now.ended) = (ModelState::Replaced, said());
            }
            ModelAct::Retired if acted.version == version => {
                (now.state, now.ended) = (ModelState::Retired, said());
            }
            // of another version, or nothing that moves it
            ModelAct::Registered
            | ModelAct::Evaluated
            | ModelAct::Promoted
            | ModelAct::RolledBack
            | ModelAct::Retired => {}
        }
    }
    now
}

/// The version that scores; `acts` are those of a kind that count in a jurisdiction, in their order.
#[must_use]
pub fn scoring(acts: &[ModelActed]) -> Option<u32> {
    scored(acts).last().filter(|span| span.to.is_none()).map(|span| span.version)
}

/// Why a version is not judged on a table of its own any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum NotJudged {
    #[error("this version scores already")]
    Scores,
    #[error("this version is retired")]
    Retired,
}

/// May a version be judged on a table of its own? Its papers are everybody's: not while it scores in a jurisdiction, nor once
/// it is retired in each. `acts` are all of a kind, in their order; `in_use` are the jurisdictions that have operators.
///
/// # Errors
/// [`NotJudged`]
pub fn judgeable(acts: &[ModelActed], in_use: &BTreeSet<JurisdictionNo>, version: u32) -> Result<(), NotJudged> {
    let named = acts.iter().filter_map(|acted| acted.jurisdiction);
    let mut places: BTreeSet<Option<JurisdictionNo>> = named.chain(in_use.iter().copied()).map(Some).collect();
    if places.is_empty() {
        places.insert(None);
    }
    let states: Vec<_> = places.iter().map(|place| standing(&counting(acts, *place), version).state).collect();
    if states.contains(&ModelState::Promoted) {
        return Err(NotJudged::Scores);
    }
    if states.iter().all(|state| *state == ModelState::Retired) {
        return Err(NotJudged::Retired);
    }
    Ok(())
}

/// A span in which a version scored, half-open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scored {
    /// Which.
    pub version: u32,
    /// By a promotion or a way back.
    pub act: ModelAct,
    /// Its first instant.
    pub from: Ts,
    /// First instant after it; none = it scores.
    pub to: Option<Ts>,
}

/// When which version scored; `acts` are those of a kind that count in a jurisdiction, in their order.
#[must_use]
pub fn scored(acts: &[ModelActed]) -> Vec<Scored> {
    let mut spans: Vec<Scored> = Vec::new();
    for ModelActed { version, act, at, .. } in acts {
        let open = spans.last_mut().filter(|span| span.to.is_none());
        match act {
            ModelAct::Registered | ModelAct::Evaluated => {}
            ModelAct::Retired => {
                if let Some(span) = open.filter(|span| span.version == *version) {
                    span.to = Some(*at);
                }
            }
            ModelAct::Promoted | ModelAct::RolledBack => {
                if let Some(span) = open {
                    span.to = Some(*at);
                }
                spans.push(Scored { version: *version, act: *act, from: *at, to: None });
            }
        }
    }
    spans
}

/// Why there is no way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum NoWayBack {
    #[error("no version of this kind scores: promote one")]
    NothingScores,
    #[error("nothing scored before version {0}: retire it, or promote another one")]
    NoneBefore(u32),
    #[error("the version before, {from}, was itself gone back from: promote one, as a second person")]
    WasRolledBack { from: u32 },
    #[error("the version before, {0}, is retired")]
    Retired(u32),
}

/// The version that scores and the one that scored right before it, which may score again; `acts` are those of a kind
/// that count in a jurisdiction, in their order.
///
/// # Errors
/// [`NoWayBack`]
pub fn way_back(acts: &[ModelActed]) -> Result<(u32, u32), NoWayBack> {
    let came = acts.iter().rev().find(|acted| matches!(acted.act, ModelAct::Promoted | ModelAct::RolledBack));
    let is_retired = |version| acts.iter().any(|acted| acted.act == ModelAct::Retired && acted.version == version);
    let came = came.filter(|came| !is_retired(came.version)).ok_or(NoWayBack::NothingScores)?;
    match (came.act, came.other) {
        (_, None) => Err(NoWayBack::NoneBefore(came.version)),
        (ModelAct::RolledBack, Some(from)) => Err(NoWayBack::WasRolledBack { from }),
        (_, Some(before)) if is_retired(before) => Err(NoWayBack::Retired(before)),
        (_, Some(before)) => Ok((came.version, before)),
    }
}

/// The way back by which a version scores again or ended, unless something was done with it since; `acts` are those of its
/// kind that count in a jurisdiction, in their order.
#[must_use]
pub fn rollback_of(acts: &[ModelActed], version: u32) -> Option<&ModelActed> {
    let moved = |acted: &&ModelActed| {
        !matches!(acted.act, ModelAct::Registered | ModelAct::Evaluated)
            && (acted.version == version || acted.other == Some(version))
    };
    acts.iter().rev().find(moved).filter(|acted| acted.act == ModelAct::RolledBack)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Acts<'a> = &'a [(ModelAct, u32, Option<u32>)];

    fn acts(of: Acts<'_>) -> Vec<ModelActed> {
        let acted = |(act, version, other): &(ModelAct, u32, Option<u32>)| ModelActed {
            version: *version,
            act: *act,
            by: "Otieno".to_owned(),
            by_key: None,
            at: Ts(0),
            reason: None,
            other: *other,
            forecasts: Vec::new(),
            jurisdiction: None,
        };
        of.iter().map(acted).collect()
    }

    #[test]
    fn a_way_back_is_told_of_both_versions_until_something_else_happens() {
        use ModelAct::{Promoted, Retired, RolledBack};
        let back = [(Promoted, 1, None), (Promoted, 2, Some(1)), (RolledBack, 1, Some(2))];
        // what followed | of which versions the way back is told
        let table: [(Acts<'_>, &[u32]); 4] = [
            (&[], &[1, 2]),
            (&[(Promoted, 3, Some(1))], &[2]),
            (&[(Promoted, 2, Some(1))], &[]),
            (&[(Retired, 2, None)], &[1]),
        ];
        for (followed, wanted) in table {
            let acts = acts(&[&back[..], followed].concat());
            let told: Vec<u32> = (1..=3).filter(|version| rollback_of(&acts, *version).is_some()).collect();
            assert_eq!(told, wanted, "{followed:?}");
        }
    }

    #[test]
    fn one_version_scores_at_a_time() {
        use ModelAct::{Promoted, Registered, Retired, RolledBack};
        type Spans<'a> = &'a [(u32, ModelAct, i64, Option<i64>)];
        // what was done, one act a microsecond | version, by what, from, to
        let table: [(Acts<'_>, Spans<'_>); 5] = [
            (&[(Registered, 1, None)], &[]),
            (&[(Promoted, 1, None), (Registered, 2, None)], &[(1, Promoted, 0, None)]),
            (&[(Promoted, 1, None), (Promoted, 2, Some(1))], &[(1, Promoted, 0, Some(1)), (2, Promoted, 1, None)]),
            (
                &[(Promoted, 1, None), (Promoted, 2, Some(1)), (RolledBack, 1, Some(2)), (Retired, 2, None)],
                &[(1, Promoted, 0, Some(1)), (2, Promoted, 1, Some(2)), (1, RolledBack, 2, None)],
            ),
            (
                &[(Promoted, 1, None), (Retired, 1, None), (Registered, 2, None), (Promoted, 2, None)],
                &[(1, Promoted, 0, Some(1)), (2, Promoted, 3, None)],
            ),
        ];
        for (of, wanted) in table {
            let mut acts = acts(of);
            (0..).zip(&mut acts).for_each(|(at, acted)| acted.at = Ts(at));
            let spans = scored(&acts);
            let told: Vec<_> = spans.iter().map(|s| (s.version, s.act, s.from.0, s.to.map(|to| to.0))).collect();
            assert_eq!(told, wanted, "{of:?}");
        }
    }

    #[test]
    fn the_way_back_is_one_step() {
        use ModelAct::{Promoted, Registered, Retired, RolledBack};
        type Row<'a> = (Acts<'a>, Result<(u32, u32), NoWayBack>);
        let table: [Row<'_>; 9] = [
            (&[], Err(NoWayBack::NothingScores)),
            (&[(Registered, 1, None)], Err(NoWayBack::NothingScores)),
            (&[(Promoted, 1, None)], Err(NoWayBack::NoneBefore(1))),
            (&[(Promoted, 1, None), (Promoted, 2, Some(1)), (Registered, 3, None)], Ok((2, 1))),
            // not to and fro
            (
                &[(Promoted, 1, None), (Promoted, 2, Some(1)), (RolledBack, 1, Some(2))],
                Err(NoWayBack::WasRolledBack { from: 2 }),
            ),
            (
                &[(Promoted, 1, None), (Promoted, 2, Some(1)), (RolledBack, 1, Some(2)), (Promoted, 3, Some(1))],
                Ok((3, 1)),
            ),
            // seconded once more
            (
                &[(Promoted, 2, Some(1)), (RolledBack, 1, Some(2)), (Promoted, 2, Some(1)), (Promoted, 3, Some(2))],
                Ok((3, 2)),
            ),
            (&[(Promoted, 1, None), (Promoted, 2, Some(1)), (Retired, 1, None)], Err(NoWayBack::Retired(1))),
            (&[(Promoted, 1, None), (Promoted, 2, Some(1)), (Retired, 2, None)], Err(NoWayBack::NothingScores)),
        ];
        for (of, wanted) in table {
            assert_eq!(way_back(&acts(of)), wanted, "{of:?}");
        }
    }

    #[test]
    fn the_state_of_a_version_is_what_was_done_last() {
        use ModelAct::{Evaluated, Promoted, Registered, Retired, RolledBack};
        use ModelState::{Registered as New, Replaced};
        let (scores, ended) = (ModelState::Promoted, ModelState::Retired);
        type Row<'a> = (Acts<'a>, [ModelState; 2], Option<u32>);
        // what was done | what the first and the second version are then | which scores
        let table: [Row<'_>; 8] = [
            (&[], [New, New], None),
            (&[(Registered, 1, None), (Evaluated, 1, None)], [New, New], None),
            (&[(Promoted, 1, None)], [scores, New], Some(1)),
            (&[(Promoted, 1, None), (Promoted, 2, Some(1))], [Replaced, scores], Some(2)),
            (&[(Promoted, 1, None), (Promoted, 2, Some(1)), (RolledBack, 1, Some(2))], [scores, Replaced], Some(1)),
            (&[(Promoted, 1, None), (Promoted, 2, Some(1)), (Retired, 2, None)], [Replaced, ended], None),
            (&[(Promoted, 1, None), (Promoted, 2, Some(1)), (Retired, 1, None)], [ended, scores], Some(2)),
            (&[(Promoted, 1, None), (Retired, 1, None), (Promoted, 2, None)], [ended, scores], Some(2)),
        ];
        for (of, states, version) in table {
            let acts = acts(of);
            assert_eq!([1, 2].map(|version| standing(&acts, version).state), states, "{of:?}");
            assert_eq!(scoring(&acts), version, "{of:?}");
        }
    }

    /// What was done, with which version, in whose place, and where.
    type Placed = (ModelAct, u32, Option<u32>, Option<u8>);

    /// The same, each in a jurisdiction, or in every one.
    fn acts_of(of: &[Placed]) -> Vec<ModelActed> {
        let plain: Vec<_> = of.iter().map(|(act, version, other, _)| (*act, *version, *other)).collect();
        let mut all = acts(&plain);
        for (acted, (.., place)) in all.iter_mut().zip(of) {
            acted.jurisdiction = place.map(JurisdictionNo);
        }
        all
    }

    #[test]
    fn what_was_done_without_a_jurisdiction_counts_in_every_one_and_the_rest_in_its_own() {
        use ModelAct::{Promoted, Retired, RolledBack};
        // what was done, and where | which scores in the first, the second and the third jurisdiction
        let table: [(Vec<Placed>, [Option<u32>; 3]); 5] = [
            (vec![(Promoted, 1, None, None)], [Some(1), Some(1), Some(1)]),
            (vec![(Promoted, 1, None, Some(1))], [None, Some(1), None]),
            (vec![(Promoted, 1, None, None), (Promoted, 2, Some(1), Some(0))], [Some(2), Some(1), Some(1)]),
            (vec![(Promoted, 1, None, None), (Retired, 1, None, Some(2))], [Some(1), Some(1), None]),
            (
                vec![
                    (Promoted, 1, None, None),
                    (Promoted, 2, Some(1), Some(0)),
                    (Promoted, 3, Some(1), Some(1)),
                    (RolledBack, 1, Some(2), Some(0)),
                ],
                [Some(1), Some(3), Some(1)],
            ),
        ];
        for (of, wanted) in table {
            let acts = acts_of(&of);
            let told = [0, 1, 2].map(|no| scoring(&acts_in(&acts, JurisdictionNo(no))));
            assert_eq!(told, wanted, "{of:?}");
        }
        let acts =
            acts_of(&[(Promoted, 1, None, None), (Promoted, 2, Some(1), Some(0)), (Promoted, 3, Some(1), Some(1))]);
        let ways = [0, 1, 2].map(|no| way_back(&acts_in(&acts, JurisdictionNo(no))));
        assert_eq!(ways, [Ok((2, 1)), Ok((3, 1)), Err(NoWayBack::NoneBefore(1))]);
    }

    #[test]
    fn papers_are_open_until_a_version_scores_somewhere_or_is_retired_everywhere() {
        use ModelAct::{Promoted, Registered, Retired};
        // what was done with the first version, and where | which jurisdictions have operators | may it be judged
        type Row<'a> = (&'a [(ModelAct, Option<u8>)], &'a [u8], Result<(), NotJudged>);
        let table: [Row<'_>; 9] = [
            (&[(Registered, None)], &[], Ok(())),
            (&[(Promoted, Some(1))], &[0, 1], Err(NotJudged::Scores)),
            (&[(Promoted, None)], &[], Err(NotJudged::Scores)),
            (&[(Promoted, None), (Retired, Some(0))], &[0, 1], Err(NotJudged::Scores)),
            // nobody is scored where there are no operators
            (&[(Promoted, None), (Retired, Some(0))], &[0], Err(NotJudged::Retired)),
            (&[(Retired, Some(0))], &[0, 1], Ok(())),
            (&[(Retired, Some(0)), (Retired, Some(1))], &[0, 1], Err(NotJudged::Retired)),
            (&[(Retired, None)], &[], Err(NotJudged::Retired)),
            (&[(Retired, Some(0)), (Promoted, Some(1))], &[0, 1], Err(NotJudged::Scores)),
        ];
        for (of, in_use, wanted) in table {
            let rows: Vec<Placed> = of.iter().map(|(act, place)| (*act, 1, None, *place)).collect();
            let in_use = in_use.iter().copied().map(JurisdictionNo).collect();
            assert_eq!(judgeable(&acts_of(&rows), &in_use, 1), wanted, "{of:?}");
        }
    }
}
