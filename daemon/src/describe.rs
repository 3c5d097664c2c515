//! What the daemon says about itself to programs: its streams and messages as AsyncAPI and as TypeScript, its routes as
//! OpenAPI; all of it made from what the plugins declare and what the code is made of.

pub mod asyncapi;
pub mod draft07;
pub mod native;
pub mod openapi;
mod records;
pub mod typescript;

use std::sync::{Arc, PoisonError, RwLock};

use crate::hub::settings::Settings;
use crate::hub::{self, Hub};
use crate::shard::inbox::Endpoint;

/// Everything that there is to describe of streams and endpoints.
#[derive(Default)]
pub struct Declarations {
    pub doors: Vec<Door>,
    /// In order of their names.
    pub streams: Vec<Stream>,
}

/// An endpoint with the addresses that it can be reached at.
#[derive(Clone)]
pub struct Door {
    pub endpoint: Arc<Endpoint>,
    /// `127.0.0.1:8080` or `unix:/run/broadcastd/http.sock`.
    pub addresses: Vec<String>,
    /// Whether who comes over TCP speaks TLS.
    pub is_encrypted: bool,
}

impl Door {
    /// What is spoken there beneath the dialect.
    pub fn protocol(&self, address: &str) -> &'static str {
        let is_encrypted = self.is_encrypted && !address.starts_with("unix:");
        match (self.endpoint.dialect.is_framed(), is_encrypted) {
            (true, false) => "ws",
            (true, true) => "wss",
            (false, false) => "http",
            (false, true) => "https",
        }
    }
}

/// A stream that clients may subscribe to, and what is declared of it.
pub struct Stream {
    pub name: Arc<str>,
    pub settings: Arc<Settings>,
}

/// Where the declarations are looked up when somebody asks.
pub struct Catalogue {
    hub: Arc<Hub>,
    doors: RwLock<Vec<Door>>,
}

impl Catalogue {
    pub fn new(hub: Arc<Hub>) -> Arc<Self> {
        Arc::new(Self { hub, doors: RwLock::default() })
    }

    pub fn set_doors(&self, doors: Vec<Door>) {
        *self.doors.write().unwrap_or_else(PoisonError::into_inner) = doors;
    }

    /// All that clients can come to hear of.
    pub fn for_operators(&self) -> Declarations {
        self.declarations(|stream| stream.settings().visible)
    }

    /// What somebody may know, as it is now, who `is_told` of some streams.
    pub fn declarations(&self, is_told: impl Fn(&hub::stream::Stream) -> bool) -> Declarations {
        let streams = self.hub.streams().into_iter().filter(|stream| is_told(stream));
        let streams = streams.map(|stream| Stream { name: stream.name().clone(), settings: stream.settings() });
        let doors = self.doors.read().unwrap_or_else(PoisonError::into_inner).clone();
        Declarations { doors, streams: streams.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;

    #[test]
    fn somebody_is_told_of_some_streams_and_operators_of_all_that_clients_can_hear() {
        let hub = Hub::new("epoch");
        let settings = |visible: bool, private: bool| Settings { visible, private, ..Settings::default() };
        for (name, settings) in
            [("a", settings(true, false)), ("b", settings(true, true)), ("c", settings(false, false))]
        {
            hub.declare(name, settings);
        }
        let catalogue = Catalogue::new(hub);
        let names = |told: Declarations| told.streams.iter().map(|one| one.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(catalogue.declarations(|stream| **stream.name() == *"a")), ["a"]);
        assert_eq!(names(catalogue.for_operators()), ["a", "b"]);
    }

    #[test]
    fn encryption_is_for_who_comes_over_tcp() {
        let door = |dialect, is_encrypted| {
            let endpoint = Arc::new(Endpoint::open("/v1/ws", dialect));
            Door { endpoint, addresses: Vec::new(), is_encrypted }
        };
        for (dialect, is_encrypted, address, protocol) in [
            (Dialect::Native, false, "127.0.0.1:8080", "ws"),
            (Dialect::Native, true, "127.0.0.1:8080", "wss"),
            (Dialect::Native, true, "unix:/run/a.sock", "ws"),
            (Dialect::Sse, false, "127.0.0.1:8080", "http"),
            (Dialect::Sse, true, "127.0.0.1:8080", "https"),
        ] {
            assert_eq!(door(dialect, is_encrypted).protocol(address), protocol);
        }
    }
}
