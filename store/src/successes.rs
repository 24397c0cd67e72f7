//! When sources last succeeded. Where something was stored the batches say so; this is for those that bring nothing new.

use crate::StoreError;
use crate::db::Val;
use crate::open::Store;
use models::feed::Silence;
use models::ids::SourceNo;
use models::ts::Ts;

impl Store {
    /// Keeps when sources last succeeded; a later time that is kept already stays.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn keep_source_successes(&self, successes: &[(SourceNo, Ts)]) -> Result<(), StoreError> {
        let values: Vec<Val<'_>> =
            successes.iter().flat_map(|(source_no, at)| [Val::Int(source_no.0.into()), Val::Int(at.0)]).collect();
        let tail = "ON CONFLICT (source_no) DO UPDATE SET at = excluded.at WHERE excluded.at > source_successes.at";
        Ok(self.db.write().await?.insert("source_successes", &["source_no", "at"], tail, &values).await?)
    }

    /// Keeps that sources fell silent, or for how long they were; of each source one at most.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn keep_source_silences(&self, silences: &[(SourceNo, Silence)]) -> Result<(), StoreError> {
        let values = silences.iter().flat_map(|(source_no, silence)| {
            [Val::Int(source_no.0.into()), Val::Int(silence.from.0), Val::IntOpt(silence.to.map(|to| to.0))]
        });
        let values: Vec<Val<'_>> = values.collect();
        let tail = "ON CONFLICT (source_no, from_at) DO UPDATE SET to_at = excluded.to_at";
        let columns = ["source_no", "from_at", "to_at"];
        Ok(self.db.write().await?.insert("source_silences", &columns, tail, &values).await?)
    }

    /// The silences that last: of which sources, and since when.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn standing_silences(&self) -> Result<Vec<(SourceNo, Ts)>, StoreError> {
        let sql = "SELECT source_no, MAX(from_at) FROM source_silences WHERE to_at IS NULL GROUP BY source_no ORDER BY source_no";
        let rows = self.rows(sql, &[]).await?;
        rows.iter().map(|row| Ok((SourceNo(row.int(0)? as u32), Ts(row.int(1)?)))).collect()
    }

    /// Silences of a source that a span touches, the oldest first; at most `limit`, the newest ones.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn source_silences(
        &self,
        source_no: SourceNo,
        (from, to): (Ts, Ts),
        limit: u32,
    ) -> Result<Vec<Silence>, StoreError> {
        let sql = "SELECT from_at, to_at FROM source_silences WHERE source_no = $1 AND from_at < $2 AND (to_at IS NULL OR to_at > $3) ORDER BY from_at DESC LIMIT $4";
        let values = [Val::Int(source_no.0.into()), Val::Int(to.0), Val::Int(from.0), Val::Int(limit.into())];
        let rows = self.rows(sql, &values).await?;
        rows.iter().rev().map(|row| Ok(Silence { from: Ts(row.int(0)?), to: row.int_opt(1)?.map(Ts) })).collect()
    }

    /// From when on silences of sources were measured.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn silences_since(&self) -> Result<Ts, StoreError> {
        Ok(Ts(self.int("SELECT since FROM source_silences_since WHERE id = 1", &[]).await?))
    }
}
