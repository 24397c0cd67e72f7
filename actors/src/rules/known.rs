//! Who can say what register and evidence knew when a batch was stored.

use engine::rules::input::Facts;
use futures_util::future::LocalBoxFuture;
use models::ids::OperatorNo;
use models::record::Record;
use models::ts::Ts;
use std::sync::Arc;

/// What was known of the players of a batch.
pub trait Known: Send + Sync + 'static {
    /// Of each record, in their order. None: evidence that could say that somebody was asked about is not in yet, and it
    /// is to be asked again. An error: the store is away.
    fn of(
        &self,
        operator: OperatorNo,
        stored_at: Ts,
        records: Arc<[Record]>,
    ) -> LocalBoxFuture<'static, Result<Option<Vec<Facts>>, String>>;
}

/// A node without register and evidence: nobody is identified, so no rule says that somebody was not asked about.
#[derive(Clone, Copy, Debug, Default)]
pub struct NobodyAsked;

impl Known for NobodyAsked {
    fn of(
        &self,
        _: OperatorNo,
        _: Ts,
        records: Arc<[Record]>,
    ) -> LocalBoxFuture<'static, Result<Option<Vec<Facts>>, String>> {
        Box::pin(std::future::ready(Ok(Some(vec![Facts::default(); records.len()]))))
    }
}
