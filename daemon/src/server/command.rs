//! Commands over HTTP: who asks is told by the listener, and the answer is waited for.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::oneshot;

use super::answer::Denied;
use super::http::Arrival;
use super::routes::{Routes, only_post, table};
use crate::event::unix_now;
use crate::hub::Hub;
use crate::hub::commands::{Ask, Failure, MAX_PAYLOAD_BYTES, Reason};
use crate::hub::names::Names;
use crate::identity::Identity;

const JSON: &str = "application/json";
/// How long a payload may take to arrive: it is short, and whoever waits for its answer waits as long.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Learns from how a request came and from its head who asks something of the broadcaster that is called so, and by which
/// names; or why nobody may. Never waits.
pub type Caller = Arc<dyn Fn(&Arrival, &Parts, &str) -> Result<(Arc<Identity>, Names), Denied> + Send + Sync>;

#[derive(Clone)]
struct Commands {
    hub: Arc<Hub>,
    caller: Caller,
}

/// The route, for any listener.
pub fn routes(hub: Arc<Hub>, caller: Caller) -> Routes {
    Routes::new().serve(&table::COMMAND, command).otherwise(only_post).with_state(Commands { hub, caller })
}

async fn command(
    State(commands): State<Commands>,
    Extension(arrival): Extension<Arrival>,
    Path((broadcaster, command)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Denied> {
    let (head, body) = request.into_parts();
    let (identity, names) = (commands.caller)(&arrival, &head, &broadcaster)?;
    check_type(&head.headers)?;
    let payload = read(body, BODY_TIMEOUT).await?;
    identity.holds(unix_now()).map_err(Denied::unauthorized)?; // the body may have come long after the head
    let (answered, answer) = oneshot::channel();
    let ask = Ask { broadcaster: &broadcaster, command: &command, payload, principal: identity.name(), names: &names };
    // A client that has left needs no answer.
    let hand_over = Box::new(move |outcome| _ = answered.send(outcome));
    commands.hub.command(ask, |permission| identity.may_command(permission), hand_over).map_err(denied)?;
    match answer.await {
        Ok(outcome) => Ok(result(&outcome.map_err(denied)?)),
        Err(_) => Err(Denied::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the answer was lost; see the log")),
    }
}

/// Other types can be sent by a foreign web page without asking first.
fn check_type(headers: &HeaderMap) -> Result<(), Denied> {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if said.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case(JSON)) {
        return Ok(());
    }
    let message = format!("send Content-Type: {JSON}, and the payload of the command as the body");
    Err(Denied::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message))
}

async fn read(body: Body, within: Duration) -> Result<Bytes, Denied> {
    match tokio::time::timeout(within, to_bytes(body, MAX_PAYLOAD_BYTES)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => {
            let message = format!("the payload of a command has at most {MAX_PAYLOAD_BYTES} bytes, and all must come");
            Err(Denied::new(StatusCode::PAYLOAD_TOO_LARGE, Reason::TooLarge.text(), message))
        }
        Err(_) => {
            let message = format!("the payload did not arrive within {} seconds", within.as_secs());
            Err(Denied::new(StatusCode::REQUEST_TIMEOUT, "timeout", message))
        }
    }
}

fn result(result: &Bytes) -> Response {
    let body = [b"{\"result\":".as_slice(), result, b"}"].concat();
    ([(header::CONTENT_TYPE, JSON)], body).into_response()
}

fn denied(failure: Failure) -> Denied {
    let message = match failure.pointer.as_str() {
        "" => failure.message,
        pointer => format!("{pointer}: {}", failure.message),
    };
    let denied = Denied::new(status(failure.reason), failure.reason.text(), message);
    match failure.reason {
        Reason::Full | Reason::Unavailable => denied.for_now(),
        _ => denied,
    }
}

fn status(reason: Reason) -> StatusCode {
    match reason {
        Reason::UnknownBroadcaster | Reason::UnknownCommand | Reason::NotFound => StatusCode::NOT_FOUND,
        Reason::Forbidden => StatusCode::FORBIDDEN,
        Reason::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        Reason::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::Conflict => StatusCode::CONFLICT,
        Reason::Full | Reason::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Reason::Deadline => StatusCode::GATEWAY_TIMEOUT,
        Reason::Failed => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
