//! What the tests stand on: a store of either kind with its writer, and channels that do as they are told.

use actors::notifiers::{
    Channel, ChannelStatus, NoticeMetrics, Notifiers, NotifySetup, OpenChannel, SendError, Sender, SenderParts,
};
use actors::writer::{CommitMetrics, WriterHandle};
use futures_util::future::BoxFuture;
use models::alert::Severity;
use models::ids::NoticeId;
use models::jurisdiction::JurisdictionNo;
use models::notice::{Notice, NoticeKind, NoticeState};
use models::ts::{SECOND, Ts};
use parking_lot::Mutex;
use prometheus::Registry;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use store::{Attachment, Clock, ManualClock, NoticeRow, OpenOptions, Store, StoredNotice};
use tokio::sync::watch;

pub const NOW: Ts = Ts(1_800_000_000 * SECOND);

#[derive(Clone, Copy)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// Completes every commit; nobody else listens.
struct Answers;

impl store::Sink for Answers {
    fn publish(&mut self, group: store::CommittedGroup) {
        group.members.into_iter().for_each(store::Member::complete);
    }
    fn head(&mut self, _: models::ids::Seq, _: Ts) {}
}

/// A database, and who holds it.
pub struct Bench {
    url: String,
    _dir: Option<testkit::TempDir>,
    _database: Option<testkit::TestDatabase>,
    pub clock: Arc<ManualClock>,
}

/// An engine's share of it.
pub struct Node {
    pub store: Store,
    pub writer: WriterHandle,
    pub registry: Registry,
    pub clock: Arc<ManualClock>,
    stopping: watch::Sender<bool>,
}

impl Bench {
    pub async fn fresh(kind: Kind) -> Self {
        let clock = Arc::new(ManualClock::new(NOW));
        match kind {
            Kind::Sqlite => {
                let dir = testkit::temp_dir();
                Self { url: testkit::sqlite_url(&dir), _dir: Some(dir), _database: None, clock }
            }
            Kind::Postgres => {
                let database = testkit::Postgres::shared().database().await;
                Self { url: database.url.clone(), _dir: None, _database: Some(database), clock }
            }
        }
    }

    pub async fn node(&self) -> Node {
        let store = Store::open(&self.url, &OpenOptions::default()).await.expect("the store opens");
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let writer = store.start_writer(Box::new(Answers), [7; 32], clock, Duration::from_secs(5)).await;
        let metrics = CommitMetrics::unregistered().expect("metrics");
        Node {
            writer: WriterHandle::new(writer.expect("a writer"), metrics),
            store,
            registry: Registry::new(),
            clock: Arc::clone(&self.clock),
            stopping: watch::Sender::new(false),
        }
    }
}

impl Node {
    pub async fn put(&self, rows: Vec<NoticeRow>) {
        self.writer.commit(Vec::new(), vec![Attachment::Notices(rows)]).await.expect("stored");
    }

    pub fn parts(&self, channel: OpenChannel) -> SenderParts {
        let metrics = NoticeMetrics::register(&Registry::new(), [channel.name.as_str()].into_iter());
        SenderParts {
            channel,
            store: self.store.clone(),
            writer: self.writer.clone(),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            chance: || 1.0,
            metrics: metrics.expect("metrics"),
            status: Arc::<Mutex<ChannelStatus>>::default(),
            bell: Arc::default(),
            stopping: self.stopping.subscribe(),
        }
    }

    pub fn sender(&self, channel: OpenChannel) -> Sender {
        Sender::new(self.parts(channel))
    }

    pub fn notifiers(&self, setup: NotifySetup) -> Notifiers {
        let names = setup.channels.iter().map(|channel| channel.name.as_str());
        let metrics = NoticeMetrics::register(&self.registry, names).expect("metrics");
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        Notifiers::new(setup, self.store.clone(), self.writer.clone(), clock, metrics)
    }

    pub async fn stored(&self, id: u128) -> StoredNotice {
        self.store.notice(NoticeId(id)).await.expect("read").remove(0)
    }

    pub async fn state(&self, id: u128) -> NoticeState {
        self.stored(id).await.state
    }

    /// Ends as a process does that is killed: what was begun is not waited for.
    pub async fn end(self) {
        self.store.stop_writer(Duration::from_secs(10)).await;
        self.store.close().await;
    }

    /// The value of a metric, by its line up to the value.
    pub fn metric(&self, line: &str) -> Option<String> {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).expect("text");
        text.lines().find_map(|known| known.strip_prefix(line)).map(|value| value.trim().to_owned())
    }
}

pub fn notice(id: u128, group: &str) -> Notice {
    let mut notice = Notice::test(NoticeId(id), "x", JurisdictionNo(0), NOW);
    notice.kind = NoticeKind::Raised;
    notice.group = group.to_owned();
    notice.severity = Severity::High;
    notice.rule = "spike".to_owned();
    notice.title = format!("notice {id}");
    notice
}

pub fn row(channel: &str, notice: &Notice) -> NoticeRow {
    NoticeRow { channel: channel.to_owned(), notice: notice.clone() }
}

/// What a channel does next.
pub enum Does {
    Take,
    Fail,
    Refuse,
    /// Some have it; whether the others may still get it.
    Partly(bool),
    Panic,
    /// Takes it and never says so.
    Hang,
    Asks(Duration),
    /// Takes it when nothing can be written any more.
    EndsWriting(Store),
}

/// A channel that does as it is told, then takes everything; remembers what it was given.
#[derive(Default)]
pub struct Told {
    does: Mutex<VecDeque<Does>>,
    given: Mutex<Vec<u128>>,
}

impl Told {
    pub fn new(does: impl IntoIterator<Item = Does>) -> Arc<Self> {
        Arc::new(Self { does: Mutex::new(does.into_iter().collect()), given: Mutex::default() })
    }

    pub fn given(&self) -> Vec<u128> {
        self.given.lock().clone()
    }

    pub fn open(self: &Arc<Self>, name: &str, per_minute: u32) -> OpenChannel {
        let channel = Arc::clone(self) as Arc<dyn Channel>;
        OpenChannel { name: name.to_owned(), kind: "told", per_minute, channel }
    }
}

impl Channel for Told {
    fn send<'a>(&'a self, notice: &'a Notice, _: Ts) -> BoxFuture<'a, Result<(), SendError>> {
        self.given.lock().push(notice.id.0);
        let does = self.does.lock().pop_front();
        Box::pin(async move {
            let later = |after| SendError::Retry { why: "answered 503".to_owned(), after };
            match does {
                None | Some(Does::Take) => Ok(()),
                Some(Does::Fail) => Err(later(None)),
                Some(Does::Asks(after)) => Err(later(Some(after))),
                Some(Does::Partly(again)) => Err(SendError::Partly { why: "answered 550".to_owned(), again }),
                Some(Does::Refuse) => Err(SendError::Refused { why: "answered 422".to_owned() }),
                Some(Does::EndsWriting(store)) => {
                    store.stop_writer(Duration::ZERO).await;
                    Ok(())
                }
                Some(Does::Panic) => panic!("as it was told"),
                Some(Does::Hang) => std::future::pending().await,
            }
        })
    }
}

/// Waits until something holds.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.unwrap_or_else(|_| panic!("never: {what}"));
}
