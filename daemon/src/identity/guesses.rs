//! How often an address may show a token that proves nothing: a flood of them costs that address its turn, and nobody else
//! the time that signatures take to check.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::network;
use crate::rate::{Bucket, Rate};

/// Tokens of one address that prove nothing: at once, as many pages as an office has when their tokens have ended, and a
/// second no more than cost a hundredth of a processor where all keys are tried.
pub const RATE: Rate = Rate { per_second: NonZeroU32::new(10).unwrap(), burst: 100 };
/// Addresses that are remembered, each until it has its full turn again; all beyond have one turn together.
pub const MAX_ADDRESSES: usize = 10_000;
/// How often a table that is full is looked through for addresses to forget, so that looking costs less than checking.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What addresses have used up of their turns.
#[derive(Debug, Default)]
pub struct Guesses {
    by_address: HashMap<IpAddr, Bucket>,
    others: Option<Bucket>,
    swept_at: Option<Instant>,
}

impl Guesses {
    /// Whether a token from there is looked at now. Programs on this machine are not limited.
    pub fn are_heard(&self, peer: Option<IpAddr>, now: Instant) -> bool {
        let Some(address) = peer.and_then(network::limited) else { return true };
        let is_full = self.by_address.len() >= MAX_ADDRESSES;
        let used = self.by_address.get(&address).or(self.others.as_ref().filter(|_| is_full));
        used.is_none_or(|used| used.clone().take(RATE, 1, now).is_ok())
    }

    /// A token from there has proved nothing.
    pub fn failed(&mut self, peer: Option<IpAddr>, now: Instant) {
        let Some(address) = peer.and_then(network::limited) else { return };
        self.sweep(now);
        let is_full = self.by_address.len() >= MAX_ADDRESSES && !self.by_address.contains_key(&address);
        let used = match is_full {
            true => self.others.get_or_insert_with(|| Bucket::full(now)),
            false => self.by_address.entry(address).or_insert_with(|| Bucket::full(now)),
        };
        // Of tokens that were looked at side by side a few may be too many; those are owed.
        if used.take(RATE, 1, now).is_err() {
            used.owe(RATE, 1);
        }
    }

    /// Forgets whoever has its full turn again, when there is no room for others.
    fn sweep(&mut self, now: Instant) {
        let was_just_swept = self.swept_at.is_some_and(|swept| now.saturating_duration_since(swept) < SWEEP_EVERY);
        if self.by_address.len() >= MAX_ADDRESSES && !was_just_swept {
            self.swept_at = Some(now);
            self.by_address.retain(|_, used| !used.is_full(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn address(number: u32) -> Option<IpAddr> {
        Some(IpAddr::V4((0x0A00_0000 + number).into()))
    }

    /// The tokens that are looked at of a thousand that come now and prove nothing.
    fn heard(guesses: &mut Guesses, peer: Option<IpAddr>, now: Instant) -> u32 {
        let guess = |_: &u32| {
            let is_heard = guesses.are_heard(peer, now);
            if is_heard {
                guesses.failed(peer, now);
            }
            is_heard
        };
        (0..1000).filter(guess).count() as u32
    }

    #[test]
    fn an_address_has_its_turn_and_no_more_and_others_have_theirs() {
        let (mut guesses, start) = (Guesses::default(), Instant::now());
        assert_eq!(heard(&mut guesses, address(1), start), RATE.burst);
        assert_eq!(heard(&mut guesses, address(2), start), RATE.burst);
        assert_eq!(heard(&mut guesses, address(1), start + SECOND / 10 - Duration::from_nanos(1)), 0);
        assert_eq!(heard(&mut guesses, address(1), start + SECOND / 10), 1);
        assert_eq!(heard(&mut guesses, address(1), start + 2 * SECOND), RATE.per_second.get() * 19 / 10);
        assert_eq!(heard(&mut guesses, address(1), start + 100 * SECOND), RATE.burst);
    }

    #[test]
    fn the_network_of_one_ipv6_client_has_one_turn_and_this_machine_has_every() {
        let (mut guesses, start) = (Guesses::default(), Instant::now());
        let peer = |text: &str| Some(text.parse().unwrap());
        assert_eq!(heard(&mut guesses, peer("2001:db8::1"), start), RATE.burst);
        assert_eq!(heard(&mut guesses, peer("2001:db8::ffff:2"), start), 0);
        assert_eq!(heard(&mut guesses, peer("2001:db8:0:1::1"), start), RATE.burst);
        for local in [None, peer("127.0.0.1"), peer("::1")] {
            assert_eq!(heard(&mut guesses, local, start), 1000, "{local:?}");
        }
    }

    #[test]
    fn so_many_addresses_are_remembered_and_all_beyond_share_one_turn() {
        let (mut guesses, start) = (Guesses::default(), Instant::now());
        (0..MAX_ADDRESSES as u32).for_each(|number| guesses.failed(address(number), start));
        let [beyond, another] = [1, 2].map(|more| address(MAX_ADDRESSES as u32 + more));
        assert_eq!(heard(&mut guesses, beyond, start), RATE.burst);
        assert_eq!(heard(&mut guesses, another, start), 0, "they share it");
        assert_eq!(heard(&mut guesses, address(7), start), RATE.burst - 1, "who is remembered has its own");
        assert_eq!(guesses.by_address.len(), MAX_ADDRESSES);
        assert_eq!(heard(&mut guesses, another, start + 20 * SECOND), RATE.burst);
        guesses.failed(another, start + 20 * SECOND);
        assert!(guesses.by_address.len() <= 2, "who has its full turn again is forgotten");
    }
}
