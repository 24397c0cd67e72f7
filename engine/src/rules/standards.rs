//! The standard version of each rule by jurisdiction, as data: where its law, or its currency, asks for other parameters
//! than the defaults. Every row names where its numbers come from.

use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// The rows: part of the program, because what was judged by them is judged by them again in a replay.
const ROWS: &str = include_str!("standards.json");

/// Parameters of a rule in a jurisdiction that are not the defaults.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Standard {
    /// Its code, or what stands before the hyphen of the codes of several: `NG` is that of `NG-LA`, too.
    jurisdiction: String,
    rule: String,
    params: Map<String, Value>,
    source: String,
}

impl Standard {
    fn is_of(&self, jurisdiction: &str) -> bool {
        let behind = jurisdiction.strip_prefix(self.jurisdiction.as_str());
        behind.is_some_and(|behind| behind.is_empty() || behind.starts_with('-'))
    }
}

// a test reads them
static STANDARDS: LazyLock<Vec<Standard>> = LazyLock::new(|| serde_json::from_str(ROWS).unwrap_or_default());

/// Rows of a rule in a jurisdiction, a country's before those of a part of it.
fn rows(jurisdiction: &str, rule: &str) -> impl Iterator<Item = &'static Standard> {
    STANDARDS.iter().filter(move |row| row.rule == rule && row.is_of(jurisdiction))
}

/// The parameters of a rule's standard version that are not the defaults; null where all of them are.
#[must_use]
pub fn params(jurisdiction: &str, rule: &str) -> Value {
    let mut params = Map::new();
    for row in rows(jurisdiction, rule) {
        params.extend(row.params.clone());
    }
    if params.is_empty() { Value::Null } else { Value::Object(params) }
}

/// Where a parameter of the standard version comes from; none where it is the default.
#[must_use]
pub fn source(jurisdiction: &str, rule: &str, param: &str) -> Option<&'static str> {
    rows(jurisdiction, rule).filter(|row| row.params.contains_key(param)).last().map(|row| row.source.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::list::{Typed, params_of};
    use crate::rules::ruleset::RuleSet;
    use serde_json::json;

    #[test]
    fn every_row_can_be_read_and_names_its_source() {
        let rows: Vec<Standard> = serde_json::from_str(ROWS).expect("rows");
        for Standard { jurisdiction, rule, params, source } in rows {
            let known: Vec<&str> = params_of(&rule).iter().map(|param| param.name).collect();
            assert!(params.keys().all(|name| known.contains(&name.as_str())), "{jurisdiction} {rule}");
            let typed = Typed::read(&rule, &Value::Object(params.clone()));
            assert!(matches!(typed, Ok(Some(_))), "{jurisdiction} {rule}: {typed:?}");
            assert!(source.len() > 20 && !params.is_empty(), "{jurisdiction} {rule}");
            assert!(RuleSet::standard(&jurisdiction).versions().count() > 0, "{jurisdiction}");
        }
    }

    #[test]
    fn a_jurisdiction_has_its_own_numbers() {
        let table = [
            // Kenya's thresholds by age, in shillings
            ("KE", "net_deposit_threshold", "adult_minor", json!(10_500_000)),
            ("KE", "net_deposit_threshold", "under_24_minor", json!(4_500_000)),
            ("KE", "net_deposit_threshold", "currency", json!("KES")),
            ("KE", "net_deposits_across_operators", "currency", json!("KES")),
            // the default is Kenya's
            ("KE", "structured_deposits", "thresholds_minor", Value::Null),
            // states have what the country has
            ("NG-LA", "structured_deposits", "thresholds_minor", json!([2_175_000_000i64])),
            ("NG-FC", "structured_across_operators", "threshold_minor", json!(2_175_000_000i64)),
            ("NG-LA", "net_deposit_threshold", "currency", json!("NGN")),
            ("NG", "rapid_in_out", "currency", json!("NGN")),
            // two euros, by the same rates as the thresholds of net deposits
            ("KE", "player_at_risk", "low_balance_minor", json!(30_000)),
            ("NG-LA", "player_at_risk", "low_balance_minor", json!(336_000)),
            ("UG", "player_at_risk", "low_balance_minor", Value::Null),
            // of others nothing is known, and a code that begins alike is another one's
            ("UG", "net_deposit_threshold", "currency", Value::Null),
            ("NGX", "net_deposit_threshold", "currency", Value::Null),
            ("", "net_deposit_threshold", "currency", Value::Null),
        ];
        for (jurisdiction, rule, param, expected) in table {
            assert_eq!(params(jurisdiction, rule)[param], expected, "{jurisdiction} {rule} {param}");
            assert_eq!(
                source(jurisdiction, rule, param).is_some(),
                !expected.is_null(),
                "{jurisdiction} {rule} {param}"
            );
        }
        let taxes = &params("KE", "declared_revenue_differs")["taxes"];
        for (tax, base, rate_ppm) in [
            ("gross_gaming_revenue_tax", "gross_gaming_revenue", 150_000),
            ("excise_duty", "deposits", 50_000),
            ("withholding_tax", "withdrawals", 50_000),
        ] {
            assert_eq!(taxes[tax], json!({"base": base, "rate_ppm": rate_ppm}));
        }
    }

    #[test]
    fn no_rule_of_naira_counts_shillings() {
        for rule in RuleSet::standard("NG-LA").versions().map(|version| version.rule.clone()) {
            let has_currency = params_of(&rule).iter().any(|param| param.name == "currency");
            if has_currency {
                assert_eq!(params("NG-LA", &rule)["currency"], "NGN", "{rule}");
            }
        }
    }
}
