//! What `broadcastd plugin` does: one file for each of its commands.

mod inspect;

use crate::cli::plugin::PluginCommand;
use crate::cli::{Exit, Options};

pub fn run(_options: &Options, asked: &PluginCommand) -> Exit {
    match asked {
        PluginCommand::Inspect { file, format } => inspect::inspect(file, *format),
    }
}
