//! Models as they are live beside the rules: histories of records and of players, scores, and the rules that hear them.
//!
//! They are learnt inside the measure, from markets of seeds that are judged nowhere, by the code of `mlinzi model train`:
//! a table with an id first and the label last. Labels are what the simulator knows to be true of its cases, as people
//! would have confirmed them; nothing of a rule goes into them. A record is one of a case of laundering or is not; a player
//! at the end of a day has begun to lose control or has not.

use super::intake::number;
use crate::report::say;
use crate::simulator::scenario::Scenario;
use crate::simulator::truth::{About, Case, Truth};
use actors::scoring::Scorer;
use engine::features::live::{LiveFeatures, Scoring};
use engine::features::live_players::LivePlayers;
use engine::features::{player, transaction};
use engine::rules::finding::Finding;
use engine::rules::input::Input;
use engine::rules::nation::NationRules;
use engine::rules::ruleset::RuleSet;
use engine::rules::run::OperatorRules;
use ml::tabular::artefact::Kind;
use ml::tabular::batch;
use models::match_key::MatchKey;
use models::money::Currency;
use models::record::Record;
use models::score::{NAMED_FROM_PPM, PLAYERS_MAX, RiskyRecord, ScoredPlayer};
use models::ts::{DAY, HOUR, Ts};
use std::collections::BTreeMap;

/// The rules that hear models.
pub const RECORDS: &str = "risky_transaction";
pub const PLAYERS: &str = "player_at_risk";
const ACROSS: &str = "player_at_risk_across_operators";
/// What people confirm of records: cases that were planted for one of these.
const LAUNDERING: [&str; 5] =
    ["rapid_in_out", "structured_deposits", "payout_elsewhere", "shared_payout_account", "shared_device"];
/// Whoever began to lose control later than so long before the end has shown too little of it to be a case.
const SHOWN: i64 = 3 * DAY;
/// So long a day waits for what comes late, before players are scored across operators.
const SETTLES: i64 = HOUR;
/// One of so many records is learnt from: of both labels alike, or probabilities would be other ones.
const THIN: u64 = 6;
/// Of what is promoted here.
const VERSION: u32 = 1;
const ON: Scoring = Scoring { records: true, players: true };

/// A model of each kind that hears what goes on.
pub struct Models {
    records: Scorer,
    players: Scorer,
}

impl Models {
    /// Learns both from tables.
    ///
    /// # Errors
    /// Nothing can be learnt from them: too few rows, or rows of one label alone.
    pub fn learn(rows: &Rows) -> anyhow::Result<Self> {
        let players: Vec<&str> = player::FEATURES.iter().map(|feature| feature.name).collect();
        Ok(Self {
            records: scorer(Kind::TransactionRisk, &transaction::names(), &rows.records)?,
            players: scorer(Kind::PlayerRisk, &players, &rows.players)?,
        })
    }

    fn risky(&self, record: &Record, vector: &[f32]) -> Option<RiskyRecord> {
        let score_ppm = self.records.score(vector);
        (score_ppm >= NAMED_FROM_PPM).then(|| RiskyRecord {
            record_id: record.record_id.clone(),
            player: record.player,
            sold_at: if record.player.is_none() { transaction::sold_at(record) } else { None },
            at: record.occurred_at,
            score_ppm,
            reasons: self.records.reasons(vector),
        })
    }

    fn player(&self, (player, currency): (MatchKey, Currency), vector: &[f32]) -> ScoredPlayer {
        let score_ppm = self.players.score(vector);
        let reasons = if score_ppm >= NAMED_FROM_PPM { self.players.reasons(vector) } else { Vec::new() };
        ScoredPlayer { player, currency, score_ppm, reasons }
    }
}

fn scorer(kind: Kind, names: &[&str], rows: &[Row]) -> anyhow::Result<Scorer> {
    let artefact = batch::train(kind, table(names, rows).as_bytes(), None, 1)?;
    let right = rows.iter().filter(|row| row.label).count();
    let (trees, auc) = (artefact.rounds, artefact.metrics.auc);
    say(&format!(
        "  learnt {kind:?} from {} rows, {right} of them cases: {trees} trees, AUC {auc:.3} held out",
        rows.len()
    ));
    Ok(Scorer::new(VERSION, artefact)?)
}

/// As `mlinzi model train` reads it.
fn table(names: &[&str], rows: &[Row]) -> String {
    let head = format!("id,{},label\n", names.join(","));
    let line = |(n, row): (usize, &Row)| format!("{n}{},{}\n", row.cells, u8::from(row.label));
    rows.iter().enumerate().map(line).fold(head, |text, line| text + &line)
}

/// A vector that may be learnt from.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The key of whose it is.
    pub player: u128,
    /// When.
    pub at: Ts,
    /// Its values, each behind a comma; what is not known is empty.
    cells: String,
    /// Is it one of a case?
    pub label: bool,
}

impl Row {
    fn new(player: MatchKey, at: Ts, vector: &[f32]) -> Self {
        let cell = |value: &f32| if value.is_nan() { ",".to_owned() } else { format!(",{}", f64::from(*value)) };
        Self { player: player.0, at, cells: vector.iter().map(cell).collect(), label: false }
    }
}

/// Rows of both kinds.
#[derive(Debug, Default)]
pub struct Rows {
    /// Of records.
    pub records: Vec<Row>,
    /// Of players at the end of a day.
    pub players: Vec<Row>,
}

impl Rows {
    /// The same and others.
    pub fn extend(&mut self, other: Self) {
        self.records.extend(other.records);
        self.players.extend(other.players);
    }
}

/// What a market's models keep: of each operator, and of its players across operators.
pub struct Scored<'a> {
    /// None: rows are gathered to learn from.
    models: Option<&'a Models>,
    operators: Vec<LiveFeatures>,
    across: LivePlayers,
    /// What was gathered.
    pub rows: Rows,
}

impl<'a> Scored<'a> {
    /// Of so many operators under these rules.
    pub fn new(operators: usize, set: &RuleSet, models: Option<&'a Models>) -> Self {
        let (mut live, mut across) = (LiveFeatures::default(), LivePlayers::across_operators());
        live.set_rules(set);
        across.set_rules(set);
        Self { models, operators: vec![live; operators], across, rows: Rows::default() }
    }

    /// Lets the rules of an operator and of the jurisdiction hear an input, and what models say of it.
    pub fn hear(
        &mut self,
        (no, rules, nation): (usize, &mut OperatorRules, &mut NationRules),
        input: &Input<'_>,
        findings: &mut Vec<Finding>,
    ) {
        let (operator, live) = (number(no), &mut self.operators[no]);
        let (mut there, mut vector) = (false, [0.0; transaction::WIDTH]);
        rules.hear_and(input, findings, |heard| there = live.hear(operator, heard, ON, &mut vector));
        nation.hear(operator, input, findings);
        match *input {
            Input::Play { record, facts } => {
                if there {
                    self.record(record, &vector, rules, findings);
                }
                if let Some(player) = record.player.filter(|_| facts.is_identified) {
                    let spans = nation.spans(record.occurred_at);
                    let places = nation.places(player, record.currency);
                    self.across.hear_across((operator, places), record, &spans, true);
                }
            }
            Input::Tick { at, .. } => {
                let day = nation.spans(at.plus(-SETTLES)).day;
                self.across.settled(day);
                // rows across operators are scored by a model of rows of one
                for (as_of, scored) in due(&mut self.across, self.models, &mut Vec::new()) {
                    nation.hear(operator, &said(&scored, as_of), findings);
                }
            }
            _ => {}
        }
        let players = &mut self.operators[no].players;
        for (as_of, scored) in due(players, self.models, &mut self.rows.players) {
            rules.hear(&said(&scored, as_of), findings);
        }
    }

    fn record(&mut self, record: &Record, vector: &[f32], rules: &mut OperatorRules, findings: &mut Vec<Finding>) {
        match (self.models, record.player) {
            (Some(models), _) => {
                if let Some(scored) = models.risky(record, vector) {
                    rules.hear(&Input::RecordScored { scored: &scored, version: VERSION }, findings);
                }
            }
            (None, Some(player)) if record.id_digest.is_multiple_of(THIN) => {
                self.rows.records.push(Row::new(player, record.occurred_at, vector));
            }
            (None, _) => {}
        }
    }
}

fn said(scored: &ScoredPlayer, as_of: Ts) -> Input<'_> {
    Input::PlayerScored { scored, version: VERSION, as_of }
}

/// Scores whoever is due; without models their vectors are gathered.
fn due(live: &mut LivePlayers, models: Option<&Models>, rows: &mut Vec<Row>) -> Vec<(Ts, ScoredPlayer)> {
    let (mut scored, mut vector) = (Vec::new(), [0.0; player::WIDTH]);
    while let Some((as_of, who)) = live.due(PLAYERS_MAX) {
        for (player, currency) in who {
            if live.write(player, currency, &mut vector) {
                match models {
                    Some(models) => scored.push((as_of, models.player((player, currency), &vector))),
                    None => rows.push(Row::new(player, as_of, &vector)),
                }
            }
            live.no_longer_due(player, currency, as_of);
        }
    }
    scored
}

/// Cases of the rule about records: what people would have confirmed, each once.
pub fn laundering<'c>(cases: impl Iterator<Item = &'c Case>) -> Vec<Case> {
    let mut found: Vec<Case> = Vec::new();
    for case in cases {
        let is_one = case.conditions.first().is_some_and(|condition| LAUNDERING.contains(condition));
        let is_of_players = case.about.iter().any(|about| matches!(about, About::Phone(_)));
        let is_same = |other: &Case| (&other.about, other.from, other.to) == (&case.about, case.from, case.to);
        if is_one && is_of_players && !found.iter().any(is_same) {
            found.push(Case { conditions: vec![RECORDS], ..case.clone() });
        }
    }
    found
}

/// Cases of the rules about players: whoever loses control at an operator, and who does at two or more.
pub fn at_risk(scenario: &Scenario, phones: &BTreeMap<u32, String>, truths: &[Truth], end: Ts) -> Vec<Case> {
    let mut begun: BTreeMap<u32, BTreeMap<usize, Ts>> = BTreeMap::new();
    for truth in truths {
        let Truth::Episode { marks, players, operators, from, .. } = truth else { continue };
        for player in players.iter().filter(|_| marks.contains(&"at_risk_session")) {
            for no in operators.iter().filter_map(|code| scenario.operator(code)) {
                let first = begun.entry(*player).or_default().entry(no).or_insert(*from);
                *first = (*first).min(*from);
            }
        }
    }
    let mut cases = Vec::new();
    for (player, places) in &begun {
        let Some(phone) = phones.get(player) else { continue };
        let case = |rule, operators: Vec<usize>, from| Case {
            what: "somebody loses control",
            conditions: vec![rule],
            about: vec![About::Phone(phone.clone())],
            operators,
            from,
            to: end,
        };
        cases.extend(places.iter().map(|(no, from)| case(PLAYERS, vec![*no], *from)));
        // from the second operator on it is one of several
        let mut froms: Vec<Ts> = places.values().copied().collect();
        froms.sort_unstable();
        cases.extend(froms.get(1).map(|from| case(ACROSS, places.keys().copied().collect(), *from)));
    }
    cases
}

/// Has a case of the rules about players been there long enough to be found?
pub fn has_shown(case: &Case) -> bool {
    case.to.0 - case.from.0 >= SHOWN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(conditions: &[&'static str], about: About, from: i64) -> Case {
        let (from, to) = (Ts(from), Ts(from).plus(DAY));
        Case { what: "a story", conditions: conditions.to_vec(), about: vec![about], operators: vec![0], from, to }
    }

    #[test]
    fn what_people_confirm_is_laundering_of_somebody_once() {
        let phone = |number: &str| About::Phone(number.to_owned());
        let cases = [
            case(&["rapid_in_out"], phone("1"), 5),
            case(&["structured_deposits", "rapid_in_out"], phone("1"), 5),
            case(&["payout_elsewhere"], phone("2"), 5),
            case(&["shared_device"], About::Device("d".to_owned()), 5),
            case(&["excluded_play", "rapid_in_out"], phone("3"), 5),
            case(&[], phone("4"), 5),
        ];
        let found = laundering(cases.iter());
        let about: Vec<&About> = found.iter().flat_map(|case| &case.about).collect();
        assert_eq!(about, [&phone("1"), &phone("2")]);
        assert!(found.iter().all(|case| case.conditions == [RECORDS]));
    }

    #[test]
    fn who_loses_control_is_a_case_at_each_operator_and_across_from_the_second_on() {
        let scenario = crate::simulator::quiet::market(3, 1);
        let session = |player: u32, operator: &str, at: i64, mark: &'static str| Truth::Episode {
            kind: crate::simulator::truth::Kind::AtRisk,
            marks: vec![mark],
            players: vec![player],
            operators: vec![operator.to_owned()],
            from: Ts(at),
            to: Ts(at + 1),
            records: Vec::new(),
        };
        let truths = [
            session(1, "operator-0", 30, "at_risk_session"),
            session(1, "operator-0", 10, "at_risk_session"),
            session(1, "operator-2", 20, "at_risk_session"),
            session(2, "operator-1", 40, "at_risk_session"),
            session(3, "operator-1", 40, "in_out"),
        ];
        let phones = BTreeMap::from([(1, "1".to_owned()), (2, "2".to_owned()), (3, "3".to_owned())]);
        let end = Ts(40).plus(SHOWN);
        let cases = at_risk(&scenario, &phones, &truths, end);
        let said: Vec<_> = cases.iter().map(|case| (case.conditions[0], case.operators.clone(), case.from.0)).collect();
        let wanted = [(PLAYERS, vec![0], 10), (PLAYERS, vec![2], 20), (ACROSS, vec![0, 2], 20), (PLAYERS, vec![1], 40)];
        assert_eq!(said, wanted);
        assert!(cases.iter().all(has_shown));
        assert!(!has_shown(&Case { from: Ts(41), ..cases[0].clone() }));
    }

    #[test]
    fn a_table_is_what_the_command_reads() {
        let mut row = Row::new(MatchKey(7), Ts(5), &[1.5, f32::NAN]);
        row.label = true;
        let rows = [Row::new(MatchKey(8), Ts(6), &[0.0, 2.0]), row];
        assert_eq!(table(&["a", "b"], &rows), "id,a,b,label\n0,0,2,0\n1,1.5,,1\n");
    }
}
