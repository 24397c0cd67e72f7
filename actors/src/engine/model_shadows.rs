//! Which versions of models are in the shadow of each jurisdiction: read at the start, and whenever somebody begins or ends
//! one, or what scores for all to hear changes.

use super::{Engine, StartError};
use crate::api::{EngineError, IdempotencyKey};
use crate::idempotency;
use crate::model_shadows::{self, ShadowStep};
use crate::register::{commit_error, section};
use crate::risk_models::NoScorer;
use crate::rules::Promoted;
use crate::shadow_days::{DaysOf, ShadowDays};
use engine::shadow_days::ExamplesPage;
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
        let place = self.code_of(jurisdiction);
        let not_scoring = self.0.metrics.models.shadows_not_scoring.with_label_values(&[kind.as_str(), &place]);
        if wanted == models.shadow(kind) {
            // also where one that could not be read is out of the shadow
            not_scoring.set(0);
            return Ok(());
        }
        let (mut shadow, mut is_unreadable) = (None, false);
        if let (Some(stored), Some(since)) = (&stored, since) {
            match self.scorer(&stored.model).await {
                Ok(scorer) => shadow = Some(Promoted { scorer, since }),
                Err(NoScorer::Store(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::error!(kind = kind.as_str(), %place, %error, "the model in the shadow does not score");
                    is_unreadable = true;
                }
            }
        }
        not_scoring.set(is_unreadable.into());
        let version = shadow.as_ref().map(|shadow| shadow.scorer.version());
        tracing::info!(kind = kind.as_str(), %place, version, "this version of the model scores in the shadow");
        models.set_shadow(kind, shadow);
        Ok(())
    }

    /// What a version in the shadow would have said on days that are over, with a page of examples.
    ///
    /// # Errors
    /// As many wait for such days as may; the store does not answer.
    pub async fn shadow_days(&self, of: DaysOf, page: ExamplesPage) -> Result<ShadowDays, EngineError> {
        let directory = self.0.directory.load_full();
        self.0.shadow_reads.of((&self.0.store, directory.as_ref()), of, page, self.now()).await
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
