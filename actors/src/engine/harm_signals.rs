//! Signs of harm that staff gives to operators: committed as inputs of the operator's rules, which tell of them.

use super::Engine;
use crate::api::{EngineError, IdempotencyKey};
use crate::idempotency;
use crate::register::{commit_error, section, unavailable};
use crate::rules::RulesMsg;
use crate::source::Reply;
use models::alert::Severity;
use models::harm_signal::{HarmSignal, NamedBy, SignalSource, id_of};
use models::ids::{HarmSignalId, KeyId, OperatorNo};
use models::match_key::MatchKey;
use models::operator::{Operator, OperatorState};
use models::rule_input::{RuleInput, SignalGiven};
use std::sync::Arc;

/// A sign of harm to be given.
#[derive(Clone, Debug)]
pub struct NewHarmSignal {
    /// To whom.
    pub operator: OperatorNo,
    /// By what the player may be known there, the strongest identifier first, each with what it was made of.
    pub players: Vec<(MatchKey, Option<NamedBy>)>,
    /// How strong.
    pub level: Severity,
    /// Why.
    pub reason: String,
    /// Who gives it.
    pub by: KeyId,
}

impl Engine {
    /// Gives a sign of harm to an operator, once for a key of idempotency.
    ///
    /// # Errors
    /// The operator is not there, cannot read it, or knows nobody by these identifiers.
    pub async fn give_harm_signal(
        &self,
        new: NewHarmSignal,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<HarmSignal, EngineError> {
        let engine = self.clone();
        section(async move { engine.give_harm_signal_now(new, idempotency.as_ref()).await }).await
    }

    async fn give_harm_signal_now(
        &self,
        new: NewHarmSignal,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<HarmSignal, EngineError> {
        // a repeated request waits for the first one
        let _one_at_a_time = self.0.ruling.lock().await;
        let at = self.now();
        if let Some(earlier) = idempotency::earlier(&self.0.store, idempotency, at).await? {
            let id: HarmSignalId = earlier.result_id.parse().map_err(|_| EngineError::NotFound("sign of harm"))?;
            let stored = self.0.store.harm_signal(id).await.map_err(unavailable)?;
            // its operator's rules have not come to it yet
            return stored.ok_or(EngineError::Unavailable("what the first request has made"));
        }
        let operator = self.directory().operators.get(&new.operator).cloned();
        let operator = operator.ok_or(EngineError::NotFound("operator"))?;
        can_read(&operator)?;
        let (player, named) = self.known_player(new.operator, &new.players).await?;
        let given = SignalGiven { by: new.by, reason: new.reason.clone(), named };
        let input = RuleInput::Signal { player, level: new.level, at, given: Some(Box::new(given)) };
        let operator_no = operator.operator_no;
        let heard = self.directory().rule_input(operator_no, operator.jurisdiction, input);
        let id = id_of(operator_no, player, at);
        let attachment = idempotency::attachment(idempotency, 201, id, at);
        self.0.writer.commit(vec![heard], attachment.into_iter().collect()).await.map_err(commit_error)?;
        Ok(HarmSignal {
            id,
            operator_no,
            player,
            named,
            records: Vec::new(),
            level: new.level,
            since: at,
            source: SignalSource::Regulator { by: Some(new.by), reason: Some(new.reason) },
            answered_at: None,
            revision: 0,
        })
    }

    /// Of some identifiers that by which the operator knows a player: by which it sends records of them, so that what it does
    /// about them is heard as theirs; else the first by which it has asked about them.
    async fn known_player(
        &self,
        operator: OperatorNo,
        players: &[(MatchKey, Option<NamedBy>)],
    ) -> Result<(MatchKey, Option<NamedBy>), EngineError> {
        for (player, named) in players {
            if self.rules_know(operator, *player).await? {
                return Ok((*player, *named));
            }
        }
        for (player, named) in players {
            if self.0.store.contact(operator, *player).await.map_err(unavailable)?.is_some() {
                return Ok((*player, *named));
            }
        }
        Err(EngineError::NotFound("player of the operator"))
    }

    /// Have the operator's rules heard of a player lately?
    async fn rules_know(&self, operator: OperatorNo, player: MatchKey) -> Result<bool, EngineError> {
        let away = || EngineError::Unavailable("the operator's rules");
        let handle = self.0.rules.operators.read().get(&operator).map(|(handle, _)| handle.clone());
        let (reply, known) = Reply::new();
        let sent = handle.ok_or_else(away)?.try_send(RulesMsg::Knows { player, reply });
        sent.map_err(|_| EngineError::Overloaded("the operator's rules"))?;
        match tokio::time::timeout(self.0.config.write_timeout, known).await {
            Ok(Ok(known)) => Ok(known),
            Ok(Err(_)) | Err(_) => Err(away()),
        }
    }
}

/// Whoever cannot read a sign must not be measured by it.
fn can_read(operator: &Arc<Operator>) -> Result<(), EngineError> {
    match operator.state {
        OperatorState::Active => Ok(()),
        OperatorState::Suspended => {
            Err(EngineError::Conflict("the operator is suspended: its keys cannot read a sign of harm".to_owned()))
        }
        OperatorState::Closed => Err(EngineError::Conflict("the operator is closed".to_owned())),
    }
}
