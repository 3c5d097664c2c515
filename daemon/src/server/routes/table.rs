//! Every HTTP route of the daemon, with what it is for and what it answers.

use serde_json::{Value, json};

use crate::describe::openapi::Content::{Json, Refusal, Text};
use crate::describe::openapi::{Answer, Body, Method, Route};

/// All of them, whichever listener they are on.
pub static TABLE: [&Route; 10] =
    [&METRICS, &HEALTH, &READY, &BROADCASTERS, &BROADCASTER, &STREAMS, &STREAM, &PUBLISH, &ASYNCAPI, &OPENAPI];

pub static METRICS: Route =
    page("/metrics", "Metrics in the text format of Prometheus.", &[Answer(200, "The metrics.", Text)]);
pub static HEALTH: Route = page("/healthz", "Whether the process answers.", &[Answer(200, "`ok`.", Text)]);
pub static READY: Route = page(
    "/readyz",
    "Whether clients can be served, and what is wrong.",
    &[Answer(200, "They can.", Json(readiness)), Answer(503, "It is starting or draining.", Json(readiness))],
);
pub static BROADCASTERS: Route =
    page("/v1/broadcasters", "How every broadcaster is.", &[Answer(200, "A list.", Json(list)), DENIED]);
pub static BROADCASTER: Route = page(
    "/v1/broadcasters/{name}",
    "How one broadcaster is.",
    &[Answer(200, "Its state, counts, settings and metrics.", Json(object)), DENIED, ABSENT],
);
pub static STREAMS: Route = page(
    "/v1/streams",
    "The figures of every stream: counts and bounds, no payloads.",
    &[Answer(200, "`streams`.", Json(streams)), DENIED],
);
pub static STREAM: Route = page(
    "/v1/streams/{name}",
    "The figures of one stream.",
    &[Answer(200, "Position, source, counts and history.", Json(object)), DENIED, ABSENT],
);
pub static PUBLISH: Route = Route {
    method: Method::Post,
    path: "/v1/streams/{stream}/publish",
    summary: "Publishes events to a declared stream; each is accepted or rejected alone.",
    query: &[],
    body: Some(Body(&[("application/json", events), ("application/x-ndjson", event)])),
    answers: &[
        Answer(202, "All were accepted.", Json(outcome)),
        Answer(207, "Some were accepted.", Json(outcome)),
        Answer(400, "The body could not be read: `unreadable_body`.", Refusal),
        DENIED,
        Answer(403, "The stream belongs to a broadcaster: `forbidden`.", Refusal),
        ABSENT,
        Answer(408, "The body did not arrive in time: `timeout`.", Refusal),
        Answer(413, "The body is too large, or has too many events.", Refusal),
        Answer(415, "The content type is neither of the two.", Refusal),
        Answer(422, "None was accepted, or the body is not JSON.", Json(outcome_or_refusal)),
        Answer(429, "None was accepted, for want of room; come back after `Retry-After` seconds.", Json(outcome)),
    ],
};
pub static ASYNCAPI: Route = page(
    "/v1/asyncapi.json",
    "The streams and their messages, as an AsyncAPI 3.0 document.",
    &[Answer(200, "The document.", Json(object)), DENIED],
);
pub static OPENAPI: Route = page(
    "/v1/openapi.json",
    "The routes of this listener, as an OpenAPI 3.1 document.",
    &[Answer(200, "This document.", Json(object)), DENIED],
);

const DENIED: Answer = Answer(401, "A token is needed: `authentication_required`.", Refusal);
const ABSENT: Answer = Answer(404, "There is none of this name.", Refusal);

/// Something to read.
const fn page(path: &'static str, summary: &'static str, answers: &'static [Answer]) -> Route {
    Route { method: Method::Get, path, summary, query: &[], body: None, answers }
}

fn object() -> Value {
    json!({"type": "object"})
}

fn list() -> Value {
    json!({"type": "array", "items": object()})
}

fn streams() -> Value {
    json!({"type": "object", "required": ["streams"], "properties": {"streams": list()}})
}

fn readiness() -> Value {
    let reasons = json!({"type": "array", "items": {"type": "string"}});
    json!({"type": "object", "required": ["ready", "reasons"], "properties": {"ready": {"type": "boolean"}, "reasons": reasons}})
}

fn events() -> Value {
    json!({"oneOf": [event(), {"type": "array", "items": event()}]})
}

fn event() -> Value {
    json!({
        "type": "object",
        "required": ["type"],
        "additionalProperties": false,
        "properties": {
            "type": {"type": "string", "description": "The kind of the event."},
            "topic": {"type": "string", "description": "A full topic of the stream; missing is the root topic."},
            "data": {"type": "object", "description": "The payload; missing is {}."},
            "key": {"type": "string", "description": "Identity inside the topic: the newest event of a key leaves a record."},
            "record": {"type": "object", "description": "What a snapshot shows for the key in place of data."},
            "audience": {"type": "string", "description": "Private streams: the user it is for."},
            "session_id": {"type": "string"},
            "timestamp": {"type": "string", "format": "date-time", "description": "When it happened; missing is now."},
            "id": {"type": "string", "description": "A second event of the same id is accepted and not published again."},
        },
    })
}

fn outcome() -> Value {
    let rejected = json!({
        "type": "object",
        "required": ["index", "pointer", "error"],
        "properties": {"index": {"type": "integer"}, "pointer": {"type": "string"}, "error": {"type": "string"}},
    });
    let position = json!({
        "type": ["object", "null"],
        "required": ["epoch", "seq"],
        "properties": {"epoch": {"type": "string"}, "seq": {"type": "integer"}},
    });
    json!({
        "type": "object",
        "required": ["accepted", "rejected", "position"],
        "properties": {"accepted": {"type": "integer"}, "rejected": {"type": "array", "items": rejected}, "position": position},
    })
}

fn outcome_or_refusal() -> Value {
    json!({"anyOf": [outcome(), {"$ref": "#/components/schemas/Refusal"}]})
}
