//! One event to many: what is pending in a turn goes into the outboxes, joined where it can be, merged where it must be.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::Shard;
use super::connection::PAUSED;
use super::groups::Group;
use super::poll::Backend;
use crate::dialect::Loss;
use crate::event::{Event, LogId};
use crate::hub::settings::Lag;
use crate::memory::Memory;
use crate::metrics;
use crate::websocket::close;

/// The most bytes of frames that are joined: a piece whose sending has begun can no longer be dropped, so it must be small
/// beside an outbox, and a larger one saves nothing.
const MAX_JOINED: usize = 64 << 10;

impl<B: Backend> Shard<B> {
    /// Puts everything pending into the outboxes. Per connection and stream the order is that of the numbers.
    pub(super) fn distribute(&mut self) {
        let dirty = self.groups.take_dirty();
        let mut merges: Vec<(usize, LogId)> = Vec::new();
        for id in &dirty {
            let Some(group) = self.groups.get(*id) else { continue };
            let frames = group.frames();
            let mut joined = None;
            let mut delivered = 0;
            for member in &group.members {
                let connection = &mut self.connections[member.connection];
                if !connection.is_open() {
                    continue;
                }
                if connection.subscriptions.len() > 1 && connection.patterns_of(group.log) > 1 {
                    merges.push((member.connection, group.log));
                    continue;
                }
                let fresh =
                    connection.takes_joined() && group.pending.first().is_some_and(|first| first.seq > member.start);
                if fresh {
                    for (bytes, events) in joined.get_or_insert_with(|| join(group, &frames, self.hub.memory())) {
                        connection.outbox.joined(bytes.clone(), events);
                    }
                } else {
                    let newer = group.pending.iter().zip(&frames).filter(|(event, _)| event.seq > member.start);
                    newer.for_each(|(event, frame)| connection.deliver(event, frame));
                }
                delivered += if member.start == PAUSED { 0 } else { group.pending.len() as u64 };
                self.dirty.mark(connection, member.connection);
            }
            group.deliveries.delivered(delivered);
            self.oldest = self.oldest.or_else(|| group.pending.first().map(|event| event.published));
        }
        self.deliver_merged(merges);
        self.groups.done(dirty);
    }

    /// Connections with several patterns of one stream get its events one by one, in order, each once.
    fn deliver_merged(&mut self, mut merges: Vec<(usize, LogId)>) {
        merges.sort_unstable();
        merges.dedup();
        for (token, log) in merges {
            let Some(connection) = self.connections.get_mut(token) else { continue };
            let mut events: Vec<(Arc<Event>, Bytes, Option<Arc<str>>)> = Vec::new();
            for subscription in connection.subscriptions.iter().filter(|subscription| subscription.log == log) {
                let Some(group) = self.groups.get(subscription.group) else { continue };
                let start = group.members.get(subscription.seat).map_or(PAUSED, |member| member.start);
                let newer = group.pending.iter().filter(|event| event.seq > start);
                events.extend(newer.map(|event| (event.clone(), group.frame(event), group.voice.alias.clone())));
            }
            // Once by each name that the client uses for the stream: it takes each for a stream of its own.
            events.sort_by(|(one, _, alias), (other, _, another)| (one.seq, alias).cmp(&(other.seq, another)));
            events.dedup_by(|(one, _, alias), (other, _, another)| (one.seq, alias) == (other.seq, another));
            events.iter().for_each(|(event, frame, _)| connection.deliver(event, frame));
            let first = connection.subscriptions.iter().find(|subscription| subscription.log == log);
            if let Some(group) = first.and_then(|first| self.groups.get(first.group)) {
                group.deliveries.delivered(events.len() as u64);
            }
            self.dirty.mark(connection, token);
        }
    }

    /// The one decision about a connection that cannot take everything of a stream. `missed` never came to
    /// wait for it.
    pub(super) fn lag(&mut self, token: usize, log: LogId, missed: Option<Loss>) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        self.dirty.mark(connection, token); // it may have nothing waiting, and gets its snapshot at once
        let is_subscribed = connection.patterns_of(log) > 0;
        let Some(routes) = self.groups.log(log).filter(|_| is_subscribed) else {
            // What waits came before it unsubscribed, and no snapshot can take its place.
            connection.close(close::TRY_AGAIN, "too far behind; resume by position", self.now);
            return;
        };
        let lag = if connection.can_resync() { routes.stream.settings().lag } else { Lag::Disconnect };
        match lag {
            Lag::Disconnect => {
                metrics::lagged(routes.stream.name(), "disconnect");
                connection.close(close::TRY_AGAIN, "too far behind; resume by position", self.now);
            }
            Lag::Resync => {
                metrics::lagged(routes.stream.name(), "resync");
                let dropped = connection.outbox.drop_log(log, "resync");
                dropped.into_iter().chain(missed).for_each(|loss| connection.miss(log, &loss));
                self.set_start(token, log, PAUSED);
            }
        }
    }

    /// From here on a connection gets only events of the log with numbers above `start`.
    pub(super) fn set_start(&mut self, token: usize, log: LogId, start: u64) {
        let Some(connection) = self.connections.get(token) else { return };
        for subscription in connection.subscriptions.iter().filter(|subscription| subscription.log == log) {
            let group = self.groups.get_mut(subscription.group);
            if let Some(member) = group.and_then(|group| group.members.get_mut(subscription.seat)) {
                member.start = start;
            }
        }
    }
}

/// The frames of a group's turn in pieces that all of its members share, each with its events.
fn join<'a>(group: &'a Group, frames: &[Bytes], memory: &Arc<Memory>) -> Vec<(Bytes, &'a [Arc<Event>])> {
    if let [only] = frames {
        return vec![(only.clone(), &group.pending)]; // alone it is shared as it stands
    }
    let mut pieces = Vec::new();
    let (mut joined, mut first) = (BytesMut::new(), 0);
    for (index, frame) in frames.iter().enumerate() {
        if first < index && joined.len() + frame.len() > MAX_JOINED {
            pieces.push((memory.hold(joined.split()), &group.pending[first..index]));
            first = index;
        }
        joined.extend_from_slice(frame);
    }
    pieces.push((memory.hold(joined), &group.pending[first..]));
    pieces
}
