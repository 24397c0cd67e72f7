//! What comes out: every way to read, on one small store of everything.

use super::bench::{CHAIN, Database, Kind, operator};
use super::writes::{batch, record, revision};
use models::alert::Severity;
use models::event::{Event, Exclusion, PersonKey};
use models::exclusion::{Channel, Period, ReasonClass};
use models::feed::{Source, SourceClock};
use models::ids::{AlertId, CaseId, ExclusionId, KeyId, LicenceId, OperatorNo, PersonNo, SourceId, SourceNo};
use models::jurisdiction::JurisdictionNo;
use models::match_key::{KeyKind, MatchKey};
use models::operator::{ApiKey, Licence, LicenceState, LicensedReturn, Scope};
use models::record::{PlayChannel, Product};
use models::ts::{DAY, HOUR, Ts};
use std::collections::BTreeMap;
use std::fmt::Debug;
use store::{
    AlertQuery, Attachment, IdempotencyRow, OperatorInputRow, OperatorStateRow, QuarantineQuery, StateOf, VaultRow,
};

const NOW: Ts = Ts(1_800_000_000 * 1_000_000);

fn exclusion(id: u128, person: u32, period: Period, ends_at: Option<Ts>, ended_at: Option<Ts>) -> Exclusion {
    Exclusion {
        id: ExclusionId(id),
        person_no: PersonNo(person),
        jurisdiction: JurisdictionNo(0),
        period,
        at_end: period.at_end(),
        reason_class: ReasonClass::Own,
        channel: Channel::Ussd,
        effective_at: NOW.plus(-DAY),
        ends_at,
        ended_at,
        reported_by: None,
    }
}

fn person(no: u32, birth: Option<u128>) -> Event {
    let key = |kind, n: u128| PersonKey {
        kind,
        digest_version: 0,
        key: MatchKey(n << 40 | u128::from(no)),
        valid_from: Ts(0),
        valid_to: (n == 2).then_some(NOW),
    };
    let keys = vec![key(KeyKind::Phone, 1), key(KeyKind::NationalId, 2)];
    Event::PersonAdded { person_no: PersonNo(no), birth_digest: birth.map(MatchKey), keys }
}

async fn fill(node: &super::bench::Node) {
    let licence = Licence {
        id: LicenceId(1),
        operator_no: OperatorNo(1),
        number: "BK 1".to_owned(),
        class: "online_betting".to_owned(),
        jurisdiction: JurisdictionNo(0),
        products: vec!["sportsbook".to_owned()],
        conditions: vec!["none".to_owned()],
        channels: vec![PlayChannel::Online],
        return_to_player: BTreeMap::from([(
            Product::Sportsbook,
            LicensedReturn { return_ppm: 910_000, multiple_max: Some(500) },
        )]),
        valid_from: Ts(0),
        valid_to: Some(NOW),
        state: LicenceState::Active,
    };
    let key = ApiKey {
        id: KeyId(1),
        operator_no: Some(OperatorNo(1)),
        jurisdiction: JurisdictionNo(0),
        label: "k".to_owned(),
        secret_sha256: "00".repeat(32),
        scopes: vec![Scope::Lookup],
        purposes: Vec::new(),
        allow_from: vec!["10.0.0.0/8".to_owned()],
        rate_per_second: 5,
        created_at: Ts(1),
        expires_at: None,
        revoked_at: None,
        rotated_from: None,
    };
    let source = Source {
        id: SourceId(1),
        operator_no: OperatorNo(1),
        clock: SourceClock::Event,
        horizon_days: 30,
        created_at: Ts(2),
        ..Source::for_tests()
    };
    let secret = Attachment::KeySecret { key_id: key.id, sealed: vec![1, 2, 3] };
    let directory =
        vec![operator(1, "alpha"), Event::LicenceSet(licence), Event::KeySet(key), Event::SourceSet(source.into())];
    node.commit(directory, vec![secret]).await.expect("stored");
    let people = vec![
        person(1, Some(77)),
        person(2, None),
        Event::ExclusionRegistered(exclusion(1, 1, Period::Months6, Some(NOW.plus(90 * DAY)), None)),
        Event::ExclusionRegistered(exclusion(2, 1, Period::Hours24, Some(NOW.plus(-HOUR)), None)),
        Event::ExclusionLapsed(exclusion(3, 2, Period::Days10, Some(NOW.plus(-HOUR)), Some(NOW))),
        Event::ExclusionRegistered(exclusion(4, 2, Period::Permanent, None, None)),
        Event::IdentityCaseOpened {
            id: CaseId(1),
            person_no: PersonNo(2),
            other_person_no: PersonNo(1),
            reason: "shared_phone".to_owned(),
        },
    ];
    let vault = VaultRow { id: [9; 16], person_no: PersonNo(1), sealed: vec![7; 40], at: NOW };
    let idempotency = IdempotencyRow {
        key_digest: [1; 32],
        body_digest: [2; 32],
        status: 201,
        result_id: "exc_1".to_owned(),
        expires_at: NOW.plus(DAY),
    };
    let attachments = vec![Attachment::Vault(vault), Attachment::Idempotency(idempotency)];
    node.commit(people, attachments).await.expect("stored");
    for no in 1..=2 {
        let records: Vec<_> = (0..3).map(|n| record(n + 10 * no, NOW.plus(i64::from(n) * HOUR))).collect();
        let (event, attachment) = batch(no.into(), 1, &records);
        node.commit(vec![event], vec![attachment]).await.expect("stored");
        let tick = Event::OperatorTicked { operator_no: OperatorNo(1), operator_seq: 0, at: NOW };
        node.commit(vec![tick], Vec::new()).await.expect("stored");
    }
    let aside = Event::OperatorInputSetAside { operator_no: OperatorNo(1), operator_seq: 3, records: vec![0, 2] };
    node.commit(vec![revision(1, 1), revision(2, 1), revision(1, 3), aside], Vec::new()).await.expect("stored");
}

async fn read(kind: Kind) -> Vec<String> {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    fill(&node).await;
    let mut said = Vec::new();
    let mut say = |what: &str, value: &dyn Debug| said.push(format!("{what}: {value:?}"));
    let store = &node.store;
    say("head", &store.head().await.expect("a number"));
    say("operators", &store.operators().await.expect("rows"));
    say("licences", &store.licences().await.expect("rows"));
    // when is the writer's own clock
    let set = store.operators_and_licences_set().await.expect("events");
    let last = store.operator_or_licence_set_last_at().await.expect("a time");
    assert_eq!(last, set.last().map(|(at, _)| *at), "the newest of them");
    let set: Vec<Event> = set.into_iter().map(|(_, event)| event).collect();
    assert!(
        matches!(set[..], [Event::OperatorSet(_), Event::LicenceSet(_)]),
        "in their order, and nothing else: {set:?}"
    );
    say("operators and licences set", &set);
    say("sources", &store.sources().await.expect("rows"));
    say("keys", &store.keys().await.expect("rows"));
    say("key secret", &store.key_secret(KeyId(1)).await.expect("rows"));
    say("next numbers", &store.next_numbers().await.expect("numbers"));
    say("key count", &store.key_count().await.expect("a number"));
    say("people", &store.people_after(-1, 10).await.expect("rows"));
    say("dossier", &store.dossier(PersonNo(2)).await.expect("a dossier"));
    say("exclusion", &store.exclusion(ExclusionId(1)).await.expect("one"));
    let people: Vec<PersonNo> = (0..40).map(PersonNo).collect();
    let exclusions = store.exclusions_of(&people).await.expect("rows");
    assert_eq!(exclusions.len(), 4, "{exclusions:?}");
    say("exclusions of people", &exclusions);
    say("exclusions of nobody", &store.exclusions_of(&[]).await.expect("none"));
    say("no exclusion", &store.exclusion(ExclusionId(99)).await.expect("none"));
    say("due", &store.due_exclusions(NOW, 10).await.expect("rows"));
    let stats = store.register_stats(JurisdictionNo(0), NOW).await.expect("counts");
    assert_eq!((stats.persons, stats.active, stats.ended), (2, 2, 2), "{stats:?}");
    say("stats", &stats);
    say("idempotency", &store.idempotency(&[1; 32], NOW).await.expect("one"));
    let mut head = store.source_head(SourceNo(1)).await.expect("a head");
    assert!(head.last_stored_at.take().is_some(), "the writer's own clock");
    say("source head", &head);
    say("digests", &store.record_digests(SourceNo(1), NOW.plus(-DAY), 0).await.expect("rows"));
    for input in store.operator_inputs(OperatorNo(1), 0, 10).await.expect("rows") {
        match input {
            OperatorInputRow::Batch { operator_seq, clock_at, clock, records, .. } => {
                say("batch", &(operator_seq, clock_at, clock, records));
            }
            OperatorInputRow::Tick { operator_seq, at } => say("tick", &(operator_seq, at)),
        }
    }
    say("set aside", &store.set_aside(OperatorNo(1)).await.expect("rows"));
    let span = (NOW, NOW.plus(2 * HOUR));
    say("records", &store.records_between(OperatorNo(1), span.0, span.1, 100).await.expect("rows"));
    say("count", &store.count_between(OperatorNo(1), span.0, span.1).await.expect("a number"));
    let refused = QuarantineQuery { source_no: SourceNo(1), state: None, code: None, before: None, limit: 10 };
    say("quarantine", &store.quarantine(&refused).await.expect("rows"));
    say("quarantine counts", &store.quarantine_counts(SourceNo(1)).await.expect("rows"));
    say("alert counts", &store.alert_counts(10).await.expect("rows"));
    say("last alert", &store.last_alert_offset().await.expect("a number"));
    say("digest versions", &store.digest_versions().await.expect("rows"));
    say("recent alerts", &store.recent_alerts(10, 10).await.expect("rows"));
    let all = AlertQuery { before_offset: i64::MAX, limit: 10, ..AlertQuery::default() };
    let some = AlertQuery {
        operators: Some(vec![OperatorNo(1)]),
        severity: Some(Severity::High),
        rule: Some("test".to_owned()),
        withdrawn: Some(false),
        before_offset: i64::MAX,
        limit: 1,
    };
    let none = AlertQuery { withdrawn: Some(true), ..some.clone() };
    for query in [all, some, none] {
        say("alerts", &store.alerts(&query).await.expect("rows"));
    }
    say("missed alerts", &store.operator_alerts(OperatorNo(1), 0, 10).await.expect("rows"));
    say("alert", &store.alert(AlertId(1)).await.expect("rows"));
    node.stop().await;
    said
}

/// One SQL text for both, and one answer.
pub async fn both_databases_answer_alike() {
    let (sqlite, postgres) = (read(Kind::Sqlite).await, read(Kind::Postgres).await);
    for (a, b) in sqlite.iter().zip(&postgres) {
        assert_eq!(a, b);
    }
    assert_eq!(sqlite.len(), postgres.len());
}

pub async fn a_sources_last_success_only_moves_on(kind: Kind) {
    let database = Database::fresh(kind).await;
    let store = store::Store::open(&database.url, &store::OpenOptions::default()).await.expect("a store");
    let held = async |no: u32| store.source_head(SourceNo(no)).await.expect("a head").last_success_at;
    assert_eq!(held(1).await, None);
    // 1 and 3 come twice; the older of each says nothing
    for successes in [&[(1, 50), (2, 7)][..], &[(3, 9), (1, 40)], &[(3, 12)], &[]] {
        let successes: Vec<_> = successes.iter().map(|(no, at)| (SourceNo(*no), Ts(*at))).collect();
        store.keep_source_successes(&successes).await.expect("they are kept");
    }
    assert_eq!((held(1).await, held(2).await, held(3).await), (Some(Ts(50)), Some(Ts(7)), Some(Ts(12))));
    store.close().await;
}

pub async fn of_an_operators_states_the_newest_two_are_kept_and_only_as_they_were(kind: Kind) {
    let database = Database::fresh(kind).await;
    let store = store::Store::open(&database.url, &store::OpenOptions::default()).await.expect("a store");
    for (of, table, input) in [
        (StateOf::Market, "operator_states", "operator_seq"),
        (StateOf::Rules, "rule_states", "input_seq"),
        (StateOf::Series, "series_states", "operator_seq"),
    ] {
        states_are_kept(&store, of, table, input).await;
    }
    store.close().await;
}

async fn states_are_kept(store: &store::Store, of: StateOf, table: &str, input: &str) {
    let row = |operator_seq: i64| OperatorStateRow { operator_seq, layout: 3, state: vec![operator_seq as u8; 100] };
    let (one, other) = (OperatorNo(1), OperatorNo(2));
    for (operator, seq) in [(one, 5), (other, 9), (one, 7), (one, 6), (one, 7)] {
        store.keep_operator_state(of, operator, &row(seq), &CHAIN, NOW).await.expect("it is kept");
    }
    let held = async |operator| store.operator_states(of, operator, &CHAIN).await.expect("they are read");
    assert_eq!(held(one).await, [row(7), row(6)]);
    assert_eq!(held(other).await, [row(9)]);
    assert_eq!(store.operator_states(of, one, &[8; 32]).await.expect("they are read"), [], "another key's");
    // under another number, as another operator's, of another layout, with other bytes
    let spoilt = [
        format!("UPDATE {table} SET {input} = 8 WHERE {input} = 7"),
        format!("UPDATE {table} SET operator_no = 1 WHERE operator_no = 2"),
        format!("UPDATE {table} SET layout = 4 WHERE {input} = 6"),
    ];
    for sql in spoilt {
        assert_eq!(store.execute_for_tests(&sql).await.expect("it is spoilt"), 1, "{sql}");
    }
    assert_eq!(held(one).await, []);
    // what is found spoilt is no reason to keep nothing any more
    store.keep_operator_state(of, one, &row(10), &CHAIN, NOW).await.expect("it is kept");
    assert_eq!(held(one).await, [row(10)]);
}
