//! An instance that stands ready for its beginning, with what it goes on from.

use super::{Loaded, of_settings};
use crate::metrics::labels::Failure;
use crate::plugin::broadcaster::{Broadcaster, Order};
use crate::plugin::port::Fault;
use crate::plugin::saved::{Checkpoint, Saved};
use crate::plugin::{Problem, Supervisor};

/// Dropping it lets go of the instance, and nothing ever happened.
pub struct Fresh {
    pub broadcaster: Option<Broadcaster>,
    /// What it goes on from.
    pub checkpoint: Checkpoint,
    /// Why the file that it should go on from is of no use.
    useless: Option<String>,
}

impl Supervisor {
    pub(in crate::plugin) fn fresh(&self, loaded: &Loaded) -> Result<Fresh, Problem> {
        let name = &loaded.wanted.name;
        let created = self.create(&loaded.wanted, loaded.library.clone());
        let broadcaster = created.map_err(|fault| of_settings(name, &fault))?;
        Ok(Fresh { broadcaster: Some(broadcaster), checkpoint: Checkpoint::default(), useless: None })
    }

    /// A new broadcaster goes on from what it saved last. If that is of no use, or its plugin refuses it, it starts empty.
    pub(super) fn fresh_from_file(&self, loaded: &Loaded) -> Result<Fresh, Problem> {
        let mut fresh = self.fresh(loaded)?;
        let useless = match self.saved().read(&loaded.wanted.name, &loaded.library.note.id) {
            Ok(None) => return Ok(fresh),
            Ok(Some(checkpoint)) => match fresh.restore(checkpoint) {
                Ok(()) => return Ok(fresh),
                Err(fault) => {
                    fresh = self.fresh(loaded)?; // who knows how far the other one came
                    format!("the plugin refused it: {}", fault.message)
                }
            },
            Err(reason) => reason,
        };
        fresh.useless = Some(useless);
        Ok(fresh)
    }
}

impl Fresh {
    pub fn restore(&mut self, checkpoint: Checkpoint) -> Result<(), Fault> {
        if let Some(broadcaster) = &self.broadcaster {
            let deadline = broadcaster.shared().timing.hand_over;
            broadcaster.ask(Order::Restore(checkpoint.clone()), "restore_state", deadline)?;
        }
        self.checkpoint = checkpoint;
        Ok(())
    }

    /// The broadcaster that begins now. Only from here on its file may be touched: one that is of no use is moved aside
    /// before the first save would write over it.
    pub fn take(&mut self, saved: &Saved) -> Option<Broadcaster> {
        let broadcaster = self.broadcaster.take()?;
        if let Some(reason) = &self.useless {
            let shared = broadcaster.shared();
            shared.tell_failure(Failure::StateSetAside, &saved.set_aside(&shared.desk.name, reason));
        }
        Some(broadcaster)
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if let Some(broadcaster) = self.broadcaster.take() {
            broadcaster.stop();
        }
    }
}
