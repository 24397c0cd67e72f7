//! Commands on models: register an artefact with its papers, promote a version, go back to the one before, retire one;
//! read one to score with. What is registered and judged is of the node; who scores is of each jurisdiction.

use crate::api::EngineError;
use crate::directory::Directory;
use crate::register::commit_error;
use crate::scoring::{Scorer, check_schema, kind_of};
use crate::second_person;
use crate::writer::WriterHandle;
use ml::tabular::artefact::{Artefact, BYTES_MAX};
use ml::tabular::batch::Judgement;
use ml::tabular::metrics::Metrics;
use models::alert::Window;
use models::event::Event;
use models::jurisdiction::JurisdictionNo;
use models::model_life::{self, way_back};
use models::risk_model::{
    CARD_BYTES_MAX, Model, ModelEvaluated, ModelEvaluation, ModelForecast, ModelKind, ModelMetrics, ModelPromoted,
    ModelRetired, ModelRollback, ModelState, NAME_CHARS_MAX, REASON_CHARS_MAX, RowsCompared,
};
use models::who::Who;
use std::io::Read;
use store::{Attachment, MODEL_BYTES_MAX, ModelBytes, Store, StoreError, StoredModel};

/// How hard zstd tries: an artefact is packed once.
const LEVEL: i32 = 9;

fn invalid(pointer: &'static str, detail: &dyn ToString) -> EngineError {
    EngineError::Invalid { pointer, detail: detail.to_string() }
}

pub(crate) fn away(error: &StoreError) -> EngineError {
    tracing::warn!(%error, "models cannot be read");
    EngineError::Unavailable("the database")
}

pub(crate) fn named(pointer: &'static str, text: &str, chars_max: usize) -> Result<String, EngineError> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > chars_max || text.chars().any(char::is_control) {
        return Err(invalid(
            pointer,
            &format!("empty, longer than {chars_max} characters, or with control characters"),
        ));
    }
    Ok(text.to_owned())
}

/// Who does something, with a name that may be stored; that of a key is.
pub(crate) fn named_who(by: &Who) -> Result<Who, EngineError> {
    if by.key.is_some() {
        return Ok(by.clone());
    }
    Ok(Who::typed(named("/by", &by.name, NAME_CHARS_MAX)?))
}

fn ppm(share: f64) -> u32 {
    (share.clamp(0.0, 1.0) * 1e6).round() as u32
}

/// Metrics as the journal holds them.
#[must_use]
pub fn metrics_of(metrics: &Metrics) -> ModelMetrics {
    ModelMetrics {
        rows: metrics.rows as u64,
        positives: metrics.positives as u64,
        auc_ppm: ppm(metrics.auc),
        average_precision_ppm: ppm(metrics.average_precision),
        brier_ppm: ppm(metrics.brier),
        calibration_error_ppm: ppm(metrics.calibration_error),
    }
}

fn pack(document: &[u8]) -> Result<Vec<u8>, EngineError> {
    let bytes = zstd::encode_all(document, LEVEL).map_err(|error| invalid("/artefact", &error))?;
    if bytes.len() > MODEL_BYTES_MAX {
        return Err(invalid("/artefact", &format!("larger than {MODEL_BYTES_MAX} bytes when packed")));
    }
    Ok(bytes)
}

fn unpack(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut document = Vec::new();
    zstd::Decoder::new(bytes)?.take(BYTES_MAX + 1).read_to_end(&mut document)?;
    Ok(document)
}

fn evaluation_of(judged: Judgement) -> ModelEvaluation {
    let Judgement { metrics, data_sha256, compared } = judged;
    let compared = Some(RowsCompared { rows: compared.rows, seen: compared.seen });
    ModelEvaluation { data_sha256, metrics: metrics_of(&metrics), compared }
}

/// Registers an artefact's document. `evaluation`: what a table of its own says of it.
///
/// # Errors
/// The document is no artefact, was learnt from other features than this program makes, or is registered already.
pub async fn register(
    store: &Store,
    writer: &WriterHandle,
    document: &[u8],
    evaluation: Option<Judgement>,
    by: &Who,
) -> Result<Model, EngineError> {
    let Who { name, key } = named_who(by)?;
    let (artefact, artefact_sha256) = Artefact::read(document).map_err(|error| invalid("/artefact", &error))?;
    let schema_sha256 = check_schema(&artefact).map_err(|error| invalid("/artefact", &error))?;
    let kind = kind_of(&artefact);
    let known = store.model_papers().await.map_err(|error| away(&error))?;
    if let Some(same) = known.iter().find(|known| known.artefact_sha256 == artefact_sha256) {
        let Model { kind, version, .. } = same;
        let why = format!("this artefact is registered, as version {version} of {}", kind.as_str());
        return Err(EngineError::Conflict(why));
    }
    let card = artefact.card(&artefact_sha256);
    if card.len() > CARD_BYTES_MAX {
        return Err(invalid("/artefact", &format!("its card is longer than {CARD_BYTES_MAX} bytes")));
    }
    let last = known.iter().filter(|known| known.kind == kind).map(|known| known.version).max();
    let model = Model {
        kind,
        version: last.unwrap_or(0) + 1,
        artefact_sha256,
        schema_sha256,
        data_sha256: artefact.data_sha256.clone(),
        features: artefact.schema.features().len() as u32,
        bytes: document.len() as u64,
        trained_on: artefact.window.map(|window| Window { start: window.from, end: window.to }),
        held_out: metrics_of(&artefact.metrics),
        evaluation: evaluation.map(evaluation_of),
        by: name,
        by_key: key,
        evaluated_by: None,
        card,
    };
    let bytes = ModelBytes { kind, version: model.version, bytes: pack(document)? };
    let event = Event::ModelRegistered(Box::new(model.clone()));
    writer.commit(vec![event], vec![Attachment::ModelBytes(bytes)]).await.map_err(commit_error)?;
    Ok(model)
}

/// A version, and what became of it in a jurisdiction.
pub(crate) async fn known(
    store: &Store,
    jurisdiction: JurisdictionNo,
    which: (ModelKind, u32),
) -> Result<StoredModel, EngineError> {
    store.model(jurisdiction, which).await.map_err(|error| away(&error))?.ok_or(EngineError::NotFound("model"))
}

/// The artefact of a registered version, to have it judged on a table of its own.
///
/// # Errors
/// There is none, it scores already somewhere or is retired everywhere, or what is stored is not what was registered.
pub async fn unjudged(store: &Store, directory: &Directory, which: (ModelKind, u32)) -> Result<Artefact, EngineError> {
    let model = judgeable(store, directory, which).await?;
    artefact_of(store, &model).await.map_err(|error| match error {
        NoScorer::Store(error) => away(&error),
        why => EngineError::Conflict(why.to_string()),
    })
}

async fn judgeable(
    store: &Store,
    directory: &Directory,
    (kind, version): (ModelKind, u32),
) -> Result<Model, EngineError> {
    let model = store.papers_of_model((kind, version)).await.map_err(|error| away(&error))?;
    let model = model.ok_or(EngineError::NotFound("model"))?;
    let acts = store.all_model_acts(kind).await.map_err(|error| away(&error))?;
    let judged = model_life::judgeable(&acts, &directory.jurisdictions_in_use(), version);
    judged.map_err(|why| EngineError::Conflict(why.to_string()))?;
    Ok(model)
}

/// Puts into the papers of a registered version what a table of its own says of it, in the place of what was said before.
/// Gives the papers.
///
/// # Errors
/// There is none, it scores already somewhere or is retired everywhere.
pub async fn evaluate(
    store: &Store,
    writer: &WriterHandle,
    directory: &Directory,
    (kind, version): (ModelKind, u32),
    judged: Judgement,
    by: &Who,
) -> Result<Model, EngineError> {
    let by = named_who(by)?;
    let model = judgeable(store, directory, (kind, version)).await?;
    let evaluation = evaluation_of(judged);
    let event = ModelEvaluated { kind, version, evaluation: evaluation.clone(), by: by.clone() };
    writer.commit(vec![Event::ModelEvaluated(event)], Vec::new()).await.map_err(commit_error)?;
    Ok(Model { evaluation: Some(evaluation), evaluated_by: Some(by), ..model })
}

/// Makes a version the one that scores in a jurisdiction. A second person does it, and only with a version that is validated.
/// What is expected of it says [`crate::model_forecasts`].
///
/// # Errors
/// It is not validated, was registered or judged by the same person, one of both people is known by a typed name alone
/// where there are keys that could say it, or it is retired, or scores already.
pub async fn promote(
    store: &Store,
    writer: &WriterHandle,
    directory: &Directory,
    jurisdiction: JurisdictionNo,
    which: (ModelKind, u32),
    by: &Who,
    forecasts: Vec<ModelForecast>,
) -> Result<(), EngineError> {
    let event = promotion(store, directory, jurisdiction, which, by, forecasts).await?;
    writer.commit(vec![event], Vec::new()).await.map(|_| ()).map_err(commit_error)
}

/// What is journaled of a promotion.
///
/// # Errors
/// As of [`promote`].
pub async fn promotion(
    store: &Store,
    directory: &Directory,
    jurisdiction: JurisdictionNo,
    (kind, version): (ModelKind, u32),
    by: &Who,
    forecasts: Vec<ModelForecast>,
) -> Result<Event, EngineError> {
    let by = named_who(by)?;
    let stored = known(store, jurisdiction, (kind, version)).await?;
    match stored.state {
        ModelState::Promoted => return Err(EngineError::Conflict("this version scores already".to_owned())),
        ModelState::Retired => return Err(EngineError::Conflict("this version is retired".to_owned())),
        ModelState::Registered | ModelState::Replaced => {}
    }
    second_person::second(directory, &stored.model, &by)?;
    let refused = |error: &dyn ToString| EngineError::Conflict(format!("it is not validated: {}", error.to_string()));
    stored.model.validated().map_err(|error| refused(&error))?;
    // what this program cannot score with must not take the place of what it can
    scorer_of(store, &stored.model).await.map_err(|error| refused(&error))?;
    second_person::both_proven(directory, &stored.model, &by)?;
    let Who { name: by, key: by_key } = by;
    let jurisdiction = Some(jurisdiction);
    Ok(Event::ModelPromoted(ModelPromoted { kind, version, jurisdiction, by, by_key, rollback: None, forecasts }))
}

/// Lets the version that scored in a jurisdiction before the present one score there again. One person is enough: it was
/// seconded when it was promoted. Gives its number.
///
/// # Errors
/// There is none, it was gone back from itself, is retired, or does not score any more.
pub async fn roll_back(
    store: &Store,
    writer: &WriterHandle,
    of: (JurisdictionNo, ModelKind),
    by: &Who,
    reason: &str,
) -> Result<u32, EngineError> {
    let (version, event) = rollback(store, of, by, reason).await?;
    writer.commit(vec![event], Vec::new()).await.map_err(commit_error)?;
    Ok(version)
}

/// The version that scores again, and what is journaled of it.
///
/// # Errors
/// As of [`roll_back`].
pub async fn rollback(
    store: &Store,
    (jurisdiction, kind): (JurisdictionNo, ModelKind),
    by: &Who,
    reason: &str,
) -> Result<(u32, Event), EngineError> {
    let (Who { name: by, key: by_key }, reason) = (named_who(by)?, named("/reason", reason, REASON_CHARS_MAX)?);
    let acts = store.model_acts(jurisdiction, kind).await.map_err(|error| away(&error))?;
    let (from, version) = way_back(&acts).map_err(|why| EngineError::Conflict(why.to_string()))?;
    let stored = known(store, jurisdiction, (kind, version)).await?;
    // what this program cannot score with must not take the place of what it can
    scorer_of(store, &stored.model).await.map_err(|error| match error {
        NoScorer::Store(error) => away(&error),
        why => EngineError::Conflict(format!("the version before, {version}, does not score any more: {why}")),
    })?;
    let (rollback, forecasts) = (Some(ModelRollback { from, reason }), Vec::new());
    let jurisdiction = Some(jurisdiction);
    let back = ModelPromoted { kind, version, jurisdiction, by, by_key, rollback, forecasts };
    Ok((version, Event::ModelPromoted(back)))
}

/// Takes a version out of use in a jurisdiction for good; where it scored, nothing scores afterwards.
///
/// # Errors
/// There is none, or it is retired.
pub async fn retire(
    store: &Store,
    writer: &WriterHandle,
    jurisdiction: JurisdictionNo,
    which: (ModelKind, u32),
    by: &Who,
    reason: &str,
) -> Result<(), EngineError> {
    let event = retirement(store, jurisdiction, which, by, reason).await?;
    writer.commit(vec![event], Vec::new()).await.map(|_| ()).map_err(commit_error)
}

/// What is journaled of a retirement.
///
/// # Errors
/// As of [`retire`].
pub async fn retirement(
    store: &Store,
    jurisdiction: JurisdictionNo,
    (kind, version): (ModelKind, u32),
    by: &Who,
    reason: &str,
) -> Result<Event, EngineError> {
    let (Who { name: by, key: by_key }, reason) = (named_who(by)?, named("/reason", reason, REASON_CHARS_MAX)?);
    if known(store, jurisdiction, (kind, version)).await?.state == ModelState::Retired {
        return Err(EngineError::Conflict("this version is retired".to_owned()));
    }
    let jurisdiction = Some(jurisdiction);
    Ok(Event::ModelRetired(ModelRetired { kind, version, jurisdiction, by, by_key, reason }))
}

/// Why a stored version cannot score.
#[derive(Debug, thiserror::Error)]
pub enum NoScorer {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its bytes are not what was registered.
    #[error("the stored artefact is not the one that was registered: {0}")]
    Damaged(String),
    /// It does not fit this program.
    #[error(transparent)]
    Unfit(#[from] crate::scoring::UnfitModel),
}

/// Reads a stored version and holds it against its papers.
///
/// # Errors
/// [`NoScorer`]
pub async fn scorer_of(store: &Store, model: &Model) -> Result<Scorer, NoScorer> {
    Ok(Scorer::new(model.version, artefact_of(store, model).await?)?)
}

async fn artefact_of(store: &Store, model: &Model) -> Result<Artefact, NoScorer> {
    let Model { kind, version, artefact_sha256, .. } = model;
    let damaged = |error: &dyn ToString| NoScorer::Damaged(error.to_string());
    let document = unpack(&store.model_bytes(*kind, *version).await?).map_err(|error| damaged(&error))?;
    let (artefact, sha256) = Artefact::read(document.as_slice()).map_err(|error| damaged(&error))?;
    if sha256 != *artefact_sha256 {
        return Err(damaged(&"another digest"));
    }
    Ok(artefact)
}

#[cfg(test)]
#[path = "risk_models_tests.rs"]
pub(crate) mod tests;
