//! What is said on one connection of the ingest socket: an answer line for every line, in order. No I/O.

use std::sync::Arc;

use serde::Serialize;

use super::lines::{Line, Lines, MAX_LINE_BYTES};
use crate::hub::Hub;
use crate::hub::names::Names;
use crate::ingest::read::Fields;
use crate::ingest::{Code, Publisher, Rejection, fields, take};
use crate::metrics;

/// One producer's side of a connection. Whoever could open the socket may publish to every declared stream.
pub struct Talk {
    hub: Arc<Hub>,
    lines: Lines,
    answers: Vec<u8>,
}

#[derive(Serialize)]
struct Told<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<bool>,
    /// Of a private stream none: it has a numbering per audience.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Option<Position<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

#[derive(Serialize)]
struct Position<'a> {
    epoch: &'a str,
    seq: u64,
}

#[derive(Serialize)]
struct Error<'a> {
    code: &'a str,
    message: &'a str,
    pointer: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_ms: Option<u128>,
}

impl Talk {
    pub fn new(hub: Arc<Hub>) -> Self {
        Self { hub, lines: Lines::default(), answers: Vec::new() }
    }

    /// Takes in what arrived; `answer_next` works through it.
    pub fn hear(&mut self, piece: &[u8]) {
        self.lines.push(piece);
    }

    /// Answers the next whole line; `false` when there is none.
    pub fn answer_next(&mut self) -> bool {
        let Some(line) = self.lines.next_line() else { return false };
        answer(&self.hub, &line, &mut self.answers);
        true
    }

    /// Nothing more will come: what stands behind the last line end is a line, too.
    pub fn end(&mut self) {
        if let Some(rest) = self.lines.rest() {
            answer(&self.hub, &rest, &mut self.answers);
        }
    }

    /// The answers that were not taken yet.
    pub fn answers(&mut self) -> &mut Vec<u8> {
        &mut self.answers
    }
}

fn answer(hub: &Hub, line: &Line<'_>, out: &mut Vec<u8>) {
    let read = match line {
        Line::Text(text) => fields(text),
        Line::TooLong => Err(Rejection::new(Code::TooLong, format!("a line has at most {MAX_LINE_BYTES} bytes"))),
    };
    let id = read.as_ref().ok().and_then(Fields::id);
    let stream = read.as_ref().ok().and_then(|fields| fields.stream().ok());
    match read.and_then(|fields| take(hub, &fields, &Publisher::Trusted, Names::NONE)) {
        Ok(taken) => {
            let position = taken.position();
            let position = position.as_ref().map(|at| Position { epoch: &at.epoch, seq: at.seq });
            write(&Told { accepted: Some(true), position: Some(position), error: None, id: id.as_deref() }, out);
        }
        Err(Rejection { code, pointer, message, again }) => {
            // A name that nobody declared is no label.
            let stream = stream.filter(|name| hub.stream(name).is_some());
            metrics::ingest_rejected(stream.as_deref().unwrap_or_default(), code.reason(), 1);
            let retry_ms = again.map(|again| again.as_millis());
            let error = Error { code: code.name(), message: &message, pointer: &pointer, retry_ms };
            write(&Told { accepted: None, position: None, error: Some(error), id: id.as_deref() }, out);
        }
    }
}

fn write(told: &Told<'_>, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, told).expect("writing texts and numbers into memory cannot fail");
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::hub::settings::{Settings, Source};
    use crate::ingest::of_broadcaster;

    fn hub() -> Arc<Hub> {
        let hub = Hub::new("e1");
        hub.declare("ticks", Settings { listen_buffer: 600, ..Settings::default() });
        hub.declare("user", Settings { private: true, ..Settings::default() });
        hub.declare("bars", Settings::default()).set_source(Source::Running);
        hub
    }

    fn answers(hub: &Arc<Hub>, lines: &[u8]) -> Vec<Value> {
        let mut talk = Talk::new(hub.clone());
        talk.hear(lines);
        while talk.answer_next() {}
        talk.end();
        let answers = std::mem::take(talk.answers());
        answers.split_inclusive(|byte| *byte == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    fn refused(code: &str, pointer: &str, message: &str) -> Value {
        json!({"error": {"code": code, "pointer": pointer, "message": message}})
    }

    #[test]
    fn every_line_has_its_answer_in_order_and_with_its_id() {
        let lines = "{\"stream\":\"ticks\",\"type\":\"a\",\"id\":\"7\"}\n\n{\"stream\":\"ticks\",\"type\":\"b\"}\n{\"stream\":\"ticks\",\"type\":\"a\",\"id\":\"7\"}\n{\"stream\":\"user\",\"type\":\"c\",\"audience\":\"u\"}\n{\"stream\":\"ticks\",\"id\":\"8\"}";
        let missing = json!({"code": "invalid_message", "pointer": "/type", "message": "\"type\" is missing; it says what happened"});
        let expected = [
            json!({"accepted": true, "position": {"epoch": "e1", "seq": 1}, "id": "7"}),
            json!({"accepted": true, "position": {"epoch": "e1", "seq": 2}}),
            json!({"accepted": true, "position": {"epoch": "e1", "seq": 1}, "id": "7"}),
            json!({"accepted": true, "position": null}),
            json!({"error": missing, "id": "8"}),
        ];
        assert_eq!(answers(&hub(), lines.as_bytes()), expected);
    }

    #[test]
    fn mistakes_name_their_code_their_place_and_the_rule() {
        let rows = [
            ("7", refused("invalid_message", "", "an event is a JSON object, like {\"type\":\"tick\",\"data\":{}}")),
            ("{", refused("invalid_json", "", "not JSON: EOF while parsing an object at line 1 column 1")),
            ("{}", refused("missing_stream", "/stream", "\"stream\" is missing; streams to publish to: ticks, user")),
            ("{\"stream\":7}", refused("invalid_message", "/stream", "\"stream\" must be a string")),
            (
                "{\"stream\":\"no\\n\"}",
                refused("unknown_stream", "/stream", "unknown stream \"no\\n\"; streams to publish to: ticks, user"),
            ),
            ("{\"stream\":\"bars\",\"type\":\"a\"}", refused("forbidden", "/stream", &of_broadcaster("bars"))),
            (
                "{\"stream\":\"ticks\",\"type\":\"a\",\"audience\":\"u\"}",
                refused(
                    "invalid_message",
                    "/audience",
                    "the event has an audience, but the stream is not private; set private = true, or leave it out",
                ),
            ),
        ];
        for (line, expected) in rows {
            assert_eq!(answers(&hub(), line.as_bytes()), [expected], "{line}");
        }
    }

    #[test]
    fn a_full_stream_says_when_to_come_back_and_the_producer_decides() {
        let hub = hub();
        let ticks = hub.stream("ticks").unwrap();
        let listener = ticks.listen(Arc::default(), None);
        let line = "{\"stream\":\"ticks\",\"type\":\"a\"}\n";
        let told = answers(&hub, line.repeat(4).as_bytes());
        assert_eq!(told[2]["accepted"], true);
        assert_eq!((&told[3]["error"]["code"], &told[3]["error"]["retry_ms"]), (&json!("full"), &json!(100)));
        ticks.saved_inputs(listener, 3);
        assert_eq!(answers(&hub, line.as_bytes())[0]["position"]["seq"], 4);
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_and_the_next_is_read() {
        let long = vec![b' '; MAX_LINE_BYTES + 1];
        let told = answers(&hub(), &[&long[..], b"\n{\"stream\":\"ticks\",\"type\":\"a\"}"].concat());
        assert_eq!((&told[0]["error"]["code"], &told[1]["accepted"]), (&json!("message_too_large"), &json!(true)));
    }
}
