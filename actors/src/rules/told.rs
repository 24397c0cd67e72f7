//! From what rules found to what is stored and heard of.

use super::input::Stored;
use super::quiet::Quiet;
use crate::directory::Directory;
use engine::rules::finding::{Band, Finding, Mode, Who};
use engine::rules::list;
use models::alert::{AlertRevision, Evidence, Granularity, Metric, Subject};
use models::compliance::ComplianceDayCounted;
use models::event::Event;
use models::harm_signal::HarmSignal;
use models::ids::{AlertId, OperatorNo};
use models::jurisdiction::JurisdictionNo;
use models::model_shadow::ShadowDayCounted;
use models::money::Currency;
use models::risk_model::DriftJudged;
use std::collections::HashSet;
use std::sync::LazyLock;
use store::{Attachment, FindingsBy, RuleFindingRow};

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

impl Whose {
    /// Their findings, as the store finds them.
    pub fn findings(&self) -> FindingsBy<'static> {
        static NATIONAL: LazyLock<Vec<&str>> =
            LazyLock::new(|| list::ABOUT.iter().filter(|about| about.is_national()).map(|about| about.name).collect());
        let operator = self.no.nation().is_none().then_some(self.no);
        FindingsBy { jurisdiction: self.jurisdiction, operator, national: &NATIONAL }
    }
}

/// What names a revision of a finding.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FindingId {
    pub place: i64,
    pub id: AlertId,
    pub is_shadow: bool,
    pub rule: String,
}

impl FindingId {
    pub fn of(row: &RuleFindingRow) -> Self {
        Self { place: row.input_seq, id: row.id, is_shadow: row.is_shadow, rule: row.rule.clone() }
    }
}

/// What a commit is to hold.
#[derive(Default)]
pub(super) struct Told {
    events: Vec<Event>,
    rows: Vec<RuleFindingRow>,
    /// Live ones of which nobody is told.
    quiet: HashSet<FindingId>,
}

impl Told {
    /// Adds what an input led to; `place` is its position in the sequence of those rules. Of a quiet input nobody is told.
    pub fn add(
        &mut self,
        whose: &Whose,
        (directory, quiet): (&Directory, &Quiet),
        (input, place): (&Stored, i64),
        findings: Vec<Finding>,
    ) {
        let is_quiet = !findings.is_empty() && quiet.holds(input);
        for finding in findings {
            let row = row(whose, input, place, &finding);
            if finding.mode == Mode::Live && is_quiet {
                self.quiet.insert(FindingId::of(&row));
            } else if finding.mode == Mode::Live {
                let code = |no| directory.operators.get(no).map(|operator| operator.code.clone());
                let operators = finding.operators.iter().filter_map(code).collect();
                self.events.push(Event::AlertRevised(revision(whose, place, finding, operators)));
            }
            self.rows.push(row);
        }
    }

    /// What is to be stored, by name, and whether it is live and told to nobody.
    pub fn offered(&self) -> Vec<(FindingId, bool)> {
        let named = self.rows.iter().map(FindingId::of);
        named.map(|id| (self.quiet.contains(&id), id)).map(|(is_quiet, id)| (id, is_quiet)).collect()
    }

    /// Adds days that were counted.
    pub fn days(&mut self, days: Vec<ComplianceDayCounted>) {
        self.events.extend(days.into_iter().map(Event::ComplianceDayCounted));
    }

    /// Adds signs of harm that changed.
    pub fn signals(&mut self, signals: Vec<HarmSignal>) {
        self.events.extend(signals.into_iter().map(|signal| Event::HarmSignalSet(Box::new(signal))));
    }

    /// Adds a day of a model's drift.
    pub fn drift(&mut self, judged: DriftJudged) {
        self.events.push(Event::ModelDriftJudged(Box::new(judged)));
    }

    /// Adds a day of a version in the shadow.
    pub fn shadow(&mut self, counted: ShadowDayCounted) {
        self.events.push(Event::ModelShadowCounted(Box::new(counted)));
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// What is committed; nothing where nothing was found.
    pub fn take(&mut self) -> Option<(Vec<Event>, Vec<Attachment>)> {
        let Self { events, rows, quiet: _ } = std::mem::take(self);
        let attachments = if rows.is_empty() { Vec::new() } else { vec![Attachment::RuleFindings(rows)] };
        (!events.is_empty() || !attachments.is_empty()).then_some((events, attachments))
    }
}

pub(super) fn row(whose: &Whose, input: &Stored, place: i64, finding: &Finding) -> RuleFindingRow {
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

pub(super) fn revision(whose: &Whose, place: i64, finding: Finding, operators: Vec<String>) -> AlertRevision {
    let who = finding.who.subject();
    // windows of one length and currency are one subject, whatever of them is unusual
    let (granularity, currency) = match finding.who {
        Who::Series(granularity, currency) => (granularity, currency),
        _ => (Granularity::Day, whose.currency),
    };
    let operator = whose.code.clone();
    let subject = Subject { operator, metric: Metric::Finding, granularity, currency, source: None, who };
    let limit = finding.measured.limit;
    let none = Band { low: 0, high: limit, score_milli: 0, threshold_milli: 0, samples: 0 };
    let Band { low, high, score_milli, threshold_milli, samples } = finding.band.unwrap_or(none);
    let evidence = Evidence {
        observed: finding.measured.observed,
        expected: limit,
        band_low: low,
        band_high: high,
        score_milli,
        threshold_milli,
        samples,
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
    use engine::rules::finding::{Measured, Scope, Unit};
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
            band: None,
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
        let (loud, quiet) = (Quiet::default(), Quiet::of(0, [(OperatorNo(1), 5)]));
        for (findings, quiet, events, untold) in [
            (&found[..], &loud, 1, 0),
            (&found[..1], &loud, 1, 0),
            (&found[1..], &loud, 0, 0),
            (&found[..], &quiet, 0, 1),
            (&found[..], &Quiet::of(99, [(OperatorNo(1), 4)]), 1, 0),
        ] {
            let mut told = Told::default();
            told.add(&whose, (&Directory::default(), quiet), (&input, 6), findings.to_vec());
            assert_eq!(told.offered().iter().filter(|(_, is_quiet)| *is_quiet).count(), untold);
            assert_eq!(told.offered().len(), findings.len());
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
        assert_eq!((alert.evidence.band_low, alert.evidence.band_high, alert.evidence.score_milli), (0, 3, 0));
        let band = Band { low: -4, high: 9, score_milli: 612, threshold_milli: 500, samples: 400 };
        let odd = finding(2, Mode::Live, Who::Series(Granularity::Hour, Currency::EUR));
        let AlertRevision { subject, evidence, .. } =
            revision(&whose, 7, Finding { band: Some(band), ..odd }, Vec::new());
        assert_eq!((subject.granularity, subject.currency, subject.who), (Granularity::Hour, Currency::EUR, None));
        assert_eq!((evidence.band_low, evidence.band_high, evidence.samples), (-4, 9, 400));
        assert_eq!((evidence.score_milli, evidence.threshold_milli), (612, 500));
    }
}
