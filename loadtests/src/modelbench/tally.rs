//! What was planted and found of a rule, and what it said.

/// Counts of a rule over all markets.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub planted: u64,
    pub found: u64,
    pub findings: u64,
    pub right: u64,
    pub missed: Vec<String>,
    pub wrong: Vec<String>,
}

/// Missed cases and wrong findings that are told, of each rule.
pub const TOLD: usize = 3;

impl Tally {
    /// Share of what was planted that was found.
    pub fn recall(&self) -> f64 {
        self.found as f64 / self.planted.max(1) as f64
    }

    /// Adds those of another market.
    pub fn add(&mut self, other: Self) {
        let told = |texts: &mut Vec<String>, more: Vec<String>| texts.extend(more.into_iter().take(TOLD - texts.len()));
        self.planted += other.planted;
        self.found += other.found;
        self.findings += other.findings;
        self.right += other.right;
        told(&mut self.missed, other.missed);
        told(&mut self.wrong, other.wrong);
    }

    /// Share of the findings that are right.
    pub fn precision(&self) -> f64 {
        if self.findings == 0 { 1.0 } else { self.right as f64 / self.findings as f64 }
    }
}
