//! What people judged, and what nobody did.

use super::*;
use crate::compliance::alerts::History;
use models::alert_group::{Act, ActionKind, AlertActed, AlertGroup, GroupState, Resolution};
use models::ids::{AlertId, GroupId, KeyId};
use models::jurisdiction::JurisdictionNo;

fn acted(
    group: u128,
    episode: u32,
    severity: Severity,
    action: ActionKind,
    why: Option<Resolution>,
    at: Ts,
) -> AlertActed {
    let act = Act { by: KeyId(1), at };
    let window = Window { start: at, end: at };
    let group = AlertGroup {
        id: GroupId(group),
        rule: "feed_silent".to_owned(),
        operator_no: OperatorNo(2),
        jurisdiction: JurisdictionNo(0),
        subject: revision_subject(),
        state: GroupState::Resolved,
        episode,
        severity,
        hits: 1,
        standing: Vec::new(),
        standing_more: 0,
        first_at: at,
        last_at: at,
        last_alert: AlertId(1),
        last_window: window,
        reasons: Vec::new(),
        acknowledged: None,
        snoozed: None,
        resolution: why,
        resolved: Some(act),
        muted_by: None,
        silenced_by: None,
        told: true,
        told_severity: None,
        held_in: None,
        notices: 1,
    };
    AlertActed { action, act, group }
}

#[test]
fn what_people_confirmed_counts_and_what_rules_said_does_not() {
    use ActionKind::{Acknowledge, Reopen, Resolve};
    use Severity::{Critical, High, Low};
    let span = Window { start: at(0, 0), end: at(30, 0) };
    let confirmed =
        |group, episode, severity, at| acted(group, episode, severity, Resolve, Some(Resolution::Confirmed), at);
    let resolved = |why, at| acted(1, 1, High, Resolve, Some(why), at);
    let found = |rule: &str| {
        let mut act = confirmed(1, 1, High, at(3, 0));
        (act.group.rule, act.group.subject.metric) = (rule.to_owned(), Metric::Finding);
        act
    };
    // what people did | points
    let table: Vec<(&str, Vec<AlertActed>, i64)> = vec![
        ("nothing", vec![], 0),
        ("they confirmed one", vec![confirmed(1, 1, High, at(3, 0))], 8),
        ("a duty", vec![found("licence_lapsed")], 8),
        ("a player is suspected, and rightly", vec![found("structured_deposits")], 0),
        ("of each kind", vec![confirmed(1, 1, Low, at(3, 0)), confirmed(2, 1, Critical, at(4, 0))], 21),
        ("a false alarm", vec![resolved(Resolution::FalseAlarm, at(3, 0))], 0),
        ("it was expected", vec![resolved(Resolution::Expected, at(3, 0))], 0),
        ("an error in the data", vec![resolved(Resolution::DataError, at(3, 0))], 0),
        ("only taken on", vec![acted(1, 1, High, Acknowledge, None, at(3, 0))], 0),
        ("before the span, and behind it", vec![confirmed(1, 1, High, at(-1, 0)), confirmed(2, 1, High, at(30, 0))], 0),
        ("confirmed twice is once", vec![confirmed(1, 1, High, at(3, 0)), confirmed(1, 1, High, at(4, 0))], 8),
        ("two episodes are two", vec![confirmed(1, 1, High, at(3, 0)), confirmed(1, 2, High, at(4, 0))], 16),
        (
            "opened again behind the span",
            vec![confirmed(1, 1, High, at(3, 0)), acted(1, 1, High, Reopen, None, at(31, 0))],
            0,
        ),
        (
            "and judged otherwise",
            vec![
                confirmed(1, 1, High, at(3, 0)),
                acted(1, 1, High, Reopen, None, at(4, 0)),
                resolved(Resolution::FalseAlarm, at(5, 0)),
            ],
            0,
        ),
    ];
    let feeds = Feeds { sources: vec![SourceFacts { time: DAY, days: 1, ..SourceFacts::default() }] };
    for (what, acts, wanted) in table {
        let history = History { acts, ..History::default() };
        let alerts = Confirmed::of(&history, OperatorNo(2), span);
        let scored = score(&Facts { alerts, feeds: feeds.clone(), ..Facts::default() });
        assert_eq!(value(&scored, Component::Alerts).0, Some(wanted), "{what}");
        assert_eq!(Confirmed::of(&history, OperatorNo(3), span), Confirmed::default(), "{what}: somebody else's");
    }
}

#[test]
fn groups_that_nobody_judges_give_nobody_full_marks() {
    use ActionKind::{Reopen, Resolve};
    let span = Window { start: at(0, 0), end: at(30, 0) };
    let judged = |group, action, why, at| acted(group, 1, Severity::High, action, Some(why), at);
    let stood = |id, first_at, last_at| {
        let group = judged(id, Resolve, Resolution::Quiet, at(0, 0)).group;
        AlertGroup { first_at, last_at, state: GroupState::Open, ..group }
    };
    let one = || stood(1, at(3, 0), at(4, 0));
    let over = AlertGroup { state: GroupState::Resolved, ..one() };
    let suspicion = {
        let mut group = one();
        (group.rule, group.subject.metric) = ("structured_deposits".to_owned(), Metric::Finding);
        group
    };
    let again = AlertGroup { episode: 2, ..stood(1, at(31, 0), at(32, 0)) };
    let false_alarm = |group| judged(group, Resolve, Resolution::FalseAlarm, at(5, 0));
    // groups, what people did | raised, unjudged, open, points
    let table = [
        ("none", vec![], vec![], [0, 0, 0], Some(0)),
        ("one, and nobody looks", vec![one()], vec![], [1, 1, 1], None),
        ("it is over by itself", vec![over], vec![], [1, 1, 0], None),
        ("a suspicion about a player", vec![suspicion], vec![], [0, 0, 0], Some(0)),
        ("before the span", vec![stood(1, at(-9, 0), at(-8, 0))], vec![], [0, 0, 0], Some(0)),
        ("behind it", vec![stood(1, at(30, 0), at(31, 0))], vec![], [0, 0, 0], Some(0)),
        ("behind it, and not for the first time", vec![again], vec![], [1, 1, 1], None),
        ("a false alarm", vec![one()], vec![false_alarm(1)], [1, 0, 0], Some(0)),
        ("one of two was judged", vec![one(), stood(2, at(3, 0), at(4, 0))], vec![false_alarm(1)], [2, 1, 1], Some(0)),
        (
            "judged behind the span",
            vec![one()],
            vec![judged(1, Resolve, Resolution::Confirmed, at(31, 0))],
            [1, 1, 1],
            None,
        ),
        (
            "taken back",
            vec![one()],
            vec![false_alarm(1), judged(1, Reopen, Resolution::FalseAlarm, at(6, 0))],
            [1, 1, 1],
            None,
        ),
    ];
    let feeds = Feeds { sources: vec![SourceFacts { time: DAY, days: 1, ..SourceFacts::default() }] };
    for (what, groups, acts, counts, points) in table {
        let alerts = Confirmed::of(&History { acts, groups, is_cut: false }, OperatorNo(2), span);
        let scored = score(&Facts { alerts, feeds: feeds.clone(), ..Facts::default() });
        assert_eq!(value(&scored, Component::Alerts).0, points, "{what}");
        let figures = &scored.components[7].figures;
        assert_eq!(["raised", "unjudged", "open"].map(|name| figures[name]), counts, "{what}");
        assert_eq!(figures.get("history_cut"), None);
    }
    let cut = Confirmed::of(&History { is_cut: true, ..History::default() }, OperatorNo(2), span);
    let scored = score(&Facts { alerts: cut, feeds, ..Facts::default() });
    assert_eq!(scored.components[7].figures.get("history_cut"), Some(&1), "what was not read is said");
}
