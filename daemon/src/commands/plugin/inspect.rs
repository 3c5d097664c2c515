//! `plugin inspect`: who a library is, and whether this daemon would load it.

use std::path::Path;

use broadcastd_plugin_api::abi;
use serde_json::{Value, json};

use crate::cli::{Exit, Format};
use crate::commands::{fail, say};
use crate::plugin::inspect::{Entry, Inspection};
use crate::plugin::note::Note;

pub fn inspect(file: &Path, format: Format) -> Exit {
    let inspection = match Inspection::read(file) {
        Ok(inspection) => inspection,
        Err(why) => {
            let hint = "name the library of a plugin, such as target/release/libbars.so";
            return fail(Exit::Usage, &format!("{}: {why}; {hint}", file.display()));
        }
    };
    match format {
        Format::Text => say(&text(file, &inspection)),
        Format::Json => say(&format!("{:#}", data(file, &inspection))),
    }
    if inspection.verdict.is_ok() { Exit::Done } else { Exit::Config }
}

fn text(file: &Path, inspection: &Inspection) -> String {
    let unknown = || "unknown".to_owned();
    let stated = inspection.stated.as_ref();
    let name = |text: Option<&String>| text.cloned().unwrap_or_else(unknown);
    let own = format!("{}.{}", abi::ABI_MAJOR, abi::ABI_MINOR);
    let mut lines = vec![
        ("plugin", name(stated.and_then(|stated| stated.id.as_ref()))),
        ("version", name(stated.and_then(|stated| stated.version.as_ref()))),
        ("file", file.display().to_string()),
        ("size", format!("{} bytes", inspection.size)),
        ("sha256", inspection.sha256.clone()),
        (
            "ABI",
            stated.map_or_else(unknown, |stated| format!("{}.{} (this daemon: {own})", stated.abi.0, stated.abi.1)),
        ),
        ("target", inspection.machine.clone().unwrap_or_else(unknown)),
        ("built with", list(&inspection.built_with, "unknown")),
        ("needs", list(&inspection.needs, "nothing, or unknown")),
        ("entry", format!("{}: {}", abi::ENTRY_SYMBOL, word(inspection.entry))),
    ];
    lines.push(match &inspection.verdict {
        Ok(Note { id, .. }) => ("verdict", format!("this daemon would load it: plugin = \"{id}\"")),
        Err(why) => ("verdict", format!("this daemon would not load it: {why}")),
    });
    let line = |(label, text): (&str, String)| format!("{label:<11}{text}");
    lines.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

fn data(file: &Path, inspection: &Inspection) -> Value {
    let stated = inspection.stated.as_ref();
    let abi = |(major, minor): (u32, u32)| json!({ "major": major, "minor": minor });
    json!({
        "plugin": stated.and_then(|stated| stated.id.as_ref()),
        "version": stated.and_then(|stated| stated.version.as_ref()),
        "file": file.display().to_string(),
        "size": inspection.size,
        "sha256": inspection.sha256,
        "abi": stated.map(|stated| abi(stated.abi)),
        "daemon_abi": abi((abi::ABI_MAJOR, abi::ABI_MINOR)),
        "target": inspection.machine,
        "built_with": inspection.built_with,
        "needs": inspection.needs,
        "entry": { "symbol": abi::ENTRY_SYMBOL, "found": word(inspection.entry) },
        "would_load": inspection.verdict.is_ok(),
        "reason": inspection.verdict.as_ref().err().map(ToString::to_string),
    })
}

fn list(names: &[String], none: &str) -> String {
    if names.is_empty() { none.to_owned() } else { names.join(", ") }
}

fn word(entry: Entry) -> &'static str {
    match entry {
        Entry::There => "there",
        Entry::Missing => "missing",
        Entry::Unknown => "unknown, for lack of a table of symbols",
    }
}
