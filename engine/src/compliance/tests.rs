//! The formula as tables: what was measured, and what it is worth.

mod judged;

use super::alerts::Confirmed;
use super::feeds::{Counts, Feeds, Silences, SourceFacts};
use super::payments::{Bill, Paid, Payments};
use super::*;
use crate::operator_state::alert_id;
use models::alert::{AlertRevision, Evidence, Granularity, Metric, RevisionKind, Severity, Subject, Window};
use models::document_records::{Invoice, InvoiceState, Payment, PaymentState};
use models::feed::{DataClass, Silence, Source};
use models::ids::{OperatorNo, SourceId};
use models::money::Currency;
use models::ts::{DAY, HOUR, SECOND, Ts};

fn value(scored: &Scored, of: Component) -> (Option<i64>, Option<i64>) {
    let one = scored.components.iter().find(|one| one.component == of).unwrap();
    (one.value, one.points_ppm)
}

#[test]
fn the_formula_holds_together() {
    assert_eq!(ABOUT.iter().map(|about| about.weight).sum::<i64>(), 100);
    let components: Vec<Component> = ABOUT.iter().map(|about| about.component).collect();
    assert_eq!(components, Component::ALL);
    for about in ABOUT {
        let name = about.component.as_str();
        assert!(about.line.windows(2).all(|pair| pair[0].0 < pair[1].0), "{name}: values ascend");
        let rises = about.line.windows(2).all(|pair| pair[0].1 < pair[1].1);
        let falls = about.line.windows(2).all(|pair| pair[0].1 > pair[1].1);
        assert!(rises != falls, "{name}: one way only");
        let worth: Vec<i64> = about.line.iter().map(|(_, worth)| *worth).collect();
        assert!(worth.contains(&0) && worth.contains(&ONE), "{name}: nothing and full marks can be reached");
        assert!(!about.source.is_empty() && !about.nothing.is_empty());
    }
    assert!(BANDS.windows(2).all(|pair| pair[0].1 > pair[1].1) && BANDS.last().unwrap().1 == 0);
}

#[test]
fn a_value_is_worth_what_its_line_says() {
    let falls: &[(i64, i64)] = &[(15, 1_000_000), (60, 500_000), (1_440, 0)];
    let rises: &[(i64, i64)] = &[(900_000, 0), (990_000, 500_000), (1_000_000, 1_000_000)];
    let table = [
        (falls, 0, 1_000_000),
        (falls, 15, 1_000_000),
        (falls, 16, 988_888),
        (falls, 60, 500_000),
        (falls, 750, 250_000),
        (falls, 1_439, 362),
        (falls, 1_440, 0),
        (falls, i64::MAX, 0),
        (rises, 0, 0),
        (rises, 900_000, 0),
        (rises, 945_000, 250_000),
        (rises, 990_000, 500_000),
        (rises, 999_999, 999_950),
        (rises, 1_000_000, 1_000_000),
    ];
    for (line, value, worth) in table {
        assert_eq!(points(line, value), worth, "{value}");
    }
}

#[test]
fn components_without_anything_to_measure_are_left_out_and_said() {
    let with = |points: [Option<i64>; 3]| {
        let one = |(component, weight), points_ppm| ComponentScore {
            component,
            weight,
            value: points_ppm,
            points_ppm,
            figures: BTreeMap::new(),
        };
        let abouts = [(Component::Checks, 50), (Component::Freshness, 30), (Component::Alerts, 20)];
        let scored = weigh(abouts.into_iter().zip(points).map(|(about, points)| one(about, points)).collect());
        (scored.score_ppm, scored.measured_weight, scored.band)
    };
    let full = Some(ONE);
    let table = [
        ([full, full, full], (full, 100, Some(Band::Good))),
        ([full, full, Some(0)], (Some(800_000), 100, Some(Band::Fair))),
        ([Some(0), full, full], (Some(500_000), 100, Some(Band::Poor))),
        ([Some(0), Some(0), full], (Some(200_000), 100, Some(Band::Critical))),
        ([Some(0), None, full], (Some(285_714), 70, Some(Band::Critical))),
        ([None, full, Some(0)], (Some(600_000), 50, Some(Band::NotEnoughMeasured))),
        ([None, None, full], (full, 20, Some(Band::NotEnoughMeasured))),
        ([None, None, None], (None, 0, Some(Band::NotEnoughMeasured))),
    ];
    for (points, wanted) in table {
        assert_eq!(with(points), wanted, "{points:?}");
    }
    let nobody = score(&Facts::default());
    assert_eq!((nobody.score_ppm, nobody.measured_weight), (None, 0));
    // the least weight is enough
    let weighing = |weight| {
        let component = Component::Checks;
        let one = ComponentScore { component, weight, value: full, points_ppm: full, figures: BTreeMap::new() };
        weigh(vec![one]).band
    };
    assert_eq!(weighing(LEAST_WEIGHT), Some(Band::Good));
    assert_eq!(weighing(LEAST_WEIGHT - 1), Some(Band::NotEnoughMeasured));
    assert!(nobody.components.iter().all(|one| one.value.is_none() && one.points_ppm.is_none()));
}

fn day(entries: u64, lacking: u64, in_gaps: u64, unidentified: u64) -> DayTally {
    DayTally { entries, lacking, in_gaps, unidentified, ..DayTally::default() }
}

fn bets(minutes: &[u32]) -> DayTally {
    let minutes_max = minutes.iter().copied().max().unwrap_or(0);
    DayTally {
        bets: 100,
        bets_excluded: minutes.len() as u64,
        minutes: minutes.to_vec(),
        minutes_max,
        ..DayTally::default()
    }
}

#[test]
fn checks_are_judged_where_they_can_be() {
    // days: entries, lacking, in gaps, unidentified | share of checked entries, points
    let table = [
        ("nobody came in", vec![day(0, 0, 0, 0)], None, None),
        ("everybody was asked about", vec![day(200, 0, 0, 0)], Some(ONE), Some(ONE)),
        ("one in a hundred was not", vec![day(100, 2, 0, 0), day(100, 0, 0, 0)], Some(990_000), Some(500_000)),
        ("one in ten", vec![day(10, 1, 0, 0)], Some(900_000), Some(0)),
        ("nobody was", vec![day(10, 10, 0, 0)], Some(0), Some(0)),
        ("those in a gap are not held against it", vec![day(10, 0, 90, 0)], Some(ONE), Some(ONE)),
        ("nor those whom nobody knows", vec![day(0, 0, 0, 90)], None, None),
    ];
    for (what, days, share, worth) in table {
        let scored = score(&Facts { days, ..Facts::default() });
        assert_eq!(value(&scored, Component::Checks), (share, worth), "{what}");
    }
    let scored = score(&Facts { days: vec![day(10, 1, 2, 3), day(10, 1, 2, 3)], ..Facts::default() });
    let figures = &scored.components[0].figures;
    let named = ["entries", "lacking", "in_evidence_gaps", "unidentified"].map(|name| figures[name]);
    assert_eq!(named, [20, 2, 4, 6]);
}

#[test]
fn minutes_to_the_last_bet_are_the_worst_and_the_median_of_the_span() {
    // minutes by day | worst, median
    let table = [
        ("no bet of anybody whom the register could know", vec![DayTally::default()], None, None),
        ("bets, and nobody was excluded", vec![bets(&[])], Some(0), Some(0)),
        ("one, within the validity of an answer", vec![bets(&[5])], Some(5), Some(5)),
        ("three on two days", vec![bets(&[10, 2_000]), bets(&[12])], Some(2_000), Some(12)),
        ("of two the lower one", vec![bets(&[10]), bets(&[90])], Some(90), Some(10)),
        ("of four the second", vec![bets(&[1, 2, 30, 40])], Some(40), Some(2)),
    ];
    for (what, days, worst, median) in table {
        let scored = score(&Facts { days, ..Facts::default() });
        let got = (value(&scored, Component::LastBetWorst).0, value(&scored, Component::LastBetMedian).0);
        assert_eq!(got, (worst, median), "{what}");
    }
}

#[test]
fn how_much_of_the_play_is_identified_is_a_figure() {
    let played = |bets, bets_unidentified| DayTally { bets, bets_unidentified, ..DayTally::default() };
    // days: bets, bets of nobody | bets of nobody, share that is identified
    let table = [
        ("nobody bet", vec![played(0, Some(0))], None),
        ("all are known", vec![played(10, Some(0))], Some((0, ONE))),
        ("nobody is", vec![played(0, Some(10))], Some((10, 0))),
        ("one in four is, over two days", vec![played(1, Some(5)), played(1, Some(1))], Some((6, 250_000))),
        (
            "of a day of which it was not counted nothing is said",
            vec![played(9, None), played(1, Some(1))],
            Some((1, 500_000)),
        ),
        ("it was counted of none", vec![played(9, None)], None),
    ];
    for (what, days, wanted) in table {
        let scored = score(&Facts { days, ..Facts::default() });
        let figures = &scored.components[1].figures;
        let named = ["bets_unidentified", "bets_identified_ppm"].map(|name| figures.get(name).copied());
        assert_eq!(named, [wanted.map(|(bets, _)| bets), wanted.map(|(_, share)| share)], "{what}");
    }
}

const NOON: i64 = DAY / 2;

fn days(count: i64) -> Vec<Window> {
    (100..100 + count).map(|n| Window { start: Ts(n * DAY), end: Ts((n + 1) * DAY) }).collect()
}

/// A time by day and hour of the span.
fn at(day: i64, hour: i64) -> Ts {
    Ts((100 + day) * DAY + hour * HOUR)
}

fn alert(rule: &str, source: SourceId, kind: RevisionKind, start: Ts, told: Ts) -> AlertRevision {
    let subject = Subject { source: Some(source), ..revision_subject() };
    let window = Window { start, end: start.plus(4 * HOUR) };
    AlertRevision {
        id: alert_id(rule, 1, &subject, window),
        rule: rule.to_owned(),
        rule_version: 1,
        operator_no: OperatorNo(2),
        subject,
        window,
        kind,
        severity: Severity::Medium,
        at: told,
        operator_seq: 0,
        offset: 0,
        operator_offset: 0,
        evidence: Evidence { expected: HOUR / SECOND, ..Evidence::default() },
    }
}

/// Silences of which only alerts tell, up to a time.
fn as_told(since: Ts, told: &[AlertRevision]) -> Silences<'_> {
    Silences { since, measured: &[], told }
}

#[test]
fn silences_and_broken_chains_are_counted_as_long_as_they_lasted() {
    use RevisionKind::{Corrected, Raised, Withdrawn};
    let source = Source { expected_interval_seconds: 3_600, created_at: Ts(0), ..Source::for_tests() };
    let silent = |kind, start, told| alert("feed_silent", source.id, kind, start, told);
    // what was told of silences over ten days | hours silent, days missing
    let table: Vec<(&str, Vec<AlertRevision>, i64, i64)> = vec![
        ("nothing", vec![], 0, 0),
        (
            "twelve hours, of which the first was in order",
            vec![silent(Raised, at(1, 0), at(1, 4)), silent(Withdrawn, at(1, 0), at(1, 12))],
            11,
            0,
        ),
        (
            "made worse is the same silence",
            vec![
                silent(Raised, at(1, 0), at(1, 4)),
                silent(Corrected, at(1, 0), at(2, 0)),
                silent(Withdrawn, at(1, 0), at(2, 1)),
            ],
            24,
            0,
        ),
        ("it still lasts", vec![silent(Raised, at(7, 23), at(8, 3))], 48, 2),
        (
            "it began before the span",
            vec![silent(Raised, at(-3, 0), at(-3, 4)), silent(Withdrawn, at(-3, 0), at(1, 6))],
            30,
            1,
        ),
        ("it began behind it", vec![silent(Raised, at(10, 0), at(10, 4))], 0, 0),
        ("another source's", vec![alert("feed_silent", SourceId(77), Raised, at(1, 0), at(1, 4))], 0, 0),
    ];
    // before they were measured the alerts tell of them, behind that nothing that a rule says counts
    for (what, told, hours, missing) in table {
        let facts = |silences| SourceFacts::of(&source, &days(10), silences, &[], Counts::default()).unwrap();
        let known = facts(as_told(at(10, 0), &told));
        assert_eq!((known.silent / HOUR, known.missing_days, known.time / HOUR), (hours, missing, 240), "{what}");
        let measured = facts(as_told(Ts(0), &told));
        assert_eq!((measured.silent, measured.missing_days), (0, 0), "{what}: measured, whatever a rule says");
    }
    let none = as_told(Ts(0), &[]);
    let broken = |kind, start, told| alert("feed_tampered", source.id, kind, start, told);
    let breaks = [
        broken(Raised, at(2, 3), at(2, 3)),
        broken(Withdrawn, at(2, 3), at(3, 3)),
        broken(Raised, at(9, 20), at(9, 20)),
    ];
    let facts = SourceFacts::of(&source, &days(10), none, &breaks, Counts::default()).unwrap();
    assert_eq!((facts.broken_days, facts.silent), (3, 0));
    // made in the middle of the fourth day: only what came after counts
    let young = Source { created_at: at(3, 0).plus(NOON), ..source.clone() };
    let silent_before = [silent(Raised, at(0, 0), at(0, 4))];
    let before = as_told(at(10, 0), &silent_before);
    let facts = SourceFacts::of(&young, &days(10), before, &[], Counts::default()).unwrap();
    assert_eq!((facts.days, facts.time / HOUR, facts.silent / HOUR), (7, 156, 156));
    let unborn = Source { created_at: at(10, 0), ..source };
    assert_eq!(SourceFacts::of(&unborn, &days(10), none, &[], Counts::default()), None);
}

#[test]
fn silences_count_as_they_were_measured() {
    use RevisionKind::{Raised, Withdrawn};
    let source = Source { expected_interval_seconds: 3_600, created_at: Ts(0), ..Source::for_tests() };
    let was = |from, to| Silence { from, to: Some(to) };
    // from the beginning of the second day on alerts told of one that lasted to the third day's noon
    let told = [
        alert("feed_silent", source.id, Raised, at(1, 0).plus(-HOUR), at(1, 3)),
        alert("feed_silent", source.id, Withdrawn, at(1, 0).plus(-HOUR), at(2, 12)),
    ];
    // measured since, silences | hours silent, days missing
    let table = [
        ("none", Ts(0), vec![], 0, 0),
        ("one of a day and a half", Ts(0), vec![was(at(3, 0), at(4, 12))], 36, 1),
        ("two", Ts(0), vec![was(at(3, 0), at(3, 6)), was(at(4, 0), at(4, 6))], 12, 0),
        ("it lasts", Ts(0), vec![Silence { from: at(9, 0), to: None }], 24, 1),
        ("it began before the span and ended in it", Ts(0), vec![was(at(-5, 0), at(0, 6))], 6, 0),
        ("before and behind the span", Ts(0), vec![was(at(-5, 0), at(-4, 0)), was(at(10, 0), at(11, 0))], 0, 0),
        ("before they were measured the alerts tell", at(5, 0), vec![], 36, 1),
        ("up to then, and no longer", at(2, 0), vec![], 24, 1),
        ("both tell of one", at(2, 0), vec![was(at(1, 6), at(2, 12))], 36, 1),
    ];
    for (what, since, measured, hours, missing) in table {
        let silences = Silences { since, measured: &measured, told: &told };
        let facts = SourceFacts::of(&source, &days(10), silences, &[], Counts::default()).unwrap();
        assert_eq!((facts.silent / HOUR, facts.missing_days), (hours, missing), "{what}");
    }
}

#[test]
fn feeds_are_whole_fresh_and_readable_in_shares() {
    let whole = SourceFacts { time: 10 * DAY, days: 10, ..SourceFacts::default() };
    let counts = |counts: Counts| SourceFacts { counts, ..whole };
    let documents = |of: SourceFacts| SourceFacts { is_documents: true, ..of };
    // sources | completeness, freshness, quarantine
    let table = [
        ("no feed", vec![], [None, None, None]),
        ("one, and nothing came, which nobody missed", vec![whole], [Some(ONE), Some(ONE), None]),
        (
            "a day of ten is missing",
            vec![SourceFacts { silent: DAY, missing_days: 1, ..whole }],
            [Some(900_000), Some(900_000), None],
        ),
        (
            "the same of a tax office is a matter of time alone",
            vec![whole, documents(SourceFacts { silent: DAY, missing_days: 1, ..whole })],
            [Some(ONE), Some(950_000), None],
        ),
        (
            "a fifth of what was declared is not there, and one batch in ten is missing",
            vec![counts(Counts {
                declared: 100,
                declared_stored: 80,
                numbered: 9,
                numbers_missing: 1,
                ..Counts::default()
            })],
            [Some(720_000), Some(ONE), None],
        ),
        (
            "a chain stood broken on two days of ten",
            vec![SourceFacts { broken_days: 2, ..whole }],
            [Some(800_000), Some(ONE), None],
        ),
        (
            "three records in ten thousand were refused",
            vec![counts(Counts { sent: 10_000, quarantined: 3, ..Counts::default() })],
            [Some(ONE), Some(ONE), Some(300)],
        ),
        (
            "a share that does not come out even is rounded up",
            vec![counts(Counts { sent: 3, quarantined: 1, ..Counts::default() })],
            [Some(ONE), Some(ONE), Some(333_334)],
        ),
    ];
    for (what, sources, values) in table {
        let scored = score(&Facts { feeds: Feeds { sources }, ..Facts::default() });
        let of = [Component::Completeness, Component::Freshness, Component::Quarantine];
        assert_eq!(of.map(|of| value(&scored, of).0), values, "{what}");
    }
}

fn bill(number: &str, due: Ts, amount_minor: i64, said: (InvoiceState, i64, Ts)) -> Bill {
    let invoice = Invoice {
        number: number.to_owned(),
        authority: "KRA".to_owned(),
        tax: None,
        jurisdiction: None,
        period_from: None,
        period_to: None,
        due_at: Some(due),
        state: said.0,
        paid_minor: said.1,
    };
    Bill { invoice, amount_minor, currency: Currency::KES, said_at: said.2 }
}

fn paid(invoice: &str, amount_minor: i64, at: Ts, state: PaymentState) -> Paid {
    let payment =
        Payment { reference: format!("p{}", at.0), invoice: Some(invoice.to_owned()), authority: None, state };
    Paid { payment, amount_minor, currency: Currency::KES, at }
}

#[test]
fn invoices_are_judged_as_they_stood_at_the_end_of_the_span() {
    use InvoiceState::{Cancelled, Issued, Paid as Settled};
    use PaymentState::{Completed, Reversed};
    let span = Window { start: at(0, 0), end: at(30, 0) };
    let issued = (Issued, 0, at(-20, 0));
    let one = |due, said| vec![bill("T-1", due, 100_000, said)];
    let pay = |amount, at| paid("T-1", amount, at, Completed);
    // invoices, payments | due, late, days late in all (thousandths), unknown
    let table = [
        ("none", vec![], vec![], [0, 0, 0, 0]),
        ("not due yet", one(at(30, 0), issued), vec![], [0, 0, 0, 0]),
        ("paid in time", one(at(10, 0), issued), vec![pay(100_000, at(9, 0))], [1, 0, 0, 0]),
        ("all but a fee", one(at(10, 0), issued), vec![pay(95_000, at(9, 0))], [1, 0, 0, 0]),
        (
            "a tenth is missing of a small invoice",
            one(at(10, 0), issued),
            vec![pay(90_000, at(9, 0))],
            [1, 1, 20_000, 0],
        ),
        (
            "a currency without cents: 5,000 units are no fee",
            vec![Bill { currency: Currency::parse("UGX").unwrap(), ..bill("T-1", at(10, 0), 100_000, issued) }],
            vec![Paid { currency: Currency::parse("UGX").unwrap(), ..pay(95_000, at(9, 0)) }],
            [1, 1, 20_000, 0],
        ),
        ("two days late", one(at(10, 0), issued), vec![pay(100_000, at(12, 0))], [1, 1, 2_000, 0]),
        (
            "paid in another currency: nobody knows how much that is",
            one(at(10, 0), issued),
            vec![Paid { currency: Currency::EUR, ..pay(100_000, at(9, 0)) }],
            [0, 0, 0, 1],
        ),
        (
            "in part in another currency, and in full in its own",
            one(at(10, 0), issued),
            vec![Paid { currency: Currency::EUR, ..pay(900, at(9, 0)) }, pay(100_000, at(12, 0))],
            [1, 1, 2_000, 0],
        ),
        (
            "in two parts, the second late",
            one(at(10, 0), issued),
            vec![pay(50_000, at(9, 0)), pay(50_000, at(11, 0))],
            [1, 1, 1_000, 0],
        ),
        ("not paid at all", one(at(10, 0), issued), vec![], [1, 1, 20_000, 0]),
        ("paid behind the span", one(at(10, 0), issued), vec![pay(100_000, at(31, 0))], [1, 1, 20_000, 0]),
        (
            "a payment that was reversed",
            one(at(10, 0), issued),
            vec![paid("T-1", 100_000, at(9, 0), Reversed)],
            [1, 1, 20_000, 0],
        ),
        (
            "another invoice's payment",
            one(at(10, 0), issued),
            vec![paid("T-2", 100_000, at(9, 0), Completed)],
            [1, 1, 20_000, 0],
        ),
        ("cancelled", one(at(10, 0), (Cancelled, 0, at(11, 0))), vec![], [0, 0, 0, 0]),
        (
            "due before the span and paid before it",
            one(at(-10, 0), issued),
            vec![pay(100_000, at(-2, 0))],
            [0, 0, 0, 0],
        ),
        ("due before the span and still unpaid", one(at(-10, 0), issued), vec![], [1, 1, 40_000, 0]),
        ("years late counts a year", one(at(-800, 0), issued), vec![], [1, 1, 365_000, 0]),
        (
            "the authority said in time that it is paid",
            one(at(10, 0), (Settled, 100_000, at(9, 0))),
            vec![],
            [1, 0, 0, 0],
        ),
        ("it says so later: nobody knows the day", one(at(10, 0), (Settled, 100_000, at(20, 0))), vec![], [0, 0, 0, 1]),
        (
            "it says so later, but the payment is known",
            one(at(10, 0), (Settled, 100_000, at(20, 0))),
            vec![pay(100_000, at(11, 0))],
            [1, 1, 1_000, 0],
        ),
    ];
    for (what, bills, payments, [due, late, days_late_milli, unknown]) in table {
        let judged = Payments::of(&bills, &payments, span);
        assert_eq!(judged, Payments { due, late, days_late_milli, unknown, ..Payments::default() }, "{what}");
    }
    // on average over what was due
    let payments = Payments { due: 3, late: 1, days_late_milli: 1_000, payments_cut: 1, ..Payments::default() };
    let scored = score(&Facts { payments, ..Facts::default() });
    let figures = &scored.components[6].figures;
    let cuts = ["invoices_cut", "payments_cut"].map(|name| figures.get(name).copied());
    assert_eq!(cuts, [None, Some(1)], "what was not read is said");
    assert_eq!(value(&scored, Component::Payments), (Some(334), Some(976_142)));
}

fn revision_subject() -> Subject {
    Subject {
        operator: "safi".to_owned(),
        metric: Metric::Silence,
        granularity: Granularity::Minute,
        currency: Currency::KES,
        source: None,
        who: None,
    }
}

/// What is otherwise than in the month where everything is in order.
type Change<'a> = &'a dyn Fn(&mut Facts);

/// A month of an operator, as an inspector would read it: what was measured, and its score.
#[test]
fn a_month_of_an_operator_has_the_score_an_inspector_expects() {
    let source = SourceFacts { time: 30 * DAY, days: 30, ..SourceFacts::default() };
    let sent = Counts { sent: 100_000, ..Counts::default() };
    let good = Facts {
        days: vec![day(10_000, 0, 3, 40), bets(&[])],
        feeds: Feeds { sources: vec![SourceFacts { counts: sent, ..source }] },
        payments: Payments { due: 1, ..Payments::default() },
        alerts: Confirmed::default(),
    };
    let with = |change: &dyn Fn(&mut Facts)| {
        let mut facts = good.clone();
        change(&mut facts);
        let scored = score(&facts);
        (scored.score_ppm.unwrap() / 10_000, scored.band.unwrap(), scored.measured_weight)
    };
    let table: [(&str, Change<'_>, (i64, Band, i64)); 9] = [
        ("everything in order", &|_| {}, (100, Band::Good, 100)),
        ("one entry in a hundred unchecked", &|f| f.days[0].lacking = 100, (87, Band::Fair, 100)),
        ("a tenth unchecked", &|f| f.days[0].lacking = 1_000, (75, Band::Fair, 100)),
        ("somebody bet a day after excluding herself", &|f| f.days[1] = bets(&[1_440]), (80, Band::Fair, 100)),
        ("no play at all: that is too little", &|f| f.days.clear(), (100, Band::NotEnoughMeasured, 55)),
        ("alerts, and nobody judged one", &|f| (f.alerts.raised, f.alerts.unjudged) = (2, 2), (100, Band::Good, 90)),
        (
            "the tax three weeks late",
            &|f| f.payments = Payments { due: 1, late: 1, days_late_milli: 21_000, ..Payments::default() },
            (91, Band::Good, 100),
        ),
        ("one critical breach confirmed", &|f| f.alerts.critical = 1, (93, Band::Good, 100)),
        (
            "all of it at once",
            &|f| {
                f.days = vec![day(100, 10, 0, 0), bets(&[5_000])];
                f.feeds.sources[0].silent = 3 * DAY;
                f.feeds.sources[0].missing_days = 3;
                f.alerts.critical = 2;
                f.payments = Payments { due: 1, late: 1, days_late_milli: 30_000, ..Payments::default() };
            },
            (14, Band::Critical, 100),
        ),
    ];
    for (what, change, wanted) in table {
        assert_eq!(with(change), wanted, "{what}");
    }
    assert_eq!(score(&good), score(&good.clone()), "the same facts, the same score");
    let none = as_told(Ts(0), &[]);
    let archive = Source { class: DataClass::Invoices.into(), ..Source::for_tests() };
    assert!(SourceFacts::of(&archive, &days(1), none, &[], Counts::default()).unwrap().is_documents);
}

/// `docs/COMPLIANCE.md` says what the code does, word for word.
#[test]
fn the_published_formula_is_that_of_the_code() {
    let page = include_str!("../../../docs/COMPLIANCE.md");
    let mut wanted = vec![format!("published formula, version {VERSION};"), format!("> {FORMULA}")];
    let bands: Vec<String> =
        BANDS[..BANDS.len() - 1].iter().map(|(band, from)| format!("{} from {from}", band.as_str())).collect();
    wanted.push(format!("{}, critical below", bands.join(", ")));
    wanted.push(format!("the {} days before it", SPAN_DAYS - 1));
    wanted.push(format!("`not_enough_measured` below {LEAST_WEIGHT} of 100"));
    assert!(FORMULA.contains(&format!("less than {LEAST_WEIGHT} of 100")));
    let intervals = format!("once {} expected intervals have passed", silences::SILENT_INTERVALS);
    assert!(page.contains(&intervals), "docs/COMPLIANCE.md does not say: {intervals}");
    for about in ABOUT {
        let line = about.line.iter().map(|(value, ppm)| format!("{value} = {} %", ppm / 10_000));
        let line = line.collect::<Vec<_>>().join(", ");
        wanted.push(format!("### `{}`, weight {}", about.component.as_str(), about.weight));
        wanted.push(format!("What: {}.", about.what));
        wanted.push(format!("- Unit `{}`; line: {line}.", about.unit.as_str()));
        wanted.push(format!("- Source: {}.", about.source));
        wanted.push(format!("- Left out where {}.", about.nothing));
    }
    for text in wanted {
        assert!(page.contains(&text), "docs/COMPLIANCE.md does not say: {text}");
    }
    assert_eq!(page.matches("\n### `").count(), ABOUT.len(), "and of no other component");
}
