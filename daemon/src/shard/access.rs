//! Who may stay: a client says who it is, an identity ends, a user logs out.

use std::time::Instant;

use super::Shard;
use super::connection::Subscription;
use super::poll::Backend;
use crate::dialect::{Code, Refusal, Reply, RequestId};
use crate::event::unix_now;
use crate::identity::{Auth, TAKEN_BACK, Unproven};
use crate::websocket::close;

impl<B: Backend> Shard<B> {
    /// A token that proves who the client is, now or for longer.
    pub(super) fn authenticate(&mut self, token: usize, shown: &str, id: &RequestId) -> Result<(), Refusal> {
        let peer = self.connections[token].peer;
        let verified = self.verifier.verify_from(peer, shown, unix_now(), self.now);
        let identity = verified.map_err(|unproven| {
            let code = match unproven {
                Unproven::Rejected(_) => Code::AuthenticationRequired,
                Unproven::TooMany => Code::RateLimited,
            };
            Refusal::new(code, unproven.to_string())
        })?;
        let connection = &mut self.connections[token];
        if !connection.standing.take_up(identity.clone(), self.now) {
            let message = "this connection is another user's; open one of your own";
            return Err(Refusal::new(Code::AuthenticationRequired, message));
        }
        let (user, expires_unix_ns) = (&**identity.name(), identity.expires_unix_ns());
        let permissions = identity.permissions();
        connection.say(&Reply::Authenticated { user, permissions, expires_unix_ns, id });
        let has_nothing = connection.subscriptions.is_empty();
        self.watch_standing(token);
        self.take_back_rights(token);
        if has_nothing {
            self.open(token);
        }
        Ok(())
    }

    /// A token that proves nothing ends the connection, except where nobody is asked: there it changes nothing, and clients
    /// that always show one go on as the nobody that they may be.
    pub(super) fn disbelieve(&mut self, token: usize, refusal: &Refusal) {
        let connection = &mut self.connections[token];
        match connection.endpoint.auth {
            Auth::None => _ = connection.say(&Reply::Refused(refusal)),
            Auth::Optional | Auth::Required => self.turn_away(token, refusal),
        }
    }

    /// Ends a connection for want of a valid identity, with the reason in the dialect's words before the close code.
    pub(super) fn turn_away(&mut self, token: usize, refusal: &Refusal) {
        let close = if refusal.code == Code::RateLimited { close::TRY_AGAIN } else { close::UNAUTHORIZED };
        let connection = &mut self.connections[token];
        connection.close_with(&[Reply::Refused(refusal)], close, &refusal.message, self.now);
        self.dirty.mark(connection, token);
    }

    fn end_for(&mut self, token: usize, reason: &str) {
        self.turn_away(token, &Refusal::new(Code::AuthenticationRequired, reason));
    }

    /// Remembers when the connection's identity ends.
    pub(super) fn watch_standing(&mut self, token: usize) {
        if let Some(until) = self.connections[token].standing.until() {
            self.endings.insert((until, token));
        }
    }

    /// Ends the connections whose time is over. Nothing more is delivered to them.
    pub(super) fn end_expired(&mut self) {
        while let Some((until, token)) = self.endings.first().copied().filter(|(until, _)| *until <= self.now) {
            self.endings.remove(&(until, token));
            // The place may be another's by now, and the identity may have been refreshed.
            let Some(connection) = self.connections.get(token) else { continue };
            if connection.standing.until() != Some(until) || !connection.is_open() {
                continue;
            }
            let is_known = connection.standing.identity().is_some();
            let reason =
                if is_known { "the token has expired" } else { "nobody has said who this is within 5 seconds" };
            self.end_for(token, reason);
        }
    }

    /// Ends the connections whose tokens were taken back.
    pub(super) fn end_revoked(&mut self) {
        let open = self.connections.iter().filter(|(_, connection)| connection.is_open());
        for token in open.map(|(token, _)| token).collect::<Vec<usize>>() {
            self.end_if_revoked(token);
        }
    }

    /// Ends the connection if its token was taken back. Whether it was.
    pub(super) fn end_if_revoked(&mut self, token: usize) -> bool {
        let identity = self.connections[token].standing.identity();
        let is_revoked = identity.is_some_and(|identity| identity.is_taken_back());
        if is_revoked {
            self.end_for(token, TAKEN_BACK);
        }
        is_revoked
    }

    /// When the next connection ends, if nothing else happens.
    pub(super) fn next_ending(&self) -> Option<Instant> {
        self.endings.first().map(|(until, _)| *until)
    }

    /// Leaves what a refreshed identity may no longer read.
    fn take_back_rights(&mut self, token: usize) {
        let connection = &self.connections[token];
        let Some(identity) = connection.standing.identity().cloned() else { return };
        let is_hidden = |subscription: &&Subscription| {
            let group = self.groups.get(subscription.group);
            let is_public = self.groups.log(subscription.log).is_some_and(|routes| routes.audience.is_empty());
            is_public && group.is_some_and(|group| !identity.may_read(&group.pattern))
        };
        let hidden: Vec<Subscription> = connection.subscriptions.iter().filter(is_hidden).copied().collect();
        for subscription in hidden {
            let Some(pattern) = self.groups.get(subscription.group).map(|group| group.pattern.clone()) else {
                continue;
            };
            self.leave(token, subscription);
            let message = format!("this identity may no longer read {}", pattern.text());
            let refusal = Refusal::new(Code::Forbidden, message).about(pattern.stream());
            self.connections[token].say(&Reply::Refused(&refusal));
        }
    }
}
