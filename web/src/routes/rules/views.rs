//! Rules and their versions, as they are shown.

use engine::rules::brake::Shortfall;
use engine::rules::input::Trigger;
use engine::rules::life::{Deed, Life, Promotion, Span, Version, diff};
use engine::rules::list::{self, About, Home};
use engine::rules::params::ParamAbout;
use engine::rules::standards;
use models::alert::Severity;
use models::ids::{KeyId, Seq};
use models::rule::{RateDeparture, RateForecast, RuleChanged};
use models::ts::Ts;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A rule.
#[derive(Serialize, ToSchema)]
pub struct RuleView {
    /// Its name: the condition.
    #[schema(value_type = String, example = "structured_deposits")]
    pub name: &'static str,
    /// `operator` (runs over each operator's inputs), `nation` (over those of all), `market` (over the windows of each
    /// operator's market), `desk` (over the sources, by the wall clock), `elsewhere` (part of the engine in another place: it
    /// takes no versions).
    #[schema(value_type = String)]
    pub home: Home,
    /// How urgent its findings are at most.
    #[schema(value_type = String)]
    pub severity: Severity,
    /// What it says.
    #[schema(value_type = String)]
    pub what: &'static str,
    /// What takes a finding back, and what cannot.
    #[schema(value_type = String)]
    pub takes_back: &'static str,
    /// What it listens for.
    #[schema(value_type = Vec<String>)]
    pub hears: &'static [Trigger],
    /// Its parameters.
    pub params: Vec<ParamView>,
    /// How often its versions were changed: what `If-Match` names.
    pub change: i64,
    /// The version that people hear of now; null where it is off.
    pub live: Option<InForceView>,
    /// The version that runs beside it and is only counted.
    pub shadow: Option<InForceView>,
}

/// A parameter.
#[derive(Serialize, ToSchema)]
pub struct ParamView {
    /// Its name.
    #[schema(value_type = String, example = "deposits_min")]
    pub name: &'static str,
    /// What it says.
    #[schema(value_type = String)]
    pub what: &'static str,
    /// Its unit.
    #[schema(value_type = String)]
    pub unit: &'static str,
    /// As it is live now; null where the rule is off.
    #[schema(value_type = Object)]
    pub value: Value,
    /// Where nothing is said: the jurisdiction's standard.
    #[schema(value_type = Object)]
    pub default: Value,
    /// The smallest number allowed; of lists and maps that of each number in them.
    pub min: i64,
    /// The largest.
    pub max: i64,
    /// Where the default comes from.
    #[schema(value_type = String)]
    pub source: &'static str,
}

/// A version in force.
#[derive(Serialize, ToSchema)]
pub struct InForceView {
    /// Its number.
    pub version: u32,
    /// First instant, by the time of what is judged.
    #[schema(value_type = String, format = DateTime)]
    pub from: Ts,
    /// First instant after it; null = open.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub to: Option<Ts>,
    /// Findings that it raised.
    pub hits: HitsView,
    /// Of a live version, within seven days of its promotion: it raises far fewer alerts than was forecast. It is for people
    /// to judge, and stops nothing; null where it does not, and where nothing was forecast.
    pub below_forecast: Option<BelowForecastView>,
}

/// As what a version is in force.
#[derive(Clone, Copy)]
pub enum LiveOrShadow {
    /// People hear of it.
    Live {
        /// How far it is below its forecast.
        below_forecast: Option<Shortfall>,
    },
    /// It is only counted.
    Shadow,
}

/// Findings that were raised.
#[derive(Clone, Copy, Serialize, ToSchema)]
pub struct HitsView {
    /// In the last 24 hours.
    pub day: u64,
    /// In the last seven days.
    pub week: u64,
}

/// A rule with what became of it.
#[derive(Serialize, ToSchema)]
pub struct RuleBody {
    /// The rule.
    #[serde(flatten)]
    pub rule: RuleView,
    /// What became of its versions, newest first, 200 at most.
    pub changes: Vec<ChangeView>,
}

/// One change of a rule.
#[derive(Serialize, ToSchema)]
pub struct ChangeView {
    /// Its number.
    pub change: i64,
    /// Its place in the journal.
    pub seq: Seq,
    /// `proposed`, `shadow_started`, `shadow_stopped`, `promoted`, `rolled_back`, `rolled_back_by_the_brake`, `turned_off`.
    #[schema(value_type = String)]
    pub what: &'static str,
    /// The version that it is about; of one that was rolled back to, that one. Null where the rule is off since.
    pub version: Option<u32>,
    /// Whose key; null where the engine did it by itself.
    #[schema(value_type = Option<String>)]
    pub by: Option<KeyId>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Ts,
    /// Why.
    pub note: String,
}

/// Who did something, when and why.
#[derive(Serialize, ToSchema)]
pub struct DeedView {
    /// The key.
    #[schema(value_type = Option<String>)]
    pub by: Option<KeyId>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Ts,
    /// Why.
    pub note: String,
}

/// A span of time, half-open.
#[derive(Serialize, ToSchema)]
pub struct SpanView {
    /// First instant.
    #[schema(value_type = String, format = DateTime)]
    pub from: Ts,
    /// First instant after it; null = open.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub to: Option<Ts>,
}

/// How many alerts were expected of a version when it was promoted.
#[derive(Serialize, ToSchema)]
pub struct RateForecastView {
    /// `shadow` (what it found there), `backtest` (what its newest one has found), `version_before` (what was live until then
    /// had found), or `none`: nothing was known, and all operators together may raise two alerts a day.
    #[schema(value_type = String)]
    pub basis: &'static str,
    /// Findings that it stands on.
    pub findings: u64,
    /// Hours of all operators together in which they were raised.
    pub operator_hours: u64,
    /// Alerts a day and operator.
    pub per_operator_day: f64,
    /// Passed by chance once in a hundred times. The brake takes all operators together to raise two alerts a day at least.
    pub upper_per_operator_day: f64,
}

/// Alerts that left their forecast.
#[derive(Serialize, ToSchema)]
pub struct BrakeView {
    /// Start of the hours that were looked at together.
    #[schema(value_type = String, format = DateTime)]
    pub from: Ts,
    /// How many hours these are.
    pub hours: u32,
    /// Findings raised in them.
    pub findings: u64,
    /// As many were expected at most.
    pub upper: f64,
}

/// Far fewer alerts than were forecast.
#[derive(Serialize, ToSchema)]
pub struct BelowForecastView {
    /// Start of the hours that were looked at together.
    #[schema(value_type = String, format = DateTime)]
    pub from: Ts,
    /// How many hours these are.
    pub hours: u32,
    /// Findings raised in them.
    pub findings: u64,
    /// As many were expected at least.
    pub lower: f64,
}

/// A promotion.
#[derive(Serialize, ToSchema)]
pub struct PromotionView {
    /// Who promoted it.
    #[serde(flatten)]
    pub deed: DeedView,
    /// First instant for which it was promoted.
    #[schema(value_type = String, format = DateTime)]
    pub from: Ts,
    /// First instant after it, at which what was live before is so again; null = open.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub to: Option<Ts>,
    /// What was expected; null where a release before had nothing to learn it from, and so no brake.
    pub forecast: Option<RateForecastView>,
    /// The brake that ended it.
    pub brake: Option<BrakeView>,
}

/// A parameter that differs from the live one.
#[derive(Serialize, ToSchema)]
pub struct DiffView {
    /// Its name.
    pub name: String,
    /// As it is live now.
    #[schema(value_type = Object)]
    pub live: Value,
    /// As this version has it.
    #[schema(value_type = Object)]
    pub this: Value,
}

/// A version of a rule.
#[derive(Serialize, ToSchema)]
pub struct VersionView {
    /// Name of the rule.
    #[schema(value_type = String)]
    pub rule: &'static str,
    /// Its number; the lowest is the standard one, which nobody proposed: 1, of `robust_deviation` 3.
    pub version: u32,
    /// `proposed`, `shadow`, `scheduled`, `live`, `ended`.
    #[schema(value_type = String)]
    pub state: &'static str,
    /// Every parameter.
    #[schema(value_type = Object)]
    pub parameters: Value,
    /// How they differ from those that are live now; empty where they do not, or where the rule is off.
    pub differs: Vec<DiffView>,
    /// First instant for which it was proposed; null = as soon as it is promoted.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub effective_from: Option<Ts>,
    /// First instant after it; null = open.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub effective_to: Option<Ts>,
    /// Who proposed it.
    pub proposed: Option<DeedView>,
    /// Who promoted it.
    pub promoted: Option<PromotionView>,
    /// When it was, is and will be live, by the time of what is judged.
    pub live: Vec<SpanView>,
    /// When it ran in the shadow.
    pub shadow: Vec<SpanView>,
}

impl RuleView {
    /// A rule as it is now.
    pub fn of(
        about: &'static About,
        life: Option<&Life>,
        live: Option<InForceView>,
        shadow: Option<InForceView>,
        now: Ts,
    ) -> Self {
        let values = life.and_then(|life| life.live_at(now)).map(|version| &version.params);
        let value = |name: &str| values.and_then(|values| values.get(name)).cloned().unwrap_or_default();
        let params = list::params_of(about.name).into_iter().map(|param| ParamView::of(value(param.name), param, life));
        Self {
            name: about.name,
            home: about.home,
            severity: about.severity,
            what: about.what,
            takes_back: about.takes_back,
            hears: about.hears,
            params: params.collect(),
            change: life.map_or(0, Life::change),
            live,
            shadow,
        }
    }
}

impl ParamView {
    /// As it is in a jurisdiction, where the rule takes versions.
    fn of(value: Value, about: ParamAbout, life: Option<&Life>) -> Self {
        let ParamAbout { name, what, unit, default, min, max, source } = about;
        let standard = life.and_then(|life| life.standard_params().get(name).cloned());
        let own = life.and_then(|life| standards::source(life.jurisdiction(), life.rule(), name));
        let (default, source) = (standard.unwrap_or(default), own.unwrap_or(source));
        Self { name, what, unit, value, default, min, max, source }
    }
}

impl InForceView {
    /// A version that is live now, or runs in the shadow.
    pub fn of(life: &Life, number: u32, mode: LiveOrShadow, now: Ts, hits: HitsView) -> Self {
        let (is_live, below_forecast) = match mode {
            LiveOrShadow::Live { below_forecast } => (true, below_forecast.map(BelowForecastView::from)),
            LiveOrShadow::Shadow => (false, None),
        };
        let live = life.live_spans(number);
        let shadows = life.version(number).map_or(&[][..], |version| &version.shadows);
        let spans = if is_live { &live[..] } else { shadows };
        let span = spans.iter().rev().find(|span| span.from <= now);
        let (from, to) = (span.map_or(now, |span| span.from), span.and_then(|span| span.to));
        Self { version: number, from, to, hits, below_forecast }
    }
}

impl ChangeView {
    /// A change at its place in the journal.
    pub fn of(seq: Seq, changed: &RuleChanged) -> Self {
        let RuleChanged { change, act, by, at, note, .. } = changed;
        let (what, version) = (act.as_str(), act.version());
        Self { change: *change, seq, what, version, by: *by, at: *at, note: note.clone() }
    }
}

impl From<&Deed> for DeedView {
    fn from(deed: &Deed) -> Self {
        Self { by: deed.by, at: deed.at, note: deed.note.clone() }
    }
}

impl From<&Span> for SpanView {
    fn from(span: &Span) -> Self {
        Self { from: span.from, to: span.to }
    }
}

fn millionths(micro: u64) -> f64 {
    micro as f64 / 1e6
}

impl From<RateForecast> for RateForecastView {
    fn from(forecast: RateForecast) -> Self {
        Self {
            basis: forecast.basis.as_str(),
            findings: forecast.findings,
            operator_hours: forecast.operator_hours,
            per_operator_day: millionths(forecast.expected_micro),
            upper_per_operator_day: millionths(forecast.upper_micro),
        }
    }
}

impl From<RateDeparture> for BrakeView {
    fn from(departure: RateDeparture) -> Self {
        let RateDeparture { from, hours, findings, upper_micro } = departure;
        Self { from, hours, findings, upper: millionths(upper_micro) }
    }
}

impl From<Shortfall> for BelowForecastView {
    fn from(shortfall: Shortfall) -> Self {
        let Shortfall { from, hours, findings, lower_micro } = shortfall;
        Self { from, hours, findings, lower: millionths(lower_micro) }
    }
}

impl From<&Promotion> for PromotionView {
    fn from(promotion: &Promotion) -> Self {
        Self {
            deed: DeedView::from(&promotion.deed),
            from: promotion.span.from,
            to: promotion.span.to,
            forecast: promotion.forecast.map(RateForecastView::from),
            brake: promotion.brake.map(BrakeView::from),
        }
    }
}

impl VersionView {
    /// A version as it stands.
    pub fn of(life: &Life, version: &Version, now: Ts) -> Self {
        let differs = life.live_at(now).map_or_else(Vec::new, |live| diff(&live.params, &version.params));
        let differs = differs.into_iter().map(|(name, live, this)| DiffView {
            name: name.to_owned(),
            live: live.clone(),
            this: this.clone(),
        });
        Self {
            rule: life.rule(),
            version: version.number,
            state: life.state(version, now).as_str(),
            parameters: version.params.clone(),
            differs: differs.collect(),
            effective_from: version.effective.0,
            effective_to: version.effective.1,
            proposed: version.proposal.as_ref().map(DeedView::from),
            promoted: version.promotion.as_ref().map(PromotionView::from),
            live: life.live_spans(version.number).iter().map(SpanView::from).collect(),
            shadow: version.shadows.iter().map(SpanView::from).collect(),
        }
    }
}
