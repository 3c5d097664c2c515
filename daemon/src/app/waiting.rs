//! What a reload leaves to the next start, and what that may be the reason of.

use std::path::PathBuf;

use crate::config::diagnostic::Diagnostics;
use crate::config::{code, schema};

/// Where plugins are looked for, by its name in the file.
const PLUGIN_DIRS: &str = "plugins.dirs";

/// What changed between two configurations and cannot be taken while running.
pub fn waiting(old: &schema::Config, new: &schema::Config) -> Vec<&'static str> {
    let changed = [
        ("server.shards", old.server.shards != new.server.shards),
        ("server.backend", old.server.backend != new.server.backend),
        ("log.format", old.log.format != new.log.format),
        (PLUGIN_DIRS, old.plugins.dirs != new.plugins.dirs),
    ];
    changed.into_iter().filter(|(_, changed)| *changed).map(|(setting, _)| setting).collect()
}

/// Says of plugins that are not found that the folders which are wanted now are not looked into before the next start, whether
/// this configuration names them for the first time or one before it did.
pub fn with_what_waits(mut report: Diagnostics, (in_force, wanted): (&[PathBuf], &[PathBuf])) -> Diagnostics {
    let not_found = report.items.iter_mut().filter(|item| item.code == code::UNUSABLE_PLUGIN);
    for item in not_found.filter(|_| in_force != wanted) {
        item.notes.push(format!("`{PLUGIN_DIRS}` is another one than at the start, and holds from the next one on"));
        item.help.push("restart the daemon, which takes both at once".to_owned());
    }
    report
}
