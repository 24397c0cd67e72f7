//! Kafka: the mock cluster of librdkafka, whose topics have four partitions and keep 5 MB of each.

use super::{Store, error, local, record, records};
use actors::feeds::brokers::{Access, Login, MESSAGES_MAX};
use actors::feeds::kafka::{Processed, Publisher, reader};
use actors::feeds::{Cursor, FETCH_BYTES_MAX, Reader};
use loadtests::brokers::{KafkaBroker, KafkaMessage, Proxy, Way};
use models::feed_brokers::{KafkaSettings, SaslMechanism};
use models::ts::Ts;
use std::net::SocketAddr;

const TOPIC: &str = "plays";
const PARTITIONS: usize = 4;

fn settings(address: SocketAddr) -> KafkaSettings {
    KafkaSettings {
        brokers: vec![address.to_string()],
        topic: TOPIC.to_owned(),
        output_topic: None,
        tls: false,
        sasl: SaslMechanism::default(),
        credential: None,
    }
}

fn open(address: SocketAddr) -> Box<dyn Reader> {
    reader(settings(address), local().always()).expect("settings")
}

fn message(partition: usize, value: impl Into<Vec<u8>>) -> KafkaMessage {
    KafkaMessage { partition: i32::try_from(partition).expect("small"), key: None, value: Some(value.into()) }
}

fn spread(all: std::ops::Range<usize>) -> Vec<KafkaMessage> {
    all.map(|n| message(n % PARTITIONS, record(n))).collect()
}

fn cursor(text: &str) -> Option<Cursor> {
    Some(Cursor(text.to_owned()))
}

#[tokio::test]
async fn all_partitions_are_read_and_gone_on_with_from_a_cursor() {
    let mut broker = KafkaBroker::start().expect("a broker");
    let mut store = Store::default();
    let mut first = open(broker.address);
    assert_eq!(error(store.fetch(&mut first).await), "refused: there is no topic plays");

    broker.produce(TOPIC, "none", &spread(0..200)).expect("produced");
    store.drain(&mut first).await.expect("read");
    assert_eq!(store.sorted(), records(0..200));
    let of_partition = |lines: &[String], partition: usize| -> Vec<String> {
        let number = |line: &String| line[15..21].parse::<usize>().expect("a number");
        lines.iter().filter(|line| number(line) % PARTITIONS == partition).cloned().collect()
    };
    for partition in 0..PARTITIONS {
        let expected: Vec<String> = (partition..200).step_by(PARTITIONS).map(record).collect();
        assert_eq!(of_partition(&store.lines, partition), expected, "a partition keeps its order");
    }

    // nothing new: nothing moves, by the same reader and by another one
    let mut second = open(broker.address);
    for reader in [&mut first, &mut second] {
        let nothing = store.fetch(reader).await.expect("an answer");
        assert!(nothing.body.is_empty() && nothing.cursor.is_none() && !nothing.more, "{nothing:?}");
    }
    // a long poll that was open meanwhile brings what comes
    broker.produce(TOPIC, "none", &spread(200..230)).expect("produced");
    let before = store.cursor.clone();
    store.drain(&mut first).await.expect("read");
    assert_eq!(store.sorted(), records(0..230));
    // whoever did not commit gets the same again
    let mut again = Store { lines: Vec::new(), cursor: before };
    again.drain(&mut second).await.expect("read");
    assert_eq!(again.sorted(), records(200..230));
    // a partition that a cursor does not know is read from its beginning
    let mut fresh = Store { lines: Vec::new(), cursor: cursor(r#"{"topic":"plays","next":{"0":58,"1":58,"2":57}}"#) };
    fresh.drain(&mut second).await.expect("read");
    assert_eq!(fresh.sorted(), (3..230).step_by(PARTITIONS).map(record).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_empty_topic_has_a_beginning() {
    let mut broker = KafkaBroker::start().expect("a broker");
    let tombstone = KafkaMessage { partition: 2, key: Some("k".to_owned()), value: None };
    broker.produce(TOPIC, "none", &[tombstone]).expect("produced");
    let (mut store, mut reader) = (Store::default(), open(broker.address));
    store.drain(&mut reader).await.expect("read");
    assert_eq!(store.lines, [""; 0]);
    let expected = r#"{"topic":"plays","next":{"0":0,"1":0,"2":1,"3":0}}"#;
    assert_eq!(store.cursor, cursor(expected), "beginnings are positions, and tombstones are passed");
}

#[tokio::test]
async fn every_compression_is_read() {
    let mut broker = KafkaBroker::start().expect("a broker");
    for (n, compression) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        broker.produce(TOPIC, compression, &spread(n * 100..n * 100 + 100)).expect("produced");
    }
    let (mut store, mut reader) = (Store::default(), open(broker.address));
    store.drain(&mut reader).await.expect("read");
    assert_eq!(store.sorted(), records(0..500));
}

#[tokio::test]
async fn a_fetch_has_its_limits_and_loses_nothing() {
    let mut broker = KafkaBroker::start().expect("a broker");
    broker.produce(TOPIC, "none", &spread(0..2 * MESSAGES_MAX + 100)).expect("produced");
    let (mut store, mut reader) = (Store::default(), open(broker.address));
    let mut fetches = 0;
    while store.lines.len() < 2 * MESSAGES_MAX + 100 {
        let fetched = store.fetch(&mut reader).await.expect("read");
        let lines = fetched.body.iter().filter(|b| **b == b'\n').count();
        assert!(lines <= MESSAGES_MAX);
        let is_everything = store.lines.len() + lines == 2 * MESSAGES_MAX + 100;
        assert!(lines == 0 || fetched.more || is_everything, "what is left is due at once");
        store.commit(fetched);
        fetches += 1;
        assert!(fetches < 1_000, "it stands still");
    }
    assert_eq!(store.sorted(), records(0..2 * MESSAGES_MAX + 100));

    // 14 MB: more than one fetch takes
    let large = |n: usize| format!(r#"{{"record_id":"l{n:02}","x":"{}"}}"#, "x".repeat(700_000));
    let values: Vec<KafkaMessage> = (0..20).map(|n| message(n % PARTITIONS, large(n))).collect();
    broker.produce(TOPIC, "none", &values).expect("produced");
    let (mut large_store, mut fetches) = (Store { lines: Vec::new(), cursor: store.cursor }, 0);
    while large_store.lines.len() < 20 {
        let fetched = large_store.fetch(&mut reader).await.expect("read");
        assert!(fetched.body.len() <= FETCH_BYTES_MAX);
        large_store.commit(fetched);
        fetches += 1;
    }
    assert!(fetches > 1);
    assert_eq!(large_store.sorted(), (0..20).map(large).collect::<Vec<_>>());
}

#[tokio::test]
async fn whatever_a_value_is_it_is_one_line() {
    let mut broker = KafkaBroker::start().expect("a broker");
    let values: [&[u8]; 5] =
        [b"{\n  \"record_id\": \"a\"\n}", b"two\nlines", b"\xff\xfe", b"", b"[{\"a\":1},\n{\"a\":2}]"];
    broker.produce(TOPIC, "none", &values.map(|v| message(0, v))).expect("produced");
    let (mut store, mut reader) = (Store::default(), open(broker.address));
    store.drain(&mut reader).await.expect("read");
    let expected = [
        r#"{   "record_id": "a" }"#,
        r#""two\nlines""#,
        "\"\u{fffd}\u{fffd}\"",
        r#""""#,
        r#""[{\"a\":1},\n{\"a\":2}]""#,
    ];
    assert_eq!(store.lines, expected);

    // what no fetch can take stops its source, and says so
    broker.produce(TOPIC, "none", &[message(1, format!("\"{}\"", "x".repeat(FETCH_BYTES_MAX)))]).expect("produced");
    assert_eq!(error(store.fetch(&mut reader).await), "more than 8388608 bytes at once");
}

#[tokio::test]
async fn a_position_that_is_gone_is_lost() {
    let mut broker = KafkaBroker::start().expect("a broker");
    broker.produce(TOPIC, "none", &spread(0..40)).expect("produced");
    let (mut store, mut reader) = (Store::default(), open(broker.address));
    store.drain(&mut reader).await.expect("read");
    for (text, expected) in [
        (r#"{"topic":"plays","next":{"0":11,"1":10,"2":10,"3":10}}"#, "partition 0 was read up to 11"),
        (r#"{"topic":"plays","next":{"0":10,"1":10,"2":10,"3":10,"4":0}}"#, "there is no partition 4 any more"),
        (r#"{"topic":"other","next":{"0":10}}"#, "it is one of the topic other"),
        (r#"{"topic":"plays","next":{"0":10},"more":1}"#, "it is not a position of this kind of source"),
        ("", "it is not a position of this kind of source"),
    ] {
        let mut elsewhere = Store { lines: Vec::new(), cursor: cursor(text) };
        let said = error(elsewhere.fetch(&mut reader).await);
        assert!(said.starts_with(&format!("the position is no longer there: {expected}")), "{said}");
    }
    // retention: what was not read yet is deleted
    for _ in 0..8 {
        broker.produce(TOPIC, "none", &[message(0, vec![b'x'; 1_000_000])]).expect("produced");
    }
    let said = error(store.fetch(&mut reader).await);
    let expected = "the position is no longer there: partition 0 was read up to 10, and the broker has 1";
    assert!(said.starts_with(expected), "{said}");
    assert_eq!(store.sorted(), records(0..40), "nothing is passed on before somebody decided");
}

#[tokio::test]
async fn cut_connections_cost_nothing() {
    let mut broker = KafkaBroker::start().expect("a broker");
    let proxy = Proxy::start(broker.address, Way::Kafka).expect("a proxy");
    let (mut store, mut reader) = (Store::default(), open(proxy.address()));
    for round in 0..20 {
        let all = round * 500..round * 500 + 500;
        // in the middle of the greeting, of the metadata, of an answer with records, at once
        proxy.cut_after([40, 170, 700, 4_000, 9_000][round % 5]);
        broker.produce(TOPIC, "none", &spread(all.clone())).expect("produced");
        if round % 4 == 0 {
            proxy.cut();
        }
        store.until(&mut reader, all.end).await;
        assert_eq!(store.lines.len(), all.end, "nothing twice");
    }
    assert_eq!(store.sorted(), records(0..10_000));
    assert!(proxy.cuts() >= 20 && proxy.passed() > 0, "it went through the proxy, and was cut {} times", proxy.cuts());

    proxy.close(true);
    let said = error(store.fetch(&mut reader).await);
    assert!(said.starts_with("cannot be reached") || said.starts_with("no answer"), "{said}");
    proxy.close(false);
    broker.produce(TOPIC, "none", &spread(10_000..10_004)).expect("produced");
    store.until(&mut reader, 10_004).await;
    assert_eq!(store.sorted(), records(0..10_004));
}

#[tokio::test]
async fn stored_records_are_published_under_their_ids() {
    let mut broker = KafkaBroker::start().expect("a broker");
    let proxy = Proxy::start(broker.address, Way::Kafka).expect("a proxy");
    broker.produce("checked", "none", &[message(0, "first")]).expect("produced");
    let settings = KafkaSettings { output_topic: Some("checked".to_owned()), ..settings(proxy.address()) };
    let mut publisher = Publisher::new(settings, local().always()).expect("settings").expect("an output topic");
    // 4 MB: several requests a partition
    let rows: Vec<(String, String)> =
        (0..2_000).map(|n| (format!("r{n}"), format!(r#"{{"n":{n},"x":"{}"}}"#, "x".repeat(2_000)))).collect();
    let processed: Vec<Processed<'_>> =
        rows.iter().map(|(key, line)| Processed { key, line: line.as_bytes() }).collect();
    publisher.publish(&processed, Ts(1_700_000_000_000_000)).await.expect("published");
    assert_eq!((publisher.published(), publisher.failed()), (2_000, 0));
    let there = broker.read("checked").expect("read");
    let mut found: Vec<(String, String)> = there
        .iter()
        .filter_map(|r| Some((r.key.clone()?, String::from_utf8(r.value.clone()?).expect("text"))))
        .collect();
    found.sort();
    let mut expected = rows.clone();
    expected.sort();
    assert!(found == expected, "{} of {}", found.len(), expected.len());
    assert!((0..4).all(|partition| there.iter().filter(|r| r.partition == partition).count() > 300), "all partitions");

    // a failure is counted, and holds nothing up
    proxy.close(true);
    publisher.publish(&processed[..10], Ts(0)).await.expect_err("nobody is there");
    assert_eq!((publisher.published(), publisher.failed()), (2_000, 10));
    proxy.close(false);
    publisher.publish(&processed[..10], Ts(1_700_000_000_000_000)).await.expect("published");
    assert_eq!((publisher.published(), publisher.failed()), (2_010, 10));
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_before_anybody_is_called() {
    let settings = settings(SocketAddr::from(([127, 0, 0, 1], 9)));
    let secret = || "hunter2".to_owned().into();
    let password = || Login::Password { user: "reader".to_owned(), password: secret() };
    let refused = |settings: KafkaSettings, login: Login| {
        let made = reader(settings, Access { login, ..local() }.always());
        made.map(|_| ()).map_err(|e| e.to_string())
    };
    let far = KafkaSettings { brokers: vec!["broker.example:9092".to_owned()], ..settings.clone() };
    let plain = KafkaSettings { sasl: SaslMechanism::Plain, ..far.clone() };
    let in_clear = "settings: the password would cross the network in the clear: tls is needed";
    for (settings, login, expected) in [
        (
            settings.clone(),
            Login::Token(secret()),
            Err("settings: a Kafka cluster is shown a user and a password".to_owned()),
        ),
        (plain.clone(), password(), Err(in_clear.to_owned())),
        (KafkaSettings { tls: true, ..plain.clone() }, password(), Ok(())),
        (KafkaSettings { brokers: settings.brokers.clone(), ..plain }, password(), Ok(())),
        (far, password(), Ok(())),
    ] {
        assert_eq!(refused(settings, login), expected);
    }
    assert!(Publisher::new(settings, local().always()).expect("settings").is_none(), "no output topic");
}
