//! Rules: what is looked for, with which parameters, since when, and what became of their versions.

pub mod acts;
pub mod backtests;
pub mod findings;
pub mod views;

use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use engine::rules::life::Life;
use engine::rules::list::{self, About};
use models::jurisdiction::JurisdictionNo;
use models::operator::Scope;
use models::ts::{DAY, Ts};
use store::FindingsOf;

use super::list::ListView;
use crate::extractors::Caller;
use crate::parse;
use crate::problem::{Code, Problem};
use crate::state::AppState;
use views::{ChangeView, HitsView, InForceView, LiveOrShadow, RuleBody, RuleView, VersionView};

/// Changes of a rule that are shown, the newest ones.
const CHANGES_SHOWN: usize = 200;
/// Days in a week.
const WEEK: i64 = 7 * DAY;

/// Staff that watches the market, works on alerts or changes rules. No operator may: whoever knows a threshold stays below
/// it.
fn may_read(caller: &Caller) -> Result<(), Problem> {
    let scopes = [Scope::MarketRead, Scope::AlertsManage, Scope::RulesManage];
    if scopes.iter().any(|scope| caller.has(*scope)) {
        return Ok(());
    }
    Err(Problem::new(Code::Forbidden, "the key has none of the scopes market:read, alerts:manage and rules:manage"))
}

/// The rule that a path names.
fn about(req: &HttpRequest) -> Result<&'static About, Problem> {
    let name = req.match_info().get("rule").unwrap_or_default();
    list::about(name).ok_or_else(|| Problem::not_found("rule"))
}

fn life_of(state: &AppState, no: JurisdictionNo, rule: &str) -> Option<Arc<Life>> {
    state.engine.directory().rule_versions().life(no, rule).cloned()
}

/// The rule that a path names, as one that takes versions.
fn life(caller: &Caller, state: &AppState, req: &HttpRequest) -> Result<Arc<Life>, Problem> {
    Ok(state.engine.rule(caller.jurisdiction(), about(req)?.name)?)
}

/// The number of the version that a path names.
fn number(life: &Life, req: &HttpRequest) -> Result<u32, Problem> {
    let number = parse::path_id::<u32>(req, "version", "version")?;
    life.version(number).map(|version| version.number).ok_or_else(|| Problem::not_found("version"))
}

/// What the versions in force of some rules raised in the last day and week.
async fn in_force(
    state: &AppState,
    no: JurisdictionNo,
    lives: &[Option<Arc<Life>>],
    now: Ts,
) -> Result<Vec<[Option<InForceView>; 2]>, Problem> {
    let mut wanted = Vec::new();
    let of_both = |life: &Life| {
        [("live", life.live_at(now)), ("shadow", life.shadow_at(now))].map(|(m, v)| (m, v.map(|v| v.number)))
    };
    for life in lives.iter().flatten() {
        for (mode, number) in of_both(life) {
            let Some(version) = number else { continue };
            let of = |days: i64| FindingsOf {
                jurisdiction: no,
                rule: life.rule().to_owned(),
                version,
                mode,
                from: now.plus(-days),
                to: now.plus(DAY),
            };
            wanted.extend([of(DAY), of(WEEK)]);
        }
    }
    let mut hits = state.engine.store().rule_hits(&wanted).await?.into_iter();
    let mut counted = || HitsView { day: hits.next().unwrap_or(0), week: hits.next().unwrap_or(0) };
    let mut views = Vec::with_capacity(lives.len());
    for life in lives {
        let mut view = |mode: &str, number: Option<u32>| {
            let (life, number) = (life.as_ref()?, number?);
            let mode = match mode {
                "live" => LiveOrShadow::Live { below_forecast: state.engine.below_forecast(no, life.rule(), number) },
                _ => LiveOrShadow::Shadow,
            };
            Some(InForceView::of(life, number, mode, now, counted()))
        };
        let numbers = life.as_ref().map_or([("live", None), ("shadow", None)], |life| of_both(life));
        views.push(numbers.map(|(mode, number)| view(mode, number)));
    }
    Ok(views)
}

/// A rule with what became of it.
async fn body(state: &AppState, no: JurisdictionNo, about: &'static About) -> Result<RuleBody, Problem> {
    let now = state.engine.now();
    let life = life_of(state, no, about.name);
    let in_force = in_force(state, no, std::slice::from_ref(&life), now).await?;
    let [live, shadow] = in_force.into_iter().next().unwrap_or_default();
    let rule = RuleView::of(about, life.as_deref(), live, shadow, now);
    let directory = state.engine.directory();
    let changes = directory.rule_versions().changes(no, about.name).take(CHANGES_SHOWN);
    Ok(RuleBody { rule, changes: changes.map(|(seq, changed)| ChangeView::of(*seq, changed)).collect() })
}

fn etag(life: &Life) -> (header::HeaderName, String) {
    (header::ETAG, format!("\"{}\"", life.change()))
}

/// Every rule: what it says, what it hears, its parameters with bounds, unit and source, what is in force, and how often
/// that spoke.
#[utoipa::path(
    get, path = "/api/v1/rules", tag = "rules",
    responses((status = 200, description = "Every rule, those that are part of the engine elsewhere, too", body = ListView<RuleView>)),
    security(("bearer" = ["market:read"]), ("bearer" = ["alerts:manage"]), ("bearer" = ["rules:manage"]))
)]
pub async fn list(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    may_read(&caller)?;
    parse::query(&req, &[])?;
    let (no, now) = (caller.jurisdiction(), state.engine.now());
    let lives: Vec<Option<Arc<Life>>> = list::ABOUT.iter().map(|about| life_of(&state, no, about.name)).collect();
    let in_force = in_force(&state, no, &lives, now).await?;
    let rules = list::ABOUT.iter().zip(&lives).zip(in_force);
    let items = rules.map(|((about, life), [live, shadow])| RuleView::of(about, life.as_deref(), live, shadow, now));
    Ok(HttpResponse::Ok().json(ListView { items: items.collect(), next_cursor: None }))
}

/// A rule, and what became of its versions: who did what, when and why.
#[utoipa::path(
    get, path = "/api/v1/rules/{rule}", tag = "rules", params(("rule" = String, Path, description = "Its name", example = "structured_deposits")),
    responses((status = 200, description = "The rule; `ETag` is the number of its last change", body = RuleBody)),
    security(("bearer" = ["market:read"]), ("bearer" = ["alerts:manage"]), ("bearer" = ["rules:manage"]))
)]
pub async fn get(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    may_read(&caller)?;
    let about = about(&req)?;
    let body = body(&state, caller.jurisdiction(), about).await?;
    let mut response = HttpResponse::Ok();
    if let Some(life) = life_of(&state, caller.jurisdiction(), about.name) {
        response.insert_header(etag(&life));
    }
    Ok(response.json(body))
}

/// The versions of a rule, newest first.
#[utoipa::path(
    get, path = "/api/v1/rules/{rule}/versions", tag = "rules", params(("rule" = String, Path, description = "Its name")),
    responses((status = 200, description = "Versions", body = ListView<VersionView>),
        (status = 409, description = "The rule takes no versions: it is part of the engine elsewhere")),
    security(("bearer" = ["market:read"]), ("bearer" = ["alerts:manage"]), ("bearer" = ["rules:manage"]))
)]
pub async fn versions(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    may_read(&caller)?;
    let (life, now) = (life(&caller, &state, &req)?, state.engine.now());
    let items = life.versions().iter().rev().map(|version| VersionView::of(&life, version, now)).collect();
    Ok(HttpResponse::Ok().insert_header(etag(&life)).json(ListView { items, next_cursor: None }))
}

/// A version, and how its parameters differ from those that are live.
#[utoipa::path(
    get, path = "/api/v1/rules/{rule}/versions/{version}", tag = "rules",
    params(("rule" = String, Path, description = "Name of the rule"), ("version" = u32, Path, description = "Its number; the lowest is the standard one")),
    responses((status = 200, description = "The version", body = VersionView)),
    security(("bearer" = ["market:read"]), ("bearer" = ["alerts:manage"]), ("bearer" = ["rules:manage"]))
)]
pub async fn version(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    may_read(&caller)?;
    let life = life(&caller, &state, &req)?;
    let number = number(&life, &req)?;
    Ok(HttpResponse::Ok().insert_header(etag(&life)).json(view(&life, number, state.engine.now())?))
}

fn view(life: &Life, number: u32, now: Ts) -> Result<VersionView, Problem> {
    let version = life.version(number).ok_or_else(|| Problem::not_found("version"))?;
    Ok(VersionView::of(life, version, now))
}
