//! Compliance as it is shown.

use std::collections::BTreeMap;

use engine::compliance::{ABOUT, BANDS, FORMULA, LEAST_WEIGHT, SPAN_DAYS, VERSION};
use models::compliance::{Band, ComplianceScored, Component};
use models::ids::OperatorId;
use models::operator::Operator;
use models::ts::Ts;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Report, csv};

/// How an operator keeps to its duties.
#[derive(Serialize, ToSchema)]
pub struct ComplianceView {
    /// `opr_…`
    #[schema(value_type = String)]
    pub operator: OperatorId,
    /// Stable code.
    pub operator_code: String,
    /// Name for people.
    pub operator_name: String,
    /// Code of the jurisdiction, by whose midnight days are cut.
    pub jurisdiction: String,
    /// The newest score; null before the first day of the operator is over.
    pub current: Option<ScoreView>,
    /// First day of the history, `YYYY-MM-DD`.
    pub from: String,
    /// Its last day.
    pub to: String,
    /// Scores of the span as they count, oldest first; a day without one is left out.
    pub history: Vec<HistoryView>,
    /// SHA-256, in hex, of the history as CSV: the report as PDF names it, too.
    pub history_sha256: String,
    /// What a score follows from.
    pub formula: FormulaView,
}

/// A score with everything it was worked out of.
#[derive(Serialize, ToSchema)]
pub struct ScoreView {
    /// The last day of its span, `YYYY-MM-DD`.
    pub day: String,
    /// First instant of the span.
    #[schema(value_type = String, format = DateTime)]
    pub from: Ts,
    /// First instant behind it.
    #[schema(value_type = String, format = DateTime)]
    pub to: Ts,
    /// From 0 to 100, rounded down; null where nothing was measured.
    pub score: Option<i64>,
    /// The same in millionths of full marks.
    pub score_ppm: Option<i64>,
    /// `good`, `fair`, `poor`, `critical`; `not_enough_measured` where less than the formula's `least_weight` was; null in
    /// scores of formulas before version 4 of which nothing was measured.
    #[schema(value_type = Option<String>)]
    pub band: Option<Band>,
    /// Weights of the components of which something was measured, of 100.
    pub measured_weight: i64,
    /// Version of the formula it was given by.
    pub formula: u32,
    /// Number of the score of this day: it grows where late data changed it.
    pub revision: u32,
    /// When it was worked out.
    #[schema(value_type = String, format = DateTime)]
    pub at: Ts,
    /// Each component once.
    pub components: Vec<ComponentView>,
}

/// A component of a score.
#[derive(Serialize, ToSchema)]
pub struct ComponentView {
    /// Name, as in the formula.
    #[schema(value_type = String)]
    pub component: Component,
    /// Its share of 100.
    pub weight: i64,
    /// What was measured; null where there was nothing to measure: then it is left out, and the others weigh more.
    pub value: Option<i64>,
    /// What the value counts: `ppm`, `minutes`, `days_milli`, `alert_points`.
    pub unit: &'static str,
    /// What the value is worth, millionths of full marks.
    pub points_ppm: Option<i64>,
    /// What the value was worked out of.
    pub figures: BTreeMap<String, i64>,
}

/// A score of the history.
#[derive(Serialize, ToSchema)]
pub struct HistoryView {
    /// `YYYY-MM-DD`.
    pub day: String,
    /// From 0 to 100.
    pub score: Option<i64>,
    /// The same in millionths of full marks.
    pub score_ppm: Option<i64>,
    /// Its name.
    #[schema(value_type = Option<String>)]
    pub band: Option<Band>,
    /// Weights of what was measured, of 100.
    pub measured_weight: i64,
    /// Version of the formula.
    pub formula: u32,
    /// Number of the score of this day.
    pub revision: u32,
    /// Points by component, millionths; null where there was nothing to measure.
    pub points_ppm: BTreeMap<&'static str, Option<i64>>,
}

/// The formula.
#[derive(Serialize, ToSchema)]
pub struct FormulaView {
    /// Grows with every change.
    pub version: u32,
    /// In a sentence.
    pub formula: &'static str,
    /// Days that a score stands on.
    pub span_days: i64,
    /// Components in their order.
    pub components: Vec<FormulaComponent>,
    /// Weight of which something must have been measured, of 100, so that a score has a band.
    pub least_weight: i64,
    /// Bands, best first.
    pub bands: Vec<BandView>,
}

/// A component of the formula.
#[derive(Serialize, ToSchema)]
pub struct FormulaComponent {
    /// Name.
    #[schema(value_type = String)]
    pub component: Component,
    /// Its share of 100.
    pub weight: i64,
    /// What is measured.
    pub what: &'static str,
    /// What its value counts.
    pub unit: &'static str,
    /// Values and what they are worth; in between the line is straight, before and behind it level.
    pub line: Vec<Knot>,
    /// Where the line comes from.
    pub source: &'static str,
    /// When there is nothing to measure.
    pub nothing: &'static str,
}

/// A point of a line.
#[derive(Serialize, ToSchema)]
#[allow(missing_docs)]
pub struct Knot {
    /// In the component's unit.
    pub value: i64,
    /// Millionths of full marks.
    pub points_ppm: i64,
}

/// A band.
#[derive(Serialize, ToSchema)]
pub struct BandView {
    /// Name.
    #[schema(value_type = String)]
    pub band: Band,
    /// From which score on.
    pub from: i64,
}

/// Operators of a jurisdiction by their scores.
#[derive(Serialize, ToSchema)]
pub struct RankingView {
    /// The day; null where none was scored yet.
    pub day: Option<String>,
    /// Those of whom too little was measured for a band, then the lowest score first.
    pub items: Vec<RankView>,
    /// Sent as `?cursor=` for the next page; null at the end.
    pub next_cursor: Option<String>,
    /// What a score follows from.
    pub formula: FormulaView,
}

/// An operator in the list.
#[derive(Serialize, ToSchema)]
pub struct RankView {
    /// `opr_…`
    #[schema(value_type = String)]
    pub operator: OperatorId,
    /// Stable code.
    pub operator_code: String,
    /// Name for people.
    pub operator_name: String,
    /// Its score.
    #[serde(flatten)]
    pub score: HistoryView,
}

impl ComplianceView {
    pub(super) fn of(report: &Report) -> Self {
        let Report { operator, jurisdiction, from, to, current, history } = report;
        Self {
            operator: operator.id,
            operator_code: operator.code.clone(),
            operator_name: operator.name.clone(),
            jurisdiction: jurisdiction.clone(),
            current: current.as_ref().map(ScoreView::of),
            from: from.clone(),
            to: to.clone(),
            history: history.iter().map(HistoryView::of).collect(),
            history_sha256: csv::sha256(history),
            formula: FormulaView::of_code(),
        }
    }
}

/// What a component's value counts.
pub(super) fn unit(component: Component) -> engine::compliance::Unit {
    let about = ABOUT.iter().find(|about| about.component == component);
    about.map_or(engine::compliance::Unit::Ppm, |about| about.unit)
}

impl ScoreView {
    fn of(scored: &ComplianceScored) -> Self {
        let components = scored.components.iter().map(|one| ComponentView {
            component: one.component,
            weight: one.weight,
            value: one.value,
            unit: unit(one.component).as_str(),
            points_ppm: one.points_ppm,
            figures: one.figures.clone(),
        });
        Self {
            day: scored.day.clone(),
            from: scored.from,
            to: scored.to,
            score: scored.score(),
            score_ppm: scored.score_ppm,
            band: scored.band,
            measured_weight: scored.measured_weight,
            formula: scored.formula,
            revision: scored.revision,
            at: scored.at,
            components: components.collect(),
        }
    }
}

impl HistoryView {
    fn of(scored: &ComplianceScored) -> Self {
        Self {
            day: scored.day.clone(),
            score: scored.score(),
            score_ppm: scored.score_ppm,
            band: scored.band,
            measured_weight: scored.measured_weight,
            formula: scored.formula,
            revision: scored.revision,
            points_ppm: scored.components.iter().map(|one| (one.component.as_str(), one.points_ppm)).collect(),
        }
    }
}

impl RankView {
    pub(super) fn of(operator: &Operator, scored: &ComplianceScored) -> Self {
        Self {
            operator: operator.id,
            operator_code: operator.code.clone(),
            operator_name: operator.name.clone(),
            score: HistoryView::of(scored),
        }
    }
}

impl FormulaView {
    /// As the program has it.
    pub(super) fn of_code() -> Self {
        let components = ABOUT.iter().map(|about| FormulaComponent {
            component: about.component,
            weight: about.weight,
            what: about.what,
            unit: about.unit.as_str(),
            line: about.line.iter().map(|&(value, points_ppm)| Knot { value, points_ppm }).collect(),
            source: about.source,
            nothing: about.nothing,
        });
        Self {
            version: VERSION,
            formula: FORMULA,
            span_days: SPAN_DAYS,
            components: components.collect(),
            least_weight: LEAST_WEIGHT,
            bands: BANDS.iter().map(|&(band, from)| BandView { band, from }).collect(),
        }
    }
}
