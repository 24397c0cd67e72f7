//! One cause is told once.

use super::tests::state;
use super::*;
use crate::windows::tests::record;
use models::record::RecordKind;
use models::ts::{DAY, HOUR};

/// Monday, 5 January 1970.
const MONDAY: i64 = 4 * DAY;

/// Chance, the same every time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// An operator of the wall clock, minute by minute: visits begin by chance, and each is some bets of one player.
struct Played {
    state: OperatorState,
    chance: Chance,
    seq: i64,
    said: Vec<AlertRevision>,
}

impl Played {
    fn new(seed: u64) -> Self {
        Self { state: state(), chance: Chance(seed), seq: 0, said: Vec::new() }
    }

    fn hear(&mut self, at: Ts, records: &[Record]) {
        self.seq += 1;
        let input = match records.is_empty() {
            true => OperatorInput::Tick { operator_seq: self.seq, at },
            false => OperatorInput::Batch { operator_seq: self.seq, clock_at: at, clock: SourceClock::Wall, records },
        };
        self.said.extend(self.state.apply(input).revisions);
    }

    /// Hours from the Monday on in which one visit begins in so many minutes, of so many bets; 0 is nobody.
    fn hours(&mut self, hours: std::ops::Range<i64>, minutes_a_visit: u64, bets: u64) {
        for minute in hours.start * 60..hours.end * 60 {
            let start = Ts(MONDAY + minute * MINUTE);
            let is_visited = minutes_a_visit > 0 && self.chance.below(minutes_a_visit) == 0;
            let player = u128::from(self.chance.below(1_000_000)) + 1;
            let stake = |n: u64| {
                let mut record = record(RecordKind::Stake, start.plus(n as i64), 10_000, player);
                record.record_id = format!("{minute}-{n}");
                record
            };
            let records: Vec<Record> = (0..if is_visited { bets } else { 0 }).map(stake).collect();
            self.hear(start.plus(MINUTE + 3 * SECOND), &records);
        }
    }

    fn raised(&self) -> Vec<&AlertRevision> {
        self.said.iter().filter(|revision| revision.kind == RevisionKind::Raised).collect()
    }
}

#[test]
fn what_follows_is_told_where_its_leader_is_withdrawn() {
    // told | the late stakes of the first hour of an outage | alerts of falls that stand behind it
    for (what, late_hours, wanted) in [("nothing came late", 0, 1), ("the first hour came late", 1, 1), ("all", 2, 0)] {
        let mut played = Played::new(5);
        let quiet = 6 * 24;
        // a visit each minute: one without says enough
        played.hours(0..quiet, 1, 5);
        played.hours(quiet..quiet + 2, 0, 0);
        let falls = played.raised().iter().filter(|r| r.evidence.score_milli < 0).count();
        assert_eq!(falls, 1, "{what}: two hours of nothing are one cause");
        let mut late = Vec::new();
        for minute in quiet * 60..(quiet + late_hours) * 60 {
            for n in 0..5 {
                let mut record = record(RecordKind::Stake, Ts(MONDAY + minute * MINUTE + n), 10_000, minute as u128);
                record.record_id = format!("late-{minute}-{n}");
                late.push(record);
            }
        }
        if !late.is_empty() {
            played.hear(Ts(MONDAY + (quiet + 2) * HOUR + 10 * SECOND), &late);
        }
        let stands = |standing: &&Standing| standing.kind != RevisionKind::Withdrawn && standing.is_fall;
        assert_eq!(played.state.alerts.values().filter(stands).count(), wanted, "{what}");
    }
}

#[test]
fn what_is_open_is_no_fall_where_a_rise_is_taken_back() {
    let mut played = Played::new(7);
    let (quiet, at) = (10 * 24, Ts(MONDAY + (10 * 24 + 10) * HOUR + 5 * MINUTE));
    played.hours(0..quiet + 10, 1, 5);
    let typo = |kind, id: &str| Record { record_id: id.to_owned(), ..record(kind, at, 900_000_000, 1) };
    played.hear(at.plus(SECOND), &[typo(RecordKind::Stake, "typo")]);
    let rises = played.raised().len();
    assert!(rises > 0, "a stake as large as a month");
    played.hours(quiet + 10..quiet + 11, 1, 5);
    played.hear(Ts(MONDAY + (quiet + 11) * HOUR + 30 * SECOND), &[typo(RecordKind::Void, "taken back")]);
    let falls: Vec<_> = played.raised().into_iter().filter(|revision| revision.evidence.score_milli < 0).collect();
    assert!(falls.is_empty(), "the day has ten of its hours: {falls:?}");
    assert!(played.said.iter().any(|revision| revision.kind == RevisionKind::Withdrawn));
}
