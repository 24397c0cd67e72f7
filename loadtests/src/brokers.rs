//! Brokers that measures and tests read from, and a way to them that can be cut.

mod kafka;
mod nats;
mod proxy;

pub use kafka::{KafkaBroker, KafkaMessage, KafkaRecord};
pub use nats::NatsServer;
pub use proxy::{Proxy, Way};
