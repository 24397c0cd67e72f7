//! States of operators and of rules as bytes, each with the input it stands behind and a keyed digest: nobody who can write to the
//! database but does not know the journal's key makes an operator look other than its inputs do.

use crate::StoreError;
use crate::db::Val;
use crate::open::Store;
use models::ids::OperatorNo;
use models::ts::Ts;
use ring::hmac;

/// States that are kept of an operator: the newest, and the one before in case it turns out bad.
const KEPT: i64 = 2;

/// Whose states: each kind has a table of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateOf {
    /// An operator's market.
    Market,
    /// Rules, an operator's or those over all of a jurisdiction's operators.
    Rules,
    /// The detectors of an operator's series.
    Series,
}

impl StateOf {
    /// Table, its column of the input, and what begins the digest.
    fn table(self) -> (&'static str, &'static str, &'static [u8]) {
        match self {
            Self::Market => ("operator_states", "operator_seq", b"mlinzi operator state 1\0"),
            Self::Rules => ("rule_states", "input_seq", b"mlinzi rule state 1\0"),
            Self::Series => ("series_states", "operator_seq", b"mlinzi series state 1\0"),
        }
    }
}

/// A stored state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorStateRow {
    /// Every input up to here is in it.
    pub operator_seq: i64,
    /// Layout of the bytes.
    pub layout: u32,
    /// The bytes.
    pub state: Vec<u8>,
}

fn mac(of: StateOf, chain_key: &[u8; 32], operator: OperatorNo, row: &OperatorStateRow) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, chain_key));
    context.update(of.table().2);
    context.update(&operator.0.to_be_bytes());
    context.update(&row.operator_seq.to_be_bytes());
    context.update(&row.layout.to_be_bytes());
    context.update(&row.state);
    context.sign()
}

impl Store {
    /// Keeps a state and forgets all but the newest. It takes the place of one behind the same input, which may be of
    /// another release, or spoilt.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn keep_operator_state(
        &self,
        of: StateOf,
        operator: OperatorNo,
        row: &OperatorStateRow,
        chain_key: &[u8; 32],
        at: Ts,
    ) -> Result<(), StoreError> {
        let mut conn = self.db.write().await?;
        let (table, input, _) = of.table();
        let sql = format!(
            "INSERT INTO {table} (operator_no, {input}, layout, state, mac, made_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (operator_no, {input}) DO UPDATE SET layout = excluded.layout, state = excluded.state, mac = excluded.mac, made_at = excluded.made_at"
        );
        let values = [
            Val::Int(operator.0.into()),
            Val::Int(row.operator_seq),
            Val::Int(row.layout.into()),
            Val::Bytes(row.state.clone()),
            Val::Bytes(mac(of, chain_key, operator, row).as_ref().to_vec()),
            Val::Int(at.0),
        ];
        conn.run(&sql, &values).await?;
        let sql = format!(
            "DELETE FROM {table} WHERE operator_no = $1 AND {input} NOT IN (SELECT {input} FROM {table} WHERE operator_no = $1 ORDER BY {input} DESC LIMIT $2)"
        );
        conn.run(&sql, &[Val::Int(operator.0.into()), Val::Int(KEPT)]).await?;
        Ok(())
    }

    /// An operator's states, newest first, that are what was kept.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn operator_states(
        &self,
        of: StateOf,
        operator: OperatorNo,
        chain_key: &[u8; 32],
    ) -> Result<Vec<OperatorStateRow>, StoreError> {
        let (table, input, _) = of.table();
        let sql =
            format!("SELECT {input}, layout, state, mac FROM {table} WHERE operator_no = $1 ORDER BY {input} DESC");
        let mut found = Vec::new();
        for row in self.db.read().await?.rows(&sql, &[Val::Int(operator.0.into())]).await? {
            let layout = u32::try_from(row.int(1)?).map_err(|_| StoreError::Unreadable("operator state"))?;
            let (state, stored) =
                (OperatorStateRow { operator_seq: row.int(0)?, layout, state: row.bytes(2)? }, row.bytes(3)?);
            if mac(of, chain_key, operator, &state).as_ref() == stored {
                found.push(state);
            } else {
                let (operator_no, operator_seq) = (operator.0, state.operator_seq);
                tracing::error!(operator_no, operator_seq, "an operator's state is not what was kept");
            }
        }
        Ok(found)
    }
}
