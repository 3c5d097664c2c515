//! The moment of the exchange: settings are taken, states go from the old instances to the new.

use std::collections::BTreeMap;

use broadcastd_plugin_api::abi;

use super::fresh::Fresh;
use super::{Loaded, Prepared, cannot_try_again, of_settings, problem};
use crate::plugin::broadcaster::{Answer, Order};
use crate::plugin::files::Found;
use crate::plugin::plan::Change;
use crate::plugin::port::Fault;
use crate::plugin::saved::Checkpoint;
use crate::plugin::{Problem, Running, Supervisor};

impl Supervisor {
    /// Settings are taken and states handed over; the old instances are quiet afterwards.
    pub(super) fn hand_over(
        &self,
        prepared: &mut Prepared,
        running: &BTreeMap<String, Running>,
    ) -> Result<(), Problem> {
        let mut reconfigured: Vec<&Running> = Vec::new();
        let changes = prepared.changes.clone();
        for change in &changes {
            let (Some(old), Some(loaded)) = (running.get(change.name()), prepared.wanted.get(change.name())) else {
                continue;
            };
            let handed = match change {
                Change::Reconfigure(name) if !prepared.fresh.contains_key(name) => {
                    match old.ask(Order::Reconfigure(loaded.wanted.settings.to_string()), "reconfigure") {
                        Ok(_) => {
                            reconfigured.push(old);
                            continue;
                        }
                        Err(fault) if !is_to_be_replaced(&fault) => Err(of_settings(name, &fault)),
                        Err(_) => self.fresh(loaded).and_then(|fresh| old.hand_over_to(fresh)),
                    }
                }
                Change::Replace(name) | Change::Reconfigure(name) | Change::Retry(name) => {
                    match prepared.fresh.remove(name) {
                        Some(fresh) => old.hand_over_to(fresh),
                        None => continue,
                    }
                }
                _ => continue,
            };
            match handed {
                Ok(fresh) => _ = prepared.fresh.insert(change.name().to_owned(), fresh),
                Err(problem) if matches!(change, Change::Retry(_)) => cannot_try_again(&problem),
                Err(problem) => {
                    for old in reconfigured {
                        let _as_before = old.ask(Order::Reconfigure(old.wanted.settings.to_string()), "reconfigure");
                    }
                    return Err(problem);
                }
            }
        }
        Ok(())
    }
}

impl Running {
    /// As it runs.
    pub(in crate::plugin) fn loaded(&self) -> Loaded {
        let Self { wanted, spec, broadcaster, .. } = self;
        let library = broadcaster.shared().library.clone();
        Loaded { wanted: wanted.clone(), library, spec: spec.clone(), warnings: Vec::new(), file: Found::Unseen }
    }

    pub(in crate::plugin) fn ask(&self, order: Order, what: &str) -> Answer {
        self.broadcaster.ask(order, what, self.broadcaster.shared().timing.hand_over)
    }

    pub(in crate::plugin) fn resume(&self, name: &str) {
        if let Err(fault) = self.ask(Order::Resume, "resume") {
            tracing::warn!(broadcaster = name, message = fault.message, "does not answer");
        }
    }

    /// Hands the state to a new instance. An old one that fails or hangs is asked no more: the new one goes on from the
    /// last checkpoint. Another plugin takes over only the positions of the inputs.
    pub(in crate::plugin) fn hand_over_to(&self, mut fresh: Fresh) -> Result<Fresh, Problem> {
        let name = &self.wanted.name;
        let checkpoint = match self.ask(Order::HandOver, "save_state") {
            Ok(checkpoint) => checkpoint.unwrap_or_default(),
            Err(fault) => {
                tracing::warn!(broadcaster = name, message = fault.message, "hands over its last checkpoint");
                self.broadcaster.silence();
                self.broadcaster.shared().lock().checkpoint.clone()
            }
        };
        let new_id = fresh.broadcaster.as_ref().map(|new| new.shared().library.note.id.clone());
        let is_same_plugin = new_id.as_deref() == Some(&self.broadcaster.shared().library.note.id);
        let state = checkpoint.state.filter(|_| is_same_plugin);
        let restored = fresh.restore(Checkpoint { state, positions: checkpoint.positions });
        restored
            .map_err(|fault| problem(name, "/plugin", format!("it does not take over the state: {}", fault.message)))?;
        Ok(fresh)
    }
}

/// The plugin asks for it, or it does not answer at all.
fn is_to_be_replaced(fault: &Fault) -> bool {
    fault.status == abi::E_UNSUPPORTED || fault.status == abi::E_CLOSED
}
