//! The desk's actor: follows the alerts in the order of their offsets, keeps groups, and commits what changed together
//! with what has to be told of it.
//!
//! ```text
//! spine ─ revisions ─┐
//! people ─ actions ──┼─▶ Desk (pure) ─▶ one commit: groups, cursor, notices ─▶ shown to readers
//! second ─ clock ────┘                       │ failed: built anew from the store
//! sources' last success ─▶ silence ─▶ alerts of their own, which come back by the spine
//! ```
//! The cursor is the offset of the alerts and moves in the commit of what follows from them: after a crash nothing is told
//! twice and nothing is left out. What a full queue refused is read from the store with the next input.

mod drift;
mod sources;

use crate::api::EngineError;
use crate::directory::Directory;
use crate::kernel::{DeadLetter, Progress, Work};
use crate::notifiers::Notifiers;
use crate::register::{commit_error, unavailable};
use crate::source::Reply;
use crate::views::Views;
use crate::writer::WriterHandle;
use arc_swap::ArcSwap;
use engine::alerting::{self, Action, ActionError, Desk, Outcome, Tell, Tidings};
use futures_util::future::LocalBoxFuture;
use models::alert::{AlertRevision, Metric};
use models::alert_group::{Act, AlertActed, AlertGroup, AlertsGrouped, Resolution, Silence};
use models::event::Event;
use models::ids::{AlertId, GroupId, NoticeId, SilenceId};
use models::jurisdiction::JurisdictionNo;
use models::notice::{Notice, NoticeKind, NoticeOperator};
use models::risk_model::DriftJudged;
use models::ts::Ts;
use models::words::counted;
use parking_lot::RwLock;
use sources::Watch;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use store::{Attachment, Clock, Store};

/// Revisions taken in with one commit.
const REVISIONS_AT_ONCE: usize = 256;
/// Clock messages (one a second) between two looks at the sources.
const SOURCES_EVERY: u32 = 5;

/// What the desk hears.
pub enum DeskMsg {
    /// Committed revisions, in the order of their offsets.
    Alerts(Arc<[AlertRevision]>),
    /// What a person does with a group.
    Act {
        /// Which.
        group: GroupId,
        /// What.
        action: Action,
        /// Who, when.
        act: Act,
        /// Where the group goes as it is then.
        reply: Reply<Result<AlertGroup, EngineError>>,
    },
    /// A silence as it shall be.
    Silence {
        /// It.
        silence: Silence,
        /// Where the answer goes.
        reply: Reply<Result<(), EngineError>>,
    },
    /// A day of a model was far off.
    Drifted(Box<DriftJudged>),
    /// A second has passed.
    Clock,
}

/// What readers see: the groups and silences of the last commit.
#[derive(Default)]
pub struct DeskView {
    groups: RwLock<BTreeMap<GroupId, Arc<AlertGroup>>>,
    silences: RwLock<BTreeMap<SilenceId, Silence>>,
    /// The newest alerts' groups, so that an alert leads to its group.
    of_alert: RwLock<HashMap<AlertId, GroupId>>,
    /// Grows with every change of a group.
    version: AtomicU64,
}

impl DeskView {
    /// Groups of a jurisdiction, newest first.
    #[must_use]
    pub fn groups(&self, jurisdiction: JurisdictionNo) -> Vec<Arc<AlertGroup>> {
        let groups = self.groups.read();
        let mut found: Vec<_> = groups.values().filter(|g| g.jurisdiction == jurisdiction).cloned().collect();
        found.sort_by_key(|group| (std::cmp::Reverse(group.last_at), group.id));
        found
    }

    /// A group.
    #[must_use]
    pub fn group(&self, id: GroupId) -> Option<Arc<AlertGroup>> {
        self.groups.read().get(&id).cloned()
    }

    /// The group that an alert belongs to, as far as it is remembered.
    #[must_use]
    pub fn of_alert(&self, id: AlertId) -> Option<GroupId> {
        self.of_alert.read().get(&id).copied()
    }

    /// Silences of a jurisdiction that are not over.
    #[must_use]
    pub fn silences(&self, jurisdiction: JurisdictionNo, now: Ts) -> Vec<Silence> {
        let silences = self.silences.read();
        silences.values().filter(|s| s.jurisdiction == jurisdiction && s.until > now).cloned().collect()
    }

    /// A number that grows with every change of a group.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn show(&self, changed: impl Iterator<Item = AlertGroup>) {
        let (mut groups, mut of_alert) = (self.groups.write(), self.of_alert.write());
        for group in changed {
            let alerts = group.standing.iter().chain([&group.last_alert]);
            of_alert.extend(alerts.map(|alert| (*alert, group.id)));
            groups.insert(group.id, Arc::new(group));
        }
        // a year of alerts is no cache: whoever is not the newest of a group any more is found by its rule and subject
        if of_alert.len() > 64 * groups.len().max(1_024) {
            of_alert.retain(|alert, group| {
                groups.get(group).is_some_and(|g| g.last_alert == *alert || g.standing.contains(alert))
            });
        }
        self.version.fetch_add(1, Ordering::AcqRel);
    }
}

/// What the desk works with.
#[derive(Clone)]
pub struct DeskContext {
    /// Where alerts are read back from.
    pub store: Store,
    /// Into the store.
    pub writer: WriterHandle,
    /// Whose jurisdiction an operator is of.
    pub directory: Arc<ArcSwap<Directory>>,
    /// Sources and their last success.
    pub views: Arc<Views>,
    /// What readers see.
    pub view: Arc<DeskView>,
    /// Who tells people.
    pub notifiers: Notifiers,
    /// Now.
    pub clock: Arc<dyn Clock>,
}

/// The desk's actor.
pub struct DeskActor {
    desk: Desk,
    context: DeskContext,
    /// A commit failed: what is stored is not what the desk holds.
    unsure: bool,
    seconds: u32,
    watch: Watch,
    /// What is stored of models is to be looked at.
    drift_unread: bool,
}

impl DeskActor {
    /// As it was stored, with what came since.
    ///
    /// # Errors
    /// The store is away.
    pub async fn recover(context: DeskContext, progress: &Progress) -> Result<Self, String> {
        let desk = restore(&context).await?;
        let mut actor = Self { desk, context, unsure: false, seconds: 0, watch: Watch::default(), drift_unread: true };
        actor.catch_up(progress).await.map_err(|error| error.to_string())?;
        Ok(actor)
    }

    async fn make_sure(&mut self) -> Result<(), EngineError> {
        if self.unsure {
            let restored = restore(&self.context).await;
            self.desk = restored.map_err(|_| EngineError::Unavailable("the alert desk"))?;
            self.unsure = false;
        }
        Ok(())
    }

    /// Takes in what the store has behind the cursor.
    async fn catch_up(&mut self, progress: &Progress) -> Result<(), EngineError> {
        self.make_sure().await?;
        loop {
            let read = self.context.store.alerts_after(self.desk.through(), REVISIONS_AT_ONCE as u32).await;
            let revisions = read.map_err(|_| EngineError::Unavailable("the database"))?;
            if revisions.is_empty() {
                return Ok(());
            }
            self.take(&revisions).await?;
            progress.beat();
        }
    }

    async fn alerts(&mut self, revisions: &[AlertRevision], progress: &Progress) -> Result<(), EngineError> {
        self.make_sure().await?;
        let follows = revisions.first().is_some_and(|first| first.offset <= self.desk.through() + 1);
        if !follows {
            return self.catch_up(progress).await;
        }
        for part in revisions.chunks(REVISIONS_AT_ONCE) {
            self.take(part).await?;
        }
        Ok(())
    }

    async fn take(&mut self, revisions: &[AlertRevision]) -> Result<(), EngineError> {
        let (now, directory) = (self.context.clock.now(), self.context.directory.load_full());
        let before = self.desk.through();
        let mut outcome = Outcome::default();
        for revision in revisions {
            let jurisdiction = directory.jurisdiction_of(revision.operator_no).unwrap_or(JurisdictionNo(0));
            self.desk.revision(revision, jurisdiction, now, &mut outcome);
            self.watch.heard(revision);
        }
        if self.desk.through() == before {
            return Ok(());
        }
        let grouped = self.desk.stored(&outcome);
        self.commit(vec![Event::AlertsGrouped(grouped.clone())], &outcome).await?;
        self.context.view.show(grouped.groups.into_iter());
        Ok(())
    }

    async fn commit(&mut self, events: Vec<Event>, outcome: &Outcome) -> Result<(), EngineError> {
        // from here on until it is stored, what the desk holds is more than what is
        self.unsure = true;
        let (mut rows, directory) = (Vec::new(), self.context.directory.load_full());
        for tell in &outcome.tell {
            let source = tell.group.subject.source.and_then(|id| directory.sources.get(&id));
            let notice = notice(tell, source.map(|source| source.name.as_str()));
            rows.extend(self.context.notifiers.rows(notice, tell.at).await.map_err(unavailable)?);
        }
        let tells = !rows.is_empty();
        let attachments = if tells { vec![Attachment::Notices(rows)] } else { Vec::new() };
        self.context.writer.commit(events, attachments).await.map_err(commit_error)?;
        self.unsure = false;
        if tells {
            self.context.notifiers.ring();
        }
        Ok(())
    }

    async fn act(&mut self, id: GroupId, action: Action, act: Act) -> Result<AlertGroup, EngineError> {
        self.make_sure().await?;
        let mut outcome = Outcome::default();
        self.desk.act(id, action, act, &mut outcome).map_err(refused)?;
        let group = self.desk.group(id).cloned().ok_or(EngineError::NotFound("alert group"))?;
        let grouped = self.desk.stored(&outcome);
        let acted = AlertActed { action: action.kind(), act, group: group.clone() };
        let events = vec![Event::AlertActed(acted), Event::AlertsGrouped(grouped.clone())];
        self.commit(events, &outcome).await?;
        self.context.view.show(grouped.groups.into_iter());
        Ok(group)
    }

    async fn silence(&mut self, silence: &Silence) -> Result<(), EngineError> {
        self.make_sure().await?;
        let mut outcome = Outcome::default();
        self.desk.silence(silence.clone(), self.context.clock.now(), &mut outcome);
        let grouped = self.desk.stored(&outcome);
        let events = vec![Event::SilenceSet(silence.clone()), Event::AlertsGrouped(grouped.clone())];
        self.commit(events, &outcome).await?;
        self.context.view.silences.write().insert(silence.id, silence.clone());
        self.context.view.show(grouped.groups.into_iter());
        Ok(())
    }

    async fn second(&mut self, progress: &Progress) -> Result<(), EngineError> {
        // what a full queue refused, and what another process wrote
        self.catch_up(progress).await?;
        if let Err(error) = self.read_drift().await {
            // models come last: no clock stands still for them
            tracing::warn!(%error, "drift of models is read with the next second");
        }
        let (now, mut outcome) = (self.context.clock.now(), Outcome::default());
        self.desk.clock(now, &mut outcome);
        if outcome != Outcome::default() {
            let grouped = self.desk.stored(&outcome);
            self.commit(vec![Event::AlertsGrouped(grouped.clone())], &outcome).await?;
            self.context.view.show(grouped.groups.into_iter());
        }
        self.context.view.silences.write().retain(|_, silence| silence.until > now);
        self.seconds += 1;
        if self.seconds.is_multiple_of(SOURCES_EVERY) { self.sources().await } else { Ok(()) }
    }

    /// Looks which sources fell silent and which speak again, and whose batches are not whole.
    async fn sources(&mut self) -> Result<(), EngineError> {
        // before anything is said of a new one
        self.desk.know_documents(self.context.views.document_sources());
        let (sources, now) = (self.context.views.sources(|_| true), self.context.clock.now());
        let directory = self.context.directory.load_full();
        let versions = |operator| {
            let jurisdiction = directory.jurisdiction_of(operator).unwrap_or(JurisdictionNo(0));
            Arc::clone(directory.rules(jurisdiction).1.silences())
        };
        let events = self.watch.look(&sources, &self.desk, versions, now);
        if events.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.context.writer.commit(events, Vec::new()).await {
            self.watch.forget();
            return Err(commit_error(error));
        }
        Ok(())
    }
}

/// What people are told outside the screens. Rules, operators and figures; never a person.
fn notice(tell: &Tell, source: Option<&str>) -> Notice {
    let group = &tell.group;
    let (kind, count) = match tell.tidings {
        Tidings::Raised => (NoticeKind::Raised, 1),
        Tidings::Escalated => (NoticeKind::Escalated, group.hits),
        Tidings::Resolved => (NoticeKind::Resolved, group.hits),
        Tidings::Regressed => (NoticeKind::Regressed, 1),
        Tidings::More { held, .. } => (NoticeKind::More, held.into()),
        Tidings::MoreOver { .. } => (NoticeKind::Resolved, 1),
    };
    let subject = &group.subject;
    let whose = source.map_or(String::new(), |name| format!(", source {name}"));
    // what a rule found is of no metric: its name says it
    let metric = Some(subject.metric).filter(|metric| *metric != Metric::Finding);
    let metric = metric.map_or(String::new(), |metric| format!(": {}", metric.as_str()));
    let about = format!("{} at {}{whose}{metric}", group.rule, subject.operator);
    // severity and kind are told by each channel in its own way
    let title = match tell.tidings {
        Tidings::More { held, .. } => format!("{held} more of {} within the hour", group.rule),
        Tidings::MoreOver { hour } => {
            format!("those of {} that were told of together, held back at {hour}", group.rule)
        }
        _ => about,
    };
    let mut lines = match (tell.tidings, group.resolution) {
        // what is told of a source says why it is over
        (Tidings::Resolved, Some(Resolution::Withdrawn)) if subject.source.is_some() => group.reasons.clone(),
        (Tidings::Resolved, Some(why)) => vec![format!("resolved: {}", why.as_str())],
        (Tidings::More { .. }, _) => vec!["each of them is on the screen; they are told of together".to_owned()],
        (Tidings::MoreOver { .. }, _) => {
            vec!["none of them stands any more, or they are told of with further ones".to_owned()]
        }
        _ => group.reasons.clone(),
    };
    // what is told together is a cause of its own, by rule and hour: a pager hears of its beginning and of its end
    let (cause, number) = match tell.tidings {
        Tidings::More { hour, .. } | Tidings::MoreOver { hour } => {
            let more = NoticeId(alerting::more_id(&group.rule, group.jurisdiction, hour));
            (format!("more-{more}"), if kind == NoticeKind::More { 1 } else { 2 })
        }
        _ => (group.id.to_string(), group.notices),
    };
    let alerts = counted(group.hits, "alert", "alerts");
    lines.push(format!("{alerts} since {}, group {}", group.first_at, group.id));
    Notice {
        id: NoticeId(tell.id),
        kind,
        number,
        group: cause,
        alerts: vec![group.last_alert],
        severity: group.severity,
        rule: group.rule.clone(),
        // what stands on several operators is nobody's own
        operator: group
            .operator_no
            .nation()
            .is_none()
            .then(|| NoticeOperator { no: group.operator_no, code: subject.operator.clone() }),
        jurisdiction: group.jurisdiction,
        title,
        lines,
        at: tell.at,
        count: count.try_into().unwrap_or(u32::MAX),
    }
}

async fn restore(context: &DeskContext) -> Result<Desk, String> {
    let (stored, silences) = context.store.alert_desk().await.map_err(|error| error.to_string())?;
    let AlertsGrouped { groups, .. } = &stored;
    context.view.show(groups.iter().cloned());
    let now = context.clock.now();
    let last = silences.iter().filter(|silence| silence.until > now);
    *context.view.silences.write() = last.map(|silence| (silence.id, silence.clone())).collect();
    let mut desk = Desk::restored(stored, silences);
    desk.know_documents(context.views.document_sources());
    Ok(desk)
}

fn refused(error: ActionError) -> EngineError {
    match error {
        ActionError::Unknown => EngineError::NotFound("alert group"),
        ActionError::Resolved => EngineError::Conflict("the group is resolved".to_owned()),
        ActionError::Open => EngineError::Conflict("the group is open".to_owned()),
        ActionError::Over => EngineError::Conflict(error.to_string()),
        ActionError::Until => EngineError::Invalid { pointer: "/until", detail: error.to_string() },
        ActionError::Resolution => EngineError::Invalid { pointer: "/reason", detail: error.to_string() },
    }
}

impl Work for DeskActor {
    type Msg = DeskMsg;

    fn handle<'a>(&'a mut self, msg: Arc<DeskMsg>, progress: &'a Progress) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            let done = match msg.as_ref() {
                DeskMsg::Alerts(revisions) => self.alerts(revisions, progress).await,
                DeskMsg::Clock => self.second(progress).await,
                DeskMsg::Drifted(judged) => self.drifted(std::slice::from_ref(judged)).await,
                DeskMsg::Act { group, action, act, reply } => {
                    reply.send(self.act(*group, *action, *act).await);
                    Ok(())
                }
                DeskMsg::Silence { silence, reply } => {
                    reply.send(self.silence(silence).await);
                    Ok(())
                }
            };
            if let Err(error) = done {
                // the next second reads on from where the groups stand
                tracing::warn!(%error, "alerts are grouped later");
            }
        })
    }

    fn dead_letter<'a>(
        &'a mut self,
        record: Arc<DeskMsg>,
        _letter: &'a DeadLetter,
        _progress: &'a Progress,
    ) -> LocalBoxFuture<'a, ()> {
        match record.as_ref() {
            DeskMsg::Act { reply, .. } => reply.send(Err(EngineError::Unavailable("the alert desk"))),
            DeskMsg::Silence { reply, .. } => reply.send(Err(EngineError::Unavailable("the alert desk"))),
            // alerts are read from the store with the next second, and so is what models do
            DeskMsg::Drifted(_) => self.drift_unread = true,
            DeskMsg::Alerts(_) | DeskMsg::Clock => {}
        }
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::silence::{self, Hearing, Standing, Told};
    use models::alert::{AlertRevision, Evidence, Granularity, Metric, RevisionKind, Severity, Subject, Window};
    use models::feed::{Source, SourceKind};
    use models::ids::{AlertId, OperatorNo};
    use models::jurisdiction::JurisdictionNo;
    use models::money::Currency;
    use models::ts::{HOUR, MINUTE, Ts};

    fn revision(n: u16, offset: i64, kind: RevisionKind) -> AlertRevision {
        let subject = Subject {
            operator: format!("o{n}"),
            metric: Metric::Stakes,
            granularity: Granularity::Hour,
            currency: Currency::KES,
            source: None,
            who: None,
        };
        AlertRevision {
            id: AlertId(n.into()),
            rule: "jump".to_owned(),
            rule_version: 1,
            operator_no: OperatorNo(n),
            subject,
            window: Window { start: Ts(0), end: Ts(HOUR) },
            kind,
            severity: Severity::High,
            at: Ts(0),
            operator_seq: offset,
            offset,
            operator_offset: offset,
            evidence: Evidence {
                observed: 1,
                expected: 0,
                band_low: 0,
                band_high: 0,
                score_milli: 0,
                threshold_milli: 0,
                samples: 0,
                reasons: Vec::new(),
                records: Vec::new(),
                ..Evidence::default()
            },
        }
    }

    #[test]
    fn what_is_told_of_together_is_one_cause_with_an_end() {
        let (mut desk, mut out) = (Desk::default(), Outcome::default());
        let held = alerting::TOLD_PER_RULE_MAX as u16;
        for n in 0..=held {
            desk.revision(&revision(n, i64::from(n) + 1, RevisionKind::Raised), JurisdictionNo(0), Ts(0), &mut out);
        }
        desk.clock(Ts(HOUR), &mut out);
        desk.revision(&revision(held, 100, RevisionKind::Withdrawn), JurisdictionNo(0), Ts(HOUR), &mut out);
        desk.clock(Ts(HOUR + 1), &mut out);
        let told: Vec<Notice> = out.tell.iter().map(|tell| notice(tell, None)).collect();
        let [.., last, more, over] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((last.kind, more.kind, over.kind), (NoticeKind::Raised, NoticeKind::More, NoticeKind::Resolved));
        assert_eq!((&over.group, more.number, over.number), (&more.group, 1, 2), "a pager closes what it opened");
        assert!(over.group.starts_with("more-") && over.id != more.id);
        assert_eq!(
            (&over.operator, over.severity),
            (&more.operator, more.severity),
            "who heard of it hears of its end"
        );
        assert_eq!(more.title, "1 more of jump within the hour");
    }

    /// A text message has the title alone.
    #[test]
    fn a_notice_names_the_source_and_says_why_it_is_over() {
        let source = |paused: bool| Source { kind: SourceKind::HttpPoll, paused, ..Source::for_tests() };
        let heard = Hearing { last_success: None, since: Some(Ts(0)), asked_at: None };
        let mut desk = Desk::default();
        let mut said = |paused: bool, told: Told, offset: i64| {
            let now = Ts(9 * MINUTE);
            let versions = silence::Versions::always(silence::Params::default());
            let revision = silence::judge(&versions, (&source(paused), "safi"), heard, told, now);
            let revision = revision.expect("an alert");
            let (revision, mut out) = (AlertRevision { offset, ..revision }, Outcome::default());
            desk.revision(&revision, JurisdictionNo(0), now, &mut out);
            (revision, notice(&out.tell[0], Some("bets")))
        };
        let (raised, told) = said(false, Told::default(), 1);
        assert_eq!(told.title, "feed_silent at safi, source bets: silence");
        let standing = Standing { alert: raised.id, window: raised.window, severity: raised.severity };
        let (_, over) = said(true, Told { standing: Some(standing), episode: 1, hits: 1 }, 2);
        assert_eq!((over.kind, over.title), (NoticeKind::Resolved, told.title));
        assert_eq!(over.lines[0], "the source bets is paused: nothing is expected of it");
    }
}
