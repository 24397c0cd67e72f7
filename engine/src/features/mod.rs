//! What models are told: fixed vectors of numbers, worked out of the same inputs as the rules, O(1) a record, bounded.
//!
//! ```text
//! Input ─▶ OperatorRules::hear_and ─▶ Heard ─┬▶ transaction::Extractor ─▶ [f32; N] of the record ─▶ score (actors)
//!          (one book lookup a record)        └▶ player::Extractor: sums of the day ─▶ days that are over ─▶ [f32; M] of a player
//! ```
//! Like the rules these are functions of numbered inputs: no clock, no chance, no logarithm whose last bit differs between
//! machines. What is not known is missing (NaN), never 0. A vector's places have names, units, a meaning and a source in
//! one table ([`transaction::FEATURES`], [`player::FEATURES`]), which is also their documentation ([`documentation`]).
//!
//! A model fits a vector when the digest of its names ([`schema_digest`]) is that of the vector. So a feature whose
//! meaning changes gets another name, and the version beside it is for people.

pub mod behaviour;
pub mod details;
mod due;
pub mod live;
pub mod live_players;
pub mod played;
pub mod player;
pub mod recent;
mod sessions;
pub mod transaction;

use crate::rules::finding::Mode;
use crate::rules::ruleset::RuleSet;
use ring::digest::{SHA256, digest};
use std::fmt::Write as _;

/// A place of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name: a column of the training table.
    pub name: &'static str,
    /// In what it is counted.
    pub unit: &'static str,
    /// What it says, and when it is missing.
    pub meaning: &'static str,
    /// Where it comes from.
    pub source: &'static str,
}

/// SHA-256 of the names in their order, hexadecimal: what a model must have been learnt from.
#[must_use]
pub fn schema_digest<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for name in names {
        text.push_str(name);
        text.push('\n');
    }
    digest(&SHA256, text.as_bytes()).as_ref().iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// The table of a vector, Markdown.
#[must_use]
pub fn documentation(title: &str, version: u32, features: &[Feature]) -> String {
    let digest = schema_digest(features.iter().map(|feature| feature.name));
    let mut out = format!("## {title}, version {version}\n\n{} features, schema `{digest}`.\n\n", features.len());
    out.push_str("| feature | unit | meaning | source |\n|---|---|---|---|\n");
    for Feature { name, unit, meaning, source } in features {
        let _ = writeln!(out, "| `{name}` | {unit} | {meaning} | {source} |");
    }
    out
}

/// Writes values into their places and holds each against the name that stands there.
pub(crate) struct Places<'a> {
    features: &'static [Feature],
    out: &'a mut [f32],
    next: usize,
}

impl<'a> Places<'a> {
    /// # Panics
    /// Where there are not as many places as features.
    pub(crate) fn new(features: &'static [Feature], out: &'a mut [f32]) -> Self {
        assert_eq!(features.len(), out.len(), "as many places as features");
        Self { features, out, next: 0 }
    }

    /// The value of the next feature.
    pub(crate) fn put(&mut self, name: &str, value: f64) {
        debug_assert_eq!(self.features.get(self.next).map(|feature| feature.name), Some(name));
        self.write(value);
    }

    /// The same of a feature that there is for several horizons.
    pub(crate) fn put_of(&mut self, (name, horizon): (&str, &str), value: f64) {
        let next = self.features.get(self.next).map(|feature| feature.name);
        debug_assert_eq!(next.and_then(|next| next.strip_prefix(name)?.strip_prefix('_')), Some(horizon), "{name}");
        self.write(value);
    }

    fn write(&mut self, value: f64) {
        let value = if value.is_finite() { value as f32 } else { f32::NAN };
        if let Some(place) = self.out.get_mut(self.next) {
            // what is beyond an f32 is as large as can be said
            *place = value.clamp(f32::MIN, f32::MAX);
        }
        self.next += 1;
    }

    /// Is every place filled?
    pub(crate) fn is_full(&self) -> bool {
        self.next == self.features.len()
    }
}

/// Parameters of a rule's last live version.
pub(crate) fn last_live<'a>(set: &'a RuleSet, rule: &str) -> Option<&'a serde_json::Value> {
    let live = set.versions().filter(|version| version.rule == rule && version.mode == Mode::Live);
    live.max_by_key(|version| version.effective_from).map(|version| &version.params)
}

/// A share; missing where there is nothing to have a share of.
pub(crate) fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { f64::NAN }
}

/// 1, 0, or missing.
pub(crate) fn flag(value: Option<bool>) -> f64 {
    value.map_or(f64::NAN, |value| f64::from(u8::from(value)))
}
