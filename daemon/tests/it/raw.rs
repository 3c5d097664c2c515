//! A client of bare bytes: requests and frames as nobody should send them, and sockets that end as none should.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::http;

pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;
/// The bit of a frame's first byte that says that it is the last of its message.
pub const FIN: u8 = 0x80;

const PATH: &str = "GET /v1/ws HTTP/1.1";
pub const UPGRADE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub struct Raw {
    pub socket: TcpStream,
    unread: Vec<u8>,
}

/// A server's frame: its first byte, which is the opcode with the bit of the last fragment, and its payload.
pub type Frame = (u8, Vec<u8>);

impl Raw {
    /// Asks for the upgrade, and has read the answer but not the greeting.
    pub fn open(address: &str) -> Self {
        Self::open_on(http::connect(address), address)
    }

    /// A connection on which nothing has been said.
    pub fn on(socket: TcpStream) -> Self {
        Self { socket, unread: Vec::new() }
    }

    pub fn open_on(socket: TcpStream, address: &str) -> Self {
        let mut raw = Self::on(socket);
        raw.send(&request(address));
        let head = raw.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        raw
    }

    /// A connection that has been greeted.
    pub fn greeted(address: &str) -> Self {
        let mut raw = Self::open(address);
        assert!(raw.text().contains(r#""status":"connected""#));
        raw
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    pub fn say(&mut self, text: &str) {
        self.send(&frame(TEXT, text.as_bytes()));
    }

    /// The head of an HTTP answer.
    pub fn head(&mut self) -> String {
        const END: &[u8] = b"\r\n\r\n";
        let at = self.read_until(|bytes| bytes.windows(END.len()).position(|window| window == END));
        let head = self.unread.drain(..at + END.len()).collect();
        String::from_utf8(head).unwrap()
    }

    /// The server's next frame, whatever it is.
    pub fn frame(&mut self) -> Frame {
        let (start, end) = self.read_until(frame_at);
        let frame: Vec<u8> = self.unread.drain(..end).collect();
        (frame[0], frame[start..].to_vec())
    }

    /// The next text; pings are skipped.
    pub fn text(&mut self) -> String {
        loop {
            match self.frame() {
                (PING, _) => {}
                (TEXT, payload) => return String::from_utf8(payload).unwrap(),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The code and the reason of the close frame that comes next, or after what is not one.
    pub fn close(&mut self) -> (u16, String) {
        loop {
            if let (CLOSE, payload) = self.frame() {
                let (code, reason) = payload.split_first_chunk().expect("the daemon always gives a code");
                return (u16::from_be_bytes(*code), String::from_utf8(reason.to_vec()).unwrap());
            }
        }
    }

    /// Reads to the end: the daemon says nothing more and closes.
    pub fn ends(mut self) {
        let mut rest = self.unread;
        match self.socket.read_to_end(&mut rest) {
            Ok(_) => assert_eq!(rest, b"", "nothing more is said"),
            Err(error) => panic!("{error}"),
        }
    }

    /// Takes away what is left of a connection that may end in any way.
    pub fn drain(mut self) {
        widen(&self.socket);
        let mut piece = [0; 64 << 10];
        loop {
            match self.socket.read(&mut piece) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn read_until<T>(&mut self, found: impl Fn(&[u8]) -> Option<T>) -> T {
        let mut piece = [0; 64 << 10];
        loop {
            if let Some(found) = found(&self.unread) {
                return found;
            }
            match self.socket.read(&mut piece) {
                Ok(0) => panic!("the connection ended after {:?}", String::from_utf8_lossy(&self.unread)),
                Ok(count) => self.unread.extend_from_slice(&piece[..count]),
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&self.unread)),
            }
        }
    }
}

/// The request that opens a WebSocket.
pub fn request(address: &str) -> Vec<u8> {
    http::request(address, PATH, &UPGRADE, b"")
}

/// A request whose answer carries the id (JSON), filled up with spaces to a length.
pub fn ping(id: &str, length: usize) -> String {
    let mut text = format!(r#"{{"type":"ping","id":{id}}}"#);
    text.push_str(&" ".repeat(length.saturating_sub(text.len())));
    text
}

/// A client's frame, with its length in the shortest form.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let masked = payload.iter().zip(KEY.into_iter().cycle()).map(|(byte, key)| byte ^ key);
    let mut frame = header(first, 0x80, payload.len());
    frame.extend(KEY);
    frame.extend(masked);
    frame
}

/// A frame without the mask that a client's must have.
pub fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    [header(first, 0, payload.len()).as_slice(), payload].concat()
}

/// A close frame of a client, with a reason of any bytes.
pub fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(CLOSE, &[&code.to_be_bytes(), reason].concat())
}

/// Ends a socket hard: whatever is on its way is lost, and the other side is told at once.
pub fn reset(socket: TcpStream) {
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).unwrap();
}

/// A socket that takes as little as it can before its reader does something.
pub fn narrow(address: &str) -> TcpStream {
    let address: SocketAddr = address.parse().unwrap();
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_recv_buffer_size(&socket, 1).unwrap(); // the kernel takes its least
    rustix::net::connect(&socket, &address).unwrap();
    let socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(http::PATIENCE)).unwrap();
    socket.set_write_timeout(Some(http::PATIENCE)).unwrap();
    socket
}

/// Ends the narrowness: reading through it would take minutes.
pub fn widen(socket: &TcpStream) {
    sockopt::set_socket_recv_buffer_size(socket, 1 << 20).unwrap();
}

fn header(first: u8, masked: u8, length: usize) -> Vec<u8> {
    match length {
        0..=125 => vec![first, masked | length as u8],
        126..=0xffff => [&[first, masked | 126], &(length as u16).to_be_bytes()[..]].concat(),
        _ => [&[first, masked | 127], &(length as u64).to_be_bytes()[..]].concat(),
    }
}

/// Where the payload of the server's frame at the front begins and ends, if all of it is there.
fn frame_at(bytes: &[u8]) -> Option<(usize, usize)> {
    let (start, length) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
        127 => (10, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize),
        length => (2, usize::from(length)),
    };
    (start + length <= bytes.len()).then_some((start, start + length))
}
