//! As much of TCP, HTTP and WebSocket as a client needs that wants to cost nothing.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// How long a server may take for each step of letting a client in.
const PATIENCE: Duration = Duration::from_secs(20);

/// Connects from a given address of this machine: each has ports of its own.
pub fn connect(address: SocketAddr, source: Ipv4Addr) -> Result<TcpStream> {
    let socket = socket_of(source, SocketFlags::CLOEXEC)?;
    rustix::net::connect(&socket, &address).with_context(|| format!("{source} cannot connect to {address}"))?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Begins to connect without waiting for it.
pub fn begin_to_connect(address: SocketAddr, source: Ipv4Addr) -> Result<TcpStream> {
    let socket = socket_of(source, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error).with_context(|| format!("{source} cannot connect to {address}")),
    }
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One that ends with a reset. Whoever ends first else keeps the port for a minute: after some ten thousand connections the
/// search for a free one would be most of what connecting takes, and the next server might not get its own.
fn socket_of(source: Ipv4Addr, flags: SocketFlags) -> Result<OwnedFd> {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    rustix::net::bind(&socket, &SocketAddrV4::new(source, 0))?;
    Ok(socket)
}

/// Asks for a WebSocket; further header lines end like all.
pub fn upgrade(path: &str, headers: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{headers}\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// The answer that lets a WebSocket in: its bytes when it is whole.
pub fn switched(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..end]);
    ensure!(head.starts_with("HTTP/1.1 101"), "no WebSocket: {head}");
    Ok(Some(end + 4))
}

/// An answer over HTTP that says that all is well: its bytes when it is whole.
pub fn success(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    ensure!(head.starts_with("http/1.1 2"), "refused: {head}");
    let length = head.split_once("content-length: ").map_or("0", |(_, rest)| rest.lines().next().unwrap_or("0"));
    let whole = end + 4 + length.trim().parse::<usize>()?;
    Ok((bytes.len() >= whole).then_some(whole))
}

/// One text: its bytes when it is whole.
pub fn text(bytes: &[u8]) -> Result<Option<usize>> {
    let Some((first, _, end)) = frame(bytes) else { return Ok(None) };
    ensure!(is_text(first), "a text is expected, not {first:#x}");
    Ok(Some(end))
}

/// Hands over each whole text, leaves out what is no text, and returns how many bytes all of it is.
pub fn texts(bytes: &[u8], each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<usize> {
    let mut at = 0;
    while let Some((first, payload, end)) = frame(&bytes[at..]) {
        ensure!(first & 0x0f != CLOSE, "the server ends the connection: {:?}", String::from_utf8_lossy(payload));
        if is_text(first) {
            each(payload)?;
        }
        at += end;
    }
    Ok(at)
}

/// Reads frames one by one until so many texts have come.
pub fn hear_texts(stream: &mut impl Read, count: usize) -> Result<()> {
    for _ in 0..count {
        let mut head = [0; 2];
        stream.read_exact(&mut head)?;
        ensure!(head[0] == FIN_TEXT, "a text is expected, not {:#x}", head[0]);
        let length = match head[1] {
            126 => {
                let mut long = [0; 2];
                stream.read_exact(&mut long)?;
                usize::from(u16::from_be_bytes(long))
            }
            short if short < 126 => usize::from(short),
            _ => bail!("a greeting of more than 64 KiB"),
        };
        stream.read_exact(&mut vec![0; length])?;
    }
    Ok(())
}

const FIN_TEXT: u8 = 0x81;
const FIN_BINARY: u8 = 0x82;
const CLOSE: u8 = 0x08;
/// What RFC 7692 sets beside it.
const DEFLATED: u8 = 0x40;

/// A text as servers send it.
pub fn text_frame(text: &[u8]) -> Vec<u8> {
    let mut frame = vec![FIN_TEXT];
    match text.len() {
        short @ 0..=125 => frame.push(short as u8),
        middle @ 126..=0xffff => {
            frame.push(126);
            frame.extend((middle as u16).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(text);
    frame
}

/// A text as clients send it.
pub fn masked_text_frame(text: &[u8]) -> Vec<u8> {
    masked(text_frame(text), text.len())
}

pub fn masked_binary_frame(bytes: &[u8]) -> Vec<u8> {
    let mut frame = text_frame(bytes);
    frame[0] = FIN_BINARY;
    masked(frame, bytes.len())
}

/// The mask is zero, which leaves the payload as it is.
fn masked(mut frame: Vec<u8>, payload: usize) -> Vec<u8> {
    let head = frame.len() - payload;
    frame[1] |= 0x80;
    frame.splice(head..head, [0; 4]);
    frame
}

/// One frame of a server: its first byte, its payload, and where the next one begins. `None`: it is not whole yet.
pub fn frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let [first, length, ..] = *bytes else { return None };
    let (head, length) = match length {
        126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        short => (2, u64::from(short)),
    };
    let end = head + usize::try_from(length).ok()?;
    Some((first, bytes.get(head..end)?, end))
}

/// The number that a text begins with.
pub fn digits(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

pub fn is_text(first: u8) -> bool {
    first == FIN_TEXT
}

pub fn is_deflated_text(first: u8) -> bool {
    first == FIN_TEXT | DEFLATED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_framed_is_read_back_when_it_is_whole() {
        for length in [0, 125, 126, 0xffff, 0x10000] {
            let text = vec![b'x'; length];
            let framed = text_frame(&text);
            let end = framed.len();
            assert_eq!(frame(&framed), Some((FIN_TEXT, &text[..], end)));
            assert_eq!(frame(&framed[..end - 1]), None);
            assert_eq!(masked_text_frame(&text).len(), end + 4);
        }
    }
}
