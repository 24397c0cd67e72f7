//! NATS JetStream: Debian's nats-server.

use super::{Store, error, local, record, records};
use actors::feeds::brokers::{Access, Login, MESSAGES_MAX};
use actors::feeds::nats::reader;
use actors::feeds::{Cursor, FETCH_BYTES_MAX, Reader};
use async_nats::ConnectOptions;
use async_nats::jetstream;
use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};
use loadtests::brokers::{NatsServer, Proxy, Way};
use models::feed_brokers::NatsSettings;
use std::net::SocketAddr;
use zeroize::Zeroizing;

const STREAM: &str = "PLAYS";

fn settings(address: SocketAddr) -> NatsSettings {
    NatsSettings {
        servers: vec![address.to_string()],
        stream: STREAM.to_owned(),
        subject: "plays.>".to_owned(),
        tls: false,
        credential: None,
    }
}

fn open(address: SocketAddr) -> Box<dyn Reader> {
    reader(settings(address), local().always()).expect("settings")
}

fn config() -> Config {
    Config {
        name: STREAM.to_owned(),
        subjects: vec!["plays.>".to_owned(), "other.>".to_owned()],
        storage: StorageType::File,
        ..Config::default()
    }
}

/// A server with the stream, and a client that writes.
async fn start() -> (NatsServer, jetstream::Context) {
    let server = NatsServer::start("").await.expect("a server");
    let writer = server.client(ConnectOptions::new()).await.expect("a client");
    writer.create_stream(config()).await.expect("a stream");
    (server, writer)
}

/// Publishes in this order and waits until the server has stored it all.
async fn publish(writer: &jetstream::Context, subject: &'static str, values: impl IntoIterator<Item = Vec<u8>>) {
    let mut values = values.into_iter().peekable();
    // the client holds up who leaves too many acknowledgements unread
    while values.peek().is_some() {
        let mut acks = Vec::new();
        for value in values.by_ref().take(500) {
            acks.push(writer.publish(subject, value.into()).await.expect("sent"));
        }
        for ack in acks {
            ack.await.expect("stored");
        }
    }
}

async fn plays(writer: &jetstream::Context, all: std::ops::Range<usize>) {
    publish(writer, "plays.nairobi", all.map(|n| record(n).into_bytes())).await;
}

#[tokio::test]
async fn a_stream_is_read_and_gone_on_with_from_a_cursor() {
    let server = NatsServer::start("").await.expect("a server");
    let writer = server.client(ConnectOptions::new()).await.expect("a client");
    let (mut store, mut first) = (Store::default(), open(server.address));
    let said = error(store.fetch(&mut first).await);
    assert!(said.starts_with("refused: ") && said.contains("stream not found"), "{said}");
    writer.create_stream(config()).await.expect("a stream");

    // an empty stream has a beginning
    let nothing = store.fetch(&mut first).await.expect("an answer");
    assert!(nothing.body.is_empty() && !nothing.more && nothing.cursor.is_some(), "{nothing:?}");
    store.commit(nothing);

    plays(&writer, 0..300).await;
    publish(&writer, "other.nairobi", [b"not ours".to_vec()]).await;
    plays(&writer, 300..400).await;
    store.drain(&mut first).await.expect("read");
    assert_eq!(store.lines, records(0..400), "in order, and of this subject alone");

    let mut second = open(server.address);
    for reader in [&mut first, &mut second] {
        let nothing = store.fetch(reader).await.expect("an answer");
        assert!(nothing.body.is_empty() && nothing.cursor.is_none() && !nothing.more, "{nothing:?}");
    }
    let before = store.cursor.clone();
    plays(&writer, 400..430).await;
    store.drain(&mut first).await.expect("read");
    assert_eq!(store.lines, records(0..430));
    // whoever did not commit gets the same again, from the reader that has gone on, too
    for reader in [&mut first, &mut second] {
        let mut again = Store { lines: Vec::new(), cursor: before.clone() };
        again.drain(reader).await.expect("read");
        assert_eq!(again.lines, records(400..430));
    }
}

#[tokio::test]
async fn a_fetch_has_its_limits_and_loses_nothing() {
    let (server, writer) = start().await;
    let (mut store, mut reader) = (Store::default(), open(server.address));
    plays(&writer, 0..2 * MESSAGES_MAX + 100).await;
    let mut fetches = 0;
    while store.lines.len() < 2 * MESSAGES_MAX + 100 {
        let fetched = store.fetch(&mut reader).await.expect("read");
        let lines = fetched.body.iter().filter(|b| **b == b'\n').count();
        assert!(lines <= MESSAGES_MAX);
        assert_eq!(fetched.more, store.lines.len() + lines < 2 * MESSAGES_MAX + 100);
        store.commit(fetched);
        fetches += 1;
        assert!(fetches < 1_000, "it stands still");
    }
    assert!(fetches > 2);
    assert_eq!(store.lines, records(0..2 * MESSAGES_MAX + 100));

    // 14 MB: more than one fetch takes; and line breaks, which are longer when they are escaped
    let large = |n: usize| format!("no {n:02}{}", "\n".repeat(700_000));
    publish(&writer, "plays.large", (0..20).map(|n| large(n).into_bytes())).await;
    let (mut large_store, mut fetches) = (Store { lines: Vec::new(), cursor: store.cursor }, 0);
    while large_store.lines.len() < 20 {
        let fetched = large_store.fetch(&mut reader).await.expect("read");
        assert!(fetched.body.len() <= FETCH_BYTES_MAX);
        large_store.commit(fetched);
        fetches += 1;
        assert!(fetches < 1_000, "it stands still");
    }
    let expected: Vec<String> = (0..20).map(|n| serde_json::Value::from(large(n)).to_string()).collect();
    assert!(fetches > 2 && large_store.lines == expected);

    // what no fetch can take stops its source, and says so
    publish(&writer, "plays.larger", [vec![b'1'; FETCH_BYTES_MAX + 1]]).await;
    assert_eq!(error(large_store.fetch(&mut reader).await), "more than 8388608 bytes at once");
}

#[tokio::test]
async fn whatever_a_message_is_it_is_one_line() {
    let (server, writer) = start().await;
    let values = [&b"{\n  \"record_id\": \"a\"\n}"[..], b"two\nlines", b"\xff\xfe", b"", b"[1,\n2]"];
    publish(&writer, "plays.nairobi", values.map(<[u8]>::to_vec)).await;
    let (mut store, mut reader) = (Store::default(), open(server.address));
    store.drain(&mut reader).await.expect("read");
    let expected = [r#"{   "record_id": "a" }"#, r#""two\nlines""#, "\"\u{fffd}\u{fffd}\"", r#""""#, r#""[1,\n2]""#];
    assert_eq!(store.lines, expected);
}

#[tokio::test]
async fn gaps_are_fine_and_what_was_never_read_is_missed() {
    let (server, writer) = start().await;
    let stream = writer.get_stream(STREAM).await.expect("the stream");
    let (mut store, mut reader) = (Store::default(), open(server.address));
    plays(&writer, 0..100).await;
    // deleted from the middle before anybody read it: the stream says nothing of it
    assert!(stream.delete_message(50).await.expect("deleted"));
    store.drain(&mut reader).await.expect("read");
    assert_eq!(store.lines, [records(0..49), records(50..100)].concat());

    // what was read may go
    stream.purge().sequence(101).await.expect("purged");
    plays(&writer, 100..110).await;
    store.drain(&mut reader).await.expect("read");
    assert_eq!(store.lines.len(), 109);

    // what was not read may not, whether or not a reader is there
    plays(&writer, 110..120).await;
    stream.purge().sequence(116).await.expect("purged");
    for reader in [&mut reader, &mut open(server.address)] {
        let said = error(store.fetch(reader).await);
        assert_eq!(said, "the position is no longer there: it was read up to 110, and the stream begins at 116");
    }
    // somebody without a position begins where the stream does
    let mut fresh = Store::default();
    fresh.drain(&mut reader).await.expect("read");
    assert_eq!(fresh.lines, records(115..120));
}

#[tokio::test]
async fn a_stream_made_anew_is_another_one() {
    let (server, writer) = start().await;
    let (mut store, mut reader) = (Store::default(), open(server.address));
    plays(&writer, 0..10).await;
    store.drain(&mut reader).await.expect("read");
    let read = store.cursor.clone().expect("a cursor").0;
    for (from, to, expected) in [
        (r#""seq":10"#, r#""seq":11"#, "it was read up to 11, and the stream ends at 10"),
        (STREAM, "PLAYED", "it is one of plays.> in the stream PLAYED"),
        ("plays.>", "plays.a", "it is one of plays.a in the stream PLAYS"),
        ("seq", "sequence", "it is not a position of this kind of source"),
    ] {
        let text = read.replace(from, to);
        assert_ne!(text, read);
        let mut elsewhere = Store { lines: Vec::new(), cursor: Some(Cursor(text)) };
        let said = error(elsewhere.fetch(&mut reader).await);
        assert_eq!(said, format!("the position is no longer there: {expected}"));
    }
    writer.delete_stream(STREAM).await.expect("deleted");
    writer.create_stream(config()).await.expect("a stream");
    plays(&writer, 100..120).await;
    let said = error(store.fetch(&mut reader).await);
    assert_eq!(said, "the position is no longer there: the stream was made anew");
    assert_eq!(store.lines, records(0..10));
}

#[tokio::test]
async fn messages_of_others_do_not_look_like_missed_ones() {
    let (server, writer) = start().await;
    let stream = writer.get_stream(STREAM).await.expect("the stream");
    let (mut store, mut reader) = (Store::default(), open(server.address));
    plays(&writer, 0..10).await;
    store.drain(&mut reader).await.expect("read");
    publish(&writer, "other.nairobi", (0..1_500).map(|_| b"{}".to_vec())).await;
    store.drain(&mut reader).await.expect("read");
    let moved = store.cursor.clone().expect("a cursor").0;
    assert!(moved.contains(r#""seq":1510"#), "{moved}");
    stream.purge().sequence(1_511).await.expect("purged");
    plays(&writer, 10..20).await;
    store.drain(&mut reader).await.expect("read");
    assert_eq!(store.lines, records(0..20));
}

#[tokio::test]
async fn streams_that_delete_what_was_delivered_are_refused() {
    let (server, writer) = start().await;
    for retention in [RetentionPolicy::WorkQueue, RetentionPolicy::Interest] {
        writer.delete_stream(STREAM).await.expect("deleted");
        writer.create_stream(Config { retention, ..config() }).await.expect("a stream");
        let said = error(Store::default().fetch(&mut open(server.address)).await);
        assert!(said.starts_with("settings: the stream deletes what was delivered"), "{said}");
    }
}

#[tokio::test]
async fn cut_connections_cost_nothing() {
    let (server, writer) = start().await;
    let proxy = Proxy::start(server.address, Way::Plain).expect("a proxy");
    let (mut store, mut reader) = (Store::default(), open(proxy.address()));
    for round in 0..20 {
        let all = round * 500..round * 500 + 500;
        // in the middle of the greeting, of an answer with records, at once
        proxy.cut_after([100, 1_500, 3_000, 20_000, 40_000][round % 5]);
        plays(&writer, all.clone()).await;
        if round % 4 == 0 {
            proxy.cut();
        }
        store.until(&mut reader, all.end).await;
        assert_eq!(store.lines.len(), all.end, "nothing twice");
    }
    assert_eq!(store.lines, records(0..10_000));
    assert!(proxy.cuts() >= 20 && proxy.passed() > 0, "it went through the proxy, and was cut {} times", proxy.cuts());

    proxy.close(true);
    store.fetch(&mut reader).await.expect_err("nobody is there");
    let said = error(store.fetch(&mut open(proxy.address())).await);
    assert!(said.starts_with("cannot be reached") || said.starts_with("no answer"), "{said}");
    proxy.close(false);
    plays(&writer, 10_000..10_010).await;
    store.until(&mut reader, 10_010).await;
    assert_eq!(store.lines, records(0..10_010));
}

#[tokio::test]
async fn a_killed_server_goes_on_where_it_was() {
    let (mut server, writer) = start().await;
    let (mut store, mut reader) = (Store::default(), open(server.address));
    for round in 0..5 {
        let all = round * 2_000..round * 2_000 + 2_000;
        plays(&writer, all.clone()).await;
        // a part of it is read, and so is the rest after the server came back
        let some = store.fetch(&mut reader).await.expect("read");
        store.commit(some);
        server.kill().expect("killed");
        let down = store.fetch(&mut open(server.address)).await;
        assert!(error(down).starts_with("cannot be reached"));
        server.go_on().await.expect("a server");
        store.until(&mut reader, all.end).await;
        assert_eq!(store.lines.len(), all.end, "nothing twice");
    }
    assert_eq!(store.lines, records(0..10_000));
}

#[tokio::test]
async fn whoever_has_no_credentials_is_refused() {
    let pair = nkeys::KeyPair::new_user();
    let seed = pair.seed().expect("a seed");
    let users = format!(
        "authorization {{ users: [ {{ user: reader, password: hunter2 }}, {{ nkey: {} }} ] }}",
        pair.public_key()
    );
    let by_user = NatsServer::start(&users).await.expect("a server");
    let by_token = NatsServer::start("authorization { token: hunter3 }").await.expect("a server");
    let secret = |text: &str| Zeroizing::new(text.to_owned());
    let password = |text: &str| Login::Password { user: "reader".to_owned(), password: secret(text) };
    let other_seed = nkeys::KeyPair::new_user().seed().expect("a seed");
    for (server, login, known) in [
        (&by_user, password("hunter2"), true),
        (&by_user, password("hunter1"), false),
        (&by_user, Login::NKey(secret(&seed)), true),
        (&by_user, Login::NKey(secret(&other_seed)), false),
        (&by_user, Login::NKey(secret("no seed")), false),
        (&by_user, Login::Anonymous, false),
        (&by_token, Login::Token(secret("hunter3")), true),
        (&by_token, Login::Token(secret("hunter2")), false),
    ] {
        let mut reader = reader(settings(server.address), Access { login, ..local() }.always())
            .expect("loopback may be in the clear");
        let said = error(Store::default().fetch(&mut reader).await);
        let expected = if known { "stream not found" } else { "refused: the server does not know these credentials" };
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains("hunter") && !said.contains(&seed), "{said}");
    }
    let far = NatsSettings { servers: vec!["nats.example:4222".to_owned()], ..settings(by_user.address) };
    let made = reader(far.clone(), Access { login: password("hunter2"), ..local() }.always());
    let said = made.map(|_| ()).expect_err("in the clear").to_string();
    assert_eq!(said, "settings: the password or token would cross the network in the clear: tls is needed");
    assert!(reader(far, Access { login: Login::NKey(secret(&seed)), ..local() }.always()).is_ok(), "a seed only signs");
}

#[tokio::test]
async fn tls_is_spoken_to_those_who_are_believed_alone() {
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = certificate.self_signed(&key).expect("a certificate");
    let dir = tempfile::tempdir().expect("a folder");
    let (certificate_file, key_file) = (dir.path().join("certificate.pem"), dir.path().join("key.pem"));
    std::fs::write(&certificate_file, certificate.pem()).expect("written");
    std::fs::write(&key_file, key.serialize_pem()).expect("written");
    let tls = format!("tls {{ cert_file: \"{}\", key_file: \"{}\" }}", certificate_file.display(), key_file.display());
    let server = NatsServer::start(&tls).await.expect("a server");
    let address = format!("localhost:{}", server.address.port());
    let settings = NatsSettings { servers: vec![address], tls: true, ..settings(server.address) };
    let other = rcgen::KeyPair::generate().expect("a key");
    let other = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).and_then(|p| p.self_signed(&other));
    for (authority, expected) in
        [(certificate.pem(), "stream not found"), (other.expect("a certificate").pem(), "cannot be reached")]
    {
        let access = Access { authorities: Some(authority.into_bytes()), ..local() };
        let mut reader = reader(settings.clone(), access.always()).expect("settings");
        let said = error(Store::default().fetch(&mut reader).await);
        assert!(said.contains(expected), "{said}");
    }
}
