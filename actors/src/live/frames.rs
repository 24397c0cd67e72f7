//! What goes over the wire, encoded once for all who watch.

use models::alert::AlertRevision;
use models::ids::AlertId;
use models::live::Topic;
use serde::Serialize;
use serde_json::value::RawValue;
use std::sync::Arc;

/// An alert as it is shown: the revision's fields, times in RFC 3339.
#[derive(Serialize)]
pub struct AlertView<'a> {
    /// The alert.
    pub id: AlertId,
    /// Rule.
    pub rule: &'a str,
    /// Version of the rule.
    pub rule_version: u32,
    /// Raised, corrected, withdrawn.
    pub kind: models::alert::RevisionKind,
    /// Urgency.
    pub severity: models::alert::Severity,
    /// What it speaks about.
    pub subject: &'a models::alert::Subject,
    /// Start of the window.
    pub window_start: models::ts::Ts,
    /// End of the window.
    pub window_end: models::ts::Ts,
    /// Time by the source's clock.
    pub at: models::ts::Ts,
    /// Why.
    pub evidence: &'a models::alert::Evidence,
}

impl<'a> AlertView<'a> {
    /// The view of a revision.
    pub fn of(revision: &'a AlertRevision) -> Self {
        Self {
            id: revision.id,
            rule: &revision.rule,
            rule_version: revision.rule_version,
            kind: revision.kind,
            severity: revision.severity,
            subject: &revision.subject,
            window_start: revision.window.start,
            window_end: revision.window.end,
            at: revision.at,
            evidence: &revision.evidence,
        }
    }
}

#[derive(Serialize)]
pub(super) struct AlertsView<'a> {
    pub(super) items: Vec<AlertView<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ServerFrame<'a, T: Serialize> {
    Welcome { protocol: &'a str, epoch: &'a str, heartbeat_ms: u32 },
    Snapshot { topic: String, offset: u64, recovered: bool, data: T },
    Delta { topic: String, offset: u64, data: T },
    Gap { topic: String },
    Resumed { topic: String, offset: u64, recovered: bool },
    Error { code: &'a str, topic: &'a str },
}

/// A frame without data.
pub(super) type Notice<'a> = ServerFrame<'a, ()>;

pub(super) fn encode<T: Serialize>(frame: &ServerFrame<'_, T>) -> Arc<str> {
    // serialising our own structs to a string cannot fail: no map keys but strings, no I/O
    serde_json::to_string(frame).unwrap_or_default().into()
}

pub(super) fn delta<T: Serialize>(topic: Topic, offset: u64, data: T) -> Arc<str> {
    encode(&ServerFrame::Delta { topic: topic.to_string(), offset, data })
}

pub(super) fn raw(json: &str) -> Option<&RawValue> {
    serde_json::from_str(json).ok()
}
