//! What a replay stands on, held against the journal: batches with their records, ticks, inputs of rules, alerts.
//!
//! ```text
//! journal, a few events at a time ─▶ the rows that were made of them, as they are stored
//!     records of a batch ─▶ their digests computed anew, by the functions of the intake ─▶ beside what its event says
//! rows between and behind the journaled ones ─▶ nobody journaled them
//! ```
//! One walk over the journal serves all operators. Memory does not grow with it: of each source its newest chain digest is
//! remembered, of each operator what differs, up to a limit.

use super::{DIFFERENCES_MAX, Span, is_elsewhere};
use crate::secrets;
use crate::source::chain_of;
use data_encoding::HEXLOWER;
use engine::ingest;
use models::alert::AlertRevision;
use models::event::{Committed, Event};
use models::feed::FeedBatchStored;
use models::ids::{OperatorId, OperatorNo, Seq, SourceNo};
use models::record::Record;
use models::rule_input::RuleInputStored;
use models::ts::Ts;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use store::{HeldAlert, HeldBatch, HeldInput, Store, StoreError};

/// Events that are read at once.
const EVENTS_AT_ONCE: u32 = 256;
/// Records of a batch that are named one by one.
const RECORDS_NAMED_MAX: usize = 10;

/// What a row is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A batch and its records; its place is among the operator's inputs.
    Batch,
    /// A tick of the clock; its place is among the operator's inputs.
    Tick,
    /// An input of rules, by its number.
    RuleInput,
    /// A revision of an alert, by its offset.
    Alert,
}

/// How stored and journaled differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The journal tells of it, and there is no row.
    Gone,
    /// There is a row, and the journal does not tell of it.
    Unjournaled,
    /// The row says something else.
    Changed,
}

/// Something that is not stored as the journal says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Altered {
    /// What.
    pub what: Kind,
    /// How.
    pub how: How,
    /// Its place.
    pub place: i64,
    /// Place of its event in the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
    /// Columns that say something else. Of a batch also `records` (another number of them, or one that cannot be read), `chain`
    /// and `records_sha256` (they do not give the digest that was journaled) and `records[n].column`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

/// Whose rows are held.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Number.
    pub no: OperatorNo,
    /// Who; none where it is all operators of a jurisdiction.
    pub id: Option<OperatorId>,
    /// Code of the operator or of the jurisdiction.
    pub code: String,
}

/// What was held against the journal of an operator, or of what is stored for all operators of a jurisdiction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Code of the operator or of the jurisdiction.
    pub code: String,
    /// Who; none where it is all operators of the jurisdiction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorId>,
    /// Batches that the journal tells of, up to the end of the span.
    pub batches: u64,
    /// Records that they have by it.
    pub records: u64,
    /// Those of them of which it keeps a digest of 256 bits; of the others it keeps 32 bits of what each says.
    pub records_by_sha256: u64,
    /// Ticks, up to the end of the span.
    pub ticks: u64,
    /// Inputs of rules, up to the end of the span; of batches, which have no time of their own, all of them.
    pub inputs: u64,
    /// Revisions of alerts in the span.
    pub alerts: u64,
    /// Those of them that stand on no inputs and are not computed, by rule.
    #[serde(default)]
    pub elsewhere_by_rule: BTreeMap<String, u64>,
    /// What is not stored so.
    pub altered: Vec<Altered>,
    /// Further ones.
    pub further: u64,
}

impl Held {
    fn new(holder: &Holder) -> Self {
        Self {
            code: holder.code.clone(),
            operator: holder.id,
            batches: 0,
            records: 0,
            records_by_sha256: 0,
            ticks: 0,
            inputs: 0,
            alerts: 0,
            elsewhere_by_rule: BTreeMap::new(),
            altered: Vec::new(),
            further: 0,
        }
    }

    /// How much differs.
    #[must_use]
    pub fn differences(&self) -> u64 {
        self.altered.len() as u64 + self.further
    }

    fn add(&mut self, altered: Altered) {
        if self.altered.len() >= DIFFERENCES_MAX {
            self.further += 1;
        } else {
            self.altered.push(altered);
        }
    }

    fn gone(&mut self, what: Kind, place: i64, seq: Seq) {
        self.add(Altered { what, how: How::Gone, place, seq: Some(seq), fields: Vec::new() });
    }

    fn unjournaled(&mut self, what: Kind, place: i64) {
        self.add(Altered { what, how: How::Unjournaled, place, seq: None, fields: Vec::new() });
    }

    fn changed(&mut self, what: Kind, place: i64, seq: Seq, fields: Vec<String>) {
        if !fields.is_empty() {
            self.add(Altered { what, how: How::Changed, place, seq: Some(seq), fields });
        }
    }
}

/// Holds what is stored of some operators up to the end of a span against the journal; in their order.
///
/// # Errors
/// [`StoreError`]
pub async fn against_journal(store: &Store, holders: &[Holder], span: Span) -> Result<Vec<Held>, StoreError> {
    let of = holders.iter().map(|holder| (holder.no, Held::new(holder))).collect();
    let mut walk = Walk { store, span, of, chains: HashMap::new(), batches: 0, alerts: 0, ticks: HashMap::new() };
    let mut after = 0;
    loop {
        let events = store.events_held(after, EVENTS_AT_ONCE).await?;
        if let Some(last) = events.last() {
            after = last.seq;
            walk.hold(events).await?;
        } else if walk.rows_behind(after).await? {
            return Ok(holders.iter().filter_map(|holder| walk.of.remove(&holder.no)).collect());
        }
    }
}

/// A walk along the journal.
struct Walk<'a> {
    store: &'a Store,
    span: Span,
    of: BTreeMap<OperatorNo, Held>,
    /// The newest journaled chain digest of each source.
    chains: HashMap<SourceNo, String>,
    /// The newest batch that was held.
    batches: i64,
    /// The newest revision of an alert.
    alerts: i64,
    /// The newest tick of each operator.
    ticks: HashMap<OperatorNo, i64>,
}

/// A batch whose records are to be held.
struct Wanted {
    seq: Seq,
    batch: FeedBatchStored,
    /// Chain digest of the batch before of its source, in hex.
    before: Option<String>,
}

impl Walk<'_> {
    async fn hold(&mut self, events: Vec<Committed>) -> Result<(), StoreError> {
        let (mut batches, mut alerts) = (Vec::new(), Vec::new());
        let mut ticks: BTreeMap<OperatorNo, Vec<(Seq, i64, Ts)>> = BTreeMap::new();
        let mut inputs: BTreeMap<OperatorNo, Vec<(Seq, RuleInputStored)>> = BTreeMap::new();
        for Committed { seq, event, .. } in events {
            match event {
                Event::FeedBatchStored(batch) => batches.push((seq, batch)),
                Event::AlertRevised(alert) => alerts.push((seq, alert)),
                Event::OperatorTicked { operator_no, operator_seq, at } => {
                    ticks.entry(operator_no).or_default().push((seq, operator_seq, at));
                }
                Event::RuleInputStored(stored) => inputs.entry(stored.operator_no).or_default().push((seq, stored)),
                _ => {}
            }
        }
        self.hold_batches(batches).await?;
        for (operator, ticks) in ticks {
            self.hold_ticks(operator, &ticks).await?;
        }
        for (operator, inputs) in inputs {
            self.hold_inputs(operator, &inputs).await?;
        }
        self.hold_alerts(&alerts).await
    }

    async fn hold_batches(&mut self, batches: Vec<(Seq, FeedBatchStored)>) -> Result<(), StoreError> {
        let Some(places) = places(self.batches, batches.iter().map(|(_, batch)| batch.batch_no)) else { return Ok(()) };
        let mut rows: BTreeMap<i64, HeldBatch> =
            self.store.held_batches(places).await?.into_iter().map(|row| (row.batch_no, row)).collect();
        let mut wanted = Vec::new();
        for (seq, batch) in batches {
            let before = self.chains.insert(batch.source_no, batch.chain.clone());
            let row = rows.remove(&batch.batch_no);
            let Some(held) = self.of.get_mut(&batch.operator_no).filter(|_| batch.clock_at < self.span.to) else {
                continue;
            };
            held.batches += 1;
            held.records += u64::from(batch.records);
            held.records_by_sha256 += batch.records_sha256.as_ref().map_or(0, |_| u64::from(batch.records));
            match row {
                None => held.gone(Kind::Batch, batch.operator_seq, seq),
                Some(row) => held.changed(Kind::Batch, batch.operator_seq, seq, head_fields(&batch, &row)),
            }
            wanted.push(Wanted { seq, batch, before });
        }
        for row in rows.values().filter(|row| row.batch_no > self.batches) {
            unjournaled_batch(&mut self.of, self.span, row);
        }
        self.batches = self.batches.max(places.1);
        self.hold_records(&wanted).await
    }

    /// A few batches at a time, for their records come with them.
    async fn hold_records(&mut self, wanted: &[Wanted]) -> Result<(), StoreError> {
        let mut rest = wanted;
        while !rest.is_empty() {
            let sizes = rest.iter().map(|wanted| (wanted.batch.batch_no, i64::from(wanted.batch.records))).collect();
            let read = self.store.held_records(sizes).await?;
            for (Wanted { seq, batch, before }, records) in rest.iter().zip(&read) {
                let Some(held) = self.of.get_mut(&batch.operator_no) else { continue };
                let fields = records_fields(batch, before.as_deref(), records.as_deref());
                held.changed(Kind::Batch, batch.operator_seq, *seq, fields);
            }
            rest = rest.get(read.len().max(1)..).unwrap_or_default();
        }
        Ok(())
    }

    async fn hold_ticks(&mut self, operator: OperatorNo, ticks: &[(Seq, i64, Ts)]) -> Result<(), StoreError> {
        let Some(held) = self.of.get_mut(&operator) else { return Ok(()) };
        let newest = self.ticks.entry(operator).or_default();
        let Some(places) = places(*newest, ticks.iter().map(|(_, place, _)| *place)) else { return Ok(()) };
        let mut rows: BTreeMap<i64, Ts> = self.store.held_ticks(operator, places).await?.into_iter().collect();
        for (seq, place, at) in ticks {
            let row = rows.remove(place);
            if *at >= self.span.to {
                continue;
            }
            held.ticks += 1;
            match row {
                None => held.gone(Kind::Tick, *place, *seq),
                Some(stored) if stored != *at => held.changed(Kind::Tick, *place, *seq, vec!["at".to_owned()]),
                Some(_) => {}
            }
        }
        for (place, at) in rows {
            if place > *newest && at < self.span.to {
                held.unjournaled(Kind::Tick, place);
            }
        }
        *newest = (*newest).max(places.1);
        Ok(())
    }

    /// The other way round, inputs that nobody journaled are found where they are read.
    async fn hold_inputs(&mut self, operator: OperatorNo, inputs: &[(Seq, RuleInputStored)]) -> Result<(), StoreError> {
        let Some(held) = self.of.get_mut(&operator) else { return Ok(()) };
        let numbers = inputs.iter().map(|(_, stored)| stored.input_seq);
        let Some(places) = places(i64::MAX, numbers) else { return Ok(()) };
        let rows = self.store.held_inputs(operator, places).await?;
        let mut rows: BTreeMap<i64, HeldInput> = rows.into_iter().map(|row| (row.input_seq, row)).collect();
        for (seq, stored) in inputs {
            if stored.input.at().is_some_and(|at| at >= self.span.to) {
                continue;
            }
            held.inputs += 1;
            match rows.remove(&stored.input_seq) {
                None => held.gone(Kind::RuleInput, stored.input_seq, *seq),
                Some(row) if row.seq != *seq => {
                    held.changed(Kind::RuleInput, stored.input_seq, *seq, vec!["seq".to_owned()]);
                }
                Some(row) => {
                    let fields = row.fields.into_iter().map(str::to_owned).collect();
                    held.changed(Kind::RuleInput, stored.input_seq, *seq, fields);
                }
            }
        }
        Ok(())
    }

    async fn hold_alerts(&mut self, alerts: &[(Seq, AlertRevision)]) -> Result<(), StoreError> {
        let Some(places) = places(self.alerts, alerts.iter().map(|(_, alert)| alert.offset)) else { return Ok(()) };
        let mut rows: BTreeMap<i64, HeldAlert> =
            self.store.held_alerts(places).await?.into_iter().map(|row| (row.offset, row)).collect();
        for (seq, alert) in alerts {
            let row = rows.remove(&alert.offset);
            let Some(held) = self.of.get_mut(&alert.operator_no).filter(|_| self.span.holds(alert.at)) else {
                continue;
            };
            held.alerts += 1;
            if is_elsewhere(&alert.rule) {
                *held.elsewhere_by_rule.entry(alert.rule.clone()).or_default() += 1;
            }
            match row {
                None => held.gone(Kind::Alert, alert.offset, *seq),
                Some(row) => held.changed(Kind::Alert, alert.offset, *seq, alert_fields(alert, &row)),
            }
        }
        for row in rows.values().filter(|row| row.offset > self.alerts) {
            unjournaled_alert(&mut self.of, self.span, row);
        }
        self.alerts = self.alerts.max(places.1);
        Ok(())
    }

    /// Rows behind the last event of the journal; false where it has grown meanwhile: they may be of what came.
    async fn rows_behind(&mut self, after: Seq) -> Result<bool, StoreError> {
        let batches = self.store.held_batches((self.batches, i64::MAX)).await?;
        let alerts = self.store.held_alerts((self.alerts, i64::MAX)).await?;
        let mut ticks = Vec::new();
        for operator in self.of.keys() {
            let newest = self.ticks.get(operator).copied().unwrap_or_default();
            let rows = self.store.held_ticks(*operator, (newest, i64::MAX)).await?;
            ticks.extend(rows.into_iter().map(|(place, at)| (*operator, place, at)));
        }
        if !self.store.events_held(after, 1).await?.is_empty() {
            return Ok(false);
        }
        batches.iter().for_each(|row| unjournaled_batch(&mut self.of, self.span, row));
        alerts.iter().for_each(|row| unjournaled_alert(&mut self.of, self.span, row));
        for (operator, place, _) in ticks.into_iter().filter(|(.., at)| *at < self.span.to) {
            if let Some(held) = self.of.get_mut(&operator) {
                held.unjournaled(Kind::Tick, place);
            }
        }
        Ok(true)
    }
}

/// From which place on rows are to be read for some events, and up to which: behind those that were held, and of what came
/// under a number that was given before also its.
fn places(newest: i64, of_events: impl Iterator<Item = i64> + Clone) -> Option<(i64, i64)> {
    let (first, last) = (of_events.clone().min()?, of_events.max()?);
    Some((newest.min(first - 1), last))
}

/// Whoever the row says that it is of; nobody's where that is no operator's number.
fn holder(of: &mut BTreeMap<OperatorNo, Held>, operator_no: i64) -> Option<&mut Held> {
    of.get_mut(&OperatorNo(u16::try_from(operator_no).ok()?))
}

fn unjournaled_batch(of: &mut BTreeMap<OperatorNo, Held>, span: Span, row: &HeldBatch) {
    if row.clock_at < span.to
        && let Some(held) = holder(of, row.operator_no)
    {
        held.unjournaled(Kind::Batch, row.operator_seq);
    }
}

fn unjournaled_alert(of: &mut BTreeMap<OperatorNo, Held>, span: Span, row: &HeldAlert) {
    let at = row.at.or_else(|| serde_json::from_str(&row.body).ok().map(|alert: AlertRevision| alert.at));
    // of one that does not say when it was nobody can say that it lies outside
    if at.is_none_or(|at| span.holds(at))
        && let Some(held) = holder(of, row.operator_no)
    {
        held.unjournaled(Kind::Alert, row.offset);
    }
}

/// Names of what is not the same.
fn differing<const N: usize>(same: [(&str, bool); N]) -> Vec<String> {
    same.into_iter().filter(|(_, is_same)| !is_same).map(|(name, _)| name.to_owned()).collect()
}

/// Columns of a batch's head that say something else than its event.
fn head_fields(batch: &FeedBatchStored, row: &HeldBatch) -> Vec<String> {
    differing([
        ("id", row.id == batch.id.to_string()),
        ("source_no", row.source_no == i64::from(batch.source_no.0)),
        ("source_seq", row.source_seq == batch.source_seq),
        ("operator_no", row.operator_no == i64::from(batch.operator_no.0)),
        ("operator_seq", row.operator_seq == batch.operator_seq),
        ("records", row.records == i64::from(batch.records)),
        ("first_at", row.first_at == batch.first_at),
        ("last_at", row.last_at == batch.last_at),
        ("clock_at", row.clock_at == batch.clock_at),
        ("chain", row.chain == batch.chain),
    ])
}

/// What of a batch's stored records does not give what its event says; `before` is the chain digest of the batch before of its
/// source, none before the first one.
fn records_fields(batch: &FeedBatchStored, before: Option<&str>, records: Option<&[Record]>) -> Vec<String> {
    let Some(records) = records else { return vec!["records".to_owned()] };
    let (mut digests, mut fields) = (Vec::with_capacity(records.len()), Vec::new());
    if records.len() != batch.records as usize {
        fields.push("records".to_owned());
    }
    for (place, record) in records.iter().enumerate() {
        let (id, content) = (ingest::id_digest(&record.record_id), ingest::content_digest(record));
        let same = [("id_digest", id == record.id_digest), ("content_digest", content == record.content_digest)];
        let named = same.into_iter().filter(|(_, is_same)| !is_same);
        let room = RECORDS_NAMED_MAX.saturating_sub(fields.len());
        fields.extend(named.take(room).map(|(column, _)| format!("records[{place}].{column}")));
        digests.push((id, content));
    }
    // what the journal says of the batch before is no digest: then neither is what it says of this one
    let before = before.map_or(Some([0; 32]), digest);
    let chain = before.map(|before| secrets::hex(&chain_of(&before, digests.into_iter())));
    if chain.as_ref() != Some(&batch.chain) {
        fields.push("records.chain".to_owned());
    }
    if batch.records_sha256.as_ref().is_some_and(|said| *said != secrets::hex(&ingest::records_digest(records))) {
        fields.push("records.records_sha256".to_owned());
    }
    fields
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    HEXLOWER.decode(hex.as_bytes()).ok()?.try_into().ok()
}

/// Columns of a revision of an alert that say something else than its event.
fn alert_fields(alert: &AlertRevision, row: &HeldAlert) -> Vec<String> {
    differing([
        ("id", row.id == alert.id.to_string()),
        ("operator_seq", row.operator_seq == alert.operator_seq),
        ("operator_no", row.operator_no == i64::from(alert.operator_no.0)),
        ("operator_offset", row.operator_offset == alert.operator_offset),
        ("rule", row.rule == alert.rule),
        ("kind", row.kind == i64::from(alert.kind.code())),
        ("severity", row.severity == i64::from(alert.severity.code())),
        ("rule_version", row.rule_version.is_none_or(|version| version == i64::from(alert.rule_version))),
        ("at", row.at.is_none_or(|at| at == alert.at)),
        ("body", serde_json::from_str::<AlertRevision>(&row.body).is_ok_and(|body| body == *alert)),
    ])
}

#[cfg(test)]
mod tests;
