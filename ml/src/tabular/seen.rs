//! Which rows a model has learnt from: enough of them to say whether it is judged by rows that it knows.
//!
//! A row is known by a digest of its features as numbers, in the model's order: not by its id, its label, its place, nor by
//! how somebody writes a number or orders columns. Of all digests the smallest [`KEPT`] are kept (a bottom-k sketch, Cohen
//! and Kaplan 2007). Since digests are as good as drawn by lot, the rows of another table whose digests lie in the same
//! range are a fair sample of it, and of each of these it is known for certain whether it was learnt from: the share among
//! them is the share of the whole table, without a row of which nobody knows.
//!
//! What is caught: the training table itself, written, ordered or labelled otherwise, and any part of it in another table.
//! Up to [`KEPT`] training rows every row is compared; of n more than that about KEPT / n of the evaluated rows (3 % for a
//! million), so that a small share in a small table may then go unseen. What is not caught: rows whose values were changed,
//! if only in the last digit, and other rows of the same people.

use ndarray::{Array2, ArrayView1};
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

/// Digests that are kept: 256 KiB of an artefact, hexadecimal twice that.
pub const KEPT: usize = 32_768;

/// Rows that a model has learnt from, by their digests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenRows {
    /// Are these all digests there were?
    is_all: bool,
    /// The smallest ones, ascending.
    #[serde(with = "hex")]
    digests: Vec<u64>,
}

/// Rows of a table that were compared, and how many of them were learnt from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// Rows whose digests lie in the range of those kept.
    pub rows: u64,
    /// Of these, rows that were learnt from.
    pub seen: u64,
}

/// The first 64 bits of SHA-256 over the values: equal numbers are equal, and missing is missing.
fn digest(row: ArrayView1<'_, f64>) -> u64 {
    let mut context = Context::new(&SHA256);
    for value in row {
        let value = match *value {
            value if value.is_nan() => f64::NAN,
            // of both signs
            0.0 => 0.0,
            value => value,
        };
        context.update(&value.to_bits().to_be_bytes());
    }
    context.finish().as_ref().iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte))
}

impl SeenRows {
    /// Of training rows × features.
    pub(super) fn of(values: &Array2<f64>) -> Self {
        Self::keeping(values, KEPT)
    }

    fn keeping(values: &Array2<f64>, kept: usize) -> Self {
        let mut digests: Vec<u64> = values.rows().into_iter().map(digest).collect();
        digests.sort_unstable();
        digests.dedup();
        let is_all = digests.len() <= kept;
        digests.truncate(kept);
        Self { is_all, digests }
    }

    /// Holds the rows of another table against them.
    pub fn compare(&self, values: &Array2<f64>) -> Compared {
        let last = if self.is_all { Some(u64::MAX) } else { self.digests.last().copied() };
        let mut compared = Compared::default();
        for digest in values.rows().into_iter().map(digest) {
            if last.is_some_and(|last| digest <= last) {
                compared.rows += 1;
                compared.seen += u64::from(self.digests.binary_search(&digest).is_ok());
            }
        }
        compared
    }

    /// Is it one that can be asked? What was read from outside is asked this once.
    pub(super) fn is_sound(&self) -> bool {
        let is_ascending = self.digests.windows(2).all(|pair| pair[0] < pair[1]);
        is_ascending && !self.digests.is_empty() && self.digests.len() <= KEPT
    }
}

/// Sixteen digits a digest, one text for all of them.
mod hex {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::fmt::Write;

    const DIGITS: usize = 16;

    pub(super) fn serialize<S: Serializer>(digests: &[u64], serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(digests.len() * DIGITS);
        for digest in digests {
            write!(text, "{digest:016x}").map_err(serde::ser::Error::custom)?;
        }
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digests = text.as_bytes().chunks(DIGITS).map(|digits| {
            // from_str_radix would take a sign
            let is_whole = digits.len() == DIGITS && digits.iter().all(u8::is_ascii_hexdigit);
            let digits = std::str::from_utf8(digits).ok().filter(|_| is_whole);
            digits.and_then(|digits| u64::from_str_radix(digits, 16).ok())
        });
        digests.collect::<Option<_>>().ok_or_else(|| D::Error::custom("not digests of sixteen digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tabular::chance::Chance;
    use proptest::prelude::*;

    fn rows(count: usize, seed: u64) -> Array2<f64> {
        let mut chance = Chance::new(seed, 50);
        Array2::from_shape_simple_fn((count, 3), || chance.below(1 << 40) as f64)
    }

    fn both(one: &Array2<f64>, other: &Array2<f64>) -> Array2<f64> {
        ndarray::concatenate(ndarray::Axis(0), &[one.view(), other.view()]).unwrap()
    }

    #[test]
    fn a_row_is_its_numbers() {
        let learnt = SeenRows::of(&ndarray::array![[1.0, f64::NAN], [0.0, 2.5]]);
        for (row, seen) in [
            ([1.0, f64::NAN], 1),
            ([1.0, -f64::NAN], 1),
            ([-0.0, 2.5], 1),
            ([2.5, 0.0], 0),
            ([1.0, 0.0], 0),
            ([0.0, 2.500_000_000_000_001], 0),
        ] {
            assert_eq!(learnt.compare(&Array2::from(vec![row])), Compared { rows: 1, seen }, "{row:?}");
        }
    }

    #[test]
    fn every_row_is_compared_where_all_are_kept() {
        let (train, fresh) = (rows(500, 1), rows(300, 2));
        let learnt = SeenRows::keeping(&train, 500);
        assert_eq!(learnt.compare(&train), Compared { rows: 500, seen: 500 });
        assert_eq!(learnt.compare(&fresh), Compared { rows: 300, seen: 0 });
        let some = train.slice(ndarray::s![10..14, ..]).to_owned();
        assert_eq!(learnt.compare(&both(&fresh, &some)), Compared { rows: 304, seen: 4 });
    }

    #[test]
    fn of_more_rows_a_fair_sample_is_compared() {
        let (train, fresh) = (rows(20_000, 1), rows(10_000, 2));
        let learnt = SeenRows::keeping(&train, 2_000);
        assert_eq!(learnt.digests.len(), 2_000);
        let none = learnt.compare(&fresh);
        // a tenth of the rows, give or take five deviations
        assert!((810..=1_190).contains(&none.rows) && none.seen == 0, "{none:?}");
        let some = learnt.compare(&both(&fresh, &train.slice(ndarray::s![..1_000, ..]).to_owned()));
        // one in eleven
        let share = some.seen as f64 / some.rows as f64;
        assert!((0.055..=0.127).contains(&share), "{some:?}");
        let all = learnt.compare(&train);
        assert_eq!((all.rows, all.seen), (2_000, 2_000));
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let sound = SeenRows::keeping(&rows(3, 1), 2);
        assert!(sound.is_sound() && !sound.is_all);
        for digests in [vec![], vec![2, 1], vec![1, 1], (0..=KEPT as u64).collect()] {
            assert!(!SeenRows { is_all: true, digests }.is_sound());
        }
        for text in ["0000000000000001000", "000000000000000x", "+000000000000001", "ä00000000000000"] {
            let json = format!("{{\"is_all\":true,\"digests\":\"{text}\"}}");
            assert!(serde_json::from_str::<SeenRows>(&json).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(digests in proptest::collection::vec(any::<u64>(), 0..40), is_all: bool) {
            let written = SeenRows { is_all, digests };
            let json = serde_json::to_string(&written).unwrap();
            prop_assert_eq!(serde_json::from_str::<SeenRows>(&json).unwrap(), written);
        }
    }
}
