//! A webhook of somebody else's, signed as Standard Webhooks has it (<https://www.standardwebhooks.com>): `webhook-id` is
//! the notice's, `webhook-timestamp` is fresh with each attempt, `webhook-signature` has one signature for each secret, so
//! that secrets can be replaced with overlap.

use super::{Channel, Context, SendError, http, secret};
use data_encoding::BASE64;
use futures_util::future::BoxFuture;
use models::notice::Notice;
use models::ts::Ts;
use reqwest::{Client, Url};
use ring::hmac;
use serde::Deserialize;
use serde_json::json;
use std::path::PathBuf;

/// Secrets at once at most.
const SECRETS_MAX: usize = 4;
/// Bytes of a secret, by the standard.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to.
    pub url: String,
    /// File with the secret, `whsec_<base64>`; several, one a line, while they are replaced.
    pub secret_file: Option<PathBuf>,
    /// Variable of the environment with the same.
    pub secret_env: Option<String>,
}

impl Config {
    pub(super) fn check(&self, context: &Context) -> Vec<String> {
        let url = http::url("url", &self.url, context).err();
        let secret = secret::check("secret", self.secret_file.as_ref(), self.secret_env.as_ref());
        url.into_iter().chain(secret).collect()
    }

    pub(super) fn open(&self, context: &Context) -> Result<Webhook, String> {
        let text = secret::read("secret", self.secret_file.as_ref(), self.secret_env.as_ref())?;
        let keys: Option<Vec<hmac::Key>> = text.split_whitespace().map(key).collect();
        let keys = keys.filter(|keys| keys.len() <= SECRETS_MAX);
        let keys = keys.ok_or_else(|| {
            format!("secret: not 1 to {SECRETS_MAX} of the form whsec_<base64 of 24 to 64 bytes>, one a line")
        })?;
        Ok(Webhook {
            url: http::url("url", &self.url, context)?,
            client: http::client(context)?,
            keys,
            context: context.clone(),
        })
    }
}

fn key(text: &str) -> Option<hmac::Key> {
    let bytes = zeroize::Zeroizing::new(BASE64.decode(text.strip_prefix("whsec_")?.as_bytes()).ok()?);
    SECRET_BYTES.contains(&bytes.len()).then(|| hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// The channel.
pub struct Webhook {
    client: Client,
    url: Url,
    keys: Vec<hmac::Key>,
    context: Context,
}

/// What is told of a notice: the same at every attempt.
fn body(notice: &Notice, jurisdiction: &str) -> String {
    let data = json!({
        "id": notice.id,
        "group": notice.group,
        "alerts": notice.alerts,
        "count": notice.count,
        "severity": notice.severity,
        "rule": notice.rule,
        "operator": notice.operator.as_ref().map(|operator| &operator.code),
        "jurisdiction": jurisdiction,
        "title": notice.title,
        "lines": notice.lines,
    });
    json!({"type": format!("notice.{}", notice.kind.as_str()), "timestamp": notice.at, "data": data}).to_string()
}

fn signature(keys: &[hmac::Key], id: &str, seconds: i64, body: &str) -> String {
    let signed = format!("{id}.{seconds}.{body}");
    let one = |key| format!("v1,{}", BASE64.encode(hmac::sign(key, signed.as_bytes()).as_ref()));
    keys.iter().map(one).collect::<Vec<_>>().join(" ")
}

impl Channel for Webhook {
    fn send<'a>(&'a self, notice: &'a Notice, now: Ts) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(async move {
            let (id, seconds) = (notice.id.to_string(), now.seconds());
            let body = body(notice, self.context.jurisdiction(notice.jurisdiction));
            let signature = signature(&self.keys, &id, seconds, &body);
            let request = self
                .client
                .post(self.url.clone())
                .header("content-type", "application/json")
                .header("webhook-id", id)
                .header("webhook-timestamp", seconds)
                .header("webhook-signature", signature)
                .body(body);
            http::send(request).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_standards_own_example() {
        // the example of the reference implementations
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let signed = signature(&[key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn secrets_have_their_form() {
        let short = format!("whsec_{}", BASE64.encode(&[1; 23]));
        for text in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", short.as_str(), "whsec_not base64"] {
            assert!(key(text).is_none(), "{text}");
        }
    }
}
