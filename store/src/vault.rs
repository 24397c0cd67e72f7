//! Reads of the vault: sealed people, for those who have its key.

use crate::StoreError;
use crate::db::Val;
use crate::open::Store;
use crate::writer::VaultRow;
use models::ids::PersonNo;
use models::ts::Ts;

impl Store {
    /// What the vault keeps of the people between two numbers, by person, oldest first.
    pub async fn vault_between(&self, first: PersonNo, last: PersonNo) -> Result<Vec<VaultRow>, StoreError> {
        let sql = "SELECT id, person_no, sealed, at FROM vault WHERE person_no >= $1 AND person_no <= $2 ORDER BY person_no, at, id";
        let span = [Val::Int(first.0.into()), Val::Int(last.0.into())];
        let rows = self.db.read().await?.rows(sql, &span).await?;
        rows.iter()
            .map(|row| {
                Ok(VaultRow {
                    id: row.bytes(0)?.try_into().map_err(|_| StoreError::Unreadable("vault id"))?,
                    person_no: PersonNo(row.int(1)? as u32),
                    sealed: row.bytes(2)?,
                    at: Ts(row.int(3)?),
                })
            })
            .collect()
    }
}
