//! A request's body, within the limit of its route and within a time: a body that trickles holds a connection.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::HeaderMap;
use actix_web::http::{StatusCode, header};
use actix_web::{FromRequest, HttpRequest, ResponseError};
use bytes::{Bytes, BytesMut};
use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, Stream, StreamExt, poll};
use tokio::time::timeout;

use crate::problem::{Code, Problem};

/// Time for a whole body to arrive.
pub const BODY_MAX: Duration = Duration::from_secs(20);

/// The bytes of the body.
pub struct Body(pub Bytes);

impl FromRequest for Body {
    type Error = actix_web::Error;
    type Future = LocalBoxFuture<'static, Result<Self, actix_web::Error>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let read = Bytes::from_request(req, payload);
        async {
            match timeout(BODY_MAX, read).await {
                Ok(body) => body.map(Self),
                Err(_) => Err(Problem::new(Code::RequestTimeout, "the body did not arrive in 20 s").into()),
            }
        }
        .boxed_local()
    }
}

/// Reads a whole body of at most `limit` bytes. One that has arrived already, as nearly every one has, costs no timer.
///
/// # Errors
/// 400, 408, 413 or 415.
pub(crate) async fn read(headers: &HeaderMap, payload: Payload, limit: usize) -> Result<Bytes, Problem> {
    let too_large = || Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE);
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    // a few bytes may become many before anybody can count them
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Problem::new(Code::UnsupportedMediaType, "the body must not be compressed"));
    }
    let gathered = gather(payload, limit);
    let mut gathered = pin!(gathered);
    let read = match poll!(gathered.as_mut()) {
        Poll::Ready(read) => read,
        Poll::Pending => match timeout(BODY_MAX, gathered).await {
            Ok(read) => read,
            Err(_) => return Err(Problem::new(Code::RequestTimeout, "the body did not arrive in 20 s")),
        },
    };
    read.map_err(|error| Problem::of_status(error.status_code()))
}

async fn gather(
    mut payload: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
    limit: usize,
) -> Result<Bytes, PayloadError> {
    let Some(first) = payload.next().await else { return Ok(Bytes::new()) };
    let first = first?;
    if first.len() > limit {
        return Err(PayloadError::Overflow);
    }
    let mut more: Option<BytesMut> = None;
    let mut length = first.len();
    while length <= limit {
        let Some(next) = payload.next().await else {
            return Ok(more.map_or(first, BytesMut::freeze));
        };
        let next = next?;
        length += next.len();
        more.get_or_insert_with(|| BytesMut::from(&first[..])).extend_from_slice(&next);
    }
    Err(PayloadError::Overflow)
}
