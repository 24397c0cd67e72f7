//! What is read, and held against the settings, before anything starts.

use super::StartError;
use crate::directory::Directory;
use crate::secrets::KeyRing;
use crate::staff::Staff;
use crate::writer::{CommitMetrics, WriterHandle};
use arc_swap::ArcSwap;
use models::jurisdiction::Jurisdiction;
use models::ts::Ts;
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
}

/// Opens the store for a tool.
pub async fn tools(
    jurisdictions: Vec<Jurisdiction>,
    store: &Store,
    ring: Arc<KeyRing>,
    clock: Arc<dyn Clock>,
) -> Result<Tools, StartError> {
    struct Answer;
    impl store::Sink for Answer {
        fn publish(&mut self, group: store::CommittedGroup) {
            group.members.into_iter().for_each(store::Member::complete);
        }
        fn head(&mut self, _: models::ids::Seq, _: Ts) {}
    }
    let directory = Arc::new(ArcSwap::from_pointee(load_directory(jurisdictions, store, &ring).await?));
    let writer = store.start_writer(Box::new(Answer), ring.chain, clock, Duration::from_secs(10)).await?;
    let next = store.next_numbers().await?;
    let metrics = CommitMetrics::unregistered().map_err(|e| StartError::Actor(e.to_string()))?;
    let writer = WriterHandle::new(writer, metrics);
    let (no, source_no) = (next.operator_no, next.source_no);
    let staff = Staff::new(store.clone(), writer.clone(), ring, Arc::clone(&directory), (no, source_no), "mk_live_");
    Ok(Tools { staff, directory, writer })
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

/// People are found only under the current version of the digest key: with another one, everybody in the register
/// would be answered "not excluded".
async fn refuse_other_digests(store: &Store, ring: &KeyRing) -> Result<(), StartError> {
    let digest = ring.digest.current();
    let mark = digest.opaque("fingerprint", models::match_key::OpaqueKind::Player, b"digest key").to_string();
    keep(store, &format!("digest_key_{}", digest.version()), &mark, "the digest key", |known, now| known == now)
        .await?;
    let current = ring.digest.current().version();
    // whoever wrote under another version left its fact: only then everybody has to be looked at
    let own = format!("digest_key_{current}");
    if store.facts("digest_key_").await?.iter().all(|name| *name == own) {
        return Ok(());
    }
    match store.digest_versions().await?.into_iter().find(|version| *version != current) {
        None => Ok(()),
        Some(version) => Err(StartError::Keys(format!(
            "people are registered under digest key version {version}, and the current one is {current}: they would not be found; changing the digest key needs their re-derivation, which this version cannot do yet"
        ))),
    }
}

pub(super) async fn load_directory(
    jurisdictions: Vec<Jurisdiction>,
    store: &Store,
    ring: &KeyRing,
) -> Result<Directory, StartError> {
    refuse_other_digests(store, ring).await?;
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
    for (key, sealed) in store.keys().await? {
        let signing =
            ring.open(&key.id.0.to_be_bytes(), &sealed).map_err(|e| StartError::Keys(format!("{}: {e}", key.id)))?;
        if !directory.set_key(ring, key, &signing) {
            tracing::error!("a stored key has no readable digest and is left out");
        }
    }
    Ok(directory)
}
