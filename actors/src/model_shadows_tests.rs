use super::*;
use crate::risk_models::tests::open;
use crate::scoring::tests::table;
use ml::tabular::artefact::Kind;
use ml::tabular::batch;
use std::time::Duration;

const HOME: JurisdictionNo = JurisdictionNo(0);

#[actix_rt::test]
async fn one_person_lets_one_version_of_a_kind_score_in_the_shadow() {
    let dir = testkit::temp_dir();
    let (store, writer) = open(&testkit::sqlite_url(&dir)).await;
    let kind = ModelKind::TransactionRisk;
    let train = table(kind, 600);
    for seed in [1, 2] {
        let artefact = batch::train(Kind::TransactionRisk, train.as_bytes(), None, seed).expect("learnt");
        let mut document = Vec::new();
        artefact.write(&mut document).expect("written");
        // never judged on a table of its own: it may score where nobody hears it
        crate::risk_models::register(&store, &writer, &document, None, &Who::typed("Wanjiku"))
            .await
            .expect("registered");
    }
    store.execute_for_tests("UPDATE model_chunks SET bytes = x'00' WHERE version = 2").await.expect("spoilt");
    use ShadowStep::{End, Start};
    // version | step | why | what is said; none: it goes
    for (version, of, reason, wanted) in [
        (9, Start, "why", Some("no such model")),
        (1, End, "why", Some("this version is not in the shadow")),
        (1, Start, " ", Some("/reason")),
        (2, Start, "why", Some("it cannot score here")),
        (1, Start, "why", None),
        (2, Start, "why", Some("version 1 is in the shadow")),
        (2, End, "why", Some("this version is not in the shadow")),
        (1, End, "seen enough", None),
        (1, Start, "once more", None),
    ] {
        let done = take_step(&store, &writer, HOME, (kind, version), of, (&Who::typed("Wanjiku"), reason)).await;
        match (done, wanted) {
            (Ok(()), None) => {}
            (Err(error), Some(wanted)) => {
                let said = format!("{error} {error:?}");
                assert!(said.contains(wanted), "{version} {of:?}: {said}");
            }
            (done, wanted) => panic!("{version} {of:?}: {done:?} instead of {wanted:?}"),
        }
    }
    let shadow = store.shadow_model(HOME, kind).await.expect("read").expect("one");
    assert_eq!(shadow.shadow.map(|(by, _, reason)| (by, reason)), Some(("Wanjiku".into(), "once more".into())));
    // each jurisdiction has a shadow of its own
    let abroad = JurisdictionNo(1);
    let end = async |no| take_step(&store, &writer, no, (kind, 1), End, (&Who::typed("Otieno"), "why")).await;
    assert!(end(abroad).await.expect_err("not there").to_string().contains("not in the shadow"));
    take_step(&store, &writer, abroad, (kind, 1), Start, (&Who::typed("Otieno"), "why")).await.expect("there, too");
    end(abroad).await.expect("ended there");
    assert!(store.shadow_model(HOME, kind).await.expect("read").is_some(), "and not here");
    crate::risk_models::retire(&store, &writer, HOME, (kind, 1), &Who::typed("Otieno"), "of old data")
        .await
        .expect("retired");
    assert!(store.shadow_model(HOME, kind).await.expect("read").is_none(), "its retirement ends it");
    let again =
        take_step(&store, &writer, HOME, (kind, 1), Start, (&Who::typed("Wanjiku"), "why")).await.expect_err("retired");
    assert!(again.to_string().contains("retired"), "{again}");
    store.stop_writer(Duration::from_secs(5)).await;
}
