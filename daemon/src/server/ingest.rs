//! Events from outside over HTTP: one object, an array or lines of objects; each is accepted or rejected alone.

mod batch;
mod read;
mod timestamp;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;

use self::batch::Batch;
use super::answer::Denied;
use super::routes::{Routes, table};
use crate::hub::Hub;
use crate::hub::settings::Source;
use crate::hub::stream::Stream;

/// The bytes of one request: some 10,000 events of a usual size, and little enough to hold many requests at once.
pub const MAX_BODY_BYTES: usize = 8 << 20;
/// How long a body may take to arrive: slow lines manage 8 MiB in it, and a stalled one does not keep its place for long.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

/// Who may publish on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Whoever has come this far.
    Open,
    /// Only who shows a token that may publish; there are none yet.
    NeedsToken,
}

#[derive(Clone)]
struct Ingest {
    hub: Arc<Hub>,
    door: Door,
}

/// How the events lie in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Lines,
}

/// The publish route, for any listener.
pub fn routes(hub: Arc<Hub>, door: Door) -> Routes {
    Routes::new().serve(&table::PUBLISH, publish).otherwise(only_post).with_state(Ingest { hub, door })
}

async fn publish(
    State(ingest): State<Ingest>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Denied> {
    if ingest.door == Door::NeedsToken {
        let message = "publishing here needs a token, and this daemon has none; publish on the admin listener";
        return Err(Denied::new(StatusCode::UNAUTHORIZED, "authentication_required", message));
    }
    let stream = declared(&ingest.hub, &name)?;
    let form = form(&headers)?;
    let body = read_body(body, BODY_TIMEOUT).await?;
    let events = match form {
        Form::Json => batch::split_json(&body),
        Form::Lines => batch::split_lines(&body),
    };
    match events {
        Ok(events) => Ok(Batch::new(&stream).publish(&events).await.answer()),
        Err(unreadable) => Err(unreadable.refuse(stream.name())),
    }
}

async fn only_post() -> Denied {
    Denied::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "events are published with POST")
        .with(header::ALLOW, "POST")
}

/// The stream, if outside programs may publish to it.
fn declared(hub: &Hub, name: &str) -> Result<Arc<Stream>, Denied> {
    let stream = hub.stream(name).filter(|stream| stream.source() != Source::Removed);
    let Some(stream) = stream else {
        let streams = hub.streams();
        let valid: Vec<&str> = streams
            .iter()
            .filter(|stream| stream.source() == Source::Declared)
            .map(|stream| &**stream.name())
            .collect();
        let known = if valid.is_empty() { "none is declared".to_owned() } else { valid.join(", ") };
        let message = format!("unknown stream \"{}\"; streams to publish to: {known}", name.escape_debug());
        return Err(Denied::new(StatusCode::NOT_FOUND, "unknown_stream", message));
    };
    if stream.source() != Source::Declared {
        let message = format!(
            "stream \"{name}\" belongs to the broadcaster of that name, which alone publishes to it; declare a stream of your own as [streams.NAME]"
        );
        return Err(Denied::new(StatusCode::FORBIDDEN, "forbidden", message));
    }
    Ok(stream)
}

fn form(headers: &HeaderMap) -> Result<Form, Denied> {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        JSON => Ok(Form::Json),
        LINES => Ok(Form::Lines),
        _ => {
            let message = format!("send Content-Type: {JSON} for an object or an array, {LINES} for one object a line");
            Err(Denied::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message))
        }
    }
}

async fn read_body(body: Body, within: Duration) -> Result<Bytes, Denied> {
    match tokio::time::timeout(within, to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if is_too_long(&error) => {
            let message = format!("a request has at most {MAX_BODY_BYTES} bytes; send the events in several requests");
            Err(Denied::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", message))
        }
        Ok(Err(error)) => {
            let message = format!("the body could not be read: {error}");
            Err(Denied::new(StatusCode::BAD_REQUEST, "unreadable_body", message))
        }
        Err(_) => {
            let message = format!("the body did not arrive within {} seconds", within.as_secs());
            Err(Denied::new(StatusCode::REQUEST_TIMEOUT, "timeout", message))
        }
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use axum::response::IntoResponse as _;
    use hyper::body::Frame;

    use super::*;

    /// A client that stalls.
    struct Stalled;

    impl hyper::body::Body for Stalled {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    fn status_of(body: Body) -> Result<Bytes, StatusCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let read = runtime.block_on(read_body(body, Duration::from_millis(1)));
        read.map_err(|denied| denied.into_response().status())
    }

    #[test]
    fn a_body_that_stalls_is_given_up() {
        assert_eq!(status_of(Body::new(Stalled)), Err(StatusCode::REQUEST_TIMEOUT));
        assert_eq!(status_of(Body::from("{}")), Ok(Bytes::from("{}")));
    }
}
