//! By what a connection shows that it lives, and the ways in which it ends.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Connection, Stage};
use crate::dialect::{Reply, Said, sse};
use crate::event::unix_now;
use crate::metrics;
use crate::shard::poll::Interest;
use crate::websocket::close;
use crate::websocket::frame::{self, Violation};

/// How long a client may take to answer a close frame, or to take what waits before ours, before the socket is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a client of server-sent events hears something although there is nothing to say.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

impl Connection {
    /// Ends the connection for a reason of ours: what waits is dropped, the client gets the code.
    pub fn close(&mut self, code: u16, reason: &str, now: Instant) {
        self.close_with(&[], code, reason, now);
    }

    /// The same after some last words, which are not dropped.
    pub fn close_with(&mut self, last_words: &[Reply<'_>], code: u16, reason: &str, now: Instant) {
        if self.stage != Stage::Open {
            return;
        }
        metrics::connection_ended(code);
        self.waiting.clear();
        self.outbox.drop_all();
        for reply in last_words {
            // A dialect that would only close for it leaves that to the code, which tells more.
            if let Said::Texts(texts) = self.dialect().reply(reply, unix_now()) {
                self.say_texts(&texts);
            }
        }
        if self.dialect().is_framed() {
            self.outbox.control(frame::close(code, reason));
            self.stage = Stage::Closing(now + CLOSE_TIMEOUT);
            self.answer_goodbye(now);
        } else {
            self.stage = Stage::Closed(now + CLOSE_TIMEOUT); // its end is all that is to say
        }
    }

    /// The socket ended or failed; nothing more can be said.
    pub fn lose(&mut self) {
        const ABNORMAL: u16 = 1006;
        if self.stage == Stage::Open {
            metrics::connection_ended(ABNORMAL);
        }
        self.stage = Stage::Gone;
    }

    /// What time asks for: a ping, or the end of a connection that gave no sign of life or did not answer a close.
    pub fn tick(&mut self, ping_every: Duration, drop_after: Duration, now: Instant) {
        self.outbox.give_back();
        if self.gives_sign() {
            self.heard_at = now;
        }
        match self.stage {
            Stage::Open if now.duration_since(self.heard_at) >= drop_after => {
                self.close(close::GOING_AWAY, "silent for too long", now);
            }
            Stage::Open if !self.dialect().is_framed() => self.comment(now),
            Stage::Open if now.duration_since(self.pinged_at.max(self.heard_at)) >= ping_every => {
                self.pinged_at = now;
                self.outbox.control(frame::ping(b""));
            }
            _ => {}
        }
    }

    /// Whether the client has shown since the last tick that it lives, although it may have said nothing. What it takes of what
    /// waits is a sign, because a ping would wait behind that. Of whom nothing is read, and nothing waits, none can be asked for.
    fn gives_sign(&mut self) -> bool {
        let (takes, is_read) =
            (std::mem::take(&mut self.takes), self.decoder.is_some() && self.interest != Interest::Write);
        if self.has_sent_all() { !is_read } else { takes }
    }

    /// A client of server-sent events answers nothing: what it takes of this, or does not take, shows whether it is there.
    fn comment(&mut self, now: Instant) {
        if now.duration_since(self.pinged_at) >= COMMENT_EVERY {
            self.pinged_at = now;
            self.outbox.control(Bytes::from_static(sse::COMMENT));
        }
    }

    /// Answers the client's close frame, if it has sent one and nothing waits that it has asked for before.
    pub fn answer_goodbye(&mut self, now: Instant) {
        let Some(code) = self.goodbye.take_if(|_| self.waiting.is_empty()) else { return };
        match self.stage {
            Stage::Open => {
                metrics::connection_ended(code);
                let answer = if code == close::NO_CODE { close::NORMAL } else { code };
                self.outbox.control(frame::close(answer, ""));
                self.stage = Stage::Closed(now + CLOSE_TIMEOUT);
            }
            Stage::Closing(until) => self.stage = Stage::Closed(until),
            Stage::Failing(_) | Stage::Closed(_) | Stage::Gone => {}
        }
    }

    pub(super) fn fail(&mut self, violation: Violation, now: Instant) {
        self.close(violation.code, violation.reason, now);
        self.stage = Stage::Failing(now + CLOSE_TIMEOUT);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind, Read};
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use super::*;
    use crate::dialect::Dialect;
    use crate::shard::inbox::{Endpoint, Newcomer};
    use crate::shard::poll::{Backend, Epoll, wake_fd};
    use crate::shard::slabs::Slabs;
    use crate::shard::tests::CONFIG;

    /// A connection after `act` and one flush, and what its client reads of it.
    fn after(act: impl FnOnce(&mut Connection)) -> (Connection, Vec<u8>, io::Result<usize>) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let newcomer = Newcomer::over(ours, Endpoint::open("/v1/ws", Dialect::Native).into());
        let mut connections = Slabs::default();
        let token = connections.insert(Connection::new(newcomer, 0, &CONFIG, &Arc::default(), Instant::now()));
        act(&mut connections[token]);
        Epoll::new(&wake_fd().unwrap()).unwrap().flush(&mut connections, &[token]);
        theirs.set_nonblocking(true).unwrap();
        let mut heard = Vec::new();
        let end = theirs.read_to_end(&mut heard);
        (connections.remove(token), heard, end)
    }

    #[test]
    fn a_violation_ends_our_side_at_once_and_waits_for_the_client() {
        let now = Instant::now();
        let (connection, heard, end) = after(|connection| connection.hear(&mut [0x83], now));
        assert_eq!(heard, frame::close(close::PROTOCOL_ERROR, "reserved opcode"));
        assert_eq!(end.unwrap(), heard.len(), "the end follows");
        assert!(!connection.is_finished(now) && connection.is_finished(now + CLOSE_TIMEOUT));
    }

    #[test]
    fn a_close_of_ours_waits_for_its_answer() {
        let now = Instant::now();
        let (connection, heard, end) = after(|connection| connection.close(close::GOING_AWAY, "", now));
        assert_eq!(heard, frame::close(close::GOING_AWAY, ""));
        assert_eq!(end.unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(!connection.is_finished(now) && connection.is_finished(now + CLOSE_TIMEOUT));
    }
}
