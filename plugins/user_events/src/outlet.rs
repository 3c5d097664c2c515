//! Publishes events in their order; what the stream has no room for waits.

use std::collections::VecDeque;

use broadcastd_plugin_api::{Cause, Context, Failure, FailureKind, PublishError, topic_part};
use serde::{Deserialize, Serialize};

use crate::counters::Counters;
use crate::event::{Event, Way};

/// Bytes of saved state that waiting events may take: a quarter of what the daemon saves for a broadcaster. Only a
/// listener of the stream that has stopped reading fills this; beyond it the broadcaster fails, and its inputs are fed
/// to it again.
pub const MAX_WAITING: usize = 16 << 20;

/// While anything waits, nothing overtakes it.
#[derive(Default)]
pub struct Outlet {
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

/// An event that waits for room, with what it follows from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Waiting {
    event: Event<'static>,
    cause: Option<Cause>,
}

impl Outlet {
    /// Publishes an event of the input that is being handled, or has it wait.
    pub fn send(&mut self, event: Event<'_>, counters: &Counters, cx: &mut Context<'_>) -> Result<(), Failure> {
        let sent = if self.waiting.is_empty() { publish(&event, None, cx) } else { Err(PublishError::Again) };
        match sent {
            Ok(()) => Ok(()),
            Err(PublishError::Again) => self.wait(event, cx),
            Err(error) => {
                count_error(error, &event, counters);
                Ok(())
            }
        }
    }

    /// Goes on where the stream was full.
    pub fn go_on(&mut self, counters: &Counters, cx: &mut Context<'_>) {
        while let Some(Waiting { event, cause }) = self.waiting.front() {
            match publish(event, cause.as_ref(), cx) {
                Ok(()) => {}
                Err(PublishError::Again) => return,
                Err(error) => count_error(error, event, counters),
            }
            self.bytes -= weight(event);
            self.waiting.pop_front();
        }
    }

    /// Refreshes a record, while those are asked for.
    pub fn refresh(&self, event: &Event<'_>, counters: &Counters, cx: &mut Context<'_>) {
        if let Err(error) = publish(event, None, cx) {
            count_error(error, event, counters);
        }
    }

    pub fn waiting(&self) -> &VecDeque<Waiting> {
        &self.waiting
    }

    /// Takes over what waited in the instance before.
    pub fn resume(&mut self, waiting: VecDeque<Waiting>) {
        self.bytes = waiting.iter().map(|waiting| weight(&waiting.event)).sum();
        self.waiting = waiting;
    }

    fn wait(&mut self, event: Event<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        let bytes = self.bytes + weight(&event);
        if bytes > MAX_WAITING {
            let why = format!(
                "{} MiB of events wait because a listener of the stream does not read; see why it is stuck",
                MAX_WAITING >> 20
            );
            return Err(Failure::of(FailureKind::Limit, why));
        }
        if self.waiting.is_empty() {
            tracing::warn!("the stream is full; events wait for room");
        }
        let cause = cx.take_cause();
        self.bytes = bytes;
        self.waiting.push_back(Waiting { event: event.into_owned(), cause });
        Ok(())
    }
}

fn weight(event: &Event<'_>) -> usize {
    const CAUSE: usize = 512; // a stream's name and an epoch have at most 256 bytes, and are never that long
    event.weight() + CAUSE
}

fn publish(event: &Event<'_>, cause: Option<&Cause>, cx: &mut Context<'_>) -> Result<(), PublishError> {
    cx.publish(&event.outgoing(&topic_part(&event.kind), cause))
}

/// The daemon has logged its reason. A record that is not refreshed or removed is right again with the next event.
fn count_error(error: PublishError, event: &Event<'_>, counters: &Counters) {
    counters.errors.increment(1);
    let what = if event.way == Way::Gone { "a record is not removed" } else { "an event is not published" };
    tracing::warn!(%error, kind = &*event.kind, what);
}
