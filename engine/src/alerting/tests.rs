//! Scenarios that somebody on duty can read: what happens, and what is heard of it.

use super::*;
use models::alert::{Subject, Window};
use models::ids::{AlertId, KeyId, SourceId};
use models::ts::MINUTE;

const HERE: JurisdictionNo = JurisdictionNo(0);
const WHO: KeyId = KeyId(7);

fn act(at: i64) -> Act {
    Act { by: WHO, at: Ts(at) }
}

/// The desk, the clock, the offsets, and what was heard.
#[derive(Default)]
struct Shift {
    desk: Desk,
    now: i64,
    offset: i64,
    heard: Vec<String>,
}

fn subject(metric: Metric, source: Option<SourceId>) -> Subject {
    Subject { metric, source, ..AlertRevision::for_tests().subject }
}

impl Shift {
    fn say(&mut self, kind: RevisionKind, rule: &str, alert: u128, severity: Severity, metric: Metric) {
        self.offset += 1;
        let source = [Metric::Silence, Metric::Integrity].contains(&metric).then_some(SourceId(3));
        let revision = AlertRevision {
            id: AlertId(alert),
            rule: rule.to_owned(),
            subject: subject(metric, source),
            window: Window { start: Ts(self.now), end: Ts(self.now + HOUR) },
            kind,
            severity,
            at: Ts(self.now),
            offset: self.offset,
            ..AlertRevision::for_tests()
        };
        let mut out = Outcome::default();
        self.desk.revision(&revision, HERE, Ts(self.now), &mut out);
        self.hear(&out);
    }

    /// Another cause of one rule for each of these operators.
    fn flood(&mut self, operators: std::ops::Range<u32>) -> Vec<AlertRevision> {
        let revise = |n: u32| {
            let metric = Metric::ALL[n as usize % Metric::OF_RECORDS.len()];
            self.revise(AlertRevision { operator_no: OperatorNo(n as u16), ..one(metric, self.offset + 1) })
        };
        operators.map(revise).collect()
    }

    /// The next revision.
    fn revise(&mut self, revision: AlertRevision) -> AlertRevision {
        self.offset += 1;
        let revision = AlertRevision { offset: self.offset, ..revision };
        let mut out = Outcome::default();
        self.desk.revision(&revision, HERE, Ts(self.now), &mut out);
        self.hear(&out);
        revision
    }

    fn hit(&mut self, alert: u128, severity: Severity) {
        self.say(RevisionKind::Raised, "jump", alert, severity, Metric::Stakes);
    }

    fn withdraw(&mut self, alert: u128) {
        self.say(RevisionKind::Withdrawn, "jump", alert, Severity::Low, Metric::Stakes);
    }

    fn feed(&mut self, kind: RevisionKind) {
        self.say(kind, "feed_silent", 99, Severity::High, Metric::Silence);
    }

    fn wait(&mut self, micros: i64) {
        self.now += micros;
        let mut out = Outcome::default();
        self.desk.clock(Ts(self.now), &mut out);
        self.hear(&out);
    }

    fn act(&mut self, action: Action) -> Result<(), ActionError> {
        self.act_on(self.group(), action)
    }

    fn act_on(&mut self, group: GroupId, action: Action) -> Result<(), ActionError> {
        let mut out = Outcome::default();
        let done = self.desk.act(group, action, act(self.now), &mut out);
        self.hear(&out);
        done
    }

    fn silence(&mut self, until: i64, rule: Option<&str>) {
        let silence = Silence {
            id: SilenceId(1),
            jurisdiction: HERE,
            rule: rule.map(str::to_owned),
            operator_no: None,
            severity_max: Some(Severity::High),
            until: Ts(until),
            act: act(self.now),
        };
        let mut out = Outcome::default();
        self.desk.silence(silence, Ts(self.now), &mut out);
        self.hear(&out);
    }

    fn group(&self) -> GroupId {
        self.group_of("jump")
    }

    fn group_of(&self, rule: &str) -> GroupId {
        self.desk.groups().find(|group| group.rule == rule).map(|group| group.id).expect("a group")
    }

    fn state(&self) -> GroupState {
        self.desk.group(self.group()).expect("a group").state
    }

    /// Whatever is heard is stored with the change that made it; the desk starts again from what was stored.
    fn hear(&mut self, out: &Outcome) {
        for tell in &out.tell {
            let what = match tell.tidings {
                Tidings::More { held, .. } => format!("{held} more"),
                Tidings::MoreOver { .. } => "no more".to_owned(),
                other => format!("{other:?}").to_lowercase(),
            };
            self.heard.push(format!("{} {what}", tell.group.rule));
            let is_together = matches!(tell.tidings, Tidings::More { .. } | Tidings::MoreOver { .. });
            assert!(out.changed.contains(&tell.group.id) || is_together);
        }
        let everything = AlertsGrouped {
            through: self.desk.through(),
            groups: self.desk.groups().cloned().collect(),
            caps: self.desk.caps.values().cloned().collect(),
        };
        let text = serde_json::to_string(&everything).expect("JSON");
        let silences = self.desk.silences.values().cloned().collect();
        let documents = std::mem::take(&mut self.desk.documents);
        self.desk = Desk::restored(serde_json::from_str(&text).expect("the same"), silences);
        self.desk.know_documents(documents);
    }

    fn heard(&mut self) -> Vec<String> {
        std::mem::take(&mut self.heard)
    }
}

#[test]
fn one_cause_with_ten_thousand_hits_is_heard_once() {
    let mut shift = Shift::default();
    for alert in 0..10_000 {
        shift.hit(alert, Severity::High);
    }
    assert_eq!(shift.heard(), ["jump raised"]);
    let group = shift.desk.group(shift.group()).expect("a group");
    assert_eq!((group.hits, group.standing.len(), group.standing_more), (10_000, STANDING_MAX, 9_968));
    for alert in 0..10_000 {
        shift.withdraw(alert);
    }
    assert_eq!((shift.heard(), shift.state()), (vec!["jump resolved".to_owned()], GroupState::Resolved));
}

#[test]
fn an_alert_that_is_raised_once_more_is_the_same_one() {
    let mut shift = Shift::default();
    [1, 2, 1, 1].into_iter().for_each(|alert| shift.hit(alert, Severity::High));
    let group = shift.desk.group(shift.group()).expect("a group");
    assert_eq!((group.hits, group.standing.as_slice()), (2, &[AlertId(1), AlertId(2)][..]));
    shift.withdraw(1);
    shift.withdraw(2);
    assert_eq!(
        (shift.heard(), shift.state()),
        (vec!["jump raised".into(), "jump resolved".into()], GroupState::Resolved)
    );
}

#[test]
fn severity_only_rises_by_itself_and_a_rise_is_heard() {
    let mut shift = Shift::default();
    for (alert, severity) in
        [Severity::Medium, Severity::Low, Severity::Medium, Severity::Critical, Severity::Low].into_iter().enumerate()
    {
        shift.hit(alert as u128, severity);
    }
    assert_eq!(shift.heard(), ["jump raised", "jump escalated"]);
    assert_eq!(shift.desk.group(shift.group()).map(|group| group.severity), Some(Severity::Critical));
    shift.say(RevisionKind::Corrected, "jump", 1, Severity::Low, Metric::Stakes);
    assert_eq!(shift.heard(), [] as [&str; 0]);
}

#[test]
fn what_comes_back_is_the_next_episode() {
    let mut shift = Shift::default();
    shift.hit(1, Severity::High);
    assert_eq!(shift.act(Action::Acknowledge), Ok(()));
    shift.hit(2, Severity::High);
    assert_eq!((shift.heard(), shift.state()), (vec!["jump raised".to_owned()], GroupState::Acknowledged));
    assert_eq!(shift.act(Action::Resolve(Resolution::Confirmed)), Ok(()));
    shift.hit(3, Severity::Low);
    assert_eq!(shift.heard(), ["jump resolved", "jump regressed"]);
    let group = shift.desk.group(shift.group()).expect("a group");
    assert_eq!((group.episode, group.hits, group.severity), (2, 1, Severity::Low));
    assert_eq!((group.acknowledged, group.resolution), (None, None));
}

#[test]
fn snoozed_is_quiet_until_the_time_or_the_number_is_reached() {
    let mut shift = Shift::default();
    shift.hit(1, Severity::High);
    assert_eq!(shift.act(Action::Snooze { until: Ts(HOUR), hits: None }), Ok(()));
    shift.hit(2, Severity::Critical);
    shift.wait(30 * MINUTE);
    assert_eq!(shift.heard(), ["jump raised"]);
    shift.wait(30 * MINUTE);
    assert_eq!((shift.heard(), shift.state()), (vec!["jump escalated".to_owned()], GroupState::Open));
    // nothing came meanwhile: it opens without a word
    assert_eq!(shift.act(Action::Snooze { until: Ts(2 * HOUR), hits: Some(3) }), Ok(()));
    shift.wait(HOUR);
    assert_eq!((shift.heard(), shift.state()), (vec![], GroupState::Open));
    assert_eq!(shift.act(Action::Snooze { until: Ts(9 * HOUR), hits: Some(3) }), Ok(()));
    (10..12).for_each(|alert| shift.hit(alert, Severity::High));
    assert_eq!((shift.heard(), shift.state()), (vec![], GroupState::Snoozed));
    shift.hit(12, Severity::High);
    assert_eq!((shift.heard(), shift.state()), (vec!["jump escalated".to_owned()], GroupState::Open));
}

#[test]
fn a_silent_feed_mutes_what_its_figures_say() {
    let mut shift = Shift::default();
    shift.feed(RevisionKind::Raised);
    shift.hit(1, Severity::High);
    shift.hit(2, Severity::Critical);
    // of whatever metrics, windows of one length are one subject
    shift.say(RevisionKind::Raised, series_unusual::ABOUT.name, 7, Severity::High, Metric::Finding);
    assert_eq!(shift.heard(), ["feed_silent raised"]);
    shift.wait(2 * DAY);
    assert_eq!(
        shift.heard(),
        [] as [&str; 0],
        "a feed is not over because time passes, and what it mutes was never told"
    );
    shift.hit(3, Severity::High);
    shift.feed(RevisionKind::Withdrawn);
    assert_eq!(shift.heard(), ["feed_silent resolved", "jump raised"], "nobody was told that it was there before");
}

#[test]
fn a_silent_bank_mutes_no_figure() {
    let mut shift = Shift::default();
    shift.desk.know_documents(BTreeSet::from([SourceId(3)]));
    shift.feed(RevisionKind::Raised);
    shift.hit(1, Severity::High);
    assert_eq!(shift.heard(), ["feed_silent raised", "jump raised"]);
}

#[test]
fn what_is_still_there_when_the_feed_speaks_again_is_told_then() {
    let mut shift = Shift::default();
    shift.hit(1, Severity::High);
    shift.feed(RevisionKind::Raised);
    shift.hit(2, Severity::Critical);
    assert_eq!(shift.heard(), ["jump raised", "feed_silent raised"], "told before: muted from then on");
    shift.feed(RevisionKind::Withdrawn);
    assert_eq!(shift.heard(), ["feed_silent resolved", "jump escalated"], "it grew worse meanwhile");
}

#[test]
fn what_grew_worse_while_it_was_quiet_is_heard_once_it_is_quiet_no_more() {
    // no further alert comes while it is snoozed: one of those that stand is corrected
    let mut shift = Shift::default();
    shift.hit(1, Severity::Medium);
    assert_eq!(shift.act(Action::Snooze { until: Ts(HOUR), hits: None }), Ok(()));
    shift.say(RevisionKind::Corrected, "jump", 1, Severity::Critical, Metric::Stakes);
    assert_eq!(shift.heard(), ["jump raised"]);
    shift.wait(HOUR);
    assert_eq!(shift.heard(), ["jump escalated"]);
    shift.wait(HOUR);
    assert_eq!(shift.heard(), [] as [&str; 0], "once");

    let mut shift = Shift::default();
    shift.hit(1, Severity::Medium);
    shift.silence(HOUR, Some("jump"));
    shift.hit(2, Severity::High);
    assert_eq!(shift.heard(), ["jump raised"]);
    shift.wait(HOUR);
    assert_eq!(shift.heard(), ["jump escalated"]);

    // as bad as it was told: nothing
    shift.silence(3 * HOUR, Some("jump"));
    shift.hit(3, Severity::High);
    shift.wait(2 * HOUR);
    assert_eq!(shift.heard(), [] as [&str; 0]);

    // snoozed and silenced: whichever ends last
    let mut shift = Shift::default();
    shift.hit(1, Severity::Medium);
    shift.silence(2 * HOUR, Some("jump"));
    assert_eq!(shift.act(Action::Snooze { until: Ts(HOUR), hits: None }), Ok(()));
    shift.hit(2, Severity::High);
    shift.wait(HOUR);
    assert_eq!(shift.heard(), ["jump raised"]);
    shift.wait(HOUR);
    assert_eq!(shift.heard(), ["jump escalated"]);
}

#[test]
fn whoever_ends_a_snooze_by_hand_has_seen_how_bad_it_is() {
    for (action, heard) in [(Action::Acknowledge, vec![]), (Action::Reopen, vec!["jump escalated".to_owned()])] {
        let mut shift = Shift::default();
        shift.hit(1, Severity::Medium);
        assert_eq!(shift.act(Action::Snooze { until: Ts(9 * HOUR), hits: None }), Ok(()));
        shift.hit(2, Severity::High);
        assert_eq!(shift.heard(), ["jump raised"]);
        assert_eq!(shift.act(action), Ok(()));
        assert_eq!(shift.heard(), heard, "{action:?}: reopened it is everybody's again");
        shift.silence(HOUR, Some("jump"));
        shift.wait(HOUR);
        assert_eq!(shift.heard(), [] as [&str; 0], "{action:?}");
    }
}

#[test]
fn a_silence_covers_nothing_that_grows_worse_than_it_says() {
    let mut shift = Shift::default();
    shift.silence(9 * HOUR, Some("jump"));
    shift.hit(1, Severity::High);
    assert_eq!(shift.heard(), [] as [&str; 0]);
    shift.hit(2, Severity::Critical);
    assert_eq!(shift.heard(), ["jump raised"], "nobody was told that it was there before");
}

/// What an older release stored does not say how urgent it was when it was told.
#[test]
fn what_was_told_before_an_upgrade_is_not_told_again() {
    let mut shift = Shift::default();
    shift.hit(1, Severity::High);
    let mut group = serde_json::to_value(shift.desk.group(shift.group())).expect("JSON");
    let fields = group.as_object_mut().expect("a group");
    for newer in ["told_severity", "held_in"] {
        assert!(fields.remove(newer).is_some(), "{newer}");
    }
    let groups = vec![serde_json::from_value(group).expect("a group of an older release")];
    shift.desk = Desk::restored(AlertsGrouped { through: shift.offset, groups, caps: Vec::new() }, Vec::new());
    shift.heard();
    shift.silence(HOUR, Some("jump"));
    shift.wait(HOUR);
    assert_eq!(shift.heard(), [] as [&str; 0]);
    shift.hit(2, Severity::Critical);
    assert_eq!(shift.heard(), ["jump escalated"]);
}

#[test]
fn what_grew_worse_while_it_was_resolved_is_told_to_whoever_reopens_it() {
    let mut shift = Shift::default();
    shift.hit(1, Severity::Medium);
    assert_eq!(shift.act(Action::Resolve(Resolution::Expected)), Ok(()));
    shift.heard();
    shift.say(RevisionKind::Corrected, "jump", 1, Severity::High, Metric::Stakes);
    assert_eq!(shift.heard(), [] as [&str; 0]);
    assert_eq!(shift.act(Action::Reopen), Ok(()));
    assert_eq!(shift.desk.group(shift.group()).expect("a group").severity, Severity::High);
    assert_eq!(shift.heard(), ["jump escalated"]);
}

#[test]
fn a_silence_that_is_over_is_not_reopened_and_mutes_nobody() {
    let mut shift = Shift::default();
    shift.feed(RevisionKind::Raised);
    shift.feed(RevisionKind::Withdrawn);
    let feed = shift.group_of("feed_silent");
    assert_eq!(shift.act_on(feed, Action::Reopen), Err(ActionError::Over));
    shift.heard();
    shift.hit(1, Severity::High);
    assert_eq!(shift.heard(), ["jump raised"]);
    shift.withdraw(1);
    shift.heard();
    // a person has called one expected that lasts, and thinks again
    shift.feed(RevisionKind::Raised);
    assert_eq!(shift.act_on(feed, Action::Resolve(Resolution::Expected)), Ok(()));
    assert_eq!(shift.act_on(feed, Action::Reopen), Ok(()));
    shift.heard();
    shift.hit(2, Severity::High);
    assert_eq!(shift.heard(), [] as [&str; 0], "it lasts");
    shift.feed(RevisionKind::Withdrawn);
    assert_eq!(shift.heard(), ["feed_silent resolved", "jump regressed"]);
}

/// Until a release ago such a group could be reopened.
#[test]
fn a_feed_s_group_with_nothing_in_it_mutes_nobody_and_goes_quiet() {
    let mut shift = Shift::default();
    shift.feed(RevisionKind::Raised);
    let mut group = shift.desk.group(shift.group_of("feed_silent")).cloned().expect("a group");
    group.standing.clear();
    let groups = AlertsGrouped { through: shift.offset, groups: vec![group], caps: Vec::new() };
    shift.desk = Desk::restored(groups, Vec::new());
    shift.heard();
    shift.hit(1, Severity::High);
    assert_eq!(shift.heard(), ["jump raised"]);
    // it falls silent in earnest
    shift.feed(RevisionKind::Raised);
    shift.hit(2, Severity::Critical);
    assert_eq!(shift.heard(), [] as [&str; 0]);
    shift.feed(RevisionKind::Withdrawn);
    assert_eq!(shift.heard(), ["feed_silent resolved", "jump escalated"]);
    let mut group = shift.desk.group(shift.group_of("feed_silent")).cloned().expect("a group");
    group.state = GroupState::Open;
    let groups = AlertsGrouped { through: shift.offset, groups: vec![group], caps: Vec::new() };
    shift.desk = Desk::restored(groups, Vec::new());
    shift.wait(QUIET_AFTER);
    assert_eq!(shift.heard(), ["feed_silent resolved"]);
}

#[test]
fn a_silence_has_an_end_and_does_not_cover_what_is_worse() {
    let mut shift = Shift::default();
    shift.silence(HOUR, Some("jump"));
    shift.hit(1, Severity::High);
    shift.feed(RevisionKind::Raised);
    assert_eq!(shift.heard(), ["feed_silent raised"]);
    shift.feed(RevisionKind::Withdrawn);
    shift.heard();
    shift.wait(HOUR);
    assert_eq!(shift.heard(), ["jump raised"]);
    shift.silence(9 * HOUR, None);
    shift.withdraw(1);
    assert_eq!(shift.heard(), ["jump resolved"], "who heard of it hears that it is over");
}

#[test]
fn a_flood_of_one_rule_is_told_of_together() {
    let mut shift = Shift::default();
    shift.flood(0..TOLD_PER_RULE_MAX + 5);
    assert_eq!(shift.heard().len(), TOLD_PER_RULE_MAX as usize);
    shift.wait(HOUR - 1);
    assert_eq!(shift.heard(), [] as [&str; 0]);
    shift.wait(1);
    assert_eq!(shift.heard(), ["flood 5 more"]);
    shift.wait(HOUR);
    assert_eq!(shift.heard(), [] as [&str; 0]);
}

#[test]
fn what_was_told_of_together_is_over_when_none_of_it_stands_or_more_follows() {
    let mut shift = Shift::default();
    let first = shift.flood(0..TOLD_PER_RULE_MAX + 2);
    shift.heard();
    shift.wait(HOUR);
    assert_eq!(shift.heard(), ["flood 2 more"]);
    let [.., held, last] = first.as_slice() else { panic!("{first:?}") };
    shift.revise(AlertRevision { kind: RevisionKind::Withdrawn, ..held.clone() });
    shift.wait(1);
    assert_eq!(shift.heard(), [] as [&str; 0], "one of them stands");
    shift.revise(AlertRevision { kind: RevisionKind::Withdrawn, ..last.clone() });
    shift.wait(1);
    assert_eq!(shift.heard(), ["flood no more"]);

    // the flood goes on, hour by hour: the next word of it takes the place of the one before
    let all = TOLD_PER_RULE_MAX + 1;
    shift.flood(100..100 + all);
    shift.wait(HOUR);
    shift.flood(200..200 + all);
    shift.heard();
    shift.wait(HOUR);
    assert_eq!(shift.heard(), ["flood no more", "flood 1 more"]);
    // with everything else it is over after a day of rest
    shift.wait(DAY);
    shift.wait(1);
    let heard = shift.heard();
    assert_eq!(heard.iter().filter(|said| *said == "flood no more").count(), 1, "{heard:?}");
    assert_eq!(heard.iter().filter(|said| *said == "flood resolved").count(), 3 * TOLD_PER_RULE_MAX as usize);
}

/// "5 more" are five causes, however often each of them comes again.
#[test]
fn what_is_held_back_is_counted_once() {
    let mut shift = Shift::default();
    let hit = |shift: &mut Shift, operator: u16, severity: Severity| {
        shift.offset += 1;
        let revision =
            AlertRevision { operator_no: OperatorNo(operator), severity, ..one(Metric::Stakes, shift.offset) };
        let mut out = Outcome::default();
        shift.desk.revision(&revision, HERE, Ts(shift.now), &mut out);
        shift.hear(&out);
    };
    let held = TOLD_PER_RULE_MAX as u16..TOLD_PER_RULE_MAX as u16 + 3;
    (0..held.end).for_each(|operator| hit(&mut shift, operator, Severity::Low));
    assert_eq!(shift.heard().len(), TOLD_PER_RULE_MAX as usize);
    for severity in [Severity::Medium, Severity::High] {
        held.clone().for_each(|operator| hit(&mut shift, operator, severity));
    }
    assert_eq!(shift.heard(), [] as [&str; 0]);
    shift.wait(HOUR);
    assert_eq!(shift.heard(), ["flood 3 more"]);
    // the next hour has room for it alone
    hit(&mut shift, held.start, Severity::Critical);
    assert_eq!(shift.heard(), ["flood raised"]);
}

fn one(metric: Metric, offset: i64) -> AlertRevision {
    AlertRevision {
        id: AlertId(offset as u128),
        rule: "flood".to_owned(),
        subject: subject(metric, None),
        offset,
        ..AlertRevision::for_tests()
    }
}

#[test]
fn quiet_for_a_day_is_over() {
    let mut shift = Shift::default();
    shift.hit(1, Severity::High);
    shift.wait(QUIET_AFTER - 1);
    assert_eq!(shift.state(), GroupState::Open);
    shift.wait(1);
    assert_eq!(
        (shift.heard(), shift.state()),
        (vec!["jump raised".to_owned(), "jump resolved".to_owned()], GroupState::Resolved)
    );
    let group = shift.desk.group(shift.group()).expect("a group");
    assert_eq!(group.resolution, Some(Resolution::Quiet));
}

#[test]
fn what_is_told_of_a_feed_is_over_when_the_feed_is_whole_and_not_before() {
    let mut shift = Shift::default();
    let state = |shift: &Shift| shift.desk.groups().next().expect("a group").state;
    shift.say(RevisionKind::Raised, "feed_gap", 50, Severity::Medium, Metric::Integrity);
    shift.wait(3 * QUIET_AFTER);
    assert_eq!(state(&shift), GroupState::Open);
    shift.say(RevisionKind::Withdrawn, "feed_gap", 50, Severity::Medium, Metric::Integrity);
    assert_eq!(state(&shift), GroupState::Resolved);
}

/// Whoever looks for what still stands must not find it for ever.
#[test]
fn what_ends_after_a_person_has_resolved_it_stands_no_more() {
    let mut shift = Shift::default();
    shift.hit(1, Severity::High);
    assert_eq!(shift.act(Action::Resolve(Resolution::Confirmed)), Ok(()));
    let standing = |shift: &Shift| shift.desk.group(shift.group()).expect("a group").standing.len();
    assert_eq!(standing(&shift), 1);
    shift.withdraw(1);
    assert_eq!((standing(&shift), shift.state()), (0, GroupState::Resolved));
    assert_eq!(shift.heard(), ["jump raised", "jump resolved"], "nobody hears of it twice");
}

#[test]
fn what_cannot_be_done_changes_nothing() {
    let mut shift = Shift::default();
    shift.hit(1, Severity::High);
    shift.now = HOUR;
    let table = [
        (Action::Reopen, Err(ActionError::Open)),
        (Action::Snooze { until: Ts(HOUR), hits: None }, Err(ActionError::Until)),
        (Action::Snooze { until: Ts(HOUR + SNOOZE_MAX + 1), hits: None }, Err(ActionError::Until)),
        (Action::Resolve(Resolution::Quiet), Err(ActionError::Resolution)),
        (Action::Resolve(Resolution::FalseAlarm), Ok(())),
        (Action::Acknowledge, Err(ActionError::Resolved)),
        (Action::Snooze { until: Ts(2 * HOUR), hits: None }, Err(ActionError::Resolved)),
        (Action::Resolve(Resolution::FalseAlarm), Err(ActionError::Resolved)),
        (Action::Reopen, Ok(())),
        (Action::Acknowledge, Ok(())),
        (Action::Acknowledge, Ok(())),
    ];
    for (n, (action, done)) in table.into_iter().enumerate() {
        assert_eq!(shift.act(action), done, "{n}: {action:?}");
    }
    let nobody = shift.desk.act(GroupId(1), Action::Acknowledge, act(0), &mut Outcome::default());
    assert_eq!(nobody, Err(ActionError::Unknown));
}

#[test]
fn what_is_taken_in_already_changes_nothing_and_ids_are_of_the_cause() {
    let mut desk = Desk::default();
    let (mut first, mut second) = (Outcome::default(), Outcome::default());
    let revision = one(Metric::Stakes, 1);
    desk.revision(&revision, HERE, Ts(0), &mut first);
    desk.revision(&revision, HERE, Ts(5), &mut second);
    assert_eq!((first.tell.len(), second), (1, Outcome::default()));
    let mut again = Outcome::default();
    Desk::default().revision(&revision, HERE, Ts(9), &mut again);
    assert_eq!(again.tell[0].id, first.tell[0].id, "whoever starts again says the same");
    let other = AlertRevision { subject: subject(Metric::Hold, None), ..revision.clone() };
    assert_ne!(group_id(&other), group_id(&revision));
    assert_eq!(
        group_id(&AlertRevision { window: Window { start: Ts(7), end: Ts(8) }, ..revision.clone() }),
        group_id(&revision)
    );
}
