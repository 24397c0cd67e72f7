use super::*;
use models::ids::{OperatorId, OperatorNo};
use models::jurisdiction::Jurisdiction;
use models::money::Currency;
use models::operator::{Operator, OperatorState};
use models::phone::Country;
use serde_json::json;
use store::OpenOptions;

const NOW: Ts = Ts(20_000 * DAY);

fn ago(days: i64) -> i64 {
    NOW.0 - days * DAY
}

/// Two operators of Kenya.
fn directory() -> Directory {
    let kenya = Jurisdiction {
        code: "KE".to_owned(),
        name: "Kenya".to_owned(),
        country: Country::Ke,
        currency: Currency::KES,
        time_zone: "Africa/Nairobi".to_owned(),
    };
    let mut directory = Directory::new(vec![kenya]);
    for no in [1u16, 2] {
        let operator = Operator {
            operator_no: OperatorNo(no),
            id: OperatorId(no.into()),
            code: format!("op-{no}"),
            name: format!("Operator {no}"),
            jurisdiction: JurisdictionNo(0),
            state: OperatorState::Active,
            registered_at: Ts(0),
            version: 1,
        };
        directory.operators.insert(operator.operator_no, Arc::new(operator));
    }
    directory
}

fn shadow_day(version: u32, operator: u16, days_ago: i64, high: u64) -> String {
    let day = ago(days_ago);
    let counts = json!({"rows": 100, "rows_beside": 0, "high": high, "live_high": 0, "both_high": 0});
    let body = json!({"kind": "transaction_risk", "version": version, "operator_no": operator, "day": day,
        "bound_ppm": 500_000, "counts": counts});
    format!(
        "INSERT INTO model_shadow_days (kind, version, operator_no, day, body) VALUES ('transaction_risk', {version}, {operator}, {day}, '{body}')"
    )
}

fn promotion(nr: u32, version: u32, days_ago: i64) -> String {
    let at = ago(days_ago);
    format!(
        "INSERT INTO model_acts (kind, nr, version, act, done_by, done_at) VALUES ('transaction_risk', {nr}, {version}, 'promoted', 'Otieno', {at})"
    )
}

fn finding(n: u32, days_ago: i64) -> String {
    let at = ago(days_ago) + 1;
    format!(
        "INSERT INTO rule_findings (finding_id, rule, version, mode, jurisdiction_no, operator_no, input_seq, window_start, window_end, kind, severity, at, seq, body) VALUES ('{n:032x}', 'risky_transaction', 1, 'live', 0, 1, {n}, {at}, {at}, 'raised', 'high', {at}, 0, '{{}}')"
    )
}

#[actix_rt::test]
async fn what_is_expected_is_the_shadows_else_what_the_version_before_brought_about() {
    let dir = testkit::temp_dir();
    let store = Store::open(&testkit::sqlite_url(&dir), &OpenOptions::default()).await.expect("a store");
    let directory = directory();
    let operators = [1, 2].map(|no| {
        format!("INSERT INTO operators (operator_no, id, code, jurisdiction, body) VALUES ({no}, 'o{no}', 'o{no}', 0, '{{}}')")
    });
    let of_shadow =
        vec![shadow_day(2, 1, 3, 1), shadow_day(2, 2, 3, 3), shadow_day(2, 1, 2, 2), shadow_day(2, 1, 40, 90)];
    // version 1 has scored for ten days, and version 4 for the last two
    let acts = vec![promotion(1, 1, 10), promotion(2, 4, 2)];
    let found = vec![finding(1, 9), finding(2, 2), finding(3, 1), finding(4, 1)];
    use ForecastBasis::{Nothing, Shadow, VersionBefore};
    use ModelKind::{PlayerRisk, TransactionRisk};
    type Step = (Vec<String>, (ModelKind, u32), (&'static str, ForecastBasis, u64, u64));
    // what comes to be known | whose promotion | rule, basis, findings, hours of operators
    let table: [Step; 6] = [
        (operators.to_vec(), (TransactionRisk, 1), ("risky_transaction", Nothing, 0, 0)),
        // the rule over all operators is off at first, and so not expected to say anything
        (Vec::new(), (PlayerRisk, 1), ("player_at_risk", Nothing, 0, 0)),
        (of_shadow, (TransactionRisk, 2), ("risky_transaction", Shadow, 6, 72)),
        (Vec::new(), (TransactionRisk, 3), ("risky_transaction", Nothing, 0, 0)),
        ([acts, found].concat(), (TransactionRisk, 3), ("risky_transaction", VersionBefore, 3, 96)),
        (Vec::new(), (TransactionRisk, 2), ("risky_transaction", Shadow, 6, 72)),
    ];
    for (rows, of, wanted) in table {
        for row in &rows {
            store.execute_for_tests(row).await.expect("a row");
        }
        let forecasts = forecasts(&store, &directory, JurisdictionNo(0), of, NOW).await.expect("forecasts");
        let told: Vec<_> = forecasts
            .iter()
            .map(|of| (of.rule.as_str(), of.forecast.basis, of.forecast.findings, of.forecast.operator_hours))
            .collect();
        assert_eq!(told, [wanted], "{of:?}");
    }
    store.close().await;
}
