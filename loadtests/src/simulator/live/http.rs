//! What others ask of the simulated parties, and the control by which somebody breaks them. Loopback only.

use super::{Hub, Page};
use crate::simulator::record::Class;
use crate::simulator::sales;
use crate::simulator::scenario::FaultKind;
use actix_web::body::SizedStream;
use actix_web::dev::Server;
use actix_web::http::header;
use actix_web::web::{Bytes, Data, Json, JsonConfig, Path, Query};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use futures_util::stream;
use models::ts::MINUTE;
use serde::Deserialize;
use serde_json::json;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

/// Records of a page at most: what the engine takes in one batch.
const PAGE_MAX: usize = 5_000;
/// Minutes of sales in one spreadsheet where nobody says how many.
const SALES_MINUTES: i64 = 60;
/// Connections at once.
const CONNECTIONS_MAX: usize = 512;
/// Bytes of an order at most.
const ORDER_BYTES_MAX: usize = 4_096;
/// How long a slow peer takes for a byte.
const SLOW: Duration = Duration::from_secs(1);
/// How often a silent one looks whether it may speak again.
const SILENT: Duration = Duration::from_millis(250);

/// Serves until its handle stops it.
///
/// # Errors
/// The listener cannot be taken over.
pub fn serve(listener: TcpListener, hub: Arc<Hub>) -> std::io::Result<Server> {
    let data = Data::from(hub);
    let app = move || {
        App::new()
            .app_data(data.clone())
            .app_data(JsonConfig::default().limit(ORDER_BYTES_MAX))
            .route("/operators/{code}/transactions", web::get().to(transactions))
            .route("/operators/{code}/accounts", web::get().to(accounts))
            .route("/operators/{code}/sales", web::get().to(sales_of))
            .route("/operators/{code}/totals", web::get().to(totals))
            .route("/licences", web::get().to(licences))
            .route("/invoices", web::get().to(invoices))
            .route("/payments", web::get().to(payments))
            .route("/statements", web::get().to(statements))
            .route("/control/faults", web::get().to(faults))
            .route("/control/faults", web::post().to(order))
            .route("/control/state", web::get().to(state))
    };
    let server = HttpServer::new(app).workers(1).disable_signals().shutdown_timeout(1);
    Ok(server.max_connections(CONNECTIONS_MAX).listen(listener)?.run())
}

/// What is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Position behind which somebody wants to read: the `next` of a page. One of another run is the beginning of this one.
    #[serde(default)]
    after: String,
    /// Records at most.
    #[serde(default)]
    limit: Option<usize>,
    /// Code of the operator; only authorities are asked about one.
    #[serde(default)]
    operator: Option<String>,
}

async fn transactions(hub: Data<Hub>, code: Path<String>, asked: Query<Asked>, req: HttpRequest) -> HttpResponse {
    log_of(&hub, Class::GamingTransactions, &code, &asked, &req).await
}

async fn accounts(hub: Data<Hub>, code: Path<String>, asked: Query<Asked>, req: HttpRequest) -> HttpResponse {
    log_of(&hub, Class::PlayerAccounts, &code, &asked, &req).await
}

async fn licences(hub: Data<Hub>, asked: Query<Asked>, req: HttpRequest) -> HttpResponse {
    authority(&hub, Class::Licences, &asked, &req).await
}

async fn invoices(hub: Data<Hub>, asked: Query<Asked>, req: HttpRequest) -> HttpResponse {
    authority(&hub, Class::Invoices, &asked, &req).await
}

async fn payments(hub: Data<Hub>, asked: Query<Asked>, req: HttpRequest) -> HttpResponse {
    authority(&hub, Class::Payments, &asked, &req).await
}

async fn statements(hub: Data<Hub>, asked: Query<Asked>, req: HttpRequest) -> HttpResponse {
    authority(&hub, Class::BankStatements, &asked, &req).await
}

async fn authority(hub: &Data<Hub>, class: Class, asked: &Asked, req: &HttpRequest) -> HttpResponse {
    match &asked.operator {
        Some(code) => log_of(hub, class, code, asked, req).await,
        None => HttpResponse::BadRequest().json(json!({"error": "operator: missing"})),
    }
}

fn unknown() -> HttpResponse {
    HttpResponse::NotFound().json(json!({"error": "no such operator"}))
}

/// A page of a log, with the position behind it and a validator of where it ends.
async fn log_of(hub: &Data<Hub>, class: Class, code: &str, asked: &Asked, req: &HttpRequest) -> HttpResponse {
    let Some(operator) = hub.scenario().operator(code) else { return unknown() };
    let after = asked.after.split_once('.').filter(|(tag, _)| *tag == hub.tag());
    let after = after.and_then(|(_, position)| position.parse().ok()).unwrap_or(0);
    let page = hub.page(operator, class, after, asked.limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX));
    if page.lost > 0 && after > 0 {
        return HttpResponse::Gone().json(json!({"error": "older records are not kept", "lost": page.lost}));
    }
    let tag = format!("\"{}-{after}-{}\"", hub.tag(), page.next);
    let body = json_page(hub.tag(), &page);
    answer(hub, class.authority().unwrap_or(code), "application/json", &tag, body, req).await
}

fn json_page(tag: &str, page: &Page) -> String {
    let items = page.lines.join(",");
    format!("{{\"items\":[{items}],\"next\":\"{tag}.{}\"}}", page.next)
}

/// What is asked for of sales.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    minutes: Option<i64>,
}

async fn sales_of(hub: Data<Hub>, code: Path<String>, window: Query<Window>, req: HttpRequest) -> HttpResponse {
    let Some(operator) = hub.scenario().operator(&code) else { return unknown() };
    let minutes = window.minutes.unwrap_or(SALES_MINUTES).clamp(1, 7 * 24 * 60);
    let rows = hub.since(operator, Class::SalesRedemptions, hub.now().plus(-minutes * MINUTE));
    let body = sales::HEAD.to_owned() + &rows.concat();
    let digest = ring::digest::digest(&ring::digest::SHA256, body.as_bytes());
    let tag: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{tag}\"");
    answer(&hub, &code, "text/csv", &tag, body, &req).await
}

async fn totals(hub: Data<Hub>, code: Path<String>, req: HttpRequest) -> HttpResponse {
    let Some(operator) = hub.scenario().operator(&code) else { return unknown() };
    match hub.totals(operator, None) {
        Ok(declared) => {
            let body = json!({"items": declared}).to_string();
            answer(&hub, &code, "application/json", "", body, &req).await
        }
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}

/// An answer, or what a fault makes of it.
async fn answer(
    hub: &Data<Hub>,
    target: &str,
    kind: &'static str,
    tag: &str,
    body: String,
    req: &HttpRequest,
) -> HttpResponse {
    let fault = hub.fault(target).map(|fault| fault.kind);
    let mut response = HttpResponse::Ok();
    response.content_type(kind);
    if !tag.is_empty() {
        response.insert_header((header::ETAG, tag.to_owned()));
    }
    let is_known = !tag.is_empty() && req.headers().get(header::IF_NONE_MATCH).is_some_and(|v| v == tag);
    match fault {
        Some(FaultKind::Error500) => HttpResponse::InternalServerError().json(json!({"error": "out of order"})),
        Some(FaultKind::Silence) => {
            while hub.fault(target).is_some_and(|fault| fault.kind == FaultKind::Silence) {
                tokio::time::sleep(SILENT).await;
            }
            response.body(body)
        }
        Some(FaultKind::Slow) => {
            let (hub, target) = (hub.clone(), target.to_owned());
            let whole = Bytes::from(body);
            let length = whole.len() as u64;
            // a byte a second as long as the fault holds, then the rest
            let drip = stream::unfold(whole, move |mut rest| {
                let (hub, target) = (hub.clone(), target.clone());
                async move {
                    if rest.is_empty() {
                        return None;
                    }
                    let is_slow = hub.fault(&target).is_some_and(|fault| fault.kind == FaultKind::Slow);
                    if is_slow {
                        tokio::time::sleep(SLOW).await;
                    }
                    let part = rest.split_to(if is_slow { 1 } else { rest.len() });
                    Some((Ok::<_, std::io::Error>(part), rest))
                }
            });
            response.body(SizedStream::new(length, Box::pin(drip)))
        }
        Some(FaultKind::Truncated) => {
            let half = Bytes::from(body.as_bytes()[..body.len() / 2].to_vec());
            let cut = stream::unfold(Some(half), async |rest| match rest {
                Some(half) => Some((Ok(half), None)),
                None => {
                    // what was written goes out before the connection breaks
                    tokio::time::sleep(SILENT).await;
                    Some((Err(std::io::Error::other("cut off on purpose")), None))
                }
            });
            response.body(SizedStream::new(body.len() as u64, Box::pin(cut)))
        }
        _ if is_known => HttpResponse::NotModified().insert_header((header::ETAG, tag.to_owned())).finish(),
        _ => response.body(body),
    }
}

async fn faults(hub: Data<Hub>) -> HttpResponse {
    HttpResponse::Ok().json(json!({"now": hub.now(), "faults": hub.faults()}))
}

/// An order to break.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    target: String,
    kind: FaultKind,
    for_seconds: u32,
}

async fn order(hub: Data<Hub>, order: Json<Order>) -> HttpResponse {
    match hub.order(&order.target, order.kind, order.for_seconds) {
        Ok(Ok(fault)) => HttpResponse::Created().json(fault),
        Ok(Err(error)) => HttpResponse::InternalServerError().body(error.to_string()),
        Err(error) => HttpResponse::UnprocessableEntity().json(json!({"error": error.to_string()})),
    }
}

async fn state(hub: Data<Hub>) -> HttpResponse {
    HttpResponse::Ok().json(json!({"now": hub.now(), "scenario": hub.scenario().name, "counts": hub.counts()}))
}
