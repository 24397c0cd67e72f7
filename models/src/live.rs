//! Frames of the live stream.

use crate::ids::OperatorId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Subprotocol of the WebSocket.
pub const SUBPROTOCOL: &str = "mlinzi.v1";
/// Close code: not signed in.
pub const CLOSE_UNAUTHENTICATED: u16 = 4001;
/// Close code: rights were revoked.
pub const CLOSE_FORBIDDEN: u16 = 4003;
/// Close code: the client does not read.
pub const CLOSE_SLOW: u16 = 4008;

/// What can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Totals of the jurisdiction.
    National,
    /// Every alert of the jurisdiction.
    Alerts,
    /// Freshness of every source.
    Feeds,
    /// State of the engine.
    System,
    /// Windows of one operator.
    Operator(OperatorId),
    /// Alerts of one operator.
    OperatorAlerts(OperatorId),
}

impl Topic {
    /// Reads the wire name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "national" => Some(Self::National),
            "alerts" => Some(Self::Alerts),
            "feeds" => Some(Self::Feeds),
            "system" => Some(Self::System),
            _ => match text.split_once(':')? {
                ("operator", id) => id.parse().ok().map(Self::Operator),
                ("alerts", id) => id.parse().ok().map(Self::OperatorAlerts),
                _ => None,
            },
        }
    }

    /// Alerts are never conflated and their offsets outlive the process.
    pub fn is_alerts(self) -> bool {
        matches!(self, Self::Alerts | Self::OperatorAlerts(_))
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::National => f.write_str("national"),
            Self::Alerts => f.write_str("alerts"),
            Self::Feeds => f.write_str("feeds"),
            Self::System => f.write_str("system"),
            Self::Operator(id) => write!(f, "operator:{id}"),
            Self::OperatorAlerts(id) => write!(f, "alerts:{id}"),
        }
    }
}

/// From the client.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientFrame {
    /// Subscribe, or resume where an epoch and offsets are known.
    Subscribe {
        /// Topic names.
        topics: Vec<String>,
        /// What the client already holds.
        #[serde(default)]
        resume: Option<Resume>,
    },
    /// Leave topics.
    Unsubscribe {
        /// Topic names.
        topics: Vec<String>,
    },
}

/// What a client already holds.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Resume {
    /// Epoch of the offsets: `alerts` offsets have an epoch of the store, the others one of the boot.
    pub epoch: String,
    /// Last offset by topic.
    pub offsets: std::collections::BTreeMap<String, u64>,
}
