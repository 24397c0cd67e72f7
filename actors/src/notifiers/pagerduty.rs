//! PagerDuty's Events API v2 (<https://developer.pagerduty.com/docs/events-api-v2/overview/>). The group of alerts is the
//! `dedup_key`: everything about a group is one incident there, its end closes it, and a repetition changes nothing. Groups of
//! a rule that are told of together are one incident, too, with an end of its own.

use super::{Channel, Context, SendError, http, secret};
use futures_util::future::BoxFuture;
use models::alert::Severity;
use models::notice::{Notice, NoticeKind};
use models::ts::Ts;
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Where events go.
const EVENTS: &str = "https://events.pagerduty.com/v2/enqueue";

/// Settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Of the service region, where it is not the usual one.
    pub url: Option<String>,
    /// File with the integration key.
    pub routing_key_file: Option<PathBuf>,
    /// Variable of the environment with it.
    pub routing_key_env: Option<String>,
}

impl Config {
    fn url(&self) -> &str {
        self.url.as_deref().unwrap_or(EVENTS)
    }

    pub(super) fn check(&self, context: &Context) -> Vec<String> {
        let url = http::url("url", self.url(), context).err();
        let key = secret::check("routing_key", self.routing_key_file.as_ref(), self.routing_key_env.as_ref());
        url.into_iter().chain(key).collect()
    }

    pub(super) fn open(&self, context: &Context) -> Result<Pagerduty, String> {
        let key = secret::read("routing_key", self.routing_key_file.as_ref(), self.routing_key_env.as_ref())?;
        Ok(Pagerduty {
            url: http::url("url", self.url(), context)?,
            client: http::client(context)?,
            key,
            context: context.clone(),
        })
    }
}

/// The channel.
pub struct Pagerduty {
    client: Client,
    url: Url,
    key: Zeroizing<String>,
    context: Context,
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "info",
        Severity::Medium => "warning",
        Severity::High => "error",
        Severity::Critical => "critical",
    }
}

fn event(notice: &Notice, key: &str, jurisdiction: &str) -> Value {
    let action = if notice.kind == NoticeKind::Resolved { "resolve" } else { "trigger" };
    let operator = notice.operator.as_ref().map(|operator| &operator.code);
    json!({
        "routing_key": key,
        "event_action": action,
        "dedup_key": notice.group,
        "client": "Mlinzi",
        "payload": {
            "summary": notice.title,
            "source": operator.map_or("mlinzi", String::as_str),
            "severity": severity(notice.severity),
            "timestamp": notice.at,
            "component": operator,
            "group": jurisdiction,
            "class": notice.rule,
            "custom_details": {
                "notice": notice.id,
                "kind": notice.kind,
                "alerts": notice.alerts,
                "count": notice.count,
                "lines": notice.lines,
            },
        },
    })
}

impl Channel for Pagerduty {
    fn send<'a>(&'a self, notice: &'a Notice, _: Ts) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(async move {
            let event = event(notice, &self.key, self.context.jurisdiction(notice.jurisdiction));
            http::send(self.client.post(self.url.clone()).json(&event)).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::ids::NoticeId;
    use models::jurisdiction::JurisdictionNo;

    #[test]
    fn an_end_closes_what_the_beginning_opened() {
        let mut notice = Notice::test(NoticeId(1), "pager", JurisdictionNo(0), Ts(0));
        let actions = NoticeKind::ALL.iter().map(|kind| {
            notice.kind = *kind;
            let event = event(&notice, "key", "KE");
            assert_eq!(event["dedup_key"], notice.group.as_str());
            event["event_action"].as_str().unwrap().to_owned()
        });
        let actions: Vec<String> = actions.collect();
        assert_eq!(actions, ["trigger", "trigger", "resolve", "trigger", "trigger", "trigger"]);
        assert_eq!(
            Severity::ALL.iter().map(|s| severity(*s)).collect::<Vec<_>>(),
            ["info", "warning", "error", "critical"]
        );
    }
}
