//! Under which key each kind of event has its payload.

use crate::dialect::members::{member, members};

/// What the client reads of an event's `data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The payload itself.
    Bare,
    /// One member that is the payload.
    Under(&'static str),
    /// The same, and the payload's members beside it: the original server wraps, and its client reads them bare.
    Both(&'static str),
    /// One member that is a list, which no payload can be: the payload holds it already.
    Within(&'static str),
}

fn place(kind: &str) -> Place {
    match kind {
        "CHAIN_UPDATE" => Place::Under("chain"),
        "LIFECYCLE_EVENT" => Place::Both("event"),
        "GINIE_STATUS_UPDATE" | "MODE_STATUS_UPDATE" | "SYSTEM_STATUS_UPDATE" => Place::Under("status"),
        "CIRCUIT_BREAKER_UPDATE" => Place::Under("state"),
        "PNL_UPDATE" => Place::Under("pnl"),
        "SIGNAL_UPDATE" => Place::Under("signal"),
        "POSITION_UPDATE" => Place::Within("positions"),
        _ => Place::Bare,
    }
}

/// Appends an event's `data`.
pub fn data(kind: &str, payload: &[u8], out: &mut Vec<u8>) {
    let key = match place(kind) {
        Place::Within(key) if members(payload).is_some_and(|found| member(&found, key).is_some()) => None,
        Place::Bare => None,
        Place::Under(key) | Place::Both(key) | Place::Within(key) => Some(key),
    };
    let Some(key) = key else { return out.extend_from_slice(payload) };
    out.extend_from_slice(format!("{{\"{key}\":").as_bytes());
    out.extend_from_slice(payload);
    if place(kind) == Place::Both(key) {
        flatten(payload, key, out);
    }
    out.extend_from_slice(b"}");
}

/// A member of the name that the payload itself has here is left out, so that no name stands twice; it is in the payload.
fn flatten(payload: &[u8], taken: &str, out: &mut Vec<u8>) {
    for (name, value) in members(payload).unwrap_or_default().iter().filter(|(name, _)| name != taken) {
        out.extend_from_slice(b",");
        serde_json::to_writer(&mut *out, name).expect("writing text into memory cannot fail");
        out.extend_from_slice(b":");
        out.extend_from_slice(value.get().as_bytes());
    }
}
