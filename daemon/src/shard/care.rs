//! What a shard does although nobody asks: time-outs, the drain, and letting go when memory is short.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::poll::Backend;
use super::{Config, Shard, TICK};
use crate::metrics;
use crate::metrics::labels::Relief;
use crate::websocket::close;

/// How many connections a shard closes at least per tick while it drains: few come back at once.
const DRAINED_PER_TICK: usize = 500;
/// The part of the drain that is left to the last clients for their answer.
const LAST_ANSWERS: Duration = Duration::from_millis(500);
/// With less than this to drop, a connection is none of those that memory is short for.
const WORTH_DROPPING: usize = 16 << 10;

impl<B: Backend> Shard<B> {
    /// After a reload: everybody is granted this, and whoever is no longer trusted goes.
    pub(super) fn configure(&mut self, config: Config) {
        self.config = config;
        self.groups.set_flush(config.flush);
        self.connections.iter_mut().for_each(|(_, known)| known.configure(&config));
        self.end_revoked();
    }

    pub(super) fn tick(&mut self) {
        let now = self.now;
        self.ticked_at = now;
        if let Some(deadline) = self.drain {
            self.drain_some(deadline);
        }
        let mut waiting = 0;
        for (token, connection) in self.connections.iter_mut() {
            connection.tick(self.config.ping_every, self.config.drop_after, now);
            waiting += connection.outbox.bytes();
            if connection.needs_care(now) {
                self.dirty.mark(connection, token);
            }
        }
        self.counters.outbox_bytes(waiting);
        self.snapshots.sweep();
        self.look_after_memory();
    }

    /// Whoever lags lets go within a turn; when memory is short for a whole tick, something else takes it.
    fn look_after_memory(&mut self) {
        let is_short = self.hub.memory().is_short();
        if is_short && self.was_short {
            self.hub.cut_histories();
        }
        self.was_short = is_short;
        self.hub.tell_relief();
        metrics::memory_bytes(self.hub.memory().used());
    }

    /// The first closes of a drain that was asked for in this turn, after what was published before has been sent.
    pub(super) fn begin_drain(&mut self, before: Option<Instant>) {
        if let (None, Some(deadline)) = (before, self.drain) {
            self.drain_some(deadline);
            self.flush();
        }
    }

    pub(super) fn drain_some(&mut self, deadline: Instant) {
        let time = deadline.saturating_duration_since(self.now + LAST_ANSWERS);
        let ticks = usize::try_from(time.as_millis() / TICK.as_millis()).unwrap_or(usize::MAX);
        let at_once =
            if ticks == 0 { usize::MAX } else { DRAINED_PER_TICK.max(self.connections.len().div_ceil(ticks)) };
        let open = self.connections.iter_mut().filter(|(_, connection)| connection.is_open()).take(at_once);
        for (token, connection) in open {
            let pause = Duration::from_millis(fastrand::u64(500..5000));
            let reason = format!("shutting down; retry in {} ms", pause.as_millis());
            connection.close(close::GOING_AWAY, &reason, self.now);
            self.dirty.mark(connection, token);
        }
    }

    /// Everything unsent and kept has become too much: whoever has most waiting lets go first.
    pub(super) fn relieve_memory(&mut self) {
        if !self.hub.memory().is_short() {
            return;
        }
        self.snapshots.clear();
        // Who has been given something since the last sending may take it all.
        let open = self.connections.iter().filter(|(_, connection)| connection.is_open() && !connection.is_dirty);
        let droppable = open.map(|(token, connection)| (connection.outbox.droppable_bytes(), token));
        let mut laggards: Vec<(usize, usize)> = droppable.filter(|(bytes, _)| *bytes >= WORTH_DROPPING).collect();
        laggards.sort_unstable_by_key(|(bytes, _)| Reverse(*bytes));
        for (_, token) in laggards {
            if !self.hub.memory().is_short() {
                break;
            }
            metrics::memory_relieved(Relief::Outbox);
            match self.connections[token].outbox.heaviest_log() {
                Some(log) => self.lag(token, log, None),
                None => self.close_for(token, "the server is short of memory; resume by position"),
            }
        }
    }

    fn close_for(&mut self, token: usize, reason: &str) {
        let connection = &mut self.connections[token];
        connection.close(close::TRY_AGAIN, reason, self.now);
        self.dirty.mark(connection, token);
    }
}
