//! The life of the keys while the engine runs: new versions are taken over, what lies under an older one is put under the
//! new one, bit by bit, and every step is journaled (docs/adr/0014).
//!
//! Each step is found in the tables, so a process that comes after a crash goes on where the one before stopped.

use super::opening;
use super::{Engine, StartError};
use crate::api::PersonData;
use crate::directory::Directory;
use crate::identity::Identifiers;
use crate::secrets::{KeyError, KeyRing};
use models::event::{DerivedKeys, Event, PersonKey};
use models::ids::{ExclusionReportId, KeyId, PersonNo, QuarantineId};
use models::key_version::{KeyPurpose, KeyState, KeyVersion};
use models::match_key::MatchKey;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Attachment, Rewrapped, SealedId, SealedRow, SealedTable, Store, VaultRow};
use zeroize::Zeroizing;

/// How often the provider is asked whether its keys have changed.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Sealed values in one commit.
const SEALS_CHUNK: u32 = 256;
/// People whose match keys are derived in one commit.
const PEOPLE_CHUNK: u32 = 200;
/// People whose retired match keys are deleted at once.
const FORGET_CHUNK: u32 = 1_000;
/// People who are named where something cannot be derived.
const NAMED_MAX: usize = 20;
/// Pause after a chunk at least; after a slow one as long as it took, so that half of the database is left to others.
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// Pause before something is tried again that needs a person.
const STUCK_PAUSE: Duration = Duration::from_secs(60);

/// Why a step is not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    /// It comes right by itself.
    #[error("{0}")]
    Later(String),
    /// Somebody has to do something.
    #[error("{0}")]
    Stuck(String),
}

impl From<store::StoreError> for StepError {
    fn from(error: store::StoreError) -> Self {
        Self::Later(error.to_string())
    }
}

impl From<store::CommitError> for StepError {
    fn from(error: store::CommitError) -> Self {
        Self::Later(error.to_string())
    }
}

impl From<KeyError> for StepError {
    fn from(error: KeyError) -> Self {
        Self::Stuck(error.to_string())
    }
}

impl From<StartError> for StepError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Store(error) => error.into(),
            other => Self::Stuck(other.to_string()),
        }
    }
}

impl Engine {
    /// Follows the provider and the journal for as long as the engine runs.
    pub(super) async fn keep_keys(&self) {
        let inner = &self.0;
        let (mut seen, mut again, mut not_before) = (None, true, Instant::now());
        loop {
            let changed_at = inner.provider.changed_at();
            if again || changed_at != seen {
                seen = changed_at;
                *inner.keys_seen.lock() = seen;
                // what needs a person is not tried again before something changes: tokens count wrong PINs
                again = match self.take_keys().await {
                    Ok(()) => false,
                    Err(StepError::Later(error)) => {
                        tracing::warn!(error, "the keys are taken over later");
                        true
                    }
                    Err(StepError::Stuck(error)) => {
                        tracing::error!(error, "the keys that are brought now cannot be used; those before go on");
                        false
                    }
                };
                not_before = Instant::now();
            }
            if not_before <= Instant::now()
                && let Err(error) = self.rotate().await
            {
                not_before += STUCK_PAUSE;
                match error {
                    StepError::Later(error) => {
                        not_before = Instant::now();
                        tracing::warn!(error, "the rotation of keys goes on later");
                    }
                    StepError::Stuck(error) => tracing::error!(error, "the rotation of keys cannot go on"),
                }
            }
            tokio::select! {
                () = inner.key_steps.notified() => again = true,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Takes over what the provider brings and what the journal says of it.
    pub(super) async fn take_keys(&self) -> Result<(), StepError> {
        let inner = &self.0;
        let provider = Arc::clone(&inner.provider);
        let loaded =
            tokio::task::spawn_blocking(move || provider.load()).await.map_err(|e| StepError::Later(e.to_string()))?;
        let last = inner.material.lock().clone();
        // a provider that fails must not keep this node in an epoch that is over, where nothing can be written: it goes on
        // with what it was brought last
        let (material, failed) = match (loaded, last) {
            (Ok(material), _) => (material, None),
            (Err(error), Some(last)) => (last, Some(error)),
            (Err(error), None) => return Err(error.into()),
        };
        let stored = inner.store.key_states().await?;
        let states = opening::key_states(&inner.store, &material).await?;
        let ring = KeyRing::with(&material, &states)?;
        let before = inner.keys.hold();
        if ring.chain != before.chain || ring.checkpoint_public_key() != before.checkpoint_public_key() {
            return Err(StepError::Stuck("the chain's and the checkpoints' keys have no versions".to_owned()));
        }
        let mut events = Vec::new();
        let began = |purpose, version, fingerprint: &str| Event::KeyVersionStarted {
            purpose,
            version,
            fingerprint: fingerprint.to_owned(),
        };
        let ready = |purpose, version| Event::KeyVersionReady { purpose, version, left_behind: 0 };
        let unknown: Vec<&KeyVersion> =
            states.versions.iter().filter(|known| stored.get(known.purpose, known.version).is_none()).collect();
        for (place, known) in unknown.iter().enumerate() {
            events.push(began(known.purpose, known.version, &known.fingerprint));
            // an older release sealed under the newest and left the rest where it was
            let older = unknown[..place].iter().any(|before| before.purpose == known.purpose);
            let newest = !unknown[place + 1..].iter().any(|after| after.purpose == known.purpose);
            if known.purpose != KeyPurpose::Vault || !(older && newest) {
                events.push(ready(known.purpose, known.version));
            }
        }
        for purpose in KeyPurpose::ALL {
            // one after the other
            if states.under_way(purpose).is_some() {
                continue;
            }
            let is_new = |version, fingerprint: &String| {
                let known = states.get(purpose, version);
                known.is_none_or(|known| known.state == KeyState::Retired && known.fingerprint != *fingerprint)
            };
            let there = material.fingerprints(purpose)?;
            let Some((version, fingerprint)) = there.iter().find(|(version, mark)| is_new(*version, mark)) else {
                continue;
            };
            if purpose == KeyPurpose::Digest {
                // rows that an older key of this number has left would count as everybody's new ones
                let rows = inner.store.match_keys_by_version().await?;
                if rows.iter().any(|(left, count)| left == version && *count > 0) {
                    return Err(StepError::Stuck(format!(
                        "digest key {version} is another one than that of which match keys are left: take a free number"
                    )));
                }
            }
            events.push(began(purpose, *version, fingerprint));
            // a token is opened by its number: nothing has to follow
            if purpose == KeyPurpose::Token {
                events.push(ready(purpose, *version));
            }
            tracing::info!(purpose = purpose.as_str(), version, "a new version of a key begins");
        }
        if !events.is_empty() {
            inner.writer.commit(events, Vec::new()).await?;
        }
        let read_at = self.now();
        let states = inner.store.key_states().await?;
        let ring = KeyRing::with(&material, &states)?;
        if ring.digest.current().version() != before.digest.current().version() {
            self.index_reaches(read_at).await;
        }
        inner.keys.put(ring);
        inner.directory.rcu(|old| {
            let mut new = Directory::clone(old);
            new.rekey(&inner.keys.load());
            new
        });
        *inner.material.lock() = Some(material);
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Everything committed before `at` is in the index: nobody is looked for under a version that has not come through.
    async fn index_reaches(&self, at: models::ts::Ts) {
        while self.freshness().as_of < at {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Brings what is on its way to its end.
    async fn rotate(&self) -> Result<(), StepError> {
        let states = self.0.store.key_states().await?;
        // one that is stuck holds up none of the others
        let mut outcome = Ok(());
        if let Some(known) = states.under_way(KeyPurpose::Vault) {
            outcome = outcome.and(self.reseal(known.version).await);
        }
        if let Some(known) = states.under_way(KeyPurpose::Digest) {
            outcome = outcome.and(self.derive(known.version).await);
        }
        let went = states.versions.iter().filter(|known| known.purpose == KeyPurpose::Digest);
        for known in went.filter(|known| known.state == KeyState::Retired) {
            outcome = outcome.and(self.forget_match_keys(known).await);
        }
        outcome
    }

    /// Lets others go first for a while; true where there are steps to be taken before this job goes on.
    async fn pause(&self, while_working: Duration) -> bool {
        let inner = &self.0;
        tokio::select! {
            () = inner.key_steps.notified() => {
                // it was meant for whoever takes the keys
                inner.key_steps.notify_one();
                true
            }
            () = tokio::time::sleep(while_working.max(PAUSE_MIN)) => inner.provider.changed_at() != *inner.keys_seen.lock(),
        }
    }

    /// Journals that everything is under a version; it is in force when this returns.
    async fn complete(&self, purpose: KeyPurpose, version: u8) -> Result<(), StepError> {
        let ready = Event::KeyVersionReady { purpose, version, left_behind: 0 };
        self.0.writer.commit(vec![ready], Vec::new()).await?;
        tracing::info!(purpose = purpose.as_str(), version, "everything is under the new version of the key");
        self.take_keys().await
    }

    /// Puts every sealed value under this version.
    async fn reseal(&self, version: u8) -> Result<(), StepError> {
        let inner = &self.0;
        let ring = inner.keys.hold();
        if ring.sealing() != version {
            return Err(StepError::Later("the vault key is not in force yet".to_owned()));
        }
        let mut closed = 0;
        for table in SealedTable::ALL {
            let mut after: Option<SealedId> = None;
            loop {
                let began = Instant::now();
                let rows = inner.store.sealed_otherwise(table, version, after.as_ref(), SEALS_CHUNK).await?;
                let Some(last) = rows.last() else { break };
                after = Some(last.id.clone());
                let read = rows.len();
                let ring = Arc::clone(&ring);
                let seals = tokio::task::spawn_blocking(move || rewrap_all(&ring, table, rows))
                    .await
                    .map_err(|e| StepError::Later(e.to_string()))?;
                closed += read - seals.len();
                if !seals.is_empty() {
                    let rows = seals.len() as u32;
                    let event = Event::SealsRewrapped { version, table: table.as_str().to_owned(), rows };
                    inner.writer.commit(vec![event], vec![Attachment::Rewrapped(table, seals)]).await?;
                }
                if self.pause(began.elapsed()).await {
                    return Ok(());
                }
            }
        }
        if closed > 0 {
            return Err(StepError::Stuck(format!("{closed} sealed values do not open under any vault key")));
        }
        // what an earlier pass of this one missed; nothing new comes in under an older version
        for table in SealedTable::ALL {
            if !inner.store.sealed_otherwise(table, version, None, 1).await?.is_empty() {
                return Err(StepError::Later("some sealed values are left".to_owned()));
            }
        }
        self.complete(KeyPurpose::Vault, version).await
    }

    /// Derives the match keys of everybody under a new digest version; complete where nobody's is missing.
    async fn derive(&self, version: u8) -> Result<(), StepError> {
        let inner = &self.0;
        let ring = inner.keys.hold();
        let (mut after, mut left) = (-1, LeftBehind::default());
        loop {
            let began = Instant::now();
            let chunk = next_chunk(&inner.store, &ring, &inner.config.family, version, after).await?;
            let Some(chunk) = chunk else { break };
            after = chunk.last;
            left.add(&chunk.left);
            if !chunk.people.is_empty() {
                let event = Event::MatchKeysDerived { digest_version: version, people: chunk.people };
                inner.writer.commit_in(ring.epoch, vec![event], Vec::new()).await?;
            }
            if self.pause(began.elapsed()).await {
                return Ok(());
            }
        }
        if left.keys > 0 {
            return Err(StepError::Stuck(left.to_string()));
        }
        // nobody new lacks one: whoever is registered meanwhile is written under both
        let from = ring.digest.current().version();
        if !inner.store.lacking_keys(from, version, -1, 1).await?.is_empty() {
            return Err(StepError::Later("some people are left".to_owned()));
        }
        self.complete(KeyPurpose::Digest, version).await
    }

    /// Takes a retired digest version out of the tables, once.
    async fn forget_match_keys(&self, known: &KeyVersion) -> Result<(), StepError> {
        let store = &self.0.store;
        let fact = format!("match_keys_forgotten_{}_{}", known.version, known.retired_at.unwrap_or_default().0);
        if !store.facts(&fact).await?.is_empty() {
            return Ok(());
        }
        let last = store.last_person().await?;
        let mut from = Some(0).filter(|_| last.is_some());
        while let Some(no) = from {
            let began = Instant::now();
            store.forget_match_keys(known.version, PersonNo(no), FORGET_CHUNK).await?;
            if self.pause(began.elapsed()).await {
                return Ok(());
            }
            from = no.checked_add(FORGET_CHUNK).filter(|no| last.is_some_and(|last| *no <= last.0));
        }
        store.first_fact(&fact, "").await?;
        tracing::info!(version = known.version, "the match keys of a retired digest key are deleted");
        Ok(())
    }
}

/// Match keys that no vault row leads to.
#[derive(Debug, Default)]
pub struct LeftBehind {
    /// How many.
    pub keys: u64,
    /// Whose; the first few.
    pub people: Vec<PersonNo>,
}

impl LeftBehind {
    fn add(&mut self, left: &[(PersonNo, u64)]) {
        self.keys += left.iter().map(|(_, keys)| keys).sum::<u64>();
        let room = NAMED_MAX.saturating_sub(self.people.len());
        self.people.extend(left.iter().map(|(person_no, _)| person_no).take(room));
    }
}

impl std::fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let people: Vec<String> = self.people.iter().map(|no| no.0.to_string()).collect();
        write!(
            f,
            "{} match keys cannot be derived from the vault; they are of the people {}",
            self.keys,
            people.join(", ")
        )
    }
}

/// What a rotation of the digest key would leave behind, once everything that can be derived is.
///
/// # Errors
/// The store; or something is still to be derived.
pub async fn left_behind(store: &Store, ring: &Arc<KeyRing>, family: &str, version: u8) -> Result<LeftBehind, String> {
    let (mut after, mut left) = (-1, LeftBehind::default());
    while let Some(chunk) = next_chunk(store, ring, family, version, after).await.map_err(|e| e.to_string())? {
        if !chunk.people.is_empty() {
            return Err("some match keys are still to be derived".to_owned());
        }
        after = chunk.last;
        left.add(&chunk.left);
    }
    Ok(left)
}

/// Some people who lack match keys of a version.
struct Chunk {
    /// What can be derived.
    people: Vec<DerivedKeys>,
    /// How many keys of whom cannot.
    left: Vec<(PersonNo, u64)>,
    /// The last of them.
    last: i64,
}

/// The next people behind `after` who lack match keys of a version; none where there is none left.
async fn next_chunk(
    store: &Store,
    ring: &Arc<KeyRing>,
    family: &str,
    version: u8,
    after: i64,
) -> Result<Option<Chunk>, StepError> {
    let lacking = store.lacking_keys(ring.digest.current().version(), version, after, PEOPLE_CHUNK).await?;
    let Some(last) = lacking.last().map(|(person_no, _)| i64::from(person_no.0)) else { return Ok(None) };
    let numbers: Vec<PersonNo> = lacking.iter().map(|(person_no, _)| *person_no).collect();
    let (keys, vault) = (store.keys_of(&numbers).await?, store.vault_of(&numbers).await?);
    let (ring, family) = (Arc::clone(ring), family.to_owned());
    let derived = tokio::task::spawn_blocking(move || derive_all(&ring, &family, version, keys, &vault));
    let people = derived.await.map_err(|e| StepError::Later(e.to_string()))??;
    let made = |person_no: PersonNo| {
        let known = people.binary_search_by_key(&person_no, |derived| derived.person_no);
        known.map_or(0, |place| people[place].keys.len() as u64)
    };
    let left = lacking.iter().map(|(person_no, lacks)| (*person_no, lacks.saturating_sub(made(*person_no))));
    let left = left.filter(|(_, lacks)| *lacks > 0).collect();
    Ok(Some(Chunk { people, left, last }))
}

/// The keys of a version that follow from what the vault keeps: each takes the validity of the one it stands beside. In
/// the order of the people.
fn derive_all(
    ring: &KeyRing,
    family: &str,
    version: u8,
    keys: Vec<(PersonNo, PersonKey)>,
    vault: &[VaultRow],
) -> Result<Vec<DerivedKeys>, StepError> {
    let new = ring.digest.version(version);
    let new = new.ok_or_else(|| StepError::Later("the digest key is not in use yet".to_owned()))?;
    let old = ring.digest.current();
    let known: HashMap<(PersonNo, MatchKey), PersonKey> =
        keys.into_iter().map(|(person_no, key)| ((person_no, key.key), key)).collect();
    let mut people: BTreeMap<PersonNo, Vec<PersonKey>> = BTreeMap::new();
    for row in vault {
        let opened = ring.open(&row.id, &row.sealed).map(Zeroizing::new);
        let person = opened.ok().and_then(|plain| serde_json::from_slice::<PersonData>(&plain).ok());
        let Some(person) = person else {
            tracing::error!(person_no = row.person_no.0, "a row of the vault cannot be read");
            continue;
        };
        let named = Identifiers::of(&person);
        for ((_, before), (kind, key)) in named.keys(old, family).zip(named.keys(new, family)) {
            let Some(beside) = known.get(&(row.person_no, before)) else { continue };
            let list = people.entry(row.person_no).or_default();
            if known.contains_key(&(row.person_no, key)) || list.iter().any(|made| made.key == key) {
                continue;
            }
            list.push(PersonKey { kind, digest_version: version, key, ..beside.clone() });
        }
    }
    let people = people.into_iter().filter(|(_, keys)| !keys.is_empty());
    Ok(people.map(|(person_no, keys)| DerivedKeys { person_no, keys }).collect())
}

/// What a seal of a table is bound to.
fn context_of(table: SealedTable, id: &SealedId) -> Option<Vec<u8>> {
    Some(match (table, id) {
        (SealedTable::Vault, SealedId::Bytes(id)) => id.clone(),
        (SealedTable::KeySecrets, SealedId::Text(id)) => id.parse::<KeyId>().ok()?.0.to_be_bytes().to_vec(),
        (SealedTable::Quarantine, SealedId::Text(id)) => id.parse::<QuarantineId>().ok()?.0.to_be_bytes().to_vec(),
        (SealedTable::ReportedExclusions, SealedId::Text(id)) => {
            id.parse::<ExclusionReportId>().ok()?.0.to_be_bytes().to_vec()
        }
        (SealedTable::EvidenceKeys, SealedId::Int(month)) => crate::evidence::context(u32::try_from(*month).ok()?),
        _ => return None,
    })
}

/// Those that open; the others are left as they are.
fn rewrap_all(ring: &KeyRing, table: SealedTable, rows: Vec<SealedRow>) -> Vec<Rewrapped> {
    let rewrap = |row: SealedRow| {
        let now = context_of(table, &row.id).and_then(|context| ring.rewrap(&context, &row.sealed).ok());
        if now.is_none() {
            tracing::error!(table = table.as_str(), id = ?row.id, "a sealed value does not open");
        }
        now.map(|now| Rewrapped { row, now })
    };
    rows.into_iter().filter_map(rewrap).collect()
}
