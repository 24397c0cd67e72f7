//! An address that is asked by schedule: conditional requests, pages, limits.
//!
//! ```text
//! cursor: { after | next, page, etag, modified } ─▶ GET ─▶ 304: nothing new
//!                                                     ├▶ 200: records; a next page is due at once, else the run is over
//!                                                     └▶ anything else: an error that says what, never what was in it
//! ```

mod client;
mod page;
#[cfg(test)]
mod tests;

use super::{CURSOR_BYTES_MAX, Cursor, FETCH_BYTES_MAX, FeedsConfig, FetchError, Fetched, Format, Reader};
use crate::kernel::Progress;
use bytes::{Bytes, BytesMut};
use flate2::read::GzDecoder;
use futures_util::future::LocalBoxFuture;
use models::feed::{HttpPollSettings, Paging, ReaderFormat};
use page::Next;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, StatusCode, Url};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::time::Duration;

/// Bytes of an ETag or a date that is kept at most; without it the whole answer comes again.
const VALIDATOR_BYTES_MAX: usize = 512;
/// How long a peer that asks for patience in a way that cannot be read is left alone.
const WAIT_DEFAULT: Duration = Duration::from_secs(60);

/// The reader of an address.
///
/// # Errors
/// [`FetchError::Settings`]
pub fn reader(settings: &HttpPollSettings, config: &FeedsConfig) -> Result<Box<dyn Reader>, FetchError> {
    let url = Url::parse(&settings.url).map_err(|_| FetchError::Settings("url: not an address".to_owned()))?;
    if !config.allow_private_addresses {
        super::address::refuse_private_literal(&url)?;
    }
    if let Some(name) = settings.headers.values().find(|name| !config.credentials.has(name)) {
        return Err(FetchError::Settings(format!("credential {name}: not in the configuration")));
    }
    Ok(Box::new(HttpPoll { url, settings: settings.clone(), config: config.clone() }))
}

/// Whether the next page of a run is to follow.
pub fn is_under_way(cursor: &str) -> bool {
    serde_json::from_str::<Position>(cursor).is_ok_and(|position| position.page > 0)
}

struct HttpPoll {
    url: Url,
    settings: HttpPollSettings,
    config: FeedsConfig,
}

/// The cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    /// Value of the cursor parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    /// Address of the next page of a run under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Pages of the run so far.
    #[serde(default)]
    page: u32,
    /// Of the last answer, where the next request is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    /// The same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
}

impl Position {
    fn read(cursor: Option<&Cursor>) -> Result<Self, FetchError> {
        let Some(Cursor(text)) = cursor else { return Ok(Self::default()) };
        serde_json::from_str(text).map_err(|_| FetchError::Lost("the cursor is not one of this reader's".to_owned()))
    }
}

impl Reader for HttpPoll {
    fn fetch<'a>(
        &'a mut self,
        cursor: Option<&'a Cursor>,
        progress: &'a Progress,
    ) -> LocalBoxFuture<'a, Result<Fetched, FetchError>> {
        Box::pin(async move {
            let patience = Duration::from_secs(self.settings.timeout_seconds.into());
            let page = tokio::time::timeout(patience, self.page(cursor, progress)).await;
            page.unwrap_or(Err(FetchError::Timeout(patience)))
        })
    }
}

impl HttpPoll {
    async fn page(&self, cursor: Option<&Cursor>, progress: &Progress) -> Result<Fetched, FetchError> {
        let before = Position::read(cursor)?;
        let url = self.address(&before)?;
        let request =
            client::shared(self.config.allow_private_addresses)?.get(url.clone()).headers(self.headers(&before)?);
        let answer = request.send().await.map_err(|error| client::explain(&error))?;
        let format = Format::from(self.settings.format);
        let nothing = |cursor| Fetched { body: Bytes::new(), format, cursor, more: false };
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED => return Ok(nothing(None)),
            StatusCode::NO_CONTENT => {
                return Ok(nothing(moved(&before, &Position { page: 0, next: None, ..before.clone() })?));
            }
            status => return Err(refusal(status, answer.headers())),
        }
        let head = answer.headers().clone();
        let body = unpack(&head, download(answer, progress).await?).await?;
        progress.beat();
        let (body, next) = self.open(&url, &head, body)?;
        let (after, more) = self.behind(&before, next, !page::is_empty(&body), &head)?;
        Ok(Fetched { body, format, cursor: moved(&before, &after)?, more })
    }

    fn address(&self, position: &Position) -> Result<Url, FetchError> {
        if let Some(next) = &position.next {
            let next = Url::parse(next).map_err(|_| FetchError::Lost("the next page's address".to_owned()))?;
            return if next.origin() == self.url.origin() { Ok(next) } else { Err(elsewhere()) };
        }
        let mut url = self.url.clone();
        if let (Some(name), Some(after)) = (&self.settings.cursor_parameter, &position.after) {
            url.query_pairs_mut().append_pair(name, after);
        }
        Ok(url)
    }

    fn headers(&self, position: &Position) -> Result<HeaderMap, FetchError> {
        let wrong = |what: &str| FetchError::Settings(format!("header {what}: cannot be sent"));
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(
            header::ACCEPT,
            HeaderValue::from_static(match self.settings.format {
                ReaderFormat::Ndjson => "application/x-ndjson, application/json;q=0.9",
                ReaderFormat::Json => "application/json",
                ReaderFormat::Csv => "text/csv",
            }),
        );
        let validators = [(header::IF_NONE_MATCH, &position.etag), (header::IF_MODIFIED_SINCE, &position.modified)];
        for (name, value) in validators {
            // one that cannot be sent back is as good as none
            if let Some(value) = value.as_ref().and_then(|text| HeaderValue::from_str(text).ok()) {
                headers.insert(name, value);
            }
        }
        for (name, credential) in &self.settings.headers {
            let value = self.config.credentials.value(credential)?;
            let mut value = HeaderValue::from_str(&value).map_err(|_| wrong(name))?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong(name))?, value);
        }
        Ok(headers)
    }

    /// The records of an answer, and where the next page is.
    fn open(&self, url: &Url, head: &HeaderMap, body: Bytes) -> Result<(Bytes, Option<Next>), FetchError> {
        let (records, next) = match self.settings.format {
            ReaderFormat::Csv => (body, None),
            ReaderFormat::Ndjson => (page::ndjson(body)?, None),
            ReaderFormat::Json => page::json(&body, self.settings.items.as_deref(), &self.settings.paging)?,
        };
        let next = match self.settings.paging {
            Paging::None => None,
            Paging::LinkHeader => page::link(head).map(Next::Address),
            Paging::NextField { .. } if self.settings.cursor_parameter.is_some() => next.map(Next::Value),
            Paging::NextField { .. } => next.map(Next::Address),
        };
        let next = match next {
            Some(Next::Address(text)) => {
                let joined =
                    url.join(&text).map_err(|_| FetchError::Unreadable("the next page's address".to_owned()))?;
                if joined.origin() != self.url.origin() {
                    return Err(elsewhere());
                }
                Some(Next::Address(joined.into()))
            }
            other => other,
        };
        Ok((records, next))
    }

    /// Where the source stands behind a page, and whether more is there now.
    fn behind(
        &self,
        before: &Position,
        next: Option<Next>,
        brought: bool,
        head: &HeaderMap,
    ) -> Result<(Position, bool), FetchError> {
        let page = before.page.saturating_add(1);
        let is_last = page >= self.settings.pages_max;
        let goes_on = |position: Position| {
            // what is behind as many pages waits for the schedule's next time
            let page = if is_last { 0 } else { page };
            (Position { page, ..position }, !is_last)
        };
        let kept = |name| {
            let text = head.get(name)?.to_str().ok()?;
            (text.len() <= VALIDATOR_BYTES_MAX).then(|| text.to_owned())
        };
        let over = |after| Position {
            after,
            etag: kept(header::ETAG),
            modified: kept(header::LAST_MODIFIED),
            ..Position::default()
        };
        Ok(match next {
            Some(Next::Address(address)) if before.next.as_ref() == Some(&address) => {
                return Err(FetchError::Unreadable("a page that names itself as the next".to_owned()));
            }
            Some(Next::Address(address)) => goes_on(Position { next: Some(address), ..Position::default() }),
            // the end of many interfaces: a cursor that is always there, and nothing behind it
            Some(Next::Value(value)) if before.after.as_ref() != Some(&value) && brought => {
                goes_on(Position { after: Some(value), ..Position::default() })
            }
            Some(Next::Value(value)) if before.after.as_ref() != Some(&value) => {
                (Position { after: Some(value), ..Position::default() }, false)
            }
            Some(Next::Value(_)) => (over(before.after.clone()), false),
            None if self.settings.cursor_parameter.is_some() => (over(before.after.clone()), false),
            // the first of many pages is asked for again: that it is as it was says nothing of the others
            None if before.next.is_some() => (Position::default(), false),
            None => (over(None), false),
        })
    }
}

/// The cursor, where it moved.
fn moved(before: &Position, after: &Position) -> Result<Option<Cursor>, FetchError> {
    if before == after {
        return Ok(None);
    }
    let text = serde_json::to_string(after).map_err(|_| FetchError::Unreadable("its cursor".to_owned()))?;
    if text.len() > CURSOR_BYTES_MAX {
        return Err(FetchError::Unreadable("a cursor that is too long".to_owned()));
    }
    Ok(Some(Cursor(text)))
}

fn elsewhere() -> FetchError {
    FetchError::Refused("it leads to another host".to_owned())
}

fn refusal(status: StatusCode, head: &HeaderMap) -> FetchError {
    if status.is_redirection() {
        return elsewhere();
    }
    let patience = head.get(header::RETRY_AFTER).map(|value| {
        let text = value.to_str().unwrap_or_default().trim();
        let until = || {
            // against its own clock: ours may be another one
            let date = |text: &str| Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp());
            let now = date(head.get(header::DATE)?.to_str().ok()?)?;
            Some(u64::try_from(date(text)?.duration_since(now).as_secs()).unwrap_or(0))
        };
        text.parse().ok().or_else(until).map_or(WAIT_DEFAULT, Duration::from_secs)
    });
    let is_patience = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    match patience.filter(|_| is_patience) {
        Some(wait) => FetchError::Wait(wait),
        None => FetchError::Refused(format!("status {}", status.as_u16())),
    }
}

/// The body as it is sent, at most [`FETCH_BYTES_MAX`].
async fn download(mut answer: Response, progress: &Progress) -> Result<Bytes, FetchError> {
    let announced = answer.content_length().unwrap_or(0);
    if announced > FETCH_BYTES_MAX as u64 {
        return Err(FetchError::TooLarge);
    }
    let mut body = BytesMut::with_capacity(usize::try_from(announced).unwrap_or(0));
    while let Some(chunk) = answer.chunk().await.map_err(|error| client::explain(&error))? {
        if body.len() + chunk.len() > FETCH_BYTES_MAX {
            return Err(FetchError::TooLarge);
        }
        body.extend_from_slice(&chunk);
        progress.beat();
    }
    Ok(body.freeze())
}

/// The body as it was meant.
async fn unpack(head: &HeaderMap, body: Bytes) -> Result<Bytes, FetchError> {
    let encoding = head.get(header::CONTENT_ENCODING).map_or("", |value| value.to_str().unwrap_or("?"));
    match encoding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(body),
        "gzip" | "x-gzip" => {
            // a large one takes its time, and other sources live on this thread
            let unpacked = tokio::task::spawn_blocking(move || gunzip(&body)).await;
            unpacked.unwrap_or_else(|_| Err(FetchError::Unreadable("not decompressed".to_owned())))
        }
        _ => Err(FetchError::Unreadable("an encoding that was not asked for".to_owned())),
    }
}

fn gunzip(packed: &[u8]) -> Result<Bytes, FetchError> {
    let mut body = Vec::new();
    let read = GzDecoder::new(packed).take(FETCH_BYTES_MAX as u64 + 1).read_to_end(&mut body);
    read.map_err(|_| FetchError::Unreadable("not decompressed: cut off, or no gzip".to_owned()))?;
    if body.len() > FETCH_BYTES_MAX { Err(FetchError::TooLarge) } else { Ok(body.into()) }
}
