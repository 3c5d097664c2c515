//! The hub, two shards and the listeners of a daemon in this process, on ports that the kernel chooses; and a client.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broadcastd::dialect::Dialect;
use broadcastd::event::Draft;
use broadcastd::hub::Hub;
use broadcastd::hub::settings::{Flush, Settings};
use broadcastd::identity::Verifier;
use broadcastd::rate::Rate;
use broadcastd::server::pages;
use broadcastd::server::proxies::Proxies;
use broadcastd::server::{self, Config, EndpointConfig, Server};
use broadcastd::shard;
use broadcastd::shard::encoding::Deflation;
use broadcastd::shard::inbox::Endpoint;
use broadcastd::shard::poll::Means;
use broadcastd::websocket::deflate::Compression;
use serde_json::Value;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tungstenite::{Message, WebSocket};

use crate::http;

/// The epoch of every hub here, so that texts can be compared.
pub const EPOCH: &str = "e1";

pub struct House {
    pub hub: Arc<Hub>,
    pub server: Server,
    pub shards: Vec<shard::Handle>,
    /// Trusts nobody until a test says whom.
    pub verifier: Arc<Verifier>,
    /// The runtime's thread ends when this is dropped.
    _stop: oneshot::Sender<()>,
}

pub type Client = WebSocket<TcpStream>;

pub fn config() -> Config {
    let endpoint = EndpointConfig { listen: None, endpoint: Endpoint::open("/v1/ws", Dialect::Native) };
    Config {
        listen: vec!["127.0.0.1:0".into()],
        endpoints: vec![endpoint],
        pages: pages::Rules::default(),
        hosts: vec![],
        ingest: vec![],
        max_connections: 100,
        max_per_ip: 100,
        proxies: Proxies::default(),
        header_timeout: Duration::from_secs(10),
        cookie: None,
        compression: Compression::On,
        certificate: None,
    }
}

pub fn shard_config() -> shard::Config {
    shard::Config {
        flush: Flush::Every(Duration::ZERO),
        outbox: 1 << 20,
        max_subscriptions: 200,
        rate: Rate { per_second: NonZeroU32::new(50).unwrap(), burst: 100 },
        max_message: 64 << 10,
        deflation: Deflation { min_size: 512, level: 1 },
        ping_every: Duration::from_secs(30),
        drop_after: Duration::from_secs(90),
    }
}

impl House {
    pub fn start() -> Self {
        Self::with(config(), shard_config())
    }

    /// With the streams `ticks` (outside programs) and `bars` (a broadcaster that does not run).
    pub fn with(config: Config, shard: shard::Config) -> Self {
        let (runtime, stop) = runtime();
        let hub = Hub::new(EPOCH);
        hub.declare("ticks", Settings::default());
        hub.declare("bars", Settings::default())
            .set_source(broadcastd::hub::settings::Source::Absent("broadcaster stopped".into()));
        let verifier = Arc::<Verifier>::default();
        let start = |(index, means)| shard::Handle::start(index, means, shard, hub.clone(), verifier.clone()).unwrap();
        let better = if Means::IoUring.probe().is_ok() { Means::IoUring } else { Means::Epoll };
        let shards: Vec<_> = [Means::Epoll, better].into_iter().enumerate().map(start).collect();
        let inboxes = shards.iter().map(|shard| shard.inbox.clone()).collect();
        let parts =
            server::Parts { hub: hub.clone(), shards: inboxes, verifier: verifier.clone(), given: Default::default() };
        let server = Server::start(config, parts, runtime).unwrap();
        Self { hub, server, shards, verifier, _stop: stop }
    }

    pub fn address(&self) -> String {
        self.server.addresses().remove(0)
    }

    pub fn connect(&self) -> Client {
        self.try_connect(&[]).unwrap()
    }

    /// A client that has said nothing yet and heard the greeting, or the refusal with its status.
    pub fn try_connect(&self, headers: &[(&str, &str)]) -> Result<Client, http::Answer> {
        connect(&self.address(), headers)
    }

    pub fn publish(&self, stream: &str, topic: &str, payload: &str) {
        let draft = Draft { kind: "tick", topic, payload: payload.as_bytes(), ..Draft::default() };
        self.hub.stream(stream).unwrap().publish(&draft, None).unwrap();
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.server.drain(Instant::now());
        for shard in &self.shards {
            shard.drain(Instant::now());
        }
    }
}

/// A runtime on a thread of its own, as the daemon has it.
pub fn runtime() -> (Handle, oneshot::Sender<()>) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    let (stop, stopped) = oneshot::channel();
    std::thread::spawn(move || runtime.block_on(stopped).unwrap_err());
    (handle, stop)
}

pub fn connect(address: &str, headers: &[(&str, &str)]) -> Result<Client, http::Answer> {
    open(http::connect(address), &format!("ws://{address}/v1/ws"), headers)
}

/// Opens a WebSocket on any socket and hears the greeting.
pub fn open<S: Read + Write>(socket: S, uri: &str, headers: &[(&str, &str)]) -> Result<WebSocket<S>, http::Answer> {
    let mut request = tungstenite::ClientRequestBuilder::new(uri.parse().unwrap());
    for (name, value) in headers {
        request = request.with_header(*name, *value);
    }
    match tungstenite::client(request, socket) {
        Ok((mut client, _)) => {
            let greeting =
                r#"{"type":"status","stream":"system","session_id":null,"data":{"status":"connected","client_id":""#;
            let said = hear(&mut client);
            assert!(said.starts_with(greeting), "{said}");
            Ok(client)
        }
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(refused))) => {
            let (parts, body) = refused.into_parts();
            let head =
                parts.headers.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap())).collect();
            let body = String::from_utf8(body.unwrap_or_default()).unwrap();
            Err(http::Answer { status: parts.status.as_u16(), head, body })
        }
        Err(_) => panic!("no answer to the handshake"),
    }
}

pub fn say<S: Read + Write>(client: &mut WebSocket<S>, text: &str) {
    client.send(Message::text(text)).unwrap();
}

/// The next text, with `…` for its time.
pub fn hear<S: Read + Write>(client: &mut WebSocket<S>) -> String {
    let deadline = Instant::now() + http::PATIENCE;
    while Instant::now() < deadline {
        match client.read().unwrap() {
            Message::Text(text) => return without_time(&text),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
    panic!("nothing but pings");
}

pub fn hear_json<S: Read + Write>(client: &mut WebSocket<S>) -> Value {
    serde_json::from_str(&hear(client)).unwrap()
}

/// Subscribes to a whole stream and hears its records.
pub fn subscribe<S: Read + Write>(client: &mut WebSocket<S>, stream: &str) {
    say(client, &format!(r#"{{"type":"subscribe","stream":"{stream}"}}"#));
    let answer = hear_json(client);
    assert_eq!(answer["data"]["status"], "subscribed", "{answer}");
    let records = hear_json(client);
    assert_eq!(records["type"], "full_update", "{records}");
}

/// The code and reason that the connection is closed with; what was said before is skipped. Pings keep a reader waiting, and
/// so the wait has an end of its own.
pub fn hear_close(client: &mut Client) -> (u16, String) {
    let deadline = Instant::now() + http::PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "it is not closed");
        match client.read() {
            Ok(Message::Close(Some(frame))) => return (frame.code.into(), frame.reason.to_string()),
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

pub fn without_time(text: &str) -> String {
    const BEFORE: &str = "\"timestamp\":\"";
    let Some(at) = text.find(BEFORE) else { return text.to_owned() };
    let start = at + BEFORE.len();
    assert_eq!(text.as_bytes()[start + 23], b'Z', "{text}");
    format!("{}…{}", &text[..start], &text[start + 24..])
}

/// Asks until it is so: for what the other side does in its own time and tells nobody.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + http::PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {:?}: {what}", http::PATIENCE);
        std::thread::yield_now();
    }
}
