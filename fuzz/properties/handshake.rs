//! Whatever head a client sends: it is let in exactly when a plain reading of RFC 6455 §4.2.1 says so, and else refused
//! with what HTTP demands.

use broadcastd::websocket::handshake::{Accepted, Refusal, accept};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Version};
use tungstenite::handshake::derive_accept_key;

const OFFERED: [&str; 2] = ["broadcastd.v1", "other"];

/// The first line is method and version, each further one a header; what HTTP would not let through is left out.
pub fn check(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let mut start = lines.next().unwrap_or_default().splitn(2, |byte| *byte == b' ');
    let method = Method::from_bytes(start.next().unwrap_or_default()).unwrap_or(Method::GET);
    let version = if start.next() == Some(b"1.0") { Version::HTTP_10 } else { Version::HTTP_11 };
    let headers: HeaderMap = lines.filter_map(header).collect();
    match accept(&method, version, &headers, &OFFERED) {
        Ok(accepted) => assert_eq!(Some(accepted), reference(&method, version, &headers)),
        Err(refusal) => {
            assert_eq!(None, reference(&method, version, &headers), "{refusal:?}");
            says_the_way_out(&refusal);
        }
    }
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
}

fn says_the_way_out(refusal: &Refusal) {
    let header = refusal.header.as_ref().map(|(name, value)| (name.as_str(), *value));
    let expected: &[_] = match refusal.status.as_u16() {
        400 => &[None],
        405 => &[Some(("allow", "GET"))],
        426 => &[Some(("upgrade", "websocket")), Some(("sec-websocket-version", "13"))],
        other => panic!("{other}"),
    };
    assert!(expected.contains(&header) && !refusal.message.is_empty(), "{refusal:?}");
}

fn reference(method: &Method, version: Version, headers: &HeaderMap) -> Option<Accepted<'static>> {
    let all = |name: &str| -> Vec<String> {
        let readable = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        readable.flat_map(|list| list.split(',')).map(|token| token.trim().to_owned()).collect()
    };
    let names = |name: &str, wanted: &str| all(name).iter().any(|token| token.to_lowercase() == wanted);
    let once = |name: &str| {
        let values: Vec<&HeaderValue> = headers.get_all(name).into_iter().collect();
        if values.len() == 1 { values[0].to_str().ok().map(str::trim) } else { None }
    };
    let key = once("sec-websocket-key")?;
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    let is_key = key.len() == 24 && key.ends_with("==") && key.bytes().take(22).all(is_base64);
    let is_fine = method.as_str() == "GET"
        && version == Version::HTTP_11
        && names("upgrade", "websocket")
        && names("connection", "upgrade")
        && once("sec-websocket-version") == Some("13")
        && is_key;
    let wanted = all("sec-websocket-protocol");
    let subprotocol = wanted.iter().find_map(|token| OFFERED.into_iter().find(|offered| token == offered));
    is_fine.then(|| Accepted { accept_key: derive_accept_key(key.as_bytes()), subprotocol })
}
