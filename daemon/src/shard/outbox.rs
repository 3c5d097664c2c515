//! What waits to be sent to one client: bounded in bytes, with the one decision about what happens when it is full.

mod queue;

use std::collections::{BTreeMap, HashMap};
use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;

use self::queue::Queue;
use super::poll::MAX_PIECES;
use crate::dialect::Loss;
use crate::event::{Event, Flags, LogId};

/// How many pieces may be empty, or names of gone ones kept, before they are swept out: few enough to cost nothing.
const MAX_SLACK: usize = 64;

/// The name by which a newer event finds the one that it may replace. The group is part of it: who calls a stream by two
/// names hears each event by both, and neither takes the place of the other.
type LatestKey = (LogId, usize, Arc<str>, Arc<str>, Box<str>);

/// What a waiting piece is.
#[derive(Debug)]
enum Origin {
    /// The answer to the request, without which nothing else could be read: it goes before everything, also before a close.
    Head,
    /// Replies and protocol frames: never dropped.
    Control,
    /// The answer to a ping, which the answer to a newer one replaces.
    Pong,
    /// A snapshot at a number: dropped with its log, but outside the bound.
    Snapshot(LogId, u64),
    /// An event that a client missed and asked for: dropped with its log, but outside the bound.
    Missed(Arc<Event>),
    /// One event of a group's, which a newer one may replace.
    Event(Arc<Event>, usize),
    /// Several events of one log joined.
    Joined { log: LogId, from: u64, to: u64, events: u32 },
}

#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    origin: Origin,
}

/// What every delivery touches comes first, so that it is in few lines of the cache.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Outbox {
    pieces: Queue<Piece>,
    /// Bytes of the first piece that are sent already.
    sent_of_first: usize,
    bytes: usize,
    /// Bytes of events, which the bound is about.
    event_bytes: usize,
    /// The number of the first piece, counting all pieces that ever were.
    first: u64,
    /// Pieces that were replaced or dropped and have no bytes any more.
    empty: usize,
    latest: Latest,
    replaced: Vec<(LogId, Arc<str>, Loss)>,
    /// Events that were replaced since the beginning, told or not.
    replaced_ever: u64,
    /// The number of the pong that waits, or of one that is gone.
    pong: Option<u64>,
}

/// The numbers of the events that newer ones may replace. Most connections have none, and no room for them.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "a map takes 48 bytes of each connection, and most have nothing for it")]
struct Latest(Option<Box<HashMap<LatestKey, u64>>>);

impl Latest {
    fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |known| known.len())
    }

    fn insert(&mut self, key: LatestKey, number: u64) {
        self.0.get_or_insert_default().insert(key, number);
    }

    fn remove(&mut self, key: &LatestKey) -> Option<u64> {
        self.0.as_mut()?.remove(key)
    }

    fn clear(&mut self) {
        if let Some(known) = &mut self.0 {
            known.clear();
        }
    }
}

impl Outbox {
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many waiting events newer ones have replaced since the beginning.
    pub fn replaced_ever(&self) -> u64 {
        self.replaced_ever
    }

    /// Bytes that are not on their way yet.
    pub fn droppable_bytes(&self) -> usize {
        let begun = self.pieces.front().filter(|_| self.sent_of_first > 0);
        self.bytes - begun.map_or(0, |piece| piece.bytes.len() - self.sent_of_first)
    }

    /// Bytes of answers and protocol frames, which grow only with what the client asks.
    pub fn asked_bytes(&self) -> usize {
        let begun = self.pieces.front().filter(|first| first.origin.is_bounded());
        self.bytes + begun.map_or(0, |_| self.sent_of_first) - self.event_bytes
    }

    pub fn control(&mut self, bytes: Bytes) {
        self.push(bytes, Origin::Control);
    }

    /// The answer to the request, before anything else.
    pub fn head(&mut self, bytes: Bytes) {
        self.push(bytes, Origin::Head);
    }

    /// Queues the answer to a ping. One that waits already is replaced where it is, as RFC 6455 §5.5.3 allows: a client
    /// that pings without reading has at most two here, the one on its way and this.
    pub fn pong(&mut self, bytes: Bytes) {
        let index = self.pong.and_then(|number| number.checked_sub(self.first)).map(|index| index as usize);
        let is_waiting = |index: &usize| *index > 0 || self.sent_of_first == 0;
        match index.filter(is_waiting).and_then(|index| self.pieces.get_mut(index)) {
            Some(piece) => {
                self.bytes = self.bytes - piece.bytes.len() + bytes.len();
                piece.bytes = bytes;
            }
            None => {
                self.pong = Some(self.first + self.pieces.len() as u64);
                self.push(bytes, Origin::Pong);
            }
        }
    }

    pub fn snapshot(&mut self, bytes: Bytes, log: LogId, seq: u64) {
        self.push(bytes, Origin::Snapshot(log, seq));
    }

    pub fn missed(&mut self, bytes: Bytes, event: &Arc<Event>) {
        self.push(bytes, Origin::Missed(event.clone()));
    }

    /// Queues one event. A waiting `LATEST` event of the same group, topic, kind and key goes; the new one is at the end.
    pub fn event(&mut self, bytes: Bytes, event: &Arc<Event>, group: usize) {
        if event.flags.has(Flags::LATEST) && !self.pieces.is_empty() {
            self.replace_latest(event, group);
            self.sweep_if_slack();
        }
        let number = self.first + self.pieces.len() as u64;
        if event.flags.has(Flags::LATEST) {
            self.latest.insert(latest_key(event, group), number);
        }
        self.event_bytes += bytes.len();
        self.push(bytes, Origin::Event(event.clone(), group));
    }

    /// Queues the bytes of several events of one log together. No newer event replaces any of them.
    pub fn joined(&mut self, bytes: Bytes, events: &[Arc<Event>]) {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return };
        self.event_bytes += bytes.len();
        let origin = Origin::Joined {
            log: first.log,
            from: first.seq,
            to: last.seq,
            events: u32::try_from(events.len()).unwrap_or(u32::MAX),
        };
        self.push(bytes, origin);
    }

    /// The log that most bytes wait of, when more bytes of events wait than `bound`. A piece whose sending has begun does
    /// not count: nothing can be done about it.
    pub fn overflowing(&self, bound: usize) -> Option<LogId> {
        let begun = usize::from(self.sent_of_first > 0);
        let begun_bytes = match self.pieces.front() {
            Some(first) if begun > 0 && first.origin.is_bounded() => first.bytes.len(),
            _ => 0,
        };
        if self.event_bytes - begun_bytes <= bound {
            return None;
        }
        self.heaviest(Origin::is_bounded)
    }

    /// The log that most of what could be dropped belongs to.
    pub fn heaviest_log(&self) -> Option<LogId> {
        self.heaviest(|_| true)
    }

    fn heaviest(&self, is_meant: impl Fn(&Origin) -> bool) -> Option<LogId> {
        let begun = usize::from(self.sent_of_first > 0);
        let mut waiting: BTreeMap<LogId, usize> = BTreeMap::new();
        for piece in self.pieces.iter().skip(begun).filter(|piece| is_meant(&piece.origin)) {
            if let Some(log) = piece.origin.log() {
                *waiting.entry(log).or_default() += piece.bytes.len();
            }
        }
        waiting.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(log, _)| log)
    }

    /// Drops what waits of a log, except a piece whose sending has begun, and says what that was.
    pub fn drop_log(&mut self, log: LogId, policy: &'static str) -> Option<Loss> {
        let begun = usize::from(self.sent_of_first > 0);
        let mut loss: Option<Loss> = None;
        for piece in self.pieces.iter_mut().skip(begun) {
            let Some((from, to, events)) = piece.origin.of_log(log) else { continue };
            if piece.origin.is_bounded() {
                self.event_bytes -= piece.bytes.len();
            }
            loss.get_or_insert(Loss { policy, events: 0, from, to }).widen(&Loss { policy, events, from, to });
            self.bytes -= piece.bytes.len();
            self.empty += 1;
            *piece = Piece { bytes: Bytes::new(), origin: Origin::Control };
        }
        self.sweep();
        loss
    }

    /// Drops everything but the answer to the request and a piece whose sending has begun: the connection is about to be
    /// closed.
    pub fn drop_all(&mut self) {
        let is_head = self.pieces.front().is_some_and(|piece| matches!(piece.origin, Origin::Head));
        let begun = usize::from(self.sent_of_first > 0 || is_head);
        self.pieces.truncate(begun);
        self.bytes = self.pieces.front().map_or(0, |piece| piece.bytes.len() - self.sent_of_first);
        self.event_bytes = 0;
        for piece in self.pieces.iter_mut() {
            piece.origin = Origin::Control;
        }
        self.sweep();
    }

    /// What newer events have replaced since the last call, with the names of the streams.
    pub fn take_replaced(&mut self) -> impl Iterator<Item = (Arc<str>, Loss)> + use<> {
        std::mem::take(&mut self.replaced).into_iter().map(|(_, stream, loss)| (stream, loss))
    }

    /// The same for one log.
    pub fn take_replaced_of(&mut self, log: LogId) -> Option<Loss> {
        let index = self.replaced.iter().position(|(known, _, _)| *known == log)?;
        Some(self.replaced.swap_remove(index).2)
    }

    pub fn has_replaced(&self) -> bool {
        !self.replaced.is_empty()
    }

    /// What waits, where that is one piece.
    pub fn only_piece(&self) -> Option<&[u8]> {
        let first = &self.pieces.only()?.bytes[self.sent_of_first..];
        (!first.is_empty()).then_some(first)
    }

    /// Puts what waits into the room there is, and returns how many pieces these are.
    pub fn slices<'a>(&'a self, room: &mut [IoSlice<'a>; MAX_PIECES]) -> usize {
        let mut count = 0;
        for (place, piece) in room.iter_mut().zip(self.pieces.iter().filter(|piece| !piece.bytes.is_empty())) {
            let skip = if count == 0 { self.sent_of_first } else { 0 };
            *place = IoSlice::new(&piece.bytes[skip..]);
            count += 1;
        }
        count
    }

    /// Gives back what is not used now: idle connections are many, and cost little. Not each time that all is sent,
    /// because the next piece is often near.
    pub fn give_back(&mut self) {
        self.pieces.shrink();
        if self.pieces.is_empty() {
            self.latest = Latest::default();
        }
    }

    /// The kernel took this many bytes from the front.
    pub fn sent(&mut self, mut count: usize) {
        self.bytes -= count;
        while let Some(piece) = self.pieces.front() {
            let left = piece.bytes.len() - self.sent_of_first;
            if count < left {
                self.sent_of_first += count;
                return;
            }
            count -= left;
            if piece.origin.is_bounded() {
                self.event_bytes -= piece.bytes.len();
            }
            self.empty -= usize::from(piece.bytes.is_empty());
            self.sent_of_first = 0;
            self.first += 1;
            self.pieces.pop_front();
        }
        self.latest.clear();
    }

    fn push(&mut self, bytes: Bytes, origin: Origin) {
        self.bytes += bytes.len();
        self.pieces.push_back(Piece { bytes, origin });
    }

    fn replace_latest(&mut self, event: &Arc<Event>, group: usize) {
        let Some(number) = self.latest.remove(&latest_key(event, group)) else { return };
        let Some(index) = number.checked_sub(self.first) else { return };
        let begun = index == 0 && self.sent_of_first > 0;
        let Some(piece) = self.pieces.get_mut(index as usize).filter(|_| !begun) else { return };
        let Origin::Event(old, _) = &piece.origin else { return };
        let old_seq = old.seq;
        self.bytes -= piece.bytes.len();
        self.event_bytes -= piece.bytes.len();
        self.empty += 1;
        *piece = Piece { bytes: Bytes::new(), origin: Origin::Control };
        self.note_replaced(event, old_seq);
    }

    /// A client that takes nothing while its waiting events are replaced over and over would else fill the queue with
    /// empty pieces, which no bound on bytes sees; one that is never done would gather the names of what it has taken.
    fn sweep_if_slack(&mut self) {
        let names_of_gone = self.latest.len().saturating_sub(self.pieces.len());
        if self.empty.max(names_of_gone) > MAX_SLACK + self.pieces.len() / 2 {
            self.sweep();
        }
    }

    /// Takes out the empty pieces, and forgets the names of pieces that are not there.
    fn sweep(&mut self) {
        self.pieces.retain(|piece| !piece.bytes.is_empty());
        self.empty = 0;
        self.latest.clear();
        self.pong = None;
        for (number, piece) in (self.first..).zip(self.pieces.iter()) {
            match &piece.origin {
                Origin::Event(event, group) if event.flags.has(Flags::LATEST) => {
                    self.latest.insert(latest_key(event, *group), number);
                }
                Origin::Pong => self.pong = Some(number),
                _ => {}
            }
        }
    }

    fn note_replaced(&mut self, by: &Event, seq: u64) {
        self.replaced_ever += 1;
        let loss = Loss { policy: "latest", events: 1, from: seq, to: seq };
        match self.replaced.iter_mut().find(|(known, _, _)| *known == by.log) {
            Some((_, _, known)) => known.widen(&loss),
            None => self.replaced.push((by.log, by.stream.clone(), loss)),
        }
    }
}

impl Origin {
    fn is_bounded(&self) -> bool {
        matches!(self, Self::Event(..) | Self::Joined { .. })
    }

    fn log(&self) -> Option<LogId> {
        match self {
            Self::Head | Self::Control | Self::Pong => None,
            Self::Snapshot(log, _) | Self::Joined { log, .. } => Some(*log),
            Self::Event(event, _) | Self::Missed(event) => Some(event.log),
        }
    }

    /// From, to and number of the events in this piece, when it belongs to the log.
    fn of_log(&self, wanted: LogId) -> Option<(u64, u64, u64)> {
        match self {
            Self::Head | Self::Control | Self::Pong => None,
            Self::Snapshot(log, seq) => (*log == wanted).then_some((*seq, *seq, 0)),
            Self::Event(event, _) | Self::Missed(event) => (event.log == wanted).then_some((event.seq, event.seq, 1)),
            Self::Joined { log, from, to, events } => (*log == wanted).then_some((*from, *to, u64::from(*events))),
        }
    }
}

fn latest_key(event: &Event, group: usize) -> LatestKey {
    (event.log, group, event.topic.clone(), event.kind.clone(), event.key.clone())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::event::Encoded;
    use crate::memory::Memory;

    fn latest(seq: u64, key: &str) -> Arc<Event> {
        let text: Arc<str> = "bars".into();
        Arc::new(Event {
            log: LogId(0),
            seq,
            prev: 0,
            flags: Flags::LATEST,
            stream: text.clone(),
            topic: text.clone(),
            kind: text.clone(),
            key: key.into(),
            audience: text,
            session_id: None,
            payload: Bytes::new(),
            unix_ns: 0,
            published: Instant::now(),
            encoded: Encoded::default(),
            charge: Arc::new(Memory::default()).charge(0),
        })
    }

    fn waiting(outbox: &Outbox) -> Vec<u8> {
        outbox.pieces.iter().flat_map(|piece| piece.bytes.to_vec()).collect()
    }

    #[test]
    fn what_was_replaced_leaves_nothing_behind() {
        let mut outbox = Outbox::default();
        outbox.control(Bytes::from_static(b"x"));
        for seq in 1..=100_000 {
            outbox.event(Bytes::from(vec![b'a' + (seq % 3) as u8]), &latest(seq, &(seq % 3).to_string()), 0);
        }
        assert_eq!((waiting(&outbox), outbox.bytes()), (b"xcab".to_vec(), 4));
        assert!(outbox.pieces.len() <= 2 * MAX_SLACK + 4, "{}", outbox.pieces.len());
        let (_, loss) = outbox.take_replaced().next().unwrap();
        assert_eq!((loss.events, loss.from, loss.to), (99_997, 1, 99_997));
        outbox.sent(4);
        assert!(outbox.is_empty() && outbox.empty == 0);
    }

    #[test]
    fn only_the_newest_ping_is_answered() {
        let mut outbox = Outbox::default();
        let ping = |outbox: &mut Outbox, name: &'static str| outbox.pong(Bytes::from_static(name.as_bytes()));
        outbox.control(Bytes::from_static(b"x"));
        for name in ["a", "bb", "ccc"] {
            ping(&mut outbox, name);
        }
        outbox.event(Bytes::from_static(b"y"), &latest(1, "1"), 0);
        assert_eq!((waiting(&outbox), outbox.bytes()), (b"xcccy".to_vec(), 5));
        outbox.sent(2); // the first byte of the pong is on its way
        ping(&mut outbox, "d");
        ping(&mut outbox, "ee");
        assert_eq!((waiting(&outbox), outbox.bytes(), outbox.pieces.len()), (b"cccyee".to_vec(), 5, 3));
        outbox.sent(5);
        assert!(outbox.is_empty());
        ping(&mut outbox, "f");
        assert_eq!((waiting(&outbox), outbox.bytes()), (b"f".to_vec(), 1));
    }

    #[test]
    fn a_waiting_pong_is_found_again_when_others_are_swept_out() {
        let mut outbox = Outbox::default();
        for seq in 1..=10 {
            outbox.event(Bytes::from_static(b"a"), &latest(seq, &seq.to_string()), 0);
        }
        outbox.pong(Bytes::from_static(b"old"));
        outbox.drop_log(LogId(0), "resync");
        outbox.event(Bytes::from_static(b"b"), &latest(11, "11"), 0);
        outbox.pong(Bytes::from_static(b"new"));
        assert_eq!((waiting(&outbox), outbox.bytes()), (b"newb".to_vec(), 4));
    }

    #[test]
    fn an_event_of_another_group_replaces_nothing() {
        let mut outbox = Outbox::default();
        outbox.event(Bytes::from_static(b"a"), &latest(1, "1"), 0);
        outbox.event(Bytes::from_static(b"b"), &latest(1, "1"), 1);
        assert_eq!((waiting(&outbox), outbox.has_replaced()), (b"ab".to_vec(), false));
        outbox.event(Bytes::from_static(b"c"), &latest(2, "1"), 0);
        outbox.sweep();
        outbox.event(Bytes::from_static(b"d"), &latest(2, "1"), 1);
        assert_eq!(waiting(&outbox), b"cd");
    }

    #[test]
    fn what_was_asked_for_is_all_but_events_however_much_of_one_is_sent() {
        let mut outbox = Outbox::default();
        outbox.event(Bytes::from_static(b"event"), &latest(1, "1"), 0);
        outbox.control(Bytes::from_static(b"answer"));
        for sent in [0, 2, 2] {
            outbox.sent(sent);
            assert_eq!(outbox.asked_bytes(), 6);
        }
        outbox.sent(3);
        assert_eq!(outbox.asked_bytes(), 4);
    }

    #[test]
    fn an_event_of_another_life_of_the_stream_replaces_nothing() {
        let mut outbox = Outbox::default();
        outbox.event(Bytes::from_static(b"a"), &latest(1, "1"), 0);
        let next_life = Event { log: LogId(1), ..Arc::into_inner(latest(1, "1")).unwrap() };
        outbox.event(Bytes::from_static(b"b"), &Arc::new(next_life), 0);
        assert_eq!((waiting(&outbox), outbox.has_replaced()), (b"ab".to_vec(), false));
    }

    #[test]
    fn what_was_taken_leaves_no_name_behind() {
        let mut outbox = Outbox::default();
        for seq in 1..=10_000 {
            outbox.event(Bytes::from_static(b"a"), &latest(seq, &seq.to_string()), 0);
            if seq > 1 {
                outbox.sent(1); // always one behind
            }
        }
        assert!(outbox.latest.len() <= 2 * MAX_SLACK, "{}", outbox.latest.len());
        outbox.event(Bytes::from_static(b"b"), &latest(10_001, "10000"), 0);
        assert_eq!(waiting(&outbox), b"b");
    }

    #[test]
    fn only_what_can_still_be_dropped_overflows() {
        let mut outbox = Outbox::default();
        outbox.event(Bytes::from_static(b"abcd"), &latest(1, "1"), 0);
        outbox.event(Bytes::from_static(b"efgh"), &latest(2, "2"), 0);
        assert_eq!((outbox.overflowing(8), outbox.overflowing(7)), (None, Some(LogId(0))));
        outbox.sent(1);
        assert_eq!((outbox.overflowing(4), outbox.overflowing(3)), (None, Some(LogId(0))));
        outbox.drop_log(LogId(0), "resync");
        assert_eq!(outbox.overflowing(0), None, "what is left is on its way");
    }

    #[test]
    fn dropping_a_log_keeps_a_piece_whose_sending_has_begun() {
        let mut outbox = Outbox::default();
        for seq in 1..=3 {
            outbox.event(Bytes::from_static(b"ab"), &latest(seq, &seq.to_string()), 0);
        }
        outbox.sent(1);
        let loss = outbox.drop_log(LogId(0), "resync").unwrap();
        assert_eq!((loss.events, loss.from, loss.to), (2, 2, 3));
        assert_eq!((outbox.bytes(), outbox.pieces.len()), (1, 1));
        outbox.sent(1);
        assert!(outbox.is_empty() && outbox.event_bytes == 0);
    }
}
