//! What is read, and held against the settings, before anything starts.

use super::StartError;
use crate::directory::Directory;
use crate::secrets::{KeyMaterial, KeyRing, Keys};
use crate::staff::Staff;
use crate::writer::{Answers, CommitMetrics, WriterHandle};
use arc_swap::ArcSwap;
use models::jurisdiction::Jurisdiction;
use models::key_version::{KeyPurpose, KeyStates, KeyVersion};
use models::match_key::DigestKey;
use std::sync::Arc;
use std::time::Duration;
use store::{Clock, Store};

/// What tools work with, beside a running engine or without one: the engine hears of their changes by the journal.
pub struct Tools {
    /// Commands on the directory.
    pub staff: Staff,
    /// The directory.
    pub directory: Arc<ArcSwap<Directory>>,
    /// Writes events.
    pub writer: WriterHandle,
    /// The keys in force.
    pub ring: Arc<KeyRing>,
}

/// Opens the store for a tool.
pub async fn tools(
    jurisdictions: Vec<Jurisdiction>,
    store: &Store,
    material: &KeyMaterial,
    clock: Arc<dyn Clock>,
) -> Result<Tools, StartError> {
    let keys = keys_of(store, material).await?;
    let ring = keys.hold();
    let directory = Arc::new(ArcSwap::from_pointee(load_directory(jurisdictions, store, &ring).await?));
    let writer = store.start_writer(Box::new(Answers), ring.chain, clock, Duration::from_secs(10)).await?;
    let next = store.next_numbers().await?;
    let metrics = CommitMetrics::unregistered().map_err(|e| StartError::Actor(e.to_string()))?;
    let writer = WriterHandle::new(writer, metrics);
    let (no, source_no) = (next.operator_no, next.source_no);
    let staff = Staff::new(store.clone(), writer.clone(), keys, Arc::clone(&directory), (no, source_no), "mk_live_");
    Ok(Tools { staff, directory, writer, ring })
}

/// Holds a setting against what the store was begun with: some can never change once people are registered.
pub(super) async fn keep(
    store: &Store,
    name: &str,
    value: &str,
    what: &str,
    fits: impl Fn(&str, &str) -> bool,
) -> Result<(), StartError> {
    let known = store.first_fact(name, value).await?;
    if fits(&known, value) {
        return Ok(());
    }
    Err(StartError::Keys(format!(
        "{what} is not the one this store was begun with: people would not be found under it"
    )))
}

/// What the store knows of its keys. Where it knows nothing of a purpose yet, what it was begun with is in force: people
/// who are registered are found under that digest key and no other.
pub(super) async fn key_states(store: &Store, material: &KeyMaterial) -> Result<KeyStates, StartError> {
    let mut states = store.key_states().await?;
    for purpose in KeyPurpose::ALL {
        if states.versions.iter().any(|known| known.purpose == purpose) {
            continue;
        }
        let mut there = material.fingerprints(purpose)?;
        if purpose == KeyPurpose::Digest {
            let begun_with = digest_begun_with(store, material).await?;
            there.retain(|(version, _)| *version == begun_with);
        }
        let ready = there.into_iter().map(|(version, mark)| KeyVersion::ready_at_first(purpose, version, mark));
        states.versions.extend(ready);
    }
    Ok(states)
}

/// The digest key of a store that was begun before its keys had a life of their own: it left a fact.
async fn digest_begun_with(store: &Store, material: &KeyMaterial) -> Result<u8, StartError> {
    let digests = KeyRing::new(material)?.digest;
    let facts = store.facts("digest_key_").await?;
    let is_begun = |key: &&DigestKey| facts.contains(&format!("digest_key_{}", key.version()));
    let digest = digests.live().find(is_begun).unwrap_or_else(|| digests.current());
    let mark = digest.opaque("fingerprint", models::match_key::OpaqueKind::Player, b"digest key").to_string();
    keep(store, &format!("digest_key_{}", digest.version()), &mark, "the digest key", |known, now| known == now)
        .await?;
    // whoever wrote under another version left its fact: only then everybody has to be looked at
    let known = |version: u8| digests.version(version).is_some();
    if facts.iter().all(|name| name.trim_start_matches("digest_key_").parse().is_ok_and(known)) {
        return Ok(digest.version());
    }
    match store.digest_versions().await?.into_iter().find(|version| !known(*version)) {
        None => Ok(digest.version()),
        Some(version) => Err(StartError::Keys(format!(
            "people are registered under digest key version {version}, which is not there: they would not be found"
        ))),
    }
}

/// The ring in force.
pub(super) async fn keys_of(store: &Store, material: &KeyMaterial) -> Result<Keys, StartError> {
    Ok(Keys::new(KeyRing::with(material, &key_states(store, material).await?)?))
}

pub(super) async fn load_directory(
    jurisdictions: Vec<Jurisdiction>,
    store: &Store,
    ring: &KeyRing,
) -> Result<Directory, StartError> {
    let codes: Vec<&str> = jurisdictions.iter().map(|j| j.code.as_str()).collect();
    // their numbers are stored: new ones may follow, none may move
    let appended = |known: &str, now: &str| now == known || now.starts_with(&format!("{known},"));
    keep(store, "jurisdictions", &codes.join(","), "the order of jurisdictions", appended).await?;
    let mut directory = Directory::new(jurisdictions);
    for operator in store.operators().await? {
        directory.token_keys_of(ring, Some(operator.operator_no));
        directory.set_operator(operator);
    }
    for licence in store.licences().await? {
        directory.set_licence(licence);
    }
    for source in store.sources().await? {
        directory.set_source(source);
    }
    for recognition in store.recognitions().await? {
        directory.set_recognition(recognition);
    }
    for replaced in store.token_generations().await? {
        directory.set_generation(replaced.operator_no, replaced.key, replaced.generation);
    }
    for (seq, changed) in store.rule_changes().await? {
        directory.change_rules(seq, &changed);
    }
    for (key, sealed) in store.keys().await? {
        let signing =
            ring.open(&key.id.0.to_be_bytes(), &sealed).map_err(|e| StartError::Keys(format!("{}: {e}", key.id)))?;
        if !directory.set_key(ring, key, &signing) {
            tracing::error!("a stored key has no readable digest and is left out");
        }
    }
    Ok(directory)
}
