//! What the daemon calls, each passed on to whoever knows about it.

use broadcastd_plugin_api::{Answer, Broadcaster, Command, Context, Failure, Gap, Lag, Message, StreamSpec, TimerId};

use crate::check;
use crate::running::{self, Charts};
use crate::settings::Settings;
use crate::told::{AckUpdate, Acknowledge, Capability, ControlLimits, Kind, Sample, Violation};

/// The mock measures.
pub const MOCK: TimerId = TimerId(1);

/// New settings need no `reconfigure`: a new instance takes over the state, and compares what it was made by with them.
impl Broadcaster for Charts {
    type Config = Settings;
    const STATE_VERSION: u32 = running::STATE_VERSION;

    fn stream() -> Option<StreamSpec> {
        let spec = StreamSpec::new("{characteristic_ids}").lag(Lag::Resync).view("control_chart");
        let spec = spec.kind::<Sample>(Kind::Sample.name()).collected("samples");
        let spec = spec.kind::<Violation>(Kind::Violation.name()).collected("violations");
        let spec = spec.kind::<ControlLimits>(Kind::ControlLimits.name()).collected("limits");
        let spec = spec.record_kind::<Capability>(Kind::Capability.name()).collected("capability");
        let spec = spec.kind::<AckUpdate>(Kind::AckUpdate.name()).unrecorded();
        Some(spec.command::<Acknowledge>("acknowledge", "alerts.acknowledge"))
    }

    fn validate(settings: &Settings) -> Result<(), Failure> {
        Failure::all(check::wrong(settings))
    }

    fn new(settings: Settings, cx: &mut Context<'_>) -> Result<Self, Failure> {
        Ok(Charts::new(settings, cx))
    }

    fn start(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.begin(cx)
    }

    fn on_timer(&mut self, _: TimerId, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.make_up(cx)
    }

    fn on_message(&mut self, message: &Message<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.take(message, cx)
    }

    fn on_gap(&mut self, gap: &Gap<'_>, _: &mut Context<'_>) -> Result<(), Failure> {
        self.miss(gap);
        Ok(())
    }

    fn on_command(&mut self, command: &Command<'_>, cx: &mut Context<'_>) -> Result<Answer, Failure> {
        self.obey(command, cx)
    }

    fn on_writable(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.go_on(cx);
        Ok(())
    }

    fn records(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.refresh(cx);
        Ok(())
    }

    fn save(&self) -> Result<Vec<u8>, Failure> {
        self.state()
    }

    fn restore(&mut self, from_version: u32, state: &[u8], cx: &mut Context<'_>) -> Result<(), Failure> {
        self.resume(from_version, state, cx)
    }
}
