//! Tables in, scores out: what the commands `mlinzi model fraud`, `risk`, `train` and `evaluate` call.

use super::artefact::{Artefact, Kind, Window};
use super::dataset::{Schema, TableError};
use super::metrics::Metrics;
use super::model::{Params, TrainError};
use super::seen::Compared;
use std::io::{Read, Write};
use std::time::Duration;

/// Why a command ends.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The table to learn from.
    #[error("training table: {0}")]
    Training(#[source] TableError),
    /// The table to score or to judge by.
    #[error("table to score: {0}")]
    Scoring(#[source] TableError),
    /// Training.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The table has rows of one label alone, so nothing can be ranked.
    #[error("a table to evaluate on needs rows of both labels")]
    OneClass,
    /// The writer failed.
    #[error("the scores cannot be written: {0}")]
    Write(#[from] std::io::Error),
}

/// Learns a model from a table: an id first, the label last.
///
/// # Errors
/// What is wrong with the table, or with learning from it.
pub fn train(kind: Kind, table: impl Read, window: Option<Window>, seed: u64) -> Result<Artefact, BatchError> {
    let (schema, data) = Schema::learn(table).map_err(BatchError::Training)?;
    Ok(Artefact::train(kind, schema, &data, Params::of(kind, seed), window)?)
}

/// `mlinzi model train`: the same, and learns again to see whether it holds elsewhere and later
/// ([`super::validate::Validation`]).
///
/// # Errors
/// What is wrong with the table, or with learning from it.
pub fn train_validated(
    kind: Kind,
    table: impl Read,
    window: Option<Window>,
    seed: u64,
) -> Result<Artefact, BatchError> {
    let (schema, data) = Schema::learn(table).map_err(BatchError::Training)?;
    Ok(Artefact::train(kind, schema, &data, Params::of(kind, seed), window)?.validated(&data))
}

/// Scores a table: writes its id column's name and `score`, and a line a row in their order. Answers with the rows.
///
/// # Errors
/// What is wrong with the table, or with writing.
pub fn score(artefact: &Artefact, table: impl Read, output: impl Write) -> Result<usize, BatchError> {
    let table = artefact.schema.read(table).map_err(BatchError::Scoring)?;
    let mut csv = csv::Writer::from_writer(output);
    let wrong = |e: csv::Error| BatchError::Write(std::io::Error::other(e));
    csv.write_record([table.id.as_str(), "score"]).map_err(wrong)?;
    for (id, score) in table.ids.iter().zip(artefact.model.scores(table.values.view())) {
        csv.write_record([id.as_str(), &score.to_string()]).map_err(wrong)?;
    }
    csv.flush()?;
    Ok(table.ids.len())
}

/// `mlinzi model fraud|risk`: learns from one table and scores another. Answers with what was learnt.
///
/// # Errors
/// What is wrong with either table, with learning, or with writing.
pub fn train_and_score(
    kind: Kind,
    training: impl Read,
    table: impl Read,
    output: impl Write,
    seed: u64,
) -> Result<Artefact, BatchError> {
    let artefact = train(kind, training, None, seed)?;
    score(&artefact, table, output)?;
    Ok(artefact)
}

/// `mlinzi model evaluate`: how good a model is on a table with labels that it has not seen.
///
/// # Errors
/// What is wrong with the table.
pub fn evaluate(artefact: &Artefact, table: impl Read) -> Result<Metrics, BatchError> {
    judge(artefact, table).map(|judgement| judgement.metrics)
}

/// What a table says of a model, and whether it may.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// How good it is on the table.
    pub metrics: Metrics,
    /// SHA-256 of the table's bytes, hexadecimal.
    pub data_sha256: String,
    /// Its rows beside those that the model was learnt from: on those it is not judged.
    pub compared: Compared,
}

/// The same as [`evaluate`], and which table it was: one that a model was learnt from judges nothing.
///
/// # Errors
/// What is wrong with the table.
pub fn judge(artefact: &Artefact, table: impl Read) -> Result<Judgement, BatchError> {
    let data = artefact.schema.read_labelled(table).map_err(BatchError::Scoring)?;
    let scores = artefact.model.scores(data.table.values.view());
    let metrics = Metrics::of(&scores, &data.labels).ok_or(BatchError::OneClass)?;
    let compared = artefact.seen.compare(&data.table.values);
    Ok(Judgement { metrics, data_sha256: data.sha256, compared })
}

/// What training and scoring cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// From the table's bytes to the artefact.
    pub train: Duration,
    /// Rows scored one by one.
    pub rows: usize,
    /// Half of the rows took at most this.
    pub score_p50: Duration,
    /// 99 of 100 rows took at most this.
    pub score_p99: Duration,
    /// No row took longer.
    pub score_max: Duration,
}

/// Measures training and the scoring of single rows, by the caller's clock (time since any beginning).
///
/// # Errors
/// What is wrong with either table, or with learning.
pub fn cost(
    kind: Kind,
    training: impl Read,
    table: impl Read,
    mut clock: impl FnMut() -> Duration,
) -> Result<Cost, BatchError> {
    let begin = clock();
    let artefact = train(kind, training, None, 1)?;
    let train = clock().saturating_sub(begin);
    let table = artefact.schema.read(table).map_err(BatchError::Scoring)?;
    let mut times = Vec::with_capacity(table.ids.len());
    let mut kept = 0.0;
    for row in table.values.rows() {
        let row = row.to_vec();
        let begin = clock();
        kept += std::hint::black_box(artefact.model.score(std::hint::black_box(&row)));
        times.push(clock().saturating_sub(begin));
    }
    std::hint::black_box(kept);
    times.sort_unstable();
    let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
    let at = |percent: usize| at(percent).copied().unwrap_or_default();
    Ok(Cost { train, rows: times.len(), score_p50: at(50), score_p99: at(99), score_max: at(100) })
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
