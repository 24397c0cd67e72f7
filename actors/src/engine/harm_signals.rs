//! Signs of harm that staff gives to operators: committed as inputs of the operator's rules, together with their first telling.

use super::Engine;
use crate::api::{EngineError, IdempotencyKey};
use crate::idempotency;
use crate::register::{commit_error, section, unavailable};
use crate::rules::{Acquainted, RulesMsg};
use crate::source::Reply;
use engine::rules::book::SIGNALS_OF_ONE_MAX;
use models::alert::Severity;
use models::event::Event;
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
    /// The operator is not there, cannot read it, knows nobody by these identifiers or could not find out who it is, or has as many
    /// of staff's signs as are followed.
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
        if let Some(given) = self.given_before(idempotency).await? {
            return Ok(given);
        }
        self.reader(new.operator)?;
        // whoever else changes something does not wait for the operator's rules
        let (player, named, records) = self.named_player(new.operator, &new.players).await?;
        // a repeated request waits for the first one
        let _one_at_a_time = self.0.ruling.lock().await;
        if let Some(given) = self.given_before(idempotency).await? {
            return Ok(given);
        }
        let (operator, at) = (self.reader(new.operator)?, self.now());
        let operator_no = operator.operator_no;
        let given = SignalGiven { by: new.by, reason: new.reason.clone(), named };
        let input = RuleInput::Signal { player, level: new.level, at, given: Some(Box::new(given)) };
        let heard = self.directory().rule_input(operator_no, operator.jurisdiction, input);
        let signal = HarmSignal {
            id: id_of(operator_no, player, at),
            operator_no,
            player,
            named,
            records,
            level: new.level,
            since: at,
            source: SignalSource::Regulator { by: Some(new.by), reason: Some(new.reason) },
            answered_at: None,
            revision: 1,
        };
        let attachment = idempotency::attachment(idempotency, 201, signal.id, at);
        // no time runs while the operator cannot read it, however far behind its rules are
        let told = Event::HarmSignalSet(Box::new(signal.clone()));
        self.0.writer.commit(vec![heard, told], attachment.into_iter().collect()).await.map_err(commit_error)?;
        Ok(signal)
    }

    /// What an earlier request under the same key has given.
    async fn given_before(&self, idempotency: Option<&IdempotencyKey>) -> Result<Option<HarmSignal>, EngineError> {
        let Some(earlier) = idempotency::earlier(&self.0.store, idempotency, self.now()).await? else {
            return Ok(None);
        };
        let id: HarmSignalId = earlier.result_id.parse().map_err(|_| EngineError::NotFound("sign of harm"))?;
        let stored = self.0.store.harm_signal(id).await.map_err(unavailable)?;
        stored.ok_or(EngineError::Unavailable("what the first request has made")).map(Some)
    }

    /// The operator, where it can read a sign.
    fn reader(&self, operator: OperatorNo) -> Result<Arc<Operator>, EngineError> {
        let operator = self.directory().operators.get(&operator).cloned();
        let operator = operator.ok_or(EngineError::NotFound("operator"))?;
        can_read(&operator)?;
        Ok(operator)
    }

    /// Of some identifiers that by which the operator knows a player and can find out who it is, with what it was made of and
    /// the operator's own ids of records.
    async fn named_player(
        &self,
        operator: OperatorNo,
        players: &[(MatchKey, Option<NamedBy>)],
    ) -> Result<NamedPlayer, EngineError> {
        let store = &self.0.store;
        let keys: Vec<MatchKey> = players.iter().map(|(player, _)| *player).collect();
        let asked_by = store.contacts_named(operator, &keys).await.map_err(unavailable)?;
        let mut all = Vec::with_capacity(players.len());
        for (player, named) in players {
            let rules = self.rules_know(operator, *player).await?;
            let has_asked = store.contact(operator, *player).await.map_err(unavailable)?.is_some();
            // of a retired version no token can be made
            let is_live = |named: &NamedBy| self.keys().digest.version(named.digest_version).is_some();
            let has_token = named.is_some() || asked_by.get(player).is_some_and(is_live);
            all.push(Asked { rules, has_asked, has_token });
        }
        let refused = |why: Refused| {
            if let Some(reason) = why.reason() {
                self.0.rules_context.metrics.withheld(reason, 1);
            }
            EngineError::from(why)
        };
        let place = choose(&all).map_err(refused)?;
        let (player, named) = players[place];
        Ok((player, named, std::mem::take(&mut all[place].rules.records)))
    }

    /// What have the operator's rules heard of a player lately?
    async fn rules_know(&self, operator: OperatorNo, player: MatchKey) -> Result<Acquainted, EngineError> {
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

/// A player, what their key was made of, and ids of records.
type NamedPlayer = (MatchKey, Option<NamedBy>, Vec<String>);

/// What is known at an operator of one identifier.
#[derive(Clone, Debug, Default)]
struct Asked {
    rules: Acquainted,
    /// The operator has asked about it.
    has_asked: bool,
    /// The operator's token of it can be made.
    has_token: bool,
}

/// Why no sign is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Unknown,
    /// Its rules have not heard everything yet, and may know more in a moment.
    Behind,
    Nameless,
    Full,
}

impl Refused {
    /// As it is counted, where it is.
    fn reason(self) -> Option<&'static str> {
        match self {
            Self::Unknown | Self::Behind => None,
            Self::Nameless => Some("staff_unattributable"),
            Self::Full => Some("staff_full"),
        }
    }
}

impl From<Refused> for EngineError {
    fn from(why: Refused) -> Self {
        match why {
            Refused::Unknown => Self::NotFound("player of the operator"),
            Refused::Behind => Self::Unavailable("the operator's rules, which are still reading"),
            Refused::Nameless => Self::Conflict(
                "the operator could not find out who it is: it has never asked about this player, and no deposit or withdrawal of theirs is remembered; name the player by an identifier"
                    .to_owned(),
            ),
            Refused::Full => Self::Conflict(format!(
                "the operator has {SIGNALS_OF_ONE_MAX} signs of harm of staff from the last 14 days, as many as are followed"
            )),
        }
    }
}

/// Of some identifiers, the strongest first, that by which the operator sends records of the player, so that what it does about
/// them is heard as theirs; else the first by which it has asked about them.
fn choose(all: &[Asked]) -> Result<usize, Refused> {
    let is_behind = all.iter().any(|one| one.rules.is_behind);
    let known = all.iter().position(|one| one.rules.is_known);
    let Some(place) = known.or_else(|| all.iter().position(|one| one.has_asked)) else {
        return Err(if is_behind { Refused::Behind } else { Refused::Unknown });
    };
    let one = &all[place];
    if !one.rules.has_room {
        return Err(Refused::Full);
    }
    if !one.has_token && one.rules.records.is_empty() {
        return Err(if is_behind { Refused::Behind } else { Refused::Nameless });
    }
    Ok(place)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_is_given_by_what_the_operator_knows_the_player_by_and_can_find_them() {
        let room = || Acquainted { has_room: true, ..Acquainted::default() };
        let known = |records: &[&str]| Acquainted {
            is_known: true,
            records: records.iter().map(|&id| id.to_owned()).collect(),
            ..room()
        };
        let behind = |rules: Acquainted| Acquainted { is_behind: true, ..rules };
        let of = |rules: Acquainted, has_asked, has_token| Asked { rules, has_asked, has_token };
        type Row = (&'static str, Vec<Asked>, Result<usize, Refused>);
        let table: Vec<Row> = vec![
            ("nobody", vec![], Err(Refused::Unknown)),
            ("unknown", vec![of(room(), false, true)], Err(Refused::Unknown)),
            ("unknown as yet", vec![of(behind(room()), false, true)], Err(Refused::Behind)),
            ("a player with a deposit", vec![of(known(&["d1"]), false, false)], Ok(0)),
            ("a player who only bets", vec![of(known(&[]), false, false)], Err(Refused::Nameless)),
            ("whose deposit may come", vec![of(behind(known(&[])), false, false)], Err(Refused::Behind)),
            ("a player who only bets, by phone", vec![of(known(&[]), false, true)], Ok(0)),
            ("asked about", vec![of(room(), true, true)], Ok(0)),
            ("asked about when nobody noted by what", vec![of(room(), true, false)], Err(Refused::Nameless)),
            (
                "by what records have, though another was asked by",
                vec![of(room(), true, true), of(known(&["d1"]), false, true)],
                Ok(1),
            ),
            ("too many", vec![of(Acquainted { has_room: false, ..known(&["d1"]) }, true, true)], Err(Refused::Full)),
        ];
        for (what, all, wanted) in table {
            assert_eq!(choose(&all), wanted, "{what}");
        }
    }

    #[test]
    fn what_is_refused_says_why_and_is_counted() {
        for (why, reason, named) in [
            (Refused::Unknown, None, "player of the operator"),
            (Refused::Behind, None, "still reading"),
            (Refused::Nameless, Some("staff_unattributable"), "never asked"),
            (Refused::Full, Some("staff_full"), "4096"),
        ] {
            let said = EngineError::from(why).to_string();
            assert!(why.reason() == reason && said.contains(named), "{said}");
        }
    }
}
