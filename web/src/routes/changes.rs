//! The feed of changes: what an operator need not ask again and again.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse};
use actors::changes::Change;
use actors::directory::KeyEntry;
use models::jurisdiction::{JurisdictionNo, JurisdictionSet};
use models::operator::Scope;
use models::ts::Ts;
use serde::Serialize;
use utoipa::ToSchema;

use super::list::ListView;
use crate::extractors::Caller;
use crate::extractors::caller::still_valid;
use crate::lookup::question::token_of;
use crate::parse;
use crate::problem::{Code, Problem};
use crate::state::AppState;

/// Longest wait for a change, seconds.
const WAIT_SECONDS_MAX: u64 = 60;

/// One change of one of the caller's tokens.
#[derive(Serialize, ToSchema)]
pub struct ChangeView {
    /// Sequence of the change: of two for one token the higher counts.
    pub version: i64,
    /// `exclusion.created`, `exclusion.extended`, `exclusion.ended`.
    pub r#type: &'static str,
    /// The caller's own token.
    pub bst: String,
    /// Status as the register stands now: `not_excluded`, `excluded`, `previously_excluded`, `review`.
    pub status: &'static str,
    /// Since when the person is excluded, or when it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub effective_at: Option<Ts>,
}

/// Changes for people the caller's operator has asked about, in order. Without `cursor` it is empty and says where the
/// feed stands: ask so once, then run one sweep over the whole base, then follow the feed. With `wait` the answer comes
/// as soon as something changes.
#[utoipa::path(
    get, path = "/api/v1/operators/changes", tag = "lookup",
    params(("cursor" = Option<String>, Query, description = "As the answer before gave it"),
        ("wait" = Option<u64>, Query, description = "Seconds to wait for a change, at most 60"),
        ("limit" = Option<u32>, Query, description = "1 to 500, 50 by default; a bulk import is told whole")),
    responses((status = 200, description = "Changes; next_cursor is never null", body = ListView<ChangeView>),
        (status = 410, description = "Older than 400 days, or the recognition of another jurisdiction began or ended since: sweep the whole base, then begin without a cursor")),
    security(("bearer" = ["lookup"]))
)]
pub async fn changes(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::Lookup)?;
    let operator = caller.operator.as_ref().ok_or_else(|| {
        Problem::new(Code::Forbidden, "changes are told to operators, in the tokens that they have used")
    })?;
    let parameters = parse::query(&req, &["cursor", "wait", "limit"])?;
    let limit = parse::list_query(&parameters)?.limit;
    let number = |name: &'static str, max: u64| match parse::parameter(&parameters, name) {
        None => Ok(None),
        Some(text) => text
            .parse()
            .ok()
            .filter(|n| *n <= max)
            .map(Some)
            .ok_or_else(|| Problem::field(format!("?{name}"), format!("not a number up to {max}"))),
    };
    let after = match parse::parameter(&parameters, "cursor") {
        None => None,
        Some(text) => {
            let read = cursor(text, operator.jurisdiction);
            Some(read.ok_or_else(|| Problem::field("?cursor", "not one that this feed gave"))?)
        }
    };
    let wait = Duration::from_secs(number("wait", WAIT_SECONDS_MAX)?.unwrap_or(0));
    let (no, jurisdiction) = (operator.operator_no, operator.jurisdiction);
    let mut stopping = state.stopping.subscribe();
    let found = tokio::select! {
        found = state.engine.changes(no, jurisdiction, after, limit as usize, wait) => found?,
        // whoever waits is sent home: the next node goes on from the same cursor
        _ = stopping.wait_for(|stopping| *stopping) => {
            return Err(Problem::new(Code::Unavailable, "the node stops; go on from the same cursor"));
        }
    };
    // it may have waited for a minute
    let (directory, now) = (state.engine.directory(), state.engine.now());
    let dead = || Problem::new(Code::Unauthenticated, "the key is not valid");
    let id = caller.entry.key.id;
    let entry = directory.keys.get(&id).filter(|_| still_valid(&directory, id, now)).ok_or_else(dead)?;
    let ring = state.engine.keys();
    let generation = |change: &Change| directory.generation(Some(no), change.key.key);
    let items: Vec<ChangeView> = found
        .items
        .iter()
        // a token of a retired version would be answered 410
        .filter(|change| ring.digest.version(change.key.digest_version).is_some())
        .map(|change| view(entry, change, generation(change)))
        .collect::<Result<_, _>>()?;
    let next_cursor = Some(format!("{:x}.{:x}", found.next, found.bound.mask()));
    Ok(HttpResponse::Ok().json(ListView { items, next_cursor }))
}

/// A place in the journal, and whose exclusions bound the operator when it was given: its own jurisdiction's alone where
/// none are named.
fn cursor(text: &str, own: JurisdictionNo) -> Option<(i64, JurisdictionSet)> {
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let (seq, bound) = text.split_once('.').map_or((text, None), |(seq, bound)| (seq, Some(bound)));
    let bound = match bound {
        None => own.into(),
        Some(bits) => JurisdictionSet::of_mask(u16::from_str_radix(bits, 16).ok().filter(|_| hex(bits))?),
    };
    Some((i64::from_str_radix(seq, 16).ok().filter(|_| seq.len() <= 16 && hex(seq))?, bound))
}

fn view(entry: &KeyEntry, change: &Change, generation: u8) -> Result<ChangeView, Problem> {
    Ok(ChangeView {
        version: change.version,
        r#type: change.kind.as_str(),
        bst: token_of(entry, change.key, generation)?.0.to_string(),
        status: change.status.as_str(),
        effective_at: change.effective_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_what_the_feed_gave() {
        let own = JurisdictionNo(1);
        let table = [
            ("0", Some((0, 2))),
            ("1f", Some((31, 2))),
            ("1f.3", Some((31, 3))),
            ("1F", None),
            ("+1", None),
            ("", None),
            ("-1", None),
            ("1.", None),
            ("1.+1", None),
            ("1.10000", None),
            (".1", None),
            ("ffffffffffffffff", None),
        ];
        for (text, read) in table {
            assert_eq!(cursor(text, own).map(|(seq, bound)| (seq, bound.mask())), read, "{text}");
        }
    }
}
