//! What is loaded answers as what was copied, also where it was written to meanwhile.

use super::*;
use crate::register::index::PersonState;
use models::event::PersonKey;
use models::exclusion::Status;
use models::ids::PersonNo;
use models::jurisdiction::JurisdictionNo;
use models::match_key::{KeyKind, MatchKey};
use models::ts::{MINUTE, Ts};
use std::sync::atomic::AtomicBool;

const NOW: u32 = 1_800_000_000;

fn state(n: u32) -> PersonState {
    PersonState {
        jurisdictions: 1,
        status: if n.is_multiple_of(3) { Status::PreviouslyExcluded } else { Status::Excluded },
        lapse_second: 0,
        risk_band: 0,
        effective_second: n + 1,
        period_code: 3,
    }
}

fn key(n: u32, kind: KeyKind) -> PersonKey {
    let digest = (u128::from(n) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060) >> 8;
    let key = MatchKey((digest ^ u128::from(kind.number()) << 3) & ((1 << 88) - 1));
    let valid_to = n.is_multiple_of(50).then_some(Ts(i64::from(NOW + 600) * 1_000_000 + MINUTE));
    PersonKey { kind, digest_version: 0, key, valid_from: Ts(0), valid_to }
}

fn add(index: &mut IndexWriter, n: u32) {
    let other = PersonState { jurisdictions: 2, ..state(n + 1) };
    let states = [state(n), other];
    index.set_person(PersonNo(n), &states[..if n.is_multiple_of(11) { 2 } else { 1 }]).unwrap();
    index.insert_key(PersonNo(n), &key(n, KeyKind::Phone)).unwrap();
    index.insert_key(PersonNo(n), &key(n, KeyKind::NationalId)).unwrap();
    if n.is_multiple_of(7) {
        index.insert_key(PersonNo(n), &key(n + 1_000_000, KeyKind::Passport)).unwrap();
        // and a phone shared with the one before
        index.insert_key(PersonNo(n), &key(n.saturating_sub(1), KeyKind::Phone)).unwrap();
    }
}

fn load(head: SnapshotHead, bytes: &[u8], step: usize) -> Result<IndexWriter, SnapshotError> {
    let mut loader = Loader::new(head)?;
    for chunk in bytes.chunks(step) {
        loader.feed(chunk)?;
    }
    loader.finish()
}

fn copy(reader: &IndexReader, step: usize) -> (SnapshotHead, Vec<u8>) {
    let (mut snapshot, mut bytes) = (reader.snapshot(), Vec::new());
    while snapshot.copy(&mut bytes, step) {}
    (snapshot.head(), bytes)
}

fn same(a: &IndexReader, b: &IndexReader, people: u32) {
    for n in 0..people {
        for kind in [KeyKind::Phone, KeyKind::NationalId] {
            let asked = crate::register::index::LookupKey { kind, digest_version: 0, key: key(n, kind).key };
            for jurisdiction in [0, 1] {
                let ask = |r: &IndexReader| {
                    let verdict = r.decide(&[asked], JurisdictionNo(jurisdiction), NOW).unwrap();
                    (verdict.status, verdict.grade, verdict.person, verdict.informative)
                };
                assert_eq!(ask(a), ask(b), "person {n}");
            }
        }
    }
}

#[test]
fn what_is_loaded_answers_as_what_was_copied() {
    let mut index = IndexWriter::with_capacity(100);
    (0..3_000).for_each(|n| add(&mut index, n));
    index.set_through(77);
    for step in [1, 7, 1_000, 1 << 20] {
        let (head, bytes) = copy(&index.reader(), step.max(64));
        let mut loaded = load(head, &bytes, step).unwrap();
        assert_eq!(loaded.reader().through(), 77);
        assert_eq!((loaded.size().keys, loaded.size().people), (index.size().keys, index.size().people));
        assert_eq!(loaded.reader().counts(), (index.size().people, index.size().keys));
        loaded.set_ready(Ts(1), 1);
        index.set_ready(Ts(1), 1);
        same(&index.reader(), &loaded.reader(), 3_000);
        // and it goes on growing
        for n in 3_000..3_200 {
            add(&mut loaded, n);
            add(&mut index, n);
        }
        same(&index.reader(), &loaded.reader(), 3_200);
        index = IndexWriter::with_capacity(100);
        (0..3_000).for_each(|n| add(&mut index, n));
        index.set_through(77);
    }
}

#[test]
fn bytes_that_are_no_index_are_refused() {
    let mut index = IndexWriter::with_capacity(100);
    (0..100).for_each(|n| add(&mut index, n));
    let (head, bytes) = copy(&index.reader(), 4_096);
    assert_eq!(load(head, &bytes[1..], 64).err(), Some(SnapshotError::Length));
    assert_eq!(load(head, &[&bytes[..], &[0]].concat(), 64).err(), Some(SnapshotError::Length));
    for bad in [
        SnapshotHead { layout: 9, ..head },
        SnapshotHead { groups: 0, ..head },
        SnapshotHead { groups: u64::MAX, ..head },
    ] {
        assert_eq!(Loader::new(bad).err(), Some(SnapshotError::Layout));
    }
}

/// As a program before the check might have written it: an event would make of it what never was.
#[test]
fn a_person_of_two_states_or_without_its_documents_is_refused() {
    let mut index = IndexWriter::with_capacity(100);
    (0..100).for_each(|n| add(&mut index, n));
    let (head, good) = copy(&index.reader(), 4_096);
    let cells = good.len() - head.nodes as usize * 24 - head.cells as usize * 16;
    let nodes = good.len() - head.nodes as usize * 24;
    // person 1 has its informative word in the cell, person 7 in a node: generation 1 becomes 2
    let extended = index.shared.people.get(7).unwrap()[1].load(Ordering::Relaxed);
    let node = InfoWord(extended).extension().unwrap() as usize;
    for word in [cells + 16 + 8, nodes + node * 24] {
        let mut torn = good.clone();
        assert_eq!(torn[word + 5] & 0xf, 1, "the generation of the first change");
        torn[word + 5] ^= 3;
        assert_eq!(load(head, &torn, 1 << 16).err(), Some(SnapshotError::Torn));
    }
    let mut dangling = good.clone();
    let documents = nodes + node * 24 + 8;
    dangling[documents..documents + 4].copy_from_slice(&head.nodes.to_le_bytes());
    assert_eq!(load(head, &dangling, 1 << 16).err(), Some(SnapshotError::Torn));
    assert!(load(head, &good, 1 << 16).is_ok());
}

/// Copied while it is written to, and brought up to date by what came after its beginning, it is the same index.
#[test]
fn a_copy_made_during_writes_is_right_after_the_events_behind_it() {
    let mut index = IndexWriter::with_capacity(64);
    index.set_ready(Ts(1), 1);
    (0..2_000).for_each(|n| add(&mut index, n));
    index.set_through(2_000);
    let reader = index.reader();
    let (begun, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let copies = std::thread::scope(|scope| {
        let copier = scope.spawn(|| {
            let mut copies = Vec::new();
            while !done.load(Ordering::Acquire) {
                copies.push(copy(&reader, 4_096));
                begun.store(true, Ordering::Release);
            }
            copies
        });
        while !begun.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        for n in 2_000..20_000 {
            add(&mut index, n);
            index.set_through(i64::from(n) + 1);
        }
        done.store(true, Ordering::Release);
        copier.join().unwrap()
    });
    assert!(copies.len() > 1);
    for (head, bytes) in &copies[copies.len().saturating_sub(5)..] {
        let mut loaded = load(*head, bytes, 1 << 16).unwrap();
        let from = u32::try_from(head.through).unwrap();
        (from..20_000).for_each(|n| add(&mut loaded, n));
        loaded.set_ready(Ts(1), 1);
        same(&index.reader(), &loaded.reader(), 20_000);
    }
}
