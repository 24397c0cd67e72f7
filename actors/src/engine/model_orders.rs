//! Which models score in each jurisdiction: read at the start and whenever one is promoted, gone back to or retired; and what
//! people do with them.

use super::{Engine, StartError};
use crate::api::{EngineError, IdempotencyKey};
use crate::idempotency;
use crate::model_forecasts;
use crate::register::{commit_error, section};
use crate::risk_levels::PLAYERS_MAX;
use crate::risk_models::{self, NoScorer};
use crate::rules::Promoted;
use crate::scoring::Scorer;
use models::jurisdiction::{Jurisdiction, JurisdictionNo};
use models::risk_model::{Model, ModelKind};
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
    /// Where.
    pub jurisdiction: JurisdictionNo,
    /// What it predicts.
    pub kind: ModelKind,
    /// What is done.
    pub command: ModelCommand,
    /// Who wants it.
    pub by: Who,
}

impl Engine {
    /// The jurisdiction that is named; where none is, all of them.
    pub(super) fn places(&self, named: Option<JurisdictionNo>) -> Vec<JurisdictionNo> {
        let all = Jurisdiction::numbered(&self.directory().jurisdictions).map(|(no, _)| no).collect();
        named.map_or(all, |no| vec![no])
    }

    /// A version to score with. One that scores in some jurisdiction already is not read again.
    pub(super) async fn scorer(&self, model: &Model) -> Result<Scorer, NoScorer> {
        match self.0.rules_context.models.scorer((model.kind, model.version)) {
            Some(scorer) => Ok(scorer),
            None => risk_models::scorer_of(&self.0.store, model).await,
        }
    }

    /// Reads the version of a kind that scores in a jurisdiction. One that does already goes on: what is counted of its day
    /// stays. An artefact that cannot be read scores nothing, and that is told: an operator's records must not wait for it.
    pub(super) async fn take_model(&self, jurisdiction: JurisdictionNo, kind: ModelKind) -> Result<(), StartError> {
        let (store, models) = (&self.0.store, self.0.rules_context.models.of(jurisdiction));
        let stored = store.promoted_model(jurisdiction, kind).await?;
        let since = match &stored {
            Some(stored) => store.model_promoted_at(jurisdiction, (kind, stored.model.version)).await?,
            None => None,
        };
        let wanted = stored.as_ref().map(|stored| stored.model.version).zip(since);
        if wanted.is_some() && wanted == models.promoted(kind) {
            return Ok(());
        }
        let place = self.code_of(jurisdiction);
        let (mut promoted, mut is_unreadable) = (None, false);
        if let (Some(stored), Some(since)) = (&stored, since) {
            match self.scorer(&stored.model).await {
                Ok(scorer) => promoted = Some(Promoted { scorer, since }),
                Err(NoScorer::Store(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::error!(kind = kind.as_str(), %place, %error, "the promoted model does not score");
                    is_unreadable = true;
                }
            }
        }
        self.0.metrics.models.not_scoring.with_label_values(&[kind.as_str(), &place]).set(is_unreadable.into());
        let version = promoted.as_ref().map(|promoted| promoted.scorer.version());
        tracing::info!(kind = kind.as_str(), %place, version, "this version of the model scores");
        models.set(kind, promoted);
        Ok(())
    }

    /// The code of a jurisdiction, for logs and metrics.
    pub(super) fn code_of(&self, jurisdiction: JurisdictionNo) -> String {
        self.directory().jurisdiction(jurisdiction).map_or_else(String::new, |known| known.code.clone())
    }

    /// By which version of the model of player risk lookups go in a jurisdiction, before anything is heard there.
    pub(super) async fn begin_risk_levels(&self, jurisdiction: JurisdictionNo) -> Result<(), StartError> {
        let stored = self.0.store.promoted_model(jurisdiction, ModelKind::PlayerRisk).await?;
        self.directory().risk_levels.go_by(jurisdiction, stored.map(|stored| stored.model.version));
        self.load_risk_levels(jurisdiction).await
    }

    /// What the promoted version of the model of player risk said last in a jurisdiction, for lookups: nothing if another
    /// one is promoted, or none, by the time it is read.
    pub(super) async fn load_risk_levels(&self, jurisdiction: JurisdictionNo) -> Result<(), StartError> {
        let store = &self.0.store;
        let Some(stored) = store.promoted_model(jurisdiction, ModelKind::PlayerRisk).await? else { return Ok(()) };
        let version = stored.model.version;
        let rows = store.player_scores(jurisdiction, version, PLAYERS_MAX as u32).await?;
        self.directory().risk_levels.fill(jurisdiction, version, rows);
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
        let ModelOrder { jurisdiction, kind, command, by } = order;
        let no = *jurisdiction;
        let (version, event) = match command {
            ModelCommand::Promote { version } => {
                let which = (*kind, *version);
                let directory = self.0.directory.load_full();
                let forecasts = model_forecasts::forecasts(store, &directory, no, which, clock).await?;
                (*version, risk_models::promotion(store, &directory, no, which, by, forecasts).await?)
            }
            ModelCommand::Retire { version, reason } => {
                (*version, risk_models::retirement(store, no, (*kind, *version), by, reason).await?)
            }
            ModelCommand::RollBack { reason } => risk_models::rollback(store, (no, *kind), by, reason).await?,
        };
        let attachment = idempotency::attachment(idempotency, 200, version, clock);
        writer.commit(vec![event], attachment.into_iter().collect()).await.map_err(commit_error)?;
        Ok(version)
    }
}
