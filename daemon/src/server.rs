//! The side that clients see: listeners, endpoints, who gets in, and events that outside programs publish.

pub mod answer;
pub mod http;
pub mod ingest;
pub mod limits;
pub mod listen;
pub mod origin;
pub mod routes;
pub mod shares;
pub mod sse;
pub mod upgrade;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::runtime::Handle;

use self::http::Front;
use self::listen::{ListenError, Listeners};
use self::upgrade::Gate;
use crate::describe::{Catalogue, Door, Reader};
use crate::hub::Hub;
use crate::identity::Verifier;
use crate::shard::inbox::{Endpoint, Inbox};

/// What config says about the listeners and their endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `127.0.0.1:8080`, `[::1]:0` or `unix:/run/broadcastd/http.sock`.
    pub listen: Vec<String>,
    pub endpoints: Vec<EndpointConfig>,
    /// Origins of web pages that may connect, beside loopback ones; `*` is any.
    pub origins: Vec<String>,
    pub max_connections: usize,
    /// WebSocket connections from one address, and as many that speak HTTP; loopback is exempt.
    pub max_per_ip: usize,
    /// How long a client may take to send the head of a request.
    pub header_timeout: Duration,
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
}

impl Config {
    /// The endpoints with the addresses that they are at; `bound` says what became of an address of the configuration.
    pub fn doors(&self, bound: impl Fn(&str) -> String) -> Vec<Door> {
        let door = |config: &EndpointConfig| {
            let is_here = |listener: &&String| config.listen.as_ref().is_none_or(|only| only == *listener);
            let addresses = self.listen.iter().filter(is_here).map(|listener| bound(listener)).collect();
            Door { endpoint: Arc::new(config.endpoint.clone()), addresses }
        };
        self.endpoints.iter().map(door).collect()
    }
}

/// The running listeners.
pub struct Server {
    front: Arc<Front>,
    gate: Arc<Gate>,
    listeners: Listeners,
    catalogue: Arc<Catalogue>,
}

/// A new configuration whose addresses are bound already.
pub struct Prepared {
    config: Config,
    listeners: listen::Prepared,
}

impl Server {
    /// Listens and hands every client to one of the shards. `runtime` serves what is HTTP.
    pub fn start(config: Config, parts: Parts, runtime: Handle) -> Result<Self, ListenError> {
        let catalogue = Catalogue::new(parts.hub.clone());
        let routes = ingest::routes(parts.hub, ingest::Door::NeedsToken);
        let routes = routes.described("client listener", catalogue.clone(), Reader::Client);
        let gate = Gate::new(parts.shards, parts.verifier, routes.spoken());
        let router = routes.into_router();
        let router = Router::new().fallback(upgrade::open).with_state(gate.clone()).merge(router);
        let front = Front::new(router, config.header_timeout);
        let listeners = Listeners::new("server.listen", front.clone(), runtime);
        let server = Self { front, gate, listeners, catalogue };
        let prepared = server.prepare(config)?;
        server.commit(prepared);
        Ok(server)
    }

    /// The first half of a reload: binds what is new. Whether it works or not, nothing that runs is touched.
    pub fn prepare(&self, config: Config) -> Result<Prepared, ListenError> {
        let listeners = self.listeners.prepare(&config.listen)?;
        Ok(Prepared { config, listeners })
    }

    /// The second half, which cannot fail. Connections keep their endpoints, also those of a listener that goes.
    pub fn commit(&self, prepared: Prepared) {
        let config = prepared.config.clone();
        let Config { endpoints, origins, max_connections, max_per_ip, header_timeout, .. } = prepared.config;
        self.gate.set(&endpoints, &origins);
        self.gate.limits.set(max_connections, max_per_ip);
        self.front.set_header_timeout(header_timeout);
        self.front.set_max_per_address(max_per_ip);
        self.listeners.commit(prepared.listeners);
        let bound: BTreeMap<String, String> = config.listen.iter().cloned().zip(self.addresses()).collect();
        self.catalogue.set_doors(config.doors(|address| bound.get(address).map_or(address, String::as_str).to_owned()));
    }

    /// What is told of streams and endpoints.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.clone()
    }

    /// The addresses as they were bound, with the port that the kernel chose where config says 0.
    pub fn addresses(&self) -> Vec<String> {
        self.listeners.addresses()
    }

    /// Whether every accept loop still runs.
    pub fn is_alive(&self) -> bool {
        self.listeners.are_alive()
    }

    /// Lets nobody in any more; the shards end the connections that there are.
    pub fn drain(&self) {
        self.gate.close();
        self.listeners.close();
    }
}
