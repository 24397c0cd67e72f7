//! Models as the journal knows them: registered with their papers, promoted by a second person, retired.
//!
//! ```text
//! register ─▶ registered ─promote (not by whom it was registered; judged on rows it had not seen)─▶ promoted
//!                 │                                                                                 │  next one promoted
//!                 └──────────────────────────── retire ─────────────────────────────▶ retired ◀─────┤
//!                                                                                      replaced ◀───┘
//! ```
//! A version is registered and judged once for the node; the rest of its life it has in each jurisdiction by itself, told by
//! the acts ([`crate::model_life`]). At most one version of a kind is promoted in a jurisdiction. A replaced one may be promoted
//! again, or, where it scored right before the present one, be gone back to by one person ([`crate::model_life::way_back`]).
//! Shares are in millionths, so that a payload says the same to every reader.

use crate::ids::{KeyId, OperatorNo};
use crate::jurisdiction::JurisdictionNo;
use crate::record::closed_set;
use crate::rule::RateForecast;
use crate::ts::{Ts, micros};
use crate::who::Who;
use serde::{Deserialize, Serialize};

/// Longest name of a person, characters.
pub const NAME_CHARS_MAX: usize = 100;
/// Longest reason of a retirement or of a way back, characters.
pub const REASON_CHARS_MAX: usize = 500;
/// Who takes a promotion back whose alerts have left their forecast.
pub const BY_BRAKE: &str = "the brake";
/// Longest model card, bytes.
pub const CARD_BYTES_MAX: usize = 256 << 10;
/// Rows of the rarer class that an evaluation must stand on.
pub const EVALUATION_CLASS_ROWS_MIN: u64 = 50;
/// Area under the ROC curve below which a model is none: a coin has half of it.
pub const AUC_PPM_MIN: u32 = 550_000;
/// A model is not judged where more than one in so many of the rows it was judged on were rows it had learnt from: as many
/// two tables may share by chance.
pub const SEEN_ONE_IN: u64 = 100;
/// Expected calibration error above which its probabilities are none.
pub const CALIBRATION_PPM_MAX: u32 = 100_000;

closed_set!(
    /// What a model that is learnt predicts; what learns as it goes has no versions in the store.
    ModelKind { TransactionRisk = "transaction_risk", PlayerRisk = "player_risk" }
);
closed_set!(
    /// Where a version is in its life.
    ModelState { Registered = "registered", Promoted = "promoted", Replaced = "replaced", Retired = "retired" }
);
closed_set!(
    /// How far what is scored is from what was learnt.
    DriftLevel { Unknown = "unknown", Stable = "stable", Moderate = "moderate", Significant = "significant" }
);

/// Probability from which on a player's risk is moderate, millionths.
pub const MODERATE_FROM_PPM: u32 = 200_000;
/// Probability from which on it is high, millionths.
pub const HIGH_FROM_PPM: u32 = 500_000;

closed_set!(
    /// A player's risk as the promoted model sees it.
    RiskLevel { Low = "low", Moderate = "moderate", High = "high" }
);

impl RiskLevel {
    /// Of a probability, millionths.
    #[must_use]
    pub fn of(score_ppm: u32) -> Self {
        match score_ppm {
            ..MODERATE_FROM_PPM => Self::Low,
            MODERATE_FROM_PPM..HIGH_FROM_PPM => Self::Moderate,
            _ => Self::High,
        }
    }

    /// The least probability of a level, millionths.
    #[must_use]
    pub fn least_ppm(self) -> u32 {
        match self {
            Self::Low => 0,
            Self::Moderate => MODERATE_FROM_PPM,
            Self::High => HIGH_FROM_PPM,
        }
    }
}

/// How good probabilities were on rows with labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelMetrics {
    /// Rows.
    pub rows: u64,
    /// Rows of the positive class.
    pub positives: u64,
    /// Area under the ROC curve.
    pub auc_ppm: u32,
    /// Average precision.
    pub average_precision_ppm: u32,
    /// Brier score.
    pub brier_ppm: u32,
    /// Expected calibration error.
    pub calibration_error_ppm: u32,
}

/// The judgement of a model on a table that it had not seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelEvaluation {
    /// SHA-256 of the table, hexadecimal.
    pub data_sha256: String,
    /// What came out.
    pub metrics: ModelMetrics,
    /// Its rows beside those that the model was learnt from; none in what older releases stored.
    #[serde(default)]
    pub compared: Option<RowsCompared>,
}

/// Rows of an evaluation that were held against the rows that a model was learnt from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsCompared {
    /// Rows that could be: all where the model remembers all of its rows, a fair sample of them otherwise.
    pub rows: u64,
    /// Of these, rows that it was learnt from.
    pub seen: u64,
}

/// Why an evaluation does not validate a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum NotValidated {
    #[error("it was never judged on a table of its own")]
    NoEvaluation,
    #[error("it was judged on the table that it was learnt from")]
    SameTable,
    #[error("more than one in {SEEN_ONE_IN} of the rows that it was judged on are rows that it was learnt from")]
    SeenRows,
    #[error("fewer than {EVALUATION_CLASS_ROWS_MIN} rows of a class stand behind its evaluation")]
    TooFewRows,
    #[error("it does not tell the classes apart (area under the ROC curve below 0.55)")]
    NoBetterThanChance,
    #[error("its probabilities do not hold (expected calibration error above 0.1)")]
    NotCalibrated,
}

/// A version with its papers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// What it predicts.
    pub kind: ModelKind,
    /// From 1, gapless a kind.
    pub version: u32,
    /// Digest of the artefact's text.
    pub artefact_sha256: String,
    /// Digest of its features' names in their order.
    pub schema_sha256: String,
    /// Digest of the table it was learnt from.
    pub data_sha256: String,
    /// Features.
    pub features: u32,
    /// Bytes of the artefact's document.
    pub bytes: u64,
    /// When its rows happened, where it is known: first instant and first instant behind.
    #[serde(default)]
    pub trained_on: Option<crate::alert::Window>,
    /// On rows held out while it was learnt.
    pub held_out: ModelMetrics,
    /// On a table of its own.
    #[serde(default)]
    pub evaluation: Option<ModelEvaluation>,
    /// Who registered it.
    pub by: String,
    /// With which key; none where the name was only typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_key: Option<KeyId>,
    /// Who had it judged on the table of its own, where that was not when it was registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluated_by: Option<Who>,
    /// The model card, Markdown.
    pub card: String,
}

impl Model {
    /// Who registered it.
    #[must_use]
    pub fn registered_by(&self) -> Who {
        Who { name: self.by.clone(), key: self.by_key }
    }

    /// Is it validated: may somebody promote it?
    ///
    /// # Errors
    /// What is missing.
    pub fn validated(&self) -> Result<(), NotValidated> {
        let evaluation = self.evaluation.as_ref().ok_or(NotValidated::NoEvaluation)?;
        if evaluation.data_sha256 == self.data_sha256 {
            return Err(NotValidated::SameTable);
        }
        if evaluation.compared.is_some_and(|compared| compared.seen.saturating_mul(SEEN_ONE_IN) > compared.rows) {
            return Err(NotValidated::SeenRows);
        }
        let ModelMetrics { rows, positives, auc_ppm, calibration_error_ppm, .. } = evaluation.metrics;
        if positives.min(rows.saturating_sub(positives)) < EVALUATION_CLASS_ROWS_MIN {
            return Err(NotValidated::TooFewRows);
        }
        if auc_ppm < AUC_PPM_MIN {
            return Err(NotValidated::NoBetterThanChance);
        }
        if calibration_error_ppm > CALIBRATION_PPM_MAX {
            return Err(NotValidated::NotCalibrated);
        }
        Ok(())
    }
}

/// A registered version was judged on a table of its own; what was said of it before is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ModelEvaluated {
    pub kind: ModelKind,
    pub version: u32,
    pub evaluation: ModelEvaluation,
    /// Who had it judged.
    pub by: Who,
}

/// A person made a version the one that scores in a jurisdiction; the one before is replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ModelPromoted {
    pub kind: ModelKind,
    pub version: u32,
    /// Where; none of before migration 0045: in every jurisdiction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jurisdiction: Option<JurisdictionNo>,
    /// Not who registered it, unless it is a way back: that was seconded when it was promoted.
    pub by: String,
    /// With which key; none where the name was only typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_key: Option<KeyId>,
    /// It scores again, because this was gone back from. Who does not know of it reads a promotion, which it is, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<ModelRollback>,
    /// How many alerts are expected of each rule that hears it; none of a way back, nor of what older releases stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forecasts: Vec<ModelForecast>,
}

/// How many alerts a rule was expected to raise in a jurisdiction when a version of a model was promoted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelForecast {
    /// Where.
    pub jurisdiction: JurisdictionNo,
    /// Name of the rule that hears the model.
    pub rule: String,
    /// How many.
    pub forecast: RateForecast,
}

/// Why the version before scores again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRollback {
    /// The version that scored until then.
    pub from: u32,
    /// Why it does not any more.
    pub reason: String,
}

/// A person took a version out of use in a jurisdiction for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ModelRetired {
    pub kind: ModelKind,
    pub version: u32,
    /// Where; none of before migration 0045: in every jurisdiction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jurisdiction: Option<JurisdictionNo>,
    pub by: String,
    /// With which key; none where the name was only typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_key: Option<KeyId>,
    pub reason: String,
}

/// What a day of scoring looked like beside what was learnt from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftJudged {
    /// Of which kind.
    pub kind: ModelKind,
    /// Of which version.
    pub version: u32,
    /// Whose records.
    pub operator_no: OperatorNo,
    /// The local day that is over: its beginning.
    #[serde(with = "micros")]
    pub day: Ts,
    /// Rows that it stands on: the day's, and those of days before that were too few to judge.
    pub rows: u64,
    /// How far it has moved.
    pub level: DriftLevel,
    /// Population stability index of the score, millionths; none before there were enough rows.
    #[serde(default)]
    pub score_psi_ppm: Option<u32>,
    /// The features that moved most, with their index, those that are stable left out.
    #[serde(default)]
    pub features: Vec<(String, u32)>,
    /// Mean probability and share of positives of rows whose truth became known, and whether they agree.
    #[serde(default)]
    pub calibration: Option<(u32, u32, bool)>,
    /// The same in sentences.
    pub reasons: Vec<String>,
    /// It was in the shadow: nobody is told of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_shadow: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(evaluation: Option<ModelEvaluation>) -> Model {
        let text = |c: char| c.to_string().repeat(64);
        let metrics = ModelMetrics {
            rows: 1,
            positives: 0,
            auc_ppm: 0,
            average_precision_ppm: 0,
            brier_ppm: 0,
            calibration_error_ppm: 0,
        };
        Model {
            kind: ModelKind::PlayerRisk,
            version: 1,
            artefact_sha256: text('a'),
            schema_sha256: text('b'),
            data_sha256: text('c'),
            features: 3,
            bytes: 10,
            trained_on: None,
            held_out: metrics,
            evaluation,
            by: "Wanjiku".to_owned(),
            by_key: None,
            evaluated_by: None,
            card: String::new(),
        }
    }

    #[test]
    fn a_level_begins_at_its_bound() {
        let table = [
            (0, RiskLevel::Low),
            (199_999, RiskLevel::Low),
            (200_000, RiskLevel::Moderate),
            (499_999, RiskLevel::Moderate),
            (500_000, RiskLevel::High),
            (1_000_000, RiskLevel::High),
        ];
        for (score, level) in table {
            assert_eq!(RiskLevel::of(score), level, "{score}");
            assert!(level.least_ppm() <= score);
        }
    }

    #[test]
    fn a_promotion_of_before_reads_as_it_was_written() {
        let before = r#"{"kind":"player_risk","version":2,"by":"Otieno"}"#;
        let read: ModelPromoted = serde_json::from_str(before).unwrap();
        assert_eq!((&read.rollback, &read.forecasts, read.jurisdiction), (&None, &Vec::new(), None));
        assert_eq!(serde_json::to_string(&read).unwrap(), before);
        let rollback = Some(ModelRollback { from: 3, reason: "it drifts".to_owned() });
        let back = ModelPromoted { rollback, ..read };
        let written = serde_json::to_string(&back).unwrap();
        assert_eq!(
            written,
            r#"{"kind":"player_risk","version":2,"by":"Otieno","rollback":{"from":3,"reason":"it drifts"}}"#
        );
        assert_eq!(serde_json::from_str::<ModelPromoted>(&written).unwrap(), back);
        let forecast = RateForecast {
            basis: crate::rule::ForecastBasis::Nothing,
            findings: 0,
            operator_hours: 0,
            expected_micro: 0,
            upper_micro: 0,
        };
        let of = ModelForecast { jurisdiction: JurisdictionNo(0), rule: "player_at_risk".to_owned(), forecast };
        let foreseen =
            ModelPromoted { rollback: None, forecasts: vec![of], jurisdiction: Some(JurisdictionNo(1)), ..back };
        let written = serde_json::to_string(&foreseen).unwrap();
        assert!(written.contains(r#""version":2,"jurisdiction":1,"by""#), "{written}");
        assert!(written.contains(r#""rule":"player_at_risk","forecast":{"basis":"none""#), "{written}");
        assert_eq!(serde_json::from_str::<ModelPromoted>(&written).unwrap(), foreseen);
    }

    #[test]
    fn only_a_judgement_of_its_own_validates() {
        let of = |data: char, rows, positives, auc_ppm, calibration_error_ppm| {
            Some(ModelEvaluation {
                data_sha256: data.to_string().repeat(64),
                metrics: ModelMetrics {
                    rows,
                    positives,
                    auc_ppm,
                    average_precision_ppm: 1,
                    brier_ppm: 1,
                    calibration_error_ppm,
                },
                compared: None,
            })
        };
        let seen = |rows, seen| {
            let compared = Some(RowsCompared { rows, seen });
            of('d', 1_000, 100, 900_000, 10_000).map(|evaluation| ModelEvaluation { compared, ..evaluation })
        };
        let table = [
            (None, Err(NotValidated::NoEvaluation)),
            (of('c', 1_000, 100, 900_000, 10_000), Err(NotValidated::SameTable)),
            (of('d', 1_000, 49, 900_000, 10_000), Err(NotValidated::TooFewRows)),
            (of('d', 1_000, 960, 900_000, 10_000), Err(NotValidated::TooFewRows)),
            (of('d', 1_000, 100, 549_999, 10_000), Err(NotValidated::NoBetterThanChance)),
            (of('d', 1_000, 100, 900_000, 100_001), Err(NotValidated::NotCalibrated)),
            (of('d', 100, 50, 550_000, 100_000), Ok(())),
            (seen(1_000, 1_000), Err(NotValidated::SeenRows)),
            (seen(1_000, 11), Err(NotValidated::SeenRows)),
            (seen(1_000, 10), Ok(())),
            (seen(30, 1), Err(NotValidated::SeenRows)),
            (seen(0, 0), Ok(())),
        ];
        for (evaluation, wanted) in table {
            assert_eq!(model(evaluation.clone()).validated(), wanted, "{evaluation:?}");
        }
    }
}
