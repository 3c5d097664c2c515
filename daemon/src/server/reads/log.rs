//! The records and the events of one log as answers, in the words of the native dialect.

use std::sync::Arc;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::super::answer::Denied;
use super::super::query::{Limit, Params};
use super::Opened;
use crate::dialect::{About, Cause, Dialect, Reply, Said, Voice};
use crate::event::{Position, unix_now};
use crate::hub::Refused;
use crate::hub::stream::reads::{Page, Share, Unreachable};
use crate::shard::unasked::Show;

/// Events of one answer: a screen full if nothing is said, and at most as many as a history usually has.
pub const EVENTS: Limit = Limit { default: 100, max: 1000 };
/// Bytes of payloads in one answer; what is beyond comes with the next page.
pub const MAX_BYTES: usize = 8 << 20;

/// Which part of a history is wanted.
pub struct Excerpt {
    since: Option<Position>,
    events: usize,
}

impl Excerpt {
    pub fn of(params: &Params) -> Result<Self, Denied> {
        Ok(Self { since: params.since()?, events: params.limit(EVENTS)? })
    }
}

/// The records now, as the message that shows them to subscribers.
pub fn snapshot(opened: &Opened) -> Result<Response, Refused> {
    let (position, records) = opened.granted.stream.show(&opened.sight(), &opened.patterns)?;
    let topics: Vec<Arc<str>> = opened.patterns.iter().map(|pattern| pattern.text().clone()).collect();
    let stream = opened.granted.stream.name();
    let about = About { stream, topics: &topics, target: None, session_id: None, id: &None };
    let update = Reply::FullUpdate { about, position: &position, shown: &Show(&records), cause: Cause::Asked };
    match Dialect::Native.reply(&update, unix_now()) {
        Said::Texts(texts) => Ok(json_answer(texts.concat())),
        Said::Close { .. } => unreachable!("no answer of the native dialect ends a connection"),
    }
}

/// Some events, and how to go on from them; `None` when there is no such stream any more.
pub fn history(opened: &Opened, excerpt: &Excerpt) -> Option<Result<Response, Denied>> {
    let share = Share { events: excerpt.events, bytes: MAX_BYTES };
    let stream = &opened.granted.stream;
    match stream.page(&opened.sight(), &opened.patterns, excerpt.since.as_ref(), share) {
        Ok(page) => Some(Ok(json_answer(paged(stream.name(), &page)))),
        Err(Unreachable::Closed) => None,
        Err(Unreachable::OtherEpoch(newest)) => {
            let what = "\"since\" is of another epoch: the stream has begun to count anew";
            Some(Err(gone("other_epoch", what, &newest)))
        }
        Err(Unreachable::Gone(newest)) => {
            let what = "something behind \"since\" is no longer in the history";
            Some(Err(gone("history_gone", what, &newest)))
        }
        Err(Unreachable::Future(newest)) => {
            let message = format!("\"since\" is of the future: the stream is at {}", place(&newest));
            Some(Err(Denied::new(StatusCode::CONFLICT, "future_position", message)))
        }
    }
}

fn gone(code: &'static str, what: &str, newest: &Position) -> Denied {
    let message = format!("{what}; take a snapshot, and go on from its position (the stream is at {})", place(newest));
    Denied::new(StatusCode::GONE, code, message)
}

/// A position as `since` takes it.
fn place(position: &Position) -> String {
    format!("{}:{}", position.epoch, position.seq)
}

fn paged(stream: &str, page: &Page) -> Vec<u8> {
    let position = json!({"epoch": &*page.position.epoch, "seq": page.position.seq});
    let head = format!(
        "{{\"stream\":{},\"position\":{position},\"since\":{},\"more\":{},\"events\":[",
        json!(stream),
        json!(place(&page.position)),
        page.more
    );
    let voice = Voice::of(Dialect::Native);
    let mut out = head.into_bytes();
    for (index, event) in page.events.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"" } else { b"," });
        out.extend_from_slice(&voice.event(event));
    }
    out.extend_from_slice(b"]}");
    out
}

fn json_answer(body: Vec<u8>) -> Response {
    // Nobody may keep what may be for one caller alone.
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body).into_response()
}
