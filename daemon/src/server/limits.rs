//! Who gets in: how many connections there may be, from one address and in all, and which shard takes the next one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::Gauge;

/// Counts connections and lets in no more than config allows.
pub struct Limits {
    counts: Mutex<Counts>,
}

struct Counts {
    max_connections: usize,
    max_per_ip: usize,
    all: usize,
    by_address: HashMap<IpAddr, usize>,
    by_shard: Vec<usize>,
}

/// A connection's place. It is given back when the connection lets go of it.
pub struct Permit {
    limits: Arc<Limits>,
    address: Option<IpAddr>,
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
        let counts =
            Counts { max_connections: 0, max_per_ip: 0, all: 0, by_address: HashMap::new(), by_shard: vec![0; shards] };
        Arc::new(Self { counts: Mutex::new(counts) })
    }

    /// Whoever is in stays in, also beyond a smaller bound.
    pub fn set(&self, max_connections: usize, max_per_ip: usize) {
        let mut counts = self.lock();
        counts.max_connections = max_connections;
        counts.max_per_ip = max_per_ip;
    }

    /// A place for a connection from `peer` (`None` is a socket of this machine), counted in `connections`.
    pub fn admit(self: &Arc<Self>, peer: Option<IpAddr>, connections: Gauge) -> Result<Permit, Crowded> {
        let address = peer.and_then(limited_address);
        let mut counts = self.lock();
        if counts.all >= counts.max_connections {
            return Err(Crowded::All(counts.max_connections));
        }
        if let Some(address) = address {
            let here = counts.by_address.get(&address).copied().unwrap_or(0);
            if here >= counts.max_per_ip {
                return Err(Crowded::Address(counts.max_per_ip));
            }
            counts.by_address.insert(address, here + 1);
        }
        counts.all += 1;
        let emptiest = counts.by_shard.iter().enumerate().min_by_key(|(_, connections)| **connections);
        let shard = emptiest.map_or(0, |(shard, _)| shard);
        counts.by_shard[shard] += 1;
        drop(counts);
        connections.increment(1.0);
        Ok(Permit { limits: self.clone(), address, shard, connections })
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
        let Some(address) = self.address else { return };
        if let Some(here) = counts.by_address.get_mut(&address) {
            *here -= 1;
            if *here == 0 {
                counts.by_address.remove(&address);
            }
        }
    }
}

/// What one client is counted by: its address, or the /64 that one IPv6 client has for itself; nothing on this machine.
fn limited_address(peer: IpAddr) -> Option<IpAddr> {
    match peer.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V4(address) => Some(address.into()),
        IpAddr::V6(address) => Some(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into()),
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
    fn one_address_has_so_many_places_and_gets_them_back() {
        let limits = limits(100, 2);
        let first = admit(&limits, "192.0.2.1").unwrap();
        let _second = admit(&limits, "::ffff:192.0.2.1").unwrap();
        assert_eq!(admit(&limits, "192.0.2.1").err(), Some(Crowded::Address(2)));
        let _other = admit(&limits, "192.0.2.2").unwrap();
        drop(first);
        let _again = admit(&limits, "192.0.2.1").unwrap();
        assert_eq!(admit(&limits, "192.0.2.1").err(), Some(Crowded::Address(2)));
    }

    #[test]
    fn the_network_of_one_ipv6_client_counts_as_one_address() {
        let limits = limits(100, 1);
        let _first = admit(&limits, "2001:db8:0:1::1").unwrap();
        assert_eq!(admit(&limits, "2001:db8:0:1:ffff::2").err(), Some(Crowded::Address(1)));
        assert!(admit(&limits, "2001:db8:0:2::1").is_ok());
    }

    #[test]
    fn this_machine_is_not_limited_by_address() {
        let limits = limits(5, 1);
        let peers = ["127.0.0.1", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"];
        let permits: Vec<_> = peers.iter().map(|peer| admit(&limits, peer).unwrap()).collect();
        assert_eq!(admit(&limits, "127.0.0.1").err(), Some(Crowded::All(5)), "all count together");
        drop(permits);
        assert!(limits.lock().by_address.is_empty() && limits.lock().all == 0);
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
