//! Sends what waits on one channel, so that a slow one holds no other.
//!
//! ```text
//! due rows, in order ─ within the rate ─▶ Channel::send ─▶ mark, durable ─▶ the next one
//! ```
//! A mark is written before anything else is sent: whoever ends in between sends that one notice again, under the same id,
//! and no other. What is not taken is tried again, later and later, for [`pace::TRIED_FOR`]; meanwhile others go on, but
//! none of its own group, so that nobody hears of an end before the beginning. A channel that fails is left alone for a
//! while whatever waits.

use super::metrics::NoticeMetrics;
use super::pace::{self, Bucket};
use super::{OpenChannel, SendError};
use crate::writer::WriterHandle;
use futures_util::FutureExt;
use models::notice::NoticeState;
use models::ts::Ts;
use parking_lot::Mutex;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use store::{Attachment, Clock, NoticeMark, NoticeMarks, Store, StoredNotice};
use tokio::sync::{Notify, watch};

/// Rows read at once.
const AT_ONCE: u32 = 32;
/// How often the log is looked at, whoever rings.
const IDLE: Duration = Duration::from_secs(1);
/// Pause after a failure of the store.
const RETRY: Duration = Duration::from_secs(1);
/// How long a channel may take for a notice: more than any timeout of its own.
const SEND_MAX: Duration = Duration::from_secs(45);
/// Characters of an error that are kept.
const ERROR_CHARS_MAX: usize = 200;

/// How a channel fares, since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelStatus {
    /// Attempts in a row that failed.
    pub failures: u32,
    /// Why the last one did that failed.
    pub last_error: Option<String>,
    /// When.
    pub last_error_at: Option<Ts>,
    /// When it last took one.
    pub last_sent_at: Option<Ts>,
    /// Until when notices wait because there were too many.
    pub held_until: Option<Ts>,
}

/// What a sender is made of; cheap to clone.
#[derive(Clone)]
pub struct SenderParts {
    /// The channel.
    pub channel: OpenChannel,
    /// Where the log is read.
    pub store: Store,
    /// Where it is written.
    pub writer: WriterHandle,
    /// The engine's clock.
    pub clock: Arc<dyn Clock>,
    /// Chance, from 0 to 1.
    pub chance: fn() -> f64,
    /// Figures.
    pub metrics: NoticeMetrics,
    /// How the channel fares: written here, read by the API.
    pub status: Arc<Mutex<ChannelStatus>>,
    /// Rung when there is something to send.
    pub bell: Arc<Notify>,
    /// True when the engine stops.
    pub stopping: watch::Receiver<bool>,
}

/// Sends on one channel.
pub struct Sender {
    parts: SenderParts,
    bucket: Bucket,
    failures: u32,
    rests_until: Ts,
}

impl Sender {
    /// Rested, with a full bucket.
    #[must_use]
    pub fn new(parts: SenderParts) -> Self {
        let bucket = Bucket::new(parts.channel.per_minute);
        Self { parts, bucket, failures: 0, rests_until: Ts(i64::MIN) }
    }

    /// Sends until the engine stops, which waits for the one under way. After a panic it begins anew: the log says where.
    pub async fn run(parts: SenderParts) {
        loop {
            let sender = Self::new(parts.clone());
            if AssertUnwindSafe(sender.go_on()).catch_unwind().await.is_ok() {
                return;
            }
            tracing::error!(channel = parts.channel.name, "notices are sent anew after a panic");
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn go_on(mut self) {
        let mut stopping = self.parts.stopping.clone();
        while !*stopping.borrow() {
            let pause = match self.round().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::warn!(%error, channel = self.parts.channel.name, "notices are sent later");
                    RETRY
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.parts.bell.notified() => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        }
    }

    /// Sends what is due now; gives how long nothing can be.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn round(&mut self) -> Result<Duration, store::StoreError> {
        loop {
            let now = self.parts.clock.now();
            if self.rests_until > now {
                return Ok(until(now, self.rests_until));
            }
            let due = self.parts.store.due_notices(&self.parts.channel.name, now, AT_ONCE).await?;
            if due.is_empty() {
                self.parts.status.lock().held_until = None;
                return Ok(IDLE);
            }
            for row in due {
                // what cannot be marked would be sent twice: by this process, or by the engine that has taken over
                if !self.parts.store.is_writing() {
                    return Ok(IDLE);
                }
                let now = self.parts.clock.now();
                let held = self.bucket.take(now).err();
                self.parts.status.lock().held_until = held;
                if let Some(until_then) = held {
                    return Ok(until(now, until_then));
                }
                if !self.send(&row).await || *self.parts.stopping.borrow() {
                    break;
                }
            }
            if *self.parts.stopping.borrow() {
                return Ok(IDLE);
            }
        }
    }

    /// Sends one and marks it; false where the channel is to rest.
    async fn send(&mut self, row: &StoredNotice) -> bool {
        let started = self.parts.clock.now();
        let sending = self.parts.channel.channel.send(&row.notice, started);
        let sent = tokio::time::timeout(SEND_MAX, AssertUnwindSafe(sending).catch_unwind()).await;
        let sent = match sent {
            Ok(Ok(sent)) => sent,
            Ok(Err(_)) => Err(SendError::retry("the channel panicked")),
            Err(_) => Err(SendError::retry("no answer in time")),
        };
        let now = self.parts.clock.now();
        let mark = self.judge(row, &sent, started, now);
        let (channel, id) = (&self.parts.channel.name, row.notice.id);
        match mark.state {
            NoticeState::Sent if mark.last_error.is_some() => {
                tracing::warn!(channel, %id, attempts = mark.attempts, why = mark.last_error, "notice sent to some only");
            }
            NoticeState::Sent => tracing::info!(channel, %id, attempts = mark.attempts, "notice sent"),
            NoticeState::Pending => {
                tracing::warn!(channel, %id, attempts = mark.attempts, why = mark.last_error, "notice is sent later");
            }
            NoticeState::Failed | NoticeState::Dropped => {
                tracing::error!(channel, %id, attempts = mark.attempts, why = mark.last_error, "notice cannot be sent");
            }
        }
        self.parts.metrics.count(channel, mark.state);
        let goes_on = match &sent {
            Err(SendError::Retry { after, .. }) => {
                self.failures = self.failures.saturating_add(1);
                self.rests_until = pace::rest_until(now, self.failures, *after, (self.parts.chance)());
                false
            }
            // what was refused was heard: the channel itself works
            Ok(()) | Err(SendError::Refused { .. } | SendError::Partly { .. }) => {
                self.failures = 0;
                true
            }
        };
        self.note(&mark, now);
        self.keep(mark).await;
        goes_on
    }

    fn judge(&self, row: &StoredNotice, sent: &Result<(), SendError>, started: Ts, now: Ts) -> NoticeMark {
        let why = sent.as_ref().err().map(|error| error.to_string().chars().take(ERROR_CHARS_MAX).collect::<String>());
        let first = row.first_try_at.unwrap_or(started);
        let state = match sent {
            Ok(()) => NoticeState::Sent,
            Err(SendError::Retry { .. } | SendError::Partly { again: true, .. })
                if now.0 - first.0 < pace::TRIED_FOR =>
            {
                NoticeState::Pending
            }
            // somebody has it; the error says who does not
            Err(SendError::Partly { .. }) => NoticeState::Sent,
            Err(_) => NoticeState::Failed,
        };
        let mut mark = row.mark(state, now, why);
        mark.attempts = row.attempts.saturating_add(1);
        mark.first_try_at = Some(first);
        let wait = match sent {
            Err(SendError::Retry { after, .. }) => Some(*after),
            Err(SendError::Partly { again: true, .. }) => Some(None),
            _ => None,
        };
        if let Some(after) = wait {
            mark.next_at = pace::retry_at(now, mark.attempts, after, (self.parts.chance)());
        }
        mark
    }

    fn note(&self, mark: &NoticeMark, now: Ts) {
        let mut status = self.parts.status.lock();
        if mark.state == NoticeState::Sent {
            status.last_sent_at = Some(now);
        }
        if mark.last_error.is_some() {
            status.last_error.clone_from(&mark.last_error);
            status.last_error_at = Some(now);
        }
        status.failures = self.failures;
    }

    /// Writes a mark, however long the store is away: whatever is sent before it is there would be sent twice.
    async fn keep(&self, mark: NoticeMark) {
        let marks = NoticeMarks { marks: vec![mark], forget: None };
        while let Err(error) = self.parts.writer.commit(Vec::new(), vec![Attachment::NoticeMarks(marks.clone())]).await
        {
            tracing::warn!(%error, channel = self.parts.channel.name, "a sent notice is marked later");
            tokio::time::sleep(RETRY).await;
        }
    }
}

fn until(now: Ts, then: Ts) -> Duration {
    Duration::from_micros(u64::try_from(then.0.saturating_sub(now.0)).unwrap_or_default()).min(IDLE)
}
