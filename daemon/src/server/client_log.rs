//! What clients want to have in the log: their warnings and errors, bounded in every way and never trusted.

mod line;
mod quota;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::{Extension, Json};
use serde_json::{Value, json};

use self::line::{Level, Line};
use self::quota::Quota;
use super::answer::Denied;
use super::http::Arrival;
use super::ingest::read_body;
use super::routes::{Routes, only_post, table};
use crate::metrics as count;
use crate::metrics::labels::Heard;

/// The bytes of one request: what a page gathers before it can send, with a stack or two.
pub const MAX_BODY_BYTES: usize = 64 << 10;
/// The lines of one request: a page that has more to say at once is in a loop.
pub const MAX_LINES: usize = 100;
/// How long a body may take to arrive: it is small, and a page that closes sends it at once.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// When a client that said too much may say more, in seconds.
const COME_BACK: &str = "10";

#[derive(Clone)]
struct Desk {
    quota: Arc<Mutex<Quota>>,
}

/// The route, for any listener.
pub fn routes() -> Routes {
    let quota = Arc::new(Mutex::new(Quota::new(Instant::now())));
    Routes::new().serve(&table::LOG, take).otherwise(only_post).with_state(Desk { quota })
}

async fn take(
    State(desk): State<Desk>,
    Extension(arrival): Extension<Arrival>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Denied> {
    let body = read_body(body, MAX_BODY_BYTES, BODY_TIMEOUT).await?;
    let lines = line::read(&body).map_err(|message| refuse(StatusCode::BAD_REQUEST, "invalid_log", message))?;
    let kept: Vec<&Line> = lines.iter().filter(|line| line.level != Level::Below).collect();
    desk.admit(arrival.peer, kept.len())?;
    kept.iter().for_each(|line| line.write(arrival.peer));
    let dropped = lines.len() - kept.len();
    count::client_log(Heard::Kept, kept.len());
    count::client_log(Heard::BelowWarn, dropped);
    Ok((StatusCode::ACCEPTED, Json(json!({"kept": kept.len(), "dropped": dropped}))))
}

impl Desk {
    fn admit(&self, peer: Option<IpAddr>, lines: usize) -> Result<(), Denied> {
        let mut quota = self.quota.lock().unwrap_or_else(PoisonError::into_inner);
        if quota.admit(peer, lines, Instant::now()) {
            return Ok(());
        }
        count::client_log(Heard::TooMany, lines);
        let message = format!("too many lines; an address may write {} a minute", quota::PER_MINUTE);
        let denied = Denied::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message);
        Err(denied.with(header::RETRY_AFTER, COME_BACK))
    }
}

fn refuse(status: StatusCode, code: &'static str, message: String) -> Denied {
    count::client_log(Heard::Unreadable, 1);
    Denied::new(status, code, message)
}
