//! From what rules found to what is stored and heard of.

use super::input::Stored;
use crate::directory::Directory;
use engine::rules::finding::{Finding, Mode};
use models::alert::{AlertRevision, Evidence, Granularity, Metric, Subject};
use models::compliance::ComplianceDayCounted;
use models::event::Event;
use models::ids::OperatorNo;
use models::jurisdiction::JurisdictionNo;
use models::money::Currency;
use models::risk_model::DriftJudged;
use store::{Attachment, RuleFindingRow};

/// Findings of one commit at most.
pub(super) const FINDINGS_AT_ONCE: usize = 512;

/// Whose rules speak.
#[derive(Clone, Debug)]
pub(crate) struct Whose {
    /// The operator, or whoever stands for all of a jurisdiction.
    pub no: OperatorNo,
    pub jurisdiction: JurisdictionNo,
    /// Code of the operator or of the jurisdiction.
    pub code: String,
    /// The jurisdiction's.
    pub currency: Currency,
}

/// What a commit is to hold.
#[derive(Default)]
pub(super) struct Told {
    events: Vec<Event>,
    rows: Vec<RuleFindingRow>,
}

impl Told {
    /// Adds what an input led to; `place` is its position in the sequence of those rules.
    pub fn add(&mut self, whose: &Whose, directory: &Directory, input: &Stored, place: i64, findings: Vec<Finding>) {
        for finding in findings {
            self.rows.push(row(whose, input, place, &finding));
            if finding.mode == Mode::Live {
                let code = |no| directory.operators.get(no).map(|operator| operator.code.clone());
                let operators = finding.operators.iter().filter_map(code).collect();
                self.events.push(Event::AlertRevised(revision(whose, place, finding, operators)));
            }
        }
    }

    /// Adds days that were counted.
    pub fn days(&mut self, days: Vec<ComplianceDayCounted>) {
        self.events.extend(days.into_iter().map(Event::ComplianceDayCounted));
    }

    /// Adds a day of a model's drift.
    pub fn drift(&mut self, judged: DriftJudged) {
        self.events.push(Event::ModelDriftJudged(Box::new(judged)));
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// What is committed; nothing where nothing was found.
    pub fn take(&mut self) -> Option<(Vec<Event>, Vec<Attachment>)> {
        let Self { events, rows } = std::mem::take(self);
        let attachments = if rows.is_empty() { Vec::new() } else { vec![Attachment::RuleFindings(rows)] };
        (!events.is_empty() || !attachments.is_empty()).then_some((events, attachments))
    }
}

fn row(whose: &Whose, input: &Stored, place: i64, finding: &Finding) -> RuleFindingRow {
    RuleFindingRow {
        id: finding.id,
        rule: finding.rule.to_owned(),
        version: finding.version,
        is_shadow: finding.mode == Mode::Shadow,
        jurisdiction: whose.jurisdiction,
        operator_no: input.operator,
        input_seq: place,
        window: finding.window,
        kind: finding.kind,
        severity: finding.severity,
        at: finding.at,
        seq: input.seq,
        // strings, numbers and lists: writing them cannot fail
        body: serde_json::to_string(finding).unwrap_or_default(),
    }
}

fn revision(whose: &Whose, place: i64, finding: Finding, operators: Vec<String>) -> AlertRevision {
    let who = finding.who.subject();
    let subject = Subject {
        operator: whose.code.clone(),
        metric: Metric::Finding,
        granularity: Granularity::Day,
        currency: whose.currency,
        source: None,
        who,
    };
    let evidence = Evidence {
        observed: finding.measured.observed,
        expected: finding.measured.limit,
        band_low: 0,
        band_high: finding.measured.limit,
        score_milli: 0,
        threshold_milli: 0,
        samples: 0,
        reasons: finding.reasons,
        records: finding.records,
        unit: Some(finding.measured.unit.as_str().to_owned()),
        operators,
    };
    AlertRevision {
        id: finding.id,
        rule: finding.rule.to_owned(),
        rule_version: finding.version,
        operator_no: whose.no,
        subject,
        window: finding.window,
        kind: finding.kind,
        severity: finding.severity,
        at: finding.at,
        operator_seq: place,
        offset: 0,
        operator_offset: 0,
        evidence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::rules::finding::{Measured, Scope, Unit, Who};
    use models::alert::{RevisionKind, Severity, Window};
    use models::ids::AlertId;
    use models::rule_input::RuleInput;
    use models::ts::Ts;

    fn finding(id: u128, mode: Mode, who: Who) -> Finding {
        Finding {
            id: AlertId(id),
            rule: "structured_deposits",
            version: 2,
            mode,
            scope: Scope::Operator(OperatorNo(1)),
            operators: vec![OperatorNo(1), OperatorNo(9)],
            who,
            window: Window { start: Ts(1), end: Ts(2) },
            kind: RevisionKind::Raised,
            severity: Severity::High,
            at: Ts(7),
            measured: Measured { observed: 5, limit: 3, unit: Unit::MinorUnits },
            reasons: vec!["why".to_owned()],
            records: vec!["r1".to_owned()],
        }
    }

    #[test]
    fn a_shadow_is_kept_and_heard_of_by_nobody() {
        let whose = Whose {
            no: OperatorNo(1),
            jurisdiction: JurisdictionNo(0),
            code: "acme".to_owned(),
            currency: Currency::KES,
        };
        let input = Stored {
            seq: 44,
            operator: OperatorNo(1),
            input_seq: 6,
            rules_seq: 0,
            input: RuleInput::Batch { operator_seq: 5 },
            batch: None,
        };
        let found = [finding(1, Mode::Live, Who::Player(0xab)), finding(1, Mode::Shadow, Who::Operator)];
        for (findings, events) in [(&found[..], 1), (&found[..1], 1), (&found[1..], 0)] {
            let mut told = Told::default();
            told.add(&whose, &Directory::default(), &input, 6, findings.to_vec());
            let (alerts, attachments) = told.take().expect("something to store");
            assert_eq!(alerts.len(), events);
            let Some(Attachment::RuleFindings(rows)) = attachments.first() else { panic!("rows: {attachments:?}") };
            assert_eq!(rows.len(), findings.len());
            for (row, finding) in rows.iter().zip(findings) {
                assert_eq!((row.is_shadow, row.seq, row.input_seq), (finding.mode == Mode::Shadow, 44, 6));
                assert_eq!(row.body, serde_json::to_string(finding).expect("json"));
            }
            assert!(told.take().is_none(), "it is told once");
        }
        let alert = revision(&whose, 6, found[0].clone(), Vec::new());
        assert_eq!(alert.subject.who.as_deref(), Some("player:00000000000000000000ab"));
        assert_eq!((alert.operator_seq, alert.evidence.observed, alert.evidence.expected), (6, 5, 3));
        assert_eq!(revision(&whose, 6, found[1].clone(), Vec::new()).subject.who, None, "the operator itself");
    }
}
