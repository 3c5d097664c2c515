//! A client: what it says, and whether what it is told is what it should be told.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::kernel::Socket;
use super::said::Said;
use super::tell;
use super::truth::{Life, Line};
use super::view::View;
use crate::websocket::frame::Opcode;

/// A wish and how it was worded.
pub struct Wish {
    pub line: usize,
    /// The JSON fields that name the patterns, and perhaps for how long events are gathered.
    pub fields: String,
    /// The patterns, in order.
    pub patterns: Vec<String>,
}

pub enum Asked {
    /// Behind a number of a life; with the patterns that the client has the records of up to there.
    Subscribe {
        wish: Wish,
        since: Option<(usize, u64)>,
        continued: Vec<String>,
    },
    /// Up to which number of which life all had been handed to the shard.
    Unsubscribe {
        wish: Wish,
        floor: (usize, u64),
    },
    Snapshot(Wish),
    Ping,
}

pub struct Client {
    name: usize,
    pub socket: Rc<RefCell<Socket>>,
    pub views: Vec<View>,
    asked: VecDeque<(u64, Asked)>,
    ids: u64,
    unread: Vec<u8>,
    was_greeted: bool,
    /// The code that the daemon closed with.
    closed: Option<u16>,
    max_subscriptions: usize,
}

impl Client {
    /// A new connection that remembers what an earlier one knew.
    pub fn new(name: usize, socket: Rc<RefCell<Socket>>, views: Vec<View>, max_subscriptions: usize) -> Self {
        Self {
            name,
            socket,
            views,
            asked: VecDeque::new(),
            ids: 0,
            unread: Vec::new(),
            was_greeted: false,
            closed: None,
            max_subscriptions,
        }
    }

    /// Whether neither side has ended it: the daemon may, without its close frame, when the client takes nothing.
    pub fn is_connected(&self) -> bool {
        self.closed.is_none() && !self.socket.borrow().is_dropped
    }

    pub fn ask(&mut self, lines: &[Line], asked: Asked) {
        self.ids += 1;
        let id = self.ids;
        let text = match &asked {
            Asked::Subscribe { wish, since: Some((life, seq)), .. } => {
                let epoch = &lines[wish.line].lives[*life].epoch;
                let since = format!(r#"{{"epoch":"{epoch}","seq":{seq}}}"#);
                format!(r#"{{"type":"subscribe",{},"since":{since},"id":{id}}}"#, wish.fields)
            }
            Asked::Subscribe { wish, .. } => format!(r#"{{"type":"subscribe",{},"id":{id}}}"#, wish.fields),
            Asked::Unsubscribe { wish, .. } => format!(r#"{{"type":"unsubscribe",{},"id":{id}}}"#, wish.fields),
            Asked::Snapshot(wish) => format!(r#"{{"type":"snapshot",{},"id":{id}}}"#, wish.fields),
            Asked::Ping => format!(r#"{{"type":"ping","id":{id}}}"#),
        };
        tell(|| format!("  {} says {text}", self.name));
        self.asked.push_back((id, asked));
        let mut socket = self.socket.borrow_mut();
        const MASKED: u8 = 0x80;
        let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
        match text.len() {
            0..=125 => socket.to_daemon.extend([0x81, MASKED | length]),
            longer => {
                socket.to_daemon.extend([0x81, MASKED | 126]);
                socket.to_daemon.extend((longer as u16).to_be_bytes());
            }
        }
        socket.to_daemon.extend([0; 4]); // a mask that changes nothing
        socket.to_daemon.extend(text.as_bytes());
    }

    /// Reads what has come, and says what is wrong with it by a panic.
    pub fn hear(&mut self, lines: &[Line]) {
        let mut unread = std::mem::take(&mut self.unread);
        unread.append(&mut self.socket.borrow_mut().to_client);
        let mut rest: &[u8] = &unread;
        while let Some((opcode, payload, after)) = next_frame(rest) {
            assert_eq!(self.closed, None, "it speaks after its close frame");
            rest = after;
            match opcode {
                text if text == Opcode::Text as u8 => {
                    let said = Said::read(payload);
                    tell(|| format!("  {} hears {}", self.name, said.short()));
                    self.take(lines, &said);
                }
                end if end == Opcode::Close as u8 => {
                    self.closed = Some(u16::from_be_bytes([payload[0], payload[1]]));
                }
                ping if ping == Opcode::Ping as u8 => {}
                other => panic!("a frame of the sort {other}"),
            }
        }
        self.unread = rest.to_vec();
    }

    /// Nothing more will come by itself.
    pub fn check_at_rest(&mut self, lines: &[Line]) {
        let (name, open) = (self.name, self.asked.len());
        assert!(self.was_greeted && open == 0, "{open} questions of {name} have no answer");
        assert!(self.unread.is_empty(), "half a frame");
        tell(|| format!("  is {name} told everything?"));
        self.views.iter_mut().zip(lines).for_each(|(view, line)| view.check_at_rest(line));
    }

    fn take(&mut self, lines: &[Line], said: &Said<'_>) {
        assert!(said.timestamp.len() == 24, "{said:?}");
        match said.kind {
            "status" => self.status(lines, said),
            "response" => self.response(lines, said),
            "error" => self.refused(lines, said),
            "full_update" => self.views[line_of(lines, said)].full_update(&lines[line_of(lines, said)], said),
            "batch" => {
                let messages = said.messages();
                assert!(!messages.is_empty() && said.seq.is_none() && said.topic.is_none(), "{said:?}");
                for event in messages {
                    assert!(event.stream == said.stream && event.seq.is_some(), "{event:?} in a batch");
                    tell(|| format!("    {}", event.short()));
                    self.take(lines, &event);
                }
            }
            _ => self.views[line_of(lines, said)].event(&lines[line_of(lines, said)], said),
        }
    }

    fn status(&mut self, lines: &[Line], said: &Said<'_>) {
        let data = said.data();
        match data.status {
            "connected" => {
                assert!(!self.was_greeted, "greeted twice");
                self.was_greeted = true;
            }
            "pong" => assert!(matches!(self.answered(said), Asked::Ping)),
            "lagged" => {
                let (life, view) = self.view(lines, said);
                match data.policy {
                    "latest" => view.replaced(life, (data.replaced, data.from, data.to)),
                    "resync" => view.lagged(life, (data.from, data.to)),
                    other => panic!("lagged by {other}"),
                }
            }
            "no_source" if data.reason == "the stream was removed" => {
                let (life, view) = self.view(lines, said);
                view.shut(life);
            }
            "no_source" => assert_eq!(data.reason, "stopped"),
            "source" => {}
            other => panic!("{other}"),
        }
    }

    fn response(&mut self, lines: &[Line], said: &Said<'_>) {
        let status = said.data().status;
        match (self.answered(said), status) {
            (Asked::Subscribe { wish, since, continued }, "subscribed") => {
                assert_eq!(said.replied_topics(), wish.patterns);
                self.views[wish.line].subscribed(&lines[wish.line], said, (&wish.patterns, since, &continued));
            }
            (Asked::Unsubscribe { wish, floor }, "unsubscribed") => {
                assert_eq!(said.replied_topics(), wish.patterns);
                let view = &mut self.views[wish.line];
                let meant: Vec<String> = wish
                    .patterns
                    .into_iter()
                    .filter(|one| view.is_subscribed_to_any(std::slice::from_ref(one)))
                    .collect();
                let floor = if floor.0 == view.life { floor.1 } else { 0 };
                view.unsubscribed(&lines[wish.line].lives[view.life], &meant, floor);
            }
            (Asked::Snapshot(wish), "snapshot") => {
                assert_eq!(said.replied_topics(), wish.patterns);
                self.views[wish.line].snapshot_announced(&lines[wish.line], said, &wish.patterns);
            }
            (_, other) => panic!("{other} is no answer"),
        }
    }

    fn refused(&mut self, lines: &[Line], said: &Said<'_>) {
        let code = said.data().code;
        let asked = self.answered(said);
        let (Asked::Subscribe { wish, .. } | Asked::Unsubscribe { wish, .. } | Asked::Snapshot(wish)) = &asked else {
            panic!("a ping was refused: {code}");
        };
        match (code, &asked) {
            ("unknown_stream", _) => assert!(lines[wish.line].was_hidden),
            ("not_subscribed", Asked::Unsubscribe { .. }) => {
                assert!(!self.views[wish.line].is_subscribed_to_any(&wish.patterns));
            }
            ("too_many_subscriptions", Asked::Subscribe { .. }) => {
                let others = self.views.iter().enumerate().filter(|(line, _)| *line != wish.line);
                let elsewhere: usize = others.map(|(_, view)| view.patterns().len()).sum();
                let with = elsewhere + self.views[wish.line].subscriptions_with(&wish.patterns);
                assert!(with > self.max_subscriptions, "{with} subscriptions are not too many");
            }
            (other, _) => panic!("{other}"),
        }
    }

    fn answered(&mut self, said: &Said<'_>) -> Asked {
        let (id, asked) = self.asked.pop_front().expect("an answer without a question");
        assert_eq!(said.id, Some(id), "answers come in the order of the questions");
        asked
    }

    fn view<'a>(&mut self, lines: &'a [Line], said: &Said<'_>) -> (&'a Life, &mut View) {
        let line = line_of(lines, said);
        let view = &mut self.views[line];
        (&lines[line].lives[view.life], view)
    }
}

fn line_of(lines: &[Line], said: &Said<'_>) -> usize {
    lines.iter().position(|line| line.name == said.stream).unwrap_or_else(|| panic!("{said:?}"))
}

/// Opcode and payload of the first frame of a server, and what follows it; `None` while it is not whole.
pub fn next_frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert!(first & 0xf0 == 0x80 && second & 0x80 == 0, "{first:x} {second:x}");
    let (length, header) = match second {
        126 => (usize::from(u16::from_be_bytes(*bytes[2..].first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes[2..].first_chunk()?) as usize, 10),
        short => (usize::from(short), 2),
    };
    let payload = bytes.get(header..header + length)?;
    Some((first & 0x0f, payload, &bytes[header + length..]))
}
