//! What goes wrong, and when.

use std::fmt;
use std::panic::panic_any;
use std::time::Duration;

use broadcastd_plugin_api::Failure;
use schemars::JsonSchema;
use serde::Deserialize;

/// How long `slow` takes for a call: beyond what the daemon calls slow, far below what it calls stuck.
const SLOW: Duration = Duration::from_millis(200);

/// What goes wrong, when, and how often the timer fires.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub mode: Mode,
    /// The call in which it goes wrong. What is too much or wrong by itself is so at every timer.
    #[serde(default)]
    pub at: Moment,
    /// Pause between two timers, in milliseconds.
    #[serde(default = "default_interval")]
    pub interval_ms: u64,
    /// Nothing depends on it, and nobody is shown it.
    #[expect(dead_code, reason = "what matters is that its schema calls it secret")]
    #[serde(default)]
    #[schemars(extend("writeOnly" = true))]
    pub pin: Option<String>,
}

fn default_interval() -> u64 {
    100
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Nothing: publishes a counter at every timer.
    #[default]
    Well,
    /// The call panics.
    Panic,
    /// The call panics, and what it panics with panics once more when it is dropped.
    PanicTwice,
    /// The call answers a failure.
    Error,
    /// The call never returns.
    Hang,
    /// The call takes 200 ms.
    Slow,
    /// Settings are refused, with a pointer to the mode.
    InvalidSettings,
    /// Publishes as much as is taken, and more.
    Flood,
    /// Logs without end.
    Talk,
    /// Publishes the largest payload that is taken, and one that is a byte larger.
    Huge,
    /// Publishes what is no JSON object, has no kind, a bad topic or a long key.
    Garbage,
    /// Sets thousands of timers.
    Timers,
    /// Opens thousands of metrics.
    Metrics,
    /// Takes and gives back 256 MiB of memory, a bit at a time.
    Allocate,
    /// Works, but says that it does not.
    Degraded,
}

/// A call into the plugin, or another place where its code runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    Validate,
    New,
    Restore,
    Start,
    Records,
    #[default]
    Timer,
    Demand,
    Message,
    Gap,
    Command,
    Wake,
    Writable,
    Reconfigure,
    Quiesce,
    Save,
    Stop,
    Drop,
    /// A job of a worker.
    Job,
    /// A thread of its own.
    Thread,
}

impl fmt::Display for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&format!("{self:?}").to_lowercase())
    }
}

impl Config {
    /// Goes wrong, if this is the moment for it.
    pub fn meet(&self, moment: Moment) -> Result<(), Failure> {
        if moment == self.at { go_wrong(self.mode, moment) } else { Ok(()) }
    }
}

/// Goes wrong in a way that needs nothing but the moment.
pub fn go_wrong(mode: Mode, moment: Moment) -> Result<(), Failure> {
    match mode {
        Mode::Panic => panic!("{moment} panics on purpose"),
        Mode::PanicTwice => panic_any(Explosive),
        Mode::Error => return Err(Failure::new(format!("{moment} fails on purpose"))),
        Mode::Hang => loop {
            std::thread::park();
        },
        Mode::Slow => std::thread::sleep(SLOW),
        _ => {}
    }
    Ok(())
}

/// Something to panic with.
struct Explosive;

impl Drop for Explosive {
    fn drop(&mut self) {
        panic!("the payload of a panic panics on purpose");
    }
}
