//! Broadcasters: plugins found, loaded, run, restarted and replaced as the configuration says.

pub mod alone;
pub mod bounded;
pub mod broadcaster;
pub mod declared;
pub mod demand;
pub mod due;
pub mod ends;
pub mod file;
pub mod files;
pub mod find;
pub mod handles;
pub mod host;
pub mod inputs;
pub mod inspect;
pub mod library;
pub mod loaded;
pub mod message;
pub mod news;
pub mod note;
pub mod plan;
pub mod port;
pub mod probation;
pub mod reload;
pub mod restart;
pub mod runner;
pub mod saved;
pub mod status;
pub mod stream;
pub mod timers;
pub mod timing;
pub mod told;
pub mod trial;
pub mod voice;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use broadcastd_plugin_api::StreamSpec;
use serde_json::Value;

use self::broadcaster::{Broadcaster, Inner, Shared};
use self::declared::Declared;
use self::ends::Ends;
use self::file::Image;
use self::files::Rejected;
use self::find::Places;
use self::library::Library;
use self::news::Tell;
use self::note::{Note, Unusable};
use self::plan::Wanted;
use self::port::{Counts, Desk, Fault};
use self::probation::Before;
use self::saved::Saved;
use self::status::Status;
use self::timing::{Clock, Timing};
use self::trial::{Place, Trial};
use self::voice::Voice;
use crate::event::Position;
use crate::hub::Hub;
use crate::hub::settings::{Settings, Source};
use crate::hub::signal::Signal;
use crate::hub::stream::Stream;

/// Where things are, and how long they may take.
pub struct Config {
    pub places: Places,
    /// Private copies of plugins; must not be mounted noexec.
    pub cache_dir: PathBuf,
    /// What broadcasters save.
    pub state_dir: PathBuf,
    /// What a stream is like unless its plugin or its table says otherwise.
    pub stream_defaults: Settings,
    pub timing: Timing,
    pub clock: Arc<dyn Clock>,
    /// Hears what happens to broadcasters.
    pub tell: Tell,
}

/// Runs the broadcasters that the configuration wants.
pub struct Supervisor {
    hub: Arc<Hub>,
    config: Config,
    saved: Saved,
    ends: Ends,
    declared: Arc<Declared>,
    /// Held for the whole of a reload, so that there is one at a time; nothing else waits for it.
    running: Mutex<BTreeMap<String, Running>>,
    /// What there is to show of each broadcaster, also while a reload takes its time.
    shown: Mutex<BTreeMap<String, Shown>>,
    /// Where new files are tried before they are loaded; until it is set, nowhere.
    trial: OnceLock<Trial>,
    /// Files that broadcasters were rolled back from.
    rejected: Mutex<BTreeMap<String, Rejected>>,
}

#[derive(Clone)]
struct Shown {
    wanted: Wanted,
    /// `None`: it is disabled.
    shared: Option<Arc<Shared>>,
}

/// A broadcaster with what was wanted of it.
struct Running {
    wanted: Wanted,
    spec: Option<StreamSpec>,
    broadcaster: Broadcaster,
    /// Another file of its plugin that ran here before.
    before: Option<Before>,
}

/// Something that keeps a configuration from being used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub broadcaster: String,
    /// JSON pointer into the broadcaster's table: `/plugin`, `/settings/symbols/3`, `/listen/0`.
    pub pointer: String,
    /// The rule and what to do; lower case, no full stop.
    pub message: String,
}

impl Supervisor {
    pub fn new(hub: Arc<Hub>, config: Config) -> Self {
        let saved = Saved::new(config.state_dir.clone());
        let ends = Ends::new(config.state_dir.clone());
        Self {
            hub,
            config,
            saved,
            ends,
            declared: Arc::default(),
            running: Mutex::default(),
            shown: Mutex::default(),
            trial: OnceLock::new(),
            rejected: Mutex::default(),
        }
    }

    /// Finds and loads a plugin without running a broadcaster: its schema and its declaration are in the library.
    pub fn library(&self, plugin: &str, sha256: Option<&str>) -> Result<Arc<Library>, Unusable> {
        self.of_file(plugin, sha256, |image, note| self.load_here(&image, note))
    }

    /// The same, and a file that is new to this process is only tried, in another one.
    fn library_to_try(&self, plugin: &str, sha256: Option<&str>) -> Result<Arc<Library>, Unusable> {
        self.of_file(plugin, sha256, |image, note| match self.trial.get() {
            Some(trial) if !loaded::is_here(&image.sha256) => {
                let facts = trial.facts(&self.place(&image, &note))?;
                Ok(Arc::new(Library::tried(image, note, facts)))
            }
            _ => self.load_here(&image, note),
        })
    }

    /// From here on new files are tried before they are loaded.
    pub fn try_new_files(&self, trial: Trial) {
        self.trial.get_or_init(|| trial);
    }

    fn of_file<T>(
        &self,
        plugin: &str,
        sha256: Option<&str>,
        with: impl FnOnce(Image, Note) -> Result<T, Unusable>,
    ) -> Result<T, Unusable> {
        let path = self.config.places.find(plugin)?;
        let of_file = || {
            let image = Image::read(&path)?;
            let note = Note::read(&image.bytes)?;
            if note.id != plugin {
                return Err(Unusable::new(format!(
                    "its note says it is plugin \"{}\"; write plugin = \"{}\" and name the file lib{}.so",
                    note.id, note.id, note.id
                )));
            }
            if let Some(pin) = sha256 {
                image.check_pin(pin)?;
            }
            with(image, note)
        };
        of_file().map_err(|why| Unusable::new(format!("plugin {}: {why}", path.display())))
    }

    fn load_here(&self, image: &Image, note: Note) -> Result<Arc<Library>, Unusable> {
        loaded::load(image, note, &self.config.cache_dir, self.config.timing.create)
    }

    fn place<'a>(&'a self, image: &'a Image, note: &'a Note) -> Place<'a> {
        Place { image, note, cache: &self.config.cache_dir, deadline: self.config.timing.create }
    }

    /// What the plugins that run declare of their settings, by broadcaster.
    pub fn settings_schemas(&self) -> BTreeMap<String, Value> {
        let declared = |(name, one): (&String, &Shown)| {
            let library = &one.shared.as_ref()?.library;
            Some((name.clone(), serde_json::from_str(&library.facts.config_schema).ok()?))
        };
        self.shown().iter().filter_map(declared).collect()
    }

    /// How every broadcaster is, in order of their names; disabled ones, too.
    pub fn status(&self) -> Vec<Status> {
        let shown: Vec<Shown> = self.shown().values().cloned().collect();
        shown.iter().map(|one| self.status_one(one)).collect()
    }

    /// How one is, if it is there.
    pub fn status_of(&self, name: &str) -> Option<Status> {
        let shown = self.shown().get(name).cloned();
        shown.map(|one| self.status_one(&one))
    }

    fn status_one(&self, shown: &Shown) -> Status {
        let rolled_back = self.rejected().get(&shown.wanted.name).map(Rejected::told);
        Status { rolled_back, ..shown.status(&self.declared) }
    }

    /// What is wanted and does not run.
    fn disabled(&self) -> Vec<Wanted> {
        self.shown().values().filter(|one| one.shared.is_none()).map(|one| one.wanted.clone()).collect()
    }

    /// To be called about once a second: tells of calls that do not return, and rolls back what fails on probation.
    pub fn watch(&self) {
        let shown: Vec<Shown> = self.shown().values().cloned().collect();
        shown.iter().filter_map(|one| one.shared.as_ref()).for_each(|shared| shared.watch());
        self.judge();
    }

    /// What plugins declared as metrics, in the text format of Prometheus, to stand behind the daemon's own.
    pub fn render_metrics(&self) -> String {
        self.declared.render()
    }

    /// Stops every broadcaster, each with its deadline. Who listens to another stops after it, so that it hears its last
    /// events; all others at once. There is no circle among them. Their streams stay, without source, and what they
    /// listened to takes no more events: nobody would hear them. Declared streams end before anybody stops, so that what
    /// was accepted is handled.
    pub fn stop(&self) {
        let mut running = self.lock();
        let heard: BTreeSet<String> = running.values().flat_map(|one| one.wanted.listen.clone()).collect();
        let is_declared = |stream: &Arc<Stream>| stream.source() == Source::Declared;
        let heard: Vec<Arc<Stream>> = heard.iter().filter_map(|name| self.hub.stream(name)).collect();
        for declared in heard.iter().filter(|stream| is_declared(stream)) {
            declared.end();
        }
        while !running.is_empty() {
            let names: BTreeSet<String> = running.keys().cloned().collect();
            let hears_none = |one: &Running| one.wanted.listen.iter().all(|name| !names.contains(name));
            let mut first: Vec<(String, Running)> = running.extract_if(.., |_, one| hears_none(one)).collect();
            if first.is_empty() {
                first.extend(std::mem::take(&mut *running)); // a circle, which no reload lets in
            }
            std::thread::scope(|scope| {
                for (name, one) in first {
                    scope.spawn(move || {
                        one.broadcaster.stop();
                        self.set_absent(&name, "the broadcaster was stopped");
                    });
                }
            });
        }
        let end = |stream: &Arc<Stream>| (stream.name().to_string(), stream.end());
        let ends: BTreeMap<String, Position> = heard.iter().map(end).collect();
        if let Err(error) = self.ends.write(&ends) {
            tracing::warn!(%error, "where streams ended cannot be written; the next start will tell of a gap");
        }
    }

    /// A thread with an instance that has not begun.
    fn create(&self, wanted: &Wanted, library: Arc<Library>) -> Result<Broadcaster, Fault> {
        let name: Arc<str> = wanted.name.as_str().into();
        let before = self.shown().get(&*name).and_then(|one| one.shared.clone());
        let counts: Arc<Counts> = before.map(|shared| shared.desk.counts.clone()).unwrap_or_default();
        let desk = Desk {
            voice: Voice::new(&name),
            stream: OnceLock::new(),
            clock: self.config.clock.clone(),
            declared: self.declared.clone(),
            counts,
            name,
        };
        let mut inner = Inner::new(wanted.settings.to_string(), wanted.restart);
        inner.rolled_back = self.rolled_back(&desk.name, &library);
        Broadcaster::create(Shared {
            metrics: crate::metrics::Broadcaster::new(&desk.name),
            signal: Signal::of(&desk.name).into(),
            desk: Arc::new(desk),
            library,
            timing: self.config.timing,
            tell: self.config.tell.clone(),
            saved: self.saved(),
            inner: Mutex::new(inner),
            is_stuck: AtomicBool::new(false),
        })
    }

    fn saved(&self) -> Saved {
        self.saved.clone()
    }

    fn set_absent(&self, name: &str, why: &str) {
        if let Some(stream) = self.hub.stream(name) {
            stream.set_source(Source::Absent(why.into()));
        }
    }

    fn shown(&self) -> MutexGuard<'_, BTreeMap<String, Shown>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
