//! What the readers of brokers share: how they show who they are, how long they wait, and how messages become lines.

use super::address::{PrivateAddress, is_private};
use super::{CURSOR_BYTES_MAX, Cursor, FETCH_BYTES_MAX, FetchError};
use bytes::Bytes;
use models::record::BATCH_RECORDS_MAX;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Messages of one fetch at most: as many as one batch may hold.
pub const MESSAGES_MAX: usize = BATCH_RECORDS_MAX;
/// How long a connection may take, its greetings included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a broker may take to answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a fetch waits for something new.
pub const WAIT: Duration = Duration::from_millis(900);
/// Bytes of a broker's own words that are shown at most.
const WORDS_MAX: usize = 200;

/// Who a reader is. Nothing of it can be printed; it is wiped when it goes.
#[derive(Clone, Default)]
pub enum Login {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// A user with a password.
    Password {
        /// Who.
        user: String,
        /// The password.
        password: Zeroizing<String>,
    },
    /// A token (NATS only).
    Token(Zeroizing<String>),
    /// The seed of an NKey, `SU…` (NATS only): it signs, and never leaves this process.
    NKey(Zeroizing<String>),
}

/// What a reader shows, whom it believes and whom it may call.
#[derive(Clone, Default)]
pub struct Access {
    /// Who it is.
    pub login: Login,
    /// Certificates of the authorities that brokers are believed by, PEM; the system's where there are none. Only with TLS.
    pub authorities: Option<Vec<u8>>,
    /// Whether brokers of private networks, and of this machine, may be called.
    pub allow_private_addresses: bool,
}

/// Gives the access anew for each connection: a credential may be replaced at any time.
pub type AskAccess = Rc<dyn Fn() -> Result<Access, FetchError>>;

/// A credential as it is kept.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
    nkey: Option<String>,
    authorities: Option<String>,
}

impl Access {
    /// Reads a credential: a JSON object with `user` and `password`, `token`, or `nkey` (a seed, `SU…`), and with
    /// `authorities` (PEM) where those of the system do not know the brokers.
    ///
    /// # Errors
    /// [`FetchError::Settings`]; it does not quote the credential.
    pub fn read(text: &str) -> Result<Self, FetchError> {
        let form = || FetchError::Settings("the credential is not user and password, token or nkey in JSON".into());
        let kept: Kept = serde_json::from_str(text).map_err(|_| form())?;
        let secret = |text: Option<String>| text.map(Zeroizing::new);
        let login = match (kept.user, secret(kept.password), secret(kept.token), secret(kept.nkey)) {
            (None, None, None, None) => Login::Anonymous,
            (Some(user), Some(password), None, None) => Login::Password { user, password },
            (None, None, Some(token), None) => Login::Token(token),
            (None, None, None, Some(seed)) => Login::NKey(seed),
            _ => return Err(form()),
        };
        Ok(Self { login, authorities: kept.authorities.map(String::into_bytes), ..Self::default() })
    }

    /// Refuses brokers that the configuration does not let be called, as far as addresses say without being looked up.
    ///
    /// # Errors
    /// [`FetchError::Settings`]
    pub(super) fn may_call(&self, addresses: &[String], field: &str) -> Result<(), FetchError> {
        let literals = addresses.iter().filter_map(|address| models::feed_brokers::host(address)?.parse().ok());
        self.may_reach(literals, field)
    }

    /// The same of the addresses that names lead to now: asked before each connection, because a name that led elsewhere
    /// when the source was made must not lead here now.
    ///
    /// # Errors
    /// [`FetchError::Settings`]
    pub(super) async fn may_call_now(&self, addresses: &[String], field: &str) -> Result<(), FetchError> {
        if self.allow_private_addresses {
            return Ok(());
        }
        for address in addresses {
            let bare = address.split_once("://").map_or(address.as_str(), |(_, bare)| bare);
            // what leads nowhere is not reached either, and who connects says so
            if let Ok(found) = within(CONNECT_TIMEOUT, tokio::net::lookup_host(bare)).await? {
                self.may_reach(found.map(|address| address.ip()), field)?;
            }
        }
        Ok(())
    }

    fn may_reach(&self, mut addresses: impl Iterator<Item = IpAddr>, field: &str) -> Result<(), FetchError> {
        if !self.allow_private_addresses && addresses.any(is_private) {
            return Err(FetchError::Settings(format!("{field}: {PrivateAddress}")));
        }
        Ok(())
    }

    /// The same one each time.
    pub fn always(self) -> AskAccess {
        Rc::new(move || Ok(self.clone()))
    }

    /// How TLS is spoken: 1.2 or 1.3, on ring.
    ///
    /// # Errors
    /// [`FetchError::Settings`] where the authorities cannot be read.
    pub(super) fn tls(&self) -> Result<ClientConfig, FetchError> {
        let mut roots = RootCertStore::empty();
        match &self.authorities {
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    let certificate = certificate.map_err(|_| authorities("are no PEM"))?;
                    roots.add(certificate).map_err(|_| authorities("hold what is no certificate"))?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        if roots.is_empty() {
            return Err(authorities("are none"));
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| FetchError::Settings(e.to_string()))?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

fn authorities(what: &str) -> FetchError {
    FetchError::Settings(format!("the certificate authorities {what}"))
}

/// A secret that the other side is shown as it is needs TLS, or a way that does not leave this machine.
///
/// # Errors
/// [`FetchError::Settings`]
pub(super) fn keep_secret(tls: bool, addresses: &[String], what: &str) -> Result<(), FetchError> {
    let here = |address: &String| {
        models::feed_brokers::host(address)
            .is_some_and(|host| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()))
    };
    if tls || addresses.iter().all(here) {
        return Ok(());
    }
    Err(FetchError::Settings(format!("{what} would cross the network in the clear: tls is needed")))
}

/// The words of a broker or a library, short enough to be shown, in one line.
pub(super) fn words(said: impl std::fmt::Display) -> String {
    let said: String = said.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let end = said.char_indices().map(|(at, _)| at).take_while(|at| *at <= WORDS_MAX).last().unwrap_or(0);
    if said.len() <= WORDS_MAX { said } else { format!("{}…", &said[..end]) }
}

/// Waits for an answer, not for ever.
///
/// # Errors
/// [`FetchError::Timeout`]
pub(super) async fn within<T>(limit: Duration, answer: impl Future<Output = T>) -> Result<T, FetchError> {
    tokio::time::timeout(limit, answer).await.map_err(|_| FetchError::Timeout(limit))
}

/// A position in a reader's own words.
///
/// # Errors
/// [`FetchError::Settings`] where it is longer than a cursor may be.
pub(super) fn write_cursor(position: &impl Serialize) -> Result<Cursor, FetchError> {
    let text = serde_json::to_string(position).map_err(|e| FetchError::Settings(e.to_string()))?;
    if text.len() > CURSOR_BYTES_MAX {
        return Err(FetchError::Settings(format!("the position has more than {CURSOR_BYTES_MAX} bytes")));
    }
    Ok(Cursor(text))
}

/// Reads a position.
///
/// # Errors
/// [`FetchError::Lost`]: a position that says nothing must not be taken for a beginning.
pub(super) fn read_cursor<T: DeserializeOwned>(cursor: &Cursor) -> Result<T, FetchError> {
    serde_json::from_str(&cursor.0).map_err(|_| FetchError::Lost("it is not a position of this kind of source".into()))
}

/// Messages as NDJSON, up to the limits of a fetch.
#[derive(Default)]
pub(super) struct Lines {
    body: Vec<u8>,
    count: usize,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is a line.
    Yes,
    /// There is no room for it: it begins the next fetch.
    Full,
}

impl Lines {
    /// Adds a message as one line. What is one JSON value stays as it is, on one line; anything else – an array, too, which
    /// would make the whole body look like one – is passed on as a JSON string, which the source will not take for a
    /// record.
    ///
    /// # Errors
    /// [`FetchError::TooLarge`]: it does not fit into a fetch of its own.
    pub(super) fn push(&mut self, value: &[u8]) -> Result<Taken, FetchError> {
        if self.count == MESSAGES_MAX {
            return Ok(Taken::Full);
        }
        let start = self.body.len();
        line(value, &mut self.body);
        self.body.push(b'\n');
        if self.body.len() <= FETCH_BYTES_MAX {
            self.count += 1;
            return Ok(Taken::Yes);
        }
        self.body.truncate(start);
        if start == 0 { Err(FetchError::TooLarge) } else { Ok(Taken::Full) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn into_body(self) -> Bytes {
        Bytes::from(self.body)
    }
}

fn line(value: &[u8], out: &mut Vec<u8>) {
    let trimmed = value.trim_ascii();
    let whole =
        trimmed.first().is_some_and(|first| *first != b'[') && serde_json::from_slice::<&RawValue>(trimmed).is_ok();
    if whole {
        // between the parts of a JSON value line breaks are white space, and inside a string none can stand
        out.extend(trimmed.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    } else {
        let text = serde_json::Value::String(String::from_utf8_lossy(value).into_owned());
        out.extend_from_slice(text.to_string().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(values: &[&[u8]]) -> String {
        let mut lines = Lines::default();
        for value in values {
            assert_eq!(lines.push(value).expect("small"), Taken::Yes);
        }
        String::from_utf8(lines.into_body().to_vec()).expect("text")
    }

    #[test]
    fn every_message_is_one_line() {
        let cases: &[(&[u8], &str)] = &[
            (br#"{"a":1}"#, r#"{"a":1}"#),
            (b"  {\"a\":\r\n [1,\n2]}\n", r#"{"a":   [1, 2]}"#),
            (b"{\"a\":\"x\\ny\"}", r#"{"a":"x\ny"}"#),
            (b"17", "17"),
            (b"", r#""""#),
            (b"\n", r#""\n""#),
            (b"not json\nat all", r#""not json\nat all""#),
            (b"{\"a\":1}{\"a\":2}", r#""{\"a\":1}{\"a\":2}""#),
            (b"{\"a\":1}\n{\"a\":2}", r#""{\"a\":1}\n{\"a\":2}""#),
            (b"[1,\n2]", r#""[1,\n2]""#),
            (b"{\"a\":\"\xff\"}", "\"{\\\"a\\\":\\\"\u{fffd}\\\"}\""),
            (b"\xef\xbb\xbf{}", "\"\u{feff}{}\""),
        ];
        for (value, expected) in cases {
            let got = lines(&[value, b"{}"]);
            assert_eq!(got, format!("{expected}\n{{}}\n"), "{value:?}");
        }
        // one deeper than the parser goes is no record either, and does not end the process
        let deep = "[".repeat(100_000);
        let got = lines(&[format!("{{\"a\":{deep}").as_bytes()]);
        assert!(got.starts_with('"') && got.ends_with("\"\n"));
    }

    #[test]
    fn a_fetch_has_its_limits() {
        let mut many = Lines::default();
        for _ in 0..MESSAGES_MAX {
            assert_eq!(many.push(b"{}").expect("room"), Taken::Yes);
        }
        assert_eq!(many.push(b"{}").expect("room"), Taken::Full);

        let large = format!("\"{}\"", "x".repeat(FETCH_BYTES_MAX - 3));
        let mut one = Lines::default();
        assert_eq!(one.push(large.as_bytes()).expect("it fits alone"), Taken::Yes);
        assert_eq!(one.push(b"1").expect("there was one"), Taken::Full);
        assert_eq!(one.into_body().len(), FETCH_BYTES_MAX);
        let larger = format!("\"{}\"", "x".repeat(FETCH_BYTES_MAX - 2));
        assert!(matches!(Lines::default().push(larger.as_bytes()), Err(FetchError::TooLarge)));
        // escaped it is longer than it was
        let breaks = vec![b'\n'; FETCH_BYTES_MAX / 2];
        assert!(matches!(Lines::default().push(&breaks), Err(FetchError::TooLarge)));
    }

    #[test]
    fn secrets_do_not_cross_the_network_in_the_clear() {
        let all = |addresses: &[&str]| addresses.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>();
        for (tls, addresses, fine) in [
            (true, all(&["broker.example:9092"]), true),
            (false, all(&["127.0.0.1:9092", "localhost:1", "nats://[::1]:4222"]), true),
            (false, all(&["127.0.0.1:9092", "broker.example:9092"]), false),
            (false, all(&["localhost.example:9092"]), false),
            (false, all(&["10.0.0.1:9092"]), false),
        ] {
            assert_eq!(keep_secret(tls, &addresses, "a password").is_ok(), fine, "{addresses:?}");
        }
    }

    #[tokio::test]
    async fn private_brokers_are_called_only_where_they_may_be() {
        let refused =
            Some("settings: brokers: a private address, and the configuration does not allow those".to_owned());
        let strict = Access::default();
        let open = Access { allow_private_addresses: true, ..Access::default() };
        // written as an address, and as a name that leads to one
        for (addresses, at_once, at_last) in [
            (&["8.8.8.8:9092"][..], None, None),
            (&["8.8.8.8:9092", "10.0.0.1:9092"], refused.clone(), refused.clone()),
            (&["nats://[::1]:4222"], refused.clone(), refused.clone()),
            (&["tls://169.254.169.254:80"], refused.clone(), refused.clone()),
            (&["localhost:9092"], None, refused.clone()),
            (&["nats://localhost:4222"], None, refused.clone()),
        ] {
            let addresses: Vec<String> = addresses.iter().map(|address| (*address).to_owned()).collect();
            let said = |may: Result<(), FetchError>| may.err().map(|error| error.to_string());
            assert_eq!(said(strict.may_call(&addresses, "brokers")), at_once, "{addresses:?}");
            assert_eq!(said(strict.may_call_now(&addresses, "brokers").await), at_last, "{addresses:?}");
            assert_eq!(said(open.may_call(&addresses, "brokers")), None);
            assert_eq!(said(open.may_call_now(&addresses, "brokers").await), None);
        }
    }

    #[test]
    fn words_of_a_broker_are_short_and_of_one_line() {
        assert_eq!(words("a\nb"), "a b");
        let long = words("é".repeat(500));
        assert!(long.len() <= WORDS_MAX + 5 && long.ends_with('…'), "{long}");
    }

    #[test]
    fn a_credential_is_of_one_form() {
        let form = |text: &str| match Access::read(text) {
            Err(e) => e.to_string(),
            Ok(access) => {
                let login = match access.login {
                    Login::Anonymous => "nobody".to_owned(),
                    Login::Password { user, password } => format!("{user} with {}", *password),
                    Login::Token(token) => format!("token {}", *token),
                    Login::NKey(seed) => format!("nkey {}", *seed),
                };
                format!("{login}, {}", access.authorities.map_or(0, |pem| pem.len()))
            }
        };
        let refused = "settings: the credential is not user and password, token or nkey in JSON";
        for (text, expected) in [
            (r#"{"user":"a","password":"hunter2"}"#, "a with hunter2, 0"),
            (r#"{"token":"hunter2","authorities":"PEM"}"#, "token hunter2, 3"),
            (r#"{"nkey":"SU"}"#, "nkey SU, 0"),
            (r#"{"authorities":"PEM"}"#, "nobody, 3"),
            (r#"{"user":"a"}"#, refused),
            (r#"{"user":"a","password":"hunter2","token":"b"}"#, refused),
            (r#"{"user":"a","password":"hunter2","realm":"b"}"#, refused),
            ("hunter2", refused),
        ] {
            assert_eq!(form(text), expected);
        }
    }

    #[test]
    fn authorities_are_certificates() {
        for (pem, expected) in [
            (&b""[..], "the certificate authorities are none"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "hold what is no certificate"),
            (b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "are no PEM"),
        ] {
            let access = Access { authorities: Some(pem.to_vec()), ..Access::default() };
            let said = access.tls().expect_err("nobody is to be believed").to_string();
            assert!(said.contains(expected), "{said}");
        }
    }
}
