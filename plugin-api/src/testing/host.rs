//! A host in the test's own program: a C table over a virtual clock and lists of what was said.
use std::collections::{BTreeMap, HashMap};
use std::ffi::c_void;
use std::ptr::without_provenance_mut;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::{Failed, Logged, Metric, Published, Reply};
use crate::abi::{self, Batch, Bytes, HostApi, HostHandle, Msg, Status, Str};
use crate::entry::{TakesMessages, publish};
use crate::input::RequestId;
use crate::publish::{Cause, Flags};

/// Every function of the border, answered by the [`Sim`] that the handle names.
pub(super) const TABLE: HostApi = HostApi {
    log: Some(log),
    log_level: Some(log_level),
    fail: Some(fail),
    publish: Some(publish::<Sim>),
    demand: Some(demand),
    reply: Some(reply),
    timer_set: Some(timer_set),
    timer_clear: Some(timer_clear),
    wake: Some(wake),
    metric_open: Some(metric_open),
    metric_record: Some(metric_record),
    health: Some(health),
    now_mono_ns: Some(now_mono_ns),
    now_unix_ns: Some(now_unix_ns),
    extension: Some(extension),
    metric_bounds: Some(metric_bounds),
    ..HostApi::EMPTY
};

/// Handles in use. A handle is a number, never an address, so that a stale one is refused.
static HOSTS: LazyLock<Mutex<HashMap<usize, Arc<Sim>>>> = LazyLock::new(Mutex::default);

/// A valid handle for as long as it lives.
pub(super) struct Handle(usize);

impl Handle {
    pub(super) fn new(sim: &Arc<Sim>) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        lock(&HOSTS).insert(id, sim.clone());
        Handle(id)
    }

    pub(super) fn raw(&self) -> *mut HostHandle {
        without_provenance_mut(self.0)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        lock(&HOSTS).remove(&self.0);
    }
}

/// What one broadcaster under test said and may have.
#[derive(Default)]
pub(super) struct Sim {
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) mono_ns: i64,
    /// Unix time where the monotonic clock is 0.
    pub(super) unix_base_ns: i64,
    pub(super) timers: BTreeMap<u64, Timer>,
    /// Messages that are taken before `E_AGAIN`; `None` = all.
    pub(super) room: Option<usize>,
    /// The newest input of which the daemon no longer knows what followed from it.
    pub(super) forgotten: Option<u64>,
    pub(super) published: Vec<Published>,
    pub(super) replies: Vec<Reply>,
    pub(super) open_requests: Vec<u64>,
    pub(super) logs: Vec<Logged>,
    pub(super) log_level: u32,
    pub(super) failed: Option<Failed>,
    pub(super) warned: Vec<(String, String)>,
    pub(super) degraded: Option<String>,
    pub(super) subscriptions: BTreeMap<String, u64>,
    pub(super) metrics: Vec<Metric>,
    /// The bounds that histograms are opened with, by their names.
    pub(super) bounds: BTreeMap<String, Vec<f64>>,
    pub(super) wake: bool,
}

#[derive(Clone, Copy)]
pub(super) struct Timer {
    pub(super) due_ns: i64,
    pub(super) interval_ns: i64,
}

impl Sim {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Waits until somebody called `wake`; false when nobody did in time.
    pub(super) fn wait_for_wake(&self, real_time: std::time::Duration) -> bool {
        let waited = self.woken.wait_timeout_while(self.state(), real_time, |state| !state.wake);
        waited.unwrap_or_else(PoisonError::into_inner).0.wake
    }
}

impl State {
    fn take(&mut self, message: &Msg<'_>) -> Result<(), Status> {
        if self.room == Some(0) {
            return Err(abi::E_AGAIN);
        }
        let published = published(message).and_then(|published| self.knows_cause(published)).map_err(|rule| {
            let message = format!("refused to publish: {rule}");
            self.logs.push(Logged { level: abi::LOG_ERROR, target: "host".into(), message });
            abi::E_INVALID
        })?;
        self.room = self.room.map(|room| room - 1);
        self.published.push(published);
        Ok(())
    }

    fn knows_cause(&self, published: Published) -> Result<Published, String> {
        match (&published.cause, self.forgotten) {
            (Some(cause), Some(forgotten)) if cause.seq <= forgotten => Err(format!("input {} is too old", cause.seq)),
            _ => Ok(published),
        }
    }
}

/// The rules that the daemon checks, too; `Err` says which one is broken.
fn published(message: &Msg<'_>) -> Result<Published, String> {
    let text = |what: &str, text: Str<'_>| text.get().map(str::to_owned).map_err(|why| format!("{what} {why}"));
    let json = |what: &str, bytes: Bytes<'_>| {
        let bytes = bytes.get().map_err(|why| format!("{what} {why}"))?;
        serde_json::from_slice::<Value>(bytes).map_err(|error| format!("{what}: {error}"))
    };
    let stream = text("cause_stream", message.cause_stream)?;
    let epoch = text("cause_epoch", message.cause_epoch)?;
    let cause =
        Cause { stream: stream.into(), epoch: epoch.into(), seq: message.cause_seq, ordinal: message.cause_ordinal };
    let published = Published {
        kind: text("type", message.r#type)?,
        topic: text("topic", message.topic)?,
        key: text("key", message.key)?,
        record: match message.record.get() {
            Ok([]) => None,
            _ => Some(json("record", message.record)?),
        },
        audience: text("audience", message.audience)?,
        session_id: text("session_id", message.session_id)?,
        payload: json("payload", message.payload)?,
        unix_ns: message.unix_ns,
        flags: Flags(message.flags),
        cause: (!cause.stream.is_empty()).then_some(cause),
    };
    let topic = &published.topic;
    if published.kind.is_empty() {
        return Err("an event needs a kind".into());
    }
    if !published.payload.is_object() {
        return Err("a payload is a JSON object".into());
    }
    if !topic.is_empty() && topic.split(':').any(|part| part.is_empty() || part.contains('*')) {
        return Err(format!("topic `{topic}` has an empty part or a `*`; encode parts with topic_part"));
    }
    Ok(published)
}

impl TakesMessages for Sim {
    fn publish(host: *mut HostHandle, messages: Batch<'_, Msg<'_>>) -> i64 {
        with(host, i64::from(abi::E_CLOSED), |state| {
            let mut accepted = 0;
            for message in messages {
                let taken = message.map_err(|_| abi::E_INVALID).and_then(|message| state.take(&message));
                match taken {
                    Ok(()) => accepted += 1,
                    Err(status) if accepted == 0 => return i64::from(status),
                    Err(_) => break,
                }
            }
            accepted
        })
    }
}

extern "C" fn log(host: *mut HostHandle, level: u32, target: Str<'_>, message: Str<'_>) {
    let (target, message) = (owned(target), owned(message));
    with(host, (), |state| state.logs.push(Logged { level, target, message }));
}

extern "C" fn log_level(host: *mut HostHandle) -> u32 {
    with(host, 0, |state| state.log_level)
}

extern "C" fn fail(host: *mut HostHandle, status: Status, pointer: Str<'_>, message: Str<'_>) {
    let (pointer, message) = (owned(pointer), owned(message));
    with(host, (), |state| match &mut state.failed {
        _ if status == abi::OK => state.warned.push((pointer, message)),
        Some(failed) => failed.others.push((pointer, message)),
        None => state.failed = Some(Failed { status, pointer, message, others: Vec::new() }),
    });
}

extern "C" fn demand(host: *mut HostHandle, topic: Str<'_>) -> i64 {
    let topic = owned(topic);
    with(host, 0, |state| {
        let reached = state.subscriptions.iter().filter(|(pattern, _)| super::matches(pattern, &topic));
        reached.map(|(_, count)| *count as i64).sum()
    })
}

extern "C" fn reply(host: *mut HostHandle, request: u64, status: Status, payload: Bytes<'_>) -> Status {
    let payload = payload.get().ok().and_then(|bytes| serde_json::from_slice(bytes).ok());
    with(host, abi::E_CLOSED, |state| {
        let Some(open) = state.open_requests.iter().position(|open| *open == request) else { return abi::E_INVALID };
        state.open_requests.remove(open);
        let payload = payload.unwrap_or(Value::Null);
        state.replies.push(Reply { request: RequestId(request), status, payload });
        abi::OK
    })
}

extern "C" fn timer_set(host: *mut HostHandle, id: u64, delay_ns: i64, interval_ns: i64) -> Status {
    with(host, abi::E_CLOSED, |state| {
        if delay_ns < 0 || interval_ns < 0 {
            return abi::E_INVALID;
        }
        let due_ns = state.mono_ns.saturating_add(delay_ns);
        state.timers.insert(id, Timer { due_ns, interval_ns });
        abi::OK
    })
}

extern "C" fn timer_clear(host: *mut HostHandle, id: u64) -> Status {
    with(host, abi::E_CLOSED, |state| state.timers.remove(&id).map_or(abi::E_INVALID, |_| abi::OK))
}

extern "C" fn wake(host: *mut HostHandle) -> Status {
    let Some(sim) = find(host) else { return abi::E_CLOSED };
    sim.state().wake = true;
    sim.woken.notify_all();
    abi::OK
}

extern "C" fn metric_open(host: *mut HostHandle, kind: u32, name: Str<'_>, help: Str<'_>, labels: Str<'_>) -> i64 {
    let (name, help) = (owned(name), owned(help));
    let labels = serde_json::from_str(&owned(labels)).unwrap_or(Value::Null);
    with(host, i64::from(abi::E_CLOSED), |state| {
        let bounds = state.bounds.get(&name).cloned().unwrap_or_default();
        state.metrics.push(Metric { kind, name, help, labels, bounds, values: Vec::new() });
        state.metrics.len() as i64
    })
}

extern "C" fn metric_bounds(host: *mut HostHandle, name: Str<'_>, bounds: Str<'_>) -> Status {
    let Ok(bounds) = serde_json::from_str(&owned(bounds)) else { return abi::E_INVALID };
    with(host, abi::E_CLOSED, |state| {
        state.bounds.insert(owned(name), bounds);
        abi::OK
    })
}

extern "C" fn metric_record(host: *mut HostHandle, metric: i64, value: f64) {
    with(host, (), |state| {
        let place = usize::try_from(metric).ok().and_then(|id| id.checked_sub(1));
        if let Some(metric) = place.and_then(|place| state.metrics.get_mut(place)) {
            metric.values.push(value);
        }
    });
}

extern "C" fn health(host: *mut HostHandle, health: u32, reason: Str<'_>) {
    let degraded = (health != abi::HEALTH_OK).then(|| owned(reason));
    with(host, (), |state| state.degraded = degraded);
}

extern "C" fn now_mono_ns(host: *mut HostHandle) -> i64 {
    with(host, 0, |state| state.mono_ns)
}

extern "C" fn now_unix_ns(host: *mut HostHandle) -> i64 {
    with(host, 0, |state| state.unix_base_ns.saturating_add(state.mono_ns))
}

extern "C" fn extension(_: *mut HostHandle, _: Str<'_>) -> *const c_void {
    std::ptr::null()
}

fn owned(text: Str<'_>) -> String {
    text.get().map_or_else(|why| format!("(text that {why})"), str::to_owned)
}

fn find(host: *mut HostHandle) -> Option<Arc<Sim>> {
    lock(&HOSTS).get(&host.addr()).cloned()
}

fn with<R>(host: *mut HostHandle, closed: R, answer: impl FnOnce(&mut State) -> R) -> R {
    match find(host) {
        Some(sim) => answer(&mut sim.state()),
        None => closed,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
