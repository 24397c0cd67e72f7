//! The same seed gives the same world; the ground truth names what is there.

use super::super::archive::{Order, generate};
use super::super::faults::{FaultError, Faults};
use super::super::scenario::FaultKind;
use super::*;
use models::ts::SECOND;
use ring::digest::{SHA256, digest};

/// SHA-256 of every file of a folder, with their names.
fn digest_of(dir: &std::path::Path) -> Vec<u8> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    let mut all = Vec::new();
    for file in files {
        all.extend(file.strip_prefix(dir).unwrap().to_str().unwrap().bytes());
        all.extend(digest(&SHA256, &std::fs::read(&file).unwrap()).as_ref());
    }
    digest(&SHA256, &all).as_ref().to_vec()
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let archive = |seed, from: &str| {
        let dir = tempfile::tempdir().unwrap();
        let order = Order { seed, from: Ts::parse(from).unwrap(), days: 2 };
        let written = generate(&Arc::new(small_market()), order, dir.path()).unwrap();
        assert!(written.records["gaming_transactions"] > 1_000, "{written:?}");
        digest_of(dir.path())
    };
    let first = archive(5, MONDAY);
    assert_eq!(first, archive(5, MONDAY));
    assert_ne!(first, archive(6, MONDAY), "another seed");
    assert_ne!(first, archive(5, "2026-03-03T00:00:00Z"), "another day");
}

#[test]
fn an_archive_is_written_into_an_empty_folder_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine"), "").unwrap();
    let order = Order { seed: 1, from: Ts::parse(MONDAY).unwrap(), days: 1 };
    let error = generate(&Arc::new(small_market()), order, dir.path()).unwrap_err();
    assert!(error.to_string().contains("is not empty"), "{error}");
}

#[test]
fn steps_change_nothing() {
    let begin = Ts::parse(MONDAY).unwrap();
    let end = begin.plus(30 * HOUR);
    let run = |step: i64| {
        let mut world = World::new(&Arc::new(small_market()), 9, begin, begin);
        let (mut at, mut all) = (begin, Vec::new());
        while at < end {
            at = at.plus(step).min(end);
            all.extend(world.advance(at));
        }
        all
    };
    let whole = run(30 * HOUR);
    assert!(whole.len() > 1_000);
    assert_eq!(whole, run(7 * 60 * SECOND + 1));
}

#[test]
fn outputs_come_in_the_order_of_their_times() {
    let told = Told::of(small_market(), 2, 2);
    assert!(told.records.is_sorted_by_key(|sent| sent.at));
    let ids: BTreeSet<_> =
        told.records.iter().map(|sent| (sent.operator, sent.class, &sent.record.record_id)).collect();
    assert_eq!(ids.len(), told.records.len(), "ids are unique");
}

#[test]
fn every_record_that_the_truth_names_is_there_and_was_named_before() {
    for (name, seed) in [("market", 1), ("market", 2), ("demo", 3)] {
        let scenario = if name == "market" { small_market() } else { small_demo() };
        let days = if name == "market" { 8 } else { 1 };
        let told = Told::of(scenario, seed, days);
        let there = names(&told.records, &told.scenario);
        let mut marks = BTreeSet::new();
        let mut count = 0;
        for line in &told.truths {
            for record in named(line) {
                assert!(there.contains(record), "{name} {seed}: {record:?} of {line:?}");
                count += 1;
            }
            if let Truth::Episode { marks: of, from, to, records, .. } = line {
                assert!(from <= to && !records.is_empty(), "{line:?}");
                marks.extend(of.iter().copied());
            }
        }
        assert!(count > 1_000, "{name}: {count}");
        for mark in [
            "in_out",
            "structuring",
            "foreign_payout",
            "shared_device",
            "opposite_bets",
            "chip_dump",
            "excluded_play",
            "stakes_escalate",
        ] {
            assert!(marks.contains(mark), "{name} {seed}: {mark}");
        }
    }
}

#[test]
fn the_truth_stands_before_its_records() {
    let begin = Ts::parse(MONDAY).unwrap();
    let mut world = World::new(&Arc::new(small_market()), 4, begin, begin);
    let (mut sent, mut told) = (BTreeSet::new(), 0);
    for output in world.advance(begin.plus(120 * HOUR)) {
        match output {
            Output::Truth(line) => {
                for record in named(&line) {
                    assert!(!sent.contains(record), "{record:?} was sent before {line:?}");
                    told += 1;
                }
            }
            Output::Record(record) => {
                sent.insert(world.name(&record));
            }
            Output::Ask(_) => {}
        }
    }
    assert!(told > 1_000, "{told}");
}

#[test]
fn faults_make_wrong_what_is_said_and_nothing_else() {
    let begin = Ts::parse(MONDAY).unwrap();
    let told = Told::of(small_market(), 3, 3);
    let check = |target: &str, kind: FaultKind, class: Class, changes: &dyn Fn(&Sent, &Sent)| {
        let mut faults = Faults::planned(&told.scenario, begin);
        let fault = faults.order(target, kind, begin, 3 * 86_400).unwrap();
        let mut spoiled = 0;
        for sent in &told.records {
            let mut said = sent.clone();
            let by = faults.spoil(&mut said);
            let code = &told.scenario.operators[sent.operator].code;
            let is_target = sent.class.authority().unwrap_or(code) == target && (begin..fault.to).contains(&sent.at);
            if is_target && sent.class == class {
                assert_eq!(by, Some(fault.fault), "{sent:?}");
                assert_ne!(&said, sent);
                changes(sent, &said);
                spoiled += 1;
            } else if !is_target {
                assert_eq!((by, &said), (None, sent));
            }
        }
        assert!(spoiled > 2, "{target} {kind:?}: {spoiled}");
    };
    check("tembo-bet", FaultKind::ClockSkew, Class::GamingTransactions, &|was, is| {
        assert_eq!(is.record.occurred_at.0 - was.record.occurred_at.0, 2 * HOUR);
    });
    check("bank", FaultKind::WrongTotals, Class::BankStatements, &|was, is| {
        assert_ne!(is.record.balance_after_minor, was.record.balance_after_minor);
        assert_eq!(is.record.money, was.record.money);
    });
    check("tax", FaultKind::WrongTotals, Class::Invoices, &|was, is| {
        let paid = |sent: &Sent| sent.record.invoice.as_ref().unwrap()["paid_minor"].as_i64().unwrap();
        assert!(paid(is) > paid(was));
    });
}

#[test]
fn orders_of_faults_are_held_against_their_limits() {
    let begin = Ts::parse(MONDAY).unwrap();
    let mut faults = Faults::planned(&small_market(), begin);
    let mut order = |target: &str, seconds| faults.order(target, FaultKind::Slow, begin, seconds).map(|f| f.fault);
    assert_eq!(order("nobody", 5), Err(FaultError::Target));
    assert_eq!(order("bank", 0), Err(FaultError::Seconds));
    assert_eq!(order("bank", 604_801), Err(FaultError::Seconds));
    assert_eq!(order("bank", 5), Ok(0));
    assert_eq!(order("duma-slots", 5), Ok(1));
    assert!(faults.on_the_way("bank", begin.plus(4 * SECOND)).is_some());
    assert!(faults.on_the_way("bank", begin.plus(5 * SECOND)).is_none(), "it is over");
    assert!(faults.on_the_way("tax", begin).is_none());
}
