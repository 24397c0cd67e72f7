//! The register: exclude, extend, read. Identity goes in by the body only and is digested before it goes further.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use actors::api::{NewExclusion, PersonData, Registered};
use actors::identity::Identifiers;
use engine::register::decide::status_at;
use models::event::Exclusion;
use models::exclusion::{AtEnd, Channel, Period, ReasonClass};
use models::ids::{ExclusionId, OperatorId, OperatorNo};
use models::operator::Scope;
use models::phone::{Country, Phone};
use models::ts::{DAY, SECOND, Ts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

use crate::extractors::{Body, Caller, idempotency::idempotency};
use crate::lookup::read_document;
use crate::parse::{self, Fields, is_date, wire};
use crate::problem::{Code, Problem};
use crate::state::AppState;

/// No exclusion begins before this: 2000-01-01.
const EARLIEST: Ts = Ts(946_684_800 * SECOND);

/// Most names of a person.
const NAMES_MAX: usize = 10;

/// The body of a registration. At least one of `phone`, `id_number`.
#[derive(Deserialize, ToSchema)]
pub struct RegisterRequest {
    /// Mobile number as people write it.
    #[serde(default)]
    phone: Option<String>,
    /// Number of an identity document.
    #[serde(default)]
    id_number: Option<String>,
    /// `national_id` (default), `alien_id`, `passport`, `maisha`, `kra_pin`, `nin`.
    #[serde(default)]
    id_type: Option<String>,
    /// Country that issued the document, ISO 3166-1 alpha-2; the jurisdiction's by default.
    #[serde(default)]
    id_country: Option<String>,
    /// As on the document.
    #[serde(default)]
    names: Option<Vec<String>>,
    /// `YYYY-MM-DD`
    #[serde(default)]
    #[schema(format = Date)]
    date_of_birth: Option<String>,
    /// Where to write to.
    #[serde(default)]
    email: Option<String>,
    /// Postal address.
    #[serde(default)]
    address: Option<String>,
    /// ISO 3166-2, e.g. `KE-30`.
    #[serde(default)]
    county: Option<String>,
    /// `24_hours`, `10_days`, `1_month`, `3_months`, `6_months`, `1_year`, `3_years`, `5_years`, `5_years_renewing`, `permanent`.
    #[serde(default)]
    period: Option<String>,
    /// Who asks: `self`, `third_party`, `operator_harm`, `court`, `regulator`, `welfare`.
    #[serde(default)]
    reason_class: Option<String>,
    /// `web`, `ussd`, `retail`, `phone`, `operator`, `import`.
    #[serde(default)]
    channel: Option<String>,
    /// How the person was verified.
    #[serde(default)]
    verification: Option<VerificationPart>,
    /// Since when; null = now. Not in the future.
    #[serde(default)]
    #[schema(format = DateTime)]
    effective_at: Option<String>,
    /// `opr_…`: the operator that reported it, where one did. How many each reports a day is watched.
    #[serde(default)]
    reported_by: Option<String>,
}

/// How the person was verified.
#[derive(Deserialize, ToSchema)]
pub struct VerificationPart {
    /// E.g. `otp`.
    #[serde(default)]
    method: Option<String>,
    /// The verifier's own reference.
    #[serde(default)]
    reference: Option<String>,
}

/// The body of an extension.
#[derive(Deserialize, ToSchema)]
pub struct ExtendRequest {
    /// Runs from now; one that would end earlier than what is fixed is refused.
    #[serde(default)]
    period: Option<String>,
}

/// What a registration or an extension led to.
#[derive(Serialize, ToSchema)]
pub struct RegisteredView {
    /// `exc_…`
    #[schema(value_type = String)]
    pub exclusion_id: ExclusionId,
    /// `excluded`, `previously_excluded`.
    pub status: &'static str,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub effective_at: Ts,
    /// End of the minimum period; null = permanent.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<Ts>,
    /// `lapse`, `stay_on`, `renew`.
    #[schema(value_type = String)]
    pub at_end: AtEnd,
    /// Sequence of the register's last change, at least this one.
    pub register_version: i64,
}

/// An exclusion; nothing in it says who, or why.
#[derive(Serialize, ToSchema)]
pub struct ExclusionView {
    /// `exc_…`
    #[schema(value_type = String)]
    pub exclusion_id: ExclusionId,
    /// `excluded`, `previously_excluded`.
    pub status: &'static str,
    /// The longest asked for.
    #[schema(value_type = String)]
    pub period: Period,
    /// Where it was made.
    #[schema(value_type = String)]
    pub channel: Channel,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub effective_at: Ts,
    /// End of the minimum period; null = permanent.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<Ts>,
    /// `lapse`, `stay_on`, `renew`.
    #[schema(value_type = String)]
    pub at_end: AtEnd,
    /// When it lapsed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Ts>,
}

/// How large the jurisdiction's register is.
#[derive(Serialize, ToSchema)]
pub struct StatsView {
    /// People with an exclusion, ended ones too.
    pub people: u64,
    /// Exclusions that bind now.
    pub active: u64,
    /// Exclusions that have ended.
    pub ended: u64,
    /// Those that bind, by period.
    pub by_period: BTreeMap<String, u64>,
    /// Everything committed until then is in the register.
    #[schema(value_type = String, format = DateTime)]
    pub as_of: Ts,
    /// Sequence of the register's last change.
    pub register_version: i64,
}

/// Registers an exclusion; the same person again gives the existing one, extended where the new one is longer.
#[utoipa::path(
    post, path = "/api/v1/nser/register", tag = "register", request_body = RegisterRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Same key and body within 24 h: same result")),
    responses((status = 201, description = "Excluded", body = RegisteredView),
        (status = 200, description = "Was excluded already", body = RegisteredView)),
    security(("bearer" = ["register:write"]))
)]
pub async fn register(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::RegisterWrite)?;
    parse::require_json(req.headers())?;
    let key = idempotency(&caller, &req, &body)?;
    let new = parse::json::<RegisterRequest>(&body)?.check(&caller, &state)?;
    let registered = state.engine.register(new, key).await?;
    Ok(view_registered(&registered, caller.now))
}

/// Extends an exclusion.
#[utoipa::path(
    put, path = "/api/v1/nser/{id}/extend", tag = "register", request_body = ExtendRequest,
    params(("id" = String, Path, description = "exc_…"), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, description = "As it now stands", body = RegisteredView)),
    security(("bearer" = ["register:write"]))
)]
pub async fn extend(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::RegisterWrite)?;
    parse::require_json(req.headers())?;
    let id: ExclusionId = parse::path_id(&req, "id", "exclusion")?;
    let key = idempotency(&caller, &req, &body)?;
    let mut fields = Fields::default();
    let period = fields.known("/period", parse::json::<ExtendRequest>(&body)?.period.as_deref(), wire::<Period>);
    let registered = state.engine.extend(caller.jurisdiction(), id, fields.finish(period)?, key).await?;
    Ok(view_registered(&Registered { created: false, ..registered }, caller.now))
}

/// An exclusion of the credential's jurisdiction.
#[utoipa::path(
    get, path = "/api/v1/nser/{id}", tag = "register",
    params(("id" = String, Path, description = "exc_…")),
    responses((status = 200, description = "The exclusion", body = ExclusionView)),
    security(("bearer" = ["register:write"]))
)]
pub async fn get(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::RegisterWrite)?;
    let id: ExclusionId = parse::path_id(&req, "id", "exclusion")?;
    let exclusion = state.engine.exclusion(caller.jurisdiction(), id).await?;
    Ok(HttpResponse::Ok().json(ExclusionView::of(&exclusion, caller.now)))
}

/// Size and freshness of the register.
#[utoipa::path(
    get, path = "/api/v1/nser/stats", tag = "register",
    responses((status = 200, description = "Counts", body = StatsView)),
    security(("bearer" = ["register:write"]))
)]
pub async fn stats(caller: Caller, state: AppState) -> Result<HttpResponse, Problem> {
    caller.require(Scope::RegisterWrite)?;
    let fresh = state.engine.freshness();
    let stats = state.engine.store().register_stats(caller.jurisdiction(), caller.now).await?;
    Ok(HttpResponse::Ok().json(StatsView {
        people: stats.persons,
        active: stats.active,
        ended: stats.ended,
        by_period: stats.by_period,
        as_of: fresh.as_of,
        register_version: fresh.register_version,
    }))
}

/// Where numbers without a country's code are from.
pub(super) fn country(caller: &Caller, state: &AppState) -> Result<Country, Problem> {
    let directory = state.engine.directory();
    let known = directory.jurisdiction(caller.jurisdiction()).map(|jurisdiction| jurisdiction.country);
    known.ok_or_else(|| Problem::new(Code::NotReady, "the jurisdiction of the key is not configured"))
}

/// What a body says that somebody is known by; of the document its number, type and country of issue.
pub(super) fn identifiers(
    fields: &mut Fields,
    phone: Option<&str>,
    [number, kind, issuer]: [Option<&str>; 3],
    country: Country,
) -> Identifiers {
    if phone.is_none() && number.is_none() {
        fields.wrong("", "at least one of phone and id_number is needed");
    }
    let phone = phone.and_then(|text| fields.take("/phone", Phone::parse(text, country)));
    let document = number.and_then(|number| read_document(fields, number, kind, issuer, country));
    Identifiers { document, phone }
}

impl RegisterRequest {
    pub(super) fn check(self, caller: &Caller, state: &AppState) -> Result<NewExclusion, Problem> {
        let jurisdiction = caller.jurisdiction();
        let country = country(caller, state)?;
        let mut fields = Fields::default();
        let document = [self.id_number.as_deref(), self.id_type.as_deref(), self.id_country.as_deref()];
        let known_by = identifiers(&mut fields, self.phone.as_deref(), document, country);
        let period = fields.known("/period", self.period.as_deref(), wire::<Period>);
        let reason_class = fields.known("/reason_class", self.reason_class.as_deref(), wire::<ReasonClass>);
        let channel = fields.known("/channel", self.channel.as_deref(), wire::<Channel>);
        let effective_at = self.effective_at.as_deref().and_then(|text| fields.take("/effective_at", Ts::parse(text)));
        if effective_at.is_some_and(|at| at > caller.now) {
            fields.wrong("/effective_at", "in the future: an exclusion binds from now on at the latest");
        }
        if effective_at.is_some_and(|at| at < EARLIEST) {
            fields.wrong("/effective_at", "before the year 2000");
        }
        let reported_by = self.reporter(&mut fields, caller, state);
        let mut person = self.person(&mut fields, caller.now);
        known_by.reveal(&mut person);
        let closed_sets = period.zip(reason_class).zip(channel);
        let ((period, reason_class), channel) = fields.finish(closed_sets)?;
        Ok(NewExclusion { known_by, jurisdiction, period, reason_class, channel, effective_at, person, reported_by })
    }

    /// The operator that is named, of the credential's jurisdiction; else the one whose key it is.
    fn reporter(&self, fields: &mut Fields, caller: &Caller, state: &AppState) -> Option<OperatorNo> {
        let Some(named) = self.reported_by.as_deref() else { return caller.entry.key.operator_no };
        let id = fields.take("/reported_by", named.parse::<OperatorId>())?;
        let operator = state.engine.directory().operator(id, caller.jurisdiction()).map(|known| known.operator_no);
        if operator.is_none() {
            fields.wrong("/reported_by", "no operator of the jurisdiction");
        }
        operator
    }

    /// What only the vault gets.
    fn person(&self, fields: &mut Fields, now: Ts) -> PersonData {
        let mut person = PersonData::default();
        for name in self.names.iter().flatten().take(NAMES_MAX + 1) {
            person.names.extend(fields.text("/names", Some(name), 100));
        }
        if self.names.as_ref().is_some_and(|names| names.len() > NAMES_MAX) {
            fields.wrong("/names", "more than 10 names");
        }
        match self.date_of_birth.as_deref() {
            // a day ahead of UTC it is tomorrow already
            Some(date) if is_date(date) && *date > *now.plus(DAY).to_string() => {
                fields.wrong("/date_of_birth", "in the future");
            }
            Some(date) if is_date(date) => person.date_of_birth = Some(date.to_owned()),
            Some(_) => fields.wrong("/date_of_birth", "not a date of the form YYYY-MM-DD"),
            None => {}
        }
        person.email = fields.text("/email", self.email.as_deref(), 254);
        if person.email.as_ref().is_some_and(|e| !e.contains('@')) {
            fields.wrong("/email", "not an address");
        }
        person.address = fields.text("/address", self.address.as_deref(), 500);
        person.county = fields.text("/county", self.county.as_deref(), 10);
        if let Some(verification) = &self.verification {
            person.verification_method = fields.text("/verification/method", verification.method.as_deref(), 40);
            person.verification_reference =
                fields.text("/verification/reference", verification.reference.as_deref(), 100);
        }
        person
    }
}

impl ExclusionView {
    fn of(exclusion: &Exclusion, now: Ts) -> Self {
        Self {
            exclusion_id: exclusion.id,
            status: status_at(exclusion, now).as_str(),
            period: exclusion.period,
            channel: exclusion.channel,
            effective_at: exclusion.effective_at,
            ends_at: exclusion.ends_at,
            at_end: exclusion.at_end,
            ended_at: exclusion.ended_at,
        }
    }
}

fn view_registered(registered: &Registered, now: Ts) -> HttpResponse {
    let exclusion = &registered.exclusion;
    let view = RegisteredView {
        exclusion_id: exclusion.id,
        status: status_at(exclusion, now).as_str(),
        effective_at: exclusion.effective_at,
        ends_at: exclusion.ends_at,
        at_end: exclusion.at_end,
        register_version: registered.register_version,
    };
    let mut response = if registered.created { HttpResponse::Created() } else { HttpResponse::Ok() };
    response.insert_header((header::LOCATION, format!("/api/v1/nser/{}", exclusion.id))).json(view)
}
