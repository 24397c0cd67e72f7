//! The index's own code under every order of steps that loom can find (`make loom`): one writer, a reader or a copier.
//!
//! Tables and segments are tiny here (`LOAD_PERCENT`, `SEGMENT_CELLS`), so that growth and new segments are near. Each
//! test names what a reader may see; a reader that sees anything else fails it, with the order of steps.

use super::*;
use crate::register::apply;
use loom::thread;
use models::event::{Event, Exclusion};
use models::exclusion::{Channel, Period, ReasonClass, Status};
use models::ids::ExclusionId;
use models::jurisdiction::JurisdictionNo;
use models::lookup::MatchGrade;
use models::match_key::KeyKind;

const NOW: u32 = 1_800_000_000;
const HERE: JurisdictionNo = JurisdictionNo(0);

/// Every order with at most `preemptions` steps aside: three find nearly all that more would, in a hundredth of the time.
fn every_order(preemptions: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.max_branches = 20_000;
    model.check(test);
}

/// Keys of one group, one control word and one control byte: only their kept bits tell them apart.
fn key(n: u32) -> MatchKey {
    MatchKey(u128::from(n + 1) << 7 | 5)
}

fn person_key(kind: KeyKind, n: u32) -> PersonKey {
    PersonKey { kind, digest_version: 0, key: key(n), valid_from: Ts(0), valid_to: None }
}

fn phone(n: u32) -> PersonKey {
    person_key(KeyKind::Phone, n)
}

fn ask(kind: KeyKind, n: u32) -> LookupKey {
    LookupKey { kind, digest_version: 0, key: key(n) }
}

/// A state of which every part tells its number.
fn state(n: u32) -> PersonState {
    PersonState {
        jurisdictions: 1,
        status: if n.is_multiple_of(2) { Status::Excluded } else { Status::PreviouslyExcluded },
        lapse_second: NOW + 10 + n,
        risk_band: n as u8 & 7,
        effective_second: 100 + n,
        period_code: n as u8,
    }
}

/// Is it one of these states, all of it? The informative part may be missing, but never another's.
#[track_caller]
fn is_one_of(verdict: &Verdict, states: &[PersonState]) {
    let whole = states.iter().any(|state| {
        let informative = Informative { effective_second: state.effective_second, period_code: state.period_code };
        verdict.status == state.status
            && verdict.lapse_second == state.lapse_second
            && verdict.risk_band == state.risk_band
            && verdict.informative.is_none_or(|told| told == informative)
    });
    assert!(whole, "a mixture: {verdict:?}");
}

fn ready(keys: usize) -> IndexWriter {
    let mut index = IndexWriter::with_capacity(keys);
    index.set_ready(Ts(1), 1);
    index
}

#[test]
fn a_reader_beside_an_insert_sees_nobody_or_the_right_person() {
    every_order(3, || {
        let mut index = ready(2);
        index.set_person(PersonNo(0), &[state(0)]).unwrap();
        index.insert_key(PersonNo(0), &phone(0)).unwrap();
        let reader = index.reader();
        let writer = thread::spawn(move || {
            // a segment of its own
            index.set_person(PersonNo(2), &[state(2)]).unwrap();
            index.insert_key(PersonNo(2), &phone(2)).unwrap();
            index
        });
        let verdict = reader.decide(&[ask(KeyKind::Phone, 2)], HERE, NOW).unwrap();
        match verdict.person {
            None => assert_eq!((verdict.status, verdict.grade), (Status::NotExcluded, MatchGrade::None)),
            Some(person) => {
                assert_eq!(person, PersonNo(2));
                is_one_of(&verdict, &[state(2)]);
            }
        }
        // whoever was there is there
        let other = reader.decide(&[ask(KeyKind::Phone, 0)], HERE, NOW).unwrap();
        assert_eq!(other.person, Some(PersonNo(0)));
        is_one_of(&other, &[state(0)]);
        let index = writer.join().unwrap();
        assert_eq!(index.reader().decide(&[ask(KeyKind::Phone, 2)], HERE, NOW).unwrap().person, Some(PersonNo(2)));
    });
}

#[test]
fn a_key_that_becomes_shared_names_the_first_person_throughout() {
    every_order(3, || {
        let mut index = ready(2);
        for n in [0, 1] {
            index.set_person(PersonNo(n), &[state(n)]).unwrap();
        }
        index.insert_key(PersonNo(0), &phone(0)).unwrap();
        let reader = index.reader();
        let writer = thread::spawn(move || {
            index.insert_key(PersonNo(1), &phone(0)).unwrap();
            // and one of them until some minute only, in place
            let until = Some(Ts(i64::from(NOW + 600) * models::ts::SECOND));
            index.insert_key(PersonNo(1), &PersonKey { valid_to: until, ..phone(0) }).unwrap();
        });
        let people: Vec<u32> = reader.lookup(key(0), NOW).iter().map(|person| person.0).collect();
        assert!(people == [0] || people == [1, 0], "{people:?}");
        writer.join().unwrap();
    });
}

/// Plain, with documents beside the cell, and split by jurisdiction.
#[test]
fn a_decision_is_the_old_or_the_new_one_whole() {
    for documents in [0, 2] {
        every_order(3, move || {
            let mut index = ready(4);
            index.set_person(PersonNo(0), &[state(0)]).unwrap();
            index.insert_key(PersonNo(0), &phone(0)).unwrap();
            for n in 0..documents {
                index.insert_key(PersonNo(0), &person_key(KeyKind::Passport, 1 + n)).unwrap();
            }
            let reader = index.reader();
            let writer = thread::spawn(move || {
                index.set_person(PersonNo(0), &[state(1)]).unwrap();
                index.set_person(PersonNo(0), &[state(2)]).unwrap();
            });
            let states = [state(0), state(1), state(2)];
            let first = reader.decide(&[ask(KeyKind::Phone, 0)], HERE, NOW).unwrap();
            is_one_of(&first, &states);
            let second = reader.decide(&[ask(KeyKind::Phone, 0)], HERE, NOW).unwrap();
            is_one_of(&second, &states);
            assert!(second.lapse_second >= first.lapse_second, "what was seen is not taken back");
            writer.join().unwrap();
        });
    }
    every_order(3, || {
        let mut index = ready(2);
        index.set_person(PersonNo(0), &[state(0)]).unwrap();
        index.insert_key(PersonNo(0), &phone(0)).unwrap();
        let reader = index.reader();
        let there = PersonState { jurisdictions: 2, ..state(4) };
        let writer = thread::spawn(move || {
            index.set_person(PersonNo(0), &[state(2), there]).unwrap();
            index.set_person(PersonNo(0), &[state(6)]).unwrap();
        });
        let here = reader.decide(&[ask(KeyKind::Phone, 0)], HERE, NOW).unwrap();
        is_one_of(&here, &[state(0), state(2), state(6)]);
        let verdict = reader.decide(&[ask(KeyKind::Phone, 0)], JurisdictionNo(1), NOW).unwrap();
        if verdict.status == Status::Excluded {
            is_one_of(&verdict, &[there]);
        }
        writer.join().unwrap();
    });
}

#[test]
fn growth_loses_nobody_who_was_there_before() {
    every_order(2, || {
        let mut index = ready(2);
        for n in 0..2 {
            index.set_person(PersonNo(n), &[state(n)]).unwrap();
            index.insert_key(PersonNo(n), &phone(n)).unwrap();
        }
        let reader = index.reader();
        let writer = thread::spawn(move || {
            index.set_person(PersonNo(2), &[state(2)]).unwrap();
            index.insert_key(PersonNo(2), &phone(2)).unwrap();
            assert_eq!(index.size().growths, 1, "the test is of growth");
            // acknowledged
            index.set_ready(Ts(2), 2);
            index
        });
        // the one who is on the way first, so that both tables are met in one reader's life
        let before = reader.state();
        let coming = reader.decide(&[ask(KeyKind::Phone, 2)], HERE, NOW).unwrap();
        match coming.person {
            Some(person) => {
                assert_eq!(person, PersonNo(2));
                is_one_of(&coming, &[state(2)]);
            }
            None => assert_eq!(before, IndexState::Ready { as_of: Ts(1), register_version: 1 }),
        }
        for n in 0..2 {
            let verdict = reader.decide(&[ask(KeyKind::Phone, n)], HERE, NOW).unwrap();
            assert_eq!(verdict.person, Some(PersonNo(n)));
            is_one_of(&verdict, &[state(n)]);
        }
        writer.join().unwrap();
    });
}

#[test]
fn no_answer_claims_a_version_that_it_does_not_show() {
    every_order(3, || {
        let mut index = IndexWriter::with_capacity(2);
        let reader = index.reader();
        let writer = thread::spawn(move || {
            index.set_person(PersonNo(0), &[state(0)]).unwrap();
            index.insert_key(PersonNo(0), &phone(0)).unwrap();
            index.set_ready(Ts(10), 1);
            index.set_person(PersonNo(0), &[state(2)]).unwrap();
            index.set_ready(Ts(10), 2);
            index.set_ready(Ts(20), 2);
        });
        match reader.decide(&[ask(KeyKind::Phone, 0)], HERE, NOW) {
            // before the first time
            Err(unanswerable) => assert_eq!(unanswerable, Unanswerable::Loading),
            Ok(verdict) => {
                assert_eq!(verdict.person, Some(PersonNo(0)));
                let (old, new) = (state(0).lapse_second, state(2).lapse_second);
                assert!(verdict.lapse_second == new || verdict.lapse_second == old && verdict.register_version == 1);
                assert!(verdict.as_of == Ts(10) || verdict.register_version == 2, "{verdict:?}");
            }
        }
        writer.join().unwrap();
    });
}

#[test]
fn a_known_document_never_looks_like_another_one() {
    // one beside the phone, then two, then a second node of them
    for known in [1, 2, 7] {
        every_order(3, move || {
            let mut index = ready(12);
            index.set_person(PersonNo(0), &[state(0)]).unwrap();
            index.insert_key(PersonNo(0), &phone(0)).unwrap();
            for n in 0..known {
                index.insert_key(PersonNo(0), &person_key(KeyKind::Passport, 1 + n)).unwrap();
            }
            let reader = index.reader();
            let writer = thread::spawn(move || {
                index.insert_key(PersonNo(0), &person_key(KeyKind::Passport, 1 + known)).unwrap();
                index
            });
            // the document under a key of its own is as if nobody had it: the phone decides, and the record's tags
            let tag = DocumentTag::new(KeyKind::Passport, 0, key(1)).unwrap();
            let info = reader.shared.people.get(0).unwrap();
            let word = InfoWord(info[1].load(Ordering::Acquire));
            let extension = word.extension().and_then(|node| reader.shared.side.get(node));
            let head = extension.map_or(0, |node| node[1].load(Ordering::Acquire) as u32);
            assert!(word.document().into_iter().chain(reader.shared.documents(head)).any(|known| known == tag));
            let verdict = reader.decide(&[ask(KeyKind::Phone, 0), ask(KeyKind::Passport, 1)], HERE, NOW).unwrap();
            assert_eq!((verdict.status, verdict.grade), (Status::Excluded, MatchGrade::Exact));
            writer.join().unwrap();
        });
    }
}

fn exclusion(id: u128, jurisdiction: u8, period: Period, ended: bool) -> Exclusion {
    let effective_at = Ts(1_700_000_000_000_000 + id as i64 * models::ts::SECOND);
    let ends_at = period.ends_at(effective_at, &jiff::tz::TimeZone::UTC);
    Exclusion {
        id: ExclusionId(id),
        person_no: PersonNo(0),
        jurisdiction: JurisdictionNo(jurisdiction),
        period,
        at_end: period.at_end(),
        reason_class: ReasonClass::Own,
        channel: Channel::Web,
        effective_at,
        ends_at,
        ended_at: ended.then_some(ends_at).flatten(),
        reported_by: None,
    }
}

/// Bytes of a table of two groups.
const TABLE_BYTES: usize = 2 * (16 + 16 * 8 + 16 * 4);

/// A copy made while `after` is written, with `after` applied once more, is the index. So many bytes are copied before
/// the writer begins: each word copied beside it multiplies the orders there are.
fn copied_beside(ahead: usize, before: &'static [u32], after: impl Fn() -> Vec<Event> + Copy + Sync + Send + 'static) {
    every_order(2, move || {
        let mut index = ready(if before.len() > 2 { 12 } else { 4 });
        let added = Event::PersonAdded {
            person_no: PersonNo(0),
            birth_digest: None,
            keys: before.iter().map(|n| person_key(KeyKind::Passport, *n)).chain([phone(0)]).collect(),
        };
        apply::event(&mut index, &added).unwrap();
        apply::event(&mut index, &Event::ExclusionRegistered(exclusion(1, 0, Period::Days10, false))).unwrap();
        // takes a side node
        let until = Some(Ts(i64::from(NOW + 600) * models::ts::SECOND));
        index.insert_key(PersonNo(0), &PersonKey { valid_to: until, ..phone(9) }).unwrap();
        index.set_through(1);
        let (mut snapshot, mut bytes) = (index.reader().snapshot(), Vec::new());
        snapshot.copy(&mut bytes, ahead);
        let writer = thread::spawn(move || {
            for (n, event) in after().iter().enumerate() {
                apply::event(&mut index, event).unwrap();
                index.set_through(2 + n as i64);
            }
            index
        });
        while snapshot.copy(&mut bytes, 1 << 20) {}
        let mut loader = Loader::new(snapshot.head()).unwrap();
        loader.feed(&bytes).unwrap();
        let mut copy = loader.finish().unwrap();
        let index = writer.join().unwrap();
        let through = snapshot.head().through;
        for event in &after()[through as usize - 1..] {
            apply::event(&mut copy, event).unwrap();
        }
        for person in 0..4 {
            assert_eq!(copy.person_states(PersonNo(person)), index.person_states(PersonNo(person)), "from {through}");
        }
        for n in 0..10 {
            assert_eq!(copy.reader().lookup(key(n), NOW), index.reader().lookup(key(n), NOW), "key {n} from {through}");
            for phone in [0, 8] {
                // what it may not be taken for: another document of the person
                let keys = [ask(KeyKind::Phone, phone), ask(KeyKind::Passport, n)];
                copy.set_ready(Ts(1), 1);
                let (copied, wanted) =
                    (copy.reader().decide(&keys, HERE, NOW).unwrap(), index.reader().decide(&keys, HERE, NOW).unwrap());
                assert_eq!((copied.status, copied.grade), (wanted.status, wanted.grade), "key {n} from {through}");
            }
        }
    });
}

#[test]
fn a_copy_beside_new_people_and_the_events_behind_it_are_the_index() {
    copied_beside(0, &[], || {
        let added = Event::PersonAdded { person_no: PersonNo(2), birth_digest: None, keys: vec![phone(8), phone(0)] };
        let excluded = Exclusion { person_no: PersonNo(2), ..exclusion(5, 0, Period::Permanent, false) };
        vec![added, Event::ExclusionRegistered(excluded)]
    });
}

#[test]
fn a_copy_beside_a_change_of_status_and_the_events_behind_it_are_the_index() {
    for documents in [&[][..], &[1, 2]] {
        copied_beside(TABLE_BYTES, documents, || {
            vec![
                Event::ExclusionRegistered(exclusion(2, 1, Period::Year1, false)),
                Event::ExclusionLapsed(exclusion(1, 0, Period::Days10, true)),
            ]
        });
    }
}

#[test]
fn a_copy_beside_new_documents_and_the_events_behind_it_are_the_index() {
    copied_beside(0, &[1, 2, 3, 4, 5, 6], || {
        // the seventh takes a node of its own, in a segment that was not there
        vec![Event::PersonKeysAdded { person_no: PersonNo(0), keys: vec![person_key(KeyKind::Passport, 7)] }]
    });
}
