//! What a broadcaster can do while it is called: publish, ask, set timers, answer, speak of its health.
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::abi;
use crate::entry::Host;
use crate::failure::Failure;
use crate::input::{Message, RequestId, TimerId};
use crate::publish::{Cause, Flags, Outgoing, PartlyPublished, PublishError};
use crate::time::{duration, nanos};
use crate::worker::Worker;

/// A scratch buffer that one large event made larger than this is given back, so that it does not stay for good.
const SCRATCH_KEPT: usize = 64 * 1024;

/// So many messages cross the border in one call; it bounds the stack they take (about 3 KiB).
const PUBLISH_BATCH: usize = 16;

/// What a broadcaster can do while it is called. Nothing here waits.
pub struct Context<'a> {
    host: Host,
    scratch: &'a mut Scratch,
    cause: Option<Handled<'a>>,
    ordinal: u32,
    always: Flags,
}

/// The input that is being handled.
#[derive(Clone, Copy)]
struct Handled<'a> {
    stream: &'a str,
    epoch: &'a str,
    seq: u64,
}

/// Buffers that payloads and records are written into; they live as long as the instance.
#[derive(Default)]
pub(crate) struct Scratch {
    payload: Vec<u8>,
    record: Vec<u8>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(host: Host, scratch: &'a mut Scratch) -> Self {
        Context { host, scratch, cause: None, ordinal: 0, always: Flags::NONE }
    }

    /// While this input is handled.
    pub(crate) fn caused_by(self, input: &Message<'a>) -> Self {
        let Message { stream, epoch, seq, .. } = *input;
        Context { cause: Some(Handled { stream, epoch, seq }), ..self }
    }

    /// While records are asked for.
    pub(crate) fn for_records(self) -> Self {
        Context { always: Flags::RECORD_ONLY, ..self }
    }

    /// Begins an event of a kind: `cx.event("bar").topic("AAPL:1").key("current").latest().publish(&bar)?`.
    pub fn event<'e>(&mut self, kind: &'e str) -> EventBuilder<'_, 'a, 'e> {
        self.scratch.record.clear();
        EventBuilder { cx: self, event: Outgoing { kind, ..Outgoing::default() }, broken: None }
    }

    /// Publishes an event whose payload is JSON already.
    pub fn publish(&mut self, event: &Outgoing<'_>) -> Result<(), PublishError> {
        let message = self.message(event, self.ordinal);
        self.offer(&[message], std::slice::from_ref(event)).map_err(|partly| partly.why)
    }

    /// Publishes events in order. After an error the ones from `accepted` on were not taken.
    pub fn publish_all(&mut self, events: &[Outgoing<'_>]) -> Result<(), PartlyPublished> {
        let mut accepted = 0;
        for part in events.chunks(PUBLISH_BATCH) {
            let mut messages = [abi::Msg::new(""); PUBLISH_BATCH];
            let mut ordinal = self.ordinal;
            for (message, event) in messages.iter_mut().zip(part) {
                *message = self.message(event, ordinal);
                ordinal += u32::from(event.cause.is_none());
            }
            let offered = self.offer(&messages[..part.len()], part);
            offered.map_err(|partly| PartlyPublished { accepted: accepted + partly.accepted, ..partly })?;
            accepted += part.len();
        }
        Ok(())
    }

    /// Subscriptions that a topic of the own stream (the part after the stream; empty = the root) reaches now.
    pub fn demand(&self, topic: &str) -> u64 {
        u64::try_from(self.host.demand(topic)).unwrap_or(0)
    }

    /// The next event is the `ordinal`th (from 0) of the input that is being handled; without this they are counted.
    ///
    /// An input that is handled again after a failure must give its events the same ordinals as before, for by them
    /// the hub knows which it has already. Whoever publishes some only sometimes, because nobody listens, say, names
    /// the ordinals of all that may follow from an input.
    pub fn set_ordinal(&mut self, ordinal: u32) {
        self.ordinal = ordinal;
    }

    /// Takes the cause that the next event would carry, for an event that has to wait until it can be published.
    /// `None` unless an input is being handled.
    pub fn take_cause(&mut self) -> Option<Cause> {
        let Handled { stream, epoch, seq } = self.cause?;
        let ordinal = self.ordinal;
        self.ordinal += 1;
        Some(Cause { stream: Arc::from(stream), epoch: Arc::from(epoch), seq, ordinal })
    }

    /// Calls `on_timer` once, `delay` from now. Setting an id again replaces it.
    pub fn timer_once(&mut self, id: TimerId, delay: Duration) -> Result<(), Failure> {
        Failure::check(self.host.timer_set(id.0, nanos(delay), 0), "setting a timer")
    }

    /// Calls `on_timer` first after `delay`, then every `interval` (at least a nanosecond). Setting an id again
    /// replaces it.
    pub fn timer_every(&mut self, id: TimerId, delay: Duration, interval: Duration) -> Result<(), Failure> {
        Failure::check(self.host.timer_set(id.0, nanos(delay), nanos(interval).max(1)), "setting a timer")
    }

    /// Forgets a timer; one that is not set is no failure.
    pub fn timer_clear(&mut self, id: TimerId) {
        let _not_set = self.host.timer_clear(id.0);
    }

    /// Answers a command for which `on_command` said [`crate::Answer::Later`]. The failure: too late, answered before, or
    /// nobody asked.
    pub fn reply(&mut self, request: RequestId, answer: Result<&impl Serialize, &Failure>) -> Result<(), Failure> {
        let status = match answer {
            Ok(value) => self.host.reply(request.0, abi::OK, &serde_json::to_vec(value)?),
            Err(failure) => self.host.refuse(request.0, failure),
        };
        Failure::check_reply(status)
    }

    /// All is well (again).
    pub fn health_ok(&mut self) {
        self.host.health(abi::HEALTH_OK, "");
    }

    /// It works, but something is wrong; `/readyz` shows the reason.
    pub fn health_degraded(&mut self, reason: &str) {
        self.host.health(abi::HEALTH_DEGRADED, reason);
    }

    /// The monotonic clock; virtual under test. Only differences mean something.
    pub fn now_mono(&self) -> Duration {
        duration(self.host.now_mono_ns())
    }

    /// Nanoseconds since 1970 (UTC); virtual under test.
    pub fn now_unix_ns(&self) -> i64 {
        self.host.now_unix_ns()
    }

    /// A handle with which another thread can ask for `on_wake`.
    pub fn waker(&self) -> Waker {
        Waker(self.host)
    }

    /// Threads for work that waits; see [`Worker`].
    pub fn worker<T: Send + 'static>(&self) -> Worker<T> {
        Worker::new(self.host)
    }

    fn message<'e>(&self, event: &Outgoing<'e>, ordinal: u32) -> abi::Msg<'e>
    where
        'a: 'e,
    {
        let (Handled { stream, epoch, seq }, ordinal) = match (event.cause, self.cause) {
            (Some(Cause { stream, epoch, seq, ordinal }), _) => (Handled { stream, epoch, seq: *seq }, *ordinal),
            (None, Some(handled)) => (handled, ordinal),
            (None, None) => (Handled { stream: "", epoch: "", seq: 0 }, 0),
        };
        abi::Msg {
            flags: (event.flags | self.always).0,
            topic: abi::Str::new(event.topic),
            key: abi::Str::new(event.key),
            record: abi::Bytes::new(event.record),
            audience: abi::Str::new(event.audience),
            session_id: abi::Str::new(event.session_id),
            payload: abi::Bytes::new(event.payload),
            unix_ns: event.unix_ns,
            cause_seq: seq,
            cause_ordinal: ordinal,
            cause_stream: abi::Str::new(stream),
            cause_epoch: abi::Str::new(epoch),
            ..abi::Msg::new(event.kind)
        }
    }

    /// Hands messages over. When only some were taken, the rest is offered again: that says why (see the header).
    fn offer(&mut self, messages: &[abi::Msg<'_>], events: &[Outgoing<'_>]) -> Result<(), PartlyPublished> {
        let mut accepted = 0;
        while accepted < messages.len() {
            let taken = self.host.publish(&messages[accepted..]);
            let count = usize::try_from(taken).unwrap_or(0).min(messages.len() - accepted);
            if count == 0 {
                return Err(PartlyPublished { accepted, why: PublishError::of(taken) });
            }
            let caused_here = events[accepted..accepted + count].iter().filter(|event| event.cause.is_none()).count();
            self.ordinal += u32::try_from(caused_here).expect("a batch is small");
            accepted += count;
        }
        Ok(())
    }
}

/// An event in the making; nothing happens before [`EventBuilder::publish`].
#[must_use = "an event is published by `publish`"]
pub struct EventBuilder<'c, 'a, 'e> {
    cx: &'c mut Context<'a>,
    event: Outgoing<'e>,
    broken: Option<serde_json::Error>,
}

impl<'e> EventBuilder<'_, '_, 'e> {
    /// The part after the stream, `AAPL:1`; the root topic unless set. Parts from outside: [`crate::topic_part`].
    pub fn topic(mut self, topic: &'e str) -> Self {
        self.event.topic = topic;
        self
    }

    /// Identity inside the topic; without it the event leaves no record.
    pub fn key(mut self, key: &'e str) -> Self {
        self.event.key = key;
        self
    }

    /// What a snapshot shows for the key; the payload unless set.
    pub fn record(mut self, record: &impl Serialize) -> Self {
        self.cx.scratch.record.clear();
        if let Err(error) = serde_json::to_writer(&mut self.cx.scratch.record, record) {
            self.broken = Some(error);
        }
        self
    }

    /// Private streams: the user it is for.
    pub fn audience(mut self, user: &'e str) -> Self {
        self.event.audience = user;
        self
    }

    /// The clients' own trading session.
    pub fn session_id(mut self, session_id: &'e str) -> Self {
        self.event.session_id = session_id;
        self
    }

    /// When it happened, nanoseconds since 1970 (UTC); stamped by the host unless set.
    pub fn at(mut self, unix_ns: i64) -> Self {
        self.event.unix_ns = unix_ns;
        self
    }

    /// What it follows from, for an event that had to wait; see [`Context::take_cause`].
    pub fn cause(mut self, cause: &'e Cause) -> Self {
        self.event.cause = Some(cause);
        self
    }

    /// A newer one of the same topic, kind and key may replace it in a waiting outbox.
    pub fn latest(self) -> Self {
        self.flags(Flags::LATEST)
    }

    /// Removes the key's record.
    pub fn delete(self) -> Self {
        self.flags(Flags::DELETE)
    }

    /// Only refreshes the record: takes a number, is neither delivered nor kept.
    pub fn record_only(self) -> Self {
        self.flags(Flags::RECORD_ONLY)
    }

    /// Private streams: to every audience, for kinds that config.toml lists.
    pub fn broadcast(self) -> Self {
        self.flags(Flags::BROADCAST)
    }

    /// Adds flags.
    pub fn flags(mut self, flags: Flags) -> Self {
        self.event.flags = self.event.flags | flags;
        self
    }

    /// Publishes it with a payload that becomes a JSON object. The buffers are kept from event to event, so that
    /// nothing is allocated.
    pub fn publish(self, payload: &impl Serialize) -> Result<(), PublishError> {
        let EventBuilder { cx, event, broken } = self;
        let mut bytes = std::mem::take(&mut cx.scratch.payload);
        let record = std::mem::take(&mut cx.scratch.record);
        bytes.clear();
        let written = broken.map_or_else(|| serde_json::to_writer(&mut bytes, payload), Err);
        let result = match written {
            Ok(()) => cx.publish(&Outgoing { payload: &bytes, record: &record, ..event }),
            Err(error) => {
                tracing::error!(kind = event.kind, topic = event.topic, %error, "cannot be written as JSON");
                Err(PublishError::Invalid)
            }
        };
        cx.scratch.payload = kept(bytes);
        cx.scratch.record = kept(record);
        result
    }
}

/// Asks for `on_wake` from any thread. After the broadcaster is gone it does nothing.
#[derive(Clone, Copy)]
pub struct Waker(pub(crate) Host);

impl Waker {
    /// `on_wake` follows; several calls may become one.
    pub fn wake(&self) {
        let _closed = self.0.wake();
    }
}

fn kept(mut buffer: Vec<u8>) -> Vec<u8> {
    if buffer.capacity() > SCRATCH_KEPT {
        buffer = Vec::new();
    }
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_buffer_is_kept_up_to_its_bound() {
        assert_eq!(kept(Vec::with_capacity(SCRATCH_KEPT)).capacity(), SCRATCH_KEPT);
        assert_eq!(kept(Vec::with_capacity(SCRATCH_KEPT + 1)).capacity(), 0);
    }
}
