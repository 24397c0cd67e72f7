//! Who calls: a bearer key becomes a [`Caller`], or a problem.
//!
//! The tenant and the jurisdiction of everything that follows come from here, never from a path or a body. The order
//! of the checks is: known, secret, live, address, operator, rate – so that a stranger learns nothing but "401".

use std::future::{Ready, ready};
use std::net::IpAddr;
use std::sync::Arc;

use actix_web::dev::{Payload, RequestHead};
use actix_web::http::header;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use actors::directory::{Directory, KeyEntry};
use actors::live::Rights;
use models::ids::{KeyId, OperatorId};
use models::jurisdiction::JurisdictionNo;
use models::operator::{Operator, OperatorState, Scope};
use models::ts::Ts;
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

use crate::cidr;
use crate::lookup::question::Asker;
use crate::metrics::AuthFailure;
use crate::problem::{Code, Problem};
use crate::rate::Quotas;
use crate::state::AppState;
use crate::trace::About;

/// Digits of a key id behind its prefix.
const KEY_DIGITS: usize = 26;
/// Longest bearer token looked at, bytes.
const BEARER_BYTES_MAX: usize = 256;

/// An authenticated caller.
#[derive(Clone)]
pub struct Caller {
    /// Its key.
    pub entry: Arc<KeyEntry>,
    /// The operator of the key; none for staff and tools.
    pub operator: Option<Arc<Operator>>,
    /// When it was let in.
    pub now: Ts,
}

impl Caller {
    /// 403 unless the key has the scope. A scope for staff on a key of an operator counts for nothing.
    ///
    /// # Errors
    /// [`Code::Forbidden`].
    pub fn require(&self, scope: Scope) -> Result<(), Problem> {
        if self.has(scope) {
            return Ok(());
        }
        Err(Problem::new(Code::Forbidden, format!("the key has not the scope {}", scope.as_str())))
    }

    /// As whoever asks about people.
    #[must_use]
    pub fn asker<'a>(&'a self, directory: &'a Directory) -> Asker<'a> {
        Asker { entry: &self.entry, directory, now: self.now }
    }

    /// Has the key the scope?
    #[must_use]
    pub fn has(&self, scope: Scope) -> bool {
        holds(&self.entry, scope)
    }

    /// Whose law binds this call.
    #[must_use]
    pub fn jurisdiction(&self) -> JurisdictionNo {
        self.entry.key.jurisdiction
    }

    /// The operator a call is about: the caller's own, or, for staff with this scope, any of the jurisdiction.
    ///
    /// # Errors
    /// 404 where it is not there or not to be seen.
    pub fn operator_in_reach(
        &self,
        directory: &Directory,
        id: OperatorId,
        staff: Scope,
    ) -> Result<Arc<Operator>, Problem> {
        let own = self.operator.as_ref().is_some_and(|o| o.id == id);
        let reached = own || (self.operator.is_none() && self.has(staff));
        directory
            .operator(id, self.jurisdiction())
            .filter(|_| reached)
            .cloned()
            .ok_or_else(|| Problem::not_found("operator"))
    }

    /// What the key may watch; none where it may watch nothing.
    #[must_use]
    pub fn rights(&self) -> Option<Rights> {
        rights_of(&self.entry, self.operator.as_deref())
    }
}

/// Has the key the scope? A scope for staff on a key of an operator counts for nothing.
pub(crate) fn holds(entry: &KeyEntry, scope: Scope) -> bool {
    entry.key.holds(scope)
}

/// What a key may watch. An operator's key watches its own operator, where it works with feeds.
fn rights_of(entry: &KeyEntry, operator: Option<&Operator>) -> Option<Rights> {
    let feeds = holds(entry, Scope::FeedsManage) || holds(entry, Scope::FeedsWrite);
    let rights = Rights {
        market: holds(entry, Scope::MarketRead),
        system: holds(entry, Scope::SystemRead),
        operator: operator.filter(|_| feeds).map(|o| o.id),
        jurisdiction: entry.key.jurisdiction,
    };
    (rights.market || rights.system || rights.operator.is_some()).then_some(rights)
}

/// Is a caller of before still one? Sockets ask again every second.
#[must_use]
pub fn still_valid(directory: &Directory, key: KeyId, now: Ts) -> bool {
    directory.keys.get(&key).is_some_and(|entry| {
        let operator = entry.key.operator_no.map(|no| directory.operators.get(&no));
        entry.key.is_live(now) && operator.is_none_or(|o| o.is_some_and(|o| o.state == OperatorState::Active))
    })
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(match req.app_data::<AppState>() {
            Some(state) => authenticate(state.of(req.headers()), req),
            None => Err(Problem::new(Code::Internal, "the server is not assembled")),
        })
    }
}

/// Checks the bearer token of a request and counts it against the key's rate.
///
/// # Errors
/// 401, 403 or 429.
pub fn authenticate(state: &AppState, req: &HttpRequest) -> Result<Caller, Problem> {
    let directory = state.engine.directory();
    let mut quotas = None;
    let now = state.engine.now();
    let admitted = admit(state, &directory, req.head(), now, &mut quotas);
    if let Some(quotas) = quotas {
        req.extensions_mut().insert(quotas);
    }
    let (entry, operator) = admitted?;
    if state.options.traces.is_some() {
        req.extensions_mut().insert(About::caller(entry.key.operator_no));
    }
    Ok(Caller { entry: Arc::clone(entry), operator: operator.map(Arc::clone), now })
}

/// The same without taking a share of anything: the key and its operator. `quotas` is what is left of the
/// key's rate, as soon as that is known.
///
/// # Errors
/// 401, 403 or 429.
pub(crate) fn admit<'d>(
    state: &AppState,
    directory: &'d Directory,
    head: &RequestHead,
    now: Ts,
    quotas: &mut Option<Quotas>,
) -> Result<(&'d Arc<KeyEntry>, Option<&'d Arc<Operator>>), Problem> {
    let address = state.options.proxies.caller(head);
    let (entry, operator) = match identify(directory, state.key_prefix(), head, now) {
        Ok(caller) => caller,
        Err(failure) => return Err(refuse(state, address, failure)),
    };
    if !cidr::allows(&entry.key.allow_from, address) {
        state.metrics.auth_failed(AuthFailure::Address);
        return Err(Problem::new(Code::AddressNotAllowed, "the key has a list of networks, and this is none of them"));
    }
    if operator.is_some_and(|o| o.state != OperatorState::Active) {
        state.metrics.auth_failed(AuthFailure::Operator);
        return Err(Problem::new(Code::OperatorNotActive, "the operator is suspended or closed"));
    }
    match state.gate.pass(entry.key.id, entry.rate_per_second(now)) {
        Ok(left) => {
            *quotas = Some(left);
            if let Some(Err(seconds)) = operator.map(|o| state.gate.pass_operator(o.operator_no)) {
                state.metrics.rate_limited_operator.inc();
                return Err(Problem::rate_limited("the operator's keys together are over its rate", seconds));
            }
            Ok((entry, operator))
        }
        Err(none) => {
            let wait = none.wait_seconds;
            *quotas = Some(none);
            state.metrics.rate_limited_key.inc();
            Err(Problem::rate_limited("the key is over its rate", wait))
        }
    }
}

fn refuse(state: &AppState, address: Option<IpAddr>, failure: AuthFailure) -> Problem {
    state.metrics.auth_failed(failure);
    if let Some(Err(seconds)) = address.map(|a| state.gate.failed(a)) {
        state.metrics.rate_limited_address.inc();
        return Problem::rate_limited("too many failed attempts from this address", seconds);
    }
    let detail = match failure {
        AuthFailure::Missing => "send the key as authorization: bearer",
        _ => "the key is not valid",
    };
    Problem::new(Code::Unauthenticated, detail)
}

fn identify<'d>(
    directory: &'d Directory,
    prefix: &str,
    head: &RequestHead,
    now: Ts,
) -> Result<(&'d Arc<KeyEntry>, Option<&'d Arc<Operator>>), AuthFailure> {
    let header = head.headers.get(header::AUTHORIZATION).ok_or(AuthFailure::Missing)?;
    let bearer = Bearer::parse(header.to_str().unwrap_or_default(), prefix).ok_or(AuthFailure::Malformed)?;
    let entry = proven(directory, &bearer, now)?;
    let operator = match entry.key.operator_no {
        // a key of an operator that is not there is a key of nobody
        Some(no) => Some(directory.operators.get(&no).ok_or(AuthFailure::Unknown)?),
        None => None,
    };
    Ok((entry, operator))
}

fn proven<'d>(directory: &'d Directory, bearer: &Bearer<'_>, now: Ts) -> Result<&'d Arc<KeyEntry>, AuthFailure> {
    let entry = directory.keys.get(&bearer.key).ok_or(AuthFailure::Unknown)?;
    let sent = digest(&SHA256, bearer.secret.as_bytes());
    if !bool::from(sent.as_ref().ct_eq(&entry.secret_sha256)) {
        return Err(AuthFailure::Secret);
    }
    if !entry.key.is_live(now) {
        return Err(AuthFailure::Dead);
    }
    Ok(entry)
}

/// Whose a bearer is (`mk_live_…`), for tools on the machine itself: they have no request, and no address to call from. None
/// where it is not of this form, not known, or its key is dead.
#[must_use]
pub fn key_of_bearer<'d>(directory: &'d Directory, prefix: &str, token: &str, now: Ts) -> Option<&'d Arc<KeyEntry>> {
    proven(directory, &Bearer::of_token(token, prefix)?, now).ok()
}

/// `mk_live_<key id>_<secret>` (or `mk_test_…`), the id with or without its own prefix.
struct Bearer<'a> {
    key: KeyId,
    secret: &'a str,
}

impl<'a> Bearer<'a> {
    fn parse(header: &'a str, prefix: &str) -> Option<Self> {
        let (scheme, token) = header.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        Self::of_token(token, prefix)
    }

    fn of_token(token: &'a str, prefix: &str) -> Option<Self> {
        if token.len() > BEARER_BYTES_MAX {
            return None;
        }
        let rest = token.trim().strip_prefix(prefix)?;
        let (prefix, digits) = (b"key_", rest.strip_prefix("key_").unwrap_or(rest));
        let (id, secret) = (digits.get(..KEY_DIGITS)?, digits.get(KEY_DIGITS..)?.strip_prefix('_')?);
        let mut text = [0; 4 + KEY_DIGITS];
        text[..4].copy_from_slice(prefix);
        text[4..].copy_from_slice(id.as_bytes());
        let key = std::str::from_utf8(&text).ok()?.parse().ok()?;
        (!secret.is_empty()).then_some(Self { key, secret })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearers_are_read_exactly() {
        let id = KeyId(77).to_string();
        let digits = &id[4..];
        let table = [
            (format!("Bearer mk_live_{id}_s3cret"), Some("s3cret")),
            (format!("bearer mk_live_{digits}_s3_cret"), Some("s3_cret")),
            (format!("Bearer mk_test_{id}_s3cret"), None),
            (format!("Bearer mk_live_{id}_"), None),
            (format!("Bearer mk_live_{id}"), None),
            (format!("Basic mk_live_{id}_s3cret"), None),
            (format!("mk_live_{id}_s3cret"), None),
            (format!("Bearer mk_live_{}_s3cret", digits.to_uppercase()), None),
            (format!("Bearer mk_live_{id}_{}", "x".repeat(BEARER_BYTES_MAX)), None),
            ("Bearer mk_live_äöüäöüäöüäöüäöüäöüäöü_x".to_owned(), None),
            (String::new(), None),
        ];
        for (header, secret) in &table {
            let bearer = Bearer::parse(header, "mk_live_");
            assert_eq!(bearer.as_ref().map(|b| b.secret), *secret, "{header}");
            assert!(bearer.is_none_or(|b| b.key == KeyId(77)));
            assert!(Bearer::parse(header, "mk_test_").is_none_or(|_| header.contains("mk_test_")), "{header}");
        }
    }
}
