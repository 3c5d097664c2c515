//! The command line of `broadcastd plugin`: what authors of plugins and those who install them ask for.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Format;

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum PluginCommand {
    /// Lists the plugins that are found, which broadcasters use them, and which cannot be used
    #[command(after_help = LIST)]
    List {
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        format: Format,
    },
    /// Says who a library is and whether this daemon would load it, without loading it
    #[command(after_help = INSPECT)]
    Inspect {
        /// The library, such as target/release/libbars.so
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        format: Format,
    },
    /// Writes a plugin to begin with: it compiles, passes its own test and publishes
    #[command(after_help = NEW)]
    New {
        /// What it is called: plugin = "NAME" and libNAME.so
        #[arg(value_name = "NAME")]
        name: String,
        #[arg(long, value_name = "LANGUAGE", default_value = "rust")]
        lang: Language,
        /// The folder to write into, which must be empty if it exists [default: ./NAME]
        #[arg(long, value_name = "DIR")]
        path: Option<PathBuf>,
        /// Rust: where the crate broadcastd-plugin-api comes from: a checkout of broadcastd, the URL of its git
        /// repository, or a version [default: the checkout that this program was built in, else its own version]
        #[arg(long, value_name = "PATH|URL|VERSION")]
        api: Option<String>,
    },
    /// Holds a plugin to the rules of the border, and says which it breaks
    #[command(after_help = TEST)]
    Test {
        #[command(flatten)]
        tried: Tried,
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        format: Format,
    },
    /// Runs one plugin by itself: its events on standard output, its inputs from standard input
    #[command(after_help = RUN)]
    Run {
        /// The library, whatever it is called
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Its settings: JSON, or a file of TOML or JSON
        #[arg(long, value_name = "JSON|FILE")]
        settings: Option<String>,
        /// What its stream is called [default: as the plugin]
        #[arg(long, value_name = "STREAM")]
        name: Option<String>,
        /// Which lines of its log are shown: error, warn, info, debug or trace
        #[arg(long, value_name = "LEVEL", default_value = "info")]
        log: String,
    },
    /// One check of `plugin test`, in a process of its own
    #[command(hide = true)]
    Check {
        name: String,
        #[command(flatten)]
        tried: Tried,
        #[arg(long)]
        scratch: PathBuf,
    },
    /// Tries a file that is new to the daemon, which asks by standard input
    #[command(hide = true)]
    Try,
}

/// What is tried, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Tried {
    /// The library, whatever it is called
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Its settings: JSON, or a file of TOML or JSON; none, if it needs none
    #[arg(long, value_name = "JSON|FILE")]
    pub settings: Option<String>,
    /// Inputs that it is given: a file with one event as JSON on each line
    #[arg(long, value_name = "FILE")]
    pub inputs: Option<PathBuf>,
}

/// What a plugin is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// Safe Rust over the crate broadcastd-plugin-api
    Rust,
    /// C99 over the header broadcastd_plugin.h, which is written beside it
    C,
}

const NEW: &str = "\
A name is a letter a-z, then a-z, 0-9 and _, at most 63 in all, and no word of Rust: it becomes a crate, a library and a
line of config.toml.
  broadcastd plugin new weather
  broadcastd plugin new weather --lang c --path plugins/weather";

const INSPECT: &str = "\
Reads the note and the symbols of the file. Nothing of it is run, so it may come from anywhere.
Ends with 0 if this daemon would load it, with 78 if not; the last line says why, and what to do.";

const LIST: &str = "\
Looks where the daemon looks, in this order: the folders of plugins.dirs, those of $BROADCASTD_PLUGIN_PATH, the folder of
this program, and ../lib/broadcastd/plugins beside it. Of several files with one name the first is used; it shadows the
others. Nothing is loaded.";

const RUN: &str = "\
No configuration and no daemon is needed. Each event is one line of JSON: stream, topic, type, key, timestamp and data.
Inputs are lines of the same form; those of any stream are given to it, as if it listened there:
  broadcastd plugin run libcounts.so --settings '{\"every\": 1}' < ticks.ndjson
The end of the input, Ctrl-C or SIGTERM stops it in order: it is told to, saves, and has 5 s for both; a second one ends it
at once. What it logs goes to standard error. Ends with 70 if the plugin fails, with 64 if an input was refused.";

const TEST: &str = "\
Each check is a process of its own and says pass, fail or n/a with a reason. Time is virtual: hours pass at once.
  broadcastd plugin test target/release/libweather.so
  broadcastd plugin test libcounts.so --settings counts.toml --inputs ticks.ndjson
Ends with 0 if nothing failed, with 78 if something did. docs/plugins.md says what each check asks.";
