//! The client of the channels that speak HTTP: no redirect, no proxy, no address that is not public unless allowed, nothing
//! read of an answer but its head.

use super::address::{NotPublic, is_public, resolve};
use super::{Context, SendError, TIMEOUT};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Url};
use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// What of an error is told at most, characters.
const WHY_CHARS_MAX: usize = 160;

struct Guarded {
    allow_private: bool,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = resolve(name.as_str(), 0, allow_private).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// A client for one channel.
pub fn client(context: &Context) -> Result<Client, String> {
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(TIMEOUT)
        .connect_timeout(CONNECT)
        .user_agent(concat!("mlinzi/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Guarded { allow_private: context.allow_private })
        .build()
        .map_err(|e| format!("kind: no client: {e}"))
}

/// An address that a channel may speak to; `what` is the setting's name. The answer never repeats it.
pub fn url(what: &str, text: &str, context: &Context) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|_| format!("{what}: not an address"))?;
    let host = url.host_str().unwrap_or_default();
    let literal: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    match url.scheme() {
        "https" => {}
        "http" if context.allow_private => {}
        "http" => return Err(format!("{what}: without TLS, and allow_private is not set")),
        _ => return Err(format!("{what}: neither https nor http")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("{what}: an address has no user and no password"));
    }
    if !context.allow_private && literal.is_some_and(|address| !is_public(address)) {
        return Err(format!("{what}: {NotPublic}"));
    }
    Ok(url)
}

/// Sends; what counts of the answer is its status.
pub async fn send(request: RequestBuilder) -> Result<(), SendError> {
    match request.send().await {
        Ok(answer) => judge(answer.status().as_u16(), retry_after(answer.headers())),
        Err(error) if error.is_timeout() => Err(SendError::retry("no answer in time")),
        Err(error) => Err(SendError::retry(innermost(&error))),
    }
}

/// What a status means for the sender. Only what blames the message itself is final: an address or a credential can be
/// put right while it is tried again.
fn judge(status: u16, after: Option<Duration>) -> Result<(), SendError> {
    let why = format!("answered {status}");
    match status {
        200..=299 => Ok(()),
        400 | 410 | 413 | 415 | 422 => Err(SendError::Refused { why }),
        _ => Err(SendError::Retry { why, after }),
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The deepest cause: the outer ones repeat the address, which may be a secret.
pub fn innermost(error: &dyn Error) -> String {
    let (mut deepest, mut next) = (None, error.source());
    while let Some(cause) = next {
        deepest = Some(cause);
        next = cause.source();
    }
    let text = deepest.map_or_else(|| "the request failed".to_owned(), ToString::to_string);
    text.chars().filter(|c| !c.is_control()).take(WHY_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn context(allow_private: bool) -> Context {
        Context { allow_private, jurisdictions: Arc::new([]) }
    }

    #[test]
    fn addresses_that_may_be_spoken_to() {
        let table = [
            ("https://hooks.example/x", true, true),
            ("http://hooks.example/x", false, true),
            ("https://127.0.0.1:8443/x", false, true),
            ("https://[::1]/x", false, true),
            ("https://[::ffff:10.0.0.1]/x", false, true),
            ("https://2130706433/x", false, true),
            ("https://1.1.1.1/x", true, true),
            ("https://user:secret@hooks.example/x", false, false),
            ("ftp://hooks.example/x", false, false),
            ("hooks.example", false, false),
        ];
        for (text, public_only, private_too) in table {
            assert_eq!(url("url", text, &context(false)).is_ok(), public_only, "{text}");
            assert_eq!(url("url", text, &context(true)).is_ok(), private_too, "{text}");
            let said = url("url", text, &context(false)).err().unwrap_or_default();
            assert!(!said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn only_what_blames_the_message_is_final() {
        let final_ones: Vec<u16> =
            (200..600).filter(|s| matches!(judge(*s, None), Err(SendError::Refused { .. }))).collect();
        assert_eq!(final_ones, [400, 410, 413, 415, 422]);
        assert_eq!((200..600).filter(|s| judge(*s, None).is_ok()).count(), 100);
        let waits = judge(429, Some(Duration::from_secs(7)));
        assert_eq!(
            waits,
            Err(SendError::Retry { why: "answered 429".to_owned(), after: Some(Duration::from_secs(7)) })
        );
    }
}
