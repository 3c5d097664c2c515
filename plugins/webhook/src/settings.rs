//! What a webhook can be told beside what every notifier can.
use std::path::PathBuf;

use broadcastd_notifier::Secret;
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of a webhook.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The receiver: `https://HOST:PORT/PATH`, or `http:` inside a network that is trusted.
    pub url: String,
    /// Signs each message by HMAC-SHA256, so that the receiver knows who sent it; at least 16 bytes. Default: not signed.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// Sent as `Authorization: Bearer …`; needs `https:` off this machine. Default: none.
    #[serde(default)]
    pub bearer: Option<Secret>,
    /// Certificates in PEM of the only authorities that the receiver is believed by. Default: those of the system.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}
