//! `plugin list`: every plugin where the daemon looks for them, who uses it, and which cannot be used.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::app::offline;
use crate::cli::{Exit, Format, Options};
use crate::commands::{load, refuse, say};
use crate::config::schema;
use crate::plugin::find::Places;
use crate::plugin::inspect::Inspection;
use crate::plugin::note::Unusable;

pub fn list(options: &Options, format: Format) -> Exit {
    let (source, loaded) = match load(options) {
        Ok(found) => found,
        Err(report) => return refuse(&report),
    };
    let listing = Listing::new(&offline::places(&source, &loaded), &loaded.config.broadcasters);
    match format {
        Format::Text => say(&listing.text()),
        Format::Json => say(&format!("{:#}", listing.data())),
    }
    Exit::Done
}

struct Listing {
    places: Vec<PathBuf>,
    found: Vec<Found>,
    /// Plugins of the configuration that are nowhere, with the broadcasters that want them.
    missing: BTreeMap<String, Vec<String>>,
}

/// A file that has the name of a plugin.
struct Found {
    plugin: String,
    path: PathBuf,
    seen: Result<Inspection, Unusable>,
    /// The file that is used instead.
    shadowed_by: Option<PathBuf>,
    used_by: Vec<String>,
    /// Broadcasters that pin another content.
    pinned_by: Vec<String>,
}

impl Listing {
    fn new(places: &Places, broadcasters: &BTreeMap<String, schema::Broadcaster>) -> Self {
        let mut found: Vec<Found> = Vec::new();
        let mut known: Vec<PathBuf> = Vec::new();
        for (plugin, path) in places.files() {
            let whole = path.canonicalize().unwrap_or_else(|_| path.clone());
            if known.contains(&whole) {
                continue; // one folder may be named twice, and is not in its own shadow
            }
            known.push(whole);
            let shadowed_by = found.iter().find(|first| first.plugin == plugin).map(|first| first.path.clone());
            let seen = Inspection::read(&path);
            let users = broadcasters.iter().filter(|(_, one)| one.plugin == plugin && shadowed_by.is_none());
            let is_other = |pin: &String| seen.as_ref().is_ok_and(|seen| !pin.eq_ignore_ascii_case(&seen.sha256));
            let (pinned, used): (Vec<_>, Vec<_>) =
                users.partition(|(_, one)| one.sha256.as_ref().is_some_and(is_other));
            let names = |users: Vec<(&String, _)>| users.into_iter().map(|(name, _)| name.clone()).collect();
            found.push(Found { plugin, path, shadowed_by, used_by: names(used), pinned_by: names(pinned), seen });
        }
        let mut missing: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, one) in broadcasters.iter().filter(|(_, one)| found.iter().all(|seen| seen.plugin != one.plugin)) {
            missing.entry(one.plugin.clone()).or_default().push(name.clone());
        }
        Self { places: places.all(), found, missing }
    }

    fn text(&self) -> String {
        let mut rows = vec![["PLUGIN", "VERSION", "ABI", "USED BY", "FILE"].map(str::to_owned)];
        rows.extend(self.found.iter().map(Found::row));
        let widths: [usize; 5] =
            std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
        let line = |row: &[String; 5]| {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let mut lines = vec![line(&rows[0])];
        for (row, found) in rows[1..].iter().zip(&self.found) {
            lines.push(line(row));
            lines.extend(found.remarks().map(|remark| format!("    {remark}")));
        }
        if self.found.is_empty() {
            lines = vec!["no plugin is found".to_owned()];
        }
        for (plugin, users) in &self.missing {
            lines.push(format!("{plugin} is wanted by {} and found nowhere", users.join(", ")));
        }
        lines.push(format!("looked for lib*.so in {}", self.places().join(", ")));
        lines.join("\n")
    }

    fn data(&self) -> Value {
        let missing = self.missing.iter().map(|(plugin, users)| json!({ "plugin": plugin, "wanted_by": users }));
        json!({
            "plugins": self.found.iter().map(Found::data).collect::<Vec<_>>(),
            "missing": missing.collect::<Vec<_>>(),
            "places": self.places(),
        })
    }

    fn places(&self) -> Vec<String> {
        self.places.iter().map(|place| place.display().to_string()).collect()
    }
}

impl Found {
    fn row(&self) -> [String; 5] {
        let unknown = || "-".to_owned();
        let stated = self.stated();
        [
            self.plugin.clone(),
            stated.and_then(|stated| stated.version.clone()).unwrap_or_else(unknown),
            stated.map_or_else(unknown, |stated| format!("{}.{}", stated.abi.0, stated.abi.1)),
            if self.used_by.is_empty() { unknown() } else { self.used_by.join(",") },
            self.path.display().to_string(),
        ]
    }

    fn remarks(&self) -> impl Iterator<Item = String> {
        let shadowed = self.shadowed_by.as_ref().map(|path| format!("shadowed by {}", path.display()));
        let unusable = self.unusable().map(|why| format!("unusable: {why}"));
        let pinned = (!self.pinned_by.is_empty()).then(|| {
            format!(
                "refused by {}, where sha256 is that of another file; correct it there, or bring that file",
                self.pinned_by.join(", ")
            )
        });
        [shadowed, unusable, pinned].into_iter().flatten()
    }

    fn data(&self) -> Value {
        let stated = self.stated();
        json!({
            "plugin": self.plugin,
            "version": stated.and_then(|stated| stated.version.as_ref()),
            "abi": stated.map(|stated| json!({ "major": stated.abi.0, "minor": stated.abi.1 })),
            "path": self.path.display().to_string(),
            "sha256": self.seen.as_ref().ok().map(|seen| &seen.sha256),
            "used_by": self.used_by,
            "pinned_by": self.pinned_by,
            "shadowed_by": self.shadowed_by.as_ref().map(|path| path.display().to_string()),
            "unusable": self.unusable().map(ToString::to_string),
        })
    }

    fn stated(&self) -> Option<&crate::plugin::note::Stated> {
        self.seen.as_ref().ok()?.stated.as_ref()
    }

    fn unusable(&self) -> Option<&Unusable> {
        match &self.seen {
            Ok(seen) => seen.verdict.as_ref().err(),
            Err(why) => Some(why),
        }
    }
}
