//! What the back end of the shard sends for a connection, and whether anything is left afterwards.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::{Connection, Stage};
use crate::shard::poll::{Interest, MAX_PIECES, Next, Sink};

impl Connection {
    /// Whether nothing is left to do for it, as mostly after sending.
    pub fn is_at_rest(&self, now: Instant) -> bool {
        self.interest == Interest::Read && self.waiting.is_empty() && !self.needs_care(now)
    }

    /// What the socket should be watched for. Nothing more is read while requests wait for their answers, or more than
    /// `bound` bytes of answers for the client: pings are answered without waiting.
    pub fn wanted_interest(&self, bound: usize) -> Interest {
        match (self.waiting.is_empty() && self.outbox.asked_bytes() <= bound, self.has_sent_all()) {
            (true, true) => Interest::Read,
            (true, false) => Interest::ReadAndWrite,
            (false, _) => Interest::Write,
        }
    }
}

impl Sink for Connection {
    fn fd(&self) -> BorrowedFd<'_> {
        self.line.fd()
    }

    fn prepare(&mut self) {
        self.is_dirty = false;
        self.fetch();
        self.line.load(&mut self.outbox);
    }

    fn only_piece(&self) -> Option<&[u8]> {
        self.line.only_piece(&self.outbox)
    }

    fn pieces<'a>(&'a self, room: &mut [IoSlice<'a>; MAX_PIECES]) -> usize {
        self.line.pieces(&self.outbox, room)
    }

    fn sent(&mut self, outcome: io::Result<usize>) -> Next {
        match outcome {
            Ok(count) => {
                self.takes |= count > 0;
                self.line.sent(&mut self.outbox, count);
                self.line.load(&mut self.outbox);
                if self.has_sent_all() && matches!(self.stage, Stage::Failing(_)) {
                    self.line.end_writing();
                }
                let is_left = self.outbox.bytes() > 0 || self.line.has_unsent();
                if is_left && count > 0 { Next::Continue } else { Next::Stop }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Next::Stop,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Next::Continue,
            Err(_) => {
                self.lose();
                Next::Stop
            }
        }
    }
}
