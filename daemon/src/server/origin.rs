//! From which web pages a browser may connect: loopback ones, and those that config names.

use std::net::IpAddr;

use axum::http::Uri;
use axum::http::uri::Authority;

/// Stands in the configured list for every origin.
pub const ANY: &str = "*";

/// Whether a page of this origin may connect. `configured` holds origins such as `https://example.com`, or `*`.
pub fn is_allowed(origin: &str, configured: &[String]) -> bool {
    configured.iter().any(|allowed| allowed == ANY || allowed.trim_end_matches('/').eq_ignore_ascii_case(origin))
        || is_loopback(origin)
}

/// Whether a host, with or without a port, is this machine by a name that nobody else can give away: a page that makes
/// its own name point to this machine still carries that name.
pub fn is_loopback_host(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    if host.contains('@') {
        return false;
    }
    let name = authority.host();
    name.eq_ignore_ascii_case("localhost") || address(name).is_some_and(|address| address.is_loopback())
}

/// The address that a host of a URL is, if it is one and not a name.
pub fn address(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn is_loopback(origin: &str) -> bool {
    let Ok(origin) = origin.parse::<Uri>() else { return false };
    let is_web = matches!(origin.scheme_str(), Some("http" | "https"));
    is_web && origin.authority().is_some_and(|authority| is_loopback_host(authority.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_this_machine_may_connect() {
        for origin in [
            "http://localhost",
            "https://LOCALHOST:3000",
            "http://127.0.0.1:8080",
            "http://127.8.9.10",
            "http://[::1]:5173",
            "http://[::ffff:127.0.0.1]",
        ] {
            assert!(is_allowed(origin, &[]), "{origin}");
        }
    }

    #[test]
    fn other_pages_may_not() {
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
            "http://128.0.0.1",
            "http://[::2]",
        ] {
            assert!(!is_allowed(origin, &[]), "{origin}");
        }
    }

    #[test]
    fn configured_pages_may_connect() {
        let configured = ["https://example.com".to_owned(), "http://other.example:8080/".to_owned()];
        assert!(is_allowed("https://EXAMPLE.com", &configured));
        assert!(is_allowed("http://other.example:8080", &configured));
        for origin in ["http://example.com", "https://example.com:8443", "https://www.example.com", "null"] {
            assert!(!is_allowed(origin, &configured), "{origin}");
        }
        assert!(is_allowed("null", &["*".to_owned()]));
    }
}
