//! Against a real server on the loopback.
#![allow(clippy::needless_pass_by_value)] // settings are written where they are used

use super::*;
use crate::feeds::{Credential, Credentials, reader};
use flate2::Compression;
use flate2::write::GzEncoder;
use models::feed::ReaderSettings;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use testkit::{Peer, Reply};

const NDJSON: &str = "{\"a\":1}\n{\"a\":2}\n";

fn config() -> FeedsConfig {
    FeedsConfig { allow_private_addresses: true, ..FeedsConfig::default() }
}

fn made(peer: &Peer, path: &str, fields: serde_json::Value, config: &FeedsConfig) -> Box<dyn Reader> {
    let mut settings = serde_json::json!({"kind": "http_poll", "url": peer.url(path)});
    settings.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let settings: ReaderSettings = serde_json::from_value(settings).unwrap();
    assert_eq!(settings.check(), []);
    reader(&settings, None, config).unwrap()
}

async fn fetch(reader: &mut Box<dyn Reader>, cursor: &mut Option<Cursor>) -> Result<(String, bool), FetchError> {
    let fetched = reader.fetch(cursor.as_ref(), &Progress::unwatched()).await?;
    if let Some(moved) = fetched.cursor {
        *cursor = Some(moved);
    }
    Ok((String::from_utf8(fetched.body.to_vec()).unwrap(), fetched.more))
}

/// What one request leads to.
async fn one(
    reply: impl Fn() -> Reply + Send + Sync + 'static,
    fields: serde_json::Value,
) -> Result<String, FetchError> {
    let peer = Peer::start(move |_| reply()).await;
    let mut reader = made(&peer, "/bets", fields, &config());
    fetch(&mut reader, &mut None).await.map(|(body, _)| body)
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(text).unwrap();
    packed.finish().unwrap()
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let peer = Peer::start(|asked| match asked.header("if-none-match") {
        Some("\"v1\"") => Reply::status(304),
        Some(_) => Reply::status(400),
        None => Reply::ok(NDJSON).with("ETag", "\"v1\"").with("Last-Modified", "Sat, 21 Nov 2026 10:00:00 GMT"),
    })
    .await;
    let (mut reader, mut cursor) = (made(&peer, "/bets?x=1", serde_json::json!({}), &config()), None);
    assert_eq!(fetch(&mut reader, &mut cursor).await.unwrap(), (NDJSON.to_owned(), false));
    let first = cursor.clone();
    assert_eq!(fetch(&mut reader, &mut cursor).await.unwrap(), (String::new(), false));
    assert_eq!(cursor, first, "nothing moved");
    let asked = peer.asked();
    assert_eq!(asked[0].path, "/bets?x=1");
    assert_eq!((asked[0].header("if-modified-since"), asked[0].header("accept-encoding")), (None, Some("gzip")));
    assert_eq!(asked[1].header("if-modified-since"), Some("Sat, 21 Nov 2026 10:00:00 GMT"));
}

#[tokio::test]
async fn pages_are_followed_by_their_links_and_a_run_begins_anew() {
    let peer = Peer::start(|asked| match asked.path.as_str() {
        "/bets" => Reply::ok("{\"p\":1}").with("Link", "</bets?page=2>; rel=\"next\"").with("ETag", "\"1\""),
        "/bets?page=2" => Reply::ok("{\"p\":2}").with("Link", "<?page=3>; rel=next"),
        _ => Reply::ok("{\"p\":3}").with("ETag", "\"3\""),
    })
    .await;
    let fields = serde_json::json!({"paging": {"by": "link_header"}});
    let (mut reader, mut cursor) = (made(&peer, "/bets", fields.clone(), &config()), None);
    for (body, more) in [("{\"p\":1}", true), ("{\"p\":2}", true), ("{\"p\":3}", false), ("{\"p\":1}", true)] {
        assert_eq!(fetch(&mut reader, &mut cursor).await.unwrap(), (body.to_owned(), more));
        // another reader goes on where this one stood
        reader = made(&peer, "/bets", fields.clone(), &config());
    }
    assert!(peer.asked().iter().all(|asked| asked.header("if-none-match").is_none()), "page 1 says nothing of page 3");
}

#[tokio::test]
async fn a_next_field_is_a_cursor_that_stays() {
    let peer = Peer::start(|asked| {
        let after = asked.path.split("after=").nth(1).unwrap_or("0");
        let items = match after {
            "0" => "[{\"n\":1},{\"n\":2}]",
            "a%26b" => "[{\"n\":3}]",
            _ => "[]",
        };
        let next = if after == "0" { "a&b" } else { "end" };
        Reply::ok(format!("{{\"items\":{items},\"next\":\"{next}\"}}"))
    })
    .await;
    let fields = serde_json::json!({"format": "json", "items": "/items", "paging": {"by": "next_field", "pointer": "/next"}, "cursor_parameter": "after"});
    let (mut reader, mut cursor) = (made(&peer, "/bets?x=1", fields, &config()), None);
    let expected = [("[{\"n\":1},{\"n\":2}]", true), ("[{\"n\":3}]", true), ("[]", false), ("[]", false)];
    for (body, more) in expected {
        assert_eq!(fetch(&mut reader, &mut cursor).await.unwrap(), (body.to_owned(), more));
    }
    let paths: Vec<String> = peer.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(paths, ["/bets?x=1", "/bets?x=1&after=a%26b", "/bets?x=1&after=end", "/bets?x=1&after=end"]);
}

#[tokio::test]
async fn a_run_has_so_many_pages_and_the_next_one_goes_on() {
    let served = AtomicU32::new(0);
    let peer = Peer::start(move |_| {
        let n = served.fetch_add(1, Ordering::Relaxed) + 1;
        Reply::ok(format!("{{\"p\":{n}}}")).with("Link", format!("</bets?page={}>; rel=next", n + 1))
    })
    .await;
    let fields = serde_json::json!({"paging": {"by": "link_header"}, "pages_max": 3});
    let (mut reader, mut cursor) = (made(&peer, "/bets", fields, &config()), None);
    for n in 1..=7 {
        let (body, more) = fetch(&mut reader, &mut cursor).await.unwrap();
        assert_eq!((body, more), (format!("{{\"p\":{n}}}"), n % 3 != 0));
    }
    assert_eq!(peer.asked()[6].path, "/bets?page=7");
}

#[tokio::test]
async fn a_page_that_names_itself_or_another_host_is_refused() {
    let link = |target: &'static str| move || Reply::ok(NDJSON).with("Link", format!("<{target}>; rel=next"));
    let fields = serde_json::json!({"paging": {"by": "link_header"}});
    let error = one(link("http://127.0.0.2:9/bets"), fields.clone()).await.unwrap_err();
    assert!(matches!(error, FetchError::Refused(_)), "{error}");
    let peer = Peer::start(move |_| link("/same")()).await;
    let (mut reader, mut cursor) = (made(&peer, "/bets", fields, &config()), None);
    fetch(&mut reader, &mut cursor).await.unwrap();
    assert!(matches!(fetch(&mut reader, &mut cursor).await, Err(FetchError::Unreadable(_))));
}

#[tokio::test]
async fn redirects_stay_on_their_host() {
    let peer = Peer::start(|asked| match asked.path.as_str() {
        "/bets" => Reply::status(302).with("Location", "/moved"),
        "/moved" => Reply::ok(NDJSON),
        "/loop" => Reply::status(302).with("Location", "/loop"),
        _ => Reply::status(302).with("Location", "http://127.0.0.2:9/"),
    })
    .await;
    let mut reader = made(&peer, "/bets", serde_json::json!({}), &config());
    assert_eq!(fetch(&mut reader, &mut None).await.unwrap().0, NDJSON);
    for path in ["/loop", "/away"] {
        let mut reader = made(&peer, path, serde_json::json!({}), &config());
        assert!(matches!(fetch(&mut reader, &mut None).await, Err(FetchError::Refused(_))), "{path}");
    }
}

#[tokio::test]
async fn packed_answers_are_unpacked_up_to_the_limit() {
    let packed = |bytes: Vec<u8>| move || Reply::ok(bytes.clone()).with("Content-Encoding", "gzip");
    let none = serde_json::json!({});
    assert_eq!(one(packed(gzip(NDJSON.as_bytes())), none.clone()).await.unwrap(), NDJSON);
    let mut cut = gzip(NDJSON.as_bytes());
    cut.truncate(cut.len() - 10);
    assert!(matches!(one(packed(cut), none.clone()).await, Err(FetchError::Unreadable(_))));
    assert!(matches!(one(packed(NDJSON.into()), none.clone()).await, Err(FetchError::Unreadable(_))));
    // a bomb: a few kilobytes that would be more than anybody may send
    let bomb = gzip(&vec![b' '; FETCH_BYTES_MAX + 1]);
    assert!(bomb.len() < 1 << 17);
    assert!(matches!(one(packed(bomb), none.clone()).await, Err(FetchError::TooLarge)));
    let unknown = || Reply::ok("x").with("Content-Encoding", "br");
    assert!(matches!(one(unknown, none).await, Err(FetchError::Unreadable(_))));
}

#[tokio::test]
async fn every_failure_has_its_name() {
    let none = || serde_json::json!({});
    let json = || serde_json::json!({"format": "json", "items": "/items"});
    let raw = |text: &'static str| move || Reply::Raw(text.into());
    let refused = |error: FetchError| matches!(error, FetchError::Refused(_));
    let unreadable = |error: FetchError| matches!(error, FetchError::Unreadable(_));
    for status in [400, 401, 404, 500, 502] {
        let error = one(move || Reply::status(status), none()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("refused: status {status}"));
    }
    assert!(refused(one(|| Reply::status(503), none()).await.unwrap_err()), "without a word of patience");
    let cut = raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"a\":1}\n");
    assert!(unreadable(one(cut, none()).await.unwrap_err()));
    let cut = raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\n{\"a\":1}\n\r\n");
    assert!(unreadable(one(cut, none()).await.unwrap_err()));
    assert!(matches!(one(raw("hello\r\n\r\n"), none()).await, Err(FetchError::Unreachable(_))));
    assert!(matches!(one(raw(""), none()).await, Err(FetchError::Unreachable(_))));
    let announced = || Reply::Raw(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", FETCH_BYTES_MAX + 1).into());
    assert!(matches!(one(announced, none()).await, Err(FetchError::TooLarge)));
    let endless = || {
        let mut bytes = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
        bytes.resize(FETCH_BYTES_MAX + 1000, b' ');
        Reply::Raw(bytes)
    };
    assert!(matches!(one(endless, none()).await, Err(FetchError::TooLarge)));
    for rubbish in ["<html>oops</html>", "{\"items\":", "{\"items\":3}", "[1]", ""] {
        let error = one(move || Reply::ok(rubbish), json()).await.unwrap_err();
        assert!(!error.to_string().contains("oops"), "an error does not quote");
        assert!(unreadable(error), "{rubbish}");
    }
    assert!(unreadable(one(|| Reply::ok("<html>oops</html>"), none()).await.unwrap_err()));
    assert_eq!(one(|| Reply::ok(""), none()).await.unwrap(), "", "nothing new");
    assert_eq!(one(|| Reply::status(204), none()).await.unwrap(), "");
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_left_after_its_time() {
    let error = one(|| Reply::Silence, serde_json::json!({"timeout_seconds": 1})).await.unwrap_err();
    assert!(matches!(error, FetchError::Timeout(_)), "{error}");
    // or in the middle of what it says
    let slow = || Reply::Raw(Vec::new());
    assert!(one(slow, serde_json::json!({"timeout_seconds": 1})).await.is_err());
}

#[tokio::test]
async fn a_peer_that_is_gone_cannot_be_reached() {
    let peer = Peer::start(|_| Reply::ok("")).await;
    let mut reader = made(&peer, "/", serde_json::json!({}), &config());
    drop(peer);
    // its listener ends with its task
    tokio::task::yield_now().await;
    let error = fetch(&mut reader, &mut None).await.unwrap_err();
    assert!(matches!(error, FetchError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn patience_is_asked_for_in_seconds_or_by_a_date_of_the_peers_own_clock() {
    let table = [
        (429, "120", 120),
        (503, "0", 0),
        (503, "Sat, 21 Nov 2026 10:01:30 GMT", 90),
        (503, "Sat, 21 Nov 2026 09:00:00 GMT", 0),
        (429, "tomorrow", 60),
    ];
    for (status, text, seconds) in table {
        let date = "Sat, 21 Nov 2026 10:00:00 GMT";
        let reply = move || Reply::status(status).with("Retry-After", text).with("Date", date);
        match one(reply, serde_json::json!({})).await {
            Err(FetchError::Wait(wait)) => assert_eq!(wait.as_secs(), seconds, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_credential_is_sent_and_never_shown() {
    let peer = Peer::start(|asked| match asked.header("authorization") {
        Some("Bearer hunter2") => Reply::ok(NDJSON),
        _ => Reply::status(401),
    })
    .await;
    let dir = testkit::temp_dir();
    let file = dir.path().join("token");
    std::fs::write(&file, "Bearer hunter2\n").unwrap();
    let credentials = Credentials::new([("acme".to_owned(), Credential::File(file.clone()))]);
    let config = FeedsConfig { credentials, ..config() };
    let fields = serde_json::json!({"headers": {"authorization": "acme"}});
    let mut reader = made(&peer, "/bets", fields, &config);
    assert_eq!(fetch(&mut reader, &mut None).await.unwrap().0, NDJSON);
    std::fs::write(&file, "hunter2\u{7f}x").unwrap();
    let error = fetch(&mut reader, &mut None).await.unwrap_err();
    assert!(matches!(error, FetchError::Settings(_)) && !error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn what_the_configuration_does_not_allow_is_refused_when_the_source_is_made_or_asked() {
    let settings = |fields: serde_json::Value| -> ReaderSettings { serde_json::from_value(fields).unwrap() };
    let closed = FeedsConfig::default();
    let here = settings(serde_json::json!({"kind": "http_poll", "url": "http://127.0.0.1:9/"}));
    assert!(matches!(reader(&here, None, &closed).err(), Some(FetchError::Settings(_))));
    let keyed =
        settings(serde_json::json!({"kind": "http_poll", "url": "https://api.example/", "headers": {"x-key": "acme"}}));
    assert!(matches!(reader(&keyed, None, &closed).err(), Some(FetchError::Settings(_))));
    // a name is looked at when it is resolved
    let peer = Peer::start(|_| Reply::ok(NDJSON)).await;
    let url = format!("http://localhost:{}/", peer.address.port());
    let named = settings(serde_json::json!({"kind": "http_poll", "url": url}));
    let error = fetch(&mut reader(&named, None, &closed).unwrap(), &mut None).await.unwrap_err();
    assert!(matches!(error, FetchError::Settings(_)), "{error}");
    assert!(peer.asked().is_empty());
}

#[tokio::test]
async fn a_cursor_of_something_else_is_lost() {
    let peer = Peer::start(|_| Reply::ok(NDJSON)).await;
    let mut reader = made(&peer, "/", serde_json::json!({}), &config());
    let error = fetch(&mut reader, &mut Some(Cursor("17".to_owned()))).await.unwrap_err();
    assert!(matches!(error, FetchError::Lost(_)), "{error}");
}
