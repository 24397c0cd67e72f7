//! What a rule says of a story, held against a table.

use super::{Heard, Story};
use crate::rules::backtest::beside;
use crate::rules::finding::{Finding, Mode, Who};
use crate::rules::input::Input;
use crate::rules::list;
use crate::rules::nation::NationRules;
use crate::rules::ruleset::{RuleSet, RuleVersion};
use crate::rules::run::OperatorRules;
use jiff::tz::TimeZone;
use models::alert::RevisionKind;
use models::ids::{AlertId, OperatorNo};
use models::jurisdiction::JurisdictionNo;
use models::record::Product;
use models::ts::Ts;
use std::collections::BTreeMap;

impl Story {
    /// Every revision that a rule with these parameters says; one over all operators beside the standard of those of one.
    pub fn all(&self, rule: &str, params: &str) -> Vec<Finding> {
        let version = RuleVersion {
            rule: rule.to_owned(),
            version: 1,
            jurisdiction: "KE".to_owned(),
            effective_from: Ts(0),
            effective_to: None,
            mode: Mode::Live,
            params: serde_json::from_str(params).unwrap(),
        };
        let mut versions = beside(rule, &RuleSet::standard("KE"));
        versions.push(version);
        let set = RuleSet::new("KE", versions).unwrap();
        let zone = || TimeZone::get("Africa/Nairobi").unwrap();
        let mut operator = OperatorRules::new(OperatorNo(1), zone(), &set);
        let mut nation = NationRules::new(JurisdictionNo(0), zone(), &set);
        let is_national = list::about(rule).is_some_and(|about| about.is_national());
        let mut all = Vec::new();
        for heard in &self.heard {
            let mut findings = Vec::new();
            let (no, input) = heard.input();
            if is_national {
                nation.hear(no, &input, &mut findings);
            } else {
                operator.hear(&input, &mut findings);
            }
            all.extend(findings);
        }
        all
    }

    /// What stands at the end.
    pub fn run(&self, rule: &str, params: &str) -> Vec<Finding> {
        let mut order: Vec<AlertId> = Vec::new();
        let mut standing: BTreeMap<AlertId, Finding> = BTreeMap::new();
        for finding in self.all(rule, params) {
            let id = finding.id;
            assert_eq!(finding.kind == RevisionKind::Raised, !standing.contains_key(&id), "{finding:?}");
            if finding.kind == RevisionKind::Withdrawn {
                standing.remove(&id);
            } else {
                standing.insert(id, finding);
            }
            if !order.contains(&id) {
                order.push(id);
            }
        }
        order.iter().filter_map(|id| standing.remove(id)).collect()
    }

    /// Every input, for tests of the whole.
    pub fn inputs(&self) -> impl Iterator<Item = (OperatorNo, Input<'_>)> {
        self.heard.iter().map(Heard::input)
    }

    fn name(&self, key: u128) -> &str {
        let found = self.names.iter().find(|(_, known)| *known == key);
        found.map_or("?", |(name, _)| name.as_str())
    }

    fn said(&self, finding: &Finding) -> String {
        let who = match finding.who {
            Who::Player(key) | Who::Device(key) | Who::Account(key) => self.name(key).to_owned(),
            Who::Players(one, other) => {
                let mut names = [self.name(one), self.name(other)].map(|name| name.trim_start_matches("player "));
                names.sort_unstable();
                format!("players {} {}", names[0], names[1])
            }
            Who::Licence(key) | Who::Invoice(key) | Who::Declaration(key) | Who::Terminal(key) | Who::Shop(key) => {
                self.name(key.into()).to_owned()
            }
            Who::Product(code) => format!("product {}", Product::from_code(code).unwrap().as_str()),
            Who::Operator => "operator".to_owned(),
            Who::Series(granularity, currency) => format!("series {} {currency}", granularity.as_str()),
        };
        format!("{who}: {} {}", finding.measured.observed, finding.measured.unit.as_str())
    }
}

/// Tells each story to a rule and holds what stands at its end against what the table says.
#[track_caller]
pub fn check(rule: &str, params: &str, table: &[(&str, Story, &[&str])]) {
    for (what, story, wanted) in table {
        let found = story.run(rule, params);
        let said: Vec<String> = found.iter().map(|finding| story.said(finding)).collect();
        assert_eq!(said, *wanted, "{rule}: {what}");
        for finding in &found {
            assert!(!finding.reasons.is_empty() && finding.reasons.iter().all(|reason| !reason.is_empty()), "{what}");
            let about = list::about(rule).unwrap();
            assert!(finding.severity <= about.severity, "{what}: more urgent than the catalogue says");
        }
    }
}
