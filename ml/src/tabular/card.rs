//! The model card, Markdown, in the sections of Mitchell et al. 2019: what it is for and not for, what may make it differ,
//! figures, the rows that judged and taught, whom it touches, and what to mind.
//!
//! It says what the artefact holds, and what this program does with a model of its kind. Who registered it, what a table of
//! its own said of it and where it scores came later: that stands beside the version.

use super::artefact::{Artefact, Importance, Kind, Window};
use super::drift::{PSI_SIGNIFICANT, Z_MAX};
use super::metrics::{CALIBRATION_BINS, auc_error};
use super::model::{MemberReport, Order};
use super::seen::KEPT;
use std::fmt::{Result, Write};

/// Rules that hear a model of a kind.
pub fn rules(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::TransactionRisk => &["risky_transaction"],
        Kind::PlayerRisk => &["player_at_risk", "player_at_risk_across_operators"],
    }
}

/// What a kind of model is for, and what not.
struct Use {
    is_for: &'static [&'static str],
    not_for: &'static [&'static str],
    labels: &'static str,
    /// What happens before anybody has looked.
    by_itself: &'static str,
}

const TRANSACTIONS: Use = Use {
    is_for: &[
        "Scores each record that moves money once it is stored, from what was known then of the player, account, device and \
         terminal at that operator.",
        "Staff of a supervisor hear of high ones, with what moved the score, look at the record and decide.",
    ],
    not_for: &[
        "Stopping a payment: it is scored when it has been made.",
        "Proof: a probability says what people confirmed of records that looked alike.",
        "Signs of harm to a player: it has not learnt them.",
    ],
    labels: "suspicions about money, accounts and devices",
    by_itself: "By itself a high score raises an alert, and does nothing to the record, its player or the account.",
};

const PLAYERS: Use = Use {
    is_for: &[
        "Scores a player, in each currency they play in, at the end of a day on which they played at an operator, from their \
         own records there.",
        "Staff of a supervisor hear of high ones, with what moved the score, look at the player's records and decide.",
        "Tells the operator of a player whose risk has become high, once a month at most: it is to act within the limit of \
         the jurisdiction, and `harm_signal_unanswered` says where it did not.",
        "Says the level of risk (`risk_level`) to whoever asks the register with a key that has `risk:read`, but not where \
         it asks for marketing.",
    ],
    not_for: &[
        "A diagnosis, or the only reason to exclude or limit somebody.",
        "Offers to players: whom a level keeps from marketing it must not choose for it.",
        "Players over several operators, as it is: the rows are of one operator each, so `player_at_risk_across_operators` is \
         off until a version of the rule was tried.",
        "Laundering and fraud: it has not learnt them.",
    ],
    labels: "signs of harm",
    by_itself: "By itself a high score raises an alert, and the operator is told of it and asked to act before a \
                supervisor has looked. It excludes and limits nobody.",
};

impl Kind {
    fn used(self) -> &'static Use {
        match self {
            Self::TransactionRisk => &TRANSACTIONS,
            Self::PlayerRisk => &PLAYERS,
        }
    }
}

fn list(out: &mut String, title: &str, lines: &[&str]) -> Result {
    writeln!(out, "\n## {title}\n")?;
    lines.iter().try_for_each(|line| writeln!(out, "- {line}"))
}

impl Artefact {
    /// The model card, Markdown (Mitchell et al. 2019).
    pub fn card(&self, sha256: &str) -> String {
        let mut out = String::new();
        // writing to a String does not fail
        let _ = self.write_card(sha256, &mut out);
        out
    }

    fn write_card(&self, sha256: &str, out: &mut String) -> Result {
        self.write_papers(sha256, out)?;
        let used = self.kind.used();
        list(out, "Intended use", used.is_for)?;
        let rules: Vec<String> = rules(self.kind).iter().map(|rule| format!("`{rule}`")).collect();
        writeln!(out, "- Heard by the rules: {}.", rules.join(", "))?;
        list(out, "Out of scope", used.not_for)?;
        self.write_factors(out)?;
        self.write_metrics(out)?;
        if let Some(validation) = &self.validation {
            validation.write(self.params.order, out)?;
        }
        self.write_rows(out)?;
        self.write_parts(out)?;
        write_ethics(used, out)?;
        write_caveats(out)
    }

    fn write_papers(&self, sha256: &str, out: &mut String) -> Result {
        let (m, schema) = (&self.metrics, &self.schema);
        let negatives = m.rows - m.positives.min(m.rows);
        writeln!(out, "# Model card: {}\n", self.kind.as_str())?;
        writeln!(out, "| | |\n|---|---|")?;
        writeln!(out, "| artefact (SHA-256) | `{sha256}` |")?;
        writeln!(out, "| training data (SHA-256) | `{}` |", self.data_sha256)?;
        match self.window {
            Some(Window { from, to }) => writeln!(out, "| training window | {from} to {to} |")?,
            None => writeln!(out, "| training window | not given |")?,
        }
        writeln!(out, "| score | probability that `{}` is `{}` |", schema.label, schema.positive)?;
        writeln!(out, "| rows held out | {}: {} positive, {negatives} negative |", m.rows, m.positives)?;
        writeln!(out, "| seed | {} |", self.params.seed)
    }

    fn write_factors(&self, out: &mut String) -> Result {
        let told_apart = match &self.validation {
            Some(_) => {
                "Operators and the newest month are told apart under Validation, as far as the table names them."
            }
            None => "It was not learnt again without an operator or a month: how it differs by them is not known.",
        };
        let lines = [
            "Of a person it knows what stands under Features, and nothing else.",
            "No figure is told apart by age, sex or place of persons: whether it errs more with some of them is not known.",
            told_apart,
        ];
        list(out, "Factors", &lines)
    }

    fn write_metrics(&self, out: &mut String) -> Result {
        let m = &self.metrics;
        writeln!(out, "\n## Metrics on rows held out while it was learnt\n")?;
        writeln!(out, "| metric | value |\n|---|---|")?;
        let rows = [
            ("area under the ROC curve", m.auc),
            (
                "its standard error, were rows independent",
                auc_error(m.auc, m.positives, m.rows - m.positives.min(m.rows)),
            ),
            ("average precision", m.average_precision),
            ("share of positive rows (average precision of chance)", m.positives as f64 / m.rows.max(1) as f64),
            ("Brier score", m.brier),
            ("log loss", m.log_loss),
            ("expected calibration error", m.calibration_error),
        ];
        for (name, value) in rows {
            writeln!(out, "| {name} | {value:.4} |")?;
        }
        writeln!(out, "\n- Standard error: Hanley and McNeil 1982; of persons with several rows it is larger.")?;
        writeln!(out, "- Calibration error: over {CALIBRATION_BINS} bins of as many rows each.")?;
        writeln!(
            out,
            "- No threshold is the model's: it is a parameter of the rule, and `mlinzi model backtest` counts there."
        )
    }

    fn write_rows(&self, out: &mut String) -> Result {
        let held_out = match self.params.order {
            Order::InTime => "Each row of the training table, by models that had not seen its fold.".to_owned(),
            Order::Shuffled(times) => {
                format!("Each row of the training table, {times} times, by models that had not seen its fold.")
            }
        };
        let lines = [
            held_out.as_str(),
            "The number of trees and the members were chosen on the same rows: the figures flatter a little.",
            "What else it is learnt with (sizes, pulls, folds) was chosen on public data, not on this table.",
            "A table of its own judges a version before it may be promoted: `evaluation` of the version in the API.",
        ];
        list(out, "Evaluation data", &lines)?;
        let Self { metrics: m, schema, .. } = self;
        let table = format!(
            "{} rows of {} columns; label `{}`, positive where it is `{}`; a missing cell is missing, not 0.",
            m.rows,
            schema.columns.len(),
            schema.label,
            schema.positive
        );
        let labels = format!(
            "In a table of `mlinzi model features`: what people resolved of alerts that are {}. Positive is what they \
             confirmed, negative what they called a false alarm.",
            self.kind.used().labels
        );
        let selected = "What no rule told of, and what nobody decided, is not in such a table: the probability is that of \
                        what an alert was raised of, and its share of positives is not that of all records or players.";
        let own =
            "An earlier version's alerts are among those that label: it is taught in part by what that one told of.";
        list(out, "Training data", &[table.as_str(), labels.as_str(), selected, own])
    }

    fn write_parts(&self, out: &mut String) -> Result {
        writeln!(out, "\n## Members\n\n| member | weight | AUC | average precision |\n|---|---|---|---|")?;
        for member in &self.members {
            let MemberReport { name, weight, auc, average_precision } = member;
            writeln!(out, "| {} | {weight:.3} | {auc:.4} | {average_precision:.4} |", name.as_str())?;
        }
        writeln!(out, "\nTrees of each booster: {}.", self.rounds)?;
        writeln!(out, "\n## Features\n\n| feature | mean part of the log-odds | share of the gain |\n|---|---|---|")?;
        for Importance { feature, mean_part, gain_share } in &self.importance {
            writeln!(out, "| {} | {mean_part:.4} | {gain_share:.4} |", feature.replace('|', "\\|"))?;
        }
        Ok(())
    }
}

fn write_ethics(used: &Use, out: &mut String) -> Result {
    let kept = format!(
        "The artefact holds no row and no id, but bounds of columns, and digests of the numbers of up to {KEPT} rows: whoever \
         has it and a row's exact numbers can tell whether it was learnt from."
    );
    let lines = [
        used.by_itself,
        "A false alarm brings somebody under suspicion or into a talk that they do not need, and harm that is missed goes on: \
         which of the two weighs more is said by the rule's bound, not by the model.",
        "One person registers a version or has it judged, another one promotes it; who did, when and why is in the journal.",
        kept.as_str(),
    ];
    list(out, "Ethical considerations", &lines)
}

fn write_caveats(out: &mut String) -> Result {
    let drift = format!(
        "Population stability and calibration are watched: from an index of {PSI_SIGNIFICANT}, or a Spiegelhalter's z of \
         {Z_MAX} to either side, learn it anew."
    );
    let lines = [
        "Learnt from these rows alone: a score of rows from elsewhere is an extrapolation.",
        "A part of a score says what moved it, not what caused it.",
        drift.as_str(),
    ];
    list(out, "Caveats and recommendations", &lines)
}

#[cfg(test)]
#[path = "card_tests.rs"]
mod tests;
