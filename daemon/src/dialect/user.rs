//! The dialect of clients that say nothing: the connection is the subscription to what is their user's own. Events are
//! `{type, timestamp, data}`, with the payload under the key that each type has.

#[cfg(test)]
mod tests;
mod wrap;

use super::json::Object;
use super::{Code, Command, Refusal, Reply, Request, Said, Shown, Target};
use crate::event::Event;
use crate::websocket::close;

/// What a handshake without a valid token is answered with 401.
pub const UNAUTHORIZED: &str =
    r#"{"error":"UNAUTHORIZED","message":"authentication required for WebSocket connection"}"#;

/// Everything of the endpoint's streams that is for this user.
pub fn opening(served: &[String]) -> Vec<Command> {
    let whole =
        |stream: &String| Command::Subscribe { target: Target::Topic(stream.clone()), since: None, batch: None };
    served.iter().map(whole).collect()
}

/// Whatever a client says is ignored, but not without limit: it counts as a request.
pub fn parse() -> Vec<Result<Request, Refusal>> {
    vec![Err(Refusal::new(Code::InvalidMessage, "nothing is to be said here"))]
}

pub fn event(event: &Event) -> Vec<u8> {
    message(&event.kind, event.unix_ns, &event.payload)
}

pub fn reply(reply: &Reply<'_>, unix_ns: i64) -> Said {
    match reply {
        Reply::Connected { user, .. } => Said::Texts(vec![connected(*user, unix_ns)]),
        Reply::FullUpdate { shown, .. } => Said::Texts(newest(*shown)),
        Reply::LoggedOut => Said::Texts(vec![message("USER_LOGOUT", unix_ns, b"{}")]),
        Reply::Refused(refusal) => refused(refusal),
        Reply::Authenticated { .. }
        | Reply::Accepted { .. }
        | Reply::Done { .. }
        | Reply::Subscribed { .. }
        | Reply::Unsubscribed { .. }
        | Reply::Snapshot { .. }
        | Reply::Streams { .. }
        | Reply::Pong { .. }
        | Reply::Lagged { .. }
        | Reply::NoSource { .. }
        | Reply::SourceBack { .. } => Said::Texts(Vec::new()),
    }
}

/// What a client says is ignored. What its connection was opened for cannot be refused in silence: it would wait for
/// ever, where it comes back by itself after a close.
fn refused(refusal: &Refusal) -> Said {
    let (code, reason) = match refusal.code {
        Code::InvalidMessage | Code::RateLimited => return Said::Texts(Vec::new()),
        Code::AuthenticationRequired => (close::UNAUTHORIZED, "authentication required for WebSocket connection"),
        Code::Forbidden => (close::POLICY, "this identity may not read the streams of this endpoint"),
        _ => (close::TRY_AGAIN, "a stream of this endpoint is not there; come back later"),
    };
    Said::Close { code, reason }
}

fn connected(user: Option<&str>, unix_ns: i64) -> Vec<u8> {
    let out = Object::of_type("CONNECTED", 0).text("message", "WebSocket connection established");
    let out = out.time_in_nanos("timestamp", unix_ns);
    match user {
        Some(user) => out.text("user_id", user).end(),
        None => out.end(),
    }
}

/// The newest of everything with a key, each as the event that told it.
fn newest(shown: &dyn Shown) -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    shown.each(&mut |record| texts.push(message(record.kind, record.unix_ns, record.json)));
    texts
}

fn message(kind: &str, unix_ns: i64, payload: &[u8]) -> Vec<u8> {
    let out = Object::of_type(kind, payload.len()).time_in_nanos("timestamp", unix_ns);
    out.with("data", |out| wrap::data(kind, payload, out)).end()
}
