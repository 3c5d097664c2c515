//! What all threads of a run have in common: where the daemon is, how far the run has come, and what was found.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::{CROWD, FED, GUEST, RELAYS};
use crate::tally::Tally;
use crate::truth;

/// Findings that are written out: the first ones say most.
const MAX_TOLD: u64 = 50;

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Everything at once.
    Running = 0,
    /// Nothing more is published: whoever reads accounts for everything, and leaves.
    Settling = 1,
}

pub struct Shared {
    pub clients: SocketAddr,
    pub admin: SocketAddr,
    pub seed: u64,
    pub tally: Arc<Tally>,
    pub relays: [Relay; 4],
    pub crowd: Relay,
    stage: AtomicU8,
    found: AtomicU64,
}

/// A relay, and the number that its next event will have. Whoever publishes to it, or takes it away, holds it.
pub struct Relay {
    pub name: &'static str,
    /// Milliseconds between two requests, and events of one request at most.
    pub pace: (u64, u64),
    /// The event with a number, as it is published to the stream of this name.
    pub event: fn(&str, u64) -> String,
    next: Mutex<u64>,
}

impl Shared {
    pub fn new(clients: SocketAddr, admin: SocketAddr, seed: u64) -> Self {
        let relay = |name, pace| Relay { name, pace, event: truth::relayed, next: Mutex::new(1) };
        let [ticks, quotes] = RELAYS;
        Self {
            clients,
            admin,
            seed,
            tally: Arc::default(),
            relays: [relay(ticks, (60, 10)), relay(quotes, (80, 8)), relay(GUEST, (100, 4)), relay(FED, (400, 1))],
            crowd: Relay { event: truth::told_to_crowd, ..relay(CROWD, (100, 200)) },
            stage: AtomicU8::new(Stage::Running as u8),
            found: AtomicU64::new(0),
        }
    }

    pub fn is_running(&self) -> bool {
        self.stage.load(Ordering::Relaxed) == Stage::Running as u8
    }

    pub fn settle(&self) {
        self.stage.store(Stage::Settling as u8, Ordering::Relaxed);
    }

    /// The randomness of one thread, the same in every run of the seed.
    pub fn random(&self, thread: u64) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed ^ (thread + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Notes that a promise was broken.
    pub fn report(&self, finding: &str) {
        if self.found.fetch_add(1, Ordering::Relaxed) < MAX_TOLD {
            println!("FOUND (seed {}): {finding}", self.seed);
        }
    }

    pub fn found(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }
}

impl Relay {
    pub fn hold(&self) -> MutexGuard<'_, u64> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the newest event.
    pub fn last(&self) -> u64 {
        *self.hold() - 1
    }
}
