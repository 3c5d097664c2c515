//! The events of one request: published in order, and what became of each.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;

use super::super::answer::Denied;
use super::lines::{Line, Lines, MAX_LINE_BYTES};
use crate::hub::Accepted;
use crate::hub::names::Names;
use crate::hub::stream::Stream;
use crate::ingest::{Code, Publisher, Rejection, fields, publish};
use crate::metrics;
use crate::metrics::labels::Declined;

/// The events of one array. Lines may be more, because they are published as they come.
pub const MAX_EVENTS: usize = 100_000;
/// Rejected events that an answer tells of; how many more there were is told as a number. Each costs some 100 bytes.
pub const MAX_TOLD: usize = 1000;
/// Events that are published before other tasks of the thread have their turn: less than a millisecond of work.
const EVENTS_PER_TURN: usize = 256;

/// What becomes of the events of one request.
pub struct Batch<'s> {
    stream: &'s Stream,
    publisher: &'s Publisher,
    /// What the publisher may call the stream beside its name.
    names: &'s Names,
    /// Events so far.
    count: usize,
    accepted: usize,
    seq: u64,
    /// There was no room for an event. The rest is not tried, so that no later event overtakes an earlier one.
    stopped: Option<Stopped>,
    forbidden: usize,
    told: Vec<Rejected>,
}

/// Why no further event is tried, when one may be, and how many were meant.
#[derive(Clone, Copy)]
struct Stopped {
    code: Code,
    again: Duration,
    events: usize,
}

#[derive(Serialize)]
struct Rejected {
    index: usize,
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
    #[serde(skip_serializing_if = "is_zero")]
    more_rejected: usize,
    position: Option<Position<'s>>,
    /// Why the body was not read to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<serde_json::Value>,
}

/// One object, or an array of events: the texts of the events. Nothing is published before all of it was read.
pub fn split<'a>(body: &'a [u8], stream: &str) -> Result<Vec<&'a RawValue>, Denied> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let events: Result<Vec<&RawValue>, _> = match first {
        Some(b'[') => serde_json::from_slice(body),
        _ => serde_json::from_slice(body).map(|one| vec![one]),
    };
    match events {
        Ok(events) if events.len() > MAX_EVENTS => {
            let message = format!(
                "an array has at most {MAX_EVENTS} events; send them in several requests, or as application/x-ndjson"
            );
            Err(Denied::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many_events", message))
        }
        Ok(events) => Ok(events),
        Err(error) => {
            metrics::ingest_rejected(stream, Declined::InvalidJson, 1);
            let message = format!(
                "the body is neither one JSON object nor an array of them: {error}; for one object a line send Content-Type: application/x-ndjson"
            );
            Err(Denied::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_json", message))
        }
    }
}

impl<'s> Batch<'s> {
    pub fn new(stream: &'s Stream, publisher: &'s Publisher, names: &'s Names) -> Self {
        Self { stream, publisher, names, count: 0, accepted: 0, seq: 0, stopped: None, forbidden: 0, told: vec![] }
    }

    pub async fn take_all(&mut self, events: &[&RawValue]) {
        for event in events {
            self.take(Line::Text(event.get().as_bytes()));
            self.give_way().await;
        }
    }

    /// Takes the lines that are there whole.
    pub async fn take_lines(&mut self, lines: &mut Lines) {
        while let Some(line) = lines.next_line() {
            self.take(line);
            self.give_way().await;
        }
    }

    pub fn take(&mut self, line: Line<'_>) {
        let outcome = match line {
            Line::Text(text) => self.publish(text),
            Line::TooLong => Err(Rejection::new(Code::TooLong, format!("a line has at most {MAX_LINE_BYTES} bytes"))),
        };
        match outcome {
            Ok(accepted) => {
                self.accepted += 1;
                self.seq = self.seq.max(accepted.seq);
            }
            Err(rejection) => self.reject(rejection),
        }
        self.count += 1;
    }

    /// The next event was cut off: it cannot be taken, whatever it looks like.
    pub fn take_cut(&mut self) {
        self.reject(Rejection::new(Code::InvalidJson, "the body ended in the middle of this line; send it again"));
        self.count += 1;
    }

    /// 202 all accepted, 207 some, 422 none, 403 none because none was allowed, 429 none for want of room. The rejected
    /// ones that say `full` or `rate_limited` can be sent again as they are.
    pub fn answer(self) -> Response {
        let status = match (self.count - self.accepted, self.accepted) {
            (0, _) => StatusCode::ACCEPTED,
            (_, 0) if self.stopped.is_some() => StatusCode::TOO_MANY_REQUESTS,
            (rejected, 0) if rejected == self.forbidden => StatusCode::FORBIDDEN,
            (_, 0) => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::MULTI_STATUS,
        };
        self.answer_with(status, None)
    }

    /// The body could not be read to its end; what became of the events before is told all the same.
    pub fn answer_broken(self, denied: Denied) -> Response {
        let mut answer = self.answer_with(denied.status(), Some(denied.error()));
        denied.add_header(&mut answer);
        answer
    }

    fn publish(&mut self, text: &[u8]) -> Result<Accepted, Rejection> {
        let event = fields(text)?.event(self.stream.name(), self.names)?;
        if let Some(stopped) = self.stopped {
            return Err(Rejection::new(stopped.code, ""));
        }
        publish(self.stream, &event, self.publisher)
    }

    fn reject(&mut self, rejection: Rejection) {
        let Rejection { code, pointer, message, again } = rejection;
        let error = match code {
            Code::Full | Code::RateLimited => {
                let first = Stopped { code, again: again.unwrap_or_default(), events: 0 };
                self.stopped.get_or_insert(first).events += 1;
                code.name().to_owned()
            }
            Code::Forbidden => {
                self.forbidden += 1;
                code.name().to_owned()
            }
            _ => message,
        };
        if self.told.len() < MAX_TOLD {
            self.told.push(Rejected { index: self.count, pointer, error });
        }
    }

    async fn give_way(&self) {
        if self.count.is_multiple_of(EVENTS_PER_TURN) {
            tokio::task::yield_now().await;
        }
    }

    fn answer_with(self, status: StatusCode, error: Option<serde_json::Value>) -> Response {
        let rejected = self.count - self.accepted;
        let name = self.stream.name();
        let late = self.stopped.map_or(0, |stopped| stopped.events);
        let reason = self.stopped.map_or(Declined::Full, |stopped| stopped.code.reason());
        metrics::ingest_rejected(name, reason, late as u64);
        metrics::ingest_rejected(name, Declined::Forbidden, self.forbidden as u64);
        metrics::ingest_rejected(name, Declined::Invalid, (rejected - late - self.forbidden) as u64);
        let outcome = Outcome {
            accepted: self.accepted,
            rejected: &self.told,
            more_rejected: rejected - self.told.len(),
            position: self.position(),
            error,
        };
        let mut answer = (status, Json(outcome)).into_response();
        if let Some(Stopped { again, .. }) = self.stopped {
            let seconds = again.as_secs() + u64::from(again.subsec_nanos() > 0);
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it so")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_one_object_or_an_array() {
        let texts =
            |body: &'static [u8]| split(body, "ticks").unwrap().iter().map(|event| event.get()).collect::<Vec<_>>();
        assert_eq!(texts(b" {\"a\":1}\n"), ["{\"a\":1}"]);
        assert_eq!(texts(b"\n[{\"a\":1} , 7]"), ["{\"a\":1}", "7"]);
        assert!(texts(b"[]").is_empty());
        for body in [&b""[..], b"{}{}", b"[{}", b"[{}]]", b"{\"a\":\xff}"] {
            let refused = split(body, "ticks").unwrap_err();
            assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{body:?}");
        }
    }

    #[test]
    fn the_number_of_events_of_an_array_is_bounded() {
        let array = |events: usize| format!("[{}{{}}]", "{},".repeat(events - 1));
        assert_eq!(split(array(MAX_EVENTS).as_bytes(), "ticks").unwrap().len(), MAX_EVENTS);
        let refused = split(array(MAX_EVENTS + 1).as_bytes(), "ticks").unwrap_err();
        assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
}
