//! The side that clients see: listeners, endpoints, who gets in, and what HTTP can do: publish and give commands.

pub mod answer;
pub mod audit;
pub mod caller;
pub mod client_log;
pub mod command;
pub mod drain;
pub mod hosts;
pub mod http;
pub mod ingest;
pub mod limits;
pub mod listen;
pub mod origin;
pub mod pages;
pub mod proxies;
pub mod query;
pub mod reads;
pub mod routes;
pub mod shares;
pub mod sse;
pub mod state;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod token;
pub mod upgrade;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use tokio::runtime::Handle;

use self::answer::Denied;
use self::hosts::Hosts;
use self::http::{Arrival, Front};
use self::ingest::socket::{self, IngestSocket};
use self::listen::{ListenError, Listeners};
use self::pages::{Pages, Purpose};
use self::proxies::Proxies;
use self::routes::Routes;
use self::tls::Certificate;
use self::token::Tokens;
use self::upgrade::{Entrance, Gate};
use crate::describe::{Catalogue, Door};
use crate::hub::Hub;
use crate::identity::Verifier;
use crate::shard::inbox::{Endpoint, Inbox};
use crate::systemd::sockets::Sockets;
use crate::websocket::deflate::Compression;

/// What config says about the listeners and their endpoints.
#[derive(Clone, Debug)]
pub struct Config {
    /// `127.0.0.1:8080`, `[::1]:0` or `unix:/run/broadcastd/http.sock`.
    pub listen: Vec<String>,
    pub endpoints: Vec<EndpointConfig>,
    /// Which web pages may what.
    pub pages: pages::Rules,
    /// The names that clients may ask by beside those of this machine; none is any, where more than this machine can ask.
    pub hosts: Vec<String>,
    pub max_connections: usize,
    /// WebSocket connections from one address, and as many that speak HTTP; loopback is exempt.
    pub max_per_ip: usize,
    /// Whose word about clients counts.
    pub proxies: Proxies,
    /// How long a client may take to send the head of a request.
    pub header_timeout: Duration,
    /// The cookie that may bear a token.
    pub cookie: Option<String>,
    /// Whether messages may be compressed for who offers it.
    pub compression: Compression,
    /// What TCP listeners encrypt with; in clear without.
    pub certificate: Option<Arc<Certificate>>,
    /// Where the ingest socket may be: the first path that can be bound is taken, none is no socket.
    pub ingest: Vec<PathBuf>,
}

/// Which streams a path serves, how, and on which listener if not on all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointConfig {
    pub listen: Option<String>,
    pub endpoint: Endpoint,
}

/// What the listeners serve, and whom.
pub struct Parts {
    pub hub: Arc<Hub>,
    pub shards: Vec<Arc<Inbox>>,
    pub verifier: Arc<Verifier>,
    /// Addresses that are listened at already.
    pub given: Sockets,
}

impl Config {
    /// The endpoints with the addresses that they are at; `bound` says what became of an address of the configuration.
    pub fn doors(&self, bound: impl Fn(&str) -> String) -> Vec<Door> {
        let door = |config: &EndpointConfig| {
            let is_here = |listener: &&String| config.listen.as_ref().is_none_or(|only| only == *listener);
            let addresses = self.listen.iter().filter(is_here).map(|listener| bound(listener)).collect();
            Door { endpoint: Arc::new(config.endpoint.clone()), addresses, is_encrypted: self.certificate.is_some() }
        };
        self.endpoints.iter().map(door).collect()
    }
}

/// New work waits this long for a thread at most: a busy machine lets it wait for milliseconds, and a sign of life that
/// waited for it still comes in time.
const TURN: Duration = Duration::from_secs(1);

/// The running listeners.
pub struct Server {
    front: Arc<Front>,
    gate: Arc<Gate>,
    tokens: Arc<Tokens>,
    pages: Arc<Pages>,
    listeners: Listeners,
    runtime: Handle,
    ingest: IngestSocket,
    catalogue: Arc<Catalogue>,
}

/// A new configuration whose addresses are bound already.
pub struct Prepared {
    config: Config,
    listeners: listen::Prepared,
    ingest: socket::Prepared,
}

impl Server {
    /// Listens and hands every client to one of the shards. `runtime` serves what is HTTP.
    pub fn start(config: Config, parts: Parts, runtime: Handle) -> Result<Self, ListenError> {
        let ingest = IngestSocket::new(parts.hub.clone(), runtime.clone(), parts.given.clone());
        let (pages, catalogue) = (Arc::<Pages>::default(), Catalogue::new(parts.hub.clone()));
        let tokens = Arc::new(Tokens::new(parts.verifier));
        let gate = Gate::new(parts.shards, tokens.clone());
        let routes = routes(parts.hub, &gate, &tokens, &pages);
        let streamed = gate.clone();
        let streamed = Arc::new(move |arrival: &Arrival| streamed.streamed(arrival));
        let documents = routes.documents("client listener", told(gate.clone(), catalogue.clone()), streamed);
        let routes = routes.merge(documents.around(|router| pages::around(router, &pages, Purpose::Listen)));
        let entrance = Entrance { gate: gate.clone(), pages: routes.spoken().into() };
        let doors = Router::new().fallback(upgrade::open).with_state(entrance);
        let router = pages::around(doors, &pages, Purpose::Listen).merge(routes.into_router());
        let front = Front::new(router, config.header_timeout, hosts(&config));
        let listeners = Listeners::new("server.listen", front.clone(), runtime.clone(), parts.given);
        let server = Self { front, gate, tokens, pages, listeners, runtime, ingest, catalogue };
        let prepared = server.prepare(config)?;
        server.commit(prepared);
        Ok(server)
    }

    /// The first half of a reload: binds what is new. Whether it works or not, nothing that runs is touched.
    pub fn prepare(&self, config: Config) -> Result<Prepared, ListenError> {
        let listeners = self.listeners.prepare(&config.listen)?;
        let ingest = self.ingest.prepare(&config.ingest)?;
        Ok(Prepared { config, listeners, ingest })
    }

    /// The second half, which cannot fail. Connections keep their endpoints, also those of a listener that goes.
    pub fn commit(&self, Prepared { config, listeners, ingest }: Prepared) {
        self.gate.set(&config.endpoints, config.compression);
        self.pages.set(config.pages.clone());
        self.front.set_hosts(hosts(&config));
        self.tokens.set_cookie(config.cookie.as_deref());
        self.gate.limits.set(config.max_connections, config.max_per_ip);
        self.front.set_header_timeout(config.header_timeout);
        self.front.set_proxies(config.proxies.clone());
        if let Some(certificate) = &config.certificate {
            self.runtime.spawn(Certificate::keep_fresh(Arc::downgrade(certificate)));
        }
        self.front.set_certificate(config.certificate.clone());
        self.front.set_max_per_address(config.max_per_ip);
        self.listeners.commit(listeners);
        self.ingest.commit(ingest);
        let bound: BTreeMap<&str, String> = config.listen.iter().map(String::as_str).zip(self.addresses()).collect();
        let doors = config.doors(|address| bound.get(address).map_or(address, String::as_str).to_owned());
        self.catalogue.set_doors(doors);
    }

    /// What is told of streams and endpoints.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.clone()
    }

    /// Whose the tokens of requests are.
    pub fn tokens(&self) -> Arc<Tokens> {
        self.tokens.clone()
    }

    /// The addresses as they were bound, with the port that the kernel chose where config says 0.
    pub fn addresses(&self) -> Vec<String> {
        self.listeners.addresses()
    }

    /// Where programs of this machine can write events to.
    pub fn ingest_socket(&self) -> Option<PathBuf> {
        self.ingest.path()
    }

    /// Whether every accept loop still runs, and the threads that run them take up work.
    pub fn is_alive(&self) -> bool {
        let (taken, takes) = channel();
        self.runtime.spawn(async move { taken.send(()) });
        self.listeners.are_alive() && takes.recv_timeout(TURN).is_ok()
    }

    /// Lets nobody in any more; the shards end the connections that there are. What is asked over HTTP is answered until the
    /// deadline.
    pub fn drain(&self, deadline: Instant) {
        self.gate.close();
        self.listeners.drain(deadline);
        self.listeners.close();
        self.ingest.close();
    }

    /// Waits until what was asked over HTTP is answered, where a drain has begun, and little longer than until its deadline.
    pub fn finish(&self) {
        self.listeners.finish();
    }
}

fn hosts(config: &Config) -> Hosts {
    let refusal = "the listener has no such name; ask it by localhost, 127.0.0.1 or [::1], or add the name to server.hosts in the configuration, or, while that is empty, its proxy to server.trusted_proxies";
    Hosts { names: config.hosts.clone(), refusal }
}

/// What is beside the endpoints.
fn routes(hub: Arc<Hub>, gate: &Arc<Gate>, tokens: &Arc<Tokens>, pages: &Arc<Pages>) -> Routes {
    let publish = ingest::routes(hub.clone(), ingest::Door::Clients(tokens.clone(), gate.clone()));
    let command = command::routes(hub.clone(), command_caller(tokens.clone(), gate.clone()));
    let state = state::routes(gate.clone(), hub.clone());
    let reads = reads::for_clients(hub, gate.clone());
    let acts = |routes: Routes| routes.around(|router| pages::around(router, pages, Purpose::Act));
    let listens = |routes: Routes| routes.around(|router| pages::around(router, pages, Purpose::Listen));
    listens(reads).merge(acts(publish.merge(command))).merge(listens(state.merge(client_log::routes())))
}

/// Clients are told of the streams that they may read.
fn told(gate: Arc<Gate>, catalogue: Arc<Catalogue>) -> routes::Told {
    Arc::new(move |arrival, headers, uri| {
        let caller = gate.caller(arrival, headers, uri)?;
        Ok(catalogue.declarations(|stream| caller.may_read(stream, &[]).is_ok()))
    })
}

/// Commands need somebody who gives them, at every endpoint, and reach what some endpoint of the listener shows.
fn command_caller(tokens: Arc<Tokens>, gate: Arc<Gate>) -> command::Caller {
    Arc::new(move |arrival, head, called| {
        let identity = tokens.identity(arrival.peer, &head.headers, &head.uri)?;
        let needed = || Denied::unauthorized("commands need a token: send Authorization: Bearer TOKEN");
        let identity = identity.ok_or_else(needed)?;
        let names = gate.names(arrival);
        if gate.serves(arrival, names.name_of(called)) {
            return Ok((identity, names));
        }
        let message = format!("no endpoint of this listener serves \"{}\"", crate::dialect::echo(called));
        Err(Denied::new(StatusCode::NOT_FOUND, "unknown_broadcaster", message))
    })
}
