//! `broadcastd publish`: events from arguments or lines into a stream of the running daemon, and what became of each.

use std::io::{self, Read as _};

use hyper::Method;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::daemon::ask;
use super::{fail, say};
use crate::cli::{Event, Exit, Format, Publish};
use crate::control::{Body, encoded};
use crate::server::ingest::lines::{Line, Lines, MAX_LINE_BYTES};

/// Lines of one request: fewer than an answer tells of one by one.
const LINES_PER_REQUEST: usize = 500;
/// What is read of standard input at once; whole lines in it go on without waiting for more.
const PIECE_BYTES: usize = 64 << 10;

/// Publishes, and says of each event whether it was accepted.
pub fn publish(publish: &Publish) -> Exit {
    let mut report = Report { publish, events: 0, accepted: 0 };
    let done = match &publish.event.kind {
        Some(kind) => report.send(&[Entry::Text(one(kind, &publish.event))]),
        None => lines(&mut report),
    };
    if let Err(exit) = done {
        return exit;
    }
    let rejected = report.events - report.accepted;
    if publish.reach.format == Format::Text && report.events != 1 {
        say(&format!("{} accepted, {rejected} rejected", report.accepted));
    }
    if rejected == 0 { Exit::Done } else { Exit::Data }
}

/// An event as it is sent.
enum Entry {
    Text(Vec<u8>),
    /// A line that no daemon would take.
    TooLong,
}

/// What was said so far.
struct Report<'a> {
    publish: &'a Publish,
    events: usize,
    accepted: usize,
}

#[derive(Serialize)]
struct One<'a> {
    r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audience: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

fn one(kind: &str, event: &Event) -> Vec<u8> {
    let Event { topic, key, audience, data, .. } = event;
    let (topic, key, audience) = (topic.as_deref(), key.as_deref(), audience.as_deref());
    let one = One { r#type: kind, topic, key, audience, data: data.as_ref().map(|data| &*data.0) };
    let mut text = serde_json::to_vec(&one).unwrap_or_default();
    // Between the parts of a payload a line end is as good as a space, and inside of a text there is none.
    text.iter_mut().filter(|byte| matches!(**byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    text
}

/// Publishes lines as they come, so that they may be written by something that never ends.
fn lines(report: &mut Report<'_>) -> Result<(), Exit> {
    let (mut input, mut piece) = (io::stdin().lock(), vec![0; PIECE_BYTES]);
    let mut lines = Lines::default();
    loop {
        let count = match input.read(&mut piece) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(fail(Exit::Internal, &format!("standard input cannot be read: {error}"))),
        };
        lines.push(&piece[..count]);
        let mut entries = Vec::new();
        while let Some(line) = lines.next_line() {
            entries.push(entry(line));
        }
        if count == 0 {
            entries.extend(lines.rest().map(entry));
        }
        entries.chunks(LINES_PER_REQUEST).try_for_each(|entries| report.send(entries))?;
        if count == 0 {
            return Ok(());
        }
    }
}

fn entry(line: Line<'_>) -> Entry {
    match line {
        Line::Text(text) => Entry::Text(text.to_vec()),
        Line::TooLong => Entry::TooLong,
    }
}

impl Report<'_> {
    /// Publishes these, and says what became of each.
    fn send(&mut self, entries: &[Entry]) -> Result<(), Exit> {
        let texts: Vec<&[u8]> = entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Text(text) => Some(text.as_slice()),
                Entry::TooLong => None,
            })
            .collect();
        let path = format!("/v1/streams/{}/publish", encoded(&self.publish.stream));
        let answer = ask(&self.publish.reach, Method::POST, &path, Body::Lines(texts.join(&b'\n')))?;
        let Some(rejected) = answer.body["rejected"].as_array() else {
            return Err(fail(Exit::Data, &answer.refusal()));
        };
        let mut sent = 0..;
        for entry in entries {
            let said = match entry {
                Entry::Text(_) => {
                    let index = sent.next();
                    rejected.iter().find(|one| one["index"].as_u64() == index).map(|one| {
                        let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
                        (text("pointer"), text("error"))
                    })
                }
                Entry::TooLong => Some((String::new(), format!("a line has at most {MAX_LINE_BYTES} bytes"))),
            };
            self.tell(said);
        }
        match answer.body["error"]["message"].as_str() {
            Some(message) => Err(fail(Exit::Unavailable, message)),
            None => Ok(()),
        }
    }

    /// Says what became of the next event: a place and a reason where it was rejected.
    fn tell(&mut self, rejected: Option<(String, String)>) {
        self.events += 1;
        let number = self.events;
        self.accepted += usize::from(rejected.is_none());
        let told: Value = match &rejected {
            None => json!({"event": number, "accepted": true}),
            Some((pointer, error)) => {
                json!({"event": number, "accepted": false, "pointer": pointer, "error": error})
            }
        };
        match (self.publish.reach.format, rejected) {
            (Format::Json, _) => say(&told.to_string()),
            (Format::Text, None) => say(&format!("event {number}: accepted")),
            (Format::Text, Some((pointer, error))) if pointer.is_empty() => {
                say(&format!("event {number}: rejected: {error}"));
            }
            (Format::Text, Some((pointer, error))) => say(&format!("event {number}: rejected at {pointer}: {error}")),
        }
    }
}
