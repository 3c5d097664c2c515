//! A client's bytes to what it said, across frames and however the bytes are cut.

use std::mem;
use std::str;

use super::{Header, Opcode, Violation, close, protocol_error, unmask};

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

/// Turns the bytes of one client into inputs, however they are cut.
///
/// Ten thousand idle connections are the common case: between messages a decoder holds no heap, and a whole frame in
/// the caller's read buffer is unmasked there and handed out from there.
#[derive(Debug)]
pub struct Decoder {
    max_message: usize,
    pending: Pending,
    /// What the last input was borrowed from when it was not the read buffer; freed by the next call.
    lent: Vec<u8>,
    ended: bool,
}

impl Decoder {
    /// A decoder that refuses a message, all its fragments together, of more than `max_message` bytes.
    pub fn new(max_message: usize) -> Decoder {
        Decoder { max_message, pending: Pending::default(), lent: Vec::new(), ended: false }
    }

    /// From the next frame on; what has come of a message counts.
    pub fn set_max_message(&mut self, max_message: usize) {
        self.max_message = max_message;
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
        let message = match self.pending.next_message(rest, self.max_message) {
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

/// A message, or the part of it that one frame carries, with the mask taken off.
struct Message<'b> {
    opcode: Opcode,
    payload: Payload<'b>,
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
    /// The opcode of the first fragment; `None` between messages.
    opened: Option<Opcode>,
    /// How much of a fragmented text is known to be whole characters.
    valid: usize,
}

impl Pending {
    fn next_message<'b>(
        &mut self,
        rest: &mut &'b mut [u8],
        max_message: usize,
    ) -> Result<Option<Message<'b>>, Violation> {
        while let Some((header, payload)) = self.next_frame(rest, max_message)? {
            if let Some(message) = self.join(&header, payload)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// The next whole frame, unmasked: where it lies if it is whole in `rest`, otherwise gathered in `self.frame`.
    fn next_frame<'b>(
        &mut self,
        rest: &mut &'b mut [u8],
        max_message: usize,
    ) -> Result<Option<(Header, Payload<'b>)>, Violation> {
        if self.frame.is_empty()
            && let Some(header) = self.admit(rest, max_message)?
            && header.end() <= rest.len()
        {
            let payload = &mut take_front(rest, header.end())[header.size..];
            unmask(payload, header.key);
            return Ok(Some((header, Payload::InPlace(payload))));
        }
        loop {
            let header = self.admit(&self.frame, max_message)?;
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
    fn admit(&self, bytes: &[u8], max_message: usize) -> Result<Option<Header>, Violation> {
        let Some(header) = Header::parse(bytes)? else { return Ok(None) };
        if header.opcode.is_control() {
            return Ok(Some(header));
        }
        match (header.opcode, self.opened) {
            (Opcode::Continuation, None) => Err(protocol_error("continuation of no message")),
            (Opcode::Text | Opcode::Binary, Some(_)) => Err(protocol_error("new message before the last one ended")),
            _ if header.length > max_message.saturating_sub(self.message.len()) => Err(TOO_BIG),
            _ => Ok(Some(header)),
        }
    }

    /// What `payload` completes: itself, or the message it is the last fragment of.
    fn join<'b>(&mut self, header: &Header, payload: Payload<'b>) -> Result<Option<Message<'b>>, Violation> {
        let unfragmented = header.fin && self.opened.is_none();
        if unfragmented || header.opcode.is_control() {
            return Ok(Some(Message { opcode: header.opcode, payload }));
        }
        let opcode = *self.opened.get_or_insert(header.opcode);
        self.message.extend_from_slice(payload.as_slice());
        if header.fin {
            let message = mem::take(self).message;
            return Ok(Some(Message { opcode, payload: Payload::Copied(message) }));
        }
        if opcode == Opcode::Text {
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
