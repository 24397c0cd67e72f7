//! A request's body, within the limit of its route and within a time: a body that trickles holds a connection.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
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
