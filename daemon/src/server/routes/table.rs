//! Every HTTP route of the daemon, with what it is for and what it answers.

use super::bodies::{
    candidate, command_result, connections, event, events, history, level, list, log_lines, object, outcome, paged,
    readiness, streams, told, update,
};
use crate::describe::openapi::Content::{Either, Events, File, Json, Nothing, Refusal, Text};
use crate::describe::openapi::{Answer, Body, Method, Route};

/// All of them, whichever listener they are on.
pub static TABLE: [&Route; 37] = [
    &DASHBOARD,
    &ASSET,
    &METRICS,
    &HEALTH,
    &READY,
    &STATUS,
    &RELOAD,
    &PLAN,
    &STEER,
    &LOG_LEVELS,
    &LOG_LEVEL,
    &CONFIG,
    &BROADCASTERS,
    &BROADCASTER,
    &COMMAND,
    &STREAMS,
    &STREAM,
    &LOGS_STREAM,
    &SNAPSHOT,
    &LOGS_SNAPSHOT,
    &HISTORY,
    &LOGS_HISTORY,
    &SUBSCRIBERS,
    &LISTENERS,
    &PUBLISH,
    &CONNECTIONS,
    &CONNECTION,
    &CLOSE,
    &USERS,
    &USER,
    &LOGOUT,
    &QUEUES,
    &COUNTERS,
    &LOG,
    &STATE,
    &ASYNCAPI,
    &OPENAPI,
];

/// An endpoint of server-sent events, at whatever path config puts it. It is no route among the others: whoever asks becomes
/// a connection.
pub static STREAMED: Route = reads(
    "/v1/sse",
    "Events as they come, as server-sent events: `event` is the kind, `data` the message as a WebSocket has it, `id` where the client is. `Last-Event-ID` goes on from there.",
    &[
        ("topic", "A topic or a pattern, as often as there are some."),
        ("batch_ms", "Gathers events for so many milliseconds."),
        ("token", "The token, where a browser has no other place for it."),
        (
            "audience",
            "On the admin listener: the user whose logs of private streams are shown, which is noted. In its place the header `X-User-Token` may bear the user's own token.",
        ),
    ],
    &[
        Answer(200, "The events.", Events),
        Answer(400, "Nothing to hear is named, or a parameter is out of its bounds: `invalid_params`.", Refusal),
        Answer(
            403,
            "`audience` by who has shown neither the control socket nor the admin token: `forbidden`.",
            Refusal,
        ),
    ],
);
pub static DASHBOARD: Route = page(
    "/",
    "The dashboard, for browsers; it shows nothing before it has the token.",
    &[Answer(200, "The page.", File), SAME],
);
pub static ASSET: Route = page(
    "/assets/{file}",
    "What the dashboard is made of; no token is needed.",
    &[Answer(200, "The file, which never changes.", File), SAME, Answer(404, "There is none: `not_found`.", Refusal)],
);
pub static METRICS: Route =
    page("/metrics", "Metrics in the text format of Prometheus.", &[Answer(200, "The metrics.", Text)]);
pub static HEALTH: Route = page("/healthz", "Whether the process answers.", &[Answer(200, "`ok`.", Text)]);
pub static READY: Route = page(
    "/readyz",
    "Whether clients can be served, and what is wrong.",
    &[Answer(200, "They can.", Json(readiness)), Answer(503, "It is starting or draining.", Json(readiness))],
);
pub static STATUS: Route = page(
    "/v1/status",
    "How the daemon is as a whole.",
    &[Answer(
        200,
        "Version, process, readiness, last reload, addresses, counts, broadcasters and streams.",
        Json(object),
    )],
);
pub static RELOAD: Route = acts(
    "/v1/reload",
    "Takes the configuration file as it is now, and waits until it is done.",
    None,
    &[Answer(200, "What has changed, and whom it concerns.", Json(object)), MISTAKES, UNPROVEN, ENDING, SLOW],
);
pub static PLAN: Route = acts(
    "/v1/plan",
    "Says what a reload of the file would do, or of the text in the body in its place, and does nothing.",
    Some(Body(&[("application/json", candidate)])),
    &[
        Answer(200, "What would change, and whom it concerns.", Json(object)),
        Answer(
            400,
            "The body is not as it must be: `invalid_params`; or could not be read: `unreadable_body`.",
            Refusal,
        ),
        UNPROVEN,
        Answer(408, "The body did not arrive in time: `timeout`.", Refusal),
        Answer(413, "The body is too large: `payload_too_large`.", Refusal),
        MISTAKES,
        ENDING,
        SLOW,
    ],
);
pub static CONFIG: Route = page(
    "/v1/config",
    "Every setting in force, those that nobody gave with their default.",
    &[Answer(
        200,
        "For each `key`, `value` and `origin`, with `line` or `variable` where there is one; secrets are `(hidden)`.",
        Json(list),
    )],
);
pub static LOG_LEVELS: Route = page(
    "/v1/log-levels",
    "How much is logged of each broadcaster, and of the rest.",
    &[Answer(200, "`daemon`, `broadcasters` by name, and what is `configured`.", Json(object))],
);
pub static LOG_LEVEL: Route = acts(
    "/v1/log-levels/{name}",
    "Changes how much is logged of a broadcaster, or with `daemon` of all that has no level of its own, until the next start or until a reload brings other levels.",
    Some(Body(&[("application/json", level)])),
    &[
        Answer(200, "`level`, and the one `before`.", Json(object)),
        Answer(
            400,
            "There is no such level, or the body is not as it must be: `invalid_params`; or could not be read: `unreadable_body`.",
            Refusal,
        ),
        UNPROVEN,
        Answer(404, "There is none of this name: `unknown_broadcaster`.", Refusal),
        Answer(408, "The body did not arrive in time: `timeout`.", Refusal),
        Answer(413, "The body is too large: `payload_too_large`.", Refusal),
    ],
);
pub static BROADCASTERS: Route =
    page("/v1/broadcasters", "How every broadcaster is.", &[Answer(200, "A list.", Json(list))]);
pub static BROADCASTER: Route = page(
    "/v1/broadcasters/{name}",
    "How one broadcaster is.",
    &[
        Answer(200, "Its state, counts, settings and metrics.", Json(object)),
        Answer(404, "There is none of this name: `unknown_broadcaster`.", Refusal),
    ],
);
pub static STEER: Route = acts(
    "/v1/broadcasters/{name}/{deed}",
    "Does one of `restart`, `disable`, `enable`, `swap`, `rollback` to a broadcaster, and waits until it is done.",
    None,
    &[
        Answer(200, "What has changed, and whom it concerns.", Json(object)),
        UNPROVEN,
        Answer(404, "`unknown_broadcaster`; or `unknown_path`, where that cannot be done to one.", Refusal),
        Answer(422, "It stays as it is: `text` says why.", Json(object)),
        ENDING,
        SLOW,
    ],
);
pub static COMMAND: Route = Route {
    method: Method::Post,
    path: "/v1/broadcasters/{broadcaster}/commands/{command}",
    summary: "Asks a broadcaster to do something, and waits for what comes of it.",
    query: &[],
    body: Some(Body(&[("application/json", object)])),
    answers: &[
        Answer(200, "It is done.", Json(command_result)),
        Answer(403, "The permission is missing, or the broadcaster does not allow it: `forbidden`.", Refusal),
        Answer(404, "`unknown_broadcaster`, `unknown_command`, or what the payload names: `not_found`.", Refusal),
        Answer(408, "The payload did not arrive in time: `timeout`.", Refusal),
        Answer(409, "It is at odds with how things are: `conflict`.", Refusal),
        Answer(413, "The payload is too large: `message_too_large`.", Refusal),
        Answer(415, "The content type is another: `unsupported_media_type`.", Refusal),
        Answer(422, "The payload is not what the command's schema wants: `invalid_params`.", Refusal),
        Answer(500, "The broadcaster could not do it: `command_failed`; or the answer was lost: `internal`.", Refusal),
        Answer(503, "Come back after `Retry-After` seconds: `rate_limited`, or `unavailable`.", Refusal),
        Answer(504, "No answer in time, and it may still be done: `deadline`.", Refusal),
    ],
};
pub static STREAMS: Route = page(
    "/v1/streams",
    "The streams that the caller may read: counts and bounds, no payloads.",
    &[Answer(200, "`streams`.", Json(streams)), WRONG],
);
pub static STREAM: Route = reads("/v1/streams/{stream}", "Counts, bounds and topics of a stream.", &[], ONE);
pub static LOGS_STREAM: Route = reads(STREAM.path, "Counts, bounds and topics of a stream.", &[AUDIENCE], ONE);
pub static SNAPSHOT: Route =
    reads("/v1/streams/{stream}/snapshot", "The records of some topics of a stream, now.", &[TOPIC], RECORDS);
pub static LOGS_SNAPSHOT: Route =
    reads(SNAPSHOT.path, "The records of some topics of a log, now.", &[TOPIC, AUDIENCE], RECORDS);
pub static HISTORY: Route = reads(
    "/v1/streams/{stream}/history",
    "The kept events of some topics of a stream, page by page.",
    &[TOPIC, SINCE, LIMIT],
    EVENTS,
);
pub static LOGS_HISTORY: Route = reads(
    HISTORY.path,
    "The kept events of some topics of a log, page by page.",
    &[TOPIC, SINCE, LIMIT, AUDIENCE],
    EVENTS,
);
pub static SUBSCRIBERS: Route = reads(
    "/v1/streams/{stream}/subscribers",
    "How many subscriptions each pattern of a stream has.",
    &[AFTER, LIMIT],
    &[Answer(200, "`topics`, a page of them.", Json(paged)), WRONG, UNKNOWN],
);
pub static LISTENERS: Route = page(
    "/v1/streams/{stream}/listeners",
    "Which broadcasters listen to a stream, and how far each is behind.",
    &[Answer(200, "`listeners`.", Json(object)), WRONG, UNKNOWN],
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
        Answer(400, "The body could not be read: `unreadable_body`.", Json(outcome)),
        Answer(403, "All was `forbidden`, or the stream belongs to a broadcaster.", Json(outcome)),
        UNKNOWN,
        Answer(408, "The body did not arrive in time: `timeout`.", Either(outcome)),
        Answer(413, "The body is too large: `payload_too_large`; or has too many events: `too_many_events`.", Refusal),
        Answer(415, "The content type is neither of the two: `unsupported_media_type`.", Refusal),
        Answer(422, "None was accepted, or the body is not JSON: `invalid_json`.", Either(outcome)),
        Answer(429, "None was accepted for want of room; come back after `Retry-After`.", Json(outcome)),
        Answer(503, "The daemon is stopping and reads no more of the body: `draining`.", Json(outcome)),
    ],
};
pub static CONNECTIONS: Route = reads(
    "/v1/connections",
    "Who is connected.",
    &[
        ("stream", "Only who is subscribed to something of this stream."),
        ("topic", "Only who is subscribed to this topic or pattern."),
        ("user", "Only connections of this user, or of a service as `service:NAME`."),
        AFTER,
        LIMIT,
    ],
    &[
        Answer(200, "`connections`, a page of them.", Json(connections)),
        WRONG,
        Answer(404, "There is none of this name: `unknown_stream`, `unknown_connection`.", Refusal),
        SILENT,
    ],
);
pub static CONNECTION: Route = page(
    "/v1/connections/{id}",
    "One connection, with all that it is subscribed to.",
    &[Answer(200, "The connection.", Json(object)), WRONG, NOBODY, SILENT],
);
pub static CLOSE: Route =
    ends(CONNECTION.path, "Closes a connection.", &[Answer(200, "`closed`: 1.", Json(object)), NOBODY, SILENT]);
pub static USERS: Route = reads(
    "/v1/users",
    "Which users are connected, and how often.",
    &[AFTER, LIMIT],
    &[Answer(200, "`users`, a page of them.", Json(paged)), WRONG, SILENT],
);
pub static USER: Route = page(
    "/v1/users/{id}",
    "How often a user is connected.",
    &[Answer(200, "`user` and `connections`.", Json(object)), WRONG, SILENT],
);
pub static LOGOUT: Route = ends(
    "/v1/users/{id}/connections",
    "Ends all connections of a user, who is told.",
    &[Answer(200, "How many: `closed`.", Json(object)), SILENT],
);
pub static QUEUES: Route = page(
    "/v1/queues",
    "What waits for each shard and each broadcaster that listens.",
    &[Answer(200, "`shards`, `inputs` and `memory`.", Json(object)), WRONG],
);
pub static COUNTERS: Route = page(
    "/v1/counters",
    "What was counted since the start, over all labels.",
    &[Answer(200, "Each count by its name.", Json(object)), WRONG],
);
pub static STATE: Route = page(
    "/api/state/snapshot",
    "What clients of the `streams` dialect fetch when they have connected: what everybody may read of its streams.",
    &[
        Answer(200, "The state.", Json(object)),
        Answer(404, "No endpoint here speaks that dialect: `unknown_path`.", Refusal),
    ],
);
pub static LOG: Route = Route {
    method: Method::Post,
    path: "/v1/log",
    summary: "Takes a client's warnings and errors into the daemon's log.",
    query: &[],
    body: Some(Body(&[("application/json", log_lines)])),
    answers: &[
        Answer(202, "How many lines were kept, and how many were below a warning.", Json(told)),
        Answer(400, "The body is not as it must be: `invalid_log`; or could not be read: `unreadable_body`.", Refusal),
        Answer(408, "The body did not arrive in time: `timeout`.", Refusal),
        Answer(413, "The body is too large: `payload_too_large`.", Refusal),
        Answer(429, "Too many lines; come back after `Retry-After` seconds: `rate_limited`.", Refusal),
    ],
};
pub static ASYNCAPI: Route = page(
    "/v1/asyncapi.json",
    "The streams that the caller may read and their messages, as an AsyncAPI 3.0 document.",
    &[Answer(200, "The document.", Json(object))],
);
pub static OPENAPI: Route = page(
    "/v1/openapi.json",
    "The routes of this listener, as an OpenAPI 3.1 document.",
    &[Answer(200, "This document.", Json(object))],
);

const TOPIC: Parameter = ("topic", "A topic or pattern of the stream; may come several times, missing is all of it.");
const AUDIENCE: Parameter = (
    "audience",
    "Of a private stream: the user whose log is meant. By the control socket or with the admin token only, and noted. In its place the header `X-User-Token` may bear the user's own token.",
);
const SINCE: Parameter = ("since", "Events behind this position, `EPOCH:SEQ`; missing is from the oldest.");
const LIMIT: Parameter = ("limit", "How many a page has, 100 unless it is given, 1000 at most.");
const AFTER: Parameter = ("after", "What comes behind this one: `next` of the page before.");

const SAME: Answer = Answer(304, "It is as `If-None-Match` knows it.", Nothing);
const WRONG: Answer = Answer(400, "A parameter is unknown or wrong: `invalid_params`.", Refusal);
const FORBIDDEN: Answer = Answer(403, "The caller may not read this: `forbidden`.", Refusal);
const UNKNOWN: Answer = Answer(404, "There is none of this name: `unknown_stream`.", Refusal);
const NOBODY: Answer = Answer(404, "There is none of this name: `unknown_connection`.", Refusal);
const SILENT: Answer = Answer(503, "A shard did not answer in time; ask again: `shard_silent`.", Refusal);
const UNPROVEN: Answer = Answer(403, "Neither the control socket nor the admin token: `forbidden`.", Refusal);
const MISTAKES: Answer = Answer(422, "The file has mistakes, and nothing was changed: `diagnostics`.", Json(object));
const ENDING: Answer = Answer(503, "The daemon is stopping: `draining`; or too many orders wait: `busy`.", Refusal);
const SLOW: Answer = Answer(504, "No answer in time, and it may still be done: `deadline`.", Refusal);

const ONE: &[Answer] = &[Answer(200, "Position, source, counts and history.", Json(object)), WRONG, FORBIDDEN, UNKNOWN];
const RECORDS: &[Answer] = &[Answer(200, "The message `full_update`.", Json(update)), WRONG, FORBIDDEN, UNKNOWN];
const EVENTS: &[Answer] = &[
    Answer(200, "The events as messages, and `since` for the next page.", Json(history)),
    WRONG,
    FORBIDDEN,
    UNKNOWN,
    Answer(409, "`since` is of the future: `future_position`.", Refusal),
    Answer(410, "What is behind `since` is gone: `history_gone`, `other_epoch`; take a snapshot.", Refusal),
];

/// A name behind the `?`, and what it means.
type Parameter = (&'static str, &'static str);

/// Something to read.
const fn page(path: &'static str, summary: &'static str, answers: &'static [Answer]) -> Route {
    reads(path, summary, &[], answers)
}

/// Something to read a part of.
const fn reads(
    path: &'static str,
    summary: &'static str,
    query: &'static [Parameter],
    answers: &'static [Answer],
) -> Route {
    Route { method: Method::Get, path, summary, query, body: None, answers }
}

/// Something that concerns the daemon as a whole, by the control socket or with the admin token.
const fn acts(path: &'static str, summary: &'static str, body: Option<Body>, answers: &'static [Answer]) -> Route {
    Route { method: Method::Post, path, summary, query: &[], body, answers }
}

/// Something to put an end to.
const fn ends(path: &'static str, summary: &'static str, answers: &'static [Answer]) -> Route {
    Route { method: Method::Delete, path, summary, query: &[], body: None, answers }
}
