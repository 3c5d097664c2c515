//! Deliveries of a real shard into socket pairs of this process, and a thread that does nothing but send as many bytes.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use broadcastd::dialect::{Dialect, native};
use broadcastd::event::{Draft, Position};
use broadcastd::hub::log::Answer;
use broadcastd::hub::pattern::Pattern;
use broadcastd::hub::settings::{Flush, Settings};
use broadcastd::hub::stream::Stream;
use broadcastd::hub::{Hub, Reader, Wish};
use broadcastd::rate::Rate;
use broadcastd::shard::encoding::Deflation;
use broadcastd::shard::inbox::{Endpoint, Inbound, Newcomer};
use broadcastd::shard::line::Socket;
use broadcastd::shard::poll::Means;
use broadcastd::shard::{Config, Handle};
use broadcastd::websocket::deflate::Compression;
use broadcastd_fan_out::wire;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::publish::{payload, stream};

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

/// How a shard sends, and how its clients are spoken to.
pub type Way = (Means, Talk);

/// Clients that all subscribe to one topic of a shard; each step publishes `window` events and waits until all have come.
/// The shard is held while several are published: how many of them it finds in a turn would else be a matter of chance.
pub fn shard((connections, window): (u64, u64), (means, talk): Way, payload: Arc<[u8]>) -> Result<impl FnMut()> {
    let hub = Hub::new("bench");
    let stream = hub.declare("ticks", Settings::default());
    let shard = Handle::start(0, means, config(), hub.clone(), Arc::default())?;
    let endpoint = Arc::new(Endpoint::open("/", Dialect::Native));
    let keys = Keys::new()?;
    let subscribed = (0..connections).map(|_| subscribe(&shard, &endpoint, talk, &keys));
    let mut clients: Vec<Client> = subscribed.collect::<Result<_>>()?;
    let publish_all = move || (0..window).for_each(|_| publish(&stream, &payload));
    Ok(move || {
        if window == 1 {
            publish_all();
        } else {
            hold(&shard, &endpoint, &publish_all);
        }
        clients.iter_mut().for_each(|client| client.hear(window));
    })
}

/// A client that has subscribed and been answered.
fn subscribe(shard: &Handle, endpoint: &Arc<Endpoint>, talk: Talk, keys: &Keys) -> Result<Client> {
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
    Ok(Client::new(client, talk))
}

fn publish(stream: &Stream, payload: &[u8]) {
    let draft = Draft { kind: "tick", topic: "A", payload, ..Draft::default() };
    stream.publish(&draft, None).expect("nothing limits it");
}

/// Does something while the shard waits in the middle of a turn. It waits where it lets go of somebody with a folder for a
/// socket, whom it cannot watch, and takes in what was handed over meanwhile before that turn ends.
fn hold(shard: &Handle, endpoint: &Arc<Endpoint>, meanwhile: &dyn Fn()) {
    let (holds, held) = sync_channel(1);
    let (let_go, goes_on) = sync_channel(1);
    let folder = File::open("/").expect("every system has its root");
    let newcomer = Newcomer { permit: Box::new(Hold { holds, goes_on }), ..Newcomer::over(folder, endpoint.clone()) };
    shard.inbox.hand(Inbound::Adopt(Box::new(newcomer)));
    held.recv().expect("the shard lets go of the newcomer");
    meanwhile();
    let_go.send(()).expect("the shard waits for it");
}

/// Whoever drops it says so, and waits to be told to go on.
struct Hold {
    holds: SyncSender<()>,
    goes_on: Receiver<()>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Where nobody is at the other end, nobody wants it held.
        _ = self.holds.send(());
        _ = self.goes_on.recv();
    }
}

/// A thread that sends frames as long as the shard's, joined, to as many clients at each step.
pub fn send(connections: u64, window: u64) -> Result<impl FnMut()> {
    let joined = frame()?.repeat(usize::try_from(window)?);
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

/// An event as the shard sends it to native clients.
fn frame() -> Result<Vec<u8>> {
    /// Half of the events of a table's run have a lower number, so that it has as many digits as most.
    const TYPICAL: u64 = 1500;
    let (stream, payload) = (stream("ticks")?, payload());
    (0..TYPICAL).for_each(|_| publish(&stream, &payload));
    let since = Position { epoch: stream.epoch().clone(), seq: TYPICAL - 1 };
    let patterns = [Pattern::parse("ticks:A").map_err(anyhow::Error::msg)?];
    let wish = Wish { patterns: &patterns, audience: "", reader: Reader::Client, since: Some(&since) };
    let subscribed = stream.answer(&wish).map_err(|refused| anyhow!("{refused}"))?;
    let Answer::Recovered(events) = subscribed.answer else { bail!("the history has not its newest event") };
    let newest = events.last().context("the newest event was not missed")?;
    Ok(wire::text_frame(&native::event(newest)))
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
