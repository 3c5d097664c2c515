//! What was published, and whether a client was told and shown all of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Heard;
use super::world::{Session, Silence, Told, session};

/// An instance as it was told last: state, since, version.
type Brief = (String, String, u64);
type Board = BTreeMap<(String, String), Brief>;

/// What was published.
pub struct Entry {
    pub seq: u64,
    pub session: String,
    pub kind: String,
    pub data: Value,
}

impl Entry {
    pub fn told(&self) -> Told {
        let text = |name: &str| self.data[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| self.data[name].as_u64();
        let numbers = || Some((text("since"), number("version").unwrap(), number("duration_ms")));
        let (what, numbers) = match self.kind.as_str() {
            "illegal_transition" => (text("reason"), None),
            "instance_removed" => (text("final_state"), None),
            _ => (text("state"), numbers()),
        };
        (self.kind.clone(), text("instance_id"), what, numbers)
    }
}

/// Goes through the log as a client did, and knows what it must have been told and shown.
pub struct Ledger<'a> {
    log: Vec<&'a Entry>,
    at: usize,
    board: Board,
    /// Illegal transitions and silences are not told to pages, and their messages have no numbers.
    is_page: bool,
    losses: usize,
    silent: BTreeSet<(String, String)>,
    /// What a page was shown just now.
    shown: Option<Board>,
}

impl<'a> Ledger<'a> {
    pub fn new(log: &'a [Entry], of: Option<usize>) -> Self {
        let is_meant = |entry: &&Entry| of.is_none_or(|producer| entry.session == session(producer));
        Self {
            log: log.iter().filter(is_meant).collect(),
            at: 0,
            board: Board::new(),
            is_page: false,
            losses: 0,
            silent: BTreeSet::new(),
            shown: None,
        }
    }

    /// The one of a page.
    pub fn of_page(self) -> Self {
        Self { is_page: true, ..self }
    }

    pub fn check(mut self, heard: &Heard) -> usize {
        for message in heard.connections.iter().flatten() {
            match message["type"].as_str().unwrap() {
                "response" => assert_eq!(message.get("error_code"), None, "{message}"),
                "status" => {
                    self.losses += usize::from(message["data"]["status"] == "lagged" || message["status"] == "lagged")
                }
                "full_update" => self.take_snapshot(message),
                _ => self.take_event(message),
            }
        }
        assert!(self.log[self.at..].iter().all(|entry| self.is_untold(entry)), "it has not heard everything");
        self.losses
    }

    fn take_event(&mut self, message: &Value) {
        self.move_on_to(message);
        while self.log.get(self.at).is_some_and(|entry| self.is_untold(entry)) {
            self.step();
        }
        let entry = self.log.get(self.at).unwrap_or_else(|| panic!("nothing was published after {message}"));
        assert_eq!(said(message), (&*entry.kind, &*entry.session, &entry.data), "number {}", entry.seq);
        if !self.is_page {
            assert_eq!(message["seq"], entry.seq, "{message}");
            let same = |earlier: &&&Entry| earlier.session == entry.session;
            let prev = self.log[..self.at].iter().rev().find(same).map(|earlier| earlier.seq);
            assert_eq!(message["prev"].as_u64(), prev, "{message}");
        }
        self.step();
    }

    fn take_snapshot(&mut self, message: &Value) {
        let brief = |one: &Value| {
            let text = |name: &str| one[name].as_str().unwrap().to_owned();
            let key = (text("session_id"), text("instance_id"));
            (key, (text("state"), text("since"), one["version"].as_u64().unwrap()))
        };
        let shown: Board = message["data"]["instances"].as_array().unwrap().iter().map(brief).collect();
        if let Some(seq) = message["seq"].as_u64() {
            assert!(self.at == 0 || self.log[self.at - 1].seq <= seq, "{message} is older than what was told");
            while self.log.get(self.at).is_some_and(|entry| entry.seq <= seq) {
                self.step();
            }
        }
        // A page is not told the moment: it must be one that was, and not before what it has heard.
        while self.is_page && self.board != shown && self.at < self.log.len() {
            self.step();
        }
        assert_eq!(self.board, shown, "{message}");
        self.shown = self.is_page.then_some(shown);
        let instances = message["data"]["instances"].as_array().unwrap();
        for one in instances.iter().filter(|one| !self.is_page && one["stale"] == true) {
            assert!(self.silent.contains(&brief(one).0), "nobody was told that it is stale: {one}");
        }
    }

    /// What a page was shown may have been so several times; by what it hears next one knows which it was.
    fn move_on_to(&mut self, message: &Value) {
        let Some(shown) = self.shown.take() else { return };
        let is_next = |ledger: &Self| {
            let next = ledger.log[ledger.at..].iter().find(|entry| !ledger.is_untold(entry));
            next.is_none_or(|entry| said(message) == (&*entry.kind, &*entry.session, &entry.data))
        };
        while self.board != shown || !is_next(self) {
            self.step();
        }
    }

    fn is_untold(&self, entry: &Entry) -> bool {
        self.is_page && (entry.kind == "illegal_transition" || is_silence(&entry.kind))
    }

    fn step(&mut self) {
        let entry = self.log[self.at];
        self.at += 1;
        let key = (entry.session.clone(), entry.data["instance_id"].as_str().unwrap().to_owned());
        if is_silence(&entry.kind) {
            let (state, since, _) = &self.board[&key];
            assert_eq!((&entry.data["state"], &entry.data["since"]), (&json!(state), &json!(since)), "{key:?}");
            let is_stale = entry.kind == "instance_stale";
            _ = if is_stale { self.silent.insert(key) } else { self.silent.remove(&key) };
            return;
        }
        match entry.told() {
            (kind, ..) if kind == "instance_removed" => {
                self.silent.remove(&key);
                self.board.remove(&key).unwrap();
            }
            (kind, _, state, Some((since, version, _))) => {
                if kind == "instance_added" {
                    self.silent.remove(&key);
                }
                self.board.insert(key, (state, since, version));
            }
            _ => {}
        }
    }
}

/// Every silence that was told is one that there was, as far as a broadcaster that is started again may know of it.
/// How many were not told.
pub fn check_silences<'a>(told: impl Iterator<Item = &'a Entry>, session: &Session) -> usize {
    let (mut before, mut begun, mut ended) = (0, BTreeSet::new(), BTreeSet::new());
    for entry in told {
        if !is_silence(&entry.kind) {
            before += 1;
            continue;
        }
        let (id, idle) = (entry.data["instance_id"].as_str().unwrap(), entry.data["idle_ms"].as_u64().unwrap());
        let is_stale = entry.kind == "instance_stale";
        let fits = |(number, silence): &(usize, &Silence)| {
            let is_of_now =
                silence.id == id && silence.from <= before && silence.until.is_none_or(|until| before <= until);
            let recovers = silence.until == Some(before) && silence.recovered == Some(idle) && !ended.contains(number);
            is_of_now && if is_stale { idle >= silence.idle } else { recovers } && begun.contains(number) != is_stale
        };
        let found = session.silences.iter().enumerate().rfind(fits);
        let (number, _) = found.unwrap_or_else(|| panic!("there is no such silence, or it was told: {:?}", entry.data));
        if is_stale { &mut begun } else { &mut ended }.insert(number);
    }
    let ends = session.silences.iter().filter(|silence| silence.recovered.is_some()).count();
    session.silences.len() - begun.len() + ends - ended.len()
}

fn said(message: &Value) -> (&str, &str, &Value) {
    (message["type"].as_str().unwrap(), message["session_id"].as_str().unwrap(), &message["data"])
}

pub fn is_silence(kind: &str) -> bool {
    ["instance_stale", "instance_recovered"].contains(&kind)
}
