//! The first seconds of a plugin's new file: if it fails in them, the one before comes back with the state that it had.

use super::broadcaster::{Broadcaster, Phase};
use super::files::Rejected;
use super::reload::{Loaded, Prepared, problem};
use super::saved::Checkpoint;
use super::timing::nanos;
use super::{Problem, Running, Supervisor};

/// What ran before, and may come back.
pub struct Before {
    loaded: Loaded,
    standing: Standing,
}

/// What the successor goes on from when it comes back.
enum Standing {
    /// The new one is watched until then; this is what it was handed.
    Probation { until: i64, handed: Checkpoint },
    /// It has proven itself: its own state is handed back.
    Proven,
}

impl Supervisor {
    /// What may come back if its successor fails: it ran, and the new file is one of the same plugin.
    pub(super) fn before(&self, old: &Running, prepared: &Prepared) -> Option<Before> {
        let name = &old.wanted.name;
        let fresh = prepared.fresh.get(name)?;
        let (old_library, new_library) =
            (&old.broadcaster.shared().library, &fresh.broadcaster.as_ref()?.shared().library);
        let is_swap = old_library.note.id == new_library.note.id && old_library.sha256 != new_library.sha256;
        if !is_swap || !prepared.healthy.contains(name) {
            return None;
        }
        let loaded = Loaded {
            wanted: old.wanted.clone(),
            library: old_library.clone(),
            spec: old.spec.clone(),
            warnings: Vec::new(),
        };
        let until = self.config.clock.mono_ns() + nanos(self.config.timing.probation);
        Some(Before { loaded, standing: Standing::Probation { until, handed: fresh.checkpoint.clone() } })
    }

    /// Looks after those that are on probation: one that failed is rolled back.
    pub(super) fn judge(&self) {
        let now = self.config.clock.mono_ns();
        let mut failed = Vec::new();
        for (name, one) in self.lock().iter_mut() {
            let Some(Before { standing: standing @ Standing::Probation { .. }, .. }) = &mut one.before else {
                continue;
            };
            match failure(&one.broadcaster) {
                Some(why) => failed.push((name.clone(), why)),
                None if matches!(standing, Standing::Probation { until, .. } if *until <= now) => {
                    *standing = Standing::Proven
                }
                None => {}
            }
        }
        for (name, why) in failed {
            if let Err(problem) = self.roll_back(&name, &why) {
                tracing::error!(
                    broadcaster = name,
                    "it failed on probation and cannot be rolled back: {}",
                    problem.message
                );
            }
        }
    }

    /// Gives a broadcaster the plugin's file back that it had before.
    pub fn roll_back(&self, name: &str, why: &str) -> Result<(), Problem> {
        let mut running = self.lock();
        let refuse = |message: &str| Err(problem(name, "/plugin", message.to_owned()));
        let Some(one) = running.get_mut(name) else { return refuse("it does not run") };
        let Some(before) = one.before.take() else {
            return refuse("no other file of its plugin ran before, since the daemon started");
        };
        let fresh = self.fresh(&before.loaded).and_then(|mut fresh| match &before.standing {
            Standing::Probation { handed, .. } => {
                let restored = fresh.restore(handed.clone());
                restored.map_err(|fault| {
                    problem(name, "/plugin", format!("it does not take back its state: {}", fault.message))
                })?;
                one.broadcaster.silence();
                Ok(fresh)
            }
            Standing::Proven => one.hand_over_to(fresh).inspect_err(|_| one.resume(name)),
        });
        let fresh = match fresh {
            Ok(fresh) => fresh,
            Err(problem) => {
                one.before = Some(before);
                return Err(problem);
            }
        };
        let Some(old) = running.remove(name) else { return refuse("it does not run") };
        let rejected = Rejected { sha256: old.broadcaster.shared().library.sha256.clone(), why: why.to_owned() };
        self.rejected().insert(name.to_owned(), rejected);
        old.broadcaster.step_down();
        running.extend(self.begin(&mut Prepared::of_one(before.loaded, fresh)));
        let disabled = self.disabled();
        self.show(&running, &disabled);
        self.retire(vec![old], &running, &disabled);
        let shared = running.get(name).map(|one| one.broadcaster.shared().clone());
        drop(running);
        if let Some(shared) = shared {
            shared.tell_failure("rolled_back", &format!("it was rolled back to the file before: {why}"));
        }
        Ok(())
    }
}

/// Why a broadcaster has not proven itself, if it has failed at all.
fn failure(broadcaster: &Broadcaster) -> Option<String> {
    let shared = broadcaster.shared();
    let phase = shared.phase();
    let inner = shared.lock();
    let is_failed = inner.errors > 0 || matches!(phase, Phase::Stuck | Phase::Quarantined | Phase::BackingOff);
    let said = || inner.last_error.clone().unwrap_or_else(|| "a call into it does not return".to_owned());
    is_failed.then(said)
}
