//! By which names a listener may be asked. A web page that makes its own name point to this machine gets past every rule
//! about origins, for its browser takes the listener for the page's own host; but the name that it sends is still its own.

use axum::http::{HeaderMap, StatusCode, header};

use super::answer::Denied;
use super::origin::{is_loopback_host, name};
use crate::metrics as count;
use crate::metrics::labels::Unwelcome;

/// The names of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    /// Beside those of this machine. Where there are any, one of them is asked for on every listener and behind every proxy,
    /// else on listeners that only this machine reaches.
    pub names: Vec<String>,
    /// What whoever asks by another name is told.
    pub refusal: &'static str,
}

impl Hosts {
    /// Whether the name by which a request asks is one of the listener's.
    pub fn check(&self, headers: &HeaderMap, reach: Reach) -> Result<(), Denied> {
        let is_open = reach == Reach::Network && self.names.is_empty();
        let is_known = |host: &header::HeaderValue| host.to_str().is_ok_and(|host| self.is_name(host));
        // A browser never leaves it out; what else is wrong with it is said later.
        if is_open || headers.get_all(header::HOST).iter().all(is_known) {
            return Ok(());
        }
        count::connection_refused(Unwelcome::Host);
        Err(Denied::new(StatusCode::MISDIRECTED_REQUEST, "foreign_host", self.refusal))
    }

    fn is_name(&self, host: &str) -> bool {
        let is_given = |name: String| self.names.iter().any(|given| given.eq_ignore_ascii_case(&name));
        is_loopback_host(host) || name(host).is_some_and(is_given)
    }
}

/// Who can reach a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Programs on this machine, and the browsers on it.
    Machine,
    Network,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_answered(names: &[&str], reach: Reach, hosts: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, host.parse().unwrap());
        }
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Hosts { names, refusal: "no" }.check(&headers, reach).is_ok()
    }

    #[test]
    fn a_listener_of_this_machine_answers_to_names_of_it_and_to_given_ones() {
        let names = ["push.example", "[2001:db8::1]"];
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.9.9.9:1", "[::1]:8080", "[::1]"] {
            assert!(
                is_answered(&[], Reach::Machine, &[host]) && is_answered(&names, Reach::Machine, &[host]),
                "{host}"
            );
        }
        for host in ["push.example", "Push.Example:8080", "[2001:db8::1]", "[2001:db8::1]:8080"] {
            assert!(
                !is_answered(&[], Reach::Machine, &[host]) && is_answered(&names, Reach::Machine, &[host]),
                "{host}"
            );
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "a.push.example",
            "evil@push.example",
            "push.example:8080@evil.example",
            "[2001:db8::1]evil.example",
            "localhost@evil.example",
            "192.0.2.1",
            "0.0.0.0",
            "",
        ] {
            assert!(!is_answered(&names, Reach::Machine, &[host]), "{host}");
        }
        assert!(!is_answered(&names, Reach::Machine, &["localhost", "evil.example"]), "each of several");
        assert!(is_answered(&[], Reach::Machine, &[]), "no browser leaves it out");
    }

    #[test]
    fn other_listeners_answer_to_every_name_until_some_are_given() {
        assert!(is_answered(&[], Reach::Network, &["evil.example"]));
        assert!(!is_answered(&["push.example"], Reach::Network, &["evil.example"]));
        assert!(is_answered(&["push.example"], Reach::Network, &["push.example:8080"]));
    }
}
