//! What is counted of rules. Labels come from closed sets.

use crate::market::StateMetrics;
use engine::rules::list;
use models::risk_model::ModelKind;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry};

/// Seconds from a batch's commit to what rules found in it.
const LAG: [f64; 10] = [0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// Modes whose findings are counted.
const MODES: [&str; 2] = ["live", "shadow"];
/// Whose rules there are.
const WHOSE: [&str; 2] = ["operator", "nation"];
/// Tables that forget at a limit.
const TABLES: [&str; 23] = [
    "players",
    "devices",
    "accounts",
    "events",
    "pairs",
    "papers",
    "tally_days",
    "cases",
    "cases_shadow",
    "signals",
    "players_at_risk",
    "nation_players",
    "nation_devices",
    "nation_accounts",
    "nation_operator_pairs",
    "nation_feature_players",
    "nation_unscored_players",
    "feature_records",
    "feature_players",
    "unscored_inputs",
    "unscored_players",
    "shadow_players",
    "risk_levels",
];
/// Why a sign of harm is not given: as many of its giver's are remembered at the operator as may be, or nobody could name the
/// player to it.
const WITHHELD: [&str; 4] = ["model_full", "model_unattributable", "staff_full", "staff_unattributable"];

/// Figures of rules.
#[derive(Clone)]
pub struct RuleMetrics {
    /// Inputs applied, also when they are read back.
    judged: IntCounter,
    records: IntCounterVec,
    /// From a batch's commit to its findings.
    pub lag: Histogram,
    findings: IntCounterVec,
    /// Findings of live versions of which nobody is told.
    pub quiet: IntCounter,
    forgotten: IntCounterVec,
    scored: IntCounterVec,
    withheld: IntCounterVec,
    /// Their states.
    pub states: StateMetrics,
}

impl RuleMetrics {
    /// Makes and registers them.
    ///
    /// # Errors
    /// Where the registry has metrics of these names.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let names =
            ["mlinzi_rule_states_kept_total", "mlinzi_rule_states_lost_total", "mlinzi_rule_inputs_replayed_total"];
        let help = "Time from the commit of a batch to what rules found in it";
        let findings = Opts::new(
            "mlinzi_rule_findings_total",
            "Revisions of findings that were stored, by rule and mode (live, shadow)",
        );
        let forgotten =
            Opts::new("mlinzi_rules_forgotten_total", "Entries of the rules' tables that gave way at a limit");
        let records = Opts::new(
            "mlinzi_rule_records_judged_total",
            "Records that rules were applied to, also when they are read back, by whose rules (operator, nation)",
        );
        let scored = Opts::new("mlinzi_model_scored_total", "Records and players that a promoted model scored, stored");
        let withheld = Opts::new(
            "mlinzi_harm_signals_withheld_total",
            "Signs of harm that were not given, by giver and reason: as many of them are remembered at the operator as may be (full), or nobody could name the player to it (unattributable)",
        );
        let metrics = Self {
            judged: IntCounter::new("mlinzi_rule_inputs_judged_total", "Inputs that rules were applied to")?,
            records: IntCounterVec::new(records, &["of"])?,
            lag: Histogram::with_opts(HistogramOpts::new("mlinzi_rules_lag_seconds", help).buckets(LAG.to_vec()))?,
            findings: IntCounterVec::new(findings, &["rule", "mode"])?,
            quiet: IntCounter::new(
                "mlinzi_rule_findings_quiet_total",
                "Revisions of live findings without an alert: of inputs from long before the rules began",
            )?,
            forgotten: IntCounterVec::new(forgotten, &["table"])?,
            scored: IntCounterVec::new(scored, &["kind"])?,
            withheld: IntCounterVec::new(withheld, &["reason"])?,
            states: StateMetrics::register_as(registry, names, "States of rules")?,
        };
        // what nothing was found or forgotten of is 0, not missing
        for about in list::ABOUT.iter().filter(|about| about.is_here()) {
            MODES.iter().for_each(|mode| metrics.findings.with_label_values(&[about.name, mode]).reset());
        }
        TABLES.iter().for_each(|table| metrics.forgotten.with_label_values(&[table]).reset());
        WHOSE.iter().for_each(|of| metrics.records.with_label_values(&[of]).reset());
        ModelKind::ALL.iter().for_each(|kind| metrics.scored.with_label_values(&[kind.as_str()]).reset());
        WITHHELD.iter().for_each(|reason| metrics.withheld.with_label_values(&[reason]).reset());
        registry.register(Box::new(metrics.judged.clone()))?;
        registry.register(Box::new(metrics.records.clone()))?;
        registry.register(Box::new(metrics.lag.clone()))?;
        registry.register(Box::new(metrics.findings.clone()))?;
        registry.register(Box::new(metrics.quiet.clone()))?;
        registry.register(Box::new(metrics.forgotten.clone()))?;
        registry.register(Box::new(metrics.scored.clone()))?;
        registry.register(Box::new(metrics.withheld.clone()))?;
        Ok(metrics)
    }

    pub(super) fn judged(&self, of: &'static str, records: usize) {
        self.judged.inc();
        self.records.with_label_values(&[of]).inc_by(records as u64);
    }

    pub(super) fn found(&self, rule: &str, is_shadow: bool) {
        self.findings.with_label_values(&[rule, MODES[usize::from(is_shadow)]]).inc();
    }

    pub(super) fn scored(&self, kind: ModelKind, count: u64) {
        self.scored.with_label_values(&[kind.as_str()]).inc_by(count);
    }

    /// Signs of harm that were not given; `reason` is one of a closed set.
    pub(crate) fn withheld(&self, reason: &'static str, count: u64) {
        if count > 0 {
            self.withheld.with_label_values(&[reason]).inc_by(count);
        }
    }

    /// Entries that gave way at a limit, or found no room; `table` is one of a closed set.
    pub(crate) fn forgot(&self, table: &'static str, entries: u64) {
        if entries > 0 {
            self.forgotten.with_label_values(&[table]).inc_by(entries);
        }
    }
}
