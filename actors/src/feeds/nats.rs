//! A stream of NATS JetStream, read by position: nothing on the server remembers how far.
//!
//! ```text
//! cursor {stream, created, subject, seq} ─▶ is it the same stream, and is seq + 1 still there? ─▶ what lies behind seq
//! ```
//! The consumer is of the server's memory, unnamed, and acknowledges nothing: it is made anew at `seq + 1` whenever there
//! is a doubt: after a broken connection, a message that is missing in its own count, a restart of the server. Streams
//! that delete what was delivered (interest, work queue) cannot be read by position and are refused.

use super::brokers::{
    Access, AskAccess, CONNECT_TIMEOUT, Lines, Login, MESSAGES_MAX, REQUEST_TIMEOUT, Taken, WAIT, keep_secret,
    read_cursor, within, words, write_cursor,
};
use super::{Cursor, FETCH_BYTES_MAX, FetchError, Fetched, Format, Reader};
use crate::kernel::Progress;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, ReplayPolicy, pull};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{ConsumerErrorKind, RetentionPolicy, Stream};
use async_nats::jetstream::{self, Message};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use models::feed_brokers::NatsSettings;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::watch;

/// What this program calls itself.
const CLIENT_NAME: &str = "mlinzi";
/// How often a connection is asked whether it lives; two unanswered ones end it.
const PING_EVERY: Duration = Duration::from_secs(5);
/// How long the server keeps a consumer that nobody asks.
const CONSUMER_IDLE: Duration = Duration::from_secs(60);
/// Messages of other subjects that may lie behind the position before it moves past them without a record.
const OTHERS_MAX: u64 = 1_000;

/// A reader of a stream.
///
/// # Errors
/// [`FetchError::Settings`]
pub fn reader(settings: NatsSettings, access: AskAccess) -> Result<Box<dyn Reader>, FetchError> {
    check(&settings, &access()?)?;
    Ok(Box::new(Nats { settings, access, link: None }))
}

fn check(settings: &NatsSettings, access: &Access) -> Result<(), FetchError> {
    settings.check().map_err(|e| FetchError::Settings(e.to_string()))?;
    access.may_call(&settings.servers, "servers")?;
    if matches!(access.login, Login::Password { .. } | Login::Token(_)) {
        keep_secret(settings.tls, &settings.servers, "the password or token")?;
    }
    if settings.tls {
        access.tls()?;
    }
    Ok(())
}

struct Nats {
    settings: NatsSettings,
    access: AskAccess,
    /// None until the first fetch, and after every failure.
    link: Option<Link>,
}

struct Link {
    jetstream: jetstream::Context,
    /// Whether the connection broke since: the client makes it anew by itself, but what was asked on it is not answered.
    broken: watch::Receiver<bool>,
    tail: Option<Tail>,
}

/// A consumer and what it has delivered.
struct Tail {
    consumer: Consumer<pull::Config>,
    /// Of the last message taken, in the stream.
    seq: u64,
    /// The same message in the consumer's own count, which has no gaps.
    count: u64,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    stream: String,
    /// When the stream was made, ns since 1970: another one of the same name is another stream.
    created: String,
    subject: String,
    /// Of the last message read.
    seq: u64,
}

/// The stream as it is now.
struct Extent {
    created: String,
    /// Of the oldest message; one more than `last` where there is none.
    first: u64,
    last: u64,
}

impl Reader for Nats {
    fn fetch<'a>(
        &'a mut self,
        cursor: Option<&'a Cursor>,
        progress: &'a Progress,
    ) -> LocalBoxFuture<'a, Result<Fetched, FetchError>> {
        Box::pin(async move {
            let fetched = Box::pin(self.read(cursor, progress)).await;
            if fetched.is_err() {
                // whatever broke, the next fetch begins with a new connection
                self.link = None;
            }
            fetched
        })
    }
}

impl Nats {
    async fn read(&mut self, cursor: Option<&Cursor>, progress: &Progress) -> Result<Fetched, FetchError> {
        let known = cursor.map(read_cursor::<Position>).transpose()?;
        let mut link = match self.link.take().filter(|link| !*link.broken.borrow()) {
            Some(link) => link,
            None => Link::open(&self.settings, &(self.access)()?).await?,
        };
        let mut broken = link.broken.clone();
        tokio::select! {
            biased;
            fetched = self.go_on(&mut link, known, progress) => {
                self.link = Some(link);
                fetched
            }
            _ = broken.wait_for(|broken| *broken) => Err(FetchError::Unreachable("the connection broke".into())),
        }
    }

    async fn go_on(
        &self,
        link: &mut Link,
        known: Option<Position>,
        progress: &Progress,
    ) -> Result<Fetched, FetchError> {
        progress.beat();
        let stream = link.stream(&self.settings.stream).await?;
        let extent = extent(&stream)?;
        let at = match &known {
            Some(position) => self.resume(position, &extent)?,
            // the beginning is kept as a position, too: what retention takes away from it later is missed, not overlooked
            None => extent.first.saturating_sub(1),
        };
        progress.beat();
        let taken = link.take(&stream, &self.settings.subject, at, &extent, progress).await?;
        if let Some(gap) = taken.gap {
            let now = self::extent(&link.stream(&self.settings.stream).await?)?;
            if now.created != extent.created || now.first > gap + 1 {
                return Err(gone(gap, &now));
            }
        }
        let mut seq = taken.seq;
        // up to here everything is of other subjects: the position follows, before it is taken for something missed
        if taken.end && extent.last.saturating_sub(seq) >= OTHERS_MAX {
            seq = extent.last;
        }
        let (stream, subject) = (self.settings.stream.clone(), self.settings.subject.clone());
        let position = Position { stream, created: extent.created, subject, seq };
        let cursor = if known.as_ref() == Some(&position) { None } else { Some(write_cursor(&position)?) };
        let more = taken.more && cursor.is_some();
        Ok(Fetched { body: taken.lines.into_body(), format: Format::Ndjson, cursor, more })
    }

    /// Whether what lies behind a position is still there.
    fn resume(&self, position: &Position, extent: &Extent) -> Result<u64, FetchError> {
        let lost = |what: String| Err(FetchError::Lost(what));
        if position.stream != self.settings.stream || position.subject != self.settings.subject {
            return lost(format!("it is one of {} in the stream {}", position.subject, position.stream));
        }
        if position.created != extent.created {
            return lost("the stream was made anew".into());
        }
        if position.seq > extent.last {
            return lost(format!("it was read up to {}, and the stream ends at {}", position.seq, extent.last));
        }
        if extent.first > position.seq + 1 {
            return Err(gone(position.seq, extent));
        }
        Ok(position.seq)
    }
}

fn gone(seq: u64, extent: &Extent) -> FetchError {
    FetchError::Lost(format!("it was read up to {seq}, and the stream begins at {}", extent.first))
}

fn extent(stream: &Stream) -> Result<Extent, FetchError> {
    let info = stream.cached_info();
    if info.config.retention != RetentionPolicy::Limits {
        let text = "the stream deletes what was delivered: only one with retention by limits can be read by position";
        return Err(FetchError::Settings(text.into()));
    }
    let state = &info.state;
    Ok(Extent {
        created: info.created.unix_timestamp_nanos().to_string(),
        first: state.first_sequence.max(1),
        last: state.last_sequence,
    })
}

/// What a consumer gave.
struct Batch {
    lines: Lines,
    /// Of the last message taken.
    seq: u64,
    more: bool,
    /// Nothing came, and nothing of the subject is there, as far as the stream went before it was asked.
    end: bool,
    /// The position before the first hole in the stream's own count.
    gap: Option<u64>,
}

impl Link {
    async fn open(settings: &NatsSettings, access: &Access) -> Result<Self, FetchError> {
        check(settings, access)?;
        access.may_call_now(&settings.servers, "servers").await?;
        let (breaks, broken) = watch::channel(false);
        let mut options = ConnectOptions::new()
            .name(CLIENT_NAME)
            .connection_timeout(CONNECT_TIMEOUT)
            .request_timeout(Some(REQUEST_TIMEOUT))
            .ping_interval(PING_EVERY)
            // a server that names others does not decide whom this one calls
            .ignore_discovered_servers()
            .subscription_capacity(MESSAGES_MAX * 2)
            .event_callback(move |event| {
                if matches!(event, Event::Disconnected | Event::SlowConsumer(_)) {
                    breaks.send_replace(true);
                }
                std::future::ready(())
            });
        options = match &access.login {
            Login::Anonymous => options,
            Login::Password { user, password } => options.user_and_password(user.clone(), password.to_string()),
            Login::Token(token) => options.token(token.to_string()),
            Login::NKey(seed) => options.nkey(seed.to_string()),
        };
        if settings.tls {
            options = options.require_tls(true).tls_client_config(access.tls()?);
        }
        let connected = within(CONNECT_TIMEOUT, options.connect(settings.servers.as_slice())).await?;
        let client: Client = connected.map_err(|e| match e.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                FetchError::Refused("the server does not know these credentials".into())
            }
            ConnectErrorKind::TimedOut => FetchError::Timeout(CONNECT_TIMEOUT),
            _ => FetchError::Unreachable(words(e)),
        })?;
        Ok(Self { jetstream: jetstream::new(client), broken, tail: None })
    }

    async fn stream(&self, name: &str) -> Result<Stream, FetchError> {
        within(REQUEST_TIMEOUT, self.jetstream.get_stream(name)).await?.map_err(|e| match e.kind() {
            GetStreamErrorKind::JetStream(error) => answered(&error),
            _ => FetchError::Unreachable(words(e)),
        })
    }

    /// Up to a fetch of messages behind `at`.
    async fn take(
        &mut self,
        stream: &Stream,
        subject: &str,
        at: u64,
        extent: &Extent,
        progress: &Progress,
    ) -> Result<Batch, FetchError> {
        let mut batch = Batch { lines: Lines::default(), seq: at, more: false, end: false, gap: None };
        let kept = self.tail.take().filter(|tail| tail.seq == at);
        let (mut tail, whole) = match kept {
            Some(mut tail) => match tail.pull(&mut batch, Pull::There).await {
                Ok(whole) => (tail, Some(whole)),
                // nobody asked it for long, or the server has started anew: it is gone, and nothing else is wrong
                Err(_) => (Tail::new(stream, subject, at).await?, None),
            },
            None => (Tail::new(stream, subject, at).await?, None),
        };
        progress.beat();
        let mut whole = match whole {
            Some(whole) => whole,
            None => tail.pull(&mut batch, Pull::There).await?,
        };
        // nothing is there: the first that comes, and what comes with it
        if whole && batch.seq == at {
            progress.beat();
            whole = tail.pull(&mut batch, Pull::First).await?;
            if whole && batch.seq > at {
                whole = tail.pull(&mut batch, Pull::There).await?;
            }
        }
        // nothing came, and something may be there: was it delivered into a connection that is gone?
        if whole && batch.seq == at && extent.last > at {
            whole = tail.is_complete().await?;
        }
        batch.end = whole && batch.seq == at;
        // a consumer that a message was missed of, or that has delivered what had no room, is not asked again
        if whole {
            self.tail = Some(tail);
        }
        batch.more |= !whole && batch.seq > at;
        progress.beat();
        Ok(batch)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pull {
    /// What there is.
    There,
    /// One message, or none after a while.
    First,
}

impl Tail {
    async fn new(stream: &Stream, subject: &str, at: u64) -> Result<Self, FetchError> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: at + 1 },
            ack_policy: AckPolicy::None,
            replay_policy: ReplayPolicy::Instant,
            filter_subject: subject.to_owned(),
            inactive_threshold: CONSUMER_IDLE,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let made = within(REQUEST_TIMEOUT, stream.create_consumer(config)).await?;
        let consumer = made.map_err(|e| match e.kind() {
            ConsumerErrorKind::JetStream(error) => answered(&error),
            _ => FetchError::Unreachable(words(e)),
        })?;
        Ok(Self { consumer, seq: at, count: 0 })
    }

    /// Takes messages; false where this consumer cannot be gone on with.
    async fn pull(&mut self, batch: &mut Batch, what: Pull) -> Result<bool, FetchError> {
        let asked = match what {
            Pull::There => {
                let fetch = self.consumer.fetch().max_messages(MESSAGES_MAX).max_bytes(FETCH_BYTES_MAX);
                within(REQUEST_TIMEOUT, fetch.messages()).await?
            }
            Pull::First => {
                within(REQUEST_TIMEOUT, self.consumer.batch().max_messages(1).expires(WAIT).messages()).await?
            }
        };
        let mut messages = asked.map_err(|e| FetchError::Unreachable(words(e)))?;
        loop {
            let next = match within(REQUEST_TIMEOUT, messages.next()).await {
                Ok(next) => next,
                // what came is good; what did not come is asked for anew
                Err(_) if !batch.lines.is_empty() => return Ok(false),
                Err(e) => return Err(e),
            };
            match next {
                None => return Ok(true),
                Some(Ok(message)) => {
                    if !self.add(batch, &message)? {
                        return Ok(false);
                    }
                }
                Some(Err(e)) => {
                    let said = words(e);
                    return match () {
                        () if !batch.lines.is_empty() => Ok(false),
                        () if said.contains("MaxBytes") => Err(FetchError::TooLarge),
                        () => Err(FetchError::Unreachable(said)),
                    };
                }
            }
        }
    }

    /// Whether everything that the server counts as delivered has come.
    async fn is_complete(&mut self) -> Result<bool, FetchError> {
        let info = within(REQUEST_TIMEOUT, self.consumer.info()).await?;
        Ok(info.is_ok_and(|info| info.delivered.consumer_sequence == self.count))
    }

    /// Takes one message; false where it is not the next one, or has no room.
    fn add(&mut self, batch: &mut Batch, message: &Message) -> Result<bool, FetchError> {
        let info = message.info().map_err(|e| FetchError::Unreadable(words(e)))?;
        if info.consumer_sequence != self.count + 1 || info.stream_sequence <= self.seq {
            return Ok(false);
        }
        if batch.lines.push(&message.payload)? == Taken::Full {
            return Ok(false);
        }
        if info.stream_sequence > self.seq + 1 && batch.gap.is_none() {
            batch.gap = Some(self.seq);
        }
        (self.seq, self.count) = (info.stream_sequence, info.consumer_sequence);
        batch.seq = info.stream_sequence;
        batch.more = info.pending > 0;
        Ok(true)
    }
}

/// What an answer of JetStream's own interface means.
fn answered(error: &jetstream::Error) -> FetchError {
    let said = words(error);
    if error.code() == 503 { FetchError::Unreachable(said) } else { FetchError::Refused(said) }
}
