//! The alert on a model whose scores have moved far from what it learnt, or whose probabilities do not hold.

use models::alert::{AlertRevision, Evidence, Granularity, Metric, RevisionKind, Severity, Subject, Window};
use models::ids::{AlertId, OperatorNo};
use models::jurisdiction::JurisdictionNo;
use models::money::Currency;
use models::risk_model::{DriftJudged, DriftLevel};
use models::ts::{DAY, Ts};
use ring::digest::{SHA256, digest};

/// Name of the rule.
pub const RULE: &str = "model_drift";
/// Version of the rule.
const VERSION: u32 = 1;
/// Population stability index that is called far, millionths (`ml::tabular::drift::PSI_SIGNIFICANT`).
const FAR_PPM: i64 = 250_000;
/// A day that has been over for so long is no news, microseconds.
const NEWS: i64 = 7 * DAY;

/// The jurisdiction whom it concerns: a model is the regulator's, and no operator answers for it.
#[derive(Clone, Copy, Debug)]
pub struct Nation<'a> {
    /// Its number.
    pub no: JurisdictionNo,
    /// Its code.
    pub code: &'a str,
    /// Its currency.
    pub currency: Currency,
}

/// What has to be said of a day, if anything: nothing takes it back, and a day judged again is the same alert. Probabilities
/// that do not hold are more urgent than scores that have moved.
#[must_use]
pub fn alert(judged: &DriftJudged, operator_code: &str, of: &Nation<'_>, now: Ts) -> Option<AlertRevision> {
    let is_heard = judged.level == DriftLevel::Significant && !judged.is_shadow;
    let is_news = is_heard && now.0.saturating_sub(judged.day.0) <= NEWS;
    if !is_news {
        return None;
    }
    let is_wrong = judged.calibration.is_some_and(|(_, _, holds)| !holds);
    // one matter for each operator: at one of them the data may be another one's
    let model = format!("model:{}/{}/{operator_code}", judged.kind.as_str(), judged.version);
    let mut reasons =
        vec![format!("version {} of the model {} is to be learnt anew", judged.version, judged.kind.as_str())];
    reasons.extend(judged.reasons.iter().cloned());
    let observed = judged.score_psi_ppm.map_or(0, i64::from);
    Some(AlertRevision {
        id: id(&model, judged),
        rule: RULE.to_owned(),
        rule_version: VERSION,
        operator_no: OperatorNo::of_nation(of.no),
        subject: Subject {
            operator: of.code.to_owned(),
            metric: Metric::Finding,
            granularity: Granularity::Day,
            currency: of.currency,
            source: None,
            who: Some(model),
        },
        window: Window { start: judged.day, end: judged.day.plus(DAY) },
        kind: RevisionKind::Raised,
        severity: if is_wrong { Severity::High } else { Severity::Medium },
        at: now,
        operator_seq: 0,
        offset: 0,
        operator_offset: 0,
        evidence: Evidence {
            observed,
            expected: 0,
            band_low: 0,
            band_high: FAR_PPM,
            samples: judged.rows.try_into().unwrap_or(u32::MAX),
            reasons,
            unit: Some("ppm".to_owned()),
            operators: vec![operator_code.to_owned()],
            ..Evidence::default()
        },
    })
}

/// First 128 bits of SHA-256 over rule, version, model, operator and day.
fn id(model: &str, judged: &DriftJudged) -> AlertId {
    let text = format!("{RULE}\0{VERSION}\0{model}\0{}\0{}", judged.operator_no.0, judged.day.0);
    let mut first = [0; 16];
    first.copy_from_slice(&digest(&SHA256, text.as_bytes()).as_ref()[..16]);
    AlertId(u128::from_be_bytes(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::risk_model::ModelKind;

    const KENYA: Nation<'_> = Nation { no: JurisdictionNo(0), code: "KE", currency: Currency::KES };

    fn judged(level: DriftLevel, calibration: Option<(u32, u32, bool)>) -> DriftJudged {
        DriftJudged {
            kind: ModelKind::TransactionRisk,
            version: 3,
            operator_no: OperatorNo(4),
            day: Ts(10 * DAY),
            rows: 900,
            level,
            score_psi_ppm: Some(412_000),
            features: Vec::new(),
            calibration,
            reasons: vec!["the scores have moved far".to_owned()],
            is_shadow: false,
        }
    }

    #[test]
    fn what_has_moved_far_is_told_while_it_is_news() {
        use DriftLevel::{Moderate, Significant, Stable, Unknown};
        let table = [
            (Stable, None, 11, None),
            (Moderate, None, 11, None),
            (Unknown, None, 11, None),
            (Significant, None, 11, Some(Severity::Medium)),
            (Significant, Some((200_000, 210_000, true)), 11, Some(Severity::Medium)),
            (Significant, Some((200_000, 600_000, false)), 11, Some(Severity::High)),
            (Significant, None, 17, Some(Severity::Medium)),
            (Significant, None, 18, None),
        ];
        for (level, calibration, day, severity) in table {
            let judged = judged(level, calibration);
            let said = alert(&judged, "safi", &KENYA, Ts(day * DAY));
            assert_eq!(said.map(|revision| revision.severity), severity, "{level:?} {calibration:?} on day {day}");
            let shadow = DriftJudged { is_shadow: true, ..judged };
            assert_eq!(alert(&shadow, "safi", &KENYA, Ts(day * DAY)), None, "of a shadow nobody is told");
        }
    }

    #[test]
    fn a_day_of_a_version_is_one_alert_and_a_version_one_subject() {
        let far = judged(DriftLevel::Significant, None);
        let said = |judged: &DriftJudged, day: i64| alert(judged, "safi", &KENYA, Ts(day * DAY)).unwrap();
        let (first, again) = (said(&far, 11), said(&DriftJudged { rows: 950, ..far.clone() }, 12));
        assert_eq!((first.id, first.operator_seq), (again.id, again.operator_seq));
        assert_eq!(first.subject.who.as_deref(), Some("model:transaction_risk/3/safi"));
        assert_eq!((first.operator_no, first.subject.operator.as_str()), (OperatorNo::of_nation(KENYA.no), "KE"));
        assert_eq!(first.evidence.operators, ["safi"]);
        assert_eq!(
            (first.evidence.observed, first.evidence.band_high, first.evidence.samples),
            (412_000, 250_000, 900)
        );
        assert_eq!(
            first.evidence.reasons,
            ["version 3 of the model transaction_risk is to be learnt anew", "the scores have moved far"]
        );
        let next = said(&DriftJudged { day: Ts(11 * DAY), ..far.clone() }, 12);
        assert_eq!(next.subject, first.subject);
        let version = said(&DriftJudged { version: 4, ..far.clone() }, 11);
        let other = said(&DriftJudged { operator_no: OperatorNo(5), ..far }, 11);
        assert!([next.id, version.id, other.id].iter().all(|id| *id != first.id));
        assert_ne!(version.subject, first.subject);
    }
}
