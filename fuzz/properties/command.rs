//! Whatever text a client sends: every request in it is read or refused with an answer that is proper JSON, and what was
//! read means the same when it is written anew.

use std::collections::BTreeMap;

use broadcastd::dialect::{Command, Dialect, Refusal, Reply, Request, RequestId, Said, Target};
use broadcastd::event::Position;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Requests in one message, and the refusal of the rest.
const MAX_ANSWERS: usize = 1001;
/// The longest mark of a request.
const MAX_ID: usize = 128;

pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let requests = Dialect::Native.parse(text, &[]);
    assert!((1..=MAX_ANSWERS).contains(&requests.len()), "{} answers", requests.len());
    for request in &requests {
        match request {
            Ok(request) => means_the_same_written_anew(request),
            Err(refusal) => is_told(refusal),
        }
    }
}

/// What every message of the daemon has.
#[derive(Deserialize)]
struct Message<'a> {
    r#type: &'a str,
    #[expect(dead_code, reason = "it must be there")]
    stream: String,
    #[expect(dead_code, reason = "it must be there, and may be null")]
    session_id: Option<&'a str>,
    data: ErrorData,
    #[expect(dead_code, reason = "it must be there")]
    timestamp: &'a str,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ErrorData {
    code: String,
    message: String,
}

fn is_told(refusal: &Refusal) {
    let Said::Texts(mut texts) = Dialect::Native.reply(&Reply::Refused(refusal), 0) else { panic!("an error closes") };
    let text = String::from_utf8(texts.remove(0)).expect("JSON is UTF-8");
    let message: Message<'_> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!((message.r#type, &*message.data.code), ("error", refusal.code.text()));
    assert!(!message.data.message.is_empty());
    assert_eq!(message.id.map(RawValue::get), refusal.id.as_deref().map(RawValue::get));
}

fn means_the_same_written_anew(request: &Request) {
    let Some(text) = written(request) else { return };
    let mut again = Dialect::Native.parse(&text, &[]);
    assert_eq!(again.len(), 1, "{text}");
    let again = again.remove(0).unwrap_or_else(|refusal| panic!("{refusal:?}: {text}"));
    assert_eq!(meaning(&again), meaning(request), "{text}");
}

/// What a request means, without how it was written.
#[derive(Debug, PartialEq)]
struct Meaning<'a> {
    kind: &'static str,
    id: Option<&'a str>,
    topic: Option<&'a str>,
    params: Option<(&'a str, &'a BTreeMap<String, Vec<String>>)>,
    since: Option<&'a Position>,
}

fn meaning(request: &Request) -> Meaning<'_> {
    let (target, since) = parts(&request.command);
    let (topic, params) = match target {
        Some(Target::Topic(topic)) => (Some(topic.as_str()), None),
        Some(Target::Params { stream, params, .. }) => (None, Some((stream.as_str(), params))),
        Some(Target::Parts { .. } | Target::Root(_)) => panic!("the native dialect has no such target"),
        None => (None, None),
    };
    Meaning { kind: request.command.kind(), id: mark(&request.id), topic, params, since }
}

fn parts(command: &Command) -> (Option<&Target>, Option<&Position>) {
    match command {
        Command::Subscribe { target, since } => (Some(target), since.as_ref()),
        Command::Unsubscribe(target) | Command::Snapshot(target) => (Some(target), None),
        Command::Auth { .. } | Command::Streams | Command::Ping | Command::Denied(_) => (None, None),
    }
}

fn mark(id: &RequestId) -> Option<&str> {
    let id = id.as_deref().map(RawValue::get);
    assert!(id.is_none_or(|id| id.len() <= MAX_ID));
    id
}

fn written(request: &Request) -> Option<String> {
    if matches!(request.command, Command::Denied(_)) {
        return None;
    }
    let mut message = json!({"type": request.command.kind()});
    if let Command::Auth { token } = &request.command {
        message["token"] = token.as_str().into();
    }
    let (target, since) = parts(&request.command);
    match target {
        Some(Target::Topic(topic)) => message["topic"] = topic.as_str().into(),
        Some(Target::Params { stream, params, .. }) => {
            message["stream"] = stream.as_str().into();
            message["params"] = json!(params);
        }
        Some(Target::Parts { .. } | Target::Root(_)) | None => {}
    }
    if let Some(since) = since {
        message["since"] = json!({"epoch": &*since.epoch, "seq": since.seq});
    }
    let text = Value::to_string(&message);
    Some(match mark(&request.id) {
        Some(id) => format!("{},\"id\":{id}}}", &text[..text.len() - 1]),
        None => text,
    })
}
