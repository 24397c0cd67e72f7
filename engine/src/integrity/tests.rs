use super::completeness::{DayFacts, declared, score, slots};
use super::totals::{Stored, Tolerance, alert, compare, day_after, day_of, day_span};
use super::*;
use models::feed::integrity::{ComparedTotal, Declaration, DeclaredStatus, DeclaredTotal, Total};
use models::ids::{AlertId, KeyId, SourceNo};
use models::record::RecordKind;
use models::ts::{DAY, HOUR, MINUTE};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn source() -> Source {
    Source::for_tests()
}

fn key(secret: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret)
}

/// As an operator computes it from the contract.
fn token(key: &hmac::Key, before: &[u8], body: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, body);
    hmac::sign(key, &[before, digest.as_ref()].concat()).as_ref().try_into().expect("32 bytes")
}

fn marked(token: [u8; 32], key: &hmac::Key) -> PushMarks {
    PushMarks { token: Some((token, key.clone())), number: None }
}

fn numbered(number: i64) -> PushMarks {
    PushMarks { token: None, number: Some(number) }
}

#[test]
fn the_token_of_the_contract_is_this_one() {
    // python3: hmac.new(b"secret", sha256(b"[]").digest(), sha256), then of that and b"{}"
    let first = token(&key(b"secret"), b"", b"[]");
    let second = token(&key(b"secret"), &first, b"{}");
    assert_eq!(hex(&first), "1866d65800798296a273d642ce5f3b69296f5e702a0a618f26c5b2b861b4efaa");
    assert_eq!(hex(&second), "ab415bdd95e414d95b463a9e0cc71c45ce6f3af89fbdcab57a0fab8f05a25d83");
}

#[test]
fn a_chain_of_tokens_is_followed_link_by_link() {
    use TamperRule::{Optional, Required};
    let (old, new) = (key(b"old"), key(b"new"));
    let state = SourceIntegrity::default();
    let take = |state: &SourceIntegrity, marks: &PushMarks, rule, body: &[u8]| accept(state, marks, rule, body, Ts(9));

    // nothing is asked for before a chain was begun
    let plain = take(&state, &PushMarks::default(), Optional, b"a").expect("taken");
    assert_eq!((plain.state, plain.without_token, plain.token), (None, false, None));
    assert_eq!(take(&state, &PushMarks::default(), Required, b"a"), Err(Refused::TokenMissing));
    let first = token(&old, b"", b"a");
    let one = take(&state, &marked(first, &old), Required, b"a").expect("taken").state.expect("moves");
    assert_eq!((one.version, one.links, &one.link.as_ref().expect("a link").token), (1, 1, &hex(&first)));

    // the same push again, under whichever key: an answer was lost, nothing moves
    for key in [&old, &new] {
        let again = take(&one, &marked(first, key), Optional, b"a").expect("taken");
        assert_eq!((again.state, again.repeated), (None, true));
    }
    // of the next one: the right token, and what is wrong with others
    let second = token(&old, &first, b"b");
    let wrong = [
        ("another body", marked(second, &old), &b"c"[..]),
        ("the last token with another body", marked(first, &old), b"b"),
        ("the body alone", marked(token(&old, b"", b"b"), &old), b"b"),
        ("another key than it is sent with", marked(second, &new), b"b"),
        ("a bit", marked(std::array::from_fn(|i| second[i] ^ u8::from(i == 31)), &old), b"b"),
    ];
    for (what, marks, body) in wrong {
        assert_eq!(take(&one, &marks, Optional, body), Err(Refused::Tampered), "{what}");
    }
    let two = take(&one, &marked(second, &old), Optional, b"b").expect("taken").state.expect("moves");
    // a new key goes on with the old chain
    let third = token(&new, &second, b"c");
    let three = take(&two, &marked(third, &new), Optional, b"c").expect("taken").state.expect("moves");
    assert_eq!((three.version, three.links), (3, 3));
    // without one: taken and counted, or refused; the chain stands where it stood
    let bare = take(&three, &PushMarks::default(), Optional, b"d").expect("taken");
    let bare_state = bare.state.expect("counted");
    assert!(bare.without_token && bare_state.without_token == 1 && bare_state.link == three.link);
    assert_eq!(take(&three, &PushMarks::default(), Required, b"d"), Err(Refused::TokenMissing));
    // refused, again, and over with the next that follows
    let worse = refused(&refused(&bare_state, Ts(5)), Ts(7));
    assert_eq!((worse.refused, worse.tampered_since, worse.version), (2, Some(Ts(5)), 6));
    assert!(take(&worse, &marked(third, &new), Optional, b"c").expect("repeated").state.is_none());
    let fourth = token(&new, &third, b"d");
    let whole = take(&worse, &marked(fourth, &new), Optional, b"d").expect("taken").state.expect("moves");
    assert_eq!((whole.tampered_since, whole.refused), (None, 2));
    // a chain that a person ended begins with nothing before it
    let anew = ended(&whole, None);
    assert_eq!((&anew.link, anew.last_number), (&None, None));
    assert!(take(&anew, &marked(token(&new, &fourth, b"e"), &new), Optional, b"e").is_err());
    assert!(take(&anew, &marked(token(&new, b"", b"e"), &new), Optional, b"e").is_ok());
}

fn missing(state: &SourceIntegrity) -> Vec<(i64, i64)> {
    state.missing.iter().map(|range| (range.from, range.to)).collect()
}

#[test]
fn numbers_leave_gaps_and_fill_them() {
    // what comes; the highest, what is missing, gaps so far, known ones so far
    type Row = (i64, i64, &'static [(i64, i64)], u64, u64);
    let table: &[Row] = &[
        (1, 1, &[], 0, 0),
        (2, 2, &[], 0, 0),
        (2, 2, &[], 0, 1),
        (6, 6, &[(3, 5)], 1, 1),
        (10, 10, &[(3, 5), (7, 9)], 2, 1),
        (4, 10, &[(3, 3), (5, 5), (7, 9)], 2, 1),
        (4, 10, &[(3, 3), (5, 5), (7, 9)], 2, 2),
        (9, 10, &[(3, 3), (5, 5), (7, 8)], 2, 2),
        (7, 10, &[(3, 3), (5, 5), (8, 8)], 2, 2),
        (5, 10, &[(3, 3), (8, 8)], 2, 2),
        (3, 10, &[(8, 8)], 2, 2),
        (8, 10, &[], 2, 2),
        (11, 11, &[], 2, 2),
    ];
    let mut state = SourceIntegrity::default();
    for (at, (number, last, gone, gaps, repeated)) in table.iter().enumerate() {
        let now = Ts(at as i64 + 1);
        let taken = accept(&state, &numbered(*number), TamperRule::Optional, b"", now).expect("taken");
        let before = state.missing_since;
        state = taken.state.expect("every number is told of");
        assert_eq!((state.last_number, &*missing(&state)), (Some(*last), *gone), "after {number}");
        assert_eq!((state.gaps, state.repeated), (*gaps, *repeated), "after {number}");
        let since = if gone.is_empty() { None } else { before.or(Some(now)) };
        assert_eq!(state.missing_since, since, "after {number}");
    }
    // an operator that begins with 5 has four to bring
    let late = accept(&SourceIntegrity::default(), &numbered(5), TamperRule::Optional, b"", Ts(1)).expect("taken");
    assert_eq!((late.gap, missing(&late.state.expect("moves"))), (Some(NumberRange { from: 1, to: 4 }), vec![(1, 4)]));
    // a person says with which number it goes on
    let state = SourceIntegrity {
        last_number: Some(9),
        missing: vec![NumberRange { from: 2, to: 4 }],
        missing_since: Some(Ts(1)),
        ..state
    };
    let anew = ended(&state, Some(100));
    assert_eq!((anew.last_number, missing(&anew), anew.missing_since, anew.given_up), (Some(99), vec![], None, 3));
}

#[test]
fn so_many_ranges_are_waited_for_and_no_more() {
    let mut state = SourceIntegrity::default();
    for n in 0..=MISSING_RANGES_MAX as i64 {
        let taken = accept(&state, &numbered(2 * n + 2), TamperRule::Optional, b"", Ts(1)).expect("taken");
        state = taken.state.expect("moves");
    }
    assert_eq!((state.missing.len(), state.given_up, missing(&state)[0]), (MISSING_RANGES_MAX, 1, (3, 3)));
}

proptest! {
    #[test]
    fn numbers_agree_with_a_plain_set(numbers in prop::collection::vec(1i64..60, 0..80)) {
        let mut state = SourceIntegrity::default();
        let mut came = BTreeSet::new();
        for number in numbers {
            let taken = accept(&state, &numbered(number), TamperRule::Optional, b"", Ts(1)).expect("taken");
            state = taken.state.expect("moves");
            came.insert(number);
            let highest = *came.last().expect("one");
            let wanted: Vec<i64> = (1..highest).filter(|n| !came.contains(n)).collect();
            let held: Vec<i64> = state.missing.iter().flat_map(|range| range.from..=range.to).collect();
            prop_assert_eq!((state.last_number, held), (Some(highest), wanted));
            prop_assert!(state.missing.windows(2).all(|pair| pair[0].to + 1 < pair[1].from));
        }
    }
}

#[test]
fn a_trouble_is_told_of_when_it_begins_when_it_is_old_and_when_it_is_over() {
    use RevisionKind::{Corrected, Raised, Withdrawn};
    use Severity::{High, Medium};
    use Trouble::{Gap, Tampered};
    let minute = |n: i64| Ts(n * MINUTE);
    let state = |tampered: Option<i64>, missing: Option<i64>| SourceIntegrity {
        tampered_since: tampered.map(minute),
        missing_since: missing.map(minute),
        missing: missing.iter().map(|_| NumberRange { from: 5, to: 7 }).collect(),
        last_number: Some(8),
        ..SourceIntegrity::default()
    };
    let told = |since: i64, severity| {
        Some(Standing { alert: AlertId(7), window: Window { start: minute(since), end: minute(since + 1) }, severity })
    };
    // what, since when; what is told, now; what is said and of when
    let table = [
        (Tampered, None, None, 9, None),
        (Tampered, Some(3), None, 9, Some((Raised, High, 3))),
        (Tampered, Some(3), told(3, High), 900, None),
        (Tampered, None, told(3, High), 9, Some((Withdrawn, High, 3))),
        (Tampered, Some(7), told(3, High), 9, Some((Withdrawn, High, 3))),
        (Gap, Some(3), None, 9, Some((Raised, Medium, 3))),
        (Gap, Some(3), told(3, Medium), 26, None),
        (Gap, Some(3), told(3, Medium), 27, Some((Corrected, High, 3))),
        (Gap, Some(3), told(3, High), 28, None),
        (Gap, Some(3), None, 27, Some((Raised, High, 3))),
        (Gap, None, told(3, High), 28, Some((Withdrawn, High, 3))),
    ];
    for (trouble, since, standing, now, wanted) in table {
        let state = match trouble {
            Tampered => state(since, None),
            Gap => state(None, since),
        };
        let said = judge(trouble, &source(), "safi", &state, standing, minute(now));
        let got = said.map(|r| (r.kind, r.severity, r.window.start.0 / MINUTE));
        assert_eq!(got, wanted, "{trouble:?} since {since:?} told {standing:?} now {now}");
    }
    let both = state(Some(1), Some(1));
    let [tampered, gap] = Trouble::ALL.map(|trouble| judge(trouble, &source(), "safi", &both, None, minute(2)));
    let (tampered, gap) = (tampered.expect("one"), gap.expect("the other"));
    assert_ne!(tampered.id, gap.id);
    assert_eq!((gap.rule.as_str(), gap.evidence.observed), ("feed_gap", 3));
    assert!(gap.evidence.reasons[0].ends_with("missing: 5-7"), "{:?}", gap.evidence.reasons);
    let over = judge(Gap, &source(), "safi", &state(None, None), told(1, Medium), minute(9)).expect("its end");
    assert_eq!((over.id, over.operator_seq, over.evidence.observed), (gap.id, OVER, 0));
}

#[test]
fn what_is_late_is_so_by_the_wall_clock_and_the_sources_interval() {
    let now = Ts(100 * MINUTE);
    let archive = Source { clock: SourceClock::Event, ..source() };
    for (minutes, late) in [(-1, false), (0, false), (4, false), (5, true), (99, true)] {
        assert_eq!(is_late(&source(), now.plus(-minutes * MINUTE), now), late, "{minutes}");
        assert!(!is_late(&archive, now.plus(-minutes * MINUTE), now));
    }
}

fn declaration(totals: &[(RecordKind, i64, i64)]) -> Declaration {
    let total = |(kind, count, amount_minor): &(RecordKind, i64, i64)| DeclaredTotal {
        kind: *kind,
        count: *count,
        amount_minor: *amount_minor,
    };
    Declaration {
        source_no: SourceNo(1),
        day: "2026-11-20".to_owned(),
        time_zone: "Africa/Nairobi".to_owned(),
        from: Ts(0),
        to: Ts(DAY),
        version: 1,
        status: DeclaredStatus::Successful,
        totals: totals.iter().map(total).collect(),
        at: Ts(2 * DAY),
        by: KeyId(1),
    }
}

#[test]
fn a_declaration_differs_by_count_or_by_a_share_of_the_sum() {
    use RecordKind::{Payout, Stake, Void};
    type Kinds = &'static [(RecordKind, i64, i64)];
    // declared, stored; does it differ, kinds listed
    let table: &[(Kinds, Kinds, bool, usize)] = &[
        (&[(Stake, 10, 1_000_000)], &[(Stake, 10, 1_000_000)], false, 1),
        (&[(Stake, 10, 1_000_000)], &[(Stake, 10, 1_001_000)], false, 1),
        (&[(Stake, 10, 1_000_000)], &[(Stake, 10, 1_001_001)], true, 1),
        (&[(Stake, 10, 1_000_000)], &[(Stake, 10, 998_999)], true, 1),
        (&[(Stake, 10, 1_000_000)], &[(Stake, 9, 1_000_000)], true, 1),
        (&[(Stake, 10, 1_000_000)], &[], true, 1),
        (&[(Stake, 0, 0)], &[], false, 1),
        (&[(Stake, 0, 0)], &[(Stake, 1, 0)], true, 1),
        // what was not declared is shown, and says nothing
        (&[(Stake, 1, 5)], &[(Stake, 1, 5), (Payout, 3, 9)], false, 2),
        (&[(Stake, 1, 5), (Void, 1, 1)], &[(Stake, 1, 5), (Payout, 3, 9)], true, 3),
        (&[(Stake, 1, i64::MAX)], &[(Stake, 1, i64::MIN)], true, 1),
    ];
    for (declared, stored, wanted, lines) in table {
        let total = |(kind, count, amount_minor): &(RecordKind, i64, i64)| {
            (*kind, Total { count: *count, amount_minor: *amount_minor })
        };
        let stored = Stored { totals: stored.iter().map(total).collect(), through: 1 };
        let found = compare(&declaration(declared), &stored, None, Tolerance::default(), Ts(3 * DAY));
        assert_eq!(
            (found.differs, found.turns, found.lines.len()),
            (*wanted, i64::from(*wanted), *lines),
            "{declared:?} {stored:?}"
        );
    }
}

#[test]
fn a_day_is_told_of_when_it_turns() {
    let tolerance = Tolerance::default();
    let stored = |count, amount_minor| Stored {
        totals: BTreeMap::from([(RecordKind::Stake, Total { count, amount_minor })]),
        through: 1,
    };
    let declared = declaration(&[(RecordKind::Stake, 1_000, 1_000_000)]);
    let mut before = None;
    let mut ids = BTreeSet::new();
    // stored; what is said, how urgent, which revision
    let table = [
        (1_000, 1_000_000, None),
        (999, 1_000_000, Some((RevisionKind::Raised, Severity::Medium, 1))),
        (998, 1_000_000, None),
        (1_000, 1_000_000, Some((RevisionKind::Withdrawn, Severity::Medium, 2))),
        (1_000, 1_000_000, None),
        (1_000, 900_000, Some((RevisionKind::Raised, Severity::High, 3))),
    ];
    for (count, amount, wanted) in table {
        let now = compare(&declared, &stored(count, amount), before.as_ref(), tolerance, Ts(3 * DAY));
        let said = alert(&source(), "safi", &now, before.as_ref(), tolerance);
        ids.extend(said.iter().map(|said| said.id));
        let got = said.map(|said| (said.kind, said.severity, said.operator_seq));
        assert_eq!(got, wanted, "{count} {amount}");
        before = Some(now);
    }
    assert_eq!(ids.len(), 1, "one alert a day");
    let next = Declaration { from: Ts(DAY), to: Ts(2 * DAY), day: "2026-11-21".to_owned(), ..declared };
    let found = compare(&next, &Stored::default(), None, tolerance, Ts(3 * DAY));
    let other = alert(&source(), "safi", &found, None, tolerance).expect("nothing is stored of it");
    assert!(!ids.contains(&other.id));
}

#[test]
fn a_days_score_is_the_product_of_three_shares() {
    // intervals, delivered; declared, stored; sent, unsettled; the score in millionths
    type Row = (i64, i64, Option<i64>, i64, i64, i64, i64);
    let table: &[Row] = &[
        (0, 0, None, 0, 0, 0, 1_000_000),
        (24, 24, None, 0, 100, 0, 1_000_000),
        (24, 12, None, 0, 100, 0, 500_000),
        (24, 24, Some(1_000), 900, 100, 0, 900_000),
        (24, 24, None, 0, 100, 25, 750_000),
        (24, 12, Some(1_000), 500, 100, 50, 125_000),
        (24, 0, Some(0), 0, 0, 0, 0),
        // nothing is complete that is not
        (3, 2, None, 0, 0, 0, 666_666),
        (1, 1, None, 0, 10_000_000, 1, 999_999),
        // more than was expected is not more than whole, and what is settled twice not less than nothing
        (24, 30, Some(10), 20, 10, 30, 0),
    ];
    for (intervals, delivered, declared, stored, sent, unsettled, wanted) in table {
        let facts = DayFacts {
            intervals: *intervals,
            delivered: *delivered,
            declared: *declared,
            stored: *stored,
            sent: *sent,
            unsettled: *unsettled,
        };
        assert_eq!(score(&facts).score_ppm, *wanted, "{facts:?}");
    }
    // a kind that is stored more often than declared does not make up for another
    let line = |declared: Option<i64>, stored| ComparedTotal {
        kind: RecordKind::Stake,
        declared: declared.map(|count| Total { count, amount_minor: 0 }),
        stored: Total { count: stored, amount_minor: 0 },
    };
    assert_eq!(declared(&[line(Some(10), 4), line(Some(10), 90), line(None, 7)]), (20, 14));
}

#[test]
fn a_day_has_the_intervals_that_are_over() {
    let day = (Ts(10 * DAY), Ts(11 * DAY));
    // seconds of an interval, when the source was made, now; how many, the first begins, the last ends
    let table = [
        (3_600, Ts(0), Ts(20 * DAY), 24, day.0, day.1),
        (3_600, Ts(0), day.0.plus(90 * MINUTE), 1, day.0, day.0.plus(HOUR)),
        (3_600, Ts(0), day.0, 0, day.0, day.0),
        (3_600, day.0.plus(12 * HOUR), Ts(20 * DAY), 12, day.0.plus(12 * HOUR), day.1),
        (3_600, Ts(12 * DAY), Ts(20 * DAY), 0, Ts(12 * DAY), Ts(12 * DAY)),
        // daily, with some spreading: one is expected all the same
        (86_430, Ts(0), Ts(20 * DAY), 1, day.0, day.1),
        (86_430, Ts(0), day.0.plus(DAY - 1), 0, day.0, day.0),
        (50_000, Ts(0), Ts(20 * DAY), 1, day.0, day.1),
        (0, Ts(0), day.1, 86_400, day.0, day.1),
    ];
    for (seconds, made, now, count, from, to) in table {
        let got = slots(day, seconds, made, now);
        assert_eq!((got.count, got.from, got.to), (count, from, to), "every {seconds} s, made {made}, now {now}");
    }
}

#[test]
fn a_day_begins_at_the_midnight_of_its_zone() {
    let span = |day: &str, zone: &str| day_span(day, zone).map(|(from, to)| (from.to_string(), (to.0 - from.0) / HOUR));
    let table = [
        ("2026-11-20", "UTC", Some(("2026-11-20T00:00:00.000Z", 24))),
        ("2026-11-20", "Africa/Nairobi", Some(("2026-11-19T21:00:00.000Z", 24))),
        // clocks are put forward, and back
        ("2026-03-29", "Europe/Amsterdam", Some(("2026-03-28T23:00:00.000Z", 23))),
        ("2026-10-25", "Europe/Amsterdam", Some(("2026-10-24T22:00:00.000Z", 25))),
        ("2026-02-30", "UTC", None),
        ("20261120", "UTC", None),
        ("2026-11-20T10", "UTC", None),
        ("2026-11-20", "Africa/Atlantis", None),
    ];
    for (day, zone, wanted) in table {
        assert_eq!(span(day, zone), wanted.map(|(from, hours)| (from.to_owned(), hours)), "{day} {zone}");
    }
    let at = day_span("2026-11-20", "Africa/Nairobi").expect("a day").0;
    let days = [day_of(at, "Africa/Nairobi"), day_of(at.plus(-1), "Africa/Nairobi"), day_of(at, "UTC")];
    assert_eq!(days.map(Option::unwrap_or_default), ["2026-11-20", "2026-11-19", "2026-11-19"]);
    assert_eq!(day_after("2026-02-28", 1).as_deref(), Some("2026-03-01"));
    assert_eq!(day_after("2026-03-01", -1).as_deref(), Some("2026-02-28"));
}
