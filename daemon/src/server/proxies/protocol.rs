//! The PROXY protocol, versions 1 and 2, as a pure function: the head by which a proxy says whose connection it passes on.
//! Source: "The PROXY protocol, versions 1 & 2", <https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt>.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest line of version 1, with its end: two IPv6 addresses in full.
pub const MAX_V1_BYTES: usize = 107;
/// The longest head of version 2: what is always there, the longest addresses, and room for what proxies add, such as
/// the names in a client's certificate.
pub const MAX_V2_BYTES: usize = FIXED_BYTES + UNIX_BYTES + 2048;
/// No head is shorter: `PROXY UNKNOWN` and its line end.
const MIN_BYTES: usize = 15;
const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Of version 2: the mark, version and command, family, and how much follows.
const FIXED_BYTES: usize = 16;
/// Two addresses of sockets that are files.
const UNIX_BYTES: usize = 216;

/// How far a head is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// At least so many bytes are missing; no more may be read, because they could be the client's.
    Needs(usize),
    /// The client's address; `None` where the proxy speaks for itself, or does not know.
    Whole(Option<IpAddr>),
}

/// Why bytes are no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(&'static str);

/// Reads a head as far as it has come, `begun` being exactly what was asked for before.
pub fn read(begun: &[u8]) -> Result<Progress, Malformed> {
    if begun.len() < MIN_BYTES {
        Ok(Progress::Needs(MIN_BYTES - begun.len()))
    } else if begun.starts_with(V1) {
        version_1(begun)
    } else if begun.starts_with(V2) {
        version_2(begun)
    } else {
        Err(Malformed("it begins with neither version's mark"))
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

fn version_1(begun: &[u8]) -> Result<Progress, Malformed> {
    let Some(end) = begun.iter().position(|byte| *byte == b'\n') else {
        let needs = if begun.ends_with(b"\r") { 1 } else { 2 };
        let fits = begun.len() + needs <= MAX_V1_BYTES;
        return if fits { Ok(Progress::Needs(needs)) } else { Err(Malformed("its line does not end")) };
    };
    let line = begun[V1.len()..end].strip_suffix(b"\r").ok_or(Malformed("its line ends without a carriage return"))?;
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Ok(Progress::Whole(None));
    }
    let odd = Malformed("its line is not a family, two addresses and two ports");
    let line = std::str::from_utf8(line).map_err(|_| odd)?;
    let &[family, source, destination, from, to] = line.split(' ').collect::<Vec<_>>().as_slice() else {
        return Err(odd);
    };
    let client = match family {
        "TCP4" => pair::<Ipv4Addr>(source, destination).map(IpAddr::V4),
        "TCP6" => pair::<Ipv6Addr>(source, destination).map(IpAddr::V6),
        _ => None,
    };
    match client {
        Some(client) if is_port(from) && is_port(to) => Ok(Progress::Whole(Some(client))),
        _ => Err(odd),
    }
}

fn pair<A: std::str::FromStr>(source: &str, destination: &str) -> Option<A> {
    destination.parse::<A>().ok()?;
    source.parse().ok()
}

/// Digits and nothing else, as nobody can take for octal.
fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port.to_string() == text)
}

fn version_2(begun: &[u8]) -> Result<Progress, Malformed> {
    let Some((fixed, rest)) = begun.split_first_chunk::<FIXED_BYTES>() else {
        return Ok(Progress::Needs(FIXED_BYTES - begun.len()));
    };
    let [command, family, length @ ..] = [fixed[12], fixed[13], fixed[14], fixed[15]];
    let length = usize::from(u16::from_be_bytes(length));
    let addresses = match (command, family) {
        (0x20, _) | (0x21, 0x00) => 0,
        (0x21, 0x11 | 0x12) => 12,
        (0x21, 0x21 | 0x22) => 36,
        (0x21, 0x31 | 0x32) => UNIX_BYTES,
        (0x21, _) => return Err(Malformed("its family is unknown")),
        _ => return Err(Malformed("its version or command is unknown")),
    };
    if length < addresses {
        return Err(Malformed("it is too short for its addresses"));
    }
    if FIXED_BYTES + length > MAX_V2_BYTES {
        return Err(Malformed("it is too long"));
    }
    if rest.len() < length {
        return Ok(Progress::Needs(length - rest.len()));
    }
    Ok(Progress::Whole(match addresses {
        12 => rest.first_chunk::<4>().map(|bytes| IpAddr::from(*bytes)),
        36 => rest.first_chunk::<16>().map(|bytes| IpAddr::from(*bytes)),
        _ => None, // nothing is said, or a socket of another machine's files
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads as a listener does: never more than was asked for. Gives the outcome and what is left for the client.
    fn listen(all: &[u8]) -> (Result<Progress, Malformed>, &[u8]) {
        let mut read = 0;
        loop {
            match super::read(&all[..read]) {
                Ok(Progress::Needs(more)) if read + more <= all.len() => read += more,
                outcome => return (outcome, &all[read..]),
            }
        }
    }

    fn whole(head: &[u8]) -> Option<IpAddr> {
        let all = [head, b"GET / HTTP/1.1\r\n\r\n"].concat();
        let (outcome, rest) = listen(&all);
        assert_eq!(rest, b"GET / HTTP/1.1\r\n\r\n", "{}", head.escape_ascii());
        match outcome {
            Ok(Progress::Whole(client)) => client,
            other => panic!("{}: {other:?}", head.escape_ascii()),
        }
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        [V2, &[command, family], &(body.len() as u16).to_be_bytes(), body].concat()
    }

    #[test]
    fn lines_say_whose_connection_it_is() {
        for (line, client) in [
            ("PROXY TCP4 203.0.113.7 10.0.0.1 56324 443", Some("203.0.113.7")),
            ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535", Some("255.255.255.255")),
            ("PROXY TCP4 203.0.113.7 10.0.0.1 0 0", Some("203.0.113.7")),
            ("PROXY TCP6 2001:db8::7 ::1 1 65535", Some("2001:db8::7")),
            ("PROXY TCP6 ::ffff:203.0.113.7 ::1 1 2", Some("::ffff:203.0.113.7")),
            ("PROXY UNKNOWN", None),
            ("PROXY UNKNOWN whatever \r there is", None),
        ] {
            let expected = client.map(|client| client.parse().unwrap());
            assert_eq!(whole(format!("{line}\r\n").as_bytes()), expected, "{line}");
        }
        let full = ["ffff"; 8].join(":");
        let longest = format!("PROXY UNKNOWN {full} {full} 65535 65535\r\n");
        assert_eq!((longest.len(), whole(longest.as_bytes())), (MAX_V1_BYTES, None));
    }

    #[test]
    fn lines_that_are_none_are_refused() {
        let longer = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_V1_BYTES - 15));
        assert_eq!(longer.len(), MAX_V1_BYTES + 1);
        for line in [
            &longer,
            "PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\n",
            "PROXY  TCP4 203.0.113.7 10.0.0.1 56324 443\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 56324 443 \r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 56324\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 56324 65536\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 +1 443\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 01 443\r\n",
            "PROXY TCP4 203.0.113.07 10.0.0.1 1 443\r\n",
            "PROXY TCP4 2001:db8::7 ::1 1 443\r\n",
            "PROXY TCP6 203.0.113.7 10.0.0.1 1 443\r\n",
            "PROXY TCP4 203.0.113.7 ::1 1 443\r\n",
            "PROXY UDP4 203.0.113.7 10.0.0.1 1 443\r\n",
            "PROXY tcp4 203.0.113.7 10.0.0.1 1 443\r\n",
            "PROXY UNKNOWNS and more\r\n",
            "proxy UNKNOWN  \r\n",
            "PROXY\tUNKNOWN  \r\n",
            "GET /v1/ws HTTP/1.1\r\n",
            "\r\n\r\n\0\r\nQUIT\r\r\r\r\r",
        ] {
            let all = format!("{line}GET / HTTP/1.1\r\n");
            assert!(listen(all.as_bytes()).0.is_err(), "{}", line.escape_debug());
        }
        assert!(read(b"PROXY TCP4 \xff\xff 10.0.0.1 1 443\r\n").is_err());
    }

    #[test]
    fn binary_heads_say_whose_connection_it_is() {
        let v4 = [&[203, 0, 113, 7, 10, 0, 0, 1][..], &[0; 4]].concat();
        let v6 = [&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets()[..], &[0; 20]].concat();
        let more = [&v4[..], &[4, 0, 2, 1, 1]].concat();
        for (command, family, body, client) in [
            (0x21, 0x11, &v4[..], Some("203.0.113.7")),
            (0x21, 0x12, &v4, Some("203.0.113.7")),
            (0x21, 0x21, &v6, Some("2001:db8::7")),
            (0x21, 0x22, &v6, Some("2001:db8::7")),
            (0x21, 0x11, &more, Some("203.0.113.7")),
            (0x21, 0x31, &[b'/'; UNIX_BYTES], None),
            (0x21, 0x32, &[b'/'; UNIX_BYTES], None),
            (0x21, 0x00, &[], None),
            (0x21, 0x00, &[9; 40], None),
            (0x20, 0x00, &[], None),
            (0x20, 0x11, &v4, None),
            (0x20, 0x77, &[9; 3], None),
        ] {
            assert_eq!(whole(&v2(command, family, body)), client.map(|client| client.parse().unwrap()), "{family:x}");
        }
    }

    #[test]
    fn binary_heads_that_are_none_are_refused() {
        for (command, family, length) in [
            (0x11, 0x11, 12),
            (0x31, 0x11, 12),
            (0x22, 0x11, 12),
            (0x2f, 0x11, 12),
            (0x21, 0x10, 12),
            (0x21, 0x13, 12),
            (0x21, 0x41, 36),
            (0x21, 0x01, 12),
            (0x21, 0x11, 11),
            (0x21, 0x21, 35),
            (0x21, 0x31, UNIX_BYTES - 1),
        ] {
            assert!(read(&v2(command, family, &vec![0; length])).is_err(), "{command:x} {family:x} {length}");
        }
    }

    #[test]
    fn the_longest_binary_head_is_read_and_one_byte_more_is_refused_before_it_is_read() {
        let most = MAX_V2_BYTES - FIXED_BYTES;
        assert_eq!(whole(&v2(0x21, 0x31, &vec![0; most])), None);
        let longer = v2(0x21, 0x31, &vec![0; most + 1]);
        assert_eq!(read(&longer[..FIXED_BYTES]), Err(Malformed("it is too long")));
    }
}
