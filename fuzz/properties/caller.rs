//! Whatever a caller says of himself in the head of a request: whose address counts, which token is his, by which name and
//! from which page he asks are what a plain reading says; and nobody is on this machine, or of it, by what he says.

use std::future::Future as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri};
use broadcastd::server::hosts::{Hosts, Reach};
use broadcastd::server::pages::{self, Pages, Purpose, Rules};
use broadcastd::server::proxies::Proxies;
use broadcastd::server::token;
use tower_service::Service as _;

use super::shown;

const MAX_HOPS: usize = 16;
const COOKIE: &str = "token";
const NAMED: &str = "push.example";
const HEARS: &str = "https://hears.example";
const ACTS: &str = "https://acts.example";

/// The first letter says who sent the request: `p` a proxy that is trusted, `s` a stranger, else a program of this machine.
/// The rest of the line is the query; then comes a line for each header.
pub fn check(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let Some((sender, query)) = lines.next().and_then(<[u8]>::split_first) else { return };
    let Ok(uri) = Uri::try_from([b"/v1/ws?", query].concat()) else { return };
    let headers: HeaderMap = lines.filter_map(header).collect();
    let peer = match sender {
        b'p' => Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))),
        b's' => Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
        _ => None,
    };
    counts_as_it_is(peer, &headers);
    shows_one_token_or_none(&headers, &uri);
    asks_by_a_name(&headers);
    for purpose in [Purpose::Listen, Purpose::Act] {
        comes_from_a_page(&headers, purpose);
    }
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
    Some((HeaderName::from_bytes(&line[..colon]).ok()?, value))
}

fn values<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h HeaderValue> {
    headers.get_all(name).iter().collect()
}

fn counts_as_it_is(peer: Option<IpAddr>, headers: &HeaderMap) {
    let proxies = Proxies { trusted: vec!["10.0.0.0/8".parse().expect("a network")], begin: false };
    let told = if peer.is_some_and(is_proxy) { forwarded(headers) } else { None };
    let client = proxies.client(peer, headers);
    assert_eq!(client, told.or(peer));
    assert!(client == peer || !client.is_some_and(|client| client.is_loopback() || client.is_unspecified()));
}

/// Behind the farthest stranger nobody is looked for; where there are only proxies, it is the farthest.
fn forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let lines = values(headers, "x-forwarded-for");
    let hops: Vec<_> = lines.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(address).collect();
    let stranger = hops.iter().rposition(|hop| hop.is_none_or(|address| !is_proxy(address))).unwrap_or(0);
    let client = (*hops.get(stranger)?)?;
    let is_somebody = !client.is_loopback() && !client.is_unspecified() && !client.is_multicast();
    (is_somebody && hops.len() - stranger <= MAX_HOPS).then_some(client)
}

fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    text.parse().ok().or_else(in_brackets).or_else(with_port).map(|address| address.to_canonical())
}

fn is_proxy(address: IpAddr) -> bool {
    matches!(address.to_canonical(), IpAddr::V4(address) if address.octets()[0] == 10)
}

fn shows_one_token_or_none(headers: &HeaderMap, uri: &Uri) {
    let mut expected = shown(headers, uri.query().unwrap_or_default());
    if let Some(tokens) = &mut expected {
        tokens.dedup();
    }
    let expected = expected.filter(|tokens| tokens.len() < 2 && !tokens.contains(&String::new()));
    match token::find(headers, uri, Some(COOKIE)) {
        Ok(found) => assert_eq!(Some(found), expected.map(|tokens| tokens.into_iter().next())),
        Err(denied) => {
            assert_eq!((expected, denied.status()), (None, StatusCode::BAD_REQUEST));
            let known = ["empty token", "two different", "percent-encoded UTF-8", "header is not plain text"];
            let error = denied.error().to_string();
            assert!(known.iter().any(|why| error.contains(why)) && error.len() < 150, "it repeats nothing: {error}");
        }
    }
}

/// Every token that a request bears, wherever; nothing where one cannot be read.
fn shown(headers: &HeaderMap, query: &str) -> Option<Vec<String>> {
    let texts =
        |name: &str| values(headers, name).into_iter().map(|value| value.to_str().ok()).collect::<Option<Vec<_>>>();
    let mut tokens = Vec::new();
    for value in texts("authorization")? {
        let value = value.trim();
        let (scheme, rest) = value.split_at(value.find(' ').unwrap_or(value.len()));
        if scheme.eq_ignore_ascii_case("bearer") {
            tokens.push(rest.trim().to_owned());
        }
    }
    tokens.extend(shown::tokens(query)?);
    for pair in texts("cookie")?.iter().flat_map(|value| value.split(';')) {
        if let Some(value) = pair.trim().strip_prefix(COOKIE).and_then(|rest| rest.strip_prefix('=')) {
            tokens.push(value.trim_matches('"').to_owned());
        }
    }
    Some(tokens)
}

fn asks_by_a_name(headers: &HeaderMap) {
    let hosts = values(headers, "host");
    let is_ours = |host: &&HeaderValue| {
        host.to_str()
            .is_ok_and(|host| is_local(host) || name(host).is_some_and(|name| name.eq_ignore_ascii_case(NAMED)))
    };
    let check = |names: &[&str], reach| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Hosts { names, refusal: "no" }.check(headers, reach).is_ok()
    };
    let is_plain =
        |host: &&HeaderValue| host.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'.');
    for reach in [Reach::Machine, Reach::Network] {
        let is_let_in = check(&[NAMED], reach);
        assert!(!is_let_in || hosts.iter().all(is_ours), "{hosts:?}");
        assert!(is_let_in || !hosts.iter().all(|host| is_ours(host) && is_plain(host)), "{hosts:?}");
    }
    let is_of_machine = |host: &&HeaderValue| host.to_str().is_ok_and(is_local);
    assert!(!check(&[], Reach::Machine) || hosts.iter().all(is_of_machine), "{hosts:?}");
    assert!(check(&[], Reach::Network));
}

fn comes_from_a_page(headers: &HeaderMap, purpose: Purpose) {
    let origins = values(headers, "origin");
    let text = |values: &[&HeaderValue]| match values {
        [only] => only.to_str().ok().map(str::to_owned),
        _ => None,
    };
    let (said, host) = (text(&origins), text(&values(headers, "host")));
    let is = |one: &str| said.as_ref().is_some_and(|said| said.eq_ignore_ascii_case(one));
    let is_program = origins.is_empty();
    let is_own = host.is_some_and(|host| {
        ["http", "https"].iter().any(|scheme| {
            said.as_ref().is_some_and(|said| {
                said.strip_prefix(&format!("{scheme}://")).is_some_and(|rest| rest.eq_ignore_ascii_case(&host))
            })
        })
    });
    let is_named = is(ACTS) || purpose == Purpose::Listen && is(HEARS);
    let is_certain = is_program || is_own || is_named;
    let is_local = said.as_ref().and_then(|said| said.split_once("://")).is_some_and(|(scheme, rest)| {
        ["http", "https"].contains(&&*scheme.to_ascii_lowercase())
            && is_local(rest.split(['/', '?', '#']).next().unwrap_or(""))
    });
    let status = asked(headers, purpose);
    assert!(!is_certain || status != StatusCode::FORBIDDEN, "{said:?}");
    let may_be = is_certain || purpose == Purpose::Listen && is_local;
    assert!(may_be || status == StatusCode::FORBIDDEN, "{said:?}: {status}");
}

fn asked(headers: &HeaderMap, purpose: Purpose) -> StatusCode {
    let pages = Arc::<Pages>::default();
    pages.set(Rules { origins: vec![HEARS.to_owned()], cors: vec![ACTS.to_owned()], has_cookie: false });
    let mut router = pages::around(Router::new().fallback(async || StatusCode::OK), &pages, purpose);
    let mut request = Request::new(Body::empty());
    *request.headers_mut() = headers.clone();
    match pin!(router.call(request)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer.expect("it answers whatever comes").status(),
        Poll::Pending => panic!("nothing is waited for"),
    }
}

/// What stands before the port, if there is one.
fn name(host: &str) -> Option<&str> {
    let end = if host.starts_with('[') { host.find(']')? + 1 } else { host.find(':').unwrap_or(host.len()) };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let is_whole = host[end..].is_empty() || host[end..].strip_prefix(':').is_some_and(is_port);
    is_whole.then_some(&host[..end])
}

fn is_local(host: &str) -> bool {
    let Some(name) = name(host) else { return false };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let address = bare.parse::<IpAddr>().ok().map(|address| address.to_canonical());
    name.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback())
}
