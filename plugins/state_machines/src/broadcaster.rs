//! What the daemon calls, each passed on to whoever knows about it.

use broadcastd_plugin_api::{Broadcaster, Context, Failure, Gap, Lag, Message, Reconfigured, StreamSpec, TimerId};
use schemars::JsonSchema;

use crate::check;
use crate::running::{STATE_VERSION, StateMachines};
use crate::settings::Settings;
use crate::told::{IllegalTransition, InstanceAdded, InstanceRemoved, Kind, Record, Silence, StateChange};

/// Something is due for an instance.
pub const ALARM: TimerId = TimerId(1);
/// Figures that time changes are shown anew.
pub const FIGURES: TimerId = TimerId(2);
/// Something happens in the made-up session.
pub const MOCK: TimerId = TimerId(3);

/// The collection of instances in snapshots.
const INSTANCES: &str = "instances";

impl Broadcaster for StateMachines {
    type Config = Settings;
    const STATE_VERSION: u32 = STATE_VERSION;

    fn stream() -> Option<StreamSpec> {
        let spec = StreamSpec::new("{session_id}").lag(Lag::Resync).view("state_machine");
        let spec = instances::<StateChange<'_>>(spec, Kind::StateChange).recorded_as::<Record<'_>>();
        let spec = instances::<InstanceAdded<'_>>(spec, Kind::InstanceAdded).recorded_as::<Record<'_>>();
        let spec = instances::<Silence<'_>>(spec, Kind::InstanceStale).recorded_as::<Record<'_>>();
        let spec = instances::<Silence<'_>>(spec, Kind::InstanceRecovered).recorded_as::<Record<'_>>();
        let spec = instances::<InstanceRemoved<'_>>(spec, Kind::InstanceRemoved).unrecorded();
        Some(spec.kind::<IllegalTransition<'_>>(Kind::IllegalTransition.name()).unrecorded())
    }

    fn validate(settings: &Settings) -> Result<(), Failure> {
        Failure::all(check::check(settings).wrong)
    }

    fn warnings(settings: &Settings) -> Vec<(String, String)> {
        check::oddities(settings)
    }

    fn new(settings: Settings, _: &mut Context<'_>) -> Result<Self, Failure> {
        Self::open(&settings)
    }

    fn start(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        StateMachines::start(self, cx)
    }

    fn on_timer(&mut self, timer: TimerId, cx: &mut Context<'_>) -> Result<(), Failure> {
        match timer {
            FIGURES => self.show(cx),
            MOCK => self.make_up(cx),
            _ => self.ring(cx),
        }
    }

    fn on_message(&mut self, message: &Message<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.take(message, cx)
    }

    fn on_gap(&mut self, gap: &Gap<'_>, _: &mut Context<'_>) -> Result<(), Failure> {
        self.follower.figures.gaps.increment(1);
        let Gap { stream, from, to } = gap;
        tracing::warn!(
            stream,
            from,
            to,
            "inputs are gone before they were read; instances may be in other states by now"
        );
        Ok(())
    }

    fn records(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        StateMachines::records(self, cx);
        Ok(())
    }

    fn on_writable(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.go_on(cx)
    }

    fn save(&self) -> Result<Vec<u8>, Failure> {
        self.state()
    }

    fn restore(&mut self, from_version: u32, state: &[u8], cx: &mut Context<'_>) -> Result<(), Failure> {
        self.resume(from_version, state, cx)
    }

    fn reconfigure(&mut self, settings: Settings, cx: &mut Context<'_>) -> Result<Reconfigured, Failure> {
        self.change(&settings, cx).map(|()| Reconfigured::Done)
    }
}

/// With a kind of events that change the record of an instance.
fn instances<T: JsonSchema>(spec: StreamSpec, kind: Kind) -> StreamSpec {
    spec.kind::<T>(kind.name()).collected(INSTANCES)
}
