//! What the desk says of models: heard from the spine, and read from the store with its first second.

use super::{DeskActor, EngineError};
use crate::register::commit_error;
use engine::model_drift::{self, Nation};
use models::event::Event;
use models::jurisdiction::Jurisdiction;
use models::risk_model::{DriftJudged, DriftLevel, ModelKind};

impl DeskActor {
    /// Says what days of models were far off. One that is said again is dropped by the store.
    pub(super) async fn drifted(&mut self, judged: &[DriftJudged]) -> Result<(), EngineError> {
        let (directory, now) = (self.context.directory.load_full(), self.context.clock.now());
        let alert = |judged: &DriftJudged| {
            let operator = directory.operators.get(&judged.operator_no)?;
            let Jurisdiction { code, currency, .. } = directory.jurisdiction(operator.jurisdiction)?;
            let of = Nation { no: operator.jurisdiction, code, currency: *currency };
            model_drift::alert(judged, &operator.code, &of, now)
        };
        let events: Vec<Event> = judged.iter().filter_map(alert).map(Event::AlertRevised).collect();
        if events.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.context.writer.commit(events, Vec::new()).await {
            // what is not stored now is read again
            self.drift_unread = true;
            return Err(commit_error(error));
        }
        Ok(())
    }

    /// Days that were judged while nobody listened, or whose alert could not be stored.
    pub(super) async fn read_drift(&mut self) -> Result<(), EngineError> {
        if !self.drift_unread {
            return Ok(());
        }
        let away = |_| EngineError::Unavailable("the database");
        let mut far = Vec::new();
        let (store, directory) = (&self.context.store, self.context.directory.load_full());
        for kind in ModelKind::ALL {
            for (no, _) in Jurisdiction::numbered(&directory.jurisdictions) {
                let Some(stored) = store.promoted_model(no, *kind).await.map_err(away)? else { continue };
                let of = (*kind, stored.model.version);
                far.extend(store.model_drift(no, of).await.map_err(away)?);
            }
        }
        far.retain(|judged| judged.level == DriftLevel::Significant);
        self.drifted(&far).await?;
        self.drift_unread = false;
        Ok(())
    }
}
