//! Whatever head a client sends: it is let in exactly when a plain reading of RFC 6455 §4.2.1 says so, and else refused
//! with what HTTP demands; and it gets compression exactly when a plain reading of RFC 7692 §7.1 says so.

use broadcastd::websocket::deflate::Compression;
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
    match accept(&method, version, &headers, &OFFERED, Compression::On) {
        Ok(accepted) => {
            let without = accept(&method, version, &headers, &OFFERED, Compression::Off).unwrap();
            assert_eq!(without, Accepted { extensions: None, accept_key: accepted.accept_key.clone(), ..accepted });
            assert_eq!(Some(accepted), reference(&method, version, &headers));
        }
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
        && once("host").is_some()
        && !headers.contains_key("transfer-encoding")
        && headers.get_all("content-length").into_iter().all(|length| length == "0")
        && is_key;
    let wanted = all("sec-websocket-protocol");
    let subprotocol = wanted.iter().find_map(|token| OFFERED.into_iter().find(|offered| token == offered));
    let extensions = extensions(headers).flatten();
    is_fine.then(|| Accepted { accept_key: derive_accept_key(key.as_bytes()), subprotocol, extensions })
}

/// The answer to the first offer that can be accepted; the outer `None` if the list breaks the grammar.
fn extensions(headers: &HeaderMap) -> Option<Option<&'static str>> {
    const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    const WITH_WINDOW: &str =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15";
    let mut answers = Vec::new();
    for header in headers.get_all("sec-websocket-extensions") {
        for member in outside_quotes(header.to_str().ok()?, ',')? {
            if member.is_empty() {
                continue;
            }
            let parts = outside_quotes(member, ';')?;
            let mut parameters = Vec::new();
            for part in &parts[1..] {
                let (name, value) = part.split_once('=').map_or((*part, None), |(name, value)| (name, Some(value)));
                let value = match value {
                    Some(value) => Some(unquoted(value.trim_matches([' ', '\t']))?),
                    None => None,
                };
                parameters.push((token(name.trim_matches([' ', '\t']))?, value));
            }
            let is_ours = token(parts[0])? == "permessage-deflate";
            answers.push((is_ours && are_known(&parameters), parameters));
        }
    }
    let (_, parameters) = match answers.into_iter().find(|(is_agreed, _)| *is_agreed) {
        Some(answer) => answer,
        None => return Some(None),
    };
    let has_window = parameters.iter().any(|(name, _)| *name == "server_max_window_bits");
    Some(Some(if has_window { WITH_WINDOW } else { AGREED }))
}

fn are_known(parameters: &[(&str, Option<String>)]) -> bool {
    let times = |name: &str| parameters.iter().filter(|(other, _)| *other == name).count();
    parameters.iter().all(|(name, value)| {
        let is_window = |text: &String| (8..=15).any(|bits: u8| bits.to_string() == *text);
        let is_known = match *name {
            "server_no_context_takeover" | "client_no_context_takeover" => value.is_none(),
            "client_max_window_bits" => value.as_ref().is_none_or(is_window),
            "server_max_window_bits" => value.as_deref() == Some("15"),
            _ => false,
        };
        is_known && times(name) == 1
    })
}

/// The trimmed parts between separators that are in no quotes; `None` where quotes stay open.
fn outside_quotes(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, character) in text.char_indices() {
        match (quoted, escaped, character) {
            (true, true, _) => escaped = false,
            (true, false, '\\') => escaped = true,
            (_, _, '"') => quoted = !quoted,
            (false, _, _) if character == separator => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!quoted).then(|| parts.into_iter().map(|part| part.trim_matches([' ', '\t'])).collect())
}

fn unquoted(text: &str) -> Option<String> {
    let Some(inner) = text.strip_prefix('"') else { return token(text).map(str::to_owned) };
    let (mut value, mut characters) = (String::new(), inner.chars());
    loop {
        match characters.next()? {
            '\\' => value.push(characters.next()?),
            '"' => break,
            character => value.push(character),
        }
    }
    (characters.next().is_none() && token(&value).is_some()).then_some(value)
}

fn token(text: &str) -> Option<&str> {
    let is_of_token = |byte: u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
    (!text.is_empty() && text.bytes().all(is_of_token)).then_some(text)
}
