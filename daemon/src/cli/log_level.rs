//! What `broadcastd log-level` is told.

use clap::Args;

use super::Reach;

/// Whose level, and which from now on.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct LogLevel {
    /// A broadcaster, or `daemon` for all that has no level of its own; all are shown when none is named
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// What holds from now on: off, error, warn, info, debug or trace. It holds until the daemon starts anew, or until a
    /// reload finds another log.level
    #[arg(value_name = "LEVEL")]
    pub level: Option<String>,
    #[command(flatten)]
    pub reach: Reach,
}
