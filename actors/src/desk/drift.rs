//! What the desk says of models: heard from the spine, and read from the store with its first second.

use super::{DeskActor, EngineError};
use crate::register::commit_error;
use engine::model_drift;
use models::event::Event;
use models::risk_model::{DriftJudged, DriftLevel, ModelKind};

impl DeskActor {
    /// Says what days of models were far off. One that is said again is dropped by the store.
    pub(super) async fn drifted(&mut self, judged: &[DriftJudged]) -> Result<(), EngineError> {
        let (directory, now) = (self.context.directory.load_full(), self.context.clock.now());
        let alert = |judged: &DriftJudged| {
            let operator = directory.operators.get(&judged.operator_no)?;
            let currency = directory.jurisdiction(operator.jurisdiction)?.currency;
            model_drift::alert(judged, &operator.code, currency, now)
        };
        let events: Vec<Event> = judged.iter().filter_map(alert).map(Event::AlertRevised).collect();
        if events.is_empty() {
            return Ok(());
        }
        // what is not stored now is read again
        self.drift_unread = true;
        self.context.writer.commit(events, Vec::new()).await.map_err(commit_error)?;
        self.drift_unread = false;
        Ok(())
    }

    /// Days that were judged while nobody listened, or whose alert could not be stored.
    pub(super) async fn read_drift(&mut self) -> Result<(), EngineError> {
        if !self.drift_unread {
            return Ok(());
        }
        let away = |_| EngineError::Unavailable("the database");
        let mut far = Vec::new();
        for kind in ModelKind::ALL {
            let Some(stored) = self.context.store.promoted_model(*kind).await.map_err(away)? else { continue };
            far.extend(self.context.store.model_drift(*kind, stored.model.version).await.map_err(away)?);
        }
        far.retain(|judged| judged.level == DriftLevel::Significant);
        self.drifted(&far).await?;
        self.drift_unread = false;
        Ok(())
    }
}
