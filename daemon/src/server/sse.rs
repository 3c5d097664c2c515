//! What a client of server-sent events asks for: topics in the query, and where it was in `Last-Event-ID`.

use axum::extract::{Query, Request};
use axum::http::StatusCode;

use super::answer::Denied;
use crate::dialect::{Command, Target, sse};

/// The header by which a browser's EventSource says the last `id:` that it saw.
const LAST_EVENT_ID: &str = "last-event-id";

/// A subscription for each `topic=` of the query, in order, each from where the client was.
pub fn wishes(request: &Request) -> Result<Vec<Command>, Denied> {
    let refuse = |message: &str| Denied::new(StatusCode::BAD_REQUEST, "invalid_params", message);
    let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(request.uri()) else {
        return Err(refuse("the query cannot be read; write ?topic=bars:AAPL:1&topic=alerts"));
    };
    let last = request.headers().get(LAST_EVENT_ID).and_then(|value| value.to_str().ok());
    let positions = sse::positions(last.unwrap_or_default());
    let topics = pairs.into_iter().filter(|(name, _)| name == "topic").map(|(_, topic)| topic);
    let wishes: Vec<Command> = topics
        .map(|topic| {
            let target = Target::Topic(topic);
            let since = positions.iter().find(|(stream, _)| stream == target.stream());
            let since = since.map(|(_, position)| position.clone());
            Command::Subscribe { target, since }
        })
        .collect();
    if wishes.is_empty() {
        return Err(refuse("say what to hear: ?topic=bars:AAPL:1, as often as there are topics or patterns"));
    }
    Ok(wishes)
}
