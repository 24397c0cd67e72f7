//! What is known of the wholeness of what a source sent: its operator's tamper tokens, the numbers of its batches, and
//! what it declares about a day.

use crate::ids::{KeyId, SourceNo};
use crate::record::{RecordKind, closed_set};
use crate::ts::{Ts, micros};
use serde::{Deserialize, Serialize};

/// Ranges of missing numbers of one source that are waited for at most.
pub const MISSING_RANGES_MAX: usize = 64;
/// Highest number of a batch: whole numbers up to here are the same in every JSON library.
pub const BATCH_NUMBER_MAX: i64 = (1 << 53) - 1;

closed_set!(
    /// Whether pushes must carry a tamper token.
    TamperRule { Optional = "optional", Required = "required" }
);

/// What a source is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntegritySettings {
    /// Whether pushes must carry a tamper token. Optional: a push without one is taken, and counted once a chain was begun.
    pub tamper_token: TamperRule,
}

/// The last link of a chain of tamper tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainLink {
    /// The token, in hex: HMAC-SHA256 under the pushing key's signing secret over the token before and the body's SHA-256.
    pub token: String,
    /// SHA-256 of the body it was sent with, in hex: tells a push that is repeated from one that is not.
    pub body_sha256: String,
}

/// Numbers from one to another, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberRange {
    /// First.
    pub from: i64,
    /// Last.
    pub to: i64,
}

impl NumberRange {
    /// How many numbers.
    #[must_use]
    pub fn len(self) -> i64 {
        self.to - self.from + 1
    }

    /// Is none in it?
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.to < self.from
    }
}

/// Where a source's chain and numbers stand: the whole state after each change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceIntegrity {
    /// Grows by one with each change, from 1.
    pub version: i64,
    /// The last link; none before the first token, and after a chain was ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<ChainLink>,
    /// Links so far, over all chains.
    #[serde(default)]
    pub links: u64,
    /// Pushes without a token while a chain was under way.
    #[serde(default)]
    pub without_token: u64,
    /// Pushes whose token did not follow: refused.
    #[serde(default)]
    pub refused: u64,
    /// Since when tokens do not follow; none where the last one did.
    #[serde(default, with = "micros::option", skip_serializing_if = "Option::is_none")]
    pub tampered_since: Option<Ts>,
    /// Highest number of a batch so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_number: Option<i64>,
    /// Lower numbers that did not come yet, ascending, apart from one another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<NumberRange>,
    /// Since when some are missing; none where none are.
    #[serde(default, with = "micros::option", skip_serializing_if = "Option::is_none")]
    pub missing_since: Option<Ts>,
    /// Gaps that opened so far.
    #[serde(default)]
    pub gaps: u64,
    /// Missing numbers that are not waited for any more, because there were too many ranges or somebody decided so.
    #[serde(default)]
    pub given_up: u64,
    /// Batches with a number that was known.
    #[serde(default)]
    pub repeated: u64,
}

impl SourceIntegrity {
    /// How many numbers are missing.
    #[must_use]
    pub fn missing_numbers(&self) -> i64 {
        self.missing.iter().map(|range| range.len()).sum()
    }
}

/// A chain of tamper tokens was ended by a person: the next token is the first of a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainEnded {
    /// Of which source.
    pub source_no: SourceNo,
    /// Who.
    pub by: KeyId,
    /// Why, from a closed set.
    pub reason: ChainEndReason,
    /// Last token of the chain that ended, in hex; none where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The number that the next batch has; numbers below are not waited for. None: numbers go on as they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_number: Option<i64>,
}

closed_set!(
    /// Why a chain was ended.
    ChainEndReason {
        LostState = "lost_state", NewPlatform = "new_platform", Investigated = "investigated", Other = "other",
    }
);

closed_set!(
    /// Which records a declaration is about.
    DeclaredStatus { Successful = "successful", All = "all" }
);

/// What an operator says it did of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredTotal {
    /// Of which kind.
    pub kind: RecordKind,
    /// Records.
    pub count: i64,
    /// Sum of their amounts, minor units of the source's currency.
    pub amount_minor: i64,
}

/// What an operator declares about a day of a source; the newest of a day counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declaration {
    /// Of which source.
    pub source_no: SourceNo,
    /// The day, `YYYY-MM-DD`.
    pub day: String,
    /// By whose midnight: an IANA zone.
    pub time_zone: String,
    /// Its first instant.
    #[serde(with = "micros")]
    pub from: Ts,
    /// The first instant after it.
    #[serde(with = "micros")]
    pub to: Ts,
    /// Number of the declaration of this day, from 1.
    pub version: i64,
    /// Which records it is about.
    pub status: DeclaredStatus,
    /// Each kind once.
    pub totals: Vec<DeclaredTotal>,
    /// When it came.
    #[serde(with = "micros")]
    pub at: Ts,
    /// With which key.
    pub by: KeyId,
}

/// What is stored of a kind, beside what was declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComparedTotal {
    /// Of which kind.
    pub kind: RecordKind,
    /// As declared; none where the kind was not declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<Total>,
    /// As stored.
    pub stored: Total,
}

/// A count and a sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// Records.
    pub count: i64,
    /// Sum of their amounts, minor units.
    pub amount_minor: i64,
}

/// A declaration held against what is stored: the whole state of a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotalsCompared {
    /// Of which source.
    pub source_no: SourceNo,
    /// The day, `YYYY-MM-DD`.
    pub day: String,
    /// First instant of the day.
    #[serde(with = "micros")]
    pub from: Ts,
    /// First instant after it.
    #[serde(with = "micros")]
    pub to: Ts,
    /// The declaration.
    pub version: i64,
    /// Which records it is about.
    pub status: DeclaredStatus,
    /// Number of the newest batch of the source that the sums hold; 0 = none.
    pub through: i64,
    /// When it was held against what is stored.
    #[serde(with = "micros")]
    pub at: Ts,
    /// Do they differ by more than is tolerated?
    pub differs: bool,
    /// How often that changed so far; odd while they differ.
    pub turns: i64,
    /// Kind by kind.
    pub lines: Vec<ComparedTotal>,
}
