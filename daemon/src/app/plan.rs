//! What a reload means, in numbers: before it for who asks, and after it for who wanted it.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use crate::config::Paint;
use crate::config::diagnostic::Diagnostics;
use crate::config::document::{dotted, pointer_to};
use crate::config::schema::Config;
use crate::config::words::is_secret;
use crate::hub::Hub;
use crate::plugin::files::SHORT_HASH;
use crate::plugin::plan::Change;
use crate::plugin::reload::Prepared;
use crate::plugin::reload::exchanged::{Build, Exchanged};

/// The way from one configuration to the next.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plan {
    /// Broadcasters that something happens to.
    broadcasters: Vec<Step>,
    /// How many broadcasters nothing happens to.
    kept: usize,
    /// Declared streams that come and go.
    streams: Vec<Coming>,
    /// All other settings that change.
    settings: Vec<Setting>,
    /// Broadcasters that keep the file that they have, although their plugin's is another one.
    held_back: Vec<HeldBack>,
    /// Settings that take effect at the next start only.
    waiting: Vec<&'static str>,
    /// What is odd about the configuration and keeps nothing from running.
    warnings: Value,
    #[serde(skip)]
    warned: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Step {
    #[serde(flatten)]
    change: Change,
    /// It is still in the configuration, and disabled there.
    disabled: bool,
    /// Subscriptions to its stream.
    subscriptions: u64,
    /// Its plugin's file, where that is another one.
    file: Option<Exchanged>,
    settings: Vec<Setting>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct HeldBack {
    broadcaster: String,
    /// Stands behind the name.
    why: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Coming {
    change: &'static str,
    stream: String,
    subscriptions: u64,
}

/// A setting by its name in the file; `null` where it is not set.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Setting {
    key: String,
    old: Value,
    new: Value,
}

impl Plan {
    pub fn new(hub: &Hub, (old, new): (&Config, &Config), next: &Prepared, waiting: Vec<&'static str>) -> Self {
        let changes = next.changes();
        let subscriptions = |stream: &str| hub.stream(stream).map_or(0, |stream| stream.figures().subscriptions);
        let mut settings = Vec::new();
        differences("", &json!(old), &json!(new), &mut settings);
        let happens = |change: &&Change| !matches!(change, Change::Keep(_));
        let mut broadcasters: Vec<Step> = Vec::new();
        for change in changes.iter().filter(happens) {
            let name = change.name();
            let own = take_below(&mut settings, &pointer_to("/broadcasters", name));
            let disabled = new.broadcasters.get(name).is_some_and(|one| !one.enabled);
            let is_whole = matches!(change, Change::Start(_) | Change::Stop(_));
            broadcasters.push(Step {
                change: change.clone(),
                disabled,
                subscriptions: subscriptions(name),
                file: next.exchanged.get(name).cloned(),
                settings: if is_whole { Vec::new() } else { own },
            });
        }
        let gone = old.streams.keys().filter(|name| !new.streams.contains_key(*name)).map(|name| ("remove", name));
        let fresh = new.streams.keys().filter(|name| !old.streams.contains_key(*name)).map(|name| ("add", name));
        let mut streams = Vec::new();
        for (change, name) in gone.chain(fresh) {
            take_below(&mut settings, &pointer_to("/streams", name));
            streams.push(Coming { change, stream: name.clone(), subscriptions: subscriptions(name) });
        }
        let kept = changes.len() - broadcasters.len();
        let settings = take_below(&mut settings, "");
        let held_back = next.held_back.iter();
        let held_back = held_back.map(|(name, why)| HeldBack { broadcaster: name.clone(), why: why.clone() }).collect();
        Self { broadcasters, kept, streams, settings, held_back, waiting, ..Self::default() }
    }

    /// Whether the same broadcasters keep the files that they have, although their plugins' are others.
    pub fn holds_back_what(&self, other: &Self) -> bool {
        self.held_back == other.held_back
    }

    /// Says in the log which files are not taken.
    pub fn tell_what_is_held_back(&self) {
        for HeldBack { broadcaster, why } in &self.held_back {
            tracing::warn!(broadcaster, "it {why}");
        }
    }

    pub fn with_warnings(self, odd: &Diagnostics) -> Self {
        let warned =
            if odd.is_empty() { String::new() } else { odd.render(Paint::Plain, "it can be taken all the same") };
        Self { warnings: odd.to_json()["diagnostics"].take(), warned, ..self }
    }

    pub fn is_nothing(&self) -> bool {
        let Self { broadcasters, streams, settings, waiting, .. } = self;
        broadcasters.is_empty() && streams.is_empty() && settings.is_empty() && waiting.is_empty()
    }

    /// What changes, where there is room for one line.
    pub fn in_short(&self) -> String {
        let steps = self.broadcasters.iter().map(Step::in_short);
        let streams = self.streams.iter().map(|coming| match coming.change {
            "add" => format!("stream {} comes", coming.stream),
            _ => format!("stream {} goes", coming.stream),
        });
        let settings = self.settings.iter().map(|setting| setting.key.clone());
        let all: Vec<String> = steps.chain(streams).chain(settings).collect();
        if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
    }

    /// A line for each thing, behind a sign that says whether it comes, goes or changes.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for step in &self.broadcasters {
            let (sign, what) = step.told();
            line(&mut out, &format!("  {sign} broadcaster {}: {what}", step.change.name()));
            step.file.iter().for_each(|file| line(&mut out, &format!("      {}", file_told(file))));
            step.settings.iter().for_each(|setting| line(&mut out, &format!("      {}", setting.told())));
        }
        for Coming { change, stream, subscriptions } in &self.streams {
            match *change {
                "add" => line(&mut out, &format!("  + stream {stream}")),
                _ => line(&mut out, &format!("  - stream {stream}: {} told", are(*subscriptions))),
            }
        }
        self.settings.iter().for_each(|setting| line(&mut out, &format!("  ~ {}", setting.told())));
        for setting in &self.waiting {
            line(&mut out, &format!("  ! {setting} takes effect at the next start only"));
        }
        if out.is_empty() {
            line(&mut out, "  nothing");
        }
        for HeldBack { broadcaster, why } in &self.held_back {
            line(&mut out, &format!("  ! broadcaster {broadcaster} {why}"));
        }
        let kept = count(self.kept as u64, "broadcaster");
        line(&mut out, &format!("{kept} unchanged; connections stay open"));
        out + &self.warned
    }
}

impl Step {
    /// Where a line has room for all of them.
    fn in_short(&self) -> String {
        let name = self.change.name();
        match &self.change {
            Change::Start(_) => format!("{name} starts"),
            Change::Stop(_) => format!("{name} stops"),
            Change::Replace(_) => format!("{name} has a new instance"),
            Change::Reconfigure(_) => format!("{name} takes new settings"),
            Change::Adjust(_) => format!("{name} is treated otherwise"),
            Change::Retry(_) => format!("{name} tries again"),
            Change::Keep(_) => format!("{name} stays"),
        }
    }

    fn told(&self) -> (char, String) {
        let go_on = format!("{} on", goes(self.subscriptions));
        match &self.change {
            Change::Start(_) => ('+', "starts".to_owned()),
            Change::Stop(_) if self.disabled => {
                ('-', format!("stops; its stream stays, and {} told", are(self.subscriptions)))
            }
            Change::Stop(_) => ('-', format!("stops; its stream goes, and {} told", are(self.subscriptions))),
            Change::Replace(_) => ('~', format!("a new instance takes over the state; {go_on}")),
            Change::Reconfigure(_) => ('~', format!("takes new settings; {go_on}")),
            Change::Adjust(_) => ('~', format!("only the daemon treats it otherwise; {go_on}")),
            Change::Retry(_) => ('~', format!("is quarantined and tries again; {go_on}")),
            Change::Keep(_) => (' ', "stays as it is".to_owned()),
        }
    }
}

impl Setting {
    fn told(&self) -> String {
        let written = |value: &Value| if value.is_null() { "not set".to_owned() } else { value.to_string() };
        format!("{}: {} → {}", self.key, written(&self.old), written(&self.new))
    }
}

/// What takes the place of what; files of one version are told apart by what they hash to.
fn file_told(file: &Exchanged) -> String {
    let Exchanged { old, new, is_back } = file;
    let named = |build: &Build| match old.version == new.version {
        true => format!("{} ({}…)", build.version, build.sha256.get(..SHORT_HASH).unwrap_or_default()),
        false => build.version.clone(),
    };
    let back = if *is_back { ", the file that ran before" } else { "" };
    format!("version: {} → {}{back}", named(old), named(new))
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("writing into a string cannot fail");
}

fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn are(subscriptions: u64) -> String {
    format!("{} {}", count(subscriptions, "subscription"), if subscriptions == 1 { "is" } else { "are" })
}

fn goes(subscriptions: u64) -> String {
    format!("{} {}", count(subscriptions, "subscription"), if subscriptions == 1 { "goes" } else { "go" })
}

/// Everything that is not a table and differs. `key` holds the pointer.
fn differences(pointer: &str, old: &Value, new: &Value, found: &mut Vec<Setting>) {
    if let (Value::Object(old), Value::Object(new)) = (old, new) {
        let added = new.keys().filter(|key| !old.contains_key(*key));
        for key in old.keys().chain(added) {
            let of = |table: &serde_json::Map<String, Value>| table.get(key).cloned().unwrap_or_default();
            differences(&pointer_to(pointer, key), &of(old), &of(new), found);
        }
    } else if old != new {
        let shown = |value: &Value| if is_secret(pointer) && !value.is_null() { "…".into() } else { value.clone() };
        found.push(Setting { key: pointer.to_owned(), old: shown(old), new: shown(new) });
    }
}

/// The settings below a pointer, named as below it.
fn take_below(settings: &mut Vec<Setting>, pointer: &str) -> Vec<Setting> {
    let is_below = |setting: &mut Setting| {
        setting.key.strip_prefix(pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let taken = settings.extract_if(.., is_below);
    taken.map(|setting| Setting { key: dotted(&setting.key[pointer.len()..]), ..setting }).collect()
}
