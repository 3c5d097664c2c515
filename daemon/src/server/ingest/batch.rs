//! The events of one request: split without copying, published in order, and what became of each.

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;

use super::super::answer::Denied;
use super::read::{Mistake, read};
use crate::hub::Refused;
use crate::hub::stream::Stream;
use crate::metrics;

/// The events of one request: a rejected one costs some 50 bytes in the answer, so this bounds that, too.
pub const MAX_EVENTS: usize = 100_000;
/// Events that are published before other tasks of the thread have their turn: less than a millisecond of work.
const EVENTS_PER_TURN: usize = 256;
/// When to try again after the stream was full, in seconds: its listeners work through thousands of events in one.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");
/// What a rejected event says that was in order and found no room: sent again later it may be accepted.
const FULL: &str = "full";

/// One event's text, and where it is not even JSON, why.
pub type Piece<'a> = Result<&'a RawValue, Mistake>;

/// A body without events that could be told apart.
#[derive(Debug)]
pub enum Unreadable {
    NotJson(String),
    TooMany,
}

/// What becomes of the events of one request.
pub struct Batch<'s> {
    stream: &'s Stream,
    accepted: usize,
    seq: u64,
    is_full: bool,
    rejected: Vec<Rejected>,
}

#[derive(Serialize)]
struct Rejected {
    index: usize,
    /// Where in the event, as a JSON pointer; empty is the event itself.
    pointer: Cow<'static, str>,
    error: String,
}

#[derive(Serialize)]
struct Position<'s> {
    epoch: &'s str,
    seq: u64,
}

#[derive(Serialize)]
struct Outcome<'s> {
    accepted: usize,
    rejected: &'s [Rejected],
    position: Option<Position<'s>>,
}

/// One object, or an array of events. The array is read whole before the first event is published.
pub fn split_json(body: &[u8]) -> Result<Vec<Piece<'_>>, Unreadable> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let pieces: Vec<&RawValue> = if first == Some(&b'[') {
        serde_json::from_slice(body).map_err(Unreadable::not_json)?
    } else {
        vec![serde_json::from_slice(body).map_err(Unreadable::not_json)?]
    };
    if pieces.len() > MAX_EVENTS { Err(Unreadable::TooMany) } else { Ok(pieces.into_iter().map(Ok).collect()) }
}

/// One event a line; empty lines are none.
pub fn split_lines(body: &[u8]) -> Result<Vec<Piece<'_>>, Unreadable> {
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let pieces: Vec<Piece<'_>> =
        lines.map(|line| serde_json::from_slice(line).map_err(|error| Mistake::not_json(&error))).collect();
    if pieces.len() > MAX_EVENTS { Err(Unreadable::TooMany) } else { Ok(pieces) }
}

impl Unreadable {
    fn not_json(error: serde_json::Error) -> Self {
        Self::NotJson(error.to_string())
    }

    pub fn refuse(&self, stream: &str) -> Denied {
        match self {
            Self::NotJson(error) => {
                metrics::ingest_rejected(stream, "invalid_json", 1);
                let message = format!(
                    "the body is neither one JSON object nor an array of them: {error}; for one object a line send Content-Type: application/x-ndjson"
                );
                Denied::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_json", message)
            }
            Self::TooMany => {
                let message = format!("a request has at most {MAX_EVENTS} events; send them in several requests");
                Denied::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many_events", message)
            }
        }
    }
}

impl<'s> Batch<'s> {
    pub fn new(stream: &'s Stream) -> Self {
        Self { stream, accepted: 0, seq: 0, is_full: false, rejected: Vec::new() }
    }

    /// Publishes in order. Once the stream is full the rest is not tried, so that no later event overtakes an earlier one.
    pub async fn publish(mut self, pieces: &[Piece<'_>]) -> Self {
        for (index, piece) in pieces.iter().enumerate() {
            if index > 0 && index.is_multiple_of(EVENTS_PER_TURN) {
                tokio::task::yield_now().await;
            }
            if let Err(mistake) = self.publish_one(piece) {
                self.rejected.push(Rejected { index, pointer: mistake.pointer, error: mistake.error });
            }
        }
        self
    }

    fn publish_one(&mut self, piece: &Piece<'_>) -> Result<(), Mistake> {
        let text = piece.as_ref().map_err(Mistake::clone)?;
        let event = read(text, self.stream.name())?;
        if self.is_full {
            return Err(full());
        }
        match self.stream.publish(&event.draft(), None) {
            Ok(accepted) => {
                self.accepted += 1;
                self.seq = self.seq.max(accepted.seq);
                Ok(())
            }
            Err(Refused::Full | Refused::NoMemory) => {
                self.is_full = true;
                Err(full())
            }
            Err(refused) => Err(Mistake { pointer: pointer(&refused).into(), error: refused.to_string() }),
        }
    }

    /// 202 all accepted, 207 some, 422 none, 429 none because the stream is full. The rejected ones that say `full` can
    /// be sent again as they are.
    pub fn answer(self) -> Response {
        let full = self.rejected.iter().filter(|rejected| rejected.error == FULL).count();
        let name = self.stream.name();
        metrics::ingest_rejected(name, "full", full as u64);
        metrics::ingest_rejected(name, "invalid", (self.rejected.len() - full) as u64);
        let status = match (self.rejected.is_empty(), self.accepted) {
            (true, _) => StatusCode::ACCEPTED,
            (false, 0) if self.is_full => StatusCode::TOO_MANY_REQUESTS,
            (false, 0) => StatusCode::UNPROCESSABLE_ENTITY,
            (false, _) => StatusCode::MULTI_STATUS,
        };
        let outcome = Outcome { accepted: self.accepted, rejected: &self.rejected, position: self.position() };
        let mut answer = (status, Json(outcome)).into_response();
        if self.is_full {
            answer.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        answer
    }

    /// The newest number among the accepted events, else the stream's own. A private stream has a numbering per
    /// audience, and so none to tell.
    fn position(&self) -> Option<Position<'_>> {
        if self.stream.settings().private {
            return None;
        }
        let seq = if self.accepted > 0 { self.seq } else { self.stream.figures().seq };
        Some(Position { epoch: self.stream.epoch(), seq })
    }
}

fn full() -> Mistake {
    Mistake { pointer: "".into(), error: FULL.to_owned() }
}

fn pointer(refused: &Refused) -> &'static str {
    match refused {
        Refused::BadKind(_) => "/type",
        Refused::BadTopic(_) | Refused::TooManyTopics(_) => "/topic",
        Refused::TooManyRecords(_) => "/key",
        Refused::TooManyAudiences(_) | Refused::NotPrivate => "/audience",
        Refused::Full
        | Refused::NoMemory
        | Refused::Removed
        | Refused::TooManyCauses(_)
        | Refused::TooManyPatterns(_) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_one_object_an_array_or_lines() {
        let texts =
            |pieces: Vec<Piece<'_>>| pieces.iter().map(|p| p.as_ref().unwrap().get().to_owned()).collect::<Vec<_>>();
        assert_eq!(texts(split_json(b" {\"a\":1}\n").unwrap()), ["{\"a\":1}"]);
        assert_eq!(texts(split_json(b"\n[{\"a\":1} , 7]").unwrap()), ["{\"a\":1}", "7"]);
        assert_eq!(texts(split_lines(b"{}\r\n\n  \n{\"a\":2}").unwrap()), ["{}", "{\"a\":2}"]);
        assert!(split_json(b"[]").unwrap().is_empty() && split_lines(b"\n").unwrap().is_empty());
        for body in [&b""[..], b"{}{}", b"[{}", b"[{}]]", b"{\"a\":\xff}"] {
            assert!(matches!(split_json(body), Err(Unreadable::NotJson(_))), "{body:?}");
        }
    }

    #[test]
    fn a_bad_line_stands_alone() {
        let pieces = split_lines(b"{}\n{\n{}").unwrap();
        assert!(pieces[0].is_ok() && pieces[1].is_err() && pieces[2].is_ok());
    }

    #[test]
    fn the_number_of_events_is_bounded() {
        let lines = "{}\n".repeat(MAX_EVENTS);
        assert_eq!(split_lines(lines.as_bytes()).unwrap().len(), MAX_EVENTS);
        assert!(matches!(split_lines(format!("{lines}{{}}").as_bytes()), Err(Unreadable::TooMany)));
        let array = |events: usize| format!("[{}{{}}]", "{},".repeat(events - 1));
        assert_eq!(split_json(array(MAX_EVENTS).as_bytes()).unwrap().len(), MAX_EVENTS);
        assert!(matches!(split_json(array(MAX_EVENTS + 1).as_bytes()), Err(Unreadable::TooMany)));
    }
}
