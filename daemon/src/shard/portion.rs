//! What is pending in a group, as its members get it: made once for all who get the same.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::connection::Connection;
use super::encoding::{self, Deflation, Form};
use super::groups::{Group, MAX_BATCH_BYTES};
use crate::event::Event;
use crate::memory::Memory;

/// The most bytes of frames that are joined: a piece whose sending has begun can no longer be dropped, so it must be small
/// beside an outbox. With half as much a burst of 256 small events is two pieces, which costs a tenth more.
const MAX_JOINED: usize = 128 << 10;

/// Bytes, and the events that they are.
type Piece<'a> = (Bytes, &'a [Arc<Event>]);

pub struct Portion<'a> {
    id: usize,
    group: &'a Group,
    deflation: Deflation,
    memory: &'a Arc<Memory>,
    /// Of each event, where they are not gathered.
    frames: Vec<Bytes>,
    shared: Option<Vec<Piece<'a>>>,
}

impl<'a> Portion<'a> {
    pub fn new((id, group): (usize, &'a Group), deflation: Deflation, memory: &'a Arc<Memory>) -> Self {
        let frames = if group.form.batch.is_some() { Vec::new() } else { group.frames(deflation) };
        Self { id, group, deflation, memory, frames, shared: None }
    }

    /// Gives a member what is newer than its start, and says how many events that were.
    pub fn deliver(&mut self, connection: &mut Connection, start: u64) -> u64 {
        let (newer, is_batched) = (self.group.newer_than(start), self.group.form.batch.is_some());
        if newer.len() == self.group.pending.len() && (is_batched || connection.takes_joined()) {
            self.shared().iter().for_each(|(bytes, events)| connection.deliver_joined(bytes, events));
        } else if is_batched {
            let own = batches(newer, &self.group.form, self.deflation);
            own.iter().for_each(|(bytes, events)| connection.deliver_joined(bytes, events));
        } else {
            let frames = &self.frames[self.frames.len() - newer.len()..];
            newer.iter().zip(frames).for_each(|(event, frame)| connection.deliver(event, frame, self.id));
        }
        newer.len() as u64
    }

    fn shared(&mut self) -> &[Piece<'a>] {
        let (group, deflation) = (self.group, self.deflation);
        self.shared.get_or_insert_with(|| match group.form.batch {
            Some(_) => batches(&group.pending, &group.form, deflation),
            None => join(&group.pending, &self.frames, self.memory),
        })
    }
}

/// Events as batches, each within the bound.
pub fn batches<'a>(events: &'a [Arc<Event>], form: &Form, deflation: Deflation) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    let mut rest = events;
    while !rest.is_empty() {
        let mut weight = 0;
        let fitting = rest.iter().take_while(|event| {
            weight += event.weight();
            weight <= MAX_BATCH_BYTES
        });
        let (piece, after) = rest.split_at(fitting.count().max(1));
        pieces.push((encoding::batch(piece, form, deflation), piece));
        rest = after;
    }
    pieces
}

/// The frames of events in pieces that all members share.
fn join<'a>(events: &'a [Arc<Event>], frames: &[Bytes], memory: &Arc<Memory>) -> Vec<Piece<'a>> {
    if let [only] = frames {
        return vec![(only.clone(), events)]; // alone it is shared as it stands
    }
    let mut pieces = Vec::new();
    let (mut joined, mut first) = (BytesMut::new(), 0);
    for (index, frame) in frames.iter().enumerate() {
        if first < index && joined.len() + frame.len() > MAX_JOINED {
            pieces.push((memory.hold(joined.split()), &events[first..index]));
            first = index;
        }
        joined.extend_from_slice(frame);
    }
    pieces.push((memory.hold(joined), &events[first..]));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Draft, Position};
    use crate::hub::log::Answer;
    use crate::hub::pattern::Pattern;
    use crate::hub::settings::Settings;
    use crate::hub::{Hub, Reader, Wish};

    fn events(count: u64) -> Vec<Arc<Event>> {
        let stream = Hub::new("epoch").declare("bars", Settings::default());
        for _ in 0..count {
            stream.publish(&Draft { kind: "bar", topic: "A", payload: b"{}", ..Draft::default() }, None).unwrap();
        }
        let (patterns, since) = ([Pattern::whole("bars")], Position { epoch: stream.epoch().clone(), seq: 0 });
        let wish = Wish { patterns: &patterns, audience: "", reader: Reader::Client, since: Some(&since) };
        let Answer::Recovered(events) = stream.answer(&wish).unwrap().answer else { panic!("all are kept") };
        events
    }

    #[test]
    fn so_many_bytes_are_joined_and_one_more_begins_a_piece() {
        let (events, memory) = (events(4), Arc::new(Memory::default()));
        let sizes = |frames: [usize; 4]| {
            let frames = frames.map(|size| Bytes::from(vec![b'x'; size]));
            let pieces = join(&events, &frames, &memory);
            pieces.iter().map(|(bytes, events)| (bytes.len(), events.len())).collect::<Vec<_>>()
        };
        assert_eq!(sizes([1, 2, MAX_JOINED - 4, 1]), [(MAX_JOINED, 4)]);
        assert_eq!(sizes([1, 2, MAX_JOINED - 3, 1]), [(MAX_JOINED, 3), (1, 1)]);
        let alone = 2 * MAX_JOINED; // larger only where a single one is
        assert_eq!(sizes([1, alone, 1, 1]), [(1, 1), (alone, 1), (2, 2)]);
    }
}
