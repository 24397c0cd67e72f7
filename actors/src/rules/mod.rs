//! The regulator's rules, live: what was known of a batch is stored beside it, and what follows from it is found.
//!
//! ```text
//! stored batch ─▶ spine ─▶ operator's actor: held until evidence is in ─▶ RuleInputStored, with the facts
//!                                             └▶ OperatorRules ─▶ AlertRevised + rule_findings, in one commit
//!                                             └▶ features ─▶ promoted model ─▶ RecordsScored, an input as well
//! RuleInputStored ─▶ spine ─▶ the jurisdiction's actor ─▶ NationRules ─▶ the same
//! ```
//! Both states are functions of stored inputs: an operator's of its `input_seq`, a jurisdiction's of places in the
//! journal. So a start reads the newest kept state and the inputs behind it, and then the batches that nobody has heard
//! yet. What is found again has the ids that it had, and the store drops it.

pub mod backtest;
mod backtest_market;
mod input;
mod judge;
mod keeper;
mod known;
mod metrics;
pub mod model_backtest;
mod nation;
mod operator;
mod post;
mod quiet;
pub mod replay;
mod risk;
mod shadow;
mod told;
pub(crate) mod truth;

pub use input::Heard;
pub use judge::{Acquainted, OfNation, OfOperator};
pub use keeper::RulesContext;
pub use known::Known;
pub use metrics::RuleMetrics;
pub use nation::{Nation, NationMsg, NationSlot};
pub use operator::{OperatorRulesActor, RulesMsg, RulesSlot, Waiting};
pub use post::RulesPost;
pub use quiet::{ALERTS_BACK, Quiet};
pub use risk::{Models, ModelsByJurisdiction, Promoted};
pub(crate) use told::Whose;

use std::time::Duration;

/// How long an actor waits before it offers again what was refused.
const RETRY: Duration = Duration::from_millis(500);
/// Inputs read back at once.
const INPUTS_AT_ONCE: u32 = 64;
/// Heads of inputs read at once.
const HEADS_AT_ONCE: u32 = 4_096;
/// Findings that are looked up at once: those of some inputs, or of a commit and of the input that filled it.
const FOUND_AT_ONCE_MAX: u32 = 65_536;
