//! A plugin that misbehaves on purpose.
#![forbid(unsafe_code)]

use std::time::Duration;

use broadcastd_plugin_api::{
    Answer, Broadcaster, Command, Context, Failure, Message, PublishError, Reconfigured, StreamSpec, TimerId,
    export_plugin,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Events of one callback of `flood`.
const FLOOD: usize = 10_000;

/// How long `slow` takes for a callback: beyond what the daemon calls slow, far below what it calls stuck.
const SLOW: Duration = Duration::from_millis(200);

const TICK: TimerId = TimerId(1);

/// What goes wrong, and how often the first timer fires.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    mode: Mode,
    /// Pause between two timers, in milliseconds.
    #[serde(default = "default_interval")]
    interval_ms: u64,
}

fn default_interval() -> u64 {
    100
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// Nothing: publishes a counter at every timer.
    #[default]
    Well,
    /// `validate` panics.
    PanicInValidate,
    /// `validate` refuses, with a pointer to the mode.
    InvalidSettings,
    /// `new` panics.
    PanicInNew,
    /// `new` answers a failure.
    ErrorInNew,
    /// `start` answers a failure.
    ErrorInStart,
    /// Every timer panics.
    PanicInTimer,
    /// Every message panics.
    PanicInMessage,
    /// Every command panics.
    PanicInCommand,
    /// Saving state panics.
    PanicInSave,
    /// Restoring state panics.
    PanicInRestore,
    /// The destructor panics.
    DropPanic,
    /// Every timer and message answers a failure.
    Error,
    /// The first timer never returns.
    Hang,
    /// Every callback takes 200 ms.
    Slow,
    /// Every timer publishes as much as is taken, and more.
    Flood,
    /// Every timer publishes what is no JSON object, has no kind or a bad topic.
    Garbage,
    /// Works, but says that it does not.
    Degraded,
    /// State is refused by whoever restores it.
    RefuseState,
}

#[derive(Serialize, JsonSchema)]
struct Count {
    count: u64,
}

struct Faulty {
    config: Config,
    count: u64,
}

impl Broadcaster for Faulty {
    type Config = Config;
    const STATE_VERSION: u32 = 1;

    fn stream() -> Option<StreamSpec> {
        Some(StreamSpec::new("").view("log").kind::<Count>("count").collected("counts").command::<()>("poke", "poke"))
    }

    fn validate(config: &Config) -> Result<(), Failure> {
        match config.mode {
            Mode::PanicInValidate => panic!("validate panics on purpose"),
            Mode::InvalidSettings => Err(Failure::at("/mode", "this mode is refused on purpose; choose another")),
            _ => Ok(()),
        }
    }

    fn new(config: Config, cx: &mut Context<'_>) -> Result<Self, Failure> {
        match config.mode {
            Mode::PanicInNew => panic!("new panics on purpose"),
            Mode::ErrorInNew => return Err(Failure::new("new fails on purpose")),
            Mode::Degraded => cx.health_degraded("degraded on purpose"),
            _ => {}
        }
        Ok(Faulty { config, count: 0 })
    }

    fn start(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if self.config.mode == Mode::ErrorInStart {
            return Err(Failure::new("start fails on purpose"));
        }
        let interval = Duration::from_millis(self.config.interval_ms);
        cx.timer_every(TICK, interval, interval)
    }

    fn on_timer(&mut self, _: TimerId, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.count += 1;
        match self.config.mode {
            Mode::PanicInTimer => panic!("the timer panics on purpose"),
            Mode::Error => return Err(Failure::new("the timer fails on purpose")),
            Mode::Hang => loop {
                std::thread::park();
            },
            Mode::Slow => std::thread::sleep(SLOW),
            Mode::Flood => self.flood(cx),
            Mode::Garbage => garbage(cx),
            _ => self.publish(cx).unwrap_or_else(|error| tracing::warn!(%error, "not published")),
        }
        Ok(())
    }

    fn on_message(&mut self, message: &Message<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        match self.config.mode {
            Mode::PanicInMessage => panic!("message {} panics on purpose", message.seq),
            Mode::Error => return Err(Failure::new("the message fails on purpose")),
            Mode::Slow => std::thread::sleep(SLOW),
            _ => {}
        }
        self.count += 1;
        self.publish(cx).unwrap_or_else(|error| tracing::warn!(%error, "not published"));
        Ok(())
    }

    fn records(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.publish(cx).map_err(|error| Failure::new(error.to_string()))
    }

    fn on_command(&mut self, command: &Command<'_>, _: &mut Context<'_>) -> Result<Answer, Failure> {
        match self.config.mode {
            Mode::PanicInCommand => panic!("command {} panics on purpose", command.name),
            Mode::Error => Err(Failure::new("the command fails on purpose")),
            _ => Ok(Answer::Now(serde_json::json!({"count": self.count}))),
        }
    }

    fn save(&self) -> Result<Vec<u8>, Failure> {
        assert!(self.config.mode != Mode::PanicInSave, "save panics on purpose");
        Ok(serde_json::to_vec(&self.count)?)
    }

    fn restore(&mut self, _: u32, state: &[u8], _: &mut Context<'_>) -> Result<(), Failure> {
        assert!(self.config.mode != Mode::PanicInRestore, "restore panics on purpose");
        if self.config.mode == Mode::RefuseState {
            return Err(Failure::new("state is refused on purpose"));
        }
        self.count = serde_json::from_slice(state)?;
        Ok(())
    }

    fn reconfigure(&mut self, config: Config, _: &mut Context<'_>) -> Result<Reconfigured, Failure> {
        if config.interval_ms != self.config.interval_ms {
            return Ok(Reconfigured::Replace);
        }
        self.config = config;
        Ok(Reconfigured::Done)
    }
}

impl Faulty {
    fn publish(&self, cx: &mut Context<'_>) -> Result<(), PublishError> {
        cx.event("count").key("current").publish(&Count { count: self.count })
    }

    /// Goes on although it is told to wait.
    fn flood(&self, cx: &mut Context<'_>) {
        for _ in 0..FLOOD {
            let _told_to_wait = self.publish(cx);
        }
    }
}

fn garbage(cx: &mut Context<'_>) {
    let _no_object = cx.event("count").publish(&[1, 2, 3]);
    let _no_kind = cx.event("").publish(&Count { count: 0 });
    let _empty_part = cx.event("count").topic("a::b").publish(&Count { count: 0 });
    let _star = cx.event("count").topic("a:*").publish(&Count { count: 0 });
    let _unknown_kind = cx.event("nobody declared this").publish(&Count { count: 0 });
    let _audience = cx.event("count").audience("somebody").publish(&Count { count: 0 });
}

impl Drop for Faulty {
    fn drop(&mut self) {
        assert!(self.config.mode != Mode::DropPanic, "the destructor panics on purpose");
    }
}

export_plugin!(Faulty);
