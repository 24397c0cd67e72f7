//! The rules' state as bytes, beside the state of the operator (docs/adr/0019).

use crate::rules::book::Book;
use crate::rules::nation::{NationPlayer, NationRules};
use crate::rules::rings::Rings;
use crate::rules::run::OperatorRules;
use crate::rules::standing::Standing;
use crate::rules::table::Table;
use crate::rules::tally::Tally;
use crate::snapshot::{SnapshotError, read, write};

/// Layout of the bytes, and what follows from an input: it grows with every change of either.
pub const VERSION: u32 = 8;

impl OperatorRules {
    /// Its bytes (postcard), not compressed. The same state gives the same bytes.
    ///
    /// # Errors
    /// [`SnapshotError`]
    pub fn to_bytes(&self) -> Result<Vec<u8>, SnapshotError> {
        // every field is named: a new one must be thought of here. Versions are data of their own
        let Self { scope: _, calendar: _, active: _, book, standing, tally } = self;
        write(&(book, standing, tally))
    }

    /// Rules before any input, as they stood when the bytes were made.
    ///
    /// # Errors
    /// [`SnapshotError`]: not all of the bytes are a state's.
    pub fn with_bytes(self, bytes: &[u8]) -> Result<Self, SnapshotError> {
        let (book, standing, tally): (Book, Standing, Tally) = read(bytes)?;
        Ok(Self { book, standing, tally, ..self })
    }
}

impl NationRules {
    /// Its bytes, as of an operator's.
    ///
    /// # Errors
    /// [`SnapshotError`]
    pub fn to_bytes(&self) -> Result<Vec<u8>, SnapshotError> {
        write(&(&self.players, &self.rings, &self.standing))
    }

    /// Rules before any input, as they stood when the bytes were made.
    ///
    /// # Errors
    /// [`SnapshotError`]: not all of the bytes are a state's.
    pub fn with_bytes(self, bytes: &[u8]) -> Result<Self, SnapshotError> {
        let (players, rings, standing): (Table<NationPlayer>, Rings, Standing) = read(bytes)?;
        Ok(Self { players, rings, standing, ..self })
    }
}
