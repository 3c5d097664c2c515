//! A client's socket, and how fast it is read.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use socket2::{Domain, SockRef, Socket, Type};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{HandshakeError, WebSocket};

use crate::http::PATIENCE;

/// What lets a client in.
pub const HANDSHAKE: &[u8] = b"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// How long a read waits before its client looks around.
const GLANCE: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temper {
    /// Reads what is there.
    Fast,
    /// Reads a few bytes now and then, stops for seconds, and reads again.
    Slow,
}

/// How a slow client reads at the moment.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Reads,
    Sips,
    Sleeps,
}

/// What a client makes room for that has read slowly and wants all that waits for it soon. With the least of room the kernel
/// may come to send what it must to find out that there is some, a few hundred bytes five times a second, however fast they are
/// read: what waits then takes minutes.
const ROOM: usize = 256 << 10;

/// A socket that is read as its client's temper has it.
pub struct Paced {
    socket: TcpStream,
    temper: Temper,
    mood: Mood,
    until: Instant,
    random: fastrand::Rng,
}

pub type Client = WebSocket<Paced>;

/// Opens a WebSocket.
pub fn open(address: SocketAddr, temper: Temper, random: fastrand::Rng) -> Result<Client> {
    let socket = connect(address, temper)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let config = match temper {
        Temper::Fast => WebSocketConfig::default().read_buffer_size(64 << 10),
        Temper::Slow => WebSocketConfig::default().read_buffer_size(4 << 10),
    };
    let paced = Paced { socket, temper: Temper::Fast, mood: Mood::Reads, until: Instant::now(), random };
    let (mut client, _) =
        match tungstenite::client::client_with_config(format!("ws://{address}/v1/ws"), paced, Some(config)) {
            Ok(opened) => opened,
            Err(HandshakeError::Failure(error)) => bail!("{error}"),
            Err(HandshakeError::Interrupted(_)) => bail!("no answer to the handshake"),
        };
    let paced = client.get_mut();
    paced.socket.set_read_timeout(Some(GLANCE))?;
    paced.temper = temper;
    Ok(client)
}

/// A socket whose buffer is as small as the system makes it when it is to be read slowly.
pub fn connect(address: SocketAddr, temper: Temper) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if temper == Temper::Slow {
        socket.set_recv_buffer_size(1)?;
    }
    socket.connect(&address.into())?;
    Ok(socket.into())
}

/// Ends a connection so that the other side hears a reset.
pub fn reset(socket: &TcpStream) {
    // One that has ended already needs no reset.
    _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

/// For a socket that was made to be read slowly, and is not any more.
pub fn make_room(socket: &TcpStream) -> io::Result<()> {
    SockRef::from(socket).set_recv_buffer_size(ROOM)
}

impl Paced {
    pub fn reset(&self) {
        reset(&self.socket);
    }

    /// From here on it reads what is there.
    pub fn hurry(&mut self) -> io::Result<()> {
        if self.temper == Temper::Slow {
            make_room(&self.socket)?;
        }
        self.temper = Temper::Fast;
        Ok(())
    }

    fn change_mood(&mut self) {
        let milliseconds = match self.random.u8(..3) {
            0 => {
                self.mood = Mood::Reads;
                self.random.u64(500..4000)
            }
            1 => {
                self.mood = Mood::Sips;
                self.random.u64(500..4000)
            }
            _ => {
                self.mood = Mood::Sleeps;
                self.random.u64(500..3000)
            }
        };
        self.until = Instant::now() + Duration::from_millis(milliseconds);
    }
}

impl Read for Paced {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.temper == Temper::Fast {
            return self.socket.read(buffer);
        }
        if Instant::now() >= self.until {
            self.change_mood();
        }
        match self.mood {
            Mood::Reads => self.socket.read(buffer),
            Mood::Sips => {
                sleep(Duration::from_millis(20));
                let few = buffer.len().min(self.random.usize(1..=100));
                self.socket.read(&mut buffer[..few])
            }
            Mood::Sleeps => {
                sleep(GLANCE);
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }
}

impl Write for Paced {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.socket.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}
