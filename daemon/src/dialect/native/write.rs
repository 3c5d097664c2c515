//! Events and replies to native text. Every message has `type`, `stream`, `session_id`, `data` and `timestamp`.

use std::sync::Arc;
use std::time::Duration;

use super::SUBPROTOCOL;
use crate::dialect::{About, Begins, Cause, Loss, Refusal, Reply, RequestId, Shown, Target};
use crate::event::{Event, Position, write_timestamp};

const CONTROL_STREAM: &str = "system";

pub fn event(event: &Event) -> Vec<u8> {
    let mut out = Message::begin(&event.kind, &event.stream, event.session_id.as_deref(), event.payload.len());
    out.bytes(&event.payload);
    out.end_data(event.unix_ns);
    out.number(",\"seq\":", event.seq);
    if event.prev > 0 {
        out.number(",\"prev\":", event.prev);
    }
    out.field("topic", &event.topic);
    out.end()
}

/// Events of one stream, the last of them `newest`, in one message that is stamped as that is.
pub fn batch(newest: &Event, messages: &[&[u8]]) -> Vec<u8> {
    let size = messages.iter().map(|message| message.len() + 1).sum();
    let mut out = Message::begin("batch", &newest.stream, None, size);
    out.bytes(b"{\"messages\":[");
    for (index, message) in messages.iter().enumerate() {
        out.bytes(if index == 0 { b"" } else { b"," });
        out.bytes(message);
    }
    out.bytes(b"]}");
    out.end_with(newest.unix_ns, &None)
}

pub fn reply(reply: &Reply<'_>, unix_ns: i64) -> Vec<u8> {
    match reply {
        Reply::Connected { client_id, heartbeat, streams, user } => {
            connected(client_id, *heartbeat, streams, *user, unix_ns)
        }
        Reply::Authenticated { user, expires_unix_ns, id, .. } => {
            let mut out = Message::begin("response", CONTROL_STREAM, None, 0);
            out.bytes(b"{\"status\":\"authenticated\"");
            out.field("user", user);
            if let Some(expires) = expires_unix_ns {
                out.time("expires", *expires);
            }
            out.bytes(b"}");
            out.end_with(unix_ns, id)
        }
        Reply::Subscribed { about, position, begins } => subscribed(about, position, *begins, unix_ns),
        Reply::FullUpdate { about, position, shown, cause } => full_update(about, position, *shown, *cause, unix_ns),
        Reply::Unsubscribed { about } => done("unsubscribed", about, None, unix_ns),
        Reply::Snapshot { about, position } => done("snapshot", about, Some(position), unix_ns),
        Reply::Streams { streams, id } => {
            let mut out = Message::begin("response", CONTROL_STREAM, None, 0);
            out.bytes(b"{\"status\":\"streams\"");
            out.names("streams", streams);
            out.bytes(b"}");
            out.end_with(unix_ns, id)
        }
        Reply::Accepted { stream, position, id } => accepted(stream, *position, id, unix_ns),
        Reply::Done { stream, result, id } => {
            let mut out = Message::begin("response", stream, None, result.len());
            out.bytes(b"{\"status\":\"ok\",\"result\":");
            out.bytes(result);
            out.bytes(b"}");
            out.end_with(unix_ns, id)
        }
        Reply::Pong { id } => {
            let mut out = Message::begin("status", CONTROL_STREAM, None, 0);
            out.bytes(b"{\"status\":\"pong\"}");
            out.end_with(unix_ns, id)
        }
        Reply::Lagged { stream, loss } => lagged(stream, loss, unix_ns),
        Reply::NoSource { stream, reason } => {
            let mut out = Message::begin("status", stream, None, 0);
            out.bytes(b"{\"status\":\"no_source\"");
            out.field("reason", reason);
            out.bytes(b"}");
            out.end_with(unix_ns, &None)
        }
        Reply::SourceBack { stream } => {
            let mut out = Message::begin("status", stream, None, 0);
            out.bytes(b"{\"status\":\"source\"}");
            out.end_with(unix_ns, &None)
        }
        Reply::Refused(refusal) => refused(refusal, unix_ns),
        Reply::LoggedOut => {
            let mut out = Message::begin("status", CONTROL_STREAM, None, 0);
            out.bytes(b"{\"status\":\"logged_out\"}");
            out.end_with(unix_ns, &None)
        }
    }
}

fn connected(client_id: &str, heartbeat: Duration, streams: &[Arc<str>], user: Option<&str>, unix_ns: i64) -> Vec<u8> {
    let mut out = Message::begin("status", CONTROL_STREAM, None, 0);
    out.bytes(b"{\"status\":\"connected\"");
    out.field("client_id", client_id);
    out.field("protocol", SUBPROTOCOL);
    out.number(",\"heartbeat_s\":", heartbeat.as_secs());
    out.names("streams", streams);
    if let Some(user) = user {
        out.field("user", user);
    }
    out.bytes(b"}");
    out.end_with(unix_ns, &None)
}

fn accepted(stream: &str, position: Option<&Position>, id: &RequestId, unix_ns: i64) -> Vec<u8> {
    let mut out = Message::begin("response", stream, None, 0);
    out.bytes(b"{\"status\":\"accepted\"");
    out.end_at(position, unix_ns, id)
}

fn subscribed(about: &About<'_>, position: &Position, begins: Begins, unix_ns: i64) -> Vec<u8> {
    let mut out = Message::begin("response", about.stream, about.session_id, 0);
    out.bytes(b"{\"status\":\"subscribed\"");
    out.topics(about);
    out.field("epoch", &position.epoch);
    out.bytes(match begins {
        Begins::Recovered => b",\"recovered\":true}",
        Begins::Snapshot => b",\"recovered\":false}",
    });
    out.end_data(unix_ns);
    out.number(",\"seq\":", position.seq);
    out.id(about.id);
    out.end()
}

fn full_update(about: &About<'_>, position: &Position, shown: &dyn Shown, cause: Cause, unix_ns: i64) -> Vec<u8> {
    let collections = shown.collections();
    let size = collections.iter().map(|(name, records)| name.len() + records.len() + 8).sum();
    let mut out = Message::begin("full_update", about.stream, about.session_id, size);
    out.bytes(b"{");
    for (index, (name, records)) in collections.iter().enumerate() {
        out.bytes(if index == 0 { b"" } else { b"," });
        out.text(name);
        out.bytes(b":[");
        out.bytes(records);
        out.bytes(b"]");
    }
    out.bytes(b"}");
    out.end_data(unix_ns);
    out.number(",\"seq\":", position.seq);
    out.field("epoch", &position.epoch);
    out.topics_only(about.topics);
    if cause == Cause::Resync {
        out.bytes(b",\"resync\":true");
    }
    out.id(about.id);
    out.end()
}

fn done(status: &str, about: &About<'_>, position: Option<&Position>, unix_ns: i64) -> Vec<u8> {
    let mut out = Message::begin("response", about.stream, about.session_id, 0);
    out.bytes(b"{\"status\":");
    out.text(status);
    out.topics(about);
    out.end_at(position, unix_ns, about.id)
}

fn lagged(stream: &str, loss: &Loss, unix_ns: i64) -> Vec<u8> {
    let mut out = Message::begin("status", stream, None, 0);
    out.bytes(b"{\"status\":\"lagged\"");
    out.number(if loss.policy == "latest" { ",\"replaced\":" } else { ",\"dropped\":" }, loss.events);
    out.number(",\"from\":", loss.from);
    out.number(",\"to\":", loss.to);
    out.field("policy", loss.policy);
    out.bytes(b"}");
    out.end_with(unix_ns, &None)
}

fn refused(refusal: &Refusal, unix_ns: i64) -> Vec<u8> {
    let mut out = Message::begin("error", refusal.stream.as_deref().unwrap_or(CONTROL_STREAM), None, 0);
    out.bytes(b"{\"code\":");
    out.text(refusal.code.text());
    out.field("message", &refusal.message);
    if let Some(retry) = refusal.retry {
        out.number(",\"retry_ms\":", retry.as_millis() as u64);
    }
    out.bytes(b"}");
    out.end_with(unix_ns, &refusal.id)
}

/// A message under construction.
struct Message(Vec<u8>);

impl Message {
    /// Everything up to and including `"data":`. `data_size` is a guess at what follows.
    fn begin(kind: &str, stream: &str, session_id: Option<&str>, data_size: usize) -> Self {
        const ENVELOPE: usize = 192;
        let mut out = Self(Vec::with_capacity(ENVELOPE + data_size));
        out.bytes(b"{\"type\":");
        out.text(kind);
        out.field("stream", stream);
        match session_id {
            Some(session_id) => out.field("session_id", session_id),
            None => out.bytes(b",\"session_id\":null"),
        }
        out.bytes(b",\"data\":");
        out
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A JSON string.
    fn text(&mut self, text: &str) {
        serde_json::to_writer(&mut self.0, text).expect("writing text into memory cannot fail");
    }

    /// A comma, a name that needs no escaping, and a JSON string.
    fn field(&mut self, name: &str, value: &str) {
        self.name(name);
        self.text(value);
    }

    fn name(&mut self, name: &str) {
        self.bytes(b",\"");
        self.bytes(name.as_bytes());
        self.bytes(b"\":");
    }

    fn number(&mut self, prefix: &str, number: u64) {
        self.bytes(prefix.as_bytes());
        serde_json::to_writer(&mut self.0, &number).expect("writing a number into memory cannot fail");
    }

    fn names(&mut self, name: &str, values: &[Arc<str>]) {
        self.name(name);
        for (index, value) in values.iter().enumerate() {
            self.bytes(if index == 0 { b"[" } else { b"," });
            self.text(value);
        }
        self.bytes(if values.is_empty() { b"[]" } else { b"]" });
    }

    /// The topics in their one spelling, and the client's own spelling where it gave parameters or another one.
    fn topics(&mut self, about: &About<'_>) {
        self.topics_only(about.topics);
        match about.target {
            Some(Target::Params { spelled: Some(params), .. }) => {
                self.name("params");
                self.bytes(params.get().as_bytes());
            }
            Some(Target::Topic(topic)) if about.topics.first().is_none_or(|canonical| **canonical != **topic) => {
                self.field("requested", topic);
            }
            _ => {}
        }
    }

    fn topics_only(&mut self, topics: &[Arc<str>]) {
        match topics {
            [only] => self.field("topic", only),
            several => self.names("topics", several),
        }
    }

    fn time(&mut self, name: &str, unix_ns: i64) {
        self.name(name);
        self.bytes(b"\"");
        write_timestamp(unix_ns, &mut self.0);
        self.bytes(b"\"");
    }

    fn end_data(&mut self, unix_ns: i64) {
        self.time("timestamp", unix_ns);
    }

    fn id(&mut self, id: &RequestId) {
        if let Some(id) = id {
            self.name("id");
            self.bytes(id.get().as_bytes());
        }
    }

    /// Ends `data` and the message with a position, where there is one to tell.
    fn end_at(mut self, position: Option<&Position>, unix_ns: i64, id: &RequestId) -> Vec<u8> {
        if let Some(position) = position {
            self.field("epoch", &position.epoch);
        }
        self.bytes(b"}");
        self.end_data(unix_ns);
        if let Some(position) = position {
            self.number(",\"seq\":", position.seq);
        }
        self.id(id);
        self.end()
    }

    fn end_with(mut self, unix_ns: i64, id: &RequestId) -> Vec<u8> {
        self.end_data(unix_ns);
        self.id(id);
        self.end()
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes(b"}");
        self.0
    }
}
