//! The checks that a plugin is put to, and what they try it with.

use std::path::PathBuf;
use std::sync::Arc;

use broadcastd_plugin_api::StreamSpec;
use serde_json::Value;

use super::report::{Outcome, Report};
use super::{hostile, life, loading, settings, state};
use crate::commands::plugin::given;
use crate::plugin::alone::{Alone, HandClock};
use crate::plugin::file::Image;
use crate::plugin::library::Library;
use crate::plugin::loaded;
use crate::plugin::note::Note;
use crate::plugin::port::Fault;
use crate::plugin::stream::declaration;
use crate::plugin::timing::Timing;

/// One check: what it is called, and which others must have passed for it to say anything.
pub struct Check {
    pub name: &'static str,
    pub needs: &'static [&'static str],
    pub run: fn(&Subject) -> Checked,
}

/// What there is to say of what is right, or why it is not.
pub type Checked = Result<String, Flaw>;

#[derive(Debug)]
pub enum Flaw {
    Wrong(String),
    NotApplicable(String),
}

const LOADED: &[&str] = &["file", "load"];
const READ: &[&str] = &["file", "load", "settings schema", "stream"];
const MADE: &[&str] = &["file", "load", "settings schema", "stream", "settings"];
const ALIVE: &[&str] = &["file", "load", "settings schema", "stream", "settings", "life"];
const SAVED: &[&str] = &["file", "load", "settings schema", "stream", "settings", "life", "save"];
const STOPPED: &[&str] = &["file", "load", "settings schema", "stream", "settings", "life", "save", "stop"];
const RESTORED: &[&str] = &["file", "load", "settings schema", "stream", "settings", "life", "save", "stop", "state"];
const WHOLE: &[&str] =
    &["file", "load", "settings schema", "stream", "settings", "life", "reconfigure", "save", "stop", "state"];

/// In the order in which they are run and told: first what others stand on, so that each flaw is told once.
pub const ALL: &[Check] = &[
    Check { name: "file", needs: &[], run: loading::file },
    Check { name: "load", needs: &["file"], run: loading::load },
    Check { name: "settings schema", needs: LOADED, run: loading::settings_schema },
    Check { name: "stream", needs: LOADED, run: loading::stream },
    Check { name: "settings", needs: READ, run: settings::right },
    Check { name: "wrong settings", needs: MADE, run: settings::wrong },
    Check { name: "life", needs: MADE, run: life::life },
    Check { name: "panics", needs: MADE, run: life::panics },
    Check { name: "events", needs: ALIVE, run: life::events },
    Check { name: "wrong inputs", needs: ALIVE, run: hostile::wrong_inputs },
    Check { name: "reconfigure", needs: ALIVE, run: settings::reconfigure },
    Check { name: "save", needs: ALIVE, run: state::save },
    Check { name: "stop", needs: SAVED, run: life::stop },
    Check { name: "state", needs: STOPPED, run: state::same_again },
    Check { name: "records", needs: RESTORED, run: state::records },
    Check { name: "wrong state", needs: RESTORED, run: state::wrong },
    Check { name: "odd order", needs: WHOLE, run: hostile::odd_order },
    Check { name: "older host", needs: STOPPED, run: loading::older_host },
];

/// What is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub file: PathBuf,
    /// JSON, or the name of a file.
    pub settings: Option<String>,
    /// A file of NDJSON.
    pub inputs: Option<PathBuf>,
}

/// A plugin under test.
pub struct Subject {
    pub asked: Asked,
    pub report: Report,
    /// A folder for private copies, of this run alone.
    pub scratch: PathBuf,
}

/// A plugin that is loaded, with what it declares.
pub struct Plugin {
    pub library: Arc<Library>,
    pub spec: Option<StreamSpec>,
    pub schema: Value,
    /// Those that are given, with defaults.
    pub settings: Value,
}

impl Subject {
    pub fn image(&self) -> Result<Image, Flaw> {
        Image::read(&self.asked.file).map_err(|why| Flaw::Wrong(why.to_string()))
    }

    pub fn library(&self) -> Result<Arc<Library>, Flaw> {
        let image = self.image()?;
        let wrong = |why: &dyn std::fmt::Display| Flaw::Wrong(why.to_string());
        let note = Note::read(&image.bytes).map_err(|why| wrong(&why))?;
        self.report.doing("its entry");
        loaded::load(&image, note, &self.scratch, Timing::default().create).map_err(|why| wrong(&why))
    }

    /// With settings that its schema takes.
    pub fn plugin(&self) -> Result<Plugin, Flaw> {
        let library = self.library()?;
        let spec = declaration(&library.facts.stream).map_err(|why| Flaw::Wrong(why.to_string()))?;
        let schema =
            serde_json::from_str(&library.facts.config_schema).map_err(|error| Flaw::Wrong(error.to_string()))?;
        let given = given::settings(self.asked.settings.as_deref()).map_err(Flaw::Wrong)?;
        let settings = given::checked(&given, &schema).map_err(|wrong| {
            let hint = if self.asked.settings.is_some() { "correct them" } else { "give it some" };
            Flaw::Wrong(format!("{}; {hint} with --settings", given::place(&wrong.pointer, &wrong.message)))
        })?;
        let spec = self.spec(&library, &settings).or(spec);
        Ok(Plugin { library, spec, schema, settings })
    }

    /// What it declares with these settings; the check of settings says why it does not.
    fn spec(&self, library: &Library, settings: &Value) -> Option<StreamSpec> {
        self.report.doing("stream_with");
        let declared = library.stream_with(&library.note.id, settings.to_string(), Timing::default().create).ok()?;
        declaration(&declared).ok()?
    }

    /// An instance that is still to be made, and its clock.
    pub fn alone(&self, plugin: &Plugin) -> (Alone, Arc<HandClock>) {
        let clock = Arc::new(HandClock::default());
        let report = self.report.clone();
        let alone = Alone::new(plugin.library.clone(), plugin.spec.as_ref(), &plugin.library.note.id, clock.clone());
        (alone.before_calls(Box::new(move |call| report.doing(call))), clock)
    }
}

/// A call that failed, in words.
pub fn failed(call: &str, fault: &Fault) -> Flaw {
    Flaw::Wrong(told(call, fault))
}

pub fn told(call: &str, fault: &Fault) -> String {
    let message = given::place(&fault.pointer, &fault.message);
    if message.starts_with(call) {
        message // it says so itself
    } else if message.starts_with("panicked ") {
        format!("{call} {message}")
    } else {
        format!("{call} {}: {message}", if is_panic(fault) { "panicked" } else { "failed" })
    }
}

pub fn is_panic(fault: &Fault) -> bool {
    fault.status == broadcastd_plugin_api::abi::E_PANIC
}

impl From<Checked> for Outcome {
    fn from(checked: Checked) -> Self {
        match checked {
            Ok(reason) => Self::Pass(reason),
            Err(Flaw::Wrong(reason)) => Self::Fail(reason),
            Err(Flaw::NotApplicable(reason)) => Self::NotApplicable(reason),
        }
    }
}
