//! From a dialect's words to the bytes of a connection: frames, compressed where that was agreed on, or the text as it stands.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::dialect::{Dialect, Voice};
use crate::event::{Event, Format};
use crate::memory::Memory;
use crate::websocket::frame;

/// Marks the forms of an event that are compressed.
const DEFLATED: u8 = 0x80;

/// Whether a client was told something, or could not be because its dialect has no words for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Yes,
    NoWords,
}

/// How messages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Deflation {
    /// Bytes of the smallest message for which it is tried.
    pub min_size: usize,
    /// From 1, the fastest, to 9.
    pub level: u8,
}

/// What the bytes of a subscription's events depend on, beside the events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    pub voice: Voice,
    pub is_deflated: bool,
    /// For how long events are gathered, to be sent as one message.
    pub batch: Option<Duration>,
}

/// The event in this form, kept with the event where all clients of the dialect get the same.
pub fn event(event: &Event, form: &Form, deflation: Deflation) -> Bytes {
    let memory = event.charge.memory();
    // Before the other: who makes one form of an event holds its list, and would wait for itself.
    let plain = kept(event, &form.voice, 0, || frames(&[form.voice.event(event)], form.voice.dialect, memory));
    if form.is_deflated { kept(event, &form.voice, DEFLATED, || deflated(&plain, deflation, memory)) } else { plain }
}

/// Several events of one log as one message. It is made of the texts that are kept with them.
pub fn batch(events: &[Arc<Event>], form: &Form, deflation: Deflation) -> Bytes {
    let Some(newest) = events.last() else { return Bytes::new() };
    let memory = newest.charge.memory();
    let native = Form { voice: Voice::of(Dialect::Native), is_deflated: false, batch: None };
    let frames: Vec<Bytes> = events.iter().map(|known| event(known, &native, deflation)).collect();
    let messages: Vec<&[u8]> = frames.iter().map(|frame| frame::payload(frame)).collect();
    let (text, dialect) = ([form.voice.batch(newest, &messages)], form.voice.dialect);
    if form.is_deflated {
        deflated_frames(&text, dialect, deflation, memory)
    } else {
        self::frames(&text, dialect, memory)
    }
}

/// Messages one behind the other, counted for as long as they wait anywhere. A text without letters is no message.
pub fn frames(texts: &[Vec<u8>], dialect: Dialect, memory: &Arc<Memory>) -> Bytes {
    let framed = |text: &Vec<u8>| match text.is_empty() {
        false if dialect.is_framed() => frame::text(text),
        _ => text.clone().into(),
    };
    match texts {
        [only] => memory.hold(framed(only)),
        several => memory.hold(several.iter().flat_map(framed).collect::<Vec<u8>>()),
    }
}

/// The same for a client with which compression was agreed on.
pub fn deflated_frames(texts: &[Vec<u8>], dialect: Dialect, deflation: Deflation, memory: &Arc<Memory>) -> Bytes {
    let deflated = |text: &Vec<u8>| {
        let plain = frames(std::slice::from_ref(text), dialect, memory);
        deflated(&plain, deflation, memory)
    };
    match texts {
        [only] => deflated(only),
        several => memory.hold(several.iter().flat_map(deflated).collect::<Vec<u8>>()),
    }
}

fn kept(event: &Event, voice: &Voice, mark: u8, encode: impl FnOnce() -> Bytes) -> Bytes {
    match voice.format() {
        Some(Format(number)) => event.encoded.get_or_encode(Format(number | mark), encode).clone(),
        None => encode(),
    }
}

/// The frame's text compressed, or the frame itself where that is too small or would not shrink.
fn deflated(plain: &Bytes, deflation: Deflation, memory: &Arc<Memory>) -> Bytes {
    if plain.is_empty() {
        return Bytes::new();
    }
    let text = frame::payload(plain);
    let smaller = if text.len() < deflation.min_size { None } else { frame::text_deflated(text, deflation.level) };
    smaller.map_or_else(|| plain.clone(), |frame| memory.hold(frame))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Draft, Position};
    use crate::hub::log::Answer;
    use crate::hub::pattern::Pattern;
    use crate::hub::settings::Settings;
    use crate::hub::{Hub, Reader, Wish};

    fn published(payload: &str) -> Arc<Event> {
        let stream = Hub::new("epoch").declare("ticks", Settings::default());
        let draft = Draft { kind: "tick", payload: payload.as_bytes(), ..Draft::default() };
        stream.publish(&draft, None).unwrap();
        let since = Position { epoch: "epoch".into(), seq: 0 };
        let wish =
            Wish { patterns: &[Pattern::whole("ticks")], audience: "", reader: Reader::Client, since: Some(&since) };
        let Answer::Recovered(mut events) = stream.answer(&wish).unwrap().answer else { panic!() };
        events.remove(0)
    }

    #[test]
    fn an_event_is_compressed_once_and_only_where_it_shrinks() {
        let deflation = Deflation { min_size: 400, level: 1 };
        let form = |is_deflated| Form { voice: Voice::of(Dialect::Native), is_deflated, batch: None };
        let long = published(&format!("{{\"text\":\"{}\"}}", "again ".repeat(100)));
        let (plain, small) = (event(&long, &form(false), deflation), event(&long, &form(true), deflation));
        assert!(small.len() < plain.len() / 2 && small[0] & 0x40 != 0 && plain[0] & 0x40 == 0);
        let again = event(&long, &form(true), Deflation { min_size: 0, level: 9 });
        assert_eq!(again.as_ptr(), small.as_ptr(), "made once");
        let short = published("{}");
        let (plain, same) = (event(&short, &form(false), deflation), event(&short, &form(true), deflation));
        assert_eq!(plain.as_ptr(), same.as_ptr(), "below the bound it is the same frame");
    }
}
