//! The machines in force, and how others come into force: a state that an instance is in is not taken away from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broadcastd_plugin_api::duration::Duration;
use serde::{Deserialize, Serialize};

use crate::check::{self, MAX_MACHINES};
use crate::machine::Machine;
use crate::settings::{MachineSettings, Settings, USUAL_MACHINE};

/// The machines in force and those that the settings want. They differ while a state is in use.
#[derive(Debug, Default)]
pub struct Machines {
    in_force: BTreeMap<String, Arc<Machine>>,
    /// What instances follow that name none.
    first: String,
    wanted: Wanted,
}

/// The machines as settings have them.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    declared: BTreeMap<String, Arc<Machine>>,
    first: String,
    /// Where none is declared, every name is a machine: it begins like this.
    initial: String,
    stale_after: Duration,
}

/// A machine as it is saved: without declaration it accepts every state.
#[derive(Debug, Serialize, Deserialize)]
pub struct Saved {
    id: String,
    declaration: Option<MachineSettings>,
    #[serde(default)]
    is_first: bool,
}

/// A machine that keeps its old declaration, and the states because of which it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub machine: String,
    pub states: Vec<String>,
}

/// The states that instances of each machine are in.
pub type InUse<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

impl Wanted {
    pub fn new(settings: &Settings, machines: Vec<Machine>) -> Self {
        Self {
            first: machines.first().map_or(USUAL_MACHINE, |machine| &machine.id).to_owned(),
            declared: machines.into_iter().map(|machine| (machine.id.clone(), Arc::new(machine))).collect(),
            initial: settings.initial.clone(),
            stale_after: settings.stale_after,
        }
    }

    fn open(&self, id: &str) -> Arc<Machine> {
        let stale_after = Some(self.stale_after.as_ms()).filter(|ms| *ms > 0);
        Arc::new(Machine::open(id, &self.initial, stale_after))
    }

    /// What instances of this machine are to follow; nothing, if there is to be no such machine.
    fn get(&self, id: &str) -> Option<Arc<Machine>> {
        let open = || self.declared.is_empty().then(|| self.open(id));
        self.declared.get(id).cloned().or_else(open)
    }
}

impl Machines {
    pub fn new(wanted: Wanted) -> Self {
        Self { in_force: wanted.declared.clone(), first: wanted.first.clone(), wanted }
    }

    /// The machine of an instance that says which, or does not. Without a declaration there is any.
    pub fn get(&self, id: Option<&str>) -> Option<Arc<Machine>> {
        let id = id.unwrap_or(&self.first);
        self.in_force.get(id).cloned().or_else(|| self.wanted.get(id))
    }

    /// An instance begins in this machine: whether there is a place for it, which what is only spoken of does not take.
    pub fn open(&mut self, machine: &Arc<Machine>) -> bool {
        let has_place = self.known(&machine.id).is_some() || self.in_force.len() < MAX_MACHINES;
        if has_place {
            self.in_force.entry(machine.id.clone()).or_insert_with(|| machine.clone());
        }
        has_place
    }

    pub fn known(&self, id: &str) -> Option<&Machine> {
        self.in_force.get(id).map(|machine| &**machine)
    }

    pub fn all(&self) -> impl Iterator<Item = &Machine> {
        self.in_force.values().map(|machine| &**machine)
    }

    /// Puts other machines in force. Those with an instance in a state that is to go stay as they are, and those whose
    /// instances would no longer be found by what programs call them.
    pub fn adopt(&mut self, wanted: Wanted, in_use: &InUse<'_>) -> Vec<Kept> {
        let mut in_force = wanted.declared.clone();
        let mut kept = Vec::new();
        for (id, old) in std::mem::take(&mut self.in_force) {
            let new = wanted.get(&id);
            let Some(used) = in_use.get(id.as_str()) else { continue };
            let stays_first = id != self.first || id == wanted.first;
            let goes = |state: &&&str| match &new {
                Some(new) if stays_first && old.keys == new.keys => old.accepts(state) && !new.accepts(state),
                _ => true,
            };
            let states: Vec<String> = used.iter().filter(goes).map(|state| (*state).to_owned()).collect();
            match new.filter(|_| states.is_empty()) {
                Some(new) => _ = in_force.insert(id, new),
                None => {
                    in_force.insert(id.clone(), old);
                    kept.push(Kept { machine: id, states });
                }
            }
        }
        if kept.iter().all(|kept| kept.machine != self.first) {
            self.first.clone_from(&wanted.first);
        }
        (self.in_force, self.wanted) = (in_force, wanted);
        kept
    }

    /// Tries again what was kept.
    pub fn adopt_again(&mut self, in_use: &InUse<'_>) -> Vec<Kept> {
        self.adopt(self.wanted.clone(), in_use)
    }

    pub fn save(&self) -> Vec<Saved> {
        let saved = |machine: &Machine| Saved {
            id: machine.id.clone(),
            declaration: machine.declaration.clone(),
            is_first: machine.id == self.first,
        };
        self.all().map(saved).collect()
    }

    /// Goes back to machines that were in force when state was saved; what the settings want comes behind.
    pub fn restore(&mut self, saved: Vec<Saved>) {
        for Saved { id, declaration, is_first } in saved {
            let reread = declaration.as_ref().and_then(|declared| check::reread(declared, self.wanted.stale_after));
            let machine = reread.map_or_else(|| self.wanted.open(&id), Arc::new);
            if is_first {
                self.first.clone_from(&id);
            }
            self.in_force.insert(id, machine);
        }
    }
}
