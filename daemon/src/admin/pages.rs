//! The admin pages: each a function from what is there to an answer.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::guard::{Guard, Post, check};
use super::{House, Parts, Readiness, connections, dashboard, figures, levels, orders, process, streams, users};
use crate::hub::names::Names;
use crate::metrics;
use crate::server::answer::Denied;
use crate::server::query::AUDIENCE;
use crate::server::routes::{Routes, only_get, table};
use crate::server::upgrade::{self, Entrance, Gate};
use crate::server::{client_log, command, ingest, reads};

/// Prometheus' text format, by its version.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Who is let in, and who becomes a connection.
pub struct Doors {
    pub guard: Arc<Guard>,
    pub gate: Arc<Gate>,
}

pub fn router(parts: Parts, doors: Doors) -> Router {
    let catalogue = parts.catalogue.clone();
    let (told, gate) = (Arc::new(move |_: &_, _: &_, _: &_| Ok(catalogue.for_operators())), doors.gate.clone());
    let routes = routes(parts);
    let documents = routes.documents("admin listener", told, Arc::new(move |arrival| gate.streamed(arrival)));
    let routes = routes.merge(documents);
    let entrance = Entrance { gate: doors.gate, pages: routes.spoken().into() };
    let post = Post { guard: doors.guard, logs: routes.taking(AUDIENCE).into() };
    Router::new()
        .fallback(upgrade::open)
        .with_state(entrance)
        .merge(routes.into_router())
        .layer(middleware::from_fn_with_state(post, check))
}

fn routes(parts: Parts) -> Routes {
    let hub = parts.hub.clone();
    let pages = Routes::new()
        .serve(&table::METRICS, scrape)
        .serve(&table::HEALTH, health)
        .serve(&table::READY, ready)
        .serve(&table::BROADCASTERS, broadcasters)
        .serve(&table::BROADCASTER, broadcaster)
        .serve(&table::CONFIG, configuration)
        .otherwise(only_get)
        .merge(dashboard::routes())
        .merge(streams::routes())
        .merge(connections::routes())
        .merge(users::routes())
        .merge(figures::routes())
        .merge(levels::routes())
        .merge(orders::routes());
    pages
        .with_state(parts)
        .merge(reads::for_operators(hub.clone()))
        .merge(ingest::routes(hub.clone(), ingest::Door::Operators))
        .merge(command::routes(hub, Arc::new(|arrival, _, _| Ok((arrival.operator()?, Names::default())))))
        .merge(client_log::routes())
}

async fn scrape(State(parts): State<Parts>) -> Response {
    for stream in parts.hub.streams() {
        stream.figures(); // what is kept is looked at when somebody asks
    }
    for (index, inbox) in parts.shards.0.iter().enumerate() {
        metrics::shard_turns(index, inbox.turns());
    }
    metrics::memory_bound(parts.hub.memory().bound());
    let text = [parts.metrics.render(), process::metrics(), parts.house.extra_metrics()].concat();
    ([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response()
}

async fn health() -> &'static str {
    "ok\n"
}

async fn ready(State(parts): State<Parts>) -> Response {
    let Readiness { ready, reasons } = parts.house.readiness();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": ready, "reasons": reasons}))).into_response()
}

async fn broadcasters(State(parts): State<Parts>) -> Json<Value> {
    Json(parts.house.broadcasters())
}

async fn configuration(State(parts): State<Parts>) -> Json<Value> {
    Json(parts.house.configuration())
}

async fn broadcaster(State(parts): State<Parts>, Path(name): Path<String>) -> Result<Json<Value>, Denied> {
    match parts.house.broadcaster(&name) {
        Some(found) => Ok(Json(found)),
        None => Err(unknown_broadcaster(&*parts.house, &name)),
    }
}

pub fn unknown_broadcaster(house: &dyn House, name: &str) -> Denied {
    let all = house.broadcasters();
    let names: Vec<&str> = all.as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect();
    let names = if names.is_empty() { "there is none".to_owned() } else { format!("names: {}", names.join(", ")) };
    let message = format!("no broadcaster is called \"{}\"; {names}", name.escape_debug());
    Denied::new(StatusCode::NOT_FOUND, "unknown_broadcaster", message)
}
