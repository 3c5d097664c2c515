//! What `settings` of an mqtt notifier may say beside what all notifiers have, and what it means.
use std::path::PathBuf;
use std::time::Duration;

use broadcastd_notifier::Secret;
use broadcastd_plugin_api::{Failure, duration};
use line::Place;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::packet::Version;
use crate::topic::TopicTemplate;

/// How long a connection may be kept: what a CONNECT packet can say.
const MAX_KEEP_ALIVE: Duration = Duration::from_secs(u16::MAX as u64);
/// The longest text of MQTT.
const MAX_TEXT_BYTES: usize = u16::MAX as usize;

/// Publishes at an MQTT broker.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The broker: "mqtt://HOST", port 1883 unless another is named, or encrypted "mqtts://HOST", port 8883.
    pub broker: String,
    /// The version of the protocol, "3.1.1" or "5".
    #[serde(default)]
    pub version: Version,
    /// When a message counts as delivered: 0, the broker has read it; 1, it has acknowledged it; 2, both have settled
    /// that it has it once.
    #[serde(default = "usual_qos")]
    #[schemars(range(min = 0, max = 2))]
    pub qos: u8,
    /// Whether the broker keeps the newest message of each topic for subscribers to come.
    #[serde(default)]
    pub retain: bool,
    /// Where to publish, with `{field}` for what the event says.
    #[serde(default = "usual_topic")]
    pub topic: String,
    /// What is published: "json" is an object with the event in `payload`, "text" the body of the message.
    #[serde(default)]
    pub payload: Payload,
    /// Under which name to connect; empty: the broker chooses one.
    #[serde(default)]
    pub client_id: String,
    /// Who logs in at the broker; nobody if absent.
    pub user: Option<String>,
    /// Their password: "credential:NAME", { file = "/path" } or { env = "NAME" }.
    pub password: Option<Secret>,
    /// A file of certificates in PEM: by these the broker proves who it is, instead of by those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Whether the password may go unencrypted to a broker that is not on this machine.
    #[serde(default)]
    pub plaintext: bool,
    /// How long the connection is kept for a next message, from 1s to 18h.
    #[serde(default = "usual_keep_alive")]
    pub keep_alive: duration::Duration,
    /// With version 5: how long the broker keeps a message for subscribers that are away.
    pub expiry: Option<duration::Duration>,
}

/// What is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Payload {
    #[default]
    Json,
    Text,
}

/// What the settings mean, without secrets and files.
#[derive(Debug)]
pub struct Meaning {
    pub place: Place,
    pub encrypted: bool,
    pub topic: TopicTemplate,
    pub keep_alive_seconds: u16,
    pub expiry_seconds: Option<u32>,
}

impl Settings {
    /// Everything that a schema cannot say.
    pub fn meaning(&self) -> Result<Meaning, Failure> {
        let place = Place::parse(&self.broker, &[("mqtt", 1883), ("mqtts", 8883)])
            .map_err(|why| Failure::at("/broker", why))?;
        if self.user.is_some() != self.password.is_some() {
            return Err(Failure::at("/user", "`user` and `password` go together: give both or none"));
        }
        let encrypted = self.encrypted(&place)?;
        if self.qos > 2 {
            return Err(Failure::at("/qos", "it must be 0, 1 or 2"));
        }
        for (pointer, text) in
            [("/client_id", &self.client_id), ("/user", self.user.as_ref().unwrap_or(&String::new()))]
        {
            if text.len() > MAX_TEXT_BYTES || text.chars().any(char::is_control) {
                return Err(Failure::at(pointer, "it has at most 65535 bytes and no control characters"));
            }
        }
        if !(Duration::from_secs(1)..=MAX_KEEP_ALIVE).contains(&self.keep_alive.to_std()) {
            return Err(Failure::at("/keep_alive", "a connection is kept from 1s to 18h"));
        }
        Ok(Meaning {
            encrypted,
            place,
            topic: TopicTemplate::parse(&self.topic).map_err(|why| Failure::at("/topic", why))?,
            keep_alive_seconds: self.keep_alive.to_std().as_secs() as u16,
            expiry_seconds: self.expiry_seconds()?,
        })
    }

    /// Nothing goes in clear that somebody meant to be encrypted.
    fn encrypted(&self, place: &Place) -> Result<bool, Failure> {
        let refuse = |pointer: &str, why: &str| Err(Failure::at(pointer, why));
        match place.scheme == "mqtts" {
            true if self.plaintext => {
                refuse("/plaintext", "mqtts:// is always encrypted; leave `plaintext` out, or write mqtt://")
            }
            false if self.ca.is_some() => refuse(
                "/ca",
                "mqtt:// is never encrypted and asks for no certificate; leave `ca` out, or write mqtts://",
            ),
            false if self.password.is_some() && !place.is_loopback() && !self.plaintext => refuse(
                "/password",
                "the broker is not on this machine; write mqtts://, or accept that everybody on the way reads along: `plaintext = true`",
            ),
            encrypted => Ok(encrypted),
        }
    }

    fn expiry_seconds(&self) -> Result<Option<u32>, Failure> {
        let Some(expiry) = self.expiry.map(duration::Duration::to_std) else { return Ok(None) };
        if self.version == Version::V311 {
            return Err(Failure::at("/expiry", "3.1.1 knows no expiry; leave it out, or set `version` to \"5\""));
        }
        match u32::try_from(expiry.as_secs()) {
            Ok(seconds) if seconds > 0 => Ok(Some(seconds)),
            _ => Err(Failure::at("/expiry", "it must be a second at least, and less than 136 years")),
        }
    }
}

fn usual_qos() -> u8 {
    1
}

fn usual_topic() -> String {
    "{stream}/{kind}".to_owned()
}

fn usual_keep_alive() -> duration::Duration {
    duration::Duration::from_ms(60_000)
}
