//! What waits where, and what was counted since the start, in one look.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde_json::{Map, Value, json};

use super::Parts;
use super::streams::listening;
use crate::metrics::totals::total;
use crate::server::answer::Denied;
use crate::server::query::Params;
use crate::server::routes::{Routes, only_get, table};
use crate::shard::inbox::MAX_QUEUED_BYTES;

/// What the page of counters shows, each the sum over all labels of a metric: there is one place where things are counted.
const COUNTED: &[(&str, &str)] = &[
    ("broadcasts", "broadcastd_events_published_total"),
    ("broadcasts_refused", "broadcastd_events_refused_total"),
    ("broadcasts_repeated", "broadcastd_events_repeated_total"),
    ("broadcasts_skipped", "broadcastd_events_skipped_total"),
    ("broadcaster_errors", "broadcastd_broadcaster_errors_total"),
    ("broadcaster_restarts", "broadcastd_broadcaster_restarts_total"),
    ("bytes_sent", "broadcastd_delivered_bytes_total"),
    ("client_log_lines", "broadcastd_client_log_lines_total"),
    ("commands", "broadcastd_commands_total"),
    ("connections", "broadcastd_connections"),
    ("connections_ended", "broadcastd_closes_total"),
    ("connections_refused", "broadcastd_connections_refused_total"),
    ("lagged", "broadcastd_lagged_total"),
    ("messages_sent", "broadcastd_deliveries_total"),
    ("subscriptions", "broadcastd_subscriptions"),
];

pub fn routes() -> Routes<Parts> {
    Routes::new().serve(&table::QUEUES, queues).serve(&table::COUNTERS, counters).otherwise(only_get)
}

/// What waits for each shard, and for each broadcaster that listens. No shard is asked.
async fn queues(State(parts): State<Parts>, uri: Uri) -> Result<Json<Value>, Denied> {
    Params::of(&uri, &[])?;
    let shards = parts.shards.0.iter().enumerate();
    let shards: Vec<Value> = shards
        .map(|(index, inbox)| {
            json!({"shard": index, "bytes": inbox.queued_bytes(), "max_bytes": MAX_QUEUED_BYTES, "turns": inbox.turns()})
        })
        .collect();
    let streams = parts.hub.streams();
    let listened = streams.iter().map(|stream| (stream, listening(stream)));
    let inputs: Vec<Value> = listened
        .filter(|(_, listeners)| !listeners.is_empty())
        .map(|(stream, listeners)| {
            let bytes = stream.figures().input_bytes;
            let max = stream.settings().listen_buffer;
            json!({"stream": &**stream.name(), "bytes": bytes, "max_bytes": max, "listeners": listeners})
        })
        .collect();
    let memory = json!({"bytes": parts.hub.memory().used()});
    Ok(Json(json!({"shards": shards, "inputs": inputs, "memory": memory})))
}

async fn counters(State(parts): State<Parts>, uri: Uri) -> Result<Json<Value>, Denied> {
    Params::of(&uri, &[])?;
    let text = parts.metrics.render();
    let counted = COUNTED.iter().map(|(name, metric)| ((*name).to_owned(), json!(total(text.lines(), metric))));
    let mut counted: Map<String, Value> = counted.collect();
    let (taken, refused) = (total(text.lines(), COUNTED[0].1), total(text.lines(), COUNTED[1].1));
    let tried = taken + refused;
    counted.insert("success_rate".to_owned(), if tried > 0 { json!(taken as f64 / tried as f64) } else { Value::Null });
    Ok(Json(Value::Object(counted)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{COUNTERS, GAUGES};

    #[test]
    fn everything_that_is_shown_is_counted_somewhere() {
        let is_known = |metric: &str| COUNTERS.iter().chain(GAUGES).any(|(name, _)| *name == metric);
        assert!(COUNTED.iter().all(|(_, metric)| is_known(metric)));
    }
}
