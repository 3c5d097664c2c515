//! Events and replies to text, or to the end of the connection: there are no error messages.

use super::{Revision, spelled_topic};
use crate::dialect::json::Object;
use crate::dialect::members::{Member, member, members};
use crate::dialect::{About, Code, Refusal, Reply, Said, Shown, Target, Voice};
use crate::event::Event;
use crate::websocket::close;

/// The kind of event whose payload is shown as a bare bar.
const BAR: &str = "bar";
/// What a bare bar has, in this order.
const BAR_MEMBERS: [&str; 6] = ["time", "open", "high", "low", "close", "volume"];

pub fn event(event: &Event, voice: &Voice) -> Vec<u8> {
    let route = voice.alias.as_deref().unwrap_or(&event.stream);
    update(route, voice.topic.as_deref(), &event.kind, &event.payload)
}

pub fn reply(reply: &Reply<'_>, revision: Revision) -> Said {
    match reply {
        Reply::Subscribed { about, .. } => Said::Texts(vec![done(SUBSCRIBED, about, revision)]),
        Reply::Unsubscribed { about } => Said::Texts(vec![done(UNSUBSCRIBED, about, revision)]),
        Reply::FullUpdate { about, shown, .. } => Said::Texts(updates(about, *shown, revision)),
        Reply::Refused(refusal) => refused(refusal),
        Reply::Connected { .. }
        | Reply::Authenticated { .. }
        | Reply::Snapshot { .. }
        | Reply::Streams { .. }
        | Reply::Accepted { .. }
        | Reply::Done { .. }
        | Reply::Pong { .. }
        | Reply::Lagged { .. }
        | Reply::NoSource { .. }
        | Reply::SourceBack { .. }
        | Reply::LoggedOut => Said::Texts(Vec::new()),
    }
}

fn refused(refusal: &Refusal) -> Said {
    let (code, reason) = match refusal.code {
        Code::InvalidJson | Code::InvalidMessage => (close::UNSUPPORTED, "Could not decode message"),
        Code::UnknownType | Code::UnknownStream | Code::MissingStream => (close::UNSUPPORTED, "No matching type"),
        Code::InvalidParams | Code::NotSubscribed => (close::UNSUPPORTED, "Could not validate payload"),
        Code::RateLimited => (close::POLICY, "more messages a second than hub.rate allows"),
        Code::TooManySubscriptions => (close::POLICY, "more subscriptions than hub.max_subscriptions allows"),
        Code::AuthenticationRequired => (close::UNAUTHORIZED, "this stream needs a verified identity"),
        Code::Forbidden => (close::POLICY, "this identity may not read that"),
        Code::CommandFailed | Code::Internal => (close::TRY_AGAIN, "the daemon could not do that; come back later"),
    };
    Said::Close { code, reason }
}

/// How an answer is called, and what it says.
const SUBSCRIBED: [&str; 3] = ["subscribe.response", "Subscribed", "to"];
const UNSUBSCRIBED: [&str; 3] = ["unsubscribe.response", "Unsubscribed", "from"];

fn done([operation, done, to]: [&str; 3], about: &About<'_>, revision: Revision) -> Vec<u8> {
    let payload = Object::new(0).text("status", "ok");
    let payload = match revision {
        Revision::A => {
            let symbol = symbol(about);
            let payload = payload.text("symbol", symbol).text("message", &format!("{done} {to} {symbol}"));
            payload.text("topic", &topic(about))
        }
        Revision::C => {
            let spelled = about.target.and_then(|target| spelled_topic(target, revision));
            payload.text("message", done).text("topic", &spelled.unwrap_or_else(|| topic(about)))
        }
    };
    message(about.stream, operation, &payload.end())
}

/// The newest of every key that the subscription covers. Revision C ignores updates of a topic that it has not spelled.
fn updates(about: &About<'_>, shown: &dyn Shown, revision: Revision) -> Vec<Vec<u8>> {
    let spelled = about.target.and_then(|target| spelled_topic(target, revision));
    let mut texts = Vec::new();
    if revision == Revision::A || spelled.is_some() {
        shown.each(&mut |record| texts.push(update(about.stream, spelled.as_deref(), record.kind, record.json)));
    }
    texts
}

fn update(route: &str, topic: Option<&str>, kind: &str, payload: &[u8]) -> Vec<u8> {
    let bar = members(payload).filter(|_| kind == BAR).map(|members| bare_bar(&members));
    let shown = bar.as_ref().map_or(payload, |bar| bar.as_bytes());
    match topic {
        Some(topic) => {
            let named = Object::new(topic.len() + shown.len()).text("topic", topic).json("payload", shown);
            message(route, "update", &named.end())
        }
        None => message(route, "update", shown),
    }
}

fn message(route: &str, operation: &str, payload: &[u8]) -> Vec<u8> {
    Object::of_type(&format!("{route}.{operation}"), payload.len()).json("payload", payload).end()
}

fn bare_bar(members: &[Member<'_>]) -> String {
    let shown = |name: &&str| Some(format!("\"{name}\":{}", member(members, name)?.get()));
    let shown: Vec<String> = BAR_MEMBERS.iter().filter_map(shown).collect();
    format!("{{{}}}", shown.join(","))
}

/// What the hub calls the topic, under the name by which the client knows the stream.
fn topic(about: &About<'_>) -> String {
    let parts = about.topics.first().and_then(|topic| topic.split_once(':'));
    parts.map_or_else(|| about.stream.to_owned(), |(_, parts)| format!("{}:{parts}", about.stream))
}

fn symbol<'a>(about: &About<'a>) -> &'a str {
    match about.target {
        Some(Target::Params { params, .. }) => params.get("symbol").and_then(|values| values.first()).map_or("", |s| s),
        _ => "",
    }
}
