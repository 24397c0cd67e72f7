//! What rules hear, and what they found.

use super::bench::{Database, Kind, Node, operator};
use super::writes::{batch, record, revision};
use models::alert::{AlertRevision, Granularity, Metric, RevisionKind, Severity, Window};
use models::event::{Event, Exclusion};
use models::exclusion::{Channel, Period, ReasonClass};
use models::feed::{Source, SourceClock};
use models::ids::{AlertId, ExclusionId, OperatorNo, PersonNo, SourceId, SourceNo};
use models::jurisdiction::JurisdictionNo;
use models::money::Currency;
use models::rule_input::{RuleInput, RuleInputSetAside, RuleInputStored};
use models::score::PlayersScored;
use models::series::{Oddity, SeriesKey, SeriesReason, SeriesScore, SeriesScored, ToldAlready};
use models::ts::{HOUR, Ts};
use std::sync::Arc;
use store::{
    AlteredInput, Attachment, CommitError, FindingsBy, HeldInput, RuleBatch, RuleFindingQuery, RuleFindingRow,
    RuleInputRow,
};

const NOW: Ts = Ts(1_800_000_000 * 1_000_000);

fn heard(operator: u16, jurisdiction: u8, input: RuleInput) -> Event {
    Event::RuleInputStored(RuleInputStored::new((OperatorNo(operator), JurisdictionNo(jurisdiction)), 3, input))
}

fn known(operator: u16, operator_seq: i64, facts: Option<&[u8]>) -> Attachment {
    Attachment::RuleBatch(RuleBatch {
        operator_no: OperatorNo(operator),
        operator_seq,
        clock_at: NOW,
        clock: SourceClock::Event,
        records: Arc::new([]),
        facts: facts.map(Arc::from),
    })
}

/// Two operators of a jurisdiction and one of another, each with two batches and a tick.
async fn fill(node: &Node) {
    for no in 1..=3u16 {
        let source = Source {
            id: SourceId(no.into()),
            source_no: SourceNo(no.into()),
            operator_no: OperatorNo(no),
            name: format!("s{no}"),
            clock: SourceClock::Event,
            ..Source::for_tests()
        };
        let events = vec![operator(no, &format!("o{no}")), Event::SourceSet(source.into())];
        node.commit(events, Vec::new()).await.expect("stored");
        for n in 1..=2 {
            let records: Vec<_> = (0..3)
                .map(|i| record(i + 10 * n as u32 + 100 * u32::from(no), NOW.plus(i64::from(i) * HOUR)))
                .collect();
            let (event, attachment) = batch(n, no, &records);
            node.commit(vec![event], vec![attachment]).await.expect("stored");
        }
        let tick = Event::OperatorTicked { operator_no: OperatorNo(no), operator_seq: 0, at: NOW };
        node.commit(vec![tick], Vec::new()).await.expect("stored");
    }
}

fn seqs(rows: &[RuleInputRow]) -> Vec<(u16, i64)> {
    rows.iter().map(|row| (row.operator_no.0, row.input_seq)).collect()
}

pub async fn inputs_of_rules_are_numbered_and_read_with_their_batches(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    fill(&node).await;
    let batch = |operator_seq| RuleInput::Batch { operator_seq };
    let tick = RuleInput::Tick { operator_seq: Some(3), at: NOW };
    let signal =
        RuleInput::Exclusions { window: Window { start: Ts(0), end: Ts(HOUR) }, count: 2, players: None, at: None };
    // several at once, one after the other, of two operators in turns; the second batch of the first is of documents
    let both = vec![heard(1, 0, batch(1)), heard(1, 0, batch(2))];
    let receipt = node.commit(both, vec![known(1, 2, None), known(1, 1, Some(&[1, 2]))]).await.expect("stored");
    let given: Vec<(i64, i64)> = receipt
        .events
        .iter()
        .filter_map(|e| if let Event::RuleInputStored(s) = &e.event { Some((e.seq, s.input_seq)) } else { None })
        .collect();
    assert_eq!(given.iter().map(|(_, input_seq)| *input_seq).collect::<Vec<_>>(), [1, 2]);
    node.commit(vec![heard(2, 0, batch(1))], vec![known(2, 1, Some(&[]))]).await.expect("stored");
    node.commit(vec![heard(3, 1, batch(1))], vec![known(3, 1, Some(&[9]))]).await.expect("stored");
    node.commit(vec![heard(1, 0, signal.clone()), heard(1, 0, tick.clone())], Vec::new()).await.expect("stored");

    let store = &node.store;
    let rows = store.rule_inputs(OperatorNo(1), 0, 10).await.expect("rows");
    assert_eq!(seqs(&rows), [(1, 1), (1, 2), (1, 3), (1, 4)]);
    assert_eq!(rows[0].seq, given[0].0, "its place in the journal");
    assert_eq!(rows.iter().map(|row| row.input.clone()).collect::<Vec<_>>(), [batch(1), batch(2), signal, tick]);
    let stored = store.operator_inputs(OperatorNo(1), 0, 10).await.expect("rows");
    for (row, stored) in rows.iter().zip(stored).take(2) {
        let store::OperatorInputRow::Batch { records, clock_at, clock, .. } = stored else { panic!("a batch") };
        let batch = row.batch.as_ref().expect("a batch");
        assert_eq!((&batch.records, batch.clock_at, batch.clock), (&records, clock_at, clock));
        assert_eq!(batch.records.len(), 3);
    }
    let facts: Vec<_> = rows.iter().map(|row| row.batch.as_ref().map(|batch| batch.facts.clone())).collect();
    assert_eq!(facts, [Some(Some(vec![1, 2])), Some(None), None, None]);
    assert!(rows.iter().all(|row| row.rules_seq == 3));
    assert_eq!(seqs(&store.rule_inputs(OperatorNo(1), 2, 1).await.expect("rows")), [(1, 3)], "behind, and no more");
    // over all operators: batches of play alone, by their places in the journal
    let all = store.nation_rule_inputs(JurisdictionNo(0), 0, 10).await.expect("rows");
    assert_eq!(seqs(&all), [(1, 1), (2, 1)]);
    let behind = store.nation_rule_inputs(JurisdictionNo(0), all[0].seq, 10).await.expect("rows");
    assert_eq!(seqs(&behind), [(2, 1)]);
    assert_eq!(behind[0].batch.as_ref().map(|batch| batch.records.len()), Some(3));
    // and what is stored for all of them, which is no operator's
    let nation = |no| OperatorNo::of_nation(JurisdictionNo(no)).0;
    let scored = || {
        RuleInput::PlayersScored(Box::new(PlayersScored {
            version: 1,
            as_of: NOW,
            said_at: None,
            nameless: Vec::new(),
            told: Vec::new(),
            players: Vec::new(),
        }))
    };
    node.commit(vec![heard(nation(0), 0, scored()), heard(nation(1), 1, scored())], Vec::new()).await.expect("stored");
    let all = store.nation_rule_inputs(JurisdictionNo(0), 0, 10).await.expect("rows");
    assert_eq!(seqs(&all), [(1, 1), (2, 1), (nation(0), 1)]);
    let own = OperatorNo::of_nation(JurisdictionNo(0));
    assert_eq!(store.last_rule_input(own).await.expect("a place"), all[2].seq);
    let heard_of = async |no| store.rules_heard(OperatorNo(no)).await.expect("a number");
    assert_eq!((heard_of(1).await, heard_of(2).await, heard_of(9).await), (3, 1, 0));
    node.stop().await;
}

/// Whoever does not know what became of a commit offers it again: the batch is heard once.
pub async fn a_batch_is_heard_once(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    fill(&node).await;
    let batch = |operator_seq| heard(1, 0, RuleInput::Batch { operator_seq });
    node.commit(vec![batch(1)], Vec::new()).await.expect("stored");
    let again = node.commit(vec![batch(1), batch(2)], Vec::new()).await;
    assert!(matches!(again, Err(CommitError::Conflict { .. })), "{again:?}");
    node.commit(vec![batch(2)], Vec::new()).await.expect("stored");
    // what has no place in the operator's inputs may come as often as it likes
    let free =
        RuleInput::Exclusions { window: Window { start: Ts(0), end: Ts(HOUR) }, count: 2, players: None, at: None };
    node.commit(vec![heard(1, 0, free.clone()), heard(1, 0, free)], Vec::new()).await.expect("stored");
    let rows = node.store.rule_inputs(OperatorNo(1), 0, 10).await.expect("rows");
    assert_eq!(seqs(&rows), [(1, 1), (1, 2), (1, 3), (1, 4)], "no number is lost to a refusal");
    let aside = |records| RuleInputSetAside { operator_no: OperatorNo(1), input_seq: 2, records };
    for records in [vec![], vec![0, 2]] {
        node.commit(vec![Event::RuleInputSetAside(aside(records))], Vec::new()).await.expect("stored");
    }
    assert_eq!(node.store.rules_set_aside(OperatorNo(1)).await.expect("rows"), [(2, vec![0, 2])]);
    node.stop().await;
}

fn finding(id: u128, version: u32, is_shadow: bool, at: i64) -> RuleFindingRow {
    RuleFindingRow {
        id: AlertId(id),
        rule: "structured_deposits".to_owned(),
        version,
        is_shadow,
        jurisdiction: JurisdictionNo(0),
        operator_no: OperatorNo(1),
        input_seq: 4,
        window: Window { start: Ts(1), end: Ts(2) },
        kind: RevisionKind::Raised,
        severity: Severity::High,
        at: Ts(at),
        seq: 12,
        body: "{}".to_owned(),
    }
}

pub async fn findings_are_kept_once_and_read_newest_first(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let (live, shadow, later) = (finding(1, 1, false, 10), finding(1, 2, true, 10), finding(2, 1, false, 20));
    let changed = RuleFindingRow { body: "another".to_owned(), ..live.clone() };
    let rows =
        |rows: &[&RuleFindingRow]| vec![Attachment::RuleFindings(rows.iter().map(|row| (*row).clone()).collect())];
    node.commit(vec![revision(1, 4)], rows(&[&live, &shadow])).await.expect("stored");
    // those of a shadow alone come without any event; those that are there stay as they are
    node.commit(Vec::new(), rows(&[&changed, &shadow])).await.expect("stored");
    node.commit(vec![revision(1, 4)], rows(&[&changed, &later])).await.expect("stored");
    let all = RuleFindingQuery {
        jurisdiction: JurisdictionNo(0),
        rule: None,
        version: None,
        is_shadow: None,
        from: Ts(0),
        to: Ts(100),
        limit: 10,
    };
    let table = [
        ("all", all.clone(), vec![&later, &live, &shadow]),
        (
            "of a rule",
            RuleFindingQuery { rule: Some("structured_deposits".to_owned()), ..all.clone() },
            vec![&later, &live, &shadow],
        ),
        ("of another rule", RuleFindingQuery { rule: Some("x".to_owned()), ..all.clone() }, vec![]),
        ("of a version", RuleFindingQuery { version: Some(2), ..all.clone() }, vec![&shadow]),
        ("live", RuleFindingQuery { is_shadow: Some(false), ..all.clone() }, vec![&later, &live]),
        ("until", RuleFindingQuery { to: Ts(20), ..all.clone() }, vec![&live, &shadow]),
        ("from", RuleFindingQuery { from: Ts(11), ..all.clone() }, vec![&later]),
        ("one", RuleFindingQuery { limit: 1, ..all.clone() }, vec![&later]),
        ("elsewhere", RuleFindingQuery { jurisdiction: JurisdictionNo(1), ..all }, vec![]),
    ];
    for (what, query, wanted) in table {
        let found = node.store.findings_of_rules(&query).await.expect("rows");
        assert_eq!(found.iter().collect::<Vec<_>>(), wanted, "{what}");
    }
    assert_eq!(node.store.alert(AlertId(1)).await.expect("rows").len(), 1, "the alert is stored once, too");
    node.stop().await;
}

/// What a replay reads: findings by the inputs that led to them, inputs without records, and where both end.
pub async fn what_inputs_led_to_is_read_by_their_places(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    fill(&node).await;
    let free =
        RuleInput::Exclusions { window: Window { start: Ts(0), end: Ts(HOUR) }, count: 2, players: None, at: None };
    let inputs = vec![heard(1, 0, RuleInput::Batch { operator_seq: 1 }), heard(1, 0, free.clone())];
    let receipt = node.commit(inputs, vec![known(1, 1, Some(&[1]))]).await.expect("stored");
    let store = &node.store;
    let heads = store.rule_input_heads(OperatorNo(1), (0, i64::MAX), 10).await.expect("heads");
    let clock_at = match store.operator_inputs(OperatorNo(1), 0, 1).await.expect("rows").remove(0) {
        store::OperatorInputRow::Batch { clock_at, .. } => clock_at,
        store::OperatorInputRow::Tick { .. } => panic!("a batch"),
    };
    let shown: Vec<_> = heads.iter().map(|head| (head.place, head.clock_at, head.input.at())).collect();
    assert_eq!(shown, [(1, Some(clock_at), None), (2, None, Some(Ts(HOUR)))]);
    assert_eq!(store.rule_input_heads(OperatorNo(1), (1, 1), 10).await.expect("heads"), []);
    let nation = OperatorNo::of_nation(JurisdictionNo(0));
    let of_all = store.rule_input_heads(nation, (0, i64::MAX), 10).await.expect("heads");
    assert_eq!(of_all.iter().map(|head| head.place).collect::<Vec<_>>(), [receipt.events[0].seq], "by the journal");
    let last = async |whose| store.last_rule_input(whose).await.expect("a number");
    assert_eq!(
        (last(OperatorNo(1)).await, last(OperatorNo(2)).await, last(nation).await),
        (2, 0, receipt.events[0].seq)
    );

    let at = |place: i64, id| RuleFindingRow { input_seq: place, ..finding(id, 1, false, 10) };
    let over_all = RuleFindingRow { rule: "concurrent_play".to_owned(), ..at(5, 9) };
    let shadow = RuleFindingRow { is_shadow: true, ..at(5, 8) };
    let rows = vec![at(4, 1), at(5, 2), at(6, 3), shadow.clone(), over_all.clone()];
    node.commit(vec![revision(2, 5)], vec![Attachment::RuleFindings(rows)]).await.expect("stored");
    let by = |operator| FindingsBy { jurisdiction: JurisdictionNo(0), operator, national: &["concurrent_play"] };
    let table = [
        ("an operator's", Some(OperatorNo(1)), (4, 6), 10, vec![at(5, 2), shadow.clone(), at(6, 3)]),
        ("no more than asked for", Some(OperatorNo(1)), (i64::MIN, i64::MAX), 1, vec![at(4, 1)]),
        ("another one's", Some(OperatorNo(2)), (0, 10), 10, vec![]),
        ("over all operators", None, (0, 10), 10, vec![over_all]),
        ("behind it", None, (5, 10), 10, vec![]),
    ];
    for (what, operator, places, limit, expected) in table {
        assert_eq!(store.findings_by_input(by(operator), places, limit).await.expect("rows"), expected, "{what}");
    }
    for (id, place, expected) in [(2, 5, true), (2, 6, false), (8, 5, false), (99, 5, false)] {
        assert_eq!(store.has_live_finding(AlertId(id), place).await.expect("an answer"), expected, "{id} at {place}");
    }
    // everything here is of today
    let (seq, operators) = store.inputs_before(Ts(i64::MAX)).await.expect("places");
    assert_eq!((seq > 0, operators), (true, vec![(OperatorNo(1), 2), (OperatorNo(2), 2), (OperatorNo(3), 2)]));
    assert_eq!(store.inputs_before(Ts(0)).await.expect("places"), (0, vec![]));
    assert_eq!(store.fact("nothing").await.expect("no fact"), None);
    assert_eq!(store.first_fact("something", "1").await.expect("a fact"), "1");
    assert_eq!(store.fact("something").await.expect("a fact").as_deref(), Some("1"));
    node.stop().await;
}

/// An input whose facts the journal knows by their digest.
fn play(operator: u16, operator_seq: i64, facts: &[u8]) -> Event {
    let input = RuleInput::Batch { operator_seq };
    let new = RuleInputStored::new((OperatorNo(operator), JurisdictionNo(0)), 3, input);
    Event::RuleInputStored(RuleInputStored { facts_sha256: Some(RuleInputStored::facts_digest(facts)), ..new })
}

/// What a replay stands on: whatever is stored of an input otherwise than the journal says is named.
pub async fn inputs_are_held_against_the_journal(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    fill(&node).await;
    let nation = OperatorNo::of_nation(JurisdictionNo(0));
    let documents = heard(1, 0, RuleInput::Batch { operator_seq: 2 });
    let tick = heard(1, 0, RuleInput::Tick { operator_seq: Some(3), at: NOW });
    let (nameless, told, players) = (Vec::new(), Vec::new(), Vec::new());
    let score = PlayersScored { version: 1, as_of: NOW, said_at: None, nameless, told, players };
    let score = heard(nation.0, 0, RuleInput::PlayersScored(Box::new(score)));
    let known_of_one = vec![known(1, 1, Some(&[1, 2])), known(1, 2, None)];
    node.commit(vec![play(1, 1, &[1, 2]), documents, tick], known_of_one).await.expect("stored");
    node.commit(vec![play(2, 1, &[9])], vec![known(2, 1, Some(&[9]))]).await.expect("stored");
    node.commit(vec![score], Vec::new()).await.expect("stored");

    let store = &node.store;
    let own = store.rule_inputs(OperatorNo(1), 0, 10).await.expect("rows");
    let all = store.nation_rule_inputs(JurisdictionNo(0), 0, 10).await.expect("rows");
    assert_eq!(seqs(&all), [(1, 1), (2, 1), (nation.0, 1)]);
    let clock_at = |row: &RuleInputRow| row.batch.as_ref().map(|batch| batch.clock_at);
    let times: [(i64, Option<Ts>); 3] = [(1, clock_at(&own[0])), (2, clock_at(&own[1])), (3, Some(NOW))];
    let nine = if kind == Kind::Sqlite { "X'09'" } else { "'\\x09'" };
    let nobody = "UPDATE rule_inputs SET rules_seq = 3 WHERE operator_no = 99".to_owned();
    // what is changed, how it is undone | the place, by the first operator's numbers and by the journal's | what differs
    let set = |what: &str, whose: &str| format!("UPDATE rule_inputs SET {what} WHERE {whose}");
    let (first, second, third) =
        ("operator_no = 1 AND input_seq = 1", "operator_no = 1 AND input_seq = 2", "operator_no = 1 AND input_seq = 3");
    let body = |from: &str, to: &str| format!("body = REPLACE(body, '{from}', '{to}')");
    let (now, later) = (NOW.0.to_string(), NOW.plus(1).0.to_string());
    let table = [
        (nobody.clone(), nobody, None, None, ""),
        (
            set(&body("_seq\":1", "_seq\":2"), first),
            set(&body("_seq\":2", "_seq\":1"), first),
            Some(1),
            Some(all[0].seq),
            "body",
        ),
        (
            set("body = 'no json'", second),
            set("body = '{\"what\":\"batch\",\"operator_seq\":2}'", second),
            Some(2),
            None,
            "body",
        ),
        (set(&body(&now, &later), third), set(&body(&later, &now), third), Some(3), None, "body"),
        (set("rules_seq = 4", second), set("rules_seq = 3", second), Some(2), None, "rules_seq"),
        (set("operator_seq = 7", first), set("operator_seq = 1", first), Some(1), Some(all[0].seq), "operator_seq"),
        (set("jurisdiction = 5", first), set("jurisdiction = 0", first), Some(1), None, "jurisdiction"),
        (set("seq = seq + 1000", third), set("seq = seq - 1000", third), Some(3), Some(own[2].seq + 1_000), "journal"),
        (
            set("facts = NULL", "operator_no = 2"),
            set(&format!("facts = {nine}"), "operator_no = 2"),
            None,
            Some(all[1].seq),
            "facts",
        ),
        (
            set(&body("\"version\":1", "\"version\":2"), "operator_no = 65280"),
            set(&body("\"version\":2", "\"version\":1"), "operator_no = 65280"),
            None,
            Some(all[2].seq),
            "body",
        ),
    ];
    let everything = (0, i64::MAX);
    for (change, undo, of_operator, of_nation, field) in table {
        store.execute_for_tests(&change).await.expect("it is changed");
        for (whose, place) in [(OperatorNo(1), of_operator), (nation, of_nation)] {
            let altered = store.first_altered_input(whose, everything).await.expect("an answer");
            let wanted = place.map(|place| AlteredInput { place, fields: vec![field] });
            assert_eq!(altered, wanted, "{change}");
            if let Some(place) = place {
                let before = store.first_altered_input(whose, (0, place - 1)).await.expect("an answer");
                let behind = store.first_altered_input(whose, (place, i64::MAX)).await.expect("an answer");
                assert_eq!((before, behind), (None, None), "{change}");
            }
        }
        if field == "body" {
            let said = store.rule_input_times(OperatorNo(1), everything, 10).await.expect("times");
            assert_eq!(said, times, "{change}: it is the journal that says when");
        }
        store.execute_for_tests(&undo).await.expect("it is undone");
    }
    // moved to another jurisdiction it is heard by nobody's rules; by its number it is found
    let held = async |whose| store.held_inputs(whose, everything).await.expect("rows");
    let score = HeldInput { input_seq: 1, seq: all[2].seq, fields: Vec::new() };
    assert_eq!(held(nation).await, std::slice::from_ref(&score));
    store.execute_for_tests(&set("jurisdiction = 5", "operator_no = 65280")).await.expect("it is moved");
    assert_eq!(held(nation).await, [HeldInput { fields: vec!["jurisdiction"], ..score }]);
    store.execute_for_tests(&set("jurisdiction = 0", "operator_no = 65280")).await.expect("it is moved back");
    let numbers: Vec<i64> = held(OperatorNo(1)).await.iter().map(|row| row.input_seq).collect();
    assert_eq!(numbers, [1, 2, 3]);
    let of_all = store.rule_input_times(nation, everything, 10).await.expect("times");
    let mut places: Vec<i64> = own.iter().map(|row| row.seq).chain([all[1].seq, all[2].seq]).collect();
    places.sort_unstable();
    assert_eq!(of_all.iter().map(|(place, _)| *place).collect::<Vec<_>>(), places, "whoever hears it");
    assert_eq!(store.rule_input_times(OperatorNo(1), (0, 3), 2).await.expect("times"), times[..2]);

    // numbers are given without gaps
    let missing = async |whose| store.missing_rule_input(whose).await.expect("an answer");
    for whose in [OperatorNo(1), OperatorNo(2), OperatorNo(9), nation] {
        assert_eq!(missing(whose).await, None, "{whose:?}");
    }
    store.execute_for_tests(&format!("DELETE FROM rule_inputs WHERE {second}")).await.expect("it is taken away");
    assert_eq!((missing(OperatorNo(1)).await, missing(OperatorNo(2)).await), (Some(2), None));
    node.stop().await;
}

pub async fn exclusions_are_counted_by_who_reported_them(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    for (n, operator) in [Some(1), Some(2), Some(1), None].into_iter().enumerate() {
        let added = Event::PersonAdded { person_no: PersonNo(n as u32), birth_digest: None, keys: Vec::new() };
        let exclusion = Exclusion {
            id: ExclusionId(n as u128),
            person_no: PersonNo(n as u32),
            jurisdiction: JurisdictionNo(0),
            period: Period::Year1,
            at_end: Period::Year1.at_end(),
            reason_class: ReasonClass::Own,
            channel: Channel::Operator,
            effective_at: NOW,
            ends_at: None,
            ended_at: None,
            reported_by: operator.map(OperatorNo),
        };
        // what becomes of it later is no report
        let renewed = Event::ExclusionRenewed(Exclusion { reported_by: None, ..exclusion.clone() });
        node.commit(vec![added, Event::ExclusionRegistered(exclusion), renewed], Vec::new()).await.expect("stored");
    }
    let ever = Window { start: Ts(0), end: Ts(i64::MAX) };
    let counted = node.store.exclusions_reported(ever).await.expect("counts");
    assert_eq!(counted, [(OperatorNo(1), 2), (OperatorNo(2), 1)]);
    let then = Window { start: Ts(0), end: Ts(HOUR) };
    assert_eq!(node.store.exclusions_reported(then).await.expect("counts"), []);
    node.stop().await;
}

fn scored(operator: u16, operator_seq: i64, metrics: &[Metric]) -> SeriesScored {
    let score = |metric: &Metric| SeriesScore {
        series: SeriesKey { granularity: Granularity::Hour, currency: Currency::KES, metric: *metric },
        window: Window { start: NOW, end: NOW.plus(HOUR) },
        value: i64::from(operator),
        score_ppm: 512_000,
        is_alert: true,
        expected: -3,
        band: None,
        points: 200,
        reasons: vec![SeriesReason {
            oddity: Oddity::Flat,
            surprise_milli: 4_000,
            observed: 30,
            usual: 2,
            metric: None,
        }],
        told: Some(ToldAlready { alert: AlertId(7), window: Window { start: NOW, end: NOW.plus(HOUR) } }),
    };
    SeriesScored { operator_seq, at: NOW, params_version: 1, scores: metrics.iter().map(score).collect() }
}

/// Whoever reads an operator's inputs again after a crash scores them again: what is stored stays as it is.
pub async fn an_input_is_scored_once(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    fill(&node).await;
    let series = |scored| heard(1, 0, RuleInput::Series(scored));
    let first = scored(1, 1, &[Metric::Stakes, Metric::Hold]);
    node.commit(vec![series(first.clone())], Vec::new()).await.expect("stored");
    // of the same input, with something else to say, alone and beside another
    let again = scored(1, 1, &[Metric::Count]);
    for events in [vec![series(again.clone())], vec![series(scored(1, 2, &[Metric::Count])), series(again)]] {
        let refused = node.commit(events, Vec::new()).await;
        assert!(matches!(refused, Err(CommitError::Conflict { .. })), "{refused:?}");
    }
    let third = scored(1, 3, &[Metric::Count]);
    node.commit(vec![series(third.clone())], Vec::new()).await.expect("stored");
    let other = RuleInput::Series(scored(2, 1, &[Metric::Payouts]));
    node.commit(vec![heard(2, 0, other)], Vec::new()).await.expect("another operator's");
    // scores take no place of the batches, and move no clock of theirs
    node.commit(vec![heard(1, 0, RuleInput::Batch { operator_seq: 1 })], Vec::new()).await.expect("stored");

    let store = &node.store;
    let through = async |no| store.series_scored(OperatorNo(no)).await.expect("a number");
    assert_eq!((through(1).await, through(2).await, through(3).await), (3, 1, 0));
    assert_eq!(store.rules_heard(OperatorNo(1)).await.expect("a number"), 1);
    let rows = store.rule_inputs(OperatorNo(1), 0, 10).await.expect("rows");
    assert_eq!(seqs(&rows), [(1, 1), (1, 2), (1, 3)]);
    assert_eq!((&rows[0].input, rows[0].batch.is_none()), (&RuleInput::Series(first.clone()), true));
    assert_eq!(store.nation_rule_inputs(JurisdictionNo(0), 0, 10).await.expect("rows").len(), 0, "nobody else's");
    let newest = async |limit| store.newest_series_scores(OperatorNo(1), limit).await.expect("scores");
    assert_eq!(newest(10).await, [third.clone(), first]);
    assert_eq!(newest(1).await, [third]);
    node.stop().await;
}

pub async fn silences_of_feeds_are_read_newest_first(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let of = |id: u128, step: i64, rule: &str, operator: u16| {
        let Event::AlertRevised(revision) = revision(id, step) else { unreachable!("a revision") };
        Event::AlertRevised(AlertRevision { rule: rule.to_owned(), operator_no: OperatorNo(operator), ..revision })
    };
    let events = vec![
        of(1, 0, "feed_silent", 1),
        of(2, 0, "robust_deviation", 1),
        of(3, 0, "feed_silent", 2),
        of(1, 2, "feed_silent", 1),
        of(4, 0, "feed_silent", 1),
    ];
    node.commit(events, Vec::new()).await.expect("stored");
    let read = async |no, limit| {
        let revisions = node.store.feed_silences(OperatorNo(no), limit).await.expect("revisions");
        revisions.iter().map(|revision| (revision.id.0, revision.operator_seq)).collect::<Vec<_>>()
    };
    assert_eq!(read(1, 10).await, [(4, 0), (1, 2), (1, 0)]);
    assert_eq!(read(1, 2).await, [(4, 0), (1, 2)]);
    assert_eq!((read(2, 9).await, read(3, 9).await), (vec![(3, 0)], vec![]));
    // page by page
    let newest = node.store.feed_silences_below(OperatorNo(1), i64::MAX, 2).await.expect("revisions");
    let behind = node.store.feed_silences_below(OperatorNo(1), newest[1].offset, 2).await.expect("revisions");
    let names = |revisions: &[AlertRevision]| revisions.iter().map(|r| (r.id.0, r.operator_seq)).collect::<Vec<_>>();
    assert_eq!((names(&newest), names(&behind)), (vec![(4, 0), (1, 2)], vec![(1, 0)]));
    let standing = async |no| names(&node.store.feed_silences_standing(OperatorNo(no), 9).await.expect("revisions"));
    assert_eq!(standing(1).await, [(4, 0), (1, 2)], "the newest of each");
    assert_eq!((standing(2).await, standing(3).await), (vec![(3, 0)], vec![]));
    let Event::AlertRevised(over) = of(4, 1, "feed_silent", 1) else { unreachable!("a revision") };
    let over = AlertRevision { kind: RevisionKind::Withdrawn, ..over };
    node.commit(vec![Event::AlertRevised(over)], Vec::new()).await.expect("stored");
    assert_eq!(standing(1).await, [(1, 2)], "what is over stands no more");
    node.stop().await;
}

/// What an operator's rules were told last of the exclusions that it reported.
pub async fn the_newest_count_of_exclusions_is_found(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let told = |no: u16, day: i64, count| {
        let window = Window { start: Ts(day * HOUR), end: Ts((day + 1) * HOUR) };
        let input = RuleInput::Exclusions { window, count, players: None, at: None };
        Event::RuleInputStored(RuleInputStored::new((OperatorNo(no), JurisdictionNo(0)), 0, input))
    };
    let tick = |no: u16| {
        let input = RuleInput::Tick { operator_seq: None, at: Ts(9) };
        Event::RuleInputStored(RuleInputStored::new((OperatorNo(no), JurisdictionNo(0)), 0, input))
    };
    let newest = async |no| {
        let found = node.store.exclusions_told(OperatorNo(no)).await.expect("a count");
        found.map(|(window, count)| (window.start.0 / HOUR, count))
    };
    node.commit(vec![tick(1)], Vec::new()).await.expect("stored");
    assert_eq!(newest(1).await, None);
    node.commit(vec![told(1, 4, 7), told(1, 5, 2), told(2, 8, 1), tick(1)], Vec::new()).await.expect("stored");
    node.commit(vec![tick(1), tick(2)], Vec::new()).await.expect("stored");
    assert_eq!((newest(1).await, newest(2).await, newest(3).await), (Some((5, 2)), Some((8, 1)), None));
    node.stop().await;
}
