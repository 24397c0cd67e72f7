//! [`Facts`] as bytes: they are stored with the batch that they are about, so that whoever plays it again asks nobody.
//!
//! ```text
//! version · base (varint) · one per record: flags, then the times that are there as zigzag varints of milliseconds to the base
//! ```
//! Nearly every record of play has a flag and a check, which are four bytes; one whose player nobody knows is a single
//! one. Times are rounded to milliseconds, in favour of the operator: a check a millisecond later counts as well.

use crate::rules::input::{AgeBand, Excluded, Facts};
use models::alert::Window;
use models::ts::Ts;

const VERSION: u8 = 1;
const MILLI: i64 = 1_000;
const IDENTIFIED: u8 = 1;
const EXCLUDED: u8 = 1 << 1;
const EXCLUDED_UNTIL: u8 = 1 << 2;
const CHECKED: u8 = 1 << 3;
const MARKETING_CHECKED: u8 = 1 << 4;
const GAP: u8 = 1 << 5;
const UNDER_24: u8 = 1 << 6;
const FROM_24: u8 = 1 << 7;

/// Bytes that are no facts of so many records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the facts of {records} records")]
pub struct FactsError {
    /// How many there should have been.
    pub records: usize,
}

/// The bytes of the facts of a batch, in the order of its records. [`rounded`] is what comes back.
#[must_use]
pub fn pack(facts: &[Facts]) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + facts.len() * 4);
    out.push(VERSION);
    let base = facts.iter().find_map(|facts| facts.checked_at).map_or(0, |at| at.0.div_euclid(MILLI));
    number(&mut out, base);
    for facts in facts {
        let (flags, times) = parts(facts);
        out.push(flags);
        times.into_iter().flatten().for_each(|at| number(&mut out, at.wrapping_sub(base)));
    }
    out
}

/// Reads the facts of a batch of so many records.
///
/// # Errors
/// [`FactsError`]
pub fn unpack(bytes: &[u8], records: usize) -> Result<Vec<Facts>, FactsError> {
    all(bytes, records).ok_or(FactsError { records })
}

fn all(mut rest: &[u8], records: usize) -> Option<Vec<Facts>> {
    let version = byte(&mut rest)?;
    let base = signed(&mut rest)?;
    // a byte a record at least
    if version != VERSION || rest.len() < records {
        return None;
    }
    let facts = (0..records).map(|_| one(&mut rest, base)).collect::<Option<_>>()?;
    rest.is_empty().then_some(facts)
}

/// The facts as they are read back: to milliseconds, and half an exclusion is none.
#[must_use]
pub fn rounded(facts: &Facts) -> Facts {
    let (down, up) = (|at: Ts| Ts(at.0.div_euclid(MILLI) * MILLI), |at: Ts| Ts(milli_up(at) * MILLI));
    Facts {
        excluded: facts.excluded.map(|e| Excluded { since: up(e.since), until: e.until.map(down) }),
        checked_at: facts.checked_at.map(up),
        marketing_checked_at: facts.marketing_checked_at.map(up),
        evidence_gap: facts.evidence_gap.map(|gap| Window { start: down(gap.start), end: up(gap.end) }),
        ..*facts
    }
}

fn milli_up(at: Ts) -> i64 {
    at.0.div_euclid(MILLI) + i64::from(at.0.rem_euclid(MILLI) > 0)
}

/// Flags, and the times in milliseconds in the order in which they follow.
fn parts(facts: &Facts) -> (u8, [Option<i64>; 6]) {
    let Facts { is_identified, excluded, checked_at, marketing_checked_at, evidence_gap, age } = rounded(facts);
    let milli = |at: Ts| at.0.div_euclid(MILLI);
    let until = excluded.and_then(|excluded| excluded.until);
    let flag = |flag, is_set| if is_set { flag } else { 0 };
    let flags = flag(IDENTIFIED, is_identified)
        | flag(EXCLUDED, excluded.is_some())
        | flag(EXCLUDED_UNTIL, until.is_some())
        | flag(CHECKED, checked_at.is_some())
        | flag(MARKETING_CHECKED, marketing_checked_at.is_some())
        | flag(GAP, evidence_gap.is_some())
        | flag(UNDER_24, age == Some(AgeBand::Under24))
        | flag(FROM_24, age == Some(AgeBand::From24));
    let times = [
        excluded.map(|excluded| milli(excluded.since)),
        until.map(milli),
        checked_at.map(milli),
        marketing_checked_at.map(milli),
        evidence_gap.map(|gap| milli(gap.start)),
        evidence_gap.map(|gap| milli(gap.end)),
    ];
    (flags, times)
}

fn one(rest: &mut &[u8], base: i64) -> Option<Facts> {
    let flags = byte(rest)?;
    let has = |flag| flags & flag != 0;
    let mut time = || Some(Ts(signed(rest)?.wrapping_add(base).checked_mul(MILLI)?));
    let since = if has(EXCLUDED) { Some(time()?) } else { None };
    let until = if has(EXCLUDED_UNTIL) { Some(time()?) } else { None };
    let checked_at = if has(CHECKED) { Some(time()?) } else { None };
    let marketing_checked_at = if has(MARKETING_CHECKED) { Some(time()?) } else { None };
    let evidence_gap = if has(GAP) { Some(Window { start: time()?, end: time()? }) } else { None };
    let age = match (has(UNDER_24), has(FROM_24)) {
        (false, false) => None,
        (true, false) => Some(AgeBand::Under24),
        (false, true) => Some(AgeBand::From24),
        (true, true) => return None,
    };
    if until.is_some() && since.is_none() {
        return None;
    }
    Some(Facts {
        is_identified: has(IDENTIFIED),
        excluded: since.map(|since| Excluded { since, until }),
        checked_at,
        marketing_checked_at,
        evidence_gap,
        age,
    })
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (first, behind) = rest.split_first()?;
    *rest = behind;
    Some(*first)
}

fn number(out: &mut Vec<u8>, value: i64) {
    let mut value = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn signed(rest: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let next = byte(rest)?;
        // the tenth byte has one bit left
        if shift == 63 && next > 1 {
            return None;
        }
        value |= u64::from(next & 0x7f) << shift;
        if next & 0x80 == 0 {
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::ts::{DAY, MINUTE};
    use proptest::prelude::*;

    #[test]
    fn facts_come_back_and_take_little_room() {
        let now = Ts(1_800_000_000_000_000);
        let checked = |minutes: i64| Facts {
            is_identified: true,
            checked_at: Some(now.plus(-minutes * MINUTE)),
            ..Facts::default()
        };
        let excluded = Excluded { since: now.plus(-DAY), until: Some(now) };
        let gap = Window { start: now.plus(-DAY), end: now };
        // what is told | facts | bytes at most
        let table: [(&str, Vec<Facts>, usize); 7] = [
            ("no records", vec![], 2),
            ("nobody known", vec![Facts::default(); 3], 5),
            ("asked a minute ago", vec![checked(1); 100], 300),
            ("asked within the day", (0..100).map(|n| checked(n * 14)).collect(), 600),
            ("excluded", vec![Facts { excluded: Some(excluded), ..checked(0) }], 30),
            ("a gap", vec![Facts { evidence_gap: Some(gap), age: Some(AgeBand::From24), ..checked(0) }], 30),
            ("young", vec![Facts { age: Some(AgeBand::Under24), ..Facts::default() }], 3),
        ];
        for (what, facts, most) in table {
            let bytes = pack(&facts);
            assert!(bytes.len() <= most, "{what}: {} bytes", bytes.len());
            assert_eq!(unpack(&bytes, facts.len()), Ok(facts.clone()), "{what}");
            for wrong in [facts.len() + 1, facts.len().wrapping_sub(1)] {
                assert_eq!(unpack(&bytes, wrong), Err(FactsError { records: wrong }), "{what}");
            }
            for cut in 0..bytes.len() {
                assert!(unpack(&bytes[..cut], facts.len()).is_err(), "{what}: cut at {cut}");
            }
        }
    }

    #[test]
    fn rounding_never_accuses() {
        let facts = Facts {
            is_identified: true,
            excluded: Some(Excluded { since: Ts(1_001), until: Some(Ts(2_999)) }),
            checked_at: Some(Ts(5_001)),
            marketing_checked_at: Some(Ts(5_000)),
            evidence_gap: Some(Window { start: Ts(1_999), end: Ts(2_001) }),
            age: None,
        };
        let back = unpack(&pack(&[facts]), 1).unwrap()[0];
        let wanted = Facts {
            excluded: Some(Excluded { since: Ts(2_000), until: Some(Ts(2_000)) }),
            checked_at: Some(Ts(6_000)),
            marketing_checked_at: Some(Ts(5_000)),
            evidence_gap: Some(Window { start: Ts(1_000), end: Ts(3_000) }),
            ..facts
        };
        assert_eq!((back, rounded(&facts)), (wanted, wanted));
    }

    fn any_facts() -> impl Strategy<Value = Facts> {
        let time = || (0i64..4_000_000_000_000).prop_map(|millis| Ts(millis * MILLI));
        let excluded = proptest::option::of((time(), proptest::option::of(time())));
        let gap = proptest::option::of((time(), time()));
        let times = (proptest::option::of(time()), proptest::option::of(time()));
        (any::<bool>(), excluded, times, gap, 0u8..3).prop_map(|(is_identified, excluded, (one, other), gap, age)| Facts {
            is_identified,
            excluded: excluded.map(|(since, until)| Excluded { since, until }),
            checked_at: one,
            marketing_checked_at: other,
            evidence_gap: gap.map(|(start, end)| Window { start, end }),
            age: [None, Some(AgeBand::Under24), Some(AgeBand::From24)][usize::from(age)],
        })
    }

    proptest! {
        #[test]
        fn any_facts_come_back(facts in proptest::collection::vec(any_facts(), 0..50)) {
            prop_assert_eq!(unpack(&pack(&facts), facts.len()), Ok(facts));
        }

        #[test]
        fn any_bytes_are_facts_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200), records in 0usize..40) {
            if let Ok(facts) = unpack(&bytes, records) {
                prop_assert_eq!(facts.len(), records);
            }
        }
    }
}
