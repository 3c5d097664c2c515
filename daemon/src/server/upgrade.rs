//! From a request to a connection: is there such an endpoint, may this page and this client come in, and then the bare
//! socket goes to a shard.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use metrics::Gauge;

use super::answer::Denied;
use super::http::{Arrival, Departure};
use super::limits::{Crowded, Limits, Permit};
use super::{EndpointConfig, origin, sse};
use crate::dialect::{self, Command, Dialect};
use crate::event::unix_now;
use crate::identity::{Auth, Identity, Verifier};
use crate::metrics as count;
use crate::shard::inbox::{Endpoint, Inbound, Inbox, Newcomer};
use crate::websocket::handshake;

/// Decides who becomes a connection of which shard.
pub struct Gate {
    shards: Vec<Arc<Inbox>>,
    verifier: Arc<Verifier>,
    pages: Vec<String>,
    pub limits: Arc<Limits>,
    rules: RwLock<Arc<Rules>>,
    closed: AtomicBool,
}

/// What a reload replaces whole. Connections keep the endpoint that they came through.
#[derive(Default)]
struct Rules {
    routes: Vec<Route>,
    origins: Vec<String>,
    /// What else is here, as messages name it.
    pages: Vec<String>,
}

struct Route {
    listener: Option<String>,
    endpoint: Arc<Endpoint>,
    connections: Gauge,
}

/// A client that may come in: its endpoint, who it is, what it wants at once, its place, and the head of its answer.
struct Entry {
    endpoint: Arc<Endpoint>,
    identity: Option<Arc<Identity>>,
    wishes: Vec<Command>,
    permit: Permit,
    head: Vec<u8>,
}

impl Gate {
    /// `pages` are the routes beside the endpoints, as messages name them.
    pub fn new(shards: Vec<Arc<Inbox>>, verifier: Arc<Verifier>, pages: Vec<String>) -> Arc<Self> {
        let limits = Limits::new(shards.len());
        Arc::new(Self { shards, verifier, pages, limits, rules: RwLock::default(), closed: AtomicBool::new(false) })
    }

    pub fn set(&self, endpoints: &[EndpointConfig], origins: &[String]) {
        let routes = endpoints.iter().map(Route::new).collect();
        let rules = Rules { routes, origins: origins.to_vec(), pages: self.pages.clone() };
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// From now on nobody gets in.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn admit(&self, arrival: &Arrival, request: &Request) -> Result<Entry, Denied> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner).clone();
        let route = rules.route(arrival, request.uri().path())?;
        let endpoint = route.endpoint.clone();
        let head = if endpoint.dialect.is_framed() { upgraded(request, endpoint.dialect)? } else { streamed(request)? };
        rules.check_origin(request)?;
        let identity = self.identify(request, &endpoint)?;
        if self.closed.load(Ordering::Relaxed) {
            count::connection_refused("draining");
            let message = "the daemon is stopping; come back in a moment";
            return Err(Denied::new(StatusCode::SERVICE_UNAVAILABLE, "draining", message).for_now());
        }
        let wishes = if endpoint.dialect.is_framed() { Vec::new() } else { sse::wishes(request)? };
        let permit = self.limits.admit(arrival.peer, route.connections.clone()).map_err(crowded)?;
        Ok(Entry { endpoint, identity, wishes, permit, head })
    }

    /// Who is there. A token that proves nothing lets nobody in, also where none is needed.
    fn identify(&self, request: &Request, endpoint: &Endpoint) -> Result<Option<Arc<Identity>>, Denied> {
        if endpoint.auth == Auth::None {
            return Ok(None);
        }
        let denied = |message: String| {
            count::connection_refused("identity");
            Denied::unauthorized(message)
        };
        match bearer(request) {
            Some(token) => {
                let identity = self.verifier.verify(token, unix_now());
                identity.map(Some).map_err(|rejected| denied(rejected.to_string()))
            }
            None if endpoint.auth == Auth::Required && !endpoint.dialect.can_authenticate() => {
                Err(denied("this path needs a token: send Authorization: Bearer TOKEN, or ?token=TOKEN".to_owned()))
            }
            None => Ok(None),
        }
    }

    /// Gives the bare socket to its shard.
    fn hand_over(&self, entry: Entry, socket: io::Result<OwnedFd>, read_ahead: Vec<u8>) {
        let Entry { endpoint, identity, wishes, permit, head } = entry;
        match socket {
            Ok(socket) => {
                let shard = permit.shard();
                let permit = Box::new(permit);
                let newcomer = Newcomer { socket, head, read_ahead, endpoint, identity, wishes, permit };
                self.shards[shard].hand(Inbound::Adopt(Box::new(newcomer)));
            }
            Err(error) => tracing::warn!(%error, "an upgraded socket could not be handed to a shard"),
        }
    }
}

/// The route of everything that is no other route: endpoints, and the answer to paths that nobody knows.
pub async fn open(
    State(gate): State<Arc<Gate>>,
    Extension(arrival): Extension<Arrival>,
    Extension(departure): Extension<Departure>,
    request: Request,
) -> Response {
    match gate.admit(&arrival, &request) {
        Ok(entry) => departure.leave(move |socket, read_ahead| gate.hand_over(entry, socket, read_ahead)).await,
        Err(refused) => refused.into_response(),
    }
}

impl Rules {
    fn route(&self, arrival: &Arrival, path: &str) -> Result<&Route, Denied> {
        let is_here = |route: &&Route| route.listener.as_deref().is_none_or(|listener| listener == &*arrival.listener);
        let here: Vec<&Route> = self.routes.iter().filter(is_here).collect();
        let Some(route) = here.iter().find(|route| route.endpoint.path == path) else {
            let mut paths: Vec<String> = here
                .iter()
                .map(|route| format!("{} ({})", route.endpoint.path, route.endpoint.dialect.name()))
                .collect();
            paths.extend_from_slice(&self.pages);
            let message = format!("nothing is at {path}; valid paths: {}", paths.join(", "));
            return Err(Denied::new(StatusCode::NOT_FOUND, "unknown_path", message));
        };
        Ok(route)
    }

    /// Programs send no origin; a browser sends the page's, and a page from elsewhere must have been let in by name.
    fn check_origin(&self, request: &Request) -> Result<(), Denied> {
        for value in request.headers().get_all(header::ORIGIN) {
            let origin = value.to_str().unwrap_or("unreadable");
            if !origin::is_allowed(origin, &self.origins) {
                count::connection_refused("origin");
                let message = format!(
                    "pages of origin {origin} may not connect; add it to server.origins in the configuration to allow it"
                );
                return Err(Denied::new(StatusCode::FORBIDDEN, "origin_refused", message));
            }
        }
        Ok(())
    }
}

impl Route {
    fn new(config: &EndpointConfig) -> Self {
        let connections = count::connections(&config.endpoint.path, config.endpoint.dialect.name());
        Self { listener: config.listen.clone(), endpoint: Arc::new(config.endpoint.clone()), connections }
    }
}

fn refused_handshake(refused: &handshake::Refusal) -> Denied {
    count::connection_refused("handshake");
    let answer = Denied::new(refused.status, "bad_handshake", refused.message);
    match refused.header.clone() {
        Some((name, value)) => answer.with(name, value),
        None => answer,
    }
}

fn crowded(crowded: Crowded) -> Denied {
    let (reason, status, message) = match crowded {
        Crowded::All(max) => (
            "max_connections",
            StatusCode::SERVICE_UNAVAILABLE,
            format!("there are {max} connections already, the most there may be (hub.max_connections)"),
        ),
        Crowded::Address(max) => (
            "max_per_ip",
            StatusCode::TOO_MANY_REQUESTS,
            format!("your address has {max} connections already, the most it may have (hub.max_per_ip); close one"),
        ),
    };
    count::connection_refused(reason);
    Denied::new(status, "too_many_connections", message).for_now()
}

/// The answer that opens a WebSocket.
fn upgraded(request: &Request, dialect: Dialect) -> Result<Vec<u8>, Denied> {
    let offered = dialect.subprotocols();
    let accepted = handshake::accept(request.method(), request.version(), request.headers(), offered)
        .map_err(|refused| refused_handshake(&refused))?;
    let mut head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {}\r\n",
        accepted.accept_key
    );
    if let Some(subprotocol) = accepted.subprotocol {
        head.push_str(&format!("sec-websocket-protocol: {subprotocol}\r\n"));
    }
    head.push_str("\r\n");
    Ok(head.into_bytes())
}

/// The answer that begins server-sent events.
fn streamed(request: &Request) -> Result<Vec<u8>, Denied> {
    if request.method() != Method::GET {
        count::connection_refused("handshake");
        let message = "server-sent events are asked for with GET";
        let denied = Denied::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
        return Err(denied.with(header::ALLOW, "GET"));
    }
    Ok(dialect::sse::HEAD.to_vec())
}

fn bearer(request: &Request) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ")
}
