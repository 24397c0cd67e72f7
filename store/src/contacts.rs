//! Which operator has asked about whom: derived from lookup evidence, for whoever may be told of a change.

use crate::StoreError;
use crate::db::{Conn, Val};
use crate::open::Store;
use models::evidence::ChainId;
use models::harm_signal::NamedBy;
use models::ids::{OperatorNo, PersonNo};
use models::match_key::{KeyKind, MATCH_KEY_BYTES, MatchKey};
use models::ts::Ts;
use std::collections::HashMap;

/// Keys in one question: the texts of statements are few and stay prepared.
const KEYS_AT_ONCE: usize = 32;

/// An operator has asked about somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Contact {
    pub key: MatchKey,
    pub operator_no: OperatorNo,
    /// For the first time; what is stored already stays.
    pub first_at: Ts,
    /// For the last time, to the day.
    pub last_at: Ts,
    /// What the key was made of.
    pub named: NamedBy,
}

/// Contacts to keep, and how far the evidence they come from is taken in.
#[derive(Clone, Debug, Default)]
pub struct ContactRows {
    /// New ones, and those whose `last_at` moved.
    pub contacts: Vec<Contact>,
    /// The next block of each chain.
    pub cursors: Vec<(ChainId, u64)>,
    /// A process that has ended, all of whose evidence is taken in: it is not looked at again.
    pub done: Option<(u16, u32, Ts)>,
    /// Contacts whose key begins with this byte and that were last made before then are forgotten: in 256 steps, so that
    /// no statement takes long.
    pub forget: Option<(u8, Ts)>,
}

impl ContactRows {
    /// What is no insertion, in the transaction of the rest: a connection of its own would contend with the writer's.
    pub(crate) async fn finish(&self, conn: &mut Conn) -> Result<(), sqlx::Error> {
        if let Some((node, boot, at)) = self.done {
            let values = [Val::Int(node.into()), Val::Int(boot.into()), Val::Int(at.0)];
            let sql =
                "UPDATE evidence_boots SET contacts_at = $3 WHERE node = $1 AND boot = $2 AND closed_at IS NOT NULL";
            conn.run(sql, &values).await?;
            conn.run("DELETE FROM contact_cursors WHERE node = $1 AND boot = $2", &values[..2]).await?;
        }
        if let Some((first_byte, before)) = self.forget {
            let high = first_byte.checked_add(1).map_or_else(|| vec![0xff; MATCH_KEY_BYTES + 1], |next| vec![next]);
            let sql = "DELETE FROM operator_contacts WHERE match_key >= $1 AND match_key < $2 AND last_at < $3";
            conn.run(sql, &[Val::Bytes(vec![first_byte]), Val::Bytes(high), Val::Int(before.0)]).await?;
        }
        Ok(())
    }
}

/// A process some of whose evidence may not be taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ContactBoot {
    pub node: u16,
    pub boot: u32,
    /// Everything it answered until then is in stored blocks.
    pub through_at: Ts,
    /// Has it ended?
    pub closed: bool,
}

/// A key of a person that an operator has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ContactKey {
    pub person_no: PersonNo,
    pub kind: KeyKind,
    pub digest_version: u8,
    pub key: MatchKey,
}

/// A token that was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct TokenGeneration {
    pub operator_no: OperatorNo,
    pub key: MatchKey,
    pub generation: u8,
    pub reason: String,
    pub at: Ts,
}

pub(crate) fn match_key(bytes: Vec<u8>) -> Result<MatchKey, StoreError> {
    let bytes: [u8; MATCH_KEY_BYTES] = bytes.try_into().map_err(|_| StoreError::Unreadable("contact"))?;
    Ok(MatchKey::from_bytes(bytes))
}

impl Store {
    /// Processes whose evidence is not all taken in, oldest first.
    pub async fn contact_boots(&self) -> Result<Vec<ContactBoot>, StoreError> {
        let sql =
            "SELECT node, boot, through_at, closed_at FROM evidence_boots WHERE contacts_at IS NULL ORDER BY opened_at";
        let rows = self.db.read().await?.rows(sql, &[]).await?;
        rows.iter()
            .map(|row| {
                Ok(ContactBoot {
                    node: row.int(0)? as u16,
                    boot: row.int(1)? as u32,
                    through_at: Ts(row.int(2)?),
                    closed: row.int_opt(3)?.is_some(),
                })
            })
            .collect()
    }

    /// The next block of each chain of a process.
    pub async fn contact_cursors(&self, node: u16, boot: u32) -> Result<HashMap<u16, u64>, StoreError> {
        let sql = "SELECT worker, next_block FROM contact_cursors WHERE node = $1 AND boot = $2";
        let rows = self.db.read().await?.rows(sql, &[Val::Int(node.into()), Val::Int(boot.into())]).await?;
        rows.iter().map(|row| Ok((row.int(0)? as u16, row.int(1)?.cast_unsigned()))).collect()
    }

    /// When operators asked last about these keys, as far as it is known.
    pub async fn contacts(&self, keys: &[MatchKey]) -> Result<HashMap<(MatchKey, OperatorNo), Ts>, StoreError> {
        let mut known = HashMap::new();
        if keys.is_empty() {
            return Ok(known);
        }
        let sql = format!(
            "SELECT match_key, operator_no, last_at FROM operator_contacts WHERE match_key IN ({})",
            places(1, KEYS_AT_ONCE)
        );
        let mut conn = self.db.read().await?;
        for chunk in keys.chunks(KEYS_AT_ONCE) {
            // padded with its last one, so that there is one statement
            let last = chunk[chunk.len() - 1];
            let padded = chunk.iter().copied().chain(std::iter::repeat_n(last, KEYS_AT_ONCE - chunk.len()));
            let values: Vec<Val<'_>> = padded.map(|key| Val::Bytes(key.to_bytes().to_vec())).collect();
            for row in conn.rows(&sql, &values).await? {
                let operator_no = OperatorNo(row.int(1)? as u16);
                known.insert((match_key(row.bytes(0)?)?, operator_no), Ts(row.int(2)?));
            }
        }
        Ok(known)
    }

    /// The keys of people that an operator has used, by person and key.
    pub async fn contact_keys(&self, operator: OperatorNo, people: &[PersonNo]) -> Result<Vec<ContactKey>, StoreError> {
        let mut found = Vec::new();
        let sql = contact_sql(&format!("k.person_no IN ({})", places(2, KEYS_AT_ONCE)));
        let mut conn = self.db.read().await?;
        for chunk in people.chunks(KEYS_AT_ONCE) {
            let last = chunk[chunk.len() - 1];
            let padded = chunk.iter().copied().chain(std::iter::repeat_n(last, KEYS_AT_ONCE - chunk.len()));
            let mut values = vec![Val::Int(operator.0.into())];
            values.extend(padded.map(|person| Val::Int(person.0.into())));
            contact_rows(&conn.rows(&sql, &values).await?, &mut found)?;
        }
        Ok(found)
    }

    /// The same for everybody between two numbers.
    pub async fn contact_keys_between(
        &self,
        operator: OperatorNo,
        first: PersonNo,
        last: PersonNo,
    ) -> Result<Vec<ContactKey>, StoreError> {
        let sql = contact_sql("k.person_no BETWEEN $2 AND $3");
        let values = [Val::Int(operator.0.into()), Val::Int(first.0.into()), Val::Int(last.0.into())];
        let mut found = Vec::new();
        contact_rows(&self.db.read().await?.rows(&sql, &values).await?, &mut found)?;
        Ok(found)
    }

    /// When an operator asked about a key for the first and, to the day, for the last time.
    pub async fn contact(&self, operator: OperatorNo, key: MatchKey) -> Result<Option<(Ts, Ts)>, StoreError> {
        let sql = "SELECT first_at, last_at FROM operator_contacts WHERE match_key = $1 AND operator_no = $2";
        let values = [Val::Bytes(key.to_bytes().to_vec()), Val::Int(operator.0.into())];
        let rows = self.db.read().await?.rows(sql, &values).await?;
        rows.first().map(|row| Ok((Ts(row.int(0)?), Ts(row.int(1)?)))).transpose()
    }

    /// Every replaced token, in the order of its generations.
    pub async fn token_generations(&self) -> Result<Vec<TokenGeneration>, StoreError> {
        let sql = "SELECT operator_no, match_key, generation, reason, at FROM token_generations ORDER BY operator_no, match_key, generation";
        generations(&self.db.read().await?.rows(sql, &[]).await?)
    }

    /// The same of one key of an operator.
    pub async fn token_generations_of(
        &self,
        operator: OperatorNo,
        key: MatchKey,
    ) -> Result<Vec<TokenGeneration>, StoreError> {
        let sql = "SELECT operator_no, match_key, generation, reason, at FROM token_generations WHERE operator_no = $1 AND match_key = $2 ORDER BY generation";
        let values = [Val::Int(operator.0.into()), Val::Bytes(key.to_bytes().to_vec())];
        generations(&self.db.read().await?.rows(sql, &values).await?)
    }
}

fn generations(rows: &[crate::db::Row]) -> Result<Vec<TokenGeneration>, StoreError> {
    rows.iter()
        .map(|row| {
            Ok(TokenGeneration {
                operator_no: OperatorNo(row.int(0)? as u16),
                key: match_key(row.bytes(1)?)?,
                generation: row.int(2)? as u8,
                reason: row.text(3)?,
                at: Ts(row.int(4)?),
            })
        })
        .collect()
}

pub(crate) fn places(first: usize, count: usize) -> String {
    (first..first + count).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
}

fn contact_sql(people: &str) -> String {
    format!(
        "SELECT k.person_no, k.kind, k.digest_version, k.match_key FROM match_keys k JOIN operator_contacts c ON c.match_key = k.match_key AND c.operator_no = $1 WHERE {people} ORDER BY k.person_no, k.match_key"
    )
}

fn contact_rows(rows: &[crate::db::Row], found: &mut Vec<ContactKey>) -> Result<(), StoreError> {
    for row in rows {
        let kind = u8::try_from(row.int(1)?).ok().and_then(KeyKind::from_number);
        found.push(ContactKey {
            person_no: PersonNo(row.int(0)? as u32),
            kind: kind.ok_or(StoreError::Unreadable("kind of a key"))?,
            digest_version: row.int(2)? as u8,
            key: match_key(row.bytes(3)?)?,
        });
    }
    Ok(())
}
