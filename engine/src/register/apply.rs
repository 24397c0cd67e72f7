//! What a committed register event changes in the index. Applying one twice changes nothing.

use super::decide::Dossier;
use super::index::{IndexError, IndexWriter, PersonState};
use models::event::{Bound, Event, Exclusion};
use models::exclusion::{AtEnd, Status};
use models::ids::PersonNo;
use models::ts::Ts;

/// Takes in an event; other events than the register's change nothing.
///
/// # Errors
/// [`IndexError`] where the index cannot hold it: it is then incomplete and must not be asked.
pub fn event(index: &mut IndexWriter, event: &Event) -> Result<(), IndexError> {
    match event {
        Event::PersonAdded { person_no, keys, .. } => {
            if index.person_states(*person_no).is_empty() {
                index.set_person(*person_no, &[])?;
            }
            keys.iter().try_for_each(|key| index.insert_key(*person_no, key))
        }
        Event::PersonKeysAdded { person_no, keys } => keys.iter().try_for_each(|key| index.insert_key(*person_no, key)),
        Event::MatchKeysDerived { people, .. } => {
            let mut keys = people.iter().flat_map(|known| known.keys.iter().map(|key| (known.person_no, key)));
            keys.try_for_each(|(person_no, key)| index.insert_key(person_no, key))
        }
        Event::ExclusionRegistered(exclusion)
        | Event::ExclusionExtended(exclusion)
        | Event::ExclusionRenewed(exclusion)
        | Event::ExclusionLapsed(exclusion) => {
            let states = with(index.person_states(exclusion.person_no), exclusion.bound());
            index.set_person(exclusion.person_no, &states)
        }
        // it does not say whom: that is to be read from the tables
        Event::PeopleImported { .. } => Err(IndexError::Untold),
        _ => Ok(()),
    }
}

/// Takes in a person as the tables hold them.
///
/// # Errors
/// As [`event`].
pub fn person(index: &mut IndexWriter, dossier: &Dossier) -> Result<(), IndexError> {
    let mut exclusions: Vec<&Exclusion> = dossier.exclusions.iter().collect();
    // of those that ended the newest is told of
    exclusions.sort_by_key(|e| e.effective_at);
    let states = exclusions.into_iter().map(Exclusion::bound).fold(Vec::new(), with);
    index.set_person(PersonNo(dossier.person_no), &states)?;
    dossier.keys.iter().try_for_each(|key| index.insert_key(PersonNo(dossier.person_no), key))
}

/// Takes in a person's exclusions as the tables hold them; the keys follow.
///
/// # Errors
/// As [`event`].
pub fn bounds(index: &mut IndexWriter, person_no: PersonNo, bounds: &mut [Bound]) -> Result<(), IndexError> {
    // of those that ended the newest is told of
    bounds.sort_by_key(|bound| bound.effective_at);
    let states = bounds.iter().copied().fold(Vec::new(), with);
    index.set_person(person_no, &states)
}

/// A person's states after an exclusion has become as it is now.
///
/// The index keeps one state per jurisdiction, and a person may have had several exclusions there: what binds is never
/// replaced by the end of another one, and of two that bind the stricter stands. Fail closed: the events of two
/// exclusions may come in any order.
fn with(mut states: Vec<PersonState>, exclusion: Bound) -> Vec<PersonState> {
    let mask = exclusion.jurisdiction.mask();
    let state = state_of(exclusion);
    let present = states.iter().find(|state| state.jurisdictions & mask != 0).copied();
    if present.is_some_and(|present| outlives(&present, &state)) {
        return states;
    }
    for state in &mut states {
        state.jurisdictions &= !mask;
    }
    states.retain(|state| state.jurisdictions != 0);
    match states.iter_mut().find(|other| PersonState { jurisdictions: mask, ..**other } == state) {
        Some(same) => same.jurisdictions |= mask,
        None => states.push(state),
    }
    states
}

/// Does the present state of a jurisdiction stand against what another of its exclusions has become?
fn outlives(present: &PersonState, new: &PersonState) -> bool {
    let until = |state: &PersonState| if state.lapse_second == 0 { u32::MAX } else { state.lapse_second };
    match (present.status, new.status) {
        // an extension never shortens: whatever is shorter is older, or of another exclusion
        (Status::Excluded, Status::Excluded) => until(present) > until(new),
        // an exclusion keeps its beginning for life, and of two with one beginning the periods differ
        (Status::Excluded, _) => {
            (present.effective_second, present.period_code) != (new.effective_second, new.period_code)
        }
        _ => false,
    }
}

fn state_of(exclusion: Bound) -> PersonState {
    // before the end of time nothing lapses by the clock: only an event that ended it counts here, the reader
    // compares with its own now
    let status = if exclusion.ended_at.is_some() { Status::PreviouslyExcluded } else { Status::Excluded };
    let lapses = exclusion.at_end == AtEnd::Lapse && exclusion.ended_at.is_none();
    PersonState {
        jurisdictions: exclusion.jurisdiction.mask(),
        status,
        lapse_second: exclusion.ends_at.filter(|_| lapses).map_or(0, second),
        risk_band: 0,
        effective_second: second(exclusion.effective_at),
        period_code: exclusion.period.code(),
    }
}

fn second(ts: Ts) -> u32 {
    u32::try_from(ts.seconds()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::index::LookupKey;
    use super::*;
    use models::event::{DerivedKeys, PersonKey};
    use models::exclusion::{Channel, Period, ReasonClass};
    use models::ids::ExclusionId;
    use models::jurisdiction::JurisdictionNo;
    use models::match_key::{KeyKind, MatchKey};

    fn exclusion(id: u128, jurisdiction: u8, period: Period, ended: bool) -> Exclusion {
        let effective_at = Ts(1_700_000_000_000_000);
        let ends_at = period.ends_at(effective_at, &jiff::tz::TimeZone::UTC);
        Exclusion {
            id: ExclusionId(id),
            person_no: PersonNo(7),
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

    fn key() -> PersonKey {
        let (kind, key) = (KeyKind::Phone, MatchKey(5 << 40));
        PersonKey { kind, digest_version: 0, key, valid_from: Ts(0), valid_to: None }
    }

    fn status(index: &mut IndexWriter, jurisdiction: u8, now: u32) -> Status {
        index.set_ready(Ts(1), 1);
        let key = key();
        let asked = LookupKey { kind: key.kind, digest_version: key.digest_version, key: key.key };
        index.reader().decide(&[asked], JurisdictionNo(jurisdiction), now).unwrap().status
    }

    #[test]
    fn events_twice_and_tables_give_the_same_answers() {
        use Status::{Excluded, NotExcluded, PreviouslyExcluded};
        let steps = [
            (Event::PersonAdded { person_no: PersonNo(7), birth_digest: None, keys: vec![key()] }, [NotExcluded; 2]),
            (Event::ExclusionRegistered(exclusion(1, 0, Period::Days10, false)), [Excluded, NotExcluded]),
            (Event::ExclusionRegistered(exclusion(2, 1, Period::Year1, false)), [Excluded, Excluded]),
            (Event::ExclusionLapsed(exclusion(1, 0, Period::Days10, true)), [PreviouslyExcluded, Excluded]),
            (Event::ExclusionRegistered(exclusion(3, 0, Period::Permanent, false)), [Excluded, Excluded]),
        ];
        let mut by_events = IndexWriter::with_capacity(16);
        let mut dossier = Dossier { person_no: 7, birth_digest: None, keys: vec![key()], exclusions: Vec::new() };
        for (step, wanted) in &steps {
            event(&mut by_events, step).unwrap();
            event(&mut by_events, step).unwrap();
            if let Event::ExclusionRegistered(e) | Event::ExclusionLapsed(e) = step {
                dossier.exclusions.retain(|other| other.id != e.id);
                dossier.exclusions.push(e.clone());
            }
            let mut by_tables = IndexWriter::with_capacity(16);
            person(&mut by_tables, &dossier).unwrap();
            for (jurisdiction, wanted) in wanted.iter().enumerate() {
                assert_eq!(status(&mut by_events, jurisdiction as u8, 1_700_000_100), *wanted, "{step:?}");
                assert_eq!(status(&mut by_tables, jurisdiction as u8, 1_700_000_100), *wanted, "{step:?}");
            }
        }
    }

    #[test]
    fn a_person_is_found_under_every_version_that_was_derived() {
        let mut index = IndexWriter::with_capacity(16);
        let added = Event::PersonAdded { person_no: PersonNo(7), birth_digest: None, keys: vec![key()] };
        let derived = PersonKey { digest_version: 1, key: MatchKey(9 << 40), ..key() };
        let people = vec![DerivedKeys { person_no: PersonNo(7), keys: vec![derived.clone()] }];
        let steps = [
            added,
            Event::ExclusionRegistered(exclusion(1, 0, Period::Permanent, false)),
            Event::MatchKeysDerived { digest_version: 1, people },
        ];
        for step in steps.iter().chain(&steps) {
            event(&mut index, step).unwrap();
        }
        index.set_ready(Ts(1), 1);
        for known in [key(), derived] {
            let asked = LookupKey { kind: known.kind, digest_version: known.digest_version, key: known.key };
            let verdict = index.reader().decide(&[asked], JurisdictionNo(0), 1_700_000_100).unwrap();
            assert_eq!(verdict.status, Status::Excluded, "{known:?}");
        }
        // of somebody the index does not know it is incomplete, and says so
        let people = vec![DerivedKeys { person_no: PersonNo(8), keys: vec![key()] }];
        assert!(event(&mut index, &Event::MatchKeysDerived { digest_version: 1, people }).is_err());
    }

    #[test]
    fn the_end_of_one_exclusion_never_lifts_another() {
        let later = |mut e: Exclusion, days: i64| {
            e.effective_at = e.effective_at.plus(days * models::ts::DAY);
            e.ends_at = e.period.ends_at(e.effective_at, &jiff::tz::TimeZone::UTC);
            e.ended_at = e.ended_at.and(e.ends_at);
            e
        };
        // the second begins later, earlier (back-dated) or in the same second
        for (days, period) in [(1, Period::Permanent), (-3, Period::Permanent), (0, Period::Year1), (1, Period::Days10)]
        {
            let first = exclusion(1, 0, Period::Hours24, false);
            let second = later(exclusion(2, 0, period, false), days);
            let over = Event::ExclusionLapsed(exclusion(1, 0, Period::Hours24, true));
            let (first, second) = (Event::ExclusionRegistered(first), Event::ExclusionRegistered(second));
            let orders = [
                vec![&first, &over, &second],
                vec![&first, &second, &over],
                vec![&second, &first, &over],
                // a recovered index hears of what the tables knew already
                vec![&first, &second, &over, &first, &second, &over],
            ];
            for order in orders {
                let mut index = IndexWriter::with_capacity(16);
                event(
                    &mut index,
                    &Event::PersonAdded { person_no: PersonNo(7), birth_digest: None, keys: vec![key()] },
                )
                .unwrap();
                for step in &order {
                    event(&mut index, step).unwrap();
                }
                assert_eq!(status(&mut index, 0, 1_700_100_000), Status::Excluded, "{days} {period:?} {order:?}");
            }
        }
    }

    #[test]
    fn a_break_lapses_for_the_reader_without_an_event() {
        let mut index = IndexWriter::with_capacity(16);
        event(&mut index, &Event::PersonAdded { person_no: PersonNo(7), birth_digest: None, keys: vec![key()] })
            .unwrap();
        event(&mut index, &Event::ExclusionRegistered(exclusion(1, 0, Period::Hours24, false))).unwrap();
        assert_eq!(status(&mut index, 0, 1_700_086_399), Status::Excluded);
        assert_eq!(status(&mut index, 0, 1_700_086_400), Status::PreviouslyExcluded);
    }
}
