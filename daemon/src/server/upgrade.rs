//! From a request to a connection: is there such an endpoint, may this page and this client come in, and then the bare
//! socket goes to a shard.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use axum::Extension;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use metrics::Gauge;

use super::answer::Denied;
use super::caller::Caller;
use super::http::{Arrival, Bare, Departure};
use super::limits::{Crowded, Limits, Permit};
use super::pages::Admitted;
use super::query::AUDIENCE;
use super::token::Tokens;
use super::{EndpointConfig, audit, sse};
use crate::dialect::{self, Command, Dialect};
use crate::hub::names::Names;
use crate::identity::{Auth, Identity, Verify};
use crate::metrics as count;
use crate::metrics::labels::Unwelcome;
use crate::shard::inbox::{Endpoint, Inbound, Inbox, Newcomer};
use crate::websocket::deflate::Compression;
use crate::websocket::handshake;

/// The paths of operators' endpoints.
pub const OPERATORS_WEBSOCKET: &str = "/v1/ws";
pub const OPERATORS_EVENTS: &str = "/v1/sse";
/// Connections of operators beside those of clients, so that operators get in when clients have taken every place; more
/// than the dashboards and terminals of a team. Who says only later that he is one has a place of as many others, so that
/// strangers do not keep out those who have said it.
pub const MAX_OPERATORS: usize = 64;

/// Decides who becomes a connection of which shard.
pub struct Gate {
    shards: Vec<Arc<Inbox>>,
    guests: Guests,
    pub limits: Arc<Limits>,
    rules: RwLock<Arc<Rules>>,
    closed: AtomicBool,
}

/// Who comes to a gate.
enum Guests {
    /// Whoever the tokens say, or nobody in particular.
    Clients(Arc<Tokens>),
    /// Whoever the listener has let in as an operator, or as somebody who says so in the first message.
    Operators { trust: Arc<dyn Verify>, unsaid: Arc<Limits> },
}

/// The gate, and what else is on its listeners, as messages name it.
#[derive(Clone)]
pub struct Entrance {
    pub gate: Arc<Gate>,
    pub pages: Arc<[String]>,
}

/// What a reload replaces whole. Connections keep the endpoint that they came through.
#[derive(Default)]
struct Rules {
    routes: Vec<Route>,
    compression: Compression,
}

struct Route {
    listener: Option<String>,
    endpoint: Arc<Endpoint>,
    connections: Gauge,
}

/// A client that may come in: where it is from, its endpoint, who it is, what it wants at once, its place, and the head of its answer.
struct Entry {
    peer: Option<IpAddr>,
    endpoint: Arc<Endpoint>,
    identity: Option<Arc<Identity>>,
    trust: Option<Arc<dyn Verify>>,
    wishes: Vec<Command>,
    permit: Permit,
    head: Vec<u8>,
    compression: Compression,
}

impl Gate {
    /// The gate of clients, who find nothing behind it before `set`.
    pub fn new(shards: Vec<Arc<Inbox>>, tokens: Arc<Tokens>) -> Arc<Self> {
        Arc::new(Self::of(shards, Guests::Clients(tokens)))
    }

    /// The gate of operators, with the endpoints that they find on their listener. Whether a page may ask, and who is an
    /// operator, is found out before it.
    pub fn for_operators(shards: Vec<Arc<Inbox>>, trust: Arc<dyn Verify>) -> Arc<Self> {
        let unsaid = Limits::new(shards.len());
        unsaid.set(MAX_OPERATORS, MAX_OPERATORS);
        let gate = Self::of(shards, Guests::Operators { trust, unsaid });
        gate.limits.set(MAX_OPERATORS, MAX_OPERATORS);
        let route = |path: &str, dialect: Dialect| Route {
            listener: None,
            endpoint: Arc::new(Endpoint { auth: Auth::Required, ..Endpoint::open(path, dialect) }),
            connections: count::connections(&format!("admin{path}"), dialect.label()),
        };
        let routes = vec![route(OPERATORS_WEBSOCKET, Dialect::Native), route(OPERATORS_EVENTS, Dialect::Sse)];
        let rules = Rules { routes, compression: Compression::On };
        *gate.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        Arc::new(gate)
    }

    fn of(shards: Vec<Arc<Inbox>>, guests: Guests) -> Self {
        let limits = Limits::new(shards.len());
        Self { shards, guests, limits, rules: RwLock::default(), closed: AtomicBool::new(false) }
    }

    pub fn set(&self, endpoints: &[EndpointConfig], compression: Compression) {
        let routes = endpoints.iter().map(Route::new).collect();
        let rules = Rules { routes, compression };
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// From now on nobody gets in.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Who asks a plain question on a listener. Its token is looked at where some endpoint of the listener would look.
    pub fn caller(&self, arrival: &Arrival, headers: &HeaderMap, uri: &Uri) -> Result<Caller, Denied> {
        let rules = self.rules();
        let endpoints: Vec<Arc<Endpoint>> = rules.at(arrival).map(|route| route.endpoint.clone()).collect();
        let is_looked_at = endpoints.iter().any(|endpoint| endpoint.auth != Auth::None);
        let identity = if is_looked_at { self.guests.identity(arrival, headers, uri)? } else { None };
        Caller::new(endpoints, identity)
    }

    /// What clients of the listener may call streams beside their names.
    pub fn names(&self, arrival: &Arrival) -> Names {
        Names::joined(self.rules().at(arrival).map(|route| &route.endpoint.aliases))
    }

    /// Whether an endpoint of the listener shows the stream of this name to anybody.
    pub fn serves(&self, arrival: &Arrival, stream: &str) -> bool {
        self.rules().at(arrival).any(|route| route.endpoint.serves(stream))
    }

    /// The paths of server-sent events at the listener of an arrival.
    pub fn streamed(&self, arrival: &Arrival) -> Vec<String> {
        let rules = self.rules();
        let endpoints = rules.at(arrival).map(|route| &route.endpoint);
        endpoints.filter(|endpoint| !endpoint.dialect.is_framed()).map(|endpoint| endpoint.path.clone()).collect()
    }

    fn rules(&self) -> Arc<Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The endpoint of a dialect on the listener of this request, whose path belongs to that dialect's endpoints.
    pub fn endpoint_beside(
        &self,
        arrival: &Arrival,
        request: &Request,
        dialect: Dialect,
    ) -> Result<Arc<Endpoint>, Denied> {
        let rules = self.rules();
        let route = match rules.at(arrival).find(|route| route.endpoint.dialect == dialect) {
            Some(route) => route,
            None => rules.route(arrival, request.uri().path(), &[])?,
        };
        Ok(route.endpoint.clone())
    }

    fn admit(&self, arrival: &Arrival, request: &Request, pages: &[String]) -> Result<Entry, Denied> {
        let rules = self.rules();
        let route = rules.route(arrival, request.uri().path(), pages)?;
        let endpoint = route.endpoint.clone();
        let (head, compression) = match endpoint.dialect.is_framed() {
            true => upgraded(request, endpoint.dialect, rules.compression)?,
            false => (streamed(request)?, Compression::Off),
        };
        let identity = self.identify(arrival, request, &endpoint)?;
        if self.closed.load(Ordering::Relaxed) {
            count::connection_refused(Unwelcome::Draining);
            return Err(Denied::draining("the daemon is stopping; come back in a moment"));
        }
        let wishes = if endpoint.dialect.is_framed() { Vec::new() } else { sse::wishes(request, &endpoint.aliases)? };
        let (limits, trust) = match &self.guests {
            Guests::Operators { trust, unsaid } if identity.is_none() => (unsaid, Some(trust)),
            Guests::Operators { trust, .. } => (&self.limits, Some(trust)),
            Guests::Clients(_) => (&self.limits, None),
        };
        let permit = limits.admit(arrival.peer, route.connections.clone());
        let permit = permit.map_err(|crowded| self.guests.refuse(crowded))?;
        Ok(Entry { peer: arrival.peer, endpoint, identity, trust: trust.cloned(), wishes, permit, head, compression })
    }

    /// Who is there. A token that proves nothing lets nobody in, also where none is needed.
    fn identify(
        &self,
        arrival: &Arrival,
        request: &Request,
        endpoint: &Endpoint,
    ) -> Result<Option<Arc<Identity>>, Denied> {
        if endpoint.auth == Auth::None {
            return Ok(None);
        }
        let identity = self.guests.identity(arrival, request.headers(), request.uri());
        let identity = identity.map_err(|denied| match denied.status() {
            StatusCode::TOO_MANY_REQUESTS => denied,
            _ => denied.worded(endpoint.dialect.unauthorized()),
        })?;
        if identity.is_none() && endpoint.auth == Auth::Required && !endpoint.dialect.can_authenticate() {
            count::connection_refused(Unwelcome::Identity);
            let message = "this path needs a token: send Authorization: Bearer TOKEN, or ?token=TOKEN";
            return Err(Denied::unauthorized(message).worded(endpoint.dialect.unauthorized()));
        }
        Ok(identity)
    }

    /// Gives the bare socket to its shard.
    fn hand_over(&self, entry: Entry, bare: io::Result<Bare>) {
        let Entry { peer, endpoint, identity, trust, wishes, permit, head, compression } = entry;
        match bare {
            Ok(Bare { socket, read_ahead }) => {
                let shard = permit.shard();
                let permit = Box::new(permit);
                let newcomer =
                    Newcomer { socket, head, read_ahead, peer, endpoint, identity, trust, wishes, compression, permit };
                self.shards[shard].hand(Inbound::Adopt(Box::new(newcomer)));
            }
            Err(error) => tracing::warn!(%error, "an upgraded socket could not be handed to a shard"),
        }
    }
}

/// The route of everything that is no other route: endpoints, and the answer to paths that nobody knows.
pub async fn open(
    State(Entrance { gate, pages }): State<Entrance>,
    Extension(arrival): Extension<Arrival>,
    Extension(departure): Extension<Departure>,
    request: Request,
) -> Response {
    match gate.admit(&arrival, &request, &pages) {
        Ok(entry) => departure.leave(move |bare| gate.hand_over(entry, bare)).await,
        Err(refused) => refused.into_response(),
    }
}

impl Guests {
    fn identity(&self, arrival: &Arrival, headers: &HeaderMap, uri: &Uri) -> Result<Option<Arc<Identity>>, Denied> {
        match self {
            Self::Clients(tokens) => tokens.identity(arrival.peer, headers, uri),
            Self::Operators { .. } => watcher(arrival, uri),
        }
    }

    fn refuse(&self, crowded: Crowded) -> Denied {
        let (reason, status, message) = match (crowded, self) {
            (Crowded::All(max), Self::Clients(_)) => (
                Unwelcome::MaxConnections,
                StatusCode::SERVICE_UNAVAILABLE,
                format!("there are {max} connections already, the most there may be (hub.max_connections)"),
            ),
            (Crowded::Address(max), Self::Clients(_)) => (
                Unwelcome::MaxPerIp,
                StatusCode::TOO_MANY_REQUESTS,
                format!("your address has {max} connections already, the most it may have (hub.max_per_ip); close one"),
            ),
            (Crowded::All(max) | Crowded::Address(max), Self::Operators { .. }) => (
                Unwelcome::MaxOperators,
                StatusCode::SERVICE_UNAVAILABLE,
                format!("operators have {max} connections already, the most there may be; close one"),
            ),
        };
        count::connection_refused(reason);
        Denied::new(status, "too_many_connections", message).for_now()
    }
}

/// The user whose own token is shown; else an operator, if that is known already, with the eyes of a user where the query
/// says so, which is noted.
fn watcher(arrival: &Arrival, uri: &Uri) -> Result<Option<Arc<Identity>>, Denied> {
    if let Some(user) = &arrival.user {
        return Ok(Some(user.clone()));
    }
    let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
        return Ok(arrival.operator.clone());
    };
    let Some((_, user)) = pairs.iter().find(|(name, _)| name == AUDIENCE) else { return Ok(arrival.operator.clone()) };
    let operator = audit::reveal(arrival, "watch private logs", user)?;
    Ok(Some(Arc::new(operator.watching(user))))
}

impl Rules {
    /// The endpoints of a listener.
    fn at(&self, arrival: &Arrival) -> impl Iterator<Item = &Route> {
        let is_here = |route: &&Route| route.listener.as_deref().is_none_or(|listener| listener == &*arrival.listener);
        self.routes.iter().filter(is_here)
    }

    fn route(&self, arrival: &Arrival, path: &str, pages: &[String]) -> Result<&Route, Denied> {
        let here: Vec<&Route> = self.at(arrival).collect();
        let Some(route) = here.iter().find(|route| route.endpoint.path == path) else {
            let mut paths: Vec<String> = here
                .iter()
                .map(|route| format!("{} ({})", route.endpoint.path, route.endpoint.dialect.name()))
                .collect();
            paths.extend_from_slice(pages);
            let message = format!("nothing is at {path}; valid paths: {}", paths.join(", "));
            return Err(Denied::new(StatusCode::NOT_FOUND, "unknown_path", message));
        };
        Ok(route)
    }
}

impl Route {
    fn new(config: &EndpointConfig) -> Self {
        let connections = count::connections(&config.endpoint.path, config.endpoint.dialect.label());
        Self { listener: config.listen.clone(), endpoint: Arc::new(config.endpoint.clone()), connections }
    }
}

fn refused_handshake(refused: &handshake::Refusal) -> Denied {
    count::connection_refused(Unwelcome::Handshake);
    let answer = Denied::new(refused.status, "bad_handshake", refused.message);
    match refused.header.clone() {
        Some((name, value)) => answer.with(name, value),
        None => answer,
    }
}

/// The answer that opens a WebSocket.
fn upgraded(request: &Request, dialect: Dialect, offered: Compression) -> Result<(Vec<u8>, Compression), Denied> {
    let (method, version, headers) = (request.method(), request.version(), request.headers());
    let accepted = handshake::accept(method, version, headers, dialect.subprotocols(), offered)
        .map_err(|refused| refused_handshake(&refused))?;
    let mut head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {}\r\n",
        accepted.accept_key
    );
    if let Some(subprotocol) = accepted.subprotocol {
        head.push_str(&format!("sec-websocket-protocol: {subprotocol}\r\n"));
    }
    if let Some(extensions) = accepted.extensions {
        head.push_str(&format!("sec-websocket-extensions: {extensions}\r\n"));
    }
    head.push_str("\r\n");
    Ok((head.into_bytes(), accepted.compression()))
}

/// The answer that begins server-sent events.
fn streamed(request: &Request) -> Result<Vec<u8>, Denied> {
    if request.method() != Method::GET {
        count::connection_refused(Unwelcome::Handshake);
        let message = "server-sent events are asked for with GET";
        let denied = Denied::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
        return Err(denied.with(header::ALLOW, "GET"));
    }
    let mut head = dialect::sse::HEAD.to_vec();
    for (name, value) in request.extensions().get::<Admitted>().iter().flat_map(|admitted| admitted.headers()) {
        head.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    Ok(head)
}
