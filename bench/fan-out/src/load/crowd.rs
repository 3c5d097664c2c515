//! Many connections on one epoll: each is let in by its steps, then hands over what it gets.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::SILENCE;
use crate::dialect::{Dialect, Step};
use crate::wire;

/// Addresses of this machine that clients connect from, in turn: each has its own 28,000 ports.
const SOURCES: usize = 8;
/// More than the frames of the largest window.
const BUFFER: usize = 512 << 10;
/// Events of one call.
const MAX_READY: usize = 1024;
/// The token of a socket that is no subscriber's.
const OTHER: u64 = u64::MAX;

/// What every connection has in common.
pub struct Crowd {
    epoll: OwnedFd,
    clients: Vec<Client>,
    ready: Vec<epoll::Event>,
    buffer: Vec<u8>,
    pub reads: u64,
    /// How long there was nothing to do.
    pub idle: Duration,
}

struct Client {
    dialect: &'static dyn Dialect,
    socket: Option<TcpStream>,
    /// What came and is not whole yet.
    rest: Vec<u8>,
    /// What is still to be said and heard, the first at the end. Empty: it is let in.
    steps: Vec<Step>,
    /// The first of the steps was said.
    has_said: bool,
}

impl Crowd {
    /// So many places, nobody connected.
    pub fn new(dialect: impl Fn(usize) -> &'static dyn Dialect, count: usize) -> Result<Self> {
        let client = |index| Client {
            dialect: dialect(index),
            socket: None,
            rest: Vec::new(),
            steps: Vec::new(),
            has_said: false,
        };
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            clients: (0..count).map(client).collect(),
            ready: Vec::with_capacity(MAX_READY),
            buffer: vec![0; BUFFER],
            reads: 0,
            idle: Duration::ZERO,
        })
    }

    pub fn len(&self) -> usize {
        self.clients.len()
    }

    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Begins to let one in; it is let in by `turn`.
    pub fn admit(&mut self, index: usize, address: SocketAddr, mut steps: Vec<Step>) -> Result<()> {
        let source = Ipv4Addr::new(127, 0, 0, (1 + index % SOURCES) as u8);
        let socket = wire::begin_to_connect(address, source)?;
        epoll::add(&self.epoll, &socket, EventData::new_u64(index as u64), EventFlags::IN | EventFlags::OUT)?;
        steps.reverse();
        let client = &mut self.clients[index];
        client.rest.clear();
        (client.socket, client.steps, client.has_said) = (Some(socket), steps, false);
        Ok(())
    }

    /// Lets everybody in, at most so many at a time, and returns how long it took. What comes meanwhile is handed over.
    pub fn admit_all(
        &mut self,
        address: SocketAddr,
        at_once: usize,
        steps: &mut dyn FnMut(usize) -> Vec<Step>,
        mut take: impl FnMut(usize, &[u8], Instant) -> Result<()>,
    ) -> Result<Duration> {
        let began = Instant::now();
        let (mut next, mut inside, mut heard) = (0, 0, began);
        while inside < self.len() {
            while next < self.len() && next - inside < at_once {
                let steps = steps(next);
                self.admit(next, address, steps).with_context(|| format!("client {next}"))?;
                next += 1;
            }
            let turn = self.turn(super::NAP, &mut take)?;
            if turn.let_in > 0 {
                (inside, heard) = (inside + turn.let_in, Instant::now());
            }
            ensure!(heard.elapsed() < 2 * SILENCE, "{inside} of {} clients were let in", self.len());
        }
        Ok(began.elapsed())
    }

    /// Ends every connection at once, without a word.
    pub fn break_all(&mut self) {
        for client in &mut self.clients {
            client.socket = None;
        }
    }

    /// Watches one more socket, which `turn` tells of.
    pub fn watch(&self, socket: BorrowedFd<'_>) -> Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(OTHER), flags)?)
    }

    /// Waits, at most so long, reads once from everybody who has something, and hands over each message with its client.
    pub fn turn(&mut self, nap: Duration, mut take: impl FnMut(usize, &[u8], Instant) -> Result<()>) -> Result<Turn> {
        self.wait(nap)?;
        let mut turn = Turn::default();
        for event in &self.ready {
            let token = event.data.u64();
            if token == OTHER {
                turn.is_other_ready = true;
                continue;
            }
            let index = token as usize;
            let client = &mut self.clients[index];
            let Some(socket) = &mut client.socket else { continue };
            if client.steps.is_empty() {
                self.reads += 1;
            } else if !client.has_said {
                // What stands first is short and finds an empty buffer.
                client.has_said = true;
                socket.write_all(&client.steps[client.steps.len() - 1].say).context("cannot connect")?;
                epoll::modify(&self.epoll, &*socket, EventData::new_u64(token), EventFlags::IN)?;
            }
            let is_new = client.read(&mut self.buffer, |message, now| take(index, message, now));
            turn.let_in += usize::from(is_new.with_context(|| format!("client {index}"))?);
        }
        Ok(turn)
    }

    /// Waits without sleeping. Whoever sends to a sleeper pays for waking it: a server that is a little slower than the load
    /// would be so much slower still, and clients of another machine cost it nothing.
    fn wait(&mut self, nap: Duration) -> Result<()> {
        let began = Instant::now();
        let (at_once, mut idle) = (Timespec { tv_sec: 0, tv_nsec: 0 }, Duration::ZERO);
        self.ready.clear();
        loop {
            match epoll::wait(&self.epoll, spare_capacity(&mut self.ready), Some(&at_once)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if !self.ready.is_empty() || idle >= nap {
                self.idle += idle;
                return Ok(());
            }
            std::thread::yield_now(); // where there is one processor only, it is the server's
            idle = began.elapsed();
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Turn {
    pub let_in: usize,
    pub is_other_ready: bool,
}

impl Client {
    /// Reads once; whether it was let in by that.
    fn read(&mut self, buffer: &mut [u8], mut take: impl FnMut(&[u8], Instant) -> Result<()>) -> Result<bool> {
        let Some(socket) = &mut self.socket else { return Ok(false) };
        let kept = self.rest.len();
        buffer[..kept].copy_from_slice(&self.rest);
        let read = match rustix::net::recv(socket.as_fd(), &mut buffer[kept..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => bail!("the server closed the connection"),
            Ok((read, _)) => read,
            Err(Errno::AGAIN | Errno::INTR) if !self.steps.is_empty() => 0,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            Err(error) => return Err(error).context("the connection broke"),
        };
        let now = Instant::now();
        let bytes = &buffer[..kept + read];
        let mut at = 0;
        let was_outside = !self.steps.is_empty();
        while let Some(step) = self.steps.last() {
            let Some(length) = (step.heard)(&bytes[at..])? else { break };
            at += length;
            self.steps.pop();
            if let Some(next) = self.steps.last() {
                socket.write_all(&next.say)?;
            }
        }
        let is_inside = self.steps.is_empty();
        if is_inside {
            at += self.dialect.events(&bytes[at..], &mut |message| take(message, now))?;
        }
        self.rest.clear();
        self.rest.extend_from_slice(&bytes[at..]);
        Ok(was_outside && is_inside)
    }
}
