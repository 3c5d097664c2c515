//! How streams are: their figures, who is subscribed to what, which broadcasters listen and how far they are behind.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::{Extension, Json};
use serde_json::{Map, Value, json};

use super::Parts;
use crate::hub::stream::Stream;
use crate::hub::stream::reads::{Reader, Sight};
use crate::server::answer::Denied;
use crate::server::caller::{Caller, unknown_stream};
use crate::server::http::Arrival;
use crate::server::query::{Limit, Params};
use crate::server::reads::{self, outlined, source, topic_names};
use crate::server::routes::{Routes, only_get, table};

/// Patterns of one page of subscribers.
pub const PAGE: Limit = Limit { default: 100, max: 1000 };

pub fn routes() -> Routes<Parts> {
    Routes::new()
        .serve(&table::STREAMS, list)
        .serve(&table::LOGS_STREAM, one)
        .serve(&table::SUBSCRIBERS, subscribers)
        .serve(&table::LISTENERS, listeners)
        .otherwise(only_get)
}

async fn list(State(parts): State<Parts>, uri: Uri) -> Result<Json<Value>, Denied> {
    Params::of(&uri, &[])?;
    let streams: Vec<Value> = parts.hub.streams().iter().map(|stream| describe(stream)).collect();
    Ok(Json(json!({"streams": streams})))
}

/// A stream; with `audience=` one log of a private stream, with a user's own token what that user may know.
async fn one(
    State(parts): State<Parts>,
    Extension(arrival): Extension<Arrival>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Json<Value>, Denied> {
    if let Some(caller) = Caller::beside(&arrival) {
        return reads::shown(&parts.hub, &caller, (&name, &uri));
    }
    let stream = found(&parts, &name)?;
    let params = Params::of(&uri, &["audience"])?;
    let is_private = stream.settings().private;
    let named = params.one("audience")?;
    let mut described = if named.is_some() { json!({}) } else { describe(&stream) };
    if named.is_some() || !is_private {
        let audience = reads::audience(&stream, named, &arrival)?;
        let sight = Sight { reader: Reader::Operator, audience: &audience };
        let both = stream.outline(&sight).and_then(|outline| Ok((outline, stream.topics(&sight)?)));
        let (outline, topics) = both.map_err(|_| unknown(&parts, &name))?;
        merge(&mut described, outlined(&stream, &outline));
        merge(&mut described, topic_names(topics).into_iter().collect());
    }
    Ok(Json(described))
}

/// How many subscriptions each pattern has; who they are, the pages of connections tell.
async fn subscribers(State(parts): State<Parts>, Path(name): Path<String>, uri: Uri) -> Result<Json<Value>, Denied> {
    let stream = found(&parts, &name)?;
    let params = Params::of(&uri, &["after", "limit"])?;
    let (max, after) = (params.limit(PAGE)?, params.one("after")?.unwrap_or_default());
    let mut all = stream.subscribers();
    let subscriptions: u64 = all.iter().map(|(_, count)| count).sum();
    let patterns = all.len();
    all.sort_unstable();
    let behind = all.iter().filter(|(pattern, _)| **pattern.text() > *after);
    let page: Vec<Value> = behind
        .clone()
        .take(max)
        .map(|(pattern, count)| json!({"topic": &**pattern.text(), "subscriptions": count}))
        .collect();
    let more = behind.count() > page.len();
    let next = page.last().filter(|_| more).map(|last| last["topic"].clone());
    Ok(Json(json!({
        "stream": name,
        "subscriptions": subscriptions,
        "patterns": patterns,
        "topics": page,
        "more": more,
        "next": next,
    })))
}

async fn listeners(State(parts): State<Parts>, Path(name): Path<String>, uri: Uri) -> Result<Json<Value>, Denied> {
    let stream = found(&parts, &name)?;
    Params::of(&uri, &[])?;
    Ok(Json(json!({"stream": name, "listeners": listening(&stream)})))
}

/// Who listens to a stream, and how far each is behind.
pub fn listening(stream: &Stream) -> Vec<Value> {
    let listeners = stream.listeners();
    let described = listeners.iter().map(
        |standing| json!({"broadcaster": &*standing.name, "waiting": standing.waiting, "unsaved": standing.unsaved}),
    );
    described.collect()
}

fn found(parts: &Parts, name: &str) -> Result<Arc<Stream>, Denied> {
    parts.hub.stream(name).ok_or_else(|| unknown(parts, name))
}

fn unknown(parts: &Parts, name: &str) -> Denied {
    let streams = parts.hub.streams();
    unknown_stream(name, streams.iter().map(|stream| &**stream.name()))
}

/// Counts and settings only; no topic, payload or user.
fn describe(stream: &Stream) -> Value {
    let settings = stream.settings();
    let bounds = settings.limits.history;
    let figures = stream.figures();
    let (source, reason) = source(&figures.source);
    json!({
        "name": &**stream.name(),
        "position": {"epoch": &**stream.epoch(), "seq": figures.seq},
        "source": source,
        "reason": reason,
        "visible": figures.visible,
        "private": figures.private,
        "view": settings.view,
        "address": settings.template.address(stream.name()),
        "kinds": settings.kinds.iter().map(|(kind, spec)| (kind.clone(), json!(spec.collection))).collect::<Map<_, _>>(),
        "topics": figures.topics,
        "records": figures.records,
        "subscriptions": figures.subscriptions,
        "listeners": figures.listeners,
        "listen_bytes": figures.input_bytes,
        "history": {
            "events": figures.history_events,
            "bytes": figures.history_bytes,
            "max_events": bounds.events,
            "max_bytes": bounds.bytes,
            "max_age_s": bounds.age.as_secs_f64(),
        },
    })
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}
