//! What becomes of a refused record: it is open until it is replayed or dismissed, and everybody who had a hand in that is
//! in the journal, without a word of what was sent.

use crate::alert_group::Act;
use crate::ids::{QuarantineId, SourceNo};
use crate::record::{QuarantineCode, closed_set};
use serde::{Deserialize, Serialize};

closed_set!(
    /// Whether something is left to be done about a refused record.
    QuarantineState { Open = "open", Replayed = "replayed", Dismissed = "dismissed" }
);
closed_set!(
    /// What was sealed.
    QuarantineForm {
        /// A canonical record, or what was sent in the place of one.
        Record = "record",
        /// A row of a file that its mapping could not map, behind the file's header.
        Csv = "csv",
        /// A JSON object that its mapping could not map.
        Json = "json",
    }
);
closed_set!(
    /// What a replay led to.
    ReplayOutcome { Stored = "stored", Duplicate = "duplicate", Refused = "refused" }
);
closed_set!(
    /// Why a refused record is left as it is. A closed set: a text of somebody's own might name a person.
    DismissReason {
        SentAgain = "sent_again", Duplicate = "duplicate", TestData = "test_data", OutOfScope = "out_of_scope",
        Unrepairable = "unrepairable",
    }
);

/// One attempt to take a refused record in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayAttempt {
    /// Which.
    pub id: QuarantineId,
    /// What came of it.
    pub outcome: ReplayOutcome,
    /// Why it was refused again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<QuarantineCode>,
    /// Which field, and what is wrong with it; never the value.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// JSON pointers of the fields that were other than they had been sent; never their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
}

/// Refused records were tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineReplayed {
    /// Of which source.
    pub source_no: SourceNo,
    /// Who, when.
    pub act: Act,
    /// Each of them.
    pub attempts: Vec<ReplayAttempt>,
}

/// A refused record is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineDismissed {
    /// Of which source.
    pub source_no: SourceNo,
    /// Which.
    pub id: QuarantineId,
    /// Who, when.
    pub act: Act,
    /// Why.
    pub reason: DismissReason,
}

/// Somebody read what a refused record says, people in the clear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineRead {
    /// Of which source.
    pub source_no: SourceNo,
    /// Which.
    pub id: QuarantineId,
    /// Who, when.
    pub act: Act,
}
