//! Facts as bytes: what register and evidence knew of a batch's players, as it lies beside the batch.

use crate::rules::input::{AgeBand, Excluded, Facts};
use models::alert::Window;
use models::ts::Ts;
use serde::{Deserialize, Serialize};

/// Facts of a record as they are stored.
#[derive(Serialize, Deserialize)]
struct Packed {
    is_identified: bool,
    excluded: Option<(Ts, Option<Ts>)>,
    checked_at: Option<Ts>,
    marketing_checked_at: Option<Ts>,
    evidence_gap: Option<(Ts, Ts)>,
    age: Option<AgeBand>,
}

/// Bytes that are no facts of so many records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the facts of the batch")]
pub struct FactsError;

/// Facts as bytes. Nothing known of anybody is no bytes.
#[must_use]
pub fn pack(facts: &[Facts]) -> Vec<u8> {
    if facts.iter().all(|known| *known == Facts::default()) {
        return Vec::new();
    }
    let mut bytes = Vec::with_capacity(facts.len() * 8);
    for known in facts {
        let packed = Packed {
            is_identified: known.is_identified,
            excluded: known.excluded.map(|excluded| (excluded.since, excluded.until)),
            checked_at: known.checked_at,
            marketing_checked_at: known.marketing_checked_at,
            evidence_gap: known.evidence_gap.map(|gap| (gap.start, gap.end)),
            age: known.age,
        };
        // into memory: numbers and flags alone, which postcard can always write
        bytes = postcard::to_extend(&packed, bytes).unwrap_or_default();
    }
    bytes
}

/// Facts of so many records, from their bytes.
///
/// # Errors
/// [`FactsError`]: bytes of something else, or of another number of records.
pub fn unpack(bytes: &[u8], records: usize) -> Result<Vec<Facts>, FactsError> {
    if bytes.is_empty() {
        return Ok(vec![Facts::default(); records]);
    }
    let mut rest = bytes;
    let mut facts = Vec::with_capacity(records);
    for _ in 0..records {
        let (packed, behind): (Packed, _) = postcard::take_from_bytes(rest).map_err(|_| FactsError)?;
        rest = behind;
        facts.push(Facts {
            is_identified: packed.is_identified,
            excluded: packed.excluded.map(|(since, until)| Excluded { since, until }),
            checked_at: packed.checked_at,
            marketing_checked_at: packed.marketing_checked_at,
            evidence_gap: packed.evidence_gap.map(|(start, end)| Window { start, end }),
            age: packed.age,
        });
    }
    if rest.is_empty() { Ok(facts) } else { Err(FactsError) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_as_they_were_packed_and_nothing_else_is() {
        let some = Facts {
            is_identified: true,
            excluded: Some(Excluded { since: Ts(3), until: None }),
            checked_at: Some(Ts(-4)),
            marketing_checked_at: Some(Ts(i64::MAX)),
            evidence_gap: Some(Window { start: Ts(1), end: Ts(2) }),
            age: Some(AgeBand::Under24),
        };
        let none = Facts::default();
        for facts in [vec![], vec![none], vec![some], vec![none, some, none]] {
            let bytes = pack(&facts);
            assert_eq!(unpack(&bytes, facts.len()), Ok(facts.clone()));
            if !bytes.is_empty() {
                assert_eq!(unpack(&bytes, facts.len() + 1), Err(FactsError), "one too many");
                assert_eq!(unpack(&bytes, facts.len() - 1), Err(FactsError), "one too few");
                assert_eq!(unpack(&bytes[..bytes.len() - 1], facts.len()), Err(FactsError), "cut off");
            }
        }
    }
}
