//! Frames of the live stream.

use crate::ids::OperatorId;
use crate::record::Product;
use crate::region::Region;
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
    /// Groups of alerts that are not resolved.
    Groups,
    /// Freshness of every source.
    Feeds,
    /// State of the engine.
    System,
    /// Every region of the jurisdiction, the current hour and day.
    Regions,
    /// One region.
    Region(Region),
    /// Every product, the current hour and day.
    Products,
    /// One product.
    Product(Product),
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
            "groups" => Some(Self::Groups),
            "feeds" => Some(Self::Feeds),
            "system" => Some(Self::System),
            "regions" => Some(Self::Regions),
            "products" => Some(Self::Products),
            _ => match text.split_once(':')? {
                ("operator", id) => id.parse().ok().map(Self::Operator),
                ("alerts", id) => id.parse().ok().map(Self::OperatorAlerts),
                ("region", code) => Region::parse(code).map(Self::Region),
                ("product", name) => Product::parse(name).map(Self::Product),
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
            Self::Groups => f.write_str("groups"),
            Self::Feeds => f.write_str("feeds"),
            Self::System => f.write_str("system"),
            Self::Regions => f.write_str("regions"),
            Self::Region(code) => write!(f, "region:{code}"),
            Self::Products => f.write_str("products"),
            Self::Product(product) => write!(f, "product:{}", product.as_str()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_read_as_it_is_written() {
        let operator = OperatorId(7).to_string();
        let names =
            ["national", "alerts", "groups", "feeds", "system", "regions", "products", "region:KE-30", "region:other"];
        let of_one = [format!("operator:{operator}"), format!("alerts:{operator}")];
        for name in names.map(ToOwned::to_owned).into_iter().chain(of_one).chain(["product:casino".to_owned()]) {
            assert_eq!(Topic::parse(&name).map(|topic| topic.to_string()), Some(name));
        }
        for name in
            ["", "region:", "region:Nairobi", "product:", "product:chess", "operator:", "operator:x", "regions:KE-30"]
        {
            assert_eq!(Topic::parse(name), None, "{name}");
        }
    }
}
