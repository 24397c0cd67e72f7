//! A stored input with what belongs to it: as its own actor made it, as the spine brings it, as the store has it.

use engine::rules::facts;
use engine::rules::input::Facts;
use models::feed::SourceClock;
use models::ids::{OperatorNo, Seq};
use models::record::Record;
use models::rule_input::{RuleInput, RuleInputStored};
use models::ts::Ts;
use std::sync::Arc;
use store::{RuleBatch, RuleInputRow};

/// The batch of an input.
#[derive(Clone)]
pub(super) struct Batch {
    pub clock_at: Ts,
    pub clock: SourceClock,
    pub records: Arc<[Record]>,
    /// One for each record; none where they are documents.
    pub facts: Option<Arc<[Facts]>>,
}

/// A stored input.
#[derive(Clone)]
pub(super) struct Stored {
    /// Its place in the journal.
    pub seq: Seq,
    pub operator: OperatorNo,
    pub input_seq: i64,
    pub rules_seq: Seq,
    pub input: RuleInput,
    pub batch: Option<Batch>,
}

/// What the spine heard of an input.
#[derive(Clone)]
pub struct Heard {
    /// Its place in the journal.
    pub seq: Seq,
    /// What the journal says.
    pub stored: RuleInputStored,
    /// What came beside it.
    pub batch: Option<RuleBatch>,
}

fn unpacked(packed: Option<&[u8]>, records: usize) -> Result<Option<Arc<[Facts]>>, String> {
    let facts = packed.map(|packed| facts::unpack(packed, records)).transpose();
    facts.map(|facts| facts.map(Into::into)).map_err(|error| error.to_string())
}

impl Stored {
    /// As it was made.
    pub fn new(seq: Seq, stored: &RuleInputStored, batch: Option<Batch>) -> Self {
        let RuleInputStored { operator_no, input_seq, rules_seq, ref input, .. } = *stored;
        Self { seq, operator: operator_no, input_seq, rules_seq, input: input.clone(), batch }
    }

    /// As the spine brings it. An error: facts that are none.
    pub fn heard(heard: &Heard) -> Result<Self, String> {
        let batch = heard.batch.as_ref().map(|batch| {
            let facts = unpacked(batch.facts.as_deref(), batch.records.len())?;
            let RuleBatch { clock_at, clock, .. } = *batch;
            Ok::<_, String>(Batch { clock_at, clock, records: Arc::clone(&batch.records), facts })
        });
        Ok(Self::new(heard.seq, &heard.stored, batch.transpose()?))
    }

    /// As the store has it. An error: facts that are none.
    pub fn read(row: RuleInputRow) -> Result<Self, String> {
        let RuleInputRow { seq, operator_no, input_seq, rules_seq, input, batch } = row;
        let batch = batch.map(|batch| {
            let facts = unpacked(batch.facts.as_deref(), batch.records.len())?;
            let (clock_at, clock) = (batch.clock_at, batch.clock);
            Ok::<_, String>(Batch { clock_at, clock, records: batch.records.into(), facts })
        });
        Ok(Self { seq, operator: operator_no, input_seq, rules_seq, input, batch: batch.transpose()? })
    }

    /// How many records it has.
    pub fn records(&self) -> usize {
        self.batch.as_ref().map_or(0, |batch| batch.records.len())
    }
}
