//! Words for people.

use std::fmt::Display;

/// A number with what it counts: `1 day`, `3 days`.
#[must_use]
pub fn counted<N: Copy + Display + PartialEq + From<u8>>(count: N, one: &str, more: &str) -> String {
    let what = if count == N::from(1) { one } else { more };
    format!("{count} {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one() {
        for (count, wanted) in [(0_i64, "0 days"), (1, "1 day"), (2, "2 days"), (-1, "-1 days")] {
            assert_eq!(counted(count, "day", "days"), wanted);
        }
    }
}
