//! Whatever clients send for the log: lines are kept, dropped or refused all together as a plain reading says, and nothing of
//! them could pass for another line.

use std::cell::OnceCell;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use broadcastd::server::client_log::{MAX_LINES, routes};
use broadcastd::server::hosts::Reach;
use broadcastd::server::http::Arrival;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tower_service::Service;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// The bytes that are kept of a text, with the sign that shows where it was cut.
const MAX_TEXT: usize = (4 << 10) + '…'.len_utf8();

thread_local! {
    static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
}

pub fn check(input: &[u8]) {
    let (status, answer, written) = send(input);
    let answer: Value = serde_json::from_slice(&answer).expect("an answer is JSON");
    for line in &written {
        assert!(line.iter().all(|text| text.len() <= MAX_TEXT && !text.contains(char::is_control)), "{line:?}");
    }
    match status {
        StatusCode::ACCEPTED => {
            let said: Value = serde_json::from_slice(input).expect("it was read as JSON");
            let (kept, dropped) = counts(&said).unwrap_or_else(|| panic!("{said} is no lines"));
            assert_eq!(answer, serde_json::json!({"kept": kept, "dropped": dropped}));
            assert_eq!(written.len(), kept);
        }
        StatusCode::BAD_REQUEST => {
            assert!(written.is_empty(), "all or none: {written:?}");
            assert_eq!(answer["error"]["code"], "invalid_log");
            let message = answer["error"]["message"].as_str().expect("a sentence");
            let is_short = (1..1000).contains(&message.len());
            assert!(is_short && !message.contains(char::is_control), "{message:?}");
            is_no_lines(input);
        }
        other => panic!("{other}: {answer}"),
    }
}

/// What was refused does not look like lines, but for members that are there twice.
fn is_no_lines(input: &[u8]) {
    let Ok(said) = serde_json::from_slice::<Value>(input) else { return };
    if counts(&said).is_some() {
        assert_eq!(send(said.to_string().as_bytes()).0, StatusCode::ACCEPTED, "{said}");
    }
}

/// How many lines are kept and how many dropped, if that is what these are.
fn counts(said: &Value) -> Option<(usize, usize)> {
    let lines = match said {
        Value::Array(lines) => &lines[..],
        one => std::slice::from_ref(one),
    };
    let kept: Vec<bool> = lines.iter().map(is_kept).collect::<Option<_>>()?;
    let count = kept.iter().filter(|is_kept| **is_kept).count();
    (lines.len() <= MAX_LINES).then_some((count, lines.len() - count))
}

fn is_kept(line: &Value) -> Option<bool> {
    let line = line.as_object()?;
    let is_text = |(name, value): (&String, &Value)| match name.as_str() {
        "level" | "message" | "url" | "user_agent" => value.is_string(),
        name => ["context", "timestamp"].contains(&name),
    };
    let is_whole = line.iter().all(is_text) && line.contains_key("message");
    match line.get("level").filter(|_| is_whole)?.as_str()?.to_ascii_lowercase().as_str() {
        "fatal" | "critical" | "error" | "warn" | "warning" => Some(true),
        "info" | "log" | "debug" | "trace" => Some(false),
        _ => None,
    }
}

/// The answer, and the texts of every line that was written.
fn send(body: &[u8]) -> (StatusCode, Vec<u8>, Vec<Vec<String>>) {
    let arrival = Arrival::at(&"here".into(), Reach::Machine);
    let request = Request::post("/v1/log").extension(arrival).body(Body::from(body.to_vec())).expect("a request");
    let mut routes = routes().into_router();
    let lines = Lines::default();
    let (status, answer) = tracing::subscriber::with_default(lines.clone(), || {
        RUNTIME.with(|runtime| {
            let runtime =
                runtime.get_or_init(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));
            runtime.block_on(async {
                let answer = routes.call(request).await.expect("it answers whatever comes");
                (answer.status(), to_bytes(answer.into_body(), usize::MAX).await.expect("an answer").to_vec())
            })
        })
    });
    let written = std::mem::take(&mut *lines.0.lock().expect("nobody panicked"));
    (status, answer, written)
}

/// A log that keeps what clients write.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<Vec<String>>>>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "client_log"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut texts = Texts::default();
        event.record(&mut texts);
        self.0.lock().expect("nobody panicked").push(texts.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Texts(Vec<String>);

impl Visit for Texts {
    fn record_str(&mut self, _: &Field, value: &str) {
        self.0.push(value.to_owned());
    }

    fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
        self.0.push(format!("{value:?}"));
    }
}
