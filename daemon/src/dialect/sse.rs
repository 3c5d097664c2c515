//! Server-sent events: the native messages in `data:`, the kind in `event:`, and in `id:` the position to resume from.

use std::io::Write as _;

use super::{Reply, native};
use crate::event::{Event, Position};

/// The answer to the request, but for its end.
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n\
connection: close\r\nx-accel-buffering: no\r\nvary: Origin\r\n";
/// What keeps proxies from taking a quiet line for a dead one.
pub const COMMENT: &[u8] = b":\n\n";

/// The answer to the request; what follows it never ends by itself. A browser shows it to a page of another origin only where
/// that stands in it; whether the page may hear anything at all was found out before, as for WebSockets.
pub fn head(origin: Option<&str>) -> Vec<u8> {
    let named =
        |origin: &str| format!("access-control-allow-origin: {origin}\r\naccess-control-allow-credentials: true\r\n");
    format!("{HEAD}{}\r\n", origin.map(named).unwrap_or_default()).into_bytes()
}

/// One event without its `id:` and without the empty line that ends it: which position it leaves the client at depends on
/// the other streams that the connection hears.
pub fn event(event: &Event) -> Vec<u8> {
    block(&event.kind, &native::event(event))
}

/// Several events as one, which leaves the client at the last of them.
pub fn batch(newest: &Event, messages: &[&[u8]]) -> Vec<u8> {
    block("batch", &native::batch(newest, messages))
}

pub fn reply(reply: &Reply<'_>, unix_ns: i64) -> Vec<u8> {
    let kind = match reply {
        Reply::Refused(_) => "refused", // a browser calls a broken line "error"
        Reply::FullUpdate { .. } => "full_update",
        Reply::Subscribed { .. } | Reply::Unsubscribed { .. } | Reply::Snapshot { .. } => "response",
        Reply::Streams { .. } | Reply::Authenticated { .. } => "response",
        _ => "status",
    };
    block(kind, &native::reply(reply, unix_ns))
}

/// The end of a block: what the client sends back as `Last-Event-ID`, one position for each stream that it hears.
pub fn id<'a>(positions: impl Iterator<Item = (&'a str, &'a Position)>) -> Vec<u8> {
    let mut out = b"id: ".to_vec();
    for (index, (stream, position)) in positions.enumerate() {
        let separator = if index == 0 { "" } else { ";" };
        write!(out, "{separator}{stream}={}:{}", position.epoch, position.seq)
            .expect("writing into memory cannot fail");
    }
    out.extend_from_slice(b"\n\n");
    out
}

/// The positions in a `Last-Event-ID`, by stream; what cannot be read is no position, and gets a snapshot.
pub fn positions(id: &str) -> Vec<(String, Position)> {
    let read = |part: &str| {
        let (stream, position) = part.trim().split_once('=')?;
        let (epoch, seq) = position.rsplit_once(':')?;
        Some((stream.to_owned(), Position { epoch: epoch.into(), seq: seq.parse().ok()? }))
    };
    id.split(';').filter_map(read).collect()
}

fn block(kind: &str, json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(kind.len() + json.len() + 24);
    if !kind.contains(['\r', '\n']) {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(kind.as_bytes());
        out.push(b'\n');
    }
    for line in json.split(|byte| *byte == b'\n' || *byte == b'\r') {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out
}
