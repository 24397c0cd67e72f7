//! Notices: what people are told of an alert outside the screens, by mail, text message or somebody else's system.
//!
//! A notice is made once, with an id that says what it is about, and goes to several channels; each channel's sending is a
//! row of its own. Whoever gets one twice sees it by the id.

use crate::alert::Severity;
use crate::ids::{AlertId, NoticeId, OperatorNo};
use crate::jurisdiction::JurisdictionNo;
use crate::record::closed_set;
use crate::ts::{Ts, micros};
use serde::{Deserialize, Serialize};

/// Alerts that a notice names at most; `count` says how many there are.
pub const ALERTS_MAX: usize = 10;
/// Lines of a notice at most.
pub const LINES_MAX: usize = 20;
/// Characters of a line at most.
pub const LINE_CHARS_MAX: usize = 300;
/// Characters of a title at most.
pub const TITLE_CHARS_MAX: usize = 150;

closed_set!(
    /// What a notice says of its group of alerts.
    NoticeKind {
        Raised = "raised", Escalated = "escalated", Resolved = "resolved", Regressed = "regressed",
        More = "more", Test = "test",
    }
);

closed_set!(
    /// What became of a notice on one channel. Only a pending one changes.
    NoticeState { Pending = "pending", Sent = "sent", Failed = "failed", Dropped = "dropped" }
);

/// Whose alert a notice is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeOperator {
    /// Internal number.
    pub no: OperatorNo,
    /// Stable code: what people and routes name it by.
    pub code: String,
}

/// Something people are to be told. It names operators and rules, never a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Digest of (group, episode, transition).
    pub id: NoticeId,
    /// What it says.
    pub kind: NoticeKind,
    /// Digest of the group of alerts, as text: the same from the first notice of a cause to its last.
    pub group: String,
    /// Which notice of its group it is: nobody hears of one before those with smaller numbers.
    #[serde(default)]
    pub number: u32,
    /// Up to [`ALERTS_MAX`] of its alerts.
    #[serde(default)]
    pub alerts: Vec<AlertId>,
    /// How urgent.
    pub severity: Severity,
    /// Rule.
    pub rule: String,
    /// Whose alert; none where it is about the engine itself.
    #[serde(default)]
    pub operator: Option<NoticeOperator>,
    /// Whose law, and so who may read it.
    pub jurisdiction: JurisdictionNo,
    /// One line.
    pub title: String,
    /// Up to [`LINES_MAX`] sentences, most important first.
    #[serde(default)]
    pub lines: Vec<String>,
    /// When it was made: notices of a channel go in this order, those of one group in that of their numbers.
    #[serde(with = "micros")]
    pub at: Ts,
    /// How many alerts it stands for.
    pub count: u32,
}

impl Notice {
    /// Within its limits: what is too long is cut, and control characters (a line break in a title would be a header of
    /// a mail) become spaces.
    #[must_use]
    pub fn clipped(mut self) -> Self {
        self.alerts.truncate(ALERTS_MAX);
        self.title = one_line(&self.title, TITLE_CHARS_MAX);
        self.lines.truncate(LINES_MAX);
        for line in &mut self.lines {
            *line = one_line(line, LINE_CHARS_MAX);
        }
        self
    }

    /// A notice that says that a channel works.
    #[must_use]
    pub fn test(id: NoticeId, channel: &str, jurisdiction: JurisdictionNo, at: Ts) -> Self {
        let notice = Self {
            id,
            kind: NoticeKind::Test,
            group: format!("test-{id}"),
            number: 0,
            alerts: Vec::new(),
            severity: Severity::Low,
            rule: "test".to_owned(),
            operator: None,
            jurisdiction,
            title: format!("Test of the channel {channel}"),
            lines: vec!["Notices of alerts arrive like this one. There is nothing to do.".to_owned()],
            at,
            count: 1,
        };
        notice.clipped()
    }
}

/// At most `chars_max` characters, none of them a control character.
fn one_line(text: &str, chars_max: usize) -> String {
    let cleaned = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = cleaned.clone().take(chars_max).collect();
    if cleaned.count() > chars_max {
        line.pop();
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_cut_to_its_limits_and_no_title_breaks_a_line() {
        let mut notice = Notice::test(NoticeId(1), "mail", JurisdictionNo(0), Ts(0));
        notice.title = format!("{}\r\nBcc: somebody", "é".repeat(TITLE_CHARS_MAX - 2));
        notice.lines = vec!["x".repeat(1_000); 30];
        notice.alerts = vec![AlertId(1); 30];
        let notice = notice.clipped();
        assert_eq!(notice.title.chars().count(), TITLE_CHARS_MAX);
        assert!(!notice.title.contains(['\r', '\n']) && notice.title.ends_with(" …"), "{}", notice.title);
        assert_eq!((notice.lines.len(), notice.alerts.len()), (LINES_MAX, ALERTS_MAX));
        assert!(notice.lines.iter().all(|line| line.chars().count() == LINE_CHARS_MAX));
        let again = notice.clone().clipped();
        assert_eq!(again, notice, "cutting twice changes nothing");
    }

    #[test]
    fn a_notice_survives_its_text() {
        let mut notice = Notice::test(NoticeId(u128::MAX), "mail", JurisdictionNo(3), Ts(1_234_567));
        notice.operator = Some(NoticeOperator { no: OperatorNo(7), code: "seven".to_owned() });
        let text = serde_json::to_string(&notice).unwrap();
        assert_eq!(serde_json::from_str::<Notice>(&text).unwrap(), notice);
        assert!(text.contains("\"kind\":\"test\"") && text.contains("\"id\":\"ntf_7"), "{text}");
    }
}
