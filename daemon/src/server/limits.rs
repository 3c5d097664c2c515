//! Who becomes a WebSocket connection: how many there may be, from one address and in all, and which shard takes the
//! next one.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::Gauge;

use super::shares::{Exhausted, Share, Shares};

/// Counts connections and lets in no more than config allows.
pub struct Limits {
    shares: Arc<Shares>,
    counts: Mutex<Counts>,
}

struct Counts {
    max_connections: usize,
    all: usize,
    by_shard: Vec<usize>,
}

/// A connection's place. It is given back when the connection lets go of it.
pub struct Permit {
    limits: Arc<Limits>,
    _share: Share,
    shard: usize,
    connections: Gauge,
}

/// Why there is no place, with the bound that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowded {
    All(usize),
    Address(usize),
}

impl Limits {
    pub fn new(shards: usize) -> Arc<Self> {
        let counts = Counts { max_connections: 0, all: 0, by_shard: vec![0; shards] };
        Arc::new(Self { shares: Shares::new(0), counts: Mutex::new(counts) })
    }

    /// Whoever is in stays in, also beyond a smaller bound.
    pub fn set(&self, max_connections: usize, max_per_ip: usize) {
        self.lock().max_connections = max_connections;
        self.shares.set(max_per_ip);
    }

    /// A place for a connection from `peer` (`None` is a socket of this machine), counted in `connections`.
    pub fn admit(self: &Arc<Self>, peer: Option<IpAddr>, connections: Gauge) -> Result<Permit, Crowded> {
        let share = self.shares.take(peer).map_err(|Exhausted(max)| Crowded::Address(max))?;
        let mut counts = self.lock();
        if counts.all >= counts.max_connections {
            return Err(Crowded::All(counts.max_connections));
        }
        counts.all += 1;
        let emptiest = counts.by_shard.iter().enumerate().min_by_key(|(_, connections)| **connections);
        let shard = emptiest.map_or(0, |(shard, _)| shard);
        counts.by_shard[shard] += 1;
        drop(counts);
        connections.increment(1.0);
        Ok(Permit { limits: self.clone(), _share: share, shard, connections })
    }

    /// A panic while the lock was held leaves counts that are still sound: go on with them.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// The shard with the fewest connections when the place was given.
    pub fn shard(&self) -> usize {
        self.shard
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.connections.decrement(1.0);
        let mut counts = self.limits.lock();
        counts.all -= 1;
        counts.by_shard[self.shard] -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(max_connections: usize, max_per_ip: usize) -> Arc<Limits> {
        let limits = Limits::new(2);
        limits.set(max_connections, max_per_ip);
        limits
    }

    fn admit(limits: &Arc<Limits>, peer: &str) -> Result<Permit, Crowded> {
        limits.admit(Some(peer.parse().unwrap()), Gauge::noop())
    }

    #[test]
    fn an_address_has_its_share_of_all_places() {
        let limits = limits(3, 2);
        let first = admit(&limits, "192.0.2.1").unwrap();
        let _second = admit(&limits, "192.0.2.1").unwrap();
        assert_eq!(admit(&limits, "192.0.2.1").err(), Some(Crowded::Address(2)));
        let _third = admit(&limits, "192.0.2.2").unwrap();
        assert_eq!(admit(&limits, "192.0.2.2").err(), Some(Crowded::All(3)));
        drop(first);
        assert!(admit(&limits, "192.0.2.2").is_ok(), "who was refused for want of room has not used up its share");
    }

    #[test]
    fn this_machine_counts_among_all_only() {
        let limits = limits(5, 1);
        let peers = ["127.0.0.1", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"];
        let permits: Vec<_> = peers.iter().map(|peer| admit(&limits, peer).unwrap()).collect();
        assert_eq!(admit(&limits, "127.0.0.1").err(), Some(Crowded::All(5)), "all count together");
        drop(permits);
        assert_eq!(limits.lock().all, 0);
    }

    #[test]
    fn the_emptiest_shard_comes_next() {
        let limits = limits(100, 100);
        let mut permits: Vec<_> = (0..4).map(|_| admit(&limits, "127.0.0.1").unwrap()).collect();
        assert_eq!(permits.iter().map(Permit::shard).collect::<Vec<_>>(), [0, 1, 0, 1]);
        permits.retain(|permit| permit.shard() == 0);
        assert_eq!(admit(&limits, "127.0.0.1").unwrap().shard(), 1);
    }

    #[test]
    fn a_smaller_bound_lets_nobody_new_in_and_nobody_out() {
        let limits = limits(2, 2);
        let permits = [admit(&limits, "192.0.2.1").unwrap(), admit(&limits, "192.0.2.1").unwrap()];
        limits.set(1, 1);
        assert_eq!(admit(&limits, "192.0.2.9").err(), Some(Crowded::All(1)));
        drop(permits);
        assert!(admit(&limits, "192.0.2.1").is_ok());
    }
}
