//! The domain's language: what every other crate means by a person, an operator, a record, an alert.
//!
//! No I/O, no async, no clock. Types here are parsed once at the edge and cannot be wrong afterwards.

pub mod alert;
pub mod alert_group;
pub mod compliance;
pub mod document;
pub mod document_records;
pub mod event;
pub mod evidence;
pub mod exclusion;
pub mod exclusion_report;
pub mod feed;
pub mod feed_brokers;
pub mod harm_signal;
pub mod ids;
pub mod jurisdiction;
pub mod key_version;
pub mod live;
pub mod lookup;
pub mod match_key;
pub mod model_life;
pub mod model_shadow;
pub mod money;
pub mod notice;
pub mod operator;
pub mod phone;
pub mod quarantine;
pub mod record;
pub mod region;
pub mod risk_model;
pub mod rule;
pub mod rule_input;
pub mod score;
pub mod series;
pub mod token;
pub mod ts;
pub mod who;
pub mod words;
