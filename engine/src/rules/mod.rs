//! The rules of the regulator: data with versions, and pure functions over one shared book.
//!
//! ```text
//! Input ─▶ Book (one lookup a record) ─▶ every version in force that listens ─▶ Standing ─▶ Finding
//! ```
//! An operator's [`run::OperatorRules`], and a jurisdiction's [`nation::NationRules`] over all of its operators, are
//! functions of their numbered inputs: no clock, no chance, no order of a hash map in what they say. What register and
//! evidence knew comes in as [`input::Facts`] with the record, and lies in the journal with it, or is worked out of what
//! does. Amounts are integers; what is not (the two tail bounds) uses only operations whose results IEEE 754 fixes.
//!
//! A rule is one file with its parameters, its function and a table of stories, and one line in [`list`]. A version is
//! data ([`ruleset::RuleSet`]). The book depends on no parameter, so that a new version, or a shadow beside the live
//! one, starts with everything the book remembers; what a version itself remembers is which findings it has said.
//!
//! What a finding is known by, and what can take it back, says each rule's `ABOUT`. Two rules of the list run elsewhere and
//! take versions all the same: `robust_deviation` in the market, `feed_silent` at the desk ([`timeline`]).

mod at_risk;
pub mod backtest;
pub mod book;
pub mod bound;
pub mod brake;
pub mod calendar;
pub mod catalogue;
pub mod compare;
pub mod crowd;
pub mod disclosure;
pub mod facts;
pub mod finding;
pub mod harm;
pub mod input;
pub mod labels;
pub mod licences;
pub mod life;
pub mod list;
mod look;
pub mod nation;
pub mod papers;
pub mod params;
pub mod player;
pub mod rings;
pub mod ruleset;
pub mod run;
pub mod snapshot;
pub mod standards;
pub mod standing;
pub mod sums;
pub mod table;
pub mod tally;
pub mod timeline;

pub mod compliance_status_changed;
pub mod concurrent_play;
pub mod declared_revenue_differs;
pub mod dormant_burst;
pub mod excluded_play;
pub mod feed_silent;
pub mod harm_signal_unanswered;
pub mod late_remittance;
pub mod licence_lapsed;
pub mod limit_exceeded;
pub mod marketing_without_check;
pub mod net_deposit_threshold;
pub mod net_deposits_across_operators;
pub mod opposite_bets;
pub mod payout_elsewhere;
pub mod play_without_check;
pub mod player_at_risk;
pub mod player_at_risk_across_operators;
pub mod rapid_in_out;
pub mod return_to_player_off;
pub mod risky_transaction;
pub mod robust_deviation;
pub mod series_unusual;
pub mod shared_device;
pub mod shared_device_across_operators;
pub mod shared_payout_account;
pub mod shared_payout_account_across_operators;
pub mod structured_across_operators;
pub mod structured_deposits;
pub mod unusual_exclusions;

#[cfg(test)]
mod scenario;
#[cfg(test)]
mod tests;
