//! Publishes what is to be told, in order, and logs it; what finds no room in the stream waits for it.

use std::collections::VecDeque;

use broadcastd_plugin_api::{Context, Failure, FailureKind, Flags, Outgoing, PublishError};
use metrics::{Counter, counter, describe_counter};

use crate::book::Book;
use crate::settings::Level;
use crate::told::{From, Told, json};
use crate::waiting::Waiting;

/// Bytes of saved state that events that wait for room may take: as many as the end of all instances at once leads to.
/// Only a listener that has stopped reading fills this; beyond it the broadcaster fails, and its inputs are fed to it
/// again when it is restarted.
pub const MAX_WAITING: usize = 18 << 20;
/// Where events without a cause of their own stand that are published while an input is handled; inputs are below.
pub const WITHOUT_CAUSE: u32 = 1 << 31;

pub struct Publisher {
    pub level: Level,
    waiting: VecDeque<Waiting>,
    /// What they take in saved state.
    bytes: usize,
    sent: Counter,
    errors: Counter,
}

impl Publisher {
    pub fn new(level: Level) -> Self {
        describe_counter!("broadcasts_sent_total", "Events that were published.");
        describe_counter!("publish_errors_total", "Events that the daemon refused for good.");
        let (sent, errors) = (counter!("broadcasts_sent_total"), counter!("publish_errors_total"));
        Self { level, waiting: VecDeque::new(), bytes: 0, sent, errors }
    }

    /// The failure: too many wait.
    pub fn tell(&mut self, all: impl IntoIterator<Item = Told>, cx: &mut Context<'_>) -> Result<(), Failure> {
        for (index, told) in (0..).zip(all) {
            let cause = match &told.origin {
                From::Input(place) => {
                    cx.set_ordinal(*place);
                    None
                }
                From::Earlier(cause) => {
                    cx.set_ordinal(WITHOUT_CAUSE + index);
                    cause.clone()
                }
            };
            let mut event = Waiting::new(told, cause);
            if self.is_blocked() || !self.publish(&event, cx) {
                event.cause = event.cause.or_else(|| cx.take_cause());
                self.wait(event)?;
            }
        }
        Ok(())
    }

    /// Goes on where the stream was full.
    pub fn go_on(&mut self, cx: &mut Context<'_>) {
        while let Some(event) = self.waiting.pop_front() {
            if !self.publish(&event, cx) {
                self.waiting.push_front(event);
                return;
            }
            self.bytes -= event.weight();
        }
    }

    /// Describes every instance, when the daemon asks for that.
    pub fn records(&self, book: &Book, cx: &mut Context<'_>) {
        for instance in book.iter() {
            let record = json(&instance.record());
            let (topic, session_id) = (&*broadcastd_plugin_api::topic_part(&instance.session), &*instance.session);
            let (kind, payload) = (instance.newest.name(), record.as_bytes());
            let event = Outgoing {
                kind,
                topic,
                session_id,
                payload,
                key: &instance.id,
                flags: Flags::RECORD_ONLY,
                ..Outgoing::default()
            };
            if let Err(error) = cx.publish(&event) {
                self.count_error(kind, error);
            }
        }
    }

    pub fn is_blocked(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub fn waiting(&self) -> &VecDeque<Waiting> {
        &self.waiting
    }

    /// Takes over what waited in the instance before.
    pub fn resume(&mut self, waiting: VecDeque<Waiting>) {
        self.bytes = waiting.iter().map(Waiting::weight).sum();
        self.waiting = waiting;
    }

    fn wait(&mut self, event: Waiting) -> Result<(), Failure> {
        self.bytes += event.weight();
        if self.bytes > MAX_WAITING {
            let why = "MiB of events wait for room; the listeners of this stream do not read";
            return Err(Failure::of(FailureKind::Limit, format!("{} {why}", MAX_WAITING >> 20)));
        }
        self.waiting.push_back(event);
        Ok(())
    }

    /// Whether it is done with: published, or refused for good.
    fn publish(&self, event: &Waiting, cx: &mut Context<'_>) -> bool {
        let event = event.outgoing();
        let outcome = match cx.publish(&event) {
            // The daemon may know nothing of so old an input any more; what happened is told all the same.
            Err(PublishError::Invalid) if event.cause.is_some() => cx.publish(&Outgoing { cause: None, ..event }),
            outcome => outcome,
        };
        match outcome {
            Ok(()) => {
                self.sent.increment(1);
                log(self.level, event.kind, || cx.demand(event.topic));
            }
            Err(PublishError::Again) => return false,
            Err(error) => self.count_error(event.kind, error),
        }
        true
    }

    /// The instances go on: their next event says how they are then.
    fn count_error(&self, kind: &str, error: PublishError) {
        self.errors.increment(1);
        tracing::warn!(kind, %error, "an event is not published");
    }
}

fn log(level: Level, r#type: &str, subscribers: impl Fn() -> u64) {
    const EVENT: &str = "state_machine.broadcast";
    match level {
        Level::Error => tracing::error!(r#type, subscribers = subscribers(), "{EVENT}"),
        Level::Warn => tracing::warn!(r#type, subscribers = subscribers(), "{EVENT}"),
        Level::Info => tracing::info!(r#type, subscribers = subscribers(), "{EVENT}"),
        Level::Debug => tracing::debug!(r#type, subscribers = subscribers(), "{EVENT}"),
        Level::Trace => tracing::trace!(r#type, subscribers = subscribers(), "{EVENT}"),
        Level::Off => {}
    }
}
