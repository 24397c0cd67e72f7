//! The list of rules: one file and one line each. New ones are appended within their group's end: the position is part
//! of kept states.

use crate::rules::input::Trigger;
use crate::rules::nation::NationHeard;
use crate::rules::params::{self, ParamAbout, Params as _, ParamsError};
use crate::rules::run::Heard;
use crate::rules::standing::Out;
use models::alert::Severity;
use models::risk_model::ModelKind;
use serde::Serialize;

/// Where a rule is at home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Home {
    /// Runs over each operator's inputs.
    Operator,
    /// Runs over all operators' inputs of a jurisdiction.
    Nation,
    /// Runs over the windows of each operator's market.
    Market,
    /// Runs over the sources, by the wall clock.
    Desk,
    /// Part of the engine in another place; named here so that the list names every rule.
    Elsewhere,
}

/// What a rule is.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Its name: the condition.
    pub name: &'static str,
    /// Where it runs.
    pub home: Home,
    /// How urgent its findings are at most; a finding may say less.
    pub severity: Severity,
    /// What it says, for people.
    pub what: &'static str,
    /// What takes a finding back, and what cannot.
    pub takes_back: &'static str,
    /// What it listens for.
    pub hears: &'static [Trigger],
}

impl About {
    /// Does it run over inputs of rules?
    #[must_use]
    pub fn is_here(&self) -> bool {
        matches!(self.home, Home::Operator | Home::Nation)
    }

    /// Are there versions of it?
    #[must_use]
    pub fn takes_versions(&self) -> bool {
        self.home != Home::Elsewhere
    }

    /// Is it live where nobody has said anything?
    #[must_use]
    pub fn is_standard(&self) -> bool {
        self.takes_versions() && !OFF_AT_FIRST.contains(&self.name)
    }

    /// Does it hear what a model of this kind says?
    #[must_use]
    pub fn hears_model(&self, kind: ModelKind) -> bool {
        match kind {
            ModelKind::TransactionRisk => self.hears.contains(&Trigger::RecordScored),
            ModelKind::PlayerRisk => self.hears.contains(&Trigger::PlayerScored),
        }
    }

    /// Does it hear nothing but what models say? Without a promoted one it is silent.
    #[must_use]
    pub fn needs_model(&self) -> bool {
        !self.hears.is_empty() && self.hears.iter().all(|t| matches!(t, Trigger::RecordScored | Trigger::PlayerScored))
    }

    /// Does it say at the end of a day what it has of it, and at no other time?
    #[must_use]
    pub fn speaks_at_day_ends(&self) -> bool {
        let of_days = |trigger: &Trigger| matches!(trigger, Trigger::DayClosed | Trigger::PlayerScored);
        !self.hears.is_empty() && self.hears.iter().all(of_days)
    }

    /// Does it run over all operators?
    #[must_use]
    pub fn is_national(&self) -> bool {
        self.home == Home::Nation
    }
}

/// Rules that only some laws ask for, or that stand on what nobody has validated yet: off, until a jurisdiction lets them run
/// in the shadow, or proposes and promotes a version.
pub const OFF_AT_FIRST: &[&str] =
    &[crate::rules::concurrent_play::ABOUT.name, crate::rules::player_at_risk_across_operators::ABOUT.name];

/// The version of a rule that nobody proposed. Where alerts of other versions are in journals already, the newest of them.
#[must_use]
pub fn standard_version(rule: &str) -> u32 {
    if rule == crate::detector::RULE { crate::detector::STANDARD_VERSION } else { 1 }
}

/// The rule of a name.
#[must_use]
pub fn about(name: &str) -> Option<&'static About> {
    ABOUT.iter().find(|about| about.name == name)
}

macro_rules! rules {
    (operator { $($operator:ident $Operator:ident,)* } nation { $($nation:ident $Nation:ident,)* } engine { $($engine:ident $Engine:ident,)* } elsewhere { $($elsewhere:expr,)* }) => {
        /// Every rule, in the order of its number in kept states.
        pub const ABOUT: &[About] = &[
            $(crate::rules::$operator::ABOUT,)* $(crate::rules::$nation::ABOUT,)* $(crate::rules::$engine::ABOUT,)* $($elsewhere,)*
        ];

        /// A rule with its parameters.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum Typed {
            $($Operator(crate::rules::$operator::Params),)* $($Nation(crate::rules::$nation::Params),)*
            $($Engine(crate::rules::$engine::Params),)*
        }

        impl Typed {
            /// Reads the parameters of a rule; none where it takes none here.
            ///
            /// # Errors
            /// [`ParamsError`]
            pub fn read(rule: &str, json: &serde_json::Value) -> Result<Option<Self>, ParamsError> {
                $(if rule == crate::rules::$operator::ABOUT.name {
                    return params::read(crate::rules::$operator::ABOUT.name, json).map(|p| Some(Self::$Operator(p)));
                })*
                $(if rule == crate::rules::$nation::ABOUT.name {
                    return params::read(crate::rules::$nation::ABOUT.name, json).map(|p| Some(Self::$Nation(p)));
                })*
                $(if rule == crate::rules::$engine::ABOUT.name {
                    return params::read(crate::rules::$engine::ABOUT.name, json).map(|p| Some(Self::$Engine(p)));
                })*
                Ok(None)
            }

            /// Asks a rule of an operator.
            pub(super) fn judge(&self, heard: &Heard<'_>, out: &mut Out<'_>) {
                match self {
                    $(Self::$Operator(params) => crate::rules::$operator::judge(params, heard, out),)*
                    $(Self::$Nation(_) => {})*
                    $(Self::$Engine(_) => {})*
                }
            }

            /// Asks a rule of all operators.
            pub(super) fn judge_nation(&self, heard: &NationHeard<'_>, out: &mut Out<'_>) {
                match self {
                    $(Self::$Operator(_) => {})*
                    $(Self::$Engine(_) => {})*
                    $(Self::$Nation(params) => crate::rules::$nation::judge(params, heard, out),)*
                }
            }
        }

        /// What a rule's parameters are.
        #[must_use]
        pub fn params_of(rule: &str) -> Vec<ParamAbout> {
            $(if rule == crate::rules::$operator::ABOUT.name {
                return crate::rules::$operator::Params::about();
            })*
            $(if rule == crate::rules::$nation::ABOUT.name {
                return crate::rules::$nation::Params::about();
            })*
            $(if rule == crate::rules::$engine::ABOUT.name {
                return crate::rules::$engine::Params::about();
            })*
            Vec::new()
        }
    };
}

rules! {
    operator {
        excluded_play ExcludedPlay,
        play_without_check PlayWithoutCheck,
        marketing_without_check MarketingWithoutCheck,
        harm_signal_unanswered HarmSignalUnanswered,
        structured_deposits StructuredDeposits,
        rapid_in_out RapidInOut,
        payout_elsewhere PayoutElsewhere,
        shared_device SharedDevice,
        shared_payout_account SharedPayoutAccount,
        opposite_bets OppositeBets,
        dormant_burst DormantBurst,
        limit_exceeded LimitExceeded,
        net_deposit_threshold NetDepositThreshold,
        declared_revenue_differs DeclaredRevenueDiffers,
        return_to_player_off ReturnToPlayerOff,
        late_remittance LateRemittance,
        licence_lapsed LicenceLapsed,
        compliance_status_changed ComplianceStatusChanged,
        unusual_exclusions UnusualExclusions,
        series_unusual SeriesUnusual,
        risky_transaction RiskyTransaction,
        player_at_risk PlayerAtRisk,
    }
    nation {
        net_deposits_across_operators NetDepositsAcrossOperators,
        concurrent_play ConcurrentPlay,
        structured_across_operators StructuredAcrossOperators,
        player_at_risk_across_operators PlayerAtRiskAcrossOperators,
        shared_payout_account_across_operators SharedPayoutAccountAcrossOperators,
        shared_device_across_operators SharedDeviceAcrossOperators,
    }
    engine {
        robust_deviation RobustDeviation,
        feed_silent FeedSilent,
    }
    elsewhere {
        elsewhere(crate::integrity::Trouble::Tampered.rule(), "the tamper token of a push does not follow from the last one", "a push that follows"),
        elsewhere(crate::integrity::Trouble::Gap.rule(), "numbered batches are missing", "the batches"),
        elsewhere(crate::integrity::totals::RULE, "declared sums of a day differ from what is stored", "late data, or a corrected declaration"),
        elsewhere(crate::model_drift::RULE, "the scores of a model have moved far from those of the rows that it learnt from, or its probabilities do not hold", "nothing: it rests when no further day is so"),
        elsewhere(crate::enumeration::RULE, "an operator asks about too many people whom it never asked about", "nothing"),
    }
}

const fn elsewhere(name: &'static str, what: &'static str, takes_back: &'static str) -> About {
    About { name, home: Home::Elsewhere, severity: Severity::Critical, what, takes_back, hears: &[] }
}
