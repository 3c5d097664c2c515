//! Events from outside: over HTTP as one object, an array or lines of objects, and over a unix socket as lines; each is
//! accepted or rejected alone.

mod batch;
pub(crate) mod lines;
pub mod socket;
pub mod talk;

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt as _;

use self::batch::Batch;
use self::lines::Lines;
use super::answer::Denied;
use super::drain::{self, Drain};
use super::http::Arrival;
use super::routes::{Routes, only_post, table};
use super::token::Tokens;
use super::upgrade::Gate;
use crate::hub::Hub;
use crate::hub::names::Names;
use crate::hub::stream::Stream;
use crate::ingest::{Foreign, Publisher, declared, known, of_broadcaster};

/// The bytes of a body that is one JSON text: some 10,000 events of a usual size, and little enough to hold many at once.
pub const MAX_BODY_BYTES: usize = 8 << 20;
/// How long a body that is one JSON text may take to arrive, and how long lines may pause: slow lines manage 8 MiB in it,
/// and a stalled one does not keep its place for long.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

/// Who may publish on a listener.
#[derive(Clone)]
pub enum Door {
    /// Whoever the listener has let in as an operator.
    Operators,
    /// Who shows a token that these keys verify, to the topics that it names, in the words of the listener's endpoints.
    Clients(Arc<Tokens>, Arc<Gate>),
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
    Path(called): Path<String>,
    Extension(arrival): Extension<Arrival>,
    Extension(drain): Extension<Drain>,
    request: Request,
) -> Result<Response, Denied> {
    let (head, body) = request.into_parts();
    let publisher = ingest.door.publisher(&arrival, &head)?;
    let names = ingest.door.names(&arrival);
    let stream = ingest.stream(&called, &names)?;
    let mut batch = Batch::new(&stream, &publisher, &names);
    match form(&head.headers)? {
        Form::Json => {
            let body = read_body(body, MAX_BODY_BYTES, BODY_TIMEOUT).await?;
            batch.take_all(&batch::split(&body, stream.name())?).await;
            Ok(batch.answer())
        }
        Form::Lines => Ok(publish_lines(batch, body, &drain).await),
    }
}

impl Door {
    fn publisher(&self, arrival: &Arrival, head: &Parts) -> Result<Publisher, Denied> {
        let Self::Clients(tokens, _) = self else { return arrival.operator().map(Publisher::Known) };
        let identity = tokens.identity(arrival.peer, &head.headers, &head.uri)?.ok_or_else(|| {
            let message =
                "publishing here needs a token: send Authorization: Bearer TOKEN, or publish on the admin listener";
            Denied::unauthorized(message)
        })?;
        Ok(Publisher::Known(identity))
    }

    fn names(&self, arrival: &Arrival) -> Names {
        match self {
            Self::Operators => Names::default(),
            Self::Clients(_, gate) => gate.names(arrival),
        }
    }
}

impl Ingest {
    /// The stream, if outside programs may publish to it. Who came with a token is not told which others there are.
    fn stream(&self, called: &str, names: &Names) -> Result<Arc<Stream>, Denied> {
        declared(&self.hub, names.name_of(called)).map_err(|foreign| match foreign {
            Foreign::Unknown => {
                let valid = match self.door {
                    Door::Operators => format!("; streams to publish to: {}", known(&self.hub)),
                    Door::Clients(..) => String::new(),
                };
                let message = format!("unknown stream \"{}\"{valid}", called.escape_debug());
                Denied::new(StatusCode::NOT_FOUND, "unknown_stream", message)
            }
            Foreign::OfBroadcaster => Denied::new(StatusCode::FORBIDDEN, "forbidden", of_broadcaster(called)),
        })
    }
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

/// Publishes lines as they arrive. No faster than they are published are they read, so that a client that is too fast
/// has to wait. They may go on for ever, and so they end where a drain begins.
async fn publish_lines(mut batch: Batch<'_>, mut body: Body, drain: &Drain) -> Response {
    let mut lines = Lines::default();
    let broken = loop {
        let frame = tokio::select! {
            biased;
            () = drain.begun() => {
                tokio::spawn(pass_over(body));
                break Some(drained());
            }
            frame = tokio::time::timeout(BODY_TIMEOUT, body.frame()) => frame,
        };
        match frame {
            Ok(Some(Ok(frame))) => {
                if let Ok(piece) = frame.into_data() {
                    lines.push(&piece);
                    batch.take_lines(&mut lines).await;
                }
            }
            Ok(None) => break None,
            Ok(Some(Err(error))) => break Some(unreadable(&error)),
            Err(_) => break Some(late(BODY_TIMEOUT)),
        }
    };
    match (broken, lines.rest()) {
        (None, rest) => {
            rest.into_iter().for_each(|rest| batch.take(rest));
            batch.answer()
        }
        (Some(denied), rest) => {
            if rest.is_some() {
                batch.take_cut();
            }
            batch.answer_broken(denied)
        }
    }
}

/// Reads what nobody takes any more: the kernel would reset a connection with something unread in it, and a client that
/// still sends might never see its answer.
async fn pass_over(mut body: Body) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    _ = tokio::time::timeout(drain::LAST_WORDS, rest).await; // long enough to see an answer
}

/// A whole body of at most so many bytes.
pub async fn read_body(body: Body, max_bytes: usize, within: Duration) -> Result<Bytes, Denied> {
    match tokio::time::timeout(within, to_bytes(body, max_bytes)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if is_too_long(&error) => {
            let message = format!("a request has at most {max_bytes} bytes; send it in several requests");
            Err(Denied::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", message))
        }
        Ok(Err(error)) => Err(unreadable(&error)),
        Err(_) => Err(late(within)),
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

fn unreadable(error: &axum::Error) -> Denied {
    Denied::new(StatusCode::BAD_REQUEST, "unreadable_body", format!("the body could not be read: {error}"))
}

fn drained() -> Denied {
    Denied::draining("the daemon is stopping and reads no more of the body; send the rest in a moment")
}

fn late(within: Duration) -> Denied {
    let message = format!("nothing more of the body arrived within {} seconds", within.as_secs());
    Denied::new(StatusCode::REQUEST_TIMEOUT, "timeout", message)
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
        let read = runtime.block_on(read_body(body, MAX_BODY_BYTES, Duration::from_millis(1)));
        read.map_err(|denied| denied.into_response().status())
    }

    #[test]
    fn a_body_that_stalls_is_given_up() {
        assert_eq!(status_of(Body::new(Stalled)), Err(StatusCode::REQUEST_TIMEOUT));
        assert_eq!(status_of(Body::from("{}")), Ok(Bytes::from("{}")));
    }
}
