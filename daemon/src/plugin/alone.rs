//! One instance by itself, for whoever tries a plugin: a hub of its own, real calls, and nothing that happens unless its
//! holder lets it. It is not started again when it fails.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use broadcastd_plugin_api::{StreamSpec, abi};

use super::demand::Demand;
use super::due::{self, MAX_BATCH};
use super::handles;
use super::inputs::Inputs;
use super::library::{Instance, Library};
use super::port::{Desk, Fault, Gate, Port};
use super::stream::{Overrides, settings};
use super::timing::Clock;
use super::told::{Moment, Told};
use super::voice::Voice;
use crate::event::{Draft, Event};
use crate::hub::inputs::ListenerId;
use crate::hub::pattern::Pattern;
use crate::hub::records::Record;
use crate::hub::settings::Settings;
use crate::hub::signal::Signal;
use crate::hub::stream::Stream;
use crate::hub::stream::reads::{Reader, Sight};
use crate::hub::{Hub, Refused};

/// Events that are read back of what it published at a time.
const MAX_READ: usize = 1024;

/// Hears of every call before it is made: what is called.
pub type Before = Box<dyn Fn(&str)>;

pub struct Alone {
    hub: Arc<Hub>,
    library: Arc<Library>,
    desk: Arc<Desk>,
    signal: Arc<Signal>,
    port: Arc<Port>,
    instance: Option<Instance>,
    demand: Demand,
    inputs: Vec<Inputs>,
    own: Option<Own>,
    before: Before,
    /// What was called last.
    last: String,
}

/// The stream that it publishes to, and who reads along.
struct Own {
    stream: Arc<Stream>,
    reader: ListenerId,
}

impl Alone {
    /// Nothing of the plugin is called yet. `name` is what its stream is called.
    pub fn new(library: Arc<Library>, spec: Option<&StreamSpec>, name: &str, clock: Arc<dyn Clock>) -> Self {
        let hub = Hub::new("alone");
        let signal: Arc<Signal> = Signal::of(name).into();
        let desk = Arc::new(Desk {
            name: name.into(),
            stream: OnceLock::new(),
            clock,
            voice: Voice::new(name),
            declared: Arc::default(),
            counts: Arc::default(),
        });
        let own = spec.map(|spec| {
            let stream = hub.declare(name, settings(spec, &Settings::default(), &Overrides::default()));
            let reader = stream.listen(Arc::default(), None);
            desk.stream.get_or_init(|| stream.clone());
            Own { stream, reader }
        });
        let port = Port::new(desk.clone(), signal.clone());
        let before: Before = Box::new(|_| {});
        Self {
            hub,
            library,
            desk,
            signal,
            port,
            instance: None,
            demand: Demand::default(),
            inputs: Vec::new(),
            own,
            before,
            last: String::new(),
        }
    }

    /// Whom to tell what is called next.
    pub fn before_calls(mut self, before: Before) -> Self {
        self.before = before;
        self
    }

    pub fn library(&self) -> &Arc<Library> {
        &self.library
    }

    pub fn port(&self) -> &Arc<Port> {
        &self.port
    }

    /// What wakes the thread that lets it work.
    pub fn signal(&self) -> &Arc<Signal> {
        &self.signal
    }

    /// Makes an instance, in the place of one that is there.
    pub fn create(&mut self, settings: &str) -> Result<(), Fault> {
        self.destroy();
        self.port = Port::new(self.desk.clone(), self.signal.clone());
        self.port.set_home();
        self.demand = Demand::default();
        let handle = handles::open(self.port.clone());
        self.note("create");
        match Instance::create(&self.library, handle, settings) {
            Ok(instance) => {
                self.instance = Some(instance);
                Ok(())
            }
            Err(status) => {
                handles::close(handle);
                Err(self.port.take_fault(status, "create"))
            }
        }
    }

    pub fn restore(&mut self, version: u32, state: &[u8]) -> Result<(), Fault> {
        self.call("restore_state", |instance| instance.restore_state(version, state))
    }

    /// Starts it, and has it publish its records.
    pub fn begin(&mut self) -> Result<(), Fault> {
        self.port.set_gate(Gate::Open);
        self.call("start", Instance::start)?;
        let Some(stream) = self.own.as_ref().map(|own| own.stream.clone()) else { return Ok(()) };
        stream.begin_records();
        let told = self.tell(&[Told::Records]);
        match &told {
            Ok(()) => stream.end_records(),
            Err(_) => stream.abandon_records(),
        }
        told?;
        stream.set_owner(&self.signal);
        self.port.take_office(&stream);
        Ok(())
    }

    /// An input, which it is told at the next turn. Its stream is made if it is not there: a private one, if this is for
    /// somebody.
    pub fn publish(&mut self, stream: &str, draft: &Draft<'_>) -> Result<(), Refused> {
        let input = self.hub.stream(stream).unwrap_or_else(|| {
            let fresh =
                self.hub.declare(stream, Settings { private: !draft.audience.is_empty(), ..Settings::default() });
            let inputs = Inputs::listen(std::slice::from_ref(&fresh), &self.signal, &Default::default());
            self.inputs.push(inputs);
            fresh
        });
        input.publish(draft, None).map(drop)
    }

    /// Whether a stream of this name is its own, so that nobody else publishes there.
    pub fn owns(&self, stream: &str) -> bool {
        self.own.as_ref().is_some_and(|own| **own.stream.name() == *stream)
    }

    /// Tells it what there is to tell now; whether there was anything.
    pub fn turn(&mut self) -> Result<bool, Fault> {
        let told = self.gather();
        if told.is_empty() {
            return Ok(false);
        }
        self.tell(&told)?;
        for inputs in &mut self.inputs {
            inputs.handled(&told);
            inputs.saved();
        }
        Ok(true)
    }

    fn gather(&mut self) -> Vec<Told> {
        let mut told = due::gather(&self.port, &mut self.demand, self.signal.take(), Duration::ZERO);
        for inputs in &mut self.inputs {
            inputs.read(MAX_BATCH, &mut told);
        }
        told
    }

    pub fn tell(&mut self, told: &[Told]) -> Result<(), Fault> {
        let clock = self.desk.clock.clone();
        let at = Moment { mono_ns: clock.mono_ns(), unix_ns: clock.unix_ns() };
        let events: Vec<abi::Event<'_>> = told.iter().map(|one| one.event(at)).collect();
        // Of one kind at a time, so that a failure is that kind's.
        let batches = events.chunk_by(|one, next| one.kind == next.kind).flat_map(|same| same.chunks(MAX_BATCH));
        batches.into_iter().try_for_each(|batch| self.tell_as_is(batch))
    }

    /// Events as whoever tries it makes them, right or wrong.
    pub fn tell_as_is(&mut self, events: &[abi::Event<'_>]) -> Result<(), Fault> {
        let name = format!("on_events ({})", events.first().map_or("none", |event| kind_name(event.kind)));
        self.call(&name, |instance| instance.on_events(events))
    }

    /// The same as a host of a later minor tells it, whose events are larger.
    pub fn tell_as_later_host(&mut self, events: &[abi::Event<'_>]) -> Result<(), Fault> {
        self.call("on_events (of a later host)", |instance| instance.on_larger_events(events))
    }

    pub fn start(&mut self) -> Result<(), Fault> {
        self.call("start", Instance::start)
    }

    /// The state, if it keeps one.
    pub fn save(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        self.note("save_state");
        self.port.forget_fault();
        let Some(instance) = self.instance.as_mut() else { return Ok(None) };
        instance.save_state().map_err(|status| self.port.take_fault(status, "save_state"))
    }

    pub fn reconfigure(&mut self, settings: &str) -> Result<(), Fault> {
        self.call("reconfigure", |instance| instance.reconfigure(settings))
    }

    /// Ends it in order; the state that it leaves.
    pub fn stop(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        self.tell(&[Told::Quiesce])?;
        let state = self.save()?;
        self.tell(&[Told::Stop])?;
        self.destroy().map_or(Ok(state), Err)
    }

    /// Drops the instance; what it said about it.
    pub fn destroy(&mut self) -> Option<Fault> {
        self.port.set_gate(Gate::Closed);
        let instance = self.instance.take()?;
        self.port.forget_fault();
        self.note("destroy");
        drop(instance);
        self.port.said_fault()
    }

    /// What it published for others since the last call, in its order.
    pub fn take_published(&mut self) -> Vec<Arc<Event>> {
        let Some(own) = &self.own else { return Vec::new() };
        let mut published = Vec::new();
        loop {
            let batch = own.stream.read_inputs(own.reader, MAX_READ);
            let Some(last) = batch.events.last() else { return published };
            own.stream.saved_inputs(own.reader, last.number);
            published.extend(batch.events.into_iter().map(|input| input.event));
        }
    }

    /// What snapshots would show now, of every audience.
    pub fn records(&self) -> Vec<Record> {
        let Some(Own { stream, .. }) = &self.own else { return Vec::new() };
        let everything = [Pattern::whole(stream.name())];
        let of = |audience: Arc<str>| {
            let sight = Sight { reader: Reader::Operator, audience: &audience };
            let (_, snapshot) = stream.show(&sight, &everything).ok()?;
            Some(snapshot.records().cloned().collect::<Vec<_>>())
        };
        stream.audiences().into_iter().filter_map(of).flatten().collect()
    }

    /// How many events were not taken of it because something was wrong with them.
    pub fn refused(&self) -> u64 {
        self.desk.counts.refused.load(Ordering::Relaxed)
    }

    /// What was called last.
    pub fn last_call(&self) -> &str {
        &self.last
    }

    fn note(&mut self, call: &str) {
        call.clone_into(&mut self.last);
        (self.before)(call);
    }

    fn call(&mut self, name: &str, call: impl FnOnce(&mut Instance) -> abi::Status) -> Result<(), Fault> {
        self.note(name);
        self.port.forget_fault();
        let status = self.instance.as_mut().map_or(abi::E_CLOSED, call);
        if status == abi::OK { Ok(()) } else { Err(self.port.take_fault(status, name)) }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.destroy();
    }
}

/// What an event is called in the header.
fn kind_name(kind: u32) -> &'static str {
    match kind {
        abi::EVENT_TIMER => "TIMER",
        abi::EVENT_DEMAND => "DEMAND",
        abi::EVENT_MESSAGE => "MESSAGE",
        abi::EVENT_GAP => "GAP",
        abi::EVENT_RECORDS => "RECORDS",
        abi::EVENT_COMMAND => "COMMAND",
        abi::EVENT_WAKE => "WAKE",
        abi::EVENT_WRITABLE => "WRITABLE",
        abi::EVENT_QUIESCE => "QUIESCE",
        abi::EVENT_STOP => "STOP",
        _ => "of a kind that does not exist",
    }
}

/// A clock that goes on when its holder says so. It begins on a working day, in the afternoon of Europe and the morning of
/// America.
#[derive(Debug, Default)]
pub struct HandClock(AtomicI64);

/// 2026-01-05T15:00:00Z.
const BEGINNING: i64 = 1_767_625_200_000_000_000;

impl HandClock {
    /// Goes on to this instant of the monotonic clock, if it is still to come.
    pub fn advance_to(&self, mono_ns: i64) {
        self.0.fetch_max(mono_ns, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn mono_ns(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn unix_ns(&self) -> i64 {
        BEGINNING + self.mono_ns()
    }

    /// Nothing comes by itself, so that there is nothing to wait for.
    fn park_until(&self, _: Option<i64>) {}
}
