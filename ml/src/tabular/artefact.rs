//! A model as one document: what it is, what it was learnt from, how good it is, and the model itself.
//!
//! The document is an envelope of two fields, the SHA-256 of the artefact's text and that text, so that the digest is of
//! bytes and not of somebody's way to write numbers. What is read is checked before it is asked anything.

use super::dataset::{Labelled, Schema, hexadecimal};
use super::drift::Baseline;
use super::metrics::Metrics;
use super::model::{Fitted, MemberReport, Model, Params, TrainError};
use super::seen::SeenRows;
use super::validate::Validation;
use models::ts::Ts;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::io::{Read, Write};

/// Version of the document; one of format 1 did not know its rows, one of format 2 no member on steps.
pub const FORMAT: u32 = 3;
/// Bytes of a document.
pub const BYTES_MAX: u64 = 256 << 20;

/// What is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Is a transaction fraudulent? Rows are in order of time.
    TransactionRisk,
    /// Is a player at risk? A row a player.
    PlayerRisk,
}

impl Kind {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TransactionRisk => "transaction_risk",
            Self::PlayerRisk => "player_risk",
        }
    }
}

/// When what was learnt from happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// First instant.
    pub from: Ts,
    /// First instant behind.
    pub to: Ts,
}

/// A feature's weight in the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    /// Its name; of one that was made, the two it was made of.
    pub feature: String,
    /// Mean size of its part of the log-odds.
    pub mean_part: f64,
    /// Share of the boosters' gain.
    pub gain_share: f64,
}

/// A model with its papers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Artefact {
    /// [`FORMAT`].
    pub format: u32,
    /// What it predicts.
    pub kind: Kind,
    /// When its rows happened, as the caller said.
    pub window: Option<Window>,
    /// SHA-256 of the training table, hexadecimal.
    pub data_sha256: String,
    /// Its rows, as far as they are remembered.
    pub seen: SeenRows,
    /// Columns, and which label scores high.
    pub schema: Schema,
    /// How it was learnt; the seed among it.
    pub params: Params,
    /// On rows held out while it was learnt.
    pub metrics: Metrics,
    /// What learning again has shown; None where it was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// Members that were asked.
    pub members: Vec<MemberReport>,
    /// Trees of each booster.
    pub rounds: usize,
    /// Features, weightiest first.
    pub importance: Vec<Importance>,
    /// What its rows looked like.
    pub baseline: Baseline,
    /// The model.
    pub model: Model,
}

/// Why a document is no model.
#[derive(Debug, thiserror::Error)]
pub enum ArtefactError {
    /// The reader or writer failed.
    #[error("the artefact cannot be read or written: {0}")]
    Io(#[from] std::io::Error),
    /// More than [`BYTES_MAX`].
    #[error("the artefact is larger than {BYTES_MAX} bytes")]
    TooLarge,
    /// No such document.
    #[error("not an artefact: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Another version of the document.
    #[error("an artefact of format {0}, this program reads {FORMAT}")]
    Format(u32),
    /// The text is not the one that was written.
    #[error("the artefact's digest is not that of its text")]
    Digest,
    /// Its parts do not fit each other.
    #[error("the artefact's parts do not fit each other")]
    Unsound,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    sha256: String,
    artefact: Box<RawValue>,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

impl Artefact {
    /// Learns a model from rows with labels.
    ///
    /// # Errors
    /// What training says.
    pub fn train(
        kind: Kind,
        schema: Schema,
        data: &Labelled,
        params: Params,
        window: Option<Window>,
    ) -> Result<Self, TrainError> {
        let Fitted { model, metrics, members, rounds, held_out } = Model::fit(data, &params)?;
        let names = model.names(&schema.features());
        let parts = model.importance(&data.table.values);
        let mut importance: Vec<Importance> = names
            .into_iter()
            .zip(parts)
            .map(|(feature, (mean_part, gain_share))| Importance { feature, mean_part, gain_share })
            .collect();
        importance.sort_by(|a, b| b.mean_part.total_cmp(&a.mean_part));
        Ok(Self {
            format: FORMAT,
            kind,
            window,
            data_sha256: data.sha256.clone(),
            seen: SeenRows::of(&data.table.values),
            schema,
            params,
            metrics,
            validation: None,
            members,
            rounds,
            importance,
            baseline: Baseline::of(&data.table.values, &held_out),
            model,
        })
    }

    /// Learns again from the rows it was learnt from: see [`Validation`].
    #[must_use]
    pub fn validated(mut self, data: &Labelled) -> Self {
        self.validation = Some(Validation::of(data, &self.params));
        self
    }

    /// Writes the document; answers with its digest.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write(&self, mut writer: impl Write) -> Result<String, ArtefactError> {
        let text = serde_json::to_string(self)?;
        let sha256 = hexadecimal(digest(&SHA256, text.as_bytes()).as_ref());
        let envelope = Envelope { sha256: sha256.clone(), artefact: RawValue::from_string(text)? };
        serde_json::to_writer(&mut writer, &envelope)?;
        writer.flush()?;
        Ok(sha256)
    }

    /// Reads a document; answers with its digest, too.
    ///
    /// # Errors
    /// Whatever is wrong with it.
    pub fn read(reader: impl Read) -> Result<(Self, String), ArtefactError> {
        let mut bytes = Vec::new();
        reader.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > BYTES_MAX {
            return Err(ArtefactError::TooLarge);
        }
        let envelope: Envelope = serde_json::from_slice(&bytes)?;
        let text = envelope.artefact.get();
        if hexadecimal(digest(&SHA256, text.as_bytes()).as_ref()) != envelope.sha256 {
            return Err(ArtefactError::Digest);
        }
        let FormatOnly { format } = serde_json::from_str(text)?;
        if format != FORMAT {
            return Err(ArtefactError::Format(format));
        }
        let artefact: Self = serde_json::from_str(text)?;
        let features = artefact.schema.features().len();
        let fits = artefact.model.features() == features;
        let is_sound = artefact.model.is_sound() && artefact.seen.is_sound() && artefact.baseline.is_sound(features);
        if !fits || !is_sound {
            return Err(ArtefactError::Unsound);
        }
        Ok((artefact, envelope.sha256))
    }
}

#[cfg(test)]
#[path = "artefact_tests.rs"]
mod tests;
