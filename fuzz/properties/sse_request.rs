//! Whatever a client of server-sent events asks for, and wherever it says that it was: one subscription for each stream, of
//! its topics in their order, from the place that a plain reading finds; or a refusal that says what is wrong.

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use broadcastd::dialect::{Command, Target, sse};
use broadcastd::event::Position;
use broadcastd::hub::names::Names;
use broadcastd::server::sse::wishes;

use super::query;

const MAX_STREAMS: usize = 100;
const MAX_BATCH_MS: u64 = 10_000;

/// What is asked for of one stream.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    stream: String,
    topics: Vec<String>,
    since: Option<Position>,
    batch_ms: Option<u128>,
}

/// The first line is the query, the second the place.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (asked, place) = text.split_once('\n').unwrap_or((text, ""));
    let request = Request::get(format!("/v1/sse?{asked}")).header("last-event-id", place).body(Body::empty());
    let Ok(request) = request else { return };
    let place = if place.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)) { place } else { "" };
    let expected = reference(request.uri().query().unwrap_or_default(), place);
    match wishes(&request, Names::NONE) {
        Ok(wishes) => {
            let wishes: Vec<Wish> = wishes.into_iter().map(plain).collect();
            wishes.iter().for_each(can_come_back);
            assert_eq!(Some(wishes), expected);
        }
        Err(denied) => {
            assert_eq!(expected, None, "{denied:?}");
            let error = denied.error();
            assert_eq!((denied.status(), &error["code"]), (StatusCode::BAD_REQUEST, &"invalid_params".into()));
            assert!(error["message"].as_str().is_some_and(|text| !text.is_empty() && text.len() < 200), "{error}");
        }
    }
}

fn plain(wish: Command) -> Wish {
    let Command::Subscribe { target, since, batch } = wish else { panic!("{wish:?} hears nothing") };
    let (stream, topics) = match target {
        Target::Topic(topic) => (topic.split(':').next().unwrap_or_default().to_owned(), vec![topic]),
        Target::Topics { stream, topics } => (stream, topics),
        other => panic!("{other:?} was not asked for"),
    };
    Wish { stream, topics, since, batch_ms: batch.map(|batch| batch.as_millis()) }
}

/// A place that is told is read as it was told; no proper name of a stream has one of these signs.
fn can_come_back(wish: &Wish) {
    let Wish { stream, since: Some(since), .. } = wish else { return };
    let told = sse::id([(&**stream, since)].into_iter());
    let line = std::str::from_utf8(&told).expect("text").strip_prefix("id: ").expect("an id").trim_end();
    assert_eq!(sse::positions(line), [(stream.clone(), since.clone())]);
}

fn reference(asked: &str, place: &str) -> Option<Vec<Wish>> {
    let pairs = query::pairs(asked);
    let batch_ms = match query::values(&pairs, "batch_ms").first() {
        Some(text) => Some(text.parse().ok().filter(|millis| (1..=MAX_BATCH_MS).contains(millis))?.into()),
        None => None,
    };
    let mut wishes: Vec<Wish> = Vec::new();
    for topic in query::values(&pairs, "topic") {
        let stream = &topic[..topic.find(':').unwrap_or(topic.len())];
        if !wishes.iter().any(|wish| wish.stream == stream) {
            let (stream, since) = (stream.to_owned(), place.split(';').find_map(|part| position(part, stream)));
            wishes.push(Wish { stream, topics: Vec::new(), since, batch_ms });
        }
        let wish = wishes.iter_mut().find(|wish| wish.stream == stream).expect("it is there");
        wish.topics.push(topic.to_owned());
    }
    (1..=MAX_STREAMS).contains(&wishes.len()).then_some(wishes)
}

fn position(part: &str, stream: &str) -> Option<Position> {
    let part = part.trim();
    let equals = part.find('=')?;
    let colon = equals + 1 + part[equals + 1..].rfind(':')?;
    let seq = part[colon + 1..].parse().ok().filter(|_| &part[..equals] == stream)?;
    Some(Position { epoch: part[equals + 1..colon].into(), seq })
}
