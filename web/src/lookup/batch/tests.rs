//! What becomes of a batch between its acceptance and its turn.

use super::*;
use crate::WebOptions;
use crate::metrics::render;
use actors::api::NewKey;
use actors::engine::{Engine, EngineConfig};
use actors::secrets::KeyMaterial;
use models::jurisdiction::{Jurisdiction, JurisdictionNo};
use models::money::Currency;
use models::phone::Country;
use serde_json::{Value, json};
use store::{OpenOptions, Store, SystemClock};

/// Rows of a batch: several times as many as are answered together.
const ROWS: usize = 10 * AHEAD;

async fn node(dir: &testkit::TempDir) -> AppState {
    let store = Store::open(&testkit::sqlite_url(dir), &OpenOptions::default()).await.unwrap();
    let config = EngineConfig {
        jurisdictions: vec![Jurisdiction {
            code: "KE".to_owned(),
            name: "Kenya".to_owned(),
            country: Country::Ke,
            currency: Currency::KES,
            time_zone: "Africa/Nairobi".to_owned(),
        }],
        ..EngineConfig::small("KE")
    };
    let keys = KeyMaterial::generate().unwrap();
    let registry = prometheus::Registry::new();
    let engine = Engine::start(config, store, Arc::new(keys), Arc::new(SystemClock), &registry).await.unwrap();
    let ready = async {
        while !engine.readiness().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ready).await.expect("the engine becomes ready");
    AppState::new(engine, WebOptions::new("KE"), registry).unwrap()
}

async fn key(state: &AppState, scopes: &[Scope]) -> KeyId {
    let new = NewKey {
        operator: None,
        jurisdiction: JurisdictionNo(0),
        label: "batches".to_owned(),
        scopes: scopes.to_vec(),
        purposes: Vec::new(),
        allow_from: Vec::new(),
        rate_per_second: 10_000,
        expires_at: None,
    };
    state.engine.create_key(new, None).await.unwrap().key.id
}

type Waiting = oneshot::Receiver<Result<Answered, Problem>>;

/// A batch that waits, and whoever waits for its answer.
fn job(key: KeyId) -> (Job, Waiting) {
    let users: Vec<Value> = (0..ROWS).map(|n| json!({"phone": format!("07{n:08}")})).collect();
    let body = Bytes::from(json!({"purpose": "login", "users": users}).to_string());
    let (reply, answered) = oneshot::channel();
    (Job { key, body, form: Form::Json, reply }, answered)
}

/// Works off what waits, on a thread of its own; `meanwhile` runs once a batch was taken.
fn work_off(state: &AppState, jobs: Vec<Job>, meanwhile: impl Fn() + Send + 'static) {
    let (queue, waiting) = sync_channel(jobs.len());
    jobs.into_iter().for_each(|job| queue.send(job).unwrap());
    drop(queue);
    let state = state.clone();
    let worker = std::thread::spawn(move || {
        work(&Mutex::new(waiting), &|| {
            meanwhile();
            Some(state.clone())
        });
    });
    worker.join().unwrap();
}

fn refusal(mut answered: Waiting) -> Option<Code> {
    answered.try_recv().unwrap().err().map(|problem| problem.code)
}

/// Lookups that were answered so far.
fn answered(state: &AppState) -> usize {
    let text = String::from_utf8(render(&state.registry).unwrap()).unwrap();
    let lines = text.lines().filter(|line| line.starts_with("mlinzi_lookup_answers_total{"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
}

#[actix_web::test]
async fn a_key_that_died_while_its_batch_waited_is_not_answered() {
    let dir = testkit::temp_dir();
    let state = node(&dir).await;
    let (live, dead) = (key(&state, &[Scope::LookupBatch]).await, key(&state, &[Scope::LookupBatch]).await);
    let narrow = key(&state, &[Scope::Lookup]).await;
    let (jobs, mut answers): (Vec<_>, Vec<_>) = [live, dead, narrow].map(job).into_iter().unzip();
    state.engine.revoke_key(dead).await.unwrap();
    work_off(&state, jobs, || {});
    let codes: Vec<Option<Code>> = answers.drain(..).map(refusal).collect();
    assert_eq!(codes, [None, Some(Code::Unauthenticated), Some(Code::Forbidden)]);
    assert_eq!(answered(&state), ROWS);
    assert!(state.engine.stop(Duration::from_secs(10)).await);
}

#[actix_web::test]
async fn nothing_is_answered_for_whoever_has_hung_up() {
    let dir = testkit::temp_dir();
    let state = node(&dir).await;
    let key = key(&state, &[Scope::LookupBatch]).await;
    // before its turn: not even the state is asked for
    let (gone, waiting) = job(key);
    drop(waiting);
    work_off(&state, vec![gone], || panic!("a batch that nobody waits for is taken"));
    // between two rows
    let (going, waiting) = job(key);
    let waiting = Mutex::new(Some(waiting));
    work_off(&state, vec![going], move || drop(waiting.lock().take()));
    assert_eq!(answered(&state), 0);
    // and whoever comes after them is answered
    let (next, waiting) = job(key);
    work_off(&state, vec![next], || {});
    assert_eq!((refusal(waiting), answered(&state)), (None, ROWS));
    assert!(state.engine.stop(Duration::from_secs(10)).await);
}
