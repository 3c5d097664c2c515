//! The hand-over under one order of its threads after another: nobody sleeps while something waits, and what was
//! refused is made good.

#[path = "handover.rs"]
#[expect(clippy::duplicate_mod, reason = "it is the same file with other primitives")]
mod handover;

use std::collections::VecDeque;
use std::sync::Arc as Shared;
use std::time::Instant;

use bytes::Bytes;
use shuttle::sync::{Arc, Condvar, Mutex};

use self::handover::{Bell, Handover};
use crate::event::{Encoded, Event, Flags, LogId};
use crate::hub::pattern::Pattern;
use crate::hub::records::Snapshot;
use crate::hub::settings::Source;
use crate::hub::targets::{Full, Outlet, Targets};
use crate::memory::Memory;

/// What the hand-over is made of here.
mod sync {
    pub use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    pub use shuttle::sync::mpsc::{Receiver, Sender, channel};
}

const PUBLISHERS: u64 = 2;
const EVENTS_OF_EACH: u64 = 3;
const WEIGHT: usize = 10;
/// Orders that are tried at random, and by few changes between threads at the worst places.
const RANDOM_ORDERS: usize = 5000;
const PCT_ORDERS: usize = 5000;
const PCT_DEPTH: usize = 3;

/// An `eventfd`: rung until it is heard.
#[derive(Default)]
struct Eventfd {
    is_rung: Mutex<bool>,
    rings: Condvar,
}

type Queue = Handover<Shared<Event>, Eventfd>;

/// The queue, as the hub knows it.
struct Door(Shared<Queue>);

/// A stream as far as it takes part: under one lock a number, what was published, and who is told.
#[derive(Default)]
struct Stream {
    history: Vec<Shared<Event>>,
    targets: Targets,
}

impl Eventfd {
    fn wait(&self) {
        let mut is_rung = self.is_rung.lock().unwrap();
        while !*is_rung {
            is_rung = self.rings.wait(is_rung).unwrap();
        }
    }

    fn silence(&self) {
        *self.is_rung.lock().unwrap() = false;
    }
}

impl Bell for Eventfd {
    fn ring(&self) {
        *self.is_rung.lock().unwrap() = true;
        self.rings.notify_one();
    }
}

impl Outlet for Door {
    fn id(&self) -> u64 {
        0
    }

    fn offer(&self, event: &Shared<Event>) -> Result<(), Full> {
        self.0.offer(WEIGHT, event.clone())
    }

    fn records_replaced(&self, _: LogId, _: u64, _: &Snapshot) {}

    fn source_changed(&self, _: LogId, _: u64, _: &Source) {}
}

impl Stream {
    fn publish(&mut self) {
        let event = Shared::new(event(self.history.len() as u64 + 1));
        self.history.push(event.clone());
        self.targets.deliver(&event);
    }

    /// One event that the queue had refused, if there is one.
    fn catch_up(&mut self) -> Option<Shared<Event>> {
        let event = self.history.get(self.targets.behind(0)? as usize).cloned();
        let (newest, reached) = (self.history.len() as u64, event.as_ref().map_or(u64::MAX, |event| event.seq));
        self.targets.caught_up(0, reached, newest);
        event
    }
}

fn event(seq: u64) -> Event {
    let name: Shared<str> = "bars".into();
    Event {
        log: LogId(0),
        seq,
        prev: 0,
        flags: Flags::default(),
        stream: name.clone(),
        topic: name.clone(),
        kind: name.clone(),
        key: "".into(),
        audience: name,
        session_id: None,
        payload: Bytes::new(),
        unix_ns: 0,
        published: Instant::now(),
        encoded: Encoded::default(),
        charge: Shared::new(Memory::default()).charge(0),
    }
}

/// Publishers against a shard that waits for nothing but its bell: no tick comes to its help.
fn publishers_and_a_shard(room_for: usize) {
    let (queue, receiver) = Handover::new(room_for * WEIGHT, Eventfd::default());
    let queue: Shared<Queue> = Shared::new(queue);
    let stream = Arc::new(Mutex::new(Stream::default()));
    let outlet: Shared<dyn Outlet> = Shared::new(Door(queue.clone()));
    stream.lock().unwrap().targets.subscribe(&outlet, &[Pattern::whole("bars")]);
    for _ in 0..PUBLISHERS {
        let stream = stream.clone();
        shuttle::thread::spawn(move || (0..EVENTS_OF_EACH).for_each(|_| stream.lock().unwrap().publish()));
    }
    let (mut stash, mut seen) = (VecDeque::new(), Vec::new());
    while (seen.len() as u64) < PUBLISHERS * EVENTS_OF_EACH {
        if queue.fall_asleep(&receiver, &mut stash) {
            queue.bell().wait();
        }
        queue.wake_up();
        queue.bell().silence();
        take_all_in(&queue, &receiver, &mut stash, &mut seen);
        if queue.take_overflow() && is_behind(&stream) {
            take_all_in(&queue, &receiver, &mut stash, &mut seen);
            seen.extend(catch_up(&stream).map(|event| event.seq));
            if is_behind(&stream) {
                queue.look_again();
            }
        }
    }
    assert_eq!(seen, (1..=PUBLISHERS * EVENTS_OF_EACH).collect::<Vec<u64>>(), "each once and in order");
    assert_eq!(queue.queued_bytes(), 0, "nothing waits any more");
    queue.offer(room_for * WEIGHT, Shared::new(event(0))).expect("all room is there again");
}

fn take_all_in(
    queue: &Queue,
    receiver: &sync::Receiver<Shared<Event>>,
    stash: &mut VecDeque<Shared<Event>>,
    seen: &mut Vec<u64>,
) {
    while let Some(event) = stash.pop_front().or_else(|| receiver.try_recv().ok()) {
        queue.taken(WEIGHT);
        seen.push(event.seq);
    }
}

fn is_behind(stream: &Mutex<Stream>) -> bool {
    stream.lock().unwrap().targets.behind(0).is_some()
}

fn catch_up(stream: &Mutex<Stream>) -> Option<Shared<Event>> {
    stream.lock().unwrap().catch_up()
}

#[test]
fn in_every_order_each_event_comes_once_and_nobody_oversleeps() {
    for room_for in [1, 2, 100] {
        shuttle::check_random(move || publishers_and_a_shard(room_for), RANDOM_ORDERS);
        shuttle::check_pct(move || publishers_and_a_shard(room_for), PCT_ORDERS, PCT_DEPTH);
    }
}
