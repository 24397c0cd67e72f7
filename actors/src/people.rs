//! Taking the register out: everybody with what the vault keeps of them, in the order of their numbers.
//!
//! The counterpart of `import`: what comes out here goes in there. A person is as many rows as there are entries of the
//! vault or exclusions, whichever are more; which entry belongs to which exclusion is not recorded, so both stand in the
//! order of time.

use crate::api::PersonData;
use crate::secrets::{KeyError, KeyRing};
use models::event::Exclusion;
use models::ids::PersonNo;
use std::collections::HashMap;
use std::sync::Arc;
use store::Store;

/// People read at once.
const CHUNK_PEOPLE: u32 = 500;

/// Why an export stops.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    /// The database.
    #[error("store: {0}")]
    Store(#[from] store::StoreError),
    /// A vault row does not open: its key is missing, or it was changed.
    #[error("person {0:?}: {1}")]
    Keys(PersonNo, KeyError),
}

/// Somebody in the register.
pub struct Person {
    /// Internal number.
    pub person_no: PersonNo,
    /// What was told at each registration, oldest first; empty where the vault no longer knows.
    pub identities: Vec<PersonData>,
    /// Every exclusion, oldest first.
    pub exclusions: Vec<Exclusion>,
}

/// An export under way.
pub struct People {
    store: Store,
    ring: Arc<KeyRing>,
    after: i64,
}

impl People {
    /// From the first person on.
    #[must_use]
    pub fn new(store: Store, ring: Arc<KeyRing>) -> Self {
        Self { store, ring, after: -1 }
    }

    /// The next people; none at the end.
    ///
    /// # Errors
    /// [`PeopleError`].
    pub async fn next(&mut self) -> Result<Vec<Person>, PeopleError> {
        let dossiers = self.store.people_after(self.after, CHUNK_PEOPLE).await?;
        let (Some(first), Some(last)) = (dossiers.first(), dossiers.last()) else { return Ok(Vec::new()) };
        let (first, last) = (first.person_no, last.person_no);
        self.after = last.0.into();
        let mut identities: HashMap<PersonNo, Vec<PersonData>> = HashMap::with_capacity(dossiers.len());
        for row in self.store.vault_between(first, last).await? {
            let person =
                self.ring.open_person(&row.id, &row.sealed).map_err(|error| PeopleError::Keys(row.person_no, error))?;
            identities.entry(row.person_no).or_default().push(person);
        }
        let people = dossiers.into_iter().map(|mut dossier| {
            dossier.exclusions.sort_by_key(|e| (e.effective_at, e.id.0));
            Person {
                person_no: dossier.person_no,
                identities: identities.remove(&dossier.person_no).unwrap_or_default(),
                exclusions: dossier.exclusions,
            }
        });
        Ok(people.collect())
    }
}
