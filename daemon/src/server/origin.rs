//! What browsers say of the page that asks: where it came from, and by which name it asks.

use std::net::IpAddr;

use axum::http::header::{self, HeaderName};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri};

/// Whether a web page of this machine sends this origin.
pub fn is_loopback(origin: &str) -> bool {
    let Ok(origin) = origin.parse::<Uri>() else { return false };
    let is_web = matches!(origin.scheme_str(), Some("http" | "https"));
    is_web && origin.authority().is_some_and(|authority| is_loopback_host(authority.as_str()))
}

/// Whether a page sends this request to the host that it came from itself.
pub fn is_own(headers: &HeaderMap) -> bool {
    let authority = only(headers, header::ORIGIN)
        .and_then(|origin| origin.strip_prefix("http://").or(origin.strip_prefix("https://")));
    let host = only(headers, header::HOST);
    matches!((authority, host), (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host))
}

/// The value of a header that must not come twice.
pub fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).into_iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Whether a host, with or without a port, is this machine by a name that nobody else can give away: a page that makes
/// its own name point to this machine still carries that name.
pub fn is_loopback_host(host: &str) -> bool {
    let is_loopback = |name: String| {
        name.eq_ignore_ascii_case("localhost") || address(&name).is_some_and(|address| address.is_loopback())
    };
    name(host).is_some_and(is_loopback)
}

/// The name in `NAME` or `NAME:PORT`; what says more than that names nobody.
pub fn name(host: &str) -> Option<String> {
    let authority = host.parse::<Authority>().ok()?;
    let behind = host.strip_prefix(authority.host())?;
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let is_whole = behind.is_empty() || behind.strip_prefix(':').is_some_and(is_port);
    is_whole.then(|| authority.host().to_owned())
}

/// The address that a host of a URL is, if it is one and not a name.
pub fn address(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_this_machine_are_known() {
        for origin in [
            "http://localhost",
            "https://LOCALHOST:3000",
            "http://127.0.0.1:8080",
            "http://127.8.9.10",
            "http://[::1]:5173",
            "http://[::ffff:127.0.0.1]",
        ] {
            assert!(is_loopback(origin), "{origin}");
        }
    }

    #[test]
    fn other_pages_are_none_of_it() {
        for origin in [
            "null",
            "",
            "localhost",
            "file://localhost",
            "https://example.com",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://localhost@example.com",
            "http://example.com@localhost",
            "http://localhost:x@localhost",
            "http://[::1]example.com",
            "http://128.0.0.1",
            "http://[::2]",
        ] {
            assert!(!is_loopback(origin), "{origin}");
        }
    }
}
