//! Chores of this repository; users need none of them.

mod soak;

use std::path::Path;
use std::process::ExitCode;

use broadcastd::config::{SCHEMA, reference};
use broadcastd::metrics;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first().map(|(chore, rest)| (chore.as_str(), rest)) {
        Some(("docs", [])) => docs(),
        Some(("soak", rest)) => soak::run(rest),
        _ => {
            eprintln!("cargo xtask docs              writes docs/config.md and docs/metrics.md");
            eprintln!("cargo xtask soak [MINUTES]    runs the daemon under everything at once; --help says more");
            ExitCode::from(64)
        }
    }
}

/// Writes the documents that are made from the code; a test compares them with what is committed.
fn docs() -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    for (name, text) in [("config.md", reference::markdown(&SCHEMA)), ("metrics.md", metrics::reference())] {
        if let Err(error) = std::fs::write(folder.join(name), text) {
            eprintln!("docs/{name} cannot be written: {error}");
            return ExitCode::FAILURE;
        }
        println!("docs/{name}");
    }
    ExitCode::SUCCESS
}
