//! When sources last succeeded. Where something was stored the batches say so; this is for those that bring nothing new.

use crate::StoreError;
use crate::db::Val;
use crate::open::Store;
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
}
