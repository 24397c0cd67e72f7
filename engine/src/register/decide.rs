//! What a registration, an extension or the clock does to the register: pure decisions.
//!
//! The caller brings everything it knows (the dossiers of the people that share a key, the new ids, the time)
//! and gets events back. Nothing here changes state; the events do, once they are committed.

use jiff::tz::TimeZone;
use models::event::{Event, Exclusion, PersonKey};
use models::exclusion::{AtEnd, Channel, Period, ReasonClass, Status};
use models::ids::{CaseId, ExclusionId, OperatorNo, PersonNo};
use models::jurisdiction::JurisdictionNo;
use models::match_key::{KeyKind, MatchKey};
use models::ts::Ts;

/// What is stored of a person, as far as a decision needs it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dossier {
    /// Internal number.
    pub person_no: u32,
    /// Keyed digest of the birth date.
    pub birth_digest: Option<MatchKey>,
    /// Every match key, of every digest version.
    pub keys: Vec<PersonKey>,
    /// Every exclusion, ended ones too.
    pub exclusions: Vec<Exclusion>,
}

impl Dossier {
    fn holds(&self, key: MatchKey) -> bool {
        self.keys.iter().any(|k| k.key == key && k.valid_to.is_none())
    }

    fn has_document(&self) -> bool {
        self.keys.iter().any(|k| k.kind != KeyKind::Phone)
    }

    /// Takes in what a decision about this person led to.
    pub fn apply(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::PersonAdded { birth_digest, keys, .. } => {
                    self.birth_digest = *birth_digest;
                    self.keys.extend(keys.iter().cloned());
                }
                Event::PersonKeysAdded { keys, .. } => self.keys.extend(keys.iter().cloned()),
                Event::ExclusionRegistered(exclusion)
                | Event::ExclusionExtended(exclusion)
                | Event::ExclusionRenewed(exclusion)
                | Event::ExclusionLapsed(exclusion) => {
                    self.exclusions.retain(|other| other.id != exclusion.id);
                    self.exclusions.push(exclusion.clone());
                }
                _ => {}
            }
        }
    }

    /// The exclusion that binds in a jurisdiction at `now`.
    pub fn active(&self, jurisdiction: JurisdictionNo, now: Ts) -> Option<&Exclusion> {
        self.exclusions.iter().find(|e| e.jurisdiction == jurisdiction && status_at(e, now) == Status::Excluded)
    }
}

/// A registration with everything decided by chance or clock already in it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Keys, strongest first; each of the live digest versions.
    pub keys: Vec<PersonKey>,
    /// Keyed digest of the birth date.
    pub birth_digest: Option<MatchKey>,
    /// Does it name somebody? Names are not compared yet, so they keep it from merging by phone.
    pub is_described: bool,
    /// Where.
    pub jurisdiction: JurisdictionNo,
    /// How long.
    pub period: Period,
    /// Who asked.
    pub reason_class: ReasonClass,
    /// How.
    pub channel: Channel,
    /// Since when.
    pub effective_at: Ts,
    /// The operator that reports it.
    pub reported_by: Option<OperatorNo>,
    /// How it went on elsewhere; none = as the period says.
    pub kept: Option<Kept>,
    /// Now.
    pub now: Ts,
    /// Number for the person, if new.
    pub person_no: PersonNo,
    /// Id for the exclusion, if new.
    pub exclusion_id: ExclusionId,
    /// Id for a case, if one opens.
    pub case_id: CaseId,
}

/// An exclusion's course as another register kept it; it need not be what its period says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What happens at the end.
    pub at_end: AtEnd,
    /// End of the minimum period.
    pub ends_at: Option<Ts>,
    /// Set where it is over.
    pub ended_at: Option<Ts>,
}

/// What is to be committed, and what to answer then.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Empty where nothing changes.
    pub events: Vec<Event>,
    /// The exclusion as it then stands.
    pub exclusion: Exclusion,
    /// Whether it is a new one.
    pub created: bool,
    /// Whether the person is new: the vault row is theirs either way.
    pub person_no: PersonNo,
}

/// Why an extension is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtendError {
    /// It has ended.
    #[error("the exclusion has ended")]
    Ended,
    /// It would end earlier than now fixed.
    #[error("an exclusion can only be extended, never shortened")]
    Shorter,
}

/// Status of an exclusion at an instant. A lapsing one ends at `ends_at` to the second, without a write.
pub fn status_at(exclusion: &Exclusion, now: Ts) -> Status {
    let lapsed = exclusion.at_end == AtEnd::Lapse && exclusion.ends_at.is_some_and(|end| now >= end);
    if exclusion.ended_at.is_some() || lapsed { Status::PreviouslyExcluded } else { Status::Excluded }
}

/// Is it somebody of `others`? Only then no number for a new person is needed.
pub fn is_known(request: &Request, others: &[Dossier]) -> bool {
    find_same_person(request, others).is_some()
}

/// Decides a registration. `others` are the dossiers of everybody who shares one of the keys.
///
/// A document merges. A phone merges only where it is all that is known: no document and no birth date on either side,
/// and no name in the request (whether the other side has one only the sealed vault knows). Otherwise they are two people who share a key: both exclusions stand and a case opens (docs/adr/0004).
pub fn register(request: &Request, others: &[Dossier], zone: &TimeZone) -> Outcome {
    register_as(find_same_person(request, others), request, others, zone)
}

/// Decides a registration of somebody who is known to be this person.
pub fn register_same(request: &Request, person: &Dossier, zone: &TimeZone) -> Outcome {
    register_as(Some(person), request, std::slice::from_ref(person), zone)
}

fn register_as(same: Option<&Dossier>, request: &Request, others: &[Dossier], zone: &TimeZone) -> Outcome {
    let mut events = Vec::with_capacity(3);
    let person_no = match same {
        Some(dossier) => {
            // a break that is over by the clock ends in the journal before the next exclusion begins
            let over = dossier.exclusions.iter().filter(|e| e.jurisdiction == request.jurisdiction);
            let over = over.filter(|e| e.at_end == AtEnd::Lapse);
            events.extend(over.filter_map(|e| end_of_period(e, request.now, zone)));
            let new: Vec<PersonKey> = request.keys.iter().filter(|k| !dossier.holds(k.key)).cloned().collect();
            if !new.is_empty() {
                events.push(Event::PersonKeysAdded { person_no: PersonNo(dossier.person_no), keys: new });
            }
            PersonNo(dossier.person_no)
        }
        None => {
            events.push(Event::PersonAdded {
                person_no: request.person_no,
                birth_digest: request.birth_digest,
                keys: request.keys.clone(),
            });
            request.person_no
        }
    };
    if let Some(other) = others.iter().find(|d| d.person_no != person_no.0) {
        let shares_document = request.keys.iter().any(|k| k.kind != KeyKind::Phone && other.holds(k.key));
        events.push(Event::IdentityCaseOpened {
            id: request.case_id,
            person_no,
            other_person_no: PersonNo(other.person_no),
            reason: if shares_document { "conflicting_document" } else { "shared_phone" }.to_owned(),
        });
    }

    let wanted = wanted(request, person_no, zone);
    // what is over changes nothing of what binds
    match same.and_then(|d| d.active(request.jurisdiction, request.now)).filter(|_| wanted.ended_at.is_none()) {
        None => {
            events.push(Event::ExclusionRegistered(wanted.clone()));
            Outcome { events, exclusion: wanted, created: true, person_no }
        }
        Some(active) => {
            let longer = stricter(active, &wanted);
            events.extend(longer.clone().map(Event::ExclusionExtended));
            Outcome { events, exclusion: longer.unwrap_or_else(|| active.clone()), created: false, person_no }
        }
    }
}

/// The exclusion that a registration asks for, whatever there is already.
pub fn wanted(request: &Request, person_no: PersonNo, zone: &TimeZone) -> Exclusion {
    let kept = request.kept.unwrap_or_else(|| Kept {
        at_end: request.period.at_end(),
        ends_at: request.period.ends_at(request.effective_at, zone),
        ended_at: None,
    });
    Exclusion {
        id: request.exclusion_id,
        person_no,
        jurisdiction: request.jurisdiction,
        period: request.period,
        at_end: kept.at_end,
        reason_class: request.reason_class,
        channel: request.channel,
        effective_at: request.effective_at,
        ends_at: kept.ends_at,
        ended_at: kept.ended_at,
        reported_by: request.reported_by,
    }
}

/// Extends an exclusion by a period that starts now.
pub fn extend(current: &Exclusion, period: Period, now: Ts, zone: &TimeZone) -> Result<Event, ExtendError> {
    if status_at(current, now) != Status::Excluded {
        return Err(ExtendError::Ended);
    }
    let wish = Exclusion { period, at_end: period.at_end(), ends_at: period.ends_at(now, zone), ..current.clone() };
    stricter(current, &wish).map(Event::ExclusionExtended).ok_or(ExtendError::Shorter)
}

/// What the clock does to an exclusion whose minimum period is over; none where it stays on.
pub fn end_of_period(current: &Exclusion, now: Ts, zone: &TimeZone) -> Option<Event> {
    let end = current.ends_at.filter(|end| *end <= now && current.ended_at.is_none())?;
    match current.at_end {
        AtEnd::StayOn => None,
        AtEnd::Lapse => Some(Event::ExclusionLapsed(Exclusion { ended_at: Some(end), ..current.clone() })),
        AtEnd::Renew => {
            let mut next = end;
            while next <= now {
                next = current.period.ends_at(next, zone)?;
            }
            Some(Event::ExclusionRenewed(Exclusion { ends_at: Some(next), ..current.clone() }))
        }
    }
}

fn find_same_person<'a>(request: &Request, others: &'a [Dossier]) -> Option<&'a Dossier> {
    let by_document =
        request.keys.iter().filter(|k| k.kind != KeyKind::Phone).find_map(|k| others.iter().find(|d| d.holds(k.key)));
    if by_document.is_some() {
        return by_document;
    }
    let only_phone = request.keys.iter().all(|k| k.kind == KeyKind::Phone);
    if !only_phone || request.is_described || request.birth_digest.is_some() {
        return None;
    }
    others.iter().find(|d| !d.has_document() && d.birth_digest.is_none() && request.keys.iter().any(|k| d.holds(k.key)))
}

/// How firmly an exclusion holds at its end.
fn firmness(at_end: AtEnd, ends_at: Option<Ts>) -> u8 {
    match at_end {
        AtEnd::Lapse => 0,
        AtEnd::StayOn if ends_at.is_some() => 1,
        AtEnd::Renew => 2,
        // without an end there is nothing to renew
        AtEnd::StayOn => 3,
    }
}

/// When the minimum period is over; an open one ends after all others.
fn end(exclusion: &Exclusion) -> i64 {
    exclusion.ends_at.map_or(i64::MAX, |end| end.0)
}

/// An exclusion with a further wish of the same person in it: of end and firmness the stricter stands, each for
/// itself, so that no wish ever takes anything back. None where nothing becomes stricter. The period is that of the
/// part that was decisive last.
fn stricter(current: &Exclusion, wish: &Exclusion) -> Option<Exclusion> {
    // a lapsing wish ends before it could matter to one that stays on
    let longer = end(wish) > end(current) && (wish.at_end != AtEnd::Lapse || current.at_end == AtEnd::Lapse);
    let firmer = firmness(wish.at_end, wish.ends_at) > firmness(current.at_end, current.ends_at);
    if !longer && !firmer {
        return None;
    }
    let at_end = if firmer { wish.at_end } else { current.at_end };
    // what renews renews by its own period
    let period = if at_end == current.at_end && at_end == AtEnd::Renew { current.period } else { wish.period };
    let ends_at = if longer { wish.ends_at } else { current.ends_at };
    Some(Exclusion { period, at_end, ends_at, ..current.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KE: JurisdictionNo = JurisdictionNo(0);

    fn at(text: &str) -> Ts {
        Ts::parse(text).unwrap()
    }

    fn key(kind: KeyKind, n: u128) -> PersonKey {
        PersonKey { kind, digest_version: 0, key: MatchKey(n), valid_from: Ts(0), valid_to: None }
    }

    fn request(keys: Vec<PersonKey>, period: Period) -> Request {
        Request {
            keys,
            birth_digest: None,
            is_described: false,
            jurisdiction: KE,
            period,
            reason_class: ReasonClass::Own,
            channel: Channel::Web,
            effective_at: at("2026-11-21T10:00:00Z"),
            reported_by: None,
            kept: None,
            now: at("2026-11-21T10:00:00Z"),
            person_no: PersonNo(9),
            exclusion_id: ExclusionId(9),
            case_id: CaseId(9),
        }
    }

    fn known(keys: Vec<PersonKey>, period: Period) -> Dossier {
        let mut dossier = Dossier { person_no: 1, birth_digest: None, keys, exclusions: Vec::new() };
        let mut first = request(dossier.keys.clone(), period);
        first.person_no = PersonNo(1);
        first.exclusion_id = ExclusionId(1);
        dossier.exclusions.push(register(&first, &[], &TimeZone::UTC).exclusion);
        dossier
    }

    fn kinds(outcome: &Outcome) -> Vec<&'static str> {
        outcome.events.iter().map(Event::kind).collect()
    }

    #[test]
    fn who_is_the_same_person() {
        use KeyKind::{NationalId, Phone};
        type Case<'a> = (&'a str, Vec<PersonKey>, Vec<PersonKey>, u32, &'a [&'a str]);
        let table: [Case<'_>; 5] = [
            (
                "a document merges, the new phone is added",
                vec![key(NationalId, 1)],
                vec![key(NationalId, 1), key(Phone, 2)],
                1,
                &["person_keys_added"],
            ),
            ("a phone alone merges where nobody has a document", vec![key(Phone, 2)], vec![key(Phone, 2)], 1, &[]),
            (
                "a phone does not merge against a document",
                vec![key(NationalId, 1), key(Phone, 2)],
                vec![key(Phone, 2)],
                9,
                &["person_added", "identity_case_opened", "exclusion_registered"],
            ),
            (
                "nor with a different document",
                vec![key(NationalId, 1), key(Phone, 2)],
                vec![key(NationalId, 3), key(Phone, 2)],
                9,
                &["person_added", "identity_case_opened", "exclusion_registered"],
            ),
            ("nor without any hit", vec![], vec![key(Phone, 2)], 9, &["person_added", "exclusion_registered"]),
        ];
        for (what, there, asked, person, events) in table {
            let others = if there.is_empty() { vec![] } else { vec![known(there, Period::Year1)] };
            let outcome = register(&request(asked, Period::Year1), &others, &TimeZone::UTC);
            assert_eq!(outcome.person_no.0, person, "{what}");
            assert_eq!(kinds(&outcome), events, "{what}");
        }
    }

    #[test]
    fn a_duplicate_is_extended_where_longer_and_never_shortened() {
        let table = [
            (Period::Year1, Period::Months6, Period::Year1, false),
            (Period::Year1, Period::Years5, Period::Years5, true),
            (Period::Year1, Period::Permanent, Period::Permanent, true),
            (Period::Permanent, Period::Years5, Period::Permanent, false),
            (Period::Days10, Period::Month1, Period::Month1, true),
            (Period::Month1, Period::Days10, Period::Month1, false),
        ];
        for (there, asked, then, extended) in table {
            let other = known(vec![key(KeyKind::NationalId, 1)], there);
            let outcome = register(&request(vec![key(KeyKind::NationalId, 1)], asked), &[other], &TimeZone::UTC);
            assert_eq!((outcome.exclusion.period, outcome.created), (then, false));
            assert_eq!(outcome.exclusion.id, ExclusionId(1));
            assert_eq!(kinds(&outcome) == ["exclusion_extended"], extended);
        }
    }

    #[test]
    fn a_lapsing_exclusion_never_weakens_one_that_stays() {
        let other = known(vec![key(KeyKind::Phone, 1)], Period::Month1);
        let mut late = request(vec![key(KeyKind::Phone, 1)], Period::Days10);
        late.now = at("2026-12-20T10:00:00Z");
        late.effective_at = late.now;
        let outcome = register(&late, &[other], &TimeZone::UTC);
        assert_eq!(outcome.exclusion.period, Period::Month1);
        assert!(outcome.events.is_empty());
    }

    #[test]
    fn a_phone_that_is_not_all_that_is_known_does_not_merge() {
        let mut first = request(vec![key(KeyKind::Phone, 2)], Period::Year1);
        let other = known(first.keys.clone(), Period::Year1);
        assert_eq!(
            register(&first, std::slice::from_ref(&other), &TimeZone::UTC).person_no.0,
            1,
            "nothing else is known"
        );
        first.is_described = true;
        assert_eq!(register(&first, std::slice::from_ref(&other), &TimeZone::UTC).person_no.0, 9, "a name may differ");
        first.is_described = false;
        first.birth_digest = Some(MatchKey(1));
        assert_eq!(register(&first, &[other], &TimeZone::UTC).person_no.0, 9, "only one birth date is known");
    }

    #[test]
    fn no_sequence_of_wishes_takes_anything_back() {
        let wishes = [
            Period::Hours24,
            Period::Days10,
            Period::Month1,
            Period::Months3,
            Period::Months6,
            Period::Year1,
            Period::Years3,
            Period::Years5,
            Period::Years5Renewing,
            Period::Permanent,
        ];
        for first in wishes {
            for second in wishes {
                for third in wishes {
                    let mut current = known(vec![key(KeyKind::Phone, 1)], first).exclusions.remove(0);
                    for (n, wish) in [second, third].into_iter().enumerate() {
                        let now = at("2026-11-21T10:00:01Z").plus(n as i64 * models::ts::MINUTE);
                        let before = (firmness(current.at_end, current.ends_at), end(&current));
                        if let Ok(Event::ExclusionExtended(longer)) = extend(&current, wish, now, &TimeZone::UTC) {
                            current = longer;
                            let after = (firmness(current.at_end, current.ends_at), end(&current));
                            assert!(
                                after.0 >= before.0 && after.1 >= before.1 && after != before,
                                "{first:?} {second:?} {third:?}"
                            );
                        }
                    }
                    let strongest = [first, second, third]
                        .map(|p| firmness(p.at_end(), p.ends_at(Ts(0), &TimeZone::UTC)))
                        .into_iter()
                        .max();
                    assert_eq!(
                        Some(firmness(current.at_end, current.ends_at)),
                        strongest,
                        "{first:?} {second:?} {third:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_break_that_is_over_ends_before_the_next_exclusion_begins() {
        let other = known(vec![key(KeyKind::Phone, 1)], Period::Hours24);
        let mut next = request(vec![key(KeyKind::Phone, 1)], Period::Permanent);
        next.now = at("2026-11-22T10:00:00.4Z");
        next.effective_at = next.now;
        let outcome = register(&next, &[other], &TimeZone::UTC);
        assert_eq!(kinds(&outcome), ["exclusion_lapsed", "exclusion_registered"]);
        assert!(outcome.created);
    }

    #[test]
    fn the_end_comes_to_the_second() {
        let exclusion = known(vec![key(KeyKind::Phone, 1)], Period::Hours24).exclusions.remove(0);
        assert_eq!(status_at(&exclusion, at("2026-11-22T09:59:59.999999Z")), Status::Excluded);
        assert_eq!(status_at(&exclusion, at("2026-11-22T10:00:00Z")), Status::PreviouslyExcluded);
        assert!(end_of_period(&exclusion, at("2026-11-22T09:59:59Z"), &TimeZone::UTC).is_none());
        assert_eq!(
            end_of_period(&exclusion, at("2026-11-22T10:00:00Z"), &TimeZone::UTC).unwrap().kind(),
            "exclusion_lapsed"
        );
        assert_eq!(
            extend(&exclusion, Period::Year1, at("2026-11-22T10:00:00Z"), &TimeZone::UTC),
            Err(ExtendError::Ended)
        );
    }

    #[test]
    fn a_renewing_exclusion_goes_on_and_a_staying_one_stays() {
        let renewing = known(vec![key(KeyKind::Phone, 1)], Period::Years5Renewing).exclusions.remove(0);
        match end_of_period(&renewing, at("2042-01-01T00:00:00Z"), &TimeZone::UTC) {
            Some(Event::ExclusionRenewed(next)) => assert_eq!(next.ends_at, Some(at("2046-11-21T10:00:00Z"))),
            other => panic!("{other:?}"),
        }
        let staying = known(vec![key(KeyKind::Phone, 1)], Period::Year1).exclusions.remove(0);
        assert_eq!(end_of_period(&staying, at("2042-01-01T00:00:00Z"), &TimeZone::UTC), None);
        assert_eq!(status_at(&staying, at("2042-01-01T00:00:00Z")), Status::Excluded);
        assert_eq!(
            extend(&staying, Period::Months6, at("2026-12-01T00:00:00Z"), &TimeZone::UTC),
            Err(ExtendError::Shorter)
        );
    }
}
