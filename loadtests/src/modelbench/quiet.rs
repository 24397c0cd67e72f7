//! `false_alerts_per_operator_day`: a month in which nothing is wrong, and a week in which something is planted a day.
//!
//! A hundred operators push what was played every minute, from the first minute on: a new operator is to be as quiet as
//! an old one. Counted are the detector of the operator's state as it is live, what is unusual of its series, every rule
//! with the models of the planted markets (`scored.rs`), and `feed_silent`, with pushes that come late or get lost. Not run are
//! the checks of integrity. Of three seeds (`MLINZI_QUIET_SEEDS` asks for another number) the
//! worst is given, and the mean beside it.
//! Then, that quiet is not bought with deafness, each operator has an outage, drop or rise every second day for a week, of
//! which what `robust_deviation` sees is counted: `series_unusual` has measures of its own (`odd.rs`).

use super::feeds::Feed;
use super::intake::{Intake, Known, number};
use super::scored::{Models, Scored};
use super::{asked, planted};
use crate::report::{Report, say};
use crate::simulator::dice::Dice;
use crate::simulator::quiet;
use crate::simulator::record::Sent;
use crate::simulator::world::{Output, World};
use actors::market::{PARAMS_VERSION, SeriesWatch};
use anyhow::Context;
use engine::operator_state::{Closed, OperatorInput, OperatorState};
use engine::rules::finding::Finding;
use engine::rules::input::{Clock, Input};
use engine::rules::nation::NationRules;
use engine::rules::ruleset::RuleSet;
use engine::rules::run::OperatorRules;
use jiff::tz::TimeZone;
use models::alert::{AlertRevision, Metric, RevisionKind, Window};
use models::feed::SourceClock;
use models::jurisdiction::JurisdictionNo;
use models::record::{Record, RecordKind};
use models::series::SeriesScored;
use models::ts::{DAY, HOUR, MINUTE, SECOND, Ts};
use std::collections::BTreeMap;
use std::sync::Arc;

const OPERATORS: usize = 100;
const QUIET_DAYS: i64 = 30;
const PLANTED_DAYS: i64 = 7;
/// The first seed, how many there are where nobody asks for another number, and how many there may be.
const SEED: u64 = 11;
const SEEDS: u64 = 3;
const SEEDS_MAX: u64 = 50;
/// Monday, 2 March 2026, 00:00 in Nairobi.
const BEGIN: Ts = Ts(1_772_398_800_000_000);

/// What is planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Nothing comes.
    Outage,
    /// Half of it comes.
    Half,
    /// So many times as many bets.
    Volume(i64),
    /// Every amount is so many times as large.
    Amounts(i64),
    /// Everything that is won is paid so many times.
    Payouts(i64),
}

impl Kind {
    fn words(self) -> String {
        match self {
            Self::Outage => "nothing comes".to_owned(),
            Self::Half => "half of it comes".to_owned(),
            Self::Volume(n) => format!("{n} times as many bets"),
            Self::Amounts(n) => format!("{n} times the amounts"),
            Self::Payouts(n) => format!("{n} times the payouts"),
        }
    }

    /// Would this revision be an answer to it?
    fn is_seen_by(self, revision: &AlertRevision) -> bool {
        let (metric, score) = (revision.subject.metric, revision.evidence.score_milli);
        match self {
            Self::Outage | Self::Half => score < 0 && metric != Metric::Hold,
            Self::Volume(_) => score > 0 && metric != Metric::Hold,
            Self::Amounts(_) => score > 0 && matches!(metric, Metric::Stakes | Metric::Payouts),
            Self::Payouts(_) => match metric {
                Metric::Payouts => score > 0,
                Metric::Hold | Metric::GrossGamingRevenue => score < 0,
                _ => false,
            },
        }
    }
}

/// What is planted, and for how long.
const PLANS: [(Kind, i64); 10] = [
    (Kind::Outage, 30 * MINUTE),
    (Kind::Outage, 3 * HOUR),
    (Kind::Outage, 12 * HOUR),
    (Kind::Half, 3 * HOUR),
    (Kind::Half, 24 * HOUR),
    (Kind::Volume(5), 30 * MINUTE),
    (Kind::Volume(4), 3 * HOUR),
    (Kind::Amounts(10), HOUR),
    (Kind::Amounts(4), 6 * HOUR),
    (Kind::Payouts(3), 24 * HOUR),
];

struct Planted {
    kind: Kind,
    length: i64,
    window: Window,
    /// Records that would have come.
    records: u64,
    is_seen: bool,
}

impl Planted {
    /// What becomes of a record.
    fn change(&mut self, record: Record, out: &mut Vec<Record>) {
        if !(self.window.start..self.window.end).contains(&record.occurred_at) {
            out.push(record);
            return;
        }
        self.records += 1;
        let times = |n: i64| Record { amount_minor: record.amount_minor * n, ..record.clone() };
        match self.kind {
            Kind::Outage => {}
            Kind::Half if record.id_digest.is_multiple_of(2) => {}
            Kind::Volume(n) => out.extend((0..n).map(|copy| Record {
                record_id: format!("{}-{copy}", record.record_id),
                player: record.player.map(|key| models::match_key::MatchKey(key.0 ^ copy as u128)),
                ..record.clone()
            })),
            Kind::Amounts(n) => out.push(times(n)),
            Kind::Payouts(n) if record.kind == RecordKind::Payout || record.kind == RecordKind::Redemption => {
                out.push(times(n));
            }
            Kind::Half | Kind::Payouts(_) => out.push(record),
        }
    }
}

/// An operator as the engine knows it.
struct Desk {
    state: OperatorState,
    watch: SeriesWatch,
    rules: OperatorRules,
    feed: Feed,
    seq: i64,
    planted: Vec<Planted>,
}

impl Desk {
    /// Hours and days are over: what is unusual of their series, as the rules hear it.
    fn watch(&mut self, closed: &[Closed], at: Ts, findings: &mut Vec<Finding>) {
        let mut scores = self.watch.hear(closed, at, &[]).scores;
        if scores.is_empty() {
            return;
        }
        for score in &mut scores {
            let series = score.series;
            score.told = self.state.told_already(series.currency, series.granularity, score.window);
        }
        let scored = SeriesScored { operator_seq: self.seq, at, params_version: PARAMS_VERSION, scores };
        self.rules.hear(&Input::Series(&scored), findings);
    }
}

/// Alerts by what raised them.
#[derive(Default)]
struct Counts(BTreeMap<String, u64>);

impl Counts {
    fn of_detector(&mut self, revision: &AlertRevision) {
        let subject = &revision.subject;
        let direction = if revision.evidence.score_milli > 0 { "above" } else { "below" };
        let name =
            format!("{} {} {} {direction}", revision.rule, subject.granularity.as_str(), subject.metric.as_str());
        *self.0.entry(name).or_default() += 1;
    }

    fn of_rule(&mut self, finding: &Finding) {
        *self.0.entry(finding.rule.to_owned()).or_default() += 1;
    }

    fn of_silence(&mut self, revision: &AlertRevision) {
        *self.0.entry(revision.rule.clone()).or_default() += 1;
    }

    fn sum(&self) -> u64 {
        self.0.values().sum()
    }
}

struct Market<'a> {
    intake: Intake<'a>,
    known: Known,
    desks: Vec<Desk>,
    nation: NationRules,
    scored: Scored<'a>,
    codes: Vec<String>,
    records: u64,
    quiet: Counts,
    by_day: Vec<u64>,
    other: u64,
}

impl Market<'_> {
    /// A minute of an operator: what came in it, and the clock.
    fn minute(&mut self, no: usize, sent: &[Sent], start: Ts) -> anyhow::Result<()> {
        let end = start.plus(MINUTE);
        let mut records = Vec::with_capacity(sent.len());
        let desk = &mut self.desks[no];
        let mut findings = Vec::new();
        for one in sent {
            let record = self.intake.record(one)?;
            let facts = self.known.facts(&self.codes[no], one);
            let is_document = record.kind.is_document();
            let input = match is_document {
                true => Input::Document { record: &record },
                false => Input::Play { record: &record, facts: &facts },
            };
            self.scored.hear((no, &mut desk.rules, &mut self.nation), &input, &mut findings);
            self.records += 1;
            if !is_document {
                match desk.planted.iter_mut().find(|p| (p.window.start..p.window.end).contains(&record.occurred_at)) {
                    Some(planted) => planted.change(record, &mut records),
                    None => records.push(record),
                }
            }
        }
        if start.0 % HOUR == 0 {
            let tick = Input::Tick { at: end, clock: Clock::Records };
            self.scored.hear((no, &mut desk.rules, &mut self.nation), &tick, &mut findings);
        }
        desk.seq += 1;
        let (operator_seq, clock_at) = (desk.seq, end.plus(3 * SECOND));
        let input = match records.is_empty() {
            true => OperatorInput::Tick { operator_seq, at: clock_at },
            false => OperatorInput::Batch { operator_seq, clock_at, clock: SourceClock::Wall, records: &records },
        };
        let effects = desk.state.apply(input);
        desk.watch(&effects.closed, clock_at, &mut findings);
        let day = (start.0 - BEGIN.0) / DAY;
        let silence = desk.feed.advance(end, false).filter(|said| said.kind == RevisionKind::Raised);
        if let Some(silence) = silence.filter(|_| day < QUIET_DAYS) {
            self.quiet.of_silence(&silence);
            self.by_day[day as usize] += 1;
        }
        for revision in effects.revisions.iter().filter(|r| r.kind == RevisionKind::Raised) {
            if day < QUIET_DAYS {
                self.quiet.of_detector(revision);
                self.by_day[day as usize] += 1;
                continue;
            }
            let mut is_mine = false;
            for planted in &mut desk.planted {
                let overlaps = revision.window.start < planted.window.end && planted.window.start < revision.window.end;
                is_mine |= overlaps;
                planted.is_seen |= overlaps && planted.kind.is_seen_by(revision);
            }
            self.other += u64::from(!is_mine);
        }
        for finding in findings.iter().filter(|f| f.kind == RevisionKind::Raised && day < QUIET_DAYS) {
            self.quiet.of_rule(finding);
            self.by_day[day as usize] += 1;
        }
        Ok(())
    }
}

/// One thing a day for each operator, by turns, at an hour at which people are awake.
fn plans(no: usize, seed: u64) -> Vec<Planted> {
    let mut dice = Dice::new(seed, "planted", no as u64);
    let plan = |day: i64| {
        let (kind, length) = PLANS[(no + day as usize * 3) % PLANS.len()];
        let minute = if length >= 12 * HOUR { 8 * 60 } else { dice.between(10 * 60, 20 * 60) };
        let start = BEGIN.plus((QUIET_DAYS + day) * DAY + minute * MINUTE);
        Planted { kind, length, window: Window { start, end: start.plus(length) }, records: 0, is_seen: false }
    };
    // a day between two of them
    (0..PLANTED_DAYS).step_by(2).map(plan).collect()
}

/// What came of a seed.
struct Outcome {
    seed: u64,
    /// Alerts an operator and quiet day.
    rate: f64,
    /// Records an operator and day.
    volume: f64,
    /// Planted that are large, and the share of them that was seen.
    large: usize,
    seen: f64,
}

/// Runs the market of each seed, says what was raised, and reports the worst.
///
/// # Errors
/// The engine refuses what the simulator says, or so many seeds are not there.
pub fn run(report: &mut Report) -> anyhow::Result<()> {
    let seeds = asked("MLINZI_QUIET_SEEDS", SEEDS, 1..=SEEDS_MAX)?;
    let models = planted::learnt()?;
    let outcomes = (SEED..SEED + seeds).map(|seed| outcome(seed, &models)).collect::<anyhow::Result<Vec<Outcome>>>()?;
    let worst = |by: fn(&Outcome) -> f64| outcomes.iter().max_by(|one, other| by(one).total_cmp(&by(other)));
    let loudest = worst(|of| of.rate).context("a seed")?;
    let deafest = worst(|of| -of.seen).context("a seed")?;
    let mean = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>() / outcomes.len().max(1) as f64;
    outcomes.iter().for_each(|of| {
        say(&format!(
            "  seed {}: {:.3} alerts an operator and day, {:.3} of the large ones seen",
            of.seed, of.rate, of.seen
        ));
    });
    report.add(
        "false_alerts_per_operator_day",
        loudest.rate,
        "1/day",
        &format!(
            "≤ 0.2; {OPERATORS} operators, {QUIET_DAYS} quiet days from a cold start, {:.0} records an operator and day, a push a minute; the worst of {seeds} seeds ({}), their mean {:.3}; models learnt from planted markets; without integrity",
            loudest.volume,
            loudest.seed,
            mean(|of| of.rate)
        ),
    )?;
    report.add(
        "drops_and_spikes_seen",
        deafest.seen,
        "ratio",
        &format!(
            "of {} planted that touch {LARGE} records or more, by robust_deviation alone, a week behind the quiet month; the worst of {seeds} seeds ({}), their mean {:.3}",
            deafest.large,
            deafest.seed,
            mean(|of| of.seen)
        ),
    )
}

fn outcome(seed: u64, models: &Models) -> anyhow::Result<Outcome> {
    let scenario = Arc::new(quiet::market(OPERATORS, seed));
    scenario.check()?;
    let zone = TimeZone::get("Africa/Nairobi")?;
    let set = RuleSet::standard("KE");
    let desk = |(no, operator): (usize, &crate::simulator::scenario::Operator)| Desk {
        state: OperatorState::new(number(no), operator.code.clone(), zone.clone()),
        watch: SeriesWatch::default(),
        rules: OperatorRules::new(number(no), zone.clone(), &set),
        feed: Feed::new((no, operator.code.as_str()), 1, seed, BEGIN),
        seq: 0,
        planted: plans(no, seed),
    };
    let mut market = Market {
        intake: Intake::new(&scenario)?,
        known: Known::default(),
        desks: scenario.operators.iter().enumerate().map(desk).collect(),
        nation: NationRules::new(JurisdictionNo(0), zone.clone(), &set),
        scored: Scored::new(OPERATORS, &set, Some(models)),
        codes: scenario.operators.iter().map(|operator| operator.code.clone()).collect(),
        records: 0,
        quiet: Counts::default(),
        by_day: vec![0; QUIET_DAYS as usize],
        other: 0,
    };
    let mut world = World::new(&scenario, seed, BEGIN, BEGIN);
    for hour in 0..(QUIET_DAYS + PLANTED_DAYS) * 24 {
        let from = BEGIN.plus(hour * HOUR);
        for minute in 0..60 {
            let start = from.plus(minute * MINUTE);
            let mut sent: Vec<Vec<Sent>> = vec![Vec::new(); OPERATORS];
            for output in world.advance(start.plus(MINUTE)) {
                match output {
                    Output::Ask(ask) => market.known.hear(&ask),
                    Output::Record(one) => sent[one.operator].push(*one),
                    Output::Truth(_) => {}
                }
            }
            for (no, of) in sent.iter().enumerate() {
                market.minute(no, of, start)?;
            }
        }
    }
    say(&format!("seed {seed}:"));
    tell(&market);
    let rate = market.quiet.sum() as f64 / (OPERATORS as f64 * QUIET_DAYS as f64);
    let volume = market.records as f64 / (OPERATORS as f64 * (QUIET_DAYS + PLANTED_DAYS) as f64);
    let all: Vec<&Planted> = market.desks.iter().flat_map(|desk| &desk.planted).collect();
    let large: Vec<&&Planted> = all.iter().filter(|planted| planted.records >= LARGE).collect();
    let seen = large.iter().filter(|planted| planted.is_seen).count() as f64;
    Ok(Outcome { seed, rate, volume, large: large.len(), seen: seen / large.len().max(1) as f64 })
}

/// Records that something planted touches from which on it should be seen.
const LARGE: u64 = 100;

fn tell(market: &Market<'_>) {
    say("raised in the quiet month, by what raised it:");
    market.quiet.0.iter().for_each(|(name, count)| say(&format!("  {count:>7} {name}")));
    say(&format!("  by day: {:?}", market.by_day));
    say(&format!("beside what was planted in the week behind it: {}", market.other));
    say("seen, of what was planted (by records that it touches):");
    say(&format!("  {:<24} {:>6}  {:>9} {:>9} {:>9}", "", "hours", "< 30", "30 to 99", ">= 100"));
    for (kind, length) in PLANS {
        let mut cells = String::new();
        for (low, high) in [(0, 30), (30, LARGE), (LARGE, u64::MAX)] {
            let of = market.desks.iter().flat_map(|desk| &desk.planted);
            let of = of.filter(|p| (p.kind, p.length) == (kind, length) && (low..high).contains(&p.records));
            let (seen, all) = of.fold((0, 0), |(seen, all), p| (seen + u32::from(p.is_seen), all + 1));
            cells += &format!(" {:>9}", format!("{seen}/{all}"));
        }
        say(&format!("  {:<24} {:>6.1} {cells}", kind.words(), length as f64 / HOUR as f64));
    }
}
