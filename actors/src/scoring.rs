//! A promoted model at work: a vector in, a probability out, and in words what moved it; a watch on its drift.
//!
//! ```text
//! store: promoted artefact ─▶ Scorer::new (schema digest = this program's) ─▶ score(vector) ─▶ ppm ─▶ journaled input
//!                                                                └▶ DriftWatch: counts of a day ─▶ DriftJudged (journaled)
//! ```
//! A score enters the journal as a fact beside the record, in millionths, with the version that gave it: a replay needs
//! no model. Neither the scorer nor the watch waits for anything.

use engine::features::{Feature, player, schema_digest, transaction};
use ml::tabular::artefact::{Artefact, Kind};
use ml::tabular::drift::{self, Calibration, DriftReport, Shift, Stability, Watch};
use models::ids::OperatorNo;
use models::risk_model::{DriftJudged, DriftLevel, ModelKind};
use models::ts::Ts;
use std::sync::Arc;

/// Reasons of a score, at most.
pub const REASONS_MAX: usize = 3;
/// Features that a day of drift names, at most.
const DRIFT_FEATURES_MAX: usize = 5;

/// Why an artefact cannot score here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitModel {
    /// It was learnt from other columns than this program makes.
    #[error("it was learnt from other features (schema {theirs}) than this program makes (schema {ours})")]
    Schema {
        /// Of the artefact.
        theirs: String,
        /// Of this program.
        ours: String,
    },
}

/// What this program makes for a kind of model.
#[must_use]
pub fn features_of(kind: ModelKind) -> &'static [Feature] {
    match kind {
        ModelKind::TransactionRisk => transaction::FEATURES,
        ModelKind::PlayerRisk => player::FEATURES,
    }
}

/// The kind of an artefact as the journal names it.
#[must_use]
pub fn kind_of(artefact: &Artefact) -> ModelKind {
    match artefact.kind {
        Kind::TransactionRisk => ModelKind::TransactionRisk,
        Kind::PlayerRisk => ModelKind::PlayerRisk,
    }
}

/// Does an artefact fit the vectors of this program? Gives the digest of the names.
///
/// # Errors
/// [`UnfitModel`]
pub fn check_schema(artefact: &Artefact) -> Result<String, UnfitModel> {
    let ours = schema_digest(features_of(kind_of(artefact)).iter().map(|feature| feature.name));
    let theirs = schema_digest(artefact.schema.features().iter().map(String::as_str));
    if theirs == ours { Ok(ours) } else { Err(UnfitModel::Schema { theirs, ours }) }
}

/// A model that scores.
#[derive(Clone, Debug)]
pub struct Scorer {
    kind: ModelKind,
    version: u32,
    features: &'static [Feature],
    names: Vec<String>,
    /// Shared: several jurisdictions score with one version.
    artefact: Arc<Artefact>,
}

impl Scorer {
    /// Of an artefact that fits.
    ///
    /// # Errors
    /// [`UnfitModel`]
    pub fn new(version: u32, artefact: Artefact) -> Result<Self, UnfitModel> {
        check_schema(&artefact)?;
        let kind = kind_of(&artefact);
        let names = artefact.schema.features();
        Ok(Self { kind, version, features: features_of(kind), names, artefact: Arc::new(artefact) })
    }

    /// What it predicts.
    #[must_use]
    pub fn kind(&self) -> ModelKind {
        self.kind
    }

    /// The version, as it is registered.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The calibrated probability of a vector, millionths.
    ///
    /// # Panics
    /// With another number of places than features.
    #[must_use]
    pub fn score(&self, vector: &[f32]) -> u32 {
        ppm(self.artefact.model.score(&wide(vector)))
    }

    /// What moved the score of a vector most, strongest first, in words.
    ///
    /// # Panics
    /// With another number of places than features.
    #[must_use]
    pub fn reasons(&self, vector: &[f32]) -> Vec<String> {
        let row = wide(vector);
        let moved = self.artefact.model.reasons(&self.names, &row, REASONS_MAX);
        moved.into_iter().map(|(name, part)| self.sentence(&name, part, &row)).collect()
    }

    fn sentence(&self, name: &str, part: f64, row: &[f64]) -> String {
        let way = if part > 0.0 { "raises" } else { "lowers" };
        let Some(place) = self.features.iter().position(|feature| feature.name == name) else {
            // made of two of them: its name says which, and how
            return format!("{name} {way} the risk ({part:+.2} in log-odds)");
        };
        let Feature { unit, meaning, .. } = self.features[place];
        let value = if row[place].is_nan() { "not known".to_owned() } else { readable(row[place], unit) };
        format!("{name} ({meaning}): {value} {way} the risk ({part:+.2} in log-odds)")
    }

    /// A watch on what it scores for an operator.
    #[must_use]
    pub fn watch(&self, operator: OperatorNo) -> DriftWatch {
        DriftWatch {
            kind: self.kind,
            version: self.version,
            operator,
            features: self.features,
            watch: Watch::new(self.artefact.baseline.clone()),
        }
    }
}

fn readable(value: f64, unit: &str) -> String {
    let value = if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.3}") };
    match unit {
        "0/1" | "ratio" | "share" | "count" | "deviations" => value,
        unit => format!("{value} {unit}"),
    }
}

fn wide(vector: &[f32]) -> Vec<f64> {
    vector.iter().map(|value| f64::from(*value)).collect()
}

/// Millionths, at most as many as there are in an index of a thousand.
fn ppm(share: f64) -> u32 {
    (share.clamp(0.0, 4_000.0) * 1e6).round() as u32
}

/// Counts what is scored, a day at a time. Its size is fixed by the features. What it has counted does not outlive the
/// process: the day is then judged by what is left of it.
#[derive(Clone, Debug)]
pub struct DriftWatch {
    kind: ModelKind,
    version: u32,
    operator: OperatorNo,
    features: &'static [Feature],
    watch: Watch,
}

impl DriftWatch {
    /// A vector was scored.
    ///
    /// # Panics
    /// With another number of places than features.
    pub fn scored(&mut self, vector: &[f32], score_ppm: u32) {
        self.watch.scored(&wide(vector), f64::from(score_ppm) / 1e6);
    }

    /// The day is over. Where it had too few rows to be judged, its rows count for the next one, too.
    pub fn close(&mut self, day: Ts) -> DriftJudged {
        let report = self.watch.report();
        let judged = self.judge(day, &report);
        if report.score.is_some() {
            self.watch.begin();
        }
        judged
    }

    fn judge(&self, day: Ts, report: &DriftReport) -> DriftJudged {
        let mut moved: Vec<(&Feature, &Stability)> = self.features.iter().zip(&report.features).collect();
        moved.retain(|(_, stability)| stability.shift != Shift::Stable);
        moved.sort_by(|a, b| b.1.psi.total_cmp(&a.1.psi));
        let mut reasons: Vec<String> = report.score.iter().filter_map(score_sentence).collect();
        moved.truncate(DRIFT_FEATURES_MAX);
        reasons.extend(moved.iter().map(|(feature, stability)| {
            format!("{} ({}) has moved: index {:.2}", feature.name, feature.meaning, stability.psi)
        }));
        DriftJudged {
            kind: self.kind,
            version: self.version,
            operator_no: self.operator,
            day,
            rows: report.rows,
            level: level(report),
            score_psi_ppm: report.score.as_ref().map(|score| ppm(score.psi)),
            features: moved.iter().map(|(feature, known)| (feature.name.to_owned(), ppm(known.psi))).collect(),
            calibration: None,
            reasons,
            is_shadow: false,
        }
    }
}

/// The same day beside what people found out of scores that were named: probabilities that do not hold are reason to learn
/// anew, whatever the scores do.
#[must_use]
pub fn with_truth(mut judged: DriftJudged, truth: &[(u32, bool)]) -> DriftJudged {
    let truth: Vec<(f64, bool)> = truth.iter().map(|(score, is_so)| (f64::from(*score) / 1e6, *is_so)).collect();
    let Some(calibration) = Calibration::of(&truth) else { return judged };
    judged.calibration = Some((ppm(calibration.expected), ppm(calibration.observed), calibration.holds));
    if let Some(sentence) = calibration_sentence(&calibration) {
        judged.level = DriftLevel::Significant;
        judged.reasons.insert(0, sentence);
    }
    judged
}

/// Scores that have moved far are reason to learn anew; features that have moved while the scores have not are worth a look.
fn level(report: &DriftReport) -> DriftLevel {
    let Some(score) = &report.score else { return DriftLevel::Unknown };
    match score.shift {
        Shift::Significant => DriftLevel::Significant,
        Shift::Moderate => DriftLevel::Moderate,
        Shift::Stable if report.features.iter().any(|f| f.shift == Shift::Significant) => DriftLevel::Moderate,
        Shift::Stable => DriftLevel::Stable,
    }
}

fn score_sentence(score: &Stability) -> Option<String> {
    let (how, bound) = match score.shift {
        Shift::Stable => return None,
        Shift::Moderate => ("moved", drift::PSI_MODERATE),
        Shift::Significant => ("moved far", drift::PSI_SIGNIFICANT),
    };
    Some(format!(
        "the scores have {how} from those of the training rows: population stability index {:.2}, the bound is {bound}",
        score.psi
    ))
}

fn calibration_sentence(c: &Calibration) -> Option<String> {
    let (expected, observed) = (100.0 * c.expected, 100.0 * c.observed);
    let text = format!(
        "of {} rows whose truth is known {observed:.1} % were positive and {expected:.1} % were expected: the probabilities do not hold (z {:+.1})",
        c.rows, c.z
    );
    (!c.holds).then_some(text)
}

#[cfg(test)]
#[path = "scoring_tests.rs"]
pub(crate) mod tests;
