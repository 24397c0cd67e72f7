//! Licences and states of operators that were entered before rules listened to them: told once, at the first start of an
//! engine whose rules do.
//!
//! ```text
//! operators and licences as the journal has them set ─▶ what holds of them, since when ─▶ inputs of rules ─▶ a fact of the store
//! ```
//! Whoever ends between the last two tells the same once more, and rules hear it once.

use super::Engine;
use crate::api::EngineError;
use crate::register::{commit_error, unavailable};
use models::event::Event;
use models::ids::{LicenceId, OperatorNo};
use models::jurisdiction::JurisdictionNo;
use models::operator::{Licence, OperatorState};
use models::rule_input::RuleInput;
use models::ts::Ts;
use std::collections::BTreeMap;
use std::time::Duration;

/// The fact that they were told.
const TOLD: &str = "licences_told";
/// Inputs of one commit at most.
const AT_ONCE: usize = 256;
/// Pause before another try.
const RETRY: Duration = Duration::from_secs(2);

/// What an operator's rules are to hear.
#[derive(Debug, PartialEq)]
struct Untold {
    operator_no: OperatorNo,
    jurisdiction: JurisdictionNo,
    input: RuleInput,
}

/// What holds of what was set: licences as they were set last, and operators that may not trade, each since when. The
/// journal may have forgotten when a licence was set that is in the directory: it was so from its beginning, as far as
/// anybody knows.
fn entered(set: Vec<(Ts, Event)>, held: Vec<Licence>, now: Ts) -> Vec<Untold> {
    let mut licences: BTreeMap<LicenceId, (Ts, Licence)> =
        held.into_iter().map(|licence| (licence.id, (licence.valid_from.min(now), licence))).collect();
    let mut operators = BTreeMap::new();
    for (at, event) in set {
        match event {
            Event::LicenceSet(licence) => {
                licences.insert(licence.id, (at, licence));
            }
            Event::OperatorSet(operator) => {
                let known =
                    operators.entry(operator.operator_no).or_insert((at, operator.jurisdiction, operator.state));
                // another name is no other state
                if known.2 != operator.state {
                    *known = (at, operator.jurisdiction, operator.state);
                }
            }
            _ => {}
        }
    }
    let stopped = operators.into_iter().filter(|(_, (.., state))| *state != OperatorState::Active);
    let stopped = stopped.map(|(operator_no, (at, jurisdiction, state))| Untold {
        operator_no,
        jurisdiction,
        input: RuleInput::OperatorState { at, state },
    });
    let licences = licences.into_values().map(|(at, licence)| Untold {
        operator_no: licence.operator_no,
        jurisdiction: licence.jurisdiction,
        input: RuleInput::Licence { at, licence: Box::new(licence) },
    });
    let mut untold: Vec<Untold> = licences.chain(stopped).collect();
    untold.sort_by_key(|untold| (untold.operator_no, untold.input.at()));
    untold
}

impl Engine {
    /// Tells them, where nobody has.
    pub(super) async fn tell_entered(&self) -> Result<(), EngineError> {
        let inner = &self.0;
        if inner.store.fact(TOLD).await.map_err(unavailable)?.is_some() {
            return Ok(());
        }
        let held = inner.store.licences().await.map_err(unavailable)?;
        let set = inner.store.operators_and_licences_set().await.map_err(unavailable)?;
        let untold = entered(set, held, self.now());
        let directory = inner.directory.load_full();
        let heard =
            |untold: &Untold| directory.rule_input(untold.operator_no, untold.jurisdiction, untold.input.clone());
        for some in untold.chunks(AT_ONCE) {
            let events = some.iter().map(heard).collect();
            inner.writer.commit(events, Vec::new()).await.map_err(commit_error)?;
        }
        inner.store.first_fact(TOLD, &untold.len().to_string()).await.map_err(unavailable)?;
        Ok(())
    }

    /// The same, however long the store is away.
    pub(super) async fn tell_entered_surely(&self) {
        while let Err(error) = self.tell_entered().await {
            tracing::warn!(%error, "licences that were entered before are told to rules later");
            tokio::time::sleep(RETRY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::ids::OperatorId;
    use models::operator::{LicenceState, Operator};

    fn licence(id: u128, operator: u16, state: LicenceState) -> Licence {
        Licence {
            id: LicenceId(id),
            operator_no: OperatorNo(operator),
            number: format!("L-{id}"),
            class: "online".to_owned(),
            jurisdiction: JurisdictionNo(0),
            products: Vec::new(),
            conditions: Vec::new(),
            channels: Vec::new(),
            return_to_player: BTreeMap::new(),
            valid_from: Ts(5),
            valid_to: None,
            state,
        }
    }

    fn operator(no: u16, version: u32, state: OperatorState) -> Event {
        Event::OperatorSet(Operator {
            operator_no: OperatorNo(no),
            id: OperatorId(no.into()),
            code: format!("operator-{no}"),
            name: format!("named {version} times"),
            jurisdiction: JurisdictionNo(0),
            state,
            registered_at: Ts(1),
            version,
        })
    }

    #[test]
    fn what_holds_is_told_since_when_it_does() {
        use LicenceState::{Active, Revoked};
        use OperatorState::{Active as Trading, Suspended};
        let set = |at, id, operator, state| (Ts(at), Event::LicenceSet(licence(id, operator, state)));
        let told = |at, id, operator, state| Untold {
            operator_no: OperatorNo(operator),
            jurisdiction: JurisdictionNo(0),
            input: RuleInput::Licence { at: Ts(at), licence: Box::new(licence(id, operator, state)) },
        };
        let stopped = |at, no, state| Untold {
            operator_no: OperatorNo(no),
            jurisdiction: JurisdictionNo(0),
            input: RuleInput::OperatorState { at: Ts(at), state },
        };
        // what the journal has | licences of the table | what is told
        let table = [
            (vec![], vec![], vec![]),
            (vec![(Ts(1), operator(1, 1, Trading))], vec![], vec![]),
            (
                vec![set(10, 7, 2, Active), set(20, 8, 1, Active), set(30, 7, 2, Revoked)],
                vec![licence(7, 2, Revoked), licence(8, 1, Active)],
                vec![told(20, 8, 1, Active), told(30, 7, 2, Revoked)],
            ),
            // a table that was read before the journal
            (
                vec![set(10, 7, 2, Active), set(30, 7, 2, Revoked)],
                vec![licence(7, 2, Active)],
                vec![told(30, 7, 2, Revoked)],
            ),
            // the journal has forgotten it
            (vec![], vec![licence(7, 2, Revoked)], vec![told(5, 7, 2, Revoked)]),
            (
                vec![
                    (Ts(1), operator(1, 1, Trading)),
                    (Ts(2), operator(1, 2, Suspended)),
                    (Ts(3), operator(1, 3, Suspended)),
                    (Ts(4), operator(2, 1, Suspended)),
                    (Ts(5), operator(2, 2, Trading)),
                ],
                vec![],
                vec![stopped(2, 1, Suspended)],
            ),
        ];
        for (set, held, expected) in table {
            assert_eq!(entered(set, held, Ts(100)), expected);
        }
    }
}
