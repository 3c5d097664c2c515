//! How much is logged: of each broadcaster, and of the rest.

use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::Value;

use super::Parts;
use crate::server::answer::Denied;
use crate::server::audit;
use crate::server::http::Arrival;
use crate::server::ingest::read_body;
use crate::server::query::invalid;
use crate::server::routes::{Routes, only_get, only_post, table};

/// A body has one word; this is room for a lot of blanks.
const MAX_BODY_BYTES: usize = 1 << 10;
/// How long it may take to arrive, from this machine or from one near it.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What was named that is not there, and what is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    Name(String),
    Level(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    level: String,
}

pub fn routes() -> Routes<Parts> {
    let change = Routes::new().serve(&table::LOG_LEVEL, change).otherwise(only_post);
    change.merge(Routes::new().serve(&table::LOG_LEVELS, all).otherwise(only_get))
}

async fn all(State(parts): State<Parts>) -> Json<Value> {
    Json(parts.house.log_levels())
}

async fn change(
    State(parts): State<Parts>,
    Extension(arrival): Extension<Arrival>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<Value>, Denied> {
    arrival.changer()?;
    let body = read_body(request.into_body(), MAX_BODY_BYTES, BODY_TIMEOUT).await?;
    let wish = serde_json::from_slice(&body);
    let Wish { level } = wish.map_err(|error| invalid(format!("the body is {{\"level\": LEVEL}}: {error}")))?;
    let changed = parts.house.set_log_level(&name, &level).map_err(|unknown| match unknown {
        Unknown::Name(message) => Denied::new(StatusCode::NOT_FOUND, "unknown_broadcaster", message),
        Unknown::Level(message) => invalid(message),
    })?;
    let (was, is) = (&changed["before"], &changed["level"]);
    audit::outcome(&arrival, "change a log level", &format!("{name}: {is} instead of {was}"));
    Ok(Json(changed))
}
