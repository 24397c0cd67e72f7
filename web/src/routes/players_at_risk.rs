//! What the promoted model of player risk says of players. Where none is promoted, nobody is said to have a level of risk.

use actix_web::{HttpRequest, HttpResponse};
use models::ids::{OperatorId, OperatorNo};
use models::jurisdiction::JurisdictionNo;
use models::match_key::MatchKey;
use models::operator::Scope;
use models::risk_model::{ModelKind, RiskLevel};
use models::ts::Ts;
use serde::Serialize;
use store::{PlayerRisk, PlayerRiskQuery};
use utoipa::ToSchema;

use crate::extractors::Caller;
use crate::parse::{self, Fields};
use crate::problem::Problem;
use crate::state::AppState;

/// Players of one answer.
const PLAYERS_MAX: u32 = 500;
/// Players where no number is named.
const PLAYERS_DEFAULT: u32 = 100;

/// Players with what the promoted version said last.
#[derive(Serialize, ToSchema)]
pub struct PlayersAtRiskView {
    /// The version that says so; null where none is promoted in the jurisdiction, and then nobody is named.
    pub model_version: Option<u32>,
    /// The highest probability first.
    pub items: Vec<PlayerRiskView>,
}

/// What the promoted version said last of a player at an operator, or across operators.
#[derive(Serialize, ToSchema)]
pub struct PlayerRiskView {
    /// Stable code of the operator; null: of all that they do at several operators.
    pub operator_code: Option<String>,
    /// Keyed digest, as in the `who` of alerts: `player:…`.
    pub who: String,
    /// In which currency they play.
    pub currency: String,
    /// `low`, `moderate` or `high`.
    pub risk_level: &'static str,
    /// Its probability.
    pub probability: f64,
    /// Everything before it is part of the score.
    #[schema(value_type = String, format = DateTime)]
    pub as_of: Ts,
    /// What moved it most, strongest first; of low probabilities nothing.
    pub reasons: Vec<String>,
}

impl PlayerRiskView {
    fn of(risk: PlayerRisk, state: &AppState) -> Self {
        let operator = state.engine.directory().operators.get(&risk.operator_no).map(|operator| operator.code.clone());
        let scored = risk.scored;
        Self {
            operator_code: operator,
            who: format!("player:{}", scored.player),
            currency: scored.currency.to_string(),
            risk_level: RiskLevel::of(scored.score_ppm).as_str(),
            probability: f64::from(scored.score_ppm) / 1e6,
            as_of: risk.as_of,
            reasons: scored.reasons,
        }
    }
}

/// The version that scores in a jurisdiction.
async fn promoted(state: &AppState, jurisdiction: JurisdictionNo) -> Result<Option<u32>, Problem> {
    let stored = state.engine.store().promoted_model(jurisdiction, ModelKind::PlayerRisk).await?;
    Ok(stored.map(|stored| stored.model.version))
}

fn view(state: &AppState, model_version: Option<u32>, found: Vec<PlayerRisk>) -> HttpResponse {
    let items = found.into_iter().map(|risk| PlayerRiskView::of(risk, state)).collect();
    HttpResponse::Ok().json(PlayersAtRiskView { model_version, items })
}

/// Players of an operator whose level of risk is at least the one that is asked for. For staff.
#[utoipa::path(
    get, path = "/api/v1/operators/{id}/players-at-risk", tag = "models",
    params(("id" = String, Path, description = "opr_…"),
        ("level" = Option<String>, Query, description = "`low`, `moderate` or `high` (where nothing is said): this level and above"),
        ("limit" = Option<u32>, Query, description = "1 to 500; 100 where nothing is said")),
    responses((status = 200, description = "Players", body = PlayersAtRiskView)),
    security(("bearer" = ["market:read"]))
)]
pub async fn list(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::MarketRead)?;
    let id: OperatorId = parse::path_id(&req, "id", "operator")?;
    let operator = caller.operator_in_reach(&state.engine.directory(), id, Scope::MarketRead)?.operator_no;
    at((caller.jurisdiction(), operator), &state, &req).await
}

/// Players of several operators of the jurisdiction whose level of risk, by all that they do there, is at least the one
/// that is asked for. For staff.
#[utoipa::path(
    get, path = "/api/v1/players-at-risk", tag = "models",
    params(("level" = Option<String>, Query, description = "`low`, `moderate` or `high` (where nothing is said): this level and above"),
        ("limit" = Option<u32>, Query, description = "1 to 500; 100 where nothing is said")),
    responses((status = 200, description = "Players", body = PlayersAtRiskView)),
    security(("bearer" = ["market:read"]))
)]
pub async fn across(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::MarketRead)?;
    let jurisdiction = caller.jurisdiction();
    at((jurisdiction, OperatorNo::of_nation(jurisdiction)), &state, &req).await
}

async fn at(
    (jurisdiction, operator): (JurisdictionNo, OperatorNo),
    state: &AppState,
    req: &HttpRequest,
) -> Result<HttpResponse, Problem> {
    let pairs = parse::query(req, &["level", "limit"])?;
    let mut fields = Fields::default();
    let level = parse::parameter(&pairs, "level")
        .map_or(Some(RiskLevel::High), |text| fields.known_parameter("?level", RiskLevel::parse(text)));
    let limit = parse::parameter(&pairs, "limit").map_or(Some(PLAYERS_DEFAULT), |text| {
        let limit = text.parse().ok().filter(|limit| (1..=PLAYERS_MAX).contains(limit));
        fields.known_parameter("?limit", limit)
    });
    let (level, limit) = fields.finish(level.zip(limit))?;
    let Some(version) = promoted(state, jurisdiction).await? else { return Ok(view(state, None, Vec::new())) };
    let query = PlayerRiskQuery { operator, version, from_ppm: level.least_ppm(), limit };
    let found = state.engine.store().players_at_risk(&query).await?;
    Ok(view(state, Some(version), found))
}

/// What is said of a player at each operator of the jurisdiction, and across them, by the keyed digest that alerts name. For staff.
#[utoipa::path(
    get, path = "/api/v1/players/{player}/risk", tag = "models",
    params(("player" = String, Path, description = "The 22 hexadecimal digits behind `player:` in the `who` of an alert")),
    responses((status = 200, description = "By operator; empty where nothing is known", body = PlayersAtRiskView),
        (status = 404, description = "No such digest")),
    security(("bearer" = ["market:read"]))
)]
pub async fn get(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::MarketRead)?;
    let player: MatchKey = parse::path_id(&req, "player", "player")?;
    let Some(version) = promoted(&state, caller.jurisdiction()).await? else {
        return Ok(view(&state, None, Vec::new()));
    };
    let found = state.engine.store().risk_of_player(caller.jurisdiction(), version, player).await?;
    Ok(view(&state, Some(version), found))
}
