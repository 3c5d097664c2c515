//! From a request to a WebSocket: is there such an endpoint, may this page and this client come in, and then the bare
//! socket goes to a shard.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::{OnUpgrade, Parts, Upgraded};
use hyper_util::rt::TokioIo;
use metrics::Gauge;
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::{TcpStream, UnixStream};

use super::answer::Denied;
use super::http::Arrival;
use super::limits::{Crowded, Limits, Permit};
use super::{EndpointConfig, origin};
use crate::metrics as count;
use crate::shard::inbox::{Endpoint, Inbound, Inbox, Newcomer};
use crate::websocket::handshake;

/// Decides who becomes a connection of which shard.
pub struct Gate {
    shards: Vec<Arc<Inbox>>,
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

/// A client that may come in: its endpoint, its place, and the answer that it gets.
struct Entry {
    endpoint: Arc<Endpoint>,
    permit: Permit,
    answer: Response,
}

impl Gate {
    /// `pages` are the routes beside the endpoints, as messages name them.
    pub fn new(shards: Vec<Arc<Inbox>>, pages: Vec<String>) -> Arc<Self> {
        let limits = Limits::new(shards.len());
        Arc::new(Self { shards, pages, limits, rules: RwLock::default(), closed: AtomicBool::new(false) })
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
        let offered = route.endpoint.dialect.subprotocols();
        let accepted = handshake::accept(request.method(), request.version(), request.headers(), offered)
            .map_err(|refused| refused_handshake(&refused))?;
        rules.check_origin(request)?;
        if self.closed.load(Ordering::Relaxed) {
            count::connection_refused("draining");
            let message = "the daemon is stopping; come back in a moment";
            return Err(Denied::new(StatusCode::SERVICE_UNAVAILABLE, "draining", message).for_now());
        }
        let permit = self.limits.admit(arrival.peer, route.connections.clone()).map_err(crowded)?;
        Ok(Entry { endpoint: route.endpoint.clone(), permit, answer: switching(&accepted) })
    }

    /// Waits until the answer is out, then gives the socket away.
    async fn hand_over(self: Arc<Self>, upgrade: OnUpgrade, endpoint: Arc<Endpoint>, permit: Permit) {
        let bare = match upgrade.await {
            Ok(upgraded) => bare_socket(upgraded),
            Err(error) => return tracing::debug!(%error, "a client left during the upgrade"),
        };
        match bare {
            Ok((socket, read_ahead)) => {
                let shard = permit.shard();
                let newcomer = Newcomer { socket, read_ahead, endpoint, permit: Box::new(permit) };
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
    mut request: Request,
) -> Response {
    match gate.admit(&arrival, &request) {
        Ok(Entry { endpoint, permit, answer }) => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(gate.hand_over(upgrade, endpoint, permit));
            answer
        }
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
        let connections = count::connections(&config.path, config.dialect.name());
        Self { listener: config.listen.clone(), endpoint: Arc::new(config.endpoint()), connections }
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

fn switching(accepted: &handshake::Accepted<'_>) -> Response {
    let mut answer = (StatusCode::SWITCHING_PROTOCOLS, Body::empty()).into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let key = HeaderValue::from_str(&accepted.accept_key).expect("base64 is plain ASCII");
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    if let Some(subprotocol) = accepted.subprotocol {
        let name = HeaderValue::from_str(subprotocol).expect("our own names are plain ASCII");
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, name);
    }
    answer
}

/// The socket without HTTP around it, and what the client has already sent behind its request.
fn bare_socket(upgraded: Upgraded) -> std::io::Result<(OwnedFd, Vec<u8>)> {
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(Parts { io, read_buf, .. }) => {
            let socket = io.into_inner().into_std()?;
            set_tcp_user_timeout(&socket, 0)?; // from here on the shard decides how long a client may lag
            return Ok((socket.into(), read_buf.into()));
        }
        Err(upgraded) => upgraded,
    };
    match upgraded.downcast::<TokioIo<UnixStream>>() {
        Ok(Parts { io, read_buf, .. }) => Ok((io.into_inner().into_std()?.into(), read_buf.into())),
        Err(_) => Err(std::io::Error::other("the connection is neither TCP nor a unix socket")),
    }
}
