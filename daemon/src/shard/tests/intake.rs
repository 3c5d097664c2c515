//! How much a shard takes in at once: all that was there at a moment and nothing that comes meanwhile.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake};

use tokio::sync::oneshot::{Receiver, channel};

use super::super::MAX_INBOUND_PER_TURN;
use super::super::census::Ask;
use super::super::inbox::MAX_QUEUED_BYTES;
use super::super::intake::MAX_COPIED;
use super::super::poll::Epoll;
use super::*;
use crate::dialect::{Command, Target};

#[test]
fn what_comes_meanwhile_waits_for_its_turn() {
    let (mut shard, ..) = standing();
    let inbox = shard.inbox.clone();
    let looks = Cell::new(0);
    let hand = || inbox.hand(Inbound::LogOut("nobody".into()));
    (0..2).for_each(|_| hand());
    shard.take_in_until_now(|_| {
        looks.set(looks.get() + 1);
        assert!(looks.get() < 100, "it does not end");
        hand();
        false
    });
    assert_eq!(looks.get(), 3, "what was there, and its end");
    assert_eq!(MAX_INBOUND_PER_TURN - shard.take_all_in(MAX_INBOUND_PER_TURN), 3);
}

/// Somebody who publishes as soon as an operator's question has been answered, and asks the next.
struct Restless {
    bars: Arc<Stream>,
    inbox: Arc<Inbox>,
    asked: AtomicUsize,
    answer: Mutex<Option<Receiver<bool>>>,
}

impl Restless {
    fn ask(self: &Arc<Self>) {
        assert!(self.asked.fetch_add(1, Ordering::Relaxed) < 100, "it does not end");
        let (sender, mut receiver) = channel();
        let waker = self.clone().into();
        assert!(Pin::new(&mut receiver).poll(&mut Context::from_waker(&waker)).is_pending());
        *self.answer.lock().unwrap() = Some(receiver);
        self.inbox.hand(Inbound::Ask(Ask::Close(u64::MAX, sender)));
    }
}

impl Wake for Restless {
    fn wake(self: Arc<Self>) {
        publish(&self.bars, "A:1", Flags::default(), "{}");
        self.ask();
    }
}

#[test]
fn what_is_published_while_a_history_is_read_waits_for_its_turn() {
    let (mut shard, bars, _client) = standing();
    let large = format!("\"{}\"", "x".repeat(MAX_QUEUED_BYTES));
    publish(&bars, "A:1", Flags::default(), &large); // is not handed over
    let (inbox, asked, answer) = (shard.inbox.clone(), AtomicUsize::new(0), Mutex::default());
    let restless = Arc::new(Restless { bars: bars.clone(), inbox: inbox.clone(), asked, answer });
    restless.ask();
    assert!(shard.inbox.take_overflow());
    shard.read_histories();
    *restless.answer.lock().unwrap() = None; // it asks no more
    assert_eq!((restless.asked.load(Ordering::Relaxed), bars.owed_up_to("", inbox.id())), (2, Some(2)));
    assert!(inbox.has_overflowed(), "it does not wait before it has looked again");
}

#[test]
fn what_is_told_of_the_source_behind_an_answer_is_told_behind_it() {
    let (mut shard, bars, _client) = standing();
    shard.flush();
    let patterns = [Pattern::whole("bars")];
    let wish = Wish { patterns: &patterns, audience: "", reader: Reader::Client, since: None };
    let answered = bars.subscribe(&wish, &shard.outlet).unwrap();
    // As where events in between found no room in the inbox.
    shard.inbox.source_changed(answered.log, answered.position.seq + 1, &Source::Absent("it failed".into()));
    shard.catch_up_to(0, &answered);
    assert!(shard.connections[0].outbox.is_empty(), "the subscription has no seat yet, and would not hear of it");
    shard.take_all_in(MAX_INBOUND_PER_TURN);
    shard.distribute();
    assert!(!shard.connections[0].outbox.is_empty());
}

/// Clients of server-sent events that take nothing, and a stream of which each event is much for all of them.
struct Crowded {
    shard: super::super::Shard<Epoll>,
    bars: Arc<Stream>,
    _clients: (Client, Vec<UnixStream>),
}

/// Together events of one more than may be copied at once.
const CLIENTS: usize = 64;
const PAYLOAD: usize = 64 << 10;
const EVENTS: usize = MAX_COPIED / (CLIENTS * PAYLOAD) + 4;

impl Crowded {
    fn new() -> Self {
        let (mut shard, bars, native) = standing();
        shard.config.outbox = 4 * PAYLOAD;
        let come = |_| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let wish = Command::Subscribe { target: Target::Topic("bars".to_owned()), since: None, batch: None };
            let endpoint = Endpoint::open("/v1/sse", Dialect::Sse);
            let newcomer = Newcomer { wishes: vec![wish], ..Newcomer::over(ours, endpoint.into()) };
            shard.inbox.hand(Inbound::Adopt(Box::new(newcomer)));
            theirs
        };
        let pages = (0..CLIENTS).map(come).collect();
        shard.take_all_in(MAX_INBOUND_PER_TURN);
        shard.answer_waiting();
        let payload = format!("{{\"pad\":\"{}\"}}", "x".repeat(PAYLOAD));
        for _ in 0..EVENTS {
            let draft = Draft { kind: "bar", topic: "A", payload: payload.as_bytes(), ..Draft::default() };
            bars.publish(&draft, None).unwrap();
        }
        Self { shard, bars, _clients: (native, pages) }
    }

    /// How many of the events it takes in now.
    fn takes(&mut self) -> usize {
        MAX_INBOUND_PER_TURN - self.shard.take_all_in(MAX_INBOUND_PER_TURN)
    }

    /// What waits for those who share no bytes.
    fn waiting(&self) -> usize {
        self.shard.connections.iter().skip(1).map(|(_, connection)| connection.outbox.bytes()).sum()
    }
}

#[test]
fn what_would_be_copied_too_often_waits_for_the_next_turn() {
    let mut crowded = Crowded::new();
    let first = crowded.takes();
    let copied = crowded.shard.groups.copied();
    let each = copied / first;
    assert!(first < EVENTS && copied >= MAX_COPIED && copied - each < MAX_COPIED, "{first} at once, {each} bytes each");
    crowded.shard.distribute();
    assert_eq!(crowded.takes(), 0, "nothing has been offered yet");
    crowded.shard.flush();
    assert_eq!(first + crowded.takes(), EVENTS);
}

#[test]
fn who_must_know_all_at_once_has_it_offered_in_between() {
    let mut crowded = Crowded::new();
    let patterns = [Pattern::whole("bars")];
    let wish = Wish { patterns: &patterns, audience: "", reader: Reader::Client, since: None };
    let answered = crowded.bars.answer(&wish).unwrap();
    crowded.shard.catch_up_to(0, &answered);
    assert_eq!(crowded.takes(), 0, "all was taken in");
    assert!(crowded.waiting() < MAX_COPIED, "{} bytes wait", crowded.waiting());
    assert!(crowded.shard.connections.iter().skip(1).all(|(_, connection)| connection.lagged == 1));
}
