//! One connection to an outside service, for plugins: TCP, TLS where wanted, and nothing that outlasts its deadline.
#![forbid(unsafe_code)]

mod bounded;
mod dial;
mod place;
#[cfg(test)]
mod tests;
mod trust;

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::Instant;

use rustls::{ClientConnection, StreamOwned};

use self::bounded::Bounded;
pub use self::place::Place;
pub use self::trust::Trust;

/// A connection whose reads and writes end at a deadline, however slowly the other side drips: each step gets only what
/// is left, never a time of its own. A step beyond the deadline fails with [`io::ErrorKind::TimedOut`].
#[derive(Debug)]
pub enum Line {
    Plain(Bounded),
    Encrypted(Box<StreamOwned<ClientConnection, Bounded>>),
}

impl Line {
    /// Connects to a name or an address; the deadline holds for looking up the name, too.
    pub fn dial(host: &str, port: u16, deadline: Instant) -> io::Result<Line> {
        dial::dial(host, port, deadline).map(|socket| Line::Plain(Bounded { socket, deadline }))
    }

    /// Goes on encrypted: the other side must prove to be `host`. What is encrypted stays so.
    pub fn encrypt(self, trust: &Trust, host: &str) -> io::Result<Line> {
        let Line::Plain(mut bounded) = self else { return Ok(self) };
        let mut session = trust.session(host)?;
        while session.is_handshaking() {
            session.complete_io(&mut bounded)?;
        }
        Ok(Line::Encrypted(Box::new(StreamOwned::new(session, bounded))))
    }

    pub fn is_encrypted(&self) -> bool {
        matches!(self, Line::Encrypted(_))
    }

    /// Sets another deadline, for whoever keeps the connection for a next attempt.
    pub fn until(&mut self, deadline: Instant) {
        match self {
            Line::Plain(bounded) => bounded.deadline = deadline,
            Line::Encrypted(stream) => stream.sock.deadline = deadline,
        }
    }

    /// The address of this end.
    pub fn local_ip(&self) -> io::Result<IpAddr> {
        self.socket().local_addr().map(|address| address.ip())
    }

    /// Another hold of the socket, by which a connection can be ended from elsewhere.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Line::Plain(bounded) => &bounded.socket,
            Line::Encrypted(stream) => &stream.sock.socket,
        }
    }
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Line::Plain(bounded) => bounded.read(buffer),
            Line::Encrypted(stream) => stream.read(buffer),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Line::Plain(bounded) => bounded.write(bytes),
            Line::Encrypted(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Line::Plain(bounded) => bounded.flush(),
            Line::Encrypted(stream) => stream.flush(),
        }
    }
}
