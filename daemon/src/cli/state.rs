//! What `broadcastd state` is told.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Reach;

/// What is done with what broadcasters have saved.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum State {
    /// Lists what broadcasters have saved
    List(Place),
    /// Moves what a broadcaster has saved aside, so that it begins anew; no daemon may be running it meanwhile
    Reset {
        /// The broadcaster, by its name in config.toml
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        place: Place,
    },
}

/// Where it lies.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Place {
    /// The folder of the state [default: of this user's daemon, if there is one, then /var/lib/broadcastd]
    #[arg(long, value_name = "FOLDER")]
    pub state: Option<PathBuf>,
    #[command(flatten)]
    pub reach: Reach,
}
