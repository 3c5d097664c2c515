//! What a client of server-sent events asks for: topics in the query, and where it was in `Last-Event-ID`.

use axum::extract::{Query, Request};
use axum::http::StatusCode;

use super::answer::Denied;
use crate::dialect::{BATCH_MS_RULE, Command, Target, batch_interval, sse};
use crate::hub::names::Names;

/// Streams of one request: each costs an answer at once, more than a page hears and few enough to be answered in one turn.
const MAX_STREAMS: usize = 100;
/// The header by which a browser's EventSource says the last `id:` that it saw.
const LAST_EVENT_ID: &str = "last-event-id";

/// A subscription for each stream that a `topic=` of the query names, in order, from where the client was. There is one
/// place for each stream, by its own name, whatever the client calls it: with a subscription for each topic, one would be
/// ahead of what another has yet to be sent.
pub fn wishes(request: &Request, names: &Names) -> Result<Vec<Command>, Denied> {
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
    let targets = by_stream(topics, names);
    if targets.len() > MAX_STREAMS {
        return Err(refuse("these are topics of more than 100 streams; hear them by several connections"));
    }
    if targets.is_empty() {
        return Err(refuse("say what to hear: ?topic=bars:AAPL:1, as often as there are topics or patterns"));
    }
    let wish = |target: Target| {
        let since = positions.iter().find(|(stream, _)| stream == names.name_of(target.stream()));
        let since = since.map(|(_, position)| position.clone());
        Command::Subscribe { target, since, batch }
    };
    Ok(targets.into_iter().map(wish).collect())
}

/// One target for each stream, in the order of their first topics, by the name that the first of them has.
fn by_stream(topics: impl Iterator<Item = String>, names: &Names) -> Vec<Target> {
    let mut streams: Vec<(String, Vec<String>)> = Vec::new();
    for topic in topics {
        let (called, parts) = topic.split_at(topic.find(':').unwrap_or(topic.len()));
        match streams.iter_mut().find(|(first, _)| names.name_of(first) == names.name_of(called)) {
            Some((first, topics)) => topics.push(format!("{first}{parts}")),
            None => streams.push((called.to_owned(), vec![topic])),
        }
    }
    let target = |(stream, mut topics): (String, Vec<String>)| match topics.len() {
        1 => Target::Topic(topics.remove(0)), // the reply repeats how it was spelled
        _ => Target::Topics { stream, topics },
    };
    streams.into_iter().map(target).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;

    use super::*;

    #[test]
    fn the_topics_of_a_stream_are_one_subscription() {
        let uri = "/v1/sse?topic=bars:A&topic=alerts&topic=bars:B:*";
        let request = Request::builder().uri(uri).header(LAST_EVENT_ID, "bars=e:41").body(Body::empty()).unwrap();
        let [Command::Subscribe { target: bars, since, .. }, Command::Subscribe { target: alerts, since: None, .. }] =
            &wishes(&request, Names::NONE).unwrap()[..]
        else {
            panic!("two streams, two subscriptions")
        };
        assert!(
            matches!(bars, Target::Topics { stream, topics } if stream == "bars" && topics[..] == ["bars:A", "bars:B:*"])
        );
        assert_eq!(since.as_ref().map(|position| position.seq), Some(41));
        assert!(matches!(alerts, Target::Topic(topic) if topic == "alerts"));
    }

    #[test]
    fn events_of_all_topics_are_gathered_for_a_while_that_has_bounds() {
        let ask =
            |query: &str| wishes(&Request::get(format!("/v1/sse?{query}")).body(Body::empty()).unwrap(), Names::NONE);
        for (query, millis) in [("topic=bars&topic=ticks&batch_ms=50", Some(50)), ("topic=bars&topic=ticks", None)] {
            let asked = ask(query).unwrap();
            let is_meant = |wish: &Command| matches!(wish, Command::Subscribe { batch, .. } if *batch == millis.map(Duration::from_millis));
            assert!(asked.len() == 2 && asked.iter().all(is_meant), "{asked:?}");
        }
        for wrong in ["0", "10001", "-1", "x", "", "1.5"] {
            assert!(ask(&format!("topic=bars&batch_ms={wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn topics_of_so_many_streams_are_heard_and_of_no_more() {
        let ask = |streams: usize| {
            let topics: Vec<String> = (0..streams).map(|n| format!("topic=s{n}:A&topic=s{n}:B")).collect();
            wishes(&Request::get(format!("/v1/sse?{}", topics.join("&"))).body(Body::empty()).unwrap(), Names::NONE)
        };
        assert_eq!(ask(MAX_STREAMS).unwrap().len(), MAX_STREAMS);
        assert_eq!(ask(MAX_STREAMS + 1).unwrap_err().status(), StatusCode::BAD_REQUEST);
    }
}
