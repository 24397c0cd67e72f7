//! The notifications of an engine: who is told of what, one sender a channel, and a keeper that looks after the log.

use super::metrics::NoticeMetrics;
use super::sender::{ChannelStatus, Sender, SenderParts};
use super::{NotifySetup, OpenChannel};
use crate::api::{EngineError, Page};
use crate::register::{commit_error, new_id, unavailable};
use crate::writer::WriterHandle;
use futures_util::FutureExt;
use models::ids::NoticeId;
use models::jurisdiction::JurisdictionNo;
use models::notice::{Notice, NoticeKind, NoticeState};
use models::ts::{DAY, SECOND, Ts};
use parking_lot::Mutex;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use store::{
    Attachment, Clock, NoticeMark, NoticeMarks, NoticePlace, NoticeQuery, NoticeRow, NoticesWaiting, Store, StoreError,
    StoredNotice,
};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// How often the keeper looks.
const KEEP_EVERY: Duration = Duration::from_secs(5);
/// Notices that may wait on a channel; of more the oldest are dropped.
const PENDING_MAX: u64 = 10_000;
/// How long the log is kept.
const KEPT_FOR: i64 = 400 * DAY;
/// Rows that one commit changes at most.
const CHUNK: u32 = 256;

/// One channel and its way to be woken.
struct Line {
    channel: OpenChannel,
    status: Arc<Mutex<ChannelStatus>>,
    bell: Arc<Notify>,
}

struct Shared {
    setup: NotifySetup,
    lines: Vec<Line>,
    store: Store,
    writer: WriterHandle,
    clock: Arc<dyn Clock>,
    metrics: NoticeMetrics,
    stopping: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// The notifications of an engine; cheap to clone.
#[derive(Clone)]
pub struct Notifiers(Arc<Shared>);

/// A channel as staff see it.
#[derive(Clone, Debug)]
pub struct ChannelView {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// Notices a minute at most.
    pub per_minute: u32,
    /// How it fares.
    pub status: ChannelStatus,
    /// Notices that wait.
    pub pending: u64,
    /// When the oldest of them was made.
    pub oldest_at: Option<Ts>,
}

/// Which part of the log.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct NotificationFilter {
    pub jurisdiction: JurisdictionNo,
    pub state: Option<NoticeState>,
    pub channel: Option<String>,
}

impl Notifiers {
    /// Not started yet.
    pub fn new(
        setup: NotifySetup,
        store: Store,
        writer: WriterHandle,
        clock: Arc<dyn Clock>,
        metrics: NoticeMetrics,
    ) -> Self {
        let line =
            |channel: &OpenChannel| Line { channel: channel.clone(), status: Arc::default(), bell: Arc::default() };
        let (lines, tasks) = (setup.channels.iter().map(line).collect(), Mutex::default());
        let stopping = watch::Sender::new(false);
        Self(Arc::new(Shared { setup, lines, store, writer, clock, metrics, stopping, tasks }))
    }

    /// One task a channel, and the keeper.
    pub fn start(&self) {
        let shared = &self.0;
        let mut tasks = shared.tasks.lock();
        for line in &shared.lines {
            let parts = SenderParts {
                channel: line.channel.clone(),
                store: shared.store.clone(),
                writer: shared.writer.clone(),
                clock: Arc::clone(&shared.clock),
                chance: rand::random,
                metrics: shared.metrics.clone(),
                status: Arc::clone(&line.status),
                bell: Arc::clone(&line.bell),
                stopping: shared.stopping.subscribe(),
            };
            tasks.push(tokio::spawn(Sender::run(parts)));
        }
        let keeper = self.clone();
        tasks.push(tokio::spawn(async move {
            while AssertUnwindSafe(keeper.keep()).catch_unwind().await.is_err() {
                tracing::error!("the log of notices is looked after anew after a panic");
                tokio::time::sleep(KEEP_EVERY).await;
            }
        }));
    }

    /// Waits for what is under way, but no longer than `patience`: what is sent and not marked by then is sent again
    /// after the next start.
    pub async fn stop(&self, patience: Duration) {
        self.0.stopping.send_replace(true);
        let tasks: Vec<JoinHandle<()>> = self.0.tasks.lock().drain(..).collect();
        let aborts: Vec<_> = tasks.iter().map(JoinHandle::abort_handle).collect();
        if tokio::time::timeout(patience, futures_util::future::join_all(tasks)).await.is_err() {
            tracing::warn!("a notice is under way: it may be sent once more");
            aborts.iter().for_each(tokio::task::AbortHandle::abort);
        }
    }

    /// There is something to send: to be called behind a commit with notices.
    pub fn ring(&self) {
        self.0.lines.iter().for_each(|line| line.bell.notify_one());
    }

    /// A notice as rows of the log, one for each channel that it goes to at `now`. An end goes to everybody who was told
    /// of its group, too, whatever the routes say by then. To be committed together with the reason for it; whoever
    /// commits it [`Self::ring`]s.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn rows(&self, notice: Notice, now: Ts) -> Result<Vec<NoticeRow>, StoreError> {
        let notice = notice.clipped();
        let mut channels: Vec<String> =
            self.0.setup.router.route(&notice, now).into_iter().map(str::to_owned).collect();
        if notice.kind == NoticeKind::Resolved {
            let told = self.0.store.notified_channels(&notice.group).await?;
            let known = |name: &String| self.0.lines.iter().any(|line| line.channel.name == *name);
            let further: Vec<String> =
                told.into_iter().filter(|name| known(name) && !channels.contains(name)).collect();
            channels.extend(further);
        }
        Ok(channels.into_iter().map(|channel| NoticeRow { channel, notice: notice.clone() }).collect())
    }

    /// Sends a test notice on a channel, through the log and under its rate as every other.
    pub async fn test(&self, channel: &str, jurisdiction: JurisdictionNo) -> Result<NoticeId, EngineError> {
        let line = self.0.lines.iter().find(|line| line.channel.name == channel);
        let line = line.ok_or(EngineError::NotFound("channel"))?;
        let id = NoticeId(new_id());
        let notice = Notice::test(id, channel, jurisdiction, self.0.clock.now());
        let rows = vec![NoticeRow { channel: channel.to_owned(), notice }];
        self.0.writer.commit(Vec::new(), vec![Attachment::Notices(rows)]).await.map_err(commit_error)?;
        line.bell.notify_one();
        Ok(id)
    }

    /// Every channel, by name.
    pub async fn channels(&self) -> Result<Vec<ChannelView>, EngineError> {
        let waiting = self.0.store.waiting_notices().await.map_err(unavailable)?;
        let view = |line: &Line| {
            let found = waiting.iter().find(|w| w.channel == line.channel.name);
            ChannelView {
                name: line.channel.name.clone(),
                kind: line.channel.kind,
                per_minute: line.channel.per_minute,
                status: line.status.lock().clone(),
                pending: found.map_or(0, |w| w.count),
                oldest_at: found.map(|w| w.oldest_at),
            }
        };
        let mut views: Vec<ChannelView> = self.0.lines.iter().map(view).collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(views)
    }

    /// A page of the log, newest first.
    pub async fn log(
        &self,
        filter: NotificationFilter,
        limit: u32,
        cursor: Option<String>,
    ) -> Result<Page<StoredNotice>, EngineError> {
        let after = cursor.map(|text| {
            let detail = "not one that this list gave".to_owned();
            place(&text).ok_or(EngineError::Invalid { pointer: "?cursor", detail })
        });
        let query = NoticeQuery {
            jurisdiction: filter.jurisdiction,
            state: filter.state,
            channel: filter.channel,
            after: after.transpose()?,
            limit: limit + 1,
        };
        let mut items = self.0.store.notices(&query).await.map_err(unavailable)?;
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next_cursor =
            items.last().filter(|_| more).map(|n| format!("{}.{}.{}", n.notice.at.0, n.notice.id, n.channel));
        Ok(Page { items, next_cursor })
    }

    async fn keep(&self) {
        let mut stopping = self.0.stopping.subscribe();
        while !*stopping.borrow() {
            if let Err(error) = self.look().await {
                tracing::warn!(error, "the log of notices is looked after later");
            }
            tokio::select! {
                () = tokio::time::sleep(KEEP_EVERY) => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        }
    }

    /// Shows what waits; drops what has no channel any more and what is too much; forgets what is old.
    async fn look(&self) -> Result<(), String> {
        let shared = &self.0;
        let now = shared.clock.now();
        let waiting = shared.store.waiting_notices().await.map_err(|e| e.to_string())?;
        for line in &shared.lines {
            let found = waiting.iter().find(|w| w.channel == line.channel.name);
            let (count, age) = found.map_or((0, 0), |w| (w.count.cast_signed(), now.0 - w.oldest_at.0));
            shared.metrics.waiting(&line.channel.name, count, age.max(0) as f64 / SECOND as f64);
        }
        for found in waiting {
            self.drop_what_is_too_much(&found, now).await?;
        }
        let before = now.plus(-KEPT_FOR);
        let oldest = shared.store.oldest_notice().await.map_err(|e| e.to_string())?;
        if oldest.is_some_and(|oldest| oldest < before) {
            self.write(NoticeMarks { marks: Vec::new(), forget: Some((before, CHUNK)) }).await?;
        }
        Ok(())
    }

    async fn drop_what_is_too_much(&self, found: &NoticesWaiting, now: Ts) -> Result<(), String> {
        let known = self.0.lines.iter().any(|line| line.channel.name == found.channel);
        let (mut excess, why) = match known {
            true => (found.count.saturating_sub(PENDING_MAX), "too many waited"),
            false => (found.count, "the channel is not configured any more"),
        };
        while excess > 0 {
            let limit = u32::try_from(excess).unwrap_or(CHUNK).min(CHUNK);
            let rows = self.0.store.pending_notices(&found.channel, limit).await.map_err(|e| e.to_string())?;
            if rows.is_empty() {
                break;
            }
            excess -= (rows.len() as u64).min(excess);
            let dropped = |row: &StoredNotice| row.mark(NoticeState::Dropped, now, Some(why.to_owned()));
            let marks: Vec<NoticeMark> = rows.iter().map(dropped).collect();
            tracing::error!(channel = found.channel, notices = marks.len(), why, "notices are dropped");
            // the label of a channel that is gone would stay for good
            if known {
                marks.iter().for_each(|mark| self.0.metrics.count(&found.channel, mark.state));
            }
            self.write(NoticeMarks { marks, forget: None }).await?;
        }
        Ok(())
    }

    async fn write(&self, marks: NoticeMarks) -> Result<(), String> {
        let written = self.0.writer.commit(Vec::new(), vec![Attachment::NoticeMarks(marks)]).await;
        written.map(|_| ()).map_err(|e| e.to_string())
    }
}

/// `time.ntf_….channel`, as [`Notifiers::log`] gives it.
fn place(text: &str) -> Option<NoticePlace> {
    let mut parts = text.splitn(3, '.');
    let at = Ts(parts.next()?.parse().ok()?);
    let id = parts.next()?.parse().ok()?;
    Some(NoticePlace { at, id, channel: parts.next()?.to_owned() })
}
