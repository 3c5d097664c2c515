//! The trait that a plugin implements.
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::failure::{Failure, FailureKind};
use crate::input::{Answer, Command, Demand, Gap, Message, Reconfigured, TimerId};
use crate::stream::StreamSpec;

/// One running instance of a plugin, as a table in config.toml names it.
///
/// All calls come from one thread, never two at once, so nothing here needs to be `Send`. A call should end within a
/// few milliseconds: work that waits belongs to a [`crate::Worker`].
///
/// **Failures.** A call that answers `Err` is logged with its reason, and the daemon replaces the instance by a new
/// one: restored from the state saved last, fed the inputs since then again, after a pause that grows from 100 ms to
/// 30 s. After five failures in a minute the broadcaster is quarantined, which `/readyz` shows. What follows of the
/// same batch of events is not handled by the failed instance. A panic is the same, and the panicked instance is
/// never called again. So `Err` is for "I cannot go on", not for a wrong input. [`Broadcaster::on_command`] and
/// [`Broadcaster::reconfigure`] are the exceptions: their `Err` is an answer.
pub trait Broadcaster: Sized + 'static {
    /// The table `settings` in config.toml. Its JSON Schema is what the daemon checks settings against, and its
    /// descriptions become documentation.
    type Config: DeserializeOwned + JsonSchema;

    /// Version of what [`Broadcaster::save`] writes; 0 = it keeps no state, and neither `save` nor `restore` is called.
    const STATE_VERSION: u32 = 0;

    /// The stream it publishes to; `None` for a notifier, which publishes nothing.
    fn stream() -> Option<StreamSpec> {
        None
    }

    /// The same with these settings, where they change it: `config` is what [`Broadcaster::validate`] took.
    fn stream_with(config: &Self::Config) -> Option<StreamSpec> {
        let _ = config;
        Self::stream()
    }

    /// What a schema cannot say about settings. Nothing may be opened or started here: `broadcastd check` calls it.
    /// Settings reach `new` and `reconfigure` only if this is `Ok`.
    fn validate(config: &Self::Config) -> Result<(), Failure> {
        let _ = config;
        Ok(())
    }

    /// What is odd about settings that are right, and need not be meant so: pairs of a JSON pointer and a message, as in
    /// [`Failure::at`]. `broadcastd check` shows each at its place, and the log at the start and at a reload.
    fn warnings(config: &Self::Config) -> Vec<(String, String)> {
        let _ = config;
        Vec::new()
    }

    /// Makes an instance. During a replacement it stands beside the old one: take nothing exclusive before `start`.
    fn new(config: Self::Config, cx: &mut Context<'_>) -> Result<Self, Failure>;

    /// Goes to work; set the first timers here. Called once, after `restore` if there is saved state.
    fn start(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let _ = cx;
        Ok(())
    }

    /// A timer is due.
    fn on_timer(&mut self, timer: TimerId, cx: &mut Context<'_>) -> Result<(), Failure> {
        let _ = (timer, cx);
        Ok(())
    }

    /// The first subscription came or the last went.
    fn on_demand(&mut self, demand: &Demand<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        let _ = (demand, cx);
        Ok(())
    }

    /// An event of a stream it listens to. What is published here carries this input as its cause.
    fn on_message(&mut self, message: &Message<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        let _ = (message, cx);
        Ok(())
    }

    /// Inputs are gone for good; whatever was built from them may be wrong now.
    fn on_gap(&mut self, gap: &Gap<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        tracing::warn!(stream = gap.stream, from = gap.from, to = gap.to, "inputs are gone");
        let _ = cx;
        Ok(())
    }

    /// Publish the newest description of every key now: together they replace all records of the stream. Every event
    /// published here is `RECORD_ONLY` by itself. What is not published here is gone from the set.
    fn records(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let _ = cx;
        Ok(())
    }

    /// Somebody asks for something. `Err` refuses it with that reason; the broadcaster goes on.
    fn on_command(&mut self, command: &Command<'_>, cx: &mut Context<'_>) -> Result<Answer, Failure> {
        let _ = cx;
        Err(Failure::of(FailureKind::Unsupported, format!("there is no command `{}`", command.name)))
    }

    /// Somebody called `wake`, perhaps several times: a [`crate::Worker`] has results, or a thread of your own.
    fn on_wake(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let _ = cx;
        Ok(())
    }

    /// There is room again after [`crate::PublishError::Again`].
    fn on_writable(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let _ = cx;
        Ok(())
    }

    /// About to be replaced or stopped: publish what is due. `save` follows. If the replacement fails, this instance
    /// goes on.
    fn quiesce(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let _ = cx;
        Ok(())
    }

    /// The last call; the instance is dropped afterwards.
    fn stop(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let _ = cx;
        Ok(())
    }

    /// Everything a successor needs. Also called from time to time and on stop; the bytes are kept on disk.
    fn save(&self) -> Result<Vec<u8>, Failure> {
        Ok(Vec::new())
    }

    /// Takes over what an instance of `from_version` saved; called at most once, between `new` and `start`. `Err`
    /// keeps the old instance running.
    fn restore(&mut self, from_version: u32, state: &[u8], cx: &mut Context<'_>) -> Result<(), Failure> {
        let _ = (state, cx);
        Err(Failure::of(FailureKind::Unsupported, format!("cannot read state of version {from_version}")))
    }

    /// New settings for a running instance. `Err` leaves the old settings in force and refuses the reload.
    fn reconfigure(&mut self, config: Self::Config, cx: &mut Context<'_>) -> Result<Reconfigured, Failure> {
        let _ = (config, cx);
        Ok(Reconfigured::Replace)
    }
}
