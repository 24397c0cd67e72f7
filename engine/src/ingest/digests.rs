//! Digests of records: who they are, and what they say.

use models::record::{PlayChannel, Product, Record};
use ring::digest::{Context, SHA256, digest};

/// First 64 bits of SHA-256 of a record id.
#[must_use]
pub fn id_digest(record_id: &str) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&digest(&SHA256, record_id.as_bytes()).as_ref()[..8]);
    u64::from_be_bytes(first)
}

/// First 32 bits of SHA-256 over everything but the id and who knows the player, in a fixed order and length-prefixed. Enough to
/// tell a record that is sent twice from one that says something else; not enough against somebody who looks for another
/// content with the same digest: that is what [`records_digest`] is for.
#[must_use]
pub fn content_digest(record: &Record) -> u32 {
    let mut bytes = Vec::with_capacity(256);
    content(record, &mut bytes);
    let mut first = [0; 4];
    first.copy_from_slice(&digest(&SHA256, &bytes).as_ref()[..4]);
    u32::from_be_bytes(first)
}

/// SHA-256 over all that is stored of some records, in their order.
#[must_use]
pub fn records_digest(records: &[Record]) -> [u8; 32] {
    let (mut context, mut bytes) = (Context::new(&SHA256), Vec::with_capacity(256));
    for record in records {
        bytes.clear();
        text(&mut bytes, &record.record_id);
        bytes.push(u8::from(record.is_identified));
        content(record, &mut bytes);
        context.update(&bytes);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&(text.len() as u32).to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// What a record says, in a fixed order and length-prefixed.
fn content(r: &Record, bytes: &mut Vec<u8>) {
    let mut text = |value: Option<&str>| text(bytes, value.unwrap_or_default());
    text(Some(r.kind.as_str()));
    text(Some(r.status.as_str()));
    text(Some(r.currency.as_str()));
    text(r.product.map(Product::as_str));
    text(r.channel.map(PlayChannel::as_str));
    text(r.replaces.as_deref());
    text(r.bet_id.as_deref());
    text(r.session_id.as_deref());
    text(r.region.as_deref());
    text(Some(&r.detail));
    for number in [Some(r.occurred_at.0), Some(r.amount_minor), r.balance_after_minor] {
        bytes.push(u8::from(number.is_some()));
        bytes.extend_from_slice(&number.unwrap_or_default().to_be_bytes());
    }
    for key in [r.player, r.device, r.account] {
        bytes.push(u8::from(key.is_some()));
        bytes.extend_from_slice(&key.map_or(0, |k| k.0).to_be_bytes());
    }
}
