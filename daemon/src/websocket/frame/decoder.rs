//! A client's bytes to what it said, across frames and however the bytes are cut.

use std::mem;
use std::str;

use super::deflate::{self, Compression, NotInflated};
use super::{Coding, Header, Opcode, Violation, close, protocol_error, unmask};

/// What a client sent, borrowed from the read buffer or, where it came in parts, from the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    /// The last input of a connection.
    Close {
        code: Option<u16>,
        reason: &'a str,
    },
}

const TOO_BIG: Violation = Violation { code: close::TOO_BIG, reason: "message too big" };
const TEXT_NOT_UTF8: Violation = Violation { code: close::INVALID_TEXT, reason: "text is not utf-8" };
/// What a message holds does not fit its kind (RFC 6455 §7.4.1), as when a text is not UTF-8.
const MALFORMED: Violation = Violation { code: close::INVALID_TEXT, reason: "compressed message cannot be inflated" };

/// Turns the bytes of one client into inputs, however they are cut.
///
/// Ten thousand idle connections are the common case: between messages a decoder holds no heap, and a whole frame in
/// the caller's read buffer is unmasked there and, if it is not compressed, handed out from there.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    pending: Pending,
    /// What the last input was borrowed from when it was not the read buffer; freed by the next call.
    lent: Vec<u8>,
    ended: bool,
}

impl Decoder {
    /// A decoder that refuses a message, all its fragments together and inflated, of more than `max_message` bytes.
    pub fn new(max_message: usize) -> Decoder {
        let limits = Limits { max_message, compression: Compression::Off };
        Decoder { limits, pending: Pending::default(), lent: Vec::new(), ended: false }
    }

    /// The same for a client with which this was agreed on.
    pub fn with(mut self, compression: Compression) -> Decoder {
        self.limits.compression = compression;
        self
    }

    /// From the next frame on; what has come of a message counts.
    pub fn set_max_message(&mut self, max_message: usize) {
        self.limits.max_message = max_message;
    }

    /// Takes the next input off the front of `rest`; `None` means that more bytes are needed and `rest` is used up.
    ///
    /// Call it until `None`: only then everything is consumed and nothing is kept that was already handed out. After
    /// a close or a violation whatever else the client sends is thrown away.
    pub fn next<'a, 'b: 'a>(&'a mut self, rest: &mut &'b mut [u8]) -> Result<Option<Input<'a>>, Violation> {
        self.lent = Vec::new();
        if self.ended {
            *rest = &mut [];
            return Ok(None);
        }
        let message = match self.pending.next_message(rest, self.limits) {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(None),
            Err(violation) => {
                self.end();
                return Err(violation);
            }
        };
        let opcode = message.opcode;
        if opcode == Opcode::Close {
            self.end();
        }
        let payload: &'a [u8] = match message.payload {
            Payload::InPlace(payload) => payload,
            Payload::Copied(payload) => {
                self.lent = payload;
                &self.lent
            }
        };
        let input = interpret(opcode, payload);
        self.ended |= input.is_err();
        input.map(Some)
    }

    /// The bytes of heap held for a message that has not come whole.
    pub fn held(&self) -> usize {
        self.pending.frame.capacity() + self.pending.message.capacity() + self.lent.capacity()
    }

    fn end(&mut self) {
        self.ended = true;
        self.pending = Pending::default();
    }
}

/// What a client may send.
#[derive(Clone, Copy, Debug)]
struct Limits {
    max_message: usize,
    compression: Compression,
}

impl Limits {
    /// The most payload bytes that the frames of a message may have together.
    fn longest(self, coding: Coding) -> usize {
        match coding {
            Coding::Plain => self.max_message,
            Coding::Deflated => deflate::longest_deflated(self.max_message),
        }
    }
}

/// A message, or the part of it that one frame carries, with the mask taken off.
struct Message<'b> {
    opcode: Opcode,
    coding: Coding,
    payload: Payload<'b>,
}

impl Message<'_> {
    /// As the client meant it.
    fn inflated(self, max_message: usize) -> Result<Self, Violation> {
        if self.coding == Coding::Plain {
            return Ok(self);
        }
        match deflate::inflate(self.payload.as_slice(), max_message) {
            Ok(payload) => Ok(Message { payload: Payload::Copied(payload), ..self }),
            Err(NotInflated::TooBig) => Err(TOO_BIG),
            Err(NotInflated::Malformed) => Err(MALFORMED),
        }
    }
}

enum Payload<'b> {
    InPlace(&'b mut [u8]),
    Copied(Vec<u8>),
}

impl Payload<'_> {
    fn as_slice(&self) -> &[u8] {
        match self {
            Payload::InPlace(bytes) => bytes,
            Payload::Copied(bytes) => bytes,
        }
    }
}

/// What has come of a message that is not whole yet.
#[derive(Debug, Default)]
struct Pending {
    /// The bytes of an incomplete frame as they came, header and mask included.
    frame: Vec<u8>,
    /// The payloads of the fragments so far.
    message: Vec<u8>,
    /// What the first fragment said of the message; `None` between messages.
    opened: Option<(Opcode, Coding)>,
    /// How much of a fragmented text is known to be whole characters.
    valid: usize,
}

impl Pending {
    fn next_message<'b>(&mut self, rest: &mut &'b mut [u8], limits: Limits) -> Result<Option<Message<'b>>, Violation> {
        while let Some((header, payload)) = self.next_frame(rest, limits)? {
            if let Some(message) = self.join(&header, payload)? {
                return message.inflated(limits.max_message).map(Some);
            }
        }
        Ok(None)
    }

    /// The next whole frame, unmasked: where it lies if it is whole in `rest`, otherwise gathered in `self.frame`.
    fn next_frame<'b>(
        &mut self,
        rest: &mut &'b mut [u8],
        limits: Limits,
    ) -> Result<Option<(Header, Payload<'b>)>, Violation> {
        if self.frame.is_empty()
            && let Some(header) = self.admit(rest, limits)?
            && header.end() <= rest.len()
        {
            let payload = &mut take_front(rest, header.end())[header.size..];
            unmask(payload, header.key);
            return Ok(Some((header, Payload::InPlace(payload))));
        }
        loop {
            let header = self.admit(&self.frame, limits)?;
            // How long the header is shows only in the header, so it is gathered byte by byte.
            let missing = header.as_ref().map_or(1, |header| header.end() - self.frame.len());
            if let Some(header) = header
                && missing == 0
            {
                let mut payload = mem::take(&mut self.frame);
                payload.drain(..header.size);
                unmask(&mut payload, header.key);
                return Ok(Some((header, Payload::Copied(payload))));
            }
            if rest.is_empty() {
                return Ok(None);
            }
            let available = missing.min(rest.len());
            self.frame.extend_from_slice(take_front(rest, available));
        }
    }

    /// The header of the frame that `bytes` begin with, if it is whole and such a frame may come now.
    fn admit(&self, bytes: &[u8], limits: Limits) -> Result<Option<Header>, Violation> {
        let Some(header) = Header::parse(bytes, limits.compression)? else { return Ok(None) };
        if header.opcode.is_control() {
            return Ok(Some(header));
        }
        let coding = match (header.opcode, self.opened) {
            (Opcode::Continuation, None) => return Err(protocol_error("continuation of no message")),
            (Opcode::Continuation, Some((_, coding))) => coding,
            (_, Some(_)) => return Err(protocol_error("new message before the last one ended")),
            (_, None) => header.coding,
        };
        let is_too_big = header.length > limits.longest(coding).saturating_sub(self.message.len());
        if is_too_big { Err(TOO_BIG) } else { Ok(Some(header)) }
    }

    /// What `payload` completes: itself, or the message it is the last fragment of.
    fn join<'b>(&mut self, header: &Header, payload: Payload<'b>) -> Result<Option<Message<'b>>, Violation> {
        let unfragmented = header.fin && self.opened.is_none();
        if unfragmented || header.opcode.is_control() {
            return Ok(Some(Message { opcode: header.opcode, coding: header.coding, payload }));
        }
        let (opcode, coding) = *self.opened.get_or_insert((header.opcode, header.coding));
        self.message.extend_from_slice(payload.as_slice());
        if header.fin {
            let message = mem::take(self).message;
            return Ok(Some(Message { opcode, coding, payload: Payload::Copied(message) }));
        }
        if (opcode, coding) == (Opcode::Text, Coding::Plain) {
            self.check_text()?;
        }
        Ok(None)
    }

    /// Refuses a text as soon as one of its fragments shows that it cannot become UTF-8.
    fn check_text(&mut self) -> Result<(), Violation> {
        let unchecked = &self.message[self.valid..];
        self.valid += match str::from_utf8(unchecked) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => return Err(TEXT_NOT_UTF8),
        };
        Ok(())
    }
}

fn take_front<'b>(rest: &mut &'b mut [u8], length: usize) -> &'b mut [u8] {
    let (front, after) = mem::take(rest).split_at_mut(length);
    *rest = after;
    front
}

fn interpret(opcode: Opcode, payload: &[u8]) -> Result<Input<'_>, Violation> {
    match opcode {
        Opcode::Text => str::from_utf8(payload).map(Input::Text).map_err(|_| TEXT_NOT_UTF8),
        // A continuation has the opcode of its message by now.
        Opcode::Binary | Opcode::Continuation => Ok(Input::Binary(payload)),
        Opcode::Ping => Ok(Input::Ping(payload)),
        Opcode::Pong => Ok(Input::Pong(payload)),
        Opcode::Close => interpret_close(payload),
    }
}

fn interpret_close(payload: &[u8]) -> Result<Input<'_>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ok(Input::Close { code: None, reason: "" }),
            _ => Err(protocol_error("close payload of one byte")),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !close::is_allowed_in_frame(code) {
        return Err(protocol_error("close code that must not be sent"));
    }
    match str::from_utf8(reason) {
        Ok(reason) => Ok(Input::Close { code: Some(code), reason }),
        Err(_) => Err(Violation { code: close::INVALID_TEXT, reason: "close reason is not utf-8" }),
    }
}
