//! What `broadcastd plugin` does: one file for each of its commands.

mod attempt;
mod given;
mod inspect;
mod list;
mod new;
mod run;
mod test;

use super::environment;
use crate::cli::plugin::{PluginCommand, Tried};
use crate::cli::{Exit, Options};

pub fn run(options: &Options, asked: &PluginCommand) -> Exit {
    match asked {
        PluginCommand::List { format } => list::list(options, *format),
        PluginCommand::Inspect { file, format } => inspect::inspect(file, *format),
        PluginCommand::New { name, lang, path, api } => {
            new::new(&new::Wanted { name, lang: *lang, path: path.as_deref(), api: api.as_deref() })
        }
        PluginCommand::Run { file, settings, name, log } => {
            run::run(&run::Asked { file, settings: settings.as_deref(), name: name.as_deref(), log })
        }
        PluginCommand::Test { tried, format } => test::test(&asked_of(tried), *format),
        PluginCommand::Try => attempt::answer(),
        PluginCommand::Check { name, tried, scratch } => test::check(name, asked_of(tried), scratch.clone()),
    }
}

fn asked_of(tried: &Tried) -> test::Asked {
    let Tried { file, settings, inputs } = tried.clone();
    test::Asked { file, settings, inputs }
}
