//! The contract as a machine reads it: OpenAPI 3.1 at `/api/openapi.json`.
//!
//! Written by the handlers themselves; a test compares it with the list of endpoints in both directions.

use std::sync::OnceLock;

use actix_web::HttpResponse;
use actix_web::http::header;
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, Response, Responses};

use crate::links::COOKIE;
use crate::problem::{Code, PROBLEM_JSON, ProblemBody};
use crate::routes::{
    alert_groups, alerts, changes, class_data, compliance, exclusion_reports, feeds, forecasts, harm_signals, health,
    jurisdictions, keys, licences, links, lookup, metrics, model_shadows, notifications, nser, operators,
    players_at_risk, risk_models, rules, series, stream, system, tokens,
};
use crate::{sandbox, ws};

#[derive(OpenApi)]
#[openapi(
    info(title = "Mlinzi", description = "Real-time monitoring engine for gambling regulators: self-exclusion lookups, feeds, alerts.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")),
    paths(
        lookup::lookup, lookup::batch_lookup, lookup::nser_lookup, lookup::nser_lookup_token, lookup::receipt, lookup::jwks, changes::changes, tokens::generate, tokens::validate, tokens::rotate, tokens::history, jurisdictions::list, jurisdictions::recognise, nser::register, nser::stats, nser::get, nser::extend, exclusion_reports::report, exclusion_reports::own, exclusion_reports::list, exclusion_reports::approve, exclusion_reports::refuse,
        operators::list, operators::register, operators::get, operators::patch, licences::licences, licences::set_licence, class_data::read, compliance::read, compliance::rank, series::read, forecasts::read,
        keys::list, keys::create, keys::rotate, keys::revoke, sandbox::people,
        feeds::list, feeds::create, feeds::get, feeds::push, feeds::quarantine::list, feeds::quarantine::get, feeds::quarantine::replay, feeds::quarantine::replay_many, feeds::quarantine::dismiss, feeds::fetching::change, feeds::fetching::fetch, feeds::whole::begin_chain, feeds::whole::declarations, feeds::whole::declare, feeds::whole::completeness, alerts::list, alerts::get, harm_signals::own, harm_signals::list, harm_signals::give,
        alert_groups::list, alert_groups::get, alert_groups::acknowledge, alert_groups::snooze, alert_groups::resolve, alert_groups::reopen, alert_groups::silences, alert_groups::silence, alert_groups::unsilence, rules::list, rules::get, rules::versions, rules::version, rules::acts::propose, rules::acts::shadow, rules::acts::promote, rules::acts::roll_back, rules::acts::turn_off, rules::findings::read, rules::backtests::run, rules::backtests::list, rules::backtests::get,
        notifications::list, notifications::channels, notifications::test, risk_models::list, risk_models::get, risk_models::promote, risk_models::roll_back, risk_models::retire, model_shadows::start, model_shadows::end, model_shadows::read, players_at_risk::list, players_at_risk::across, players_at_risk::get, system::actors, system::release, links::create, ws::open, stream::stream,
        health::health, health::live, health::ready, health::version, metrics::metrics, document
    ),
    components(schemas(ProblemBody<'static>)),
    tags(
        (name = "lookup", description = "May this person be served for this purpose? Only the exact word `allow` says so."),
        (name = "tokens", description = "An operator's own names of people (BST)."),
        (name = "register", description = "Exclusions. Identity goes in by the body only."),
        (name = "operators", description = "Operators and licences."),
        (name = "keys", description = "API keys. Secrets are shown once."),
        (name = "sandbox", description = "People who are always the same, behind keys of the form `mk_test_…`: the list is at the end of this page."),
        (name = "feeds", description = "Sources of records."),
        (name = "alerts", description = "What rules found, with evidence."),
        (name = "rules", description = "What is looked for: every rule, its versions, what they found; trying, promoting and taking back."),
        (name = "compliance", description = "How operators keep to their duties: scores by a published formula, their history, reports."),
        (name = "notifications", description = "Who was told of alerts outside the screens, and how the channels fare."),
        (name = "models", description = "Models that score records and players: versions, papers, drift."),
        (name = "live", description = "The live stream."),
        (name = "operations", description = "Health, metrics, actors.")
    )
)]
struct Contract;

/// The document, with what every operation has in common.
#[must_use]
pub fn contract() -> utoipa::openapi::OpenApi {
    let mut contract = Contract::openapi();
    let components = contract.components.get_or_insert_default();
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.bearer_format = Some("mk_live_<key id>_<secret>, mk_test_… for the sandbox".to_owned());
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    components.add_security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(COOKIE))));
    for item in contract.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            let default = || RefOr::T(problem_response());
            add_default(&mut operation.responses, default());
        }
    }
    contract
}

fn add_default(responses: &mut Responses, response: RefOr<Response>) {
    responses.responses.entry("default".to_owned()).or_insert(response);
}

fn problem_response() -> Response {
    let codes: Vec<String> = Code::ALL.iter().map(|c| format!("`{}` ({})", c.as_str(), c.status())).collect();
    let mut response =
        Response::new(format!("A problem (RFC 9457); `type` is urn:mlinzi:problem: and one of {}", codes.join(", ")));
    let content = Content::new(Some(RefOr::<utoipa::openapi::Schema>::Ref(Ref::from_schema_name("Problem"))));
    response.content.insert(PROBLEM_JSON.to_owned(), RefOr::T(content));
    response
}

/// This document.
#[utoipa::path(get, path = "/api/openapi.json", tag = "operations",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
pub async fn document() -> HttpResponse {
    static JSON: OnceLock<String> = OnceLock::new();
    let json = JSON.get_or_init(|| contract().to_json().unwrap_or_default());
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, "application/json")).body(json.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::endpoints;
    use std::collections::BTreeSet;

    fn parsed() -> serde_json::Value {
        serde_json::from_str(&contract().to_json().unwrap()).unwrap()
    }

    #[test]
    fn every_endpoint_is_documented_and_nothing_else_is() {
        let document = parsed();
        let mut written = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                written.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
        let registered: BTreeSet<String> =
            endpoints().iter().filter(|e| e.documented).map(|e| format!("{} {}", e.method, e.path)).collect();
        assert_eq!(written, registered);
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_operation_can_fail() {
        let document = parsed();
        assert_eq!(document["openapi"].as_str().map(|v| &v[..3]), Some("3.1"));
        let text = document.to_string();
        for reference in text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(document["components"]["schemas"][reference].is_object(), "{reference} is not there");
        }
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                assert!(operation["responses"]["default"].is_object(), "{method} {path}");
                let summary = operation["summary"].as_str().or(operation["description"].as_str());
                assert!(summary.is_some_and(|s| !s.is_empty()), "{method} {path}");
            }
        }
    }
}
