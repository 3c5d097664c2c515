//! How much clients may write into the log: so many lines a minute from one address, and so many from all together.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Lines of one address: a page in trouble says what it has to say, and a page in a loop does not fill a disk.
pub const PER_MINUTE: usize = 120;
/// Lines of all addresses, whoever sends them and from however many places.
pub const ALL_PER_MINUTE: usize = 6000;
/// Addresses that are remembered within a minute; newer ones share what is left of everybody's lines.
pub const MAX_ADDRESSES: usize = 10_000;
const MINUTE: Duration = Duration::from_secs(60);

/// What was written in the present minute.
pub struct Quota {
    began: Instant,
    all: usize,
    by_address: HashMap<Option<IpAddr>, usize>,
}

impl Quota {
    pub fn new(now: Instant) -> Self {
        Self { began: now, all: 0, by_address: HashMap::new() }
    }

    /// Counts so many lines, if there is room for all of them. Who writes through a socket of this machine is one address.
    pub fn admit(&mut self, peer: Option<IpAddr>, lines: usize, now: Instant) -> bool {
        if now.duration_since(self.began) >= MINUTE {
            *self = Self::new(now);
        }
        let is_known = self.by_address.contains_key(&peer) || self.by_address.len() < MAX_ADDRESSES;
        let written = self.by_address.get(&peer).copied().unwrap_or(0);
        if written + lines > PER_MINUTE || self.all + lines > ALL_PER_MINUTE {
            return false;
        }
        self.all += lines;
        if is_known && lines > 0 {
            self.by_address.insert(peer, written + lines);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> Option<IpAddr> {
        Some(IpAddr::V4(number.into()))
    }

    #[test]
    fn an_address_writes_so_many_lines_a_minute() {
        let start = Instant::now();
        let mut quota = Quota::new(start);
        assert!(quota.admit(address(1), PER_MINUTE - 1, start) && !quota.admit(address(1), 2, start));
        assert!(quota.admit(address(1), 1, start) && !quota.admit(address(1), 1, start));
        assert!(quota.admit(address(2), 1, start) && quota.admit(None, 1, start));
        assert!(!quota.admit(address(1), 1, start + MINUTE - Duration::from_nanos(1)));
        assert!(quota.admit(address(1), PER_MINUTE, start + MINUTE));
    }

    #[test]
    fn all_together_write_so_many() {
        let start = Instant::now();
        let mut quota = Quota::new(start);
        let crowd = (ALL_PER_MINUTE / PER_MINUTE) as u32;
        assert!((0..crowd).all(|number| quota.admit(address(number), PER_MINUTE, start)));
        assert!(!quota.admit(address(crowd), 1, start));
    }

    #[test]
    fn no_more_addresses_are_remembered_than_so_many() {
        let start = Instant::now();
        let mut quota = Quota::new(start);
        (0..MAX_ADDRESSES as u32 + 10).for_each(|number| _ = quota.admit(address(number), 0, start));
        assert!(quota.by_address.is_empty(), "who writes nothing is not remembered");
        (0..ALL_PER_MINUTE as u32).for_each(|number| assert!(quota.admit(address(number), 1, start)));
        assert!(quota.by_address.len() <= MAX_ADDRESSES);
    }
}
