//! What clients of the `streams` dialect fetch over HTTP when they have connected: the state of the endpoint's streams, as
//! far as everybody may read it.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderName, header};
use bytes::{Bytes, BytesMut};

use super::answer::Denied;
use super::http::Arrival;
use super::routes::{Routes, only_get, table};
use super::upgrade::Gate;
use crate::dialect::{Dialect, streams};
use crate::event::unix_now;
use crate::hub::log::Answer;
use crate::hub::pattern::Pattern;
use crate::hub::stream::{Stream, reads};
use crate::hub::{Hub, Wish};
use crate::identity::Auth;
use crate::shard::inbox::Endpoint;

/// The streams that the client knows by name, as it calls them.
const POSITIONS: &str = "positions";
const SIGNALS: &str = "signals";
/// The collection of state machines.
const INSTANCES: &str = "instances";

/// Where the state is read, and whose endpoints say what of it.
#[derive(Clone)]
struct Reader {
    gate: Arc<Gate>,
    hub: Arc<Hub>,
}

/// The route, for listeners that have an endpoint of the dialect.
pub fn routes(gate: Arc<Gate>, hub: Arc<Hub>) -> Routes {
    Routes::new().serve(&table::STATE, snapshot).otherwise(only_get).with_state(Reader { gate, hub })
}

async fn snapshot(
    State(reader): State<Reader>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<([(HeaderName, &'static str); 2], Vec<u8>), Denied> {
    let endpoint = reader.gate.endpoint_beside(&arrival, &request, Dialect::Streams)?;
    if endpoint.auth == Auth::Required {
        return Err(Denied::unauthorized("nobody may read this endpoint's streams without saying who it is"));
    }
    let head = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    Ok((head, streams::state(&state(&reader.hub, &endpoint), unix_now())))
}

fn state(hub: &Hub, endpoint: &Endpoint) -> streams::State {
    let is_read = |stream: &Arc<Stream>| endpoint.serves(stream.name()) && stream.settings().is_for_everybody();
    let of = |called: &str| {
        let stream = hub.stream(endpoint.aliases.name_of(called)).filter(is_read);
        records(stream.iter(), |_| true)
    };
    let read: Vec<Arc<Stream>> = hub.streams().into_iter().filter(is_read).collect();
    streams::State {
        positions: of(POSITIONS),
        active_signals: of(SIGNALS),
        instances: records(read.iter(), |collection| collection == INSTANCES),
    }
}

/// The records of these streams in such collections, commas between.
fn records<'a>(streams: impl Iterator<Item = &'a Arc<Stream>>, is_meant: impl Fn(&str) -> bool) -> Bytes {
    let mut joined = BytesMut::new();
    for stream in streams {
        let wish = Wish {
            patterns: &[Pattern::whole(stream.name())],
            audience: "",
            since: None,
            reader: reads::Reader::Client,
        };
        // A stream that ends just now has no state any more.
        let Ok(Answer::Snapshot(snapshot)) = stream.answer(&wish).map(|answered| answered.answer) else { continue };
        let meant = snapshot.collections().into_iter().filter(|(name, records)| is_meant(name) && !records.is_empty());
        for (_, records) in meant {
            if !joined.is_empty() {
                joined.extend_from_slice(b",");
            }
            joined.extend_from_slice(&records);
        }
    }
    joined.freeze()
}
