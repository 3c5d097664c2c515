//! A network of IP addresses, as an operator writes it: `10.0.0.0/8`, or a single address.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// What a network looks like, for the text of an error.
pub const RULE: &str = "a network is an address like \"192.0.2.7\" or \"::1\", or its first address and the bits that all \
                        of its addresses share, like \"10.0.0.0/8\"";
const NOT_FIRST: &str =
    "before the / stands the network's first address, like \"10.0.0.0/8\"; for one address leave / out";
const MAPPED: &str = "an IPv4 network is written as such, like \"10.0.0.0/8\", not as a part of IPv6";
const EVERYBODY: &str = "a network of length 0 is everybody; name the networks that are meant";

/// The addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    bits: u32,
}

impl Network {
    /// An IPv4 address written as IPv6 is in the networks that it is in by itself.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                first.to_bits() == address.to_bits() & u32::MAX << (32 - self.bits)
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                first.to_bits() == address.to_bits() & u128::MAX << (128 - self.bits)
            }
            _ => false,
        }
    }

    fn widest(address: IpAddr) -> u32 {
        if address.is_ipv4() { 32 } else { 128 }
    }
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().map_err(|_| RULE)?;
        let widest = Self::widest(first);
        let bits = match bits {
            None => widest,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => bits.parse().map_err(|_| RULE)?,
            Some(_) => return Err(RULE),
        };
        match bits {
            0 => Err(EVERYBODY),
            bits if bits > widest => Err(RULE),
            _ if first != first.to_canonical() => Err(MAPPED),
            bits => {
                let network = Self { first, bits };
                if network.contains(first) { Ok(network) } else { Err(NOT_FIRST) }
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bits {
            bits if bits == Self::widest(self.first) => write!(out, "{}", self.first),
            bits => write!(out, "{}/{bits}", self.first),
        }
    }
}

/// What one client is counted by: its address, or the /64 that one IPv6 client has for itself; nothing on this machine.
pub fn limited(peer: IpAddr) -> Option<IpAddr> {
    match peer.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V4(address) => Some(address.into()),
        IpAddr::V6(address) => Some(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_its_addresses_and_no_others() {
        for (network, inside, outside) in [
            (
                "10.0.0.0/8",
                &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"][..],
                &["9.255.255.255", "11.0.0.0", "::a00:0"][..],
            ),
            ("192.0.2.128/25", &["192.0.2.128", "192.0.2.255"], &["192.0.2.127", "192.0.3.128"]),
            ("192.0.2.7", &["192.0.2.7"], &["192.0.2.6", "192.0.2.8"]),
            ("128.0.0.0/1", &["128.0.0.0", "255.255.255.255"], &["127.255.255.255"]),
            ("::1", &["::1"], &["::", "::2", "127.0.0.1"]),
            ("2001:db8::/33", &["2001:db8::1", "2001:db8:7fff::"], &["2001:db8:8000::", "2001:db9::"]),
        ] {
            let read: Network = network.parse().unwrap();
            assert_eq!(read.to_string(), network);
            assert!(inside.iter().all(|address| read.contains(address.parse().unwrap())), "{network}");
            assert!(!outside.iter().any(|address| read.contains(address.parse().unwrap())), "{network}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused_with_the_rule_that_it_breaks() {
        for wrong in ["", "/", "10.0.0.0/", "/8", "10.0.0.0/33", "::/129", "10.0.0.0/+8", "10.0.0/8", "010.0.0.0/8"] {
            assert_eq!(wrong.parse::<Network>(), Err(RULE), "{wrong}");
        }
        for wrong in ["proxy.example", "10.0.0.0/8/8", "10.0.0.0 /8", "[::1]", "10.0.0.1:80", "10.0.0.0/99999999999"] {
            assert_eq!(wrong.parse::<Network>(), Err(RULE), "{wrong}");
        }
        for (wrong, rule) in [
            ("10.0.0.1/8", NOT_FIRST),
            ("2001:db8::1/64", NOT_FIRST),
            ("::ffff:10.0.0.0/104", MAPPED),
            ("::ffff:10.0.0.1", MAPPED),
            ("0.0.0.0/0", EVERYBODY),
            ("::/0", EVERYBODY),
        ] {
            assert_eq!(wrong.parse::<Network>(), Err(rule), "{wrong}");
        }
    }
}
