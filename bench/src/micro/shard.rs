//! Deliveries of a real shard into socket pairs of this process, and a thread that does nothing but send the same bytes.

use std::io::{Read, Write};
use std::num::NonZeroU32;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use anyhow::{Result, anyhow};
use broadcastd::dialect::Dialect;
use broadcastd::event::Draft;
use broadcastd::hub::Hub;
use broadcastd::hub::settings::Settings;
use broadcastd::rate::Rate;
use broadcastd::shard::encoding::Deflation;
use broadcastd::shard::inbox::{Endpoint, Inbound, Newcomer};
use broadcastd::shard::{Config, Handle};
use broadcastd_bench::wire;

use super::publish::payload;

/// Bytes of one read of a client.
const BUFFER: usize = 64 << 10;

/// Clients that all subscribe to one topic of a shard; each step publishes `window` events and waits until all have come.
pub fn shard(connections: u64, window: u64) -> Result<impl FnMut()> {
    let hub = Hub::new("bench");
    let stream = hub.declare("ticks", Settings::default());
    let shard = Handle::start(0, config(), hub.clone(), Arc::default())?;
    let endpoint = Arc::new(Endpoint::open("/", Dialect::Native));
    let mut clients = Vec::new();
    for _ in 0..connections {
        let (socket, mut client) = UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        let read_ahead = wire::masked_text_frame(br#"{"type":"subscribe","topic":"ticks:A"}"#);
        let newcomer = Newcomer { read_ahead, ..Newcomer::over(socket, endpoint.clone()) };
        shard.inbox.hand(Inbound::Adopt(Box::new(newcomer)));
        wire::hear_texts(&mut client, 3)?; // the greeting, the answer, the snapshot
        clients.push(Client::new(client));
    }
    let payload = payload();
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
        pairs.into_iter().map(|(socket, client)| (socket, Client::new(client))).unzip();
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

struct Client {
    socket: UnixStream,
    buffer: Vec<u8>,
    kept: usize,
}

impl Client {
    fn new(socket: UnixStream) -> Self {
        Self { socket, buffer: vec![0; BUFFER], kept: 0 }
    }

    /// Reads until so many texts have come, and nothing is left of them.
    fn hear(&mut self, count: u64) {
        let mut heard = 0;
        while heard < count {
            let read = self.socket.read(&mut self.buffer[self.kept..]).expect("the other end is in this process");
            assert!(read > 0, "the shard closed a connection");
            let filled = self.kept + read;
            let mut at = 0;
            while let Some((first, _, end)) = wire::frame(&self.buffer[at..filled]) {
                heard += u64::from(wire::is_text(first));
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
        deflation: Deflation { min_size: 512, level: 1 },
        ping_every: Duration::from_secs(30),
        drop_after: Duration::from_secs(90),
        flush: Duration::ZERO,
    }
}
