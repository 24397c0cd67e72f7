//! How an index comes to be: from a snapshot and the events behind it, or from the tables.

use super::say;
use engine::register::index::{IndexWriter, Loader};
use models::event::{Bound, Event};
use models::ids::{PersonNo, Seq};
use std::collections::{HashMap, VecDeque};
use store::{SnapshotLost, Store};

/// People read at once while the index is rebuilt.
const PEOPLE_CHUNK: u32 = 10_000;
/// Of these, how many the database packs at the same time.
const CHUNKS_AHEAD: usize = 3;
/// Events read at once behind a snapshot: one with keys derived anew takes some tens of KB.
const EVENTS_CHUNK: u32 = 1_000;

/// Takes a snapshot's bytes into an index.
struct Loading(Loader);

impl store::SnapshotSink for Loading {
    type Made = IndexWriter;

    fn feed(&mut self, bytes: &[u8]) -> Result<(), SnapshotLost> {
        self.0.feed(bytes).map_err(|e| SnapshotLost::Refused(e.to_string()))
    }

    fn finish(self) -> Result<IndexWriter, SnapshotLost> {
        self.0.finish().map_err(|e| SnapshotLost::Refused(e.to_string()))
    }
}

/// Said whenever something long has come a step further.
type Beat<'a> = &'a dyn Fn();

/// The index of the newest snapshot that is good, with every event up to `head` applied; none where there is none.
pub(super) async fn from_snapshot(
    store: &Store,
    chain_key: &[u8; 32],
    head: Seq,
    beat: Beat<'_>,
) -> Option<IndexWriter> {
    let found = store.snapshots(chain_key).await.inspect_err(|error| tracing::warn!(%error, "no snapshot is found"));
    for row in found.ok()? {
        beat();
        // of a database that was set back since: it knows of what never was
        if row.through > head {
            tracing::warn!(snapshot = row.id, "a snapshot of the index is ahead of the journal");
            continue;
        }
        let loading = serde_json::from_str(&row.head).ok().and_then(|head| Loader::new(head).ok()).map(Loading);
        let Some(loading) = loading.filter(|loading| loading.0.length() as u64 == row.bytes) else {
            tracing::warn!(snapshot = row.id, "a snapshot of the index is of another version");
            continue;
        };
        let read = store.read_snapshot(&row, loading);
        let loaded = match with_beats(read, beat).await {
            Ok(mut index) => catch_up(store, &mut index, row.through, head, beat).await.map(|()| index),
            Err(error) => Err(error.to_string()),
        };
        match loaded {
            Ok(index) => return Some(index),
            Err(error) => tracing::error!(snapshot = row.id, error, "a snapshot of the index cannot be used"),
        }
    }
    None
}

/// Waits for something long without looking as if it hung.
async fn with_beats<T>(work: impl Future<Output = T>, beat: Beat<'_>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(std::time::Duration::from_secs(1), work.as_mut()).await {
            Ok(done) => return done,
            Err(_) => beat(),
        }
    }
}

/// Applies what the journal holds behind a snapshot.
async fn catch_up(store: &Store, index: &mut IndexWriter, from: Seq, head: Seq, beat: Beat<'_>) -> Result<(), String> {
    let mut after = from;
    loop {
        let events = with_beats(store.register_events(after, EVENTS_CHUNK), beat).await.map_err(say)?;
        let Some(last) = events.last() else { return Ok(()) };
        after = last.seq;
        for committed in &events {
            if let Event::PeopleImported { first, last, .. } = &committed.event {
                take_people(store, index, *first, *last, beat).await?;
                continue;
            }
            engine::register::apply::event(index, &committed.event).map_err(|e| e.to_string())?;
        }
        beat();
        if after >= head {
            return Ok(());
        }
    }
}

/// The index as a tool needs it: complete up to the journal's head of now, and known to nobody else.
pub(crate) async fn for_tools(store: &Store, chain_key: &[u8; 32]) -> Result<IndexWriter, store::StoreError> {
    let head = store.head().await?;
    match from_snapshot(store, chain_key, head, &|| ()).await {
        Some(index) => Ok(index),
        None => from_tables(store, &|| ()).await.map_err(|error| {
            tracing::error!(error, "the register cannot be read");
            store::StoreError::Unreadable("register")
        }),
    }
}

pub(super) async fn from_tables(store: &Store, beat: Beat<'_>) -> Result<IndexWriter, String> {
    let mut index = IndexWriter::with_capacity(with_beats(store.key_count(), beat).await.map_err(say)?);
    if let Some(last) = with_beats(store.last_person(), beat).await.map_err(say)? {
        take_people(store, &mut index, PersonNo(0), last, beat).await?;
    }
    Ok(index)
}

/// Takes in everybody between two numbers as the tables know them: while one chunk goes into the index, the database
/// packs the next ones on connections of their own.
async fn take_people(
    store: &Store,
    index: &mut IndexWriter,
    first: PersonNo,
    last: PersonNo,
    beat: Beat<'_>,
) -> Result<(), String> {
    let read = |from: u32| {
        let (store, to) = (store.clone(), from.saturating_add(PEOPLE_CHUNK - 1).min(last.0));
        tokio::spawn(async move { store.packed_people(from, to).await })
    };
    let mut starts = (first.0..=last.0).step_by(PEOPLE_CHUNK as usize);
    let mut under_way: VecDeque<_> = starts.by_ref().take(CHUNKS_AHEAD).map(read).collect();
    while let Some(next) = under_way.pop_front() {
        let people = with_beats(next, beat).await.map_err(|e| e.to_string())?.map_err(say)?;
        under_way.extend(starts.next().map(read));
        take_packed(index, &people)?;
        beat();
    }
    Ok(())
}

fn take_packed(index: &mut IndexWriter, people: &store::PackedPeople) -> Result<(), String> {
    let full = |e: engine::register::index::IndexError| e.to_string();
    let mut bounds: HashMap<PersonNo, Vec<Bound>> = HashMap::new();
    for row in people.exclusions() {
        let (person_no, bound) = row.map_err(say)?;
        bounds.entry(person_no).or_default().push(bound);
    }
    for person_no in people.persons() {
        let person_no = person_no.map_err(say)?;
        let bounds = bounds.get_mut(&person_no).map_or(&mut [][..], Vec::as_mut_slice);
        engine::register::apply::bounds(index, person_no, bounds).map_err(full)?;
    }
    for row in people.keys() {
        let (person_no, key) = row.map_err(say)?;
        index.insert_key(person_no, &key).map_err(full)?;
    }
    Ok(())
}
