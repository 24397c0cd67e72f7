//! Which models score: read at the start and whenever one is promoted, gone back to or retired; and what people do with them.

use super::{Engine, StartError};
use crate::api::{EngineError, IdempotencyKey};
use crate::idempotency;
use crate::model_forecasts;
use crate::register::{commit_error, section};
use crate::risk_levels::PLAYERS_MAX;
use crate::risk_models::{self, NoScorer};
use crate::rules::Promoted;
use models::risk_model::ModelKind;
use models::who::Who;

/// What is done with a version.
#[derive(Clone, Debug)]
pub enum ModelCommand {
    /// It scores from now on.
    Promote {
        /// Its number.
        version: u32,
    },
    /// It is out of use for good.
    Retire {
        /// Its number.
        version: u32,
        /// Why.
        reason: String,
    },
    /// The one that scored before the present one does so again.
    RollBack {
        /// Why.
        reason: String,
    },
}

/// Somebody wants something done with a version.
#[derive(Clone, Debug)]
pub struct ModelOrder {
    /// What it predicts.
    pub kind: ModelKind,
    /// What is done.
    pub command: ModelCommand,
    /// Who wants it.
    pub by: Who,
}

impl Engine {
    /// Reads the version of a kind that scores. An artefact that cannot be read scores nothing, and that is told: an
    /// operator's records must not wait for it.
    pub(super) async fn take_model(&self, kind: ModelKind) -> Result<(), StartError> {
        let store = &self.0.store;
        let mut is_unreadable = false;
        let promoted = match risk_models::scorer(store, kind).await {
            Ok(Some(scorer)) => {
                let since = store.model_promoted_at(kind, scorer.version()).await?;
                since.map(|since| Promoted { scorer, since })
            }
            Ok(None) => None,
            Err(NoScorer::Store(error)) => return Err(error.into()),
            Err(error) => {
                tracing::error!(kind = kind.as_str(), %error, "the promoted model does not score");
                is_unreadable = true;
                None
            }
        };
        self.0.metrics.models_not_scoring.with_label_values(&[kind.as_str()]).set(is_unreadable.into());
        let version = promoted.as_ref().map(|promoted| promoted.scorer.version());
        tracing::info!(kind = kind.as_str(), version, "this version of the model scores");
        self.0.rules_context.models.set(kind, promoted);
        Ok(())
    }

    /// What the promoted version of the model of player risk said last, for lookups.
    pub(super) async fn load_risk_levels(&self) -> Result<(), StartError> {
        let store = &self.0.store;
        let Some(stored) = store.promoted_model(ModelKind::PlayerRisk).await? else { return Ok(()) };
        let version = stored.model.version;
        let rows = store.player_scores(version, PLAYERS_MAX as u32).await?;
        self.directory().risk_levels.fill(version, rows);
        Ok(())
    }

    /// Does with a version of a model what somebody wants; it happens once for a key of idempotency. Gives the version.
    ///
    /// # Errors
    /// It is not there, may not happen now, or not by this person.
    pub async fn order_model(
        &self,
        order: ModelOrder,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<u32, EngineError> {
        let engine = self.clone();
        section(async move { engine.order_model_now(&order, idempotency.as_ref()).await }).await
    }

    async fn order_model_now(
        &self,
        order: &ModelOrder,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<u32, EngineError> {
        let _one_at_a_time = self.0.ruling.lock().await;
        let clock = self.now();
        if let Some(earlier) = idempotency::earlier(&self.0.store, idempotency, clock).await? {
            let used = || EngineError::Conflict("this idempotency key was used for something else".to_owned());
            return earlier.result_id.parse().map_err(|_| used());
        }
        let (store, writer) = (&self.0.store, &self.0.writer);
        let ModelOrder { kind, command, by } = order;
        let (version, event) = match command {
            ModelCommand::Promote { version } => {
                let which = (*kind, *version);
                let directory = self.0.directory.load_full();
                let forecasts = model_forecasts::forecasts(store, &directory, which, clock).await?;
                (*version, risk_models::promotion(store, &directory, which, by, forecasts).await?)
            }
            ModelCommand::Retire { version, reason } => {
                (*version, risk_models::retirement(store, (*kind, *version), by, reason).await?)
            }
            ModelCommand::RollBack { reason } => risk_models::rollback(store, *kind, by, reason).await?,
        };
        let attachment = idempotency::attachment(idempotency, 200, version, clock);
        writer.commit(vec![event], attachment.into_iter().collect()).await.map_err(commit_error)?;
        Ok(version)
    }
}
