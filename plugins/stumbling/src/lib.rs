//! The shipped bars, stopped by panics in the middle of their work.
#![forbid(unsafe_code)]

use std::sync::{Mutex, PoisonError};

use broadcastd_plugin_api::{Broadcaster, Context, Demand, Failure, Gap, Message, StreamSpec, TimerId, export_plugin};
use schemars::JsonSchema;
use serde::Deserialize;

#[path = "../../bars/src/bar.rs"]
pub mod bar;
#[path = "../../bars/src/book.rs"]
pub mod book;
#[path = "../../bars/src/broadcaster.rs"]
mod broadcaster;
#[path = "../../bars/src/calendar.rs"]
pub mod calendar;
#[path = "../../bars/src/counters.rs"]
mod counters;
#[path = "../../bars/src/feed.rs"]
pub mod feed;
#[path = "../../bars/src/ids.rs"]
pub mod ids;
#[path = "../../bars/src/mock.rs"]
pub mod mock;
#[path = "../../bars/src/publish.rs"]
mod publish;
#[path = "../../bars/src/replay.rs"]
pub mod replay;
#[path = "../../bars/src/resolution.rs"]
pub mod resolution;
#[path = "../../bars/src/running.rs"]
mod running;
#[path = "../../bars/src/series.rs"]
pub mod series;
#[path = "../../bars/src/session.rs"]
pub mod session;
#[path = "../../bars/src/settings.rs"]
pub mod settings;
#[path = "../../bars/src/source.rs"]
mod source;
#[path = "../../bars/src/tick.rs"]
pub mod tick;
#[path = "../../bars/src/update.rs"]
pub mod update;
#[path = "../../bars/src/waiting.rs"]
mod waiting;

use running::Bars;
use settings::Settings;

/// How often the bars stumble, and what they are.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// How many times in all.
    panics: u32,
    /// Inputs between one panic and the next, on average.
    every: u64,
    bars: Settings,
}

/// Where a panic comes; they take turns.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// Nothing of the input is done.
    BeforeInput,
    /// Its bars are published, and nobody was told that it is handled.
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
}

static COURSE: Mutex<Course> = Mutex::new(Course { inputs: 0, panics: 0, next: 1, place: Place::BeforeInput });

struct Stumbling {
    panics: u32,
    every: u64,
    bars: Bars,
}

impl Stumbling {
    fn pass(&self, place: Place) {
        let mut course = COURSE.lock().unwrap_or_else(PoisonError::into_inner);
        course.inputs += u64::from(place == Place::BeforeInput);
        if course.panics == self.panics || course.place != place || course.inputs < course.next {
            return;
        }
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

impl Broadcaster for Stumbling {
    type Config = Config;
    const STATE_VERSION: u32 = Bars::STATE_VERSION;

    fn stream() -> Option<StreamSpec> {
        Bars::stream()
    }

    fn validate(config: &Config) -> Result<(), Failure> {
        Bars::validate(&config.bars)
    }

    fn new(config: Config, cx: &mut Context<'_>) -> Result<Self, Failure> {
        Ok(Stumbling { panics: config.panics, every: config.every, bars: Bars::new(config.bars, cx)? })
    }

    fn start(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.bars.start(cx)
    }

    fn on_timer(&mut self, timer: TimerId, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.bars.on_timer(timer, cx)
    }

    fn on_demand(&mut self, demand: &Demand<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.bars.on_demand(demand, cx)
    }

    fn on_message(&mut self, message: &Message<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.pass(Place::BeforeInput);
        self.bars.on_message(message, cx)?;
        self.pass(Place::AfterInput);
        Ok(())
    }

    fn on_gap(&mut self, gap: &Gap<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.bars.on_gap(gap, cx)
    }

    fn records(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.pass(Place::Records);
        self.bars.records(cx)
    }

    fn on_writable(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.bars.on_writable(cx)
    }

    fn quiesce(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.bars.quiesce(cx)
    }

    fn save(&self) -> Result<Vec<u8>, Failure> {
        let state = self.bars.save()?;
        self.pass(Place::Save);
        Ok(state)
    }

    fn restore(&mut self, from_version: u32, state: &[u8], cx: &mut Context<'_>) -> Result<(), Failure> {
        self.bars.restore(from_version, state, cx)
    }
}

export_plugin!(Stumbling);
