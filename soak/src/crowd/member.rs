//! One of the crowd without its socket: what it says and hears, held against what was promised. There are ten thousand, so it
//! looks at an event no longer than it has to. No I/O.

mod frame;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::CROWD;
use crate::socket::HANDSHAKE;
use crate::tally::Tally;
use crate::truth::{CROWD_PAD, Channel};

/// What stands before the name of the stream in an event.
const BEFORE_STREAM: &[u8] = b"{\"type\":\"tick\",\"stream\":\"";
/// What stands between that and the number in the payload.
const BEFORE_NUMBER: &[u8] = b"\",\"session_id\":null,\"data\":{\"n\":";
/// What stands between that and its padding.
const BETWEEN: &[u8] = b",\"pad\":\"";
/// The padding.
const PAD: &[u8] = &[b'x'; CROWD_PAD];
const GOING_AWAY: u16 = 1001;
const TRY_AGAIN: u16 = 1013;

/// Why a connection is over.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The daemon had no more patience with it, which it says of those who are slow.
    LetGo,
    /// There was no room for it.
    Refused,
    /// A promise was broken.
    Broken(String),
}

pub struct Member {
    tally: Arc<Tally>,
    is_in: bool,
    /// What was read and is not whole yet.
    unread: Vec<u8>,
    watches: Vec<Watch>,
}

/// A channel, and how far everything of it has come.
#[derive(Debug)]
struct Watch {
    channel: Channel,
    topic: String,
    position: Option<Position>,
    stage: Stage,
}

#[derive(Debug)]
struct Position {
    epoch: String,
    seq: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Asked,
    /// Nothing until a snapshot at this number.
    Waiting(u64),
    Live,
}

impl Member {
    /// Some hear what all hear, some what few do, and half of them both.
    pub fn new(number: u64, tally: &Arc<Tally>) -> Self {
        let own = Channel::nth(number);
        let channels = match number % 4 {
            0 => vec![Channel::Shared],
            1 => vec![own],
            _ => vec![Channel::Shared, own],
        };
        let watches = channels.into_iter().map(Watch::new).collect();
        Self { tally: tally.clone(), is_in: false, unread: Vec::new(), watches }
    }

    /// What to say on a new connection.
    pub fn come(&mut self) -> &'static [u8] {
        self.is_in = false;
        self.unread = Vec::new();
        self.watches.iter_mut().for_each(|watch| watch.stage = Stage::Asked);
        HANDSHAKE
    }

    /// It comes back as somebody new.
    pub fn forget(&mut self) {
        self.watches.iter_mut().for_each(|watch| watch.position = None);
    }

    /// Whether everything up to a number is accounted for.
    pub fn has_all_up_to(&self, seq: u64) -> bool {
        self.watches.iter().all(|watch| watch.stage == Stage::Live && watch.next() > seq)
    }

    /// What is still open, for whoever has to find out why.
    pub fn describe(&self) -> String {
        format!("{:?}, {} bytes of a message", self.watches, self.unread.len())
    }

    /// Takes in what was read; what it has to say to that goes behind what there is.
    pub fn hear(&mut self, read: &[u8], say: &mut Vec<u8>) -> Result<(), End> {
        if self.unread.is_empty() {
            let taken = self.take(read, say)?;
            self.unread.extend_from_slice(&read[taken..]);
            return Ok(());
        }
        let mut all = std::mem::take(&mut self.unread);
        all.extend_from_slice(read);
        let taken = self.take(&all, say)?;
        self.unread = all[taken..].to_vec(); // no more room than it needs
        Ok(())
    }

    /// How many bytes were whole.
    fn take(&mut self, bytes: &[u8], say: &mut Vec<u8>) -> Result<usize, End> {
        let mut at = 0;
        if !self.is_in {
            let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(0) };
            self.let_in(&bytes[..end])?;
            at = end + 4;
            self.watches.iter().for_each(|watch| frame::write(frame::TEXT, watch.wish().as_bytes(), say));
        }
        while let Some(found) = frame::read(&bytes[at..]).map_err(End::Broken)? {
            match found.opcode {
                frame::TEXT => self.hear_text(found.payload)?,
                frame::PING => frame::write(frame::PONG, found.payload, say),
                frame::CLOSE => return Err(closed(found.payload)),
                other => return Err(End::Broken(format!("a frame of opcode {other}"))),
            }
            at += found.length;
        }
        Ok(at)
    }

    fn let_in(&mut self, head: &[u8]) -> Result<(), End> {
        if head.starts_with(b"HTTP/1.1 503") {
            return Err(End::Refused);
        }
        if !head.starts_with(b"HTTP/1.1 101") {
            return Err(End::Broken(format!("no WebSocket: {}", String::from_utf8_lossy(head))));
        }
        self.is_in = true;
        self.tally.connected.one();
        Ok(())
    }

    fn hear_text(&mut self, text: &[u8]) -> Result<(), End> {
        let outcome = match text.starts_with(b"{\"type\":\"tick\"") {
            true => self.hear_event(text),
            false => self.hear_message(text),
        };
        outcome.map_err(|why| {
            let end = text.len().min(400);
            End::Broken(format!("{why}; heard {}; {}", String::from_utf8_lossy(&text[..end]), self.describe()))
        })
    }

    fn hear_event(&mut self, text: &[u8]) -> Result<(), String> {
        let seq = published_as(text).ok_or("not as it was published")?;
        let channel = Channel::of(seq);
        let mut is_wanted = false;
        for watch in &mut self.watches {
            if watch.channel == channel {
                watch.hear(text, seq)?;
                is_wanted = true;
            } else if watch.stage == Stage::Live && watch.next() < seq {
                return Err(format!("{} of another topic comes first", watch.next()));
            }
        }
        if !is_wanted {
            return Err("an event of a topic that it does not hear".into());
        }
        self.tally.crowd_heard.one();
        Ok(())
    }

    fn hear_message(&mut self, text: &[u8]) -> Result<(), String> {
        let message: Value = serde_json::from_slice(text).map_err(|error| format!("no JSON ({error})"))?;
        let (kind, data) = (&message["type"], &message["data"]);
        match (kind.as_str(), data["status"].as_str()) {
            (Some("response"), Some("subscribed")) => self.subscribed(data, number(&message["seq"])?),
            (Some("full_update"), _) => self.shown(&message),
            (Some("status"), Some("lagged")) if data["policy"] == "resync" => {
                self.lagged(number(&data["from"])?, number(&data["to"])?)
            }
            (Some("status"), Some("connected")) if self.watches.iter().all(|watch| watch.stage == Stage::Asked) => {
                Ok(())
            }
            _ => Err("nobody asked for this".into()),
        }
    }

    fn subscribed(&mut self, data: &Value, seq: u64) -> Result<(), String> {
        let epoch = data["epoch"].as_str().ok_or("an answer without epoch")?;
        let watch = self.watches.iter_mut().find(|watch| data["topic"] == watch.topic);
        let watch = watch.ok_or("the answer to another subscription")?;
        if watch.stage != Stage::Asked {
            return Err("a second answer".into());
        }
        if data["recovered"] == true {
            let is_ours = |at: &Position| at.epoch == epoch && at.seq <= seq;
            if !watch.position.as_ref().is_some_and(is_ours) {
                return Err("a position was resumed that is of another life".into());
            }
            self.tally.crowd_recovered.one();
            watch.stage = Stage::Live;
        } else {
            watch.position = Some(Position { epoch: epoch.to_owned(), seq: 0 });
            watch.stage = Stage::Waiting(seq);
        }
        Ok(())
    }

    /// A snapshot; it shows nothing, for no event has a key.
    fn shown(&mut self, message: &Value) -> Result<(), String> {
        let (seq, is_fresh) = (number(&message["seq"])?, message["resync"] == true);
        let is_meant = |watch: &&mut Watch| match is_fresh {
            true => watch.stage != Stage::Asked,
            false => message["topic"] == watch.topic,
        };
        let mut is_awaited = false;
        for watch in self.watches.iter_mut().filter(is_meant) {
            if watch.stage != Stage::Waiting(seq) {
                return Err("a snapshot that nothing has announced".into());
            }
            watch.advance(seq);
            (watch.stage, is_awaited) = (Stage::Live, true);
        }
        if !is_awaited || message["data"] != json!({}) {
            return Err("nobody asked for this snapshot, or it shows something".into());
        }
        self.tally.shown.one();
        Ok(())
    }

    fn lagged(&mut self, from: u64, to: u64) -> Result<(), String> {
        if from > to {
            return Err("a range ends before it begins".into());
        }
        self.tally.crowd_lagged.one();
        for watch in self.watches.iter_mut().filter(|watch| watch.stage != Stage::Asked) {
            if watch.stage == Stage::Live && watch.next() < from {
                return Err(format!("{} was lost and is not told", watch.next()));
            }
            watch.stage = Stage::Waiting(to);
        }
        Ok(())
    }
}

impl Watch {
    fn new(channel: Channel) -> Self {
        Self { channel, topic: channel.topic(CROWD), position: None, stage: Stage::Asked }
    }

    fn next(&self) -> u64 {
        self.channel.next_after(self.position.as_ref().map_or(0, |position| position.seq))
    }

    fn wish(&self) -> String {
        let since = self.position.as_ref().map(|at| json!({"epoch": at.epoch, "seq": at.seq}));
        json!({"type": "subscribe", "topic": self.topic, "since": since}).to_string()
    }

    /// The daemon drops nothing of such a stream without a word that comes first, so nothing may be left out.
    fn hear(&mut self, text: &[u8], seq: u64) -> Result<(), String> {
        let topic = text.strip_suffix(b"\"}").and_then(|text| text.strip_suffix(self.topic.as_bytes()));
        if !topic.is_some_and(|text| text.ends_with(b"\"topic\":\"")) {
            return Err("not under its topic".into());
        }
        let next = self.next();
        match self.stage {
            Stage::Asked => Err("an event before the answer".into()),
            Stage::Waiting(at) => Err(format!("an event before the snapshot at {at}")),
            Stage::Live if seq < next => Err(format!("a second time, or too late: {next} comes next")),
            Stage::Live if seq > next => Err(format!("{next} was lost and is not told")),
            Stage::Live => {
                self.advance(seq);
                Ok(())
            }
        }
    }

    fn advance(&mut self, seq: u64) {
        if let Some(position) = &mut self.position {
            position.seq = seq;
        }
    }
}

/// The number of an event, if it is the same in its payload, which is as it was published.
fn published_as(text: &[u8]) -> Option<u64> {
    let rest = text.strip_prefix(BEFORE_STREAM)?.strip_prefix(CROWD.as_bytes())?.strip_prefix(BEFORE_NUMBER)?;
    let end = rest.iter().position(|byte| *byte == b',')?;
    let (digits, rest) = rest.split_at(end);
    rest.strip_prefix(BETWEEN)?.strip_prefix(PAD)?.strip_prefix(b"\"}")?;
    let members = text.rsplit(|byte| *byte == b',').take(4);
    let seq = members.filter_map(|member| member.strip_prefix(b"\"seq\":")).next()?;
    if seq == digits { std::str::from_utf8(seq).ok()?.parse().ok() } else { None }
}

fn number(value: &Value) -> Result<u64, String> {
    value.as_u64().ok_or_else(|| "a number is missing".to_owned())
}

fn closed(payload: &[u8]) -> End {
    let (code, reason) = payload.split_at(payload.len().min(2));
    match code.try_into().map(u16::from_be_bytes) {
        Ok(GOING_AWAY | TRY_AGAIN) => End::LetGo,
        _ => End::Broken(format!("closed with {code:?} {}", String::from_utf8_lossy(reason))),
    }
}

#[cfg(test)]
mod tests;
