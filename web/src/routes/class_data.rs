//! What an operator's sources have said, class by class: newest first, as the tables of the classes have it.

pub mod items;

use std::str::FromStr;

use actix_web::{HttpRequest, HttpResponse};
use models::document_records::{InvoiceState, LicenceStanding, PaymentState};
use models::feed::DataClass;
use models::ids::{OperatorId, OperatorNo, SourceNo};
use models::operator::Scope;
use models::ts::Ts;
use serde::Serialize;
use store::{ClassPage, ClassQuery, RowPlace};
use utoipa::ToSchema;

use self::items::ClassItem;
use super::list::cursor;
use crate::extractors::Caller;
use crate::parse::{self, Fields};
use crate::problem::Problem;
use crate::state::AppState;

/// A page of a class of data.
#[derive(Serialize, ToSchema)]
pub struct ClassDataPage {
    /// `gaming_transactions`, `sales_redemptions`, `player_accounts`, `licences`, `invoices`, `payments`,
    /// `bank_statements`.
    pub class: &'static str,
    /// When the source of this class that has been silent for longest last delivered; null where none ever did.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub as_of: Option<Ts>,
    /// Sources of this class that have never delivered: what they would say is missing here.
    pub inputs_missing: u32,
    /// Newest first, all of the class's shape.
    pub items: Vec<ClassItem>,
    /// Sent as `?cursor=` for the next page; null at the end.
    pub next_cursor: Option<String>,
}

/// What the sources of a class have said of an operator. Invoices, payments and bank lines are shown in their newest
/// version, licences with their history, players by the beginning of their digest.
#[utoipa::path(
    get, path = "/api/v1/operators/{id}/data/{class}", tag = "feeds",
    params(("id" = String, Path, description = "opr_…"),
        ("class" = String, Path, description = "gaming_transactions, sales_redemptions, player_accounts, licences, invoices, payments or bank_statements"),
        ("state" = Option<String>, Query, description = "Of licences, invoices and payments as in their records; open or closed of player_accounts"),
        ("from" = Option<String>, Query, description = "RFC 3339 or YYYY-MM-DD; rows of that time and later"),
        ("to" = Option<String>, Query, description = "The same; rows before that time"),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, description = "Newest first; a page of gaming_transactions may be short before the end", body = ClassDataPage)),
    security(("bearer" = ["market:read"]))
)]
pub async fn read(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::MarketRead)?;
    let id: OperatorId = parse::path_id(&req, "id", "operator")?;
    let operator = state.engine.directory().operator(id, caller.jurisdiction()).map(|o| o.operator_no);
    let operator = operator.ok_or_else(|| Problem::not_found("operator"))?;
    let class = req.match_info().get("class").and_then(DataClass::parse).ok_or_else(|| Problem::not_found("class"))?;
    let query = query(&req, class, operator)?;
    let sources = state.engine.sources(Some(operator)).into_iter().filter(|source| source.class == class);
    let sources: Vec<(SourceNo, Option<Ts>)> = sources.map(|s| (s.source.source_no, s.last_success_at)).collect();
    let store = state.engine.store();
    let (items, next) = match class {
        DataClass::GamingTransactions => {
            let numbers: Vec<SourceNo> = sources.iter().map(|(no, _)| *no).collect();
            shown(store.records_of(&query, &numbers).await?, |row| ClassItem::Record(Box::new(row.into())))
        }
        DataClass::SalesRedemptions => {
            shown(store.sales_days(&query).await?, |row| ClassItem::SalesDay(Box::new(row.into())))
        }
        DataClass::PlayerAccounts => {
            shown(store.player_accounts(&query).await?, |row| ClassItem::Account(Box::new(row.into())))
        }
        DataClass::Licences => {
            shown(store.licence_statuses(&query).await?, |row| ClassItem::Licence(Box::new(row.into())))
        }
        DataClass::Invoices => shown(store.invoices(&query).await?, |row| ClassItem::Invoice(Box::new(row.into()))),
        DataClass::Payments => shown(store.payments(&query).await?, |row| ClassItem::Payment(Box::new(row.into()))),
        DataClass::BankStatements => {
            shown(store.bank_lines(&query).await?, |row| ClassItem::BankLine(Box::new(row.into())))
        }
    };
    Ok(HttpResponse::Ok().json(ClassDataPage {
        class: class.as_str(),
        as_of: sources.iter().filter_map(|(_, at)| *at).min(),
        inputs_missing: sources.iter().filter(|(_, at)| at.is_none()).count().try_into().unwrap_or(u32::MAX),
        items,
        next_cursor: next.map(|next| Cursor(next).to_string()),
    }))
}

fn shown<T>(page: ClassPage<T>, item: impl Fn(T) -> ClassItem) -> (Vec<ClassItem>, Option<RowPlace>) {
    (page.rows.into_iter().map(item).collect(), page.next)
}

fn query(req: &HttpRequest, class: DataClass, operator_no: OperatorNo) -> Result<ClassQuery, Problem> {
    let pairs = parse::query(req, &["state", "from", "to", "limit", "cursor"])?;
    let list = parse::list_query(&pairs)?;
    let mut fields = Fields::default();
    let state = parse::parameter(&pairs, "state").and_then(|text| fields.known_parameter("?state", state(class, text)));
    let mut time = |name, pointer| {
        let text = parse::parameter(&pairs, name)?;
        let wrong = "neither an RFC 3339 time nor a date YYYY-MM-DD";
        fields.take(pointer, Ts::parse_day(text).map_err(|_| wrong))
    };
    let (from, to) = (time("from", "?from"), time("to", "?to"));
    fields.check()?;
    let behind = cursor::<Cursor>(&list)?.map(|Cursor(place)| place);
    Ok(ClassQuery { operator_no, state, from, to, behind, limit: list.limit })
}

/// A state of the class's rows; none where they have none of this name.
fn state(class: DataClass, text: &str) -> Option<&'static str> {
    match class {
        DataClass::Licences => LicenceStanding::parse(text).map(LicenceStanding::as_str),
        DataClass::Invoices => InvoiceState::parse(text).map(InvoiceState::as_str),
        DataClass::Payments => PaymentState::parse(text).map(PaymentState::as_str),
        DataClass::PlayerAccounts => ["open", "closed"].into_iter().find(|state| *state == text),
        DataClass::GamingTransactions | DataClass::SalesRedemptions | DataClass::BankStatements => None,
    }
}

/// A place as it is handed out.
struct Cursor(RowPlace);

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0.order, self.0.batch_no, self.0.idx)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let numbers: Option<Vec<i64>> = text.split('.').map(|part| part.parse().ok().filter(|n| *n >= 0)).collect();
        match numbers.as_deref() {
            Some([order, batch_no, idx]) => Ok(Self(RowPlace { order: *order, batch_no: *batch_no, idx: *idx })),
            _ => Err(()),
        }
    }
}
