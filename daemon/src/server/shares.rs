//! How many places each address has: one client cannot take them all. Programs on this machine are not limited.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::network;

/// Counts places by address and gives no address more than its share.
pub struct Shares {
    counts: Mutex<Counts>,
}

struct Counts {
    max: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One place of an address. It is given back when this is dropped.
pub struct Share {
    shares: Arc<Shares>,
    address: Option<IpAddr>,
}

/// The address has this many places, all that it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted(pub usize);

impl Shares {
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { counts: Mutex::new(Counts { max, by_address: HashMap::new() }) })
    }

    /// Whoever has a place keeps it, also beyond a smaller bound.
    pub fn set(&self, max: usize) {
        self.lock().max = max;
    }

    /// A place for `peer`; `None` is a program that came through a socket of this machine.
    pub fn take(self: &Arc<Self>, peer: Option<IpAddr>) -> Result<Share, Exhausted> {
        let address = peer.and_then(network::limited);
        if let Some(address) = address {
            let mut counts = self.lock();
            let here = counts.by_address.get(&address).copied().unwrap_or(0);
            if here >= counts.max {
                return Err(Exhausted(counts.max));
            }
            counts.by_address.insert(address, here + 1);
        }
        Ok(Share { shares: self.clone(), address })
    }

    /// A panic while the lock was held leaves counts that are still sound: go on with them.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut counts = self.shares.lock();
        if let Some(here) = counts.by_address.get_mut(&address) {
            *here -= 1;
            if *here == 0 {
                counts.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(shares: &Arc<Shares>, peer: &str) -> Result<Share, Exhausted> {
        shares.take(Some(peer.parse().unwrap()))
    }

    #[test]
    fn one_address_has_so_many_places_and_gets_them_back() {
        let shares = Shares::new(2);
        let first = take(&shares, "192.0.2.1").unwrap();
        let _second = take(&shares, "::ffff:192.0.2.1").unwrap();
        assert_eq!(take(&shares, "192.0.2.1").err(), Some(Exhausted(2)));
        let _other = take(&shares, "192.0.2.2").unwrap();
        drop(first);
        let _again = take(&shares, "192.0.2.1").unwrap();
        assert_eq!(take(&shares, "192.0.2.1").err(), Some(Exhausted(2)));
    }

    #[test]
    fn the_network_of_one_ipv6_client_counts_as_one_address() {
        let shares = Shares::new(1);
        let _first = take(&shares, "2001:db8:0:1::1").unwrap();
        assert_eq!(take(&shares, "2001:db8:0:1:ffff::2").err(), Some(Exhausted(1)));
        assert!(take(&shares, "2001:db8:0:2::1").is_ok());
    }

    #[test]
    fn this_machine_is_not_limited() {
        let shares = Shares::new(0);
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(take(&shares, peer).is_ok(), "{peer}");
        }
        assert!(shares.take(None).is_ok());
    }

    #[test]
    fn a_smaller_bound_takes_no_place_away_and_nothing_is_remembered() {
        let shares = Shares::new(2);
        let both = [take(&shares, "192.0.2.1").unwrap(), take(&shares, "192.0.2.1").unwrap()];
        shares.set(1);
        assert_eq!(take(&shares, "192.0.2.1").err(), Some(Exhausted(1)));
        drop(both);
        drop(take(&shares, "192.0.2.1").unwrap());
        assert!(shares.lock().by_address.is_empty());
    }
}
