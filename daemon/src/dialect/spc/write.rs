//! Events and replies to text of the `spc` dialect. It has no words for a loss, nor for a stream without source: who lags
//! is closed, and the rest is in the log and the metrics.

use crate::dialect::json::Object;
use crate::dialect::{About, Code, Refusal, Reply};
use crate::event::Event;

/// The records that a snapshot shows: what holds now. A sample is over when it has been told.
const SHOWN: [&str; 2] = ["control_limits", "violation"];

pub fn event(event: &Event) -> Vec<u8> {
    message(&event.kind, &event.payload)
}

pub fn reply(reply: &Reply<'_>) -> Vec<Vec<u8>> {
    match reply {
        Reply::Subscribed { about, .. } => done("subscribed", about),
        Reply::Unsubscribed { about } => done("unsubscribed", about),
        Reply::Pong { .. } => vec![Object::of_type("pong", 0).end()],
        Reply::Authenticated { .. } => vec![Object::of_type("auth_ok", 0).end()],
        Reply::Refused(refusal) => vec![refused(refusal)],
        Reply::FullUpdate { shown, .. } => {
            let mut messages = Vec::new();
            shown.each(&mut |record| {
                if SHOWN.contains(&record.kind) {
                    messages.push(message(record.kind, record.json));
                }
            });
            messages
        }
        Reply::Connected { .. } | Reply::LoggedOut => Vec::new(),
        Reply::Lagged { .. } | Reply::NoSource { .. } | Reply::SourceBack { .. } => Vec::new(),
        Reply::Snapshot { .. } | Reply::Streams { .. } | Reply::Accepted { .. } | Reply::Done { .. } => Vec::new(), // nobody can ask for them
    }
}

fn message(kind: &str, payload: &[u8]) -> Vec<u8> {
    Object::of_type(kind, payload.len()).json("payload", payload).end()
}

/// Nothing for what the client has not asked for: it subscribes to the whole stream's messages by being there.
fn done(what: &str, about: &About<'_>) -> Vec<Vec<u8>> {
    let ids = about.target.and_then(|target| target.spelled());
    ids.map(|ids| Object::of_type(what, 0).json("characteristic_ids", ids.get().as_bytes()).end()).into_iter().collect()
}

fn refused(refusal: &Refusal) -> Vec<u8> {
    // Without a stream it is the connection that is not let in.
    let is_about_token = refusal.code == Code::AuthenticationRequired && refusal.stream.is_none();
    let kind = if is_about_token { "auth_error" } else { "error" };
    Object::of_type(kind, 0).text("message", &refusal.message).end()
}
