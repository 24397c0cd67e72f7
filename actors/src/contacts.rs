//! Who has asked about whom: taken in from stored evidence, a little at a time, so that it never stands in the way of a
//! lookup or a registration.
//!
//! ```text
//! stored blocks ─ open ─▶ (key, operator) pairs ─ unknown, or of another day ─▶ commits, the last with the cursor ─▶ told
//! ```
//! Readers go by [`Contacts::told`]: every answer that was given without the events up to there is taken in. An answer may
//! be given without an event until the index has it, and is recorded a moment later; so the index is looked at first, and
//! what it holds counts as told once everything answered until [`SETTLED`] after that moment is taken in. The evidence is
//! the source and the cursor moves with the rows: a crash takes nothing in twice and leaves nothing out.
//!
//! On the way it is counted about how many people whom it never asked about before an operator asks: one by one in an
//! hour, in batches in a day. Beyond [`ContactsConfig`]'s limits whoever goes on is trying numbers.

use crate::evidence::EvidenceLog;
use crate::register::say;
use crate::writer::WriterHandle;
use models::alert::Window;
use models::evidence::{Block, ChainId, Route, Row, Subject};
use models::harm_signal::NamedBy;
use models::ids::{KeyId, OperatorNo, Seq};
use models::match_key::MatchKey;
use models::ts::{DAY, HOUR, SECOND, Ts};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use store::{Attachment, Contact, ContactBoot, ContactRows, Store};

/// Pause where nothing waits.
const IDLE: Duration = Duration::from_millis(250);
/// Pause after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// Records taken in at once, about: so many blocks are read.
const RECORDS_AT_ONCE: u32 = 512;
/// The most of them: an idle worker's blocks have one record each.
const BLOCKS_AT_ONCE_MAX: u32 = 256;
/// Contacts in one question or one commit at most, where nobody asks.
const CONTACTS_AT_ONCE: usize = 256;
/// The same while the workers are busy: half a millisecond, because lookups may wait for the processor behind it.
const CONTACTS_AT_ONCE_BUSY: usize = 16;
/// The share of their time from which on the workers are busy, of a thousand.
const BUSY_FROM: u32 = 100;
/// What of a step counts as work at most: a slow disk is no work.
const WORKED_MAX: Duration = Duration::from_millis(5);
/// How long after an event is in the index an answer given without it may be recorded at the latest: rows of a batch are
/// recorded together, by a thread of low priority.
const SETTLED: i64 = 2 * SECOND;
/// Moments at which the index was looked at that are kept.
const MOMENTS_MAX: usize = 1_024;
/// First contacts of longer ago raise no alarm: they are evidence that is taken in late.
const ALARMING: i64 = 2 * HOUR;
/// Of the time that taking in took, how many times as long it pauses: a fifth of a core where nobody asks, and two
/// hundredths of one where the workers are busy, because whoever asks must not wait for it.
const PAUSES: f32 = 4.0;
/// The same for each share of their time that the workers are busy.
const PAUSES_BUSY: f32 = 50.0;
/// Contacts of today that are remembered, so that the database is not asked about each of a player's bets; 8 bytes each.
const REMEMBERED: usize = 1 << 20;
/// Keys whose strangers are counted at most.
const KEYS_MAX: usize = 65_536;

/// Limits of what is taken in.
#[derive(Clone, Copy, Debug)]
pub struct ContactsConfig {
    /// People whom it never asked about before that an operator may ask about in an hour, one by one.
    pub strangers_per_hour: u32,
    /// The same in batches, in a day of UTC.
    pub batch_strangers_per_day: u32,
    /// Months after the last lookup after which a contact is forgotten.
    pub months: u16,
}

/// Readers' view: how far contacts have come; and the load that they give way to.
#[derive(Clone, Default)]
pub struct Contacts(Arc<Shared>);

struct Shared {
    through: AtomicI64,
    told: AtomicI64,
    /// Of a thousand.
    busy: AtomicU32,
}

impl Default for Shared {
    fn default() -> Self {
        // until somebody says otherwise: a start has better things to do
        Self { through: AtomicI64::new(0), told: AtomicI64::new(0), busy: AtomicU32::new(1_000) }
    }
}

impl Contacts {
    /// Every lookup answered until then is taken in.
    #[must_use]
    pub fn through(&self) -> Ts {
        Ts(self.0.through.load(Ordering::Acquire))
    }

    /// Sequence up to which every answer given without an event is taken in.
    #[must_use]
    pub fn told(&self) -> Seq {
        self.0.told.load(Ordering::Acquire)
    }

    /// The share of its time that the busiest of those who answer lookups works.
    pub fn give_way_to(&self, busy: f32) {
        self.0.busy.store((busy.clamp(0.0, 1.0) * 1_000.0) as u32, Ordering::Relaxed);
    }

    /// How many to take in at once.
    fn at_once(&self) -> usize {
        if self.0.busy.load(Ordering::Relaxed) < BUSY_FROM { CONTACTS_AT_ONCE } else { CONTACTS_AT_ONCE_BUSY }
    }

    /// How long to pause after having worked for so long.
    fn pause(&self, worked: Duration) -> Duration {
        let busy = self.0.busy.load(Ordering::Relaxed) as f32 / 1_000.0;
        worked.mul_f32(PAUSES + PAUSES_BUSY * busy)
    }
}

/// A key that goes on asking when its operator has asked about too many strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enumeration {
    /// The key.
    pub key: KeyId,
    /// Its operator.
    pub operator_no: OperatorNo,
    /// In batches, not one by one.
    pub in_batches: bool,
    /// The hour, or the day.
    pub window: Window,
    /// How many the operator has asked about in it, so far.
    pub strangers: u32,
    /// How many would have been quiet.
    pub limit: u32,
}

/// Counts first contacts by operator and window.
#[derive(Default)]
struct Strangers {
    counts: HashMap<(OperatorNo, Window), u32>,
    told: HashSet<(KeyId, Window)>,
}

impl Strangers {
    /// Counts one; tells of each key once a window that it is too many.
    fn count(
        &mut self,
        (key, route): (KeyId, Route),
        operator_no: OperatorNo,
        at: Ts,
        config: &ContactsConfig,
    ) -> Option<Enumeration> {
        let (in_batches, length, limit) = match route {
            Route::Single => (false, HOUR, config.strangers_per_hour),
            Route::Batch => (true, DAY, config.batch_strangers_per_day),
            // the regulator's own services
            Route::Register => return None,
        };
        let start = Ts(at.0.div_euclid(length) * length);
        let window = Window { start, end: start.plus(length) };
        if self.counts.len() + self.told.len() >= KEYS_MAX {
            self.counts.retain(|(_, known), _| known.end > at);
            self.told.retain(|(_, known)| known.end > at);
        }
        let count = self.counts.entry((operator_no, window)).or_default();
        *count = count.saturating_add(1);
        let strangers = *count;
        let is_news = strangers > limit && self.told.insert((key, window));
        is_news.then_some(Enumeration { key, operator_no, in_batches, window, strangers, limit })
    }
}

/// Takes evidence in.
pub struct Compactor {
    store: Store,
    writer: WriterHandle,
    /// Keys of the months.
    evidence: EvidenceLog,
    /// Where readers look.
    contacts: Contacts,
    config: ContactsConfig,
    /// Hears of keys that try numbers.
    alarm: Box<dyn Fn(Enumeration) + Send + Sync>,
    /// How far the index has come; none while it cannot be asked.
    index: Box<dyn Fn() -> Option<Seq> + Send + Sync>,
    /// When the index was looked at, and how far it had come.
    moments: VecDeque<(Ts, Seq)>,
    /// Blocks read at once, as full as they are.
    blocks_at_once: u32,
    strangers: Strangers,
    remembered: Remembered,
}

/// Contacts that are stored with today's date: one place for each, and who comes later to a place takes it.
struct Remembered(Vec<u64>);

impl Remembered {
    fn mark(key: MatchKey, operator_no: OperatorNo, day: i64) -> u64 {
        // the key is a digest already: any bits of it are as good as a hash
        let who = key.tag64() ^ u64::from(operator_no.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        who ^ (day as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    fn place(mark: u64) -> usize {
        mark as usize % REMEMBERED
    }

    /// Is it one of them?
    fn holds(&self, key: MatchKey, operator_no: OperatorNo, at: Ts) -> bool {
        let mark = Self::mark(key, operator_no, at.0.div_euclid(DAY));
        self.0[Self::place(mark)] == mark
    }

    /// It is stored now.
    fn keep(&mut self, contact: &Contact) {
        let mark = Self::mark(contact.key, contact.operator_no, contact.last_at.0.div_euclid(DAY));
        self.0[Self::place(mark)] = mark;
    }
}

/// Pairs of one chunk in the order of their first appearance.
#[derive(Default)]
struct Chunk {
    seen: HashMap<(MatchKey, OperatorNo), usize>,
    contacts: Vec<(Contact, Option<(KeyId, Route)>)>,
}

impl Chunk {
    /// `counts`: by this key the person is counted; by what else was supplied nobody is counted twice.
    fn take(&mut self, subject: &Subject, operator_no: OperatorNo, row: &Row, counts: bool) {
        let key = subject.key;
        let place = *self.seen.entry((key, operator_no)).or_insert(self.contacts.len());
        match self.contacts.get_mut(place) {
            Some((contact, _)) => {
                contact.first_at = contact.first_at.min(row.at);
                contact.last_at = contact.last_at.max(row.at);
            }
            None => {
                let counted = counts.then_some((row.credential.key, row.route));
                let named = NamedBy { kind: subject.kind, digest_version: subject.digest_version };
                let contact = Contact { key, operator_no, first_at: row.at, last_at: row.at, named };
                self.contacts.push((contact, counted));
            }
        }
    }
}

impl Compactor {
    /// Not started yet.
    pub fn new(
        store: Store,
        writer: WriterHandle,
        evidence: EvidenceLog,
        contacts: Contacts,
        config: ContactsConfig,
        alarm: Box<dyn Fn(Enumeration) + Send + Sync>,
        index: Box<dyn Fn() -> Option<Seq> + Send + Sync>,
    ) -> Self {
        Self {
            store,
            writer,
            evidence,
            contacts,
            config,
            alarm,
            index,
            moments: VecDeque::new(),
            blocks_at_once: 1,
            strangers: Strangers::default(),
            remembered: Remembered(vec![0; REMEMBERED]),
        }
    }

    /// Takes in what is stored, until the engine stops. `now` is the engine's clock.
    pub async fn run(mut self, now: impl Fn() -> Ts) {
        let mut forgotten_on = 0;
        loop {
            let pause = match self.round(now()).await {
                Ok(true) => Duration::ZERO,
                Ok(false) => IDLE,
                Err(error) => {
                    tracing::warn!(error, "contacts are taken in later");
                    RETRY
                }
            };
            let today = now().0.div_euclid(DAY);
            if pause == IDLE && today != forgotten_on {
                forgotten_on = today;
                self.forget(now()).await;
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Everything that is stored by now; true where there was something.
    async fn round(&mut self, now: Ts) -> Result<bool, String> {
        // before the keys of the months are read, no month's key is known: that is not the same as destroyed
        if self.evidence.months().is_empty() {
            return Ok(false);
        }
        if let Some(seq) = (self.index)() {
            self.moments.truncate(MOMENTS_MAX - 1);
            self.moments.push_front((now, seq));
        }
        let boots = self.store.contact_boots().await.map_err(say)?;
        // told before the blocks are read: what is answered until then lies in them
        let through = boots.iter().filter(|b| !b.closed).map(|b| b.through_at).min().unwrap_or(now);
        let mut found = false;
        for boot in &boots {
            found |= self.boot(boot, now).await?;
        }
        self.contacts.0.through.store(through.0, Ordering::Release);
        let settled = self.moments.iter().position(|(at, _)| at.0 + SETTLED <= through.0);
        if let Some(settled) = settled {
            self.contacts.0.told.fetch_max(self.moments[settled].1, Ordering::Release);
            self.moments.truncate(settled);
        }
        Ok(found)
    }

    async fn boot(&mut self, boot: &ContactBoot, now: Ts) -> Result<bool, String> {
        let heads = self.store.evidence_heads(boot.node, boot.boot).await.map_err(say)?;
        let cursors = self.store.contact_cursors(boot.node, boot.boot).await.map_err(say)?;
        let mut found = false;
        for (worker, last, _) in heads {
            let chain = ChainId { node: boot.node, boot: boot.boot, worker };
            let mut next = cursors.get(&worker).copied().unwrap_or(0);
            while next <= last {
                let started = Instant::now();
                let blocks = self.store.evidence_blocks(chain, next, self.blocks_at_once).await.map_err(say)?;
                let Some(newest) = blocks.last() else { break };
                next = newest.head.no + 1;
                let records: u32 = blocks.iter().map(|block| block.head.records).sum();
                let each = (records / blocks.len() as u32).max(1);
                self.blocks_at_once = (RECORDS_AT_ONCE / each).clamp(1, BLOCKS_AT_ONCE_MAX);
                self.give_way(started).await;
                self.blocks(&blocks, (chain, next), now).await?;
                found = true;
            }
        }
        if boot.closed {
            let done = Some((boot.node, boot.boot, now));
            self.commit(ContactRows { done, ..ContactRows::default() }).await?;
        }
        Ok(found)
    }

    async fn give_way(&self, started: Instant) {
        tokio::time::sleep(self.contacts.pause(started.elapsed().min(WORKED_MAX))).await;
    }

    async fn blocks(&mut self, blocks: &[Block], cursor: (ChainId, u64), now: Ts) -> Result<(), String> {
        let months = self.evidence.months();
        let mut chunk = Chunk::default();
        for block in blocks {
            let Some(month) = months.get(&block.head.month) else {
                if months.keys().next().is_some_and(|oldest| block.head.month < *oldest) {
                    // its key is destroyed: nobody can tell any more whom it was about
                    continue;
                }
                let keys = self.store.evidence_keys().await.map_err(say)?;
                if keys.iter().any(|key| key.month == block.head.month && key.sealed.is_none()) {
                    continue;
                }
                return Err(format!("the key of {} is not known yet", block.head.month));
            };
            let (rows, people) = (block.rows(), block.people(month));
            let (Ok(rows), Ok(people)) = (rows, people) else {
                // to stand still here would keep every later change from everybody
                self.evidence.metrics().unreadable_blocks.inc();
                tracing::error!(block = block.head.no, "a block of evidence cannot be read: its contacts are unknown");
                continue;
            };
            let strongest = rows.iter().zip(&people.subjects).map(|(row, subject)| (row, subject, true));
            let further = people.further.iter();
            let further = further.filter_map(|f| Some((rows.get(usize::from(f.slot))?, &f.subject, false)));
            for (row, subject, counts) in strongest.chain(further) {
                let operator_no = row.credential.operator_no;
                if let Some(operator_no) = operator_no.filter(|no| !self.remembered.holds(subject.key, *no, row.at)) {
                    chunk.take(subject, operator_no, row, counts);
                }
            }
        }
        let mut changed = Vec::new();
        for part in chunk.contacts.chunks(self.contacts.at_once()) {
            let started = Instant::now();
            let keys: Vec<MatchKey> = part.iter().map(|(contact, _)| contact.key).collect();
            let known = self.store.contacts(&keys).await.map_err(say)?;
            for (contact, counted) in part {
                let before = known.get(&(contact.key, contact.operator_no)).copied();
                let counted = counted.filter(|_| before.is_none() && contact.first_at.0 > now.0 - ALARMING);
                if let Some(key) = counted {
                    let alarm = self.strangers.count(key, contact.operator_no, contact.first_at, &self.config);
                    alarm.into_iter().for_each(&self.alarm);
                }
                let day = |at: Ts| at.0.div_euclid(DAY);
                if before.is_none_or(|before| day(before) < day(contact.last_at)) {
                    changed.push(*contact);
                } else {
                    self.remembered.keep(contact);
                }
            }
            self.give_way(started).await;
        }
        // the cursor moves with the last of them: what was taken in before it changes nothing a second time
        let mut parts = changed.chunks(self.contacts.at_once()).peekable();
        while let Some(contacts) = parts.next() {
            let started = Instant::now();
            let cursors = if parts.peek().is_none() { vec![cursor] } else { Vec::new() };
            self.commit(ContactRows { contacts: contacts.to_vec(), cursors, ..ContactRows::default() }).await?;
            contacts.iter().for_each(|contact| self.remembered.keep(contact));
            self.give_way(started).await;
        }
        if changed.is_empty() {
            self.commit(ContactRows { cursors: vec![cursor], ..ContactRows::default() }).await?;
        }
        Ok(())
    }

    async fn commit(&self, rows: ContactRows) -> Result<(), String> {
        self.writer.commit(Vec::new(), vec![Attachment::Contacts(rows)]).await.map(|_| ()).map_err(|e| e.to_string())
    }

    async fn forget(&self, now: Ts) {
        let before = now.plus(-i64::from(self.config.months) * 31 * DAY);
        for first_byte in 0..=u8::MAX {
            let started = Instant::now();
            let forget = Some((first_byte, before));
            if let Err(error) = self.commit(ContactRows { forget, ..ContactRows::default() }).await {
                tracing::warn!(error, "old contacts are forgotten later");
                return;
            }
            self.give_way(started).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::match_key::KeyKind;

    fn limits(one_by_one: u32, in_batches: u32) -> ContactsConfig {
        ContactsConfig { strangers_per_hour: one_by_one, batch_strangers_per_day: in_batches, months: 24 }
    }

    #[test]
    fn batches_have_a_limit_of_their_own_by_day() {
        let mut strangers = Strangers::default();
        let mut told = |route, at: i64, n: u32| {
            let count = |_| strangers.count((KeyId(1), route), OperatorNo(1), Ts(at), &limits(3, 10));
            let counted = (0..n).filter_map(count);
            counted.map(|e| (e.in_batches, e.strangers, e.window.start.0, e.limit)).collect::<Vec<_>>()
        };
        assert_eq!(told(Route::Batch, DAY + 5, 10), []);
        assert_eq!(told(Route::Single, DAY + 5, 3), []);
        assert_eq!(told(Route::Batch, 2 * DAY - 1, 2), [(true, 11, DAY, 10)]);
        assert_eq!(told(Route::Single, DAY + 6, 2), [(false, 4, DAY, 3)]);
        assert_eq!(told(Route::Batch, 2 * DAY, 10), []);
        assert_eq!(told(Route::Register, 2 * DAY, 100), []);
    }

    #[test]
    fn each_key_of_an_operator_that_goes_on_is_told_of_once_an_hour() {
        let mut strangers = Strangers::default();
        let operator = OperatorNo(1);
        let mut told = |key: u128, at: i64, n: u32| {
            let count = |_| strangers.count((KeyId(key), Route::Single), operator, Ts(at), &limits(10, 10));
            let counted = (0..n).filter_map(count);
            counted.map(|e| (e.key.0, e.strangers)).collect::<Vec<_>>()
        };
        assert_eq!(told(1, 0, 6), []);
        assert_eq!(told(2, 0, 4), [], "together they are at the limit");
        assert_eq!(told(2, HOUR - 1, 5), [(2, 11)], "still the same hour");
        assert_eq!(told(1, HOUR - 1, 5), [(1, 16)]);
        assert_eq!(told(1, HOUR, 10), []);
        assert_eq!(told(1, HOUR, 2), [(1, 11)]);
        let other = strangers.count((KeyId(3), Route::Single), OperatorNo(2), Ts(0), &limits(10, 10));
        assert_eq!(other, None);
    }

    #[test]
    fn what_is_remembered_is_of_one_key_one_operator_and_one_day() {
        let mut remembered = Remembered(vec![0; REMEMBERED]);
        let (key, operator_no) = (MatchKey(0x1234_5678_9abc_def0_1234), OperatorNo(7));
        let named = NamedBy { kind: KeyKind::Phone, digest_version: 0 };
        let contact = Contact { key, operator_no, first_at: Ts(0), last_at: Ts(5 * DAY + 1), named };
        assert!(!remembered.holds(key, operator_no, contact.last_at));
        remembered.keep(&contact);
        assert!(remembered.holds(key, operator_no, Ts(5 * DAY + HOUR)));
        assert!(!remembered.holds(key, operator_no, Ts(6 * DAY)));
        assert!(!remembered.holds(key, OperatorNo(8), contact.last_at));
        assert!(!remembered.holds(MatchKey(key.0 ^ 1 << 80), operator_no, contact.last_at));
    }

    #[test]
    fn contacts_give_way() {
        let contacts = Contacts::default();
        let worked = Duration::from_millis(10);
        assert_eq!(contacts.at_once(), CONTACTS_AT_ONCE_BUSY, "a start is busy");
        contacts.give_way_to(0.0);
        assert_eq!(contacts.pause(worked).as_secs_f32(), 0.04);
        assert_eq!(contacts.at_once(), CONTACTS_AT_ONCE);
        contacts.give_way_to(0.8);
        assert_eq!(contacts.at_once(), CONTACTS_AT_ONCE_BUSY);
        assert!(contacts.pause(worked) >= Duration::from_millis(430));
    }

    #[test]
    fn a_limit_without_end_is_none() {
        let mut strangers = Strangers::default();
        let endless = limits(u32::MAX, u32::MAX);
        assert_eq!(strangers.count((KeyId(1), Route::Single), OperatorNo(1), Ts(0), &endless), None);
    }
}
