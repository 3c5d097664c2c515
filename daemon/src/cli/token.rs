//! What `broadcastd token` is told.

use clap::{Args, Subcommand};

use super::Format;

/// What the new token is for.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Token {
    #[command(subcommand)]
    pub act: Option<TokenAct>,
    /// What the program is called in logs
    #[arg(long, value_name = "NAME", default_value = "service")]
    pub name: String,
    /// A topic or pattern that it may publish to, such as ticks; may be given several times
    #[arg(long = "publish", value_name = "PATTERN")]
    pub publish: Vec<String>,
    /// A topic or pattern that it may read [default: every stream that clients may see]; may be given several times
    #[arg(long = "stream", value_name = "PATTERN")]
    pub streams: Vec<String>,
    /// A permission that commands ask for, such as alerts.acknowledge; may be given several times
    #[arg(long = "command", value_name = "PERMISSION")]
    pub commands: Vec<String>,
    /// How many events a second it may publish [default: as many as it can]
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Option<u32>,
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum TokenAct {
    /// Reads a token that there is from standard input, and prints its sha256 for config.toml
    Hash,
}
