//! A world as files: what a market would have sent in so many days, and the truth beside it.
//!
//! ```text
//! DIR/truth.ndjson                     the ground truth
//!     gaming_transactions/CODE.ndjson  records of a class and an operator, in the order of their times
//!     sales_redemptions/CODE.csv       sales once more, as a spreadsheet, with CODE.toml, its mapping
//!     lookups.ndjson exclusions.ndjson totals.ndjson
//! ```

use super::faults::Faults;
use super::record::{Class, Sent};
use super::sales;
use super::scenario::Scenario;
use super::totals::Totals;
use super::truth::{RecordRef, Truth, TruthFile, Witness};
use super::world::{Output, World};
use anyhow::Context;
use models::ts::{DAY, HOUR, Ts};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What of an archive is written.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Seed of everything.
    pub seed: u64,
    /// First instant.
    pub from: Ts,
    /// Days.
    pub days: u32,
}

/// Counts of what was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Records by class.
    pub records: BTreeMap<&'static str, u64>,
    /// Questions to the register.
    pub lookups: u64,
}

/// Writes an archive into a folder that is new or empty.
///
/// # Errors
/// The folder holds something, or cannot be written to.
pub fn generate(scenario: &Arc<Scenario>, order: Order, dir: &Path) -> anyhow::Result<Written> {
    std::fs::create_dir_all(dir).with_context(|| format!("{}", dir.display()))?;
    anyhow::ensure!(std::fs::read_dir(dir)?.next().is_none(), "{} is not empty", dir.display());
    let mut truth = TruthFile::create(&dir.join("truth.ndjson"))?;
    let mut world = World::new(scenario, order.seed, order.from, order.from);
    let mut archive = Archive::new(scenario, dir, Faults::planned(scenario, order.from))?;
    archive.exclusions(&world)?;
    let end = order.from.plus(i64::from(order.days) * DAY);
    let mut at = order.from;
    while at < end {
        // an hour at a time: a long archive is never in memory as a whole
        at = at.plus(HOUR).min(end);
        archive.take(world.advance(at), &mut truth)?;
    }
    archive.take(world.finish(), &mut truth)?;
    archive.declare(end, &mut truth)?;
    let written = archive.close()?;
    truth.write(&Truth::End { at: end, records: written.records.values().sum() })?;
    Ok(written)
}

struct Archive<'a> {
    scenario: &'a Scenario,
    dir: PathBuf,
    faults: Faults,
    totals: Totals,
    files: BTreeMap<PathBuf, BufWriter<File>>,
    written: Written,
}

impl<'a> Archive<'a> {
    fn new(scenario: &'a Scenario, dir: &Path, faults: Faults) -> anyhow::Result<Self> {
        for class in Class::ALL {
            std::fs::create_dir(dir.join(class.as_str()))?;
        }
        Ok(Self {
            scenario,
            dir: dir.to_owned(),
            faults,
            totals: Totals::default(),
            files: BTreeMap::new(),
            written: Written::default(),
        })
    }

    fn append(&mut self, path: &Path, head: &str, text: &str) -> anyhow::Result<()> {
        if !self.files.contains_key(path) {
            let mut file = BufWriter::new(File::create(self.dir.join(path))?);
            file.write_all(head.as_bytes())?;
            self.files.insert(path.to_owned(), file);
        }
        let file = self.files.get_mut(path).context("it was opened")?;
        Ok(file.write_all(text.as_bytes())?)
    }

    fn exclusions(&mut self, world: &World) -> anyhow::Result<()> {
        for (jurisdiction, phone) in world.excluded() {
            let line = json!({"jurisdiction": jurisdiction, "phone": phone, "period": "1_year", "reason_class": "self", "channel": "web"});
            self.append(Path::new("exclusions.ndjson"), "", &format!("{line}\n"))?;
        }
        Ok(())
    }

    fn take(&mut self, outputs: Vec<Output>, truth: &mut impl Witness) -> anyhow::Result<()> {
        for output in outputs {
            match output {
                Output::Truth(line) => truth.write(&line)?,
                Output::Ask(ask) => {
                    self.written.lookups += 1;
                    let line = serde_json::to_string(&ask)? + "\n";
                    self.append(Path::new("lookups.ndjson"), "", &line)?;
                }
                Output::Record(sent) => self.record(*sent, truth)?,
            }
        }
        Ok(())
    }

    fn record(&mut self, mut sent: Sent, truth: &mut impl Witness) -> anyhow::Result<()> {
        let operator = &self.scenario.operators[sent.operator];
        self.totals.take(&sent);
        if let Some(fault) = self.faults.spoil(&mut sent) {
            let record = RecordRef::of(&operator.code, sent.class, &sent.record);
            truth.write(&Truth::Spoiled { fault, at: sent.at, record })?;
        }
        *self.written.records.entry(sent.class.as_str()).or_default() += 1;
        let folder = Path::new(sent.class.as_str());
        if sent.class == Class::SalesRedemptions {
            let path = folder.join(format!("{}.csv", operator.code));
            self.append(&path, sales::HEAD, &sales::row(&sent, operator))?;
        }
        let line = sent.record.json() + "\n";
        self.append(&folder.join(format!("{}.ndjson", operator.code)), "", &line)
    }

    /// Totals of every day, and mappings of what is there as spreadsheets.
    fn declare(&mut self, end: Ts, truth: &mut impl Witness) -> anyhow::Result<()> {
        for (no, operator) in self.scenario.operators.iter().enumerate() {
            let fault = self.faults.of_totals(&operator.code, end.plus(-1)).map(|fault| fault.fault);
            for declared in self.totals.declared(no, operator, fault.is_some()) {
                if let Some(fault) = fault {
                    let id = format!("totals:{}", declared.day);
                    let record = RecordRef { operator: operator.code.clone(), class: declared.class, id };
                    truth.write(&Truth::Spoiled { fault, at: end, record })?;
                }
                let line = serde_json::to_string(&declared)? + "\n";
                self.append(Path::new("totals.ndjson"), "", &line)?;
            }
            if operator.sales.is_some() {
                let path = Path::new(Class::SalesRedemptions.as_str()).join(format!("{}.toml", operator.code));
                self.append(&path, "", &sales::mapping(operator))?;
            }
        }
        Ok(())
    }

    fn close(mut self) -> anyhow::Result<Written> {
        for file in self.files.values_mut() {
            file.flush()?;
        }
        Ok(self.written)
    }
}
