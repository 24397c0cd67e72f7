//! Slack's incoming webhooks (<https://api.slack.com/messaging/webhooks>). They know no message id, so the notice's stands
//! in the last line. Their address is the secret.

use super::{Channel, Context, SendError, http, secret};
use futures_util::future::BoxFuture;
use models::notice::{Notice, NoticeKind};
use models::ts::Ts;
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Characters of a section at most, by Slack.
const SECTION_CHARS_MAX: usize = 3_000;

/// Settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// File with the webhook's address.
    pub url_file: Option<PathBuf>,
    /// Variable of the environment with it.
    pub url_env: Option<String>,
}

impl Config {
    pub(super) fn check(&self, _: &Context) -> Vec<String> {
        secret::check("url", self.url_file.as_ref(), self.url_env.as_ref()).into_iter().collect()
    }

    pub(super) fn open(&self, context: &Context) -> Result<Slack, String> {
        let text = secret::read("url", self.url_file.as_ref(), self.url_env.as_ref())?;
        Ok(Slack { url: http::url("url", &text, context)?, client: http::client(context)?, context: context.clone() })
    }
}

/// The channel.
pub struct Slack {
    client: Client,
    url: Url,
    context: Context,
}

/// Slack's three characters of control.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// What becomes of an alert, as a word before its title.
fn word(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Raised => "Raised",
        NoticeKind::Escalated => "Escalated",
        NoticeKind::Resolved => "Resolved",
        NoticeKind::Regressed => "Back again",
        NoticeKind::More => "More of it",
        NoticeKind::Test => "Test",
    }
}

fn message(notice: &Notice, jurisdiction: &str) -> Value {
    let headline = format!("{}: {}", word(notice.kind), notice.title);
    // a header takes 150 characters, and the title alone may have as many
    let header: String = headline.chars().take(150).collect();
    let operator = notice.operator.as_ref().map_or("-", |operator| &operator.code);
    let facts = [
        format!("*Severity*\n{}", notice.severity.as_str()),
        format!("*Rule*\n{}", escaped(&notice.rule)),
        format!("*Operator*\n{}", escaped(operator)),
        format!("*Jurisdiction*\n{}", escaped(jurisdiction)),
    ];
    let mut blocks = vec![
        json!({"type": "header", "text": {"type": "plain_text", "text": header}}),
        json!({"type": "section", "fields": facts.map(|text| json!({"type": "mrkdwn", "text": text}))}),
    ];
    // whole lines only: a cut one could end within an escape
    let mut text = String::new();
    for line in notice.lines.iter().map(|line| escaped(line)) {
        if text.chars().count() + line.chars().count() < SECTION_CHARS_MAX {
            text.push_str(&line);
            text.push('\n');
        }
    }
    if !text.is_empty() {
        blocks.push(json!({"type": "section", "text": {"type": "mrkdwn", "text": text.trim_end()}}));
    }
    let foot = format!("{} · {} · {} alerts", notice.id, notice.at, notice.count);
    blocks.push(json!({"type": "context", "elements": [{"type": "plain_text", "text": foot}]}));
    json!({"text": escaped(&headline), "blocks": blocks})
}

impl Channel for Slack {
    fn send<'a>(&'a self, notice: &'a Notice, _: Ts) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(async move {
            let message = message(notice, self.context.jurisdiction(notice.jurisdiction));
            http::send(self.client.post(self.url.clone()).json(&message)).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::ids::NoticeId;
    use models::jurisdiction::JurisdictionNo;

    #[test]
    fn blocks_stay_within_slacks_limits_and_nothing_is_a_command() {
        let mut notice = Notice::test(NoticeId(1), "slack", JurisdictionNo(0), Ts(0));
        notice.title = "<!channel> & co".repeat(20);
        notice.lines = vec!["<".repeat(models::notice::LINE_CHARS_MAX); models::notice::LINES_MAX];
        let message = message(&notice.clipped(), "KE");
        let blocks = message["blocks"].as_array().unwrap();
        assert!(blocks[0]["text"]["text"].as_str().unwrap().chars().count() <= 150);
        assert!(blocks[2]["text"]["text"].as_str().unwrap().chars().count() <= SECTION_CHARS_MAX);
        assert!(!message["text"].as_str().unwrap().contains('<'), "{message}");
        assert!(!blocks[2].to_string().contains('<'), "{message}");
        let foot = blocks[3]["elements"][0]["text"].as_str().unwrap();
        assert!(foot.starts_with(&NoticeId(1).to_string()), "{foot}");
    }
}
