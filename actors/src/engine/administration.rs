//! What staff does with operators, licences, keys, sources and tokens: each order in a section of its own, which goes on
//! where its caller leaves.

use super::Engine;
use crate::api::{
    CreatedSource, EngineError, IdempotencyKey, IssuedKey, NewKey, NewOperator, NewSource, OperatorChange,
};
use crate::register::section;
use models::ids::{KeyId, OperatorId, OperatorNo};
use models::jurisdiction::Recognition;
use models::operator::{Licence, Operator};
use models::token::Opened;
use std::sync::Arc;

impl Engine {
    /// Replaces an operator's token by one of the next generation, which it gives; one that is not live is gone.
    pub async fn rotate_token(
        &self,
        operator: Option<OperatorNo>,
        token: Opened,
        reason: &'static str,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<u8, EngineError> {
        let (inner, now) = (Arc::clone(&self.0), self.now());
        section(async move { inner.staff.rotate_token(operator, token, reason, idempotency, now).await }).await
    }

    /// A jurisdiction recognises another one's exclusions, or no longer does.
    pub async fn set_recognition(
        &self,
        recognition: Recognition,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<(), EngineError> {
        let (inner, now) = (Arc::clone(&self.0), self.now());
        section(async move { inner.staff.set_recognition(recognition, idempotency, now).await }).await
    }

    /// Puts an operator under supervision.
    pub async fn create_operator(
        &self,
        new: NewOperator,
        key: Option<IdempotencyKey>,
    ) -> Result<Operator, EngineError> {
        let (inner, now) = (Arc::clone(&self.0), self.now());
        section(async move { inner.staff.create_operator(new, key, now).await }).await
    }

    /// Takes in an operator of another register, as it is there: a sandbox knows those of the live one.
    pub async fn mirror_operator(&self, operator: &Operator) -> Result<(), EngineError> {
        let (inner, operator) = (Arc::clone(&self.0), operator.clone());
        section(async move { inner.staff.mirror_operator(operator).await }).await
    }

    /// Changes an operator.
    pub async fn change_operator(
        &self,
        id: OperatorId,
        change: OperatorChange,
        key: Option<IdempotencyKey>,
    ) -> Result<Operator, EngineError> {
        let no = self.directory().operator_by_id.get(&id).copied().ok_or(EngineError::NotFound("operator"))?;
        let inner = Arc::clone(&self.0);
        section(async move { inner.staff.change_operator(no, change, key, &*inner.clock).await }).await
    }

    /// Adds or changes a licence.
    pub async fn set_licence(&self, licence: Licence, key: Option<IdempotencyKey>) -> Result<Licence, EngineError> {
        let inner = Arc::clone(&self.0);
        section(async move { inner.staff.set_licence(licence, key, &*inner.clock).await }).await
    }

    /// Makes a key.
    pub async fn create_key(&self, new: NewKey, key: Option<IdempotencyKey>) -> Result<IssuedKey, EngineError> {
        let (inner, now) = (Arc::clone(&self.0), self.now());
        section(async move { inner.staff.create_key(new, key, now).await }).await
    }

    /// Follows a key with a new one.
    pub async fn rotate_key(
        &self,
        id: KeyId,
        overlap_seconds: u32,
        key: Option<IdempotencyKey>,
    ) -> Result<IssuedKey, EngineError> {
        let (inner, now) = (Arc::clone(&self.0), self.now());
        section(async move { inner.staff.rotate_key(id, overlap_seconds, key, now).await }).await
    }

    /// Kills a key.
    pub async fn revoke_key(&self, id: KeyId) -> Result<(), EngineError> {
        let (inner, now) = (Arc::clone(&self.0), self.now());
        section(async move { inner.staff.revoke_key(id, now).await }).await
    }

    /// Makes a source.
    pub async fn create_source(
        &self,
        new: NewSource,
        key: Option<IdempotencyKey>,
    ) -> Result<CreatedSource, EngineError> {
        let engine = self.clone();
        section(async move {
            let made = engine.0.staff.create_source(new, key, engine.now()).await?;
            let source = Arc::new(made.source.clone());
            engine.start_source(&source).map_err(|_| EngineError::Unavailable("the source's actor"))?;
            Ok(made)
        })
        .await
    }
}
