//! A source has sent nothing for much longer than it is expected to.
//!
//! It is judged at the desk ([`crate::silence`]), by the wall clock. Here is what of it takes versions. A silence is judged by
//! the version that was live at its beginning: the last success.

use crate::rules::list::{About, Home};
use crate::rules::params::params;
use crate::silence;
use models::alert::Severity;

/// What it is.
pub const ABOUT: About = About {
    name: silence::RULE,
    home: Home::Desk,
    severity: Severity::High,
    what: "a source has sent nothing for much longer than it is expected to",
    takes_back: "its next success",
    hears: &[],
};

params! {
    /// Expected intervals of the source without a success from which on it is silent.
    silent_intervals: i64 = 4, "intervals", 2..=1_000, "one that is late and one that failed, twice";
    /// The same from which on it is dead: of high severity.
    dead_intervals: i64 = 24, "intervals", 3..=10_000, "a day of hours";
    /// No silence is shorter than this, however often the source is expected.
    minutes_min: i64 = 0, "minutes", 0..=10_080, "the interval of the source alone decides";
    coherent(self) {
        if self.silent_intervals < self.dead_intervals {
            Ok(())
        } else {
            Err("dead_intervals is not more than silent_intervals")
        }
    }
}

impl Params {
    /// As the desk takes them.
    #[must_use]
    pub fn of_version(&self, version: u32) -> silence::Params {
        let Self { silent_intervals, dead_intervals, minutes_min } = *self;
        silence::Params { version, silent_intervals, dead_intervals, minutes_min }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::params::read;
    use serde_json::json;

    #[test]
    fn the_standard_is_what_the_desk_does_by_itself() {
        assert_eq!(Params::default().of_version(silence::STANDARD_VERSION), silence::Params::default());
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let table = [
            (json!({"silent_intervals": 23}), ""),
            (json!({"silent_intervals": 24}), "dead_intervals is not more than silent_intervals"),
            (
                json!({"silent_intervals": 1}),
                "silent_intervals of the rule feed_silent must be from 2 to 1000 intervals",
            ),
        ];
        for (given, wanted) in table {
            let said = read::<Params>(ABOUT.name, &given).err().map_or(String::new(), |error| error.to_string());
            assert!(if wanted.is_empty() { said.is_empty() } else { said.contains(wanted) }, "{given}: {said}");
        }
    }
}
