//! What takes two people: versions of rules, models, exclusions that operators reported.
//!
//! A person is known by the keys that followed each other, and by the name on them: two keys of one name are one person. A
//! name that was only typed is nobody's proof, so it counts as one of two people only while no key could say it.

use crate::api::EngineError;
use crate::directory::Directory;
use models::ids::KeyId;
use models::operator::{ApiKey, Scope};
use models::risk_model::Model;
use models::who::Who;

/// Keys that followed each other at most, looked at to find whose they are.
const ROTATIONS_MAX: usize = 1_000;

/// Whose a key is. One that is not known any more has no name.
fn who_of(directory: &Directory, key: KeyId) -> Who {
    let unknown = || Who { name: String::new(), key: Some(key) };
    directory.keys.get(&key).map_or_else(unknown, |entry| Who::from(&entry.key))
}

/// Are these two one person: by the name, or by keys of which one followed the other?
#[must_use]
pub fn is_same_person(directory: &Directory, one: &Who, other: &Who) -> bool {
    let first = |key: KeyId| {
        let before = |key: &KeyId| directory.keys.get(key).and_then(|entry| entry.key.rotated_from);
        std::iter::successors(Some(key), before).take(ROTATIONS_MAX).last().unwrap_or(key)
    };
    one.has_name_of(other) || one.key.zip(other.key).is_some_and(|(one, other)| first(one) == first(other))
}

/// Are two keys those of one person?
#[must_use]
pub fn are_of_one_person(directory: &Directory, one: KeyId, other: KeyId) -> bool {
    is_same_person(directory, &who_of(directory, one), &who_of(directory, other))
}

/// Could a key of staff say who promotes? One that is revoked says nothing any more.
fn can_say(directory: &Directory) -> bool {
    let says = |key: &ApiKey| key.operator_no.is_none() && key.revoked_at.is_none() && key.holds(Scope::RulesManage);
    directory.keys.values().any(|entry| says(&entry.key))
}

/// Is whoever promotes a model another person than who registered it and who had it judged?
///
/// # Errors
/// It is the same person.
pub fn second(directory: &Directory, model: &Model, by: &Who) -> Result<(), EngineError> {
    if is_same_person(directory, &model.registered_by(), by) {
        return Err(EngineError::Forbidden("whoever registered a model does not promote it: a second person does"));
    }
    if model.evaluated_by.as_ref().is_some_and(|judge| is_same_person(directory, judge, by)) {
        return Err(EngineError::Forbidden("whoever had a model judged does not promote it: a second person does"));
    }
    Ok(())
}

/// Are both people behind a promotion known by keys? A judgement with a key stands for a registration without one. Where no
/// key of staff may manage rules, typed names are all there is.
///
/// # Errors
/// One of both is only typed.
pub fn both_proven(directory: &Directory, model: &Model, by: &Who) -> Result<(), EngineError> {
    if !can_say(directory) {
        return Ok(());
    }
    if by.key.is_none() {
        let why = "there are keys of staff with rules:manage, and a typed name proves nobody: promote with one of them (--key-file or MLINZI_KEY, or the API)";
        return Err(EngineError::Forbidden(why));
    }
    let judged_with_key = model.evaluated_by.as_ref().is_some_and(|judge| judge.key.is_some());
    if model.by_key.is_none() && !judged_with_key {
        let why = "it was registered under a typed name, and there are keys of staff with rules:manage: have it judged again with the key of somebody else (`mlinzi model evaluate KIND VERSION --test FILE --key-file KEY`)";
        return Err(EngineError::Forbidden(why));
    }
    Ok(())
}

#[cfg(test)]
#[path = "second_person_tests.rs"]
mod tests;
