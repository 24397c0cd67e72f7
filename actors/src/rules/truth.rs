//! What people found out of records and players that a model had named: do its probabilities still hold?
//!
//! An alert of `risky_transaction` or `player_at_risk` holds the score that made it speak. People resolve its group as
//! confirmed or as a false alarm, and so say what was true. Of scores below the bounds of those rules nobody finds out
//! anything: what is judged is whether the model is right where it is heard.
//!
//! # When an alert speaks
//!
//! Whoever asks what people made of a span asks here, and hears one notion of it. An alert speaks at `at` of each revision
//! that raised or corrected it: when what it stands on happened, of a score of a player within the day that it is about. It
//! speaks in a span where one of these lies there, the first instant of the span included and the first one behind it not;
//! what it says of the span is the newest of them. A withdrawal says nothing. Nor does its window: that is what the finding is
//! about, of a player a whole month, and not when it was found. So spans that follow each other share no revision.

use engine::rules::finding::Unit;
use engine::rules::{player_at_risk, risky_transaction};
use models::alert::{AlertRevision, RevisionKind, Window};
use models::alert_group::Resolution;
use models::ids::{AlertId, OperatorNo};
use models::jurisdiction::JurisdictionNo;
use models::risk_model::{DriftJudged, ModelKind};
use models::ts::{DAY, Ts};
use store::{Store, StoreError};

/// Groups that are asked for at once, and how often.
const GROUPS_AT_ONCE: u32 = 200;
const PAGES_MAX: u32 = 20;
/// Alerts of a span that are looked at.
pub(super) const ALERTS_MAX: usize = 500;
/// How far a feed's clock may lie before the engine's.
const AHEAD_MAX: i64 = DAY;

/// Scores of a version at an operator since it was promoted in its jurisdiction, millionths, and whether they turned out to be
/// positive.
///
/// # Errors
/// [`StoreError`]
pub(super) async fn found_out(
    store: &Store,
    jurisdiction: JurisdictionNo,
    judged: &DriftJudged,
) -> Result<Vec<(u32, bool)>, StoreError> {
    let rule = match judged.kind {
        ModelKind::TransactionRisk => risky_transaction::ABOUT.name,
        ModelKind::PlayerRisk => player_at_risk::ABOUT.name,
    };
    if judged.is_shadow {
        // no alert speaks of its scores
        return Ok(Vec::new());
    }
    let stored = store.model(jurisdiction, (judged.kind, judged.version)).await?;
    let Some((_, promoted_at)) = stored.and_then(|stored| stored.promoted) else { return Ok(Vec::new()) };
    let span = Window { start: promoted_at, end: Ts(i64::MAX) };
    // of more than are looked at the newest ones say how the model is now
    let JudgedAlerts { alerts, is_cut: _ } = judged_alerts(store, (judged.operator_no, rule), span, ALERTS_MAX).await?;
    // a later score that takes it back is what came of the help
    let scored = |(spoke, is_positive): &(AlertRevision, bool)| score(spoke).map(|score| (score, *is_positive));
    Ok(alerts.iter().filter_map(scored).collect())
}

/// Alerts that people have judged.
#[derive(Debug, Default)]
pub(crate) struct JudgedAlerts {
    /// What each said last in the span, and whether it was confirmed (else: a false alarm); those of the newest groups first.
    pub alerts: Vec<(AlertRevision, bool)>,
    /// There are more, which nobody looked at: as many are looked at as may be, or a group remembers no more of its own.
    pub is_cut: bool,
}

/// Alerts of a rule of an operator, or of all of a jurisdiction, that people have confirmed or called a false alarm, and that
/// spoke in a span; at most so many.
///
/// # Errors
/// [`StoreError`]
pub(crate) async fn judged_alerts(
    store: &Store,
    (operator, rule): (OperatorNo, &str),
    span: Window,
    alerts_max: usize,
) -> Result<JudgedAlerts, StoreError> {
    let mut judged = JudgedAlerts::default();
    // a group is hit by the engine's clock, behind which a feed's may not lie far
    let since = span.start.plus(-AHEAD_MAX);
    for page in 0..PAGES_MAX {
        let groups = store.judged_groups((operator, rule), since, (page * GROUPS_AT_ONCE, GROUPS_AT_ONCE)).await?;
        let is_last = groups.len() < GROUPS_AT_ONCE as usize;
        for group in groups {
            let is_confirmed = match group.resolution {
                Some(Resolution::Confirmed) => true,
                Some(Resolution::FalseAlarm) => false,
                _ => continue,
            };
            judged.is_cut |= group.standing_more > 0;
            let newest = Some(group.last_alert).filter(|newest| !group.standing.contains(newest));
            let alerts: Vec<AlertId> = group.standing.iter().copied().chain(newest).collect();
            let spoken = store.spoken_within(rule, &alerts, span).await?;
            for alert in alerts.into_iter().filter(|alert| spoken.contains(alert)) {
                if judged.alerts.len() >= alerts_max {
                    judged.is_cut = true;
                    return Ok(judged);
                }
                let revisions = store.alert(alert).await?;
                judged.alerts.extend(spoke_in(&revisions, span).map(|spoke| (spoke.clone(), is_confirmed)));
            }
        }
        if is_last {
            return Ok(judged);
        }
    }
    judged.is_cut = true;
    Ok(judged)
}

/// What an alert said last in a span, of its revisions, newest first; none where it did not speak then.
pub(crate) fn spoke_in(revisions: &[AlertRevision], span: Window) -> Option<&AlertRevision> {
    let spoke = |revision: &&AlertRevision| {
        revision.kind != RevisionKind::Withdrawn && span.start <= revision.at && revision.at < span.end
    };
    revisions.iter().find(spoke)
}

/// The score that made an alert speak, millionths; none where it counts something else: of many records at once the operator is
/// named with their number.
pub(crate) fn score(spoke: &AlertRevision) -> Option<u32> {
    let is_score = spoke.evidence.unit.as_deref() == Some(Unit::Ppm.as_str());
    u32::try_from(spoke.evidence.observed).ok().filter(|_| is_score)
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::risk_model::DriftLevel;
    use serde_json::json;
    use store::OpenOptions;

    const PROMOTED_AT: i64 = 1_000;

    /// An alert of a score with its time, and how people left its group.
    type Case<'a> = (i64, &'a str, (i64, i64), Option<Resolution>);

    /// The rows of a case: its alert, its finding, its group.
    fn rows((no, rule, (score, at), resolution): &Case<'_>) -> [String; 3] {
        let rule = (*rule).to_owned();
        let mut alert = AlertRevision { id: AlertId(*no as u128), rule, at: Ts(*at), ..AlertRevision::for_tests() };
        alert.evidence.observed = *score;
        alert.evidence.unit = Some(if *score < 1_000 { "records" } else { "ppm" }.to_owned());
        let state = if resolution.is_some() { "resolved" } else { "open" };
        let group = json!({"id": format!("grp_{no:026}"), "rule": alert.rule, "operator_no": 1, "jurisdiction": 0,
            "subject": alert.subject, "state": state, "episode": 1, "severity": "high", "hits": 1, "standing": [alert.id],
            "standing_more": 0, "first_at": at, "last_at": at, "last_alert": alert.id, "last_window": alert.window,
            "resolution": resolution, "told": true, "notices": 0});
        let number =
            serde_json::from_value::<models::alert_group::AlertGroup>(group.clone()).expect("a group").state.code();
        let body = serde_json::to_string(&alert).expect("JSON");
        let (id, rule, alert) = (group["id"].as_str().unwrap_or_default(), &alert.rule, alert.id);
        [
            format!("({no}, '{alert}', {no}, 1, {no}, '{rule}', 0, 0, '{body}')"),
            format!("('{alert}', '{rule}', 1, 'live', 0, 1, {no}, 0, 1, 'raised', 'high', {at}, {no}, '')"),
            format!("('{id}', 0, 1, '{rule}', {number}, 0, {at}, '{group}')"),
        ]
    }

    async fn told(store: &Store, cases: &[Case<'_>]) {
        let tables = [
            "alert_revisions (alert_offset, id, operator_seq, operator_no, operator_offset, rule, kind, severity, body)",
            "rule_findings (finding_id, rule, version, mode, jurisdiction_no, operator_no, input_seq, window_start, window_end, kind, severity, at, seq, body)",
            "alert_groups (id, jurisdiction, operator_no, rule, state, severity, last_at, body)",
        ];
        for some in cases.chunks(100) {
            for (place, table) in tables.iter().enumerate() {
                let values: Vec<String> = some.iter().map(|case| rows(case)[place].clone()).collect();
                let sql = format!("INSERT INTO {table} VALUES {}", values.join(", "));
                assert_eq!(store.execute_for_tests(&sql).await.expect("rows"), some.len() as u64);
            }
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
            for sql in [
                format!(
                    "INSERT INTO models (kind, version, artefact_sha256, registered_by, registered_at, body) VALUES ('{kind}', 2, '{kind}', 'Wanjiku', 0, '{model}')"
                ),
                // another jurisdiction has promoted it long before
                format!(
                    "INSERT INTO model_acts (kind, nr, version, act, done_by, done_at, jurisdiction) VALUES ('{kind}', 1, 2, 'promoted', 'Otieno', 0, 1)"
                ),
                format!(
                    "INSERT INTO model_acts (kind, nr, version, act, done_by, done_at, jurisdiction) VALUES ('{kind}', 2, 2, 'promoted', 'Otieno', {PROMOTED_AT}, 0)"
                ),
            ] {
                assert_eq!(store.execute_for_tests(&sql).await.expect("a row"), 1);
            }
        }
        let (after, before) = (PROMOTED_AT + 5, PROMOTED_AT - 5);
        let (risky, at_risk) = ("risky_transaction", "player_at_risk");
        told(
            &store,
            &[
                (1, risky, (600_000, after), Some(Resolution::Confirmed)),
                (2, risky, (700_000, after + 1), Some(Resolution::FalseAlarm)),
                (3, risky, (510_000, after), Some(Resolution::Expected)),
                (4, risky, (520_000, after), None),
                // so many in an hour that the operator is named
                (5, risky, (21, after), Some(Resolution::Confirmed)),
                (6, risky, (530_000, before), Some(Resolution::Confirmed)),
                (7, at_risk, (800_000, after), Some(Resolution::Confirmed)),
                (8, "rapid_in_out", (900_000, after), Some(Resolution::Confirmed)),
            ],
        )
        .await;
        // of whom | what is known
        for (of, wanted) in [
            (judged(records, 1), &[(700_000, false), (600_000, true)][..]),
            (judged(players, 1), &[(800_000, true)]),
            (judged(records, 2), &[]),
            (DriftJudged { version: 3, ..judged(records, 1) }, &[]),
            (DriftJudged { is_shadow: true, ..judged(records, 1) }, &[]),
        ] {
            assert_eq!(found_out(&store, JurisdictionNo(0), &of).await.expect("read"), wanted, "{of:?}");
        }
        store.close().await;
    }

    /// What an alert said, newest first, and what it said last in the span.
    type Spoken<'a> = (&'a str, &'a [(RevisionKind, i64)], Option<i64>);

    #[test]
    fn an_alert_speaks_in_a_span_by_what_it_said_last_there() {
        use RevisionKind::{Corrected, Raised, Withdrawn};
        let span = Window { start: Ts(10), end: Ts(20) };
        let table: [Spoken<'_>; 12] = [
            ("before it", &[(Raised, 9)], None),
            ("at its first instant", &[(Raised, 10)], Some(10)),
            ("at its last one", &[(Raised, 19)], Some(19)),
            ("at the first one behind it", &[(Raised, 20)], None),
            ("nothing", &[], None),
            ("raised before, corrected in it", &[(Corrected, 10), (Raised, 9)], Some(10)),
            ("raised in it, corrected behind it", &[(Corrected, 20), (Raised, 19)], Some(19)),
            ("raised before, corrected behind it", &[(Corrected, 20), (Raised, 9)], None),
            ("raised and corrected in it", &[(Corrected, 19), (Raised, 10)], Some(19)),
            ("raised before, withdrawn in it", &[(Withdrawn, 15), (Raised, 9)], None),
            ("raised and withdrawn in it", &[(Withdrawn, 19), (Raised, 10)], Some(10)),
            ("withdrawn, and raised anew behind it", &[(Raised, 25), (Withdrawn, 15), (Raised, 12)], Some(12)),
        ];
        for (what, said, wanted) in table {
            // its window begins before the span and ends behind it, whenever it speaks
            let window = Window { start: Ts(0), end: Ts(100) };
            let revision = |(kind, at): &(RevisionKind, i64)| AlertRevision {
                kind: *kind,
                at: Ts(*at),
                window,
                ..AlertRevision::for_tests()
            };
            let revisions: Vec<_> = said.iter().map(revision).collect();
            assert_eq!(spoke_in(&revisions, span).map(|spoke| spoke.at.0), wanted, "{what}");
        }
    }

    #[actix_rt::test]
    async fn of_what_people_judged_the_span_is_taken_first_and_a_cut_is_said() {
        let dir = testkit::temp_dir();
        let store = Store::open(&testkit::sqlite_url(&dir), &OpenOptions::default()).await.expect("a store");
        let rule = "risky_transaction";
        // long ago one; then more than are looked at, one every ten microseconds
        let many = ALERTS_MAX as i64 + 5;
        let false_alarm = |no: i64| (no, rule, (700_000, no * 10), Some(Resolution::FalseAlarm));
        let mut cases: Vec<Case<'_>> = (2..2 + many).map(false_alarm).collect();
        cases.push((1, rule, (600_000, 10), Some(Resolution::Confirmed)));
        cases.push((9_000, rule, (700_000, 15), None));
        told(&store, &cases).await;
        // span | how many are looked at, how many were confirmed, are there more
        for (start, end, wanted) in [
            (0, 15, (1, 1, false)),
            // its first instant is part of a span, the first one behind it is not
            (10, 11, (1, 1, false)),
            (9, 10, (0, 0, false)),
            (11, 20, (0, 0, false)),
            (10, 10, (0, 0, false)),
            (10, 21, (2, 1, false)),
            (0, 45, (4, 1, false)),
            (20, 20 + many * 10, (ALERTS_MAX, 0, true)),
            (0, i64::MAX, (ALERTS_MAX, 0, true)),
            (i64::MAX - 1, i64::MAX, (0, 0, false)),
        ] {
            let span = Window { start: Ts(start), end: Ts(end) };
            let judged = judged_alerts(&store, (OperatorNo(1), rule), span, ALERTS_MAX).await.expect("read");
            let confirmed = judged.alerts.iter().filter(|(_, is_confirmed)| *is_confirmed).count();
            assert_eq!((judged.alerts.len(), confirmed, judged.is_cut), wanted, "{start} to {end}");
        }
        store.close().await;
    }
}
