//! Whatever body is published over HTTP: each event of it is accepted or rejected with its place and reason, however the
//! body was cut on its way; the answer is proper JSON, and so is what subscribers get.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, StatusCode};
use broadcastd::dialect::{Dialect, Voice};
use broadcastd::event::Position;
use broadcastd::hub::log::Answer;
use broadcastd::hub::pattern::Pattern;
use broadcastd::hub::settings::Settings;
use broadcastd::hub::{Hub, Reader, Wish};
use broadcastd::identity::Identity;
use broadcastd::server::drain::Drain;
use broadcastd::server::hosts::Reach;
use broadcastd::server::http::Arrival;
use broadcastd::server::ingest::{Door, routes};
use hyper::body::Frame;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::runtime::{Builder, Runtime};
use tower_service::Service;

thread_local! {
    static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
}

/// The first byte says whether the rest is one JSON text or lines of such, and how long the pieces are that it comes in.
pub fn check(input: &[u8]) {
    let Some((&first, body)) = input.split_first() else { return };
    let form = if first % 2 == 0 { "application/json" } else { "application/x-ndjson" };
    let hub = Hub::new("epoch");
    let stream = hub.declare("ticks", Settings::default());
    let (status, answer) = post(&hub, form, body.chunks(1 + usize::from(first / 2)));
    let whole = Hub::new("epoch");
    whole.declare("ticks", Settings::default());
    assert_eq!(post(&whole, form, body.chunks(body.len().max(1))), (status, answer.clone()), "it depends on the cuts");
    let Ok(outcome) = serde_json::from_slice::<Outcome>(&answer) else {
        return is_refused_whole(status, &answer, form == "application/json", body);
    };
    let count = outcome.accepted + outcome.rejected.len() + outcome.more_rejected;
    assert_eq!(count, events_in(form, body));
    let expected = match (outcome.rejected.is_empty(), outcome.accepted) {
        (true, _) => StatusCode::ACCEPTED,
        (false, 0) => StatusCode::UNPROCESSABLE_ENTITY,
        (false, _) => StatusCode::MULTI_STATUS,
    };
    assert_eq!(status, expected);
    assert!(outcome.rejected.is_sorted_by(|one, next| one.index < next.index));
    for rejected in &outcome.rejected {
        assert!(rejected.index < count && !rejected.error.is_empty());
        assert!(rejected.pointer.is_empty() || rejected.pointer.starts_with('/'), "{}", rejected.pointer);
    }
    let seq = stream.figures().seq;
    assert_eq!(outcome.position.seq, seq);
    assert!(seq <= outcome.accepted as u64, "a repeated event is accepted and takes no number");
    let since = Position { epoch: "epoch".into(), seq: 0 };
    let wish = Wish { patterns: &[Pattern::whole("ticks")], audience: "", reader: Reader::Client, since: Some(&since) };
    let answered = stream.answer(&wish).expect("the stream is there");
    let Answer::Recovered(published) = answered.answer else { return assert!(seq > 1000, "the history has room") };
    assert_eq!(published.len() as u64, seq);
    for event in published {
        let text = Voice::of(Dialect::Native).event(&event);
        let message = serde_json::from_slice::<Message<'_>>(&text);
        let message = message.unwrap_or_else(|error| panic!("{error}: {}", text.escape_ascii()));
        assert!(message.data.get().starts_with('{') && message.seq == event.seq);
    }
}

#[derive(Deserialize)]
struct Outcome {
    accepted: usize,
    rejected: Vec<Rejected>,
    #[serde(default)]
    more_rejected: usize,
    position: Seq,
}

#[derive(Deserialize)]
struct Rejected {
    index: usize,
    pointer: String,
    error: String,
}

#[derive(Deserialize)]
struct Seq {
    seq: u64,
}

#[derive(Deserialize)]
struct Refusal {
    error: Reason,
}

#[derive(Deserialize)]
struct Reason {
    code: String,
}

/// What every event is on the wire; texts may hold what only looks like characters.
#[derive(Deserialize)]
struct Message<'a> {
    #[expect(dead_code, reason = "it must be there")]
    r#type: IgnoredAny,
    #[expect(dead_code, reason = "it must be there")]
    stream: IgnoredAny,
    #[expect(dead_code, reason = "it must be there")]
    session_id: IgnoredAny,
    #[serde(borrow)]
    data: &'a RawValue,
    #[expect(dead_code, reason = "it must be there")]
    timestamp: String,
    seq: u64,
}

/// A body that arrives piece by piece.
struct Pieces(VecDeque<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

fn post<'a>(hub: &std::sync::Arc<Hub>, form: &str, pieces: impl Iterator<Item = &'a [u8]>) -> (StatusCode, Vec<u8>) {
    let operator = Some(Identity::of_operator("admin").into());
    let arrival = Arrival { operator, ..Arrival::at(&"here".into(), Reach::Machine) };
    let request = Request::post("/v1/streams/ticks/publish").header("content-type", form);
    let body = Body::new(Pieces(pieces.map(Bytes::copy_from_slice).collect()));
    let request = request.extension(arrival).extension(Drain::default()).body(body).expect("a proper request");
    let mut routes = routes(hub.clone(), Door::Operators).into_router();
    RUNTIME.with(|runtime| {
        let runtime = runtime.get_or_init(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));
        runtime.block_on(async {
            let answer = routes.call(request).await.expect("it answers whatever comes");
            let (parts, body) = answer.into_parts();
            (parts.status, to_bytes(body, usize::MAX).await.expect("an answer").to_vec())
        })
    })
}

fn is_refused_whole(status: StatusCode, answer: &[u8], is_json: bool, body: &[u8]) {
    let refusal: Refusal = serde_json::from_slice(answer).expect("a refusal is JSON");
    assert_eq!((status, &*refusal.error.code), (StatusCode::UNPROCESSABLE_ENTITY, "invalid_json"));
    let is_readable = std::str::from_utf8(body).is_ok() && serde_json::from_slice::<IgnoredAny>(body).is_ok();
    assert!(is_json && !is_readable, "{}", body.escape_ascii());
}

fn events_in(form: &str, body: &[u8]) -> usize {
    if form != "application/json" {
        let is_line = |line: &&[u8]| line.iter().any(|byte| !byte.is_ascii_whitespace());
        return body.split(|byte| *byte == b'\n').filter(is_line).count();
    }
    serde_json::from_slice::<Vec<IgnoredAny>>(body).map_or(1, |events| events.len())
}
