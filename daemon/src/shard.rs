//! A shard: one thread that owns some of the connections. It reads and answers commands, fans out, and sends once per
//! connection and turn. It waits for nothing but its own poll.

pub mod access;
pub mod arrival;
pub mod asks;
pub mod cadence;
pub mod care;
pub mod census;
pub mod connection;
pub mod encoding;
pub mod fanout;
pub mod groups;
pub mod handle;
pub mod inbox;
pub mod intake;
pub mod line;
pub mod outbox;
pub mod places;
pub mod poll;
pub mod portion;
pub mod rate;
pub mod requests;
pub mod rights;
pub mod seats;
pub mod slabs;
pub mod snapshots;
pub mod standing;
pub mod target;
#[cfg(test)]
pub mod tests;
pub mod unasked;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use self::connection::Connection;
use self::encoding::Deflation;
use self::groups::Groups;
pub use self::handle::Handle;
use self::inbox::{Inbound, Inbox};
use self::intake::Intake;
use self::poll::{Backend, FLUSHED_TOGETHER, Ready, Sink, WAKE_TOKEN};
use self::slabs::Slabs;
use self::snapshots::Snapshots;
use crate::hub::Hub;
use crate::hub::settings::Flush;
use crate::hub::targets::Outlet;
use crate::identity::Verifier;
use crate::metrics;
use crate::rate::Rate;

/// One read takes at most this much; the buffer is shared by all connections of the shard.
const READ_BYTES: usize = 64 << 10;
/// How often one client is read from before the others have their turn again: what a publisher has sent at once goes out
/// together.
const MAX_READS_PER_TURN: usize = 8;
/// What is taken from the inbox before the sockets have their turn again.
const MAX_INBOUND_PER_TURN: usize = 4096;
/// How often time-outs are looked at.
const TICK: Duration = Duration::from_millis(250);

/// What a shard grants each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bytes of unsent events before the stream's lag policy applies.
    pub outbox: usize,
    pub max_subscriptions: usize,
    /// How fast commands are carried out.
    pub rate: Rate,
    /// Bytes of one message from a client.
    pub max_message: usize,
    /// How messages are compressed for clients with which that was agreed on.
    pub deflation: Deflation,
    pub ping_every: Duration,
    pub drop_after: Duration,
    /// How long the events of a stream that says nothing about it may be gathered.
    pub flush: Flush,
}

pub struct Shard<B> {
    config: Config,
    hub: Arc<Hub>,
    verifier: Arc<Verifier>,
    inbox: Arc<Inbox>,
    /// The inbox again, as the hub knows it.
    outlet: Arc<dyn Outlet>,
    intake: Intake,
    backend: B,
    connections: Slabs<Connection>,
    /// When connections end for want of a valid identity.
    endings: BTreeSet<(Instant, usize)>,
    groups: Groups,
    snapshots: Snapshots,
    dirty: Dirty,
    /// Memory was short at the last tick already.
    was_short: bool,
    /// Connections with requests to handle.
    talking: Vec<usize>,
    /// Connections of which a whole buffer was read: there may be more.
    brimful: Vec<usize>,
    /// When the oldest event of this turn was published.
    oldest: Option<Instant>,
    buffer: Vec<u8>,
    /// What was received in clear, where it was encrypted.
    clear: Vec<u8>,
    counters: metrics::Shard,
    index: usize,
    adopted: u64,
    /// When this turn began: the one time that everything in it goes by.
    now: Instant,
    ticked_at: Instant,
    drain: Option<Instant>,
}

impl<B: Backend> Shard<B> {
    fn new(
        index: usize,
        config: Config,
        (hub, verifier): (Arc<Hub>, Arc<Verifier>),
        (inbox, receiver): (Arc<Inbox>, Receiver<Inbound>),
    ) -> io::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            config,
            hub,
            verifier,
            outlet: inbox.clone(),
            backend: B::new(inbox.wake_fd())?,
            inbox,
            intake: Intake::new(receiver),
            connections: Slabs::default(),
            endings: BTreeSet::new(),
            groups: Groups::new(config.flush),
            snapshots: Snapshots::default(),
            dirty: Dirty::default(),
            was_short: false,
            talking: Vec::new(),
            brimful: Vec::new(),
            oldest: None,
            buffer: vec![0; READ_BYTES],
            clear: Vec::new(),
            counters: metrics::Shard::new(index),
            index,
            adopted: 0,
            now,
            ticked_at: now,
            drain: None,
        })
    }

    fn run(&mut self) {
        let mut ready = Vec::new();
        while !self.is_drained() {
            let nap = self.nap(Instant::now());
            if let Err(error) = self.backend.wait(nap, &mut ready) {
                tracing::error!(shard = self.index, %error, "waiting for sockets failed");
            }
            self.turn(&mut ready, Instant::now());
        }
    }

    /// Everything that is to do now, once around.
    fn turn(&mut self, ready: &mut Vec<Ready>, now: Instant) {
        self.now = now;
        let drain_before = self.drain;
        self.inbox.wake_up();
        self.end_expired();
        for socket in ready.drain(..) {
            self.look_at(socket);
        }
        self.read_on();
        let left = self.take_all_in(MAX_INBOUND_PER_TURN);
        self.answer_waiting();
        self.take_all_in(left); // what this shard's own clients have published goes with the rest
        self.distribute();
        self.flush();
        self.groups.rest(now);
        self.begin_drain(drain_before);
        self.relieve_memory();
        if now.duration_since(self.ticked_at) >= TICK {
            self.tick();
        }
    }

    /// How long nothing is expected to happen by itself.
    fn nap(&mut self, now: Instant) -> Duration {
        let may_sleep = self.intake.fall_asleep(&self.inbox);
        if may_sleep && self.talking.is_empty() && self.dirty.0.is_empty() {
            let next = self.next_ending().into_iter().chain(self.groups.next_due()).min();
            let next = next.map_or(TICK, |next| next.saturating_duration_since(now));
            TICK.saturating_sub(now.duration_since(self.ticked_at)).min(next)
        } else {
            Duration::ZERO
        }
    }

    fn look_at(&mut self, socket: Ready) {
        if socket.token == WAKE_TOKEN {
            return self.inbox.silence();
        }
        let Some(connection) = self.connections.get_mut(socket.token) else { return };
        self.dirty.mark(connection, socket.token);
        if !socket.readable || !connection.waiting.is_empty() {
            return; // a socket that broke reports itself, although nothing was to be read before that is answered
        }
        match self.backend.receive(connection.fd(), &mut self.buffer) {
            Ok(0) => connection.lose(),
            Ok(count) => {
                connection.receive(&mut self.buffer[..count], &mut self.clear, self.now);
                if count == READ_BYTES {
                    self.brimful.push(socket.token);
                }
                if !connection.waiting.is_empty() {
                    self.talking.push(socket.token);
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => connection.lose(),
        }
    }

    /// Whose last read was full, and has been answered, may have said more.
    fn read_on(&mut self) {
        for _ in 1..MAX_READS_PER_TURN {
            if self.brimful.is_empty() {
                return;
            }
            self.answer_waiting();
            for token in std::mem::take(&mut self.brimful) {
                self.look_at(Ready { token, readable: true, writable: false });
            }
        }
        self.brimful.clear(); // the back end says again that there is something to read
    }

    /// Sends what waits, then looks after everybody who was touched in this turn.
    fn flush(&mut self) {
        let touched = std::mem::take(&mut self.dirty.0);
        for some in touched.chunks(FLUSHED_TOGETHER) {
            let written = self.backend.flush(&mut self.connections, some);
            self.counters.written(written);
            for token in some {
                // Who was given something meanwhile is looked after when it has been offered to its socket.
                let connection = &self.connections[*token];
                if !connection.is_dirty && !connection.is_at_rest(self.now) {
                    self.look_after(*token);
                }
            }
        }
        self.groups.copies_were_offered();
        if let Some(published) = self.oldest.take() {
            self.counters.wrote_after(published.elapsed());
        }
    }

    fn look_after(&mut self, token: usize) {
        let connection = &mut self.connections[token];
        if connection.is_finished(self.now) {
            return self.let_go(token);
        }
        // Only what is left after sending is more than the client can take.
        if let Some(log) = connection.outbox.overflowing(self.config.outbox) {
            self.lag(token, log, None);
        }
        let connection = &mut self.connections[token];
        let owes_snapshot = connection.has_sent_all() && !connection.lost.is_empty() && connection.is_open();
        if owes_snapshot && connection.may_be_told(self.now) {
            self.resync(token);
        }
        self.tell_replaced(token);
        let connection = &mut self.connections[token];
        if !connection.waiting.is_empty() && connection.outbox.asked_bytes() <= self.config.outbox {
            self.talking.push(token);
        }
        let wanted = connection.wanted_interest(self.config.outbox);
        if wanted != connection.interest {
            connection.interest = wanted;
            if self.backend.change(connection.fd(), token, wanted).is_err() {
                connection.lose();
                self.dirty.mark(connection, token); // the next turn lets it go, when nobody has it on a list any more
            }
        }
    }

    fn is_drained(&self) -> bool {
        self.drain.is_some_and(|deadline| self.connections.is_empty() || self.now >= deadline)
    }
}

/// The connections that something happened to in this turn, each once.
#[derive(Default)]
struct Dirty(Vec<usize>);

impl Dirty {
    fn mark(&mut self, connection: &mut Connection, token: usize) {
        if !connection.is_dirty {
            connection.is_dirty = true;
            self.0.push(token);
        }
    }
}
