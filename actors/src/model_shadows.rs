//! Versions of models in the shadow: who lets one score there, and who ends it.

use crate::api::EngineError;
use crate::register::commit_error;
use crate::risk_models::{NoScorer, away, known, named, named_who, scorer_of};
use crate::writer::WriterHandle;
use models::event::Event;
use models::jurisdiction::JurisdictionNo;
use models::model_shadow::{ModelShadowEnded, ModelShadowStarted};
use models::risk_model::{ModelKind, ModelState, REASON_CHARS_MAX};
use models::who::Who;
use store::Store;

/// What happens to the shadow of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShadowStep {
    /// It begins.
    Start,
    /// It ends.
    End,
}

/// What is journaled where a person begins or ends the shadow of a version in a jurisdiction. One person is enough: nobody hears of its
/// scores.
///
/// # Errors
/// There is no such version, it scores already, is retired or cannot score here; another one of the kind is in the shadow;
/// or this one is not.
pub async fn step(
    store: &Store,
    jurisdiction: JurisdictionNo,
    (kind, version): (ModelKind, u32),
    step: ShadowStep,
    (by, reason): (&Who, &str),
) -> Result<Event, EngineError> {
    let (Who { name: by, key: by_key }, reason) = (named_who(by)?, named("/reason", reason, REASON_CHARS_MAX)?);
    let stored = known(store, jurisdiction, (kind, version)).await?;
    let place = Some(jurisdiction);
    let conflict = |why: &str| Err(EngineError::Conflict(why.to_owned()));
    if step == ShadowStep::End {
        return match stored.shadow {
            Some(_) => {
                let ended = ModelShadowEnded { kind, version, jurisdiction: place, by, by_key, reason };
                Ok(Event::ModelShadowEnded(ended))
            }
            None => conflict("this version is not in the shadow"),
        };
    }
    match stored.state {
        ModelState::Promoted => return conflict("this version scores already, for all to hear"),
        ModelState::Retired => return conflict("this version is retired"),
        ModelState::Registered | ModelState::Replaced => {}
    }
    if let Some(other) = store.shadow_model(jurisdiction, kind).await.map_err(|error| away(&error))? {
        let other = other.model.version;
        return conflict(&format!("version {other} is in the shadow: one of a kind at a time"));
    }
    scorer_of(store, &stored.model).await.map_err(|error| match error {
        NoScorer::Store(error) => away(&error),
        why => EngineError::Conflict(format!("it cannot score here: {why}")),
    })?;
    Ok(Event::ModelShadowStarted(ModelShadowStarted { kind, version, jurisdiction: place, by, by_key, reason }))
}

/// Begins or ends the shadow of a version, for a tool.
///
/// # Errors
/// As of [`step`].
pub async fn take_step(
    store: &Store,
    writer: &WriterHandle,
    jurisdiction: JurisdictionNo,
    which: (ModelKind, u32),
    of: ShadowStep,
    said: (&Who, &str),
) -> Result<(), EngineError> {
    let event = step(store, jurisdiction, which, of, said).await?;
    writer.commit(vec![event], Vec::new()).await.map(drop).map_err(commit_error)
}

#[cfg(test)]
#[path = "model_shadows_tests.rs"]
mod tests;
