//! Which records of an input break a state, found by halves: few tries for few culprits.

use crate::kernel::Progress;
use std::ops::Range;

/// How often an input is tried in parts.
const TRIES_MAX: u32 = 400;

/// Positions of the records on which `breaks` holds, ascending. None where it holds without records, or on too many: then
/// the input is given up whole.
pub(crate) async fn find(records: u32, progress: &Progress, breaks: impl Fn(Range<u32>) -> bool) -> Vec<u32> {
    if breaks(0..0) {
        return Vec::new();
    }
    let (mut found, mut tries) = (Vec::new(), 0);
    let mut parts: Vec<Range<u32>> = std::iter::once(0..records).collect();
    while let Some(part) = parts.pop() {
        tries += 1;
        if tries > TRIES_MAX {
            return Vec::new();
        }
        progress.beat();
        tokio::task::yield_now().await;
        if !breaks(part.clone()) {
            continue;
        }
        if part.len() == 1 {
            found.push(part.start);
            continue;
        }
        let middle = part.start + part.len() as u32 / 2;
        // the left half is looked at first
        parts.extend([middle..part.end, part.start..middle]);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_that_break_it_are_found_and_no_others() {
        let table: [(&str, u32, &[u32]); 6] = [
            ("nobody", 100, &[]),
            ("nothing at all", 0, &[]),
            ("one alone", 1, &[0]),
            ("the first and the last", 64, &[0, 63]),
            ("some", 1_000, &[3, 4, 500, 999]),
            ("an odd number", 7, &[6]),
        ];
        for (what, records, culprits) in table {
            let breaks = |part: Range<u32>| culprits.iter().any(|culprit| part.contains(culprit));
            assert_eq!(find(records, &Progress::unwatched(), breaks).await, culprits, "{what}");
        }
        let always = find(10, &Progress::unwatched(), |_| true).await;
        assert_eq!(always, Vec::<u32>::new(), "it breaks without records");
        let too_many = find(10_000, &Progress::unwatched(), |part| !part.is_empty()).await;
        assert_eq!(too_many, Vec::<u32>::new(), "more than there are tries for");
    }
}
