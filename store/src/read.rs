//! Reads: what recovery, commands and lists need. The same SQL on both databases.

mod alerts;
mod classes;
mod compliance;
mod exclusion_reports;
mod feeds;
mod harm_signals;
mod held;
mod integrity;
mod live;
pub(crate) mod people;
mod rule_inputs;
mod rules;

pub use alerts::AlertQuery;
pub use classes::{
    ClassPage, ClassQuery, PlayerAccount, PlayerLimit, RowPlace, SalesDay, StoredBankLine, StoredInvoice,
    StoredLicence, StoredPayment,
};
pub use compliance::{ALERTS_OF_RULE_MAX, BatchSums, ComplianceSpan};
pub use exclusion_reports::{ExclusionReportQuery, ReportsWaiting};
pub use feeds::{OperatorInputRow, RecordDigest, StoredHead};
pub use harm_signals::HarmSignalQuery;
pub use held::{HELD_ROWS_MAX, HeldAlert, HeldBatch, HeldInput};
pub use integrity::{Arrivals, SourceSpan};
pub use people::{PackedPeople, PersonDossier, RegisterStats};
pub use rule_inputs::{AlteredInput, FindingsBy, RuleFindingQuery, RuleInputBatch, RuleInputHead, RuleInputRow};
pub use rules::{FindingCount, FindingRow, FindingsOf, RULES_OF_ALERTS};

use crate::StoreError;
use crate::db::{Row, Val};
use crate::open::Store;
use models::event::Event;
use models::feed::Source;
use models::ids::{KeyId, Seq};
use models::jurisdiction::{JurisdictionNo, Recognition};
use models::match_key::MatchKey;
use models::operator::{ApiKey, Licence, Operator};
use models::ts::Ts;
use serde::de::DeserializeOwned;

/// The stored result of an idempotent write.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct IdempotencyStored {
    pub body_digest: [u8; 32],
    pub status: u16,
    pub result_id: String,
}

/// First free numbers.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct NextNumbers {
    pub person_no: u32,
    pub operator_no: u16,
    pub source_no: u32,
}

fn bytes32(bytes: &[u8]) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Unreadable("digest"))
}

fn key_of(bytes: &[u8]) -> Result<MatchKey, StoreError> {
    Ok(MatchKey::from_bytes(bytes.try_into().map_err(|_| StoreError::Unreadable("match key"))?))
}

pub(crate) fn parse<T: DeserializeOwned>(what: &'static str, json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|_| StoreError::Unreadable(what))
}

fn unit<T: DeserializeOwned>(what: &'static str, name: &str) -> Result<T, StoreError> {
    parse(what, &format!("\"{name}\""))
}

pub(crate) fn unhex32(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut out = [0; 32];
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(out)
}

impl Store {
    pub(crate) async fn rows(&self, sql: &str, values: &[Val<'_>]) -> Result<Vec<Row>, StoreError> {
        Ok(self.db.read().await?.rows(sql, values).await?)
    }

    pub(crate) async fn int(&self, sql: &str, values: &[Val<'_>]) -> Result<i64, StoreError> {
        let rows = self.rows(sql, values).await?;
        Ok(rows.first().map_or(Ok(0), |row| row.int(0))?)
    }

    async fn bodies<T: DeserializeOwned>(&self, what: &'static str, sql: &str) -> Result<Vec<T>, StoreError> {
        self.rows(sql, &[]).await?.iter().map(|row| parse(what, &row.text(0)?)).collect()
    }

    /// Sequence of the journal's head.
    pub async fn head(&self) -> Result<Seq, StoreError> {
        self.int("SELECT seq FROM journal_head WHERE id = 1", &[]).await
    }

    /// Epoch of the alert topics: made once with the store.
    pub async fn epoch(&self) -> Result<String, StoreError> {
        let rows = self.rows("SELECT value FROM store_meta WHERE key = 'epoch'", &[]).await?;
        Ok(rows.first().ok_or(StoreError::Unreadable("epoch"))?.text(0)?)
    }

    /// Every operator.
    pub async fn operators(&self) -> Result<Vec<Operator>, StoreError> {
        self.bodies("operator", "SELECT body FROM operators ORDER BY operator_no").await
    }

    /// Every licence.
    pub async fn licences(&self) -> Result<Vec<Licence>, StoreError> {
        self.bodies("licence", "SELECT body FROM licences ORDER BY id").await
    }

    /// How operators and licences were set, in order, each with when it was committed.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn operators_and_licences_set(&self) -> Result<Vec<(Ts, Event)>, StoreError> {
        let sql = "SELECT at, payload FROM journal WHERE kind IN ('operator_set', 'licence_set') ORDER BY seq";
        let decode =
            |text: String| crate::journal::decode(&text).map_err(|_| StoreError::Unreadable("journal payload"));
        self.rows(sql, &[]).await?.iter().map(|row| Ok((Ts(row.int(0)?), decode(row.text(1)?)?))).collect()
    }

    /// The latest time at which one of the last hundred operators and licences was set: a clock that was set back since does not
    /// make it earlier. None where nobody has set any.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn operator_or_licence_set_last_at(&self) -> Result<Option<Ts>, StoreError> {
        let sql = "SELECT at FROM journal WHERE kind IN ('operator_set', 'licence_set') ORDER BY seq DESC LIMIT 100";
        let rows = self.rows(sql, &[]).await?;
        let times = rows.iter().map(|row| row.int(0).map(Ts)).collect::<Result<Vec<_>, _>>()?;
        Ok(times.into_iter().max())
    }

    /// Every recognition.
    pub async fn recognitions(&self) -> Result<Vec<Recognition>, StoreError> {
        let sql = "SELECT jurisdiction, recognises, valid_from, valid_to FROM recognitions ORDER BY valid_from";
        self.rows(sql, &[])
            .await?
            .iter()
            .map(|row| {
                Ok(Recognition {
                    jurisdiction: JurisdictionNo(row.int(0)? as u8),
                    recognises: JurisdictionNo(row.int(1)? as u8),
                    valid_from: Ts(row.int(2)?),
                    valid_to: row.int_opt(3)?.map(Ts),
                })
            })
            .collect()
    }

    /// Every source.
    pub async fn sources(&self) -> Result<Vec<Source>, StoreError> {
        self.bodies("source", "SELECT body FROM sources ORDER BY source_no").await
    }

    /// Every key with its sealed signing secret.
    pub async fn keys(&self) -> Result<Vec<(ApiKey, Vec<u8>)>, StoreError> {
        let sql = "SELECT k.body, s.sealed FROM api_keys k JOIN key_secrets s ON s.key_id = k.id ORDER BY k.id";
        self.rows(sql, &[]).await?.iter().map(|row| Ok((parse("key", &row.text(0)?)?, row.bytes(1)?))).collect()
    }

    /// A key's sealed signing secret.
    pub async fn key_secret(&self, id: KeyId) -> Result<Option<Vec<u8>>, StoreError> {
        let rows = self.rows("SELECT sealed FROM key_secrets WHERE key_id = $1", &[Val::Owned(id.to_string())]).await?;
        Ok(rows.first().map(|row| row.bytes(0)).transpose()?)
    }

    /// First free numbers.
    pub async fn next_numbers(&self) -> Result<NextNumbers, StoreError> {
        let max = async |sql| self.int(sql, &[]).await;
        Ok(NextNumbers {
            person_no: max("SELECT COALESCE(MAX(person_no), -1) + 1 FROM persons").await? as u32,
            operator_no: max("SELECT COALESCE(MAX(operator_no), 0) + 1 FROM operators").await? as u16,
            source_no: max("SELECT COALESCE(MAX(source_no), 0) + 1 FROM sources").await? as u32,
        })
    }

    /// The stored result under an idempotency key; one whose time is over is forgotten on the spot.
    pub async fn idempotency(&self, key_digest: &[u8; 32], now: Ts) -> Result<Option<IdempotencyStored>, StoreError> {
        let sql = "SELECT body_digest, status, result_id, expires_at FROM idempotency WHERE key_digest = $1";
        let rows = self.rows(sql, &[Val::Bytes(key_digest.to_vec())]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        if row.int(3)? <= now.0 {
            let sql = "DELETE FROM idempotency WHERE key_digest = $1 AND expires_at <= $2";
            self.db.write().await?.run(sql, &[Val::Bytes(key_digest.to_vec()), Val::Int(now.0)]).await?;
            return Ok(None);
        }
        let body_digest = bytes32(&row.bytes(0)?)?;
        Ok(Some(IdempotencyStored { body_digest, status: row.int(1)? as u16, result_id: row.text(2)? }))
    }

    /// Forgets results whose time is over; gives how many.
    pub async fn forget_idempotency(&self, now: Ts) -> Result<u64, StoreError> {
        let sql = "DELETE FROM idempotency WHERE key_digest IN (SELECT key_digest FROM idempotency WHERE expires_at <= $1 LIMIT 1000)";
        let mut forgotten = 0;
        loop {
            // in small statements, between which others write
            let some = self.db.write().await?.run(sql, &[Val::Int(now.0)]).await?;
            forgotten += some;
            if some == 0 {
                return Ok(forgotten);
            }
        }
    }

    /// How far an import has come; none where it never began.
    pub async fn import_progress(&self, id: &str) -> Result<Option<crate::ImportProgress>, StoreError> {
        let rows = self.rows("SELECT id, origin, rows_done, at FROM imports WHERE id = $1", &[Val::Text(id)]).await?;
        let progress = rows.first().map(|row| {
            let (id, origin, rows) = (row.text(0)?, row.text(1)?, row.int(2)? as u64);
            Ok::<_, StoreError>(crate::ImportProgress { id, origin, rows, at: Ts(row.int(3)?) })
        });
        progress.transpose()
    }
}
