//! What operators did that concerns others: lines under a target of their own, which alone name users, so that they can be
//! kept apart.

use std::sync::Arc;

use super::answer::Denied;
use super::http::{Arrival, Credentials};
use crate::identity::Identity;

/// The operator who is shown what is private of a user, where it has shown that it is one; and notes that. No door shows such
/// a thing otherwise.
pub fn reveal(arrival: &Arrival, act: &'static str, user: &str) -> Result<Arc<Identity>, Denied> {
    let operator = arrival.proven("this shows what is private")?;
    note(arrival, act, user);
    Ok(operator)
}

/// Notes that somebody on the admin listener did this to, or looked at what belongs to, `whom`.
pub fn note(arrival: &Arrival, act: &'static str, whom: &str) {
    let (principal, peer) = who(arrival);
    tracing::info!(target: "audit", principal, act, whom = %whom.escape_debug(), peer, listener = &*arrival.listener, "an operator acted");
}

/// Notes what came of something that concerns the daemon as a whole.
pub fn outcome(arrival: &Arrival, act: &str, outcome: &str) {
    let (principal, peer) = who(arrival);
    tracing::info!(target: "audit", principal, act, outcome, peer, listener = &*arrival.listener, "an operator acted");
}

fn who(arrival: &Arrival) -> (&str, String) {
    let principal = arrival.operator.as_ref().map_or("", |operator| operator.name());
    let peer = match (arrival.peer, arrival.credentials) {
        (Some(peer), _) => peer.to_string(),
        (None, Some(Credentials { uid, pid })) => format!("uid {uid}, process {}", pid.unwrap_or_default()),
        (None, None) => "unix socket".to_owned(),
    };
    (principal, peer)
}
