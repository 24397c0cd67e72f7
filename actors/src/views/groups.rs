//! Groups of alerts as screens see them: what there is to do, the worst and newest first.

use super::{Versioned, Views, hash};
use models::alert::{Granularity, Metric, Severity};
use models::alert_group::{Act, AlertGroup, GroupState};
use models::ids::{AlertId, GroupId, OperatorId, SilenceId, SourceId};
use models::jurisdiction::JurisdictionNo;
use models::money::Currency;
use models::ts::Ts;
use serde::Serialize;
use std::cmp::Reverse;
use std::sync::Arc;

/// Groups of a jurisdiction on the screen; the others are counted.
pub const GROUPS_MAX: usize = 100;

/// What was shown last, and of which state of the desk.
pub(super) type Shown = (u64, Versioned);

#[derive(Serialize)]
struct GroupsView<'a> {
    items: Vec<GroupView<'a>>,
    /// Further groups that are not resolved.
    more: usize,
}

#[derive(Serialize)]
struct GroupView<'a> {
    id: GroupId,
    state: &'static str,
    severity: &'static str,
    rule: &'a str,
    operator: Option<OperatorId>,
    operator_code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<&'a str>,
    metric: &'static str,
    granularity: &'static str,
    currency: Currency,
    source: Option<SourceId>,
    episode: u32,
    hits: u64,
    standing: u64,
    first_at: Ts,
    last_at: Ts,
    last_alert: AlertId,
    acknowledged: Option<ActView>,
    snoozed_until: Option<Ts>,
    muted_by: Option<GroupId>,
    silenced_by: Option<SilenceId>,
}

#[derive(Serialize)]
struct ActView {
    by: models::ids::KeyId,
    at: Ts,
}

impl From<Act> for ActView {
    fn from(act: Act) -> Self {
        Self { by: act.by, at: act.at }
    }
}

impl<'a> GroupView<'a> {
    fn of(group: &'a AlertGroup, operator: Option<OperatorId>) -> Self {
        let subject = &group.subject;
        Self {
            id: group.id,
            state: group.state.as_str(),
            severity: group.severity.as_str(),
            rule: &group.rule,
            operator,
            operator_code: &subject.operator,
            who: subject.who.as_deref(),
            metric: Metric::as_str(subject.metric),
            granularity: Granularity::as_str(subject.granularity),
            currency: subject.currency,
            source: subject.source,
            episode: group.episode,
            hits: group.hits,
            standing: group.standing.len() as u64 + group.standing_more,
            first_at: group.first_at,
            last_at: group.last_at,
            last_alert: group.last_alert,
            acknowledged: group.acknowledged.map(Into::into),
            snoozed_until: group.snoozed.map(|snooze| snooze.until),
            muted_by: group.muted_by,
            silenced_by: group.silenced_by,
        }
    }
}

/// What nobody has taken on comes first, then what is worst, then what is newest.
fn urgency(group: &AlertGroup) -> (bool, bool, Reverse<Severity>, Reverse<Ts>, GroupId) {
    let is_waiting = group.state == GroupState::Open;
    (!is_waiting, group.is_quiet(), Reverse(group.severity), Reverse(group.last_at), group.id)
}

impl Views {
    /// Encoded once for each state of the desk, however often it is asked for.
    pub(super) fn groups(&self, jurisdiction: JurisdictionNo) -> Versioned {
        // read first: what is shown meanwhile is asked for again
        let stamp = self.desk.version();
        let mut shown = self.groups_shown.lock();
        if let Some((_, view)) = shown.get(&jurisdiction).filter(|(at, _)| *at == stamp) {
            return view.clone();
        }
        let mut live: Vec<Arc<AlertGroup>> = self.desk.groups(jurisdiction);
        live.retain(|group| group.is_live());
        live.sort_by_cached_key(|group| urgency(group));
        let directory = self.directory.load();
        let operator = |group: &AlertGroup| directory.operators.get(&group.operator_no).map(|operator| operator.id);
        let items = live.iter().take(GROUPS_MAX).map(|group| GroupView::of(group, operator(group))).collect();
        let view = GroupsView { items, more: live.len().saturating_sub(GROUPS_MAX) };
        let json: Arc<str> = serde_json::to_string(&view).unwrap_or_else(|_| "null".to_owned()).into();
        let view = (hash(&json), json);
        shown.insert(jurisdiction, (stamp, view.clone()));
        view
    }
}
