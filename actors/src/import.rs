//! Loading people in bulk: rows of an older register become people with their original dates.
//!
//! ```text
//! row ─▶ keys ─▶ nobody has one of them ─▶ chunk of new people ─▶ one commit, one journaled event
//!                somebody has            ─▶ decided as a registration is, alone
//! ```
//! No engine may run meanwhile: registrations are decided under locks in memory. How far the import has come is stored
//! with every commit, so one that was cut off goes on where it stopped, and one that is run twice does nothing.

use crate::api::NewExclusion;
use crate::register::{self, SHARERS_MAX, dossier, new_id};
use crate::secrets::{KeyRing, hex};
use crate::writer::WriterHandle;
use engine::register::decide::{self, Request};
use engine::register::index::{IndexWriter, PEOPLE_MAX};
use jiff::tz::TimeZone;
use models::event::{Event, Exclusion};
use models::exclusion::AtEnd;
use models::ids::PersonNo;
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

    /// Takes a row; `raw` is what it was read from.
    ///
    /// False where it was refused: too many people are known under its phone, which every lookup of it would have to
    /// walk through.
    pub async fn take(&mut self, new: NewExclusion, raw: &[u8]) -> Result<bool, ImportError> {
        self.digest.update(raw);
        let second = u32::try_from(self.now.seconds()).unwrap_or(u32::MAX);
        let reader = self.index.reader();
        let request = self.request(&new);
        let keys = request.keys.iter();
        let known: BTreeSet<PersonNo> =
            keys.flat_map(|known| reader.lookup(known.key, second).iter().collect::<Vec<_>>()).collect();
        if known.len() >= SHARERS_MAX {
            self.rows += 1;
            return Ok(false);
        }
        if !known.is_empty() {
            // what was taken before is stored without this row
            self.settle().await?;
            self.rows += 1;
            self.merge(new, request, known).await?;
            return Ok(true);
        }
        self.rows += 1;
        self.add(new, request).await?;
        Ok(true)
    }

    /// Counts a row that was refused.
    pub fn refused(&mut self) {
        self.rows += 1;
    }

    async fn add(&mut self, new: NewExclusion, mut request: Request) -> Result<(), ImportError> {
        if self.next_person >= PEOPLE_MAX {
            return Err(ImportError::Full);
        }
        let person_no = PersonNo(self.next_person);
        self.next_person += 1;
        request.person_no = person_no;
        let zone = self.zone(&new);
        let mut exclusion = decide::register(&request, &[], &zone).exclusion;
        exclusion.ended_at = ended(&exclusion, self.now);
        let vault = self.vault(&new, person_no)?;
        let dossier = decide::Dossier {
            person_no: person_no.0,
            birth_digest: request.birth_digest,
            keys: request.keys.clone(),
            exclusions: vec![exclusion.clone()],
        };
        engine::register::apply::person(&mut self.index, &dossier)?;
        let birth_digest = request.birth_digest;
        self.pending.push(ImportedPerson { person_no, birth_digest, keys: request.keys, exclusion, vault });
        self.done.added += 1;
        if self.pending.len() == CHUNK_PEOPLE { self.flush().await } else { Ok(()) }
    }

    /// Somebody in the register shares a key: decided as any other registration, on what is stored.
    async fn merge(
        &mut self,
        new: NewExclusion,
        mut request: Request,
        known: BTreeSet<PersonNo>,
    ) -> Result<(), ImportError> {
        let mut others = Vec::with_capacity(known.len());
        for person_no in known {
            others.push(dossier(self.store.dossier(person_no).await?));
        }
        request.person_no = PersonNo(self.next_person);
        if !decide::is_known(&request, &others) {
            if self.next_person >= PEOPLE_MAX {
                return Err(ImportError::Full);
            }
            self.next_person += 1;
        } else {
            request.person_no = PersonNo(0);
        }
        let zone = self.zone(&new);
        let mut outcome = decide::register(&request, &others, &zone);
        let ended_at = ended(&outcome.exclusion, self.now);
        for event in &mut outcome.events {
            if let Event::ExclusionRegistered(exclusion) = event {
                exclusion.ended_at = ended_at;
            }
        }
        let vault = self.vault(&new, outcome.person_no)?;
        let progress = Attachment::Import(self.progress(self.rows), Vec::new());
        self.writer
            .commit_in(self.ring.epoch, outcome.events.clone(), vec![Attachment::Vault(vault), progress])
            .await?;
        for event in &outcome.events {
            engine::register::apply::event(&mut self.index, event)?;
        }
        self.done.merged += 1;
        Ok(())
    }

    fn zone(&self, new: &NewExclusion) -> TimeZone {
        self.zones.get(usize::from(new.jurisdiction.0)).cloned().unwrap_or(TimeZone::UTC)
    }

    fn request(&self, new: &NewExclusion) -> Request {
        let effective_at = new.effective_at.unwrap_or(self.now);
        let times = register::Times { effective_at, keys_from: effective_at, now: self.now };
        register::request(new, &self.ring, &self.family, PersonNo(0), times)
    }

    fn vault(&self, new: &NewExclusion, person_no: PersonNo) -> Result<VaultRow, ImportError> {
        // ordered by time: random ones would touch as many pages of the database as there are rows
        let id = new_id().to_be_bytes();
        Ok(VaultRow { id, person_no, sealed: self.ring.seal_person(&id, &new.person)?, at: self.now })
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

/// When an exclusion that lapses by itself was over, where that is past.
fn ended(exclusion: &Exclusion, now: Ts) -> Option<Ts> {
    exclusion.ends_at.filter(|end| exclusion.at_end == AtEnd::Lapse && *end <= now)
}
