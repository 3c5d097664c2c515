//! A shard that turns when a test says so, on a kernel of the test's own.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use super::model::kernel::{Kernel, Socket};
use crate::hub::Hub;
use crate::identity::Verifier;
use crate::shard::inbox::Inbox;
use crate::shard::poll::Backend;
use crate::shard::{Config, Shard};

pub struct Driven {
    pub inbox: Arc<Inbox>,
    shard: Shard<Kernel>,
}

impl Driven {
    /// Of the events that it has not taken in, as many bytes wait as `max_queued` says.
    pub fn new(index: usize, config: Config, knows: (Arc<Hub>, Arc<Verifier>), max_queued: usize) -> Self {
        let queue = Inbox::new(index as u64, max_queued).unwrap();
        Self { inbox: queue.0.clone(), shard: Shard::new(index, config, knows, queue).unwrap() }
    }

    /// The daemon's end of a socket.
    pub fn open(&mut self, socket: &Rc<RefCell<Socket>>) -> OwnedFd {
        self.shard.backend.open(socket)
    }

    pub fn turn(&mut self, now: Instant) {
        let mut ready = Vec::new();
        _ = self.shard.nap(now);
        self.shard.backend.wait(Duration::ZERO, &mut ready).unwrap();
        self.shard.turn(&mut ready, now);
    }
}
