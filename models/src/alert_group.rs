//! Groups: everything one rule says about one subject is one cause, heard of once and worked once.
//!
//! ```text
//!            hit                    acknowledge            snooze(until)
//!  (new) ─────────▶ open ◀────────────────▶ acknowledged ◀───────────▶ snoozed
//!                    │  ▲ reopen, time is up, more hits than agreed       │
//!           resolve  │  │ hit (regressed: the next episode)               │
//!                    ▼  │                                                 │
//!                  resolved ◀─────────────────────────────────────────────┘
//! ```
//! Whether somebody is told is another question than the state: a group is also quiet while it is silenced, or while a
//! feed that its figures stand on is silent (muted).

use crate::alert::{Severity, Subject, Window};
use crate::ids::{AlertId, GroupId, KeyId, OperatorNo, SilenceId};
use crate::jurisdiction::JurisdictionNo;
use crate::record::closed_set;
use crate::ts::{Ts, micros};
use serde::{Deserialize, Serialize};

/// Reasons of the newest alert that are kept.
pub const REASONS_MAX: usize = 3;
/// Alerts of a group that are remembered by id, so that the last withdrawal is known.
pub const STANDING_MAX: usize = 32;

closed_set!(
    /// Where a group is in its life.
    GroupState { Open = "open", Acknowledged = "acknowledged", Snoozed = "snoozed", Resolved = "resolved" }
);
closed_set!(
    /// Why it was resolved. The last two are the engine's own: every alert was withdrawn; nothing came for a day.
    Resolution {
        Confirmed = "confirmed", FalseAlarm = "false_alarm", Expected = "expected", DataError = "data_error",
        Withdrawn = "withdrawn", Quiet = "quiet",
    }
);
impl Resolution {
    /// Those that a person may give.
    pub const BY_PEOPLE: &'static [Self] = &[Self::Confirmed, Self::FalseAlarm, Self::Expected, Self::DataError];
}

closed_set!(
    /// What a person does with a group.
    ActionKind { Acknowledge = "acknowledge", Snooze = "snooze", Resolve = "resolve", Reopen = "reopen" }
);

/// Who did something, when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// With which key.
    pub by: KeyId,
    /// When.
    #[serde(with = "micros")]
    pub at: Ts,
}

/// How long a group is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snooze {
    /// Until then at most.
    #[serde(with = "micros")]
    pub until: Ts,
    /// Until so many hits more, where it was agreed.
    #[serde(default)]
    pub hits: Option<u64>,
    /// Hits when it began.
    pub hits_before: u64,
    /// Whose decision.
    pub act: Act,
}

/// A group as it is after a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertGroup {
    /// Digest of rule and subject.
    pub id: GroupId,
    /// Rule.
    pub rule: String,
    /// Whose alerts.
    pub operator_no: OperatorNo,
    /// Of which jurisdiction.
    pub jurisdiction: JurisdictionNo,
    /// What they speak about.
    pub subject: Subject,
    /// Where it is in its life.
    pub state: GroupState,
    /// How often it began, from 1.
    pub episode: u32,
    /// The highest of the episode: by itself it only rises.
    pub severity: Severity,
    /// Alerts raised in the episode.
    pub hits: u64,
    /// Those of them that stand, as far as they are remembered.
    pub standing: Vec<AlertId>,
    /// Further ones that stand.
    pub standing_more: u64,
    /// Start of the first window of the episode.
    #[serde(with = "micros")]
    pub first_at: Ts,
    /// When it was last hit, by the engine's clock.
    #[serde(with = "micros")]
    pub last_at: Ts,
    /// The newest alert.
    pub last_alert: AlertId,
    /// Its window.
    pub last_window: Window,
    /// Why the newest alert was raised, strongest first.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// Who took it on.
    #[serde(default)]
    pub acknowledged: Option<Act>,
    /// While it is left alone.
    #[serde(default)]
    pub snoozed: Option<Snooze>,
    /// Why it ended.
    #[serde(default)]
    pub resolution: Option<Resolution>,
    /// Who ended it, where a person did.
    #[serde(default)]
    pub resolved: Option<Act>,
    /// The silent feed that keeps it quiet.
    #[serde(default)]
    pub muted_by: Option<GroupId>,
    /// The silence that keeps it quiet.
    #[serde(default)]
    pub silenced_by: Option<SilenceId>,
    /// Was somebody told of this episode?
    pub told: bool,
    /// How urgent it was when somebody was told of it last; none where nobody was, and in what older releases stored.
    #[serde(default)]
    pub told_severity: Option<Severity>,
    /// The hour of its rule's cap in which it was held back last.
    #[serde(default, with = "micros::option")]
    pub held_in: Option<Ts>,
    /// Notices given so far, over all episodes: part of their ids.
    pub notices: u32,
}

impl AlertGroup {
    /// Is there anything to do about it?
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.state != GroupState::Resolved
    }

    /// Is any of its alerts neither withdrawn nor of an earlier episode?
    #[must_use]
    pub fn stands(&self) -> bool {
        !self.standing.is_empty() || self.standing_more > 0
    }

    /// Is it worse than what somebody was told?
    #[must_use]
    pub fn is_worse_than_told(&self) -> bool {
        self.told && self.told_severity.is_some_and(|told| self.severity > told)
    }

    /// Does anything keep it from being told?
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.state == GroupState::Snoozed || self.muted_by.is_some() || self.silenced_by.is_some()
    }
}

/// For a span nobody is told of what fits; with its author.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// `sil_…`
    pub id: SilenceId,
    /// Of which jurisdiction.
    pub jurisdiction: JurisdictionNo,
    /// Of this rule only.
    #[serde(default)]
    pub rule: Option<String>,
    /// Of this operator only.
    #[serde(default)]
    pub operator_no: Option<OperatorNo>,
    /// Up to this severity only.
    #[serde(default)]
    pub severity_max: Option<Severity>,
    /// First instant after it.
    #[serde(with = "micros")]
    pub until: Ts,
    /// Whose decision.
    pub act: Act,
}

impl Silence {
    /// Does it keep a group quiet at `now`?
    #[must_use]
    pub fn covers(&self, group: &AlertGroup, now: Ts) -> bool {
        now < self.until
            && self.jurisdiction == group.jurisdiction
            && self.rule.as_ref().is_none_or(|rule| *rule == group.rule)
            && self.operator_no.is_none_or(|no| no == group.operator_no)
            && self.severity_max.is_none_or(|max| group.severity <= max)
    }
}

/// How many groups of a rule were told of in an hour; those beyond its cap are told of together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleCap {
    /// Rule.
    pub rule: String,
    /// Of which jurisdiction.
    pub jurisdiction: JurisdictionNo,
    /// The hour.
    #[serde(with = "micros")]
    pub hour: Ts,
    /// Told of one by one.
    pub told: u32,
    /// Held back.
    pub held: u32,
    /// What was told of together last and is not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<MoreTold>,
}

/// Groups of a rule that were told of together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoreTold {
    /// The hour in which they were held back.
    #[serde(with = "micros")]
    pub hour: Ts,
    /// The one that stood for them: whoever heard of it hears of their end.
    pub group: GroupId,
}

/// What alerts and time did to groups: the new states, and how far the alerts are taken in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AlertsGrouped {
    /// Offset of the last alert revision that is part of the states.
    pub through: i64,
    /// Groups that changed (whole new states).
    pub groups: Vec<AlertGroup>,
    /// Caps that changed.
    #[serde(default)]
    pub caps: Vec<RuleCap>,
}

/// What a person did with a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertActed {
    /// What.
    pub action: ActionKind,
    /// Who, when.
    pub act: Act,
    /// The group as it is then.
    pub group: AlertGroup,
}
