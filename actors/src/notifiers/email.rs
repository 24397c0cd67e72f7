//! E-mail by SMTP (RFC 5321), a connection a mail. The notice's id is the `Message-ID`, and the group of alerts a message
//! that all of its notices refer to, so that a reader shows them together.
//!
//! One mail goes to all receivers that the server takes; those that it refuses for now get the same mail again later, and
//! nobody else does: who has it is kept while the notice is tried. A restart between two tries forgets that, so that the
//! one notice under way may come twice to some, under the same `Message-ID`. One that the server refuses for good is said
//! in the error, and keeps the mail from nobody.

use super::{Channel, Context, SendError, TIMEOUT, address, http, secret};
use futures_util::future::BoxFuture;
use lettre::message::header::ContentType;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::{Address, Message};
use models::ids::NoticeId;
use models::notice::Notice;
use models::ts::Ts;
use parking_lot::Mutex;
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt::{Display, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};
use zeroize::Zeroizing;

/// Receivers at most.
const TO_MAX: usize = 20;
/// How long a server may take for all of it.
const WHOLE: Duration = Duration::from_secs(30);
/// Notices of which is kept who has them already; of older ones that is forgotten, and they may come twice to some.
const PARTLY_TAKEN_MAX: usize = 64;
/// How long a server may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// How the connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    /// `STARTTLS`, and no mail without it.
    Starttls,
    /// From the first byte.
    #[serde(rename = "tls")]
    Implicit,
    /// Not at all: a server on this machine only.
    None,
}

/// Settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The server's name.
    pub host: String,
    /// Its port: 587 for `starttls`, 465 for `tls`, 25 for `none`, unless set.
    pub port: Option<u16>,
    /// How the connection is protected.
    pub tls: Tls,
    /// Certificate (PEM) of an authority of the house, beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// As whom; without one nobody signs in.
    pub user: Option<String>,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// Variable of the environment with it.
    pub password_env: Option<String>,
    /// `Mlinzi <mlinzi@regulator.example>`
    pub from: String,
    /// Who gets it; everybody sees everybody.
    pub to: Vec<String>,
}

impl Config {
    fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            Tls::Starttls => 587,
            Tls::Implicit => 465,
            Tls::None => 25,
        })
    }

    /// A loopback address or the name of one.
    fn is_here(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    pub(super) fn check(&self, context: &Context) -> Vec<String> {
        let mut wrong = Vec::new();
        let literal = self.host.parse::<IpAddr>().ok();
        if self.host.is_empty() {
            wrong.push("host: is empty".to_owned());
        }
        if self.tls == Tls::None && !self.is_here() {
            wrong.push("tls: none is for a server on this machine only".to_owned());
        }
        // a server on this machine is named on purpose
        let is_private = literal.is_some_and(|address| !address::is_public(address));
        if is_private && !context.allow_private && !self.is_here() {
            wrong.push(format!("host: {}", address::NotPublic));
        }
        if self.user.is_some() || self.password_file.is_some() || self.password_env.is_some() {
            wrong.extend(secret::check("password", self.password_file.as_ref(), self.password_env.as_ref()));
        }
        if self.user.is_none() && (self.password_file.is_some() || self.password_env.is_some()) {
            wrong.push("user: a password belongs to somebody".to_owned());
        }
        if self.from.parse::<Mailbox>().is_err() {
            wrong.push("from: not an address of mail".to_owned());
        }
        if self.to.is_empty() || self.to.len() > TO_MAX || self.receivers().is_none() {
            wrong.push(format!("to: not 1 to {TO_MAX} addresses of mail"));
        }
        wrong
    }

    fn receivers(&self) -> Option<Vec<Mailbox>> {
        self.to.iter().map(|text| text.parse().ok()).collect()
    }

    fn tls_parameters(&self) -> Result<TlsParameters, String> {
        let mut parameters = TlsParameters::builder(self.host.clone());
        if let Some(path) = &self.ca_file {
            let wrong = |what: &dyn Display| format!("ca_file: {}: {what}", path.display());
            let pem = std::fs::read(path).map_err(|e| wrong(&e))?;
            parameters = parameters.add_root_certificate(Certificate::from_pem(&pem).map_err(|e| wrong(&e))?);
        }
        parameters.build().map_err(|e| format!("tls: {e}"))
    }

    pub(super) fn open(&self, context: &Context) -> Result<Email, String> {
        let credentials = match &self.user {
            None => None,
            Some(user) => {
                let password = secret::read("password", self.password_file.as_ref(), self.password_env.as_ref())?;
                Some((user.clone(), password))
            }
        };
        let from: Mailbox = self.from.parse().map_err(|_| "from: not an address of mail".to_owned())?;
        let to = self.receivers().ok_or_else(|| "to: not addresses of mail".to_owned())?;
        let tls = match self.tls {
            Tls::None => None,
            _ => Some(self.tls_parameters()?),
        };
        Ok(Email {
            config: self.clone(),
            credentials,
            from,
            to: to.into_iter().collect(),
            tls,
            context: context.clone(),
            settled: Mutex::default(),
        })
    }
}

/// The channel.
pub struct Email {
    config: Config,
    credentials: Option<(String, Zeroizing<String>)>,
    from: Mailbox,
    to: Mailboxes,
    tls: Option<TlsParameters>,
    context: Context,
    settled: Mutex<Settled>,
}

/// Whom notices that are tried again are not sent to: who has them, and who is refused for good.
#[derive(Default)]
struct Settled(VecDeque<(NoticeId, Receivers)>);

/// Receivers of one notice about whom nothing is left to be done.
#[derive(Clone, Default)]
struct Receivers {
    taken: HashSet<Address>,
    refused: Answers,
}

/// Receivers with what the server answered.
type Answers = BTreeMap<Address, String>;

impl Settled {
    fn of(&self, id: NoticeId) -> Receivers {
        self.0.iter().find(|(held, _)| *held == id).map(|(_, receivers)| receivers.clone()).unwrap_or_default()
    }

    /// Keeps them, or forgets a notice that is not tried again.
    fn keep(&mut self, id: NoticeId, receivers: Option<Receivers>) {
        self.0.retain(|(held, _)| *held != id);
        self.0.extend(receivers.map(|receivers| (id, receivers)));
        if self.0.len() > PARTLY_TAKEN_MAX {
            self.0.pop_front();
        }
    }
}

impl Receivers {
    fn has(&self, address: &Address) -> bool {
        self.taken.contains(address) || self.refused.contains_key(address)
    }
}

impl Email {
    fn message(&self, notice: &Notice) -> Result<Message, lettre::error::Error> {
        let domain = self.from.email.domain();
        let group = format!("<{}@{domain}>", notice.group);
        let sent_at = UNIX_EPOCH + Duration::from_micros(u64::try_from(notice.at.0).unwrap_or_default());
        let subject = format!("[{}] {}: {}", notice.severity.as_str(), notice.kind.as_str(), notice.title);
        let mut builder = Message::builder()
            .from(self.from.clone())
            .message_id(Some(format!("<{}@{domain}>", notice.id)))
            .references(group.clone())
            .in_reply_to(group)
            .date(sent_at)
            .subject(subject)
            .header(ContentType::TEXT_PLAIN)
            // no answer of an absent colleague's programme (RFC 3834)
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ));
        for receiver in self.to.iter() {
            builder = builder.to(receiver.clone());
        }
        builder.body(self.text(notice))
    }

    fn text(&self, notice: &Notice) -> String {
        let mut text = String::new();
        let mut fact = |name: &str, value: &str| {
            let _ = writeln!(text, "{name:<13} {value}");
        };
        fact("What", notice.kind.as_str());
        fact("Severity", notice.severity.as_str());
        fact("Rule", &notice.rule);
        fact("Operator", notice.operator.as_ref().map_or("-", |operator| &operator.code));
        fact("Jurisdiction", self.context.jurisdiction(notice.jurisdiction));
        fact("At", &notice.at.to_string());
        fact("Alerts", &notice.count.to_string());
        for id in &notice.alerts {
            fact("", &id.to_string());
        }
        text.push('\n');
        for line in &notice.lines {
            let _ = writeln!(text, "{line}");
        }
        let _ = writeln!(text, "\n{}", notice.id);
        text
    }

    /// Sends to whomever nothing is settled of; gives who is to get it later, with what the server answered.
    async fn deliver(&self, message: &Message, receivers: &mut Receivers) -> Result<Answers, Failure> {
        let config = &self.config;
        let allowed = self.context.allow_private || config.is_here();
        let addresses = address::resolve(&config.host, config.port(), allowed).await.map_err(Failure::Network)?;
        let name = ClientId::default();
        let implicit = (config.tls == Tls::Implicit).then(|| self.tls.clone()).flatten();
        let connecting = AsyncSmtpConnection::connect_tokio1(&addresses[..], Some(TIMEOUT), &name, implicit, None);
        let mut connection = connecting.await.map_err(Failure::Smtp)?;
        // without a goodbye where it failed: lettre has no stream left behind a handshake that fails, and panics
        self.sign_in(&mut connection, &name).await?;
        let later = hand_over(&mut connection, message, receivers).await?;
        // taken is taken, whatever the goodbye
        let _ = tokio::time::timeout(GOODBYE, connection.abort()).await;
        Ok(later)
    }

    async fn sign_in(&self, connection: &mut AsyncSmtpConnection, name: &ClientId) -> Result<(), Failure> {
        if let (Tls::Starttls, Some(tls)) = (self.config.tls, &self.tls) {
            if !connection.can_starttls() {
                return Err(Failure::NoTls);
            }
            connection.starttls(tls.clone(), name).await.map_err(Failure::Smtp)?;
        }
        if let Some((user, password)) = &self.credentials {
            let credentials = Credentials::new(user.clone(), password.to_string());
            connection.auth(DEFAULT_MECHANISMS, &credentials).await.map_err(Failure::SignIn)?;
        }
        Ok(())
    }
}

/// One mail to all that the server takes. [`AsyncSmtpConnection::send`] gives up at the first that it does not.
async fn hand_over(
    connection: &mut AsyncSmtpConnection,
    message: &Message,
    receivers: &mut Receivers,
) -> Result<Answers, Failure> {
    let (envelope, text, mut later) = (message.envelope(), message.formatted(), Answers::new());
    let left: Vec<&Address> = envelope.to().iter().filter(|address| !receivers.has(address)).collect();
    let mut addresses = envelope.from().into_iter().chain(left.iter().copied());
    let mut parameters = Vec::new();
    if addresses.any(|address| !AsRef::<str>::as_ref(address).is_ascii()) {
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            return Err(Failure::Lacks("SMTPUTF8"));
        }
        parameters.push(MailParameter::SmtpUtfEight);
    }
    if !text.is_ascii() {
        if !connection.server_info().supports_feature(Extension::EightBitMime) {
            return Err(Failure::Lacks("8BITMIME"));
        }
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    connection.command(Mail::new(envelope.from().cloned(), parameters)).await.map_err(Failure::Smtp)?;
    let mut taken = Vec::new();
    for address in left {
        match connection.command(Rcpt::new(address.clone(), Vec::new())).await {
            Ok(_) => taken.push(address.clone()),
            Err(error) if error.status().is_none() || wants_sign_in(&error) => return Err(Failure::Smtp(error)),
            Err(error) if error.is_permanent() => {
                receivers.refused.insert(address.clone(), said(&error));
            }
            Err(error) => {
                later.insert(address.clone(), said(&error));
            }
        }
    }
    if !taken.is_empty() {
        connection.command(Data).await.map_err(Failure::Smtp)?;
        connection.message(&text).await.map_err(Failure::Smtp)?;
        receivers.taken.extend(taken);
    }
    Ok(later)
}

/// What came of a try that the server heard out.
fn outcome(receivers: &Receivers, later: &Answers) -> Result<(), SendError> {
    let of = receivers.taken.len() + receivers.refused.len() + later.len();
    let mut answers: BTreeMap<&str, usize> = BTreeMap::new();
    for answer in receivers.refused.values().chain(later.values()) {
        *answers.entry(answer).or_default() += 1;
    }
    // how many, and never who
    let why: Vec<String> = answers
        .into_iter()
        .map(|(answer, n)| if n == of { answer.to_owned() } else { format!("{answer} for {n} of {of} receivers") })
        .collect();
    let why = why.join(", ");
    match (receivers.taken.is_empty(), later.is_empty()) {
        _ if why.is_empty() => Ok(()),
        (true, true) => Err(SendError::Refused { why }),
        (true, false) => Err(SendError::retry(why)),
        (false, is_over) => Err(SendError::Partly { why, again: !is_over }),
    }
}

/// Why a mail was not taken.
enum Failure {
    Network(std::io::Error),
    NoTls,
    /// The server does not know an extension that the mail needs.
    Lacks(&'static str),
    SignIn(Error),
    Smtp(Error),
}

impl Failure {
    /// Only a mail that the server refuses for good is final. What the server says goes nowhere: it repeats addresses.
    fn judge(&self) -> SendError {
        match self {
            Self::Network(error) => SendError::retry(error.to_string()),
            Self::NoTls => SendError::retry("the server does not offer STARTTLS"),
            Self::Lacks(extension) => SendError::retry(format!("the server does not offer {extension}")),
            Self::SignIn(error) => SendError::retry(format!("not signed in: {}", said(error))),
            Self::Smtp(error) if error.is_permanent() && !wants_sign_in(error) => {
                SendError::Refused { why: said(error) }
            }
            Self::Smtp(error) => SendError::retry(said(error)),
        }
    }
}

fn said(error: &Error) -> String {
    match error.status() {
        Some(code) => format!("answered {code}"),
        None if error.is_timeout() => "no answer in time".to_owned(),
        None => http::innermost(error),
    }
}

/// Somebody is to sign in, which can be put right.
fn wants_sign_in(error: &Error) -> bool {
    error.status().is_some_and(|code| u16::from(code) == 530)
}

impl Channel for Email {
    fn send<'a>(&'a self, notice: &'a Notice, _: Ts) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(async move {
            let message = self.message(notice).map_err(|e| SendError::Refused { why: e.to_string() })?;
            let mut receivers = self.settled.lock().of(notice.id);
            let sent = match tokio::time::timeout(WHOLE, self.deliver(&message, &mut receivers)).await {
                Ok(Ok(later)) => outcome(&receivers, &later),
                Ok(Err(failure)) => Err(failure.judge()),
                Err(_) => Err(SendError::retry("no answer in time")),
            };
            let is_over =
                matches!(sent, Ok(()) | Err(SendError::Refused { .. } | SendError::Partly { again: false, .. }));
            self.settled.lock().keep(notice.id, (!is_over).then_some(receivers));
            sent
        })
    }
}
