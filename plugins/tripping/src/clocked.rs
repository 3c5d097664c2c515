//! State machines for which no time passes but what inputs bring.

use broadcastd_plugin_api::{Broadcaster, Context, Failure, Gap, Message, StreamSpec};

use crate::clock;
use crate::running::StateMachines;
use crate::settings::Settings;

pub struct Clocked(StateMachines);

/// Timers of the daemon's clock mean nothing here, and are not passed on.
impl Broadcaster for Clocked {
    type Config = Settings;
    const STATE_VERSION: u32 = StateMachines::STATE_VERSION;

    fn stream() -> Option<StreamSpec> {
        <StateMachines as Broadcaster>::stream()
    }

    fn validate(settings: &Settings) -> Result<(), Failure> {
        StateMachines::validate(settings)
    }

    fn new(settings: Settings, cx: &mut Context<'_>) -> Result<Self, Failure> {
        <StateMachines as Broadcaster>::new(settings, cx).map(Self)
    }

    fn start(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        Broadcaster::start(&mut self.0, cx)
    }

    fn on_message(&mut self, message: &Message<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        clock::set(message.unix_ns);
        self.0.ring(cx)?;
        self.0.take(message, cx)
    }

    fn on_gap(&mut self, gap: &Gap<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.0.on_gap(gap, cx)
    }

    fn records(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        Broadcaster::records(&mut self.0, cx)
    }

    fn on_writable(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.0.on_writable(cx)
    }

    fn save(&self) -> Result<Vec<u8>, Failure> {
        self.0.save()
    }

    fn restore(&mut self, from_version: u32, state: &[u8], cx: &mut Context<'_>) -> Result<(), Failure> {
        self.0.restore(from_version, state, cx)
    }
}
