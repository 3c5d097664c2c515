//! Which users are connected and how often, and the end of all connections of one.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::Parts;
use crate::server::answer::Denied;
use crate::server::audit;
use crate::server::http::Arrival;
use crate::server::query::{Limit, Params};
use crate::server::routes::{Routes, only_get, table};
use crate::shard::census::{Ask, Users};

/// Users of one page.
pub const PAGE: Limit = Limit { default: 100, max: 1000 };

pub fn routes() -> Routes<Parts> {
    let pages = Routes::new().serve(&table::USERS, list).serve(&table::USER, one).otherwise(only_get);
    pages.merge(Routes::new().serve(&table::LOGOUT, log_out).otherwise(only_delete))
}

async fn list(State(parts): State<Parts>, uri: Uri) -> Result<Json<Value>, Denied> {
    let params = Params::of(&uri, &["after", "limit"])?;
    let max = params.limit(PAGE)?;
    let behind: Option<Arc<str>> = params.one("after")?.map(Arc::from);
    // Whoever is among the first of all is among the first of each shard that knows it.
    let wanted = Users::Some { behind, max: max + 1 };
    let users = count(&parts, wanted).await?;
    let shown: Vec<(&Arc<str>, &usize)> = users.iter().take(max).collect();
    let more = users.len() > max;
    let next = shown.last().filter(|_| more).map(|(user, _)| &***user);
    let users: Vec<Value> = shown.iter().map(|(user, connections)| describe(user, **connections)).collect();
    Ok(Json(json!({"users": users, "more": more, "next": next})))
}

async fn one(State(parts): State<Parts>, Path(id): Path<String>, uri: Uri) -> Result<Json<Value>, Denied> {
    Params::of(&uri, &[])?;
    let counted = count(&parts, Users::One(id.as_str().into())).await?;
    Ok(Json(describe(&id, counted.values().sum())))
}

async fn log_out(
    State(parts): State<Parts>,
    Extension(arrival): Extension<Arrival>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Denied> {
    audit::note(&arrival, "log a user out", &id);
    let user: Arc<str> = id.into();
    let closed = parts.shards.ask_all(|answer| Ask::LogOut(user.clone(), answer)).await?;
    Ok(Json(json!({"closed": closed.iter().sum::<usize>()})))
}

/// The users of all shards, each with the connections that it has in any.
async fn count(parts: &Parts, wanted: Users) -> Result<BTreeMap<Arc<str>, usize>, Denied> {
    let mut users: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    for shard in parts.shards.ask_all(|answer| Ask::Users(wanted.clone(), answer)).await? {
        shard.into_iter().for_each(|(user, connections)| *users.entry(user).or_default() += connections);
    }
    Ok(users)
}

fn describe(user: &str, connections: usize) -> Value {
    json!({"user": user, "connections": connections})
}

async fn only_delete() -> Denied {
    Denied::wrong_method("DELETE")
}
