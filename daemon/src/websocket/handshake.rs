//! The opening handshake of RFC 6455 §4.2: from a request's head to the answer that opens the connection, or to the refusal.

mod extensions;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hyper::header::{self, AsHeaderName, HeaderMap, HeaderName};
use hyper::{Method, StatusCode, Version};
use sha1::{Digest, Sha1};

use super::deflate::Compression;

/// The only version of the protocol there is (RFC 6455 §4.1).
const VERSION: &str = "13";

/// The bytes of a client's key before base64 (RFC 6455 §4.1).
const KEY_LENGTH: usize = 16;

/// What the accept key is salted with (RFC 6455 §1.3).
const SALT: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Reads also keys whose unused last bits are set, as they are in the example of RFC 6455 §4.1.
const KEY_BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// What the answer 101 says beside `Upgrade: websocket` and `Connection: upgrade`.
#[derive(Debug, PartialEq, Eq)]
pub struct Accepted<'s> {
    /// The value of `Sec-WebSocket-Accept`.
    pub accept_key: String,
    /// The value of `Sec-WebSocket-Protocol`; without one the header is left out.
    pub subprotocol: Option<&'s str>,
    /// The value of `Sec-WebSocket-Extensions`, which agrees on compression; without one the header is left out.
    pub extensions: Option<&'static str>,
}

impl Accepted<'_> {
    /// What was agreed on with the client.
    pub fn compression(&self) -> Compression {
        if self.extensions.is_some() { Compression::On } else { Compression::Off }
    }
}

/// What to answer instead.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    /// The header that HTTP demands with this status.
    pub header: Option<(HeaderName, &'static str)>,
    pub message: &'static str,
}

/// Decides about a request. `offered` are the subprotocols that the endpoint speaks; of these the client gets the one
/// it named first. Compression is agreed on only where it is on.
pub fn accept<'s>(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
    offered: &[&'s str],
    compression: Compression,
) -> Result<Accepted<'s>, Refusal> {
    if method != Method::GET {
        return Err(Refusal {
            status: StatusCode::METHOD_NOT_ALLOWED,
            header: Some((header::ALLOW, "GET")),
            message: "a websocket is opened with GET",
        });
    }
    if version != Version::HTTP_11 {
        return Err(bad_request("a websocket is opened over HTTP/1.1"));
    }
    if only(headers, header::HOST).is_none() {
        return Err(bad_request("Host must be given once"));
    }
    let upgrades =
        has_token(headers, header::UPGRADE, "websocket") && has_token(headers, header::CONNECTION, "upgrade");
    if !upgrades {
        return Err(Refusal {
            status: StatusCode::UPGRADE_REQUIRED,
            header: Some((header::UPGRADE, "websocket")),
            message: "this path speaks websocket: send Connection: upgrade and Upgrade: websocket",
        });
    }
    if only(headers, header::SEC_WEBSOCKET_VERSION) != Some(VERSION) {
        return Err(Refusal {
            status: StatusCode::UPGRADE_REQUIRED,
            header: Some((header::SEC_WEBSOCKET_VERSION, VERSION)),
            message: "this path speaks websocket version 13: send Sec-WebSocket-Version: 13",
        });
    }
    if has_body(headers) {
        return Err(bad_request("a websocket is opened without a body"));
    }
    let Some(key) = only(headers, header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key)) else {
        return Err(bad_request("Sec-WebSocket-Key must be given once and be 16 bytes in base64"));
    };
    let subprotocol = tokens(headers, header::SEC_WEBSOCKET_PROTOCOL)
        .find_map(|wanted| offered.iter().copied().find(|offer| *offer == wanted));
    let extensions = match compression {
        Compression::On => extensions::agree(headers),
        Compression::Off => None,
    };
    Ok(Accepted { accept_key: accept_key(key), subprotocol, extensions })
}

fn bad_request(message: &'static str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, header: None, message }
}

fn has_token(headers: &HeaderMap, name: HeaderName, wanted: &str) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}

/// The members of a list that may be spread over several headers; empty members mean nothing.
fn tokens(headers: &HeaderMap, name: impl AsHeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

/// The value of a header that must not come twice.
fn only(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).into_iter();
    let value = values.next()?.to_str().ok()?.trim();
    values.next().is_none().then_some(value)
}

/// Whether bytes follow the head that belong to the request: they would be taken for frames.
fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get_all(header::CONTENT_LENGTH).into_iter().any(|length| length != "0")
}

fn is_key(key: &str) -> bool {
    KEY_BASE64.decode(key).is_ok_and(|bytes| bytes.len() == KEY_LENGTH)
}

fn accept_key(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(SALT).finalize())
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read, Write};

    use hyper::header::HeaderValue;

    use super::*;

    /// The key and the answer of RFC 6455 §1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ANSWER: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    const GOOD: [(&str, &str); 5] = [
        ("host", "localhost"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
    ];

    fn headers<'h>(pairs: impl IntoIterator<Item = (&'h str, &'h str)>) -> HeaderMap {
        let pairs = pairs.into_iter();
        pairs
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    fn ask(headers: &HeaderMap) -> Result<Accepted<'static>, Refusal> {
        accept(&Method::GET, Version::HTTP_11, headers, &["one", "two"], Compression::On)
    }

    /// The good request with `name` said as `values`, not at all if there are none.
    fn ask_with(name: &str, values: &[&str]) -> Result<Accepted<'static>, Refusal> {
        let mut said = headers(GOOD.into_iter().filter(|(good, _)| *good != name));
        for value in values {
            said.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        ask(&said)
    }

    fn status_with(name: &str, values: &[&str]) -> u16 {
        ask_with(name, values).map_or_else(|refusal| refusal.status.as_u16(), |_| 101)
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        let expected = Accepted { accept_key: ANSWER.to_owned(), subprotocol: None, extensions: None };
        assert_eq!(ask(&headers(GOOD)), Ok(expected));
    }

    #[test]
    fn the_upgrade_is_found_in_any_list_and_case() {
        assert_eq!(status_with("connection", &["keep-alive, UPGRADE"]), 101);
        assert_eq!(status_with("connection", &["keep-alive", "upgrade"]), 101);
        assert_eq!(status_with("upgrade", &["h2c , WebSocket"]), 101);
        for (name, value) in [("connection", "keep-alive"), ("upgrade", "websockets"), ("upgrade", "h2c")] {
            assert_eq!(status_with(name, &[value]), 426, "{name}: {value}");
            assert_eq!(status_with(name, &[]), 426, "no {name}");
        }
    }

    #[test]
    fn another_version_is_told_the_right_one() {
        for values in [&[][..], &["8"], &["13, 8"], &["13", "13"]] {
            let refusal = ask_with("sec-websocket-version", values).unwrap_err();
            assert_eq!(refusal.status, StatusCode::UPGRADE_REQUIRED);
            assert_eq!(refusal.header, Some((header::SEC_WEBSOCKET_VERSION, "13")));
        }
    }

    #[test]
    fn a_key_is_16_bytes_of_base64_once() {
        assert_eq!(status_with("sec-websocket-key", &["AQIDBAUGBwgJCgsMDQ4PEC=="]), 101, "the example of §4.1");
        for bad in ["", "dGhlIHNhbXBsZSBub25jZ", "dGhlIHNhbXBsZSBub25j", "dGhlIHNhbXBsZSBub25jZWU=", "!!!"] {
            assert_eq!(status_with("sec-websocket-key", &[bad]), 400, "{bad}");
        }
        assert_eq!(status_with("sec-websocket-key", &[]), 400);
        assert_eq!(status_with("sec-websocket-key", &[KEY, KEY]), 400);
    }

    #[test]
    fn the_host_is_said_once() {
        assert_eq!(status_with("host", &["example.com:8080"]), 101);
        assert_eq!(status_with("host", &[]), 400);
        assert_eq!(status_with("host", &["a.example", "a.example"]), 400);
    }

    #[test]
    fn there_is_no_body() {
        assert_eq!(status_with("content-length", &["0"]), 101);
        assert_eq!(status_with("content-length", &["5"]), 400);
        assert_eq!(status_with("content-length", &["0", "5"]), 400);
        assert_eq!(status_with("transfer-encoding", &["chunked"]), 400);
    }

    #[test]
    fn the_first_wanted_subprotocol_that_is_offered_is_chosen() {
        let chosen = |values: &[&str]| ask_with("sec-websocket-protocol", values).unwrap().subprotocol;
        assert_eq!(chosen(&["two, one"]), Some("two"));
        assert_eq!(chosen(&["zero", "one,two"]), Some("one"));
        assert_eq!(chosen(&["ONE", "three"]), None, "names are case-sensitive");
        assert_eq!(chosen(&[""]), None);
        assert_eq!(chosen(&[" , one"]), Some("one"));
    }

    #[test]
    fn compression_is_agreed_on_where_it_is_on() {
        let offer = ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits");
        let said = headers(GOOD.into_iter().chain([offer]));
        let accept_with =
            |compression| accept(&Method::GET, Version::HTTP_11, &said, &[], compression).unwrap().compression();
        assert_eq!(accept_with(Compression::On), Compression::On);
        assert_eq!(accept_with(Compression::Off), Compression::Off);
        assert_eq!(ask(&headers(GOOD)).unwrap().compression(), Compression::Off, "it was not offered");
    }

    #[test]
    fn another_method_or_http_version_is_refused() {
        let refusal = accept(&Method::POST, Version::HTTP_11, &headers(GOOD), &[], Compression::Off).unwrap_err();
        assert_eq!(refusal.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refusal.header, Some((header::ALLOW, "GET")));
        let refusal = accept(&Method::GET, Version::HTTP_10, &headers(GOOD), &[], Compression::Off).unwrap_err();
        assert_eq!(refusal.status, StatusCode::BAD_REQUEST);
    }

    /// A server in memory: answers the request that was written as soon as it is read from.
    #[derive(Default)]
    struct Server {
        request: Vec<u8>,
        response: Option<io::Cursor<String>>,
    }

    impl Read for Server {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let response = self.response.get_or_insert_with(|| io::Cursor::new(respond(&self.request)));
            response.read(buffer)
        }
    }

    impl Write for Server {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.request.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn respond(request: &[u8]) -> String {
        let request = str::from_utf8(request).unwrap();
        let headers = headers(request.lines().filter_map(|line| line.split_once(": ")));
        let accepted = ask(&headers).unwrap();
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {}\r\n\r\n",
            accepted.accept_key,
            accepted.subprotocol.unwrap()
        )
    }

    #[test]
    fn a_foreign_client_agrees() {
        let uri = "ws://localhost/v1/ws".parse().unwrap();
        let request = tungstenite::ClientRequestBuilder::new(uri).with_sub_protocol("two");
        let (_, response) = tungstenite::client(request, Server::default()).unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "two");
    }
}
