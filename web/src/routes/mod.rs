//! Everything that can be called, in one list: the server registers it, OpenAPI and metrics are checked against it.

pub mod alert_groups;
pub mod alerts;
pub mod bench;
pub mod changes;
pub mod class_data;
pub mod compliance;
pub mod exclusion_reports;
pub mod feeds;
pub mod forecasts;
pub mod harm_signals;
pub mod health;
pub mod jurisdictions;
pub mod keys;
pub mod licences;
pub mod links;
pub mod list;
pub mod lookup;
pub mod metrics;
pub mod model_shadows;
pub mod notifications;
pub mod nser;
pub mod operators;
pub mod page;
pub mod players_at_risk;
pub mod risk_models;
pub mod rules;
pub mod series;
pub mod stream;
pub mod system;
pub mod tokens;

use std::rc::Rc;
use std::sync::OnceLock;

use actix_web::dev::ResourceDef;
use actix_web::http::header::{self, HeaderValue};
use actix_web::middleware::from_fn;
use actix_web::web::{self, PayloadConfig, ServiceConfig};
use actix_web::{HttpResponse, Route, guard};

use crate::lookup::lane::Lane;
use crate::problem::Problem;
use crate::state::{AppState, Worker};
use crate::{openapi, request_id, sandbox, ws};

/// The path of single lookups.
pub const LOOKUP_PATH: &str = "/api/v1/operators/lookup";
/// The path of the feed of changes.
pub const CHANGES_PATH: &str = "/api/v1/operators/changes";
/// The path of batches.
pub const BATCH_PATH: &str = "/api/v1/operators/batch/lookup";
/// The path of figures.
pub const METRICS_PATH: &str = "/metrics";

/// Most paths; sizes the table of histograms.
pub const PATHS_MAX: usize = 112;

/// Which limit of body size holds for a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// A lookup.
    Lookup,
    /// Registrations, operators, keys: everything people write.
    Register,
    /// A push of records.
    Push,
    /// A batch of lookups.
    Batch,
}

/// One method of one path.
pub struct Endpoint {
    /// Method.
    pub method: &'static str,
    /// Path with `{names}`.
    pub path: &'static str,
    /// Part of the contract, and so of the OpenAPI document? Pages for people are not.
    pub documented: bool,
    /// Beside the middleware, which it does the work of itself?
    lane: bool,
    size: Size,
    make: fn() -> Route,
}

macro_rules! endpoints {
    ($($kind:ident $size:ident $method:ident $path:expr => $handler:path;)+) => {
        &[$(Endpoint {
            method: endpoints!(@name $method),
            path: $path,
            documented: endpoints!(@kind $kind),
            lane: endpoints!(@lane $kind),
            size: Size::$size,
            make: || endpoints!(@route $method).to($handler),
        }),+]
    };
    // HEAD wherever GET is (RFC 9110): the server leaves the body out
    (@route get) => { Route::new().guard(guard::Any(guard::Get()).or(guard::Head())) };
    (@route $method:ident) => { web::$method() };
    (@name get) => { "GET" };
    (@name post) => { "POST" };
    (@name put) => { "PUT" };
    (@name patch) => { "PATCH" };
    (@name delete) => { "DELETE" };
    (@kind api) => { true };
    (@kind lane) => { true };
    (@lane lane) => { true };
    (@lane $kind:ident) => { false };
    (@kind page) => { false };
}

static ENDPOINTS: &[Endpoint] = endpoints! {
    lane Lookup  post   LOOKUP_PATH => lookup::lookup;
    api Register get    "/api/v1/operators/lookups/{lookup_id}/receipt" => lookup::receipt;
    api Batch    post   BATCH_PATH => lookup::batch_lookup;
    api Register get    CHANGES_PATH => changes::changes;
    api Lookup   post   "/api/v1/bst/generate" => tokens::generate;
    api Lookup   post   "/api/v1/bst/validate" => tokens::validate;
    api Lookup   post   "/api/v1/bst/rotate" => tokens::rotate;
    api Register get    "/api/v1/bst/{token}/history" => tokens::history;
    api Register get    "/api/v1/sandbox" => sandbox::people;
    api Register get    "/api/v1/jurisdictions" => jurisdictions::list;
    api Register put    "/api/v1/jurisdictions/{code}/recognitions" => jurisdictions::recognise;
    lane Lookup  post   "/api/v1/nser/lookup" => lookup::nser_lookup;
    lane Lookup  get    "/api/v1/nser/lookup/{bst}" => lookup::nser_lookup_token;
    api Register post   "/api/v1/nser/register" => nser::register;
    api Register get    "/api/v1/nser/stats" => nser::stats;
    api Register get    "/api/v1/nser/reports" => exclusion_reports::list;
    api Register post   "/api/v1/nser/reports/{report}/approve" => exclusion_reports::approve;
    api Register post   "/api/v1/nser/reports/{report}/refuse" => exclusion_reports::refuse;
    api Register get    "/api/v1/nser/{id}" => nser::get;
    api Register put    "/api/v1/nser/{id}/extend" => nser::extend;
    api Register get    "/api/v1/operators" => operators::list;
    api Register post   "/api/v1/operators/register" => operators::register;
    api Register get    "/api/v1/operators/exclusions" => exclusion_reports::own;
    api Register post   "/api/v1/operators/exclusions" => exclusion_reports::report;
    api Register get    "/api/v1/operators/{id}" => operators::get;
    api Register patch  "/api/v1/operators/{id}" => operators::patch;
    api Register get    "/api/v1/operators/{id}/licence" => licences::licences;
    api Register put    "/api/v1/operators/{id}/licence" => licences::set_licence;
    api Register get    "/api/v1/operators/{id}/data/{class}" => class_data::read;
    api Register get    "/api/v1/operators/{id}/compliance" => compliance::read;
    api Register get    "/api/v1/operators/{id}/series" => series::read;
    api Register get    "/api/v1/operators/{id}/forecast" => forecasts::read;
    api Register get    "/api/v1/operators/{id}/harm-signals" => harm_signals::list;
    api Register post   "/api/v1/operators/{id}/harm-signals" => harm_signals::give;
    api Register get    "/api/v1/harm-signals" => harm_signals::own;
    api Register get    "/api/v1/compliance" => compliance::rank;
    api Register get    "/api/v1/operators/{id}/keys" => keys::list;
    api Register post   "/api/v1/operators/{id}/keys" => keys::create;
    api Register post   "/api/v1/operators/{id}/keys/{key}/rotate" => keys::rotate;
    api Register delete "/api/v1/operators/{id}/keys/{key}" => keys::revoke;
    api Register get    "/api/v1/feeds" => feeds::list;
    api Register post   "/api/v1/feeds" => feeds::create;
    api Register get    "/api/v1/feeds/{source}" => feeds::get;
    api Register patch  "/api/v1/feeds/{source}" => feeds::fetching::change;
    api Register post   "/api/v1/feeds/{source}/fetch" => feeds::fetching::fetch;
    api Push     post   "/api/v1/feeds/{source}/records" => feeds::push;
    api Register get    "/api/v1/feeds/{source}/quarantine" => feeds::quarantine::list;
    api Register post   "/api/v1/feeds/{source}/quarantine/replay" => feeds::quarantine::replay_many;
    api Register get    "/api/v1/feeds/{source}/quarantine/{id}" => feeds::quarantine::get;
    api Register post   "/api/v1/feeds/{source}/quarantine/{id}/replay" => feeds::quarantine::replay;
    api Register post   "/api/v1/feeds/{source}/quarantine/{id}/dismiss" => feeds::quarantine::dismiss;
    api Register post   "/api/v1/feeds/{source}/chain" => feeds::whole::begin_chain;
    api Register get    "/api/v1/feeds/{source}/declarations" => feeds::whole::declarations;
    api Register post   "/api/v1/feeds/{source}/declarations" => feeds::whole::declare;
    api Register get    "/api/v1/feeds/{source}/completeness" => feeds::whole::completeness;
    api Register get    "/api/v1/alerts" => alerts::list;
    api Register get    "/api/v1/alerts/groups" => alert_groups::list;
    api Register get    "/api/v1/alerts/groups/{id}" => alert_groups::get;
    api Register get    "/api/v1/alerts/silences" => alert_groups::silences;
    api Register post   "/api/v1/alerts/silences" => alert_groups::silence;
    api Register delete "/api/v1/alerts/silences/{id}" => alert_groups::unsilence;
    api Register get    "/api/v1/alerts/{id}" => alerts::get;
    api Register post   "/api/v1/alerts/{id}/acknowledge" => alert_groups::acknowledge;
    api Register post   "/api/v1/alerts/{id}/snooze" => alert_groups::snooze;
    api Register post   "/api/v1/alerts/{id}/resolve" => alert_groups::resolve;
    api Register post   "/api/v1/alerts/{id}/reopen" => alert_groups::reopen;
    api Register get    "/api/v1/notifications" => notifications::list;
    api Register get    "/api/v1/notifications/channels" => notifications::channels;
    api Register post   "/api/v1/notifications/channels/{name}/test" => notifications::test;
    api Register get    "/api/v1/models" => risk_models::list;
    api Register post   "/api/v1/models/{kind}/rollback" => risk_models::roll_back;
    api Register get    "/api/v1/models/{kind}/{version}" => risk_models::get;
    api Register get    "/api/v1/operators/{id}/players-at-risk" => players_at_risk::list;
    api Register get    "/api/v1/players-at-risk" => players_at_risk::across;
    api Register get    "/api/v1/players/{player}/risk" => players_at_risk::get;
    api Register post   "/api/v1/models/{kind}/{version}/promote" => risk_models::promote;
    api Register post   "/api/v1/models/{kind}/{version}/retire" => risk_models::retire;
    api Register get    "/api/v1/models/{kind}/{version}/shadow" => model_shadows::read;
    api Register post   "/api/v1/models/{kind}/{version}/shadow" => model_shadows::start;
    api Register post   "/api/v1/models/{kind}/{version}/unshadow" => model_shadows::end;
    api Register get    "/api/v1/system/actors" => system::actors;
    api Register post   "/api/v1/system/actors/release" => system::release;
    api Register get    "/api/v1/rules" => rules::list;
    api Register get    "/api/v1/rules/{rule}" => rules::get;
    api Register get    "/api/v1/rules/{rule}/versions" => rules::versions;
    api Register post   "/api/v1/rules/{rule}/versions" => rules::acts::propose;
    api Register get    "/api/v1/rules/{rule}/versions/{version}" => rules::version;
    api Register post   "/api/v1/rules/{rule}/versions/{version}/shadow" => rules::acts::shadow;
    api Register post   "/api/v1/rules/{rule}/versions/{version}/promote" => rules::acts::promote;
    api Register get    "/api/v1/rules/{rule}/versions/{version}/findings" => rules::findings::read;
    api Register post   "/api/v1/rules/{rule}/versions/{version}/backtests" => rules::backtests::run;
    api Register get    "/api/v1/rules/{rule}/versions/{version}/backtests" => rules::backtests::list;
    api Register get    "/api/v1/rules/{rule}/versions/{version}/backtests/{backtest}" => rules::backtests::get;
    api Register post   "/api/v1/rules/{rule}/rollback" => rules::acts::roll_back;
    api Register post   "/api/v1/rules/{rule}/off" => rules::acts::turn_off;
    api Register post   "/api/v1/links" => links::create;
    api Register get    "/ws/dashboards/realtime" => ws::open;
    api Register get    "/api/v1/stream" => stream::stream;
    api Register get    "/health" => health::health;
    api Register get    "/health/live" => health::live;
    api Register get    "/health/ready" => health::ready;
    api Register get    "/version" => health::version;
    api Register get    METRICS_PATH => metrics::metrics;
    api Register get    "/.well-known/jwks.json" => lookup::jwks;
    api Register get    "/api/openapi.json" => openapi::document;
    page Register get   "/" => page::index;
    page Register get   "/page.css" => page::css;
    page Register get   "/page.js" => page::js;
    page Register get   "/sparkline.js" => page::sparkline_js;
    page Register get   "/docs" => page::docs;
    page Register get   "/docs.js" => page::docs_js;
};

/// Every endpoint of the server.
#[must_use]
pub fn endpoints() -> &'static [Endpoint] {
    ENDPOINTS
}

/// The number of a path: what metrics and logs name a request by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteNo(pub u8);

fn paths() -> &'static [&'static str] {
    static PATHS: OnceLock<Vec<&'static str>> = OnceLock::new();
    PATHS.get_or_init(|| {
        let mut paths: Vec<&'static str> = Vec::with_capacity(PATHS_MAX);
        for endpoint in ENDPOINTS {
            if !paths.contains(&endpoint.path) {
                paths.push(endpoint.path);
            }
        }
        paths
    })
}

/// The number of a path of the list.
#[must_use]
pub fn route_no(path: &str) -> Option<RouteNo> {
    paths().iter().position(|p| *p == path).and_then(|i| u8::try_from(i).ok()).map(RouteNo)
}

/// The number of the path that a request came for, found by trying each: for those that routing never told.
pub(crate) fn route_of(path: &str) -> Option<RouteNo> {
    paths().iter().copied().find(|pattern| ResourceDef::new(*pattern).is_match(path)).and_then(route_no)
}

impl RouteNo {
    /// Its path.
    #[must_use]
    pub fn path(self) -> &'static str {
        paths().get(usize::from(self.0)).copied().unwrap_or("unmatched")
    }
}

/// Registers every endpoint for one worker.
pub(crate) fn configure(cfg: &mut ServiceConfig, state: &AppState, worker: &Worker, lane: &Rc<Lane>) {
    cfg.app_data(state.clone()).app_data(worker.clone());
    if state.options.bench_routes {
        // beside the scope and without its middleware: what it measures is the floor
        cfg.service(web::resource("/bench/bare").route(web::post().to(bench::bare)));
    }
    cfg.app_data(Rc::clone(lane));
    for endpoint in ENDPOINTS.iter().filter(|e| e.lane) {
        // first, and for its method only: other methods are refused where everything else is
        let method = if endpoint.method == "POST" { guard::Any(guard::Post()) } else { guard::Any(guard::Get()) };
        let resource = web::resource(endpoint.path).guard(method).route((endpoint.make)());
        cfg.service(route_no(endpoint.path).into_iter().fold(resource, actix_web::Resource::app_data));
    }
    let mut scope = web::scope("");
    for path in paths() {
        scope = scope.service(resource(path, state));
    }
    let nothing = || async { Err::<HttpResponse, _>(Problem::not_found("path")) };
    cfg.service(scope.default_service(web::to(nothing)).wrap(from_fn(request_id::around)));
}

fn resource(path: &'static str, state: &AppState) -> actix_web::Resource {
    let here: Vec<&Endpoint> = ENDPOINTS.iter().filter(|e| e.path == path).collect();
    let limits = state.options.limits;
    let limit = here.iter().map(|e| limits.of(e.size)).max().unwrap_or(limits.register_bytes);
    let methods = here.iter().map(|e| if e.method == "GET" && !e.lane { "GET, HEAD" } else { e.method });
    let methods = methods.collect::<Vec<_>>().join(", ");
    let allow = HeaderValue::try_from(methods).unwrap_or_else(|_| HeaderValue::from_static("GET"));
    let refuse = move || {
        let response = HttpResponse::MethodNotAllowed().insert_header((header::ALLOW, allow.clone())).finish();
        std::future::ready(response)
    };
    let mut resource = web::resource(path).app_data(PayloadConfig::new(limit)).default_service(web::to(refuse));
    if let Some(no) = route_no(path) {
        resource = resource.app_data(no);
    }
    here.iter().filter(|e| !e.lane).fold(resource, |resource, endpoint| resource.route((endpoint.make)()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_numbers_and_fit_the_table() {
        assert!(paths().len() <= PATHS_MAX);
        for endpoint in endpoints() {
            assert_eq!(route_no(endpoint.path).map(RouteNo::path), Some(endpoint.path));
        }
        assert_eq!(route_no("/nowhere"), None);
        assert_eq!(route_of("/api/v1/feeds/src_1/records"), route_no("/api/v1/feeds/{source}/records"));
        assert_eq!(route_of("/api/v1/feeds/src_1/nothing"), None);
    }

    #[test]
    fn no_endpoint_stands_twice() {
        for (i, a) in endpoints().iter().enumerate() {
            assert!(
                endpoints()[..i].iter().all(|b| (a.method, a.path) != (b.method, b.path)),
                "{} {}",
                a.method,
                a.path
            );
        }
    }
}
