//! From a dialect's words to the bytes of a connection: frames, or the text as it stands.

use std::sync::Arc;

use bytes::Bytes;

use crate::dialect::{Dialect, Voice};
use crate::event::Event;
use crate::memory::Memory;
use crate::websocket::frame;

/// The event as this voice says it, kept with the event where all clients of the dialect get the same.
pub fn event(event: &Event, voice: &Voice) -> Bytes {
    let encode = || texts(&[voice.event(event)], voice.dialect, event.charge.memory());
    match voice.format() {
        Some(format) => event.encoded.get_or_encode(format, encode).clone(),
        None => encode(),
    }
}

/// Messages one behind the other, counted for as long as they wait anywhere.
pub fn texts(texts: &[Vec<u8>], dialect: Dialect, memory: &Arc<Memory>) -> Bytes {
    let framed = |text: &Vec<u8>| if dialect.is_framed() { frame::text(text) } else { text.clone().into() };
    match texts {
        [only] => memory.hold(framed(only)),
        several => memory.hold(several.iter().flat_map(framed).collect::<Vec<u8>>()),
    }
}
