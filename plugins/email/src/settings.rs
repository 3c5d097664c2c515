//! What `settings` of an email notifier may say beside what all notifiers have, and what it means.
use std::path::PathBuf;

use broadcastd_notifier::Secret;
use broadcastd_plugin_api::Failure;
use lettre::message::{Mailbox, Mailboxes};
use line::Place;
use schemars::JsonSchema;
use serde::Deserialize;

/// Recipients of one letter: what every server takes (RFC 5321, 4.5.3.1.8).
pub const MAX_RECIPIENTS: usize = 100;

/// Sends mail by an SMTP server.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The mail server: "smtp://HOST" goes on encrypted by STARTTLS, port 587 unless another is named; "smtps://HOST" is
    /// encrypted from the start, port 465.
    pub smtp: String,
    /// Who writes: "alerts@example.com" or "Line 7 <alerts@example.com>".
    pub from: String,
    /// To whom, at most 100.
    #[schemars(length(min = 1, max = MAX_RECIPIENTS))]
    pub to: Vec<String>,
    /// Who logs in at the server; nobody if absent.
    pub user: Option<String>,
    /// Their password: "credential:NAME", { file = "/path" } or { env = "NAME" }.
    pub password: Option<Secret>,
    /// A file of certificates in PEM: by these the server proves who it is, instead of by those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Whether letters and the password may go unencrypted: "never", to this machine ("loopback"), or "anywhere".
    #[serde(default)]
    pub plaintext: Plaintext,
}

/// Where a connection may stay unencrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Plaintext {
    #[default]
    Never,
    Loopback,
    Anywhere,
}

/// How a connection comes to be encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// From its first byte.
    Implicit,
    /// By a command, before anything else is said.
    StartTls,
    /// Not at all.
    None,
}

/// What the settings mean, without secrets and files.
#[derive(Debug)]
pub struct Meaning {
    pub place: Place,
    pub encryption: Encryption,
    pub from: Mailbox,
    pub to: Mailboxes,
}

impl Settings {
    /// Everything that a schema cannot say.
    pub fn meaning(&self) -> Result<Meaning, Failure> {
        let place =
            Place::parse(&self.smtp, &[("smtp", 587), ("smtps", 465)]).map_err(|why| Failure::at("/smtp", why))?;
        let encryption = self.encryption(&place)?;
        if self.user.is_some() != self.password.is_some() {
            return Err(Failure::at("/user", "`user` and `password` go together: give both or none"));
        }
        if self.to.is_empty() || self.to.len() > MAX_RECIPIENTS {
            return Err(Failure::at("/to", format!("name 1 to {MAX_RECIPIENTS} recipients")));
        }
        let to = self.to.iter().enumerate().map(|(index, text)| mailbox(text, &format!("/to/{index}")));
        Ok(Meaning { place, encryption, from: mailbox(&self.from, "/from")?, to: to.collect::<Result<_, _>>()? })
    }

    fn encryption(&self, place: &Place) -> Result<Encryption, Failure> {
        let refuse = |why: &str| Err(Failure::at("/plaintext", why));
        match (place.scheme.as_str(), self.plaintext) {
            ("smtps", Plaintext::Never) => Ok(Encryption::Implicit),
            ("smtps", _) => refuse("smtps:// is always encrypted; leave `plaintext` out, or write smtp://"),
            (_, Plaintext::Never) => Ok(Encryption::StartTls),
            (_, Plaintext::Loopback) if !place.is_loopback() => refuse(
                "the server is not on this machine; leave `plaintext` out, or accept that everybody on the way reads along: \"anywhere\"",
            ),
            _ => Ok(Encryption::None),
        }
    }
}

fn mailbox(text: &str, pointer: &str) -> Result<Mailbox, Failure> {
    let refuse = || {
        Failure::at(pointer, format!("`{text}` is no mail address; write user@example.com or Name <user@example.com>"))
    };
    if text.chars().any(char::is_control) {
        return Err(refuse());
    }
    text.parse().map_err(|_| refuse())
}
