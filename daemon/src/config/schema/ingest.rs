//! `[ingest]`: where programs of this machine write events to.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the ingest socket is unless config says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/broadcastd/ingest.sock";

/// Where programs of this machine write events to, one JSON object a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ingest {
    /// A unix socket for the daemon's user and group; "" is none. Default: /run/broadcastd/ingest.sock, or where that
    /// cannot be, ingest.sock in the state folder.
    #[schemars(extend("pattern" = "^(/.*)?$", "x-rule" = "a socket is a whole path, like \"/run/broadcastd/ingest.sock\", or \"\""))]
    pub socket: PathBuf,
}

impl Default for Ingest {
    fn default() -> Self {
        Self { socket: DEFAULT_SOCKET.into() }
    }
}
