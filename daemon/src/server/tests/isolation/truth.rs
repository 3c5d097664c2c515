//! What was published and for whom, and since when who could no longer read it: as plain as can be, without the hub.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::desk::{DECLARED, DESKS, Desks};
use super::people::{NAMELESS, NAMES, Person, Who};
use crate::event::{Draft, Flags};
use crate::hub::history::Bounds;
use crate::hub::log::Limits;
use crate::hub::settings::{Lag, Settings, Source};
use crate::hub::template::Template;
use crate::hub::{Hub, Refused};
use crate::shard::inbox::Endpoint;

pub const STREAMS: [&str; 5] = ["mail", "post", "bars", "known", "hidden"];
const KINDS: [&str; 4] = ["tick", "PNL_UPDATE", "violation", ALL];
/// The kind that a private stream may say to every user at once.
const ALL: &str = "all";
const PARTS: [&str; 8] = ["", "A:1", "A:2", "B:1", "%2A", "user-1", "user-10", "own"];
const KEYS: [&str; 4] = ["", "k1", "k2", "user-1"];
/// What begins and ends the mark of an event wherever it goes; no frame has it in its head, nor anything else here.
const BEGIN: &[u8] = b"~(";
const END: &[u8] = b")~";
const LONGEST_MARK: usize = 12;

pub struct Truth {
    pub desks: Desks,
    hub: Arc<Hub>,
    rng: Rng,
    published: Vec<Published>,
    lines: Vec<Line>,
    /// The steps so far.
    pub step: u64,
}

/// An event that was accepted.
#[derive(Debug)]
struct Published {
    stream: usize,
    topic: String,
    reach: Reach,
    step: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Reach {
    /// Whoever may read the stream.
    Public,
    /// Every user.
    Users,
    User(usize),
    /// It was published to a private stream and is for nobody.
    Lost,
}

/// A stream as it is declared now.
pub struct Line {
    pub is_private: bool,
    pub is_visible: bool,
    needs_identity: bool,
    /// The last step at which a client could see it at all, and at which one without identity could.
    visible_at: u64,
    anonymous_at: u64,
    /// Of each user, how many events and changes its log may have.
    counts: [u64; NAMES.len()],
}

/// Somebody who is sent something.
#[derive(Clone, Copy)]
pub struct Viewer<'a> {
    pub person: &'a Person,
    pub endpoints: &'a [Arc<Endpoint>],
    pub sight: Sight,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// What is said may have been on its way for a while.
    Sent,
    /// What is read is read now.
    Read,
    /// An operator's own pages, about the log of this user.
    LogOf(Option<usize>),
}

impl Truth {
    pub fn new(hub: Arc<Hub>, rng: Rng) -> Self {
        let line = |index: usize| Line {
            is_private: index < 2,
            is_visible: STREAMS[index] != "hidden",
            needs_identity: STREAMS[index] == "known",
            visible_at: 0,
            anonymous_at: 0,
            counts: [0; NAMES.len()],
        };
        let lines = (0..STREAMS.len()).map(line).collect();
        let mut rng = rng;
        let desks = Desks::new(hub.clone(), rng.fork());
        let mut truth = Self { desks, hub, rng, published: Vec::new(), lines, step: 0 };
        (0..STREAMS.len()).for_each(|stream| truth.declare(stream));
        truth
    }

    pub fn line(&self, stream: usize) -> &Line {
        &self.lines[stream]
    }

    /// The most that the log of somebody in a private stream can have counted.
    pub fn most(&self, stream: usize, user: usize) -> u64 {
        self.lines[stream].counts[user]
    }

    /// Broadcasters answer so many commands, and publish to its user what follows from each.
    pub fn answer(&mut self, most: usize) {
        for principal in self.desks.answer(most, self.step) {
            let user = NAMES.iter().position(|name| **name == *principal);
            if let Some(user) = user.filter(|_| self.lines[0].is_private) {
                self.publish_to(0, user);
            }
        }
    }

    pub fn publish(&mut self) {
        let stream = self.rng.usize(..STREAMS.len());
        let to = self.rng.usize(..NAMES.len());
        self.publish_to(stream, to);
    }

    fn publish_to(&mut self, stream: usize, to: usize) {
        let kind = KINDS[self.rng.usize(..KINDS.len())];
        let (mark, line) = (format!("~(e{})~", self.published.len()), &self.lines[stream]);
        let part = match PARTS[self.rng.usize(..PARTS.len())] {
            "own" if line.is_private && (to != NAMELESS || kind != ALL) => format!("own:~(a{to})~"),
            part => part.to_owned(),
        };
        let mut flag = |flag: Flags, one_in: u32| if self.rng.u32(..one_in) == 0 { flag.0 } else { 0 };
        let flags = flag(Flags::LATEST, 2) | flag(Flags::DELETE, 9) | flag(Flags::RECORD_ONLY, 20);
        let flags = Flags(flags | flag(Flags::BROADCAST, 9));
        let pad = "x".repeat(if self.rng.u32(..9) == 0 { 900 } else { 9 });
        let payload = format!(r#"{{"mark":"{mark}","symbol":"A","pad":"{pad}"}}"#);
        let record = if self.rng.bool() { format!(r#"{{"record":"{mark}"}}"#) } else { String::new() };
        let draft = Draft {
            flags,
            kind,
            topic: &part,
            key: KEYS[self.rng.usize(..KEYS.len())],
            record: record.as_bytes(),
            audience: NAMES[to],
            session_id: &mark,
            payload: payload.as_bytes(),
            ..Draft::default()
        };
        let accepted = self.hub.stream(STREAMS[stream]).unwrap().publish(&draft, None);
        let reach = match (line.is_private, to) {
            (false, NAMELESS) => Reach::Public,
            (false, _) => return assert_eq!(accepted, Err(Refused::NotPrivate)),
            (true, NAMELESS) if kind == ALL => Reach::Users,
            (true, NAMELESS) => Reach::Lost,
            (true, user) => Reach::User(user),
        };
        assert!(accepted.is_ok(), "{accepted:?}");
        let topic = if part.is_empty() { STREAMS[stream].to_owned() } else { format!("{}:{part}", STREAMS[stream]) };
        let counts = &mut self.lines[stream].counts;
        match reach {
            Reach::User(user) => counts[user] += 1,
            Reach::Users => counts.iter_mut().for_each(|count| *count += 1),
            Reach::Public | Reach::Lost => {}
        }
        self.published.push(Published { stream, topic, reach, step: self.step });
    }

    /// A reload: something of a stream is otherwise than before.
    pub fn reload(&mut self) {
        let stream = self.rng.usize(..STREAMS.len());
        self.note();
        let line = &mut self.lines[stream];
        match self.rng.u32(..6) {
            0 => line.is_private = !line.is_private,
            1 | 2 => line.is_visible = !line.is_visible,
            3 | 4 => line.needs_identity = !line.needs_identity,
            _ => line.is_private = stream < 2,
        }
        self.step += 1; // what is published from here on is published after it
        self.declare(stream);
    }

    /// The marks in these bytes, each with where it begins, and where one may begin that is not whole.
    pub fn marks(bytes: &[u8]) -> (Vec<(usize, &str)>, usize) {
        let mut found = Vec::new();
        for (at, _) in bytes.windows(BEGIN.len()).enumerate().filter(|(_, window)| *window == BEGIN) {
            let inside = &bytes[at + BEGIN.len()..];
            let inside = &inside[..inside.len().min(LONGEST_MARK)];
            match inside.windows(END.len()).position(|window| window == END) {
                Some(length) => found.push((at, std::str::from_utf8(&inside[..length]).unwrap())),
                None if inside.len() < LONGEST_MARK => return (found, at),
                None => panic!("a mark does not end: {}", String::from_utf8_lossy(inside)),
            }
        }
        let half = usize::from(bytes.last() == Some(&BEGIN[0]));
        (found, bytes.len() - half)
    }

    /// When the event of a mark was published, or the answer given; that of a topic was always there.
    pub fn published_at(&self, mark: &str) -> u64 {
        if let Some(step) = self.desks.answered_at(mark) {
            return step;
        }
        number(mark, "e").map_or(0, |event| self.published[event].step)
    }

    /// Says what is wrong with this mark being shown, or whether it is of a private event.
    pub fn judge(&mut self, mark: &str, viewer: Viewer<'_>) -> Result<bool, String> {
        self.note();
        let own = |user| match viewer.sight {
            Sight::LogOf(named) => named == Some(user),
            _ => viewer.person.who == Who::User(user),
        };
        if let Some(user) = number(mark, "a") {
            // In a public stream it is but a word; the streams here have it while they are private.
            return if own(user) { Ok(true) } else { Err(format!("a topic of {:?}", NAMES[user])) };
        }
        let event = &self.published[number(mark, "e").ok_or_else(|| format!("a mark of nobody: {mark}"))?];
        let wrong = |what: &str| Err(format!("{what}: {event:?}"));
        if !viewer.endpoints.is_empty() && !viewer.endpoints.iter().any(|door| door.serves(STREAMS[event.stream])) {
            return wrong("not served at this door");
        }
        match event.reach {
            Reach::Lost => wrong("for nobody"),
            Reach::User(user) if own(user) => Ok(true),
            Reach::User(_) => wrong("another's"),
            Reach::Users if matches!(viewer.sight, Sight::LogOf(Some(_))) => Ok(true),
            Reach::Users if matches!(viewer.person.who, Who::User(_)) => Ok(true),
            Reach::Users => wrong("for users"),
            Reach::Public => self.judge_public(event, viewer).map_or_else(wrong, |()| Ok(false)),
        }
    }

    fn judge_public(&self, event: &Published, viewer: Viewer<'_>) -> Result<(), &'static str> {
        let (line, person) = (&self.lines[event.stream], viewer.person);
        if let Sight::LogOf(named) = viewer.sight {
            return if named.is_none() { Ok(()) } else { Err("of no user's log") };
        }
        if !person.may_read(STREAMS[event.stream], &event.topic) {
            return Err("its rights leave it out");
        }
        let since = if viewer.sight == Sight::Read { self.step } else { event.step };
        if !matches!(person.who, Who::Operator(_)) && line.visible_at < since {
            return Err("of a hidden stream");
        }
        if person.who == Who::Nobody && line.anonymous_at < since {
            return Err("for those with an identity");
        }
        if viewer.sight == Sight::Read && line.is_private {
            return Err("from before the stream was private");
        }
        Ok(())
    }

    /// Until now it is as it is.
    fn note(&mut self) {
        for line in &mut self.lines {
            line.visible_at = if line.is_visible { self.step } else { line.visible_at };
            let is_open = line.is_visible && !line.needs_identity;
            line.anonymous_at = if is_open { self.step } else { line.anonymous_at };
        }
    }

    fn declare(&mut self, stream: usize) {
        let (rng, line) = (&mut self.rng, &self.lines[stream]);
        let history = Bounds {
            events: *rng.choice(&[5, 100]).unwrap(),
            bytes: *rng.choice(&[4000, 1 << 20]).unwrap(),
            age: Duration::from_secs(3600),
        };
        let settings = Settings {
            visible: line.is_visible,
            needs_identity: line.needs_identity,
            private: line.is_private,
            template: Template::parse("{symbol}:{resolution=1}").unwrap(),
            lag: if rng.u32(..3) == 0 { Lag::Disconnect } else { Lag::Resync },
            limits: Limits { history, ..Limits::default() },
            broadcast: [ALL.to_owned()].into(),
            commands: if DESKS.contains(&stream) { DECLARED.clone() } else { Arc::default() },
            ..Settings::default()
        };
        self.hub.declare(STREAMS[stream], settings).set_source(Source::Declared);
    }
}

fn number(mark: &str, sort: &str) -> Option<usize> {
    mark.strip_prefix(sort)?.parse().ok()
}
