//! The journal's chain: each row's digest covers the row before and the digest of its own payload, so that a payload
//! can be sealed or erased later while the chain still verifies.

use models::event::{Committed, Event};
use models::ids::Seq;
use models::ts::Ts;
use ring::digest::{SHA256, digest};
use ring::hmac;

/// Digest before the first row.
pub const GENESIS: [u8; 32] = [0; 32];

/// Makes the chain's digests.
#[derive(Clone)]
pub struct Chain(hmac::Key);

impl Chain {
    /// With the key that is kept outside the database.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// HMAC-SHA-256 over the digest before, sequence, time, kind and payload digest.
    pub fn digest(&self, before: &[u8], seq: Seq, at: Ts, kind: &str, payload_digest: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(before);
        context.update(&seq.to_be_bytes());
        context.update(&at.0.to_be_bytes());
        context.update(kind.as_bytes());
        context.update(&[0]);
        context.update(payload_digest);
        array(context.sign().as_ref())
    }
}

/// SHA-256 of a payload.
pub fn payload_digest(payload: &str) -> [u8; 32] {
    array(digest(&SHA256, payload.as_bytes()).as_ref())
}

/// The bytes of a digest.
pub fn array(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(bytes);
    out
}

/// A row of the journal.
pub struct JournalRow {
    /// The event with its place.
    pub committed: Committed,
    /// JSON.
    pub payload: String,
    /// Of the payload.
    pub payload_digest: [u8; 32],
    /// Of the chain.
    pub digest: [u8; 32],
}

/// Version of the payloads' shape; a payload says with which it was written.
const VERSION: u8 = 1;

#[derive(serde::Serialize)]
struct Payload<'a> {
    v: u8,
    #[serde(flatten)]
    event: &'a Event,
}

/// Puts events behind `(seq, digest)`.
pub fn extend(
    chain: &Chain,
    head: (Seq, [u8; 32]),
    at: Ts,
    events: Vec<Event>,
) -> Result<Vec<JournalRow>, serde_json::Error> {
    let (mut seq, mut before) = head;
    events
        .into_iter()
        .map(|event| {
            seq += 1;
            let payload = serde_json::to_string(&Payload { v: VERSION, event: &event })?;
            let payload_digest = payload_digest(&payload);
            let digest = chain.digest(&before, seq, at, event.kind(), &payload_digest);
            before = digest;
            Ok(JournalRow { committed: Committed { seq, at, event }, payload, payload_digest, digest })
        })
        .collect()
}

/// Reads an event back.
pub fn decode(payload: &str) -> Result<Event, serde_json::Error> {
    serde_json::from_str(payload)
}
