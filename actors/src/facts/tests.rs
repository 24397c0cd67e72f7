use super::*;
use models::exclusion::{Channel, Period, ReasonClass};
use models::ids::ExclusionId;
use models::jurisdiction::{Jurisdiction, Recognition};
use models::match_key::MatchKey;
use models::money::Currency;
use models::phone::Country;
use models::record::RecordKind;
use models::ts::{DAY, MINUTE};

const HERE: JurisdictionNo = JurisdictionNo(0);
const THERE: JurisdictionNo = JurisdictionNo(1);
const ELSEWHERE: JurisdictionNo = JurisdictionNo(2);

fn day(day: i64) -> Ts {
    Ts((20_000 + day) * DAY)
}

fn directory() -> Directory {
    let jurisdiction = |code: &str| Jurisdiction {
        code: code.to_owned(),
        name: code.to_owned(),
        country: Country::Ke,
        currency: Currency::KES,
        time_zone: "Africa/Nairobi".to_owned(),
    };
    let mut directory = Directory::new(["KE", "UG", "TZ"].map(jurisdiction).into());
    let (valid_from, valid_to) = (day(50), None);
    directory.set_recognition(Recognition { jurisdiction: HERE, recognises: THERE, valid_from, valid_to });
    directory
}

fn exclusion(
    jurisdiction: JurisdictionNo,
    from: i64,
    ends: Option<i64>,
    at_end: AtEnd,
    ended: Option<i64>,
) -> Exclusion {
    Exclusion {
        id: ExclusionId(1),
        person_no: PersonNo(1),
        jurisdiction,
        period: Period::Month1,
        at_end,
        reason_class: ReasonClass::Own,
        channel: Channel::Web,
        effective_at: day(from),
        ends_at: ends.map(day),
        ended_at: ended.map(day),
        reported_by: None,
    }
}

/// What is told, exclusions, day of the record, since and until which day it counts as excluded.
type Row = (&'static str, Vec<Exclusion>, i64, Option<(i64, Option<i64>)>);

#[test]
fn which_exclusion_counts_for_a_record() {
    use AtEnd::{Lapse, Renew, StayOn};
    let lapsing = |from, to| exclusion(HERE, from, Some(to), Lapse, None);
    let table: [Row; 10] = [
        ("never excluded", vec![], 5, None),
        ("excluded", vec![lapsing(1, 30)], 5, Some((1, Some(30)))),
        ("before it began", vec![lapsing(10, 30)], 5, None),
        ("after it lapsed", vec![lapsing(1, 30)], 40, Some((1, Some(30)))),
        ("stays on after its period", vec![exclusion(HERE, 1, Some(30), StayOn, None)], 40, Some((1, None))),
        ("renews itself", vec![exclusion(HERE, 1, Some(30), Renew, None)], 40, Some((1, None))),
        ("ended by a person", vec![exclusion(HERE, 1, None, StayOn, Some(20))], 25, Some((1, Some(20)))),
        ("two: the one that binds", vec![lapsing(10, 60), lapsing(20, 30)], 40, Some((10, Some(60)))),
        ("recognised by then", vec![exclusion(THERE, 1, None, StayOn, None)], 60, Some((1, None))),
        (
            "not recognised yet, or never",
            vec![exclusion(THERE, 1, None, StayOn, None), exclusion(ELSEWHERE, 1, None, StayOn, None)],
            40,
            None,
        ),
    ];
    let directory = directory();
    for (what, exclusions, at, wanted) in table {
        let got = excluded(exclusions.iter(), &directory, HERE, day(at));
        let wanted = wanted.map(|(since, until)| Excluded { since: day(since), until: until.map(day) });
        assert_eq!(got, wanted, "{what}");
    }
}

fn login(player: Option<u128>, is_identified: bool, at: Ts) -> Record {
    Record {
        kind: RecordKind::Login,
        occurred_at: at,
        player: player.map(|key| MatchKey(key << 24)),
        is_identified,
        ..Record::for_tests()
    }
}

#[test]
fn only_who_can_be_asked_about_is_looked_for() {
    let (operator, at) = (OperatorNo(1), day(1));
    let mut checks = Checks::new(Ts(0));
    checks.note(operator, MatchKey(7 << 24), at.plus(-2 * MINUTE), false);
    let late = Window { start: at.plus(-MINUTE), end: at.plus(MINUTE) };
    let later = Window { start: at.plus(CHECK_SLACK + 1), end: at.plus(DAY) };
    let registered = Window { start: Ts(0), end: at.plus(DAY) };
    // what is told | player, identified | what is hidden | asked, and what nobody can say
    let table = [
        ("nobody", None, false, None, (false, None)),
        ("an account number", Some(7), false, None, (false, None)),
        ("asked about", Some(7), true, None, (true, None)),
        ("not asked about", Some(8), true, None, (false, None)),
        ("evidence did not come in time", Some(8), true, Some(late), (false, Some(late))),
        ("what is missing began later", Some(8), true, Some(later), (false, None)),
        ("before the operator was registered", Some(8), true, Some(registered), (false, Some(registered))),
    ];
    for (what, player, is_identified, hidden, (asked, gap)) in table {
        let facts = known(&checks, operator, &login(player, is_identified, at), [None, hidden, None]);
        assert_eq!((facts.is_identified, facts.checked_at.is_some()), (is_identified, asked), "{what}");
        assert_eq!(facts.evidence_gap, gap, "{what}");
    }
}
