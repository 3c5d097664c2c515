//! `broadcastd tap`: what the daemon delivers, a line for each event, also past reloads and restarts.

use std::io::{self, ErrorKind, Write as _};
use std::thread;
use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::daemon::unreachable;
use super::{environment, fail};
use crate::cli::{Exit, Tap};
use crate::control::{Block, Control, Error, encoded};

/// How long a daemon that went away is left alone: a restart takes seconds, and asking costs next to nothing.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Prints what is delivered, until it was enough, nobody reads it, or somebody ends it.
pub fn tap(tap: &Tap) -> Exit {
    let path = path(tap);
    let mut listener = Listener { tap, place: None, events: 0, is_back: false, is_taken: false };
    loop {
        let control = Control::find(tap.socket.as_deref(), &environment());
        match control.and_then(|control| control.listen(&path, listener.place.as_deref())) {
            Ok(events) => {
                if listener.is_back {
                    note("the daemon is back");
                }
                for block in events {
                    if let Some(exit) = listener.hear(&block) {
                        return exit;
                    }
                }
                note("the daemon ended the connection; waiting until it is back");
                listener.is_back = true;
            }
            Err(error) if !(listener.is_back && may_pass(&error)) => return unreachable(&error),
            Err(_) => {}
        }
        thread::sleep(AGAIN_AFTER);
    }
}

/// Who listens, and how far it is.
struct Listener<'a> {
    tap: &'a Tap,
    /// What to go on from.
    place: Option<String>,
    events: u64,
    /// It has been connected before.
    is_back: bool,
    /// It was told that the daemon has taken its wishes.
    is_taken: bool,
}

/// What the daemon says beside events.
#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    stream: String,
    /// Only events have these and no epoch beside them.
    seq: Option<u64>,
    topic: Option<Value>,
    epoch: Option<Value>,
    #[serde(default)]
    data: Value,
}

impl Listener<'_> {
    /// Shows a message, if it is to be shown; and how it ends, if that was the last.
    fn hear(&mut self, block: &Block) -> Option<Exit> {
        let shown = match block.event.as_str() {
            "status" | "response" | "refused" | "full_update" => match serde_json::from_str::<Said>(&block.data) {
                Ok(said) if said.seq.is_some() && said.topic.is_some() && said.epoch.is_none() => self.event(block),
                Ok(said) => self.said(block, &said),
                Err(error) => Err(fail(Exit::Internal, &format!("the daemon says what is not JSON: {error}"))),
            },
            _ => self.event(block),
        };
        // What was shown is behind, and not before.
        if let Some(place) = block.id.as_ref().filter(|_| shown.is_ok()) {
            self.place = Some(place.clone());
        }
        shown.err()
    }

    fn event(&mut self, block: &Block) -> Result<(), Exit> {
        if !self.tap.kinds.is_empty() && !self.tap.kinds.contains(&block.event) {
            return Ok(());
        }
        print(&block.data)?;
        self.events += 1;
        if self.tap.count == Some(self.events) { Err(Exit::Done) } else { Ok(()) }
    }

    fn said(&mut self, block: &Block, said: &Said) -> Result<(), Exit> {
        let Said { stream, data, .. } = said;
        let text = |key: &str| data[key].as_str().unwrap_or_default();
        match (block.event.as_str(), text("status")) {
            ("full_update", _) if self.tap.snapshot => print(&block.data),
            ("response", "subscribed") if !std::mem::replace(&mut self.is_taken, true) => {
                // Nothing may come for long, and whoever waits should know that it is awaited.
                noted(&format!("listening to {}; Ctrl-C ends it", self.tap.patterns.join(", ")))
            }
            ("response", "subscribed") if self.is_back && data["recovered"] == false => {
                let reason = "the daemon does not have what happened meanwhile any more";
                gap(stream, &json!({"status": "not_recovered", "reason": reason}))
            }
            ("status", "lagged") => gap(stream, data),
            ("status", "no_source") => noted(&format!("nothing comes of stream {stream}: {}", text("reason"))),
            ("status", "source") => noted(&format!("events of stream {stream} come again")),
            ("refused", _) if self.is_back => noted(text("message")),
            ("refused", _) => Err(fail(Exit::Data, &refusal(text("code"), text("message")))),
            _ => Ok(()),
        }
    }
}

fn path(tap: &Tap) -> String {
    let topics = tap.patterns.iter().map(|pattern| format!("topic={}", encoded(pattern)));
    let audience = tap.private.iter().map(|user| format!("audience={}", encoded(user)));
    format!("/v1/sse?{}", topics.chain(audience).collect::<Vec<_>>().join("&"))
}

fn refusal(code: &str, message: &str) -> String {
    match code {
        "authentication_required" => format!("{message}; --private USER shows the log of one user"),
        _ => message.to_owned(),
    }
}

/// Whether it may be otherwise in a moment, of a daemon that was there.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Nobody(_) | Error::Lost(..) => true,
        Error::Refused(answer) => answer.status == StatusCode::SERVICE_UNAVAILABLE,
        Error::Denied(_) => false,
    }
}

/// A line where events are missing.
fn gap(stream: &str, data: &Value) -> Result<(), Exit> {
    print(&json!({"type": "gap", "stream": stream, "data": data}).to_string())
}

/// A whole line at once, so that whoever reads it never has a half.
fn print(line: &str) -> Result<(), Exit> {
    let mut out = io::stdout().lock();
    let printed = out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush());
    printed.map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Exit::Done, // whoever read it has enough
        _ => fail(Exit::Internal, &format!("standard output cannot be written to: {error}")),
    })
}

/// Says what is no event, and goes on.
fn noted(text: &str) -> Result<(), Exit> {
    note(text);
    Ok(())
}

fn note(text: &str) {
    // Nobody reads what cannot be printed.
    _ = writeln!(io::stderr(), "{text}");
}
