//! Numbers in a document so that the same ones are read again: the JSON reader of the tree rounds the last bit of some.
//!
//! A list of numbers is one text, each in the shortest form that means this number alone (`"0.1 NaN -3"`).

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};
use std::fmt::Write;

/// For `#[serde(with = "exact")]`.
pub(super) fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = String::with_capacity(values.len() * 12);
    for (i, value) in values.iter().enumerate() {
        let space = if i == 0 { "" } else { " " };
        write!(text, "{space}{value:?}").map_err(serde::ser::Error::custom)?;
    }
    serializer.serialize_str(&text)
}

/// For `#[serde(with = "exact")]`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.split_ascii_whitespace().map(|word| word.parse().map_err(D::Error::custom)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    struct Holder(#[serde(with = "super")] Vec<f64>);

    #[test]
    fn a_damaged_list_is_refused() {
        for text in ["\"1 x\"", "3", "\"1,2\""] {
            assert!(serde_json::from_str::<Holder>(text).is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Holder>("\"\"").unwrap().0.is_empty());
    }

    proptest! {
        #[test]
        fn bit_for_bit(values in proptest::collection::vec(any::<f64>(), 0..20)) {
            let text = serde_json::to_string(&Holder(values.clone())).unwrap();
            let back = serde_json::from_str::<Holder>(&text).unwrap().0;
            prop_assert_eq!(values.len(), back.len());
            for (a, b) in values.iter().zip(&back) {
                prop_assert!(a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan());
            }
        }
    }
}
