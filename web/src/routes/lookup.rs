//! `POST /api/v1/operators/lookup`: may this person be served for this purpose?
//!
//! The hot path: borrowed parsing, one digest per identifier, wait-free reads of the index, an answer written by hand
//! into one buffer, one signature. Nothing here waits. Whatever is not certain is a problem, never an answer.

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use actors::api::{NodeFreshness, NodeState};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::register::index::{LookupKey, Verdict};
use models::document::{Document, DocumentType, IssuingCountry};
use models::exclusion::{Period, Status};
use models::lookup::{Decision, Purpose, decide};
use models::match_key::KeyKind;
use models::operator::Scope;
use models::phone::{Country, Phone};
use models::token::{self, Token, TokenError};
use models::ts::{MINUTE, Ts};
use ring::digest::{SHA256, digest};
use ring::hmac;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::extractors::{Body, Caller};
use crate::parse::{self, Fields, Text, wire};
use crate::problem::{Code, FieldError, Problem};
use crate::state::{AppState, Worker};

/// How long an answer stands, microseconds: 15 minutes after what it is based on.
pub const VALID_MICROS: i64 = 15 * MINUTE;
/// Longest `client_reference`, characters.
pub const REFERENCE_CHARS_MAX: usize = 64;
/// Bytes set aside for an answer.
const ANSWER_BYTES: usize = 768;

static X_MLINZI_SIGNATURE: HeaderName = HeaderName::from_static("x-mlinzi-signature");

/// A lookup as it is sent.
#[derive(Deserialize)]
struct WireLookup<'a> {
    #[serde(borrow, default)]
    phone: Option<Text<'a>>,
    #[serde(borrow, default)]
    id_number: Option<Text<'a>>,
    #[serde(borrow, default)]
    id_type: Option<Text<'a>>,
    #[serde(borrow, default)]
    id_country: Option<Text<'a>>,
    #[serde(borrow, default)]
    bst: Option<Text<'a>>,
    #[serde(borrow, default)]
    check_type: Option<Text<'a>>,
    #[serde(borrow, default)]
    purpose: Option<Text<'a>>,
    #[serde(borrow, default)]
    client_reference: Option<Text<'a>>,
}

/// The body of a lookup. At least one of `phone`, `id_number`, `bst`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the documented shape; the hot path reads a borrowed one")]
pub struct LookupRequest {
    /// Mobile number as people write it; without a country code it is one of the jurisdiction.
    #[schema(example = "+254712345678")]
    phone: Option<String>,
    /// Number of an identity document.
    id_number: Option<String>,
    /// `national_id` (default), `alien_id`, `passport`, `maisha`, `kra_pin`, `nin`.
    id_type: Option<String>,
    /// Country that issued the document, ISO 3166-1 alpha-2; the jurisdiction's by default.
    id_country: Option<String>,
    /// The caller's own token of the person.
    bst: Option<String>,
    /// Only `exclusion`, which is the default.
    check_type: Option<String>,
    /// `registration`, `login`, `bet`, `deposit`, `withdrawal`, `marketing`, `sweep`.
    purpose: String,
    /// At most 64 characters; echoed, logged only as a keyed digest.
    client_reference: Option<String>,
}

/// The answer.
#[derive(Serialize, ToSchema)]
pub struct LookupAnswer<'a> {
    /// Only the exact word `allow` lets the caller proceed: `allow`, `block`, `hold`.
    pub decision: &'static str,
    /// `not_excluded`, `excluded`, `previously_excluded`, `review`.
    pub status: &'static str,
    /// True exactly when `decision` is not `allow`.
    pub excluded: bool,
    /// The caller's token of the person.
    pub bst: &'a str,
    /// Null without `risk:read`.
    pub risk_level: Option<&'static str>,
    /// Whether the person is to be screened.
    pub requires_screening: bool,
    /// Null without `risk:read`.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_assessment: Option<Ts>,
    /// Null unless `status` is `excluded`.
    pub exclusion: Option<ExclusionPart>,
    /// How sure the match is.
    pub r#match: MatchPart,
    /// As asked.
    pub purpose: &'static str,
    /// Everything committed until then is part of the answer.
    #[schema(value_type = String, format = DateTime)]
    pub as_of: Ts,
    /// Until when an `allow` may be kept.
    #[schema(value_type = String, format = DateTime)]
    pub valid_until: Ts,
    /// Sequence of the register's last change.
    pub register_version: i64,
    /// The register is older than it should be.
    pub degraded: bool,
    /// As sent.
    pub client_reference: Option<&'a str>,
    /// Names this answer.
    pub lookup_id: &'a str,
}

/// What is said of the exclusion.
#[derive(Clone, Copy, Serialize, ToSchema)]
pub struct ExclusionPart {
    /// Since when.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub effective_at: Option<Ts>,
    /// End of a lapsing exclusion; null without `risk:read`.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<Ts>,
    /// Null without `risk:read`.
    pub period: Option<&'static str>,
}

/// How sure the match is.
#[derive(Clone, Copy, Serialize, ToSchema)]
pub struct MatchPart {
    /// `exact`, `strong`, `possible`, `none`.
    pub grade: &'static str,
}

/// Asks whether a person may be served.
#[utoipa::path(
    post, path = "/api/v1/operators/lookup", tag = "lookup", request_body = LookupRequest,
    responses((status = 200, description = "The answer", body = LookupAnswer, headers(
        ("X-Mlinzi-Signature" = String, description = "v1=<base64 HMAC-SHA-256 under the key's signing secret over lookup_id \".\" as_of \".\" hex(SHA-256(request body)) \".\" response body>"),
        ("RateLimit" = String, description = "What is left of the key's rate"),
        ("RateLimit-Policy" = String, description = "The key's rate"),
        ("X-Request-Id" = String, description = "As sent, or made")))),
    security(("bearer" = ["lookup"]))
)]
pub async fn lookup(
    caller: Caller,
    state: AppState,
    worker: Worker,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    let answered = answer(&caller, &state, &worker, &req, &body);
    if let Err(problem) = &answered {
        state.metrics.refused(problem.code);
    }
    answered
}

fn answer(
    caller: &Caller,
    state: &AppState,
    worker: &Worker,
    req: &HttpRequest,
    body: &[u8],
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::Lookup)?;
    parse::require_json(req)?;
    let question = Question::read(caller, state, body)?;
    let fresh = require_fresh(state.engine.freshness(), question.purpose)?;
    let verdict = question.ask(caller, state)?;
    let id = lookup_id(worker.lookup_id(state.engine.node(), state.engine.boot()));
    let bst = question.token(caller)?;
    let answer = question.view(caller, &verdict, fresh, &bst, &id);
    state.metrics.answered(question.purpose, decide(verdict.status, question.purpose));
    Ok(respond(&caller.entry.signing, &answer, body))
}

/// A lookup, parsed and digested.
struct Question<'a> {
    keys: [Option<LookupKey>; 3],
    purpose: Purpose,
    client_reference: Option<Text<'a>>,
}

impl<'a> Question<'a> {
    fn read(caller: &Caller, state: &AppState, body: &'a [u8]) -> Result<Self, Problem> {
        let sent: WireLookup<'a> = parse::json(body)?;
        let directory = state.engine.directory();
        let country = directory
            .jurisdiction(caller.jurisdiction())
            .map(|j| j.country)
            .ok_or_else(|| Problem::new(Code::NotReady, "the jurisdiction of the key is not configured"))?;
        let mut fields = Fields::default();
        let purpose = fields.known("/purpose", sent.purpose.as_deref(), wire::<Purpose>);
        if sent.check_type.as_deref().is_some_and(|t| t != "exclusion") {
            fields.wrong("/check_type", "only exclusion can be checked");
        }
        if sent.client_reference.as_deref().is_some_and(|t| t.chars().count() > REFERENCE_CHARS_MAX) {
            fields.wrong("/client_reference", "longer than 64 characters");
        }
        let (phone, document, token) = sent.identity(&mut fields, country);
        let purpose = fields.finish(purpose)?;
        let keys = digest_all(caller, state, phone, document, token)?;
        if !caller.entry.key.purposes.is_empty() && !caller.entry.key.purposes.contains(&purpose) {
            return Err(Problem::new(
                Code::PurposeNotAllowed,
                "the key has a list of purposes, and this is none of them",
            ));
        }
        Ok(Self { keys, purpose, client_reference: sent.client_reference })
    }

    fn ask(&self, caller: &Caller, state: &AppState) -> Result<Verdict, Problem> {
        let mut held = [LookupKey { kind: KeyKind::Phone, digest_version: 0, key: models::match_key::MatchKey(0) }; 3];
        let mut count = 0;
        for key in self.keys.iter().flatten() {
            held[count] = *key;
            count += 1;
        }
        let second = u32::try_from(state.engine.now().seconds()).unwrap_or(u32::MAX);
        let verdict = state.engine.index().decide(&held[..count], caller.jurisdiction(), second);
        // whatever the index cannot answer is no answer: 503
        verdict.map_err(|error| Problem::new(Code::NotReady, error.to_string()))
    }

    /// The token of the strongest key: a document before a phone.
    fn token(&self, caller: &Caller) -> Result<Token, Problem> {
        let no_key = || Problem::new(Code::Internal, "there is no key to make a token of");
        let strongest = self.keys.iter().flatten().max_by_key(|k| k.kind.is_document()).ok_or_else(no_key)?;
        let current = caller.entry.token_keys.first().ok_or_else(no_key)?;
        token::encode(current, strongest.kind, strongest.digest_version, 0, strongest.key).map_err(|_| no_key())
    }

    fn view<'b>(
        &'b self,
        caller: &Caller,
        verdict: &Verdict,
        fresh: NodeFreshness,
        bst: &'b Token,
        id: &'b str,
    ) -> LookupAnswer<'b> {
        let decision = decide(verdict.status, self.purpose);
        let risk = caller.has(Scope::RiskRead) && self.purpose != Purpose::Marketing;
        LookupAnswer {
            decision: decision.as_str(),
            status: verdict.status.as_str(),
            excluded: decision != Decision::Allow,
            bst: bst.as_str(),
            // stays unknown until a model version validated by the regulator is promoted
            risk_level: risk.then_some("unknown"),
            requires_screening: false,
            last_assessment: None,
            exclusion: (verdict.status == Status::Excluded).then(|| exclusion(verdict, risk)),
            r#match: MatchPart { grade: verdict.grade.as_str() },
            purpose: self.purpose.as_str(),
            as_of: fresh.as_of,
            valid_until: fresh.as_of.plus(VALID_MICROS),
            register_version: fresh.register_version,
            degraded: fresh.state == NodeState::Degraded,
            client_reference: self.client_reference.as_deref(),
            lookup_id: id,
        }
    }
}

impl WireLookup<'_> {
    /// Normalises what identifies the person; notes what does not.
    fn identity(&self, fields: &mut Fields, country: Country) -> (Option<Phone>, Option<Document>, Option<Token>) {
        let phone = self.phone.as_deref().and_then(|text| fields.take("/phone", Phone::parse(text, country)));
        let document = self.id_number.as_deref().and_then(|number| {
            read_document(fields, number, self.id_type.as_deref(), self.id_country.as_deref(), country)
        });
        if self.id_number.is_none() && self.id_type.is_some() {
            fields.known("/id_type", self.id_type.as_deref(), wire::<DocumentType>);
        }
        let token = self.bst.as_deref().and_then(|text| fields.take("/bst", Token::parse(text)));
        if self.phone.is_none() && self.id_number.is_none() && self.bst.is_none() {
            fields.wrong("", "at least one of phone, id_number and bst is needed");
        }
        (phone, document, token)
    }
}

/// A document of a request, with its type and its issuing country (the jurisdiction's by default).
pub(crate) fn read_document(
    fields: &mut Fields,
    number: &str,
    kind: Option<&str>,
    issuer: Option<&str>,
    country: Country,
) -> Option<Document> {
    let kind = match kind {
        None => Some(DocumentType::default()),
        named => fields.known("/id_type", named, wire::<DocumentType>),
    };
    let issuer = match issuer {
        None => Some(IssuingCountry::from(country)),
        named => fields.known("/id_country", named, IssuingCountry::from_iso),
    };
    fields.take("/id_number", Document::parse(kind?, issuer?, number))
}

fn digest_all(
    caller: &Caller,
    state: &AppState,
    phone: Option<Phone>,
    document: Option<Document>,
    token: Option<Token>,
) -> Result<[Option<LookupKey>; 3], Problem> {
    let (digests, family) = (state.engine.digest_keys(), state.options.family.as_str());
    let digest_version = digests.current().version();
    let key = |kind, key| LookupKey { kind, digest_version, key };
    let opened = token.map(|token| open(caller, state, &token)).transpose()?;
    let document = document.map(|d| key(KeyKind::from(d.kind()), digests.document(family, &d)));
    let phone = phone.map(|p| key(KeyKind::Phone, digests.phone(family, &p)));
    Ok([document, opened, phone])
}

/// The key of a token: not ours is 422, no longer live 410.
fn open(caller: &Caller, state: &AppState, token: &Token) -> Result<LookupKey, Problem> {
    let opened = token::open(&caller.entry.token_keys, token).map_err(|error: TokenError| Problem::from(error))?;
    let live = state.engine.digest_keys().version(opened.digest_version).is_some();
    // generations grow with the table of compromised tokens, which is empty in this version
    if !live || opened.generation != 0 {
        let errors = vec![FieldError { pointer: "/bst".into(), detail: "no longer live".into() }];
        return Err(Problem {
            errors,
            ..Problem::new(Code::TokenNotLive, "look the person up by document or phone for a new token")
        });
    }
    Ok(LookupKey { kind: opened.kind, digest_version: opened.digest_version, key: opened.key })
}

/// 503 where the register may not be asked for this purpose.
fn require_fresh(fresh: NodeFreshness, purpose: Purpose) -> Result<NodeFreshness, Problem> {
    match fresh.state {
        NodeState::Fresh => Ok(fresh),
        NodeState::Degraded if !purpose.needs_a_fresh_node() => Ok(fresh),
        NodeState::Degraded => Err(Problem::new(Code::Degraded, "registration and marketing need a fresh register")),
        NodeState::Loading => Err(Problem::new(Code::NotReady, "the register is loading")),
        NodeState::Stale => Err(Problem::new(Code::NotReady, "the register is older than 15 minutes")),
    }
}

fn exclusion(verdict: &Verdict, risk: bool) -> ExclusionPart {
    let second = |s: u32| (s != 0).then(|| Ts(i64::from(s) * models::ts::SECOND));
    ExclusionPart {
        effective_at: verdict.informative.and_then(|i| second(i.effective_second)),
        ends_at: second(verdict.lapse_second).filter(|_| risk),
        period: verdict.informative.and_then(|i| Period::from_code(i.period_code)).filter(|_| risk).map(Period::as_str),
    }
}

/// `lkp_` and the 26 digits of base32 (Crockford, lower case) that other ids have too.
fn lookup_id(bits: u128) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut text = String::with_capacity(30);
    text.push_str("lkp_");
    text.extend((0..26).map(|i| char::from(DIGITS[(bits >> (5 * (25 - i))) as usize & 31])));
    text
}

fn respond(signing: &hmac::Key, answer: &LookupAnswer<'_>, request_body: &[u8]) -> HttpResponse {
    let mut body = Vec::with_capacity(ANSWER_BYTES);
    write_answer(&mut body, answer);
    let signature = sign(signing, answer.lookup_id, answer.as_of, request_body, &body);
    let mut response = HttpResponse::Ok();
    response.insert_header((actix_web::http::header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
    if let Ok(value) = HeaderValue::try_from(signature) {
        response.insert_header((X_MLINZI_SIGNATURE.clone(), value));
    }
    response.body(body)
}

/// `v1=` and base64 HMAC-SHA256 over lookup_id "." as_of "." hex(SHA-256(request body)) "." response body.
#[must_use]
pub fn sign(key: &hmac::Key, lookup_id: &str, as_of: Ts, request_body: &[u8], response_body: &[u8]) -> String {
    let mut hex = [0; 64];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(digest(&SHA256, request_body).as_ref()) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    let mut context = hmac::Context::with_key(key);
    for part in [lookup_id.as_bytes(), b".", &as_of.format_millis(), b".", &hex, b".", response_body] {
        context.update(part);
    }
    let mut text = String::with_capacity(48);
    text.push_str("v1=");
    STANDARD.encode_string(context.sign().as_ref(), &mut text);
    text
}

/// The JSON of an answer, as serde_json writes the same struct, without its detours.
fn write_answer(out: &mut Vec<u8>, answer: &LookupAnswer<'_>) {
    let flag = |b: bool| if b { "true" } else { "false" };
    let mut put = |text: &str| out.extend_from_slice(text.as_bytes());
    put("{\"decision\":\"");
    put(answer.decision);
    put("\",\"status\":\"");
    put(answer.status);
    put("\",\"excluded\":");
    put(flag(answer.excluded));
    put(",\"bst\":\"");
    put(answer.bst);
    put("\",\"risk_level\":");
    put_name(out, answer.risk_level);
    out.extend_from_slice(b",\"requires_screening\":");
    out.extend_from_slice(flag(answer.requires_screening).as_bytes());
    out.extend_from_slice(b",\"last_assessment\":");
    put_time(out, answer.last_assessment);
    out.extend_from_slice(b",\"exclusion\":");
    match answer.exclusion {
        None => out.extend_from_slice(b"null"),
        Some(part) => {
            out.extend_from_slice(b"{\"effective_at\":");
            put_time(out, part.effective_at);
            out.extend_from_slice(b",\"ends_at\":");
            put_time(out, part.ends_at);
            out.extend_from_slice(b",\"period\":");
            put_name(out, part.period);
            out.push(b'}');
        }
    }
    out.extend_from_slice(b",\"match\":{\"grade\":\"");
    out.extend_from_slice(answer.r#match.grade.as_bytes());
    out.extend_from_slice(b"\"},\"purpose\":\"");
    out.extend_from_slice(answer.purpose.as_bytes());
    out.extend_from_slice(b"\",\"as_of\":");
    put_time(out, Some(answer.as_of));
    out.extend_from_slice(b",\"valid_until\":");
    put_time(out, Some(answer.valid_until));
    out.extend_from_slice(b",\"register_version\":");
    put_number(out, answer.register_version);
    out.extend_from_slice(b",\"degraded\":");
    out.extend_from_slice(flag(answer.degraded).as_bytes());
    out.extend_from_slice(b",\"client_reference\":");
    match answer.client_reference {
        None => out.extend_from_slice(b"null"),
        // the only text of a caller in here: serde_json knows how to escape it; a Vec does not fail
        Some(text) => serde_json::to_writer(&mut *out, text).unwrap_or_default(),
    }
    out.extend_from_slice(b",\"lookup_id\":\"");
    out.extend_from_slice(answer.lookup_id.as_bytes());
    out.extend_from_slice(b"\"}");
}

/// A name of a closed set: never needs escaping.
fn put_name(out: &mut Vec<u8>, name: Option<&'static str>) {
    match name {
        None => out.extend_from_slice(b"null"),
        Some(name) => {
            out.push(b'"');
            out.extend_from_slice(name.as_bytes());
            out.push(b'"');
        }
    }
}

fn put_time(out: &mut Vec<u8>, at: Option<Ts>) {
    match at {
        None => out.extend_from_slice(b"null"),
        Some(at) => {
            out.push(b'"');
            out.extend_from_slice(&at.format_millis());
            out.push(b'"');
        }
    }
}

fn put_number(out: &mut Vec<u8>, number: i64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample<'a>(reference: Option<&'a str>, version: i64, exclusion: Option<ExclusionPart>) -> LookupAnswer<'a> {
        LookupAnswer {
            decision: "block",
            status: "excluded",
            excluded: true,
            bst: "BST-02-00000000000000000000000000000000-0000",
            risk_level: exclusion.map(|_| "unknown"),
            requires_screening: false,
            last_assessment: None,
            exclusion,
            r#match: MatchPart { grade: "exact" },
            purpose: "login",
            as_of: Ts(1_795_255_200_123_456),
            valid_until: Ts(1_795_255_200_123_456).plus(VALID_MICROS),
            register_version: version,
            degraded: version % 2 == 0,
            client_reference: reference,
            lookup_id: "lkp_00000000000000000000000000",
        }
    }

    #[test]
    fn the_writer_writes_what_serde_json_writes() {
        let part = ExclusionPart { effective_at: Some(Ts(1_000_000)), ends_at: None, period: Some("6_months") };
        let references = [None, Some(""), Some("plain"), Some("quote \" back \\ line \n nul \u{0} ä 你 \u{1f600}")];
        for reference in references {
            for version in [0, 7, -7, 10, 4711, i64::MAX, i64::MIN] {
                for exclusion in
                    [None, Some(part), Some(ExclusionPart { effective_at: None, ends_at: Some(Ts(0)), period: None })]
                {
                    let answer = sample(reference, version, exclusion);
                    let mut written = Vec::new();
                    write_answer(&mut written, &answer);
                    assert_eq!(String::from_utf8(written).unwrap(), serde_json::to_string(&answer).unwrap());
                }
            }
        }
    }

    /// Computed independently with Python's hmac: an answer must verify wherever it is checked.
    #[test]
    fn golden_signature() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
        let as_of = Ts::parse("2026-11-21T10:00:00.123Z").unwrap();
        let got =
            sign(&key, "lkp_00000000000000000000000001", as_of, br#"{"purpose":"login"}"#, br#"{"decision":"allow"}"#);
        assert_eq!(got, "v1=iOIRKWnQyOZ4b/B8kSrHuSNClg1W8Pm6Rtj1fGigNmM=");
    }

    #[test]
    fn every_part_is_signed() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
        let base = sign(&key, "a", Ts(0), b"q", b"r");
        let others = [
            sign(&hmac::Key::new(hmac::HMAC_SHA256, &[8; 32]), "a", Ts(0), b"q", b"r"),
            sign(&key, "b", Ts(0), b"q", b"r"),
            sign(&key, "a", Ts(1_000), b"q", b"r"),
            sign(&key, "a", Ts(0), b"q2", b"r"),
            sign(&key, "a", Ts(0), b"q", b"r2"),
        ];
        assert!(others.iter().all(|o| *o != base));
    }

    #[test]
    fn freshness_decides_who_is_answered() {
        let table = [
            (NodeState::Fresh, Purpose::Registration, None),
            (NodeState::Fresh, Purpose::Marketing, None),
            (NodeState::Degraded, Purpose::Login, None),
            (NodeState::Degraded, Purpose::Withdrawal, None),
            (NodeState::Degraded, Purpose::Registration, Some(Code::Degraded)),
            (NodeState::Degraded, Purpose::Marketing, Some(Code::Degraded)),
            (NodeState::Stale, Purpose::Login, Some(Code::NotReady)),
            (NodeState::Loading, Purpose::Withdrawal, Some(Code::NotReady)),
        ];
        for (state, purpose, refused) in table {
            let fresh = NodeFreshness { state, as_of: Ts(0), register_version: 1 };
            let got = require_fresh(fresh, purpose).err().map(|p| p.code);
            assert_eq!(got, refused, "{state:?} {}", purpose.as_str());
            assert!(got.is_none_or(|code| code.status() == 503));
        }
    }

    #[test]
    fn lookup_ids_are_prefixed_base32() {
        assert_eq!(lookup_id(0), "lkp_00000000000000000000000000");
        assert_eq!(lookup_id(u128::MAX), "lkp_7zzzzzzzzzzzzzzzzzzzzzzzzz");
        assert_eq!(lookup_id(33), "lkp_00000000000000000000000011");
    }
}
