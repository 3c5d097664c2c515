//! The native protocol, `broadcastd.v1`: JSON objects with `type`, `stream`, `session_id`, `data` and `timestamp`.

mod read;
mod write;

pub use read::parse;
pub use write::{batch, event, reply};

pub const SUBPROTOCOL: &str = "broadcastd.v1";
