//! The index as bytes, copied while it is written to, and back.
//!
//! A snapshot is what the arrays hold, raw and little-endian: control words, values, tags, cells, side nodes. They are
//! copied in the order in which things are published *last*, so that whatever a copied word leads to is copied after it:
//! a control byte before its slot, a slot before its people, a cell before its nodes. What is added meanwhile is in the
//! copy or not; the events behind [`SnapshotHead::through`] are applied again after loading, and applying one twice
//! changes nothing.
//!
//! Two things need more than that order. A person's two words come from one change, wherever the informative one lies:
//! what an event makes of a person depends on what was, and of a mixture it would make something that never was. And
//! nodes are copied until no segment is left that a copied node may lead to. A table that grows is replaced whole: a copy of the one before would still be good, but would keep it
//! in memory, so it is given up.

use super::cell::{CellWord, InfoWord};
use super::segments::Segments;
use super::sync::{ArcSwap, AtomicI64, AtomicU64, Ordering, yield_now};
use super::table::Table;
use super::{IndexReader, IndexSize, IndexWriter, PEOPLE_MAX, Shared};
use models::ids::Seq;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How often a cell is read until its two words belong together before the writer, which is between its two stores, is
/// given the time to go on. Loom wants to be told at once.
const PAIRING_TRIES: u32 = if cfg!(loom) { 1 } else { 64 };

/// What must be known before the bytes can be read. Complete only after the last chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHead {
    /// Version of the layout.
    pub layout: u32,
    /// Every event up to here is in the index.
    pub through: Seq,
    /// Groups of the table.
    pub groups: u64,
    /// Cells, from number 0 on.
    pub cells: u32,
    /// Side nodes, from number 0 on.
    pub nodes: u32,
    /// Most people behind one key.
    pub shared_by_max: u32,
}

/// Version of the layout that this program writes and reads.
const LAYOUT: u32 = 1;

/// Why bytes are no index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Written by another version, or with numbers that no index has.
    #[error("snapshot of an index with another layout")]
    Layout,
    /// Too few or too many bytes.
    #[error("snapshot of an index with another length")]
    Length,
    /// The decision of a person and what informs of it come from two changes, or documents are missing.
    #[error("snapshot of an index with a person of two states")]
    Torn,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Control,
    Values,
    Tags,
    Cells,
    Nodes,
    End,
}

/// A copy under way.
pub struct Snapshot {
    shared: Arc<Shared>,
    table: Arc<Table>,
    head: SnapshotHead,
    part: Part,
    place: usize,
    /// Nodes that hold the informative word of a copied cell, with the word that belongs to it: by the time they are
    /// copied themselves they may hold a newer one.
    informative: Vec<(u32, InfoWord)>,
    /// How many of them were passed.
    passed: usize,
}

impl IndexReader {
    /// Begins a copy.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        // before anything is copied: what it promises is in whatever is copied afterwards
        let through = self.shared.through.load(Ordering::Acquire);
        let table = self.shared.table.load_full();
        let shared_by_max = self.shared.shared_by_max.load(Ordering::Relaxed) as u32;
        let head = SnapshotHead { layout: LAYOUT, through, groups: table.groups(), cells: 0, nodes: 0, shared_by_max };
        Snapshot {
            shared: Arc::clone(&self.shared),
            table,
            head,
            part: Part::Control,
            place: 0,
            informative: Vec::new(),
            passed: 0,
        }
    }

    /// Every event up to here is in the index.
    #[must_use]
    pub fn through(&self) -> Seq {
        self.shared.through.load(Ordering::Acquire)
    }
}

impl Snapshot {
    /// What is known of the copy; complete once [`Self::copy`] has given false.
    #[must_use]
    pub fn head(&self) -> SnapshotHead {
        self.head
    }

    /// Has the table been replaced since? Then the copy only keeps the old one in memory: begin anew.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        !Arc::ptr_eq(&self.shared.table.load(), &self.table)
    }

    /// Puts about `bytes` more of the index behind `out`; false where there was nothing more.
    pub fn copy(&mut self, out: &mut Vec<u8>, bytes: usize) -> bool {
        let end = out.len() + bytes;
        while out.len() < end && self.part != Part::End {
            let words = (end - out.len()).div_ceil(8);
            let done = self.copy_part(out, words);
            if done {
                self.place = 0;
                self.part = match self.part {
                    Part::Control => Part::Values,
                    Part::Values => Part::Tags,
                    Part::Tags => Part::Cells,
                    Part::Cells => Part::Nodes,
                    Part::Nodes | Part::End => Part::End,
                };
            }
        }
        self.part != Part::End
    }

    /// Copies up to so many words of the part; true where the part is done.
    fn copy_part(&mut self, out: &mut Vec<u8>, words: usize) -> bool {
        let (control, values, tags) = self.table.arrays();
        let span = |length: usize, each: usize| self.place..length.min(self.place + (words * 8).div_ceil(each));
        let (next, length) = match self.part {
            Part::Control | Part::Values => {
                let array = if self.part == Part::Control { control } else { values };
                let span = span(array.len(), 8);
                let next = span.end;
                // Acquire on control words, Relaxed would do for values: what a control byte leads to was stored before it
                out.extend(array[span].iter().flat_map(|word| word.load(Ordering::Acquire).to_le_bytes()));
                (next, array.len())
            }
            Part::Tags => {
                let span = span(tags.len(), 4);
                let next = span.end;
                out.extend(tags[span].iter().flat_map(|tag| tag.load(Ordering::Relaxed).to_le_bytes()));
                (next, tags.len())
            }
            Part::Cells => {
                if self.place == 0 {
                    self.head.cells = self.shared.people.length();
                }
                let length = self.head.cells as usize;
                let span = span(length, 16);
                let next = span.end;
                for number in span {
                    let cell = self.shared.people.get(number as u32);
                    let (words, beside) = cell.map_or(([0, 0], None), |cell| paired(&self.shared, cell));
                    self.informative.extend(beside);
                    out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
                }
                (next, length)
            }
            Part::Nodes => {
                if self.place == 0 {
                    self.informative.sort_unstable_by_key(|(node_no, _)| *node_no);
                }
                let span = span(self.shared.side.length() as usize, 24);
                let next = span.end;
                for number in span {
                    let node = self.shared.side.get(number as u32);
                    let mut words =
                        node.map_or([0; 3], |node| std::array::from_fn(|i| node[i].load(Ordering::Acquire)));
                    if let Some((_, info)) = self.informative.get(self.passed).filter(|i| i.0 as usize == number) {
                        words[0] = info.0;
                        self.passed += 1;
                    }
                    out.extend(words.iter().flat_map(|word: &u64| word.to_le_bytes()));
                }
                // asked again behind the last one: it may lead into a segment made since
                self.head.nodes = self.shared.side.length();
                (next, self.head.nodes as usize)
            }
            Part::End => (0, 0),
        };
        self.place = next;
        next >= length
    }
}

/// Both words of a cell from one change; with the node of the informative one where it lies beside.
fn paired(shared: &Shared, cell: &[AtomicU64; 2]) -> ([u64; 2], Option<(u32, InfoWord)>) {
    for tries in 1u64.. {
        let decision = cell[0].load(Ordering::Acquire);
        let word = InfoWord(cell[1].load(Ordering::Acquire));
        let beside = word.extension().and_then(|node_no| Some((node_no, shared.side.get(node_no)?)));
        let beside = beside.map(|(node_no, node)| (node_no, InfoWord(node[0].load(Ordering::Acquire))));
        let info = beside.map_or(word, |(_, info)| info);
        if cell[0].load(Ordering::Acquire) == decision && info.goes_with(CellWord(decision).generation()) {
            return ([decision, word.0], beside);
        }
        // between its two stores the writer does nothing else, and no index begins with words that do not belong together
        if tries >= PAIRING_TRIES.into() {
            yield_now();
        }
    }
    unreachable!("nobody counts that far");
}

/// Makes an index of a snapshot's bytes.
pub struct Loader {
    head: SnapshotHead,
    table: Table,
    people: Segments<2>,
    side: Segments<3>,
    /// Bytes of the parts, in their order.
    lengths: [usize; 5],
    taken: usize,
    rest: Vec<u8>,
}

impl Loader {
    /// Room for a snapshot.
    ///
    /// # Errors
    /// [`SnapshotError::Layout`].
    pub fn new(head: SnapshotHead) -> Result<Self, SnapshotError> {
        // groups: as many keys as there can be people, times eight
        let sane = head.layout == LAYOUT
            && (1..=u64::from(PEOPLE_MAX)).contains(&head.groups)
            && head.cells <= PEOPLE_MAX
            && head.nodes <= PEOPLE_MAX;
        if !sane {
            return Err(SnapshotError::Layout);
        }
        let table = Table::with_groups(head.groups);
        let (control, values, tags) = table.arrays();
        let lengths =
            [control.len() * 8, values.len() * 8, tags.len() * 4, head.cells as usize * 16, head.nodes as usize * 24];
        Ok(Self { head, table, people: Segments::new(), side: Segments::new(), lengths, taken: 0, rest: Vec::new() })
    }

    /// Bytes of the whole snapshot.
    #[must_use]
    pub fn length(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// Takes in the next bytes.
    ///
    /// # Errors
    /// [`SnapshotError::Length`] where there are too many, [`SnapshotError::Layout`] for a number out of range.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        if self.taken + self.rest.len() + bytes.len() > self.length() {
            return Err(SnapshotError::Length);
        }
        let mut bytes = bytes;
        // the borders of parts and of chunks need not agree: what is left of an element waits for its rest
        while !bytes.is_empty() {
            let (part, start) = self.part();
            let each = [8, 8, 4, 16, 24][part];
            if !self.rest.is_empty() || bytes.len() < each {
                let missing = each - self.rest.len();
                let (head, tail) = bytes.split_at(missing.min(bytes.len()));
                self.rest.extend_from_slice(head);
                bytes = tail;
                if self.rest.len() == each {
                    let element = std::mem::take(&mut self.rest);
                    self.store(part, (self.taken - start) / each, &element)?;
                    self.taken += each;
                }
                continue;
            }
            let left = start + self.lengths[part] - self.taken;
            let whole = bytes.len().min(left) / each * each;
            let (head, tail) = bytes.split_at(whole);
            self.store(part, (self.taken - start) / each, head)?;
            self.taken += whole;
            bytes = tail;
        }
        Ok(())
    }

    /// The part that the next byte belongs to, and where it starts.
    fn part(&self) -> (usize, usize) {
        let mut start = 0;
        for (part, length) in self.lengths.iter().enumerate() {
            if self.taken < start + length {
                return (part, start);
            }
            start += length;
        }
        (self.lengths.len() - 1, start)
    }

    fn store(&self, part: usize, from: usize, bytes: &[u8]) -> Result<(), SnapshotError> {
        let (control, values, tags) = self.table.arrays();
        let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
        match part {
            0 | 1 => {
                let array = if part == 0 { control } else { values };
                let words = bytes.as_chunks::<8>().0;
                for (place, bytes) in array.iter().skip(from).zip(words) {
                    place.store(word(bytes), Ordering::Relaxed);
                }
            }
            2 => {
                let words = bytes.as_chunks::<4>().0;
                for (place, bytes) in tags.iter().skip(from).zip(words) {
                    place.store(u32::from_le_bytes(*bytes), Ordering::Relaxed);
                }
            }
            3 => fill(&self.people, from, bytes)?,
            _ => fill(&self.side, from, bytes)?,
        }
        Ok(())
    }

    /// The index, loading until it is said to be complete.
    ///
    /// # Errors
    /// [`SnapshotError::Length`] or [`SnapshotError::Torn`].
    pub fn finish(self) -> Result<IndexWriter, SnapshotError> {
        if self.taken != self.length() {
            return Err(SnapshotError::Length);
        }
        let mut people = 0;
        for cell in (0..self.head.cells).filter_map(|no| self.people.get(no)) {
            let decision = CellWord(cell[0].load(Ordering::Relaxed));
            let word = InfoWord(cell[1].load(Ordering::Relaxed));
            let beside = word.extension().and_then(|node_no| self.side.get(node_no));
            let info = beside.map_or(word, |node| InfoWord(node[0].load(Ordering::Relaxed)));
            // documents are what a copied node may lead to: nodes that are missing would be given to somebody else
            let documents = beside.map_or(0, |node| node[1].load(Ordering::Relaxed));
            if !info.goes_with(decision.generation()) || documents >= u64::from(self.head.nodes.max(1)) {
                return Err(SnapshotError::Torn);
            }
            people += u64::from(decision.is_set());
        }
        let size = IndexSize {
            keys: self.table.count(),
            people,
            side_nodes: u64::from(self.head.nodes.saturating_sub(1)),
            shared_by_max: self.head.shared_by_max,
            ..IndexSize::default()
        };
        let table = Arc::new(self.table);
        let shared = Shared {
            table: ArcSwap::new(Arc::clone(&table)),
            people: self.people,
            side: self.side,
            as_of: AtomicI64::new(super::LOADING),
            register_version: AtomicI64::new(0),
            through: AtomicI64::new(self.head.through),
            people_count: AtomicU64::new(size.people),
            keys_count: AtomicU64::new(size.keys),
            shared_by_max: AtomicI64::new(self.head.shared_by_max.into()),
        };
        Ok(IndexWriter { shared: Arc::new(shared), table, size, next_node: self.head.nodes.max(1) })
    }
}

fn fill<const N: usize>(segments: &Segments<N>, from: usize, bytes: &[u8]) -> Result<(), SnapshotError> {
    for (n, element) in bytes.chunks_exact(N * 8).enumerate() {
        let number = u32::try_from(from + n).map_err(|_| SnapshotError::Layout)?;
        let place = segments.ensure(number).ok_or(SnapshotError::Layout)?;
        for (word, bytes) in place.iter().zip(element.as_chunks::<8>().0) {
            word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
        }
    }
    Ok(())
}

#[cfg(all(test, not(loom)))]
mod tests;
