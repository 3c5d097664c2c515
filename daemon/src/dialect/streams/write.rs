//! Events and replies to text of the `streams` dialect.

use std::sync::Arc;

use bytes::Bytes;

use crate::dialect::json::Object;
use crate::dialect::{About, Code, Refusal, Reply, RequestId};
use crate::event::Event;

/// The `stream` of what is about no subscription.
const NO_STREAM: &str = "";
const VERSION: &str = "1.0";
/// The streams that these clients know four messages of, and of which they take any other for a mistake.
const STATE_MACHINES: &str = "state_machine";
/// What only those hear of them who speak the native protocol.
const UNTOLD: [&str; 3] = ["illegal_transition", "instance_recovered", "instance_stale"];
/// What a client may count on, in the words of the dialect.
const FEATURES: [&str; 2] = ["heartbeat", "subscriptions"];

/// The kinds that are not told of a stream that is shown so.
pub fn untold(view: Option<&str>) -> &'static [&'static str] {
    if view == Some(STATE_MACHINES) { &UNTOLD } else { &[] }
}

/// `called` is the client's own name for the stream, where it has one.
pub fn event(event: &Event, called: Option<&str>) -> Vec<u8> {
    Object::of_type(&event.kind, event.payload.len())
        .text("stream", called.unwrap_or(&event.stream))
        .text_or_null("session_id", event.session_id.as_deref())
        .json("data", &event.payload)
        .time("timestamp", event.unix_ns)
        .end()
}

pub fn reply(reply: &Reply<'_>, unix_ns: i64) -> Vec<u8> {
    match reply {
        Reply::Connected { client_id, .. } => status("connected")
            .text("client_id", client_id)
            .time("server_time", unix_ns)
            .texts("features", &FEATURES)
            .json("reconnected", b"false")
            .time("timestamp", unix_ns)
            .text("version", VERSION)
            .end(),
        Reply::Authenticated { user, permissions, expires_unix_ns, id } => {
            let out = response("authenticated", NO_STREAM).text("user_id", user).texts("permissions", permissions);
            let out = match expires_unix_ns {
                Some(expires) => out.time("session_expires", *expires),
                None => out.json("session_expires", b"null"),
            };
            answer(out, id, unix_ns)
        }
        Reply::Subscribed { about, .. } => done("subscribed", about, unix_ns),
        Reply::Unsubscribed { about } => done("unsubscribed", about, unix_ns),
        Reply::Snapshot { about, .. } => done("snapshot", about, unix_ns),
        Reply::FullUpdate { about, shown, .. } => {
            let lists = shown.collections();
            let size = lists.iter().map(|(name, records)| name.len() + records.len() + 8).sum();
            Object::of_type("full_update", size)
                .text("stream", about.stream)
                .text_or_null("session_id", about.session_id)
                .json("data", &Object::new(size).lists(&lists).end())
                .time("timestamp", unix_ns)
                .end()
        }
        Reply::Streams { streams, id } => answer(response("streams", NO_STREAM).texts("streams", streams), id, unix_ns),
        Reply::Accepted { .. } | Reply::Done { .. } => Vec::new(), // nobody can ask for them
        Reply::Pong { id } => with_id(status("pong").time("timestamp", unix_ns), id).end(),
        Reply::Lagged { stream, loss } => {
            let count = if loss.policy == "latest" { "replaced" } else { "dropped" };
            let data = Object::new(0).text("stream", stream).number(count, loss.events);
            let data = data.number("from", loss.from).number("to", loss.to).text("policy", loss.policy);
            about_a_stream("lagged", data, unix_ns)
        }
        Reply::NoSource { stream, reason } => {
            about_a_stream("no_source", Object::new(0).text("stream", stream).text("reason", reason), unix_ns)
        }
        Reply::SourceBack { stream } => about_a_stream("source", Object::new(0).text("stream", stream), unix_ns),
        Reply::Refused(refusal) => refused(refusal, unix_ns),
        Reply::LoggedOut => status("logged_out").time("timestamp", unix_ns).end(),
    }
}

/// What clients fetch when they have connected: lists of records, commas between.
#[derive(Debug, Default)]
pub struct State {
    pub positions: Bytes,
    pub active_signals: Bytes,
    pub instances: Bytes,
}

/// The answer to `GET /api/state/snapshot`.
pub fn state(state: &State, unix_ns: i64) -> Vec<u8> {
    let lists = [
        ("positions".into(), state.positions.clone()),
        ("active_signals".into(), state.active_signals.clone()),
        ("state_machine_state".into(), state.instances.clone()),
    ];
    let size = lists.iter().map(|(_, records)| records.len()).sum();
    let data = Object::new(size).time("timestamp", unix_ns).lists(&lists).end();
    Object::new(size).json("success", b"true").json("data", &data).end()
}

fn done(status: &str, about: &About<'_>, unix_ns: i64) -> Vec<u8> {
    let params = about.target.and_then(|target| target.spelled());
    let out = response(status, about.stream)
        .json("params", params.map_or("{}", |params| params.get()).as_bytes())
        .text_or_null("session_id", about.session_id);
    answer(out, about.id, unix_ns)
}

/// What happens to a stream's events stands in `data`, its name too: as `stream` it would be taken for an event.
fn about_a_stream(what: &str, data: Object, unix_ns: i64) -> Vec<u8> {
    status(what).json("session_id", b"null").json("data", &data.end()).time("timestamp", unix_ns).end()
}

fn refused(refusal: &Refusal, unix_ns: i64) -> Vec<u8> {
    let unknown = |valid: &[Arc<str>]| {
        let valid: Vec<String> = valid.iter().map(|name| format!("'{name}'")).collect();
        let stream = refusal.stream.as_deref().unwrap_or_default();
        format!("Invalid stream type: {stream}. Must be one of: [{}]", valid.join(", "))
    };
    let (code, message) = match refusal.code {
        Code::InvalidJson => ("invalid_json", None),
        Code::UnknownType => ("unknown_message_type", None),
        Code::UnknownStream => ("validation_error", Some(unknown(&refusal.valid))),
        Code::InvalidMessage | Code::MissingStream | Code::InvalidParams => ("validation_error", None),
        Code::AuthenticationRequired => ("authentication_required", None),
        Code::Forbidden | Code::TooManySubscriptions => ("subscription_failed", None),
        Code::NotSubscribed => ("unsubscription_failed", None),
        Code::RateLimited => ("rate_limit_exceeded", None),
        Code::CommandFailed => ("command_failed", None),
        Code::Internal => ("service_unavailable", None),
    };
    let out = Object::of_type("error", 0)
        .text("stream", NO_STREAM)
        .text("error_code", code)
        .text("error_message", message.as_deref().unwrap_or(&refusal.message));
    let out = match refusal.retry {
        Some(retry) => out.number("retry_ms", u64::try_from(retry.as_millis()).unwrap_or(u64::MAX)),
        None => out,
    };
    answer(out, &refusal.id, unix_ns)
}

fn status(what: &str) -> Object {
    Object::of_type("status", 0).text("status", what).text("stream", NO_STREAM)
}

fn response(what: &str, stream: &str) -> Object {
    Object::of_type("response", 0).text("status", what).text("stream", stream)
}

fn answer(out: Object, id: &RequestId, unix_ns: i64) -> Vec<u8> {
    with_id(out.time("timestamp", unix_ns).text("version", VERSION), id).end()
}

fn with_id(out: Object, id: &RequestId) -> Object {
    match id {
        Some(id) => out.json("id", id.get().as_bytes()),
        None => out,
    }
}
