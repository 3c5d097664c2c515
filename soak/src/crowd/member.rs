//! One of the crowd without its socket: what it says and hears, held against what was promised. There are ten thousand, so it
//! looks at an event no longer than it has to. No I/O.

use std::sync::Arc;

use serde_json::Value;

use crate::tally::Tally;
use crate::truth::Crowded;

const HANDSHAKE: &[u8] = b"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// Close codes by which the daemon ends a connection that has done nothing wrong.
const CALM_ENDS: [u16; 4] = [1000, 1001, 1012, 1013];

/// Why a connection is over.
#[derive(Debug, PartialEq, Eq)]
pub enum Over {
    /// The daemon ended it.
    Ended,
    /// It was not let in.
    Refused,
    /// A promise was broken.
    Broken(String),
}

pub struct Member {
    tally: Arc<Tally>,
    is_in: bool,
    /// What was read and is not whole yet.
    unread: Vec<u8>,
    epoch: String,
    watches: [Watch; 2],
}

/// A topic, and how far everything of it has come.
#[derive(Debug)]
struct Watch {
    topic: Crowded,
    known: Option<u64>,
    stage: Stage,
    /// What later ones have overtaken: it must still be told as lost.
    owed: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Asked,
    /// Nothing until a snapshot at this number.
    Waiting(u64),
    Live,
}

impl Member {
    /// It hears what all hear, and what few do.
    pub fn new(number: u64, tally: &Arc<Tally>) -> Self {
        Self {
            tally: tally.clone(),
            is_in: false,
            unread: Vec::new(),
            epoch: String::new(),
            watches: [Crowded::Shared, Crowded::nth(number)].map(Watch::new),
        }
    }

    /// What to say on a new connection.
    pub fn come(&mut self) -> &'static [u8] {
        self.is_in = false;
        self.unread = Vec::new();
        for watch in &mut self.watches {
            (watch.stage, watch.owed) = (Stage::Asked, None); // what was known stands before what was owed
        }
        HANDSHAKE
    }

    /// It comes back as somebody new.
    pub fn forget(&mut self) {
        self.watches.iter_mut().for_each(|watch| watch.known = None);
    }

    /// Whether everything up to a number is accounted for.
    pub fn has_all_up_to(&self, seq: u64) -> bool {
        self.watches.iter().all(|watch| watch.stage == Stage::Live && watch.owed.is_none() && watch.next() > seq)
    }

    /// What is still open, for whoever has to find out why.
    pub fn describe(&self) -> String {
        format!("{:?}, {} bytes of a message", self.watches, self.unread.len())
    }

    /// Takes in what was read; what it has to say to that goes behind what there is.
    pub fn hear(&mut self, read: &[u8], say: &mut Vec<u8>) -> Result<(), Over> {
        if self.unread.is_empty() {
            let taken = self.take(read, say)?;
            self.unread.extend_from_slice(&read[taken..]);
            return Ok(());
        }
        let mut all = std::mem::take(&mut self.unread);
        all.extend_from_slice(read);
        let taken = self.take(&all, say)?;
        all.drain(..taken);
        self.unread = all;
        Ok(())
    }

    /// How many bytes were whole.
    fn take(&mut self, bytes: &[u8], say: &mut Vec<u8>) -> Result<usize, Over> {
        let mut at = 0;
        if !self.is_in {
            let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(0) };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                return Err(Over::Refused);
            }
            (self.is_in, at) = (true, end + 4);
            self.watches.iter().for_each(|watch| frame(TEXT, watch.wish(&self.epoch).as_bytes(), say));
        }
        while let Some((opcode, payload, length)) = whole_frame(&bytes[at..]) {
            match opcode {
                TEXT => self.hear_text(payload)?,
                PING => frame(PONG, payload, say),
                PONG => {}
                CLOSE => return Err(closed(payload)),
                other => return Err(Over::Broken(format!("a frame of opcode {other}"))),
            }
            at += length;
        }
        Ok(at)
    }

    fn hear_text(&mut self, text: &[u8]) -> Result<(), Over> {
        let outcome = match text.starts_with(b"{\"type\":\"tick\"") {
            true => self.hear_event(text),
            false => self.hear_message(text),
        };
        outcome.map_err(|why| {
            let end = text.len().min(400);
            Over::Broken(format!("{why}; heard {}; {}", String::from_utf8_lossy(&text[..end]), self.describe()))
        })
    }

    fn hear_event(&mut self, text: &[u8]) -> Result<(), String> {
        let seq = seq_of(text).ok_or("an event without number")?;
        let topic = Crowded::of(seq);
        let watch = self.watches.iter_mut().find(|watch| watch.topic == topic);
        watch.ok_or("an event of another topic")?.hear(seq)?;
        self.tally.crowded.one();
        Ok(())
    }

    fn hear_message(&mut self, text: &[u8]) -> Result<(), String> {
        let message: Value = serde_json::from_slice(text).map_err(|error| format!("no JSON ({error})"))?;
        let (kind, data) = (&message["type"], &message["data"]);
        match (kind.as_str(), data["status"].as_str()) {
            (Some("response"), Some("subscribed")) => self.subscribed(data, number(&message["seq"])?),
            (Some("full_update"), _) => self.shown(&message),
            (Some("status"), Some("lagged")) => self.lagged(number(&data["from"])?, number(&data["to"])?),
            (Some("status"), Some("connected" | "source" | "no_source")) => Ok(()),
            _ => Err("nobody asked for this".into()),
        }
    }

    fn subscribed(&mut self, data: &Value, seq: u64) -> Result<(), String> {
        let epoch = data["epoch"].as_str().unwrap_or_default();
        let is_same = self.epoch == epoch;
        self.epoch = epoch.to_owned();
        let watch = self.watches.iter_mut().find(|watch| data["topic"] == watch.topic.name());
        let watch = watch.ok_or("the answer to another subscription")?;
        if watch.stage != Stage::Asked {
            return Err("a second answer".into());
        }
        if data["recovered"] == true {
            if !is_same || watch.known.is_none_or(|known| known > seq) {
                return Err("a position was resumed that is of another life".into());
            }
            self.tally.recovered.one();
            watch.stage = Stage::Live;
        } else {
            self.tally.replaced_position.add(u64::from(watch.known.is_some()));
            watch.stage = Stage::Waiting(seq);
        }
        Ok(())
    }

    fn shown(&mut self, message: &Value) -> Result<(), String> {
        let (seq, is_fresh) = (number(&message["seq"])?, message["resync"] == true);
        self.tally.shown.one();
        let is_meant = |watch: &&mut Watch| match is_fresh {
            true => watch.stage != Stage::Asked,
            false => message["topic"] == watch.topic.name(),
        };
        let mut is_awaited = false;
        for watch in self.watches.iter_mut().filter(is_meant) {
            if watch.stage != Stage::Waiting(seq) {
                return Err("a snapshot that nothing has announced".into());
            }
            (watch.stage, watch.known, is_awaited) = (Stage::Live, Some(seq), true);
        }
        if is_awaited { Ok(()) } else { Err("nobody asked for this snapshot".into()) }
    }

    fn lagged(&mut self, from: u64, to: u64) -> Result<(), String> {
        self.tally.lagged.one();
        for watch in self.watches.iter_mut().filter(|watch| watch.stage != Stage::Asked) {
            if watch.stage == Stage::Live && watch.next() < from {
                return Err(format!("{} was lost and is not told", watch.next()));
            }
            (watch.stage, watch.owed) = (Stage::Waiting(to), None);
        }
        Ok(())
    }
}

impl Watch {
    fn new(topic: Crowded) -> Self {
        Self { topic, known: None, stage: Stage::Asked, owed: None }
    }

    fn next(&self) -> u64 {
        self.topic.next_after(self.known.unwrap_or_default())
    }

    fn wish(&self, epoch: &str) -> String {
        let topic = self.topic.name();
        match self.known {
            None => format!("{{\"type\":\"subscribe\",\"topic\":\"{topic}\"}}"),
            Some(seq) => format!(
                "{{\"type\":\"subscribe\",\"topic\":\"{topic}\",\"since\":{{\"epoch\":\"{epoch}\",\"seq\":{seq}}}}}"
            ),
        }
    }

    fn hear(&mut self, seq: u64) -> Result<(), String> {
        let next = self.next();
        match self.stage {
            Stage::Asked => Err("an event before the answer".into()),
            Stage::Waiting(_) => Ok(()), // the snapshot holds it
            Stage::Live if seq < next => Err(format!("a second time, or too late: {next} comes next")),
            Stage::Live if seq > next => {
                self.owed = self.owed.or(Some(next));
                Ok(())
            }
            Stage::Live => {
                self.known = Some(seq);
                Ok(())
            }
        }
    }
}

/// The number of an event, which stands behind its payload.
fn seq_of(text: &[u8]) -> Option<u64> {
    let members = text.rsplit(|byte| *byte == b',').take(4);
    let digits = members.filter_map(|member| member.strip_prefix(b"\"seq\":")).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn number(value: &Value) -> Result<u64, String> {
    value.as_u64().ok_or_else(|| "a number is missing".to_owned())
}

fn closed(payload: &[u8]) -> Over {
    let (code, reason) = payload.split_at(payload.len().min(2));
    match code.try_into().map(u16::from_be_bytes) {
        Ok(code) if !CALM_ENDS.contains(&code) => {
            Over::Broken(format!("closed with {code} {}", String::from_utf8_lossy(reason)))
        }
        _ => Over::Ended,
    }
}

/// A server's frame if it is whole: its opcode, its payload, and how many bytes it has.
fn whole_frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (begin, length) = match second {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        short => (2, usize::from(short)),
    };
    let end = begin + length;
    Some((first & 0x0f, bytes.get(begin..end)?, end))
}

/// A client's frame, with a mask that changes nothing; such as say little fit into it.
fn frame(opcode: u8, payload: &[u8], into: &mut Vec<u8>) {
    into.push(0x80 | opcode);
    match payload.len() {
        short @ ..126 => into.push(0x80 | short as u8),
        long => {
            into.push(0x80 | 126);
            into.extend((long as u16).to_be_bytes());
        }
    }
    into.extend([0; 4]);
    into.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        let mut frame = vec![0x81, 126];
        frame.extend((text.len() as u16).to_be_bytes());
        frame.extend(text.as_bytes());
        frame
    }

    fn event(seq: u64) -> Vec<u8> {
        text(&format!("{{\"type\":\"tick\",\"data\":{{}},\"seq\":{seq},\"prev\":1,\"topic\":\"x\"}}"))
    }

    fn answer(topic: Crowded, seq: u64, recovered: bool) -> Vec<u8> {
        let name = topic.name();
        text(&format!(
            "{{\"type\":\"response\",\"seq\":{seq},\"data\":{{\"status\":\"subscribed\",\"topic\":\"{name}\",\"epoch\":\"e\",\"recovered\":{recovered}}}}}"
        ))
    }

    fn snapshot(topic: Crowded, seq: u64) -> Vec<u8> {
        text(&format!("{{\"type\":\"full_update\",\"seq\":{seq},\"topic\":\"{}\",\"data\":{{}}}}", topic.name()))
    }

    fn lagged(from: u64, to: u64) -> Vec<u8> {
        text(&format!(
            "{{\"type\":\"status\",\"data\":{{\"status\":\"lagged\",\"from\":{from},\"to\":{to},\"policy\":\"resync\"}}}}"
        ))
    }

    /// One that has been shown everything up to 0.
    fn member() -> Member {
        let mut member = Member::new(7, &Arc::default());
        assert_eq!(member.come(), HANDSHAKE);
        let topics = member.watches.each_ref().map(|watch| watch.topic);
        let mut said = Vec::new();
        member.hear(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", &mut said).unwrap();
        assert!(
            String::from_utf8_lossy(&said).contains("{\"type\":\"subscribe\",\"topic\":\"crowd:all\"}"),
            "{said:?}"
        );
        topics.iter().for_each(|topic| {
            member.hear(&answer(*topic, 0, false), &mut said).unwrap();
            member.hear(&snapshot(*topic, 0), &mut said).unwrap();
        });
        member
    }

    fn broken(outcome: Result<(), Over>) -> String {
        match outcome {
            Err(Over::Broken(why)) => why.split(';').next().unwrap().to_owned(),
            other => panic!("{other:?} breaks no promise"),
        }
    }

    #[test]
    fn what_comes_in_pieces_is_accounted_for() {
        let mut member = member();
        let (first, second) = (Crowded::Shared.next_after(0), Crowded::nth(7).next_after(0));
        for byte in [event(first), event(second)].concat() {
            member.hear(&[byte], &mut Vec::new()).unwrap();
        }
        assert!(member.has_all_up_to(first.max(second)), "{}", member.describe());
        assert!(!member.has_all_up_to(Crowded::Shared.next_after(first)));
        assert_eq!(member.tally.crowded.get(), 2);
    }

    #[test]
    fn what_is_missing_must_be_told() {
        let (first, second, third) = (17, 34, 51);
        let mut one = member();
        one.hear(&event(7), &mut Vec::new()).unwrap(); // all of its other topic
        one.hear(&event(first), &mut Vec::new()).unwrap();
        one.hear(&event(third), &mut Vec::new()).unwrap();
        assert!(!one.has_all_up_to(first), "{second} is owed");
        let why = broken(one.hear(&lagged(second + 1, third), &mut Vec::new()));
        assert_eq!(why, "34 was lost and is not told");
        one.hear(&lagged(second, third), &mut Vec::new()).unwrap();
        let fresh = "{\"type\":\"full_update\",\"seq\":51,\"resync\":true,\"data\":{}}";
        one.hear(&text(fresh), &mut Vec::new()).unwrap();
        assert!(one.has_all_up_to(third));
        assert_eq!(broken(one.hear(&text(fresh), &mut Vec::new())), "a snapshot that nothing has announced");
    }

    #[test]
    fn nothing_comes_twice_or_to_another() {
        let mut one = member();
        one.hear(&event(17), &mut Vec::new()).unwrap();
        assert_eq!(broken(one.hear(&event(17), &mut Vec::new())), "a second time, or too late: 34 comes next");
        assert_eq!(broken(one.hear(&event(8), &mut Vec::new())), "an event of another topic");
    }

    #[test]
    fn who_comes_back_says_how_far_it_is_and_hears_what_it_missed() {
        let mut one = member();
        one.hear(&event(17), &mut Vec::new()).unwrap();
        one.come();
        let mut said = Vec::new();
        one.hear(b"HTTP/1.1 101 \r\n\r\n", &mut said).unwrap();
        assert!(String::from_utf8_lossy(&said).contains("\"since\":{\"epoch\":\"e\",\"seq\":17}"), "{said:?}");
        assert_eq!(broken(one.hear(&event(34), &mut said)), "an event before the answer");
        one.hear(&answer(Crowded::Shared, 40, true), &mut said).unwrap();
        one.hear(&event(34), &mut said).unwrap();
        one.forget();
        assert_eq!(
            broken(one.hear(&answer(Crowded::nth(7), 40, true), &mut said)),
            "a position was resumed that is of another life"
        );
    }

    #[test]
    fn pings_are_answered_and_ends_are_told_apart() {
        let (mut one, mut said) = (member(), Vec::new());
        one.hear(&[0x89, 2, b'h', b'i'], &mut said).unwrap();
        assert_eq!(said, [0x8a, 0x82, 0, 0, 0, 0, b'h', b'i']);
        assert_eq!(one.hear(&[0x88, 2, 0x03, 0xf5], &mut said), Err(Over::Ended)); // 1013
        assert_eq!(broken(one.hear(&[0x88, 2, 0x03, 0xea], &mut said)), "closed with 1002 ");
        one.come();
        assert_eq!(one.hear(b"HTTP/1.1 503 No\r\n\r\n", &mut said), Err(Over::Refused));
    }
}
