//! Text messages through a gateway that takes HTTP: what it is sent is a template, because every gateway has its own form.
//!
//! Placeholders in the body and in headers: `{to}`, `{text}`, `{id}` (the notice's), `{secret}`. A form's names and values
//! are encoded after they are filled in, and so are the strings of JSON, so that no text can add a field.

use super::{Channel, Context, SendError, http, secret};
use futures_util::future::BoxFuture;
use models::notice::{Notice, NoticeKind};
use models::ts::Ts;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::Value;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Characters of a single message in GSM's own alphabet (3GPP TS 23.038).
const TEXT_CHARS_MAX: usize = 160;
/// Bytes of a body's template at most.
const BODY_BYTES_MAX: usize = 4_096;
/// Headers at most.
const HEADERS_MAX: usize = 16;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `application/x-www-form-urlencoded`; the template is `name=value&name=value`, not encoded.
    Form,
    /// `application/json`.
    Json,
}

/// Settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to.
    pub url: String,
    /// Headers as `["Name", "value"]`.
    #[serde(default)]
    pub headers: Vec<[String; 2]>,
    /// How the body is written.
    pub format: Format,
    /// Its template.
    pub body: String,
    /// Whose telephone: one number, so that a failure at one person's repeats nothing at another's.
    pub to: String,
    /// File with what `{secret}` stands for.
    pub secret_file: Option<PathBuf>,
    /// Variable of the environment with it.
    pub secret_env: Option<String>,
}

/// What placeholders stand for.
struct Values<'a> {
    to: &'a str,
    text: &'a str,
    id: &'a str,
    secret: &'a str,
}

impl Values<'_> {
    /// From left to right, so that what is put in is not looked at again.
    fn fill(&self, template: &str) -> String {
        let mut filled = String::with_capacity(template.len() + TEXT_CHARS_MAX);
        let mut rest = template;
        while let Some(at) = rest.find('{') {
            filled.push_str(&rest[..at]);
            let known = [("{to}", self.to), ("{text}", self.text), ("{id}", self.id), ("{secret}", self.secret)];
            match known.iter().find(|(name, _)| rest[at..].starts_with(name)) {
                Some((name, value)) => {
                    filled.push_str(value);
                    rest = &rest[at + name.len()..];
                }
                None => {
                    filled.push('{');
                    rest = &rest[at + 1..];
                }
            }
        }
        filled.push_str(rest);
        filled
    }

    fn fill_json(&self, template: &Value) -> Value {
        match template {
            Value::String(text) => Value::String(self.fill(text)),
            Value::Array(items) => items.iter().map(|item| self.fill_json(item)).collect(),
            Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), self.fill_json(value))).collect(),
            other => other.clone(),
        }
    }
}

impl Config {
    fn wants_secret(&self) -> bool {
        let templates = self.headers.iter().map(|[_, value]| value).chain([&self.body]);
        templates.into_iter().any(|template| template.contains("{secret}"))
    }

    pub(super) fn check(&self, context: &Context) -> Vec<String> {
        let mut wrong: Vec<String> = http::url("url", &self.url, context).err().into_iter().collect();
        if self.wants_secret() || self.secret_file.is_some() || self.secret_env.is_some() {
            wrong.extend(secret::check("secret", self.secret_file.as_ref(), self.secret_env.as_ref()));
        }
        if self.body.len() > BODY_BYTES_MAX {
            wrong.push(format!("body: more than {BODY_BYTES_MAX} bytes"));
        }
        if !self.body.contains("{text}") || !self.body.contains("{to}") {
            wrong.push("body: without {text} or {to}".to_owned());
        }
        if self.format == Format::Json && serde_json::from_str::<Value>(&self.body).is_err() {
            wrong.push("body: not JSON".to_owned());
        }
        let number = self.to.strip_prefix('+').unwrap_or_default();
        if !(7..=15).contains(&number.len()) || !number.bytes().all(|b| b.is_ascii_digit()) {
            wrong.push("to: not a number of the form +254700000000".to_owned());
        }
        if self.headers.len() > HEADERS_MAX {
            wrong.push(format!("headers: more than {HEADERS_MAX}"));
        }
        let is_header =
            |[name, value]: &[String; 2]| name.parse::<HeaderName>().is_ok() && HeaderValue::from_str(value).is_ok();
        if !self.headers.iter().all(is_header) {
            wrong.push("headers: not of the form [\"Name\", \"value\"]".to_owned());
        }
        wrong
    }

    pub(super) fn open(&self, context: &Context) -> Result<Sms, String> {
        let secret = match self.wants_secret() {
            true => secret::read("secret", self.secret_file.as_ref(), self.secret_env.as_ref())?,
            false => Zeroizing::default(),
        };
        let url = http::url("url", &self.url, context)?;
        Ok(Sms { config: self.clone(), url, client: http::client(context)?, secret })
    }
}

/// The channel.
pub struct Sms {
    config: Config,
    client: Client,
    url: Url,
    secret: Zeroizing<String>,
}

/// What a telephone shows: one message in GSM's alphabet, whose other characters would more than halve it.
fn text(notice: &Notice) -> String {
    let what = match notice.kind {
        NoticeKind::Raised => "",
        NoticeKind::Escalated => "worse: ",
        NoticeKind::Resolved => "over: ",
        NoticeKind::Regressed => "back: ",
        NoticeKind::More => "more: ",
        NoticeKind::Test => "test: ",
    };
    let operator = notice.operator.as_ref().map_or(String::new(), |operator| format!(" {}", operator.code));
    let head = format!("Mlinzi {}{operator}: {what}", notice.severity.as_str());
    let plain = |c: char| match c {
        '[' | '{' => '(',
        ']' | '}' => ')',
        '\\' | '|' => '/',
        '^' | '~' | '`' => '-',
        '…' => '.',
        c if c.is_ascii() && !c.is_ascii_control() => c,
        _ => '?',
    };
    let full: String = head.chars().chain(notice.title.chars()).map(plain).collect();
    if full.len() <= TEXT_CHARS_MAX { full } else { format!("{}...", &full[..TEXT_CHARS_MAX - 3]) }
}

impl Sms {
    /// Headers and body.
    fn message(&self, notice: &Notice) -> Result<(HeaderMap, String), SendError> {
        let (id, text) = (notice.id.to_string(), text(notice));
        let values = Values { to: &self.config.to, text: &text, id: &id, secret: &self.secret };
        let (kind, body) = match self.config.format {
            Format::Json => {
                let template: Value = serde_json::from_str(&self.config.body).unwrap_or_default();
                ("application/json", values.fill_json(&template).to_string())
            }
            Format::Form => {
                let pairs = self.config.body.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
                let filled = pairs.map(|(name, value)| (name, values.fill(value)));
                // the parser of addresses has the encoder of forms
                let mut form = Url::parse("http://form").map_err(|_| SendError::retry("no form"))?;
                form.query_pairs_mut().extend_pairs(filled);
                ("application/x-www-form-urlencoded", form.query().unwrap_or_default().to_owned())
            }
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let own = [("idempotency-key".to_owned(), id.clone())];
        let configured = self.config.headers.iter().map(|[name, value]| (name.clone(), values.fill(value)));
        for (name, value) in own.into_iter().chain(configured) {
            let name = name.parse::<HeaderName>().map_err(|_| SendError::retry("a header's name is wrong"))?;
            // a secret with a line break in it
            let mut value =
                HeaderValue::from_str(&value).map_err(|_| SendError::retry("a header cannot be written"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok((headers, body))
    }
}

impl Channel for Sms {
    fn send<'a>(&'a self, notice: &'a Notice, _: Ts) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(async move {
            let (headers, body) = self.message(notice)?;
            http::send(self.client.post(self.url.clone()).headers(headers).body(body)).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::ids::NoticeId;
    use models::jurisdiction::JurisdictionNo;

    fn notice(title: &str) -> Notice {
        let mut notice = Notice::test(NoticeId(1), "sms", JurisdictionNo(0), Ts(0));
        notice.title = title.to_owned();
        notice.clipped()
    }

    fn sms(format: Format, body: &str) -> Sms {
        // a second test in this process finds it installed
        let _ = rustls_provider();
        let config = Config {
            url: "https://gateway.example/send".to_owned(),
            headers: vec![["Authorization".to_owned(), "Bearer {secret}".to_owned()]],
            format,
            body: body.to_owned(),
            to: "+254700000000".to_owned(),
            secret_file: None,
            secret_env: None,
        };
        let url = config.url.parse().unwrap();
        Sms { config, url, client: Client::new(), secret: Zeroizing::new("hunter2".to_owned()) }
    }

    fn rustls_provider() -> bool {
        rustls::crypto::ring::default_provider().install_default().is_ok()
    }

    #[test]
    fn a_message_is_one_text_of_gsms_alphabet() {
        assert_eq!(text(&notice("Stakes {of} [acme]")), "Mlinzi low: test: Stakes (of) (acme)");
        let long = text(&notice(&"é|".repeat(70)));
        assert_eq!(long.len(), 158);
        let mut longer = notice(&"x".repeat(150));
        longer.operator =
            Some(models::notice::NoticeOperator { no: models::ids::OperatorNo(1), code: "acme".to_owned() });
        let longer = text(&longer);
        assert_eq!((longer.len(), longer.ends_with("x...")), (TEXT_CHARS_MAX, true), "{longer}");
    }

    #[test]
    fn no_text_can_add_a_field_and_no_value_is_filled_in_twice() {
        let attack = notice("{secret}\"&to=+1 {to}");
        let (headers, form) = sms(Format::Form, "To={to}&Body={text}&Ref={id}").message(&attack).unwrap();
        let expected = "To=%2B254700000000&Body=Mlinzi+low%3A+test%3A+%28secret%29%22%26to%3D%2B1+%28to%29&Ref=ntf_00000000000000000000000001";
        assert_eq!(form, expected);
        assert_eq!(headers["authorization"], "Bearer hunter2");
        assert_eq!(headers["idempotency-key"], "ntf_00000000000000000000000001");
        let template = r#"{"messages":[{"to":"{to}","body":"{text}"}],"n":1,"other":"{x}{"}"#;
        let (_, body) = sms(Format::Json, template).message(&attack).unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["messages"][0]["body"], "Mlinzi low: test: (secret)\"&to=+1 (to)");
        assert_eq!((&body["n"], &body["other"]), (&Value::from(1), &Value::from("{x}{")));
        let values = Values { to: "{secret}", text: "{to}", id: "i", secret: "s" };
        assert_eq!(values.fill("{text}{to}{id}"), "{to}{secret}i", "what is put in is not looked at again");
    }

    #[test]
    fn what_is_wrong_with_a_template_is_told() {
        let context = Context { allow_private: false, jurisdictions: std::sync::Arc::new([]) };
        let mut config = sms(Format::Json, "{text}").config;
        config.to = "0700".to_owned();
        config.headers.push(["bad name".to_owned(), "x".to_owned()]);
        let wrong = config.check(&context).join("; ");
        for part in ["secret_file", "{to}", "not JSON", "to: not a number", "headers"] {
            assert!(wrong.contains(part), "{part}: {wrong}");
        }
    }
}
