//! What operators ask a shard: who is connected, and to end that. Answers go where the shard never has to wait.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot::Sender;

use super::Shard;
use super::inbox::Endpoint;
use super::poll::Backend;
use crate::dialect::Reply;
use crate::hub::pattern::Pattern;
use crate::websocket::close;

/// What a shard is asked, with the place for its answer. Whoever asked may have gone meanwhile.
pub enum Ask {
    Connections(Wanted, Sender<Vec<Seen>>),
    /// Connected users, in order, each with the number of its connections. Services and operators are none.
    Users(Users, Sender<BTreeMap<Arc<str>, usize>>),
    /// Ends the connection of this number; whether there was one.
    Close(u64, Sender<bool>),
    /// Ends the connections of a user, and of no service that has the same name; how many that were.
    LogOut(Arc<str>, Sender<usize>),
}

/// Which connections of a shard are shown, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The first number.
    pub from: u64,
    pub max: usize,
    /// With a subscription that the pattern names, or that names the pattern.
    pub subscribed: Option<Pattern>,
    /// Who is there, as its acts are known by.
    pub user: Option<Arc<str>>,
}

/// Which users are shown.
#[derive(Clone, Debug)]
pub enum Users {
    One(Arc<str>),
    /// So many of those behind this one, or of all.
    Some {
        behind: Option<Arc<str>>,
        max: usize,
    },
}

/// One connection, as operators see it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub number: u64,
    /// As the connection was told by `connected`.
    pub client_id: String,
    /// `None`: a program on this machine, through a unix socket.
    pub peer: Option<IpAddr>,
    pub user: Option<Arc<str>>,
    pub age: Duration,
    pub endpoint: Arc<Endpoint>,
    /// Topics and patterns.
    pub topics: Vec<Arc<str>>,
    pub outbox_bytes: usize,
    /// How often it could not take everything.
    pub lagged: u64,
    /// Waiting events that newer ones have replaced.
    pub replaced: u64,
}

impl<B: Backend> Shard<B> {
    /// What a connection of this shard is called.
    pub(super) fn client_id(&self, number: u64) -> String {
        format!("{}-{}-{number}", self.hub.epoch(), self.index)
    }

    pub(super) fn answer_operator(&mut self, ask: Ask) {
        // Nobody waits for an answer whose receiver is gone.
        match ask {
            Ask::Connections(wanted, answer) => _ = answer.send(self.seen(&wanted)),
            Ask::Users(wanted, answer) => _ = answer.send(self.users(wanted)),
            Ask::Close(number, answer) => _ = answer.send(self.close_one(number)),
            Ask::LogOut(user, answer) => _ = answer.send(self.log_out(&user)),
        }
    }

    /// Ends the connections of a user; how many that were.
    pub(super) fn log_out(&mut self, user: &Arc<str>) -> usize {
        let mut closed = 0;
        for (token, connection) in self.connections.iter_mut() {
            let is_theirs = connection.standing.identity().is_some_and(|identity| identity.user() == Some(user));
            if is_theirs && connection.is_open() {
                connection.close_with(&[Reply::LoggedOut], close::UNAUTHORIZED, "logged out", self.now);
                self.dirty.mark(connection, token);
                closed += 1;
            }
        }
        closed
    }

    fn seen(&self, wanted: &Wanted) -> Vec<Seen> {
        let is_wanted = |token: usize| {
            let connection = &self.connections[token];
            connection.is_open()
                && connection.number >= wanted.from
                && wanted.subscribed.as_ref().is_none_or(|pattern| self.is_subscribed(token, pattern))
                && wanted
                    .user
                    .as_ref()
                    .is_none_or(|user| connection.standing.identity().is_some_and(|identity| identity.name() == user))
        };
        let open = self.connections.iter().filter(|(token, _)| is_wanted(*token));
        let mut found: Vec<(u64, usize)> = open.map(|(token, connection)| (connection.number, token)).collect();
        found.sort_unstable();
        found.into_iter().take(wanted.max).map(|(_, token)| self.describe(token)).collect()
    }

    fn describe(&self, token: usize) -> Seen {
        let connection = &self.connections[token];
        let groups = connection.subscriptions.iter().filter_map(|subscription| self.groups.get(subscription.group));
        Seen {
            number: connection.number,
            client_id: self.client_id(connection.number),
            peer: connection.peer,
            user: connection.standing.identity().map(|identity| identity.name().clone()),
            age: self.now.saturating_duration_since(connection.arrived_at),
            endpoint: connection.endpoint.clone(),
            topics: groups.map(|group| group.pattern.text().clone()).collect(),
            outbox_bytes: connection.outbox.bytes(),
            lagged: connection.lagged,
            replaced: connection.outbox.replaced_ever(),
        }
    }

    fn is_subscribed(&self, token: usize, pattern: &Pattern) -> bool {
        let subscriptions = self.connections[token].subscriptions.iter();
        subscriptions.filter_map(|subscription| self.groups.get(subscription.group)).any(|group| {
            group.pattern.stream() == pattern.stream()
                && (group.pattern.covers(pattern) || pattern.covers(&group.pattern))
        })
    }

    fn users(&self, wanted: Users) -> BTreeMap<Arc<str>, usize> {
        let mut users: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        let open = self.connections.iter().filter(|(_, connection)| connection.is_open());
        for user in open.filter_map(|(_, connection)| connection.standing.user()) {
            *users.entry(user.clone()).or_default() += 1;
        }
        let (range, max) = match wanted {
            Users::One(user) => ((Bound::Included(user.clone()), Bound::Included(user)), 1),
            Users::Some { behind, max } => ((behind.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded), max),
        };
        users.range(range).take(max).map(|(user, count)| (user.clone(), *count)).collect()
    }

    fn close_one(&mut self, number: u64) -> bool {
        let mut open = self.connections.iter_mut().filter(|(_, connection)| connection.is_open());
        let Some((token, connection)) = open.find(|(_, connection)| connection.number == number) else { return false };
        connection.close(close::POLICY, "closed by the operator", self.now);
        self.dirty.mark(connection, token);
        true
    }
}
