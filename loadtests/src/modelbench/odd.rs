//! Planted cases of `series_unusual`: what becomes of an operator's records for hours or days, heard by the detectors of the
//! product as they are live.
//!
//! Two operators of a quiet market each seed, ten weeks, with its hours, weekdays, matches and paydays. Four weeks nothing
//! is wrong; then every two weeks something is planted: the detectors rest for a week behind an alert, and two cases of one
//! cause are one. Feeds speak all the while, so that no silence hides a drop. Sizes are what a supervisor would want to hear
//! of; they are nobody's parameters. A case is found where the rule raises a finding of a window that touches it; a finding
//! is wrong where its window touches none, nor the day behind one, in which things go back. The rule says what it has to
//! say whether or not `robust_deviation` has said it already (`also_told`): that one is counted beside it.

use super::intake::{Intake, number};
use super::planted::SERIES;
use super::tally::{TOLD, Tally};
use crate::report::say;
use crate::simulator::dice::Dice;
use crate::simulator::quiet;
use crate::simulator::scenario::{Crowd, Scenario};
use crate::simulator::world::{Output, World};
use actors::market::{PARAMS_VERSION, SeriesWatch};
use engine::operator_state::{OperatorInput, OperatorState};
use engine::rules::finding::Mode;
use engine::rules::input::Input;
use engine::rules::ruleset::{RuleSet, RuleVersion};
use engine::rules::run::OperatorRules;
use jiff::tz::TimeZone;
use models::alert::{RevisionKind, Window};
use models::feed::SourceClock;
use models::match_key::MatchKey;
use models::record::{Record, RecordKind};
use models::series::SeriesScored;
use models::ts::{DAY, HOUR, MINUTE, SECOND, Ts};
use serde_json::json;
use std::sync::Arc;

/// Monday, 2 March 2026, 00:00 in Nairobi.
const BEGIN: Ts = Ts(1_772_398_800_000_000);
const OPERATORS: usize = 2;
/// Mixes of products of the quiet market, of which each seed takes two neighbours.
const MIXES: usize = 8;
/// Casual and heavy players of both operators, as many an operator as in the quiet month.
const PEOPLE: (u32, u32) = (92, 14);
const QUIET_DAYS: i64 = 28;
const BETWEEN_DAYS: i64 = 14;
const EPISODES: usize = 3;
const DAYS: i64 = QUIET_DAYS + BETWEEN_DAYS * EPISODES as i64;
/// Between two pushes: an operator who is not heard of for longer than a minute and a half is not watched meanwhile.
const PUSH: i64 = MINUTE;
/// An operator with fewer records a day is a small one.
const SMALL: i64 = 600;

/// What is planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// So many of a hundred records come: none, some, each several times.
    Volume(u64),
    /// Every amount is so many times as large.
    Amounts(i64),
    /// Everything that is won is paid so many times.
    Payouts(i64),
    /// The first hour is sent again every hour.
    Stuck,
}

struct Plan {
    kind: Kind,
    hours: i64,
    /// It counts for the recall of the rule; the others make the curve beside it.
    is_promised: bool,
}

const fn plan(kind: Kind, hours: i64) -> Plan {
    Plan { kind, hours, is_promised: false }
}

const fn promised(kind: Kind, hours: i64) -> Plan {
    Plan { kind, hours, is_promised: true }
}

static PLANS: [Plan; 20] = [
    plan(Kind::Volume(0), 6),
    promised(Kind::Volume(0), 24),
    plan(Kind::Volume(25), 24),
    promised(Kind::Volume(25), 144),
    plan(Kind::Volume(50), 24),
    plan(Kind::Volume(50), 144),
    plan(Kind::Volume(150), 144),
    plan(Kind::Volume(200), 24),
    plan(Kind::Volume(200), 144),
    plan(Kind::Volume(300), 6),
    promised(Kind::Volume(300), 144),
    promised(Kind::Volume(500), 6),
    plan(Kind::Amounts(2), 24),
    plan(Kind::Amounts(3), 24),
    promised(Kind::Amounts(5), 24),
    plan(Kind::Amounts(10), 6),
    plan(Kind::Payouts(2), 24),
    promised(Kind::Payouts(3), 24),
    plan(Kind::Stuck, 24),
    promised(Kind::Stuck, 72),
];

impl Plan {
    fn words(&self) -> String {
        let what = match self.kind {
            Kind::Volume(0) => "nothing comes".to_owned(),
            Kind::Volume(percent) => format!("{percent} % of the records"),
            Kind::Amounts(times) => format!("{times} times the amounts"),
            Kind::Payouts(times) => format!("{times} times the payouts"),
            Kind::Stuck => "the same hour again".to_owned(),
        };
        format!("{what}, {} h", self.hours)
    }
}

struct Episode {
    /// Its place in [`PLANS`].
    plan: usize,
    window: Window,
    /// Records that would have come.
    records: i64,
    /// The hour that is sent again.
    kept: Vec<Record>,
}

impl Episode {
    fn new(plan: usize, start: Ts) -> Self {
        let window = Window { start, end: start.plus(PLANS[plan].hours * HOUR) };
        Self { plan, window, records: 0, kept: Vec::new() }
    }

    fn is_at(&self, at: Ts) -> bool {
        (self.window.start..self.window.end).contains(&at)
    }

    fn touches(&self, window: Window) -> bool {
        window.start < self.window.end && self.window.start < window.end
    }

    /// The same with the day behind it.
    fn explains(&self, window: Window) -> bool {
        window.start < self.window.end.plus(DAY) && self.window.start < window.end
    }

    fn is_small(&self) -> bool {
        self.records * 24 < SMALL * PLANS[self.plan].hours
    }

    /// What becomes of a record of its time.
    fn change(&mut self, record: Record, out: &mut Vec<Record>) {
        self.records += 1;
        let is_won = matches!(record.kind, RecordKind::Payout | RecordKind::Redemption);
        let times = |record: Record, n: i64| Record { amount_minor: record.amount_minor * n, ..record };
        match PLANS[self.plan].kind {
            Kind::Volume(percent) => {
                let copies = percent / 100 + u64::from(record.id_digest % 100 < percent % 100);
                out.extend((0..copies).map(|copy| copied(&record, copy)));
            }
            Kind::Amounts(n) => out.push(times(record, n)),
            Kind::Payouts(n) if is_won => out.push(times(record, n)),
            Kind::Payouts(_) => out.push(record),
            Kind::Stuck if record.occurred_at < self.window.start.plus(HOUR) => {
                self.kept.push(record.clone());
                out.push(record);
            }
            Kind::Stuck => {}
        }
    }

    /// What is sent again in a push's time.
    fn send_again(&self, from: Ts, out: &mut Vec<Record>) {
        let hours = (from.0 - self.window.start.0).div_euclid(HOUR);
        if hours < 1 || !self.is_at(from) {
            return;
        }
        let moved = |record: &Record| Record {
            occurred_at: record.occurred_at.plus(hours * HOUR),
            record_id: format!("{}-{hours}", record.record_id),
            id_digest: record.id_digest.wrapping_add(hours.unsigned_abs()),
            ..record.clone()
        };
        let again = self.kept.iter().map(moved);
        out.extend(again.filter(|record| (from..from.plus(PUSH)).contains(&record.occurred_at)));
    }
}

/// A copy of a record, of somebody else; the first one is it.
fn copied(record: &Record, copy: u64) -> Record {
    if copy == 0 {
        return record.clone();
    }
    Record {
        record_id: format!("{}-{copy}", record.record_id),
        id_digest: record.id_digest.wrapping_add(copy),
        player: record.player.map(|key| MatchKey(key.0 ^ u128::from(copy))),
        ..record.clone()
    }
}

/// What is planted at an operator of a seed: every plan as often as any other over ten seeds.
fn episodes(seed: u64, no: usize) -> Vec<Episode> {
    let mut dice = Dice::new(seed, "odd series", no as u64);
    let episode = |n: usize| {
        let turn = (seed as usize * OPERATORS + no) * EPISODES + n;
        let plan = (turn * 7 + seed as usize / 10 * 3) % PLANS.len();
        // what is short falls into hours in which people are awake
        let hour = if PLANS[plan].hours < 24 { dice.between(9, 15) } else { dice.between(0, 23) };
        let day = QUIET_DAYS + n as i64 * BETWEEN_DAYS;
        Episode::new(plan, BEGIN.plus(day * DAY + hour * HOUR))
    };
    (0..EPISODES).map(episode).collect()
}

/// Two operators of a quiet market.
fn scenario(seed: u64) -> anyhow::Result<Scenario> {
    let mut market = quiet::market(MIXES, seed);
    let first = seed as usize * OPERATORS % MIXES;
    market.operators = market.operators.drain(first..first + OPERATORS).collect();
    let set = |crowd: &mut Option<Crowd>, count| crowd.iter_mut().for_each(|crowd| crowd.count = count);
    set(&mut market.players.casual, PEOPLE.0);
    set(&mut market.players.heavy, PEOPLE.1);
    market.check()?;
    Ok(market)
}

fn rules() -> anyhow::Result<RuleSet> {
    let version = RuleVersion {
        rule: SERIES.to_owned(),
        version: 1,
        jurisdiction: "KE".to_owned(),
        effective_from: Ts(0),
        effective_to: None,
        mode: Mode::Live,
        params: json!({"also_told": true}),
    };
    Ok(RuleSet::new("KE", vec![version])?)
}

/// A finding as it was raised.
struct Raised {
    window: Window,
    at: Ts,
    reason: String,
}

/// An operator as the engine knows it.
struct Desk {
    state: OperatorState,
    watch: SeriesWatch,
    rules: OperatorRules,
    seq: i64,
    episodes: Vec<Episode>,
    raised: Vec<Raised>,
    /// Windows of alerts of the robust detector.
    robust: Vec<Window>,
}

impl Desk {
    /// What came in a push's time, changed by what is planted.
    fn push(&mut self, records: Vec<Record>, from: Ts) {
        let mut changed = Vec::with_capacity(records.len());
        for record in records {
            match self.episodes.iter_mut().find(|episode| episode.is_at(record.occurred_at)) {
                Some(episode) => episode.change(record, &mut changed),
                None => changed.push(record),
            }
        }
        self.episodes.iter().for_each(|episode| episode.send_again(from, &mut changed));
        self.seq += 1;
        let (operator_seq, clock_at) = (self.seq, from.plus(PUSH + 3 * SECOND));
        let input = match changed.is_empty() {
            true => OperatorInput::Tick { operator_seq, at: clock_at },
            false => OperatorInput::Batch { operator_seq, clock_at, clock: SourceClock::Wall, records: &changed },
        };
        let effects = self.state.apply(input);
        let raised = effects.revisions.iter().filter(|revision| revision.kind == RevisionKind::Raised);
        self.robust.extend(raised.map(|revision| revision.window));
        let mut scores = self.watch.hear(&effects.closed, clock_at, &[]).scores;
        if scores.is_empty() {
            return;
        }
        for score in &mut scores {
            let series = score.series;
            score.told = self.state.told_already(series.currency, series.granularity, score.window);
        }
        let scored = SeriesScored { operator_seq, at: clock_at, params_version: PARAMS_VERSION, scores };
        let mut findings = Vec::new();
        self.rules.hear(&Input::Series(&scored), &mut findings);
        let raised = findings.into_iter().filter(|finding| finding.kind == RevisionKind::Raised);
        self.raised.extend(raised.map(|finding| Raised {
            window: finding.window,
            at: clock_at,
            reason: finding.reasons.into_iter().next().unwrap_or_default(),
        }));
    }
}

/// What was seen of each plan.
#[derive(Default)]
pub struct Curve(Vec<Seen>);

struct Seen {
    plan: usize,
    is_small: bool,
    /// From its beginning to the finding; none where there is none.
    hours: Option<i64>,
    is_robust: bool,
}

impl Curve {
    /// The table of sizes.
    pub fn tell(&self) {
        say(
            "what series_unusual sees of what is planted, by its size (* counts for its recall); beside it robust_deviation:",
        );
        say(&format!("  {:<34} {:>8} {:>8} {:>8} {:>8}", "", "seen", "small", "median h", "robust"));
        for (no, plan) in PLANS.iter().enumerate() {
            let (seen, small, robust) = (
                self.share(no, |_| true),
                self.share(no, |of| of.is_small),
                self.of(no).filter(|of| of.is_robust).count(),
            );
            let mut hours: Vec<i64> = self.of(no).filter_map(|of| of.hours).collect();
            hours.sort_unstable();
            let median = hours.get(hours.len() / 2).map_or_else(|| "-".to_owned(), i64::to_string);
            let mark = if plan.is_promised { "*" } else { " " };
            say(&format!("  {mark} {:<32} {seen:>8} {small:>8} {median:>8} {robust:>8}", plan.words()));
        }
        say(&format!("  (small: of operators with fewer than {SMALL} records a day)"));
        say(&format!("  {}", self.recalls()));
    }

    /// The recall of what is promised, and beside it that of everything that was planted.
    pub fn recalls(&self) -> String {
        let promised = PLANS.iter().filter(|plan| plan.is_promised).count();
        let of_promised = self.recall(|of| PLANS[of.plan].is_promised);
        format!(
            "recall over all {} kinds {}; over the {promised} promised {of_promised}",
            PLANS.len(),
            self.recall(|_| true)
        )
    }

    /// Found of those planted, and their share; none planted have none.
    fn recall(&self, which: fn(&Seen) -> bool) -> String {
        let all = self.0.iter().filter(|of| which(of)).count();
        let seen = self.0.iter().filter(|of| which(of) && of.hours.is_some()).count();
        if all == 0 { "-".to_owned() } else { format!("{:.3} ({seen}/{all})", seen as f64 / all as f64) }
    }

    fn of(&self, plan: usize) -> impl Iterator<Item = &Seen> {
        self.0.iter().filter(move |of| of.plan == plan)
    }

    fn share(&self, plan: usize, which: fn(&Seen) -> bool) -> String {
        let all = self.of(plan).filter(|of| which(of)).count();
        let seen = self.of(plan).filter(|of| which(of) && of.hours.is_some()).count();
        format!("{seen}/{all}")
    }
}

/// Holds what was raised at an operator against what was planted there.
fn settle(seed: u64, desk: &Desk, curve: &mut Curve) -> Tally {
    let mut tally = Tally { findings: desk.raised.len() as u64, ..Tally::default() };
    for raised in &desk.raised {
        if desk.episodes.iter().any(|episode| episode.explains(raised.window)) {
            tally.right += 1;
        } else if tally.wrong.len() < TOLD {
            tally.wrong.push(format!("seed {seed}, {}: {}", raised.at, raised.reason));
        }
    }
    for episode in &desk.episodes {
        let first = desk.raised.iter().find(|raised| episode.touches(raised.window));
        let hours = first.map(|raised| (raised.at.0 - episode.window.start.0) / HOUR);
        let is_robust = desk.robust.iter().any(|window| episode.touches(*window));
        curve.0.push(Seen { plan: episode.plan, is_small: episode.is_small(), hours, is_robust });
        let plan = &PLANS[episode.plan];
        if !plan.is_promised {
            continue;
        }
        tally.planted += 1;
        tally.found += u64::from(hours.is_some());
        if hours.is_none() && tally.missed.len() < TOLD {
            let (start, records) = (episode.window.start, episode.records);
            tally.missed.push(format!("seed {seed}, {start}: {}, of {records} records", plan.words()));
        }
    }
    tally
}

/// The market of a seed: what the rule says of it, and by how much of what it sees the curve grows. Gives the records, too.
///
/// # Errors
/// The engine refuses what the simulator says.
pub fn judged(seed: u64, curve: &mut Curve) -> anyhow::Result<(Vec<Tally>, u64)> {
    let scenario = Arc::new(scenario(seed)?);
    let (zone, set, intake) = (TimeZone::get("Africa/Nairobi")?, rules()?, Intake::new(&scenario)?);
    let desk = |(no, operator): (usize, &crate::simulator::scenario::Operator)| Desk {
        state: OperatorState::new(number(no), operator.code.clone(), zone.clone()),
        watch: SeriesWatch::default(),
        rules: OperatorRules::new(number(no), zone.clone(), &set),
        seq: 0,
        episodes: episodes(seed, no),
        raised: Vec::new(),
        robust: Vec::new(),
    };
    let mut desks: Vec<Desk> = scenario.operators.iter().enumerate().map(desk).collect();
    let mut world = World::new(&scenario, seed, BEGIN, BEGIN);
    let mut records = 0;
    for push in 0..DAYS * DAY / PUSH {
        let from = BEGIN.plus(push * PUSH);
        let mut sent: Vec<Vec<Record>> = vec![Vec::new(); desks.len()];
        for output in world.advance(from.plus(PUSH)) {
            let Output::Record(one) = output else { continue };
            let record = intake.record(&one)?;
            if !record.kind.is_document() {
                records += 1;
                sent[one.operator].push(record);
            }
        }
        desks.iter_mut().zip(sent).for_each(|(desk, records)| desk.push(records, from));
    }
    Ok((desks.iter().map(|desk| settle(seed, desk, curve)).collect(), records))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Ts = Ts(BEGIN.0 + 30 * DAY);

    fn place(kind: Kind) -> usize {
        PLANS.iter().position(|plan| plan.kind == kind).expect("a plan")
    }

    fn record(kind: RecordKind, digest: u64, at: Ts) -> Record {
        let record_id = format!("r{digest}");
        Record { kind, id_digest: digest, record_id, occurred_at: at, amount_minor: 100, ..Record::for_tests() }
    }

    #[test]
    fn what_is_planted_becomes_of_records() {
        let table = [
            (Kind::Volume(0), 0, 0),
            (Kind::Volume(25), 50, 5_000),
            (Kind::Volume(150), 300, 30_000),
            (Kind::Volume(500), 1_000, 100_000),
            (Kind::Amounts(5), 200, 100_000),
            // every other record is a payout
            (Kind::Payouts(3), 200, 40_000),
            (Kind::Stuck, 200, 20_000),
        ];
        for (kind, count, sum) in table {
            let mut episode = Episode::new(place(kind), START);
            let mut out = Vec::new();
            for n in 0..200 {
                let kind = if n % 2 == 0 { RecordKind::Payout } else { RecordKind::Stake };
                episode.change(record(kind, n, START.plus(MINUTE)), &mut out);
            }
            let amount: i64 = out.iter().map(|record| record.amount_minor).sum();
            assert_eq!((out.len(), amount, episode.records), (count, sum, 200), "{kind:?}");
            let ids: std::collections::BTreeSet<&str> = out.iter().map(|record| record.record_id.as_str()).collect();
            assert_eq!(ids.len(), out.len(), "{kind:?}: a record is sent once");
        }
    }

    #[test]
    fn an_hour_is_sent_again_each_hour_until_the_end() {
        let mut episode = Episode::new(place(Kind::Stuck), START);
        let mut out = Vec::new();
        [2, 7, 58].into_iter().for_each(|minute| {
            episode.change(record(RecordKind::Stake, minute, START.plus(minute as i64 * MINUTE)), &mut out);
        });
        episode.change(record(RecordKind::Stake, 99, START.plus(2 * HOUR)), &mut out);
        assert_eq!((out.len(), episode.records), (3, 4), "what is new no longer comes");
        for (hour, again) in [(-1, 0), (0, 0), (1, 3), (23, 3), (24, 0)] {
            let mut out = Vec::new();
            let from = START.plus(hour * HOUR);
            (0..HOUR / PUSH).for_each(|push| episode.send_again(from.plus(push * PUSH), &mut out));
            assert_eq!(out.len(), again, "hour {hour}");
            assert!(out.iter().all(|record| (from..from.plus(HOUR)).contains(&record.occurred_at)));
        }
    }

    #[test]
    fn of_nothing_planted_there_is_no_recall() {
        assert_eq!(Curve::default().recalls(), "recall over all 20 kinds -; over the 7 promised -");
    }

    #[test]
    fn every_plan_is_planted_as_often_as_any_other_and_alone() {
        let mut counts = vec![0; PLANS.len()];
        for seed in 1..=50 {
            for no in 0..OPERATORS {
                let episodes = episodes(seed, no);
                episodes.iter().for_each(|episode| counts[episode.plan] += 1);
                let apart = |two: &[Episode]| two[1].window.start.0 - two[0].window.end.0;
                assert!(episodes.windows(2).all(|two| apart(two) >= 7 * DAY), "seed {seed}");
                assert!(episodes.iter().all(|e| e.window.end < BEGIN.plus(DAYS * DAY)), "seed {seed}");
            }
            scenario(seed).expect("a market");
        }
        let (least, most) = (counts.iter().min(), counts.iter().max());
        assert!(least >= Some(&12) && most <= Some(&18), "{counts:?}");
    }

    #[test]
    fn a_finding_is_held_against_what_was_planted() {
        let zone = TimeZone::get("Africa/Nairobi").expect("a zone");
        let promised = PLANS.iter().position(|plan| plan.is_promised && plan.hours == 24).expect("a plan");
        let raised = |hour: i64| Raised {
            window: Window { start: START.plus(hour * HOUR), end: START.plus((hour + 1) * HOUR) },
            at: START.plus((hour + 1) * HOUR),
            reason: String::new(),
        };
        // hours from the beginning: right, and when it was found
        let table: [(&[i64], u64, Option<i64>); 5] =
            [(&[], 0, None), (&[5, 7], 2, Some(6)), (&[-2], 0, None), (&[30], 1, None), (&[49, 23], 1, Some(24))];
        for (hours, right, found) in table {
            let desk = Desk {
                state: OperatorState::new(number(0), "safi".to_owned(), zone.clone()),
                watch: SeriesWatch::default(),
                rules: OperatorRules::new(number(0), zone.clone(), &rules().expect("a rule")),
                seq: 0,
                episodes: vec![
                    Episode::new(promised, START),
                    Episode::new(place(Kind::Amounts(2)), START.plus(20 * DAY)),
                ],
                raised: hours.iter().map(|hour| raised(*hour)).collect(),
                robust: Vec::new(),
            };
            let mut curve = Curve::default();
            let tally = settle(1, &desk, &mut curve);
            assert_eq!((tally.right, tally.findings), (right, hours.len() as u64), "{hours:?}");
            assert_eq!((tally.planted, tally.found), (1, u64::from(found.is_some())), "{hours:?}");
            assert_eq!((curve.0.len(), curve.0[0].hours), (2, found), "{hours:?}");
            let of_promised = if found.is_some() { "1.000 (1/1)" } else { "0.000 (0/1)" };
            let of_all = if found.is_some() { "0.500 (1/2)" } else { "0.000 (0/2)" };
            let wanted = format!("recall over all 20 kinds {of_all}; over the 7 promised {of_promised}");
            assert_eq!(curve.recalls(), wanted, "{hours:?}");
        }
    }
}
