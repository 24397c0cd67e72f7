//! What it costs to score a record as an operator's actor does: rules' book and rules, the histories of records and of
//! players, the model, the watch on its drift; on one core, in this process.

use crate::Effort;
use crate::node::{Node, scratch};
use crate::report::{Report, say};
use crate::simulator::dice::Dice;
use actors::scoring::Scorer;
use engine::features::live::{LiveFeatures, Scoring};
use engine::features::{player, transaction};
use engine::rules::input::{Facts, Input};
use engine::rules::ruleset::RuleSet;
use engine::rules::run::OperatorRules;
use hdrhistogram::Histogram;
use jiff::tz::TimeZone;
use ml::tabular::artefact::Kind;
use ml::tabular::batch;
use models::ids::OperatorNo;
use models::match_key::MatchKey;
use models::record::{PlayChannel, Product, Record, RecordKind};
use models::ts::{SECOND, Ts};
use std::fmt::Write as _;
use std::hint::black_box;
use std::ops::Range;
use std::time::Instant;

/// 2 March 2026, 00:00 in Nairobi.
const BEGIN: i64 = 1_772_398_800_000_000;
const PLAYERS: i64 = 20_000;

/// A record of somebody; one of fifty players takes out what they have just paid in.
fn record(n: usize, dice: &mut Dice) -> Record {
    let player = dice.between(1, PLAYERS) as u128;
    let is_mule = player.is_multiple_of(50);
    let kind = match (is_mule, dice.between(0, 99)) {
        (true, 0..45) | (false, 0..8) => RecordKind::Deposit,
        (true, 45..90) | (false, 8..12) => RecordKind::Withdrawal,
        (_, roll) if roll % 3 == 0 => RecordKind::Payout,
        _ => RecordKind::Stake,
    };
    let record_id = format!("record-{n}");
    Record {
        id_digest: n as u64,
        record_id,
        kind,
        occurred_at: Ts(BEGIN + n as i64 * SECOND * 2),
        player: Some(MatchKey(player << 40)),
        is_identified: true,
        amount_minor: dice.between(50, 50_000) * if is_mule { 20 } else { 1 },
        balance_after_minor: Some(dice.between(0, 500_000)),
        product: Some(Product::ALL[dice.between(0, 7) as usize]),
        channel: Some(PlayChannel::Online),
        bet_id: Some(format!("bet-{n}")),
        device: Some(MatchKey((player / 3) << 41)),
        account: Some(MatchKey((player / 2) << 42)),
        detail: r#"{"game.id":"g-17","bet.parts":2,"bet.odds":1.85,"bet.live":true,"payment.method":"mobile"}"#
            .to_owned(),
        ..Record::for_tests()
    }
}

struct Live {
    rules: OperatorRules,
    features: LiveFeatures,
}

impl Live {
    fn new(zone: &TimeZone) -> Self {
        Self {
            rules: OperatorRules::new(OperatorNo(1), zone.clone(), &RuleSet::standard("KE")),
            features: LiveFeatures::default(),
        }
    }

    fn hear(&mut self, record: &Record, facts: &Facts, out: &mut [f32; transaction::WIDTH]) -> bool {
        let (mut there, features) = (false, &mut self.features);
        let input = Input::Play { record, facts };
        let scoring = Scoring { records: true, players: true };
        self.rules.hear_and(&input, &mut Vec::new(), |heard| {
            there = features.hear(OperatorNo(1), heard, scoring, out);
        });
        there
    }
}

fn known() -> Facts {
    Facts { is_identified: true, ..Facts::default() }
}

impl Live {
    /// The vectors of records, with labels, as CSV.
    fn table(&mut self, records: Range<usize>, dice: &mut Dice) -> anyhow::Result<String> {
        let (facts, mut out) = (known(), [0.0; transaction::WIDTH]);
        let mut table = format!("id,{},label\n", transaction::names().join(","));
        for n in records {
            let record = record(n, dice);
            if self.hear(&record, &facts, &mut out) {
                write!(table, "{n}")?;
                for value in &out {
                    let cell = if value.is_nan() { String::new() } else { f64::from(*value).to_string() };
                    write!(table, ",{cell}")?;
                }
                let is_mule = record.player.is_some_and(|player| (player.0 >> 40).is_multiple_of(50));
                writeln!(table, ",{}", u8::from(is_mule && dice.percent(90.0)))?;
            }
        }
        Ok(table)
    }
}

/// Vectors of players whose risk one feature says nearly alone, with labels, as CSV.
fn players(rows: Range<usize>, dice: &mut Dice) -> anyhow::Result<String> {
    let names: Vec<&str> = player::FEATURES.iter().map(|feature| feature.name).collect();
    let mut table = format!("id,{},label\n", names.join(","));
    for n in rows {
        write!(table, "{n}")?;
        let mut values = (0..names.len()).map(|_| dice.between(0, 100));
        let first = values.next().unwrap_or(0);
        write!(table, ",{first}")?;
        values.try_for_each(|value| write!(table, ",{value}"))?;
        writeln!(table, ",{}", u8::from((first > 70) != dice.percent(2.0)))?;
    }
    Ok(table)
}

/// Promotes a model of each kind in the store of a node, so that everything is scored from its next start on, or a moment
/// later.
///
/// # Errors
/// Nothing can be learnt, or the node's commands fail.
pub fn promote(node: &Node) -> anyhow::Result<()> {
    let mut dice = Dice::new(6, "promoted", 0);
    let mut live = Live::new(&TimeZone::get("Africa/Nairobi")?);
    let records = [live.table(0..20_000, &mut dice)?, live.table(20_000..26_000, &mut dice)?];
    let players = [players(0..3_000, &mut dice)?, players(3_000..5_000, &mut dice)?];
    let dir = tempfile::tempdir_in(scratch()?)?;
    for (kind, name, [train, test]) in
        [(Kind::TransactionRisk, "transaction_risk", records), (Kind::PlayerRisk, "player_risk", players)]
    {
        let artefact = batch::train(kind, train.as_bytes(), None, 1)?;
        let (document, rows) = (dir.path().join("model.json"), dir.path().join("test.csv"));
        artefact.write(&mut std::fs::File::create(&document)?)?;
        std::fs::write(&rows, test)?;
        let (document, rows) = (document.display().to_string(), rows.display().to_string());
        node.run(&["model", "register", &document, "--test", &rows, "--by", "Wanjiku"])?;
        node.run(&["model", "promote", name, "1", "--by", "Otieno"])?;
    }
    Ok(())
}

/// Cost of a record from rules to score.
pub async fn cost(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let (learnt, measured) = (effort.pick(6_000, 20_000, 20_000), effort.pick(50_000, 400_000, 1_000_000));
    live(learnt, measured, report)
}

/// The same: a model is learnt from so many records, and so many are scored.
///
/// # Errors
/// Nothing can be learnt, or the report cannot be written.
pub fn live(learnt: usize, measured: usize, report: &mut Report) -> anyhow::Result<()> {
    let mut dice = Dice::new(5, "scoring", 0);
    let mut live = Live::new(&TimeZone::get("Africa/Nairobi")?);
    let table = live.table(0..learnt, &mut dice)?;
    let (facts, mut out) = (known(), [0.0; transaction::WIDTH]);
    let artefact = batch::train(Kind::TransactionRisk, table.as_bytes(), None, 1)?;
    say(&format!("  the model has {} trees a booster, AUC {:.3} held out", artefact.rounds, artefact.metrics.auc));
    let scorer = Scorer::new(1, artefact)?;
    let mut watch = scorer.watch(OperatorNo(1));

    let mut whole = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?;
    let (mut hears, mut scores) = (whole.clone(), whole.clone());
    for n in learnt..learnt + measured {
        let record = record(n, &mut dice);
        let start = Instant::now();
        let there = live.hear(&record, &facts, &mut out);
        let heard = start.elapsed();
        if there {
            let score = black_box(scorer.score(black_box(&out)));
            watch.scored(&out, score);
        }
        let done = start.elapsed();
        whole.record(done.as_nanos() as u64)?;
        hears.record(heard.as_nanos() as u64)?;
        scores.record((done - heard).as_nanos() as u64)?;
    }
    let micros = |histogram: &Histogram<u64>, share| histogram.value_at_quantile(share) as f64 / 1_000.0;
    for (name, histogram) in [("rules and features", &hears), ("model and drift", &scores), ("together", &whole)] {
        say(&format!(
            "  {name}: p50 {:.1} µs, p99 {:.1} µs, p99.9 {:.1} µs",
            micros(histogram, 0.5),
            micros(histogram, 0.99),
            micros(histogram, 0.999)
        ));
    }
    // the reasons are asked for only where a score is told of
    let start = Instant::now();
    (0..1_000).for_each(|_| {
        black_box(scorer.reasons(black_box(&out)));
    });
    say(&format!("  reasons in words: {:.1} µs", start.elapsed().as_secs_f64() * 1e3));
    let reference = format!(
        "≤ 100; p99 of {measured} records on one core: all rules, the histories of records and players, the model's probability, drift"
    );
    report.add("score_us", micros(&whole, 0.99), "µs", &reference)
}
