//! An operator's rules over what they have heard, once more: what they say follows from stored inputs alone, scores of
//! series among them. No register, no evidence and no detector is asked.

use super::INPUTS_AT_ONCE;
use super::input::Stored;
use super::judge::{Judge, OfOperator, Which};
use super::told::{Told, Whose};
use crate::directory::Directory;
use crate::kernel::guard;
use crate::market::SetAside;
use crate::replay::ReplayError;
use engine::rules::run::OperatorRules;
use jiff::tz::TimeZone;
use models::alert::AlertRevision;
use models::event::Event;
use models::ids::OperatorNo;
use models::rule_input::RuleInput;
use models::ts::Ts;
use store::Store;

/// Every revision of an alert that an operator's live rules say of inputs up to the last that lies before `until`. None
/// where the directory does not know the operator.
///
/// # Errors
/// [`ReplayError`]
pub(crate) async fn revisions(
    store: &Store,
    directory: &Directory,
    no: OperatorNo,
    until: Ts,
) -> Result<Vec<AlertRevision>, ReplayError> {
    let Some(operator) = directory.operators.get(&no) else { return Ok(Vec::new()) };
    let jurisdiction = operator.jurisdiction;
    let Some(of) = directory.jurisdiction(jurisdiction) else { return Ok(Vec::new()) };
    let whose = Whose { no, jurisdiction, code: operator.code.clone(), currency: of.currency };
    let unreadable = |error: String| ReplayError::Unreadable { code: operator.code.clone(), error };
    let zone = TimeZone::get(&of.time_zone).map_err(|error| unreadable(error.to_string()))?;
    let aside: SetAside = store.rules_set_aside(no).await?.into_iter().collect();
    let mut rules_seq = 0;
    let mut state = OfOperator::new(OperatorRules::new(no, zone, &directory.rules_as_of(jurisdiction, rules_seq)));
    let (mut after, mut said) = (0, Vec::new());
    loop {
        let rows = store.rule_inputs(no, after, INPUTS_AT_ONCE).await?;
        let inputs = rows.into_iter().map(Stored::read).collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
        for input in &inputs {
            if input.rules_seq != rules_seq {
                rules_seq = input.rules_seq;
                state.set_rules(&directory.rules_as_of(jurisdiction, rules_seq));
            }
            after = input.input_seq;
            let mut told = Told::default();
            let findings = match aside.get(&after) {
                Some(places) if places.is_empty() => Vec::new(),
                places => hear(&mut state, input, places.map(Vec::as_slice).unwrap_or_default())
                    .map_err(|panic| ReplayError::Panic { code: operator.code.clone(), operator_seq: after, panic })?,
            };
            // told when they were counted first
            drop(state.counted_days());
            told.add(&whose, directory, input, after, findings);
            said.extend(told.take().into_iter().flat_map(|(events, _)| events));
        }
        if inputs.is_empty() || inputs.iter().all(|input| time(input) >= until) {
            break;
        }
    }
    let revision = |event| if let Event::AlertRevised(revision) = event { Some(revision) } else { None };
    Ok(said.into_iter().filter_map(revision).collect())
}

fn hear(state: &mut OfOperator, input: &Stored, aside: &[u32]) -> Result<Vec<engine::rules::finding::Finding>, String> {
    let heard = guard(|| {
        let mut findings = Vec::new();
        state.hear(input, &Which { keeps: &|place| !aside.contains(&place), inspect: None }, &mut findings);
        findings
    });
    heard.map_err(|panic| panic.to_string())
}

/// Time of an input by the clock that judged it.
fn time(input: &Stored) -> Ts {
    match &input.input {
        RuleInput::Batch { .. } => input.batch.as_ref().map_or(Ts(0), |batch| batch.clock_at),
        RuleInput::Tick { at, .. } | RuleInput::Declared { at, .. } | RuleInput::Signal { at, .. } => *at,
        RuleInput::Exclusions { window, .. } => window.end,
        RuleInput::Series(scored) => scored.at,
    }
}
