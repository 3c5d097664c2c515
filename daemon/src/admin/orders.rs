//! What operators want of the daemon as a whole: the main thread does it, one after the other, and tells what came of it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use clap::ValueEnum;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;
use tokio::time::error::Elapsed;

use super::Parts;
use super::pages::unknown_broadcaster;
use crate::dialect::echo;
use crate::server::answer::Denied;
use crate::server::audit;
use crate::server::http::Arrival;
use crate::server::ingest::read_body;
use crate::server::routes::{Routes, only_get, only_post, table};

/// How long an operator waits for the main thread: as long as many plugins may take to hand over their states one by one.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Orders that wait or are being done: operators are few, and each order may carry a whole configuration.
pub const MAX_ORDERS: usize = 16;
static PLACES: Semaphore = Semaphore::const_new(MAX_ORDERS);

/// The bytes of a configuration (`config::source::LARGEST_FILE`), which JSON may write twice as long.
const MAX_BODY_BYTES: usize = 2 << 20;
/// How long it may take to arrive, from this machine or from one near it.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Takes what the main thread shall do; never waits.
pub type Orders = Arc<dyn Fn(Order) + Send + Sync>;

/// Something to do, and where to tell what came of it.
#[derive(Debug)]
pub struct Order {
    pub act: Act,
    pub reply: oneshot::Sender<Outcome>,
}

/// What the main thread can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Takes the configuration file as it is now.
    Reload,
    /// Says what that would do, or what another text in its place would.
    Plan(Option<Candidate>),
    /// Does something to one broadcaster.
    Steer(String, Deed),
    /// Looks after broadcasters, because one has failed; nobody waits for it.
    Look,
}

/// What can be done to a broadcaster, by the names that are in paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Deed {
    /// Starts it anew with the state that it has
    Restart,
    /// Stops it until it is enabled or the daemon starts anew; its stream and subscriptions stay
    Disable,
    /// Starts it again after `disable`
    Enable,
    /// Takes its plugin's file as it is now; one that fails within 10 s is rolled back
    Swap,
    /// Goes back to the file that its plugin had before
    Rollback,
}

/// A configuration that may take the place of the file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// The whole text, as TOML.
    pub config: String,
    /// What mistakes call it.
    #[serde(default = "unnamed")]
    pub name: String,
}

impl Deed {
    pub fn name(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Disable => "disable",
            Self::Enable => "enable",
            Self::Swap => "swap",
            Self::Rollback => "rollback",
        }
    }
}

impl Act {
    /// For the audit.
    fn name(&self) -> String {
        match self {
            Self::Reload => "reload the configuration".to_owned(),
            Self::Plan(_) => "plan a reload".to_owned(),
            Self::Steer(name, deed) => format!("{} broadcaster {}", deed.name(), name.escape_debug()),
            Self::Look => "look after broadcasters".to_owned(),
        }
    }
}

/// What came of it: a report for programs, with `text` in it for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub is_done: bool,
    pub report: Value,
}

pub fn routes() -> Routes<Parts> {
    let acts = Routes::new()
        .serve(&table::RELOAD, reload)
        .serve(&table::PLAN, plan)
        .serve(&table::STEER, steer)
        .otherwise(only_post);
    acts.merge(Routes::new().serve(&table::STATUS, status).otherwise(only_get))
}

async fn status(State(parts): State<Parts>) -> Json<Value> {
    Json(parts.house.status())
}

async fn reload(State(parts): State<Parts>, Extension(arrival): Extension<Arrival>) -> Result<Response, Denied> {
    order(parts, arrival, Act::Reload).await
}

/// It loads the plugins that the file names, and so is not for everybody either.
async fn plan(
    State(parts): State<Parts>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, Denied> {
    arrival.changer()?;
    let body = read_body(request.into_body(), MAX_BODY_BYTES, BODY_TIMEOUT).await?;
    if body.is_empty() {
        return order(parts, arrival, Act::Plan(None)).await;
    }
    let candidate = serde_json::from_slice(&body).map_err(|error| {
        let message = format!("the body is empty, or {{\"config\": TEXT, \"name\": NAME}}: {error}");
        Denied::new(StatusCode::BAD_REQUEST, "invalid_params", message)
    })?;
    order(parts, arrival, Act::Plan(Some(candidate))).await
}

async fn steer(
    State(parts): State<Parts>,
    Extension(arrival): Extension<Arrival>,
    Path((name, deed)): Path<(String, String)>,
) -> Result<Response, Denied> {
    arrival.changer()?;
    if parts.house.broadcaster(&name).is_none() {
        return Err(unknown_broadcaster(&*parts.house, &name));
    }
    let deeds = Deed::value_variants();
    let Some(deed) = deeds.iter().copied().find(|known| known.name() == deed) else {
        let known: Vec<&str> = deeds.iter().map(|known| known.name()).collect();
        let message = format!("\"{}\" cannot be done to a broadcaster; one of {} can", echo(&deed), known.join(", "));
        return Err(Denied::new(StatusCode::NOT_FOUND, "unknown_path", message));
    };
    order(parts, arrival, Act::Steer(name, deed)).await
}

fn unnamed() -> String {
    "the given text".to_owned()
}

/// What comes of something that was ordered then.
async fn in_time(
    outcome: oneshot::Receiver<Outcome>,
    ordered: Instant,
) -> Result<Result<Outcome, oneshot::error::RecvError>, Elapsed> {
    tokio::time::timeout_at(ordered + DEADLINE, outcome).await
}

/// It is done, and noted, also when whoever asked does not wait for it.
async fn order(parts: Parts, arrival: Arrival, act: Act) -> Result<Response, Denied> {
    arrival.changer()?;
    let Ok(place) = PLACES.try_acquire() else {
        let message = format!("{MAX_ORDERS} orders wait already, the most that may; ask again");
        return Err(Denied::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message).for_now());
    };
    let ordered = tokio::spawn(async move {
        let _place = place;
        let (reply, outcome) = oneshot::channel();
        (parts.orders)(Order { act: act.clone(), reply });
        let outcome = in_time(outcome, Instant::now()).await;
        let noted = match &outcome {
            Ok(Ok(Outcome { is_done: true, .. })) => "done",
            Ok(Ok(_)) => "refused",
            Ok(Err(_)) => "not done: draining",
            Err(_) => "unknown: it takes too long",
        };
        audit::outcome(&arrival, &act.name(), noted);
        outcome
    });
    match ordered.await {
        Ok(Ok(Ok(Outcome { is_done, report }))) => {
            let status = if is_done { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
            Ok((status, Json(report)).into_response())
        }
        Ok(Ok(Err(_))) => Err(Denied::draining("the daemon is stopping and changes nothing any more")),
        Ok(Err(_)) | Err(_) => {
            let message = format!(
                "it took longer than {} s; what has begun may still be done: ask for the status",
                DEADLINE.as_secs()
            );
            Err(Denied::new(StatusCode::GATEWAY_TIMEOUT, "deadline", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_order_is_waited_for_up_to_its_deadline_and_no_longer() {
        let soon = Duration::from_secs(30);
        let done = || Outcome { is_done: true, report: Value::Null };
        let (reply, outcome) = oneshot::channel();
        assert!(in_time(outcome, Instant::now() - DEADLINE).await.is_err(), "nobody waits for what comes now");
        assert!(reply.is_closed(), "so that the main thread need not begin with it");
        let (reply, outcome) = oneshot::channel();
        let waits = tokio::spawn(in_time(outcome, Instant::now() - DEADLINE + soon));
        tokio::task::yield_now().await;
        assert!(!waits.is_finished() && !reply.is_closed(), "its time is not over");
        reply.send(done()).unwrap();
        assert_eq!(waits.await.unwrap(), Ok(Ok(done())));
        let (reply, outcome) = oneshot::channel();
        drop(reply);
        assert!(matches!(in_time(outcome, Instant::now()).await, Ok(Err(_))), "nobody does it any more");
    }
}
