//! The command line of `broadcastd plugin`: what authors of plugins and those who install them ask for.

use std::path::PathBuf;

use clap::Subcommand;

use super::Format;

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum PluginCommand {
    /// Says who a library is and whether this daemon would load it, without loading it
    #[command(after_help = INSPECT)]
    Inspect {
        /// The library, such as target/release/libbars.so
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        format: Format,
    },
}

const INSPECT: &str = "\
Reads the note and the symbols of the file. Nothing of it is run, so it may come from anywhere.
Ends with 0 if this daemon would load it, with 78 if not; the last line says why, and what to do.";
