//! Rows to learn from: the vectors of what people have decided about, worked out anew from the stored inputs.
//!
//! ```text
//! alert groups that people resolved ─▶ labels by record ┐
//! stored inputs of an operator's rules, from the first ─▶ book and features ─▶ vector where a record has a label ─▶ CSV
//! ```
//! A record is positive where a group was `confirmed` whose alert names it, negative where every such group was a
//! `false_alarm`; what nobody decided is left out. A player's vector is the one before their first record with a label,
//! so that it knows nothing of what came of it. Ids are digests under a key that is made for one file and forgotten:
//! rows can be told apart and led back to nobody.
//!
//! The inputs are those that the operator's actor heard, with what register and evidence knew then and under the rules of
//! then: a row is, bit for bit, what a promoted model was or would have been told of the record.

use crate::directory::Directory;
use engine::features::{Feature, player, transaction};
use engine::rules::calendar::Calendar;
use engine::rules::facts;
use engine::rules::input::{Facts, Input};
use engine::rules::ruleset::RuleSet;
use engine::rules::run::OperatorRules;
use jiff::tz::TimeZone;
use models::alert_group::{ActionKind, Resolution};
use models::event::Event;
use models::ids::{GroupId, OperatorNo, Seq};
use models::jurisdiction::JurisdictionNo;
use models::match_key::MatchKey;
use models::money::Currency;
use models::record::Record;
use models::risk_model::ModelKind;
use models::ts::Ts;
use ring::hmac;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;
use store::{RuleInputBatch, Store, StoreError};

/// Rows of a file.
pub const ROWS_MAX: usize = 500_000;
/// Inputs read at once.
const INPUTS_AT_ONCE: u32 = 200;

/// Why there are no rows.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// More than [`ROWS_MAX`].
    #[error("more than {ROWS_MAX} rows: choose a shorter span")]
    TooMany,
    /// The writer.
    #[error("the rows cannot be written: {0}")]
    Write(#[from] std::io::Error),
    /// Nothing is learnt from vectors of this kind.
    #[error("no vectors are made for this kind of model")]
    Kind,
    /// A time zone of the configuration.
    #[error("unknown time zone {0}")]
    Zone(String),
}

/// What people have decided of records, by operator and digest of the record's id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(HashMap<(OperatorNo, u64), bool>);

impl Labels {
    /// Records that a decision names: where several do, one confirmation is enough.
    pub fn add(&mut self, operator: OperatorNo, records: &[String], is_positive: bool) {
        for record in records {
            *self.0.entry((operator, engine::ingest::id_digest(record))).or_default() |= is_positive;
        }
    }

    /// Records with a label.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// None?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of(&self, operator: OperatorNo, record: &Record) -> Option<bool> {
        self.0.get(&(operator, record.id_digest)).copied()
    }

    fn operators(&self) -> HashSet<OperatorNo> {
        self.0.keys().map(|(operator, _)| *operator).collect()
    }
}

/// How each episode of a group ended that a person ended and nobody opened again: what it was, and its alerts.
#[must_use]
pub fn decisions(acts: &[Event]) -> Vec<(OperatorNo, Vec<models::ids::AlertId>, bool)> {
    let mut last: BTreeMap<(GroupId, u32), _> = BTreeMap::new();
    for event in acts {
        let Event::AlertActed(acted) = event else { continue };
        let group = &acted.group;
        let decided = match (acted.action, group.resolution) {
            (ActionKind::Resolve, Some(Resolution::Confirmed)) => Some(true),
            (ActionKind::Resolve, Some(Resolution::FalseAlarm)) => Some(false),
            (ActionKind::Resolve, _) | (ActionKind::Reopen, _) => None,
            // whoever takes a group on decides nothing
            (ActionKind::Acknowledge | ActionKind::Snooze, _) => continue,
        };
        let mut alerts = group.standing.clone();
        if !alerts.contains(&group.last_alert) {
            alerts.push(group.last_alert);
        }
        last.insert((group.id, group.episode), (group.operator_no, alerts, decided));
    }
    let decided = |(operator, alerts, decided): (OperatorNo, Vec<_>, Option<bool>)| Some((operator, alerts, decided?));
    last.into_values().filter_map(decided).collect()
}

/// Reads what people have decided.
///
/// # Errors
/// [`StoreError`]
pub async fn labels(store: &Store) -> Result<Labels, StoreError> {
    let mut labels = Labels::default();
    for (operator, alerts, is_positive) in decisions(&store.journal_events("alert_acted").await?) {
        for alert in alerts {
            // the newest revision says which records weigh most
            if let Some(revision) = store.alert(alert).await?.first() {
                labels.add(operator, &revision.evidence.records, is_positive);
            }
        }
    }
    Ok(labels)
}

struct Row {
    at: Ts,
    id: String,
    values: Vec<f32>,
    is_positive: bool,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct RowsOrder {
    /// Vectors of records or of players.
    pub kind: ModelKind,
    /// First instant of the records with a label.
    pub from: Ts,
    /// First instant behind.
    pub to: Ts,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RowsSummary {
    /// Rows.
    pub rows: u64,
    /// Of these, confirmed ones.
    pub positives: u64,
    /// Records with a label that were found neither in the span nor as records that have a vector.
    pub labels_left_out: u64,
}

/// The vectors of one operator, from its first input on.
struct Making<'a> {
    order: RowsOrder,
    operator: OperatorNo,
    labels: &'a Labels,
    key: &'a hmac::Key,
    rules: OperatorRules,
    calendar: Calendar,
    records: transaction::Extractor,
    players: player::Extractor,
    done: HashMap<(MatchKey, Currency), usize>,
    rows: Vec<Row>,
}

impl<'a> Making<'a> {
    fn new(order: RowsOrder, operator: OperatorNo, labels: &'a Labels, key: &'a hmac::Key, zone: TimeZone) -> Self {
        // findings are of no interest: the book is the same whichever rules run
        let none = RuleSet::new("", Vec::new()).unwrap_or_else(|_| RuleSet::standard(""));
        let rules = OperatorRules::new(operator, zone.clone(), &none);
        Self {
            order,
            operator,
            labels,
            key,
            rules,
            calendar: Calendar::new(zone),
            records: transaction::Extractor::default(),
            players: player::Extractor::new(player::Params::default(), player::OPERATOR_PLAYERS),
            done: HashMap::new(),
            rows: Vec::new(),
        }
    }

    /// The rules under which the next inputs were judged.
    fn go_by(&mut self, set: &RuleSet) {
        self.records.set_params(transaction::Params::of(set));
    }

    fn hear(&mut self, record: &Record, facts: &Facts) {
        let at = record.occurred_at;
        let label = self.labels.of(self.operator, record).filter(|_| (self.order.from..self.order.to).contains(&at));
        let is_of_players = self.order.kind == ModelKind::PlayerRisk;
        if let (true, Some(is_positive), Some(player)) = (is_of_players, label, record.player) {
            self.player(player, record.currency, at, is_positive);
        }
        if is_of_players {
            let spans = self.calendar.spans(at);
            self.players.hear(self.operator, record, &spans);
            return;
        }
        let (mut out, mut there) = ([0.0; transaction::WIDTH], false);
        let (records, input) = (&mut self.records, Input::Play { record, facts });
        self.rules.hear_and(&input, &mut Vec::new(), |heard| there = records.hear(heard, &mut out));
        if let (true, Some(is_positive)) = (there, label) {
            let id = self.pseudonym(b"record", &record.id_digest.to_be_bytes());
            self.rows.push(Row { at, id, values: out.to_vec(), is_positive });
        }
    }

    /// The player as they were before their first record with a label; one that is confirmed later is confirmed.
    fn player(&mut self, player: MatchKey, currency: Currency, at: Ts, is_positive: bool) {
        if let Some(place) = self.done.get(&(player, currency)) {
            self.rows[*place].is_positive |= is_positive;
            return;
        }
        let mut out = [0.0; player::WIDTH];
        if self.players.write(player.0, currency, at, &mut out) {
            self.done.insert((player, currency), self.rows.len());
            let id = self.pseudonym(b"player", &[&player.to_bytes()[..], currency.as_str().as_bytes()].concat());
            self.rows.push(Row { at, id, values: out.to_vec(), is_positive });
        }
    }

    fn pseudonym(&self, what: &[u8], id: &[u8]) -> String {
        let mut context = hmac::Context::with_key(self.key);
        context.update(what);
        context.update(&self.operator.0.to_be_bytes());
        context.update(id);
        crate::secrets::hex(&context.sign().as_ref()[..16])
    }
}

/// Writes the rows of everything that has a label, in order of time: an id, the features, `label` (1 = confirmed).
///
/// # Errors
/// [`RowsError`]
pub async fn write(
    store: &Store,
    directory: &Directory,
    order: RowsOrder,
    mut out: impl Write,
) -> Result<RowsSummary, RowsError> {
    let features: &[Feature] = crate::scoring::features_of(order.kind).ok_or(RowsError::Kind)?;
    let labels = labels(store).await?;
    let secret = crate::secrets::random::<32>().map_err(|error| std::io::Error::other(error.to_string()))?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let mut rows = Vec::new();
    for operator in labels.operators() {
        let Some(known) = directory.operators.get(&operator) else { continue };
        let Some(jurisdiction) = directory.jurisdictions.get(usize::from(known.jurisdiction.0)) else { continue };
        let zone =
            TimeZone::get(&jurisdiction.time_zone).map_err(|_| RowsError::Zone(jurisdiction.time_zone.clone()))?;
        let mut making = Making::new(order, operator, &labels, &key, zone);
        replay(store, (directory, known.jurisdiction), &mut making).await?;
        rows.append(&mut making.rows);
        if rows.len() > ROWS_MAX {
            return Err(RowsError::TooMany);
        }
    }
    rows.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
    write_rows(features, &rows, &mut out)?;
    let positives = rows.iter().filter(|row| row.is_positive).count() as u64;
    let labels_left_out = match order.kind {
        ModelKind::TransactionRisk => labels.len().saturating_sub(rows.len()) as u64,
        _ => 0,
    };
    Ok(RowsSummary { rows: rows.len() as u64, positives, labels_left_out })
}

async fn replay(
    store: &Store,
    (directory, jurisdiction): (&Directory, JurisdictionNo),
    making: &mut Making<'_>,
) -> Result<(), RowsError> {
    let aside: HashMap<i64, Vec<u32>> = store.rules_set_aside(making.operator).await?.into_iter().collect();
    let (mut after, mut rules_seq): (i64, Option<Seq>) = (0, None);
    loop {
        let inputs = store.rule_inputs(making.operator, after, INPUTS_AT_ONCE).await?;
        if inputs.is_empty() {
            return Ok(());
        }
        for input in inputs {
            after = input.input_seq;
            if rules_seq != Some(input.rules_seq) {
                rules_seq = Some(input.rules_seq);
                making.go_by(&directory.rules_as_of(jurisdiction, input.rules_seq));
            }
            if let Some(batch) = &input.batch {
                hear(making, batch, aside.get(&after))?;
            }
            if making.rows.len() > ROWS_MAX {
                return Err(RowsError::TooMany);
            }
        }
    }
}

/// A batch, without what was set aside; none named: all of it.
fn hear(making: &mut Making<'_>, batch: &RuleInputBatch, aside: Option<&Vec<u32>>) -> Result<(), RowsError> {
    let Some(packed) = &batch.facts else { return Ok(()) };
    let known = facts::unpack(packed, batch.records.len()).map_err(|_| StoreError::Unreadable("facts of records"))?;
    let is_skipped = |n: u32| aside.is_some_and(|list| list.is_empty() || list.contains(&n));
    for ((n, record), facts) in (0u32..).zip(&batch.records).zip(&known) {
        if !is_skipped(n) {
            making.hear(record, facts);
        }
    }
    Ok(())
}

fn write_rows(features: &[Feature], rows: &[Row], out: &mut impl Write) -> std::io::Result<()> {
    write!(out, "id")?;
    for feature in features {
        write!(out, ",{}", feature.name)?;
    }
    writeln!(out, ",label")?;
    for row in rows {
        write!(out, "{}", row.id)?;
        for value in &row.values {
            match value.is_nan() {
                true => write!(out, ",")?,
                // as what the model is asked about: the same number in 64 bits
                false => write!(out, ",{}", f64::from(*value))?,
            }
        }
        writeln!(out, ",{}", u8::from(row.is_positive))?;
    }
    out.flush()
}

#[cfg(test)]
#[path = "model_rows_tests.rs"]
mod tests;
