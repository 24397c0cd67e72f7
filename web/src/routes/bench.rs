//! The floor the bench measures against: takes a body, answers as many bytes as a lookup does, does nothing else.
//!
//! As many bytes on the wire: what a lookup carries in further headers (request id, signature, cache control) is blank
//! space behind this body.

use actix_web::HttpResponse;
use bytes::Bytes;

/// As long as an ordinary answer.
const ANSWER: &str = concat!(
    r#"{"decision":"allow","status":"not_excluded","excluded":false,"bst":"BST-02-00000000000000000000000000000000-0000","#,
    r#""risk_level":null,"requires_screening":false,"last_assessment":null,"exclusion":null,"match":{"grade":"none"},"#,
    r#""purpose":"login","as_of":"2026-11-21T10:00:00.000Z","valid_until":"2026-11-21T10:15:00.000Z","register_version":4711,"#,
    r#""degraded":false,"client_reference":null,"lookup_id":"lkp_00000000000000000000000000"}"#,
    "                                                                                ",
    "                                                                     "
);

/// `POST /bench/bare`
pub async fn bare(_body: Bytes) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(ANSWER)
}
