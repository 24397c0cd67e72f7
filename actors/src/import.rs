//! Loading people in bulk: rows of an older register become people with their original dates.
//!
//! ```text
//! rows of a person ─▶ keys ─▶ nobody has one of them ─▶ chunk of new people ─▶ one commit, one journaled event
//!                             somebody has            ─▶ decided as a registration is, alone
//! ```
//! No engine may run meanwhile: registrations are decided under locks in memory. How far the import has come is stored
//! with every commit, so one that was cut off goes on where it stopped, and one that is run twice does nothing.

use crate::api::{NewExclusion, PersonData};
use crate::identity::Identifiers;
use crate::register::{self, SHARERS_MAX, dossier, new_id};
use crate::secrets::{KeyRing, hex};
use crate::writer::WriterHandle;
use engine::register::decide::{self, Kept, Request};
use engine::register::index::{IndexWriter, PEOPLE_MAX};
use jiff::tz::TimeZone;
use models::event::{Event, PersonKey};
use models::exclusion::{AtEnd, Channel, Period, ReasonClass};
use models::ids::PersonNo;
use models::jurisdiction::JurisdictionNo;
use models::ts::Ts;
use ring::digest::{Context, SHA256};
use std::collections::BTreeSet;
use std::sync::Arc;
use store::{Attachment, CommitError, CommitReceipt, ImportProgress, ImportedPerson, Store, VaultRow};
use tokio::sync::oneshot;

/// New people in one commit.
pub const CHUNK_PEOPLE: usize = 10_000;

/// Why an import stops; what was committed before stands.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The database.
    #[error("store: {0}")]
    Store(#[from] store::StoreError),
    /// A commit.
    #[error("commit: {0}")]
    Commit(#[from] CommitError),
    /// A key cannot be used, or there is no randomness.
    #[error("keys: {0}")]
    Keys(#[from] crate::secrets::KeyError),
    /// The register is full.
    #[error("the register holds as many people as it can")]
    Full,
    /// The index.
    #[error("index: {0}")]
    Index(#[from] engine::register::index::IndexError),
}

/// What an import is about; the same file under the same names is the same import.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Digest of the file and these names, in hex.
    pub id: String,
    /// Where the rows come from.
    pub origin: String,
    /// On which legal basis.
    pub legal_basis: String,
}

/// What became of the rows so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Imported {
    /// New people.
    pub added: u64,
    /// Rows about people who were in the register.
    pub merged: u64,
}

/// What a row of a file says: who it is about, an exclusion, or both.
pub struct ImportRow {
    /// What the person can be known by.
    pub known_by: Identifiers,
    /// For the vault; none where the row says nothing of who it is.
    pub person: Option<PersonData>,
    /// None where the row only says more of who it is.
    pub exclusion: Option<ImportedExclusion>,
}

/// An exclusion as the file tells it.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct ImportedExclusion {
    pub jurisdiction: JurisdictionNo,
    pub period: Period,
    pub reason_class: ReasonClass,
    pub channel: Channel,
    pub effective_at: Ts,
    /// How it went on; none = as the period says, until now.
    pub kept: Option<Kept>,
}

/// All that the rows say of one person.
struct Gathered {
    known_by: Vec<Identifiers>,
    /// Of the first entry, as a registration keeps it.
    date_of_birth: Option<String>,
    is_described: bool,
    exclusions: Vec<ImportedExclusion>,
    vault: Vec<PersonData>,
}

impl Gathered {
    fn of(rows: Vec<ImportRow>) -> Self {
        let mut all = Self {
            known_by: Vec::new(),
            date_of_birth: None,
            is_described: false,
            exclusions: Vec::new(),
            vault: Vec::new(),
        };
        for row in rows {
            all.known_by.push(row.known_by);
            if all.vault.is_empty() {
                all.date_of_birth = row.person.as_ref().and_then(|person| person.date_of_birth.clone());
            }
            all.is_described |= row.person.as_ref().is_some_and(|person| !person.names.is_empty());
            all.exclusions.extend(row.exclusion);
            all.vault.extend(row.person);
        }
        all
    }

    /// Their match keys under every live key: of each version the documents' first, none twice.
    fn keys(&self, ring: &KeyRing, family: &str, valid_from: Ts) -> Vec<PersonKey> {
        let mut keys: Vec<PersonKey> = Vec::with_capacity(2 * self.known_by.len() * ring.digest.live().len());
        for digest in ring.digest.live() {
            let from = keys.len();
            for (kind, key) in self.known_by.iter().flat_map(|known| known.keys(digest, family)) {
                if keys[from..].iter().all(|known| known.key != key) {
                    keys.push(PersonKey { kind, digest_version: digest.version(), key, valid_from, valid_to: None });
                }
            }
            keys[from..].sort_by_key(|key| !key.kind.is_document());
        }
        keys
    }
}

/// An import under way.
pub struct Importer {
    store: Store,
    writer: WriterHandle,
    ring: Arc<KeyRing>,
    family: Arc<str>,
    index: IndexWriter,
    zones: Vec<TimeZone>,
    origin: Origin,
    now: Ts,
    next_person: u32,
    rows: u64,
    pending: Vec<ImportedPerson>,
    digest: Context,
    under_way: Option<oneshot::Receiver<Result<CommitReceipt, CommitError>>>,
    /// What became of the rows.
    pub done: Imported,
}

impl Importer {
    /// Reads the register, so that people who are in it are recognised; gives the rows that an earlier run has done.
    pub async fn begin(
        store: Store,
        writer: WriterHandle,
        (ring, family): (Arc<KeyRing>, Arc<str>),
        zones: Vec<TimeZone>,
        origin: Origin,
        now: Ts,
    ) -> Result<(Self, u64), ImportError> {
        let rows = store.import_progress(&origin.id).await?.map_or(0, |progress| progress.rows);
        let index = register::for_tools(&store, &ring.chain).await?;
        let next_person = store.next_numbers().await?.person_no;
        let importer = Self {
            store,
            writer,
            ring,
            family,
            index,
            zones,
            origin,
            now,
            next_person,
            rows,
            pending: Vec::with_capacity(CHUNK_PEOPLE),
            digest: Context::new(&SHA256),
            under_way: None,
            done: Imported::default(),
        };
        Ok((importer, rows))
    }

    /// Takes what the rows of a file say of one person; `raw` is what they were read from.
    ///
    /// False where they were refused: too many people are known under the phone, which every lookup of it would have to
    /// walk through.
    pub async fn take(&mut self, rows: Vec<ImportRow>, raw: &[u8]) -> Result<bool, ImportError> {
        let second = u32::try_from(self.now.seconds()).unwrap_or(u32::MAX);
        let (count, person) = (rows.len() as u64, Gathered::of(rows));
        let reader = self.index.reader();
        let keys = person.keys(&self.ring, &self.family, self.now);
        let known: BTreeSet<PersonNo> =
            keys.iter().flat_map(|known| reader.lookup(known.key, second).iter().collect::<Vec<_>>()).collect();
        if known.len() >= SHARERS_MAX {
            self.rows += count;
            return Ok(false);
        }
        if known.is_empty() {
            self.rows += count;
            self.digest.update(raw);
            self.add(person).await?;
        } else {
            // what was taken before is stored without these rows
            self.settle().await?;
            self.rows += count;
            self.merge(person, known).await?;
            self.done.merged += count;
        }
        Ok(true)
    }

    /// Counts rows that were refused.
    pub fn refused(&mut self, rows: u64) {
        self.rows += rows;
    }

    async fn add(&mut self, person: Gathered) -> Result<(), ImportError> {
        if self.next_person >= PEOPLE_MAX {
            return Err(ImportError::Full);
        }
        let person_no = PersonNo(self.next_person);
        self.next_person += 1;
        let requests = self.requests(&person, person_no);
        let exclusions = requests.iter().map(|r| decide::wanted(r, person_no, &self.zone(r.jurisdiction))).collect();
        let vault = self.vault(&person, person_no)?;
        let (keys, birth_digest) =
            requests.into_iter().next().map_or_else(Default::default, |r| (r.keys, r.birth_digest));
        let dossier = decide::Dossier { person_no: person_no.0, birth_digest, keys, exclusions };
        engine::register::apply::person(&mut self.index, &dossier)?;
        let (keys, exclusions) = (dossier.keys, dossier.exclusions);
        self.pending.push(ImportedPerson { person_no, birth_digest, keys, exclusions, vault });
        self.done.added += 1;
        if self.pending.len() == CHUNK_PEOPLE { self.flush().await } else { Ok(()) }
    }

    /// Somebody in the register shares a key: decided as any other registration, on what is stored.
    async fn merge(&mut self, person: Gathered, known: BTreeSet<PersonNo>) -> Result<(), ImportError> {
        let mut others = Vec::with_capacity(known.len());
        for person_no in known {
            others.push(dossier(self.store.dossier(person_no).await?));
        }
        let mut requests = self.requests(&person, PersonNo(self.next_person));
        let Some(first) = requests.first_mut() else { return Ok(()) };
        if !decide::is_known(first, &others) {
            if self.next_person >= PEOPLE_MAX {
                return Err(ImportError::Full);
            }
            self.next_person += 1;
        } else {
            first.person_no = PersonNo(0);
        }
        let outcome = decide::register(&requests[0], &others, &self.zone(requests[0].jurisdiction));
        let (person_no, mut events) = (outcome.person_no, outcome.events);
        // further exclusions are this person's, whoever else shares a key
        let same = others.into_iter().find(|other| other.person_no == person_no.0);
        let mut same = same.unwrap_or_else(|| decide::Dossier { person_no: person_no.0, ..decide::Dossier::default() });
        same.apply(&events);
        for request in &requests[1..] {
            let more = decide::register_same(request, &same, &self.zone(request.jurisdiction)).events;
            same.apply(&more);
            events.extend(more);
        }
        let vault = self.vault(&person, person_no)?.into_iter().map(Attachment::Vault);
        let progress = Attachment::Import(self.progress(self.rows), Vec::new());
        self.writer.commit_in(self.ring.epoch, events.clone(), vault.chain([progress]).collect()).await?;
        for event in &events {
            engine::register::apply::event(&mut self.index, event)?;
        }
        Ok(())
    }

    fn zone(&self, jurisdiction: JurisdictionNo) -> TimeZone {
        self.zones.get(usize::from(jurisdiction.0)).cloned().unwrap_or(TimeZone::UTC)
    }

    /// A request for each exclusion of a person, with all keys.
    fn requests(&self, person: &Gathered, person_no: PersonNo) -> Vec<Request> {
        let keys_from = person.exclusions.iter().map(|e| e.effective_at).min().unwrap_or(self.now);
        let keys = person.keys(&self.ring, &self.family, keys_from);
        let requests = person.exclusions.iter().map(|told| {
            let mut data = PersonData::default();
            data.date_of_birth.clone_from(&person.date_of_birth);
            let new = NewExclusion {
                known_by: Identifiers::default(),
                jurisdiction: told.jurisdiction,
                period: told.period,
                reason_class: told.reason_class,
                channel: told.channel,
                effective_at: Some(told.effective_at),
                person: data,
                reported_by: None,
            };
            let times = register::Times { effective_at: told.effective_at, keys_from, now: self.now };
            let kept = told.kept.unwrap_or_else(|| {
                let (at_end, zone) = (told.period.at_end(), self.zone(told.jurisdiction));
                let ends_at = told.period.ends_at(told.effective_at, &zone);
                // one that lapses by itself was over then
                let ended_at = ends_at.filter(|end| at_end == AtEnd::Lapse && *end <= self.now);
                Kept { at_end, ends_at, ended_at }
            });
            let request = register::request(&new, &self.ring, &self.family, person_no, times);
            Request { keys: keys.clone(), is_described: person.is_described, kept: Some(kept), ..request }
        });
        requests.collect()
    }

    fn vault(&self, person: &Gathered, person_no: PersonNo) -> Result<Vec<VaultRow>, ImportError> {
        let rows = person.vault.iter().map(|data| {
            // ordered by time: random ones would touch as many pages of the database as there are rows
            let id = new_id().to_be_bytes();
            Ok(VaultRow { id, person_no, sealed: self.ring.seal_person(&id, data)?, at: self.now })
        });
        rows.collect()
    }

    fn progress(&self, rows: u64) -> ImportProgress {
        ImportProgress { id: self.origin.id.clone(), origin: self.origin.origin.clone(), rows, at: self.now }
    }

    /// Offers the chunk; waits for the one before.
    async fn flush(&mut self) -> Result<(), ImportError> {
        let (Some(first), Some(last)) = (self.pending.first(), self.pending.last()) else { return Ok(()) };
        let digest = std::mem::replace(&mut self.digest, Context::new(&SHA256)).finish();
        let event = Event::PeopleImported {
            first: first.person_no,
            last: last.person_no,
            origin: self.origin.origin.clone(),
            legal_basis: self.origin.legal_basis.clone(),
            rows_sha256: hex(digest.as_ref()),
        };
        let people = std::mem::replace(&mut self.pending, Vec::with_capacity(CHUNK_PEOPLE));
        let import = Attachment::Import(self.progress(self.rows), people);
        self.wait().await?;
        self.under_way = Some(self.writer.offer_now(self.ring.epoch, vec![event], vec![import])?);
        Ok(())
    }

    async fn wait(&mut self) -> Result<(), ImportError> {
        if let Some(under_way) = self.under_way.take() {
            under_way.await.map_err(|_| CommitError::Unavailable)??;
        }
        Ok(())
    }

    /// Everything taken so far is stored.
    async fn settle(&mut self) -> Result<(), ImportError> {
        self.flush().await?;
        self.wait().await
    }

    /// Stores what is left.
    pub async fn finish(mut self) -> Result<Imported, ImportError> {
        self.settle().await?;
        let progress = Attachment::Import(self.progress(self.rows), Vec::new());
        self.writer.commit(Vec::new(), vec![progress]).await?;
        Ok(self.done)
    }
}
