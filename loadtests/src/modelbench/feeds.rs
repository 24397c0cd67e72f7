//! Feeds as the rule `feed_silent` hears them: each pushes at an interval of its own, as networks let it.
//!
//! A push that brought nothing new is a success, too, so a feed speaks whether or not anybody plays. Now and then one is
//! late, or lost, and what it held comes with the next: that is no silence. Outages are faults of the simulator; how long
//! they last and how often feeds push is nothing that the rule says.

use super::intake::number;
use super::tally::{TOLD, Tally};
use crate::simulator::dice::Dice;
use crate::simulator::faults::{Fault, Faults};
use crate::simulator::scenario::{FaultKind, PlannedFault, Scenario};
use engine::silence::{self, Hearing, Params, Standing, Told, Versions};
use models::alert::{AlertRevision, RevisionKind};
use models::feed::Source;
use models::ids::SourceId;
use models::ts::{DAY, HOUR, MINUTE, SECOND, Ts};

/// Pushes that get lost, of a hundred.
const LOST_PERCENT: f64 = 1.0;
/// A push is late by this share of its interval at most.
const LATE_SHARE: f64 = 0.2;
/// Minutes between two pushes of a planted market's feeds.
const INTERVALS: (i64, i64) = (1, 10);
/// How long an outage lasts.
const OUTAGES: (i64, i64) = (HOUR, 8 * HOUR);

/// A feed that pushes, and what was said of it.
pub struct Feed {
    source: Source,
    code: String,
    versions: Versions,
    dice: Dice,
    heard: Hearing,
    told: Told,
    /// When the next push should come, and how late it will be.
    next: Ts,
    late: i64,
}

impl Feed {
    /// Of an operator by its position and code, from a time on.
    pub fn new((no, code): (usize, &str), interval_minutes: i64, seed: u64, begin: Ts) -> Self {
        let expected_interval_seconds = (interval_minutes * MINUTE / SECOND) as u32;
        let (id, operator_no) = (SourceId(no as u128 + 1), number(no));
        Self {
            source: Source { id, operator_no, expected_interval_seconds, created_at: begin, ..Source::for_tests() },
            code: code.to_owned(),
            versions: Versions::always(Params::default()),
            dice: Dice::new(seed, "feed", no as u64),
            heard: Hearing { last_success: None, since: Some(begin), asked_at: None },
            told: Told { episode: 1, ..Told::default() },
            next: begin,
            late: 0,
        }
    }

    /// It is now later: what is said of it. Nothing gets through where it is out.
    pub fn advance(&mut self, now: Ts, is_out: bool) -> Option<AlertRevision> {
        let interval = i64::from(self.source.expected_interval_seconds) * SECOND;
        while now >= self.next.plus(self.late) {
            if !self.dice.percent(LOST_PERCENT) && !is_out {
                self.heard.last_success = Some(self.next.plus(self.late));
            }
            self.next = self.next.plus(interval);
            self.late = self.dice.span(0.0, LATE_SHARE * interval as f64) as i64;
        }
        let said = silence::judge(&self.versions, (&self.source, self.code.as_str()), self.heard, self.told, now)?;
        let standing = Standing { alert: said.id, window: said.window, severity: said.severity };
        self.told.standing = Some(standing).filter(|_| said.kind != RevisionKind::Withdrawn);
        self.told.hits += u64::from(said.kind == RevisionKind::Raised);
        Some(said)
    }
}

/// Two outages of each operator's feed, one in each half of the days.
pub fn outages(scenario: &Scenario, seed: u64, days: i64) -> Vec<PlannedFault> {
    let mut dice = Dice::new(seed, "outages", 0);
    let half = days / 2;
    let mut planned = Vec::new();
    for operator in &scenario.operators {
        for begin in [0, half] {
            let at = dice.between(begin + 1, begin + half - 1) * DAY + dice.between(0, DAY - 1);
            planned.push(PlannedFault {
                target: operator.code.clone(),
                kind: FaultKind::Silence,
                at_seconds: (at / SECOND) as u32,
                for_seconds: (dice.between(OUTAGES.0, OUTAGES.1) / SECOND) as u32,
            });
        }
    }
    planned
}

/// What the rule says of the feeds of a market with outages: right where one is, or has been until the next push.
pub fn judged(scenario: &Scenario, seed: u64, (begin, days): (Ts, i64)) -> Tally {
    let faults = Faults::planned(scenario, begin);
    let mut tally = Tally::default();
    for (no, operator) in scenario.operators.iter().enumerate() {
        let interval = Dice::new(seed, "interval of a feed", no as u64).between(INTERVALS.0, INTERVALS.1);
        let mut feed = Feed::new((no, operator.code.as_str()), interval, seed, begin);
        let is_outage = |fault: &&Fault| fault.target == operator.code && fault.kind == FaultKind::Silence;
        let mut outages: Vec<(&Fault, bool)> =
            faults.all().iter().filter(is_outage).map(|fault| (fault, false)).collect();
        for minute in 0..days * DAY / MINUTE {
            let now = begin.plus(minute * MINUTE);
            let is_out = faults.on_the_way(&operator.code, now).is_some();
            let Some(said) = feed.advance(now, is_out).filter(|said| said.kind == RevisionKind::Raised) else {
                continue;
            };
            tally.findings += 1;
            let next_push = 2 * interval * MINUTE;
            match outages.iter_mut().find(|(fault, _)| (fault.from..fault.to.plus(next_push)).contains(&now)) {
                Some((_, is_found)) => {
                    tally.right += 1;
                    *is_found = true;
                }
                None if tally.wrong.len() < TOLD => {
                    tally.wrong.push(format!("seed {seed}, {now}: {}", said.evidence.reasons.join("; ")));
                }
                None => {}
            }
        }
        tally.planted += outages.len() as u64;
        tally.found += outages.iter().filter(|(_, is_found)| *is_found).count() as u64;
        let missed = outages.iter().filter(|(_, is_found)| !is_found);
        let missed = missed.map(|(fault, _)| format!("seed {seed}, {}: an outage until {}", fault.from, fault.to));
        tally.missed.extend(missed);
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::run;

    /// Kinds of what is said of a feed that pushes every five minutes, by the minute.
    fn said(outage: std::ops::Range<i64>) -> Vec<(RevisionKind, i64)> {
        let mut feed = Feed::new((0, "safi"), 5, 1, Ts(0));
        let said = |minute: i64| Some((feed.advance(Ts(minute * MINUTE), outage.contains(&minute))?.kind, minute));
        (0..3 * 24 * 60).filter_map(said).collect()
    }

    #[test]
    fn a_feed_is_told_of_while_it_is_out_and_not_otherwise() {
        assert!(said(0..0).is_empty(), "pushes that are late or lost are no silence");
        let said = said(1_000..1_120);
        let kinds: Vec<RevisionKind> = said.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [RevisionKind::Raised, RevisionKind::Corrected, RevisionKind::Withdrawn]);
        assert!((1_000..1_030).contains(&said[0].1) && (1_120..1_140).contains(&said[2].1), "{said:?}");
    }

    #[test]
    fn outages_of_a_market_are_planted_found_and_held_against_what_is_said() {
        let mut market = run::scenario("market").expect("a scenario");
        market.faults = outages(&market, 1, 13);
        let tally = judged(&market, 1, (Ts(0), 13));
        let planted = 2 * market.operators.len() as u64;
        assert_eq!((tally.planted, tally.found), (planted, planted), "{tally:?}");
        assert!(tally.right >= planted && tally.right <= tally.findings, "{tally:?}");
        market.faults.clear();
        assert_eq!(judged(&market, 1, (Ts(0), 13)).planted, 0);
    }
}
