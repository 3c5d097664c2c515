//! Whatever a connection begins with where a proxy should announce it: no byte of the client's is read, no more bytes than the
//! bounds allow, and the client is who a plain reading of the specification says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use broadcastd::server::proxies::protocol::{MAX_V1_BYTES, MAX_V2_BYTES, Malformed, Progress, read};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What is left of the input goes on as the client's: a request.
pub fn check(input: &[u8]) {
    let all = [input, b"GET / HTTP/1.1\r\n\r\n"].concat();
    let mut begun = 0;
    loop {
        assert!(begun <= if all.starts_with(SIGNATURE) { MAX_V2_BYTES } else { MAX_V1_BYTES });
        match read(&all[..begun]) {
            Ok(Progress::Needs(more)) => {
                assert!(more > 0);
                begun += more;
                if begun > all.len() {
                    return; // it would have come to nothing in time
                }
            }
            Ok(Progress::Whole(client)) => return assert_eq!(reference(&all), Some((begun, client))),
            Err(malformed) => return is_refused(&all, malformed),
        }
    }
}

fn is_refused(all: &[u8], malformed: Malformed) {
    assert_eq!(reference(all), None, "{malformed}");
    assert!(!malformed.to_string().is_empty());
}

/// The length of the head that all of it begins with, and the client; by looking at it as a whole.
fn reference(all: &[u8]) -> Option<(usize, Option<IpAddr>)> {
    if all.starts_with(SIGNATURE) { binary(all) } else { line(all) }
}

fn line(all: &[u8]) -> Option<(usize, Option<IpAddr>)> {
    let end = all.iter().position(|byte| *byte == b'\n')?;
    let line = String::from_utf8_lossy(all[..end].strip_suffix(b"\r")?).into_owned();
    if end >= MAX_V1_BYTES {
        return None;
    }
    let words: Vec<&str> = line.split(' ').collect();
    let is_number =
        |text: &str| text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    let is_port = |text: &str| is_number(text) && text.parse::<u32>().is_ok_and(|port| port < 65_536);
    let client = match words[..] {
        ["PROXY", "UNKNOWN", ..] => return Some((end + 1, None)),
        ["PROXY", "TCP4", source, destination, ..] => {
            destination.parse::<Ipv4Addr>().ok().and(source.parse::<Ipv4Addr>().ok()).map(IpAddr::V4)
        }
        ["PROXY", "TCP6", source, destination, ..] => {
            destination.parse::<Ipv6Addr>().ok().and(source.parse::<Ipv6Addr>().ok()).map(IpAddr::V6)
        }
        _ => None,
    };
    let fits = words.len() == 6 && words[4..].iter().all(|port| is_port(port));
    client.filter(|_| fits).map(|client| (end + 1, Some(client)))
}

fn binary(all: &[u8]) -> Option<(usize, Option<IpAddr>)> {
    let whole = 16 + usize::from(all[14]) * 256 + usize::from(all[15]);
    if whole > MAX_V2_BYTES || all[12] >> 4 != 2 {
        return None;
    }
    let body = all.get(16..whole)?;
    let (family, transport) = (all[13] >> 4, all[13] & 15);
    let client = match (all[12] & 15, family, transport) {
        (0, ..) | (1, 0, 0) => None,
        (1, 1, 1 | 2) => Some(IpAddr::from(*body.get(..12)?.first_chunk::<4>()?)),
        (1, 2, 1 | 2) => Some(IpAddr::from(*body.get(..36)?.first_chunk::<16>()?)),
        (1, 3, 1 | 2) => body.get(..216).map(|_| None)?,
        _ => return None,
    };
    Some((whole, client))
}
