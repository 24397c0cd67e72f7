//! Processed records for others: each is published to the output topic after it was stored, under its id as key.
//!
//! At least once: whoever publishes a batch anew after a crash publishes it twice, and readers tell by the key. A
//! failure is counted and holds nothing up.

use super::link::{self, Link};
use crate::feeds::FetchError;
use crate::feeds::brokers::{AskAccess, REQUEST_TIMEOUT, within};
use models::feed_brokers::KafkaSettings;
use models::ts::Ts;
use rskafka::chrono::DateTime;
use rskafka::client::partition::{Compression, PartitionClient};
use rskafka::record::Record;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of one request at most: well below what a broker takes by default (1 MiB).
const REQUEST_BYTES_MAX: usize = 512 << 10;
/// What a record costs beside its key and value, bytes.
const RECORD_BYTES: usize = 64;

/// A record as others may read it.
#[derive(Clone, Copy, Debug)]
pub struct Processed<'a> {
    /// The record's id: records of one id go to one partition, in their order.
    pub key: &'a str,
    /// One JSON value.
    pub line: &'a [u8],
}

/// Writes to the output topic of a source.
pub struct Publisher {
    settings: KafkaSettings,
    topic: String,
    access: AskAccess,
    open: Option<Vec<Arc<PartitionClient>>>,
    published: u64,
    failed: u64,
}

impl Publisher {
    /// Publishes nothing yet and has no connection; none where the settings name no output topic.
    ///
    /// # Errors
    /// [`FetchError::Settings`]
    pub fn new(settings: KafkaSettings, access: AskAccess) -> Result<Option<Self>, FetchError> {
        link::check(&settings, &access()?)?;
        let Some(topic) = settings.output_topic.clone() else { return Ok(None) };
        Ok(Some(Self { settings, topic, access, open: None, published: 0, failed: 0 }))
    }

    /// Records that the brokers have acknowledged.
    pub fn published(&self) -> u64 {
        self.published
    }

    /// Records that were not acknowledged; they may be there nevertheless.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Publishes stored records; `now` is their time in the topic. What failed is counted; nothing is tried again here.
    ///
    /// # Errors
    /// The first failure. What came before it is published.
    pub async fn publish(&mut self, records: &[Processed<'_>], now: Ts) -> Result<(), FetchError> {
        let before = self.published;
        let done = self.send(records, now).await;
        if done.is_err() {
            self.open = None;
            self.failed += records.len() as u64 - (self.published - before);
        }
        done
    }

    async fn send(&mut self, records: &[Processed<'_>], now: Ts) -> Result<(), FetchError> {
        let partitions = match self.open.take() {
            Some(partitions) => partitions,
            None => self.connect().await?,
        };
        let timestamp = DateTime::from_timestamp_micros(now.0).unwrap_or_default();
        let mut requests: BTreeMap<usize, (usize, Vec<Record>)> = BTreeMap::new();
        for record in records {
            let partition = partition_of(record.key.as_bytes(), partitions.len());
            let size = RECORD_BYTES + record.key.len() + record.line.len();
            let (bytes, request) = requests.entry(partition).or_default();
            if *bytes + size > REQUEST_BYTES_MAX && !request.is_empty() {
                *bytes = 0;
                self.published += produce(&partitions[partition], std::mem::take(request)).await?;
            }
            *bytes += size;
            request.push(Record {
                key: Some(record.key.as_bytes().to_vec()),
                value: Some(record.line.to_vec()),
                headers: BTreeMap::new(),
                timestamp,
            });
        }
        for (partition, (_, request)) in requests {
            self.published += produce(&partitions[partition], request).await?;
        }
        self.open = Some(partitions);
        Ok(())
    }

    async fn connect(&self) -> Result<Vec<Arc<PartitionClient>>, FetchError> {
        let link = Link::open(&self.settings, &(self.access)()?).await?;
        let mut clients = Vec::new();
        for partition in link.partitions(&self.topic).await? {
            clients.push(link.partition(&self.topic, partition).await?);
        }
        if clients.is_empty() {
            Err(FetchError::Refused("the output topic has no partition".into()))
        } else {
            Ok(clients)
        }
    }
}

async fn produce(client: &PartitionClient, records: Vec<Record>) -> Result<u64, FetchError> {
    let count = records.len() as u64;
    let done = within(REQUEST_TIMEOUT, client.produce(records, Compression::Zstd)).await?;
    done.map(|_| count).map_err(|e| link::error(&e))
}

/// The partition that Kafka's own producers choose for a key.
fn partition_of(key: &[u8], partitions: usize) -> usize {
    (murmur2(key) & 0x7fff_ffff) as usize % partitions
}

/// MurmurHash2, 32 bits, with the seed of `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ key.len() as u32;
    let mut words = key.chunks_exact(4);
    for word in &mut words {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (word ^ (word >> 24)).wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0, |tail, byte| (tail << 8) | u32::from(*byte));
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of Kafka's own `UtilsTest`.
    #[test]
    fn keys_are_hashed_as_kafka_hashes_them() {
        for (key, expected) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), expected, "{key}");
            assert_eq!(partition_of(key.as_bytes(), 7), ((expected & i32::MAX) % 7) as usize);
        }
    }
}
