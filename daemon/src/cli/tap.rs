//! What `broadcastd tap` is told.

use std::path::PathBuf;

use clap::Args;

/// What is heard, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Tap {
    /// Topics, patterns or whole streams, such as bars:AAPL:1, 'bars:*:1' or daemon
    #[arg(value_name = "PATTERN", required = true)]
    pub patterns: Vec<String>,
    /// Shows only events of this kind; may be given several times
    #[arg(long = "kind", value_name = "KIND")]
    pub kinds: Vec<String>,
    /// Ends after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Shows the records that there are, too: a line full_update for each stream, first and after a gap
    #[arg(long)]
    pub snapshot: bool,
    /// Shows of private streams the log of this user; the daemon notes who did so
    #[arg(long, value_name = "USER")]
    pub private: Option<String>,
    /// The control socket of the daemon [default: of this user's, then /run/broadcastd/control.sock]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}
