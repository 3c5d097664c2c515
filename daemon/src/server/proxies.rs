//! Who the client is where a proxy is in between: only proxies that config trusts are believed, and nobody can be said to be
//! on this machine.

pub mod protocol;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use self::protocol::{MAX_V2_BYTES, Malformed, Progress};
use super::origin;
use crate::metrics as count;
use crate::metrics::labels::Unusable;
use crate::network::Network;

/// The addresses of one request that are looked at, from the nearest on: more proxies in a row than anybody has.
pub const MAX_HOPS: usize = 16;
const FORWARDED: &str = "x-forwarded-for";

/// Whose word about clients counts, and how it is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    pub trusted: Vec<Network>,
    /// Every TCP connection begins with the head of the PROXY protocol; from trusted ones only, if any are named.
    pub begin: bool,
}

/// Why a connection that should begin with the head of a proxy is refused.
#[derive(Debug)]
pub enum Unannounced {
    NotTrusted,
    Malformed(Malformed),
    Cut(io::Error),
}

impl Proxies {
    pub fn are_trusted(&self, peer: Option<IpAddr>) -> bool {
        peer.is_some_and(|peer| self.trusted.iter().any(|network| network.contains(peer)))
    }

    /// Who a request counts for: whom a trusted proxy names, the proxy itself where it names nobody of use, else who sent it.
    pub fn client(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        if !self.are_trusted(peer) {
            return peer;
        }
        self.forwarded(headers).map_or_else(|unusable| unusable.told_by(peer), Some)
    }

    /// Whose connection it is, with the head of the PROXY protocol read from it and nothing more, where there must be one.
    pub async fn announced<S: AsyncRead + Unpin>(
        &self,
        peer: Option<IpAddr>,
        socket: &mut S,
    ) -> Result<Option<IpAddr>, Unannounced> {
        if !self.begin {
            return Ok(peer);
        }
        if !self.trusted.is_empty() && !self.are_trusted(peer) {
            return Err(Unannounced::NotTrusted);
        }
        let (mut head, mut read) = ([0; MAX_V2_BYTES], 0);
        loop {
            match protocol::read(&head[..read]).map_err(Unannounced::Malformed)? {
                Progress::Needs(more) => {
                    socket.read_exact(&mut head[read..read + more]).await.map_err(Unannounced::Cut)?;
                    read += more;
                }
                Progress::Whole(None) => return Ok(peer),
                Progress::Whole(Some(told)) => {
                    return Ok(believable(told).map_or_else(|unusable| unusable.told_by(peer), Some));
                }
            }
        }
    }

    /// The nearest address that is no trusted proxy's. What stands beyond it the client may have written itself, so it is
    /// not even looked at. Where all are trusted it is the farthest: a proxy that asks for itself.
    fn forwarded(&self, headers: &HeaderMap) -> Result<IpAddr, Unusable> {
        let lines = headers.get_all(FORWARDED).iter().rev();
        let nearest_first = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        let mut client = Err(Unusable::Missing);
        for (hop, text) in nearest_first.enumerate() {
            if hop == MAX_HOPS {
                return Err(Unusable::TooLong);
            }
            let address = address(text).ok_or(Unusable::Malformed)?;
            client = Ok(address);
            if !self.are_trusted(Some(address)) {
                break;
            }
        }
        client.and_then(believable)
    }
}

impl Unusable {
    /// The proxy counts itself; whoever runs it can find out why.
    fn told_by(self, proxy: Option<IpAddr>) -> Option<IpAddr> {
        count::client_unknown(self);
        let reason = self.text();
        tracing::debug!(?proxy, reason, "a trusted proxy does not say who its client is; the proxy itself counts");
        proxy
    }
}

impl fmt::Display for Unannounced {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTrusted => out.write_str("it comes from none of server.trusted_proxies"),
            Self::Malformed(malformed) => write!(out, "it begins with no head of the PROXY protocol: {malformed}"),
            Self::Cut(error) => write!(out, "it ends before its PROXY head does: {error}"),
        }
    }
}

impl std::error::Error for Unannounced {}

/// One address of a list; some proxies add the port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    origin::address(text).or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip().to_canonical()))
}

fn believable(told: IpAddr) -> Result<IpAddr, Unusable> {
    let told = told.to_canonical();
    let is_nobody = told.is_loopback() || told.is_unspecified() || told.is_multicast();
    if is_nobody { Err(Unusable::Local) } else { Ok(told) }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use axum::http::HeaderValue;

    use super::*;

    fn proxies(trusted: &[&str]) -> Proxies {
        Proxies { trusted: trusted.iter().map(|network| network.parse().unwrap()).collect(), begin: false }
    }

    fn forwarded(trusted: &[&str], lines: &[&[u8]]) -> Result<String, Unusable> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED, HeaderValue::from_bytes(line).unwrap());
        }
        proxies(trusted).forwarded(&headers).map(|address| address.to_string())
    }

    #[test]
    fn the_nearest_address_that_is_no_proxy_counts() {
        let trusted = ["10.0.0.0/8", "::1"];
        for (lines, client) in [
            (&["203.0.113.7"][..], "203.0.113.7"),
            (&["  203.0.113.7\t"], "203.0.113.7"),
            (&["203.0.113.7:56324"], "203.0.113.7"),
            (&["2001:db8::7"], "2001:db8::7"),
            (&["[2001:db8::7]"], "2001:db8::7"),
            (&["[2001:db8::7]:443"], "2001:db8::7"),
            (&["::ffff:203.0.113.7"], "203.0.113.7"),
            (&["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
            (&["198.51.100.1,203.0.113.7, 10.1.2.3,::ffff:10.0.0.2"], "203.0.113.7"),
            (&["127.0.0.1, 203.0.113.7, ::1"], "203.0.113.7"),
            (&["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
            (&["203.0.113.7", "10.0.0.2, 10.0.0.3"], "203.0.113.7"),
            (&["rubbish, , 203.0.113.7"], "203.0.113.7"),
            (&["10.1.2.3"], "10.1.2.3"),
            (&["10.1.2.3, 10.0.0.2"], "10.1.2.3"),
        ] {
            let bytes: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
            assert_eq!(forwarded(&trusted, &bytes), Ok(client.to_owned()), "{lines:?}");
        }
        assert_eq!(forwarded(&trusted, &[b"\xff\xfe", b"203.0.113.7"]), Ok("203.0.113.7".to_owned()));
    }

    #[test]
    fn what_is_of_no_use_names_nobody() {
        let trusted = ["10.0.0.0/8"];
        assert_eq!(forwarded(&trusted, &[]), Err(Unusable::Missing));
        for line in [
            "",
            ",",
            "unknown",
            "203.0.113.7,",
            "203.0.113.7, proxy",
            "203.0.113.7, 10.0.0.2, _",
            "1.2.3",
            "1.2.3.4:",
            "::1%lo",
        ] {
            assert_eq!(forwarded(&trusted, &[line.as_bytes()]), Err(Unusable::Malformed), "{line}");
        }
        assert_eq!(forwarded(&trusted, &[b"203.0.113.7, \xff"]), Err(Unusable::Malformed));
    }

    #[test]
    fn nobody_can_be_said_to_be_on_this_machine() {
        for told in [
            "127.0.0.1",
            "127.9.9.9:80",
            "::1",
            "[::1]:80",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
        ] {
            assert_eq!(forwarded(&["10.0.0.0/8"], &[told.as_bytes()]), Err(Unusable::Local), "{told}");
        }
        let farthest = forwarded(&["10.0.0.0/8", "127.0.0.0/8"], &[b"127.0.0.1, 10.0.0.2"]);
        assert_eq!(farthest, Err(Unusable::Local), "also where this machine's proxy is trusted");
    }

    #[test]
    fn so_many_proxies_in_a_row_and_no_more() {
        let behind = |proxies: usize| format!("203.0.113.7{}", ", 10.0.0.2".repeat(proxies));
        let trusted = ["10.0.0.0/8"];
        assert_eq!(forwarded(&trusted, &[behind(MAX_HOPS - 1).as_bytes()]), Ok("203.0.113.7".to_owned()));
        assert_eq!(forwarded(&trusted, &[behind(MAX_HOPS).as_bytes()]), Err(Unusable::TooLong));
        let junk = format!("{}203.0.113.7", "10.0.0.2, ".repeat(1000));
        assert_eq!(forwarded(&trusted, &[junk.as_bytes()]), Ok("203.0.113.7".to_owned()), "a client cannot hide by it");
    }

    #[test]
    fn only_a_trusted_proxy_is_asked_and_it_counts_itself_where_it_says_nothing_of_use() {
        let proxies = proxies(&["10.0.0.0/8"]);
        let peer = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let says =
            |text: &'static str| HeaderMap::from_iter([(FORWARDED.parse().unwrap(), HeaderValue::from_static(text))]);
        assert_eq!(proxies.client(peer("10.0.0.1"), &says("203.0.113.7")), peer("203.0.113.7"));
        assert_eq!(proxies.client(peer("10.0.0.1"), &says("127.0.0.1")), peer("10.0.0.1"));
        assert_eq!(proxies.client(peer("10.0.0.1"), &HeaderMap::new()), peer("10.0.0.1"));
        assert_eq!(proxies.client(peer("192.0.2.1"), &says("203.0.113.7")), peer("192.0.2.1"));
        assert_eq!(proxies.client(peer("127.0.0.1"), &says("203.0.113.7")), peer("127.0.0.1"));
        assert_eq!(proxies.client(None, &says("203.0.113.7")), None);
    }

    /// What becomes of a connection on which all of `said` is there at once, and what is left of it.
    fn announced<'a>(proxies: &Proxies, said: &'a [u8]) -> (Result<Option<String>, String>, &'a [u8]) {
        let mut socket = said;
        let peer = Some("10.0.0.1".parse().unwrap());
        let outcome = {
            let mut reading = pin!(proxies.announced(peer, &mut socket));
            match reading.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => panic!("bytes in memory are always there"),
            }
        };
        let told = outcome.map(|peer| peer.map(|peer| peer.to_string())).map_err(|error| error.to_string());
        (told, socket)
    }

    #[test]
    fn a_connection_begins_with_the_head_of_a_proxy_where_config_says_so() {
        let head = b"PROXY TCP4 203.0.113.7 10.0.0.9 1 2\r\nGET";
        let own = Ok(Some("10.0.0.1".to_owned()));
        assert_eq!(announced(&proxies(&["10.0.0.0/8"]), head), (own.clone(), &head[..]), "config does not say so");
        for trusted in [&[][..], &["10.0.0.0/8"]] {
            let proxies = Proxies { begin: true, ..proxies(trusted) };
            assert_eq!(announced(&proxies, head), (Ok(Some("203.0.113.7".to_owned())), &b"GET"[..]));
            assert_eq!(announced(&proxies, b"PROXY UNKNOWN\r\nGET"), (own.clone(), &b"GET"[..]));
            let local = b"PROXY TCP6 ::ffff:127.0.0.1 ::1 1 2\r\nGET";
            assert_eq!(announced(&proxies, local), (own.clone(), &b"GET"[..]), "nobody is on this machine by a head");
            assert!(announced(&proxies, b"GET /v1/ws HTTP/1.1\r\n").0.unwrap_err().contains("no head"));
            assert!(announced(&proxies, &head[..20]).0.unwrap_err().contains("ends before"));
        }
        let elsewhere = Proxies { begin: true, ..proxies(&["192.0.2.0/24"]) };
        let (refused, rest) = announced(&elsewhere, head);
        assert_eq!((refused.unwrap_err().as_str(), rest), ("it comes from none of server.trusted_proxies", &head[..]));
    }
}
