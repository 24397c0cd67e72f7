//! What people found out of records and players that a model had named: do its probabilities still hold?
//!
//! An alert of `risky_transaction` or `player_at_risk` holds the score that made it speak. People resolve its group as
//! confirmed or as a false alarm, and so say what was true. Of scores below the bounds of those rules nobody finds out
//! anything: what is judged is whether the model is right where it is heard.

use engine::rules::finding::Unit;
use engine::rules::{player_at_risk, risky_transaction};
use models::alert::{AlertRevision, RevisionKind};
use models::alert_group::Resolution;
use models::ids::OperatorNo;
use models::risk_model::{DriftJudged, ModelKind};
use models::ts::Ts;
use store::{Store, StoreError};

/// Groups that are asked for at once, and how often: most of those that are over ended by themselves.
const GROUPS_AT_ONCE: u32 = 200;
const PAGES_MAX: u32 = 20;
/// Alerts of them.
const ALERTS_MAX: usize = 500;

/// Scores of a version at an operator since it was promoted, millionths, and whether they turned out to be positive.
///
/// # Errors
/// [`StoreError`]
pub(super) async fn found_out(store: &Store, judged: &DriftJudged) -> Result<Vec<(u32, bool)>, StoreError> {
    let rule = match judged.kind {
        ModelKind::TransactionRisk => risky_transaction::ABOUT.name,
        ModelKind::PlayerRisk => player_at_risk::ABOUT.name,
        ModelKind::Anomaly => return Ok(Vec::new()),
    };
    if judged.is_shadow {
        // no alert speaks of its scores
        return Ok(Vec::new());
    }
    let stored = store.model(judged.kind, judged.version).await?;
    let Some((_, promoted_at)) = stored.and_then(|stored| stored.promoted) else { return Ok(Vec::new()) };
    let alerts = judged_alerts(store, judged.operator_no, rule).await?;
    let scored = |(revisions, is_positive): &(Vec<AlertRevision>, bool)| {
        score(revisions, promoted_at).map(|score| (score, *is_positive))
    };
    Ok(alerts.iter().filter_map(scored).collect())
}

/// Alerts of a rule of an operator, or of all of a jurisdiction, that people have confirmed (true) or called a false alarm: the
/// revisions of each, newest first, those of the newest groups first, as far as groups remember their alerts.
///
/// # Errors
/// [`StoreError`]
pub(super) async fn judged_alerts(
    store: &Store,
    operator: OperatorNo,
    rule: &str,
) -> Result<Vec<(Vec<AlertRevision>, bool)>, StoreError> {
    let mut alerts = Vec::new();
    for page in 0..PAGES_MAX {
        let groups = store.resolved_groups(operator, rule, (page * GROUPS_AT_ONCE, GROUPS_AT_ONCE)).await?;
        let is_last = groups.len() < GROUPS_AT_ONCE as usize;
        for group in groups {
            let is_confirmed = match group.resolution {
                Some(Resolution::Confirmed) => true,
                Some(Resolution::FalseAlarm) => false,
                _ => continue,
            };
            let newest = Some(group.last_alert).filter(|newest| !group.standing.contains(newest));
            for alert in group.standing.iter().copied().chain(newest) {
                alerts.push((store.alert(alert).await?, is_confirmed));
                if alerts.len() >= ALERTS_MAX {
                    return Ok(alerts);
                }
            }
        }
        if is_last {
            break;
        }
    }
    Ok(alerts)
}

/// The score that made an alert speak, of its revisions, newest first; none where it is of a version before, or counts
/// something else: of many records at once the operator is named with their number.
fn score(revisions: &[AlertRevision], promoted_at: Ts) -> Option<u32> {
    let spoke = |revision: &&AlertRevision| {
        let is_score = revision.evidence.unit.as_deref() == Some(Unit::Ppm.as_str());
        // a later score that takes it back is what came of the help
        revision.kind != RevisionKind::Withdrawn && is_score && revision.at >= promoted_at
    };
    let revision = revisions.iter().find(spoke)?;
    u32::try_from(revision.evidence.observed).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::ids::AlertId;
    use models::risk_model::DriftLevel;
    use serde_json::json;
    use store::OpenOptions;

    const PROMOTED_AT: i64 = 1_000;

    /// An alert of a score, and its group as people left it.
    async fn told(store: &Store, no: i64, rule: &str, (score, at): (i64, i64), resolution: Option<Resolution>) {
        let mut alert =
            AlertRevision { id: AlertId(no as u128), rule: rule.to_owned(), at: Ts(at), ..AlertRevision::for_tests() };
        alert.evidence.observed = score;
        alert.evidence.unit = Some(if score < 1_000 { "records" } else { "ppm" }.to_owned());
        let state = if resolution.is_some() { "resolved" } else { "open" };
        let group = json!({"id": format!("grp_{no:026}"), "rule": rule, "operator_no": 1, "jurisdiction": 0,
            "subject": alert.subject, "state": state, "episode": 1, "severity": "high", "hits": 1, "standing": [alert.id],
            "standing_more": 0, "first_at": at, "last_at": at, "last_alert": alert.id, "last_window": alert.window,
            "resolution": resolution, "told": true, "notices": 0});
        let number =
            serde_json::from_value::<models::alert_group::AlertGroup>(group.clone()).expect("a group").state.code();
        let body = serde_json::to_string(&alert).expect("JSON");
        let (id, alert) = (&group["id"], alert.id);
        for sql in [
            format!(
                "INSERT INTO alert_revisions (alert_offset, id, operator_seq, operator_no, operator_offset, rule, kind, severity, body) VALUES ({no}, '{alert}', {no}, 1, {no}, '{rule}', 0, 0, '{body}')"
            ),
            format!(
                "INSERT INTO alert_groups (id, jurisdiction, operator_no, rule, state, severity, last_at, body) VALUES ('{}', 0, 1, '{rule}', {number}, 0, {at}, '{group}')",
                id.as_str().unwrap_or_default()
            ),
        ] {
            assert_eq!(store.execute_for_tests(&sql).await.expect("a row"), 1);
        }
    }

    #[actix_rt::test]
    async fn what_people_decided_is_what_was_true() {
        let dir = testkit::temp_dir();
        let store = Store::open(&testkit::sqlite_url(&dir), &OpenOptions::default()).await.expect("a store");
        let judged = |kind, operator| DriftJudged {
            kind,
            version: 2,
            operator_no: OperatorNo(operator),
            day: Ts(0),
            rows: 1,
            level: DriftLevel::Unknown,
            score_psi_ppm: None,
            features: Vec::new(),
            calibration: None,
            reasons: Vec::new(),
            is_shadow: false,
        };
        let (records, players) = (ModelKind::TransactionRisk, ModelKind::PlayerRisk);
        let metrics = json!({"rows": 900, "positives": 200, "auc_ppm": 1, "average_precision_ppm": 1, "brier_ppm": 1,
            "calibration_error_ppm": 1});
        for kind in ["transaction_risk", "player_risk"] {
            let model = json!({"kind": kind, "version": 2, "artefact_sha256": kind, "schema_sha256": "", "data_sha256": "",
                "features": 1, "bytes": 1, "held_out": metrics, "evaluation": null, "by": "Wanjiku", "card": ""});
            let sql = format!(
                "INSERT INTO models (kind, version, artefact_sha256, state, registered_by, registered_at, promoted_by, promoted_at, body) VALUES ('{kind}', 2, '{kind}', 'promoted', 'Wanjiku', 0, 'Otieno', {PROMOTED_AT}, '{model}')"
            );
            assert_eq!(store.execute_for_tests(&sql).await.expect("a row"), 1);
        }
        let (after, before) = (PROMOTED_AT + 5, PROMOTED_AT - 5);
        let (risky, at_risk) = ("risky_transaction", "player_at_risk");
        for (no, (rule, score, at, resolution)) in (1..).zip([
            (risky, 600_000, after, Some(Resolution::Confirmed)),
            (risky, 700_000, after + 1, Some(Resolution::FalseAlarm)),
            (risky, 510_000, after, Some(Resolution::Expected)),
            (risky, 520_000, after, None),
            // so many in an hour that the operator is named
            (risky, 21, after, Some(Resolution::Confirmed)),
            (risky, 530_000, before, Some(Resolution::Confirmed)),
            (at_risk, 800_000, after, Some(Resolution::Confirmed)),
            ("rapid_in_out", 900_000, after, Some(Resolution::Confirmed)),
        ]) {
            told(&store, no, rule, (score, at), resolution).await;
        }
        // of whom | what is known
        for (of, wanted) in [
            (judged(records, 1), &[(700_000, false), (600_000, true)][..]),
            (judged(players, 1), &[(800_000, true)]),
            (judged(records, 2), &[]),
            (DriftJudged { version: 3, ..judged(records, 1) }, &[]),
            (DriftJudged { is_shadow: true, ..judged(records, 1) }, &[]),
            (judged(ModelKind::Anomaly, 1), &[]),
        ] {
            assert_eq!(found_out(&store, &of).await.expect("read"), wanted, "{of:?}");
        }
        store.close().await;
    }
}
