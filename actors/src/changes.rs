//! What has changed for people an operator has asked about: read from the journal, told in the operator's own tokens.
//!
//! Nothing is kept for it: the journal says what changed and when, the contacts say who may be told. A change is told
//! once it is in the index and every answer given without it is among the contacts ([`Contacts::told`]): nobody who asked
//! just before is left out, and nobody is told "not excluded" of somebody who has just been.

use crate::api::EngineError;
use crate::contacts::Contacts;
use crate::register::unavailable;
use engine::register::index::{IndexReader, LookupKey};
use models::event::{Committed, Event};
use models::exclusion::Status;
use models::ids::{OperatorNo, PersonNo, Seq};
use models::jurisdiction::{JurisdictionNo, JurisdictionSet};
use models::ts::{DAY, SECOND, Ts};
use std::collections::HashMap;
use store::{ContactKey, Store, StoreError};

/// Changes are told for so many days.
pub const KEPT_DAYS: i64 = 400;
/// Events of the register looked at for one page.
const EVENTS_MAX: u32 = 1_000;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// An exclusion binds, or a token turned out to belong to somebody excluded.
    Created,
    /// It binds longer.
    Extended,
    /// It ended.
    Ended,
}

impl ChangeKind {
    /// The wire name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "exclusion.created",
            Self::Extended => "exclusion.extended",
            Self::Ended => "exclusion.ended",
        }
    }
}

/// One change of one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Sequence of the event: what comes later counts.
    pub version: Seq,
    /// What happened.
    pub kind: ChangeKind,
    /// What the operator's token is made of.
    pub key: LookupKey,
    /// Status of the person as the register stands when it is read.
    pub status: Status,
    /// Since when, where the person is excluded; else when it ended.
    pub effective_at: Option<Ts>,
}

/// A part of the feed.
#[derive(Debug, Default)]
pub struct Changes {
    /// In the order of the journal.
    pub items: Vec<Change>,
    /// Where the next part begins.
    pub next: Seq,
    /// Whose exclusions bound the operator when it was read.
    pub bound: JurisdictionSet,
    /// More may be there right away.
    pub more: bool,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum ChangesError {
    /// The cursor is behind what is kept.
    #[error("changes are kept for {KEPT_DAYS} days")]
    TooOld,
    /// Other exclusions bind than when the cursor was given.
    #[error("a recognition began or ended since: other exclusions bind now")]
    Rebound,
    /// Not a place in this journal.
    #[error("the cursor is ahead of the journal")]
    Ahead,
    /// The index cannot be asked.
    #[error("the register cannot be asked now")]
    NotReady,
    /// The database.
    #[error("store: {0}")]
    Store(#[from] StoreError),
}

impl From<ChangesError> for EngineError {
    fn from(error: ChangesError) -> Self {
        match error {
            ChangesError::TooOld => Self::Gone("changes are kept for 400 days"),
            ChangesError::Rebound => Self::Gone("the recognition of another jurisdiction began or ended since"),
            ChangesError::Ahead => {
                Self::Invalid { pointer: "?cursor", detail: "not one that this feed gave".to_owned() }
            }
            ChangesError::NotReady => Self::Unavailable("the register"),
            ChangesError::Store(error) => unavailable(error),
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Reader {
    pub operator_no: OperatorNo,
    /// Whose exclusions bind the operator.
    pub jurisdictions: JurisdictionSet,
    /// Whose did when the cursor was given.
    pub bound_then: JurisdictionSet,
    pub now: Ts,
}

/// Whom an event is about.
enum About {
    One(PersonNo),
    Range(PersonNo, PersonNo),
}

fn about(event: &Event) -> Option<(About, ChangeKind, Option<JurisdictionNo>)> {
    let exclusion = |e: &models::event::Exclusion, kind| Some((About::One(e.person_no), kind, Some(e.jurisdiction)));
    match event {
        Event::ExclusionRegistered(e) => exclusion(e, ChangeKind::Created),
        Event::ExclusionExtended(e) | Event::ExclusionRenewed(e) => exclusion(e, ChangeKind::Extended),
        Event::ExclusionLapsed(e) => exclusion(e, ChangeKind::Ended),
        Event::PersonKeysAdded { person_no, .. } => Some((About::One(*person_no), ChangeKind::Created, None)),
        Event::PeopleImported { first, last, .. } => Some((About::Range(*first, *last), ChangeKind::Created, None)),
        // somebody without an exclusion yet
        _ => None,
    }
}

/// Is this a place in the journal? Asked once, however long is waited for a change.
///
/// # Errors
/// [`ChangesError::Ahead`].
pub async fn is_a_place(store: &Store, after: Seq) -> Result<(), ChangesError> {
    if after > store.head().await? { Err(ChangesError::Ahead) } else { Ok(()) }
}

/// Changes behind `after`, about `limit` of them: the last event is told whole. Asks the store only where there is
/// something to tell.
///
/// # Errors
/// [`ChangesError`].
pub async fn read(
    store: &Store,
    contacts: &Contacts,
    index: &IndexReader,
    reader: Reader,
    after: Seq,
    limit: usize,
) -> Result<Changes, ChangesError> {
    if reader.jurisdictions != reader.bound_then {
        // whom that concerns is in no event: whole other registers bind now, or no longer
        return Err(ChangesError::Rebound);
    }
    let told = contacts.told();
    if told <= after {
        return Ok(Changes { next: after, bound: reader.jurisdictions, ..Changes::default() });
    }
    let events = store.register_events(after, EVENTS_MAX).await?;
    if events.first().is_some_and(|first| first.at.0 < reader.now.0 - KEPT_DAYS * DAY) {
        return Err(ChangesError::TooOld);
    }
    let read = events.len();
    let ready: Vec<Committed> = events.into_iter().take_while(|e| e.seq <= told).collect();
    let mut changes = Changes { items: Vec::new(), next: after, bound: reader.jurisdictions, more: false };
    let known = known(store, reader.operator_no, &ready).await?;
    for committed in &ready {
        if changes.items.len() >= limit {
            changes.more = true;
            return Ok(changes);
        }
        changes.next = committed.seq;
        let Some((about, kind, jurisdiction)) = about(&committed.event) else { continue };
        if jurisdiction.is_some_and(|j| !reader.jurisdictions.contains(j)) {
            continue;
        }
        match about {
            About::One(person) => {
                for key in known.get(&person).into_iter().flatten() {
                    changes.items.extend(change(index, reader, committed, kind, key)?);
                }
            }
            About::Range(first, last) => {
                for key in store.contact_keys_between(reader.operator_no, first, last).await? {
                    changes.items.extend(change(index, reader, committed, kind, &key)?);
                }
            }
        }
    }
    // behind the last of a page there may be more right away; behind what is not told yet there is nothing
    changes.more = read == EVENTS_MAX as usize && ready.len() == read;
    if read < EVENTS_MAX as usize {
        // nothing of the register lies between the last of them and what is told: who asks again need not look there
        changes.next = told;
    }
    Ok(changes)
}

async fn known(
    store: &Store,
    operator: OperatorNo,
    events: &[Committed],
) -> Result<HashMap<PersonNo, Vec<ContactKey>>, StoreError> {
    let one = |event: &Event| match about(event) {
        Some((About::One(person), ..)) => Some(person),
        _ => None,
    };
    let mut people: Vec<PersonNo> = events.iter().filter_map(|e| one(&e.event)).collect();
    people.sort_unstable();
    people.dedup();
    let mut known: HashMap<PersonNo, Vec<ContactKey>> = HashMap::new();
    for key in store.contact_keys(operator, &people).await? {
        known.entry(key.person_no).or_default().push(key);
    }
    Ok(known)
}

fn change(
    index: &IndexReader,
    reader: Reader,
    committed: &Committed,
    kind: ChangeKind,
    key: &ContactKey,
) -> Result<Option<Change>, ChangesError> {
    let key = LookupKey { kind: key.kind, digest_version: key.digest_version, key: key.key };
    let second = u32::try_from(reader.now.seconds()).unwrap_or(u32::MAX);
    let verdict = index.decide(&[key], reader.jurisdictions, second).map_err(|_| ChangesError::NotReady)?;
    let told = match &committed.event {
        Event::ExclusionLapsed(e) => e.ended_at,
        Event::ExclusionRegistered(e) | Event::ExclusionExtended(e) | Event::ExclusionRenewed(e) => {
            Some(e.effective_at)
        }
        // somebody with nothing here is nobody's news
        _ if verdict.status == Status::NotExcluded => return Ok(None),
        _ => verdict.informative.map(|i| Ts(i64::from(i.effective_second) * SECOND)),
    };
    Ok(Some(Change { version: committed.seq, kind, key, status: verdict.status, effective_at: told }))
}
