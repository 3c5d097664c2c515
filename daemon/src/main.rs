//! The story of the process: read the configuration, start, do what is asked, drain, end with a code that says how.

use std::process::ExitCode;

use broadcastd::cli::{Cli, Command, Exit};
use broadcastd::commands::{self, Depth};
use broadcastd::run::{self, Resort};
use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(asked_or_wrong) => {
            // Nobody reads what cannot be printed.
            _ = asked_or_wrong.print();
            return if asked_or_wrong.use_stderr() { code(Exit::Usage) } else { code(Exit::Done) };
        }
    };
    code(match cli.command.unwrap_or(Command::Run { strict: false }) {
        Command::Run { strict } => run::run(&cli.options, if strict { Resort::None } else { Resort::LastGood }),
        Command::Check { offline, format } => {
            commands::check(&cli.options, if offline { Depth::Text } else { Depth::Files }, format)
        }
        Command::Status(reach) => commands::daemon::status(&reach),
        Command::Connections(wanted) => commands::connections::connections(&wanted),
        Command::Plan { file, reach } => commands::daemon::plan(&cli.options, file.as_deref(), &reach),
        Command::Reload(reach) => commands::daemon::reload(&cli.options, &reach),
        Command::Broadcaster { deed, name, reach } => commands::daemon::steer(&name, deed, &reach),
        Command::Publish(publish) => commands::publish::publish(&publish),
        Command::Tap(tap) => commands::tap::tap(&tap),
        Command::LogLevel(wish) => commands::log_level::log_level(&wish),
        Command::Token(token) => commands::token::token(&token),
        Command::State(act) => commands::state::state(&act),
        Command::Doctor(reach) => commands::doctor::doctor(&cli.options, &reach),
        Command::Top(top) => commands::top::top(&top),
        Command::Config(shown) => commands::config(&cli.options, shown),
        Command::Explain { code, format } => commands::explain(code.as_deref(), format),
        Command::Schema { form } => commands::schema(&cli.options, form),
        Command::Plugin(asked) => commands::plugin::run(&cli.options, &asked),
        Command::Completions { shell } => commands::completions(shell),
        Command::Man { folder } => commands::manual(folder.as_deref()),
    })
}

fn code(exit: Exit) -> ExitCode {
    ExitCode::from(exit as u8)
}
