//! Sources that fetch by themselves: what may be set, what is shown, how they are paused and sent off.

use super::{AppState, Body, Caller, Fields, Problem, SourceBody, idempotency, parse, reach, view_of};
use crate::problem::Code;
use actix_web::{HttpRequest, HttpResponse};
use actors::api::SourceChange;
use actors::feeds::PollingView;
use engine::mapping::Mapping;
use models::feed::{DataClass, MAPPING_BYTES_MAX, ReaderFormat, ReaderSettings, Schedule, Source, SourceKind};
use models::money::Currency;
use models::operator::{Operator, Scope};
use models::ts::Ts;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// How a source fetches, and what came of it.
#[derive(Serialize, ToSchema)]
pub struct FetchingBody {
    /// Where from.
    #[schema(value_type = Object)]
    pub reader: Option<ReaderSettings>,
    /// When.
    #[schema(value_type = Object)]
    pub schedule: Option<Schedule>,
    /// Text of its mapping.
    pub mapping: Option<String>,
    /// It fetches nothing for now.
    pub paused: bool,
    /// When it fetches next.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_due: Option<Ts>,
    /// When the last fetch began, since the engine's start.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_fetch_at: Option<Ts>,
    /// Failures in a row.
    pub failures: u32,
    /// `closed`, `open` (left alone after failures), `half_open` (one fetch shows whether it is back).
    pub breaker: &'static str,
    /// Why the last fetch failed; null where it did not.
    pub last_error: Option<String>,
    /// When that was.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_error_at: Option<Ts>,
    /// How far it was read, in its reader's words.
    pub position: Option<String>,
}

impl FetchingBody {
    pub(super) fn of(source: &Source, polling: PollingView) -> Self {
        Self {
            reader: source.reader.clone(),
            schedule: source.schedule.clone(),
            mapping: source.mapping.clone(),
            paused: source.paused,
            next_due: polling.next_due.filter(|_| !source.paused),
            last_fetch_at: polling.last_fetch_at,
            failures: polling.failures,
            breaker: polling.breaker.as_str(),
            last_error: polling.last_error,
            last_error_at: polling.last_error_at,
            position: polling.cursor,
        }
    }
}

/// What a request says about fetching.
pub(super) struct Given {
    pub reader: Option<Value>,
    pub schedule: Option<Value>,
    pub mapping: Option<String>,
}

/// The source it is about.
pub(super) struct Of<'a> {
    pub kind: SourceKind,
    pub operator: &'a Operator,
    pub class: DataClass,
    pub currency: Currency,
}

/// The same, checked.
#[derive(Default)]
pub(super) struct Checked {
    pub reader: Option<ReaderSettings>,
    pub schedule: Option<Schedule>,
    pub mapping: Option<String>,
}

impl Given {
    /// None where a field is wrong.
    pub fn check(self, of: &Of<'_>, caller: &Caller, state: &AppState, fields: &mut Fields) -> Option<Checked> {
        if of.kind == SourceKind::Push {
            let given = [
                ("/reader", self.reader.is_some()),
                ("/schedule", self.schedule.is_some()),
                ("/mapping", self.mapping.is_some()),
            ];
            let wrong: Vec<_> = given.into_iter().filter(|(_, is_given)| *is_given).collect();
            wrong.iter().for_each(|(field, _)| fields.wrong(*field, "records are pushed to a source of this kind"));
            return wrong.is_empty().then(Checked::default);
        }
        if caller.operator.is_some() {
            // it would send the engine, and its credentials, wherever the operator likes
            fields.wrong("/kind", "only staff makes sources that fetch");
            return None;
        }
        let reader = reader(of.kind, self.reader, fields);
        let directory = state.engine.directory();
        let zone = directory.jurisdiction(of.operator.jurisdiction).map_or("UTC", |j| j.time_zone.as_str());
        let schedule = match self.schedule {
            None => Some(Schedule::of(of.kind, of.class, zone)),
            Some(given) => schedule(given, fields),
        };
        let checked = match &self.mapping {
            None => None,
            Some(text) => Some(mapping(text, of.operator, (of.class, of.currency), fields)?),
        };
        let reader = reader?;
        if checked.is_none() && reader.format() == ReaderFormat::Csv {
            fields.wrong("/mapping", "missing: rows become records by a mapping");
            return None;
        }
        if let Err(what) = state.engine.check_reader(&reader, checked.as_ref()) {
            fields.wrong("/reader", what);
            return None;
        }
        Some(Checked { reader: Some(reader), schedule: Some(schedule?), mapping: self.mapping })
    }
}

/// What a parser says of settings, without the values it quotes.
fn said(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let is_name = |text: &&str| text.starts_with("missing field") || text.starts_with("unknown field");
    let first = said.split(" at line ").next().filter(is_name);
    first.map_or_else(|| "a field has a wrong type, or a value that is not known".to_owned(), ToOwned::to_owned)
}

fn reader(kind: SourceKind, given: Option<Value>, fields: &mut Fields) -> Option<ReaderSettings> {
    let Some(Value::Object(mut settings)) = given else {
        fields.wrong("/reader", "an object that says where the records are fetched from");
        return None;
    };
    settings.insert("kind".to_owned(), kind.as_str().into());
    match serde_json::from_value::<ReaderSettings>(Value::Object(settings)) {
        Err(error) => {
            fields.wrong("/reader", said(&error));
            None
        }
        Ok(reader) => {
            let wrong = reader.check();
            wrong.iter().for_each(|wrong| fields.wrong(wrong.pointer, wrong.detail));
            wrong.is_empty().then_some(reader)
        }
    }
}

fn schedule(given: Value, fields: &mut Fields) -> Option<Schedule> {
    match serde_json::from_value::<Schedule>(given) {
        Err(_) => {
            fields.wrong("/schedule", "neither every_seconds, nor daily_at and time_zone");
            None
        }
        Ok(schedule) => {
            let wrong = schedule.check();
            wrong.iter().for_each(|wrong| fields.wrong(wrong.pointer, wrong.detail));
            wrong.is_empty().then_some(schedule)
        }
    }
}

fn mapping(
    text: &str,
    operator: &Operator,
    (class, currency): (DataClass, Currency),
    fields: &mut Fields,
) -> Option<Mapping> {
    if text.len() > MAPPING_BYTES_MAX {
        fields.wrong("/mapping", "larger than 64 KiB");
        return None;
    }
    let mapping = fields.take("/mapping", Mapping::from_toml(text))?;
    if !mapping.operators().iter().any(|(code, _)| *code == operator.code) {
        fields.wrong("/mapping", "operator: none of its codes is that of the source's operator");
        return None;
    }
    if mapping.source().currency != currency {
        fields.wrong("/mapping", "source.currency: not the source's");
        return None;
    }
    if mapping.source().class != class.as_str() {
        fields.wrong("/mapping", "source.class: not the source's");
        return None;
    }
    if let Some(kind) = mapping.kinds().find(|kind| !class.takes(*kind)) {
        fields.wrong("/mapping", format!("record: a source of {} takes no {}", class.as_str(), kind.as_str()));
        return None;
    }
    Some(mapping)
}

/// A change; what is not named stays as it is.
#[derive(Deserialize, ToSchema)]
pub struct SourceChangeRequest {
    /// Whether it fetches.
    #[serde(default)]
    paused: Option<bool>,
    /// When it fetches.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    schedule: Option<Value>,
    /// What pushes are held to.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    integrity: Option<Value>,
    /// Time between two batches, seconds, from which it is late. Where it is not named and was that of the schedule, it
    /// follows another schedule.
    #[serde(default)]
    expected_interval_seconds: Option<u32>,
    /// Text of another mapping; null: none from here on.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<String>)]
    mapping: Option<Option<String>>,
}

/// Tells null from what is not named.
fn named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Pauses a source that fetches, lets it go on, or gives it another schedule or mapping; says of one that is pushed to
/// whether tamper tokens are required, and of both how often something is expected. Staff only; the journal has whose key it was.
#[utoipa::path(
    patch, path = "/api/v1/feeds/{source}", tag = "feeds", request_body = SourceChangeRequest,
    params(("source" = String, Path, description = "src_…"),
        ("Idempotency-Key" = Option<String>, Header, description = "Same key and body within 24 h: changed once")),
    responses((status = 200, description = "The source as it is now", body = SourceBody),
        (status = 403, description = "The key is an operator's"),
        (status = 409, description = "Records are pushed to it, or it fetches them by itself")),
    security(("bearer" = ["feeds:manage"]))
)]
pub async fn change(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::FeedsManage)?;
    parse::require_json(req.headers())?;
    let source = reach(&caller, &state, &req)?;
    if caller.operator.is_some() {
        // whoever is fetched from would end the fetching, and with it the alert that it has fallen silent
        return Err(Problem::new(Code::Forbidden, "only staff changes sources"));
    }
    let request = parse::json::<SourceChangeRequest>(&body)?;
    let mut fields = Fields::default();
    if request.expected_interval_seconds == Some(0) {
        fields.wrong("/expected_interval_seconds", "at least 1");
    }
    let integrity = request.integrity.and_then(|given| super::whole::settings(given, &mut fields));
    let schedule = request.schedule.and_then(|given| schedule(given, &mut fields));
    if let Some(change) = &request.mapping {
        let directory = state.engine.directory();
        match (change, directory.operators.get(&source.operator_no)) {
            (Some(text), Some(operator)) => {
                mapping(text, operator, (source.class.data(), source.currency), &mut fields);
            }
            (Some(_), None) => fields.wrong("/mapping", "the operator is not known"),
            (None, _) if source.reader.as_ref().is_some_and(|reader| reader.format() == ReaderFormat::Csv) => {
                fields.wrong("/mapping", "missing: rows become records by a mapping");
            }
            (None, _) => {}
        }
    }
    fields.check()?;
    let change = SourceChange {
        paused: request.paused,
        schedule,
        mapping: request.mapping,
        integrity,
        expected_interval_seconds: request.expected_interval_seconds,
    };
    let source =
        state.engine.change_source(source.id, change, caller.entry.key.id, idempotency(&caller, &req, &body)?).await?;
    Ok(HttpResponse::Ok().json(view_of(&state, &source)?))
}

/// Lets a source fetch now, whatever its schedule says. The answer does not wait for it. From the beginning: records that
/// are known stay known, as far back as the source's horizon goes.
#[utoipa::path(
    post, path = "/api/v1/feeds/{source}/fetch", tag = "feeds",
    params(("source" = String, Path, description = "src_…"),
        ("from" = Option<String>, Query, description = "`beginning`: how far it was read is forgotten; staff only")),
    responses((status = 202, description = "It fetches within a second", body = SourceBody),
        (status = 409, description = "It is paused, or records are pushed to it")),
    security(("bearer" = ["feeds:manage"]))
)]
pub async fn fetch(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::FeedsManage)?;
    let source = reach(&caller, &state, &req)?;
    let from_beginning = match parse::parameter(&parse::query(&req, &["from"])?, "from") {
        None => false,
        Some("beginning") if caller.operator.is_none() => true,
        Some("beginning") => return Err(Problem::field("?from", "only staff has a source read from its beginning")),
        Some(_) => return Err(Problem::field("?from", "beginning")),
    };
    state.engine.fetch_now(source.id, from_beginning).await?;
    Ok(HttpResponse::Accepted().json(view_of(&state, &source)?))
}
