//! What the daemon says about itself to programs: its streams and messages as AsyncAPI and as TypeScript, its routes as
//! OpenAPI; all of it made from what the plugins declare and what the code is made of.

pub mod asyncapi;
mod draft07;
pub mod native;
pub mod openapi;
pub mod typescript;

use std::sync::{Arc, PoisonError, RwLock};

use crate::hub::Hub;
use crate::hub::settings::Settings;
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
}

/// A stream that clients may subscribe to, and what is declared of it.
pub struct Stream {
    pub name: Arc<str>,
    pub settings: Arc<Settings>,
}

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Is told of public streams.
    Client,
    /// Is told of private streams, too.
    Operator,
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

    /// What this reader may know, as it is now.
    pub fn declarations(&self, reader: Reader) -> Declarations {
        let streams = self.hub.streams().into_iter().filter_map(|stream| {
            let settings = stream.settings();
            let is_shown = settings.visible && (reader == Reader::Operator || !settings.private);
            is_shown.then(|| Stream { name: stream.name().clone(), settings })
        });
        let doors = self.doors.read().unwrap_or_else(PoisonError::into_inner).clone();
        Declarations { doors, streams: streams.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_of_public_streams_and_operators_of_private_ones_too() {
        let hub = Hub::new("epoch");
        let settings = |visible: bool, private: bool| Settings { visible, private, ..Settings::default() };
        for (name, settings) in
            [("a", settings(true, false)), ("b", settings(true, true)), ("c", settings(false, false))]
        {
            hub.declare(name, settings);
        }
        let catalogue = Catalogue::new(hub);
        let names = |reader| {
            let streams = catalogue.declarations(reader).streams;
            streams.iter().map(|stream| stream.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(Reader::Client), ["a"]);
        assert_eq!(names(Reader::Operator), ["a", "b"]);
    }
}
