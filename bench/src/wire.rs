//! As much of TCP, HTTP and WebSocket as a client needs that wants to cost nothing.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// How long a server may take for each step of letting a client in.
const PATIENCE: Duration = Duration::from_secs(20);

/// Connects from a given address of this machine: each has ports of its own.
pub fn connect(address: SocketAddr, source: Ipv4Addr) -> Result<TcpStream> {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(source, 0))?;
    rustix::net::connect(&socket, &address).with_context(|| format!("{source} cannot connect to {address}"))?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Asks for a WebSocket. What follows the answer in the same read is not lost: none is read beyond the answer's end.
pub fn upgrade(stream: &mut TcpStream, path: &str) -> Result<()> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
        ensure!(head.len() < 4096, "the answer to the handshake has no end");
    }
    let head = String::from_utf8_lossy(&head);
    ensure!(head.starts_with("HTTP/1.1 101"), "no WebSocket at {path}: {head}");
    Ok(())
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

/// A text as clients send it. The mask is zero, which leaves the text as it is.
pub fn masked_text_frame(text: &[u8]) -> Vec<u8> {
    let mut frame = text_frame(text);
    let head = frame.len() - text.len();
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
