//! Models: registered with their bytes, promoted by a second person, one at a time.

use super::bench::{Database, Kind, Node, operator};
use models::event::Event;
use models::ids::{KeyId, OperatorNo};
use models::jurisdiction::JurisdictionNo;
use models::match_key::MatchKey;
use models::model_life::{ModelAct, NoWayBack, rollback_of, way_back};
use models::money::Currency;
use models::operator::Operator;
use models::risk_model::{
    DriftJudged, DriftLevel, Model, ModelEvaluated, ModelEvaluation, ModelForecast, ModelKind, ModelMetrics,
    ModelPromoted, ModelRetired, ModelRollback, ModelState,
};
use models::rule::{ForecastBasis, RateForecast};
use models::rule_input::{RuleInput, RuleInputStored};
use models::score::{PlayersScored, ScoredPlayer};
use models::ts::{DAY, Ts};
use models::who::Who;
use store::{Attachment, CommitError, ModelBytes, PlayerRiskQuery};

const KIND: ModelKind = ModelKind::TransactionRisk;
pub const HOME: JurisdictionNo = JurisdictionNo(0);
pub const ABROAD: JurisdictionNo = JurisdictionNo(1);

pub fn model(kind: ModelKind, version: u32) -> Model {
    let held_out = ModelMetrics {
        rows: 1_000,
        positives: 100,
        auc_ppm: 900_000,
        average_precision_ppm: 700_000,
        brier_ppm: 40_000,
        calibration_error_ppm: 10_000,
    };
    Model {
        kind,
        version,
        artefact_sha256: format!("{}{version:064}", kind.as_str()),
        schema_sha256: "b".repeat(64),
        data_sha256: "c".repeat(64),
        features: 46,
        bytes: 600_000,
        trained_on: None,
        held_out,
        evaluation: None,
        by: "Wanjiku".to_owned(),
        by_key: None,
        evaluated_by: None,
        card: "# Model card".to_owned(),
    }
}

pub fn registered(model: &Model, bytes: &[u8]) -> (Vec<Event>, Vec<Attachment>) {
    let bytes = ModelBytes { kind: model.kind, version: model.version, bytes: bytes.to_vec() };
    (vec![Event::ModelRegistered(Box::new(model.clone()))], vec![Attachment::ModelBytes(bytes)])
}

/// What was expected of a version when it was promoted: as many alerts as its number; of the first nothing is known.
fn forecasts(version: u32) -> Vec<ModelForecast> {
    let forecast = RateForecast {
        basis: ForecastBasis::Shadow,
        findings: version.into(),
        operator_hours: 24,
        expected_micro: 1,
        upper_micro: 2,
    };
    let (jurisdiction, rule) = (JurisdictionNo(0), "risky_transaction".to_owned());
    (version > 1).then_some(ModelForecast { jurisdiction, rule, forecast }).into_iter().collect()
}

fn promoted(version: u32, by: &str) -> Event {
    promoted_in(Some(HOME), version, by)
}

fn promoted_in(jurisdiction: Option<JurisdictionNo>, version: u32, by: &str) -> Event {
    Event::ModelPromoted(ModelPromoted {
        kind: KIND,
        version,
        jurisdiction,
        by: by.to_owned(),
        by_key: None,
        rollback: None,
        forecasts: forecasts(version),
    })
}

/// By whoever registered it: one person is enough.
pub fn back(from: u32, version: u32) -> Event {
    back_in(HOME, from, version)
}

fn back_in(jurisdiction: JurisdictionNo, from: u32, version: u32) -> Event {
    let rollback = Some(ModelRollback { from, reason: "it names everybody".to_owned() });
    Event::ModelPromoted(ModelPromoted {
        kind: KIND,
        version,
        jurisdiction: Some(jurisdiction),
        by: "Wanjiku".to_owned(),
        by_key: None,
        rollback,
        forecasts: Vec::new(),
    })
}

fn retired(version: u32) -> Event {
    retired_in(HOME, version)
}

fn retired_in(jurisdiction: JurisdictionNo, version: u32) -> Event {
    let (by, by_key, reason) = ("Otieno".to_owned(), Some(KeyId(7)), "its data was wrong".to_owned());
    Event::ModelRetired(ModelRetired { kind: KIND, version, jurisdiction: Some(jurisdiction), by, by_key, reason })
}

pub async fn a_model_is_kept_whole_and_once(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    // more than two pieces, the last not full
    let bytes: Vec<u8> = (0..600_001u32).map(|n| n as u8 ^ (n >> 8) as u8).collect();
    let first = model(KIND, 1);
    let (events, attachments) = registered(&first, &bytes);
    node.commit(events, attachments).await.expect("it is kept");
    let (events, attachments) = registered(&model(ModelKind::PlayerRisk, 1), b"other");
    node.commit(events, attachments).await.expect("another kind has numbers of its own");
    for again in [model(KIND, 1), Model { version: 2, ..first.clone() }] {
        let (events, attachments) = registered(&again, b"again");
        let refused = node.commit(events, attachments).await;
        assert!(matches!(refused, Err(CommitError::Conflict { .. })), "{refused:?}");
    }
    let store = &node.store;
    assert_eq!(store.model_bytes(KIND, 1).await.expect("read"), bytes);
    assert_eq!(store.model_bytes(ModelKind::PlayerRisk, 1).await.expect("read"), b"other");
    assert_eq!(store.model_bytes(KIND, 2).await.expect("read"), b"", "what was refused left nothing");
    let known = store.model(HOME, (KIND, 1)).await.expect("read").expect("there");
    assert_eq!((known.model, known.state, known.promoted), (first, ModelState::Registered, None));
    assert_eq!(store.models(HOME).await.expect("read").len(), 2);
    store.execute_for_tests("DELETE FROM model_chunks WHERE idx = 1").await.expect("a piece is lost");
    assert!(store.model_bytes(KIND, 1).await.is_err());
}

pub async fn one_version_is_promoted_by_a_second_person(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    for version in [1, 2] {
        let (events, attachments) = registered(&model(KIND, version), b"bytes");
        node.commit(events, attachments).await.expect("it is kept");
    }
    use ModelState::{Promoted, Registered, Replaced, Retired};
    // what is tried | does it go | what the two versions are then
    let table = [
        (promoted(1, "Wanjiku"), false, [Registered, Registered]),
        (promoted(1, "wanjiku"), false, [Registered, Registered]),
        (promoted(3, "Otieno"), false, [Registered, Registered]),
        // an act of this release names its jurisdiction
        (promoted_in(None, 1, "Otieno"), false, [Registered, Registered]),
        (promoted(1, "Otieno"), true, [Promoted, Registered]),
        (promoted(1, "Otieno"), false, [Promoted, Registered]),
        (promoted(2, "Otieno"), true, [Replaced, Promoted]),
        (promoted(1, "Otieno"), true, [Promoted, Replaced]),
        (promoted(2, "Wanjiku"), false, [Promoted, Replaced]),
        (retired(2), true, [Promoted, Retired]),
        (retired(2), false, [Promoted, Retired]),
        (promoted(2, "Otieno"), false, [Promoted, Retired]),
        (retired(1), true, [Retired, Retired]),
    ];
    for (event, goes, wanted) in table {
        let done = node.commit(vec![event.clone()], Vec::new()).await;
        assert_eq!(done.is_ok(), goes, "{event:?}: {done:?}");
        let known = node.store.models(HOME).await.expect("read");
        assert_eq!(known.iter().map(|model| model.state).collect::<Vec<_>>(), wanted, "{event:?}");
        let scores = node.store.promoted_model(HOME, KIND).await.expect("read").map(|model| model.model.version);
        let at = wanted.iter().position(|state| *state == Promoted).map(|at| at as u32 + 1);
        assert_eq!(scores, at);
        if let (true, Event::ModelPromoted(of), Ok(receipt)) = (goes, &event, &done) {
            let place = node.store.model_promoted_at(HOME, (KIND, of.version)).await.expect("read");
            assert_eq!(place, receipt.events.first().map(|committed| committed.seq), "the last time");
        }
    }
    let journal = node.store.journal_events("model_promoted").await.expect("read");
    assert_eq!(journal.len(), 3, "what was refused is not in the journal");
    assert_eq!(node.store.model_promoted_at(HOME, (KIND, 3)).await.expect("read"), None);
}

pub async fn a_version_is_judged_while_it_does_not_score(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let first = model(KIND, 1);
    let (events, attachments) = registered(&first, b"bytes");
    node.commit(events, attachments).await.expect("it is kept");
    let by = Who { name: "Achieng".to_owned(), key: Some(KeyId(9)) };
    let evaluation =
        |table: &str| ModelEvaluation { data_sha256: table.repeat(64), metrics: first.held_out, compared: None };
    let judged = |version: u32, table: &str| {
        let evaluation = evaluation(table);
        Event::ModelEvaluated(ModelEvaluated { kind: KIND, version, evaluation, by: by.clone() })
    };
    // what is tried | does it go | on which table it is judged then
    let table = [
        (judged(2, "d"), false, None),
        (judged(1, "d"), true, Some("d")),
        (judged(1, "e"), true, Some("e")),
        (promoted(1, "Otieno"), true, Some("e")),
        (judged(1, "f"), false, Some("e")),
        (retired(1), true, Some("e")),
        (judged(1, "f"), false, Some("e")),
    ];
    for (event, goes, wanted) in table {
        let done = node.commit(vec![event.clone()], Vec::new()).await;
        assert_eq!(done.is_ok(), goes, "{event:?}: {done:?}");
        let known = node.store.model(HOME, (KIND, 1)).await.expect("read").expect("there").model;
        assert_eq!(known.evaluation, wanted.map(evaluation), "{event:?}");
        assert_eq!(known.evaluated_by, wanted.map(|_| by.clone()), "{event:?}");
        assert_eq!((&known.by, &known.card), (&first.by, &first.card), "the rest stays");
    }
    let acts = node.store.model_acts(HOME, KIND).await.expect("read");
    let told: Vec<_> = acts.iter().map(|acted| (acted.act, acted.by.as_str(), acted.by_key)).collect();
    use ModelAct::{Evaluated, Promoted, Registered, Retired};
    assert_eq!(
        told,
        [
            (Registered, "Wanjiku", None),
            (Evaluated, "Achieng", by.key),
            (Evaluated, "Achieng", by.key),
            (Promoted, "Otieno", None),
            (Retired, "Otieno", Some(KeyId(7))),
        ]
    );
    node.stop().await;
}

pub async fn one_goes_back_to_what_scored_before_and_one_step_alone(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    for version in [1, 2, 3] {
        let (events, attachments) = registered(&model(KIND, version), b"bytes");
        node.commit(events, attachments).await.expect("it is kept");
    }
    let (events, attachments) = registered(&model(ModelKind::PlayerRisk, 1), b"other");
    node.commit(events, attachments).await.expect("it is kept");
    // what is tried | does it go | which scores then
    let table = [
        (back(2, 1), false, None),
        (promoted(1, "Otieno"), true, Some(1)),
        (back(1, 1), false, Some(1)),
        (back(2, 1), false, Some(1)),
        (promoted(2, "Otieno"), true, Some(2)),
        (promoted(3, "Otieno"), true, Some(3)),
        // not over the head of one between them, not to one that never scored, not from one that does not
        (back(3, 1), false, Some(3)),
        (back(2, 1), false, Some(3)),
        (back(3, 2), true, Some(2)),
        // not to and fro, and not further back
        (back(2, 3), false, Some(2)),
        (back(2, 1), false, Some(2)),
        (promoted(3, "Otieno"), true, Some(3)),
        (retired(2), true, Some(3)),
        (back(3, 2), false, Some(3)),
    ];
    for (event, goes, wanted) in table {
        let done = node.commit(vec![event.clone()], Vec::new()).await;
        assert_eq!(done.is_ok(), goes, "{event:?}: {done:?}");
        let scores = node.store.promoted_model(HOME, KIND).await.expect("read").map(|model| model.model.version);
        assert_eq!(scores, wanted, "{event:?}");
        if let (true, Event::ModelPromoted(of), Ok(receipt)) = (goes, &event, &done) {
            let place = node.store.model_promoted_at(HOME, (KIND, of.version)).await.expect("read");
            assert_eq!(place, receipt.events.first().map(|committed| committed.seq), "scores begin anew there");
            let known = node.store.model(HOME, (KIND, of.version)).await.expect("read").expect("there");
            let at = receipt.events.first().map(|committed| committed.at);
            assert_eq!(known.promoted, at.map(|at| (of.by.clone(), at)));
            assert_eq!((known.state, known.ended), (ModelState::Promoted, None));
        }
    }
    let acts = node.store.model_acts(HOME, KIND).await.expect("read");
    let told: Vec<_> = acts.iter().map(|acted| (acted.act, acted.version, acted.other)).collect();
    use ModelAct::{Promoted, Registered, Retired, RolledBack};
    assert_eq!(
        told,
        [
            (Registered, 1, None),
            (Registered, 2, None),
            (Registered, 3, None),
            (Promoted, 1, None),
            (Promoted, 2, Some(1)),
            (Promoted, 3, Some(2)),
            (RolledBack, 2, Some(3)),
            (Promoted, 3, Some(2)),
            (Retired, 2, None),
        ],
        "what was refused left nothing"
    );
    assert_eq!((acts[6].by.as_str(), acts[6].reason.as_deref()), ("Wanjiku", Some("it names everybody")));
    assert_eq!((acts[5].by.as_str(), acts[5].reason.as_deref()), ("Otieno", None));
    assert_eq!(acts[8].reason.as_deref(), Some("its data was wrong"));
    // what was expected stays with each promotion; a way back has none
    let expected: Vec<_> = acts.iter().map(|acted| acted.forecasts.clone()).collect();
    let none = Vec::new;
    let wanted = [none(), none(), none(), none(), forecasts(2), forecasts(3), none(), forecasts(3), none()];
    assert_eq!(expected, wanted);
    assert_eq!((acts[8].by_key, acts[6].by_key), (Some(KeyId(7)), None), "with which key");
    assert_eq!(node.store.model_acts(HOME, ModelKind::PlayerRisk).await.expect("read").len(), 1, "of its own kind");
    node.stop().await;
}

/// Which version scores in each of three jurisdictions.
async fn scoring(node: &Node) -> [Option<u32>; 3] {
    let mut all = [None; 3];
    for (no, version) in (0..).zip(&mut all) {
        let stored = node.store.promoted_model(JurisdictionNo(no), KIND).await.expect("read");
        *version = stored.map(|stored| stored.model.version);
    }
    all
}

pub async fn each_jurisdiction_has_its_own_and_an_act_of_before_counts_in_every_one(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    for version in [1, 2, 3] {
        let (events, attachments) = registered(&model(KIND, version), b"bytes");
        node.commit(events, attachments).await.expect("it is kept");
    }
    let first = node.commit(vec![promoted(1, "Otieno")], Vec::new()).await.expect("promoted");
    // as releases before wrote it
    database.break_open().await;
    for before in [
        "UPDATE model_acts SET jurisdiction = NULL",
        r#"UPDATE journal SET payload = REPLACE(payload, '"jurisdiction":0,', '') WHERE kind = 'model_promoted'"#,
    ] {
        assert!(database.run(before).await.expect("the acts of before") > 0, "{before}");
    }
    assert_eq!(scoring(&node).await, [Some(1); 3]);
    // what is tried | does it go | which scores in each then
    let table = [
        (promoted_in(Some(ABROAD), 2, "Otieno"), true, [Some(1), Some(2), Some(1)]),
        (back_in(HOME, 2, 1), false, [Some(1), Some(2), Some(1)]),
        (promoted(3, "Otieno"), true, [Some(3), Some(2), Some(1)]),
        (back_in(ABROAD, 3, 1), false, [Some(3), Some(2), Some(1)]),
        (back_in(HOME, 3, 1), true, [Some(1), Some(2), Some(1)]),
        (retired_in(ABROAD, 2), true, [Some(1), None, Some(1)]),
        (promoted_in(Some(ABROAD), 2, "Otieno"), false, [Some(1), None, Some(1)]),
        (promoted(2, "Otieno"), true, [Some(2), None, Some(1)]),
        (back_in(HOME, 2, 1), true, [Some(1), None, Some(1)]),
        (retired(1), true, [None, None, Some(1)]),
    ];
    for (event, goes, wanted) in table {
        let done = node.commit(vec![event.clone()], Vec::new()).await;
        assert_eq!(done.is_ok(), goes, "{event:?}: {done:?}");
        assert_eq!(scoring(&node).await, wanted, "{event:?}");
    }
    // history and place in the journal are of a jurisdiction, or of every one
    for (no, wanted) in [(HOME, 5 + 4), (ABROAD, 2 + 4), (JurisdictionNo(2), 4)] {
        assert_eq!(node.store.model_acts(no, KIND).await.expect("read").len(), wanted, "{no:?}");
    }
    let place = async |no| node.store.model_promoted_at(no, (KIND, 2)).await.expect("read");
    assert!(place(HOME).await > place(ABROAD).await && place(ABROAD).await.is_some());
    assert_eq!(place(JurisdictionNo(2)).await, None);
    // what was promoted in every one scores from there on, but where it scores again by a way back
    let at = first.events.first().map(|committed| committed.seq);
    let place = async |no| node.store.model_promoted_at(no, (KIND, 1)).await.expect("read");
    assert_eq!([place(ABROAD).await, place(JurisdictionNo(2)).await], [at, at]);
    assert!(at.is_some() && place(HOME).await > at);
    node.stop().await;
}

/// What a store of migration 0044 holds of four versions: one scores, in the place of another, one is retired, and one is in
/// the shadow. Of another kind the first of two scores again, by a way back. There are operators in two jurisdictions.
fn of_before() -> Vec<String> {
    let mut rows = Vec::new();
    for (kind, number, state) in [
        (KIND, 1, "replaced"),
        (KIND, 2, "promoted"),
        (KIND, 3, "retired"),
        (KIND, 4, "registered"),
        (ModelKind::PlayerRisk, 1, "promoted"),
        (ModelKind::PlayerRisk, 2, "replaced"),
    ] {
        let (papers, name) = (serde_json::to_string(&model(kind, number)).expect("JSON"), kind.as_str());
        rows.push(format!(
            "INSERT INTO models (kind, version, artefact_sha256, state, registered_by, registered_at, body) VALUES ('{name}', {number}, '{name}{number}', '{state}', 'Wanjiku', 0, '{papers}')"
        ));
    }
    for (kind, nr, act, number, other, reason) in [
        (KIND, 1, "promoted", 1, "NULL", "NULL"),
        (KIND, 2, "promoted", 2, "1", "NULL"),
        (KIND, 3, "retired", 3, "NULL", "NULL"),
        (ModelKind::PlayerRisk, 1, "promoted", 1, "NULL", "NULL"),
        (ModelKind::PlayerRisk, 2, "promoted", 2, "1", "NULL"),
        (ModelKind::PlayerRisk, 3, "rolled_back", 1, "2", "'it names everybody'"),
    ] {
        let name = kind.as_str();
        rows.push(format!(
            "INSERT INTO model_acts (kind, nr, version, act, done_by, done_at, other, reason) VALUES ('{name}', {nr}, {number}, '{act}', 'Otieno', {nr}, {other}, {reason})"
        ));
    }
    rows.push("INSERT INTO model_shadows (kind, version, started_by, started_at, reason) VALUES ('transaction_risk', 4, 'Wanjiku', 9, 'why')".to_owned());
    for no in [0, 1] {
        rows.push(format!(
            "INSERT INTO operators (operator_no, id, code, jurisdiction, body) VALUES ({no}, 'o{no}', 'o{no}', {no}, '{{}}')"
        ));
    }
    rows
}

pub async fn what_scored_for_all_scores_in_every_jurisdiction_after_the_upgrade(kind: Kind) {
    let database = Database::as_of(kind, 44).await;
    for row in of_before() {
        assert_eq!(database.run(&row).await.expect("a row"), 1, "{row}");
    }
    let node = database.open().await;
    use ModelState::{Promoted, Registered, Replaced, Retired};
    let otieno = |at| Some(("Otieno".to_owned(), Ts(at)));
    // the third has no operators yet, and nothing that could score in the shadow
    for (no, shadow) in [(HOME, Some(4)), (ABROAD, Some(4)), (JurisdictionNo(2), None)] {
        let known = node.store.models(no).await.expect("read");
        let (known, others): (Vec<_>, Vec<_>) = known.into_iter().partition(|stored| stored.model.kind == KIND);
        let states: Vec<_> = known.iter().map(|stored| stored.state).collect();
        assert_eq!(states, [Replaced, Promoted, Retired, Registered], "{no:?}");
        assert_eq!(known[1].promoted, otieno(2), "{no:?}");
        assert_eq!(known[0].ended, otieno(2), "{no:?}");
        let in_shadow = node.store.shadow_model(no, KIND).await.expect("read");
        assert_eq!(in_shadow.map(|stored| stored.model.version), shadow, "{no:?}");
        // what was gone back to scores by that way back, what was gone back from ended with it
        let told: Vec<_> = others.iter().map(|stored| (stored.state, stored.promoted.clone(), &stored.ended)).collect();
        assert_eq!(told, [(Promoted, otieno(3), &None), (Replaced, otieno(2), &otieno(3))], "{no:?}");
        let acts = node.store.model_acts(no, ModelKind::PlayerRisk).await.expect("read");
        for version in [1, 2] {
            let back = rollback_of(&acts, version).map(|acted| (acted.version, acted.other, acted.reason.as_deref()));
            assert_eq!(back, Some((1, Some(2), Some("it names everybody"))), "{no:?}: version {version}");
        }
        assert_eq!(way_back(&acts), Err(NoWayBack::WasRolledBack { from: 2 }), "{no:?}");
    }
    // from here on each goes its own way, also back from what was promoted for all
    node.commit(vec![back_in(ABROAD, 2, 1)], Vec::new()).await.expect("it goes back");
    assert_eq!(scoring(&node).await, [Some(2), Some(1), Some(2)]);
    node.stop().await;
}

pub async fn drift_is_kept_by_day(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let judged = |day: i64, operator, rows| DriftJudged {
        kind: KIND,
        version: 1,
        operator_no: OperatorNo(operator),
        day: Ts(day * DAY),
        rows,
        level: DriftLevel::Moderate,
        score_psi_ppm: Some(120_000),
        features: vec![("amount_minor".to_owned(), 110_000)],
        calibration: None,
        reasons: vec!["amounts".to_owned()],
        is_shadow: false,
    };
    let abroad = match operator(3, "abroad") {
        Event::OperatorSet(abroad) => Event::OperatorSet(Operator { jurisdiction: JurisdictionNo(1), ..abroad }),
        other => other,
    };
    node.commit(vec![operator(1, "acme"), operator(2, "bold"), abroad], Vec::new()).await.expect("they are kept");
    for (day, operator, rows) in [(1, 1, 10), (1, 2, 20), (2, 1, 30), (1, 1, 11), (2, 3, 40)] {
        let event = Event::ModelDriftJudged(Box::new(judged(day, operator, rows)));
        node.commit(vec![event], Vec::new()).await.expect("it is kept");
    }
    // jurisdiction | version | what is kept of it
    for (jurisdiction, version, wanted) in [
        (0, 1, &[judged(2, 1, 30), judged(1, 1, 11), judged(1, 2, 20)][..]),
        (1, 1, &[judged(2, 3, 40)]),
        (2, 1, &[]),
        (0, 2, &[]),
    ] {
        let kept = node.store.model_drift(JurisdictionNo(jurisdiction), (KIND, version)).await.expect("read");
        assert_eq!(kept, wanted, "{jurisdiction} {version}");
    }
    for (of, wanted) in [(judged(1, 2, 5), true), (judged(2, 2, 5), false), (judged(1, 3, 5), false)] {
        assert_eq!(node.store.is_drift_judged(&of).await.expect("read"), wanted, "{of:?}");
    }
}

fn players(operator: u16, version: u32, day: i64, scores: &[(u128, u32)]) -> Event {
    let of = |(key, score_ppm): &(u128, u32)| ScoredPlayer {
        player: MatchKey(*key),
        currency: Currency::KES,
        score_ppm: *score_ppm,
        reasons: vec![format!("day {day}")],
    };
    let scored = PlayersScored {
        version,
        as_of: Ts(day * DAY),
        said_at: None,
        nameless: Vec::new(),
        told: Vec::new(),
        players: scores.iter().map(of).collect(),
    };
    let input = RuleInput::PlayersScored(Box::new(scored));
    Event::RuleInputStored(RuleInputStored::new((OperatorNo(operator), JurisdictionNo(0)), 0, input))
}

pub async fn the_last_score_of_a_player_is_read_and_every_one_is_an_input(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let days = [
        vec![players(1, 1, 1, &[(7, 900_000), (8, 100), (9, 500_000)]), players(2, 1, 1, &[(7, 300_000)])],
        // the same player twice in a commit: the last one stands
        vec![players(1, 1, 2, &[(8, 700_000)]), players(1, 1, 3, &[(8, 600_000)])],
        vec![players(1, 2, 4, &[(9, 990_000)])],
    ];
    for events in &days {
        node.commit(events.clone(), Vec::new()).await.expect("stored");
    }
    let store = &node.store;
    let risky = async |version, from_ppm, limit| {
        let query = PlayerRiskQuery { operator: OperatorNo(1), version, from_ppm, limit };
        let found = store.players_at_risk(&query).await.expect("read");
        found.iter().map(|risk| (risk.scored.player.0, risk.scored.score_ppm)).collect::<Vec<_>>()
    };
    assert_eq!(risky(1, 500_000, 10).await, [(7, 900_000), (8, 600_000)]);
    assert_eq!(risky(1, 600_001, 10).await, [(7, 900_000)]);
    assert_eq!(risky(1, 0, 1).await, [(7, 900_000)]);
    assert_eq!(risky(2, 0, 10).await, [(9, 990_000)], "of one version");
    let of = async |jurisdiction| {
        let found = store.risk_of_player(JurisdictionNo(jurisdiction), 1, MatchKey(7)).await.expect("read");
        found.iter().map(|risk| (risk.operator_no.0, risk.as_of, risk.scored.reasons.join(""))).collect::<Vec<_>>()
    };
    let reason = || "day 1".to_owned();
    assert_eq!(of(0).await, [(1, Ts(DAY), reason()), (2, Ts(DAY), reason())]);
    assert!(of(1).await.is_empty(), "of another jurisdiction");
    let inputs = store.rule_inputs(OperatorNo(1), 0, 10).await.expect("read");
    let stored = days.iter().flatten().filter_map(|event| match event {
        Event::RuleInputStored(stored) if stored.operator_no == OperatorNo(1) => Some(stored.input.clone()),
        _ => None,
    });
    assert_eq!(inputs.into_iter().map(|row| row.input).collect::<Vec<_>>(), stored.collect::<Vec<_>>());
    node.stop().await;
}
