//! The admin pages: each a function from what is there to an answer.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::guard::{Guard, check};
use super::{Parts, Readiness, process};
use crate::describe::Reader;
use crate::hub::settings::Source;
use crate::hub::stream::Stream;
use crate::server::answer::Denied;
use crate::server::ingest;
use crate::server::routes::{Routes, only_get, table};

/// Prometheus' text format, by its version.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub fn router(parts: Parts, guard: Arc<Guard>) -> Router {
    let publish = ingest::routes(parts.hub.clone(), ingest::Door::Open);
    let catalogue = parts.catalogue.clone();
    let routes = Routes::new()
        .serve(&table::METRICS, metrics)
        .serve(&table::HEALTH, health)
        .serve(&table::READY, ready)
        .serve(&table::BROADCASTERS, broadcasters)
        .serve(&table::BROADCASTER, broadcaster)
        .serve(&table::STREAMS, streams)
        .serve(&table::STREAM, stream)
        .otherwise(only_get)
        .with_state(parts)
        .merge(publish)
        .described("admin listener", catalogue, Reader::Operator);
    let paths: Arc<str> = routes.spoken().join(", ").into();
    routes
        .into_router()
        .fallback(move |uri| unknown_path(uri, paths.clone()))
        .layer(middleware::from_fn_with_state(guard, check))
}

async fn metrics(State(parts): State<Parts>) -> Response {
    for stream in parts.hub.streams() {
        stream.figures(); // what is kept is looked at when somebody asks
    }
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

async fn broadcaster(State(parts): State<Parts>, Path(name): Path<String>) -> Result<Json<Value>, Denied> {
    match parts.house.broadcaster(&name) {
        Some(found) => Ok(Json(found)),
        None => {
            let message = format!(
                "no broadcaster is called \"{}\"; {} lists them",
                name.escape_debug(),
                table::BROADCASTERS.path
            );
            Err(Denied::new(StatusCode::NOT_FOUND, "unknown_broadcaster", message))
        }
    }
}

async fn streams(State(parts): State<Parts>) -> Json<Value> {
    let streams: Vec<Value> = parts.hub.streams().iter().map(|stream| describe(stream)).collect();
    Json(json!({"streams": streams}))
}

async fn stream(State(parts): State<Parts>, Path(name): Path<String>) -> Result<Json<Value>, Denied> {
    if let Some(found) = parts.hub.stream(&name) {
        return Ok(Json(describe(&found)));
    }
    let streams = parts.hub.streams();
    let valid: Vec<&str> = streams.iter().map(|stream| &**stream.name()).collect();
    let message = format!("unknown stream \"{}\"; streams: {}", name.escape_debug(), valid.join(", "));
    Err(Denied::new(StatusCode::NOT_FOUND, "unknown_stream", message))
}

async fn unknown_path(uri: Uri, paths: Arc<str>) -> Denied {
    let message = format!("nothing is at {}; valid paths: {paths}", uri.path());
    Denied::new(StatusCode::NOT_FOUND, "unknown_path", message)
}

/// Counts and settings only; no topic, payload or user.
fn describe(stream: &Stream) -> Value {
    let settings = stream.settings();
    let bounds = settings.limits.history;
    let figures = stream.figures();
    let (source, reason) = match &figures.source {
        Source::Declared => ("declared", None),
        Source::Running => ("running", None),
        Source::Absent(reason) => ("absent", Some(&**reason)),
        Source::Removed => ("removed", None),
    };
    json!({
        "name": &**stream.name(),
        "position": {"epoch": &**stream.epoch(), "seq": figures.seq},
        "source": source,
        "reason": reason,
        "visible": figures.visible,
        "private": figures.private,
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
