//! The command line: which configuration, and what to do with it.

mod connections;
mod log_level;
pub mod plugin;
mod publish;
mod state;
mod tap;
mod token;
mod top;

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub use self::connections::Connections;
pub use self::log_level::LogLevel;
pub use self::publish::{Event, Publish};
pub use self::state::{Place, State};
pub use self::tap::Tap;
pub use self::token::{Token, TokenAct};
pub use self::top::Top;

use self::plugin::PluginCommand;
use crate::admin::orders::Deed;

/// What a process ends with, as sysexits.h names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Done = 0,
    Usage = 64,
    /// Something that was given was not taken.
    Data = 65,
    /// What is needed is taken, or not there.
    Unavailable = 69,
    Internal = 70,
    Permission = 77,
    Config = 78,
}

/// The file that is used when none is named and there is none in the working directory.
const SYSTEM_CONFIG: &str = "/etc/broadcastd/config.toml";
const LOCAL_CONFIG: &str = "config.toml";

/// Loads broadcaster plugins and delivers their events to WebSocket clients.
#[derive(Debug, Parser)]
#[command(name = "broadcastd", version, arg_required_else_help = false)]
pub struct Cli {
    #[command(flatten)]
    pub options: Options,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The configuration file [default: ./config.toml, then /etc/broadcastd/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Overrides one setting; may be given several times
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Runs the daemon (the default)
    Run {
        /// Ends where the configuration is refused, instead of running with the last good one
        #[arg(long)]
        strict: bool,
    },
    /// Checks the configuration and the plugins' settings, and says what is wrong
    Check {
        /// Checks the text alone: no plugin, certificate or key file needs to be there
        #[arg(long)]
        offline: bool,
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        format: Format,
    },
    /// Says how the running daemon is
    Status(Reach),
    /// Shows who is connected, what each hears and what waits for it
    Connections(Connections),
    /// Says what a reload would do, and to how many subscriptions
    Plan {
        /// A configuration that may take the place of the daemon's, which takes its own as soon as it is saved
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        reach: Reach,
    },
    /// Has the running daemon take its configuration file, and says what has changed
    Reload(Reach),
    /// Restarts, stops, starts or replaces one broadcaster of the running daemon
    Broadcaster {
        #[arg(value_name = "DEED")]
        deed: Deed,
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        reach: Reach,
    },
    /// Publishes one event, or one for each line of standard input, and says of each whether it was accepted
    Publish(Publish),
    /// Prints the events of topics as they are delivered, each as a line of JSON
    Tap(Tap),
    /// Shows how much is logged of each broadcaster, or changes it while the daemon runs
    LogLevel(LogLevel),
    /// Makes a token for a program, and the lines of config.toml that let it in
    Token(Token),
    /// Lists what broadcasters have saved, or has one begin anew
    #[command(subcommand)]
    State(State),
    /// Finds what commonly is wrong on this machine, and says what to do about it
    Doctor(Reach),
    /// Shows rates, connections and broadcasters live; q quits
    Top(Top),
    /// Shows the configuration in force, the shipped one, or the schema that editors check it with
    #[command(subcommand)]
    Config(Shown),
    /// Says more about an error of the configuration, and how to mend it
    Explain {
        /// Such as C001; all are listed when none is named
        #[arg(value_name = "CODE")]
        code: Option<String>,
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        format: Format,
    },
    /// Prints what clients and the daemon say to each other, from what the configured broadcasters declare
    Schema {
        #[arg(value_name = "FORM")]
        form: Form,
    },
    /// Looks at plugins, writes a new one, tries one
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Prints what a shell needs to complete this command line
    Completions {
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Prints the manual page, or writes those of all commands into a folder
    Man {
        #[arg(value_name = "FOLDER")]
        folder: Option<PathBuf>,
    },
}

/// Which daemon is asked, and how its answer is written.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Reach {
    /// The control socket of the daemon [default: of this user's, then /run/broadcastd/control.sock]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
}

/// What of the configuration is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Shown {
    /// Every setting with its value: file, environment and --set together, and defaults
    Show {
        /// Says behind each value who gave it
        #[arg(long)]
        origin: bool,
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        format: Format,
    },
    /// The configuration that holds when there is no file
    Default,
    /// The JSON Schema of config.toml, with the settings of the plugins that are configured
    Schema,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// What a description is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// TypeScript: a type for every message
    Ts,
    /// An AsyncAPI document, as the daemon serves it at /v1/asyncapi.json
    Asyncapi,
}

impl Options {
    /// The file that was named, else the first that exists; `None` when the shipped configuration holds.
    pub fn config_file(&self) -> Option<PathBuf> {
        let places = [Path::new(LOCAL_CONFIG), Path::new(SYSTEM_CONFIG)];
        let found = || places.into_iter().find(|place| place.exists()).map(Path::to_owned);
        self.config.clone().or_else(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_may_stand_before_and_behind_the_command() {
        let before = Cli::parse_from(["broadcastd", "--set", "a=1", "--config", "x.toml", "check"]);
        let behind = Cli::parse_from(["broadcastd", "check", "--config", "x.toml", "--set", "a=1"]);
        for cli in [before, behind] {
            assert_eq!(cli.command, Some(Command::Check { offline: false, format: Format::Text }));
            assert_eq!((cli.options.config, cli.options.sets), (Some("x.toml".into()), vec!["a=1".to_owned()]));
        }
        assert_eq!(Cli::parse_from(["broadcastd"]).command, None);
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
