//! The life of the keys as stored, and what lies under which of them.

use crate::StoreError;
use crate::db::{Conn, Row, Val};
use crate::open::Store;
use crate::read::people::person_key;
use crate::writer::VaultRow;
use models::event::PersonKey;
use models::ids::PersonNo;
use models::key_version::{KeyPurpose, KeyState, KeyStates, KeyVersion};
use models::ts::Ts;

/// People looked at in one query for keys that they lack.
const LACKING_SPAN: i64 = 1_000;

/// A table with sealed values. Their second byte is the version of the vault key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealedTable {
    /// People.
    Vault,
    /// Signing secrets of API keys.
    KeySecrets,
    /// Refused records.
    Quarantine,
    /// Keys of the evidence's months.
    EvidenceKeys,
    /// Exclusions that operators report.
    ReportedExclusions,
}

impl SealedTable {
    /// Every table.
    pub const ALL: [Self; 5] =
        [Self::Vault, Self::KeySecrets, Self::Quarantine, Self::EvidenceKeys, Self::ReportedExclusions];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::KeySecrets => "key_secrets",
            Self::Quarantine => "quarantine",
            Self::EvidenceKeys => "evidence_keys",
            Self::ReportedExclusions => "reported_exclusion_seals",
        }
    }

    const fn id(self) -> &'static str {
        match self {
            Self::Vault | Self::Quarantine | Self::ReportedExclusions => "id",
            Self::KeySecrets => "key_id",
            Self::EvidenceKeys => "month",
        }
    }

    fn read_id(self, row: &Row) -> Result<SealedId, sqlx::Error> {
        Ok(match self {
            Self::Vault => SealedId::Bytes(row.bytes(0)?),
            Self::KeySecrets | Self::Quarantine | Self::ReportedExclusions => SealedId::Text(row.text(0)?),
            Self::EvidenceKeys => SealedId::Int(row.int(0)?),
        })
    }
}

/// Where a sealed value lies.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SealedId {
    Bytes(Vec<u8>),
    Text(String),
    Int(i64),
}

impl SealedId {
    fn value(&self) -> Val<'_> {
        match self {
            Self::Bytes(id) => Val::Bytes(id.clone()),
            Self::Text(id) => Val::Text(id),
            Self::Int(id) => Val::Int(*id),
        }
    }
}

/// A sealed value.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct SealedRow {
    pub id: SealedId,
    pub sealed: Vec<u8>,
}

/// A sealed value that takes the place of another.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Rewrapped {
    pub row: SealedRow,
    pub now: Vec<u8>,
}

/// Puts values in the places of those they were made of. What was changed or destroyed meanwhile stays so.
pub(crate) async fn rewrap(conn: &mut Conn, table: SealedTable, seals: &[Rewrapped]) -> Result<(), sqlx::Error> {
    // three variables a row, and few texts to prepare
    for chunk in seals.chunks(64) {
        let rows: Vec<String> =
            (0..chunk.len()).map(|i| format!("(${}, ${}, ${})", 3 * i + 1, 3 * i + 2, 3 * i + 3)).collect();
        let (name, id) = (table.as_str(), table.id());
        let sql = format!(
            "WITH new(id, before, sealed) AS (VALUES {}) UPDATE {name} SET sealed = new.sealed FROM new WHERE {name}.{id} = new.id AND {name}.sealed = new.before",
            rows.join(", ")
        );
        let values: Vec<Val<'_>> = chunk
            .iter()
            .flat_map(|s| [s.row.id.value(), Val::Bytes(s.row.sealed.clone()), Val::Bytes(s.now.clone())])
            .collect();
        conn.run(&sql, &values).await?;
    }
    Ok(())
}

fn list(people: &[PersonNo]) -> (String, Vec<Val<'static>>) {
    let listed: Vec<String> = (1..=people.len()).map(|i| format!("${i}")).collect();
    (listed.join(", "), people.iter().map(|no| Val::Int(no.0.into())).collect())
}

fn key_version(row: &Row) -> Result<KeyVersion, StoreError> {
    Ok(KeyVersion {
        purpose: KeyPurpose::parse(&row.text(1)?).ok_or(StoreError::Unreadable("key purpose"))?,
        version: row.int(2)? as u8,
        fingerprint: row.text(3)?,
        state: KeyState::parse(&row.text(4)?).ok_or(StoreError::Unreadable("key state"))?,
        started_at: Ts(row.int(5)?),
        ready_at: row.int_opt(6)?.map(Ts),
        retired_at: row.int_opt(7)?.map(Ts),
        left_behind: row.int(8)? as u64,
    })
}

impl Store {
    /// Every version of every key, and the epoch in which this holds.
    pub async fn key_states(&self) -> Result<KeyStates, StoreError> {
        // one statement: both of one moment
        let sql = "SELECT h.key_epoch, k.purpose, k.version, k.fingerprint, k.state, k.started_at, k.ready_at, k.retired_at, k.left_behind FROM journal_head h LEFT JOIN key_versions k ON 1 = 1 WHERE h.id = 1 ORDER BY k.purpose, k.version";
        let rows = self.db.read().await?.rows(sql, &[]).await?;
        let epoch = rows.first().ok_or(StoreError::Unreadable("journal head"))?.int(0)?;
        let known = rows.iter().filter(|row| row.text_opt(1).is_ok_and(|purpose| purpose.is_some()));
        Ok(KeyStates { epoch, versions: known.map(key_version).collect::<Result<_, _>>()? })
    }

    /// Values that are under another version than this one, in the order of their places; `after` none begins.
    pub async fn sealed_otherwise(
        &self,
        table: SealedTable,
        version: u8,
        after: Option<&SealedId>,
        limit: u32,
    ) -> Result<Vec<SealedRow>, StoreError> {
        let (name, id) = (table.as_str(), table.id());
        let mut values = vec![Val::Bytes(vec![version]), Val::Int(limit.into())];
        values.extend(after.map(SealedId::value));
        let behind = if after.is_some() { format!("AND {id} > $3") } else { String::new() };
        let sql = format!(
            "SELECT {id}, sealed FROM {name} WHERE sealed IS NOT NULL AND substr(sealed, 2, 1) <> $1 {behind} ORDER BY {id} LIMIT $2"
        );
        let rows = self.db.read().await?.rows(&sql, &values).await?;
        rows.iter().map(|row| Ok(SealedRow { id: table.read_id(row)?, sealed: row.bytes(1)? })).collect()
    }

    /// People behind `after` who have more match keys of the version `from` than of `to`, in order, with how many more; −1
    /// begins.
    pub async fn lacking_keys(
        &self,
        from: u8,
        to: u8,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(PersonNo, u64)>, StoreError> {
        // a span at a time, so that neither database comes upon the idea to add everybody up for a few
        let sql = "SELECT person_no, SUM(CASE WHEN digest_version = $1 THEN 1 WHEN digest_version = $2 THEN -1 ELSE 0 END) FROM match_keys WHERE person_no > $3 AND person_no <= $5 GROUP BY person_no HAVING SUM(CASE WHEN digest_version = $1 THEN 1 WHEN digest_version = $2 THEN -1 ELSE 0 END) > 0 ORDER BY person_no LIMIT $4";
        let last = self.last_person().await?.map_or(-1, |last| i64::from(last.0));
        let mut after = after;
        while after < last {
            let end = after + LACKING_SPAN;
            let values = [from.into(), to.into(), after, limit.into(), end].map(Val::Int);
            let rows = self.db.read().await?.rows(sql, &values).await?;
            if !rows.is_empty() {
                return rows.iter().map(|row| Ok((PersonNo(row.int(0)? as u32), row.int(1)? as u64))).collect();
            }
            after = end;
        }
        Ok(Vec::new())
    }

    /// The match keys of these people.
    pub async fn keys_of(&self, people: &[PersonNo]) -> Result<Vec<(PersonNo, PersonKey)>, StoreError> {
        let (listed, values) = list(people);
        let sql = format!(
            "SELECT person_no, match_key, kind, digest_version, valid_from, valid_to FROM match_keys WHERE person_no IN ({listed})"
        );
        let rows = self.db.read().await?.rows(&sql, &values).await?;
        rows.iter().map(|row| Ok((PersonNo(row.int(0)? as u32), person_key(row, 1)?))).collect()
    }

    /// What the vault keeps of these people, in the order in which it came.
    pub async fn vault_of(&self, people: &[PersonNo]) -> Result<Vec<VaultRow>, StoreError> {
        let (listed, values) = list(people);
        let sql = format!("SELECT id, person_no, sealed, at FROM vault WHERE person_no IN ({listed}) ORDER BY at, id");
        let rows = self.db.read().await?.rows(&sql, &values).await?;
        rows.iter()
            .map(|row| {
                let id = row.bytes(0)?.try_into().map_err(|_| StoreError::Unreadable("vault id"))?;
                let (person_no, sealed, at) = (PersonNo(row.int(1)? as u32), row.bytes(2)?, Ts(row.int(3)?));
                Ok(VaultRow { id, person_no, sealed, at })
            })
            .collect()
    }

    /// Deletes the match keys of a retired version of the people from a number on; gives how many.
    pub async fn forget_match_keys(&self, version: u8, from: PersonNo, people: u32) -> Result<u64, StoreError> {
        let sql = "DELETE FROM match_keys WHERE digest_version = $1 AND person_no >= $2 AND person_no < $3";
        let (from, to) = (i64::from(from.0), i64::from(from.0) + i64::from(people));
        Ok(self.db.write().await?.run(sql, &[Val::Int(version.into()), Val::Int(from), Val::Int(to)]).await?)
    }

    /// How many match keys there are of each digest version.
    pub async fn match_keys_by_version(&self) -> Result<Vec<(u8, u64)>, StoreError> {
        let sql = "SELECT digest_version, COUNT(*) FROM match_keys GROUP BY digest_version ORDER BY digest_version";
        let rows = self.db.read().await?.rows(sql, &[]).await?;
        rows.iter().map(|row| Ok((row.int(0)? as u8, row.int(1)? as u64))).collect()
    }

    /// How many values are under this version.
    pub async fn sealed_under(&self, version: u8) -> Result<u64, StoreError> {
        let mut count = 0;
        let mut conn = self.db.read().await?;
        for table in SealedTable::ALL {
            let name = table.as_str();
            let sql = format!("SELECT COUNT(*) FROM {name} WHERE sealed IS NOT NULL AND substr(sealed, 2, 1) = $1");
            let rows = conn.rows(&sql, &[Val::Bytes(vec![version])]).await?;
            count += rows.first().map_or(Ok(0), |row| row.int(0))? as u64;
        }
        Ok(count)
    }
}
