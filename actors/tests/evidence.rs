//! Evidence that finds no store is counted where somebody looks.

use actors::engine::{Engine, EngineConfig};
use actors::secrets::KeyMaterial;
use std::sync::Arc;
use std::time::Duration;
use store::{OpenOptions, Store, SystemClock};

/// Commits of evidence a second where each fails at once are about ten; nobody else of an idle engine commits as often.
const OFTEN: u64 = 20;
const PATIENCE: Duration = Duration::from_secs(60);

fn failed(registry: &prometheus::Registry) -> u64 {
    let families = registry.gather();
    let failed = families.iter().find(|family| family.name() == "mlinzi_commits_failed_total").expect("it is there");
    failed.get_metric().iter().map(|metric| metric.get_counter().get_value() as u64).sum()
}

#[actix_rt::test]
async fn commits_of_evidence_that_fail_are_counted_with_the_others() {
    let dir = testkit::temp_dir();
    let store = Store::open(&testkit::sqlite_url(&dir), &OpenOptions::default()).await.expect("a store");
    let keys = KeyMaterial::generate().expect("keys");
    let registry = prometheus::Registry::new();
    let engine =
        Engine::start(EngineConfig::small("KE"), store, Arc::new(keys), Arc::new(SystemClock), &registry).await;
    let engine = engine.expect("the engine starts");
    let wait = async {
        while !engine.readiness().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        engine.store().stop_writer(Duration::ZERO).await;
        while failed(&registry) < OFTEN {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("every failure is counted");
    engine.evidence().refuse();
    engine.stop(Duration::from_secs(1)).await;
}
