//! A broadcaster that is stopped by panics in the middle of its work.

use std::sync::{Mutex, PoisonError};

use broadcastd_plugin_api::{
    Answer, Broadcaster, Command, Context, Demand, Failure, Gap, Message, StreamSpec, TimerId,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// How often it stumbles, and the settings of what it is.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config<S> {
    /// How many times in all.
    panics: u32,
    /// Inputs between one panic and the next, on average.
    every: u64,
    /// Between two panics it is saved, and those before an input come right behind a save: then nothing hides what was
    /// wrong with it.
    #[serde(default)]
    behind_saves: bool,
    settings: S,
}

/// Where a panic comes; they take turns.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// Nothing of the input is done.
    BeforeInput,
    /// Its events are published, and nobody was told that it is handled.
    AfterInput,
    /// The state is complete, and nobody has it.
    Save,
    /// A restarted one has caught up, and its records are not told.
    Records,
}

/// The way so far. It is the library's and not an instance's: it outlives each panic.
struct Course {
    inputs: u64,
    panics: u32,
    next: u64,
    place: Place,
    /// The inputs before the newest save since the last panic.
    saved: Option<u64>,
}

static COURSE: Mutex<Course> =
    Mutex::new(Course { inputs: 0, panics: 0, next: 1, place: Place::BeforeInput, saved: None });

pub struct Stumbling<B> {
    panics: u32,
    every: u64,
    behind_saves: bool,
    inner: B,
}

impl<B> Stumbling<B> {
    fn pass(&self, place: Place) {
        let mut course = COURSE.lock().unwrap_or_else(PoisonError::into_inner);
        course.inputs += u64::from(place == Place::BeforeInput);
        if course.panics == self.panics || course.place != place || course.inputs < course.next {
            return;
        }
        let is_apt = match place {
            Place::BeforeInput => course.saved.is_some_and(|saved| course.inputs == saved + 1),
            Place::AfterInput | Place::Save => course.saved.is_some(),
            Place::Records => true,
        };
        if self.behind_saves && !is_apt {
            return;
        }
        course.saved = None;
        course.panics += 1;
        let pause = fastrand::Rng::with_seed(u64::from(course.panics)).u64(1..=2 * self.every);
        (course.place, course.next) = match place {
            Place::BeforeInput => (Place::AfterInput, course.inputs + pause),
            Place::AfterInput => (Place::Save, course.inputs + pause),
            Place::Save => (Place::Records, course.inputs), // where the next start comes to
            Place::Records => (Place::BeforeInput, course.inputs + pause),
        };
        let (panics, inputs) = (course.panics, course.inputs);
        drop(course);
        panic!("panic {panics} on purpose, {place:?}, after {inputs} inputs");
    }
}

impl<B: Broadcaster> Broadcaster for Stumbling<B> {
    type Config = Config<B::Config>;
    const STATE_VERSION: u32 = B::STATE_VERSION;

    fn stream() -> Option<StreamSpec> {
        B::stream()
    }

    fn validate(config: &Config<B::Config>) -> Result<(), Failure> {
        B::validate(&config.settings)
    }

    fn new(config: Config<B::Config>, cx: &mut Context<'_>) -> Result<Self, Failure> {
        let Config { panics, every, behind_saves, settings } = config;
        Ok(Stumbling { panics, every, behind_saves, inner: B::new(settings, cx)? })
    }

    fn start(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.inner.start(cx)
    }

    fn on_timer(&mut self, timer: TimerId, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.inner.on_timer(timer, cx)
    }

    fn on_demand(&mut self, demand: &Demand<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.inner.on_demand(demand, cx)
    }

    fn on_message(&mut self, message: &Message<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.pass(Place::BeforeInput);
        self.inner.on_message(message, cx)?;
        self.pass(Place::AfterInput);
        Ok(())
    }

    fn on_gap(&mut self, gap: &Gap<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.inner.on_gap(gap, cx)
    }

    fn records(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.pass(Place::Records);
        self.inner.records(cx)
    }

    fn on_command(&mut self, command: &Command<'_>, cx: &mut Context<'_>) -> Result<Answer, Failure> {
        self.inner.on_command(command, cx)
    }

    fn on_wake(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.inner.on_wake(cx)
    }

    fn on_writable(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.inner.on_writable(cx)
    }

    fn quiesce(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.inner.quiesce(cx)
    }

    fn save(&self) -> Result<Vec<u8>, Failure> {
        let state = self.inner.save()?;
        self.pass(Place::Save);
        let mut course = COURSE.lock().unwrap_or_else(PoisonError::into_inner);
        course.saved = Some(course.inputs);
        Ok(state)
    }

    fn restore(&mut self, from_version: u32, state: &[u8], cx: &mut Context<'_>) -> Result<(), Failure> {
        self.inner.restore(from_version, state, cx)
    }
}
