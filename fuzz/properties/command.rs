//! Whatever text a client sends: every request in it is read or refused with an answer that is proper JSON, and what was
//! read means the same when it is written anew.

use std::collections::BTreeMap;
use std::time::Duration;

use broadcastd::dialect::fastws::Revision;
use broadcastd::dialect::{About, Begins, Command, Dialect, Refusal, Reply, Request, RequestId, Said, Target};
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
    one_request_or_an_error(Dialect::Streams, text);
    one_request_or_an_error(Dialect::Spc, text);
    for revision in [Revision::A, Revision::C] {
        is_one_route_or_closes(text, revision);
    }
    is_ignored(text);
    let requests = Dialect::Native.parse(text, &[]);
    assert!((1..=MAX_ANSWERS).contains(&requests.len()), "{} answers", requests.len());
    for request in &requests {
        match request {
            Ok(request) => means_the_same_written_anew(request),
            Err(refusal) => is_told(refusal),
        }
    }
}

/// A message of the small dialects is one request. Its answer repeats what the client named, and that means the same again.
fn one_request_or_an_error(dialect: Dialect, text: &str) {
    let requests = dialect.parse(text, &["alerts".to_owned()]);
    let [request] = &requests[..] else { panic!("{requests:?}") };
    match request {
        Err(refusal) => {
            let message = answer(dialect, &Reply::Refused(refusal));
            assert_eq!((message["type"].get(), raw(&message, "id")), ("\"error\"", mark(&refusal.id)));
        }
        Ok(Request { id, command: Command::Subscribe { target, since: None, batch: None } }) => {
            let about = About { stream: target.stream(), topics: &[], target: Some(target), session_id: None, id };
            let position = &Position { epoch: "e".into(), seq: 1 };
            let reply = Reply::Subscribed { about, position, begins: Begins::Snapshot };
            let mut message = answer(dialect, &reply);
            assert_eq!(raw(&message, "id"), mark(id));
            message.insert("type".to_owned(), RawValue::from_string("\"subscribe\"".to_owned()).expect("it is JSON"));
            let message = serde_json::to_string(&message).expect("it was JSON");
            let again = dialect.parse(&message, &["alerts".to_owned()]).remove(0);
            let Ok(Request { command: Command::Subscribe { target: again, .. }, .. }) = again else {
                panic!("{again:?}: {message}")
            };
            assert_eq!(named(&again), named(target));
        }
        Ok(Request { command, .. }) => {
            let is_other = matches!(command, Command::Unsubscribe(_) | Command::Ping | Command::Auth { .. });
            assert!(is_other, "{command:?}");
        }
    }
}

/// The fields of the only message that a reply becomes; each is proper JSON.
fn answer(dialect: Dialect, reply: &Reply<'_>) -> BTreeMap<String, Box<RawValue>> {
    let Said::Texts(texts) = dialect.reply(reply, 0) else { panic!("{reply:?} closes") };
    let [text] = &texts[..] else { panic!("{texts:?}") };
    let fields: BTreeMap<String, Box<RawValue>> =
        serde_json::from_slice(text).unwrap_or_else(|error| panic!("{error}: {}", text.escape_ascii()));
    for field in fields.values() {
        serde_json::from_str::<Value>(field.get()).unwrap_or_else(|error| panic!("{error}: {field}"));
    }
    fields
}

fn raw<'a>(message: &'a BTreeMap<String, Box<RawValue>>, name: &str) -> Option<&'a str> {
    message.get(name).map(|field| field.get())
}

fn named(target: &Target) -> (&str, Vec<(&str, &[String])>) {
    let names = match target {
        Target::Params { params, .. } => {
            params.iter().map(|(name, values)| (name.as_str(), values.as_slice())).collect()
        }
        Target::Parts { parts, .. } => vec![("", parts.as_slice())],
        other => panic!("{other:?}"),
    };
    (target.stream(), names)
}

/// A client of routes has said one thing, and names a symbol; or its connection ends with a reason that fits its frame.
fn is_one_route_or_closes(text: &str, revision: Revision) {
    const MAX_REASON: usize = 123;
    let dialect = Dialect::Fastws(revision);
    let mut requests = dialect.parse(text, &[]);
    assert_eq!(requests.len(), 1);
    let target = match requests.remove(0) {
        Err(refusal) => match dialect.reply(&Reply::Refused(&refusal), 0) {
            Said::Close { code: 1003, reason } if reason.len() <= MAX_REASON => return,
            other => panic!("{other:?}"),
        },
        Ok(Request {
            id: None,
            command: Command::Subscribe { target, since: None, batch: None } | Command::Unsubscribe(target),
        }) => target,
        Ok(other) => panic!("{other:?}"),
    };
    let Target::Params { stream, params, .. } = &target else { panic!("{target:?}") };
    assert!(params["symbol"].len() == 1 && params.values().all(|values| values.len() == 1));
    let Some(topic) = dialect.spelled_topic(&target) else { return assert_eq!(revision, Revision::A) };
    let spelled: BTreeMap<String, String> =
        serde_json::from_str(topic.strip_prefix(&format!("{stream}:")).expect("the route comes first"))
            .unwrap_or_else(|error| panic!("{error}: {topic}"));
    assert_eq!(spelled["symbol"], params["symbol"][0]);
    let again = json!({"type": format!("{stream}.subscribe"), "payload": spelled}).to_string();
    let Ok(Request { command: Command::Subscribe { target, .. }, .. }) = dialect.parse(&again, &[]).remove(0) else {
        panic!("{again}")
    };
    assert_eq!(dialect.spelled_topic(&target), Some(topic), "what is spelled anew is the same");
}

/// Whatever a client says that is only told: it is counted, and not answered.
fn is_ignored(text: &str) {
    let requests = Dialect::User.parse(text, &["user".to_owned()]);
    let [Err(refusal)] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(Dialect::User.reply(&Reply::Refused(refusal), 0), Said::Texts(Vec::new()));
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
    batch: Option<Duration>,
}

fn meaning(request: &Request) -> Meaning<'_> {
    let (target, since) = parts(&request.command);
    let (topic, params) = match target {
        Some(Target::Topic(topic)) => (Some(topic.as_str()), None),
        Some(Target::Params { stream, params, .. }) => (None, Some((stream.as_str(), params))),
        Some(Target::Topics { .. } | Target::Parts { .. } | Target::Root(_) | Target::Held(_)) => {
            panic!("the native dialect has no such target")
        }
        None => (None, None),
    };
    let batch = batch(&request.command);
    Meaning { kind: request.command.kind().text(), id: mark(&request.id), topic, params, since, batch }
}

fn parts(command: &Command) -> (Option<&Target>, Option<&Position>) {
    match command {
        Command::Subscribe { target, since, .. } => (Some(target), since.as_ref()),
        Command::Unsubscribe(target) | Command::Snapshot(target) => (Some(target), None),
        Command::Auth { .. } | Command::Publish(_) | Command::Ask { .. } => (None, None),
        Command::Streams | Command::Ping | Command::Denied(_) => (None, None),
    }
}

fn batch(command: &Command) -> Option<Duration> {
    match command {
        Command::Subscribe { batch, .. } => *batch,
        _ => None,
    }
}

fn mark(id: &RequestId) -> Option<&str> {
    let id = id.as_deref().map(RawValue::get);
    assert!(id.is_none_or(|id| id.len() <= MAX_ID));
    id
}

fn written(request: &Request) -> Option<String> {
    if matches!(request.command, Command::Denied(_) | Command::Publish(_) | Command::Ask { .. }) {
        return None;
    }
    let mut message = json!({"type": request.command.kind().text()});
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
        Some(Target::Topics { .. } | Target::Parts { .. } | Target::Root(_) | Target::Held(_)) | None => {}
    }
    if let Some(since) = since {
        message["since"] = json!({"epoch": &*since.epoch, "seq": since.seq});
    }
    if let Some(batch) = batch(&request.command) {
        message["batch_ms"] = u64::try_from(batch.as_millis()).expect("at most ten seconds").into();
    }
    let text = Value::to_string(&message);
    Some(match mark(&request.id) {
        Some(id) => format!("{},\"id\":{id}}}", &text[..text.len() - 1]),
        None => text,
    })
}
