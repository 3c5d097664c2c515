//! How a connection begins and ends.

use std::time::Duration;

use super::Shard;
use super::connection::Connection;
use super::inbox::Newcomer;
use super::poll::{Backend, Sink as _};
use crate::dialect::{Command, Reply, Request};

impl<B: Backend> Shard<B> {
    /// Watches the newcomer's socket and greets. What it asked for by coming has its turn with what others ask: there it
    /// may be that more newcomers are taken in, and theirs would be done inside of it, one in the other.
    pub(super) fn adopt(&mut self, mut newcomer: Newcomer) {
        let mut read_ahead = std::mem::take(&mut newcomer.read_ahead);
        let number = self.adopted;
        self.adopted += 1;
        let connection = Connection::new(newcomer, number, &self.config, self.hub.memory(), self.now);
        let token = self.connections.insert(connection);
        if let Err(error) = self.backend.add(self.connections[token].fd(), token) {
            tracing::error!(shard = self.index, %error, "a connection could not be watched and is closed");
            self.connections.remove(token);
            return;
        }
        self.watch_standing(token);
        // Between the door and here the token may have ended, or a reload may have taken it back.
        if !self.end_if_over(token) {
            self.greet(token, self.config.ping_every);
        }
        let connection = &mut self.connections[token];
        connection.hear(&mut read_ahead, self.now);
        self.dirty.mark(connection, token);
        self.talking.push(token);
    }

    /// Carries out what the connection asks for by being opened, as soon as it is clear whether that is its right, and
    /// what it asked for with its request.
    pub(super) fn open(&mut self, token: usize, wishes: Vec<Command>) {
        let connection = &self.connections[token];
        let opening = match connection.standing.must_say_who() {
            true => Vec::new(),
            false => connection.dialect().opening(&connection.endpoint.streams),
        };
        for command in opening.into_iter().chain(wishes) {
            self.handle(token, Ok(Request { id: None, command }));
        }
    }

    pub(super) fn let_go(&mut self, token: usize) {
        self.forget_all(token);
        self.forget_ending(token, self.connections[token].standing.until());
        let connection = self.connections.remove(token);
        self.backend.remove(connection.fd());
    }

    fn greet(&mut self, token: usize, heartbeat: Duration) {
        let client_id = self.client_id(self.connections[token].number);
        let must_say_who = self.connections[token].standing.must_say_who();
        let streams = if must_say_who { Vec::new() } else { self.visible_streams(token) };
        let connection = &mut self.connections[token];
        let identity = connection.standing.identity().cloned();
        let user = identity.as_ref().map(|identity| &**identity.name());
        connection.say(&Reply::Connected { client_id: &client_id, heartbeat, streams: &streams, user });
    }
}
