//! Who was told of alerts outside the screens, and how the channels fare.

use actix_web::{HttpRequest, HttpResponse};
use actors::notifiers::{ChannelView, NotificationFilter};
use models::ids::{AlertId, NoticeId};
use models::notice::NoticeState;
use models::operator::Scope;
use models::ts::Ts;
use serde::Serialize;
use store::StoredNotice;
use utoipa::ToSchema;

use super::list::ListView;
use crate::extractors::Caller;
use crate::parse;
use crate::problem::Problem;
use crate::state::AppState;

/// A notice on one channel.
#[derive(Serialize, ToSchema)]
pub struct NotificationBody {
    /// `ntf_…`: what the channel's message carries as its own id. A notice has the same on every channel.
    #[schema(value_type = String)]
    pub id: NoticeId,
    /// The channel.
    pub channel: String,
    /// `pending`, `sent`, `failed`, `dropped`.
    pub state: &'static str,
    /// `raised`, `escalated`, `resolved`, `regressed`, `more`, `test`.
    pub kind: &'static str,
    /// The group of alerts: the same from the first notice of a cause to its last.
    pub group: String,
    /// Some of its alerts, `alr_…`.
    #[schema(value_type = Vec<String>)]
    pub alerts: Vec<AlertId>,
    /// How many alerts it stands for.
    pub count: u32,
    /// `low`, `medium`, `high`, `critical`.
    pub severity: &'static str,
    /// Rule.
    pub rule: String,
    /// Stable code of the operator; null where it is about none.
    pub operator_code: Option<String>,
    /// One line.
    pub title: String,
    /// Most important first.
    pub lines: Vec<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub at: Ts,
    /// Attempts so far.
    pub attempts: u32,
    /// When it is tried again, where it is pending.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Ts>,
    /// When the channel took it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub sent_at: Option<Ts>,
    /// Why it was not taken the last time.
    pub last_error: Option<String>,
}

impl NotificationBody {
    fn of(stored: StoredNotice) -> Self {
        let notice = stored.notice;
        Self {
            id: notice.id,
            channel: stored.channel,
            state: stored.state.as_str(),
            kind: notice.kind.as_str(),
            group: notice.group,
            alerts: notice.alerts,
            count: notice.count,
            severity: notice.severity.as_str(),
            rule: notice.rule,
            operator_code: notice.operator.map(|operator| operator.code),
            title: notice.title,
            lines: notice.lines,
            at: notice.at,
            attempts: stored.attempts,
            next_at: (stored.state == NoticeState::Pending).then_some(stored.next_at),
            sent_at: stored.sent_at,
            last_error: stored.last_error,
        }
    }
}

/// The channels.
#[derive(Serialize, ToSchema)]
pub struct ChannelsView {
    /// By name.
    pub channels: Vec<ChannelBody>,
}

/// A channel.
#[derive(Serialize, ToSchema)]
pub struct ChannelBody {
    /// Its name.
    pub name: String,
    /// `in_app`, `email`, `sms`, `slack`, `pagerduty`, `webhook`.
    pub kind: &'static str,
    /// `ok`, `failing` (the last attempt failed and is repeated), `held` (more notices than it may send a minute).
    pub state: &'static str,
    /// Notices that wait.
    pub pending: u64,
    /// When the oldest of them was made.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub oldest_pending_at: Option<Ts>,
    /// Notices a minute at most.
    pub per_minute: u32,
    /// Attempts in a row that failed.
    pub failures: u32,
    /// Why the last one failed, since the engine's start.
    pub last_error: Option<String>,
    /// When that was.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_error_at: Option<Ts>,
    /// When the channel last took one, since the engine's start.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_sent_at: Option<Ts>,
}

impl ChannelBody {
    fn of(view: ChannelView) -> Self {
        let state = match (view.status.failures, view.status.held_until) {
            (1.., _) => "failing",
            (0, Some(_)) => "held",
            (0, None) => "ok",
        };
        Self {
            name: view.name,
            kind: view.kind,
            state,
            pending: view.pending,
            oldest_pending_at: view.oldest_at,
            per_minute: view.per_minute,
            failures: view.status.failures,
            last_error: view.status.last_error,
            last_error_at: view.status.last_error_at,
            last_sent_at: view.status.last_sent_at,
        }
    }
}

/// A test that is on its way.
#[derive(Serialize, ToSchema)]
pub struct TestBody {
    /// `ntf_…`; what becomes of it is in `GET /api/v1/notifications`.
    #[schema(value_type = String)]
    pub id: NoticeId,
    /// The channel.
    pub channel: String,
}

/// The log of notices of the jurisdiction, newest first.
#[utoipa::path(
    get, path = "/api/v1/notifications", tag = "notifications",
    params(("state" = Option<String>, Query, description = "pending, sent, failed or dropped"),
        ("channel" = Option<String>, Query, description = "name of a channel"),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, description = "Notices", body = ListView<NotificationBody>)),
    security(("bearer" = ["market:read"]))
)]
pub async fn list(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::MarketRead)?;
    let pairs = parse::query(&req, &["state", "channel", "limit", "cursor"])?;
    let query = parse::list_query(&pairs)?;
    let mut fields = parse::Fields::default();
    let wanted =
        parse::parameter(&pairs, "state").and_then(|text| fields.known_parameter("?state", NoticeState::parse(text)));
    fields.check()?;
    let filter = NotificationFilter {
        jurisdiction: caller.jurisdiction(),
        state: wanted,
        channel: parse::parameter(&pairs, "channel").map(str::to_owned),
    };
    let page = state.engine.notifiers().log(filter, query.limit, query.cursor).await?;
    let items = page.items.into_iter().map(NotificationBody::of).collect();
    Ok(HttpResponse::Ok().json(ListView { items, next_cursor: page.next_cursor }))
}

/// Every channel: its kind, how it fares, what waits on it.
#[utoipa::path(
    get, path = "/api/v1/notifications/channels", tag = "notifications",
    responses((status = 200, description = "Channels", body = ChannelsView)),
    security(("bearer" = ["market:read"]), ("bearer" = ["system:read"]))
)]
pub async fn channels(caller: Caller, state: AppState) -> Result<HttpResponse, Problem> {
    if !caller.has(Scope::SystemRead) {
        caller.require(Scope::MarketRead)?;
    }
    let views = state.engine.notifiers().channels().await?;
    Ok(HttpResponse::Ok().json(ChannelsView { channels: views.into_iter().map(ChannelBody::of).collect() }))
}

/// Sends a test notice on a channel, through the log and under its rate as every other.
#[utoipa::path(
    post, path = "/api/v1/notifications/channels/{name}/test", tag = "notifications",
    params(("name" = String, Path, description = "name of the channel")),
    responses((status = 202, description = "It is in the log and on its way", body = TestBody)),
    security(("bearer" = ["system:manage"]))
)]
pub async fn test(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::SystemManage)?;
    let channel: String = parse::path_id(&req, "name", "channel")?;
    let id = state.engine.notifiers().test(&channel, caller.jurisdiction()).await?;
    Ok(HttpResponse::Accepted().json(TestBody { id, channel }))
}
