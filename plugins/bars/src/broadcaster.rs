//! What the daemon calls, each passed on to whoever knows about it.

use broadcastd_plugin_api::{
    Broadcaster, Context, Demand, Failure, Gap, Lag, Message, Reconfigured, StreamSpec, TimerId,
};

use crate::bar::Payload;
use crate::running::{self, Bars};
use crate::settings::Settings;
use crate::{feed, publish};

/// A bar closes.
pub const CLOSE: TimerId = TimerId(1);
/// The source has trades.
pub const TRADE: TimerId = TimerId(2);
/// Records of topics that nobody listens to are brought up to date.
pub const REFRESH: TimerId = TimerId(3);

impl Broadcaster for Bars {
    type Config = Settings;
    const STATE_VERSION: u32 = feed::STATE_VERSION;

    fn stream() -> Option<StreamSpec> {
        let spec = StreamSpec::new("{symbol}:{resolution=1}").lag(Lag::Resync).view("candles");
        let spec = ["D", "W", "M"].iter().fold(spec, |spec, unit| spec.alias("resolution", unit, &format!("1{unit}")));
        Some(spec.kind::<Payload<'_>>(publish::KIND).collected("bars"))
    }

    fn validate(settings: &Settings) -> Result<(), Failure> {
        running::check(settings).map(drop)
    }

    fn new(settings: Settings, _: &mut Context<'_>) -> Result<Self, Failure> {
        Bars::open(running::check(&settings)?)
    }

    fn start(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.begin(cx)
    }

    fn on_timer(&mut self, timer: TimerId, cx: &mut Context<'_>) -> Result<(), Failure> {
        match timer {
            TRADE => self.trade(cx),
            REFRESH => self.refresh(cx),
            _ => self.close(cx),
        }
    }

    fn on_message(&mut self, message: &Message<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.take(message, cx)
    }

    /// Whoever has just come may have been shown old records.
    fn on_demand(&mut self, demand: &Demand<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        if demand.subscriptions > 0 { self.refresh(cx) } else { Ok(()) }
    }

    fn on_gap(&mut self, gap: &Gap<'_>, _: &mut Context<'_>) -> Result<(), Failure> {
        self.intake.inputs.gaps.increment(1);
        tracing::warn!(
            stream = gap.stream,
            from = gap.from,
            to = gap.to,
            "trades are gone before they were read; the bars of their time are wrong"
        );
        Ok(())
    }

    fn records(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.publisher.records(&self.intake.feed, cx);
        Ok(())
    }

    fn on_writable(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.go_on(cx)
    }

    fn quiesce(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.refresh(cx)
    }

    fn save(&self) -> Result<Vec<u8>, Failure> {
        self.state()
    }

    fn restore(&mut self, from_version: u32, state: &[u8], cx: &mut Context<'_>) -> Result<(), Failure> {
        self.resume(from_version, state, cx)
    }

    fn reconfigure(&mut self, settings: Settings, cx: &mut Context<'_>) -> Result<Reconfigured, Failure> {
        self.change(running::check(&settings)?, cx)
    }
}
