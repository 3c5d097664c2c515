//! One connection: what it is sent, held against who it is at that moment.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::people::{Person, Who};
use super::truth::{Sight, Truth, Viewer};
use crate::shard::inbox::Endpoint;
use crate::shard::tests::driven::Socket;
use crate::websocket::close;

const AUTHENTICATED: &[u8] = br#""status":"authenticated""#;
/// The end of what answers who somebody says to be, believed or not.
const ANSWERED: &[u8] = br#","id":"auth"}"#;
/// Both in one, in the dialect `spc`, which ends the connection of whoever is not believed.
const AUTH_OK: &[u8] = br#"{"type":"auth_ok"}"#;
const LOGGED_OUT: [&[u8]; 2] = [b"logged out", b"USER_LOGOUT"];
/// A close frame, whatever its length: for this or for what came before it in the same turn.
const CLOSE: u8 = 0x88;
const CODES: [u16; 3] = [close::UNAUTHORIZED, close::TRY_AGAIN, close::POLICY];
/// An answer that waited says no more when exactly the identity was taken up.
const LATE: Duration = Duration::from_secs(5);

/// The room of a socket whose client takes everything.
pub const PLENTY: usize = usize::MAX >> 1;

/// Whether its user has logged out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Logout {
    No,
    /// One did that it had said to be, and it had not heard whether it is.
    Perhaps,
    Yes,
}

pub struct Client {
    /// No other client and no request has it.
    pub number: u64,
    pub socket: Rc<RefCell<Socket>>,
    pub endpoint: Arc<Endpoint>,
    pub person: Person,
    /// It takes whatever it is sent at once.
    pub is_roomy: bool,
    /// Whom it has said to be and was not answered whole; `None` is a token that proves nothing.
    pub claims: VecDeque<Option<Person>>,
    pub logout: Logout,
    /// Its shard has not turned since it came.
    is_new: bool,
    expires: Option<Instant>,
    /// From which step on nothing may come any more.
    over: Option<u64>,
    unread: Vec<u8>,
    pub heard_private: usize,
    pub heard_answers: usize,
}

impl Client {
    pub fn new(number: u64, socket: Rc<RefCell<Socket>>, endpoint: Arc<Endpoint>, person: Person) -> Self {
        let is_roomy = socket.borrow().room == PLENTY;
        Self {
            number,
            socket,
            endpoint,
            person,
            is_roomy,
            claims: VecDeque::new(),
            logout: Logout::No,
            is_new: true,
            expires: None,
            over: None,
            unread: Vec::new(),
            heard_private: 0,
            heard_answers: 0,
        }
    }

    pub fn is_gone(&self) -> bool {
        self.over.is_some() || self.socket.borrow().is_dropped
    }

    pub fn say(&self, text: &str) {
        let mut frame = vec![0x81];
        match u8::try_from(text.len()).ok().filter(|length| *length < 126) {
            Some(length) => frame.push(0x80 | length),
            None => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
            }
        }
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(text.as_bytes());
        self.socket.borrow_mut().to_daemon.extend_from_slice(&frame);
    }

    /// Its shard is about to turn: whether everything ends with that.
    pub fn await_turn(&mut self, truth: &Truth, now: Instant, generation: u64) {
        let is_revoked = matches!(self.person.who, Who::Service(_, old) if old != generation);
        let is_expired = self.expires.is_some_and(|expires| now >= expires);
        if self.over.is_none() && (is_revoked || is_expired || self.logout == Logout::Yes) {
            self.over = Some(truth.step);
            if self.is_roomy && !self.socket.borrow().is_dropped {
                self.socket.borrow_mut().room = PLENTY;
            }
        }
    }

    /// Its identity lasts so long at most, if it was taken up in the turn that began at that moment.
    fn lasts(&mut self, now: Instant, unix_ns: i64) {
        let left = self.person.ends.map(|ends| Duration::from_nanos((ends - unix_ns).max(0) as u64));
        let late = if self.is_roomy { Duration::ZERO } else { LATE };
        self.expires = left.map(|left| now + left + late);
    }

    /// What came in the turn at this time, which began at that moment of the other clock.
    pub fn hear(&mut self, truth: &mut Truth, now: Instant, unix_ns: i64) {
        if std::mem::take(&mut self.is_new) {
            self.lasts(now, unix_ns);
        }
        let new = std::mem::take(&mut self.socket.borrow_mut().to_client);
        self.check_end(&new);
        self.unread.extend_from_slice(&new);
        let bytes = std::mem::take(&mut self.unread);
        let answers =
            [AUTHENTICATED, ANSWERED, AUTH_OK].map(|words| positions(&bytes, words).map(move |at| (at, words)));
        let mut answers: Vec<(usize, &[u8])> = answers.into_iter().flatten().collect();
        answers.sort_unstable();
        let mut answers = answers.into_iter().peekable();
        let (marks, begun) = Truth::marks(&bytes);
        for (at, mark) in &marks {
            while let Some((_, words)) = answers.next_if(|(answer, _)| answer < at) {
                self.be_answered(words, now, unix_ns);
            }
            self.judge(truth, mark);
        }
        answers.for_each(|(_, words)| self.be_answered(words, now, unix_ns));
        let keep = begun.min(partial(&bytes));
        self.unread = bytes[keep..].to_vec();
    }

    fn judge(&mut self, truth: &mut Truth, mark: &str) {
        let is_answer = truth.desks.judge(mark, self.number, &self.person);
        if let Some(over) = self.over {
            // What was answered before may stand before the end.
            let is_late = self.is_roomy && !is_answer || truth.published_at(mark) > over;
            assert!(!is_late, "{:?} is sent {mark} although its time is over", self.person);
        }
        if is_answer {
            self.heard_answers += 1;
            return;
        }
        let endpoints = std::slice::from_ref(&self.endpoint);
        match truth.judge(mark, Viewer { person: &self.person, endpoints, sight: Sight::Sent }) {
            Ok(is_private) => self.heard_private += usize::from(is_private),
            Err(wrong) => panic!("{:?} at {:?} is sent what is {wrong}", self.person, self.endpoint),
        }
    }

    fn be_answered(&mut self, words: &[u8], now: Instant, unix_ns: i64) {
        if words != ANSWERED {
            self.become_known(now, unix_ns);
        }
        if words != AUTHENTICATED {
            self.claims.pop_front().expect("nobody asked");
        }
    }

    fn become_known(&mut self, now: Instant, unix_ns: i64) {
        let claimed = self.claims.front().expect("nobody asked").clone();
        let person = claimed.unwrap_or_else(|| panic!("{:?} is let in by a token that proves nothing", self.person));
        let was = self.person.who;
        assert!(was == Who::Nobody || was == person.who, "{was:?} has become {person:?}");
        self.person = person;
        self.lasts(now, unix_ns);
    }

    /// Whoever logged out is told, and nobody else; whoever's time is over is closed, and at once.
    fn check_end(&self, new: &[u8]) {
        let is_told = LOGGED_OUT.iter().any(|words| positions(new, words).next().is_some());
        assert!(!is_told || self.logout != Logout::No, "{:?} has not logged out", self.person);
        if self.over.is_none() || !self.is_roomy || self.socket.borrow().is_closed {
            return;
        }
        let is_closed =
            new.windows(4).any(|four| four[0] == CLOSE && CODES.contains(&u16::from_be_bytes([four[2], four[3]])));
        assert!(
            is_closed || self.socket.borrow().is_dropped || new.is_empty(),
            "{:?} stays: {}",
            self.person,
            String::from_utf8_lossy(new)
        );
    }
}

fn positions<'a>(bytes: &'a [u8], words: &'a [u8]) -> impl Iterator<Item = usize> {
    let found = move |(at, window): (usize, &[u8])| (window == words).then_some(at);
    bytes.windows(words.len()).enumerate().filter_map(found)
}

/// Where the last bytes could be the beginning of an answer; one that is whole is read already.
fn partial(bytes: &[u8]) -> usize {
    let begun = |words: &[u8]| (1..words.len()).rev().find(|length| bytes.ends_with(&words[..*length])).unwrap_or(0);
    bytes.len() - [AUTHENTICATED, ANSWERED, AUTH_OK].map(begun).into_iter().max().unwrap_or(0)
}
