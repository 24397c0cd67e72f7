//! A topic of a Kafka cluster: all partitions are read by one reader, in no consumer group.
//!
//! ```text
//! cursor {topic, next: partition → offset} ─▶ one long poll a partition ─▶ what came first, and what came with it
//! ```
//! The offsets are the cursor, which is stored with the records: a record is stored exactly once, whatever breaks. A
//! partition that was not there before is read from its beginning. Long polls that brought nothing yet are kept for the
//! next fetch, so that an empty partition does not hold up a full one.
//!
//! What the protocol's client (rskafka) does not tell: the id of a topic. One that was deleted and made again under the
//! same name is noticed when an offset or a partition is gone, not when it has grown past the old offsets meanwhile. And
//! records of aborted transactions are not left out by it: they are read like the others.

mod link;
mod publisher;

pub use publisher::{Processed, Publisher};

use super::brokers::{AskAccess, Lines, REQUEST_TIMEOUT, Taken, WAIT, read_cursor, within, words, write_cursor};
use super::{Cursor, FETCH_BYTES_MAX, FetchError, Fetched, Format, Reader};
use crate::kernel::Progress;
use futures_util::future::LocalBoxFuture;
use link::{Link, Page, PageError};
use models::feed_brokers::KafkaSettings;
use rskafka::client::partition::{OffsetAt, PartitionClient};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Partitions of a topic at most: their offsets have to fit into a cursor.
pub const PARTITIONS_MAX: usize = 128;
/// How often new partitions are looked for.
const PARTITIONS_EVERY: Duration = Duration::from_secs(30);
/// Bytes asked of one partition at least, however many there are.
const SHARE_MIN: usize = 64 << 10;
/// After the first partition answered, the others have so long to come along.
const GRACE: Duration = Duration::from_millis(10);

/// A reader of a topic.
///
/// # Errors
/// [`FetchError::Settings`]
pub fn reader(settings: KafkaSettings, access: AskAccess) -> Result<Box<dyn Reader>, FetchError> {
    link::check(&settings, &access()?)?;
    Ok(Box::new(Kafka { settings, access, open: None, turn: 0 }))
}

struct Kafka {
    settings: KafkaSettings,
    access: AskAccess,
    /// None until the first fetch, and after every failure.
    open: Option<Open>,
    /// Which partition is served first: another one each time.
    turn: usize,
}

type Answer = (i32, Asked, Result<Page, PageError>);

/// Connections and what is under way on them.
struct Open {
    link: Link,
    partitions: BTreeMap<i32, Arc<PartitionClient>>,
    looked_at: Instant,
    /// Long polls, as tasks: they go on between two fetches.
    polls: JoinSet<Answer>,
    /// Of each partition the newest one; answers to others are out of date.
    asked: BTreeMap<i32, Asked>,
    fetches: u64,
    /// What came and had no room yet.
    pages: BTreeMap<i32, Page>,
    /// Up to where each partition has said that something is there; those that never answered are missing.
    ends: BTreeMap<i32, i64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Asked {
    from: i64,
    /// Which fetch asked.
    fetch: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    topic: String,
    next: BTreeMap<i32, i64>,
}

impl Reader for Kafka {
    fn fetch<'a>(
        &'a mut self,
        cursor: Option<&'a Cursor>,
        progress: &'a Progress,
    ) -> LocalBoxFuture<'a, Result<Fetched, FetchError>> {
        Box::pin(async move {
            let fetched = self.read(cursor, progress).await;
            if fetched.is_err() {
                // whatever broke, the next fetch begins with new connections
                self.open = None;
            }
            fetched
        })
    }
}

impl Kafka {
    async fn read(&mut self, cursor: Option<&Cursor>, progress: &Progress) -> Result<Fetched, FetchError> {
        let mut next = match cursor.map(read_cursor::<Position>).transpose()? {
            Some(position) if position.topic != self.settings.topic => {
                return Err(FetchError::Lost(format!("it is one of the topic {}", position.topic)));
            }
            Some(position) => position.next,
            None => BTreeMap::new(),
        };
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open::new(&self.settings, &self.access).await?,
        };
        progress.beat();
        if open.looked_at.elapsed() >= PARTITIONS_EVERY {
            open.look(&self.settings.topic).await?;
        }
        if let Some(gone) = next.keys().find(|partition| !open.partitions.contains_key(partition)) {
            return Err(FetchError::Lost(format!("there is no partition {gone} any more")));
        }
        // a beginning is kept as a position, too: what retention takes away from it later is missed, not overlooked
        let mut moved = open.begin(&mut next).await?;
        progress.beat();
        open.poll(&next);
        open.wait(progress).await?;

        self.turn = self.turn.wrapping_add(1);
        let mut lines = Lines::default();
        let ready: Vec<i32> = open.pages.keys().copied().collect();
        let first = self.turn % ready.len().max(1);
        for partition in ready[first..].iter().chain(&ready[..first]) {
            let Some(page) = open.pages.get_mut(partition) else { continue };
            while let Some(record) = page.records.front() {
                // a tombstone says that there is nothing
                if let Some(value) = &record.value
                    && lines.push(value)? == Taken::Full
                {
                    break;
                }
                page.next = record.offset + 1;
                page.records.pop_front();
            }
            moved |= next.insert(*partition, page.next) != Some(page.next);
            if page.records.is_empty() {
                open.pages.remove(partition);
            }
        }
        let more = is_more(&next, &open.ends);
        self.open = Some(open);
        let cursor = moved.then(|| write_cursor(&Position { topic: self.settings.topic.clone(), next })).transpose()?;
        Ok(Fetched { body: lines.into_body(), format: Format::Ndjson, more: more && cursor.is_some(), cursor })
    }
}

/// Whether something lies behind what was read: a partition that has not answered yet may hold anything.
fn is_more(next: &BTreeMap<i32, i64>, ends: &BTreeMap<i32, i64>) -> bool {
    next.iter().any(|(partition, next)| ends.get(partition).is_none_or(|end| next < end))
}

impl Open {
    async fn new(settings: &KafkaSettings, access: &AskAccess) -> Result<Self, FetchError> {
        let mut open = Self {
            link: Link::open(settings, &access()?).await?,
            partitions: BTreeMap::new(),
            looked_at: Instant::now(),
            polls: JoinSet::new(),
            asked: BTreeMap::new(),
            fetches: 0,
            pages: BTreeMap::new(),
            ends: BTreeMap::new(),
        };
        open.look(&settings.topic).await?;
        Ok(open)
    }

    /// Which partitions there are.
    async fn look(&mut self, topic: &str) -> Result<(), FetchError> {
        let there = self.link.partitions(topic).await?;
        if there.len() > PARTITIONS_MAX {
            let text = format!("the topic has {} partitions, at most {PARTITIONS_MAX} are read", there.len());
            return Err(FetchError::Settings(text));
        }
        self.partitions.retain(|partition, _| there.contains(partition));
        for partition in there {
            if !self.partitions.contains_key(&partition) {
                self.partitions.insert(partition, self.link.partition(topic, partition).await?);
            }
        }
        self.looked_at = Instant::now();
        Ok(())
    }

    /// Where partitions begin that were never read.
    async fn begin(&mut self, next: &mut BTreeMap<i32, i64>) -> Result<bool, FetchError> {
        let fresh = self.partitions.iter().filter(|(partition, _)| !next.contains_key(partition));
        let offsets = fresh.map(async |(partition, client)| {
            let earliest = within(REQUEST_TIMEOUT, client.get_offset(OffsetAt::Earliest)).await?;
            Ok::<_, FetchError>((*partition, earliest.map_err(|e| link::error(&e))?))
        });
        let offsets = futures_util::future::try_join_all(offsets).await?;
        let any = !offsets.is_empty();
        next.extend(offsets);
        Ok(any)
    }

    /// Asks every partition that nothing lies ready of.
    fn poll(&mut self, next: &BTreeMap<i32, i64>) {
        self.fetches += 1;
        self.pages.retain(|partition, page| next.get(partition) == Some(&page.next));
        for partition in self.partitions.keys().copied().collect::<Vec<_>>() {
            let from = next[&partition];
            let asked = self.asked.get(&partition).is_some_and(|asked| asked.from == from);
            if !asked && !self.pages.contains_key(&partition) {
                self.ask(partition, from);
            }
        }
    }

    fn ask(&mut self, partition: i32, from: i64) {
        let Some(client) = self.partitions.get(&partition).map(Arc::clone) else { return };
        let share = (FETCH_BYTES_MAX / 2 / self.partitions.len()).max(SHARE_MIN);
        let asked = Asked { from, fetch: self.fetches };
        self.asked.insert(partition, asked);
        self.polls.spawn(async move { (partition, asked, link::page(&client, from, share).await) });
    }

    /// Waits until something is there, or every partition has said that there is nothing: silence is not nothing.
    async fn wait(&mut self, progress: &Progress) -> Result<(), FetchError> {
        let mut end = if self.pages.is_empty() { None } else { Some(Instant::now()) };
        loop {
            let until = end.unwrap_or_else(|| Instant::now() + WAIT);
            let (partition, asked, page) = match tokio::time::timeout_at(until, self.polls.join_next()).await {
                Ok(Some(Ok(answer))) => answer,
                Ok(Some(Err(e))) => return Err(FetchError::Unreadable(words(e))),
                Err(_) if end.is_none() => {
                    progress.beat();
                    continue;
                }
                Ok(None) | Err(_) => return Ok(()),
            };
            if self.asked.get(&partition) != Some(&asked) {
                continue;
            }
            self.asked.remove(&partition);
            if let Ok(page) = &page {
                // an empty answer is an end, too: behind it are marks of transactions at most
                self.ends.insert(partition, if page.records.is_empty() { asked.from } else { page.end });
            }
            match page {
                Ok(page) if !page.records.is_empty() => {
                    self.pages.insert(partition, page);
                    end.get_or_insert_with(|| Instant::now() + GRACE);
                }
                // nothing was there when an earlier fetch asked: is something there now?
                Ok(_) if asked.fetch != self.fetches => self.ask(partition, asked.from),
                Ok(_) => {}
                Err(PageError::OutOfRange) => return Err(self.lost(partition, asked.from).await),
                Err(PageError::Other(error)) => return Err(error),
            }
        }
    }

    /// Says what there is instead of what was asked for.
    async fn lost(&self, partition: i32, from: i64) -> FetchError {
        let mut there = String::new();
        if let Some(client) = self.partitions.get(&partition) {
            let both =
                async { tokio::join!(client.get_offset(OffsetAt::Earliest), client.get_offset(OffsetAt::Latest)) };
            if let Ok((Ok(earliest), Ok(latest))) = within(REQUEST_TIMEOUT, both).await {
                there = format!(", and the broker has {earliest} to {latest}");
            }
        }
        FetchError::Lost(format!("partition {partition} was read up to {from}{there}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_there_until_every_partition_has_said_that_nothing_is() {
        let offsets = |all: &[(i32, i64)]| all.iter().copied().collect::<BTreeMap<_, _>>();
        for (next, ends, more) in [
            (offsets(&[]), offsets(&[]), false),
            (offsets(&[(0, 5), (1, 7)]), offsets(&[(0, 5), (1, 7)]), false),
            // another one was read to its end, and this one was not
            (offsets(&[(0, 5), (1, 6)]), offsets(&[(0, 5), (1, 7)]), true),
            // this one has not answered yet
            (offsets(&[(0, 5), (1, 0)]), offsets(&[(0, 5)]), true),
            // one that is there no more asks for nothing
            (offsets(&[(0, 5)]), offsets(&[(0, 5), (1, 7)]), false),
        ] {
            assert_eq!(is_more(&next, &ends), more, "{next:?} of {ends:?}");
        }
    }
}
