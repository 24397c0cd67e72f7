//! The ground truth: what the simulator did on purpose. One JSON object a line; docs/SIMULATOR.md is the schema.
//!
//! A line is there before the first record that it speaks of is: whoever stops in between has said too much, never too
//! little, and the times of a line say which of its records were not due yet.

use super::record::{Class, Record};
use super::scenario::FaultKind;
use models::ts::Ts;
use serde::Serialize;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Version of the schema.
pub const SCHEMA: u32 = 1;

/// What a player is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Now and then.
    Casual,
    /// Often and steady.
    Heavy,
    /// Losing control.
    AtRisk,
    /// Washing money.
    Launderer,
    /// Playing together.
    Colluder,
    /// Excluded, and still served.
    Excluded,
}

/// A record by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RecordRef {
    /// Code of the operator it is about.
    pub operator: String,
    /// Class.
    pub class: Class,
    /// Its id.
    pub id: String,
}

impl RecordRef {
    /// The name of a record.
    pub fn of(operator: &str, class: Class, record: &Record) -> Self {
        Self { operator: operator.to_owned(), class, id: record.record_id.clone() }
    }
}

/// An account of a player.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccountRef {
    /// Code of the operator.
    pub operator: String,
    /// The operator's number of it, as in `player.account_ref`.
    pub account_ref: String,
}

/// Whom a case is about, as the simulator calls them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // named as in the schema
pub enum About {
    Phone(String),
    Device(String),
    Wallet(String),
    Licence(String),
    Invoice(String),
    Product(String),
    Operator,
}

/// Something wrong that was planted on purpose, or something innocent that looks like it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Case {
    /// Its story.
    pub what: &'static str,
    /// Conditions that it truly is: the first is the one that it was planted for. None: it is innocent.
    pub conditions: Vec<&'static str>,
    /// Whom it is about: any of these.
    pub about: Vec<About>,
    /// Where.
    pub operators: Vec<usize>,
    /// From then on.
    pub from: Ts,
    /// Until then.
    pub to: Ts,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "truth", rename_all = "snake_case")]
#[allow(missing_docs)] // named as in the schema
pub enum Truth {
    /// What was simulated: the first line.
    World { schema: u32, scenario: String, seed: u64, tag: String, from: Ts },
    /// Who there is: everybody, before anybody plays.
    Player {
        player: u32,
        kind: Kind,
        #[serde(skip_serializing_if = "Option::is_none")]
        scheme: Option<&'static str>,
        phone: String,
        device_id: String,
        accounts: Vec<AccountRef>,
    },
    /// Something that a rule or a model should find.
    Episode {
        kind: Kind,
        marks: Vec<&'static str>,
        players: Vec<u32>,
        operators: Vec<String>,
        from: Ts,
        to: Ts,
        records: Vec<RecordRef>,
    },
    /// A login before which nobody asked the register.
    UncheckedLogin { player: u32, at: Ts, record: RecordRef },
    /// Marketing.
    Campaign { operator: String, checked: bool, at: Ts, players: Vec<u32>, records: Vec<RecordRef> },
    /// An error of an operator or an authority; `amount_minor` is what is wrong by, where that can be said.
    Discrepancy {
        mark: &'static str,
        operator: String,
        at: Ts,
        #[serde(skip_serializing_if = "Option::is_none")]
        amount_minor: Option<i64>,
        records: Vec<RecordRef>,
    },
    /// Stakes of an operator that are so many times as large.
    Spike { operator: String, from: Ts, to: Ts, factor: f64 },
    /// Something broke.
    Fault { fault: u32, target: String, kind: FaultKind, from: Ts, to: Ts },
    /// A record, or declared totals, that a fault made wrong.
    Spoiled { fault: u32, at: Ts, record: RecordRef },
    /// A question that should have been asked and was not: the world's past, an engine that was away.
    NotAsked { operator: String, at: Ts, before: String, why: &'static str },
    /// How many records there were, once an archive is complete or a run was stopped.
    End { at: Ts, records: u64 },
}

/// Where the truth is written.
pub trait Witness {
    /// Takes a line, durably enough that a reader finds it whole.
    ///
    /// # Errors
    /// Whatever is written to does not take it.
    fn write(&mut self, truth: &Truth) -> std::io::Result<()>;
}

impl Witness for Vec<Truth> {
    fn write(&mut self, truth: &Truth) -> std::io::Result<()> {
        self.push(truth.clone());
        Ok(())
    }
}

/// A file of lines, flushed with each of them.
pub struct TruthFile(BufWriter<std::fs::File>);

impl TruthFile {
    /// A new file; one of this name is gone.
    ///
    /// # Errors
    /// The folder is not there, or not to be written to.
    pub fn create(path: &Path) -> std::io::Result<Self> {
        Ok(Self(BufWriter::new(std::fs::File::create(path)?)))
    }
}

impl Witness for TruthFile {
    fn write(&mut self, truth: &Truth) -> std::io::Result<()> {
        serde_json::to_writer(&mut self.0, truth)?;
        self.0.write_all(b"\n")?;
        self.0.flush()
    }
}
