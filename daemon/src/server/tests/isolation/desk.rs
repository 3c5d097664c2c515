//! Broadcasters that take commands: each answer is for the one connection or request that asked, and what follows from it
//! for its user alone.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use bytes::Bytes;
use fastrand::Rng;
use serde_json::{Value, json};

use super::people::Person;
use super::truth::STREAMS;
use crate::hub::Hub;
use crate::hub::commands::{Asked, Declared, Failure, Reason, Seat, Shape, Spec};

/// A private and a public one of the streams.
pub const DESKS: [usize; 2] = [0, 2];
pub const COMMAND: &str = "note";
pub const PERMISSION: &str = "desk.note";

/// What such a broadcaster declares.
pub static DECLARED: LazyLock<Arc<Declared>> = LazyLock::new(|| {
    let spec = Spec { shape: Shape::new(&json!({"required": ["from"]})).unwrap(), permission: PERMISSION.to_owned() };
    Arc::new([(COMMAND.to_owned(), spec)].into())
});

pub struct Desks {
    hub: Arc<Hub>,
    rng: Rng,
    seats: [Option<Seat>; DESKS.len()],
    /// What has no answer yet, with its desk and the instance that was told.
    waiting: Vec<(usize, Seat, Asked)>,
    answers: Vec<Answer>,
}

/// An answer that was given, for whom.
#[derive(Debug)]
struct Answer {
    from: u64,
    principal: Arc<str>,
    step: u64,
}

/// The payload of whoever has this number.
pub fn payload(from: u64) -> Value {
    json!({"from": from})
}

impl Desks {
    pub fn new(hub: Arc<Hub>, rng: Rng) -> Self {
        Self { hub, rng, seats: [None; DESKS.len()], waiting: Vec::new(), answers: Vec::new() }
    }

    /// A broadcaster begins, or another instance takes its place: what the one before was told it can answer no more.
    pub fn open(&mut self) {
        let desk = self.rng.usize(..DESKS.len());
        let commands = self.hub.stream(STREAMS[DESKS[desk]]).unwrap().commands().clone();
        self.seats[desk] = Some(commands.open(&Arc::default()));
    }

    /// Takes what is asked, and answers so many of all that wait in any order. Who asked what was answered, by name.
    pub fn answer(&mut self, most: usize, step: u64) -> Vec<Arc<str>> {
        for (desk, seat) in self.seats.iter().enumerate() {
            let Some(seat) = *seat else { continue };
            let commands = self.hub.stream(STREAMS[DESKS[desk]]).unwrap().commands().clone();
            self.waiting.extend(commands.take(seat, Instant::now()).into_iter().map(|asked| (desk, seat, asked)));
        }
        let mut answered = Vec::new();
        for _ in 0..most.min(self.waiting.len()) {
            let (desk, seat, asked) = self.waiting.swap_remove(self.rng.usize(..self.waiting.len()));
            let mark = format!("~(c{})~", self.answers.len());
            let said: Value = serde_json::from_slice(&asked.payload).unwrap();
            let from = said["from"].as_u64().unwrap();
            self.answers.push(Answer { from, principal: asked.principal.clone(), step });
            let outcome = match self.rng.bool() {
                true => Ok(Bytes::from(format!("\"{mark}\""))),
                false => Err(Failure::new(Reason::Conflict, mark)),
            };
            let commands = self.hub.stream(STREAMS[DESKS[desk]]).unwrap().commands().clone();
            if commands.reply(seat, asked.request, outcome, Instant::now()).is_ok() {
                answered.push(asked.principal);
            }
        }
        answered
    }

    /// When the answer of a mark was given, if it is one.
    pub fn answered_at(&self, mark: &str) -> Option<u64> {
        Some(self.find(mark)?.step)
    }

    /// Whether a mark is of an answer; it must be one to whoever has this number.
    pub fn judge(&self, mark: &str, from: u64, person: &Person) -> bool {
        let Some(answer) = self.find(mark) else { return false };
        let is_own = answer.from == from && Some(&*answer.principal) == person.principal().as_deref();
        assert!(is_own, "{person:?}, number {from}, is shown {answer:?}");
        true
    }

    fn find(&self, mark: &str) -> Option<&Answer> {
        Some(&self.answers[mark.strip_prefix('c')?.parse::<usize>().ok()?])
    }
}
