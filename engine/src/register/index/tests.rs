//! The index against a naive second implementation, by name, and with readers on other threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32};

use models::exclusion::Status;
use models::jurisdiction::JurisdictionNo;
use models::lookup::MatchGrade;
use models::match_key::KeyKind;
use proptest::prelude::*;

use super::*;

const NOW: u32 = 1_800_000_000;

fn person_key(kind: KeyKind, digest_version: u8, key: MatchKey, valid_to: Option<u32>) -> PersonKey {
    let valid_to = valid_to.map(|second| Ts(i64::from(second) * models::ts::SECOND));
    PersonKey { kind, digest_version, key, valid_from: Ts(0), valid_to }
}

fn lookup_key(kind: KeyKind, digest_version: u8, key: MatchKey) -> LookupKey {
    LookupKey { kind, digest_version, key }
}

/// Keys that crowd: many share group and control byte, all differ in the bits of their document tags.
fn crowded_key(number: u32) -> MatchKey {
    let crowd = u128::from(number % 3) << 72;
    MatchKey(crowd | u128::from(number & 0x7fff) << 7 | u128::from(number % 2))
}

/// Keys that spread like digests.
fn spread_key(number: u32) -> MatchKey {
    let tag = (u64::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    MatchKey(u128::from(tag) << 10 | u128::from(number & 0x3ff))
}

fn excluded(jurisdictions: u16, lapse_second: u32) -> PersonState {
    PersonState {
        jurisdictions,
        status: Status::Excluded,
        lapse_second,
        risk_band: 3,
        effective_second: 7,
        period_code: 2,
    }
}

/// What the index means, in maps and lists.
#[derive(Default)]
struct Naive {
    people: BTreeMap<u32, Vec<PersonState>>,
    keys: BTreeMap<MatchKey, BTreeMap<u32, Option<u32>>>,
    documents: BTreeMap<u32, Vec<(KeyKind, u8, MatchKey)>>,
}

impl Naive {
    fn insert_key(&mut self, person: u32, key: &PersonKey, valid_to: Option<u32>) {
        self.keys.entry(key.key).or_default().insert(person, valid_to.map(|second| second.max(1).div_ceil(60) * 60));
        if key.kind.is_document() {
            self.documents.entry(person).or_default().push((key.kind, key.digest_version, key.key));
        }
    }

    fn people_of(&self, key: MatchKey, now: u32) -> Vec<u32> {
        let Some(people) = self.keys.get(&key) else { return Vec::new() };
        people.iter().filter(|(_, end)| end.is_none_or(|end| now < end)).map(|(person, _)| *person).collect()
    }

    fn status(&self, person: u32, jurisdiction: u8, now: u32) -> Status {
        let states = self.people[&person].iter().filter(|state| state.jurisdictions >> jurisdiction & 1 == 1);
        let lapsed = |state: &PersonState| {
            let over = state.status == Status::Excluded && state.lapse_second != 0 && state.lapse_second <= now;
            if over { Status::PreviouslyExcluded } else { state.status }
        };
        states.map(lapsed).max().unwrap_or(Status::NotExcluded)
    }

    /// Status and grade, and everyone who may be named for them.
    fn decide(&self, keys: &[LookupKey], jurisdiction: u8, now: u32) -> (Status, MatchGrade, Vec<u32>) {
        let mut hits: BTreeMap<u32, MatchGrade> = BTreeMap::new();
        for key in keys {
            for person in self.people_of(key.key, now) {
                let documents = self.documents.get(&person).map_or(&[][..], Vec::as_slice);
                let differs = |supplied: &LookupKey| {
                    let mut same = documents
                        .iter()
                        .filter(|known| (known.0, known.1) == (supplied.kind, supplied.digest_version))
                        .peekable();
                    same.peek().is_some() && !same.any(|known| known.2 == supplied.key)
                };
                let grade = if key.kind != KeyKind::Phone {
                    MatchGrade::Exact
                } else if keys.iter().any(|key| key.kind != KeyKind::Phone && differs(key)) {
                    MatchGrade::Possible
                } else {
                    MatchGrade::Strong
                };
                let best = hits.entry(person).or_insert(grade);
                *best = (*best).max(grade);
            }
        }
        let standings = hits.into_iter().map(|(person, grade)| {
            let status = self.status(person, jurisdiction, now);
            (if grade == MatchGrade::Possible { status.min(Status::Review) } else { status }, grade, person)
        });
        let mut strictest = (Status::NotExcluded, MatchGrade::None, Vec::new());
        for (status, grade, person) in standings {
            if (status, grade) > (strictest.0, strictest.1) {
                strictest = (status, grade, Vec::new());
            }
            if (status, grade) == (strictest.0, strictest.1) {
                strictest.2.push(person);
            }
        }
        strictest
    }
}

#[derive(Debug, Clone)]
enum Step {
    SetPerson(u32, Vec<PersonState>),
    /// Person, kind, digest version, key number, end of validity.
    Insert(u32, KeyKind, u8, u32, Option<u32>),
    /// That many people with a spread key each, which makes the table grow.
    Crowd(u32),
    Ask(Vec<LookupKey>, u8, u32),
}

fn kind() -> impl Strategy<Value = KeyKind> {
    prop::sample::select(vec![KeyKind::Phone, KeyKind::Phone, KeyKind::NationalId, KeyKind::Passport])
}

/// A key number belongs to one kind and version, as a digest does.
fn identified(number: u32, kind: KeyKind, version: u8) -> MatchKey {
    crowded_key(number * 64 + u32::from(kind.number()) * 4 + u32::from(version))
}

fn state() -> impl Strategy<Value = PersonState> {
    let status = prop::sample::select(vec![
        Status::NotExcluded,
        Status::PreviouslyExcluded,
        Status::Review,
        Status::Excluded,
        Status::Excluded,
    ]);
    (0u16..16, status, 0u32..4, 0u8..8, 1u32..9, 1u8..11).prop_map(
        |(jurisdictions, status, lapse, risk_band, effective_second, period_code)| PersonState {
            jurisdictions,
            status,
            lapse_second: if lapse == 0 { 0 } else { NOW + lapse * 50 },
            risk_band,
            effective_second,
            period_code,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let asked = (0u32..8, kind(), 0u8..2)
        .prop_map(|(number, kind, version)| lookup_key(kind, version, identified(number, kind, version)));
    prop_oneof![
        3 => (0u32..10, prop::collection::vec(state(), 0..4)).prop_map(|(person, states)| Step::SetPerson(person, states)),
        6 => (0u32..10, kind(), 0u8..2, 0u32..8, prop::option::of(NOW..NOW + 200))
            .prop_map(|(person, kind, version, number, end)| Step::Insert(person, kind, version, number, end)),
        1 => (1u32..60).prop_map(Step::Crowd),
        6 => (prop::collection::vec(asked, 0..4), 0u8..5, NOW..NOW + 220).prop_map(|(keys, no, now)| Step::Ask(keys, no, now)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn agrees_with_the_naive_index(steps in prop::collection::vec(step(), 1..120)) {
        let mut writer = IndexWriter::with_capacity(0);
        let mut naive = Naive::default();
        let reader = writer.reader();
        writer.set_ready(Ts(5), 6);
        let mut crowd = 0;
        for step in steps {
            match step {
                Step::SetPerson(person, states) => {
                    prop_assert_eq!(writer.set_person(PersonNo(person), &states), Ok(()));
                    naive.people.insert(person, states);
                }
                Step::Insert(person, kind, version, number, end) => {
                    let key = person_key(kind, version, identified(number, kind, version), end);
                    let inserted = writer.insert_key(PersonNo(person), &key);
                    if naive.people.contains_key(&person) {
                        prop_assert_eq!(inserted, Ok(()));
                        naive.insert_key(person, &key, end);
                    } else {
                        prop_assert_eq!(inserted, Err(IndexError::Stateless));
                    }
                }
                Step::Crowd(people) => {
                    for number in crowd..crowd + people {
                        let key = person_key(KeyKind::Phone, 0, spread_key(number), None);
                        prop_assert_eq!(writer.set_person(PersonNo(1000 + number), &[]), Ok(()));
                        prop_assert_eq!(writer.insert_key(PersonNo(1000 + number), &key), Ok(()));
                        naive.people.insert(1000 + number, Vec::new());
                        naive.insert_key(1000 + number, &key, None);
                    }
                    crowd += people;
                }
                Step::Ask(keys, jurisdiction, now) => {
                    let verdict = reader.decide(&keys, JurisdictionNo(jurisdiction), now).unwrap();
                    let (status, grade, people) = naive.decide(&keys, jurisdiction, now);
                    prop_assert_eq!((verdict.status, verdict.grade), (status, grade));
                    prop_assert_eq!(verdict.person.is_some(), !people.is_empty());
                    if let Some(person) = verdict.person {
                        prop_assert!(people.contains(&person.0));
                        let states = &naive.people[&person.0];
                        if let Some(info) = verdict.informative {
                            let known = states.iter().any(|state| {
                                (state.effective_second, state.period_code, state.risk_band, state.lapse_second)
                                    == (info.effective_second, info.period_code, verdict.risk_band, verdict.lapse_second)
                            });
 prop_assert!(known);
                        } else {
                            let there = states.iter().any(|state| state.jurisdictions >> jurisdiction & 1 == 1);
                            prop_assert!(!there, "nothing informative though a state applies");
                        }
                    }
                }
            }
        }
        for key in naive.keys.keys() {
            let mut people: Vec<u32> = reader.lookup(*key, NOW).iter().map(|person| person.0).collect();
            people.sort_unstable();
            prop_assert_eq!(people, naive.people_of(*key, NOW));
        }
        prop_assert_eq!(writer.size().keys, naive.keys.len() as u64);
        prop_assert_eq!(writer.size().people, naive.people.len() as u64);
    }
}

fn one_person(states: &[PersonState], keys: &[PersonKey]) -> (IndexWriter, IndexReader) {
    let mut writer = IndexWriter::with_capacity(8);
    writer.set_person(PersonNo(1), states).unwrap();
    for key in keys {
        writer.insert_key(PersonNo(1), key).unwrap();
    }
    writer.set_ready(Ts(1), 1);
    let reader = writer.reader();
    (writer, reader)
}

#[test]
fn nothing_is_answered_while_loading() {
    let phone = spread_key(1);
    let (mut writer, reader) = one_person(&[], &[person_key(KeyKind::Phone, 0, phone, None)]);
    let ask = || reader.decide(&[lookup_key(KeyKind::Phone, 0, phone)], JurisdictionNo(0), NOW);
    assert_eq!(ask().map(|verdict| verdict.status), Ok(Status::NotExcluded));
    assert_eq!(reader.state(), IndexState::Ready { as_of: Ts(1), register_version: 1 });
    writer.set_loading();
    assert_eq!(ask(), Err(Unanswerable::Loading));
    assert_eq!(reader.state(), IndexState::Loading);
    writer.set_ready(Ts(9), 4);
    assert_eq!(ask().map(|verdict| (verdict.as_of, verdict.register_version)), Ok((Ts(9), 4)));
    assert_eq!(IndexWriter::with_capacity(1).reader().decide(&[], JurisdictionNo(0), NOW), Err(Unanswerable::Loading));
    assert_eq!(reader.decide(&[], JurisdictionNo(16), NOW), Err(Unanswerable::Jurisdiction));
}

#[test]
fn an_exclusion_lapses_at_its_second_without_a_write() {
    let phone = spread_key(1);
    let (_writer, reader) = one_person(&[excluded(1, NOW + 10)], &[person_key(KeyKind::Phone, 0, phone, None)]);
    let status = |now| {
        let keys = [lookup_key(KeyKind::Phone, 0, phone)];
        reader.decide(&keys, JurisdictionNo(0), now).map(|verdict| verdict.status)
    };
    assert_eq!(status(NOW + 9), Ok(Status::Excluded));
    assert_eq!(status(NOW + 10), Ok(Status::PreviouslyExcluded));
}

#[test]
fn jurisdictions_differ() {
    let phone = spread_key(1);
    let previously = PersonState { status: Status::PreviouslyExcluded, ..excluded(0b010, 0) };
    let states = [excluded(0b001, 0), previously];
    let (mut writer, reader) = one_person(&states, &[person_key(KeyKind::Phone, 0, phone, None)]);
    let statuses = || {
        [0, 1, 2].map(|no| {
            let keys = [lookup_key(KeyKind::Phone, 0, phone)];
            reader.decide(&keys, JurisdictionNo(no), NOW).map(|verdict| verdict.status).unwrap()
        })
    };
    assert_eq!(statuses(), [Status::Excluded, Status::PreviouslyExcluded, Status::NotExcluded]);
    writer.set_person(PersonNo(1), &[excluded(0b100, 0)]).unwrap();
    assert_eq!(statuses(), [Status::NotExcluded, Status::NotExcluded, Status::Excluded]);
}

/// The rule for a phone whose record holds a different document.
#[test]
fn a_phone_with_a_different_document_of_the_same_type_is_review() {
    use KeyKind::{NationalId, Passport, Phone};
    let (phone, card, passport, other) = (spread_key(1), spread_key(2), spread_key(3), spread_key(4));
    let keys = [person_key(Phone, 0, phone, None), person_key(NationalId, 0, card, None)];
    let (mut writer, reader) = one_person(&[excluded(1, 0)], &keys);
    let ask = |kind, version, key| {
        let keys = [lookup_key(Phone, 0, phone), lookup_key(kind, version, key)];
        reader.decide(&keys, JurisdictionNo(0), NOW).map(|verdict| (verdict.status, verdict.grade)).unwrap()
    };
    assert_eq!(ask(Phone, 0, phone), (Status::Excluded, MatchGrade::Strong));
    assert_eq!(ask(NationalId, 0, card), (Status::Excluded, MatchGrade::Exact));
    assert_eq!(ask(NationalId, 0, other), (Status::Review, MatchGrade::Possible));
    assert_eq!(ask(Passport, 0, other), (Status::Excluded, MatchGrade::Strong));
    // under another digest key nothing can be compared, so nothing contradicts
    assert_eq!(ask(NationalId, 1, other), (Status::Excluded, MatchGrade::Strong));
    // further documents, enough of them for several nodes
    writer.insert_key(PersonNo(1), &person_key(Passport, 0, passport, None)).unwrap();
    for number in 10..30 {
        writer.insert_key(PersonNo(1), &person_key(NationalId, 1, spread_key(number), None)).unwrap();
    }
    writer.set_person(PersonNo(1), &[excluded(1, 0)]).unwrap();
    assert_eq!(ask(Passport, 0, other), (Status::Review, MatchGrade::Possible));
    assert_eq!(ask(NationalId, 0, other), (Status::Review, MatchGrade::Possible));
    assert_eq!(ask(NationalId, 1, other), (Status::Review, MatchGrade::Possible));
    assert_eq!(ask(NationalId, 1, spread_key(29)), (Status::Excluded, MatchGrade::Exact));
    let before = writer.size();
    for number in 10..30 {
        writer.insert_key(PersonNo(1), &person_key(NationalId, 1, spread_key(number), None)).unwrap();
    }
    assert_eq!(writer.size(), before, "known documents take no more room");
}

#[test]
fn a_shared_key_names_everyone_and_the_strictest_answers() {
    let phone = spread_key(1);
    let mut writer = IndexWriter::with_capacity(0);
    writer.set_ready(Ts(1), 1);
    let key = person_key(KeyKind::Phone, 0, phone, None);
    for person in 0..7 {
        let states = if person == 3 { vec![excluded(1, 0)] } else { Vec::new() };
        writer.set_person(PersonNo(person), &states).unwrap();
        writer.insert_key(PersonNo(person), &key).unwrap();
        writer.insert_key(PersonNo(person), &key).unwrap();
    }
    let reader = writer.reader();
    assert_eq!(reader.lookup(phone, NOW).iter().map(|person| person.0).collect::<Vec<_>>(), [6, 5, 4, 3, 2, 1, 0]);
    let ask = || reader.decide(&[lookup_key(KeyKind::Phone, 0, phone)], JurisdictionNo(0), NOW).unwrap();
    assert_eq!((ask().status, ask().person), (Status::Excluded, Some(PersonNo(3))));
    assert_eq!((writer.size().keys, writer.size().shared_by_max), (1, 7));
    // the number goes to somebody else: only the one who gave it up is no longer named by it
    writer.insert_key(PersonNo(3), &person_key(KeyKind::Phone, 0, phone, Some(NOW - 60))).unwrap();
    assert_eq!(ask().status, Status::NotExcluded);
    assert_eq!(reader.lookup(phone, NOW).len(), 6);
}

#[test]
fn a_number_without_room_is_refused() {
    let mut writer = IndexWriter::with_capacity(0);
    assert_eq!(writer.set_person(PersonNo(PEOPLE_MAX), &[]), Err(IndexError::People));
    let risky = PersonState { risk_band: 8, ..excluded(1, 0) };
    assert_eq!(writer.set_person(PersonNo(0), &[risky]), Err(IndexError::Range));
    assert_eq!(
        writer.insert_key(PersonNo(0), &person_key(KeyKind::Phone, 0, spread_key(1), None)),
        Err(IndexError::Stateless)
    );
    writer.set_person(PersonNo(0), &[]).unwrap();
    assert_eq!(
        writer.insert_key(PersonNo(0), &person_key(KeyKind::Nin, 4, spread_key(1), None)),
        Err(IndexError::Range)
    );
    assert!(writer.reader().lookup(spread_key(1), NOW).is_empty());
}

#[test]
fn the_table_stays_near_fifteen_bytes_a_key() {
    let table = Table::with_capacity(1_000_000);
    let bytes_per_key = table.memory_bytes() as f64 / table.capacity() as f64;
    assert!((15.0..15.6).contains(&bytes_per_key), "{bytes_per_key}");
}

/// One writer adds, shares, changes and grows; two readers check that nothing seen vanishes, that a
/// person's key leads to that person, and that start and end of one exclusion never come from two.
#[test]
fn readers_never_see_a_key_vanish_or_a_torn_value() {
    const PEOPLE: u32 = 30_000;
    const HOT: u32 = 64;
    let hot_state = |round: u32| PersonState {
        effective_second: round + 1,
        lapse_second: NOW + round + 1,
        period_code: (round % 10) as u8 + 1,
        ..excluded(1, 0)
    };
    let mut writer = IndexWriter::with_capacity(0);
    writer.set_ready(Ts(1), 0);
    // people below this are acknowledged
    let acknowledged = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for thread in 0..2u32 {
            let reader = writer.reader();
            let acknowledged = &acknowledged;
            scope.spawn(move || {
                let mut random = 0x2545_f491_4f6c_dd1d_u64 + u64::from(thread);
                let mut version = 0;
                loop {
                    let people = acknowledged.load(Ordering::Acquire);
                    for _ in 0..200 {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        // what is being written right now may be there or not, but never half
                        let coming = reader.lookup(spread_key(people), NOW);
                        assert!(coming.iter().all(|person| person.0 % PEOPLE == people), "half a slot");
                        let Some(number) = (random as u32 >> 1).checked_rem(people) else { break };
                        let hot = random >> 60 == 0;
                        let number = if hot { number % HOT.min(people) } else { number };
                        let named = reader.lookup(spread_key(number), NOW);
                        assert!(named.contains(PersonNo(number)), "person {number} of {people} vanished");
                        assert!(named.iter().all(|person| person.0 % PEOPLE == number), "a stranger's key");
                        let keys = [lookup_key(KeyKind::Phone, 0, spread_key(number))];
                        let verdict = reader.decide(&keys, JurisdictionNo(0), NOW).unwrap();
                        assert_eq!(verdict.status, Status::Excluded);
                        if let Some(info) = verdict.informative {
                            assert_eq!(verdict.lapse_second, NOW + info.effective_second, "torn");
                            assert_eq!(u32::from(info.period_code), (info.effective_second - 1) % 10 + 1, "torn");
                        }
                        assert!(verdict.register_version >= version, "version went back");
                        version = verdict.register_version;
                    }
                    if people == PEOPLE {
                        break;
                    }
                }
            });
        }
        for number in 0..PEOPLE {
            writer.set_person(PersonNo(number), &[hot_state(number)]).unwrap();
            writer.insert_key(PersonNo(number), &person_key(KeyKind::Phone, 0, spread_key(number), None)).unwrap();
            // somebody hot changes, gets documents, and now and then shares the key
            let hot = number % HOT;
            let split = [hot_state(number), PersonState { jurisdictions: 2, ..hot_state(number) }];
            writer.set_person(PersonNo(hot), &split[..if number % 5 == 0 { 2 } else { 1 }]).unwrap();
            if number % 16 == 0 {
                let document = person_key(KeyKind::Passport, 0, MatchKey(spread_key(number).0 ^ 1 << 60), None);
                writer.insert_key(PersonNo(hot), &document).unwrap();
            }
            if number % 7 == 0 {
                let other = PersonNo(PEOPLE + number);
                writer.set_person(other, &[hot_state(number)]).unwrap();
                writer.insert_key(other, &person_key(KeyKind::Phone, 0, spread_key(number), None)).unwrap();
            }
            writer.set_ready(Ts(1), Seq::from(number));
            acknowledged.store(number + 1, Ordering::Release);
        }
    });
    assert!(writer.size().growths > 5);
    assert_eq!(writer.size().people, u64::from(PEOPLE + PEOPLE.div_ceil(7)));
}

/// The same by hand: the writer stops between its two stores, for a person with and without a side node.
#[test]
fn between_two_stores_the_old_decision_stands_without_a_start() {
    let phone = spread_key(1);
    let (mut writer, reader) = one_person(&[excluded(1, 0)], &[person_key(KeyKind::Phone, 0, phone, None)]);
    let keys = [lookup_key(KeyKind::Phone, 0, phone)];
    for number in 10..12 {
        let document = person_key(KeyKind::Passport, 0, spread_key(number), None);
        writer.insert_key(PersonNo(1), &document).unwrap();
        let cell = writer.shared.people.get(1).unwrap();
        let generation = CellWord(cell[0].load(Ordering::Relaxed)).generation();
        let next = PersonState { effective_second: 99, ..excluded(1, 0) };
        writer.set_info(cell, InfoWord::pack(&next, generation.wrapping_add(1)));
        let verdict = reader.decide(&keys, JurisdictionNo(0), NOW).unwrap();
        assert_eq!((verdict.status, verdict.informative), (Status::Excluded, None));
        writer.set_person(PersonNo(1), &[next]).unwrap();
        let verdict = reader.decide(&keys, JurisdictionNo(0), NOW).unwrap();
        assert_eq!(verdict.informative.map(|info| info.effective_second), Some(99));
    }
}

/// A decision and what goes with it come from one change, whatever form the person has meanwhile.
#[test]
fn start_and_end_of_an_exclusion_never_come_from_two_changes() {
    const CHANGES: u32 = 200_000;
    let phone = spread_key(1);
    let state =
        |round: u32| PersonState { effective_second: round + 1, lapse_second: NOW + round + 1, ..excluded(1, 0) };
    let (mut writer, reader) = one_person(&[state(0)], &[person_key(KeyKind::Phone, 0, phone, None)]);
    let done = AtomicBool::new(false);
    let watch = || {
        let mut seen = 0;
        while !done.load(Ordering::Acquire) {
            let keys = [lookup_key(KeyKind::Phone, 0, phone)];
            let verdict = reader.decide(&keys, JurisdictionNo(0), NOW).unwrap();
            assert_eq!(verdict.status, Status::Excluded);
            assert!(verdict.lapse_second >= seen, "an older decision after a newer one");
            seen = verdict.lapse_second;
            if let Some(info) = verdict.informative {
                assert_eq!(verdict.lapse_second, NOW + info.effective_second, "torn");
            }
        }
    };
    std::thread::scope(|scope| {
        let watchers = [scope.spawn(watch), scope.spawn(watch)];
        for round in 1..CHANGES {
            let states = [state(round), PersonState { jurisdictions: 2, ..state(round) }];
            writer.set_person(PersonNo(1), &states[..if round % 7 == 0 { 2 } else { 1 }]).unwrap();
            if round % 10_000 == 0 {
                let document = person_key(KeyKind::Passport, 0, spread_key(round), None);
                writer.insert_key(PersonNo(1), &document).unwrap();
            }
        }
        done.store(true, Ordering::Release);
        for watcher in watchers {
            watcher.join().unwrap();
        }
    });
    let keys = [lookup_key(KeyKind::Phone, 0, phone)];
    let verdict = writer.reader().decide(&keys, JurisdictionNo(0), NOW).unwrap();
    assert_eq!(verdict.informative.map(|info| info.effective_second), Some(CHANGES));
}
