//! The connection that publishes, in the form that each server takes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::payload::{Mark, Writer};
use crate::dialect::{Dialect, Step};
use crate::wire;

pub struct Publisher {
    dialect: &'static dyn Dialect,
    socket: TcpStream,
    began: Instant,
    writer: Writer,
    waiting: Vec<u8>,
    answers: Vec<u8>,
    buffer: Vec<u8>,
}

impl Publisher {
    pub fn connect(dialect: &'static dyn Dialect, address: SocketAddr) -> Result<Self> {
        Self::connect_and_say(dialect, address, Vec::new())
    }

    /// Says more before anything else, each when the one before it was answered.
    pub fn connect_and_say(dialect: &'static dyn Dialect, address: SocketAddr, more: Vec<Step>) -> Result<Self> {
        let mut socket = wire::connect(address, Ipv4Addr::LOCALHOST)?;
        let mut answers = Vec::new();
        for step in dialect.open().into_iter().chain(more) {
            socket.write_all(&step.say)?;
            let length = loop {
                if let Some(length) = (step.heard)(&answers)? {
                    break length;
                }
                let mut more = [0; 4096];
                match socket.read(&mut more).context("the publisher is not let in")? {
                    0 => bail!("the server closed the publisher's connection"),
                    read => answers.extend_from_slice(&more[..read]),
                }
            };
            answers.drain(..length);
        }
        socket.set_nonblocking(true)?;
        let (began, writer, buffer) = (Instant::now(), Writer::default(), vec![0; 64 << 10]);
        Ok(Self { dialect, socket, began, writer, waiting: Vec::new(), answers, buffer })
    }

    /// Adds an event to what is sent with the next `flush`.
    pub fn add(&mut self, mark: Mark) {
        self.dialect.publish(mark.topic, self.writer.write(mark), &mut self.waiting);
    }

    /// Writes what waits, as much as there is room for.
    pub fn flush(&mut self) -> Result<()> {
        let mut written = 0;
        while written < self.waiting.len() {
            match self.socket.write(&self.waiting[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("the publisher's connection broke"),
            }
        }
        self.waiting.drain(..written);
        Ok(())
    }

    /// Writes what waits and reads the answers that are there; a refusal is an error.
    pub fn attend(&mut self) -> Result<()> {
        self.flush()?;
        loop {
            match self.socket.read(&mut self.buffer) {
                Ok(0) => bail!("the server closed the publisher's connection"),
                Ok(read) => self.answers.extend_from_slice(&self.buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("the publisher's connection broke"),
            }
        }
        let taken = self.dialect.answers(&self.answers)?;
        self.answers.drain(..taken);
        Ok(())
    }

    /// Nanoseconds since it began, which stamps count in.
    pub fn since(&self, then: Instant) -> u64 {
        u64::try_from(then.saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX)
    }

    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
