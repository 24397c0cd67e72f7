//! Every rule as people and programs read it: what it says, what takes it back, and its parameters.

use crate::rules::list::{self, Home};
use crate::rules::params::ParamAbout;
use models::alert::Severity;
use serde::Serialize;

/// A rule of the catalogue.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// Name.
    pub name: &'static str,
    /// Where it runs.
    pub home: Home,
    /// How urgent at most.
    pub severity: Severity,
    /// What it says.
    pub what: &'static str,
    /// What takes a finding back.
    pub takes_back: &'static str,
    /// Parameters; none of rules that are part of the engine elsewhere.
    pub params: Vec<ParamAbout>,
}

/// All of them, in the order of the list.
#[must_use]
pub fn catalogue() -> Vec<Entry> {
    let entry = |about: &list::About| Entry {
        name: about.name,
        home: about.home,
        severity: about.severity,
        what: about.what,
        takes_back: about.takes_back,
        params: list::params_of(about.name),
    };
    list::ABOUT.iter().map(entry).collect()
}
