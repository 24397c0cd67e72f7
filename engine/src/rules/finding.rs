//! What a rule found: stable by cause, so that the same cause is one finding however often it is heard.

use crate::rules::table::Key;
use models::alert::{Granularity, RevisionKind, Severity, Window};
use models::ids::{AlertId, OperatorNo};
use models::jurisdiction::JurisdictionNo;
use models::money::Currency;
use models::ts::{Ts, micros};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// Records that a finding names at most.
pub const RECORDS_MAX: usize = 10;

/// Whether people hear of a version's findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They do.
    Live,
    /// It runs beside the live one and is only counted.
    Shadow,
    /// It does not run.
    Off,
}

/// Whom a finding is about; digests, never somebody in the clear. JSON gives them as hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "id")]
pub enum Who {
    /// A player.
    Player(#[serde(with = "hex_key")] Key),
    /// Two players, the smaller digest first.
    Players(#[serde(with = "hex_key")] Key, #[serde(with = "hex_key")] Key),
    /// A device.
    Device(#[serde(with = "hex_key")] Key),
    /// A payment account.
    Account(#[serde(with = "hex_key")] Key),
    /// A licence: digest of its number.
    Licence(u64),
    /// An invoice: digest of authority and number.
    Invoice(u64),
    /// A product of the operator: its storage code.
    Product(i16),
    /// The operator itself.
    Operator,
    /// What is declared: digest of base and currency.
    Declaration(u64),
    /// Windows of a length in a currency.
    Series(Granularity, Currency),
    /// A terminal of a shop: digest of the operator's id of it.
    Terminal(u64),
    /// A shop: digest of the operator's id of it.
    Shop(u64),
}

impl Who {
    /// What an alert calls whoever it is about: a kind and a digest in hex; none where it is the operator itself.
    #[must_use]
    pub fn subject(self) -> Option<String> {
        Some(match self {
            Self::Player(key) => format!("player:{key:022x}"),
            Self::Players(one, other) => format!("players:{one:022x},{other:022x}"),
            Self::Device(key) => format!("device:{key:022x}"),
            Self::Account(key) => format!("account:{key:022x}"),
            Self::Licence(number) => format!("licence:{number:016x}"),
            Self::Invoice(number) => format!("invoice:{number:016x}"),
            Self::Product(code) => format!("product:{code}"),
            Self::Declaration(digest) => format!("declaration:{digest:016x}"),
            Self::Terminal(digest) => format!("terminal:{digest:016x}"),
            Self::Shop(digest) => format!("shop:{digest:016x}"),
            // the subject itself says which windows
            Self::Operator | Self::Series(..) => return None,
        })
    }
}

mod hex_key {
    use super::Key;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    pub fn serialize<S: Serializer>(key: &Key, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(&format_args!("{key:022x}")) } else { key.serialize(s) }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Key, D::Error> {
        if !d.is_human_readable() {
            return Key::deserialize(d);
        }
        let text = String::deserialize(d)?;
        Key::from_str_radix(&text, 16).map_err(|_| de::Error::custom("not a digest in hex"))
    }
}

/// Whose inputs the finding stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// One operator's.
    Operator(OperatorNo),
    /// Every operator's of a jurisdiction.
    Nation(JurisdictionNo),
}

impl Scope {
    /// The operator, or whoever stands for all of a jurisdiction: whose alert it is.
    #[must_use]
    pub fn number(self) -> OperatorNo {
        match self {
            Self::Operator(no) => no,
            Self::Nation(jurisdiction) => OperatorNo::of_nation(jurisdiction),
        }
    }
}

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Unit {
    MinorUnits,
    Records,
    Minutes,
    Days,
    Accounts,
    Pairs,
    Ppm,
    Exclusions,
    Players,
}

impl Unit {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MinorUnits => "minor_units",
            Self::Records => "records",
            Self::Minutes => "minutes",
            Self::Days => "days",
            Self::Accounts => "accounts",
            Self::Pairs => "pairs",
            Self::Ppm => "ppm",
            Self::Exclusions => "exclusions",
            Self::Players => "players",
        }
    }
}

/// A value that was seen, and the one from which on it is a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// As seen.
    pub observed: i64,
    /// The limit it passed, or what was expected of it.
    pub limit: i64,
    /// What both count.
    pub unit: Unit,
}

/// Where a single value would have been quiet, and how unusual this one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Band {
    /// Lower end.
    pub low: i64,
    /// Upper end.
    pub high: i64,
    /// Its score, thousandths.
    pub score_milli: i64,
    /// The score from which on it is said, thousandths.
    pub threshold_milli: i64,
    /// Points that the band stands on.
    pub samples: u32,
}

/// A finding, or what became of one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Digest of scope, rule, version, whom and which matter it is about, and window.
    pub id: AlertId,
    /// Rule.
    pub rule: &'static str,
    /// Version of the rule.
    pub version: u32,
    /// Live or shadow.
    pub mode: Mode,
    /// Whose inputs.
    pub scope: Scope,
    /// Operators that it names, where it stands on several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<OperatorNo>,
    /// Whom it is about.
    pub who: Who,
    /// When.
    pub window: Window,
    /// Raised, corrected or withdrawn.
    pub kind: RevisionKind,
    /// How urgent.
    pub severity: Severity,
    /// Time of the input that caused the revision.
    #[serde(with = "micros")]
    pub at: Ts,
    /// The evidence in one number.
    pub measured: Measured,
    /// What would have been quiet, where that was learnt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub band: Option<Band>,
    /// Sentences for people, strongest first, with nobody in them.
    pub reasons: Vec<String>,
    /// Ids of the records it stands on, the first ones first.
    pub records: Vec<String>,
}

/// First 128 bits of SHA-256 over scope, rule, version, whom, which matter of theirs (where it is not the only one) and
/// when.
#[must_use]
pub fn finding_id(scope: Scope, (rule, version): (&str, u32), who: Who, matter: u64, window: Window) -> AlertId {
    let who = match who {
        Who::Player(key) => format!("player\0{key:x}"),
        Who::Players(one, other) => format!("players\0{one:x}\0{other:x}"),
        Who::Device(key) => format!("device\0{key:x}"),
        Who::Account(key) => format!("account\0{key:x}"),
        Who::Licence(number) => format!("licence\0{number:x}"),
        Who::Invoice(number) => format!("invoice\0{number:x}"),
        Who::Product(code) => format!("product\0{code}"),
        Who::Operator => "operator".to_owned(),
        Who::Declaration(digest) => format!("declaration\0{digest:x}"),
        Who::Terminal(digest) => format!("terminal\0{digest:x}"),
        Who::Shop(digest) => format!("shop\0{digest:x}"),
        Who::Series(granularity, currency) => format!("series\0{}\0{currency}", granularity.as_str()),
    };
    let scope = match scope {
        Scope::Operator(no) => format!("operator\0{}", no.0),
        Scope::Nation(no) => format!("nation\0{}", no.0),
    };
    let matter = if matter == 0 { String::new() } else { format!("\0{matter:x}") };
    let text = format!("finding\0{scope}\0{rule}\0{version}\0{who}{matter}\0{}\0{}", window.start.0, window.end.0);
    let mut first = [0; 16];
    first.copy_from_slice(&digest(&SHA256, text.as_bytes()).as_ref()[..16]);
    AlertId(u128::from_be_bytes(first))
}

/// Puts a revision beside those of the same input: one of a finding, as those see it who only see what was committed.
pub(super) fn revise(findings: &mut Vec<Finding>, revision: Finding) {
    use RevisionKind::{Corrected, Raised, Withdrawn};
    let same = |f: &Finding| f.id == revision.id && f.mode == revision.mode;
    let Some(place) = findings.iter().position(same) else {
        findings.push(revision);
        return;
    };
    let kind = match (findings[place].kind, revision.kind) {
        // nobody has heard of it
        (Raised, Withdrawn) => {
            findings.remove(place);
            return;
        }
        (Raised, _) => Raised,
        (_, Raised) => Corrected,
        (_, kind) => kind,
    };
    findings[place] = Finding { kind, ..revision };
}
