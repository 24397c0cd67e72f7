use super::*;
use models::alert::Window;
use models::ids::OperatorNo;
use models::jurisdiction::JurisdictionNo;
use models::model_shadow::{ShadowDayCounted, ShadowExample, ShadowFound, ShadowSubject};
use models::money::Currency;
use models::risk_model::ModelKind;
use models::ts::DAY;
use store::OpenOptions;

const VERSION: u32 = 2;
const OF: DaysOf = DaysOf {
    jurisdiction: JurisdictionNo(0),
    version: (ModelKind::TransactionRisk, VERSION),
    span: Window { start: Ts(0), end: Ts(100 * DAY) },
};

async fn store(dir: &testkit::TempDir) -> Store {
    let store = Store::open(&testkit::sqlite_url(dir), &OpenOptions::default()).await.expect("a store");
    let operator =
        "INSERT INTO operators (operator_no, id, code, jurisdiction, body) VALUES (1, 'o1', 'o1', 0, '{}')".to_owned();
    assert_eq!(store.execute_for_tests(&operator).await.expect("a row"), 1);
    store
}

/// A day with ten examples.
async fn counted(store: &Store, day: i64) {
    let example = |n: i64| ShadowExample {
        subject: ShadowSubject {
            record_id: Some(format!("r{day}-{n}")),
            player: None,
            currency: Currency::KES,
            at: Ts(day * DAY + n),
        },
        score_ppm: 900_000 - n as u32,
        live_ppm: None,
        reasons: Vec::new(),
    };
    let found = ShadowFound { examples: (0..10).map(example).collect(), ..ShadowFound::default() };
    let (kind, version) = OF.version;
    let counted = ShadowDayCounted { kind, version, operator_no: OperatorNo(1), day: Ts(day * DAY), found };
    let body = serde_json::to_string(&counted).expect("JSON");
    let sql = format!(
        "INSERT INTO model_shadow_days (kind, version, operator_no, day, body) VALUES ('{}', {version}, 1, {}, '{body}')",
        kind.as_str(),
        day * DAY
    );
    assert_eq!(store.execute_for_tests(&sql).await.expect("a row"), 1);
}

fn reads() -> ShadowReads {
    ShadowReads::register(&Registry::new()).expect("metrics")
}

fn told(reads: &ShadowReads) -> [u64; 4] {
    OUTCOMES.map(|outcome| reads.outcomes.with_label_values(&[outcome]).get())
}

#[actix_rt::test]
async fn whoever_turns_pages_has_the_days_added_up_once() {
    let dir = testkit::temp_dir();
    let (store, reads, directory) = (store(&dir).await, reads(), Directory::default());
    for day in 0..3 {
        counted(&store, day).await;
    }
    let page = async |behind, now| {
        let page = ExamplesPage { behind, limit: 10 };
        reads.of((&store, &directory), OF, page, Ts(now)).await.expect("read").sum
    };
    let first = page(None, 0).await;
    assert_eq!((first.days.len(), first.examples.len(), told(&reads)), (3, 10, [1, 0, 0, 0]));
    // what is counted meanwhile moves no page, and is part of the next first one
    counted(&store, 3).await;
    let second = page(first.next, 1).await;
    assert_eq!((second.days.len(), told(&reads)), (3, [1, 1, 0, 0]));
    let third = page(second.next, 2).await;
    assert_eq!((third.next, told(&reads)), (None, [1, 2, 0, 0]));
    let all: std::collections::BTreeSet<_> =
        [&first, &second, &third].iter().flat_map(|page| page.examples.iter().map(|(place, _)| *place)).collect();
    assert_eq!(all.len(), 30, "each once");
    assert_eq!((page(None, 3).await.days.len(), told(&reads)), (4, [2, 2, 0, 0]));
    // another span is another read, and so is what was read too long ago
    let other = DaysOf { span: Window { start: Ts(0), end: Ts(DAY) }, ..OF };
    let asked = ExamplesPage { behind: first.next, limit: 10 };
    reads.of((&store, &directory), other, asked, Ts(4)).await.expect("read");
    assert_eq!(told(&reads), [3, 2, 0, 0]);
    assert_eq!((page(first.next, 3 + KEPT_FOR).await.days.len(), told(&reads)), (4, [4, 2, 0, 0]));
    store.close().await;
}

#[actix_rt::test]
async fn what_is_kept_has_a_limit() {
    let dir = testkit::temp_dir();
    let (store, reads, directory) = (store(&dir).await, reads(), Directory::default());
    for end in 1..=2 * KEPT_MAX as i64 {
        let of = DaysOf { span: Window { start: Ts(0), end: Ts(end) }, ..OF };
        reads.of((&store, &directory), of, ExamplesPage { behind: None, limit: 1 }, Ts(0)).await.expect("read");
        assert_eq!(reads.kept.lock().len(), KEPT_MAX.min(end as usize));
    }
    store.close().await;
}

#[actix_rt::test]
async fn so_many_wait_and_whoever_comes_then_is_told_to_come_again() {
    let dir = testkit::temp_dir();
    let (store, reads, directory) = (store(&dir).await, reads(), Directory::default());
    let first = ExamplesPage { behind: None, limit: 1 };
    let others = reads.places.try_acquire_many((AT_ONCE + WAITING_MAX) as u32).expect("nobody is here yet");
    let refused = reads.of((&store, &directory), OF, first, Ts(0)).await;
    assert!(matches!(refused, Err(EngineError::Overloaded(_))), "{refused:?}");
    drop(others);
    let read = reads.of((&store, &directory), OF, first, Ts(0)).await;
    assert!(read.is_ok(), "{read:?}");
    assert_eq!(told(&reads), [1, 0, 1, 0]);
    assert_eq!((reads.places.available_permits(), reads.turns.available_permits()), (AT_ONCE + WAITING_MAX, AT_ONCE));
    store.close().await;
}
