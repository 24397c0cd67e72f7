//! Connections to a cluster, and what its errors mean to a reader.

use crate::feeds::FetchError;
use crate::feeds::brokers::{Access, CONNECT_TIMEOUT, Login, REQUEST_TIMEOUT, WAIT, keep_secret, within, words};
use models::feed_brokers::{KafkaSettings, SaslMechanism};
use rskafka::BackoffConfig;
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder, Credentials as SaslCredentials, SaslConfig};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// What this program calls itself.
const CLIENT_ID: &str = "mlinzi";
/// Bytes of one answer at most: what a partition is asked for, and a batch that is larger than that.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Refuses what cannot work.
pub(super) fn check(settings: &KafkaSettings, access: &Access) -> Result<(), FetchError> {
    settings.check().map_err(|e| FetchError::Settings(e.to_string()))?;
    access.may_call(&settings.brokers, "brokers")?;
    match access.login {
        Login::Anonymous => {}
        Login::Password { .. } if settings.sasl == SaslMechanism::Plain => {
            keep_secret(settings.tls, &settings.brokers, "the password")?;
        }
        Login::Password { .. } => {}
        Login::Token(_) | Login::NKey(_) => {
            return Err(FetchError::Settings("a Kafka cluster is shown a user and a password".into()));
        }
    }
    if settings.tls {
        access.tls()?;
    }
    Ok(())
}

/// A cluster.
pub(super) struct Link {
    client: Client,
}

impl Link {
    pub(super) async fn open(settings: &KafkaSettings, access: &Access) -> Result<Self, FetchError> {
        check(settings, access)?;
        access.may_call_now(&settings.brokers, "brokers").await?;
        // a try or two within the time of a connection; then the caller hears of it and tries again by its own rules
        let backoff = BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(1),
            base: 2.0,
            deadline: Some(CONNECT_TIMEOUT / 2),
        };
        let mut builder = ClientBuilder::new(settings.brokers.clone())
            .client_id(CLIENT_ID)
            .max_message_size(ANSWER_BYTES_MAX)
            .backoff_config(backoff);
        if settings.tls {
            builder = builder.tls_config(Arc::new(access.tls()?));
        }
        if let Login::Password { user, password } = &access.login {
            let shown = SaslCredentials::new(user.clone(), password.to_string());
            builder = builder.sasl_config(match settings.sasl {
                SaslMechanism::Plain => SaslConfig::Plain(shown),
                SaslMechanism::ScramSha256 => SaslConfig::ScramSha256(shown),
                SaslMechanism::ScramSha512 => SaslConfig::ScramSha512(shown),
            });
        }
        let client = within(CONNECT_TIMEOUT, builder.build()).await?.map_err(|e| error(&e))?;
        Ok(Self { client })
    }

    /// The partitions of a topic.
    pub(super) async fn partitions(&self, topic: &str) -> Result<BTreeSet<i32>, FetchError> {
        let topics = within(REQUEST_TIMEOUT, self.client.list_topics()).await?.map_err(|e| error(&e))?;
        match topics.into_iter().find(|t| t.name == topic) {
            Some(found) => Ok(found.partitions.into_iter().collect()),
            None => Err(FetchError::Refused(format!("there is no topic {topic}"))),
        }
    }

    /// A client of one partition.
    pub(super) async fn partition(&self, topic: &str, partition: i32) -> Result<Arc<PartitionClient>, FetchError> {
        let client = self.client.partition_client(topic, partition, UnknownTopicHandling::Error);
        Ok(Arc::new(within(REQUEST_TIMEOUT, client).await?.map_err(|e| error(&e))?))
    }
}

/// A record, less what nobody reads.
pub(super) struct Stored {
    pub(super) offset: i64,
    pub(super) value: Option<Vec<u8>>,
}

/// What a partition answered.
pub(super) struct Page {
    /// Behind the last record that was taken.
    pub(super) next: i64,
    /// From `next` on.
    pub(super) records: VecDeque<Stored>,
    /// Where the partition ended when it answered.
    pub(super) end: i64,
}

/// Why a partition did not answer with records.
pub(super) enum PageError {
    /// The offset is not there.
    OutOfRange,
    /// Anything else.
    Other(FetchError),
}

/// A long poll.
pub(super) async fn page(client: &PartitionClient, from: i64, bytes: usize) -> Result<Page, PageError> {
    let page = ask(client, from, bytes, WAIT).await?;
    if !page.records.is_empty() || page.end <= from {
        return Ok(page);
    }
    // what was asked for may have been compacted away within a batch: then the next batch has to fit, too
    ask(client, from, ANSWER_BYTES_MAX / 2, Duration::ZERO).await
}

async fn ask(client: &PartitionClient, from: i64, bytes: usize, wait: Duration) -> Result<Page, PageError> {
    let bytes = 1..i32::try_from(bytes).unwrap_or(i32::MAX);
    let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
    let answer = within(REQUEST_TIMEOUT, client.fetch_records(from, bytes, wait_ms)).await.map_err(PageError::Other)?;
    let (records, end) = answer.map_err(|e| match e {
        Error::ServerError { protocol_error: ProtocolError::OffsetOutOfRange, .. } => PageError::OutOfRange,
        e => PageError::Other(error(&e)),
    })?;
    let records = records.into_iter().map(|r| Stored { offset: r.offset, value: r.record.value }).collect();
    Ok(Page { next: from, records, end })
}

/// What an error of the client means.
pub(super) fn error(error: &Error) -> FetchError {
    match error {
        Error::ServerError { protocol_error, .. } => match protocol_error {
            ProtocolError::LeaderNotAvailable
            | ProtocolError::NotLeaderOrFollower
            | ProtocolError::NetworkException
            | ProtocolError::RequestTimedOut
            | ProtocolError::BrokerNotAvailable => FetchError::Unreachable(words(format!("{protocol_error:?}"))),
            ProtocolError::CorruptMessage => FetchError::Unreadable(words(format!("{protocol_error:?}"))),
            _ => FetchError::Refused(words(format!("{protocol_error:?}"))),
        },
        Error::InvalidResponse(said) => FetchError::Unreadable(words(said)),
        _ => FetchError::Unreachable(words(error)),
    }
}
