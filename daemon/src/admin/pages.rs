//! The admin pages: each a function from what is there to an answer.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde_json::{Value, json};

use super::guard::{Guard, check};
use super::{Parts, Readiness, connections, figures, process, streams, users};
use crate::identity::Identity;
use crate::server::answer::Denied;
use crate::server::upgrade::{self, Gate};
use crate::server::{client_log, command, ingest, reads};

/// Prometheus' text format, by its version.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const METRICS: &str = "/metrics";
const HEALTH: &str = "/healthz";
const READY: &str = "/readyz";
const BROADCASTERS: &str = "/v1/broadcasters";
const BROADCASTER: &str = "/v1/broadcasters/{name}";
/// What the answer to an unknown path names.
const PATHS: [&str; 23] = [
    METRICS,
    HEALTH,
    READY,
    BROADCASTERS,
    BROADCASTER,
    reads::STREAMS,
    reads::STREAM,
    reads::SNAPSHOT,
    reads::HISTORY,
    streams::SUBSCRIBERS,
    streams::LISTENERS,
    connections::CONNECTIONS,
    connections::CONNECTION,
    users::USERS,
    users::USER,
    users::LOGOUT,
    figures::QUEUES,
    figures::COUNTERS,
    ingest::PATH,
    command::PATH,
    client_log::PATH,
    upgrade::OPERATORS_WEBSOCKET,
    upgrade::OPERATORS_EVENTS,
];

/// Who is let in, who becomes a connection, and who everybody is that came so far.
pub struct Doors {
    pub guard: Arc<Guard>,
    pub gate: Arc<Gate>,
    pub operator: Arc<Identity>,
}

pub fn router(parts: Parts, doors: Doors) -> Router {
    let publish = ingest::routes(parts.hub.clone(), ingest::Door::Open);
    let operator = doors.operator;
    let command = command::routes(parts.hub.clone(), Arc::new(move |_| Ok(operator.clone())));
    let connections = [upgrade::OPERATORS_WEBSOCKET, upgrade::OPERATORS_EVENTS]
        .into_iter()
        .fold(Router::new(), |router, path| router.route(path, any(upgrade::open)));
    let reads = reads::for_operators(parts.hub.clone());
    Router::new()
        .route(METRICS, get(metrics))
        .route(HEALTH, get(health))
        .route(READY, get(ready))
        .route(BROADCASTERS, get(broadcasters))
        .route(BROADCASTER, get(broadcaster))
        .merge(streams::routes())
        .merge(connections::routes())
        .merge(users::routes())
        .merge(figures::routes())
        .method_not_allowed_fallback(only_get)
        .fallback(unknown_path)
        .with_state(parts)
        .merge(publish)
        .merge(command)
        .merge(reads)
        .merge(client_log::for_operators())
        .merge(connections.with_state(doors.gate))
        .layer(middleware::from_fn_with_state(doors.guard, check))
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
            let message = format!("no broadcaster is called \"{}\"; {BROADCASTERS} lists them", name.escape_debug());
            Err(Denied::new(StatusCode::NOT_FOUND, "unknown_broadcaster", message))
        }
    }
}

async fn only_get() -> Denied {
    Denied::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this page is read with GET")
        .with(header::ALLOW, "GET, HEAD")
}

async fn unknown_path(uri: Uri) -> Denied {
    let message = format!("nothing is at {}; valid paths: {}", uri.path(), PATHS.join(", "));
    Denied::new(StatusCode::NOT_FOUND, "unknown_path", message)
}
