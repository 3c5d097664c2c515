//! What is told of broadcasters while it happens, each change in order, to whoever runs the supervisor.

use std::sync::Arc;

use serde::Serialize;

use super::broadcaster::Phase;

/// Something happened to a broadcaster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    Changed(State),
    /// The configuration no longer names it.
    Gone(String),
}

/// How a broadcaster is, in the words of its status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    pub name: String,
    /// Of its plugin.
    pub version: String,
    pub state: Phase,
    pub restarts: u64,
    /// Failures that the daemon saw.
    pub errors: u64,
    pub last_error: Option<String>,
    /// While it does not run because it failed: how often that was, and what follows.
    pub next: Option<String>,
    /// Why the plugin says that something is wrong, although it works.
    pub degraded: Option<String>,
    /// The file that it was rolled back from, and why.
    pub rolled_back: Option<String>,
    /// Until when the new file of its plugin is on probation: if it fails before, the file before comes back.
    pub probation_until: Option<String>,
}

impl State {
    /// Of one that has no instance.
    pub fn disabled(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: String::new(),
            state: Phase::Stopped,
            restarts: 0,
            errors: 0,
            last_error: None,
            next: None,
            degraded: None,
            rolled_back: None,
            probation_until: None,
        }
    }
}

/// Takes the news. It is called while the broadcaster is locked, so that the order is that of the changes: it asks
/// nothing about broadcasters.
pub type Tell = Arc<dyn Fn(News) + Send + Sync>;

/// For when nobody wants to know.
pub fn nobody() -> Tell {
    Arc::new(drop)
}
