//! One event to many: what is due goes into the outboxes, joined where it can be, merged where it must be.

use std::sync::Arc;

use super::Shard;
use super::connection::PAUSED;
use super::groups::Group;
use super::poll::Backend;
use super::portion::{Portion, batches};
use crate::dialect::Loss;
use crate::event::{Event, LogId};
use crate::hub::settings::Lag;
use crate::metrics;
use crate::metrics::labels::Policy;
use crate::websocket::close;

/// Members that are fetched from memory side by side before the first of them gets anything: few enough that they are still
/// near then.
const FETCHED_TOGETHER: usize = 32;

impl<B: Backend> Shard<B> {
    /// Puts everything that is due into the outboxes. Per connection and stream the order is that of the numbers.
    pub(super) fn distribute(&mut self) {
        let due = self.groups.take_due(self.now);
        let mut merges: Vec<(usize, LogId)> = Vec::new();
        for id in &due {
            let Some(group) = self.groups.get(*id) else { continue };
            let mut portion = Portion::new((*id, group), self.config.deflation, self.hub.memory());
            let mut delivered = 0;
            for some in group.members.chunks(FETCHED_TOGETHER) {
                some.iter().for_each(|member| self.connections[member.connection].fetch());
                for member in some {
                    let connection = &mut self.connections[member.connection];
                    if !connection.is_open() {
                        continue;
                    }
                    if connection.subscriptions.len() > 1 && connection.patterns_of(group.log) > 1 {
                        merges.push((member.connection, group.log));
                        continue;
                    }
                    delivered += portion.deliver(connection, member.start);
                    self.dirty.mark(connection, member.connection);
                }
            }
            group.deliveries.delivered(delivered);
            if group.form.batch.is_none() {
                self.oldest = self.oldest.or_else(|| group.pending.first().map(|event| event.published));
            }
        }
        merges.sort_unstable();
        merges.dedup();
        merges.into_iter().for_each(|(token, log)| self.deliver_pending(token, log));
        self.groups.done(due);
    }

    /// Everything that is pending of a log for one connection, before anything else about the log is told to it, and
    /// however many patterns it has there: in order, each event once, nothing of it ever again.
    pub(super) fn deliver_pending(&mut self, token: usize, log: LogId) {
        let Some(connection) = self.connections.get_mut(token).filter(|connection| connection.is_open()) else {
            return;
        };
        let mut groups: Vec<(usize, &Group, u64)> = Vec::new();
        for subscription in connection.subscriptions.iter().filter(|subscription| subscription.log == log) {
            let Some(group) = self.groups.get(subscription.group) else { continue };
            let start = group.members.get(subscription.seat).map_or(PAUSED, |member| member.start);
            groups.push((subscription.group, group, start));
        }
        let newer = groups
            .iter()
            .flat_map(|(id, group, start)| group.newer_than(*start).iter().map(|event| (event, *id, *group)));
        let mut events: Vec<(&Arc<Event>, usize, &Group)> = newer.collect();
        // Once in each wording: by each name that the client uses for the stream or topic it expects an own one.
        events.sort_by_key(|(event, _, group)| (event.seq, group.form.voice.wording()));
        events.dedup_by_key(|(event, _, group)| (event.seq, group.form.voice.wording()));
        let Some((newest, _, first)) = events.last() else { return };
        let newest = newest.seq;
        first.deliveries.delivered(events.len() as u64);
        if groups.iter().all(|(_, group, _)| group.form.batch.is_some()) {
            let gathered: Vec<Arc<Event>> = events.iter().map(|(event, ..)| Arc::clone(event)).collect();
            for (bytes, events) in batches(&gathered, &first.form, self.config.deflation) {
                connection.deliver_joined(&bytes, events);
            }
        } else {
            for (event, id, group) in events {
                connection.deliver(event, &group.frame(event, self.config.deflation), id);
            }
        }
        self.dirty.mark(connection, token);
        self.move_start(token, log, |start| start.max(newest));
    }

    /// The same for every log.
    pub(super) fn deliver_all_pending(&mut self, token: usize) {
        let mut logs: Vec<LogId> = self.connections[token].subscriptions.iter().map(|known| known.log).collect();
        logs.dedup();
        logs.into_iter().for_each(|log| self.deliver_pending(token, log));
    }

    /// The one decision about a connection that cannot take everything of a stream. `missed` never came to
    /// wait for it. Of one that is closing nothing can be spared: what waits is its last.
    pub(super) fn lag(&mut self, token: usize, log: LogId, missed: Option<Loss>) {
        let Some(connection) = self.connections.get_mut(token).filter(|known| known.is_open()) else { return };
        self.dirty.mark(connection, token); // it may have nothing waiting, and gets its snapshot at once
        connection.lagged += 1;
        let is_subscribed = connection.patterns_of(log) > 0;
        let Some(routes) = self.groups.log(log).filter(|_| is_subscribed) else {
            // What waits came before it unsubscribed, and no snapshot can take its place.
            connection.close(close::TRY_AGAIN, "too far behind; resume by position", self.now);
            return;
        };
        let lag = if connection.can_resync() { routes.stream.settings().lag } else { Lag::Disconnect };
        match lag {
            Lag::Disconnect => {
                metrics::lagged(routes.stream.name(), Policy::Disconnect);
                connection.close(close::TRY_AGAIN, "too far behind; resume by position", self.now);
            }
            Lag::Resync => {
                metrics::lagged(routes.stream.name(), Policy::Resync);
                self.deliver_pending(token, log); // so that it is lost with what waits
                let connection = &mut self.connections[token];
                let dropped = connection.outbox.drop_log(log, "resync");
                dropped.into_iter().chain(missed).for_each(|loss| connection.miss(log, &loss));
                self.set_start(token, log, PAUSED);
            }
        }
    }

    /// From here on a connection gets only events of the log with numbers above `start`.
    pub(super) fn set_start(&mut self, token: usize, log: LogId, start: u64) {
        self.move_start(token, log, |_| start);
    }

    fn move_start(&mut self, token: usize, log: LogId, moved: impl Fn(u64) -> u64) {
        let Some(connection) = self.connections.get(token) else { return };
        for subscription in connection.subscriptions.iter().filter(|subscription| subscription.log == log) {
            let group = self.groups.get_mut(subscription.group);
            if let Some(member) = group.and_then(|group| group.members.get_mut(subscription.seat)) {
                member.start = moved(member.start);
            }
        }
    }
}
