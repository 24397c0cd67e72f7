//! A whole engine between two topics: what it stored of one it publishes to the other.

use actors::api::{NewOperator, NewSource};
use actors::engine::{Engine, EngineConfig};
use actors::feeds::FeedsConfig;
use actors::secrets::KeyMaterial;
use loadtests::brokers::{KafkaBroker, KafkaMessage, Proxy, Way};
use models::feed::{DataClass, ReaderSettings, Schedule, SourceClock};
use models::feed_brokers::{KafkaSettings, SaslMechanism};
use models::jurisdiction::{Jurisdiction, JurisdictionNo};
use models::money::Currency;
use models::phone::Country;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{OpenOptions, Store, SystemClock};

const PATIENCE: Duration = Duration::from_secs(60);

fn record(n: usize) -> KafkaMessage {
    let record = json!({"record_id": format!("r{n}"), "kind": "stake", "occurred_at": "2026-01-01T00:00:00Z",
        "player": {"phone": "0712345678"}, "money": {"amount_minor": 100, "currency": "KES"}});
    KafkaMessage { partition: (n % 4) as i32, key: None, value: Some(record.to_string().into_bytes()) }
}

async fn start(url: &str, keys: &KeyMaterial) -> Engine {
    let store = Store::open(url, &OpenOptions::default()).await.expect("a store");
    let kenya = Jurisdiction {
        code: "KE".to_owned(),
        name: "Kenya".to_owned(),
        country: Country::Ke,
        currency: Currency::KES,
        time_zone: "Africa/Nairobi".to_owned(),
    };
    let config = EngineConfig {
        feeds: FeedsConfig { allow_private_addresses: true, ..FeedsConfig::default() },
        jurisdictions: vec![kenya],
        ..EngineConfig::small("KE")
    };
    let registry = prometheus::Registry::new();
    Engine::start(config, store, Arc::new(keys.clone()), Arc::new(SystemClock), &registry).await.expect("an engine")
}

/// Everything in the output topic, once there are so many ids.
async fn published(broker: &mut KafkaBroker, ids: usize) -> Vec<Value> {
    let end = Instant::now() + PATIENCE;
    loop {
        let lines = broker.read("checked").expect("read");
        let lines = lines.iter().filter_map(|line| line.value.as_deref());
        let lines: Vec<Value> = lines.map(|line| serde_json::from_slice(line).expect("JSON")).collect();
        let known: BTreeSet<&str> = lines.iter().filter_map(|line| line["record_id"].as_str()).collect();
        if known.len() >= ids {
            return lines;
        }
        assert!(Instant::now() < end, "{} of {ids} are published", known.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[actix_rt::test]
async fn what_is_stored_is_published_once_more_for_others_and_goes_on_where_it_was() {
    let mut broker = KafkaBroker::start().expect("a broker");
    let proxy = Proxy::start(broker.address, Way::Kafka).expect("a proxy");
    let bad = KafkaMessage { value: Some(b"{\"record_id\": \"bad\"}".to_vec()), ..record(0) };
    let nothing = KafkaMessage { value: None, ..record(0) };
    broker.produce("checked", "none", &[nothing]).expect("the topic is made by what is written to it");
    let first: Vec<KafkaMessage> = (0..300).map(record).chain([bad]).collect();
    broker.produce("plays", "none", &first).expect("produced");
    let dir = testkit::temp_dir();
    let (url, keys) = (testkit::sqlite_url(&dir), KeyMaterial::generate().expect("keys"));

    let engine = start(&url, &keys).await;
    let operator = NewOperator { code: "acme".to_owned(), name: "Acme".to_owned(), jurisdiction: JurisdictionNo(0) };
    let operator = engine.create_operator(operator, None).await.expect("an operator");
    let settings = KafkaSettings {
        brokers: vec![proxy.address().to_string()],
        topic: "plays".to_owned(),
        output_topic: Some("checked".to_owned()),
        tls: false,
        sasl: SaslMechanism::default(),
        credential: None,
    };
    let source = NewSource {
        operator: operator.operator_no,
        name: "plays".to_owned(),
        class: DataClass::GamingTransactions,
        clock: SourceClock::Event,
        horizon_days: 60,
        expected_interval_seconds: 60,
        currency: Currency::KES,
        reader: Some(ReaderSettings::Kafka(settings)),
        schedule: Some(Schedule::Every { every_seconds: 1, jitter_seconds: 0 }),
        mapping: None,
        integrity: None,
    };
    engine.create_source(source, None).await.expect("a source");
    let lines = published(&mut broker, 300).await;
    assert_eq!(lines.len(), 300, "each once, and nothing that was refused");
    let line = &lines[0];
    assert_eq!(
        (&line["operator"], &line["kind"], &line["money"]["amount_minor"]),
        (&json!("acme"), &json!("stake"), &json!(100))
    );
    let names: BTreeSet<&str> = lines.iter().filter_map(|line| line["player"].as_str()).collect();
    assert_eq!(names.len(), 1, "one person has one name");
    assert!(!lines.iter().any(|line| line.to_string().contains("712345678")), "which is not their number");

    // brokers that are away hold up nothing but the output
    proxy.close(true);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(engine.stop(Duration::from_secs(20)).await, "nothing is left behind");
    drop(engine);
    proxy.close(false);
    broker.produce("plays", "none", &(300..400).map(record).collect::<Vec<_>>()).expect("produced");
    let engine = start(&url, &keys).await;
    let lines = published(&mut broker, 400).await;
    assert_eq!(lines.len(), 400, "it goes on where it was");
    assert!(engine.stop(Duration::from_secs(20)).await);
}
