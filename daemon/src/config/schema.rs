//! What config.toml may say: every setting with its unit, range and default.

pub mod auth;
pub mod hub;
pub mod ingest;
pub mod server;
pub mod streams;

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use auth::{Jwt, PublishRate, ServiceToken, Trust};
pub use hub::{Flush, History, Hub, Ping};
pub use ingest::{DEFAULT_SOCKET, Ingest};
pub use server::{Admin, Auth, Backend, Dialect, Endpoint, Revision, Secret, Server, Tls};
pub use streams::{Broadcaster, DeclaredStream, HistoryOverride, Lag, Restart, SchemaMode, StreamOverride};

/// The whole configuration. Every key is optional but `plugin` of a broadcaster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where clients connect.
    pub server: Server,
    /// Metrics, health and state, on a listener of their own.
    pub admin: Admin,
    /// Whose tokens say who a client is.
    pub auth: Trust,
    /// Limits of connections, of what is kept and of what may wait.
    pub hub: Hub,
    /// Where programs of this machine write events to, one JSON object a line.
    pub ingest: Ingest,
    /// What is logged, and how.
    pub log: Log,
    /// Where plugins are looked for.
    pub plugins: Plugins,
    /// Streams that outside programs publish to, by name.
    pub streams: BTreeMap<String, DeclaredStream>,
    /// Running instances of plugins, by name; the name is also that of the stream.
    pub broadcasters: BTreeMap<String, Broadcaster>,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// "auto" (default) is journald under systemd, readable text on a terminal, else JSON.
    pub format: LogFormat,
    /// "error", "warn", "info" (default), "debug" or "trace"; also per broadcaster: "info,bars=debug".
    pub level: String,
    /// A file that gets every warning and error, whatever `level` says, each as a line of JSON; "" (default) is none. At 16 MiB it
    /// is put beside as FILE.1, in place of the one before.
    #[schemars(extend("pattern" = "^(/.*)?$", "x-rule" = "a log file is a whole path, like \"/var/log/broadcastd/errors.log\", or \"\""))]
    pub errors: PathBuf,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Auto,
    Journald,
    Text,
    Json,
}

/// Where plugins are looked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Plugins {
    /// Folders searched before the executable's own and /usr/lib/broadcastd/plugins. A change waits for a restart.
    /// Default: none.
    pub dirs: Vec<PathBuf>,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Auto, level: "info".to_owned(), errors: PathBuf::new() }
    }
}
