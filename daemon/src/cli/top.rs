//! What `broadcastd top` is told.

use std::path::PathBuf;

use clap::Args;

use super::Format;

/// Which daemon is looked at, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Top {
    /// Shows it once and ends, as where there is no terminal
    #[arg(long)]
    pub once: bool,
    /// With json each second's figures are a line
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
    /// The control socket of the daemon [default: of this user's, then /run/broadcastd/control.sock]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}
