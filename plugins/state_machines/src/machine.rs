//! A machine as instances follow it: which state comes next, or why none does.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use crate::guard::Guard;
use crate::settings::{Key, MachineSettings, OnIllegal};

/// The states that a machine without declaration is known to have: those of the strategies that clients show. Any other
/// one is followed as well and counted as `other`.
const USUAL_STATES: [&str; 10] =
    ["MONITORING", "S1", "SIGNAL_DETECTED", "O1", "Z1", "POSITION_ACTIVE", "ZE1", "E1", "EXITED", "ERROR"];

#[derive(Debug)]
pub struct Machine {
    pub id: String,
    pub keys: BTreeSet<Key>,
    pub initial: String,
    /// Milliseconds; `None` is never.
    pub stale_after: Option<i64>,
    pub on_illegal: OnIllegal,
    /// What it was made of; `None`: it has no declaration, and every state is accepted.
    pub declaration: Option<MachineSettings>,
    pub states: BTreeMap<String, State>,
    pub transitions: Vec<Transition>,
}

#[derive(Debug, Default)]
pub struct State {
    pub is_final: bool,
    pub timeout: Option<Timeout>,
}

#[derive(Clone, Debug)]
pub struct Timeout {
    /// Milliseconds.
    pub after: i64,
    pub to: String,
}

#[derive(Debug)]
pub struct Transition {
    /// `None` is every state.
    pub from: Option<String>,
    pub to: String,
    pub event: Option<String>,
    pub guard: Option<Guard>,
    pub reenter: bool,
}

/// What a program says has happened, or wants.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    pub event: Option<&'a str>,
    pub to: Option<&'a str>,
}

/// Where an instance goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub to: String,
    pub reenter: bool,
}

/// Why an instance does not go where it should, and where that would be, if anybody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Illegal {
    pub reason: Reason,
    pub target: Option<String>,
}

/// Why a transition is illegal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    UnknownInstance,
    UnknownState,
    NoTransition,
    GuardFailed,
    StaleVersion,
    Terminal,
    Duplicate,
}

impl Machine {
    /// One without declaration.
    pub fn open(id: &str, initial: &str, stale_after: Option<i64>) -> Self {
        Self {
            id: id.to_owned(),
            keys: [Key::StrategyId, Key::Symbol].into(),
            initial: initial.to_owned(),
            stale_after,
            on_illegal: OnIllegal::Reject,
            declaration: None,
            states: USUAL_STATES.iter().chain([&initial]).map(|name| ((*name).to_owned(), State::default())).collect(),
            transitions: Vec::new(),
        }
    }

    /// Whether instances may be in this state.
    pub fn accepts(&self, state: &str) -> bool {
        self.declaration.is_none() || self.states.contains_key(state)
    }

    pub fn is_final(&self, state: &str) -> bool {
        self.states.get(state).is_some_and(|state| state.is_final)
    }

    pub fn timeout(&self, state: &str) -> Option<&Timeout> {
        self.states.get(state)?.timeout.as_ref()
    }

    /// Where a wish leads from a state; `holds` asks a guard.
    pub fn step(&self, from: &str, wish: &Wish<'_>, mut holds: impl FnMut(&Guard) -> bool) -> Result<Step, Illegal> {
        let refuse = |reason, target: Option<&str>| Err(Illegal { reason, target: target.map(str::to_owned) });
        if self.declaration.is_none() {
            let step = |to: &str| Step { to: to.to_owned(), reenter: false };
            return wish.to.map_or_else(|| refuse(Reason::NoTransition, None), |to| Ok(step(to)));
        }
        if self.is_final(from) {
            return refuse(Reason::Terminal, wish.to);
        }
        if let Some(to) = wish.to.filter(|to| !self.accepts(to)) {
            return refuse(Reason::UnknownState, Some(to));
        }
        let fitting = || self.transitions.iter().filter(|transition| transition.fits(from, wish));
        let taken = fitting().find(|transition| transition.guard.as_ref().is_none_or(&mut holds));
        match (taken, fitting().next()) {
            (Some(taken), _) => Ok(Step { to: taken.to.clone(), reenter: taken.reenter }),
            (None, Some(first)) => refuse(Reason::GuardFailed, Some(&first.to)),
            (None, None) => refuse(Reason::NoTransition, wish.to),
        }
    }
}

impl Transition {
    /// One without an event is asked for by its target, whatever else is said to have happened.
    fn fits(&self, from: &str, wish: &Wish<'_>) -> bool {
        let is_for = |event| self.event.as_deref().map_or(wish.to.is_some(), |own| own == event);
        self.from.as_deref().is_none_or(|own| own == from)
            && wish.event.is_none_or(is_for)
            && wish.to.is_none_or(|to| self.to == to)
    }
}

impl Illegal {
    /// Whether a machine that is lenient can let it pass: not what happened before, or to nobody.
    pub fn can_pass(&self) -> bool {
        use Reason::{GuardFailed, NoTransition, Terminal, UnknownState};
        self.target.is_some() && matches!(self.reason, GuardFailed | NoTransition | Terminal | UnknownState)
    }
}

impl Reason {
    pub const fn label(self) -> &'static str {
        match self {
            Self::UnknownInstance => "unknown_instance",
            Self::UnknownState => "unknown_state",
            Self::NoTransition => "no_transition",
            Self::GuardFailed => "guard_failed",
            Self::StaleVersion => "stale_version",
            Self::Terminal => "terminal",
            Self::Duplicate => "duplicate",
        }
    }
}
