//! Alerts: what there is, and what people do with groups of them.

use super::Engine;
use crate::api::{AlertFilter, AlertHistory, EngineError, Page};
use crate::desk::{DeskMsg, DeskView};
use crate::register::unavailable;
use crate::source::Reply;
use engine::alerting::Action;
use models::alert::AlertRevision;
use models::alert_group::{Act, AlertGroup, Silence};
use models::ids::{AlertId, GroupId, OperatorNo};

impl Engine {
    /// A page of alerts, newest first.
    pub async fn alerts(
        &self,
        filter: AlertFilter,
        limit: u32,
        cursor: Option<String>,
    ) -> Result<Page<AlertRevision>, EngineError> {
        let before = match cursor {
            None => i64::MAX,
            Some(text) => text.parse().ok().filter(|offset| *offset > 0).ok_or_else(|| EngineError::Invalid {
                pointer: "?cursor",
                detail: "not one that this list gave".to_owned(),
            })?,
        };
        let operators: Option<Vec<OperatorNo>> = match (filter.operator, filter.jurisdiction) {
            (Some(no), _) => Some(vec![no]),
            (None, Some(jurisdiction)) => {
                let directory = self.directory();
                Some(
                    directory
                        .operators
                        .values()
                        .filter(|o| o.jurisdiction == jurisdiction)
                        .map(|o| o.operator_no)
                        // and what is found over all of them
                        .chain([OperatorNo::of_nation(jurisdiction)])
                        .collect(),
                )
            }
            (None, None) => None,
        };
        let query = store::AlertQuery {
            operators,
            severity: filter.severity,
            rule: filter.rule,
            withdrawn: filter.state.as_deref().map(|state| state == "withdrawn"),
            before_offset: before,
            limit: limit + 1,
        };
        let mut items = self.0.store.alerts(&query).await.map_err(unavailable)?;
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next_cursor = items.last().filter(|_| more).map(|last| last.offset.to_string());
        Ok(Page { items, next_cursor })
    }

    /// Groups of alerts and silences.
    pub fn desk(&self) -> &DeskView {
        &self.0.desk_view
    }

    /// Does something with a group of alerts; gives the group as it is then.
    pub async fn act_on_alerts(&self, group: GroupId, action: Action, act: Act) -> Result<AlertGroup, EngineError> {
        let (reply, done) = Reply::new();
        self.ask_desk(DeskMsg::Act { group, action, act, reply }, done).await
    }

    /// Sets, changes or ends a silence.
    pub async fn silence_alerts(&self, silence: Silence) -> Result<(), EngineError> {
        let (reply, done) = Reply::new();
        self.ask_desk(DeskMsg::Silence { silence, reply }, done).await
    }

    async fn ask_desk<T>(
        &self,
        msg: DeskMsg,
        done: tokio::sync::oneshot::Receiver<Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        self.0.desk.try_send(msg).map_err(|_| EngineError::Overloaded("the alert desk"))?;
        match tokio::time::timeout(self.0.config.write_timeout, done).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) | Err(_) => Err(EngineError::Unavailable("the alert desk")),
        }
    }

    /// An alert with its history.
    pub async fn alert(&self, id: AlertId) -> Result<AlertHistory, EngineError> {
        let revisions = self.0.store.alert(id).await.map_err(unavailable)?;
        if revisions.is_empty() { Err(EngineError::NotFound("alert")) } else { Ok(AlertHistory { revisions }) }
    }
}
