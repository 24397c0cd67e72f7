//! Versions of models in the shadow: who lets one score there, who ends it, and what people made of alerts that the live
//! rule raised meanwhile.

use crate::api::EngineError;
use crate::register::commit_error;
use crate::risk_models::{NoScorer, away, known, named, named_who, scorer_of};
use crate::writer::WriterHandle;
use engine::model_shadow::{name_of_record, rule_of};
use engine::rules::finding::Unit;
use models::alert::{AlertRevision, RevisionKind, Window};
use models::alert_group::Resolution;
use models::event::Event;
use models::ids::OperatorNo;
use models::jurisdiction::JurisdictionNo;
use models::model_shadow::{ModelShadowEnded, ModelShadowStarted, ShadowDayCounted};
use models::risk_model::{ModelKind, ModelState, REASON_CHARS_MAX};
use models::ts::DAY;
use models::who::Who;
use std::collections::{BTreeMap, HashMap};
use store::{Store, StoreError};

/// Groups that are asked for at once.
const GROUPS_AT_ONCE: u32 = 200;
/// Pages of them of an operator.
const PAGES_MAX: u32 = 10;
/// Alerts that are looked at for one answer.
const ALERTS_MAX: usize = 1_000;
/// The longest span that an alert of these rules speaks of: a month.
const WINDOW_MAX: i64 = 31 * DAY;

/// What happens to the shadow of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShadowStep {
    /// It begins.
    Start,
    /// It ends.
    End,
}

/// What is journaled where a person begins or ends the shadow of a version in a jurisdiction. One person is enough: nobody hears of its
/// scores.
///
/// # Errors
/// There is no such version, it scores already, is retired or cannot score here; another one of the kind is in the shadow;
/// or this one is not.
pub async fn step(
    store: &Store,
    jurisdiction: JurisdictionNo,
    (kind, version): (ModelKind, u32),
    step: ShadowStep,
    (by, reason): (&Who, &str),
) -> Result<Event, EngineError> {
    let (Who { name: by, key: by_key }, reason) = (named_who(by)?, named("/reason", reason, REASON_CHARS_MAX)?);
    let stored = known(store, jurisdiction, (kind, version)).await?;
    let place = Some(jurisdiction);
    let conflict = |why: &str| Err(EngineError::Conflict(why.to_owned()));
    if step == ShadowStep::End {
        return match stored.shadow {
            Some(_) => {
                let ended = ModelShadowEnded { kind, version, jurisdiction: place, by, by_key, reason };
                Ok(Event::ModelShadowEnded(ended))
            }
            None => conflict("this version is not in the shadow"),
        };
    }
    match stored.state {
        ModelState::Promoted => return conflict("this version scores already, for all to hear"),
        ModelState::Retired => return conflict("this version is retired"),
        ModelState::Registered | ModelState::Replaced => {}
    }
    if let Some(other) = store.shadow_model(jurisdiction, kind).await.map_err(|error| away(&error))? {
        let other = other.model.version;
        return conflict(&format!("version {other} is in the shadow: one of a kind at a time"));
    }
    scorer_of(store, &stored.model).await.map_err(|error| match error {
        NoScorer::Store(error) => away(&error),
        why => EngineError::Conflict(format!("it cannot score here: {why}")),
    })?;
    Ok(Event::ModelShadowStarted(ModelShadowStarted { kind, version, jurisdiction: place, by, by_key, reason }))
}

/// Begins or ends the shadow of a version, for a tool.
///
/// # Errors
/// As of [`step`].
pub async fn take_step(
    store: &Store,
    writer: &WriterHandle,
    jurisdiction: JurisdictionNo,
    which: (ModelKind, u32),
    of: ShadowStep,
    said: (&Who, &str),
) -> Result<(), EngineError> {
    let event = step(store, jurisdiction, which, of, said).await?;
    writer.commit(vec![event], Vec::new()).await.map(drop).map_err(commit_error)
}

/// Alerts that people resolved alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Alerts of the live rule about records or players that both versions have scored.
    pub alerts: u64,
    /// Of these, those that the version in the shadow had at or above the bound, too.
    pub also: u64,
}

impl Resolved {
    fn add(&mut self, is_had: bool) {
        self.alerts += 1;
        self.also += u64::from(is_had);
    }
}

/// What people made of alerts of the live rule while a version was in the shadow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FoundOut {
    /// Confirmed.
    pub confirmed: Resolved,
    /// False alarms.
    pub false_alarms: Resolved,
    /// There are more than were looked at.
    pub is_cut: bool,
}

/// Did it have what an operator's days name?
type Had<'a> = HashMap<&'a str, bool>;

/// Holds days of a version against what people found out.
///
/// # Errors
/// [`StoreError`]
pub async fn found_out(
    store: &Store,
    kind: ModelKind,
    days: &[ShadowDayCounted],
    span: Window,
) -> Result<FoundOut, StoreError> {
    let rule = rule_of(kind);
    let mut operators: BTreeMap<OperatorNo, Had<'_>> = BTreeMap::new();
    for day in days {
        let had = operators.entry(day.operator_no).or_default();
        day.found.missed.iter().for_each(|name| _ = had.entry(name).or_insert(false));
        // on one day is enough
        day.found.had.iter().for_each(|name| _ = had.insert(name, true));
    }
    let (mut found, mut looked) = (FoundOut::default(), 0);
    for (operator, had) in operators.iter().filter(|(_, had)| !had.is_empty()) {
        for page in 0..PAGES_MAX {
            let at_once = (page * GROUPS_AT_ONCE, GROUPS_AT_ONCE);
            // what ended long before the span is of no interest
            let groups = store.judged_groups((*operator, rule), span.start.plus(-WINDOW_MAX), at_once).await?;
            let is_last = groups.len() < GROUPS_AT_ONCE as usize;
            for group in groups {
                let resolved = match group.resolution {
                    Some(Resolution::Confirmed) => &mut found.confirmed,
                    Some(Resolution::FalseAlarm) => &mut found.false_alarms,
                    _ => continue,
                };
                let newest = Some(group.last_alert).filter(|newest| !group.standing.contains(newest));
                for alert in group.standing.iter().copied().chain(newest) {
                    if looked >= ALERTS_MAX {
                        found.is_cut = true;
                        return Ok(found);
                    }
                    looked += 1;
                    if let Some(is_had) = is_had(&store.alert(alert).await?, had, span) {
                        resolved.add(is_had);
                    }
                }
            }
            if is_last {
                break;
            }
            found.is_cut |= page + 1 == PAGES_MAX;
        }
    }
    Ok(found)
}

/// Did it have what an alert is about? None: the alert is of another time, of something else, or nobody knows.
fn is_had(revisions: &[AlertRevision], had: &Had<'_>, span: Window) -> Option<bool> {
    let spoke = |revision: &&AlertRevision| {
        let is_score = revision.evidence.unit.as_deref() == Some(Unit::Ppm.as_str());
        let overlaps = revision.window.start < span.end && span.start < revision.window.end;
        // of many records at once the operator is named with their number
        revision.kind != RevisionKind::Withdrawn && is_score && overlaps
    };
    let revision = revisions.iter().find(spoke)?;
    let mut records = revision.evidence.records.iter().filter_map(|record| had.get(name_of_record(record).as_str()));
    let player = || revision.subject.who.as_deref()?.strip_prefix("player:").and_then(|player| had.get(player));
    records.next().or_else(player).copied()
}

#[cfg(test)]
#[path = "model_shadows_tests.rs"]
mod tests;
