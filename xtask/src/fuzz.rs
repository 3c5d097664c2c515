//! Runs every fuzz target in turn. What is new goes to `fuzz/corpus`, which is not committed; the seeds are only read.

use std::io;
use std::path::PathBuf;
use std::process::Command;

use super::{root, run as run_program};

/// Long enough for each target to find what is easy to find.
pub const SECONDS: u32 = 60;

pub fn run(seconds: u32) -> Result<(), String> {
    for name in targets().map_err(|error| format!("fuzz/fuzz_targets cannot be read: {error}"))? {
        let corpus = format!("fuzz/corpus/{name}");
        std::fs::create_dir_all(root().join(&corpus)).map_err(|error| format!("{corpus} cannot be made: {error}"))?;
        println!("── {name}: {seconds} s");
        let mut cargo = Command::new("cargo");
        cargo.args(["fuzz", "run", &name, &corpus, &format!("fuzz/seeds/{name}"), "--"]);
        cargo.args([&format!("-max_total_time={seconds}"), "-print_final_stats=1", "-max_len=4096"]);
        cargo.env("RUSTC_BOOTSTRAP", "1"); // the sanitizer's flags are not stable; the compiler is the same
        run_program(cargo.current_dir(root()))
            .map_err(|error| format!("{name}: {error}; if cargo knows no `fuzz`: cargo install --locked cargo-fuzz"))?;
    }
    Ok(())
}

fn targets() -> io::Result<Vec<String>> {
    let files: Vec<PathBuf> = std::fs::read_dir(root().join("fuzz/fuzz_targets"))?
        .map(|file| file.map(|file| file.path()))
        .collect::<io::Result<_>>()?;
    let mut names: Vec<String> = files.iter().filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}
