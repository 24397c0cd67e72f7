//! The index: which people a key names and what the register decides of them, answered wait-free.
//!
//! Every lookup of every operator reads this, so it must not lock, must not wait for the writer, must not
//! need a mailbox, and must fit ten million people into a few hundred megabytes.
//!
//! ```text
//! match key ─ tag ─► table: control bytes + slots ─► person ─► cell: decision │ informative
//!                                   └ shared ─► side nodes ─► people   └ split, many documents ─► side nodes
//! ```
//!
//! One [`IndexWriter`] changes it, any number of [`IndexReader`]s read it. It knows no clock: `now` is an
//! argument, and an exclusion that lapses does so in the reader's arithmetic, without a write.
//!
//! # Why readers are right without locks
//! Everything shared is an atomic word (the one `unsafe` is how their memory is had, in `pages`), and four rules hold:
//!
//! 1. *Publish last.* What a word leads to (a slot before its control byte, a node before the slot or cell
//!    that points to it, a person's cell before any key of the person) is stored first; the word is then
//!    stored with `Release` and read with `Acquire`. Whoever sees the word sees what it leads to.
//! 2. *One store a change.* A decision is one word, so is a slot's value: a reader sees the old or the new
//!    one, never a mixture. Decision and informative word are paired by a generation number; a reader
//!    that cannot pair them gives the decision without the informative part.
//! 3. *Nothing is removed and a node is never used again for something else*, so a pointer read once stays
//!    good. (Split people who change leave their old nodes behind; they are rare, and a start from the tables packs them.)
//! 4. *Growth replaces the table whole.* A reader that began on the old table finishes on it. It may miss
//!    what was added after it began, as it may with any order of two things at the same time; what was
//!    acknowledged before it began is in whichever table it loads, because the swap precedes the store that
//!    precedes the acknowledgement.

mod cell;
mod decide;
#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(not(loom))]
mod pages;
mod segments;
mod snapshot;
mod sync;
mod table;
#[cfg(all(test, not(loom)))]
mod tests;

use std::sync::Arc;

use models::event::PersonKey;
use models::ids::{PersonNo, Seq};
use models::match_key::MatchKey;
use models::ts::{MINUTE, Ts};

use cell::{CellWord, DocumentTag, InfoWord, Sharer, SlotValue};
pub use cell::{Informative, PersonState};
pub use decide::{LookupKey, Unanswerable, Verdict};
use segments::Segments;
pub use snapshot::{Loader, Snapshot, SnapshotError, SnapshotHead};
use sync::{ArcSwap, AtomicI64, AtomicU64, Ordering};
use table::{Print, Table, low};

/// Most people: numbers below this.
pub const PEOPLE_MAX: u32 = segments::CELLS_MAX;

/// Why a change cannot be made; nothing of it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// A key of a person whose state was never set.
    #[error("person has a key but no state yet")]
    Stateless,
    /// A person number from [`PEOPLE_MAX`] on.
    #[error("person number is beyond the limit of the index")]
    People,
    /// No room for shared keys, split people and further documents.
    #[error("side nodes of the index are used up")]
    Nodes,
    /// An event that does not say what it changes.
    #[error("the event does not say what it changes")]
    Untold,
    /// A digest version above 3, a period code or a risk band above its bits.
    #[error("a number does not fit its bits")]
    Range,
}

/// How complete an index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexState {
    /// Not proven complete: no answer may come from it.
    Loading,
    /// Everything committed until `as_of`, which includes `register_version`, is in it. How old is too old
    /// is for the caller, who has the clock.
    Ready {
        /// Time of the last complete read of the journal's head.
        as_of: Ts,
        /// Sequence of the register's last change, at least.
        register_version: Seq,
    },
}

/// `as_of` of an index that is loading.
const LOADING: i64 = i64::MIN;

struct Shared {
    table: ArcSwap<Table>,
    people: Segments<2>,
    side: Segments<3>,
    as_of: AtomicI64,
    register_version: AtomicI64,
    /// Every event up to here is in the index.
    through: AtomicI64,
    /// Most people behind one key.
    shared_by_max: AtomicI64,
    /// People and keys, as of `through`.
    people_count: AtomicU64,
    keys_count: AtomicU64,
}

/// Sizes, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndexSize {
    /// Distinct keys.
    pub keys: u64,
    /// Keys the table takes before it grows.
    pub keys_until_growth: u64,
    /// People with a state.
    pub people: u64,
    /// Side nodes in use or left behind.
    pub side_nodes: u64,
    /// Most people behind one key.
    pub shared_by_max: u32,
    /// How often the table grew.
    pub growths: u32,
}

/// The only way to change the index: owned by the register's actor, not `Clone`.
pub struct IndexWriter {
    shared: Arc<Shared>,
    /// The table readers see, without their detour.
    table: Arc<Table>,
    size: IndexSize,
    next_node: u32,
}

/// Reads the index; clones are cheap and go to every thread.
#[derive(Clone)]
pub struct IndexReader {
    shared: Arc<Shared>,
}

impl IndexWriter {
    /// An empty index, `Loading`, with room for `keys` before it first grows.
    #[must_use]
    pub fn with_capacity(keys: usize) -> Self {
        let table = Arc::new(Table::with_capacity(keys as u64));
        let shared = Shared {
            table: ArcSwap::new(Arc::clone(&table)),
            people: Segments::new(),
            side: Segments::new(),
            as_of: AtomicI64::new(LOADING),
            register_version: AtomicI64::new(0),
            through: AtomicI64::new(0),
            shared_by_max: AtomicI64::new(0),
            people_count: AtomicU64::new(0),
            keys_count: AtomicU64::new(0),
        };
        // node 0 is "none"
        Self { shared: Arc::new(shared), table, size: IndexSize::default(), next_node: 1 }
    }

    /// A reader of this index.
    #[must_use]
    pub fn reader(&self) -> IndexReader {
        IndexReader { shared: Arc::clone(&self.shared) }
    }

    /// Says that everything committed until `as_of` is in the index.
    ///
    /// The version is stored before the time and read after it, so that a reader's version is never behind
    /// its `as_of`.
    pub fn set_ready(&mut self, as_of: Ts, register_version: Seq) {
        self.shared.register_version.store(register_version, Ordering::Release);
        self.shared.as_of.store(as_of.0, Ordering::Release);
    }

    /// Says that every event of the journal up to here is in the index, or changes nothing in it.
    pub fn set_through(&mut self, seq: Seq) {
        self.shared.shared_by_max.store(self.size.shared_by_max.into(), Ordering::Relaxed);
        self.shared.people_count.store(self.size.people, Ordering::Relaxed);
        self.shared.keys_count.store(self.size.keys, Ordering::Relaxed);
        self.shared.through.store(seq, Ordering::Release);
    }

    /// Says that the index is not proven complete (start, rebuild after an event that cannot be read).
    pub fn set_loading(&mut self) {
        self.shared.as_of.store(LOADING, Ordering::Release);
    }

    /// Sets everything the register decides of a person: one state for each set of jurisdictions that
    /// share it, none for a person without exclusions. Where sets overlap the strictest answers; where
    /// none applies the person is not excluded.
    ///
    /// # Errors
    /// [`IndexError::People`], [`IndexError::Nodes`] or [`IndexError::Range`].
    pub fn set_person(&mut self, person: PersonNo, states: &[PersonState]) -> Result<(), IndexError> {
        if !states.iter().all(PersonState::fits) {
            return Err(IndexError::Range);
        }
        let shared = Arc::clone(&self.shared);
        let cell = shared.people.ensure(person.0).ok_or(IndexError::People)?;
        let old = CellWord(cell[0].load(Ordering::Relaxed));
        let generation = old.generation().wrapping_add(1);
        let (decision, info) = match states {
            [] => (CellWord::pack(&PersonState::NOT_EXCLUDED, generation), InfoWord::default()),
            [state] => (CellWord::pack(state, generation), InfoWord::pack(state, generation)),
            _ => (CellWord::split(self.chain_states(states)?, generation), InfoWord::default()),
        };
        self.set_info(cell, info.with_generation(generation));
        // Release: whoever reads this decision sees the informative word and the nodes stored before it
        cell[0].store(decision.0, Ordering::Release);
        if !old.is_set() {
            self.size.people += 1;
        }
        Ok(())
    }

    /// Makes a key name a person, besides those it names already, until `valid_to` (rounded up to a
    /// minute). Doing it again changes the end of validity. `valid_from` is not looked at: a key
    /// binds as soon as it is here, which can only be too strict.
    ///
    /// # Errors
    /// [`IndexError::Stateless`] where [`Self::set_person`] has not been called for the person before,
    /// [`IndexError::Nodes`] or [`IndexError::Range`].
    pub fn insert_key(&mut self, person: PersonNo, key: &PersonKey) -> Result<(), IndexError> {
        let shared = Arc::clone(&self.shared);
        let cell = shared.people.get(person.0).ok_or(IndexError::Stateless)?;
        if !CellWord(cell[0].load(Ordering::Relaxed)).is_set() {
            return Err(IndexError::Stateless);
        }
        if key.kind.is_document() {
            // before the key itself: a missing tag must never look like a different document
            let tag = DocumentTag::new(key.kind, key.digest_version, key.key).ok_or(IndexError::Range)?;
            self.add_document(cell, tag)?;
        }
        let print = Print::of(key.key);
        let sharer = Sharer::new(person.0, until_minute(key.valid_to));
        let alone = SlotValue::person(person.0);
        let table = Arc::clone(&self.table);
        let Some(slot) = table.find(print) else {
            let value = if key.valid_to.is_none() { alone } else { SlotValue::chained(self.node([sharer.0, 0, 0])?) };
            if self.size.keys >= self.table.capacity() {
                self.grow();
            }
            self.table.insert(print, value.0);
            self.size.keys += 1;
            self.size.shared_by_max = self.size.shared_by_max.max(1);
            return Ok(());
        };
        let word = slot.load(Ordering::Relaxed);
        let current = SlotValue(low(word));
        if current == alone && key.valid_to.is_none() {
            return Ok(());
        }
        if let Some(head) = self.share(current, sharer)? {
            slot.store(word - low(word) + SlotValue::chained(head).0, Ordering::Release);
        }
        Ok(())
    }

    /// Puts a person into the chain behind a key: the new head, or `None` where a node was changed in place.
    fn share(&mut self, current: SlotValue, sharer: Sharer) -> Result<Option<u32>, IndexError> {
        let shared = Arc::clone(&self.shared);
        let mut people = 1;
        let rest = match current.head() {
            Some(head) => {
                let mut node_no = head;
                while let Some(node) = shared.side.get(node_no).filter(|_| node_no != 0) {
                    if Sharer(node[0].load(Ordering::Relaxed)).person_no() == sharer.person_no() {
                        node[0].store(sharer.0, Ordering::Release);
                        return Ok(None);
                    }
                    people += 1;
                    node_no = node[1].load(Ordering::Relaxed) as u32;
                }
                head
            }
            // the same person, now until some minute
            None if current.person_no() == sharer.person_no() => 0,
            None => {
                people += 1;
                self.node([Sharer::new(current.person_no(), 0).0, 0, 0])?
            }
        };
        self.size.shared_by_max = self.size.shared_by_max.max(people);
        self.node([sharer.0, u64::from(rest), 0]).map(Some)
    }

    fn chain_states(&mut self, states: &[PersonState]) -> Result<u32, IndexError> {
        let mut head = 0;
        for state in states {
            head = self.node([CellWord::pack(state, 0).0, InfoWord::pack(state, 0).0, u64::from(head)])?;
        }
        Ok(head)
    }

    /// What [`Self::set_person`] was last given for a person; empty for one without exclusions or unknown.
    /// Only the writer can ask: for a reader the words could change between two loads.
    #[must_use]
    pub fn person_states(&self, person: PersonNo) -> Vec<PersonState> {
        let Some(cell) = self.shared.people.get(person.0) else { return Vec::new() };
        let decision = CellWord(cell[0].load(Ordering::Relaxed));
        let Some(head) = decision.split_head() else {
            let info = InfoWord(cell[1].load(Ordering::Relaxed));
            let extension = info.extension().and_then(|node_no| self.shared.side.get(node_no));
            let info = extension.map_or(info, |node| InfoWord(node[0].load(Ordering::Relaxed)));
            let state = decision.state(info).filter(|state| *state != PersonState::NOT_EXCLUDED);
            return state.into_iter().collect();
        };
        let mut states = Vec::new();
        let mut node_no = head;
        while let Some(node) = self.shared.side.get(node_no).filter(|_| node_no != 0) {
            let (decision, info) = (node[0].load(Ordering::Relaxed), node[1].load(Ordering::Relaxed));
            states.extend(CellWord(decision).state(InfoWord(info)));
            node_no = node[2].load(Ordering::Relaxed) as u32;
        }
        states.reverse();
        states
    }

    /// Stores a person's informative word where it lives, keeping its documents.
    fn set_info(&self, cell: &[AtomicU64; 2], info: InfoWord) {
        let old = InfoWord(cell[1].load(Ordering::Relaxed));
        match old.extension().and_then(|node_no| self.shared.side.get(node_no)) {
            Some(node) => node[0].store(info.0, Ordering::Release),
            None => cell[1].store(info.with_document(old.document()).0, Ordering::Release),
        }
    }

    fn add_document(&mut self, cell: &[AtomicU64; 2], tag: DocumentTag) -> Result<(), IndexError> {
        let shared = Arc::clone(&self.shared);
        let info = InfoWord(cell[1].load(Ordering::Relaxed));
        let Some(extension) = info.extension().and_then(|node_no| shared.side.get(node_no)) else {
            match info.document() {
                None => cell[1].store(info.with_document(Some(tag)).0, Ordering::Release),
                Some(first) if first == tag => {}
                Some(first) => {
                    let documents = self.node([first.bits() | tag.bits() << DocumentTag::BITS, 0, 0])?;
                    let node = self.node([info.with_document(None).0, u64::from(documents), 0])?;
                    cell[1].store(InfoWord::extended(node).0, Ordering::Release);
                }
            }
            return Ok(());
        };
        let head = extension[1].load(Ordering::Relaxed) as u32;
        if shared.documents(head).any(|known| known == tag) {
            return Ok(());
        }
        if let Some(node) = shared.side.get(head) {
            for word in &node[..2] {
                let packed = word.load(Ordering::Relaxed);
                if let Some(place) = DocumentTag::free_place(packed) {
                    word.store(packed | tag.bits() << place, Ordering::Release);
                    return Ok(());
                }
            }
        }
        let node = self.node([tag.bits(), 0, u64::from(head)])?;
        extension[1].store(u64::from(node), Ordering::Release);
        Ok(())
    }

    /// A new side node; nothing points to it yet, so plain stores do until its number is published.
    fn node(&mut self, words: [u64; 3]) -> Result<u32, IndexError> {
        let number = self.next_node;
        let node = self.shared.side.ensure(number).ok_or(IndexError::Nodes)?;
        for (place, word) in node.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        self.next_node += 1;
        self.size.side_nodes += 1;
        Ok(number)
    }

    /// A table half as large again. Readers go on in the old one until the swap.
    fn grow(&mut self) {
        let grown = Arc::new(self.table.grown());
        self.shared.table.store(Arc::clone(&grown));
        self.table = grown;
        self.size.growths += 1;
    }

    /// Sizes.
    #[must_use]
    pub fn size(&self) -> IndexSize {
        IndexSize { keys_until_growth: self.table.capacity() - self.size.keys.min(self.table.capacity()), ..self.size }
    }
}

/// First minute since the epoch at which a key is no longer valid; 0 = open. Late rather than early.
fn until_minute(valid_to: Option<Ts>) -> u32 {
    let Some(Ts(micros)) = valid_to else { return 0 };
    let minute = micros.max(1).saturating_add(MINUTE - 1) / MINUTE;
    u32::try_from(minute).ok().filter(|minute| *minute <= Sharer::UNTIL_MAX).unwrap_or(0)
}

impl IndexReader {
    /// How complete the index is; ask before every answer.
    #[must_use]
    pub fn state(&self) -> IndexState {
        match self.shared.as_of.load(Ordering::Acquire) {
            LOADING => IndexState::Loading,
            as_of => IndexState::Ready {
                as_of: Ts(as_of),
                register_version: self.shared.register_version.load(Ordering::Acquire),
            },
        }
    }

    /// The people a key names at `now_second` (seconds since the epoch), whatever the state of the index.
    #[must_use]
    pub fn lookup(&self, key: MatchKey, now_second: u32) -> People {
        self.shared.people_of(&self.shared.table.load(), key, now_second)
    }

    /// Brings near what the search for a key will read, while the caller does something else.
    pub fn prefetch(&self, key: MatchKey) {
        self.shared.table.load().prefetch(Print::of(key));
    }

    /// The same for the people behind keys that are near by now: searches of many keys in a row overlap in the memory
    /// system, whole lookups one after the other mostly do not.
    pub fn prefetch_people(&self, keys: impl Iterator<Item = MatchKey>) {
        let table = self.shared.table.load();
        for value in keys.filter_map(|key| table.find(Print::of(key))) {
            self.shared.people.prefetch(SlotValue(low(value.load(Ordering::Relaxed))).person_no());
        }
    }

    /// People with a state and distinct keys, when the writer last said how far it has come.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.shared.people_count.load(Ordering::Relaxed), self.shared.keys_count.load(Ordering::Relaxed))
    }

    /// Bytes of the table, the cells and the side nodes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.shared.table.load().memory_bytes() + self.shared.people.memory_bytes() + self.shared.side.memory_bytes()
    }
}

impl Shared {
    fn people_of(&self, table: &Table, key: MatchKey, now_second: u32) -> People {
        let mut people = People::default();
        let Some(slot) = table.find(Print::of(key)) else { return people };
        let value = SlotValue(low(slot.load(Ordering::Acquire)));
        let Some(mut node_no) = value.head() else {
            people.push(value.person_no());
            return people;
        };
        while let Some(node) = self.side.get(node_no).filter(|_| node_no != 0) {
            let sharer = Sharer(node[0].load(Ordering::Acquire));
            if sharer.is_valid(now_second) {
                people.push(sharer.person_no());
            }
            node_no = node[1].load(Ordering::Relaxed) as u32;
        }
        people
    }

    /// Document tags in the chain that begins at a node.
    fn documents(&self, head: u32) -> impl Iterator<Item = DocumentTag> {
        let mut node_no = head;
        std::iter::from_fn(move || {
            let node = self.side.get(node_no).filter(|_| node_no != 0)?;
            node_no = node[2].load(Ordering::Relaxed) as u32;
            Some([node[0].load(Ordering::Acquire), node[1].load(Ordering::Acquire)])
        })
        .flatten()
        .flat_map(DocumentTag::unpack)
    }
}

const PEOPLE_INLINE: usize = 4;

/// The people behind a key: four without allocation, which is nearly always all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct People {
    first: [u32; PEOPLE_INLINE],
    len: usize,
    more: Vec<u32>,
}

impl People {
    fn push(&mut self, person_no: u32) {
        match self.first.get_mut(self.len) {
            Some(place) => *place = person_no,
            None => self.more.push(person_no),
        }
        self.len += 1;
    }

    /// The people, the last one added first.
    pub fn iter(&self) -> impl Iterator<Item = PersonNo> {
        self.first[..self.len.min(PEOPLE_INLINE)].iter().chain(&self.more).map(|&person_no| PersonNo(person_no))
    }

    /// Whether the key names this person.
    #[must_use]
    pub fn contains(&self, person: PersonNo) -> bool {
        self.iter().any(|known| known == person)
    }

    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the key names nobody.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl std::fmt::Debug for IndexReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IndexReader").field("state", &self.state()).finish_non_exhaustive()
    }
}
