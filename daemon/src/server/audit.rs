//! What operators did that concerns others: lines under a target of their own, which alone name users, so that they can be
//! kept apart.

use super::http::Arrival;

/// Notes that somebody on the admin listener did this to, or looked at what belongs to, `whom`.
pub fn note(arrival: &Arrival, act: &'static str, whom: &str) {
    let principal = arrival.operator.as_ref().map_or("", |operator| operator.name());
    let peer = arrival.peer.map_or_else(|| "unix socket".to_owned(), |peer| peer.to_string());
    tracing::info!(target: "audit", principal, act, whom = %whom.escape_debug(), peer, listener = &*arrival.listener, "an operator acted");
}
