//! The commands of one broadcaster that have no answer yet: a bounded table in order of their deadlines, and who is there
//! to answer them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{
    Answered, Ask, DEADLINE, Declared, Failure, MAX_OPEN, MAX_OPEN_OF_ONE, MAX_PAYLOAD_BYTES, Outcome, Reason,
};
use super::{listed, shown, tell};
use crate::hub::Common;
use crate::hub::signal::{Signal, Wakes};

#[cfg(test)]
mod tests;

/// The bits of a request's number that count, a trillion of them; those above say of which broadcaster it was asked.
const COUNTING_BITS: u32 = 40;

pub struct Commands {
    broadcaster: Arc<str>,
    common: Arc<Common>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    declared: Arc<Declared>,
    /// Who answers; nobody while the broadcaster does not run.
    office: Option<Office>,
    seats: u64,
    /// The number of the newest request.
    asked: u64,
    /// The number up to which requests were told; those above wait.
    told: u64,
    /// All take equally long to their deadline, so that the order of numbers is that of deadlines.
    open: BTreeMap<u64, Request>,
}

/// One instance of a broadcaster among all that ever answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat(u64);

struct Office {
    seat: Seat,
    signal: Arc<Signal>,
    /// Requests up to this number were told to instances before.
    since: u64,
    /// The newest that it answered: as many as can be open, since a second answer soon follows the first.
    answered: VecDeque<u64>,
}

struct Request {
    command: Arc<str>,
    principal: Arc<str>,
    payload: Bytes,
    due: Instant,
    answered: Answered,
}

/// A request as a broadcaster is told it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub request: u64,
    pub command: Arc<str>,
    pub principal: Arc<str>,
    pub payload: Bytes,
    /// How long the answer is wanted.
    pub left: Duration,
}

/// Why an answer was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Whoever answers is not in office, or no longer.
    Closed,
    /// It was not asked this.
    Foreign,
    /// It has answered before.
    Double,
    /// The time to answer has passed.
    Late,
}

impl Commands {
    pub(in crate::hub) fn new(broadcaster: &Arc<str>, common: Arc<Common>) -> Arc<Self> {
        let first = common.next_broadcaster() << COUNTING_BITS;
        let inner = Inner { asked: first, told: first, ..Inner::default() };
        Arc::new(Self { broadcaster: broadcaster.clone(), common, inner: Mutex::new(inner) })
    }

    /// What may be asked from now on. What was checked by another declaration and not told yet is not told any more.
    pub(in crate::hub) fn declare(&self, declared: &Arc<Declared>) {
        let mut inner = self.lock();
        if *inner.declared != **declared {
            inner.declared = declared.clone();
            let told = inner.told;
            let untold = inner.open.split_off(&(told + 1));
            drop(inner);
            self.give_up(untold, "was replaced by one with other commands; look what it takes now");
        }
    }

    pub(super) fn are_declared(&self) -> bool {
        !self.lock().declared.is_empty()
    }

    /// The commands that somebody with these permissions may give.
    pub(super) fn names(&self, may: &dyn Fn(&str) -> bool) -> Vec<String> {
        let declared = self.lock().declared.clone();
        declared.iter().filter(|(_, spec)| may(&spec.permission)).map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn submit(
        &self,
        ask: Ask<'_>,
        may: &dyn Fn(&str) -> bool,
        answered: Answered,
        now: Instant,
    ) -> Result<(), Failure> {
        let declared = self.lock().declared.clone();
        self.check(&ask, &declared, may)?;
        let mut inner = self.lock();
        if !Arc::ptr_eq(&inner.declared, &declared) {
            return Err(Failure::new(Reason::Unavailable, "the broadcaster is being replaced; try again"));
        }
        if self.common.memory.is_full() {
            return Err(Failure::new(Reason::Full, "all of hub.memory is in use; try again later"));
        }
        let payload = if ask.payload.is_empty() { Bytes::from_static(b"null") } else { ask.payload };
        let payload = self.common.memory.hold(payload);
        let (command, principal) = (ask.command.into(), ask.principal.into());
        inner.enter(Request { command, principal, payload, due: now + DEADLINE, answered })?;
        if inner.open.len() == 1 {
            self.common.deadlines.raise(Wakes::COMMAND);
        }
        Ok(())
    }

    fn check(&self, ask: &Ask<'_>, declared: &Declared, may: &dyn Fn(&str) -> bool) -> Result<(), Failure> {
        let Some(spec) = declared.get(ask.command) else {
            let names = self.names(may);
            let known: Vec<&str> = names.iter().map(String::as_str).collect();
            let (broadcaster, command) = (shown(ask.broadcaster), shown(ask.command)); // as it was called
            let message = format!("{broadcaster} has no command \"{command}\"; you may give it {}", listed(&known));
            return Err(Failure::new(Reason::UnknownCommand, message));
        };
        if !may(&spec.permission) {
            let message = format!("this command needs the permission \"{}\", which you do not have", spec.permission);
            return Err(Failure::new(Reason::Forbidden, message));
        }
        if ask.payload.len() > MAX_PAYLOAD_BYTES {
            let message = format!("the payload of a command has at most {MAX_PAYLOAD_BYTES} bytes");
            return Err(Failure::new(Reason::TooLarge, message));
        }
        spec.shape.check(&ask.payload)
    }

    /// The broadcaster goes to work, and is told of commands by this signal. What an instance before it was told and has
    /// not answered will never be answered.
    pub fn open(&self, signal: &Arc<Signal>) -> Seat {
        let mut inner = self.lock();
        inner.seats += 1;
        let (seat, since, signal) = (Seat(inner.seats), inner.told, signal.clone());
        let untold = inner.open.split_off(&(since + 1));
        let told = std::mem::replace(&mut inner.open, untold);
        if !inner.open.is_empty() {
            signal.raise(Wakes::COMMAND);
        }
        inner.office = Some(Office { seat, signal, since, answered: VecDeque::new() });
        drop(inner);
        self.give_up(told, "was replaced before it answered; see what it did, then try again");
        seat
    }

    /// The instance ends. Nothing happens when another one took its place.
    pub fn close(&self, seat: Seat) {
        let left = self.lock().leave(|office| office.seat == seat);
        self.give_up(left, "ended before it answered; see what it did, then try again");
    }

    /// The stream is gone, and its broadcaster with it.
    pub(in crate::hub) fn remove(&self) {
        self.declare(&Arc::default());
        let left = self.lock().leave(|_| true);
        self.give_up(left, "was removed from the configuration");
    }

    /// What the instance was not told yet, oldest first. What is too late by now is told nobody.
    pub fn take(&self, seat: Seat, now: Instant) -> Vec<Asked> {
        let mut inner = self.lock();
        let expired = inner.expired(now);
        let asked = if inner.holds(seat) { inner.tell(now) } else { Vec::new() };
        drop(inner);
        self.end_late(expired);
        asked
    }

    /// Answers a request, from any thread.
    pub fn reply(&self, seat: Seat, request: u64, outcome: Outcome, now: Instant) -> Result<(), Refused> {
        let answered = self.lock().answer(seat, request)?;
        if answered.due <= now {
            self.end_late(vec![answered]);
            return Err(Refused::Late);
        }
        self.end(answered, outcome);
        Ok(())
    }

    /// Answers what is too late, and says when the next one is.
    pub(super) fn expire(&self, now: Instant) -> Option<Instant> {
        let mut inner = self.lock();
        let expired = inner.expired(now);
        let next = inner.open.first_key_value().map(|(_, request)| request.due);
        drop(inner);
        self.end_late(expired);
        next
    }

    fn give_up(&self, open: BTreeMap<u64, Request>, why: &str) {
        for request in open.into_values() {
            let failure = Failure::new(Reason::Unavailable, format!("the broadcaster {why}"));
            self.end(request, Err(failure));
        }
    }

    fn end_late(&self, requests: Vec<Request>) {
        for request in requests {
            let message = format!("the broadcaster did not answer within {} s; it may still do it", DEADLINE.as_secs());
            self.end(request, Err(Failure::new(Reason::Deadline, message)));
        }
    }

    /// The one way that a request ends; our lock is never held here.
    fn end(&self, request: Request, outcome: Outcome) {
        let ended = outcome.as_ref().map(|_| ()).map_err(|failure| failure.reason);
        tell(&request.principal, &self.broadcaster, &request.command, ended);
        (request.answered)(outcome);
    }

    /// A panic while the lock was held leaves requests that still have their answers to come: go on with them.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn enter(&mut self, request: Request) -> Result<(), Failure> {
        let Some(office) = &self.office else {
            return Err(Failure::new(Reason::Unavailable, "the broadcaster does not run now; try again later"));
        };
        if self.open.len() == MAX_OPEN {
            let message = format!("{MAX_OPEN} commands wait for the broadcaster already; try again later");
            return Err(Failure::new(Reason::Full, message));
        }
        let theirs = self.open.values().filter(|open| open.principal == request.principal).count();
        if theirs >= MAX_OPEN_OF_ONE {
            let message =
                format!("{MAX_OPEN_OF_ONE} of your commands wait for the broadcaster already; try again later");
            return Err(Failure::new(Reason::Full, message));
        }
        self.asked += 1;
        self.open.insert(self.asked, request);
        office.signal.raise(Wakes::COMMAND);
        Ok(())
    }

    fn holds(&self, seat: Seat) -> bool {
        self.office.as_ref().is_some_and(|office| office.seat == seat)
    }

    fn tell(&mut self, now: Instant) -> Vec<Asked> {
        let untold = self.open.range_mut(self.told + 1..);
        let asked: Vec<Asked> = untold
            .map(|(number, request)| Asked {
                request: *number,
                command: request.command.clone(),
                principal: request.principal.clone(),
                payload: std::mem::take(&mut request.payload),
                left: request.due.saturating_duration_since(now),
            })
            .collect();
        self.told = asked.last().map_or(self.told, |last| last.request);
        asked
    }

    fn answer(&mut self, seat: Seat, number: u64) -> Result<Request, Refused> {
        let Some(office) = self.office.as_mut().filter(|office| office.seat == seat) else {
            return Err(Refused::Closed);
        };
        if number <= office.since || number > self.told {
            return Err(Refused::Foreign);
        }
        let Some(request) = self.open.remove(&number) else {
            return Err(if office.answered.contains(&number) { Refused::Double } else { Refused::Late });
        };
        if office.answered.len() == MAX_OPEN {
            office.answered.pop_front();
        }
        office.answered.push_back(number);
        Ok(request)
    }

    fn expired(&mut self, now: Instant) -> Vec<Request> {
        let mut expired = Vec::new();
        while let Some(first) = self.open.first_entry().filter(|first| first.get().due <= now) {
            expired.push(first.remove());
        }
        expired
    }

    /// Nobody is in office any more, if `is_theirs`; what has no answer then.
    fn leave(&mut self, is_theirs: impl Fn(&Office) -> bool) -> BTreeMap<u64, Request> {
        match self.office.take_if(|office| is_theirs(office)) {
            Some(_) => std::mem::take(&mut self.open),
            None => BTreeMap::new(),
        }
    }
}
