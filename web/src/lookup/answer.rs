//! The answer: its shape, its JSON, its signature.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use models::ts::Ts;
use ring::digest::{SHA256, digest};
use ring::hmac;
use serde::Serialize;
use utoipa::ToSchema;

/// Bytes set aside for an answer.
pub const ANSWER_BYTES: usize = 640;

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
    /// `low`, `moderate` or `high` as the promoted model of player risk says, else `unknown`. Null without `risk:read`.
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

/// RFC 3339 texts of the last instants written: answers of the same second name the same `as_of`.
#[derive(Default)]
pub struct Times {
    known: [(Ts, [u8; 24]); 2],
}

impl Times {
    fn text(&mut self, at: Ts) -> [u8; 24] {
        if let Some((_, text)) = self.known.iter().find(|(known, text)| *known == at && text[0] != 0) {
            return *text;
        }
        let text = at.format_millis();
        self.known.swap(0, 1);
        self.known[0] = (at, text);
        text
    }
}

/// `v1=` and base64 HMAC-SHA256 over what the answer is named by (lookup_id, batch_id) "." as_of "." hex(SHA-256(request body)) "." response body.
#[must_use]
pub fn sign(key: &hmac::Key, named: &str, as_of: Ts, times: &mut Times, request: &[u8], response: &[u8]) -> String {
    let mut hex = [0; 64];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(digest(&SHA256, request).as_ref()) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    let mut context = hmac::Context::with_key(key);
    for part in [named.as_bytes(), b".", &times.text(as_of), b".", &hex, b".", response] {
        context.update(part);
    }
    let mut text = String::with_capacity(48);
    text.push_str("v1=");
    STANDARD.encode_string(context.sign().as_ref(), &mut text);
    text
}

/// The JSON of an answer, as serde_json writes the same struct, without its detours.
pub fn write_answer(out: &mut Vec<u8>, answer: &LookupAnswer<'_>, times: &mut Times) {
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
    put_time(out, times, answer.last_assessment);
    out.extend_from_slice(b",\"exclusion\":");
    match answer.exclusion {
        None => out.extend_from_slice(b"null"),
        Some(part) => {
            out.extend_from_slice(b"{\"effective_at\":");
            put_time(out, times, part.effective_at);
            out.extend_from_slice(b",\"ends_at\":");
            put_time(out, times, part.ends_at);
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
    put_time(out, times, Some(answer.as_of));
    out.extend_from_slice(b",\"valid_until\":");
    put_time(out, times, Some(answer.valid_until));
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

fn put_time(out: &mut Vec<u8>, times: &mut Times, at: Option<Ts>) {
    match at {
        None => out.extend_from_slice(b"null"),
        Some(at) => {
            out.push(b'"');
            out.extend_from_slice(&times.text(at));
            out.push(b'"');
        }
    }
}

/// A whole number in decimal digits.
pub(crate) fn put_number(out: &mut Vec<u8>, number: i64) {
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
            valid_until: Ts(1_795_255_200_123_456).plus(15 * models::ts::MINUTE),
            register_version: version,
            degraded: version % 2 == 0,
            client_reference: reference,
            lookup_id: "lkp_00000000000000000000000000",
        }
    }

    #[test]
    fn the_writer_writes_what_serde_json_writes() {
        let part = ExclusionPart { effective_at: Some(Ts(1_000_000)), ends_at: None, period: Some("6_months") };
        let mut times = Times::default();
        let references = [None, Some(""), Some("plain"), Some("quote \" back \\ line \n nul \u{0} ä 你 \u{1f600}")];
        for reference in references {
            for version in [0, 7, -7, 10, 4711, i64::MAX, i64::MIN] {
                for exclusion in
                    [None, Some(part), Some(ExclusionPart { effective_at: None, ends_at: Some(Ts(0)), period: None })]
                {
                    let answer = sample(reference, version, exclusion);
                    let mut written = Vec::new();
                    write_answer(&mut written, &answer, &mut times);
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
        let got = sign(
            &key,
            "lkp_00000000000000000000000001",
            as_of,
            &mut Times::default(),
            br#"{"purpose":"login"}"#,
            br#"{"decision":"allow"}"#,
        );
        assert_eq!(got, "v1=iOIRKWnQyOZ4b/B8kSrHuSNClg1W8Pm6Rtj1fGigNmM=");
    }

    #[test]
    fn every_part_is_signed() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
        let other = hmac::Key::new(hmac::HMAC_SHA256, &[8; 32]);
        let mut times = Times::default();
        let mut signed = |key, id, at, request, response| sign(key, id, Ts(at), &mut times, request, response);
        let base = signed(&key, "a", 0, b"q", b"r");
        let others = [
            signed(&other, "a", 0, b"q", b"r"),
            signed(&key, "b", 0, b"q", b"r"),
            signed(&key, "a", 1_000, b"q", b"r"),
            signed(&key, "a", 0, b"p", b"r"),
            signed(&key, "a", 0, b"q", b"s"),
        ];
        assert!(others.iter().all(|o| *o != base));
    }

    #[test]
    fn remembered_times_are_the_right_ones() {
        let mut times = Times::default();
        for at in [0, 0, 1_000, 5_000_000, 1_000, 0, 7_000_000, 5_000_000] {
            assert_eq!(times.text(Ts(at)), Ts(at).format_millis());
        }
    }
}
