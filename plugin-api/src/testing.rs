//! Runs a broadcaster without a daemon: virtual clock, recorded publishes, simulated subscriptions and inputs.
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use self::host::{Handle, Sim, TABLE};
use crate::abi::{self, Bytes, Event, Status, Str};
use crate::broadcaster::Broadcaster;
use crate::entry::{Loaded, Running};
use crate::input::RequestId;
use crate::time::{duration, nanos};

pub use self::said::{Failed, Logged, Metric, Published, Reply};
pub use self::told::{Input, Setup};

mod host;
mod said;
mod told;

/// The epoch of every stream that it listens to.
const EPOCH: &str = "test";

/// Timers that fire in one `advance`; more means that one is set again for the same instant without end.
const TIMERS_MAX: usize = 1_000_000;

/// A broadcaster that runs in the test, called through the same C functions as in the daemon. Nothing happens by
/// itself: time passes in [`Harness::advance`] only. Every call that reaches the broadcaster answers why it failed.
///
/// ```
/// # use broadcastd_plugin_api::{Broadcaster, Context, Failure, TimerId, testing::Harness};
/// # use std::time::Duration;
/// # #[derive(serde::Deserialize, schemars::JsonSchema)] struct Config {}
/// # struct Hourly;
/// # impl Broadcaster for Hourly {
/// #     type Config = Config;
/// #     fn new(_: Config, _: &mut Context<'_>) -> Result<Self, Failure> { Ok(Hourly) }
/// #     fn start(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
/// #         cx.timer_every(TimerId(1), Duration::from_secs(3600), Duration::from_secs(3600))
/// #     }
/// #     fn on_timer(&mut self, _: TimerId, cx: &mut Context<'_>) -> Result<(), Failure> {
/// #         cx.event("chime").publish(&serde_json::json!({})).map_err(|e| Failure::new(e.to_string()))
/// #     }
/// # }
/// let mut harness = Harness::<Hourly>::new(serde_json::json!({})).unwrap();
/// harness.advance(Duration::from_secs(2 * 3600)).unwrap();
/// assert_eq!(harness.published().len(), 2);
/// ```
pub struct Harness<B> {
    // The order of the fields is the order of their end: the handle outlives the instance.
    running: Option<Running>,
    handle: Handle,
    sim: Arc<Sim>,
    loaded: Loaded,
    settings: String,
    seqs: HashMap<String, u64>,
    requests: u64,
    broadcaster: PhantomData<B>,
}

impl<B: Broadcaster> Harness<B> {
    /// Checks the settings, makes the broadcaster and starts it.
    pub fn new(settings: Value) -> Result<Self, Failed> {
        Self::set_up(Setup::new(settings))
    }

    /// As [`Harness::new`], with more to say; restores the state between `new` and `start`.
    pub fn set_up(setup: Setup) -> Result<Self, Failed> {
        let sim = Arc::new(Sim::default());
        {
            let mut state = sim.state();
            state.unix_base_ns = setup.unix_ns;
            state.log_level = abi::LOG_TRACE;
        }
        let handle = Handle::new(&sim);
        let table = abi::HostApi { size: setup.host_size, ..TABLE };
        let loaded = Loaded::of::<B>(table, handle.raw()).ok_or_else(|| {
            let said = sim.state().failed.take();
            said.unwrap_or_else(|| taken(&sim, abi::E_FAILED))
        })?;
        let settings = setup.settings.to_string();
        let (seqs, requests, broadcaster) = (HashMap::new(), 0, PhantomData);
        let mut harness = Harness { running: None, handle, sim, loaded, settings, seqs, requests, broadcaster };
        harness.begin(setup.state)?;
        Ok(harness)
    }

    /// Only checks settings, as `broadcastd check` does.
    pub fn validate(&self, settings: &Value) -> Result<(), Failed> {
        self.result(self.loaded.validate(self.handle.raw(), &settings.to_string()))
    }

    /// What the broadcaster warns of in settings, which are right: pairs of a pointer and a message.
    pub fn warnings(&self, settings: &Value) -> Result<Vec<(String, String)>, Failed> {
        self.sim.state().warned.clear();
        self.validate(settings)?;
        Ok(std::mem::take(&mut self.sim.state().warned))
    }

    /// Lets time pass: timers fire in the order in which they are due, each at its own instant.
    ///
    /// # Panics
    /// When more than a million timers fire.
    pub fn advance(&mut self, by: Duration) -> Result<(), Failed> {
        let target = self.sim.state().mono_ns.saturating_add(nanos(by));
        for _ in 0..TIMERS_MAX {
            let Some(id) = self.next_timer(target) else {
                self.sim.state().mono_ns = target;
                return Ok(());
            };
            self.tell(|event| Event { id, ..event }, abi::EVENT_TIMER)?;
        }
        panic!("more than {TIMERS_MAX} timers in one `advance`: one is set again for the same instant");
    }

    /// A message of a stream it listens to; answers its number.
    pub fn message(&mut self, topic: &str, kind: &str, payload: &impl Serialize) -> Result<u64, Failed> {
        self.input(&Input::new(topic, kind, payload))
    }

    /// As [`Harness::message`], with everything that a message can have.
    pub fn input(&mut self, input: &Input<'_>) -> Result<u64, Failed> {
        let stream = input.topic.split(':').next().unwrap_or("");
        let last = self.seqs.entry(stream.to_owned()).or_default();
        let seq = input.seq.unwrap_or(*last + 1);
        *last = seq.max(*last);
        let fill = |event: Event<'static>| Event {
            stream: Str::new(stream),
            topic: Str::new(input.topic),
            r#type: Str::new(input.kind),
            key: Str::new(input.key),
            audience: Str::new(input.audience),
            session_id: Str::new(input.session_id),
            payload: Bytes::new(&input.payload),
            seq,
            unix_ns: input.unix_ns.unwrap_or(event.unix_ns),
            epoch: Str::new(EPOCH),
            ..event
        };
        self.tell(fill, abi::EVENT_MESSAGE).map(|()| seq)
    }

    /// Inputs `from` to `to` of a stream (both included) are gone.
    pub fn gap(&mut self, stream: &str, from: u64, to: u64) -> Result<(), Failed> {
        let gap = |event| Event { stream: Str::new(stream), epoch: Str::new(EPOCH), id: from, seq: to, ..event };
        self.tell(gap, abi::EVENT_GAP)
    }

    /// One more subscription of a topic or pattern (the part after the stream; empty = all). The first one is told.
    pub fn subscribe(&mut self, topic: &str) -> Result<(), Failed> {
        let now = {
            let mut state = self.sim.state();
            let count = state.subscriptions.entry(topic.to_owned()).or_default();
            *count += 1;
            *count
        };
        if now == 1 { self.tell_demand(topic, now) } else { Ok(()) }
    }

    /// One subscription less. The last one is told, at once.
    pub fn unsubscribe(&mut self, topic: &str) -> Result<(), Failed> {
        let now = {
            let mut state = self.sim.state();
            let count = state.subscriptions.entry(topic.to_owned()).or_default();
            *count = count.saturating_sub(1);
            *count
        };
        if now == 0 { self.tell_demand(topic, now) } else { Ok(()) }
    }

    /// Asks for the records and takes what was published for that.
    pub fn records(&mut self) -> Result<Vec<Published>, Failed> {
        let before = self.sim.state().published.len();
        self.tell(|event| event, abi::EVENT_RECORDS)?;
        Ok(self.sim.state().published.split_off(before))
    }

    /// Somebody asks for something, with 5 s to answer. The answer: [`Harness::replies`].
    pub fn command(&mut self, name: &str, principal: &str, payload: &impl Serialize) -> Result<RequestId, Failed> {
        let payload = serde_json::to_vec(payload).expect("a test's payload is JSON");
        self.requests += 1;
        let id = self.requests;
        self.sim.state().open_requests.push(id);
        let fill = |event| Event {
            id,
            r#type: Str::new(name),
            principal: Str::new(principal),
            payload: Bytes::new(&payload),
            value: nanos(Duration::from_secs(5)),
            ..event
        };
        self.tell(fill, abi::EVENT_COMMAND).map(|()| RequestId(id))
    }

    /// Events that may still be published before `Again`; `None` = all.
    pub fn room(&mut self, events: Option<usize>) {
        self.sim.state().room = events;
    }

    /// The daemon no longer knows what followed from inputs up to this number: what names one of them as its cause is refused.
    pub fn forget_inputs(&mut self, up_to: u64) {
        self.sim.state().forgotten = Some(up_to);
    }

    /// There is room again: gives all there is and says so.
    pub fn writable(&mut self) -> Result<(), Failed> {
        self.room(None);
        self.tell(|event| event, abi::EVENT_WRITABLE)
    }

    /// Waits in real time until a worker or another thread asked for `on_wake`, and tells it. False: nobody did.
    pub fn wait_for_wake(&mut self, real_time: Duration) -> Result<bool, Failed> {
        if !self.sim.wait_for_wake(real_time) {
            return Ok(false);
        }
        self.sim.state().wake = false;
        self.tell(|event| event, abi::EVENT_WAKE).map(|()| true)
    }

    /// It is about to be replaced or stopped.
    pub fn quiesce(&mut self) -> Result<(), Failed> {
        self.tell(|event| event, abi::EVENT_QUIESCE)
    }

    /// What it saves.
    pub fn save(&mut self) -> Result<Vec<u8>, Failed> {
        let saved = self.running().save_state();
        saved.map_err(|status| taken(&self.sim, status))
    }

    /// Ends it as the daemon does and starts a successor with the same settings from what it saved. The clock, the
    /// subscriptions and what was said stay; its timers end with it.
    pub fn restart(&mut self) -> Result<(), Failed> {
        self.quiesce()?;
        let state = match B::STATE_VERSION {
            0 => None,
            version => Some((version, self.save()?)),
        };
        self.stop()?;
        self.begin(state)
    }

    /// Drops it without a word, as after a crash, and starts a successor from what was saved earlier.
    pub fn restart_from(&mut self, saved: Option<Vec<u8>>) -> Result<(), Failed> {
        self.end();
        self.begin(saved.map(|state| (B::STATE_VERSION, state)))
    }

    /// New settings. `Ok(false)`: it wants to be replaced for them.
    pub fn reconfigure(&mut self, settings: &Value) -> Result<bool, Failed> {
        let text = settings.to_string();
        match self.running().reconfigure(&text) {
            abi::E_UNSUPPORTED => Ok(false),
            status => {
                self.result(status)?;
                self.settings = text;
                Ok(true)
            }
        }
    }

    /// Stops and drops it; further calls fail as closed.
    pub fn stop(&mut self) -> Result<(), Failed> {
        let stopped = self.tell(|event| event, abi::EVENT_STOP);
        self.end();
        stopped
    }

    /// Drops it without a word, as after a crash.
    pub fn end(&mut self) {
        self.running = None;
        self.handle = Handle::new(&self.sim);
        self.sim.state().timers.clear();
    }

    /// Takes what was published since the last call.
    pub fn published(&mut self) -> Vec<Published> {
        std::mem::take(&mut self.sim.state().published)
    }

    /// Takes the answers to commands since the last call.
    pub fn replies(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.sim.state().replies)
    }

    /// Takes what was logged since the last call.
    pub fn logs(&mut self) -> Vec<Logged> {
        std::mem::take(&mut self.sim.state().logs)
    }

    /// The most verbose level that is logged (`abi::LOG_…`); everything unless set.
    pub fn log_level(&mut self, level: u32) {
        self.sim.state().log_level = level;
    }

    /// Every series so far.
    pub fn metrics(&self) -> Vec<Metric> {
        self.sim.state().metrics.clone()
    }

    /// The reason it gave for being degraded.
    pub fn degraded(&self) -> Option<String> {
        self.sim.state().degraded.clone()
    }

    /// How long until the next timer is due; `None` when none is set.
    pub fn until_next_timer(&self) -> Option<Duration> {
        let state = self.sim.state();
        state.timers.values().map(|timer| duration(timer.due_ns - state.mono_ns)).min()
    }

    /// The wall clock, nanoseconds since 1970.
    pub fn now_unix_ns(&self) -> i64 {
        let state = self.sim.state();
        state.unix_base_ns.saturating_add(state.mono_ns)
    }

    fn begin(&mut self, saved: Option<(u32, Vec<u8>)>) -> Result<(), Failed> {
        let created = self.loaded.create(self.handle.raw(), &self.settings);
        let mut running = created.map_err(|status| taken(&self.sim, status))?;
        if let Some((version, state)) = saved {
            self.result(running.restore_state(version, &state))?;
        }
        self.result(running.start())?;
        self.running = Some(running);
        Ok(())
    }

    /// The timer that is due next, not after `target`: the clock goes there, and the timer on to its next instant.
    fn next_timer(&self, target: i64) -> Option<u64> {
        let mut state = self.sim.state();
        let (&id, &timer) = state.timers.iter().min_by_key(|(id, timer)| (timer.due_ns, **id))?;
        if timer.due_ns > target {
            return None;
        }
        state.mono_ns = timer.due_ns;
        if timer.interval_ns == 0 {
            state.timers.remove(&id);
        } else {
            let due_ns = timer.due_ns.saturating_add(timer.interval_ns);
            state.timers.insert(id, host::Timer { due_ns, ..timer });
        }
        Some(id)
    }

    fn tell_demand(&mut self, topic: &str, now: u64) -> Result<(), Failed> {
        let fill = |event| Event { topic: Str::new(topic), value: now.cast_signed(), ..event };
        self.tell(fill, abi::EVENT_DEMAND)
    }

    fn tell<'e>(&mut self, fill: impl FnOnce(Event<'static>) -> Event<'e>, kind: u32) -> Result<(), Failed> {
        let mono_ns = self.sim.state().mono_ns;
        let unix_ns = self.now_unix_ns();
        let event = fill(Event { mono_ns, unix_ns, ..Event::new(kind) });
        let Some(running) = self.running.as_mut() else { return Err(taken(&self.sim, abi::E_CLOSED)) };
        let status = running.on_events(&[event]);
        self.result(status)
    }

    fn running(&mut self) -> &mut Running {
        self.running.as_mut().expect("the broadcaster was stopped by the test")
    }

    fn result(&self, status: Status) -> Result<(), Failed> {
        if status >= abi::OK {
            self.sim.state().failed = None; // said of a call that went well after all
            return Ok(());
        }
        Err(taken(&self.sim, status))
    }
}

/// A harness is shown by what its broadcaster was configured with.
impl<B> fmt::Debug for Harness<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The failure that a status stands for, with what was said about it if it was.
fn taken(sim: &Sim, status: Status) -> Failed {
    let said = sim.state().failed.take().filter(|failed| failed.status == status);
    let silent = || Failed { status, pointer: String::new(), message: String::new(), others: Vec::new() };
    said.unwrap_or_else(silent)
}

/// Whether a pattern (of the part after the stream; empty = all) takes in a topic. The root topic reaches everyone.
fn matches(pattern: &str, topic: &str) -> bool {
    if pattern.is_empty() || topic.is_empty() {
        return true;
    }
    let (wanted, parts) = (pattern.split(':'), topic.split(':'));
    wanted.clone().count() == parts.clone().count()
        && wanted.zip(parts).all(|(wanted, part)| wanted == "*" || wanted == part)
}
