//! What a client could not take, and when it may be told.

use std::time::{Duration, Instant};

use super::Connection;
use crate::dialect::{Loss, Reply};
use crate::event::LogId;

/// How often a client hears at most of what it could not take: replaced events, or a fresh snapshot for dropped ones.
const TELL_EVERY: Duration = Duration::from_secs(1);

impl Connection {
    /// A client is told at most once a second of what it could not take.
    pub fn may_be_told(&mut self, now: Instant) -> bool {
        let may = self.told_at.is_none_or(|told| now.duration_since(told) >= TELL_EVERY);
        if may {
            self.told_at = Some(now);
        }
        may
    }

    /// Notes what the client will not get of a log, until the fresh snapshot that replaces it.
    pub fn miss(&mut self, log: LogId, loss: &Loss) {
        match self.lost.iter_mut().find(|(known, _)| *known == log) {
            Some((_, known)) => known.widen(loss),
            None => self.lost.push((log, loss.clone())),
        }
    }

    /// What the client has lost of a log: the caller tells it.
    pub fn take_loss(&mut self, log: LogId) -> Option<Loss> {
        let index = self.lost.iter().position(|(known, _)| *known == log)?;
        Some(self.lost.swap_remove(index).1)
    }

    /// Says what the client has lost of a log that ends at this number: no snapshot will take its place.
    pub fn say_last_losses(&mut self, log: LogId, stream: &str, seq: u64) {
        let replaced = self.outbox.take_replaced_of(log);
        let lost = self.take_loss(log).map(|loss| Loss { to: loss.to.max(seq), ..loss });
        for loss in replaced.into_iter().chain(lost) {
            self.say(&Reply::Lagged { stream, loss: &loss });
        }
    }
}
