//! What other threads hand to a shard: a queue without a lock, bounded in bytes, and a bell that rings only for a sleeper.

use std::any::Any;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use super::Config;
use super::poll::{ring, silence, wake_fd};
use crate::dialect::Dialect;
use crate::event::{Event, LogId};
use crate::hub::records::Snapshot;
use crate::hub::settings::Source;
use crate::hub::targets::{Full, Outlet};

/// The bytes of events that may wait for a shard. Beyond it the shard re-reads the streams' histories.
pub const MAX_QUEUED_BYTES: usize = 64 << 20;

/// Which streams a path serves, and how.
#[derive(Debug)]
pub struct Endpoint {
    pub path: String,
    pub dialect: Dialect,
    /// Names of streams; `*` is every visible one.
    pub streams: Vec<String>,
}

impl Endpoint {
    pub fn serves(&self, stream: &str) -> bool {
        self.streams.iter().any(|name| name == "*" || name == stream)
    }
}

/// A socket that has been upgraded and now belongs to a shard.
pub struct Newcomer {
    pub socket: OwnedFd,
    /// Bytes of the client that came together with its request.
    pub read_ahead: Vec<u8>,
    pub endpoint: Arc<Endpoint>,
    /// Kept for as long as the connection lives, then dropped: counts and limits hang on it.
    pub permit: Box<dyn Any + Send>,
}

pub enum Inbound {
    Event(Arc<Event>),
    /// The log's source changed behind this number.
    Source(LogId, u64, Source),
    /// The log shows these records since the change of this number.
    Records(LogId, u64, Snapshot),
    Adopt(Box<Newcomer>),
    /// From here on each connection is granted this.
    Configure(Config),
    /// End all connections, spread until the deadline, then the thread.
    Drain {
        deadline: Instant,
    },
}

/// The side of the queue that everybody has.
pub struct Inbox {
    id: u64,
    sender: Sender<Inbound>,
    queued_bytes: AtomicUsize,
    max_queued_bytes: usize,
    asleep: AtomicBool,
    overflowed: AtomicBool,
    wake: OwnedFd,
    /// When the shard last finished a turn, in milliseconds of its own count: a watchdog compares two looks.
    turns: AtomicU64,
}

impl Inbox {
    /// An inbox in which at most this many bytes of events may wait.
    pub fn new(id: u64, max_queued_bytes: usize) -> io::Result<(Arc<Self>, Receiver<Inbound>)> {
        let (sender, receiver) = channel();
        let inbox = Self {
            id,
            sender,
            queued_bytes: AtomicUsize::new(0),
            max_queued_bytes,
            asleep: AtomicBool::new(false),
            overflowed: AtomicBool::new(false),
            wake: wake_fd()?,
            turns: AtomicU64::new(0),
        };
        Ok((Arc::new(inbox), receiver))
    }

    pub fn wake_fd(&self) -> &OwnedFd {
        &self.wake
    }

    /// Hands something over that is not counted in bytes.
    pub fn hand(&self, inbound: Inbound) {
        // The receiver lives as long as its shard; a shard that has ended needs nothing more.
        _ = self.sender.send(inbound);
        self.ring();
    }

    /// How many turns the shard has made.
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    pub fn ring(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            ring(&self.wake);
        }
    }

    /// The shard is about to wait; whoever hands something over from now on rings.
    pub(super) fn fall_asleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
    }

    pub(super) fn wake_up(&self) {
        self.asleep.store(false, Ordering::SeqCst);
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn silence(&self) {
        silence(&self.wake);
    }

    pub(super) fn taken(&self, event: &Event) {
        self.queued_bytes.fetch_sub(event.weight(), Ordering::Relaxed);
    }

    /// Whether an event was refused and nobody has looked since.
    pub(super) fn has_overflowed(&self) -> bool {
        self.overflowed.load(Ordering::Acquire)
    }

    /// Whether an event was refused since the last call.
    pub(super) fn take_overflow(&self) -> bool {
        self.overflowed.swap(false, Ordering::AcqRel)
    }
}

impl Outlet for Inbox {
    fn id(&self) -> u64 {
        self.id
    }

    fn offer(&self, event: &Arc<Event>) -> Result<(), Full> {
        let weight = event.weight();
        if self.queued_bytes.fetch_add(weight, Ordering::Relaxed) + weight > self.max_queued_bytes {
            self.queued_bytes.fetch_sub(weight, Ordering::Relaxed);
            self.overflowed.store(true, Ordering::Release);
            self.ring();
            return Err(Full);
        }
        self.hand(Inbound::Event(event.clone()));
        Ok(())
    }

    fn records_replaced(&self, log: LogId, seq: u64, records: &Snapshot) {
        self.hand(Inbound::Records(log, seq, records.clone()));
    }

    fn source_changed(&self, log: LogId, seq: u64, source: &Source) {
        self.hand(Inbound::Source(log, seq, source.clone()));
    }
}
