//! What a client of server-sent events asks for: topics in the query, and where it was in `Last-Event-ID`.

use axum::extract::{Query, Request};
use axum::http::StatusCode;

use super::answer::Denied;
use crate::dialect::{BATCH_MS_RULE, Command, Target, batch_interval, sse};

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
    let batch = match pairs.iter().find(|(name, _)| name == "batch_ms") {
        None => None,
        Some((_, text)) => Some(text.parse().ok().and_then(batch_interval).ok_or_else(|| refuse(BATCH_MS_RULE))?),
    };
    let topics = pairs.into_iter().filter(|(name, _)| name == "topic").map(|(_, topic)| topic);
    let wishes: Vec<Command> = topics
        .map(|topic| {
            let target = Target::Topic(topic);
            let since = positions.iter().find(|(stream, _)| stream == target.stream());
            let since = since.map(|(_, position)| position.clone());
            Command::Subscribe { target, since, batch }
        })
        .collect();
    if wishes.is_empty() {
        return Err(refuse("say what to hear: ?topic=bars:AAPL:1, as often as there are topics or patterns"));
    }
    Ok(wishes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;

    use super::*;

    #[test]
    fn events_of_all_topics_are_gathered_for_a_while_that_has_bounds() {
        let ask = |query: &str| wishes(&Request::get(format!("/v1/sse?{query}")).body(Body::empty()).unwrap());
        for (query, millis) in [("topic=bars&topic=ticks&batch_ms=50", Some(50)), ("topic=bars&topic=ticks", None)] {
            let asked = ask(query).unwrap();
            let is_meant = |wish: &Command| matches!(wish, Command::Subscribe { batch, .. } if *batch == millis.map(Duration::from_millis));
            assert!(asked.len() == 2 && asked.iter().all(is_meant), "{asked:?}");
        }
        for wrong in ["0", "10001", "-1", "x", "", "1.5"] {
            assert!(ask(&format!("topic=bars&batch_ms={wrong}")).is_err(), "{wrong}");
        }
    }
}
