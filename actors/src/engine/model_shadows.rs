//! Which versions of models are in the shadow of each jurisdiction: read at the start, and whenever somebody begins or ends
//! one, or what scores for all to hear changes.

use super::{Engine, StartError};
use crate::api::{EngineError, IdempotencyKey};
use crate::idempotency;
use crate::model_shadows::{self, ShadowStep};
use crate::register::{commit_error, section};
use crate::risk_models::NoScorer;
use crate::rules::Promoted;
use models::jurisdiction::JurisdictionNo;
use models::risk_model::ModelKind;
use models::who::Who;

/// Somebody begins or ends the shadow of a version.
#[derive(Clone, Debug)]
pub struct ShadowOrder {
    /// Where.
    pub jurisdiction: JurisdictionNo,
    /// What it predicts.
    pub kind: ModelKind,
    /// Its number.
    pub version: u32,
    /// Which of both.
    pub step: ShadowStep,
    /// Who wants it.
    pub by: Who,
    /// Why.
    pub reason: String,
}

impl Engine {
    /// Reads the version of a kind that is in the shadow of a jurisdiction. One that is there already goes on: its counts stay.
    pub(super) async fn take_shadow(&self, jurisdiction: JurisdictionNo, kind: ModelKind) -> Result<(), StartError> {
        let (store, models) = (&self.0.store, self.0.rules_context.models.of(jurisdiction));
        let stored = store.shadow_model(jurisdiction, kind).await?;
        let since = match &stored {
            Some(stored) => store.model_shadow_began(jurisdiction, (kind, stored.model.version)).await?,
            None => None,
        };
        let wanted = stored.as_ref().map(|stored| stored.model.version).zip(since);
        if wanted == models.shadow(kind) {
            return Ok(());
        }
        let place = self.code_of(jurisdiction);
        let shadow = match (&stored, since) {
            (Some(stored), Some(since)) => match self.scorer(&stored.model).await {
                Ok(scorer) => Some(Promoted { scorer, since }),
                Err(NoScorer::Store(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::error!(kind = kind.as_str(), %place, %error, "the model in the shadow does not score");
                    None
                }
            },
            _ => None,
        };
        let version = shadow.as_ref().map(|shadow| shadow.scorer.version());
        tracing::info!(kind = kind.as_str(), %place, version, "this version of the model scores in the shadow");
        models.set_shadow(kind, shadow);
        Ok(())
    }

    /// Begins or ends the shadow of a version; it happens once for a key of idempotency.
    ///
    /// # Errors
    /// It is not there, or that may not happen now.
    pub async fn order_shadow(
        &self,
        order: ShadowOrder,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<(), EngineError> {
        let engine = self.clone();
        section(async move { engine.order_shadow_now(&order, idempotency.as_ref()).await }).await
    }

    async fn order_shadow_now(
        &self,
        order: &ShadowOrder,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<(), EngineError> {
        let _one_at_a_time = self.0.ruling.lock().await;
        let clock = self.now();
        if idempotency::earlier(&self.0.store, idempotency, clock).await?.is_some() {
            return Ok(());
        }
        let ShadowOrder { jurisdiction, kind, version, step, by, reason } = order;
        let which = (*kind, *version);
        let event = model_shadows::step(&self.0.store, *jurisdiction, which, *step, (by, reason)).await?;
        let attachments = idempotency::attachment(idempotency, 200, *version, clock).into_iter().collect();
        self.0.writer.commit(vec![event], attachments).await.map(drop).map_err(commit_error)
    }
}
