//! Publishes what is to be told, in order; what finds no room in the stream waits for it.

use std::collections::VecDeque;

use broadcastd_plugin_api::{Context, Failure, FailureKind, PublishError};
use metrics::{Counter, counter, describe_counter};

use crate::told::Told;
use crate::waiting::Waiting;

/// Events that wait for room, some 5 MB of them. No inputs come while some wait, so that only the few that led to them,
/// and the settings, can fill this; beyond it the broadcaster fails, and its inputs are fed to it again.
pub const MAX_WAITING: usize = 10_000;

pub struct Publisher {
    waiting: VecDeque<Waiting>,
    errors: Counter,
}

impl Publisher {
    pub fn new() -> Self {
        describe_counter!("publish_errors_total", "Events that the daemon refused for good.");
        Self { waiting: VecDeque::new(), errors: counter!("publish_errors_total") }
    }

    /// The failure: too many wait.
    pub fn tell(&mut self, all: impl IntoIterator<Item = Told>, cx: &mut Context<'_>) -> Result<(), Failure> {
        for told in all {
            let mut event = Waiting { told, cause: None };
            if self.is_blocked() || !self.publish(&event, cx) {
                if self.waiting.len() == MAX_WAITING {
                    let why = format!("{MAX_WAITING} events wait for room; see which listener of the stream is stuck");
                    return Err(Failure::of(FailureKind::Limit, why));
                }
                event.cause = cx.take_cause();
                self.waiting.push_back(event);
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
        }
    }

    /// Tells records, when the daemon asks for them.
    pub fn refresh(&self, all: impl IntoIterator<Item = Told>, cx: &mut Context<'_>) {
        for told in all {
            let event = Waiting { told, cause: None };
            if let Err(error) = cx.publish(&event.outgoing()) {
                self.count_error(&event, error);
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
        self.waiting = waiting;
    }

    /// Whether it is done with: published, or refused for good.
    fn publish(&self, event: &Waiting, cx: &mut Context<'_>) -> bool {
        match cx.publish(&event.outgoing()) {
            Ok(()) => {}
            Err(PublishError::Again) => return false,
            Err(error) => self.count_error(event, error),
        }
        true
    }

    fn count_error(&self, event: &Waiting, error: PublishError) {
        self.errors.increment(1);
        tracing::warn!(kind = event.told.kind.name(), topic = event.told.topic, %error, "an event is not published");
    }
}
