//! The opening handshake of RFC 6455 §4.2: from a request's head to the answer that opens the connection, or to the refusal.

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hyper::header::{self, AsHeaderName, HeaderMap, HeaderName};
use hyper::{Method, StatusCode, Version};
use sha1::{Digest, Sha1};

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
/// it named first.
pub fn accept<'s>(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
    offered: &[&'s str],
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
    let Some(key) = only(headers, header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key)) else {
        return Err(bad_request("Sec-WebSocket-Key must be given once and be 16 bytes in base64"));
    };
    let subprotocol = tokens(headers, header::SEC_WEBSOCKET_PROTOCOL)
        .find_map(|wanted| offered.iter().copied().find(|offer| *offer == wanted));
    Ok(Accepted { accept_key: accept_key(key), subprotocol })
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

fn is_key(key: &str) -> bool {
    KEY_BASE64.decode(key).is_ok_and(|bytes| bytes.len() == KEY_LENGTH)
}

fn accept_key(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(SALT).finalize())
}
