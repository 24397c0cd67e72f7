//! RFC 9457 problems: the one place where errors become statuses and bodies.
//!
//! A handler returns a [`Problem`]; the middleware in [`crate::request_id`] writes it, because only there the
//! request id is known. What actix itself refuses (an unknown path, a body that is too large) takes the same way,
//! so a client meets one shape of error. No value of a request is ever part of it.

use std::borrow::Cow;
use std::fmt;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use actors::api::EngineError;
use models::token::TokenError;
use serde::Serialize;
use utoipa::ToSchema;

/// Media type of every error body.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Most field errors in one body; more are counted in the last one.
pub const FIELD_ERRORS_MAX: usize = 50;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $title:literal;)+) => {
        /// What went wrong, as a closed set: clients match on `type`, never on texts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code { $($(#[$doc])* $name),+ }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Stable name, the end of the URN.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code),+ }
            }

            /// Stable `type` of the problem.
            #[must_use]
            pub const fn urn(self) -> &'static str {
                match self { $(Self::$name => concat!("urn:mlinzi:problem:", $code)),+ }
            }

            /// Status, as a number.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status),+ }
            }

            /// Sentence for people; the same for every occurrence.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title),+ }
            }
        }
    };
}

codes! {
    /// Not JSON, or a field of a wrong JSON type.
    Unreadable = "unreadable", 400, "the request cannot be read";
    /// No credential, or none that is valid.
    Unauthenticated = "unauthenticated", 401, "a valid credential is needed";
    /// The credential does not reach as far.
    Forbidden = "forbidden", 403, "the credential does not allow this";
    /// The caller's network is not on the key's list.
    AddressNotAllowed = "address_not_allowed", 403, "the key may not be used from this address";
    /// The operator is suspended or closed.
    OperatorNotActive = "operator_not_active", 403, "the operator is not active";
    /// The key is not for this purpose.
    PurposeNotAllowed = "purpose_not_allowed", 403, "the key may not look up for this purpose";
    /// No such path or thing.
    NotFound = "not_found", 404, "there is nothing here";
    /// The path exists, the method does not.
    MethodNotAllowed = "method_not_allowed", 405, "the method is not allowed here";
    /// The body did not arrive in time.
    RequestTimeout = "request_timeout", 408, "the request took too long to arrive";
    /// It contradicts what is there.
    Conflict = "conflict", 409, "the request contradicts the present state";
    /// A push that does not follow from the one before.
    TamperToken = "tamper_token", 409, "the tamper token does not follow";
    /// A token of a version or generation that is no longer live.
    TokenNotLive = "token_not_live", 410, "the token is no longer live";
    /// It was there and is not any more.
    Gone = "gone", 410, "it is not there any more";
    /// `If-Match` names another version.
    Stale = "stale", 412, "the resource has changed";
    /// The body is over the limit of its route.
    TooLarge = "too_large", 413, "the request is too large";
    /// The body is of a type that is not taken.
    UnsupportedMediaType = "unsupported_media_type", 415, "the media type is not supported";
    /// Readable, but a field is wrong; `errors` says which.
    Invalid = "invalid", 422, "the request is invalid";
    /// Too many requests of one key, or failures of one address.
    RateLimited = "rate_limited", 429, "too many requests";
    /// A defect of the server.
    Internal = "internal", 500, "the server failed";
    /// The register is loading or too old to be asked.
    NotReady = "not_ready", 503, "the register cannot be asked now";
    /// The register is too old for a registration or a campaign.
    Degraded = "degraded", 503, "the register is too old for this purpose";
    /// The database or an actor does not answer.
    Unavailable = "unavailable", 503, "not available now";
    /// A queue is full.
    Overloaded = "overloaded", 503, "overloaded";
}

/// One wrong field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) of the field.
    #[schema(value_type = String, example = "/phone")]
    pub pointer: Cow<'static, str>,
    /// What is wrong with it; never its value.
    #[schema(value_type = String)]
    pub detail: Cow<'static, str>,
}

/// An error on its way to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind.
    pub code: Code,
    /// What happened this time, without the caller's values.
    pub detail: Cow<'static, str>,
    /// Wrong fields.
    pub errors: Vec<FieldError>,
    /// Seconds after which it is worth to try again.
    pub retry_after_seconds: Option<u32>,
}

/// What a client reads (RFC 9457, with `request_id` and `errors`).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// `urn:mlinzi:problem:<code>`
    pub r#type: &'a str,
    /// The same for every occurrence of a type.
    pub title: &'a str,
    /// HTTP status.
    pub status: u16,
    /// This occurrence.
    pub detail: &'a str,
    /// Names the occurrence as it stands in the logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<&'a str>,
    /// `X-Request-Id` of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<&'a str>,
    /// Wrong fields, where the request is invalid.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    pub errors: &'a [FieldError],
}

impl Problem {
    /// A problem without fields.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let retry_after_seconds = (code.status() == 503).then_some(1);
        Self { code, detail: detail.into(), errors: Vec::new(), retry_after_seconds }
    }

    /// One wrong field: 422.
    pub fn field(pointer: impl Into<Cow<'static, str>>, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::fields(vec![FieldError { pointer: pointer.into(), detail: detail.into() }])
    }

    /// Wrong fields: 422. At most [`FIELD_ERRORS_MAX`] are told.
    #[must_use]
    pub fn fields(mut errors: Vec<FieldError>) -> Self {
        if errors.len() > FIELD_ERRORS_MAX {
            let more = errors.len() - FIELD_ERRORS_MAX + 1;
            errors.truncate(FIELD_ERRORS_MAX - 1);
            errors.push(FieldError { pointer: "".into(), detail: format!("and {more} more").into() });
        }
        let detail: Cow<'static, str> = match errors.len() {
            1 => "one field is wrong".into(),
            n => format!("{n} fields are wrong").into(),
        };
        Self { errors, ..Self::new(Code::Invalid, detail) }
    }

    /// No such thing, or not visible to this credential: nobody learns which.
    #[must_use]
    pub fn not_found(what: &'static str) -> Self {
        Self::new(Code::NotFound, format!("no such {what}"))
    }

    /// Too many; try again after so many seconds (at least one).
    #[must_use]
    pub fn rate_limited(detail: &'static str, retry_after_seconds: u32) -> Self {
        Self { retry_after_seconds: Some(retry_after_seconds.max(1)), ..Self::new(Code::RateLimited, detail) }
    }

    /// What a status means that actix chose by itself.
    #[must_use]
    pub fn of_status(status: StatusCode) -> Self {
        let (code, detail) = match status.as_u16() {
            401 => (Code::Unauthenticated, "no valid credential"),
            403 => (Code::Forbidden, "not allowed"),
            404 => (Code::NotFound, "no such path"),
            405 => (Code::MethodNotAllowed, "the header allow names the methods"),
            408 => (Code::RequestTimeout, "the request did not arrive in time"),
            413 => (Code::TooLarge, "the body is over the limit of this route"),
            415 => (Code::UnsupportedMediaType, "the body must be json"),
            422 => (Code::Invalid, "the request is invalid"),
            503 => (Code::Unavailable, "not available now"),
            400..=499 => (Code::Unreadable, "the request cannot be read"),
            _ => (Code::Internal, "the failure is in the logs under the request id"),
        };
        Self::new(code, detail)
    }

    /// Body of the answer.
    #[must_use]
    pub fn body(&self, instance: Option<&str>, request_id: Option<&str>) -> Vec<u8> {
        let body = ProblemBody {
            r#type: self.code.urn(),
            title: self.code.title(),
            status: self.code.status(),
            detail: &self.detail,
            instance,
            request_id,
            errors: &self.errors,
        };
        // a struct of strings and a number always serialises
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut builder = HttpResponse::build(self.status_code());
        builder.insert_header((header::CONTENT_TYPE, PROBLEM_JSON));
        if let Some(seconds) = self.retry_after_seconds {
            builder.insert_header((header::RETRY_AFTER, seconds));
        }
        if self.code == Code::Unauthenticated {
            builder.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"mlinzi\""));
        }
        builder.body(self.body(None, None))
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Unavailable(what) => Self::new(Code::Unavailable, what),
            EngineError::Overloaded(what) => Self::new(Code::Overloaded, what),
            EngineError::NotFound(what) => Self::not_found(what),
            EngineError::Conflict(detail) => Self::new(Code::Conflict, detail),
            EngineError::Invalid { pointer, detail } => Self::field(pointer, detail),
            EngineError::Gone(what) => Self::new(Code::Gone, what),
            EngineError::Forbidden(why) => Self::new(Code::Forbidden, why),
            EngineError::Stale => Self::new(Code::Stale, "if-match names another version"),
            EngineError::Tampered => Self::new(Code::TamperToken, EngineError::Tampered.to_string()),
        }
    }
}

impl From<store::StoreError> for Problem {
    fn from(error: store::StoreError) -> Self {
        // the text is for the logs: it may name tables, and nobody outside needs it
        tracing::warn!(%error, "a read of the store failed");
        Self::new(Code::Unavailable, "the store does not answer")
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        Self::field("/bst", error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_error_has_its_status() {
        let table = [
            (EngineError::Unavailable("the store"), 503, "unavailable", Some(1)),
            (EngineError::Overloaded("the writer"), 503, "overloaded", Some(1)),
            (EngineError::NotFound("operator"), 404, "not_found", None),
            (EngineError::Conflict("the code is taken".into()), 409, "conflict", None),
            (EngineError::Invalid { pointer: "/period", detail: "unknown".into() }, 422, "invalid", None),
            (EngineError::Forbidden("this key proposed it"), 403, "forbidden", None),
            (EngineError::Stale, 412, "stale", None),
            (EngineError::Gone("the month"), 410, "gone", None),
            (EngineError::Tampered, 409, "tamper_token", None),
        ];
        for (error, status, code, retry) in table {
            let problem = Problem::from(error);
            let response = problem.error_response();
            assert_eq!(response.status().as_u16(), status, "{code}");
            assert_eq!(problem.code.as_str(), code);
            assert_eq!(response.headers().get(header::CONTENT_TYPE).unwrap(), PROBLEM_JSON);
            let retry_after = response.headers().get(header::RETRY_AFTER).map(|v| v.to_str().unwrap().to_owned());
            assert_eq!(retry_after, retry.map(|s: u32| s.to_string()), "{code}");
        }
    }

    #[test]
    fn a_status_chosen_by_actix_keeps_its_number() {
        for status in [400u16, 401, 403, 404, 405, 408, 413, 415, 422, 500, 503] {
            let problem = Problem::of_status(StatusCode::from_u16(status).unwrap());
            assert_eq!(problem.code.status(), status);
        }
        assert_eq!(Problem::of_status(StatusCode::from_u16(418).unwrap()).code, Code::Unreadable);
        assert_eq!(Problem::of_status(StatusCode::BAD_GATEWAY).code, Code::Internal);
    }

    #[test]
    fn urns_are_stable_and_distinct() {
        let mut urns: Vec<&str> = Code::ALL.iter().map(|c| c.urn()).collect();
        for (code, urn) in Code::ALL.iter().zip(&urns) {
            assert_eq!(*urn, format!("urn:mlinzi:problem:{}", code.as_str()));
            assert!(StatusCode::from_u16(code.status()).unwrap().as_u16() >= 400);
        }
        urns.sort_unstable();
        urns.dedup();
        assert_eq!(urns.len(), Code::ALL.len());
    }

    #[test]
    fn the_body_is_the_contract() {
        let problem = Problem::field("/phone", "phone number is empty");
        let body: serde_json::Value =
            serde_json::from_slice(&problem.body(Some("urn:mlinzi:request:1"), Some("1"))).unwrap();
        let expected = serde_json::json!({
            "type": "urn:mlinzi:problem:invalid", "title": "the request is invalid", "status": 422,
            "detail": "one field is wrong", "instance": "urn:mlinzi:request:1", "request_id": "1",
            "errors": [{"pointer": "/phone", "detail": "phone number is empty"}],
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn field_errors_are_bounded() {
        let errors = (0..500).map(|i| FieldError { pointer: format!("/{i}").into(), detail: "wrong".into() }).collect();
        let problem = Problem::fields(errors);
        assert_eq!(problem.errors.len(), FIELD_ERRORS_MAX);
        assert_eq!(problem.errors[FIELD_ERRORS_MAX - 1].detail, "and 451 more");
    }
}
