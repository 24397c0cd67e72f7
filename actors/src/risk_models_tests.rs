use super::*;
use crate::scoring::tests::{learnt, table};
use crate::writer::{Answers, CommitMetrics};
use ml::tabular::artefact::Kind;
use ml::tabular::batch;
use models::ids::KeyId;
use std::sync::Arc;
use std::time::Duration;
use store::{OpenOptions, SystemClock};

/// A store, and a writer as tools have it.
pub(crate) async fn open(url: &str) -> (Store, WriterHandle) {
    let store = Store::open(url, &OpenOptions::default()).await.expect("a store");
    let clock = Arc::new(SystemClock);
    let writer =
        store.start_writer(Box::new(Answers), [7; 32], clock, Duration::from_secs(10)).await.expect("a writer");
    (store, WriterHandle::new(writer, CommitMetrics::unregistered().expect("metrics")))
}

const HOME: JurisdictionNo = JurisdictionNo(0);
const ABROAD: JurisdictionNo = JurisdictionNo(1);

/// The version of a kind that scores in a jurisdiction, ready to.
async fn scorer(store: &Store, of: (JurisdictionNo, ModelKind)) -> Result<Option<Scorer>, NoScorer> {
    match store.promoted_model(of.0, of.1).await? {
        Some(stored) => scorer_of(store, &stored.model).await.map(Some),
        None => Ok(None),
    }
}

/// A table from a row on.
fn from(table: &str, row: usize) -> String {
    let mut lines = table.lines();
    let head = lines.next().expect("a head");
    std::iter::once(head).chain(lines.skip(row)).map(|line| format!("{line}\n")).collect()
}

#[actix_rt::test]
async fn a_model_scores_when_a_second_person_promoted_a_validated_version() {
    let dir = testkit::temp_dir();
    let (store, writer) = open(&testkit::sqlite_url(&dir)).await;
    let nobody = Directory::default();
    let kind = ModelKind::TransactionRisk;
    let (train, test) = (table(kind, 600), from(&table(kind, 1_500), 600));
    let artefact = learnt(Kind::TransactionRisk, &train);
    let mut document = Vec::new();
    artefact.write(&mut document).expect("written");
    let conflict = |done: Result<(), EngineError>, wanted: &str| {
        let error = done.expect_err(wanted);
        assert!(error.to_string().contains(wanted), "{error}");
    };

    assert!(matches!(
        register(&store, &writer, b"{}", None, &Who::typed("Wanjiku")).await,
        Err(EngineError::Invalid { .. })
    ));
    assert!(matches!(
        register(&store, &writer, &document, None, &Who::typed(" ")).await,
        Err(EngineError::Invalid { .. })
    ));
    let first = register(&store, &writer, &document, None, &Who::typed("Wanjiku")).await.expect("registered");
    assert_eq!((first.kind, first.version), (kind, 1));
    assert!(
        register(&store, &writer, &document, None, &Who::typed("Wanjiku")).await.is_err(),
        "the same artefact twice"
    );
    conflict(
        promote(&store, &writer, &nobody, HOME, (kind, 1), &Who::typed("Otieno"), Vec::new()).await,
        "never judged on a table of its own",
    );
    assert!(scorer(&store, (HOME, kind)).await.expect("read").is_none());

    let other = batch::train(Kind::TransactionRisk, train.as_bytes(), None, 2).expect("another seed");
    document.clear();
    other.write(&mut document).expect("written");
    let own = batch::judge(&other, train.as_bytes()).expect("judged");
    let refused = register(&store, &writer, &document, Some(own), &Who::typed("Wanjiku")).await.expect("registered");
    conflict(
        promote(&store, &writer, &nobody, HOME, (kind, refused.version), &Who::typed("Otieno"), Vec::new()).await,
        "the table that it was learnt from",
    );

    // the same rows with a byte more, and other rows with a few of them among: neither is a table of its own
    for (seed, more) in [(4, train.clone() + "\n"), (5, from(&table(kind, 1_500), 580))] {
        let other = batch::train(Kind::TransactionRisk, train.as_bytes(), None, seed).expect("another seed");
        document.clear();
        other.write(&mut document).expect("written");
        let judged = batch::judge(&other, more.as_bytes()).expect("judged");
        let refused =
            register(&store, &writer, &document, Some(judged), &Who::typed("Wanjiku")).await.expect("registered");
        conflict(
            promote(&store, &writer, &nobody, HOME, (kind, refused.version), &Who::typed("Otieno"), Vec::new()).await,
            "one in 100 of the rows",
        );
    }

    let third = batch::train(Kind::TransactionRisk, train.as_bytes(), None, 3).expect("a third seed");
    document.clear();
    third.write(&mut document).expect("written");
    let judged = batch::judge(&third, test.as_bytes()).expect("judged");
    let third = register(&store, &writer, &document, Some(judged), &Who::typed("Wanjiku")).await.expect("registered");
    conflict(
        promote(&store, &writer, &nobody, HOME, (kind, 5), &Who::typed("wanjiku "), Vec::new()).await,
        "a second person",
    );
    promote(&store, &writer, &nobody, HOME, (kind, 5), &Who::typed("Otieno"), Vec::new()).await.expect("promoted");
    conflict(
        promote(&store, &writer, &nobody, HOME, (kind, 5), &Who::typed("Otieno"), Vec::new()).await,
        "scores already",
    );
    assert!(matches!(
        promote(&store, &writer, &nobody, HOME, (kind, 9), &Who::typed("Otieno"), Vec::new()).await,
        Err(EngineError::NotFound(_))
    ));

    let scorer_now = scorer(&store, (HOME, kind)).await.expect("read").expect("one scores");
    assert_eq!((scorer_now.version(), third.version), (5, 5));
    let row = [0.5; engine::features::transaction::WIDTH];
    let wide = row.map(f64::from);
    let wanted = Artefact::read(document.as_slice()).expect("read").0.model.score(&wide);
    assert_eq!(f64::from(scorer_now.score(&row)), (wanted * 1e6).round(), "what is stored is what was learnt");

    // bytes that are not what was registered score nothing
    store.execute_for_tests("UPDATE model_chunks SET bytes = x'00' WHERE version = 5").await.expect("spoilt");
    assert!(matches!(scorer(&store, (HOME, kind)).await, Err(NoScorer::Damaged(_))));
    retire(&store, &writer, HOME, (kind, 5), &Who::typed("Otieno"), "spoilt").await.expect("retired");
    conflict(retire(&store, &writer, HOME, (kind, 5), &Who::typed("Otieno"), "again").await, "retired");
    assert!(scorer(&store, (HOME, kind)).await.expect("read").is_none());
    store.stop_writer(Duration::from_secs(5)).await;
}

#[actix_rt::test]
async fn what_was_registered_without_a_judgement_is_judged_afterwards() {
    let dir = testkit::temp_dir();
    let (store, writer) = open(&testkit::sqlite_url(&dir)).await;
    let (nobody, kind) = (Directory::default(), ModelKind::TransactionRisk);
    let (train, test) = (table(kind, 600), from(&table(kind, 1_500), 600));
    let mut document = Vec::new();
    batch::train(Kind::TransactionRisk, train.as_bytes(), None, 3)
        .expect("learnt")
        .write(&mut document)
        .expect("written");
    let [registers, other] = ["Wanjiku", "Otieno"].map(Who::typed);
    let judge = Who { name: "Achieng".to_owned(), key: Some(KeyId(9)) };
    register(&store, &writer, &document, None, &registers).await.expect("registered");
    let refused = async |by: &Who, wanted: &str| {
        let error = promote(&store, &writer, &nobody, HOME, (kind, 1), by, Vec::new()).await.expect_err(wanted);
        assert!(error.to_string().contains(wanted), "{error}");
    };
    refused(&other, "never judged on a table of its own").await;

    let judged = async |table: &str, by: &Who| {
        let judged = batch::judge(&unjudged(&store, &nobody, (kind, 1)).await?, table.as_bytes()).expect("judged");
        evaluate(&store, &writer, &nobody, (kind, 1), judged, by).await
    };
    // a table that it was learnt from validates nothing, and one of its own takes its place
    judged(&train, &judge).await.expect("written into its papers");
    refused(&other, "the table that it was learnt from").await;
    assert!(matches!(judged(&test, &Who::typed(" ")).await, Err(EngineError::Invalid { .. })));
    let papers = judged(&test, &judge).await.expect("written into its papers");
    assert_eq!((papers.validated(), papers.evaluated_by.as_ref()), (Ok(()), Some(&judge)));
    assert_eq!(known(&store, HOME, (kind, 1)).await.expect("read").model, papers);
    // neither who registered it nor who had it judged
    refused(&judge, "had a model judged").await;
    refused(&Who::typed("wanjiku"), "registered a model").await;
    promote(&store, &writer, &nobody, HOME, (kind, 1), &other, Vec::new()).await.expect("promoted");
    for (version, wanted) in [(1, "scores already"), (9, "no such model")] {
        let error = unjudged(&store, &nobody, (kind, version)).await.expect_err(wanted);
        assert!(error.to_string().contains(wanted), "{error}");
    }
    store.stop_writer(Duration::from_secs(5)).await;
}

#[actix_rt::test]
async fn what_scored_before_scores_again_while_it_still_can() {
    let dir = testkit::temp_dir();
    let (store, writer) = open(&testkit::sqlite_url(&dir)).await;
    let nobody = Directory::default();
    let kind = ModelKind::TransactionRisk;
    let (train, test) = (table(kind, 600), from(&table(kind, 1_500), 600));
    for (seed, version) in [(3, 1), (2, 2)] {
        let artefact = batch::train(Kind::TransactionRisk, train.as_bytes(), None, seed).expect("learnt");
        let mut document = Vec::new();
        artefact.write(&mut document).expect("written");
        let judged = batch::judge(&artefact, test.as_bytes()).expect("judged");
        let model =
            register(&store, &writer, &document, Some(judged), &Who::typed("Wanjiku")).await.expect("registered");
        assert_eq!(model.version, version);
    }
    let back = async |by: &str, reason: &str| roll_back(&store, &writer, (HOME, kind), &Who::typed(by), reason).await;
    let refused = async |wanted: &str| {
        let error = back("Wanjiku", "it names everybody").await.expect_err(wanted);
        assert!(matches!(error, EngineError::Conflict(_)) && error.to_string().contains(wanted), "{error}");
    };
    refused("no version of this kind scores").await;
    promote(&store, &writer, &nobody, HOME, (kind, 1), &Who::typed("Otieno"), Vec::new()).await.expect("promoted");
    refused("nothing scored before version 1").await;
    promote(&store, &writer, &nobody, HOME, (kind, 2), &Who::typed("Otieno"), Vec::new()).await.expect("promoted");
    for (by, reason) in [("Wanjiku", " "), ("", "it names everybody"), ("Wanjiku", "two\nlines")] {
        assert!(matches!(back(by, reason).await, Err(EngineError::Invalid { .. })), "{by:?} {reason:?}");
    }
    // one person, even the one who registered it
    assert_eq!(back("Wanjiku", "it names everybody").await.ok(), Some(1));
    assert_eq!(scorer(&store, (HOME, kind)).await.expect("read").map(|scorer| scorer.version()), Some(1));
    refused("was itself gone back from").await;

    promote(&store, &writer, &nobody, HOME, (kind, 2), &Who::typed("Otieno"), Vec::new())
        .await
        .expect("seconded once more");
    store.execute_for_tests("UPDATE model_chunks SET bytes = x'00' WHERE version = 1").await.expect("spoilt");
    refused("does not score any more").await;
    store.execute_for_tests("DELETE FROM model_chunks WHERE version = 1").await.expect("gone");
    refused("does not score any more").await;
    retire(&store, &writer, HOME, (kind, 1), &Who::typed("Otieno"), "spoilt").await.expect("retired");
    refused("is retired").await;
    assert_eq!(scorer(&store, (HOME, kind)).await.expect("read").map(|scorer| scorer.version()), Some(2), "as it was");
    store.stop_writer(Duration::from_secs(5)).await;
}

#[actix_rt::test]
async fn what_one_jurisdiction_does_with_a_version_another_does_not_notice() {
    let dir = testkit::temp_dir();
    let (store, writer) = open(&testkit::sqlite_url(&dir)).await;
    let (nobody, kind) = (Directory::default(), ModelKind::TransactionRisk);
    let (train, test) = (table(kind, 600), from(&table(kind, 1_500), 600));
    for seed in [3, 2] {
        let artefact = batch::train(Kind::TransactionRisk, train.as_bytes(), None, seed).expect("learnt");
        let mut document = Vec::new();
        artefact.write(&mut document).expect("written");
        let judged = batch::judge(&artefact, test.as_bytes()).expect("judged");
        register(&store, &writer, &document, Some(judged), &Who::typed("Wanjiku")).await.expect("registered");
    }
    let by = Who::typed("Otieno");
    let promotes = async |no, version| promote(&store, &writer, &nobody, no, (kind, version), &by, Vec::new()).await;
    let scoring = async || {
        let mut all = Vec::new();
        for no in [HOME, ABROAD] {
            all.push(scorer(&store, (no, kind)).await.expect("read").map(|scorer| scorer.version()));
        }
        all
    };
    promotes(HOME, 1).await.expect("promoted");
    assert_eq!(scoring().await, [Some(1), None]);
    promotes(ABROAD, 1).await.expect("promoted there, too");
    promotes(HOME, 2).await.expect("promoted");
    assert_eq!(scoring().await, [Some(2), Some(1)]);
    let error = roll_back(&store, &writer, (ABROAD, kind), &by, "why").await.expect_err("nothing before");
    assert!(error.to_string().contains("nothing scored before version 1"), "{error}");
    assert_eq!(roll_back(&store, &writer, (HOME, kind), &by, "too many").await.ok(), Some(1));
    assert_eq!(scoring().await, [Some(1), Some(1)]);
    retire(&store, &writer, HOME, (kind, 1), &by, "of old data").await.expect("retired");
    assert_eq!(scoring().await, [None, Some(1)]);
    let error = promotes(HOME, 1).await.expect_err("retired");
    assert!(error.to_string().contains("this version is retired"), "{error}");
    // its papers are everybody's, and it scores
    let error = unjudged(&store, &nobody, (kind, 1)).await.expect_err("it scores");
    assert!(error.to_string().contains("scores already"), "{error}");
    retire(&store, &writer, ABROAD, (kind, 1), &by, "of old data").await.expect("retired there, too");
    let error = unjudged(&store, &nobody, (kind, 1)).await.expect_err("retired in both");
    assert!(error.to_string().contains("retired"), "{error}");
    store.stop_writer(Duration::from_secs(5)).await;
}
