//! A plugin that misbehaves on purpose.
#![forbid(unsafe_code)]

mod command;
mod settings;
mod wrong;

use std::time::Duration;

use broadcastd_plugin_api::{
    Answer, Broadcaster, Command, Context, Demand, Failure, Gap, Message, PublishError, Reconfigured, RequestId,
    StreamSpec, TimerId, Worker, export_plugin,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::command::Rest;
use self::settings::{Config, Mode, Moment, go_wrong};

const TICK: TimerId = TimerId(1);

#[derive(Serialize, Deserialize, JsonSchema)]
struct Count {
    count: u64,
}

struct Faulty {
    config: Config,
    count: u64,
    /// Its jobs go wrong, or answer a command.
    worker: Worker<Option<RequestId>>,
}

impl Broadcaster for Faulty {
    type Config = Config;
    const STATE_VERSION: u32 = 1;

    fn stream() -> Option<StreamSpec> {
        let spec = StreamSpec::new("").view("log").kind::<Count>("count").collected("counts");
        Some(command::declare(spec))
    }

    fn validate(config: &Config) -> Result<(), Failure> {
        if config.mode == Mode::InvalidSettings {
            return Err(Failure::at("/mode", "this mode is refused on purpose; choose another"));
        }
        config.meet(Moment::Validate)
    }

    fn new(config: Config, cx: &mut Context<'_>) -> Result<Self, Failure> {
        config.meet(Moment::New)?;
        if config.mode == Mode::Degraded {
            cx.health_degraded("degraded on purpose");
        }
        Ok(Faulty { config, count: 0, worker: cx.worker() })
    }

    fn start(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.config.meet(Moment::Start)?;
        let interval = Duration::from_millis(self.config.interval_ms);
        cx.timer_every(TICK, interval, interval)
    }

    fn on_timer(&mut self, timer: TimerId, cx: &mut Context<'_>) -> Result<(), Failure> {
        if let Some(request) = timer.0.checked_sub(command::FIRST_ANSWER) {
            command::answer(RequestId(request), cx);
            return Ok(());
        }
        self.config.meet(Moment::Timer)?;
        self.count += 1;
        self.elsewhere(cx);
        match wrong::overdo(self.config.mode, cx) {
            Some(refused) => tracing::info!(refused, "not taken on purpose"),
            None => self.publish(cx).unwrap_or_else(|error| tracing::warn!(%error, "not published")),
        }
        Ok(())
    }

    fn on_demand(&mut self, _: &Demand<'_>, _: &mut Context<'_>) -> Result<(), Failure> {
        self.config.meet(Moment::Demand)
    }

    fn on_message(&mut self, _: &Message<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.config.meet(Moment::Message)?;
        self.count += 1;
        self.publish(cx).unwrap_or_else(|error| tracing::warn!(%error, "not published"));
        Ok(())
    }

    fn on_gap(&mut self, gap: &Gap<'_>, _: &mut Context<'_>) -> Result<(), Failure> {
        tracing::warn!(stream = gap.stream, from = gap.from, to = gap.to, "inputs are gone");
        self.config.meet(Moment::Gap)
    }

    fn records(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.config.meet(Moment::Records)?;
        self.publish(cx).map_err(|error| Failure::new(error.to_string()))
    }

    fn on_command(&mut self, command: &Command<'_>, cx: &mut Context<'_>) -> Result<Answer, Failure> {
        self.config.meet(Moment::Command)?;
        if command.name == "poke" {
            return Ok(Answer::Now(serde_json::json!({"count": self.count})));
        }
        let (answer, rest) = command::carry_out(command, cx)?;
        if let Rest::Job(request) = rest {
            self.worker.run(move || Some(request)).map_err(|error| Failure::new(error.to_string()))?;
        }
        Ok(answer)
    }

    fn on_wake(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        for done in self.worker.done() {
            match done {
                Ok(Some(request)) => command::answer(request, cx),
                Ok(None) => {}
                Err(panicked) => tracing::warn!(%panicked, "a job ended on purpose"),
            }
        }
        self.config.meet(Moment::Wake)
    }

    fn on_writable(&mut self, _: &mut Context<'_>) -> Result<(), Failure> {
        self.config.meet(Moment::Writable)
    }

    fn quiesce(&mut self, _: &mut Context<'_>) -> Result<(), Failure> {
        self.config.meet(Moment::Quiesce)
    }

    fn stop(&mut self, _: &mut Context<'_>) -> Result<(), Failure> {
        self.config.meet(Moment::Stop)
    }

    fn save(&self) -> Result<Vec<u8>, Failure> {
        self.config.meet(Moment::Save)?;
        Ok(serde_json::to_vec(&self.count)?)
    }

    fn restore(&mut self, _: u32, state: &[u8], _: &mut Context<'_>) -> Result<(), Failure> {
        self.config.meet(Moment::Restore)?;
        self.count = serde_json::from_slice(state)?;
        Ok(())
    }

    fn reconfigure(&mut self, config: Config, _: &mut Context<'_>) -> Result<Reconfigured, Failure> {
        self.config.meet(Moment::Reconfigure)?;
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

    /// Sees to it that it goes wrong where no timer gets to, if that is where it should.
    fn elsewhere(&self, cx: &Context<'_>) {
        let (mode, at) = (self.config.mode, self.config.at);
        let go_wrong = move || go_wrong(mode, at).unwrap_or_else(|error| tracing::warn!(%error, "failed on purpose"));
        match at {
            Moment::Job => self
                .worker
                .run(move || {
                    go_wrong();
                    None
                })
                .unwrap_or_else(|error| tracing::warn!(%error, "no job")),
            Moment::Wake => cx.waker().wake(),
            Moment::Thread => _ = std::thread::spawn(go_wrong),
            _ => {}
        }
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        let _nobody_hears_of_it = self.config.meet(Moment::Drop);
    }
}

export_plugin!(Faulty);
