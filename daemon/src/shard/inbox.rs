//! What other threads hand to a shard, and how it is woken for it.

mod handover;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Instant;

use self::handover::{Bell, Handover};
use super::Config;
use super::census::Ask;
use super::line::Socket;
use super::poll::{ring, silence, wake_fd};
use crate::dialect::{Command, Dialect, RequestId};
use crate::event::{Event, LogId};
use crate::hub::commands::Outcome;
use crate::hub::names::Names;
use crate::hub::records::Snapshot;
use crate::hub::settings::Source;
use crate::hub::targets::{Full, Outlet};
use crate::identity::{Auth, Identity, Verify};
use crate::websocket::deflate::Compression;

/// The bytes of events that may wait for a shard. Beyond it the shard re-reads the streams' histories.
pub const MAX_QUEUED_BYTES: usize = 64 << 20;

/// Which streams a path serves, how and whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub path: String,
    pub dialect: Dialect,
    /// Names of streams; `*` is every visible one.
    pub streams: Vec<String>,
    /// Other names that clients use for streams.
    pub aliases: Names,
    /// Whether a subscription begins with what there is.
    pub snapshot: bool,
    pub auth: Auth,
}

impl Endpoint {
    /// Every visible stream in a dialect, for whoever comes.
    pub fn open(path: &str, dialect: Dialect) -> Self {
        let streams = vec!["*".to_owned()];
        Self {
            path: path.to_owned(),
            dialect,
            streams,
            aliases: Names::default(),
            snapshot: true,
            auth: Auth::Optional,
        }
    }

    pub fn serves(&self, stream: &str) -> bool {
        self.streams.iter().any(|name| name == "*" || name == stream)
    }
}

/// A socket that has been upgraded and now belongs to a shard.
pub struct Newcomer {
    pub socket: Socket,
    /// The answer to its request, which is the first thing that it is sent.
    pub head: Vec<u8>,
    /// Bytes of the client that came together with its request.
    pub read_ahead: Vec<u8>,
    /// Where it comes from; `None` is a program on this machine, through a unix socket.
    pub peer: Option<IpAddr>,
    pub endpoint: Arc<Endpoint>,
    pub identity: Option<Arc<Identity>>,
    /// Whose tokens are trusted in messages, where it is not those of clients.
    pub trust: Option<Arc<dyn Verify>>,
    /// What it asked for with its request.
    pub wishes: Vec<Command>,
    pub compression: Compression,
    /// Kept for as long as the connection lives, then dropped: counts and limits hang on it.
    pub permit: Box<dyn Any + Send>,
}

impl Newcomer {
    /// Somebody unknown who has asked for nothing yet.
    pub fn over(socket: impl Into<OwnedFd>, endpoint: Arc<Endpoint>) -> Self {
        let (socket, permit) = (Socket::from(socket.into()), Box::new(()));
        let (head, read_ahead, wishes) = (Vec::new(), Vec::new(), Vec::new());
        let compression = Compression::Off;
        Self {
            socket,
            head,
            read_ahead,
            peer: None,
            endpoint,
            identity: None,
            trust: None,
            wishes,
            compression,
            permit,
        }
    }
}

/// The answer to a command, and whose it is.
pub struct Answered {
    pub token: usize,
    /// The connection's: another may have taken the place.
    pub number: u64,
    pub stream: String,
    pub id: RequestId,
    pub outcome: Outcome,
}

pub enum Inbound {
    Event(Arc<Event>),
    /// The shard's own, by which it knows that it has taken in all that was handed over before.
    Mark(u64),
    /// The log's source changed behind this number.
    Source(LogId, u64, Source),
    /// The log shows these records since the change of this number.
    Records(LogId, u64, Snapshot),
    Adopt(Box<Newcomer>),
    /// What became of a command of one of the shard's clients.
    Answered(Box<Answered>),
    /// The user's connections end.
    LogOut(Arc<str>),
    /// An operator wants to know, or to end, something.
    Ask(Ask),
    /// From here on each connection is granted this.
    Configure(Config),
    /// End all connections, spread until the deadline, then the thread.
    Drain {
        deadline: Instant,
    },
}

/// What the hand-over is made of in the daemon.
mod sync {
    pub use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    pub use std::sync::mpsc::{Receiver, Sender, channel};
}

/// The side of the queue that everybody has.
pub struct Inbox {
    id: u64,
    queue: Handover<Inbound, OwnedFd>,
    /// How many turns the shard has made: a watchdog compares two looks.
    turns: AtomicU64,
}

impl Inbox {
    /// An inbox in which at most this many bytes of events may wait.
    pub fn new(id: u64, max_queued_bytes: usize) -> io::Result<(Arc<Self>, Receiver<Inbound>)> {
        let (queue, receiver) = Handover::new(max_queued_bytes, wake_fd()?);
        Ok((Arc::new(Self { id, queue, turns: AtomicU64::new(0) }), receiver))
    }

    pub fn wake_fd(&self) -> &OwnedFd {
        self.queue.bell()
    }

    /// Hands something over that is not counted in bytes.
    pub fn hand(&self, inbound: Inbound) {
        self.queue.hand(inbound);
    }

    /// How many turns the shard has made.
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    pub fn ring(&self) {
        self.queue.ring();
    }

    /// The bytes of events that wait for the shard.
    pub fn queued_bytes(&self) -> usize {
        self.queue.queued_bytes()
    }

    /// The shard is about to wait; whoever hands something over from now on rings. Whether it may really wait.
    pub(super) fn fall_asleep(&self, receiver: &Receiver<Inbound>, stash: &mut VecDeque<Inbound>) -> bool {
        self.queue.fall_asleep(receiver, stash)
    }

    pub(super) fn wake_up(&self) {
        self.queue.wake_up();
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn silence(&self) {
        silence(self.queue.bell());
    }

    pub(super) fn taken(&self, event: &Event) {
        self.queue.taken(event.weight());
    }

    /// Whether an event was refused that nobody has looked for since, or is to be looked for again.
    pub(super) fn has_overflowed(&self) -> bool {
        self.queue.has_overflowed()
    }

    /// The same, until the next refusal.
    pub(super) fn take_overflow(&self) -> bool {
        self.queue.take_overflow()
    }

    pub(super) fn look_again(&self) {
        self.queue.look_again();
    }
}

impl Bell for OwnedFd {
    fn ring(&self) {
        ring(self);
    }
}

impl Outlet for Inbox {
    fn id(&self) -> u64 {
        self.id
    }

    fn offer(&self, event: &Arc<Event>) -> Result<(), Full> {
        self.queue.offer(event.weight(), Inbound::Event(event.clone()))
    }

    fn records_replaced(&self, log: LogId, seq: u64, records: &Snapshot) {
        self.hand(Inbound::Records(log, seq, records.clone()));
    }

    fn source_changed(&self, log: LogId, seq: u64, source: &Source) {
        self.hand(Inbound::Source(log, seq, source.clone()));
    }
}
