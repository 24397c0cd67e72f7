//! Licences that the regulator enters.

use actix_web::{HttpRequest, HttpResponse};
use actors::directory::Directory;
use models::ids::LicenceId;
use models::operator::{Licence, LicenceState, LicensedReturn, Operator, Scope};
use models::record::{PlayChannel, Product};
use models::ts::Ts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use utoipa::ToSchema;

use super::list::{ListView, page_by};
use super::operators::{jurisdiction_code, reach};
use crate::extractors::{Body, Caller, idempotency::idempotency};
use crate::parse::{self, Fields, wire};
use crate::problem::Problem;
use crate::state::AppState;

/// A licence to add, or to change where the number is known.
#[derive(Deserialize, ToSchema)]
pub struct LicenceRequest {
    /// As the licence authority prints it.
    #[serde(default)]
    number: Option<String>,
    /// E.g. `online_betting`.
    #[serde(default)]
    class: Option<String>,
    /// Products it covers, at most 32; none named = every one. Rules judge those of records (`sportsbook`, `casino`,
    /// `lottery`, `virtual`, `poker`, `crash`, `slots`, `other`); where another is named too, they say nothing of products.
    #[serde(default)]
    products: Option<Vec<String>>,
    /// Conditions, at most 32. What a text forbids is a parameter of the rule `licence_lapsed`.
    #[serde(default)]
    conditions: Option<Vec<String>>,
    /// Channels over which may be played, of `online`, `retail`, `ussd`; none named = every one.
    #[serde(default)]
    channels: Option<Vec<String>>,
    /// What products give back to players, by product of records: `return_to_player_off` holds payouts against it.
    #[serde(default)]
    return_to_player: Option<BTreeMap<String, ReturnBody>>,
    /// First instant of validity.
    #[serde(default)]
    #[schema(format = DateTime)]
    valid_from: Option<String>,
    /// First instant after it; null = open.
    #[serde(default)]
    #[schema(format = DateTime)]
    valid_to: Option<String>,
    /// `active` (default), `suspended`, `revoked`, `expired`.
    #[serde(default)]
    state: Option<String>,
}

/// What a licence says that a product gives back to players.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct ReturnBody {
    /// Return to player, parts per million of stakes: 10000 to 1000000.
    #[serde(default)]
    return_ppm: Option<i64>,
    /// The largest win as a multiple of the stake, 1 to 10000000; null = the licence says none, and less is found.
    #[serde(default)]
    multiple_max: Option<i64>,
}

/// A licence.
#[derive(Serialize, ToSchema)]
pub struct LicenceView {
    /// `lic_…`
    #[schema(value_type = String)]
    pub id: LicenceId,
    /// As the licence authority prints it.
    pub number: String,
    /// Class.
    pub class: String,
    /// Code of the jurisdiction.
    pub jurisdiction: String,
    /// Products it covers.
    pub products: Vec<String>,
    /// Conditions.
    pub conditions: Vec<String>,
    /// Channels over which may be played; none named = every one.
    #[schema(value_type = Vec<String>)]
    pub channels: Vec<PlayChannel>,
    /// What products give back to players, by product.
    pub return_to_player: BTreeMap<String, ReturnBody>,
    /// First instant of validity.
    #[schema(value_type = String, format = DateTime)]
    pub valid_from: Ts,
    /// First instant after it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub valid_to: Option<Ts>,
    /// State.
    #[schema(value_type = String)]
    pub state: LicenceState,
}

/// Licences of an operator, newest first.
#[utoipa::path(
    get, path = "/api/v1/operators/{id}/licence", tag = "operators",
    params(("id" = String, Path, description = "opr_…"), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, description = "Licences", body = ListView<LicenceView>)),
    security(("bearer" = []))
)]
pub async fn licences(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    let directory = state.engine.directory();
    let operator = reach(&caller, &directory, &req)?;
    let query = parse::list_query(&parse::query(&req, &["limit", "cursor"])?)?;
    let held = directory.licences.get(&operator.operator_no).map(Vec::as_slice).unwrap_or_default();
    let page = page_by(held.iter(), &query, |l| l.id)?;
    Ok(HttpResponse::Ok().json(page.map(|l| LicenceView::of(l, &directory))))
}

/// Adds a licence, or changes the one of the same number. The operator's rules hear of it from then on, as of a document of
/// the licence authority; of both the newer holds.
#[utoipa::path(
    put, path = "/api/v1/operators/{id}/licence", tag = "operators", request_body = LicenceRequest,
    params(("id" = String, Path, description = "opr_…"), ("Idempotency-Key" = Option<String>, Header, description = "Same key and body within 24 h: same licence")),
    responses((status = 200, description = "As it now stands", body = LicenceView)),
    security(("bearer" = ["operators:manage"]))
)]
pub async fn set_licence(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::OperatorsManage)?;
    parse::require_json(req.headers())?;
    let operator = reach(&caller, &state.engine.directory(), &req)?;
    let licence = parse::json::<LicenceRequest>(&body)?.check(&operator)?;
    let licence = state.engine.set_licence(licence, idempotency(&caller, &req, &body)?).await?;
    Ok(HttpResponse::Ok().json(LicenceView::of(&licence, &state.engine.directory())))
}

impl LicenceRequest {
    fn check(self, operator: &Operator) -> Result<Licence, Problem> {
        let mut fields = Fields::default();
        let number = fields.required_text("/number", self.number.as_deref(), 100);
        let class = fields.required_text("/class", self.class.as_deref(), 60);
        let products = texts(&mut fields, "/products", self.products, 32);
        let conditions = texts(&mut fields, "/conditions", self.conditions, 32);
        let channels = channels(&mut fields, self.channels.as_deref().unwrap_or_default());
        let return_to_player = returns(&mut fields, self.return_to_player.unwrap_or_default());
        let from = self.valid_from.as_deref().or_else(|| {
            fields.wrong("/valid_from", "required");
            None
        });
        let valid_from = from.and_then(|text| fields.take("/valid_from", Ts::parse(text)));
        let valid_to = self.valid_to.as_deref().and_then(|text| fields.take("/valid_to", Ts::parse(text)));
        let state = match self.state.as_deref() {
            None => Some(LicenceState::Active),
            named => fields.known("/state", named, wire::<LicenceState>),
        };
        let (((number, class), valid_from), state) = fields.finish(number.zip(class).zip(valid_from).zip(state))?;
        Ok(Licence {
            // the engine keeps the id of a known number and makes one for a new one
            id: LicenceId(0),
            operator_no: operator.operator_no,
            number,
            class,
            jurisdiction: operator.jurisdiction,
            products,
            conditions,
            channels,
            return_to_player,
            valid_from,
            valid_to,
            state,
        })
    }
}

fn texts(fields: &mut Fields, pointer: &'static str, sent: Option<Vec<String>>, most: usize) -> Vec<String> {
    let sent = sent.unwrap_or_default();
    if sent.len() > most {
        fields.wrong(pointer, format!("more than {most}"));
        return Vec::new();
    }
    sent.iter().filter_map(|text| fields.text(pointer, Some(text), 500)).collect()
}

fn channels(fields: &mut Fields, sent: &[String]) -> Vec<PlayChannel> {
    if sent.len() > PlayChannel::ALL.len() {
        fields.wrong("/channels", format!("more than {}", PlayChannel::ALL.len()));
        return Vec::new();
    }
    let each = sent.iter().enumerate();
    each.filter_map(|(place, name)| {
        let channel = PlayChannel::parse(name);
        if channel.is_none() {
            fields.wrong(format!("/channels/{place}"), "not one of the known values: online, retail, ussd");
        }
        channel
    })
    .collect()
}

fn returns(fields: &mut Fields, sent: BTreeMap<String, ReturnBody>) -> BTreeMap<Product, LicensedReturn> {
    let mut returns = BTreeMap::new();
    for (name, said) in sent {
        // a name that nobody knows may be anything, and is not repeated
        let Some(product) = Product::parse(&name) else {
            fields.wrong("/return_to_player", "a name that is no product of records");
            break;
        };
        let mut within = |field: &str, number: i64, range: RangeInclusive<i64>| {
            if !range.contains(&number) {
                let (from, to) = range.into_inner();
                let pointer = format!("/return_to_player/{}/{field}", product.as_str());
                fields.wrong(pointer, format!("not a whole number from {from} to {to}"));
            }
        };
        // none is as wrong as 0
        let return_ppm = said.return_ppm.unwrap_or_default();
        within("return_ppm", return_ppm, LicensedReturn::RETURN_PPM);
        said.multiple_max.into_iter().for_each(|most| within("multiple_max", most, LicensedReturn::MULTIPLE_MAX));
        returns.insert(product, LicensedReturn { return_ppm, multiple_max: said.multiple_max });
    }
    returns
}

impl LicenceView {
    fn of(licence: &Licence, directory: &Directory) -> Self {
        Self {
            id: licence.id,
            number: licence.number.clone(),
            class: licence.class.clone(),
            jurisdiction: jurisdiction_code(directory, licence.jurisdiction),
            products: licence.products.clone(),
            conditions: licence.conditions.clone(),
            channels: licence.channels.clone(),
            return_to_player: returned(&licence.return_to_player),
            valid_from: licence.valid_from,
            valid_to: licence.valid_to,
            state: licence.state,
        }
    }
}

/// As it is shown.
pub(super) fn returned(returns: &BTreeMap<Product, LicensedReturn>) -> BTreeMap<String, ReturnBody> {
    let shown =
        |said: &LicensedReturn| ReturnBody { return_ppm: Some(said.return_ppm), multiple_max: said.multiple_max };
    returns.iter().map(|(product, said)| (product.as_str().to_owned(), shown(said))).collect()
}
