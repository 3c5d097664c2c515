//! The part of the port that commands go through: what the instance is asked, and what it answers.

use std::time::Instant;

use broadcastd_plugin_api::abi::{self, Status};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{MAX_REASON, Port};
use crate::hub::commands::{Asked, Failure, MAX_RESULT_BYTES, Outcome, Reason, Refused};
use crate::hub::stream::Stream;
use crate::metrics;
use crate::metrics::labels::Untaken;

impl Port {
    /// From here on the instance is the one that is asked.
    pub fn take_office(&self, stream: &Stream) {
        self.seat.get_or_init(|| stream.commands().open(&self.signal));
    }

    /// What has no answer then never gets one from this instance.
    pub(super) fn leave_office(&self) {
        if let (Some(stream), Some(seat)) = (self.desk.stream.get(), self.seat.get()) {
            stream.commands().close(*seat);
        }
    }

    /// Everything that is asked and that it was not told yet.
    pub fn take_commands(&self) -> Vec<Asked> {
        match (self.desk.stream.get(), self.seat.get()) {
            (Some(stream), Some(seat)) => stream.commands().take(*seat, Instant::now()),
            _ => Vec::new(),
        }
    }

    /// An answer, which settles its request even if it cannot be passed on: then that is what the caller is told.
    pub fn reply(&self, request: u64, status: Status, payload: &[u8]) -> Status {
        let Some(stream) = self.desk.stream.get() else { return abi::E_UNSUPPORTED };
        let Some(seat) = self.seat.get() else { return self.refuse_reply(&FOREIGN) };
        let (outcome, bad) = match read(status, payload) {
            Ok(outcome) => (outcome, None),
            Err(bad) => {
                (Err(Failure::new(Reason::Failed, format!("the broadcaster's answer is wrong: {bad}"))), Some(bad))
            }
        };
        match (stream.commands().reply(*seat, request, outcome, Instant::now()), bad) {
            (Ok(()), None) => abi::OK,
            (Ok(()), Some(bad)) => self.refuse_reply(&bad),
            (Err(Refused::Foreign), _) => self.refuse_reply(&FOREIGN),
            (Err(Refused::Double), _) => self.refuse_reply(&DOUBLE),
            (Err(Refused::Late), _) => self.refuse_reply(&LATE),
            (Err(Refused::Closed), _) => self.refuse_reply(&CLOSED),
        }
    }

    fn refuse_reply(&self, bad: &BadReply) -> Status {
        metrics::reply_refused(&self.desk.name, bad.reason);
        self.log(abi::LOG_WARN, "reply", &format!("the answer to a command was not taken: {bad}"));
        bad.status
    }
}

/// Why an answer was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BadReply {
    status: Status,
    reason: Untaken,
    rule: &'static str,
}

const FOREIGN: BadReply =
    bad(abi::E_INVALID, Untaken::Foreign, "this instance was not asked; answer with the id of the event");
const DOUBLE: BadReply = bad(abi::E_INVALID, Untaken::Double, "it was answered before; answer once");
const LATE: BadReply =
    bad(abi::E_CLOSED, Untaken::Late, "its deadline has passed; answer earlier, and do the rest later");
const CLOSED: BadReply = bad(abi::E_CLOSED, Untaken::Closed, "the instance is no longer in office");
const NO_JSON: BadReply = bad(abi::E_INVALID, Untaken::Invalid, "the result is no JSON");
const TOO_LARGE: BadReply = bad(abi::E_LIMIT, Untaken::TooLarge, "an answer has at most 1 MiB");

const fn bad(status: Status, reason: Untaken, rule: &'static str) -> BadReply {
    BadReply { status, reason, rule }
}

impl std::fmt::Display for BadReply {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.rule)
    }
}

/// What a failure says beside its status.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    message: String,
    pointer: String,
}

/// An answer as it crossed the border; an empty result stands for `null`.
fn read(status: Status, payload: &[u8]) -> Result<Outcome, BadReply> {
    if payload.len() > MAX_RESULT_BYTES {
        return Err(TOO_LARGE);
    }
    if status < abi::OK {
        return Ok(Err(failure(status, payload)));
    }
    let result = if payload.is_empty() { b"null" } else { payload };
    match serde_json::from_slice::<IgnoredAny>(result) {
        Ok(_) => Ok(Ok(Bytes::copy_from_slice(result))),
        Err(_) => Err(NO_JSON),
    }
}

fn failure(status: Status, payload: &[u8]) -> Failure {
    let reason = match status {
        abi::E_INVALID => Reason::Invalid,
        abi::E_FORBIDDEN => Reason::Forbidden,
        abi::E_NOT_FOUND => Reason::NotFound,
        abi::E_CONFLICT => Reason::Conflict,
        abi::E_UNSUPPORTED => Reason::UnknownCommand,
        abi::E_AGAIN | abi::E_LIMIT => Reason::Full,
        abi::E_CLOSED => Reason::Unavailable,
        _ => Reason::Failed,
    };
    let Said { mut message, mut pointer } = serde_json::from_slice(payload).unwrap_or_default();
    message.truncate(message.floor_char_boundary(MAX_REASON));
    pointer.truncate(pointer.floor_char_boundary(MAX_REASON));
    if message.is_empty() {
        message.push_str("the broadcaster gave no reason");
    }
    Failure { reason, pointer, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_is_a_reason_and_what_is_said_beside_it_is_kept() {
        for (status, reason) in [
            (abi::E_INVALID, Reason::Invalid),
            (abi::E_FORBIDDEN, Reason::Forbidden),
            (abi::E_NOT_FOUND, Reason::NotFound),
            (abi::E_CONFLICT, Reason::Conflict),
            (abi::E_UNSUPPORTED, Reason::UnknownCommand),
            (abi::E_AGAIN, Reason::Full),
            (abi::E_LIMIT, Reason::Full),
            (abi::E_CLOSED, Reason::Unavailable),
            (abi::E_FAILED, Reason::Failed),
            (abi::E_PANIC, Reason::Failed),
            (-4711, Reason::Failed),
        ] {
            let said = read(status, br#"{"message":"why","pointer":"/id","later":1}"#).unwrap().unwrap_err();
            assert_eq!(said, Failure { reason, pointer: "/id".into(), message: "why".into() }, "{status}");
            for silent in [b"".as_slice(), b"{}", b"no", b"\xff", b"[1]"] {
                let said = read(status, silent).unwrap().unwrap_err();
                assert_eq!(said, Failure::new(reason, "the broadcaster gave no reason"));
            }
        }
    }

    #[test]
    fn a_result_is_json_within_its_bound() {
        let text = |length: usize| format!("\"{}\"", "x".repeat(length - 2)).into_bytes();
        assert_eq!(read(abi::OK, b""), Ok(Ok(Bytes::from_static(b"null"))));
        assert_eq!(read(7, b"[1]"), Ok(Ok(Bytes::from_static(b"[1]"))));
        assert_eq!(read(abi::OK, &text(MAX_RESULT_BYTES)).unwrap().unwrap().len(), MAX_RESULT_BYTES);
        assert_eq!(read(abi::OK, &text(MAX_RESULT_BYTES + 1)), Err(TOO_LARGE));
        assert_eq!(read(abi::E_FAILED, &text(MAX_RESULT_BYTES + 1)), Err(TOO_LARGE));
        for garbage in [b"{".as_slice(), b"1 2", b"\xff", b"'a'"] {
            assert_eq!(read(abi::OK, garbage), Err(NO_JSON));
        }
        let long = format!("{{\"message\":\"{}\"}}", "å".repeat(MAX_REASON));
        assert_eq!(read(abi::E_FAILED, long.as_bytes()).unwrap().unwrap_err().message.len(), MAX_REASON);
    }
}
