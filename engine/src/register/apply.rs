//! What a committed register event changes in the index. Applying one twice changes nothing.

use super::decide::{Dossier, status_at};
use super::index::{IndexError, IndexWriter, PersonState};
use models::event::{Event, Exclusion};
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
        Event::ExclusionRegistered(exclusion)
        | Event::ExclusionExtended(exclusion)
        | Event::ExclusionRenewed(exclusion)
        | Event::ExclusionLapsed(exclusion) => {
            let states = with(index.person_states(exclusion.person_no), exclusion);
            index.set_person(exclusion.person_no, &states)
        }
        _ => Ok(()),
    }
}

/// Takes in a person as the tables hold them.
///
/// # Errors
/// As [`event`].
pub fn person(index: &mut IndexWriter, dossier: &Dossier) -> Result<(), IndexError> {
    let mut exclusions: Vec<&Exclusion> = dossier.exclusions.iter().collect();
    // the newest of a jurisdiction stands, and one that binds stands above one that ended
    exclusions.sort_by_key(|e| (e.ended_at.is_none(), e.effective_at));
    let states = exclusions.into_iter().fold(Vec::new(), with);
    index.set_person(PersonNo(dossier.person_no), &states)?;
    dossier.keys.iter().try_for_each(|key| index.insert_key(PersonNo(dossier.person_no), key))
}

/// A person's states with an exclusion's jurisdiction replaced.
fn with(mut states: Vec<PersonState>, exclusion: &Exclusion) -> Vec<PersonState> {
    let mask = exclusion.jurisdiction.mask();
    for state in &mut states {
        state.jurisdictions &= !mask;
    }
    states.retain(|state| state.jurisdictions != 0);
    let state = state_of(exclusion);
    match states.iter_mut().find(|other| PersonState { jurisdictions: mask, ..**other } == state) {
        Some(same) => same.jurisdictions |= mask,
        None => states.push(state),
    }
    states
}

fn state_of(exclusion: &Exclusion) -> PersonState {
    // before the end of time nothing lapses by the clock: only an event that ended it counts here, the reader
    // compares with its own now
    let status = if exclusion.ended_at.is_some() { Status::PreviouslyExcluded } else { status_at(exclusion, Ts(0)) };
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
    use models::event::PersonKey;
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
    fn a_break_lapses_for_the_reader_without_an_event() {
        let mut index = IndexWriter::with_capacity(16);
        event(&mut index, &Event::PersonAdded { person_no: PersonNo(7), birth_digest: None, keys: vec![key()] })
            .unwrap();
        event(&mut index, &Event::ExclusionRegistered(exclusion(1, 0, Period::Hours24, false))).unwrap();
        assert_eq!(status(&mut index, 0, 1_700_086_399), Status::Excluded);
        assert_eq!(status(&mut index, 0, 1_700_086_400), Status::PreviouslyExcluded);
    }
}
