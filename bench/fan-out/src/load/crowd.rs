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
/// Room for what is not whole is given back when it is larger: a snapshot comes once, to thousands.
const LARGE_REST: usize = 4 << 10;
/// Events of one call.
const MAX_READY: usize = 1024;
/// Rounds that the processor rests between two looks in a lull: each look takes a lock that whoever sends needs, too.
const PAUSE: u32 = 100;
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// The token of a socket that is no subscriber's.
const OTHER: u64 = u64::MAX;

/// What every connection has in common.
pub struct Crowd {
    epoll: OwnedFd,
    clients: Vec<Client>,
    events: Vec<epoll::Event>,
    /// Who has something, each once and in order.
    ready: Vec<usize>,
    is_other_ready: bool,
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
    is_ready: bool,
}

/// How long a turn waits.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the first who has something, at most so long.
    pub nap: Duration,
    /// Then until nobody else has had anything for so long.
    pub lull: Duration,
}

impl Patience {
    pub fn nap(nap: Duration) -> Self {
        Self { nap, lull: Duration::ZERO }
    }
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
            is_ready: false,
        };
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            clients: (0..count).map(client).collect(),
            events: Vec::with_capacity(MAX_READY),
            ready: Vec::new(),
            is_other_ready: false,
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
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        epoll::add(&self.epoll, &socket, EventData::new_u64(index as u64), flags)?;
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
            let turn = self.turn(Patience::nap(super::NAP), &mut take)?;
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

    /// Waits, reads from everybody who has something, and hands over each message with its client.
    pub fn turn(
        &mut self,
        patience: Patience,
        mut take: impl FnMut(usize, &[u8], Instant) -> Result<()>,
    ) -> Result<Turn> {
        self.wait(patience)?;
        let mut turn = Turn { let_in: 0, is_other_ready: std::mem::take(&mut self.is_other_ready) };
        for index in self.ready.drain(..) {
            let client = &mut self.clients[index];
            client.is_ready = false;
            let Some(socket) = &mut client.socket else { continue };
            if client.steps.is_empty() {
                self.reads += 1;
            } else if !client.has_said {
                // What stands first is short and finds an empty buffer.
                client.has_said = true;
                socket.write_all(&client.steps[client.steps.len() - 1].say).context("cannot connect")?;
                let token = EventData::new_u64(index as u64);
                epoll::modify(&self.epoll, &*socket, token, EventFlags::IN | EventFlags::ET)?;
            }
            let is_new = client.read(&mut self.buffer, |message, now| take(index, message, now));
            turn.let_in += usize::from(is_new.with_context(|| format!("client {index}"))?);
        }
        Ok(turn)
    }

    /// Waits without sleeping. Whoever sends to a sleeper pays for waking it: a server that is a little slower than the load
    /// would be so much slower still, and clients of another machine cost it nothing.
    fn wait(&mut self, patience: Patience) -> Result<()> {
        let began = Instant::now();
        let mut last = None;
        loop {
            let somebody = self.look()?;
            let now = Instant::now();
            if somebody {
                last = Some(now);
            }
            if last.map_or(now - began >= patience.nap, |last| now - last >= patience.lull) {
                self.idle += now - began;
                return Ok(());
            }
            match last {
                None => std::thread::yield_now(), // where there is one processor only, it is the server's
                Some(_) => (0..PAUSE).for_each(|_| std::hint::spin_loop()),
            }
        }
    }

    /// Whether somebody has got something since the last look.
    fn look(&mut self) -> Result<bool> {
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&AT_ONCE)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &self.events {
            let token = event.data.u64();
            if token == OTHER {
                self.is_other_ready = true;
            } else if !std::mem::replace(&mut self.clients[token as usize].is_ready, true) {
                self.ready.push(token as usize);
            }
        }
        Ok(!self.events.is_empty())
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Turn {
    pub let_in: usize,
    pub is_other_ready: bool,
}

impl Client {
    /// Reads all that is there, for nobody says again that there is more; whether it was let in by that.
    fn read(&mut self, buffer: &mut [u8], mut take: impl FnMut(&[u8], Instant) -> Result<()>) -> Result<bool> {
        let was_outside = !self.steps.is_empty();
        while self.read_once(buffer, &mut take)? == buffer.len() {}
        Ok(was_outside && self.steps.is_empty())
    }

    /// Reads as much as there is room for, and returns how much of the room is taken.
    fn read_once(&mut self, buffer: &mut [u8], mut take: impl FnMut(&[u8], Instant) -> Result<()>) -> Result<usize> {
        let Some(socket) = &mut self.socket else { return Ok(0) };
        let kept = self.rest.len();
        buffer[..kept].copy_from_slice(&self.rest);
        let read = match rustix::net::recv(socket.as_fd(), &mut buffer[kept..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => bail!("the server closed the connection"),
            Ok((read, _)) => read,
            Err(Errno::AGAIN | Errno::INTR) if !self.steps.is_empty() => 0,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(0),
            Err(error) => return Err(error).context("the connection broke"),
        };
        let now = Instant::now();
        let bytes = &buffer[..kept + read];
        let mut at = 0;
        while let Some(step) = self.steps.last() {
            let Some(length) = (step.heard)(&bytes[at..])? else { break };
            at += length;
            self.steps.pop();
            if let Some(next) = self.steps.last() {
                socket.write_all(&next.say)?;
            }
        }
        if self.steps.is_empty() {
            at += self.dialect.events(&bytes[at..], &mut |message| take(message, now))?;
        }
        self.keep(&bytes[at..]);
        Ok(bytes.len())
    }

    fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() && self.rest.capacity() > LARGE_REST {
            self.rest = Vec::new();
        }
        self.rest.clear();
        self.rest.extend_from_slice(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Kind;

    #[test]
    fn room_for_a_large_rest_is_given_back_and_for_a_small_one_kept() {
        let mut crowd = Crowd::new(|_| Kind::Frames.dialect(), 1).unwrap();
        let client = &mut crowd.clients[0];
        client.keep(&[1; 100]);
        client.keep(&[]);
        assert!(client.rest.is_empty() && client.rest.capacity() >= 100);
        client.keep(&[1; 2 * LARGE_REST]);
        assert_eq!(client.rest.len(), 2 * LARGE_REST);
        client.keep(&[1]);
        assert!(client.rest.len() == 1 && client.rest.capacity() > LARGE_REST);
        client.keep(&[]);
        assert_eq!(client.rest.capacity(), 0);
    }
}
