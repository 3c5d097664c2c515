//! What the shard's back end sends for a connection.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use super::{Connection, Stage};
use crate::shard::poll::{MAX_PIECES, Next, Sink};

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
