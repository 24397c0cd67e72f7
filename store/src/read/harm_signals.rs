//! Reads about signs of harm that operators were told of.

use super::parse;
use crate::StoreError;
use crate::contacts::{match_key, places};
use crate::db::{Row, Val};
use crate::open::Store;
use models::harm_signal::{HarmSignal, NamedBy};
use models::ids::{HarmSignalId, OperatorNo};
use models::match_key::{KeyKind, MatchKey};
use models::ts::Ts;
use std::collections::HashMap;

/// Ids in one question: the texts of statements are few and stay prepared.
const IDS_AT_ONCE: usize = 32;

/// Which signs.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct HarmSignalQuery {
    pub operator: OperatorNo,
    /// From this instant on.
    pub from: Ts,
    /// Behind this one, the newest first; none = from the newest on.
    pub behind: Option<(Ts, HarmSignalId)>,
    pub limit: u32,
}

/// Of what a key was made, as the operator asked by it last.
fn named(row: &Row) -> Result<Option<NamedBy>, StoreError> {
    let (Some(kind), Some(digest_version)) = (row.int_opt(1)?, row.int_opt(2)?) else { return Ok(None) };
    let kind = u8::try_from(kind).ok().and_then(KeyKind::from_number);
    let kind = kind.ok_or(StoreError::Unreadable("kind of a key"))?;
    Ok(Some(NamedBy { kind, digest_version: digest_version as u8 }))
}

impl Store {
    /// Signs of harm of an operator as they stand, the newest first. `named` is filled in where the operator has asked about
    /// the player.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn harm_signals(&self, query: &HarmSignalQuery) -> Result<Vec<HarmSignal>, StoreError> {
        let sql = "SELECT h.body, c.kind, c.digest_version FROM harm_signals h LEFT JOIN operator_contacts c ON c.match_key = h.player AND c.operator_no = h.operator_no WHERE h.operator_no = $1 AND h.since_at >= $2 AND (h.since_at < $3 OR (h.since_at = $3 AND h.id < $4)) ORDER BY h.since_at DESC, h.id DESC LIMIT $5";
        let HarmSignalQuery { operator, from, behind, limit } = *query;
        let (before, id) = behind.map_or((i64::MAX, String::new()), |(at, id)| (at.0, id.to_string()));
        let values =
            [Val::Int(operator.0.into()), Val::Int(from.0), Val::Int(before), Val::Owned(id), Val::Int(limit.into())];
        let signal = |row: &Row| {
            let signal: HarmSignal = parse("sign of harm", &row.text(0)?)?;
            let asked = named(row)?;
            Ok(HarmSignal { named: signal.named.or(asked), ..signal })
        };
        self.rows(sql, &values).await?.iter().map(signal).collect()
    }

    /// What keys were made of by which an operator has asked about players, as far as that is known: with it the operator's own
    /// tokens of them can be made.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn contacts_named(
        &self,
        operator: OperatorNo,
        keys: &[MatchKey],
    ) -> Result<HashMap<MatchKey, NamedBy>, StoreError> {
        let sql = format!(
            "SELECT match_key, kind, digest_version FROM operator_contacts WHERE operator_no = $1 AND match_key IN ({})",
            places(2, IDS_AT_ONCE)
        );
        let mut known = HashMap::new();
        for chunk in keys.chunks(IDS_AT_ONCE) {
            // padded with its last one, so that there is one statement
            let last = chunk[chunk.len() - 1];
            let padded = chunk.iter().copied().chain(std::iter::repeat_n(last, IDS_AT_ONCE - chunk.len()));
            let mut values = vec![Val::Int(operator.0.into())];
            values.extend(padded.map(|key| Val::Bytes(key.to_bytes().to_vec())));
            for row in self.rows(&sql, &values).await? {
                if let Some(named) = named(&row)? {
                    known.insert(match_key(row.bytes(0)?)?, named);
                }
            }
        }
        Ok(known)
    }

    /// A sign of harm as it stands.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn harm_signal(&self, id: HarmSignalId) -> Result<Option<HarmSignal>, StoreError> {
        let rows = self.rows("SELECT body FROM harm_signals WHERE id = $1", &[Val::Owned(id.to_string())]).await?;
        rows.first().map(|row| parse("sign of harm", &row.text(0)?)).transpose()
    }

    /// How often signs of harm were told, of those that are stored.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn harm_signal_revisions(&self, ids: &[HarmSignalId]) -> Result<HashMap<HarmSignalId, u32>, StoreError> {
        let sql = format!("SELECT id, revision FROM harm_signals WHERE id IN ({})", places(1, IDS_AT_ONCE));
        let mut known = HashMap::new();
        for chunk in ids.chunks(IDS_AT_ONCE) {
            // padded with its last one, so that there is one statement
            let last = chunk[chunk.len() - 1];
            let padded = chunk.iter().copied().chain(std::iter::repeat_n(last, IDS_AT_ONCE - chunk.len()));
            let values: Vec<Val<'_>> = padded.map(|id| Val::Owned(id.to_string())).collect();
            for row in self.rows(&sql, &values).await? {
                let id = row.text(0)?.parse().map_err(|_| StoreError::Unreadable("id of a sign of harm"))?;
                known.insert(id, row.int(1)? as u32);
            }
        }
        Ok(known)
    }
}
