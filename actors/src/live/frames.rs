//! What goes over the wire, encoded once for all who watch.

use bytes::Bytes;
use engine::rules::disclosure;
use models::alert::{AlertRevision, Subject};
use models::ids::AlertId;
use models::live::Topic;
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

/// An alert as it is shown: the revision's fields, times in RFC 3339.
#[derive(Serialize)]
pub struct AlertView<'a> {
    /// The alert.
    pub id: AlertId,
    /// Rule.
    pub rule: Cow<'a, str>,
    /// Version of the rule.
    pub rule_version: u32,
    /// Raised, corrected, withdrawn.
    pub kind: models::alert::RevisionKind,
    /// Urgency.
    pub severity: models::alert::Severity,
    /// What it speaks about.
    pub subject: Cow<'a, Subject>,
    /// Start of the window.
    pub window_start: models::ts::Ts,
    /// End of the window.
    pub window_end: models::ts::Ts,
    /// Time by the source's clock.
    pub at: models::ts::Ts,
    /// Why.
    pub evidence: Cow<'a, models::alert::Evidence>,
}

impl<'a> AlertView<'a> {
    /// The view of a revision in a topic; in an operator's own, as the operator may read it.
    pub fn of(revision: &'a AlertRevision, topic: Topic) -> Self {
        match topic {
            Topic::OperatorAlerts(_) => Self::new(disclosure::for_operator(revision)),
            _ => Self::new(Cow::Borrowed(revision)),
        }
    }

    fn new(revision: Cow<'a, AlertRevision>) -> Self {
        let (id, rule_version, kind, severity) = (revision.id, revision.rule_version, revision.kind, revision.severity);
        let (window, at) = (revision.window, revision.at);
        let (rule, subject, evidence) = match revision {
            Cow::Borrowed(r) => (Cow::Borrowed(r.rule.as_str()), Cow::Borrowed(&r.subject), Cow::Borrowed(&r.evidence)),
            Cow::Owned(r) => (Cow::Owned(r.rule), Cow::Owned(r.subject), Cow::Owned(r.evidence)),
        };
        let (window_start, window_end) = (window.start, window.end);
        Self { id, rule, rule_version, kind, severity, subject, window_start, window_end, at, evidence }
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
    Error { code: &'a str, topic: Option<&'a str> },
}

/// A frame without data.
pub(super) type Notice<'a> = ServerFrame<'a, ()>;

/// What a WebSocket frame carries (RFC 6455, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Opcode {
    Text = 1,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// A frame, encoded once: its clones share the bytes, whoever writes them.
#[derive(Clone)]
pub struct Frame(Arc<Inner>);

struct Inner {
    opcode: Opcode,
    /// As a WebSocket carries it.
    wire: Bytes,
    /// Bytes before the text.
    head: usize,
    /// What a client that has it holds from then on.
    position: Option<(Topic, u64)>,
    latest: Option<Latest>,
}

/// The newest state of a metric topic.
struct Latest {
    data: Arc<str>,
    /// A gap and the state as a snapshot, for who missed steps on the way.
    instead: OnceLock<[Frame; 2]>,
}

impl Frame {
    fn new(opcode: Opcode, payload: &[u8], position: Option<(Topic, u64)>, latest: Option<Latest>) -> Self {
        let mut wire = Vec::with_capacity(payload.len() + 10);
        wire.push(0x80 | opcode as u8);
        match payload.len() {
            length @ 0..=125 => wire.push(length as u8),
            length @ 126..=0xffff => {
                wire.push(126);
                wire.extend((length as u16).to_be_bytes());
            }
            length => {
                wire.push(127);
                wire.extend((length as u64).to_be_bytes());
            }
        }
        let head = wire.len();
        wire.extend_from_slice(payload);
        Self(Arc::new(Inner { opcode, wire: wire.into(), head, position, latest }))
    }

    fn encode<T: Serialize>(
        frame: &ServerFrame<'_, T>,
        position: Option<(Topic, u64)>,
        latest: Option<Latest>,
    ) -> Self {
        // serialising our own structs to a string cannot fail: no map keys but strings, no I/O
        Self::new(Opcode::Text, serde_json::to_string(frame).unwrap_or_default().as_bytes(), position, latest)
    }

    /// Without data.
    pub(super) fn notice(notice: &Notice<'_>) -> Self {
        let position = match notice {
            ServerFrame::Resumed { topic, offset, .. } => Topic::parse(topic).map(|topic| (topic, *offset)),
            _ => None,
        };
        Self::encode(notice, position, None)
    }

    /// A step that everybody must see.
    pub(super) fn delta<T: Serialize>(topic: Topic, offset: u64, data: T) -> Self {
        Self::encode(&ServerFrame::Delta { topic: topic.to_string(), offset, data }, Some((topic, offset)), None)
    }

    /// The newest state of a metric topic: a step to who holds the one before, conflated for who does not read.
    pub(super) fn latest(topic: Topic, offset: u64, data: &Arc<str>) -> Self {
        let latest = Latest { data: Arc::clone(data), instead: OnceLock::new() };
        let frame = ServerFrame::Delta { topic: topic.to_string(), offset, data: raw(data) };
        Self::encode(&frame, Some((topic, offset)), Some(latest))
    }

    /// The whole state.
    pub(super) fn snapshot<T: Serialize>(topic: Topic, offset: u64, data: T) -> Self {
        let frame = ServerFrame::Snapshot { topic: topic.to_string(), offset, recovered: false, data };
        Self::encode(&frame, Some((topic, offset)), None)
    }

    /// A text of its own.
    pub fn text_of(text: &str) -> Self {
        Self::new(Opcode::Text, text.as_bytes(), None, None)
    }

    /// A control frame; longer payloads than a control frame may have are cut (RFC 6455, section 5.5).
    pub fn control(opcode: Opcode, payload: &[u8]) -> Self {
        Self::new(opcode, &payload[..payload.len().min(125)], None, None)
    }

    /// The topic of which only the newest state is to be kept for who does not read.
    pub(super) fn conflated(&self) -> Option<Topic> {
        self.0.latest.as_ref().and(self.0.position).map(|(topic, _)| topic)
    }

    /// The state for who missed steps on the way; itself, where it is no newest state.
    pub(super) fn instead(&self) -> Vec<Self> {
        let Some((latest, (topic, offset))) = self.0.latest.as_ref().zip(self.0.position) else {
            return vec![self.clone()];
        };
        let made = || {
            let gap = Self::notice(&Notice::Gap { topic: topic.to_string() });
            [gap, Self::snapshot(topic, offset, raw(&latest.data))]
        };
        latest.instead.get_or_init(made).to_vec()
    }

    /// What it is.
    pub fn opcode(&self) -> Opcode {
        self.0.opcode
    }

    /// As a WebSocket carries it, with its head.
    pub fn wire(&self) -> &Bytes {
        &self.0.wire
    }

    /// What it carries; JSON where it is a text.
    pub fn text(&self) -> Bytes {
        self.0.wire.slice(self.0.head..)
    }

    /// What a client that has it holds from then on.
    pub fn position(&self) -> Option<(Topic, u64)> {
        self.0.position
    }
}

pub(super) fn raw(json: &str) -> Option<&RawValue> {
    serde_json::from_str(json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_the_head_of_its_length() {
        let table: [(usize, &[u8]); 5] = [
            (0, &[0x81, 0]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xff, 0xff]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ];
        for (length, head) in table {
            let frame = Frame::text_of(&"x".repeat(length));
            assert_eq!((&frame.wire()[..head.len()], frame.wire().len()), (head, head.len() + length), "{length}");
            assert_eq!(frame.text().len(), length);
        }
        assert_eq!(&Frame::control(Opcode::Ping, b"").wire()[..], [0x89, 0]);
    }
}
