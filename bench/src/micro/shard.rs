//! Deliveries of a real shard into socket pairs of this process, and a thread that does nothing but send the same bytes.

use std::io::{Read, Write};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use anyhow::{Result, anyhow};
use broadcastd::dialect::Dialect;
use broadcastd::event::Draft;
use broadcastd::hub::Hub;
use broadcastd::hub::settings::{Flush, Settings};
use broadcastd::rate::Rate;
use broadcastd::shard::encoding::Deflation;
use broadcastd::shard::inbox::{Endpoint, Inbound, Newcomer};
use broadcastd::shard::line::Socket;
use broadcastd::shard::poll::Means;
use broadcastd::shard::{Config, Handle};
use broadcastd::websocket::deflate::Compression;
use broadcastd_fan_out::wire;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::publish::payload;

/// Bytes of one read of a client.
const BUFFER: usize = 64 << 10;

/// What every event's text has once.
const KIND: &[u8] = br#""type":"tick""#;

/// How the clients of a shard are spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Talk {
    Plain,
    Encrypted,
    Deflated,
    /// Events of a millisecond together.
    Batched,
}

/// Clients that all subscribe to one topic of a shard; each step publishes `window` events and waits until all have come.
pub fn shard((connections, window): (u64, u64), talk: Talk, payload: Arc<[u8]>) -> Result<impl FnMut()> {
    let hub = Hub::new("bench");
    let stream = hub.declare("ticks", Settings::default());
    let shard = Handle::start(0, Means::Epoll, config(), hub.clone(), Arc::default())?;
    let endpoint = Arc::new(Endpoint::open("/", Dialect::Native));
    let keys = Keys::new()?;
    let mut clients = Vec::new();
    for _ in 0..connections {
        let (socket, client) = UnixStream::pair()?;
        let (socket, mut client): (Socket, Box<dyn Read>) = match talk {
            Talk::Encrypted => keys.shake_hands(socket, client)?,
            Talk::Plain | Talk::Deflated | Talk::Batched => {
                socket.set_nonblocking(true)?;
                (Socket::from(OwnedFd::from(socket)), Box::new(client))
            }
        };
        let newcomer = Newcomer {
            socket,
            read_ahead: wire::masked_text_frame(talk.wish()),
            compression: if talk == Talk::Deflated { Compression::On } else { Compression::Off },
            ..Newcomer::over(UnixStream::pair()?.0, endpoint.clone())
        };
        shard.inbox.hand(Inbound::Adopt(Box::new(newcomer)));
        wire::hear_texts(&mut client, 3)?; // the greeting, the answer, the snapshot
        clients.push(Client::new(client, talk));
    }
    Ok(move || {
        let _runs = &shard;
        for _ in 0..window {
            let draft = Draft { kind: "tick", topic: "A", payload: &payload, ..Draft::default() };
            stream.publish(&draft, None).expect("nothing limits it");
        }
        clients.iter_mut().for_each(|client| client.hear(window));
    })
}

/// A thread that sends frames of the same size, joined, to as many clients at each step.
pub fn send(connections: u64, window: u64) -> Result<impl FnMut()> {
    // What the shard sends for the payload of these measures, give or take the digits of its numbers.
    let envelope = 130;
    let frame = wire::text_frame(&vec![b'x'; payload().len() + envelope]);
    let joined = frame.repeat(usize::try_from(window)?);
    let pairs: Vec<_> = (0..connections).map(|_| UnixStream::pair()).collect::<Result<_, _>>()?;
    let (mut sockets, mut clients): (Vec<_>, Vec<_>) =
        pairs.into_iter().map(|(socket, client)| (socket, Client::new(Box::new(client), Talk::Plain))).unzip();
    let (go, told) = sync_channel::<()>(1);
    let sender = std::thread::Builder::new().name("send".into());
    sender.spawn(move || {
        while told.recv().is_ok() {
            for socket in &mut sockets {
                socket.write_all(&joined).expect("the other end is in this process");
            }
        }
    })?;
    Ok(move || {
        go.send(()).map_err(|_| anyhow!("it has ended")).expect("it runs until we end");
        clients.iter_mut().for_each(|client| client.hear(window));
    })
}

impl Talk {
    fn wish(self) -> &'static [u8] {
        match self {
            Self::Batched => br#"{"type":"subscribe","topic":"ticks:A","batch_ms":1}"#,
            Self::Plain | Self::Encrypted | Self::Deflated => br#"{"type":"subscribe","topic":"ticks:A"}"#,
        }
    }

    /// The events that a frame brings.
    fn events(self, first: u8, payload: &[u8]) -> u64 {
        match self {
            Self::Batched => payload.windows(KIND.len()).filter(|part| *part == KIND).count() as u64,
            Self::Deflated => u64::from(wire::is_deflated_text(first)),
            Self::Plain | Self::Encrypted => u64::from(wire::is_text(first)),
        }
    }
}

/// Both ends' keys, made for one run.
struct Keys {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Keys {
    fn new() -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let certificate = made.cert.der().clone();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der())
            .map_err(|error| anyhow!(error))?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone())?;
        let server = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?;
        let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(Self { server: server.into(), client: client.into() })
    }

    fn shake_hands(&self, mut socket: UnixStream, mut client: UnixStream) -> Result<(Socket, Box<dyn Read>)> {
        let mut asks = ClientConnection::new(self.client.clone(), "localhost".try_into()?)?;
        let asking = std::thread::spawn(move || asks.complete_io(&mut client).map(|_| StreamOwned::new(asks, client)));
        let mut session = ServerConnection::new(self.server.clone())?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        let client = asking.join().map_err(|_| anyhow!("the client's handshake has panicked"))??;
        socket.set_nonblocking(true)?;
        Ok((Socket { fd: socket.into(), tls: Some(Box::new(session)) }, Box::new(client)))
    }
}

struct Client {
    socket: Box<dyn Read>,
    talk: Talk,
    buffer: Vec<u8>,
    kept: usize,
}

impl Client {
    fn new(socket: Box<dyn Read>, talk: Talk) -> Self {
        Self { socket, talk, buffer: vec![0; BUFFER], kept: 0 }
    }

    /// Reads until so many texts have come, and nothing is left of them.
    fn hear(&mut self, count: u64) {
        let mut heard = 0;
        while heard < count {
            let read = self.socket.read(&mut self.buffer[self.kept..]).expect("the other end is in this process");
            assert!(read > 0, "the shard closed a connection");
            let filled = self.kept + read;
            let mut at = 0;
            while let Some((first, payload, end)) = wire::frame(&self.buffer[at..filled]) {
                heard += self.talk.events(first, payload);
                at += end;
            }
            self.buffer.copy_within(at..filled, 0);
            self.kept = filled - at;
        }
        assert_eq!((heard, self.kept), (count, 0), "more came than was published");
    }
}

/// As config.toml has it.
fn config() -> Config {
    Config {
        outbox: 1 << 20,
        max_subscriptions: 200,
        rate: Rate { per_second: NonZeroU32::MIN, burst: 100 },
        max_message: 64 << 10,
        deflation: Deflation { min_size: 256, level: 1 }, // the event, and not what comes before it
        ping_every: Duration::from_secs(30),
        drop_after: Duration::from_secs(90),
        flush: Flush::Every(Duration::ZERO),
    }
}
