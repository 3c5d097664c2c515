//! Who is connected: pages of connections, one of them whole, and the end of one.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::Parts;
use crate::dialect::echo;
use crate::hub::pattern::Pattern;
use crate::server::answer::Denied;
use crate::server::audit;
use crate::server::caller::unknown_stream;
use crate::server::http::Arrival;
use crate::server::query::{Limit, Params, invalid, pattern};
use crate::server::routes::{Routes, only_get, table};
use crate::shard::census::{Ask, Seen, Wanted};

/// Connections of one page.
pub const PAGE: Limit = Limit { default: 100, max: 1000 };
/// The topics that a page shows of each connection; the connection's own page shows all.
pub const MAX_TOPICS: usize = 20;

pub fn routes() -> Routes<Parts> {
    let one = Routes::new().serve(&table::CONNECTION, one).serve(&table::CLOSE, close).otherwise(only_get_or_delete);
    Routes::new().serve(&table::CONNECTIONS, list).otherwise(only_get).merge(one)
}

/// Where a connection is: the shard's number, and its own there.
#[derive(Clone, Copy)]
struct Place {
    shard: usize,
    number: u64,
}

async fn list(State(parts): State<Parts>, uri: Uri) -> Result<Json<Value>, Denied> {
    let params = Params::of(&uri, &["stream", "topic", "user", "after", "limit"])?;
    let max = params.limit(PAGE)?;
    let after = params.one("after")?.map(|id| place(&parts, id).ok_or_else(|| unknown(id))).transpose()?;
    let first = after.map_or(Place { shard: 0, number: 0 }, |last| Place { number: last.number + 1, ..last });
    let wanted = Wanted { from: 0, max: 0, subscribed: subscribed(&params)?, user: params.one("user")?.map(Arc::from) };
    let mut found: Vec<Seen> = Vec::new();
    for shard in first.shard..parts.shards.0.len() {
        let from = if shard == first.shard { first.number } else { 0 };
        let wanted = Wanted { from, max: max + 1 - found.len(), ..wanted.clone() };
        found.extend(parts.shards.ask(shard, |answer| Ask::Connections(wanted, answer)).await?);
        if found.len() > max {
            break;
        }
    }
    if let Some(pattern) = wanted.subscribed.as_ref().filter(|_| found.is_empty()) {
        is_there(&parts, pattern.stream())?; // nobody, and a name that is no stream's is a slip
    }
    let more = found.len() > max;
    found.truncate(max);
    let next = found.last().filter(|_| more).map(|last| last.client_id.clone());
    let connections: Vec<Value> = found.iter().map(|seen| describe(seen, MAX_TOPICS)).collect();
    Ok(Json(json!({"connections": connections, "more": more, "next": next})))
}

async fn one(State(parts): State<Parts>, Path(id): Path<String>, uri: Uri) -> Result<Json<Value>, Denied> {
    Params::of(&uri, &[])?;
    let place = place(&parts, &id).ok_or_else(|| unknown(&id))?;
    let wanted = Wanted { from: place.number, max: 1, ..Wanted::default() };
    let found = parts.shards.ask(place.shard, |answer| Ask::Connections(wanted, answer)).await?;
    let seen = found.iter().find(|seen| seen.number == place.number).ok_or_else(|| unknown(&id))?;
    Ok(Json(describe(seen, usize::MAX)))
}

async fn close(
    State(parts): State<Parts>,
    Extension(arrival): Extension<Arrival>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Denied> {
    let place = place(&parts, &id).ok_or_else(|| unknown(&id))?;
    audit::note(&arrival, "close a connection", &id);
    match parts.shards.ask(place.shard, |answer| Ask::Close(place.number, answer)).await? {
        true => Ok(Json(json!({"closed": 1}))),
        false => Err(unknown(&id)),
    }
}

/// What the connections must be subscribed to.
fn subscribed(params: &Params) -> Result<Option<Pattern>, Denied> {
    let stream = params.one("stream")?.map(pattern).transpose()?;
    let topic = params.one("topic")?.map(pattern).transpose()?;
    match (stream, topic) {
        (Some(stream), _) if stream.text().contains(':') => {
            Err(invalid(format!("\"{}\" is a topic; write topic= for it", stream.text())))
        }
        (Some(stream), Some(topic)) if stream.stream() != topic.stream() => {
            Err(invalid(format!("topic \"{}\" is not of stream \"{}\"", topic.text(), stream.text())))
        }
        (stream, topic) => Ok(topic.or(stream)),
    }
}

fn is_there(parts: &Parts, stream: &str) -> Result<(), Denied> {
    let streams = parts.hub.streams();
    match streams.iter().any(|one| **one.name() == *stream) {
        true => Ok(()),
        false => Err(unknown_stream(stream, streams.iter().map(|one| &**one.name()))),
    }
}

/// Where a connection of this name would be: `EPOCH-SHARD-NUMBER`, as it was told.
fn place(parts: &Parts, id: &str) -> Option<Place> {
    let mut pieces = id.rsplitn(3, '-');
    let (number, shard, epoch) = (pieces.next()?, pieces.next()?, pieces.next()?);
    let place = Place { shard: shard.parse().ok()?, number: number.parse().ok()? };
    let is_here = *epoch == **parts.hub.epoch() && place.shard < parts.shards.0.len() && place.number < u64::MAX;
    is_here.then_some(place)
}

fn unknown(id: &str) -> Denied {
    let message = format!("no connection is called \"{}\"; {} lists them", echo(id), table::CONNECTIONS.path);
    Denied::new(StatusCode::NOT_FOUND, "unknown_connection", message)
}

fn describe(seen: &Seen, max_topics: usize) -> Value {
    let topics: Vec<&str> = seen.topics.iter().take(max_topics).map(|topic| &**topic).collect();
    json!({
        "id": seen.client_id,
        "peer": seen.peer.map(|peer| peer.to_string()),
        "user": seen.user.as_deref(),
        "age_s": seen.age.as_secs_f64(),
        "endpoint": seen.endpoint.path,
        "dialect": seen.endpoint.dialect.name(),
        "subscriptions": seen.topics.len(),
        "topics": topics,
        "outbox_bytes": seen.outbox_bytes,
        "lagged": seen.lagged,
        "replaced": seen.replaced,
    })
}

async fn only_get_or_delete() -> Denied {
    Denied::wrong_method("GET, HEAD, DELETE")
}
