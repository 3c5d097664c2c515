//! Who may stay: a client says who it is, an identity ends, a user logs out.

use std::time::{Duration, Instant};

use super::Shard;
use super::connection::{Connection, Subscription};
use super::poll::Backend;
use crate::dialect::{Code, Refusal, Reply, RequestId};
use crate::event::unix_now;
use crate::identity::{Auth, Unproven};
use crate::websocket::close;

/// When an address that has shown too many tokens may show another: it has room for one long before.
const GUESS_AGAIN: Duration = Duration::from_secs(1);

impl<B: Backend> Shard<B> {
    /// A token that proves who the client is, now or for longer.
    pub(super) fn authenticate(&mut self, token: usize, shown: &str, id: &RequestId) -> Result<(), Refusal> {
        let Connection { peer, trust, .. } = &self.connections[token];
        let verified = match trust {
            Some(trust) => trust.identity(shown).map_err(Unproven::Rejected),
            None => self.verifier.verify_from(*peer, shown, unix_now(), self.now),
        };
        let identity = verified.map_err(|unproven| {
            let code = match unproven {
                Unproven::Rejected(_) => Code::AuthenticationRequired,
                Unproven::TooMany => Code::RateLimited,
            };
            let retry = (code == Code::RateLimited).then_some(GUESS_AGAIN);
            Refusal { retry, ..Refusal::new(code, unproven.to_string()) }
        })?;
        self.deliver_all_pending(token); // it may not read it any more when it is somebody with other rights
        let connection = &mut self.connections[token];
        let before = connection.standing.until();
        if !connection.standing.take_up(identity.clone(), self.now) {
            let message = "this connection is another user's; open one of your own";
            return Err(Refusal::new(Code::AuthenticationRequired, message));
        }
        let (user, expires_unix_ns) = (&**identity.name(), identity.expires_unix_ns());
        let permissions = identity.permissions();
        connection.say(&Reply::Authenticated { user, permissions, expires_unix_ns, id });
        let has_nothing = connection.subscriptions.is_empty();
        self.forget_ending(token, before);
        self.watch_standing(token);
        self.take_back_rights(token);
        if has_nothing {
            self.open(token, Vec::new());
        }
        Ok(())
    }

    /// A token that proves nothing ends the connection, except where nobody is asked: there it changes nothing, and clients
    /// that always show one go on as the nobody that they may be. Nor does one that was not looked at change anything for
    /// somebody: it may be good, and others of the same address have shown too many.
    pub(super) fn disbelieve(&mut self, token: usize, refusal: &Refusal) {
        let connection = &mut self.connections[token];
        let is_somebody = connection.standing.identity().is_some();
        if connection.endpoint.auth == Auth::None || refusal.code == Code::RateLimited && is_somebody {
            connection.say(&Reply::Refused(refusal));
        } else {
            self.turn_away(token, refusal);
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

    /// It ends no more at this time: it is gone, or somebody for longer.
    pub(super) fn forget_ending(&mut self, token: usize, until: Option<Instant>) {
        if let Some(until) = until {
            self.endings.remove(&(until, token));
        }
    }

    /// Ends the connections whose time is over. Nothing more is delivered to them.
    pub(super) fn end_expired(&mut self) {
        while let Some((until, token)) = self.endings.first().copied().filter(|(until, _)| *until <= self.now) {
            self.endings.remove(&(until, token));
            let connection = &self.connections[token];
            if !connection.is_open() {
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
            self.end_if_over(token);
        }
    }

    /// Ends the connection if nobody may act by its token any more. Whether that is so.
    pub(super) fn end_if_over(&mut self, token: usize) -> bool {
        let identity = self.connections[token].standing.identity();
        let held = identity.map_or(Ok(()), |identity| identity.holds(unix_now()));
        if let Err(reason) = held {
            self.end_for(token, reason);
        }
        held.is_err()
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
