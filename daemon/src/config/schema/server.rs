//! `[server]` and `[admin]`: where clients and operators connect.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::{Address, Duration};
use crate::network::Network;

/// Where clients connect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Addresses: "IP:PORT" or "unix:/path". Default: 127.0.0.1:8080 and 127.0.0.1:8000.
    #[schemars(length(min = 1))]
    pub listen: Vec<Address>,
    /// Origins of web pages that may listen, such as "https://example.com"; "*" is any, and cannot be where `auth.cookie`
    /// is set. Pages of this machine may without being named, unless `auth.cookie` is set. Default: none.
    #[schemars(extend("items" = {
        "type": "string",
        "pattern": r"^(\*|[a-z][a-z0-9+.-]*://[^/\s]+)$",
        "x-rule": "an origin is scheme and host without a path, like \"https://example.com:8443\"; \"*\" is any"
    }))]
    pub origins: Vec<String>,
    /// Origins of web pages that may also publish and give commands over HTTP, such as "https://example.com". Default: none.
    #[schemars(extend("items" = {
        "type": "string",
        "pattern": r"^[a-z][a-z0-9+.-]*://[^/\s*]+$",
        "x-rule": "an origin is scheme and host without a path, like \"https://example.com:8443\"; each is named"
    }))]
    pub cors: Vec<String>,
    /// Names that clients may ask by beside those of this machine, such as "push.example.com", also through proxies.
    /// Default: none on addresses that only this machine reaches; any on others, and through `trusted_proxies`.
    #[schemars(extend("items" = {
        "type": "string",
        "pattern": r"^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])$",
        "x-rule": "a host is a name or an address without a port, like \"push.example.com\" or \"[2001:db8::1]\""
    }))]
    pub hosts: Vec<String>,
    /// Proxies that are believed who their clients are (X-Forwarded-For), by address or network. Default: none.
    pub trusted_proxies: Vec<Network>,
    /// Whether every TCP connection begins with the PROXY protocol; of `trusted_proxies` only, if there are any. Default:
    /// false.
    pub proxy_protocol: bool,
    /// What TCP listeners encrypt with. Default: nothing, they are in clear.
    pub tls: Option<Tls>,
    /// How long clients may take to leave when the daemon stops, up to 1h; default 10s.
    #[schemars(range(max = 3600))]
    pub drain: Duration,
    /// Threads that own connections, 0 to 1024; default 0: one per core. A change waits for a restart.
    #[schemars(range(min = 0, max = 1024))]
    pub shards: u16,
    /// How the shards send to their sockets; default "auto": io_uring where the system allows it. A change waits for a
    /// restart.
    pub backend: Backend,
    /// Which path speaks which dialect. Giving any replaces the default: the native dialect on
    /// /v1/ws, and the same as server-sent events on /v1/sse.
    pub endpoints: Vec<Endpoint>,
}

/// The files of a certificate; they are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate and those that vouch for it, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM: a file or a credential.
    pub key: Secret,
}

/// How the shards send to their sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    #[default]
    Auto,
    Epoll,
    #[serde(rename = "io_uring")]
    IoUring,
}

/// A path at which a dialect is spoken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["path"]))]
pub struct Endpoint {
    /// The path clients connect to, such as "/v1/ws".
    // The schema asks for it; the type does without, so that one error does not hide others of the same table.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend(
        "pattern" = r"^/[^?#{}*\s]*$",
        "x-rule" = "a path begins with / and holds no space and none of ? # { } *"
    ))]
    pub path: String,
    /// The one address of `server.listen` this endpoint is at. Default: all of them.
    #[serde(default)]
    pub listen: Option<Address>,
    /// The wire format; default "native".
    #[serde(default)]
    pub dialect: Dialect,
    /// What generation of clients comes here, where a dialect has several: fastws "a" (default) or "c". Default: "".
    #[serde(default)]
    pub revision: Revision,
    /// The streams that can be reached here, by name; "*" (default) is all visible ones.
    #[serde(default = "all_streams")]
    #[schemars(length(min = 1))]
    pub streams: Vec<String>,
    /// Other names that clients here use for streams, such as { session_update = "state_machines" }. Default: none.
    #[serde(default)]
    pub aliases: BTreeMap<String, String>,
    /// Whether a subscription begins with what there is. Default: as the dialect's clients expect.
    #[serde(default)]
    pub snapshot: Option<bool>,
    /// Whether clients say who they are; default "optional".
    #[serde(default)]
    pub auth: Auth,
}

/// A wire format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    #[default]
    Native,
    /// The native messages as server-sent events.
    Sse,
    /// One connection per page: subscriptions by stream and `session_id`, and heartbeats.
    Streams,
    /// Statistical process control: characteristics by number. Wants exactly one stream, by name.
    Spc,
    /// Routes such as bars.subscribe and bars.update.
    Fastws,
    /// The connection is the subscription to what is the user's own.
    User,
}

/// A generation of clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Revision {
    #[default]
    #[serde(rename = "")]
    Default,
    A,
    C,
}

/// Whether clients say who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    None,
    #[default]
    Optional,
    Required,
}

/// Metrics, health and state, on a listener of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// One address; default 127.0.0.1:9180. Off loopback `token` is needed.
    pub listen: Address,
    /// What a request must bear to see or change more than an anonymous one. Default: nothing.
    pub token: Option<Secret>,
}

/// A secret, which never stands in the configuration itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Secret {
    /// "credential:NAME": handed over by systemd (`LoadCredential=`).
    Credential(
        #[schemars(extend(
            "pattern" = "^credential:[A-Za-z0-9._-]+$",
            "x-rule" = "a secret is never inline: write \"credential:NAME\", { file = \"/path\" } or { env = \"NAME\" }"
        ))]
        String,
    ),
    /// { file = "/path" }: the file's text without the line end.
    File(SecretFile),
    /// { env = "NAME" }: the value of an environment variable.
    Env(SecretEnv),
}

/// A secret in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretFile {
    /// The file's path.
    pub file: PathBuf,
}

/// A secret in an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretEnv {
    /// The variable's name.
    pub env: String,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: vec![loopback(8080), loopback(8000)],
            origins: Vec::new(),
            cors: Vec::new(),
            hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            tls: None,
            drain: Duration::from_secs(10),
            shards: 0,
            backend: Backend::Auto,
            endpoints: vec![Endpoint::default(), Endpoint::events()],
        }
    }
}

impl Endpoint {
    fn events() -> Self {
        Self { path: "/v1/sse".to_owned(), dialect: Dialect::Sse, ..Self::default() }
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            path: "/v1/ws".to_owned(),
            listen: None,
            dialect: Dialect::Native,
            revision: Revision::Default,
            streams: all_streams(),
            aliases: BTreeMap::new(),
            snapshot: None,
            auth: Auth::Optional,
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: loopback(9180), token: None }
    }
}

fn all_streams() -> Vec<String> {
    vec!["*".to_owned()]
}

fn loopback(port: u16) -> Address {
    Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}
