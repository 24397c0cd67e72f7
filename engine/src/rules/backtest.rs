//! What a version of a rule would have found in a span, beside what was to be live then finds in the same inputs.
//!
//! Both are computed in one go, from the same start: nothing that was found at the time is asked for, so that two
//! versions differ by their parameters alone.

use crate::detector;
use crate::operator_state::Deviations;
use crate::rules::compare::{Seen, counterparts};
use crate::rules::finding::{Band, Finding, Measured, Mode, Scope, Who};
use crate::rules::life::Life;
use crate::rules::list::{self, Home, Typed};
use crate::rules::ruleset::{RuleSet, RuleSetError, RuleVersion};
use crate::rules::series_unusual;
use models::alert::{AlertRevision, Granularity, RevisionKind, Subject};
use models::ids::{AlertId, OperatorNo};
use models::money::Currency;
use models::ts::Ts;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Findings with their evidence that are shown of each kind, at most.
pub const EXAMPLES_MAX: usize = 20;
/// Findings of a version that are kept to be compared, at most; of further ones the number.
pub const FINDINGS_MAX: usize = 20_000;
/// Operators and days that are counted apart, at most.
const DAYS_MAX: usize = 50_000;

/// Versions out of all of a jurisdiction by which a rule over all operators goes: what is live of the rules of one operator,
/// which say what they find by themselves. No other rule goes by any.
#[must_use]
pub fn beside(rule: &str, all: &RuleSet) -> Vec<RuleVersion> {
    let home = |rule: &str| list::about(rule).map(|about| about.home);
    if home(rule) != Some(Home::Nation) {
        return Vec::new();
    }
    let is_heeded = |row: &&RuleVersion| row.mode == Mode::Live && home(&row.rule) == Some(Home::Operator);
    all.versions().filter(is_heeded).cloned().collect()
}

/// The set that runs in a backtest: what is live of the rule, by time, and the version in the shadow from the beginning, beside
/// versions of other rules ([`beside`]).
///
/// # Errors
/// Parameters that are not allowed.
pub fn set(life: &Life, version: u32, params: Value, beside: &[RuleVersion]) -> Result<RuleSet, RuleSetError> {
    let mut rows = life.rows();
    rows.retain(|row| row.mode == Mode::Live);
    rows.extend_from_slice(beside);
    rows.push(RuleVersion {
        rule: life.rule().to_owned(),
        version,
        jurisdiction: life.jurisdiction().to_owned(),
        effective_from: Ts(0),
        effective_to: None,
        mode: Mode::Shadow,
        params,
    });
    RuleSet::new(life.jurisdiction(), rows)
}

/// What windows are judged by on both sides of a backtest of `robust_deviation`: what is live, and the same until the
/// beginning of the span with the version from there on.
///
/// # Errors
/// Parameters that are not allowed, or those of another rule.
pub fn deviations(life: &Life, version: u32, params: Value, from: Ts) -> Result<[Arc<Deviations>; 2], RuleSetError> {
    let typed = Typed::read(life.rule(), &params)?;
    let live = Arc::clone(set(life, version, params, &[])?.deviations());
    let Some(Typed::RobustDeviation(params)) = typed else {
        return Err(RuleSetError::UnknownRule(life.rule().to_owned()));
    };
    let candidate = Arc::new(live.until(from, params.of_version(version)));
    Ok([live, candidate])
}

/// What the market said, as a finding.
#[must_use]
pub fn of_alert(revision: &AlertRevision, mode: Mode) -> Finding {
    let AlertRevision { id, rule_version, operator_no, subject, window, kind, severity, at, evidence, .. } = revision;
    Finding {
        id: *id,
        rule: detector::RULE,
        version: *rule_version,
        mode,
        scope: Scope::Operator(*operator_no),
        operators: Vec::new(),
        who: Who::Series(subject.granularity, subject.currency),
        window: *window,
        kind: *kind,
        severity: *severity,
        at: *at,
        measured: Measured {
            observed: evidence.observed,
            limit: evidence.expected,
            unit: series_unusual::unit(subject.metric),
        },
        band: Some(Band {
            low: evidence.band_low,
            high: evidence.band_high,
            score_milli: evidence.score_milli,
            threshold_milli: evidence.threshold_milli,
            samples: evidence.samples,
        }),
        reasons: evidence.reasons.clone(),
        records: evidence.records.clone(),
    }
}

/// What one side found.
#[derive(Clone, Debug, Default)]
struct Side {
    raised: u64,
    /// The newest revision of each finding that stands, with the operator whose input caused it.
    standing: BTreeMap<AlertId, (OperatorNo, Finding)>,
    /// Everything that was raised, also what was taken back since: people may have judged it before.
    spoke: Vec<Seen>,
    left_out: u64,
}

impl Side {
    fn hear(&mut self, operator: OperatorNo, finding: Finding) {
        if finding.kind == RevisionKind::Raised {
            self.raised += 1;
            if self.spoke.len() < FINDINGS_MAX {
                self.spoke.push(seen(&finding));
            }
        }
        if finding.kind == RevisionKind::Withdrawn {
            self.standing.remove(&finding.id);
        } else if self.standing.contains_key(&finding.id) || self.standing.len() < FINDINGS_MAX {
            self.standing.insert(finding.id, (operator, finding));
        } else {
            self.left_out += 1;
        }
    }

    fn seen(&self) -> Vec<Seen> {
        self.standing.values().map(|(_, finding)| seen(finding)).collect()
    }
}

fn seen(finding: &Finding) -> Seen {
    let series =
        if let Who::Series(granularity, currency) = finding.who { Some((granularity, currency)) } else { None };
    Seen { whom: whom(finding.scope.number(), finding.who.subject(), series), window: finding.window }
}

fn whom(no: OperatorNo, who: Option<String>, series: Option<(Granularity, Currency)>) -> String {
    let series = series.map(|(granularity, currency)| format!("{} {currency}", granularity.as_str()));
    format!("{} {}", no.0, who.or(series).unwrap_or_default())
}

/// An alert of the rule of which people have found out whether it was right.
#[derive(Clone, Debug)]
pub struct Judged {
    seen: Seen,
    is_confirmed: bool,
}

impl Judged {
    /// As its revision says that made it speak.
    #[must_use]
    pub fn of(alert: &AlertRevision, is_confirmed: bool) -> Self {
        let Subject { granularity, currency, who, .. } = &alert.subject;
        let is_series = alert.rule == series_unusual::ABOUT.name || alert.rule == detector::RULE;
        let whom = whom(alert.operator_no, who.clone(), is_series.then_some((*granularity, *currency)));
        Self { seen: Seen { whom, window: alert.window }, is_confirmed }
    }
}

/// Of alerts that people found to be the same, how many each side has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Hits {
    /// Alerts of the span.
    pub judged: u64,
    /// Of these, those of which the candidate found something at the same time.
    pub candidate: u64,
    /// And the live version.
    pub live: u64,
}

/// Findings of a span, as they are computed.
#[derive(Clone, Debug, Default)]
pub struct Backtest {
    candidate: Side,
    live: Side,
    days: BTreeMap<(OperatorNo, String), (u64, u64)>,
    /// Days with an input, by operator.
    active: BTreeSet<(OperatorNo, String)>,
    judged: Vec<Judged>,
}

/// What a version found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// Findings that were raised.
    pub raised: u64,
    /// Of these, and what was corrected since, those that stood at the end.
    pub standing: u64,
    /// Raised ones, by operator and day with inputs.
    pub per_operator_day: f64,
}

/// Findings that were raised by an operator's inputs on a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DayRate {
    /// Whose inputs.
    pub operator_no: OperatorNo,
    /// By the jurisdiction's midnight.
    pub day: String,
    /// By the version that is tried.
    pub candidate: u64,
    /// By what is live.
    pub live: u64,
}

/// A finding with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Example {
    /// Whose input caused it.
    pub operator_no: OperatorNo,
    /// It.
    pub finding: Finding,
}

/// How both sides lie beside each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The version that is tried.
    pub candidate: Rate,
    /// What is live.
    pub live: Rate,
    /// Operators and days with inputs.
    pub operator_days: u64,
    /// Findings of the candidate of which the live version found the like at the same time.
    pub both: u64,
    /// Those of which it did not.
    pub only_candidate: u64,
    /// Findings of the live version of which the candidate found nothing.
    pub only_live: u64,
    /// Of alerts of the rule that people have confirmed.
    pub confirmed: Hits,
    /// Of those that they have called false alarms.
    pub false_alarms: Hits,
    /// By operator and day, where there was something.
    pub days: Vec<DayRate>,
    /// The newest of both, as the candidate found them.
    pub examples_both: Vec<Example>,
    /// Of the candidate alone.
    pub examples_only_candidate: Vec<Example>,
    /// Of the live version alone.
    pub examples_only_live: Vec<Example>,
    /// False where there was more than is kept to be compared.
    pub complete: bool,
}

impl Backtest {
    /// What people found out of the rule's alerts in the span.
    pub fn judged(&mut self, judged: impl IntoIterator<Item = Judged>) {
        self.judged.extend(judged);
    }

    /// An operator was heard of on a day.
    pub fn active(&mut self, operator: OperatorNo, day: &str) {
        if operator.nation().is_none() && self.active.len() < DAYS_MAX {
            self.active.insert((operator, day.to_owned()));
        }
    }

    /// Takes a revision in; `day` is the one of the input that caused it.
    pub fn hear(&mut self, operator: OperatorNo, day: &str, finding: Finding) {
        let is_live = finding.mode == Mode::Live;
        if finding.kind == RevisionKind::Raised && self.days.len() < DAYS_MAX {
            let (candidate, live) = self.days.entry((operator, day.to_owned())).or_default();
            *(if is_live { live } else { candidate }) += 1;
        }
        (if is_live { &mut self.live } else { &mut self.candidate }).hear(operator, finding);
    }

    /// What came of it.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        let Self { candidate, live, days, active, judged } = self;
        let (of_candidate, of_live) = (candidate.seen(), live.seen());
        let is_both = counterparts(&of_candidate, &of_live);
        let is_in_both = counterparts(&of_live, &of_candidate);
        let count = |has: &[bool], wanted: bool| has.iter().filter(|has| **has == wanted).count() as u64;
        let hits = |is_confirmed: bool| {
            let alike = judged.iter().filter(|one| one.is_confirmed == is_confirmed);
            let alike: Vec<Seen> = alike.map(|one| one.seen.clone()).collect();
            let found_by = |side: &[Seen]| count(&counterparts(&alike, side), true);
            Hits { judged: alike.len() as u64, candidate: found_by(&candidate.spoke), live: found_by(&live.spoke) }
        };
        let rate = |side: &Side| Rate {
            raised: side.raised,
            standing: side.standing.len() as u64,
            per_operator_day: if active.is_empty() { 0.0 } else { side.raised as f64 / active.len() as f64 },
        };
        let day = |((operator_no, day), (candidate, live))| DayRate { operator_no, day, candidate, live };
        Outcome {
            both: count(&is_both, true),
            only_candidate: count(&is_both, false),
            only_live: count(&is_in_both, false),
            confirmed: hits(true),
            false_alarms: hits(false),
            examples_both: examples(&candidate, &is_both, true),
            examples_only_candidate: examples(&candidate, &is_both, false),
            examples_only_live: examples(&live, &is_in_both, false),
            candidate: rate(&candidate),
            live: rate(&live),
            operator_days: active.len() as u64,
            complete: candidate.left_out + live.left_out == 0 && active.len() < DAYS_MAX,
            days: days.into_iter().map(day).collect(),
        }
    }
}

/// The newest findings that do, or do not, have a counterpart.
fn examples(side: &Side, has: &[bool], wanted: bool) -> Vec<Example> {
    let of = side.standing.values().zip(has).filter(|(_, has)| **has == wanted).map(|(of, _)| of);
    let mut newest: Vec<&(OperatorNo, Finding)> = of.collect();
    newest.sort_by_key(|(_, finding)| std::cmp::Reverse((finding.at, finding.id)));
    let example = |(operator_no, finding): &(OperatorNo, Finding)| Example {
        operator_no: *operator_no,
        finding: finding.clone(),
    };
    newest.into_iter().take(EXAMPLES_MAX).map(example).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::finding::{Unit, finding_id};
    use models::alert::{Metric, Severity, Window};
    use serde_json::json;

    const RULE: &str = "structured_deposits";

    /// `candidate raised 7 10-20`: of player 7, at the end of the window.
    fn finding(text: &str) -> Finding {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (start, end) = words[3].split_once('-').unwrap();
        let window = Window { start: Ts(start.parse().unwrap()), end: Ts(end.parse().unwrap()) };
        let (version, mode) = if words[0] == "live" { (1, Mode::Live) } else { (2, Mode::Shadow) };
        let (scope, who) = (Scope::Operator(OperatorNo(1)), Who::Player(words[2].parse().unwrap()));
        Finding {
            id: finding_id(scope, (RULE, version), who, 0, window),
            rule: RULE,
            version,
            mode,
            scope,
            operators: Vec::new(),
            who,
            window,
            kind: RevisionKind::parse(words[1]).unwrap(),
            severity: Severity::Low,
            at: window.end,
            measured: Measured { observed: 1, limit: 0, unit: Unit::Records },
            reasons: vec!["why".to_owned()],
            records: vec!["r".to_owned()],
            band: None,
        }
    }

    #[test]
    fn two_versions_lie_beside_each_other() {
        // what is found | (both, only candidate, only live) | raised by the candidate, by the live one
        let table = [
            ("", (0, 0, 0), (0, 0)),
            ("live raised 1 0-10; candidate raised 1 5-15", (1, 0, 0), (1, 1)),
            ("live raised 1 0-10; candidate raised 2 0-10", (0, 1, 1), (1, 1)),
            ("live raised 1 0-10; live withdrawn 1 0-10; candidate raised 1 0-10", (0, 1, 0), (1, 1)),
            ("candidate raised 1 0-10; candidate corrected 1 0-10; candidate raised 1 30-40", (0, 2, 0), (2, 0)),
        ];
        for (found, (both, only_candidate, only_live), raised) in table {
            let mut backtest = Backtest::default();
            for day in ["2026-11-01", "2026-11-02", "2026-11-02"] {
                backtest.active(OperatorNo(1), day);
            }
            for text in found.split(';').filter(|text| !text.is_empty()) {
                backtest.hear(OperatorNo(1), "2026-11-02", finding(text));
            }
            let outcome = backtest.outcome();
            assert_eq!(
                (outcome.both, outcome.only_candidate, outcome.only_live),
                (both, only_candidate, only_live),
                "{found}"
            );
            assert_eq!((outcome.candidate.raised, outcome.live.raised), raised, "{found}");
            assert_eq!((outcome.operator_days, outcome.complete), (2, true));
            assert_eq!(outcome.candidate.per_operator_day, raised.0 as f64 / 2.0);
            let of_days: u64 = outcome.days.iter().map(|day| day.candidate + day.live).sum();
            assert_eq!(of_days, raised.0 + raised.1, "{found}");
            let examples = [&outcome.examples_both, &outcome.examples_only_candidate, &outcome.examples_only_live];
            assert_eq!(examples.map(|of| of.len() as u64), [both, only_candidate, only_live], "{found}");
        }
    }

    #[test]
    fn what_people_found_out_is_held_against_both() {
        let mut backtest = Backtest::default();
        let found = [
            "live raised 1 0-10",
            "live withdrawn 1 0-10",
            "live raised 2 0-10",
            "candidate raised 1 5-15",
            "candidate raised 3 0-10",
        ];
        for text in found {
            backtest.hear(OperatorNo(1), "2026-11-02", finding(text));
        }
        // player, whose alert, window, whether it was right
        let judged = [(1, 1, 0, true), (2, 1, 0, true), (1, 9, 0, true), (2, 1, 0, false), (3, 1, 20, false)];
        backtest.judged(judged.map(|(player, no, start, is_confirmed)| {
            let subject = Subject {
                metric: Metric::Finding,
                who: Who::Player(player).subject(),
                ..AlertRevision::for_tests().subject
            };
            let window = Window { start: Ts(start), end: Ts(start + 10) };
            let operator_no = OperatorNo(no);
            Judged::of(&AlertRevision { operator_no, subject, window, ..AlertRevision::for_tests() }, is_confirmed)
        }));
        let outcome = backtest.outcome();
        assert_eq!(outcome.confirmed, Hits { judged: 3, candidate: 1, live: 2 });
        assert_eq!(outcome.false_alarms, Hits { judged: 2, candidate: 0, live: 1 });
    }

    #[test]
    fn examples_are_the_newest_and_their_number_has_an_end() {
        let mut backtest = Backtest::default();
        for player in 0..100 {
            backtest.hear(OperatorNo(1), "2026-11-02", finding(&format!("candidate raised {player} 0-{}", player + 1)));
        }
        let outcome = backtest.outcome();
        assert_eq!((outcome.only_candidate, outcome.examples_only_candidate.len()), (100, EXAMPLES_MAX));
        assert_eq!(outcome.examples_only_candidate[0].finding.at, Ts(100));
    }

    #[test]
    fn a_set_has_what_is_live_and_the_version_that_is_tried() {
        let life = Life::standard("KE", RULE).unwrap();
        let tried = set(&life, 2, json!({"deposits_min": 2}), &[]).unwrap();
        let rows: Vec<_> = tried.versions().map(|row| (row.version, row.mode)).collect();
        assert_eq!(rows, [(1, Mode::Live), (2, Mode::Shadow)]);
        assert!(set(&life, 2, json!({"deposits_min": 0}), &[]).is_err());
    }

    #[test]
    fn a_rule_over_all_operators_is_tried_beside_what_is_live_of_those_of_one() {
        let own = "shared_payout_account";
        let off = RuleSet::new("KE", Vec::new()).unwrap();
        // the rule that is tried, beside what, and whether the set has the rule of one operator
        let table = [
            ("shared_payout_account_across_operators", RuleSet::standard("KE"), true),
            ("shared_payout_account_across_operators", off, false),
            (RULE, RuleSet::standard("KE"), false),
        ];
        for (rule, all, wanted) in table {
            let life = Life::standard("KE", rule).unwrap();
            let tried = set(&life, 2, json!({}), &beside(rule, &all)).unwrap();
            assert_eq!(tried.in_force(own, Mode::Live, Ts(1)).is_some(), wanted, "{rule}");
            let of_rule: Vec<_> = tried.versions().filter(|row| row.rule == rule).map(|row| row.mode).collect();
            assert_eq!(of_rule, [Mode::Live, Mode::Shadow], "{rule}: each once");
        }
    }

    #[test]
    fn windows_of_the_span_are_judged_by_the_version_that_is_tried() {
        let life = Life::standard("KE", "robust_deviation").unwrap();
        let given = json!({"threshold_milli": 4_000});
        let [live, candidate] = deviations(&life, 4, given, Ts(100)).unwrap();
        let version = |of: &Deviations, at| of.at(Ts(at)).map(|params| (params.version, params.threshold_milli));
        let table = [(99, Some((3, 6_000)), Some((3, 6_000))), (100, Some((3, 6_000)), Some((4, 4_000)))];
        for (at, of_live, of_candidate) in table {
            assert_eq!((version(&live, at), version(&candidate, at)), (of_live, of_candidate), "{at}");
        }
        assert!(deviations(&life, 4, json!({"threshold_milli": 1}), Ts(100)).is_err());
        let other = Life::standard("KE", RULE).unwrap();
        assert!(deviations(&other, 2, json!({}), Ts(100)).is_err(), "it is no rule of the market");
    }

    #[test]
    fn alerts_of_the_market_lie_beside_each_other_by_their_series() {
        let of = |metric, window: (i64, i64), kind, mode| {
            let subject = Subject { metric, ..AlertRevision::for_tests().subject };
            let window = Window { start: Ts(window.0), end: Ts(window.1) };
            let id = AlertId(window.start.0 as u128);
            of_alert(
                &AlertRevision {
                    id,
                    rule: detector::RULE.to_owned(),
                    subject,
                    window,
                    kind,
                    ..AlertRevision::for_tests()
                },
                mode,
            )
        };
        let mut backtest = Backtest::default();
        backtest.active(OperatorNo(1), "2026-11-01");
        for finding in [
            of(Metric::Stakes, (0, 10), RevisionKind::Raised, Mode::Live),
            // another metric leads, of the same cause
            of(Metric::Count, (0, 10), RevisionKind::Raised, Mode::Shadow),
            of(Metric::Stakes, (30, 40), RevisionKind::Raised, Mode::Shadow),
        ] {
            backtest.hear(OperatorNo(1), "2026-11-01", finding);
        }
        let outcome = backtest.outcome();
        assert_eq!((outcome.both, outcome.only_candidate, outcome.only_live), (1, 1, 0));
        assert_eq!((outcome.candidate.raised, outcome.live.raised), (2, 1));
    }
}
