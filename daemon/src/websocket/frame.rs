//! The layout of a frame (RFC 6455 §5): a server's frame is written once for every client, a client's header is read and checked.

mod decoder;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use super::close;
use super::deflate::{self, Compression};
pub use decoder::{Decoder, Input};

/// The longest payload of a control frame (RFC 6455 §5.5).
pub const MAX_CONTROL: usize = 125;

/// The longest reason of a close frame: its payload less the two bytes of the code.
pub const MAX_REASON: usize = MAX_CONTROL - 2;

/// The longest header of a server's frame: two bytes and a length of eight.
const MAX_SERVER_HEADER: usize = 10;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const OPCODE_BITS: u8 = 0x0f;
/// RSV1, which permessage-deflate takes for itself, and two that nobody has defined.
const RESERVED_BITS: u8 = 0x70;
/// RSV1 on the first frame of a message: the message is compressed (RFC 7692 §6).
const DEFLATED: u8 = 0x40;
/// A length byte of this value is followed by the length in 2 bytes.
const LENGTH_16: u8 = 126;
/// A length byte of this value is followed by the length in 8 bytes.
const LENGTH_64: u8 = 127;

/// What a frame is; the value is the one on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Opcode> {
        use Opcode::*;
        [Continuation, Text, Binary, Close, Ping, Pong].into_iter().find(|opcode| *opcode as u8 == bits)
    }

    fn is_control(self) -> bool {
        self as u8 >= Opcode::Close as u8
    }
}

/// Appends one unfragmented server frame to `out`. It is unmasked, so the same bytes serve every client.
pub fn encode(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    put(FIN | opcode as u8, payload, out);
}

fn put(first: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(first);
    match payload.len() {
        length @ 0..=MAX_CONTROL => out.push(length as u8),
        length @ 126..=0xffff => {
            out.push(LENGTH_16);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(LENGTH_64);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// A text frame; the caller vouches that `payload` is UTF-8.
pub fn text(payload: &[u8]) -> Bytes {
    frame(FIN | Opcode::Text as u8, payload)
}

/// The same text as `text` makes a frame of, for clients that have agreed on compression; `None` if that would not be
/// smaller: then the plain frame serves them, too. The caller vouches that `payload` is UTF-8.
pub fn text_deflated(payload: &[u8], level: u8) -> Option<Bytes> {
    let deflated = deflate::compress(payload, level);
    (deflated.len() < payload.len()).then(|| frame(FIN | DEFLATED | Opcode::Text as u8, &deflated))
}

/// The payload of a whole frame of ours.
pub fn payload(frame: &[u8]) -> &[u8] {
    let header = match frame.get(1) {
        Some(&LENGTH_16) => 4,
        Some(&LENGTH_64) => MAX_SERVER_HEADER,
        _ => 2,
    };
    frame.get(header..).unwrap_or_default()
}

/// A ping, its payload cut to what a control frame may carry.
pub fn ping(payload: &[u8]) -> Bytes {
    frame(FIN | Opcode::Ping as u8, &payload[..payload.len().min(MAX_CONTROL)])
}

/// The answer to a ping with the same payload, cut to what a control frame may carry.
pub fn pong(payload: &[u8]) -> Bytes {
    frame(FIN | Opcode::Pong as u8, &payload[..payload.len().min(MAX_CONTROL)])
}

/// A close frame, its reason cut at the last character that fits.
pub fn close(code: u16, reason: &str) -> Bytes {
    let reason = &reason[..reason.floor_char_boundary(MAX_REASON)];
    frame(FIN | Opcode::Close as u8, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

fn frame(first: u8, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(MAX_SERVER_HEADER + payload.len());
    put(first, payload, &mut out);
    out.into()
}

/// Why a connection must be closed, and with which code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    pub code: u16,
    pub reason: &'static str,
}

fn protocol_error(reason: &'static str) -> Violation {
    Violation { code: close::PROTOCOL_ERROR, reason }
}

/// How the payloads of a message are to be read; its first frame says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Plain,
    Deflated,
}

/// The beginning of a client's frame, checked as far as one frame tells.
#[derive(Debug)]
struct Header {
    opcode: Opcode,
    coding: Coding,
    fin: bool,
    key: [u8; 4],
    /// The bytes of the header itself, the masking key included.
    size: usize,
    /// The bytes of the payload.
    length: usize,
}

impl Header {
    /// `None` while `bytes` does not hold the whole header. Each byte is refused as soon as it is seen, hence a client
    /// is told the same however its bytes are cut.
    fn parse(bytes: &[u8], compression: Compression) -> Result<Option<Header>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let Some(opcode) = Opcode::from_bits(first & OPCODE_BITS) else {
            return Err(protocol_error("reserved opcode"));
        };
        let may_be_deflated = compression == Compression::On && matches!(opcode, Opcode::Text | Opcode::Binary);
        let coding = match first & RESERVED_BITS {
            0 => Coding::Plain,
            DEFLATED if may_be_deflated => Coding::Deflated,
            _ => return Err(protocol_error("reserved bit set without an extension")),
        };
        let fin = first & FIN != 0;
        if opcode.is_control() && !fin {
            return Err(protocol_error("fragmented control frame"));
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if second & MASKED == 0 {
            return Err(protocol_error("client frame without a mask"));
        }
        let length_byte = second & !MASKED;
        if opcode.is_control() && usize::from(length_byte) > MAX_CONTROL {
            return Err(protocol_error("control frame of more than 125 bytes"));
        }
        let Some((length, key_at)) = payload_length(length_byte, &bytes[2..])? else { return Ok(None) };
        let Some(&key) = bytes[key_at..].first_chunk() else { return Ok(None) };
        // A length beyond the address space is beyond every limit on messages, too.
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        Ok(Some(Header { opcode, coding, fin, key, size: key_at + key.len(), length }))
    }

    /// The bytes of the whole frame.
    fn end(&self) -> usize {
        self.size.saturating_add(self.length)
    }
}

/// The length of the payload and where in the frame the masking key follows; `None` while `extension` is too short.
fn payload_length(length_byte: u8, extension: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    let (length, key_at, least) = match length_byte {
        LENGTH_16 => match extension.first_chunk() {
            Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 4, 126),
            None => return Ok(None),
        },
        LENGTH_64 => match extension.first_chunk() {
            Some(bytes) => (u64::from_be_bytes(*bytes), 10, 65_536),
            None => return Ok(None),
        },
        short => (u64::from(short), 2, 0),
    };
    if length < least {
        return Err(protocol_error("payload length not in its shortest form"));
    }
    if length > i64::MAX as u64 {
        return Err(protocol_error("payload length with the highest bit set"));
    }
    Ok(Some((length, key_at)))
}

/// Takes the mask off (or puts it on), eight bytes at a time.
fn unmask(payload: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide_key = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = payload.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide_key).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= key;
    }
}
