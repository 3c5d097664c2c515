//! From one configuration to the next: everything new is made ready, then all is exchanged, then the old is let go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;

use broadcastd_plugin_api::StreamSpec;

use self::exchanged::{Exchanged, exchanged};
use self::fresh::Fresh;
use super::broadcaster::{Order, Phase};
use super::files::{Files, Found};
use super::inputs::Inputs;
use super::library::Library;
use super::news::{News, State};
use super::plan::{Change, Wanted, circle, plan};
use super::port::Fault;
use super::probation::Before;
use super::saved::Checkpoint;
use super::stream::settings;
use super::{Problem, Running, Shown, Supervisor};
use crate::hub::settings::{Settings, Source};
use crate::hub::stream::Stream;

pub mod exchanged;
pub(super) mod fresh;
mod hand_over;
mod loading;

/// Why the stream of a disabled broadcaster has no source.
const DISABLED: &str = "the broadcaster is disabled";

/// A configuration whose new broadcasters stand ready beside the running ones. Dropping it lets go of them.
#[derive(Default)]
pub struct Prepared {
    changes: Vec<Change>,
    pub(super) wanted: BTreeMap<String, Loaded>,
    /// Instances that wait for their beginning.
    pub(super) fresh: BTreeMap<String, Fresh>,
    disabled: Vec<Wanted>,
    /// What plugins find odd about settings, which keeps nothing from running.
    pub warnings: Vec<Problem>,
    /// Broadcasters whose plugin's file is not taken, and why, to stand behind their names.
    pub held_back: BTreeMap<String, String>,
    /// Broadcasters that get the file of their plugin as it lies there.
    taken: BTreeSet<String>,
    /// Those that go on with another file than they have.
    pub exchanged: BTreeMap<String, Exchanged>,
    /// Which ran as they should when this was made ready.
    pub(super) healthy: BTreeSet<String>,
    /// What ran before those that begin, where it may come back.
    before: BTreeMap<String, Before>,
}

/// What a configuration is made ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// To be told what it would do: a file that is new is tried in another process, and not loaded.
    Plan,
    Exchange,
}

/// A wanted broadcaster with its library.
pub(super) struct Loaded {
    pub(super) wanted: Wanted,
    pub(super) library: Arc<Library>,
    pub(super) spec: Option<StreamSpec>,
    /// What its plugin finds odd about its settings.
    pub(super) warnings: Vec<Problem>,
    pub(super) file: Found,
}

impl Prepared {
    /// One broadcaster that goes on from what its instance has restored.
    pub(super) fn of_one(loaded: Loaded, fresh: Fresh) -> Self {
        let name = loaded.wanted.name.clone();
        let fresh = BTreeMap::from([(name.clone(), fresh)]);
        Self { wanted: BTreeMap::from([(name, loaded)]), fresh, ..Self::default() }
    }

    pub fn changes(&self) -> &[Change] {
        &self.changes
    }
}

impl Supervisor {
    /// Loads, checks and makes everything that the wanted broadcasters need and that is not there yet. Nothing that runs
    /// is touched. All problems are found at once.
    pub fn prepare(&self, wanted: Vec<Wanted>, aim: Aim) -> Result<Prepared, Vec<Problem>> {
        if let Some(circle) = circle(&wanted) {
            let text = format!("broadcasters listen to each other in a circle: {}", circle.join(" → "));
            return Err(vec![problem(circle[0], "/listen", text)]);
        }
        let (disabled, wanted): (Vec<Wanted>, Vec<Wanted>) = wanted.into_iter().partition(|one| one.disabled);
        let mut problems = Vec::new();
        let mut loaded = BTreeMap::new();
        for wanted in wanted {
            match self.load(wanted, Files::All) {
                Ok(one) => _ = loaded.insert(one.wanted.name.clone(), one),
                Err(found) => problems.extend(found),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        self.prepare_loaded(Prepared { wanted: loaded, disabled, ..Prepared::default() }, aim, |_| true)
    }

    /// The same for one of them. All others go on as they run: with the file and the settings that they have, and
    /// quarantined ones as they are.
    pub fn prepare_one(&self, one: Wanted, files: Files<'_>) -> Result<Prepared, Vec<Problem>> {
        let name = one.name.clone();
        let runs = |(name, running): (&String, &Running)| (name.clone(), running.loaded());
        let wanted = self.lock().iter().map(runs).collect();
        let mut all = Prepared { wanted, disabled: self.disabled(), ..Prepared::default() };
        all.wanted.remove(&name);
        all.disabled.retain(|other| other.name != name);
        if one.disabled {
            all.disabled.push(one);
        } else {
            all.wanted.insert(name.clone(), self.load(one, files)?);
        }
        self.prepare_loaded(all, Aim::Exchange, |other| other == name)
    }

    /// The streams of the wanted broadcasters, as they would be declared.
    pub fn streams(&self, prepared: &Prepared) -> Vec<(String, Settings)> {
        prepared.wanted.values().filter_map(|one| Some((one.wanted.name.clone(), self.settings(one)?))).collect()
    }

    /// Exchanges old for new. State is handed over first; if that fails anywhere, everything goes on as it was.
    pub fn commit(&self, mut prepared: Prepared) -> Result<Vec<Change>, Vec<Problem>> {
        let mut running = self.lock();
        if let Err(problem) = self.hand_over(&mut prepared, &running) {
            for change in &prepared.changes {
                if let (Change::Replace(name) | Change::Reconfigure(name), Some(old)) =
                    (change, running.get(change.name()))
                {
                    old.resume(name);
                }
            }
            return Err(vec![problem]);
        }
        self.ends.take_over(); // nothing can be refused any more, and nothing listens yet
        for name in &prepared.taken {
            let fresh = prepared.fresh.get(name).and_then(|fresh| fresh.broadcaster.as_ref());
            let runs = || running.get(name).map(|one| &one.broadcaster);
            fresh.or_else(runs).into_iter().for_each(|one| self.forgive_as_mended(name, one.shared()));
        }
        let changes = std::mem::take(&mut prepared.changes);
        let mut retired: Vec<Running> = Vec::new();
        for change in &changes {
            let name = change.name();
            if matches!(change, Change::Stop(_)) || prepared.fresh.contains_key(name) {
                let mut old = running.remove(name);
                let before = old.as_mut().and_then(|old| self.before(old, &prepared));
                if let Some(broadcaster) = prepared.fresh.get(name).and_then(|fresh| fresh.broadcaster.as_ref()) {
                    self.forgive_for(name, &broadcaster.shared().library);
                }
                prepared.before.extend(before.map(|before| (name.to_owned(), before)));
                retired.extend(old);
            } else if let (Some(old), Some(new)) = (running.get_mut(name), prepared.wanted.remove(name)) {
                self.adjust(old, new);
            }
        }
        for old in retired.iter().filter(|old| prepared.fresh.contains_key(&old.wanted.name)) {
            old.broadcaster.step_down();
        }
        self.declare_disabled(&prepared.disabled);
        running.extend(self.begin(&mut prepared));
        let before = self.show(&running, &prepared.disabled);
        self.retire(retired, &running, &prepared.disabled);
        for Wanted { name, .. } in &prepared.disabled {
            self.set_absent(name, DISABLED); // behind the last events of one that ran until now
        }
        self.tell_of_others(&before, &prepared.disabled);
        Ok(changes)
    }

    /// Shows what there is from here on, and returns what was shown before.
    pub(super) fn show(&self, running: &BTreeMap<String, Running>, disabled: &[Wanted]) -> BTreeMap<String, Shown> {
        let runs = running.iter().map(|(name, one)| {
            let shared = Some(one.broadcaster.shared().clone());
            (name.clone(), Shown { wanted: one.wanted.clone(), shared })
        });
        let rests = disabled.iter().map(|wanted| (wanted.name.clone(), Shown { wanted: wanted.clone(), shared: None }));
        std::mem::replace(&mut *self.shown(), runs.chain(rests).collect())
    }

    /// Tells of those that have no instance that would: disabled ones that are new, and those that are gone.
    fn tell_of_others(&self, before: &BTreeMap<String, Shown>, disabled: &[Wanted]) {
        for wanted in disabled.iter().filter(|wanted| !before.contains_key(&wanted.name)) {
            (self.config.tell)(News::Changed(State::disabled(&wanted.name)));
        }
        let names: BTreeSet<String> = self.shown().keys().cloned().collect();
        for name in before.keys().filter(|name| !names.contains(*name)) {
            (self.config.tell)(News::Gone(name.clone()));
        }
    }

    /// Everything is loaded; whether it fits together, and what changes. `tries` says who may leave its quarantine.
    fn prepare_loaded(&self, all: Prepared, aim: Aim, tries: impl Fn(&str) -> bool) -> Result<Prepared, Vec<Problem>> {
        let mut prepared = all;
        let mut problems = self.check_inputs(&prepared);
        if !problems.is_empty() {
            return Err(problems);
        }
        {
            let running = self.lock();
            let old: Vec<Wanted> = running.values().map(|running| running.wanted.clone()).collect();
            let new: Vec<Wanted> = prepared.wanted.values().map(|one| one.wanted.clone()).collect();
            let healthy = running.iter().filter(|(_, one)| one.broadcaster.shared().phase() == Phase::Running);
            prepared.healthy = healthy.map(|(name, _)| name.clone()).collect();
            let again = |change: Change| if tries(change.name()) { try_again(change, &running) } else { change };
            prepared.exchanged = exchanged(&running, &prepared.wanted);
            prepared.changes = plan(&old, &new).into_iter().map(again).collect();
        }
        for (name, one) in &prepared.wanted {
            match &one.file {
                Found::Unseen => {}
                Found::Taken => _ = prepared.taken.insert(name.clone()),
                Found::HeldBack(why) => _ = prepared.held_back.insert(name.clone(), why.clone()),
            }
        }
        prepared.warnings = prepared.wanted.values_mut().flat_map(|one| std::mem::take(&mut one.warnings)).collect();
        if aim == Aim::Exchange {
            self.load_tried(&mut prepared)?;
        }
        for change in prepared.changes.clone() {
            match self.make_ready(&change, &mut prepared) {
                Err(problem) if matches!(change, Change::Retry(_)) => cannot_try_again(&problem),
                Err(problem) => problems.push(problem),
                Ok(()) => {}
            }
        }
        if problems.is_empty() { Ok(prepared) } else { Err(problems) }
    }

    fn make_ready(&self, change: &Change, prepared: &mut Prepared) -> Result<(), Problem> {
        let name = change.name();
        let Some(loaded) = prepared.wanted.get(name).filter(|one| one.library.tried.is_none()) else { return Ok(()) };
        let is_new = match change {
            Change::Start(_) | Change::Replace(_) | Change::Retry(_) => true,
            Change::Reconfigure(_) => !loaded.library.facts.can_reconfigure,
            _ => false,
        };
        if !is_new {
            return Ok(());
        }
        let fresh = match change {
            Change::Start(_) => self.fresh_from_file(loaded)?,
            _ => self.fresh(loaded)?,
        };
        prepared.fresh.insert(name.to_owned(), fresh);
        Ok(())
    }

    /// Every broadcaster that is listened to has a stream, which is not private unless that is allowed: its plugin says
    /// so. What the configuration says of streams itself has been checked with it.
    fn check_inputs(&self, prepared: &Prepared) -> Vec<Problem> {
        let mut problems = Vec::new();
        for Loaded { wanted, .. } in prepared.wanted.values() {
            for (index, stream) in wanted.listen.iter().enumerate() {
                let is_disabled = prepared.disabled.iter().any(|one| one.name == *stream);
                let is_private = match prepared.wanted.get(stream) {
                    Some(Loaded { spec, .. }) => spec.as_ref().map(|spec| spec.private),
                    // Of one that has not run yet nothing is known.
                    None if is_disabled => Some(self.hub.stream(stream).is_some_and(|known| known.settings().private)),
                    None => continue,
                };
                let text = match is_private {
                    None => format!("broadcaster {stream} has no stream; listen to another one"),
                    Some(true) if !wanted.allow_private => {
                        format!("stream \"{stream}\" is private; set allow_private = true to listen to it")
                    }
                    Some(_) => continue,
                };
                problems.push(problem(&wanted.name, &format!("/listen/{index}"), text));
            }
        }
        problems
    }

    /// What the stream of a broadcaster is like; `None` for a notifier.
    fn settings(&self, loaded: &Loaded) -> Option<Settings> {
        loaded.spec.as_ref().map(|spec| settings(spec, &self.config.stream_defaults, &loaded.wanted.stream))
    }

    fn adjust(&self, old: &mut Running, new: Loaded) {
        old.broadcaster.shared().lock().restart = new.wanted.restart;
        if (&old.wanted.stream, &old.spec) != (&new.wanted.stream, &new.spec)
            && let Some(settings) = self.settings(&new)
        {
            self.hub.declare(&new.wanted.name, settings);
        }
        old.wanted = new.wanted;
        old.spec = new.spec;
    }

    /// Streams are declared first, then everybody listens, then everybody begins: nobody misses the first event.
    pub(super) fn begin(&self, prepared: &mut Prepared) -> Vec<(String, Running)> {
        let mut fresh = std::mem::take(&mut prepared.fresh);
        for name in fresh.keys() {
            let Some(settings) = prepared.wanted.get(name).and_then(|one| self.settings(one)) else { continue };
            let is_new = self.hub.stream(name).is_none();
            let stream = self.hub.declare(name, settings);
            if is_new {
                stream.set_source(Source::Absent("the broadcaster starts".into()));
            }
        }
        let mut begun = Vec::new();
        for (name, fresh) in &mut fresh {
            let (Some(broadcaster), Some(loaded)) = (fresh.take(&self.saved()), prepared.wanted.remove(name)) else {
                continue;
            };
            let shared = broadcaster.shared();
            let streams: Vec<Arc<Stream>> =
                loaded.wanted.listen.iter().filter_map(|name| self.hub.stream(name)).collect();
            for stream in &streams {
                if let Some(saved) = fresh.checkpoint.positions.get_mut(&**stream.name()) {
                    *saved = self.ends.go_on(stream, saved);
                }
            }
            let inputs = Inputs::listen(&streams, &shared.signal, &fresh.checkpoint.positions);
            if let (Some(_), Some(stream)) = (&loaded.spec, self.hub.stream(name)) {
                shared.desk.stream.get_or_init(|| stream);
            }
            let checkpoint = Checkpoint { positions: inputs.positions(), ..std::mem::take(&mut fresh.checkpoint) };
            let before = prepared.before.remove(name);
            begun.push((inputs, checkpoint, Running { wanted: loaded.wanted, spec: loaded.spec, broadcaster, before }));
        }
        let begin = |(inputs, checkpoint, running): (Inputs, Checkpoint, Running)| {
            if let Err(fault) = running.ask(Order::Begin(inputs, checkpoint), "start") {
                tracing::error!(broadcaster = running.wanted.name, message = fault.message, "does not start");
            }
            (running.wanted.name.clone(), running)
        };
        // All at once, so that one that hangs holds up no other.
        thread::scope(|scope| {
            let begun: Vec<_> = begun.into_iter().map(|one| scope.spawn(move || begin(one))).collect();
            begun.into_iter().map(|one| one.join().expect("an order is answered or times out")).collect()
        })
    }

    /// A disabled broadcaster's stream is there, so that subscribers and listeners can wait for it; it has no source.
    fn declare_disabled(&self, disabled: &[Wanted]) {
        for Wanted { name, .. } in disabled.iter().filter(|one| self.hub.stream(&one.name).is_none()) {
            self.hub.declare(name, self.config.stream_defaults.clone());
            self.set_absent(name, DISABLED);
        }
    }

    /// Stops what is replaced or no longer wanted, all at once.
    pub(super) fn retire(&self, retired: Vec<Running>, running: &BTreeMap<String, Running>, disabled: &[Wanted]) {
        thread::scope(|scope| {
            for old in retired {
                scope.spawn(move || {
                    let name = old.wanted.name;
                    old.broadcaster.stop();
                    if !running.contains_key(&name) {
                        self.declared.forget(&name);
                    }
                    let is_gone = !running.contains_key(&name) && disabled.iter().all(|one| one.name != name);
                    if is_gone && old.spec.is_some() {
                        self.hub.remove(&name);
                    }
                });
            }
        });
    }
}

/// A reload is also how an operator says that a quarantined broadcaster may try again, though nothing of it changed.
fn try_again(change: Change, running: &BTreeMap<String, Running>) -> Change {
    let is_quarantined =
        running.get(change.name()).is_some_and(|running| running.broadcaster.shared().phase() == Phase::Quarantined);
    match change {
        Change::Keep(name) | Change::Adjust(name) if is_quarantined => Change::Retry(name),
        other => other,
    }
}

/// It stays quarantined, and nothing else is refused for it.
fn cannot_try_again(problem: &Problem) {
    tracing::warn!(broadcaster = problem.broadcaster, "stays quarantined: {}", problem.message);
}

fn of_settings(name: &str, fault: &Fault) -> Problem {
    problem(name, &format!("/settings{}", fault.pointer), fault.message.clone())
}

pub(super) fn problem(name: &str, pointer: &str, message: String) -> Problem {
    Problem { broadcaster: name.to_owned(), pointer: pointer.to_owned(), message }
}
