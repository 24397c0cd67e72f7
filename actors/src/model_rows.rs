//! Rows to learn from: the vectors of what people have decided about, worked out anew from the stored inputs.
//!
//! ```text
//! alert groups that people resolved ─▶ labels by record ┐
//! stored inputs of an operator's rules, from the first ─▶ book and features ─▶ vector where a record has a label ─▶ CSV
//! ```
//! A record is positive where a group was `confirmed` whose alert names it, negative where every such group was a
//! `false_alarm`; what nobody decided is left out, and so is what a rule says that labels other models or none
//! ([`engine::rules::labels`]). A player's vector is the one as of the newest day of theirs that was over before their first
//! record with a label was heard, so that it knows nothing of what came of it; where an alert names a player and no record
//! (`player_at_risk` does), before the alert, in each currency they play in. Nobody has one before their first day is over:
//! no model is asked about them either. An alert over all operators names those that it is about: its records count at each of
//! them where they are that player's (numbers of records are an operator's own), and the player themself has a label at
//! each. Ids are digests under a key that is made for one file and forgotten: rows can be told apart and led back to nobody.
//!
//! The inputs are those that the operator's actor heard, with what register and evidence knew then and under the rules of
//! then, and they go through the same functions ([`LiveFeatures`]): a row is, bit for bit, what a promoted model was or would
//! have been told of the record, and of the player at the end of that day.

use crate::directory::Directory;
use engine::features::live::{LiveFeatures, Scoring};
use engine::features::live_players::LivePlayers;
use engine::features::{Feature, player, transaction};
use engine::rules::facts;
use engine::rules::input::{Facts, Input};
use engine::rules::labels::label;
use engine::rules::ruleset::RuleSet;
use engine::rules::run::OperatorRules;
use jiff::tz::TimeZone;
use ml::tabular::sides::{DAY, GROUP, OPERATOR};
use models::alert::AlertRevision;
use models::alert_group::{ActionKind, Resolution};
use models::event::Event;
use models::ids::{AlertId, GroupId, OperatorNo, Seq};
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
    /// A time zone of the configuration.
    #[error("unknown time zone {0}")]
    Zone(String),
}

/// A record of one player that an alert over several operators names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shared {
    operators: Vec<OperatorNo>,
    is_positive: bool,
}

/// What is said of a player.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OfPlayer {
    /// When the first alert was raised that says so.
    at: Ts,
    is_positive: bool,
}

/// What people have decided. Records are known by the digest of their id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    records: HashMap<(OperatorNo, u64), bool>,
    shared: HashMap<(u64, MatchKey), Shared>,
    players: HashMap<(OperatorNo, MatchKey), OfPlayer>,
}

impl Labels {
    /// An operator's records that a decision names: where several do, one confirmation is enough.
    pub fn add(&mut self, operator: OperatorNo, records: &[String], is_positive: bool) {
        for record in records {
            *self.records.entry((operator, engine::ingest::id_digest(record))).or_default() |= is_positive;
        }
    }

    /// What a decision says of an alert. `revisions`: the newest first; the newest says which records weigh most.
    pub fn add_alert(&mut self, directory: &Directory, revisions: &[AlertRevision], is_positive: bool) {
        let (Some(newest), Some(first)) = (revisions.first(), revisions.last()) else { return };
        let records = &newest.evidence.records;
        let player = player_of(newest);
        if newest.operator_no.nation().is_none() {
            self.add(newest.operator_no, records, is_positive);
            if let (Some(player), true) = (player, records.is_empty()) {
                self.add_player(newest.operator_no, player, first.at, is_positive);
            }
            return;
        }
        let Some(player) = player else { return };
        for operator in operators_of(directory, newest) {
            for record in records {
                let shared = self.shared.entry((engine::ingest::id_digest(record), player)).or_default();
                if !shared.operators.contains(&operator) {
                    shared.operators.push(operator);
                }
                shared.is_positive |= is_positive;
            }
            self.add_player(operator, player, first.at, is_positive);
        }
    }

    fn add_player(&mut self, operator: OperatorNo, player: MatchKey, at: Ts, is_positive: bool) {
        let known = self.players.entry((operator, player)).or_insert(OfPlayer { at, is_positive });
        known.at = known.at.min(at);
        known.is_positive |= is_positive;
    }

    /// Names of records with a label.
    #[must_use]
    pub fn records(&self) -> usize {
        self.records.len() + self.shared.len()
    }

    /// What a record's names say, and how many names it has.
    fn of(&self, operator: OperatorNo, record: &Record) -> Option<(bool, usize)> {
        let own = self.records.get(&(operator, record.id_digest)).copied();
        let shared = record.player.and_then(|player| self.shared.get(&(record.id_digest, player)));
        let shared = shared.filter(|shared| shared.operators.contains(&operator)).map(|shared| shared.is_positive);
        let names = usize::from(own.is_some()) + usize::from(shared.is_some());
        (names > 0).then(|| (own == Some(true) || shared == Some(true), names))
    }

    fn of_player(&self, operator: OperatorNo, player: MatchKey) -> Option<OfPlayer> {
        self.players.get(&(operator, player)).copied()
    }

    fn players_of(&self, operator: OperatorNo) -> BTreeMap<MatchKey, OfPlayer> {
        let own = self.players.iter().filter(|((of, _), _)| *of == operator);
        own.map(|((_, player), said)| (*player, *said)).collect()
    }

    fn operators(&self) -> HashSet<OperatorNo> {
        let own = self.records.keys().map(|(operator, _)| *operator);
        let players = self.players.keys().map(|(operator, _)| *operator);
        own.chain(players).chain(self.shared.values().flat_map(|shared| shared.operators.iter().copied())).collect()
    }
}

/// The player that an alert names.
pub(crate) fn player_of(alert: &AlertRevision) -> Option<MatchKey> {
    alert.subject.who.as_deref().and_then(|who| who.strip_prefix("player:")?.parse().ok())
}

/// Whose records and players an alert is about: its operator's, or those of each that an alert over all operators names.
pub(crate) fn operators_of(directory: &Directory, alert: &AlertRevision) -> Vec<OperatorNo> {
    let Some(jurisdiction) = alert.operator_no.nation() else { return vec![alert.operator_no] };
    let own = directory.operators.values().filter(|known| known.jurisdiction == jurisdiction);
    let named = own.filter(|known| alert.evidence.operators.contains(&known.code));
    named.map(|known| known.operator_no).collect()
}

/// How an episode of a group ended that a person ended and nobody opened again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Rule of its alerts.
    pub rule: String,
    /// Its alerts, as far as the group remembers them.
    pub alerts: Vec<AlertId>,
    /// Confirmed, or a false alarm.
    pub is_confirmed: bool,
}

/// Every decision that stands.
#[must_use]
pub fn decisions(acts: &[Event]) -> Vec<Decision> {
    let mut last: BTreeMap<(GroupId, u32), Option<Decision>> = BTreeMap::new();
    for event in acts {
        let Event::AlertActed(acted) = event else { continue };
        let group = &acted.group;
        let is_confirmed = match (acted.action, group.resolution) {
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
        let decision = is_confirmed.map(|is_confirmed| Decision { rule: group.rule.clone(), alerts, is_confirmed });
        last.insert((group.id, group.episode), decision);
    }
    last.into_values().flatten().collect()
}

/// Is an alert one of a jurisdiction: of one of its operators, or over all of them?
fn is_of(directory: &Directory, jurisdiction: JurisdictionNo, revisions: &[AlertRevision]) -> bool {
    let Some(AlertRevision { operator_no, .. }) = revisions.first() else { return false };
    let of_operator = || directory.operators.get(operator_no).map(|known| known.jurisdiction);
    operator_no.nation().or_else(of_operator) == Some(jurisdiction)
}

/// Reads what people of a jurisdiction have decided that says something to a kind of model.
///
/// # Errors
/// [`StoreError`]
pub async fn labels(
    store: &Store,
    directory: &Directory,
    jurisdiction: JurisdictionNo,
    kind: ModelKind,
) -> Result<Labels, StoreError> {
    let mut labels = Labels::default();
    for decision in decisions(&store.journal_events("alert_acted").await?) {
        let Some(is_positive) = label(kind, &decision.rule, decision.is_confirmed) else { continue };
        for alert in decision.alerts {
            let revisions = store.alert(alert).await?;
            if is_of(directory, jurisdiction, &revisions) {
                labels.add_alert(directory, &revisions, is_positive);
            }
        }
    }
    Ok(labels)
}

struct Row {
    at: Ts,
    id: String,
    /// Pseudonym of the player, the same at every operator; empty where a record names none.
    group: String,
    operator: OperatorNo,
    values: Vec<f32>,
    is_positive: bool,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct RowsOrder {
    /// Vectors of records or of players.
    pub kind: ModelKind,
    /// Of whose operators.
    pub jurisdiction: JurisdictionNo,
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
    /// Names of records with a label that were found neither in the span nor as records that have a vector; of players 0.
    pub labels_left_out: u64,
}

/// The vectors of one operator, from its first input on: made by what the operator's actor keeps for its models, at the same
/// moments.
struct Making<'a> {
    order: RowsOrder,
    operator: OperatorNo,
    labels: &'a Labels,
    key: &'a hmac::Key,
    rules: OperatorRules,
    live: LiveFeatures,
    done: HashMap<(MatchKey, Currency), usize>,
    /// Players of records with a label, in the currencies of these.
    wanted: HashSet<(MatchKey, Currency)>,
    /// Players with a label of their own, whose instant is not over.
    named: BTreeMap<MatchKey, OfPlayer>,
    rows: Vec<Row>,
    /// Names of the records that are rows.
    names_found: usize,
}

/// A player's vector as of the newest day of theirs that was over.
struct AsOfDay {
    player: MatchKey,
    currency: Currency,
    values: [f32; player::WIDTH],
}

/// The vectors of a player in each currency they play in.
fn as_of_day(live: &LivePlayers, player: MatchKey) -> Vec<AsOfDay> {
    let mut all = Vec::new();
    for currency in live.due_in(player) {
        let mut values = [0.0; player::WIDTH];
        if live.write(player, currency, &mut values) {
            all.push(AsOfDay { player, currency, values });
        }
    }
    all
}

/// Takes those out of the named ones about whom it was said before the end of a day, with their vectors as of the newest day
/// of theirs that was over when it was said: a score is said of the last instant of its day.
fn said_before(named: &mut BTreeMap<MatchKey, OfPlayer>, live: &LivePlayers, end: Ts) -> Vec<(OfPlayer, Vec<AsOfDay>)> {
    let over: Vec<MatchKey> =
        named.iter().filter(|(_, said)| said.at.plus(1) < end).map(|(player, _)| *player).collect();
    over.iter().filter_map(|player| Some((named.remove(player)?, as_of_day(live, *player)))).collect()
}

impl<'a> Making<'a> {
    fn new(order: RowsOrder, operator: OperatorNo, labels: &'a Labels, key: &'a hmac::Key, zone: TimeZone) -> Self {
        // findings are of no interest: the book is the same whichever rules run
        let none = RuleSet::new("", Vec::new()).unwrap_or_else(|_| RuleSet::standard(""));
        let named = match order.kind {
            ModelKind::PlayerRisk => labels.players_of(operator),
            ModelKind::TransactionRisk => BTreeMap::new(),
        };
        Self {
            order,
            operator,
            labels,
            key,
            rules: OperatorRules::new(operator, zone, &none),
            live: LiveFeatures::default(),
            done: HashMap::new(),
            wanted: HashSet::new(),
            named,
            rows: Vec::new(),
            names_found: 0,
        }
    }

    /// The rules under which the next inputs were judged.
    fn go_by(&mut self, set: &RuleSet) {
        self.live.set_rules(set);
    }

    /// What the record's names say, where rows of its time are wanted.
    fn label(&self, record: &Record) -> Option<(bool, usize)> {
        self.labels.of(self.operator, record).filter(|_| self.is_wanted(record.occurred_at))
    }

    /// Whose vectors are asked for is known before the first of them is made.
    fn look(&mut self, record: &Record) {
        if let (Some(_), Some(player)) = (self.label(record), record.player) {
            self.wanted.insert((player, record.currency));
        }
    }

    fn hear(&mut self, record: &Record, facts: &Facts) {
        let label = self.label(record);
        let is_of_players = self.order.kind == ModelKind::PlayerRisk;
        let is_wanted = record.player.is_some_and(|player| {
            self.wanted.contains(&(player, record.currency)) || self.labels.of_player(self.operator, player).is_some()
        });
        let scoring = Scoring { records: !is_of_players, players: is_of_players && is_wanted };
        let (mut vector, mut there, mut said) = ([0.0; transaction::WIDTH], false, Vec::new());
        let Self { rules, live, named, operator, .. } = self;
        rules.hear_and(&Input::Play { record, facts }, &mut Vec::new(), |heard| {
            if let Some(day) = heard.closed {
                said = said_before(named, &live.players, day.end);
            }
            there = live.hear(*operator, heard, scoring, &mut vector);
        });
        said.iter().for_each(|(of, vectors)| self.players_as_said(*of, vectors));
        match label {
            Some((is_positive, _)) if is_of_players => self.player_before(record, is_positive),
            Some((is_positive, names)) if there => {
                let id = self.pseudonym(b"record", &record.id_digest.to_be_bytes());
                let group = record.player.map(|player| self.group(player)).unwrap_or_default();
                let (at, operator, values) = (record.occurred_at, self.operator, vector.to_vec());
                self.rows.push(Row { at, id, group, operator, values, is_positive });
                self.names_found += names;
            }
            _ => {}
        }
    }

    fn is_wanted(&self, at: Ts) -> bool {
        (self.order.from..self.order.to).contains(&at)
    }

    /// Nothing more is heard: whoever was named since is as of the newest day of theirs that was over.
    fn end(&mut self) {
        let said = said_before(&mut self.named, &self.live.players, Ts(i64::MAX));
        said.iter().for_each(|(of, vectors)| self.players_as_said(*of, vectors));
    }

    fn players_as_said(&mut self, said: OfPlayer, vectors: &[AsOfDay]) {
        if self.is_wanted(said.at) {
            vectors.iter().for_each(|vector| self.player(vector, said.at, said.is_positive));
        }
    }

    /// The player of a record with a label, as of the newest day of theirs that was over when it was heard.
    fn player_before(&mut self, record: &Record, is_positive: bool) {
        let Some(player) = record.player else { return };
        let of_currency = |vector: &AsOfDay| vector.currency == record.currency;
        if let Some(vector) = as_of_day(&self.live.players, player).into_iter().find(of_currency) {
            self.player(&vector, record.occurred_at, is_positive);
        }
    }

    /// A player has one row in a currency, the first; one that is confirmed later is confirmed.
    fn player(&mut self, vector: &AsOfDay, at: Ts, is_positive: bool) {
        let AsOfDay { player, currency, ref values } = *vector;
        if let Some(place) = self.done.get(&(player, currency)) {
            self.rows[*place].is_positive |= is_positive;
            return;
        }
        self.done.insert((player, currency), self.rows.len());
        let id = self.pseudonym(b"player", &[&player.to_bytes()[..], currency.as_str().as_bytes()].concat());
        let (group, operator) = (self.group(player), self.operator);
        self.rows.push(Row { at, id, group, operator, values: values.to_vec(), is_positive });
    }

    /// Of a person at any operator: so that whoever learns holds all their rows out together.
    fn group(&self, player: MatchKey) -> String {
        let mut context = hmac::Context::with_key(self.key);
        context.update(b"group");
        context.update(&player.to_bytes());
        crate::secrets::hex(&context.sign().as_ref()[..16])
    }

    fn pseudonym(&self, what: &[u8], id: &[u8]) -> String {
        let mut context = hmac::Context::with_key(self.key);
        context.update(what);
        context.update(&self.operator.0.to_be_bytes());
        context.update(id);
        crate::secrets::hex(&context.sign().as_ref()[..16])
    }
}

/// Writes the rows of everything that has a label in a jurisdiction, in order of time: an id, whose it is, where and on which day (UTC; no
/// finer, so that no record is found again by its time), the features, `label` (1 = confirmed).
///
/// # Errors
/// [`RowsError`]
pub async fn write(
    store: &Store,
    directory: &Directory,
    order: RowsOrder,
    mut out: impl Write,
) -> Result<RowsSummary, RowsError> {
    let features: &[Feature] = crate::scoring::features_of(order.kind);
    let labels = labels(store, directory, order.jurisdiction, order.kind).await?;
    let secret = crate::secrets::random::<32>().map_err(|error| std::io::Error::other(error.to_string()))?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let (mut rows, mut names_found) = (Vec::new(), 0);
    for operator in labels.operators() {
        let Some(known) = directory.operators.get(&operator) else { continue };
        let Some(jurisdiction) = directory.jurisdictions.get(usize::from(known.jurisdiction.0)) else { continue };
        let zone =
            TimeZone::get(&jurisdiction.time_zone).map_err(|_| RowsError::Zone(jurisdiction.time_zone.clone()))?;
        let mut making = Making::new(order, operator, &labels, &key, zone);
        if order.kind == ModelKind::PlayerRisk {
            replay(store, (directory, known.jurisdiction), &mut making, |making, record, _| making.look(record))
                .await?;
        }
        replay(store, (directory, known.jurisdiction), &mut making, Making::hear).await?;
        making.end();
        names_found += making.names_found;
        rows.append(&mut making.rows);
        if rows.len() > ROWS_MAX {
            return Err(RowsError::TooMany);
        }
    }
    rows.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
    write_rows(directory, features, &rows, &mut out)?;
    let positives = rows.iter().filter(|row| row.is_positive).count() as u64;
    let labels_left_out = match order.kind {
        ModelKind::TransactionRisk => labels.records().saturating_sub(names_found) as u64,
        ModelKind::PlayerRisk => 0,
    };
    Ok(RowsSummary { rows: rows.len() as u64, positives, labels_left_out })
}

/// What is done with each record of an operator.
type Each<'a> = fn(&mut Making<'a>, &Record, &Facts);

async fn replay<'a>(
    store: &Store,
    (directory, jurisdiction): (&Directory, JurisdictionNo),
    making: &mut Making<'a>,
    each: Each<'a>,
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
                hear(making, batch, aside.get(&after), each)?;
            }
            if making.rows.len() > ROWS_MAX {
                return Err(RowsError::TooMany);
            }
        }
    }
}

/// A batch, without what was set aside; none named: all of it.
fn hear<'a>(
    making: &mut Making<'a>,
    batch: &RuleInputBatch,
    aside: Option<&Vec<u32>>,
    each: Each<'a>,
) -> Result<(), RowsError> {
    let Some(packed) = &batch.facts else { return Ok(()) };
    let known = facts::unpack(packed, batch.records.len()).map_err(|_| StoreError::Unreadable("facts of records"))?;
    let is_skipped = |n: u32| aside.is_some_and(|list| list.is_empty() || list.contains(&n));
    for ((n, record), facts) in (0u32..).zip(&batch.records).zip(&known) {
        if !is_skipped(n) {
            each(making, record, facts);
        }
    }
    Ok(())
}

fn write_rows(directory: &Directory, features: &[Feature], rows: &[Row], out: &mut impl Write) -> std::io::Result<()> {
    write!(out, "id,{GROUP},{OPERATOR},{DAY}")?;
    for feature in features {
        write!(out, ",{}", feature.name)?;
    }
    writeln!(out, ",label")?;
    for row in rows {
        let operator = directory.operators.get(&row.operator).map_or("", |known| known.code.as_str());
        let at = row.at.to_string();
        write!(out, "{},{},{operator},{}", row.id, row.group, at.get(..10).unwrap_or_default())?;
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
pub(crate) mod tests;
