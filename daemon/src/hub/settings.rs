//! What config and a plugin's declaration say about a stream, and where its events come from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use broadcastd_plugin_api::KindSpec;

use super::commands::Declared;
use super::log::Limits;
use super::payloads::Payloads;
use super::template::Template;

/// What config and the plugin's declaration say about a stream.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Clients may subscribe.
    pub visible: bool,
    /// Only clients with an identity may subscribe.
    pub needs_identity: bool,
    pub private: bool,
    pub template: Template,
    pub lag: Lag,
    pub limits: Limits,
    /// Input bytes kept for listeners; a publisher is refused beyond.
    pub listen_buffer: usize,
    /// What is published to it, as far as its publisher declares that.
    pub kinds: BTreeMap<String, KindSpec>,
    /// How a dashboard shows it, as its broadcaster declares that: what its events mean to clients who know such streams.
    pub view: Option<String>,
    /// What may be asked of the stream's broadcaster.
    pub commands: Arc<Declared>,
    /// How long events may be gathered; `None` is as the shards are told for all streams.
    pub flush: Option<Flush>,
    /// Private streams: kinds that may go to every audience at once.
    pub broadcast: BTreeSet<String>,
    /// How long a publish id is remembered.
    pub dedup: Duration,
    /// What payloads from outside must look like. Whoever takes them in looks at them; the hub never does.
    pub payloads: Arc<Payloads>,
}

impl Settings {
    /// Whether a client may read it without saying who it is.
    pub fn is_for_everybody(&self) -> bool {
        self.visible && !self.private && !self.needs_identity
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            visible: true,
            needs_identity: false,
            private: false,
            template: Template::default(),
            lag: Lag::Resync,
            limits: Limits::default(),
            listen_buffer: 64 << 20,
            kinds: BTreeMap::new(),
            view: None,
            commands: Arc::default(),
            flush: None,
            broadcast: BTreeSet::new(),
            dedup: Duration::from_secs(300),
            payloads: Arc::default(),
        }
    }
}

/// What happens to a connection that cannot take everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lag {
    /// What waits is dropped; a fresh snapshot follows, marked as such.
    Resync,
    /// The connection is closed; the client resumes by its position.
    Disconnect,
}

/// How long a stream's events may be gathered before they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// The least time between two deliveries; with none, each goes in the turn in which it came.
    Every(Duration),
    /// The longer the deliveries take, the longer.
    Auto,
}

/// Where a stream's events come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Outside programs; never absent.
    Declared,
    /// A broadcaster that runs.
    Running,
    /// A broadcaster that does not run, and why.
    Absent(Arc<str>),
    /// The stream is no longer configured.
    Removed,
}

/// What an operator sees of a stream.
#[derive(Clone, Debug)]
pub struct Figures {
    pub seq: u64,
    pub topics: usize,
    pub records: usize,
    pub history_events: usize,
    pub history_bytes: usize,
    pub subscriptions: u64,
    pub listeners: usize,
    pub input_bytes: usize,
    pub source: Source,
    pub visible: bool,
    pub private: bool,
}
