//! The client, and what its errors mean.

use super::FetchError;
use crate::feeds::address::{PrivateAddress, PublicOnly, refuse_private_literal};
use reqwest::redirect::Policy;
use reqwest::{Client, Error};
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

/// Redirects that are followed, all on the same host.
const REDIRECTS_MAX: usize = 3;
/// How long a connection may take to come about.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Connections to a host that are kept for the next fetch, and for how long.
const IDLE_MAX: usize = 4;
const IDLE_FOR: Duration = Duration::from_secs(30);

thread_local! {
    /// One a thread, and not one a source: roots of trust are megabytes. And not one for all: what drives a connection lives
    /// on the thread that opened it, and a thread that hangs must not take other threads' sources with it.
    static CLIENTS: RefCell<[Option<Client>; 2]> = const { RefCell::new([None, None]) };
}

/// The client of this thread.
///
/// # Errors
/// [`FetchError::Settings`] where TLS cannot be set up.
pub fn shared(allow_private: bool) -> Result<Client, FetchError> {
    CLIENTS.with_borrow_mut(|clients| {
        let client = &mut clients[usize::from(allow_private)];
        if client.is_none() {
            *client = Some(new(allow_private).map_err(|_| FetchError::Settings("TLS cannot be set up".to_owned()))?);
        }
        client.clone().ok_or_else(|| FetchError::Settings("TLS cannot be set up".to_owned()))
    })
}

fn new(allow_private: bool) -> Result<Client, Error> {
    // the program has installed it; a test or a tool may not have
    let _ = rustls::crypto::ring::default_provider().install_default();
    let same_host = move |attempt: reqwest::redirect::Attempt<'_>| {
        let first = attempt.previous().first();
        let is_here = first.is_some_and(|first| first.origin() == attempt.url().origin());
        let is_fine = allow_private || refuse_private_literal(attempt.url()).is_ok();
        if is_here && is_fine && attempt.previous().len() <= REDIRECTS_MAX { attempt.follow() } else { attempt.stop() }
    };
    let builder = Client::builder()
        .user_agent(concat!("mlinzi/", env!("CARGO_PKG_VERSION")))
        // a proxy would resolve names in our place
        .no_proxy()
        .redirect(Policy::custom(same_host))
        .connect_timeout(CONNECT_MAX)
        .pool_max_idle_per_host(IDLE_MAX)
        .pool_idle_timeout(IDLE_FOR);
    let builder = if allow_private { builder } else { builder.dns_resolver(Arc::new(PublicOnly)) };
    builder.build()
}

/// What went wrong, in words that quote neither address nor answer.
pub fn explain(error: &Error) -> FetchError {
    let unreachable = |what: &str| FetchError::Unreachable(what.to_owned());
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(known) = cause {
        if known.is::<PrivateAddress>() {
            return FetchError::Settings(format!("url: {PrivateAddress}"));
        }
        cause = known.source();
    }
    if error.is_timeout() {
        FetchError::Timeout(CONNECT_MAX)
    } else if error.is_dns() {
        unreachable("its name leads nowhere")
    } else if error.is_connect() {
        unreachable("no connection")
    } else if error.is_body() || error.is_decode() {
        FetchError::Unreadable("the answer is cut off".to_owned())
    } else {
        unreachable("the connection broke")
    }
}
