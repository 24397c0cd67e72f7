//! What a version in the shadow would have said on days that are over, and what people made of alerts that the live rule
//! raised meanwhile.
//!
//! ```text
//! judged alerts of the span, at most 1,000 ─▶ what they are about
//! days, a hundred at a time ─▶ sums, a page of examples          ─▶ had it what they are about?
//! ```
//! Days of a country name millions of records, and of those only what a judged alert is about matters: so alerts are read
//! first, and of the names of a day nothing else is kept.

use crate::directory::Directory;
use crate::rules::truth::{JudgedAlerts, judged_alerts, score};
use engine::model_shadow::{name_of_record, rule_of};
use engine::shadow_days::{DaysAdder, DaysSum, ExamplesPage, of_days};
use jiff::tz::TimeZone;
use models::alert::{AlertRevision, Window};
use models::ids::OperatorNo;
use models::jurisdiction::JurisdictionNo;
use models::model_shadow::ShadowDayCounted;
use models::risk_model::ModelKind;
use std::collections::HashMap;
use store::{Store, StoreError};

/// Days of operators that are added up for one answer, the newest.
const DAYS_MAX: u32 = 10_000;
/// Days that are in memory with their names: of five hundred records each, about a megabyte.
const DAYS_AT_ONCE: u32 = 100;
/// Alerts that are looked at for one answer.
const ALERTS_MAX: usize = 1_000;

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

/// Days of a version in the shadow.
#[derive(Clone, Debug)]
pub struct ShadowDays {
    /// What they come to.
    pub sum: DaysSum,
    /// What people made of alerts about what they name.
    pub resolved: FoundOut,
    /// There are more days than were added up.
    pub is_cut: bool,
}

/// Which days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaysOf {
    /// At operators of which jurisdiction.
    pub jurisdiction: JurisdictionNo,
    /// Of which version of which kind.
    pub version: (ModelKind, u32),
    /// Days that begin in it.
    pub span: Window,
}

impl DaysOf {
    /// The same days, from the beginning of the first one to the end of the last one: one span, whatever instants of a day
    /// somebody names.
    pub(crate) fn whole(self, directory: &Directory) -> Self {
        let zone = directory.jurisdiction(self.jurisdiction).and_then(|known| TimeZone::get(&known.time_zone).ok());
        Self { span: of_days(self.span, zone.unwrap_or(TimeZone::UTC)), ..self }
    }
}

/// Reads days of a version in the shadow.
///
/// # Errors
/// [`StoreError`]
pub async fn read(
    store: &Store,
    directory: &Directory,
    of: DaysOf,
    page: ExamplesPage,
) -> Result<ShadowDays, StoreError> {
    let mut asked = Asked::read(store, of, of.whole(directory).span).await?;
    let mut adder = DaysAdder::new(page);
    let days = each(store, of, DAYS_MAX, |day| {
        asked.hear(&day);
        adder.add(day);
    });
    let is_cut = days.await? >= DAYS_MAX;
    Ok(ShadowDays { sum: adder.finish(), resolved: asked.found_out(), is_cut })
}

/// Hands over days, the newest first, at most so many; a few of them are in memory at once. Gives how many they were.
pub(crate) async fn each(
    store: &Store,
    of: DaysOf,
    days_max: u32,
    mut hear: impl FnMut(ShadowDayCounted),
) -> Result<u32, StoreError> {
    let DaysOf { jurisdiction, version, span } = of;
    let (mut behind, mut read) = (None, 0);
    while read < days_max {
        let at_once = DAYS_AT_ONCE.min(days_max - read);
        let days = store.model_shadow_days(jurisdiction, version, span, behind, at_once).await?;
        let Some(last) = days.last() else { break };
        behind = Some((last.day, last.operator_no));
        let count = days.len() as u32;
        read += count;
        days.into_iter().for_each(&mut hear);
        if count < at_once {
            break;
        }
    }
    Ok(read)
}

/// A judged alert, and what it is about as days name it: its records, the first one first, then its player.
struct About {
    operator: OperatorNo,
    names: Vec<String>,
    is_confirmed: bool,
}

/// What judged alerts are about, and whether the version had it.
#[derive(Default)]
struct Asked {
    alerts: Vec<About>,
    /// By operator and name: had, missed, or not named by any day so far.
    named: HashMap<OperatorNo, HashMap<String, Option<bool>>>,
    is_cut: bool,
}

impl Asked {
    /// What people have judged of what the live rule said on such days, at the operators that have some.
    async fn read(store: &Store, of: DaysOf, days: Window) -> Result<Self, StoreError> {
        let rule = rule_of(of.version.0);
        let (mut asked, mut left) = (Self::default(), ALERTS_MAX);
        for operator in store.model_shadow_operators(of.jurisdiction, of.version, of.span).await? {
            let JudgedAlerts { alerts, is_cut } = judged_alerts(store, (operator, rule), days, left).await?;
            left -= alerts.len();
            asked.is_cut |= is_cut;
            alerts.iter().for_each(|(spoke, is_confirmed)| asked.ask((operator, *is_confirmed), spoke));
            if is_cut && left == 0 {
                break;
            }
        }
        Ok(asked)
    }

    /// An alert more, where it is of a score.
    fn ask(&mut self, (operator, is_confirmed): (OperatorNo, bool), spoke: &AlertRevision) {
        if score(spoke).is_none() {
            return;
        }
        let mut names: Vec<String> = spoke.evidence.records.iter().map(|record| name_of_record(record)).collect();
        let player = spoke.subject.who.as_deref().and_then(|who| who.strip_prefix("player:"));
        names.extend(player.map(str::to_owned));
        let named = self.named.entry(operator).or_default();
        named.extend(names.iter().map(|name| (name.clone(), None)));
        self.alerts.push(About { operator, names, is_confirmed });
    }

    /// What a day names of it.
    fn hear(&mut self, day: &ShadowDayCounted) {
        let Some(named) = self.named.get_mut(&day.operator_no) else { return };
        for name in &day.found.missed {
            if let Some(had) = named.get_mut(name) {
                _ = had.get_or_insert(false);
            }
        }
        // on one day is enough
        for name in &day.found.had {
            if let Some(had) = named.get_mut(name) {
                *had = Some(true);
            }
        }
    }

    /// An alert counts where days name what it is about.
    fn found_out(self) -> FoundOut {
        let mut found = FoundOut { is_cut: self.is_cut, ..FoundOut::default() };
        for About { operator, names, is_confirmed } in &self.alerts {
            let Some(named) = self.named.get(operator) else { continue };
            let resolved = if *is_confirmed { &mut found.confirmed } else { &mut found.false_alarms };
            if let Some(is_had) = names.iter().find_map(|name| named.get(name).copied().flatten()) {
                resolved.add(is_had);
            }
        }
        found
    }
}

#[cfg(test)]
#[path = "shadow_days_tests.rs"]
mod tests;
