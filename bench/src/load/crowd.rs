//! Many subscribers on one epoll.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::wire;

/// Addresses of this machine that clients connect from, in turn: each has its own 28,000 ports.
const SOURCES: usize = 8;
/// More than the frames of the largest window.
const BUFFER: usize = 256 << 10;
/// Events of one call.
const MAX_READY: usize = 1024;
/// The token of a socket that is no subscriber's.
pub const OTHER: u64 = u64::MAX;

/// What is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The daemon: a WebSocket that subscribes to a whole stream.
    Daemon,
    /// The daemon, and a WebSocket that subscribes to nothing.
    DaemonBare,
    /// Ours with axum: a WebSocket that gets everything.
    Axum,
    /// The minimal loop: a socket that gets everything.
    Limit,
}

pub struct Crowd {
    pub kind: Kind,
    epoll: OwnedFd,
    clients: Vec<Client>,
    ready: Vec<epoll::Event>,
    buffer: Vec<u8>,
    pub reads: u64,
}

struct Client {
    socket: OwnedFd,
    /// The beginning of a frame whose end has not come yet.
    rest: Vec<u8>,
}

impl Crowd {
    /// Connects everybody, one after the other, and waits until each gets what is published from then on.
    pub fn connect(kind: Kind, address: SocketAddr, stream: &str, count: usize) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut clients = Vec::with_capacity(count);
        for index in 0..count {
            let source = Ipv4Addr::new(127, 0, 0, (1 + index % SOURCES) as u8);
            let mut socket = wire::connect(address, source)?;
            greet(kind, &mut socket, stream).with_context(|| format!("client {index}"))?;
            let socket = OwnedFd::from(socket);
            epoll::add(&epoll, &socket, EventData::new_u64(index as u64), EventFlags::IN)?;
            clients.push(Client { socket, rest: Vec::new() });
        }
        let (ready, buffer) = (Vec::with_capacity(MAX_READY), vec![0; BUFFER]);
        Ok(Self { kind, epoll, clients, ready, buffer, reads: 0 })
    }

    pub fn len(&self) -> usize {
        self.clients.len()
    }

    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Watches one more socket, whose token is `OTHER`.
    pub fn watch(&self, socket: BorrowedFd<'_>) -> Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(OTHER), flags)?)
    }

    /// Waits, at most so long, reads once from everybody who has something, and hands over each text with its client.
    /// Answers whether the other socket is ready.
    pub fn turn(&mut self, nap: Duration, mut take: impl FnMut(usize, &[u8], Instant) -> Result<()>) -> Result<bool> {
        let nap = Timespec::try_from(nap)?;
        self.ready.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.ready), Some(&nap)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut other = false;
        for event in &self.ready {
            let token = event.data.u64();
            if token == OTHER {
                other = true;
                continue;
            }
            let client = &mut self.clients[token as usize];
            self.reads += 1;
            client.read(&mut self.buffer, |text, now| take(token as usize, text, now))?;
        }
        Ok(other)
    }
}

impl Client {
    fn read(&mut self, buffer: &mut [u8], mut take: impl FnMut(&[u8], Instant) -> Result<()>) -> Result<()> {
        let kept = self.rest.len();
        buffer[..kept].copy_from_slice(&self.rest);
        let read = match rustix::net::recv(&self.socket, &mut buffer[kept..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => bail!("the server closed a connection"),
            Ok((read, _)) => read,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(error) => return Err(error).context("a connection broke"),
        };
        let now = Instant::now();
        let mut bytes = &buffer[..kept + read];
        while let Some((first, payload, end)) = wire::frame(bytes) {
            if wire::is_text(first) {
                take(payload, now)?;
            }
            bytes = &bytes[end..];
        }
        self.rest.clear();
        self.rest.extend_from_slice(bytes);
        Ok(())
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn greet(kind: Kind, socket: &mut TcpStream, stream: &str) -> Result<()> {
    let subscribe = format!("{{\"type\":\"subscribe\",\"stream\":\"{stream}\"}}");
    match kind {
        Kind::Limit => wire::hear_texts(socket, 1),
        Kind::Axum => wire::upgrade(socket, "/ws").and_then(|()| wire::hear_texts(socket, 1)),
        Kind::DaemonBare => wire::upgrade(socket, "/v1/ws").and_then(|()| wire::hear_texts(socket, 1)),
        Kind::Daemon => {
            wire::upgrade(socket, "/v1/ws")?;
            std::io::Write::write_all(socket, &wire::masked_text_frame(subscribe.as_bytes()))?;
            wire::hear_texts(socket, 3) // the greeting, the answer, the snapshot
        }
    }
}

/// How long a whole crowd may go without a single delivery.
pub const SILENCE: Duration = Duration::from_secs(10);
