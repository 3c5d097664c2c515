//! What `broadcastd plugin` does: one file for each of its commands.

mod inspect;
mod list;
mod new;

use crate::cli::plugin::PluginCommand;
use crate::cli::{Exit, Options};

pub fn run(options: &Options, asked: &PluginCommand) -> Exit {
    match asked {
        PluginCommand::List { format } => list::list(options, *format),
        PluginCommand::Inspect { file, format } => inspect::inspect(file, *format),
        PluginCommand::New { name, lang, path, api } => {
            new::new(&new::Wanted { name, lang: *lang, path: path.as_deref(), api: api.as_deref() })
        }
    }
}
