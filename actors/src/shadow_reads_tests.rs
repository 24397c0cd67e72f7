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
async fn what_is_kept_goes_by_the_days_of_a_span() {
    let dir = testkit::temp_dir();
    let (store, reads, directory) = (store(&dir).await, reads(), Directory::default());
    for day in 0..3 {
        counted(&store, day).await;
    }
    let ask = async |(start, end), behind| {
        let of = DaysOf { span: Window { start: Ts(start), end: Ts(end) }, ..OF };
        let page = ExamplesPage { behind, limit: 10 };
        reads.of((&store, &directory), of, page, Ts(0)).await.expect("read").sum.next
    };
    let noon = 2 * DAY + DAY / 2;
    let first = ask((0, noon), None).await;
    // the beginning and the end of a span, whether it is a page that follows, reads and pages out of what is kept by then, and
    // how much is kept
    let table = [
        ((0, noon + 1), true, [1, 1], 1),
        ((1 - DAY, 3 * DAY), true, [1, 2], 1),
        // a first page is read anew, in the place of the one before
        ((0, noon + 2), false, [2, 2], 1),
        // a day less, and a day more
        ((1, noon), true, [3, 2], 2),
        ((0, 3 * DAY + 1), true, [4, 2], 3),
    ];
    for (span, is_behind, outcomes, kept) in table {
        ask(span, first.filter(|_| is_behind)).await;
        assert_eq!((told(&reads)[..2].to_vec(), reads.kept.lock().len()), (outcomes.to_vec(), kept), "{span:?}");
    }
    store.close().await;
}

#[actix_rt::test]
async fn a_read_takes_the_place_of_what_was_read_of_the_same_from_there_on() {
    let dir = testkit::temp_dir();
    let (store, reads, directory) = (store(&dir).await, reads(), Directory::default());
    for day in 0..3 {
        counted(&store, day).await;
    }
    let first = ExamplesPage { behind: None, limit: 10 };
    let read = reads.of((&store, &directory), OF, first, Ts(0)).await.expect("read");
    let next = read.sum.next;
    let days = Arc::new(read);
    // behind which example it was read, and from where on something is kept then
    let table = [(None, vec![None]), (next, vec![None, next]), (next, vec![None, next]), (None, vec![None])];
    for (behind, wanted) in table {
        reads.keep(Kept { of: OF, behind, at: Ts(0), days: Arc::clone(&days) });
        let kept: Vec<_> = reads.kept.lock().iter().map(|kept| kept.behind).collect();
        assert_eq!(kept, wanted, "{behind:?}");
    }
    store.close().await;
}

#[actix_rt::test]
async fn what_is_kept_has_a_limit() {
    let dir = testkit::temp_dir();
    let (store, reads, directory) = (store(&dir).await, reads(), Directory::default());
    for end in 1..=2 * KEPT_MAX as i64 {
        let of = DaysOf { span: Window { start: Ts(0), end: Ts(end * DAY) }, ..OF };
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
