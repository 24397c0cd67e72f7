//! The alert desk: from everything that rules say to what somebody has to hear, once.
//!
//! ```text
//! revisions ─┐
//! actions   ─┼─▶ Desk ─▶ groups that changed (journaled) + notices (in the same commit)
//! silences  ─┤
//! clock     ─┘
//! ```
//! Pure: the same inputs give the same groups and notices, whose ids follow from the group and a count. So whoever starts
//! again after a crash gives the same notices the same ids, and the log of notices takes each of them once.

use crate::rules::series_unusual;
use models::alert::{AlertRevision, Metric, RevisionKind, Severity};
use models::alert_group::{
    Act, ActionKind, AlertGroup, AlertsGrouped, GroupState, MoreTold, REASONS_MAX, Resolution, RuleCap, STANDING_MAX,
    Silence, Snooze,
};
use models::ids::{GroupId, OperatorNo, SilenceId, SourceId};
use models::jurisdiction::JurisdictionNo;
use models::ts::{DAY, HOUR, Ts};
use ring::digest::{Context, SHA256};
use std::collections::{BTreeMap, BTreeSet};

/// Groups of a rule that are told of one by one in an hour; further ones are told of together.
pub const TOLD_PER_RULE_MAX: u32 = 20;
/// A group that nothing hits for so long is resolved by itself.
pub const QUIET_AFTER: i64 = DAY;
/// Longest snooze.
pub const SNOOZE_MAX: i64 = 30 * DAY;

/// What a notice says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tidings {
    /// Something new.
    Raised,
    /// It is worse than what was told, or more than was agreed to be left alone.
    Escalated,
    /// It is over.
    Resolved,
    /// It was over and is there again.
    Regressed,
    /// Further groups of a rule were held back within an hour.
    More {
        /// How many.
        held: u32,
        /// Which hour.
        hour: Ts,
    },
    /// None of those stands any more, or they are told of together with further ones.
    MoreOver {
        /// The hour in which they were held back.
        hour: Ts,
    },
}

/// What was told of together: first 128 bits of SHA-256 over rule, jurisdiction and hour.
#[must_use]
pub fn more_id(rule: &str, jurisdiction: JurisdictionNo, hour: Ts) -> u128 {
    digest(&[b"more", rule.as_bytes(), &[jurisdiction.0], &hour.0.to_be_bytes()])
}

/// Something somebody has to hear.
#[derive(Clone, Debug, PartialEq)]
pub struct Tell {
    /// What.
    pub tidings: Tidings,
    /// First 128 bits of SHA-256 over group and count (or rule, jurisdiction and hour): the same whenever it is made.
    pub id: u128,
    /// Of which group; of several, the last one.
    pub group: AlertGroup,
    /// When it was noticed.
    pub at: Ts,
}

/// What follows from an input.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// Groups that changed.
    pub changed: BTreeSet<GroupId>,
    /// Caps that changed.
    pub caps: BTreeSet<(String, JurisdictionNo)>,
    /// What is to be told, in this order.
    pub tell: Vec<Tell>,
}

/// Why an action is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// There is no such group.
    #[error("no such group")]
    Unknown,
    /// Not from this state.
    #[error("the group is resolved")]
    Resolved,
    /// Nothing to reopen.
    #[error("the group is open")]
    Open,
    /// The feed that it tells of is as it should be by now.
    #[error("what it tells of is over by itself")]
    Over,
    /// A time that is past, or more than 30 days ahead.
    #[error("until must lie within the next 30 days")]
    Until,
    /// The engine's own.
    #[error("not a resolution that a person gives")]
    Resolution,
}

/// What a person wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Action {
    Acknowledge,
    Snooze { until: Ts, hits: Option<u64> },
    Resolve(Resolution),
    Reopen,
}

impl Action {
    /// Its kind.
    #[must_use]
    pub fn kind(self) -> ActionKind {
        match self {
            Self::Acknowledge => ActionKind::Acknowledge,
            Self::Snooze { .. } => ActionKind::Snooze,
            Self::Resolve(_) => ActionKind::Resolve,
            Self::Reopen => ActionKind::Reopen,
        }
    }
}

/// Every group and what keeps them quiet.
#[derive(Debug, Default)]
pub struct Desk {
    through: i64,
    groups: BTreeMap<GroupId, AlertGroup>,
    silences: BTreeMap<SilenceId, Silence>,
    caps: BTreeMap<(String, JurisdictionNo), RuleCap>,
    /// Live groups of feeds that are silent, by operator: they mute what is said of its figures.
    silent: BTreeMap<OperatorNo, BTreeSet<GroupId>>,
    /// Sources of documents: no figure is made of them, so none is muted where they fall silent.
    documents: BTreeSet<SourceId>,
}

/// The group of a revision: first 128 bits of SHA-256 over rule and subject.
#[must_use]
pub fn group_id(revision: &AlertRevision) -> GroupId {
    let subject = &revision.subject;
    let source = subject.source.map_or(String::new(), |id| id.to_string());
    let who = subject.who.as_ref().map_or(String::new(), |who| format!("\0{who}"));
    let text = format!(
        "{}\0{}\0{}\0{}\0{}\0{source}{who}",
        revision.rule,
        revision.operator_no.0,
        subject.metric.as_str(),
        subject.granularity.as_str(),
        subject.currency
    );
    GroupId(digest(&[text.as_bytes()]))
}

fn digest(parts: &[&[u8]]) -> u128 {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
        context.update(b"\0");
    }
    let mut first = [0; 16];
    first.copy_from_slice(&context.finish().as_ref()[..16]);
    u128::from_be_bytes(first)
}

fn is_feed(group: &AlertGroup) -> bool {
    group.subject.metric == Metric::Silence
}

/// Is it about figures that the feeds make?
fn is_of_figures(group: &AlertGroup) -> bool {
    Metric::OF_RECORDS.contains(&group.subject.metric) || group.rule == series_unusual::ABOUT.name
}

/// Does whoever raised it say when it is over, however long that takes?
fn ends_by_itself(group: &AlertGroup) -> bool {
    is_feed(group) || group.subject.metric == Metric::Integrity
}

impl Desk {
    /// As it was stored.
    #[must_use]
    pub fn restored(stored: AlertsGrouped, silences: Vec<Silence>) -> Self {
        let mut desk = Self { through: stored.through, ..Self::default() };
        for mut group in stored.groups {
            // what an older release stored: told as it was
            group.told_severity = group.told_severity.or(group.told.then_some(group.severity));
            desk.keep_silent(&group);
            desk.groups.insert(group.id, group);
        }
        desk.caps = stored.caps.into_iter().map(|cap| ((cap.rule.clone(), cap.jurisdiction), cap)).collect();
        desk.silences = silences.into_iter().map(|silence| (silence.id, silence)).collect();
        desk
    }

    /// Says which sources send documents, of which no figure is made.
    pub fn know_documents(&mut self, sources: BTreeSet<SourceId>) {
        self.documents = sources;
    }

    /// Offset of the last revision that is part of the groups.
    #[must_use]
    pub fn through(&self) -> i64 {
        self.through
    }

    /// A group.
    #[must_use]
    pub fn group(&self, id: GroupId) -> Option<&AlertGroup> {
        self.groups.get(&id)
    }

    /// Every group.
    pub fn groups(&self) -> impl Iterator<Item = &AlertGroup> {
        self.groups.values()
    }

    /// What is stored of an outcome.
    #[must_use]
    pub fn stored(&self, outcome: &Outcome) -> AlertsGrouped {
        AlertsGrouped {
            through: self.through,
            groups: outcome.changed.iter().filter_map(|id| self.groups.get(id)).cloned().collect(),
            caps: outcome.caps.iter().filter_map(|cap| self.caps.get(cap)).cloned().collect(),
        }
    }

    /// Takes in the next revision; those that are part of the groups already change nothing.
    pub fn revision(&mut self, revision: &AlertRevision, jurisdiction: JurisdictionNo, now: Ts, out: &mut Outcome) {
        if revision.offset <= self.through {
            return;
        }
        self.through = revision.offset;
        let id = group_id(revision);
        match revision.kind {
            RevisionKind::Raised => self.hit(id, revision, jurisdiction, now, out),
            RevisionKind::Corrected => self.correct(id, revision, now, out),
            RevisionKind::Withdrawn => self.withdraw(id, revision, now, out),
        }
    }

    fn hit(&mut self, id: GroupId, revision: &AlertRevision, jurisdiction: JurisdictionNo, now: Ts, out: &mut Outcome) {
        let fresh = || AlertGroup {
            id,
            rule: revision.rule.clone(),
            operator_no: revision.operator_no,
            jurisdiction,
            subject: revision.subject.clone(),
            state: GroupState::Resolved,
            episode: 0,
            severity: revision.severity,
            hits: 0,
            standing: Vec::new(),
            standing_more: 0,
            first_at: revision.window.start,
            last_at: now,
            last_alert: revision.id,
            last_window: revision.window,
            reasons: Vec::new(),
            acknowledged: None,
            snoozed: None,
            resolution: None,
            resolved: None,
            muted_by: None,
            silenced_by: None,
            told: false,
            told_severity: None,
            held_in: None,
            notices: 0,
        };
        let group = self.groups.entry(id).or_insert_with(fresh);
        let began = group.state == GroupState::Resolved;
        if began {
            *group = AlertGroup {
                episode: group.episode + 1,
                notices: group.notices,
                held_in: group.held_in,
                state: GroupState::Open,
                ..fresh()
            };
        }
        // a rule that forgot what it said says it again: it is still the same alert
        let is_known = group.standing.contains(&revision.id);
        group.hits += u64::from(!is_known);
        (group.last_at, group.last_alert, group.last_window) = (now, revision.id, revision.window);
        group.reasons = revision.evidence.reasons.iter().take(REASONS_MAX).cloned().collect();
        match group.standing.len() < STANDING_MAX {
            _ if is_known => {}
            true => group.standing.push(revision.id),
            false => group.standing_more += 1,
        }
        let worse = !began && revision.severity > group.severity;
        group.severity = group.severity.max(revision.severity);
        let woken = group.snoozed.is_some_and(|s| s.hits.is_some_and(|hits| group.hits - s.hits_before >= hits));
        if woken {
            (group.state, group.snoozed) = (GroupState::Open, None);
        }
        out.changed.insert(id);
        if began || worse {
            // a silence may cover what is less urgent only
            self.quieten(id, now);
        }
        if began || worse || woken {
            self.tell_how_it_is(id, now, out);
        }
        self.feed_changed(id, now, out);
    }

    fn correct(&mut self, id: GroupId, revision: &AlertRevision, now: Ts, out: &mut Outcome) {
        let Some(group) = self.groups.get_mut(&id).filter(|group| revision.severity > group.severity) else { return };
        // of one that is resolved, too: whoever reopens it finds how bad it is by now
        group.severity = revision.severity;
        let is_live = group.is_live();
        out.changed.insert(id);
        if is_live {
            self.quieten(id, now);
            self.tell_how_it_is(id, now, out);
        }
    }

    fn withdraw(&mut self, id: GroupId, revision: &AlertRevision, now: Ts, out: &mut Outcome) {
        // of one that a person has resolved, too: what it stood for is over, and what comes back is something new
        let Some(group) = self.groups.get_mut(&id) else { return };
        let live = group.is_live();
        match group.standing.contains(&revision.id) {
            // more than once in what an older release stored
            true => group.standing.retain(|alert| *alert != revision.id),
            // of an earlier episode, or one of those that are only counted
            false => group.standing_more = group.standing_more.saturating_sub(1),
        }
        out.changed.insert(id);
        if live && !group.stands() {
            if ends_by_itself(group) {
                // why it is over: it is well again, or nobody expects anything of it
                group.reasons = revision.evidence.reasons.iter().take(REASONS_MAX).cloned().collect();
            }
            self.resolve(id, Resolution::Withdrawn, None, now, out);
        }
    }

    fn resolve(&mut self, id: GroupId, why: Resolution, by: Option<Act>, now: Ts, out: &mut Outcome) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        let heard = group.told;
        (group.state, group.resolution, group.resolved) = (GroupState::Resolved, Some(why), by);
        (group.snoozed, group.acknowledged) = (None, None);
        out.changed.insert(id);
        if heard {
            self.say(id, Tidings::Resolved, now, out);
        }
        self.feed_changed(id, now, out);
    }

    /// What a person does.
    ///
    /// # Errors
    /// [`ActionError`]: nothing changed.
    pub fn act(&mut self, id: GroupId, action: Action, act: Act, out: &mut Outcome) -> Result<(), ActionError> {
        let group = self.groups.get_mut(&id).ok_or(ActionError::Unknown)?;
        let live = group.is_live();
        match action {
            Action::Reopen if group.state == GroupState::Open => return Err(ActionError::Open),
            // it would stay open for ever: nothing is left that could end it
            Action::Reopen if !live && ends_by_itself(group) && !group.stands() => return Err(ActionError::Over),
            Action::Reopen => {
                (group.state, group.acknowledged, group.snoozed) = (GroupState::Open, None, None);
                (group.resolution, group.resolved) = (None, None);
            }
            _ if !live => return Err(ActionError::Resolved),
            Action::Acknowledge => {
                (group.state, group.acknowledged, group.snoozed) = (GroupState::Acknowledged, Some(act), None);
                // whoever takes it on has seen how bad it is by now
                group.told_severity = group.told_severity.map(|told| told.max(group.severity));
            }
            Action::Snooze { until, .. } if until <= act.at || until.0 - act.at.0 > SNOOZE_MAX => {
                return Err(ActionError::Until);
            }
            Action::Snooze { until, hits } => {
                group.state = GroupState::Snoozed;
                group.snoozed = Some(Snooze { until, hits, hits_before: group.hits, act });
            }
            Action::Resolve(why) if !Resolution::BY_PEOPLE.contains(&why) => return Err(ActionError::Resolution),
            Action::Resolve(why) => {
                self.resolve(id, why, Some(act), act.at, out);
                return Ok(());
            }
        }
        let is_worse = group.is_worse_than_told();
        out.changed.insert(id);
        if action == Action::Reopen {
            self.quieten(id, act.at);
            if is_worse {
                self.tell_how_it_is(id, act.at, out);
            }
        }
        if !live {
            self.feed_changed(id, act.at, out);
        }
        Ok(())
    }

    /// Sets or changes a silence; one whose end is past is over.
    pub fn silence(&mut self, silence: Silence, now: Ts, out: &mut Outcome) {
        self.silences.insert(silence.id, silence);
        self.review(now, out, |_| true);
    }

    /// What time does: snoozes and silences end, what nothing hits any more is over, an hour's rest is told.
    pub fn clock(&mut self, now: Ts, out: &mut Outcome) {
        let due = |group: &AlertGroup| group.snoozed.is_some_and(|snooze| snooze.until <= now);
        let woken: Vec<_> = self.groups.values().filter(|group| due(group)).map(|group| group.id).collect();
        for id in woken {
            let Some(group) = self.groups.get_mut(&id) else { continue };
            let more = group.snoozed.take().is_some_and(|snooze| group.hits > snooze.hits_before);
            let is_worse = group.is_worse_than_told();
            group.state = GroupState::Open;
            out.changed.insert(id);
            if more || is_worse {
                self.tell_how_it_is(id, now, out);
            }
        }
        // what is told of a feed is over when the feed is as it should be, and not before
        let over = |group: &&AlertGroup| {
            let worked = matches!(group.state, GroupState::Open | GroupState::Acknowledged);
            let lasts = ends_by_itself(group) && group.stands();
            worked && !lasts && now.0 - group.last_at.0 >= QUIET_AFTER
        };
        let over: Vec<_> = self.groups.values().filter(over).map(|group| group.id).collect();
        for id in over {
            self.resolve(id, Resolution::Quiet, None, now, out);
        }
        if self.silences.values().any(|silence| silence.until <= now) {
            self.review(now, out, |group| group.silenced_by.is_some());
            self.silences.retain(|_, silence| silence.until > now);
        }
        self.tell_together(now, out);
    }

    /// Tells of what was held back in an hour, once it is over, and of its end.
    fn tell_together(&mut self, now: Ts, out: &mut Outcome) {
        for (key, cap) in &mut self.caps {
            let of_rule = |group: &&AlertGroup| group.rule == cap.rule && group.jurisdiction == cap.jurisdiction;
            let is_due = cap.held > 0 && now.0 - cap.hour.0 >= HOUR;
            // those that were told of one by one since say themselves when they are over
            let stands = |group: &AlertGroup| group.is_live() && !group.told && !group.is_quiet();
            if let Some(more) = cap.more
                && (is_due || !self.groups.values().filter(of_rule).any(stands))
            {
                if let Some(group) = self.groups.get(&more.group).cloned() {
                    let hour = more.hour.0.to_be_bytes();
                    let id = digest(&[b"more over", cap.rule.as_bytes(), &[cap.jurisdiction.0], &hour]);
                    out.tell.push(Tell { tidings: Tidings::MoreOver { hour: more.hour }, id, group, at: now });
                }
                cap.more = None;
                out.caps.insert(key.clone());
            }
            if !is_due {
                continue;
            }
            let newest = self.groups.values().filter(of_rule).max_by_key(|group| group.last_at).cloned();
            if let Some(group) = newest {
                let (held, hour) = (cap.held, cap.hour);
                cap.more = Some(MoreTold { hour, group: group.id });
                let id = more_id(&cap.rule, cap.jurisdiction, hour);
                out.tell.push(Tell { tidings: Tidings::More { held, hour }, id, group, at: now });
            }
            cap.held = 0;
            out.caps.insert(key.clone());
        }
    }

    /// Looks again at what keeps groups quiet; what is quiet no more, and was never told of or grew worse since, is told of
    /// now.
    fn review(&mut self, now: Ts, out: &mut Outcome, which: impl Fn(&AlertGroup) -> bool) {
        let ids: Vec<_> = self.groups.values().filter(|g| g.is_live() && which(g)).map(|g| g.id).collect();
        for id in ids {
            if self.quieten(id, now) {
                out.changed.insert(id);
            }
            let waits = |group: &AlertGroup| (!group.told || group.is_worse_than_told()) && !group.is_quiet();
            if self.groups.get(&id).is_some_and(waits) {
                self.tell_how_it_is(id, now, out);
            }
        }
    }

    /// Says what keeps a group quiet now; true where that changed.
    fn quieten(&mut self, id: GroupId, now: Ts) -> bool {
        let Some(group) = self.groups.get(&id) else { return false };
        let silenced_by = self.silences.values().find(|silence| silence.covers(group, now)).map(|silence| silence.id);
        let feeds = self.silent.get(&group.operator_no);
        let muted_by = feeds.filter(|_| !is_feed(group) && is_of_figures(group));
        let feeds_figures = |id: &&GroupId| {
            let source = self.groups.get(id).and_then(|feed| feed.subject.source);
            source.is_none_or(|source| !self.documents.contains(&source))
        };
        let muted_by = muted_by.and_then(|feeds| feeds.iter().find(feeds_figures).copied());
        let changed = (group.silenced_by, group.muted_by) != (silenced_by, muted_by);
        if let Some(group) = self.groups.get_mut(&id) {
            (group.silenced_by, group.muted_by) = (silenced_by, muted_by);
        }
        changed
    }

    fn keep_silent(&mut self, group: &AlertGroup) {
        if !is_feed(group) {
            return;
        }
        let feeds = self.silent.entry(group.operator_no).or_default();
        // one with nothing in it, which somebody has reopened under an older release, is about no feed that is silent now
        if group.is_live() && group.stands() {
            feeds.insert(group.id);
        } else {
            feeds.remove(&group.id);
        }
    }

    /// A feed may have fallen silent, or speak again: what its figures say is muted, or heard again.
    fn feed_changed(&mut self, id: GroupId, now: Ts, out: &mut Outcome) {
        let Some(group) = self.groups.get(&id).filter(|group| is_feed(group)).cloned() else { return };
        self.keep_silent(&group);
        self.review(now, out, |other| other.operator_no == group.operator_no && !is_feed(other));
    }

    /// Tells of a group what is news of it: that it is there, that it is there again, or that there is more of it.
    fn tell_how_it_is(&mut self, id: GroupId, now: Ts, out: &mut Outcome) {
        let Some(group) = self.groups.get(&id) else { return };
        let tidings = match group.told {
            true => Tidings::Escalated,
            // nobody was told that it was there before
            false if group.notices == 0 => Tidings::Raised,
            false => Tidings::Regressed,
        };
        self.tell(id, tidings, now, out);
    }

    /// Tells of a group unless something keeps it quiet, or too much of its rule was told within the hour.
    fn tell(&mut self, id: GroupId, tidings: Tidings, now: Ts, out: &mut Outcome) {
        let Some(group) = self.groups.get_mut(&id).filter(|group| !group.is_quiet()) else { return };
        if !group.told {
            let key = (group.rule.clone(), group.jurisdiction);
            let hour = Ts(now.0.div_euclid(HOUR) * HOUR);
            let fresh = RuleCap { rule: key.0.clone(), jurisdiction: key.1, hour, told: 0, held: 0, more: None };
            let cap = self.caps.entry(key.clone()).or_insert_with(|| fresh.clone());
            if cap.hour != hour && cap.held == 0 {
                *cap = RuleCap { more: cap.more, ..fresh };
            }
            out.caps.insert(key);
            // whatever is held back from an hour before is told of together first
            if cap.told >= TOLD_PER_RULE_MAX && group.severity < Severity::Critical {
                // one cause counts once, however often it comes within the hour
                if group.held_in.replace(cap.hour) != Some(cap.hour) {
                    cap.held += 1;
                    out.changed.insert(id);
                }
                return;
            }
            cap.told += 1;
        }
        self.say(id, tidings, now, out);
    }

    fn say(&mut self, id: GroupId, tidings: Tidings, now: Ts, out: &mut Outcome) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        if tidings != Tidings::Resolved {
            group.told_severity = Some(group.severity);
        }
        group.told = true;
        group.notices += 1;
        out.changed.insert(id);
        let id = digest(&[&group.id.0.to_be_bytes(), &group.notices.to_be_bytes()]);
        out.tell.push(Tell { tidings, id, group: group.clone(), at: now });
    }
}

#[cfg(test)]
mod tests;
