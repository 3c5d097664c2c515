//! What the bodies of requests and answers look like, as JSON Schema.

use serde_json::{Value, json};

use crate::describe::native::FIVE;

pub fn object() -> Value {
    json!({"type": "object"})
}

pub fn list() -> Value {
    json!({"type": "array", "items": object()})
}

pub fn streams() -> Value {
    json!({"type": "object", "required": ["streams"], "properties": {"streams": list()}})
}

/// A page of a list; `next` is what the next one comes `after`.
pub fn paged() -> Value {
    let next = json!({"type": ["string", "null"]});
    json!({"type": "object", "required": ["more", "next"], "properties": {"more": {"type": "boolean"}, "next": next}})
}

pub fn connections() -> Value {
    let mut page = paged();
    page["properties"]["connections"] = list();
    page
}

pub fn readiness() -> Value {
    let reasons = json!({"type": "array", "items": {"type": "string"}});
    json!({"type": "object", "required": ["ready", "reasons"], "properties": {"ready": {"type": "boolean"}, "reasons": reasons}})
}

/// The records of a log, as subscribers are shown them.
pub fn update() -> Value {
    message()
}

pub fn history() -> Value {
    json!({
        "type": "object",
        "required": ["stream", "position", "since", "more", "events"],
        "properties": {
            "stream": {"type": "string"},
            "position": position(),
            "since": {"type": "string", "description": "The position as the parameter `since` takes it."},
            "more": {"type": "boolean"},
            "events": {"type": "array", "items": message()},
        },
    })
}

/// A configuration that may take the place of the file.
pub fn candidate() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let properties = json!({"config": text("The whole text, as TOML."), "name": text("What mistakes call it.")});
    json!({"type": "object", "required": ["config"], "properties": properties})
}

pub fn command_result() -> Value {
    json!({"type": "object", "required": ["result"], "properties": {"result": {"description": "What the broadcaster says."}}})
}

pub fn log_lines() -> Value {
    let line = json!({
        "type": "object",
        "required": ["level", "message"],
        "additionalProperties": false,
        "properties": {
            "level": {"type": "string", "description": "error, warn, info, debug or trace; below warn nothing is kept."},
            "message": {"type": "string"},
            "context": {"description": "Anything, such as a stack."},
            "url": {"type": "string"},
            "user_agent": {"type": "string"},
            "timestamp": {"description": "The client's own time, as it is."},
        },
    });
    json!({"oneOf": [line, {"type": "array", "items": line}]})
}

/// What became of the lines of a client.
pub fn told() -> Value {
    let count = json!({"type": "integer"});
    json!({"type": "object", "required": ["kept", "dropped"], "properties": {"kept": count, "dropped": count}})
}

pub fn events() -> Value {
    json!({"oneOf": [event(), {"type": "array", "items": event()}]})
}

pub fn event() -> Value {
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

pub fn outcome() -> Value {
    let rejected = json!({
        "type": "object",
        "required": ["index", "pointer", "error"],
        "properties": {"index": {"type": "integer"}, "pointer": {"type": "string"}, "error": {"type": "string"}},
    });
    let position = json!({"oneOf": [position(), {"type": "null"}]});
    json!({
        "type": "object",
        "required": ["accepted", "rejected", "position"],
        "properties": {
            "accepted": {"type": "integer"},
            "rejected": {"type": "array", "items": rejected},
            "more_rejected": {"type": "integer", "description": "How many rejected events are not listed."},
            "position": position,
            "error": {"type": "object", "description": "Why the body was not read to its end: `code` and `message`."},
        },
    })
}

fn position() -> Value {
    let properties = json!({"epoch": {"type": "string"}, "seq": {"type": "integer"}});
    json!({"type": "object", "required": ["epoch", "seq"], "properties": properties})
}

fn message() -> Value {
    json!({"type": "object", "required": FIVE, "description": "As /v1/asyncapi.json describes it."})
}
