//! The first seconds of a plugin's new file: if it fails in them, the one before comes back with the state that it had.

use std::sync::Arc;

use super::broadcaster::{Broadcaster, Order, Phase};
use super::files::{Found, Rejected};
use super::inputs::Inputs;
use super::library::Library;
use super::plan::Wanted;
use super::reload::fresh::Fresh;
use super::reload::{Loaded, Prepared, problem};
use super::saved::Checkpoint;
use super::timing::nanos;
use super::{Problem, Running, Supervisor};
use crate::hub::signal::Signal;
use crate::metrics::labels::Failure;

/// What ran before, and may come back.
pub struct Before {
    loaded: Loaded,
    standing: Standing,
}

/// What the successor goes on from when it comes back.
enum Standing {
    /// The new one is watched until then. This is what it was handed, and the inputs since then, which the streams keep.
    Probation { until: i64, handed: Checkpoint, kept: Inputs },
    /// It has proven itself, or it cannot be helped: its own state is handed back.
    Over,
}

impl Before {
    /// Of its plugin's file.
    pub(super) fn sha256(&self) -> &str {
        &self.loaded.library.sha256
    }
}

impl Supervisor {
    /// What may come back if its successor fails: it ran as it should, and the new file is one of the same plugin. Where
    /// the file is the same, or the old one was not well, it is what may have come back until now.
    pub(super) fn before(&self, old: &mut Running, prepared: &Prepared) -> Option<Before> {
        let name = &old.wanted.name;
        let fresh = prepared.fresh.get(name)?;
        let old_library = old.broadcaster.shared().library.clone();
        let broadcaster = fresh.broadcaster.as_ref()?;
        let new_library = &broadcaster.shared().library;
        if old_library.note.id != new_library.note.id {
            return None;
        }
        let (shared, was_until) = (broadcaster.shared(), old.broadcaster.shared().lock().probation_until);
        if old_library.sha256 == new_library.sha256 || !prepared.healthy.contains(name) {
            shared.lock().probation_until = was_until;
            return old.before.take();
        }
        let streams: Vec<_> = old.wanted.listen.iter().filter_map(|stream| self.hub.stream(stream)).collect();
        let nobody = Signal::of(&format!("{name} before")).into();
        let kept = Inputs::listen(&streams, &nobody, &fresh.checkpoint.positions);
        let (clock, probation) = (&self.config.clock, nanos(self.config.timing.probation));
        let until = clock.mono_ns() + probation;
        shared.lock().probation_until = Some(clock.unix_ns() + probation);
        Some(Before {
            loaded: old.loaded(),
            standing: Standing::Probation { until, handed: fresh.checkpoint.clone(), kept },
        })
    }

    /// Looks after those that are on probation: one that failed is rolled back.
    pub(super) fn judge(&self) {
        let now = self.config.clock.mono_ns();
        let mut failed = Vec::new();
        for (name, one) in self.lock().iter_mut() {
            let Some(Before { standing, .. }) = &mut one.before else { continue };
            let Standing::Probation { until, kept, .. } = standing else { continue };
            match failure(&one.broadcaster) {
                Some(why) => failed.push((name.clone(), why)),
                None if *until <= now => {
                    *standing = Standing::Over;
                    one.broadcaster.shared().end_probation();
                }
                // Publishers are not refused for the sake of inputs that nobody may ever need.
                None if kept.are_too_many() => *kept = Inputs::default(),
                None => {}
            }
        }
        for (name, why) in failed {
            match self.roll_back(&name, &why) {
                Ok(told) => {
                    let shown = self.shown().get(&name).and_then(|one| one.shared.clone());
                    shown.iter().for_each(|shared| shared.tell_failure(Failure::RolledBack, &format!("it was {told}")));
                }
                Err(problem) => self.give_up(&name, &why, &problem),
            }
        }
    }

    /// What failed on probation stays: once is enough, and an operator may try again.
    fn give_up(&self, name: &str, why: &str, problem: &Problem) {
        tracing::error!(
            broadcaster = name,
            "it failed on probation ({why}) and cannot be rolled back: {}; replace its plugin's file",
            problem.message
        );
        if let Some(one) = self.lock().get_mut(name) {
            one.before.iter_mut().for_each(|before| before.standing = Standing::Over);
            one.broadcaster.shared().end_probation();
        }
    }

    /// Gives a broadcaster the plugin's file back that it had before, and says so in the words of its status.
    pub fn roll_back(&self, name: &str, why: &str) -> Result<String, Problem> {
        let mut running = self.lock();
        let refuse = |message: &str| Err(problem(name, "/plugin", message.to_owned()));
        let Some(one) = running.get_mut(name) else { return refuse("it does not run") };
        let Some(before) = one.before.take() else {
            return refuse("no other file of its plugin ran before, since the daemon started");
        };
        let loaded = self.as_wanted_now(&before.loaded, &one.wanted);
        let fresh = match self.fresh(&loaded).and_then(|fresh| one.give_back(fresh, &before.standing)) {
            Ok(fresh) => fresh,
            Err(problem) => {
                one.before = Some(before);
                return Err(problem);
            }
        };
        let Some(old) = running.remove(name) else { return refuse("it does not run") };
        let rejected = rejected(&old.broadcaster.shared().library, why, &loaded.library);
        let told = rejected.told();
        if let Some(broadcaster) = &fresh.broadcaster {
            broadcaster.shared().lock().rolled_back = Some(told.clone());
        }
        self.reject(name, rejected);
        old.broadcaster.step_down();
        running.extend(self.begin(&mut Prepared::of_one(loaded, fresh)));
        drop(before); // only now may the streams let go of what it handles again
        let disabled = self.disabled();
        self.show(&running, &disabled);
        self.retire(vec![old], &running, &disabled);
        Ok(told)
    }

    /// The file before, as the configuration wants the broadcaster now; its settings only where that file takes them.
    fn as_wanted_now(&self, before: &Loaded, now: &Wanted) -> Loaded {
        let Loaded { wanted, library, spec, .. } = before;
        let takes = || library.validate(&now.name, now.settings.to_string(), self.config.timing.create).is_ok();
        let is_fit = wanted.settings == now.settings || takes();
        let settings = if is_fit { now.settings.clone() } else { wanted.settings.clone() };
        let wanted = Wanted { settings, file_sha256: wanted.file_sha256.clone(), ..now.clone() };
        Loaded { wanted, library: library.clone(), spec: spec.clone(), warnings: Vec::new(), file: Found::Unseen }
    }
}

impl Running {
    /// Hands the state to the one before: what that had handed over if this one has failed on probation, else its own.
    fn give_back(&self, mut fresh: Fresh, standing: &Standing) -> Result<Fresh, Problem> {
        let name = &self.wanted.name;
        let Standing::Probation { handed, .. } = standing else { return self.hand_back(fresh) };
        if failure(&self.broadcaster).is_none() {
            return self.hand_back(fresh);
        }
        if self.broadcaster.shared().phase() != Phase::Stuck {
            _ = self.ask(Order::HandOver, "save_state"); // so that it is quiet; what it says is of no use
        }
        let restored = fresh.restore(handed.clone());
        restored.map_err(|fault| {
            self.resume(name);
            problem(name, "/plugin", format!("it does not take back its state: {}", fault.message))
        })?;
        self.broadcaster.silence();
        Ok(fresh)
    }

    fn hand_back(&self, fresh: Fresh) -> Result<Fresh, Problem> {
        self.hand_over_to(fresh).inspect_err(|_| self.resume(&self.wanted.name))
    }
}

fn rejected(from: &Library, why: &str, instead: &Arc<Library>) -> Rejected {
    let (sha256, version) = (from.sha256.clone(), from.note.version.clone());
    Rejected { sha256, version, why: why.to_owned(), instead: instead.clone() }
}

/// Why a broadcaster has not proven itself, if it has failed at all.
fn failure(broadcaster: &Broadcaster) -> Option<String> {
    let shared = broadcaster.shared();
    let phase = shared.phase();
    let inner = shared.lock();
    let is_failed = inner.failures > 0 || matches!(phase, Phase::Stuck | Phase::Quarantined | Phase::BackingOff);
    let said = || inner.last_error.clone().unwrap_or_else(|| "a call into it does not return".to_owned());
    is_failed.then(said)
}
