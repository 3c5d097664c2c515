//! Who sits where: the subscriptions of each connection, and their seats in the groups that share a pattern.

use std::sync::Arc;

use super::Shard;
use super::connection::Subscription;
use super::groups::{Home, Member};
use super::poll::Backend;
use super::target::Meant;
use crate::event::LogId;
use crate::hub::Subscribed;
use crate::hub::pattern::Pattern;

impl<B: Backend> Shard<B> {
    pub(super) fn seat(&mut self, token: usize, meant: &Meant, subscribed: &Subscribed) {
        let (log, start) = (subscribed.log, subscribed.position.seq);
        let home = Home { log, stream: &meant.stream, audience: &meant.audience };
        let form = self.connections[token].form(&meant.voice, meant.batch);
        let subscriptions = &mut self.connections[token].subscriptions;
        if subscriptions.is_empty() {
            subscriptions.reserve_exact(meant.patterns.len()); // most ask once, and a first push would take room for four
        }
        for pattern in &meant.patterns {
            let member = Member { connection: token, start };
            let (group, seat) = self.groups.join(&home, pattern, &form, member);
            self.connections[token].subscriptions.push(Subscription { log, group, seat });
        }
    }

    pub(super) fn leave(&mut self, token: usize, subscription: Subscription) {
        self.deliver_pending(token, subscription.log); // it was published before, and is not lost
        self.connections[token].subscriptions.retain(|known| *known != subscription);
        if self.connections[token].patterns_of(subscription.log) == 0 {
            self.connections[token].lost.retain(|(log, _)| *log != subscription.log);
            self.connections[token].give_up_place(subscription.log);
        }
        let Some(group) = self.groups.get(subscription.group) else { return };
        let pattern = group.pattern.clone();
        if let Some(routes) = self.groups.log(subscription.log) {
            routes.stream.unsubscribe(&routes.audience, &[pattern], self.outlet.id());
        }
        let Some(moved) = self.groups.leave(subscription.group, subscription.seat) else { return };
        let Some(connection) = self.connections.get_mut(moved.connection) else { return };
        // The member that sat last now has the seat that became free.
        let sits = connection.subscriptions.iter_mut().find(|known| known.group == subscription.group);
        if let Some(sits) = sits {
            sits.seat = subscription.seat;
        }
    }

    /// Everything that a closed connection was subscribed to.
    pub(super) fn forget_all(&mut self, token: usize) {
        while let Some(subscription) = self.connections[token].subscriptions.last().copied() {
            self.leave(token, subscription);
        }
    }

    /// The connection's subscriptions of a log that is gone.
    pub(super) fn forget_log(&mut self, token: usize, log: LogId) {
        while let Some(subscription) = self.connections[token].subscriptions.iter().find(|s| s.log == log).copied() {
            self.leave(token, subscription);
        }
    }

    /// Those of these patterns, which are sorted, that the connection is subscribed to by this name of the stream and of the topic.
    pub(super) fn subscriptions_to(&self, token: usize, meant: &Meant) -> Vec<Subscription> {
        let is_meant = |subscription: &&Subscription| {
            self.groups.get(subscription.group).is_some_and(|group| {
                group.form.voice == meant.voice && meant.patterns.binary_search(&group.pattern).is_ok()
            })
        };
        self.connections[token].subscriptions.iter().filter(is_meant).copied().collect()
    }

    /// All that the connection is subscribed to by this name of the stream.
    pub(super) fn subscriptions_by_name(&self, token: usize, meant: &Meant) -> Vec<Subscription> {
        let is_meant = |subscription: &&Subscription| {
            self.groups.get(subscription.group).is_some_and(|group| {
                group.form.voice.alias == meant.voice.alias && group.pattern.stream() == &**meant.stream.name()
            })
        };
        self.connections[token].subscriptions.iter().filter(is_meant).copied().collect()
    }

    /// The connections, each once, that have such a seat in a group of the log.
    pub(super) fn members_of(&self, log: LogId, is_meant: impl Fn(&Member) -> bool) -> Vec<usize> {
        let members = self.groups.of_log(log).flat_map(|group| &group.members);
        let mut tokens: Vec<usize> =
            members.filter(|member| is_meant(member)).map(|member| member.connection).collect();
        tokens.sort_unstable();
        tokens.dedup();
        tokens
    }

    /// What the client calls the stream of a log; its name if it has subscribed by that, too.
    pub(super) fn called(&self, token: usize, log: LogId) -> Option<Arc<str>> {
        let subscriptions = self.connections[token].subscriptions.iter().filter(|subscription| subscription.log == log);
        let mut voices =
            subscriptions.filter_map(|subscription| Some(&self.groups.get(subscription.group)?.form.voice));
        let alias = voices.next()?.alias.clone();
        alias.filter(|_| voices.all(|voice| voice.alias.is_some()))
    }

    /// The patterns of a log that the connection is subscribed to, in an order that says nothing of when.
    pub(super) fn patterns_of(&self, token: usize, log: LogId) -> Vec<Pattern> {
        let subscriptions = self.connections[token].subscriptions.iter().filter(|subscription| subscription.log == log);
        let pattern_of = |subscription: &Subscription| Some(self.groups.get(subscription.group)?.pattern.clone());
        let mut patterns: Vec<Pattern> = subscriptions.filter_map(pattern_of).collect();
        patterns.sort();
        patterns
    }
}
