//! How blocks of server-sent events end: with where the client is after them, from which it goes on when it comes back.

use std::sync::Arc;

use bytes::Bytes;

use super::Connection;
use crate::event::{LogId, Position};

impl Connection {
    /// From here on the client is at this number of a log, unless it hears no log's numbers.
    pub fn hold_place(&mut self, log: LogId, stream: &Arc<str>, position: &Position) {
        if !self.dialect().is_framed() {
            self.places.hold(log, stream, position);
        }
    }

    pub fn give_up_place(&mut self, log: LogId) {
        self.places.give_up(log);
    }

    /// A block of server-sent events that shows no number leaves the client where it is: what came to wait before it may
    /// have been dropped.
    pub(super) fn end_reply(&self, block: Bytes) -> Bytes {
        if self.dialect().is_framed() { block } else { self.memory.hold([&block[..], b"\n"].concat()) }
    }

    /// Any other, which brings it to this number of a log, ends with where the client is after it.
    pub(super) fn end_block(&mut self, block: Bytes, log: LogId, seq: u64) -> Bytes {
        if self.dialect().is_framed() {
            return block;
        }
        self.places.reach(log, seq);
        self.memory.hold([&block[..], &self.places.id()].concat())
    }
}
