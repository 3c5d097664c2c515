//! A running shard against real sockets: what clients get, in which order, and what slow ones are told.

mod batching;
pub mod driven;
mod edges;
mod intake;
mod memory;
mod model;
mod names;
mod patience;
mod sharing;
mod spc;
mod sse;
mod streams;
mod together;
mod wordless;

use std::mem::offset_of;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broadcastd_plugin_api::KindSpec;
use serde_json::{Value, json};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

use super::connection::Connection;
use super::encoding::Deflation;
use super::inbox::{Endpoint, Inbound, Inbox, Newcomer};
use super::poll::{Means, Ready};
use super::{Config, Handle};
use crate::dialect::Dialect;
use crate::event::{Draft, Flags};
use crate::hub::history::Bounds;
use crate::hub::interest::MAX_PATTERNS;
use crate::hub::log::Limits;
use crate::hub::pattern::Pattern;
use crate::hub::settings::{Flush, Lag, Settings, Source};
use crate::hub::stream::Stream;
use crate::hub::targets::Outlet;
use crate::hub::template::Template;
use crate::hub::{Hub, Reader, Wish};
use crate::rate::Rate;

/// What these tests are not about is not refused.
const UNHURRIED: Rate = Rate { per_second: NonZeroU32::new(1_000_000).unwrap(), burst: 1_000_000 };

pub(super) const CONFIG: Config = Config {
    outbox: 64 << 10,
    max_subscriptions: 20,
    rate: UNHURRIED,
    max_message: 16 << 10,
    deflation: Deflation { min_size: 512, level: 1 },
    ping_every: Duration::from_secs(30),
    drop_after: Duration::from_secs(90),
    flush: Flush::Every(Duration::ZERO),
};
/// No answer within this time is a failure, not slowness.
const PATIENCE: Duration = Duration::from_secs(20);

/// The back end that the environment names: `BROADCASTD_TEST_BACKEND=io_uring` has the same tests run on that.
fn means() -> Means {
    match std::env::var("BROADCASTD_TEST_BACKEND").as_deref() {
        Ok("io_uring") => Means::IoUring,
        Ok("epoll") | Err(_) => Means::Epoll,
        Ok(other) => panic!("no back end is called {other}"),
    }
}

struct House {
    hub: Arc<Hub>,
    shard: Handle,
}

impl House {
    fn new(config: Config) -> Self {
        let hub = Hub::new("epoch");
        Self { shard: Handle::start(0, means(), config, hub.clone(), Arc::default()).unwrap(), hub }
    }

    fn bars(&self, lag: Lag) -> Arc<Stream> {
        let template = Template::parse("{symbol}:{resolution=1}").unwrap();
        let bar = KindSpec { schema: true.into(), collection: Some("bars".to_owned()), record: None };
        let kinds = [("bar".to_owned(), bar)].into();
        self.hub.declare("bars", Settings { template, lag, kinds, ..Settings::default() })
    }

    fn connect(&self) -> Client {
        self.connect_at(Endpoint::open("/v1/ws", Dialect::Native))
    }

    fn connect_at(&self, endpoint: Endpoint) -> Client {
        let (newcomer, client) = newcomer_at(endpoint);
        self.shard.inbox.hand(Inbound::Adopt(Box::new(newcomer)));
        client
    }

    /// A client that has read its first frame.
    fn greeted(&self) -> Client {
        let mut client = self.connect();
        assert_eq!(client.next()["data"]["status"], "connected");
        client
    }
}

fn newcomer() -> (Newcomer, Client) {
    newcomer_at(Endpoint::open("/v1/ws", Dialect::Native))
}

fn newcomer_at(endpoint: Endpoint) -> (Newcomer, Client) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    ours.set_read_timeout(Some(PATIENCE)).unwrap();
    let newcomer = Newcomer::over(OwnedFd::from(theirs), endpoint.into());
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    (newcomer, Client(WebSocket::from_raw_socket(ours, Role::Client, Some(config))))
}

struct Client(WebSocket<UnixStream>);

impl Client {
    fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).unwrap();
    }

    fn next(&mut self) -> Value {
        serde_json::from_str(&self.next_text()).unwrap()
    }

    fn next_text(&mut self) -> String {
        loop {
            match self.0.read().unwrap() {
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("expected text, got {other:?}"),
            }
        }
    }

    fn next_close(&mut self) -> CloseFrame {
        self.rest().1
    }

    /// All that is said up to the close, and the close.
    fn rest(&mut self) -> (String, CloseFrame) {
        let mut said = String::new();
        loop {
            match self.0.read().unwrap() {
                Message::Text(text) => said.push_str(&text),
                Message::Close(frame) => return (said, frame.unwrap()),
                _ => {}
            }
        }
    }

    /// Subscribes and returns the reply and the snapshot.
    fn subscribe(&mut self, message: Value) -> (Value, Value) {
        self.say(&message);
        let reply = self.next();
        assert_eq!(reply["data"]["status"], "subscribed", "{reply}");
        (reply, self.next())
    }
}

fn publish(stream: &Stream, topic: &str, flags: Flags, payload: &str) -> u64 {
    let draft = Draft { kind: "bar", topic, key: "current", flags, payload: payload.as_bytes(), ..Draft::default() };
    stream.publish(&draft, None).unwrap().seq
}

/// The text with what changes from run to run replaced.
fn stable(text: &str) -> String {
    let start = text.find("\"timestamp\":\"").map_or(text.len(), |at| at + 13);
    let end = (start + 24).min(text.len());
    format!("{}TIME{}", &text[..start], &text[end..])
}

#[test]
fn a_subscription_begins_with_its_snapshot_and_goes_on_live() {
    let house = House::new(CONFIG);
    let bars = house.bars(Lag::Resync);
    publish(&bars, "AAPL:1", Flags::default(), r#"{"close":1.0}"#);
    let mut client = house.connect();
    let mut said = vec![client.next_text()];
    client.say(&json!({"type": "subscribe", "stream": "bars", "params": {"symbol": "AAPL"}, "id": "3"}));
    said.extend([client.next_text(), client.next_text()]);
    publish(&bars, "MSFT:1", Flags::default(), r#"{"close":2.0}"#);
    publish(&bars, "AAPL:1", Flags::default(), r#"{"close":3.0}"#);
    said.push(client.next_text());
    client.say(&json!({"type": "unsubscribe", "topic": "bars:AAPL:1", "id": 4}));
    client.say(&json!({"type": "ping"}));
    client.say(&json!({"type": "streams", "id": "s"}));
    client.say(&json!({"type": "unsubscribe", "topic": "bars:AAPL:1"}));
    client.say(&json!({"type": "subscribe", "stream": "nope", "id": "5"}));
    said.extend((0..5).map(|_| client.next_text()));
    let expected = [
        r#"{"type":"status","stream":"system","session_id":null,"data":{"status":"connected","client_id":"epoch-0-0","protocol":"broadcastd.v1","heartbeat_s":30,"streams":["bars"]},"timestamp":"TIME"}"#,
        r#"{"type":"response","stream":"bars","session_id":null,"data":{"status":"subscribed","topic":"bars:AAPL:1","params":{"symbol":"AAPL"},"epoch":"epoch","recovered":false},"timestamp":"TIME","seq":1,"id":"3"}"#,
        r#"{"type":"full_update","stream":"bars","session_id":null,"data":{"bars":[{"close":1.0}]},"timestamp":"TIME","seq":1,"epoch":"epoch","topic":"bars:AAPL:1"}"#,
        r#"{"type":"bar","stream":"bars","session_id":null,"data":{"close":3.0},"timestamp":"TIME","seq":3,"prev":1,"topic":"bars:AAPL:1"}"#,
        r#"{"type":"response","stream":"bars","session_id":null,"data":{"status":"unsubscribed","topic":"bars:AAPL:1"},"timestamp":"TIME","id":4}"#,
        r#"{"type":"status","stream":"system","session_id":null,"data":{"status":"pong"},"timestamp":"TIME"}"#,
        r#"{"type":"response","stream":"system","session_id":null,"data":{"status":"streams","streams":["bars"]},"timestamp":"TIME","id":"s"}"#,
        r#"{"type":"error","stream":"bars","session_id":null,"data":{"code":"not_subscribed","message":"not subscribed to bars:AAPL:1"},"timestamp":"TIME"}"#,
        r#"{"type":"error","stream":"nope","session_id":null,"data":{"code":"unknown_stream","message":"unknown stream \"nope\"; valid streams: bars"},"timestamp":"TIME","id":"5"}"#,
    ];
    let said: Vec<String> = said.iter().map(|text| stable(text)).collect();
    assert_eq!(said, expected);
    assert_eq!(bars.figures().subscriptions, 0);
}

#[test]
fn resume_gives_exactly_the_missed_events() {
    let house = House::new(CONFIG);
    let bars = house.bars(Lag::Resync);
    for number in 1..=5 {
        publish(&bars, "A:1", Flags::default(), &format!("{{\"n\":{number}}}"));
    }
    let mut client = house.greeted();
    client.say(&json!({"type": "subscribe", "topic": "bars:A:1", "since": {"epoch": "epoch", "seq": 3}}));
    assert_eq!(client.next()["data"]["recovered"], true);
    assert_eq!((client.next()["seq"].clone(), client.next()["seq"].clone()), (json!(4), json!(5)));
    let (reply, snapshot) =
        client.subscribe(json!({"type": "subscribe", "topic": "bars:A:1", "since": {"epoch": "gone", "seq": 3}}));
    assert_eq!((&reply["data"]["recovered"], &snapshot["data"]), (&json!(false), &json!({"bars": [{"n": 5}]})));
}

#[test]
fn overlapping_subscriptions_deliver_once_and_in_order() {
    let house = House::new(CONFIG);
    let bars = house.bars(Lag::Resync);
    let mut client = house.greeted();
    for topic in ["bars:A:1", "bars:*:1", "bars", "bars:B:1"] {
        client.subscribe(json!({"type": "subscribe", "topic": topic}));
    }
    for number in 1..=200 {
        publish(&bars, ["A:1", "B:1", "C:5", ""][number % 4], Flags::default(), "{}");
    }
    let seen: Vec<u64> = (0..200).map(|_| client.next()["seq"].as_u64().unwrap()).collect();
    assert_eq!(seen, (1..=200).collect::<Vec<u64>>());
}

#[test]
fn a_subscription_in_the_middle_of_a_flood_sees_no_gap_and_no_double() {
    let house = House::new(Config { outbox: 64 << 20, ..CONFIG });
    let bars = house.bars(Lag::Resync);
    let publisher = std::thread::spawn({
        let bars = bars.clone();
        move || {
            for number in 0..30_000 {
                publish(&bars, ["A:1", "B:1"][number % 2], Flags::default(), "{}");
            }
        }
    });
    let mut client = house.greeted();
    client.subscribe(json!({"type": "subscribe", "topic": "bars:A:1"}));
    client.say(&json!({"type": "subscribe", "topic": "bars"}));
    let mut newest = 0;
    let mut whole = false;
    while newest < 30_000 {
        let message = client.next();
        let seq = message["seq"].as_u64().unwrap();
        match message["type"].as_str().unwrap() {
            "response" => {}
            "full_update" => whole = true,
            "bar" if whole => assert_eq!(seq, newest + 1, "whole stream: every number"),
            "bar" => assert!(seq > newest),
            other => panic!("{other}"),
        }
        assert!(seq >= newest, "{message} after {newest}");
        newest = seq;
    }
    publisher.join().unwrap();
    assert!(whole);
}

/// Publishes until the shard has nothing left to hand over, so that what follows is about a full outbox.
fn flood(bars: &Stream, count: usize, flags: Flags, topics: &[&str]) {
    let payload = format!("{{\"pad\":\"{}\"}}", "x".repeat(1000));
    for number in 0..count {
        publish(bars, topics[number % topics.len()], flags, &payload);
    }
}

#[test]
fn a_client_that_stops_reading_is_told_and_gets_a_fresh_snapshot() {
    let house = House::new(CONFIG);
    let bars = house.bars(Lag::Resync);
    let mut slow = house.greeted();
    slow.subscribe(json!({"type": "subscribe", "topic": "bars"}));
    let mut fast = house.greeted();
    fast.subscribe(json!({"type": "subscribe", "topic": "bars:END:1"}));
    flood(&bars, 3000, Flags::default(), &["A:1"]);
    let end = publish(&bars, "END:1", Flags::default(), "{}");
    assert_eq!(fast.next()["seq"], end, "the other client is not held up");
    let (mut newest, mut lost, mut shown) = (0, None, false);
    while newest < end || !shown {
        let message = slow.next();
        let data = &message["data"];
        match message["type"].as_str().unwrap() {
            "bar" => {
                assert_eq!(message["seq"], newest + 1, "before the loss every number, after it again");
                newest += 1;
            }
            "status" => {
                assert_eq!((&data["status"], &data["policy"]), (&json!("lagged"), &json!("resync")));
                assert!(data["from"].as_u64().unwrap() <= newest + 1, "{data} after {newest}");
                lost = data["to"].as_u64();
                newest = lost.unwrap(); // the snapshot that follows may be dropped in its turn: then this is told again
            }
            "full_update" => {
                assert_eq!((&message["resync"], message["seq"].as_u64()), (&json!(true), lost));
                shown = true;
            }
            other => panic!("{other}"),
        }
    }
    assert!(lost.is_some(), "3 MB did not fit into 64 KiB and a socket's buffer");
}

#[test]
fn one_turn_of_much_does_not_get_around_the_bound() {
    let house = House::new(CONFIG);
    let bars = house.bars(Lag::Disconnect);
    let mut slow = house.greeted();
    slow.subscribe(json!({"type": "subscribe", "topic": "bars"}));
    house.shard.configure(Config { flush: Flush::Every(Duration::from_millis(200)), ..CONFIG });
    publish(&bars, "A:1", Flags::default(), "{}"); // its turn begins the pause
    flood(&bars, 3000, Flags::default(), &["A:1"]); // all of this is one turn
    assert_eq!(u16::from(slow.next_close().code), 1013);
}

#[test]
fn the_disconnect_policy_closes_with_1013() {
    let house = House::new(CONFIG);
    let bars = house.bars(Lag::Disconnect);
    let mut slow = house.greeted();
    slow.subscribe(json!({"type": "subscribe", "topic": "bars"}));
    flood(&bars, 3000, Flags::default(), &["A:1"]);
    let close = slow.next_close();
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1013, "too far behind; resume by position"));
}

#[test]
fn a_waiting_latest_event_is_replaced_and_the_client_is_told() {
    let house = House::new(Config { outbox: 8 << 20, ..CONFIG });
    let bars = house.bars(Lag::Disconnect);
    let mut slow = house.greeted();
    slow.subscribe(json!({"type": "subscribe", "topic": "bars"}));
    flood(&bars, 600, Flags::default(), &["FILL:1"]);
    let mut fast = house.greeted();
    fast.subscribe(json!({"type": "subscribe", "topic": "bars:A:1"}));
    for number in 0..20_000 {
        publish(&bars, "A:1", Flags::LATEST, "{}");
        if number % 1000 == 999 {
            while fast.next()["seq"] != bars.figures().seq {} // so that the shard has turned
        }
    }
    let end = bars.figures().seq;
    let (mut newest, mut events, mut replaced) = (0, 0, 0);
    while newest < end || events + replaced < end {
        let message = slow.next();
        if message["type"] == "bar" {
            assert!(message["seq"].as_u64() > Some(newest));
            newest = message["seq"].as_u64().unwrap();
            events += 1;
        } else {
            assert_eq!((&message["data"]["status"], &message["data"]["policy"]), (&json!("lagged"), &json!("latest")));
            replaced += message["data"]["replaced"].as_u64().unwrap();
        }
    }
    assert_eq!(events + replaced, end, "every event came or was counted as replaced");
    assert!(replaced > 0);
}

#[test]
fn a_client_that_asks_without_reading_is_not_answered_into_memory() {
    let house = House::new(CONFIG);
    let bars = house.bars(Lag::Resync);
    publish(&bars, "A:1", Flags::default(), &format!("{{\"pad\":\"{}\"}}", "x".repeat(10_000)));
    let mut greedy = house.greeted();
    // 20,000 answers of 10 kB each: the client's own writing stops long before, because nobody reads its answers.
    greedy.0.get_ref().set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let asked =
        (0..20_000).take_while(|_| greedy.0.send(Message::text(r#"{"type":"snapshot","stream":"bars"}"#)).is_ok());
    let asked = asked.count();
    assert!(asked < 20_000, "all were taken in");
    let mut other = house.greeted();
    other.say(&json!({"type": "ping"}));
    assert_eq!(other.next()["data"]["status"], "pong");
    for _ in 0..2 * asked {
        greedy.next(); // what was taken in is answered when the client reads
    }
}

#[test]
fn an_inbox_that_overflowed_is_made_good_from_the_history() {
    let house = House::new(Config { outbox: 512 << 20, ..CONFIG });
    let history = Bounds { events: 200_000, bytes: 1 << 30, age: Duration::from_secs(300) };
    let settings = Settings { limits: Limits { history, ..Limits::default() }, ..Settings::default() };
    let bars = house.hub.declare("bars", settings);
    let mut client = house.greeted();
    client.subscribe(json!({"type": "subscribe", "topic": "bars"}));
    let payload = format!("{{\"pad\":\"{}\"}}", "x".repeat(20_000));
    let reader = std::thread::spawn(move || {
        (1..=8000u64).for_each(|number| assert_eq!(client.next()["seq"], number));
    });
    for _ in 0..8000 {
        publish(&bars, "A:1", Flags::default(), &payload); // 160 MB, more than may be queued
    }
    reader.join().unwrap();
}

#[test]
fn subscribers_are_told_when_the_source_goes_and_comes() {
    let house = House::new(CONFIG);
    let bars = house.bars(Lag::Resync);
    bars.set_source(Source::Absent("broadcaster stopped".into()));
    let mut client = house.greeted();
    let (_, snapshot) = client.subscribe(json!({"type": "subscribe", "topic": "bars"}));
    assert_eq!(snapshot["data"], json!({"bars": []}), "sent also when empty, with what it declares");
    let text = stable(&client.next_text());
    let expected = r#"{"type":"status","stream":"bars","session_id":null,"data":{"status":"no_source","reason":"broadcaster stopped"},"timestamp":"TIME"}"#;
    assert_eq!(text, expected);
    bars.set_owner(&Arc::default());
    assert_eq!(client.next()["data"]["status"], "source");
    house.hub.remove("bars");
    assert_eq!(client.next()["data"]["reason"], "the stream was removed");
}

#[test]
fn replaced_records_are_shown_to_whoever_is_subscribed() {
    let house = House::new(CONFIG);
    let bars = house.bars(Lag::Resync);
    publish(&bars, "A:1", Flags::default(), r#"{"close":1}"#);
    let mut client = house.greeted();
    client.subscribe(json!({"type": "subscribe", "topic": "bars:A:1"}));
    let tell_records = |payload: &str| {
        bars.begin_records();
        publish(&bars, "A:1", Flags::RECORD_ONLY, payload);
        bars.end_records();
    };
    tell_records(r#"{"close":1}"#);
    publish(&bars, "A:1", Flags::default(), r#"{"close":2}"#);
    assert_eq!(client.next()["data"], json!({"close": 2}), "the same records are no news");
    tell_records(r#"{"close":3}"#);
    let mut late = house.greeted();
    late.subscribe(json!({"type": "subscribe", "topic": "bars:A:1"}));
    publish(&bars, "A:1", Flags::default(), r#"{"close":4}"#);
    let shown = client.next();
    assert_eq!((&shown["resync"], &shown["data"]), (&json!(true), &json!({"bars": [{"close": 3}]})));
    assert_eq!(client.next()["data"], json!({"close": 4}));
    assert_eq!(late.next()["data"], json!({"close": 4}), "its snapshot had the new records already");
}

#[test]
fn the_number_of_subscriptions_is_bounded() {
    let house = House::new(CONFIG);
    let bars = house.bars(Lag::Resync);
    let mut client = house.greeted();
    for number in 0..20 {
        client.subscribe(json!({"type": "subscribe", "topic": format!("bars:{number}")}));
    }
    client.say(&json!({"type": "subscribe", "topic": "bars:20", "id": "x"}));
    let refused = client.next();
    assert_eq!(refused["data"]["code"], "too_many_subscriptions");
    let message = "a connection has at most 20 subscriptions; unsubscribe from some, or use a pattern";
    assert_eq!((&refused["data"]["message"], &refused["id"]), (&json!(message), &json!("x")));
    client.subscribe(json!({"type": "subscribe", "topic": "bars:7"})); // again: replaces itself
    assert_eq!(bars.figures().subscriptions, 20);
    drop(client);
    let gone = Instant::now();
    while bars.figures().subscriptions > 0 {
        assert!(gone.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
}

#[test]
fn a_silent_client_is_pinged_and_then_dropped() {
    let (ping_every, drop_after) = (Duration::from_millis(100), Duration::from_millis(900));
    let house = House::new(Config { ping_every, drop_after, ..CONFIG });
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    ours.set_read_timeout(Some(PATIENCE)).unwrap();
    let endpoint = Endpoint { streams: vec![], ..Endpoint::open("/", Dialect::Native) };
    let newcomer = Newcomer::over(theirs, endpoint.into());
    house.shard.inbox.hand(Inbound::Adopt(Box::new(newcomer)));
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut &ours, &mut bytes).unwrap(); // reads, but never answers a ping
    assert!(bytes.windows(2).any(|frame| frame == [0x89, 0]), "a ping came");
    let farewell = b"\x03\xe9silent for too long";
    assert!(bytes.ends_with(farewell), "{:?}", String::from_utf8_lossy(&bytes));
}

#[test]
fn with_a_flush_time_events_are_held_back_and_go_together() {
    let pause = Duration::from_millis(300);
    let house = House::new(CONFIG);
    let bars = house.bars(Lag::Resync);
    let mut client = house.greeted();
    client.subscribe(json!({"type": "subscribe", "topic": "bars"}));
    house.shard.configure(Config { flush: Flush::Every(pause), ..CONFIG });
    publish(&bars, "A:1", Flags::default(), "{}");
    client.next(); // sent by the turn that starts the pause
    let began = Instant::now();
    publish(&bars, "A:1", Flags::default(), "{}");
    client.next();
    let held = Instant::now();
    publish(&bars, "A:1", Flags::default(), "{}");
    publish(&bars, "B:1", Flags::default(), "{}");
    client.next();
    client.next();
    assert!(began.elapsed() >= pause, "{:?}", held - began);
}

#[test]
fn draining_tells_every_client_and_ends_the_thread() {
    let house = House::new(CONFIG);
    let mut clients: Vec<Client> = (0..20).map(|_| house.greeted()).collect();
    house.shard.drain(Instant::now() + PATIENCE);
    for client in &mut clients {
        let close = client.next_close();
        assert_eq!(u16::from(close.code), 1001);
        assert!(close.reason.starts_with("shutting down; retry in "), "{}", close.reason);
        _ = client.0.flush(); // answers the close
    }
    house.shard.wait();
}

#[test]
fn a_short_drain_tells_everybody_all_the_same() {
    let house = House::new(CONFIG);
    let mut clients: Vec<Client> = (0..20).map(|_| house.greeted()).collect();
    house.shard.drain(Instant::now() + super::TICK / 2);
    for client in &mut clients {
        assert_eq!(u16::from(client.next_close().code), 1001);
    }
    house.shard.wait();
}

/// The shard has gone around so often since: with nothing to do it does so once a tick.
fn let_it_turn(house: &House, times: u64) {
    let began = Instant::now();
    let until = house.shard.inbox.turns() + times;
    while house.shard.inbox.turns() < until {
        assert!(began.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
}

#[test]
fn a_client_that_pings_without_reading_is_not_answered_into_memory() {
    let house = House::new(CONFIG);
    let mut greedy = house.greeted();
    const PINGS: u32 = 100_000;
    let ping = |number: u32| [&number.to_be_bytes()[..], &[0; 121]].concat();
    for number in 1..=PINGS {
        greedy.0.send(Message::Ping(ping(number).into())).unwrap();
    }
    let mut other = house.greeted();
    other.say(&json!({"type": "ping"}));
    assert_eq!(other.next()["data"]["status"], "pong");
    let mut pongs = Vec::new();
    while pongs.last() != Some(&ping(PINGS)) {
        let Message::Pong(payload) = greedy.0.read().unwrap() else { panic!("something else was said") };
        pongs.push(payload.to_vec());
    }
    // What the sockets hold was sent; behind it waited the pong that had begun, and the newest.
    assert!(pongs.is_sorted() && pongs.len() < 10_000, "{} pongs", pongs.len());
}

#[test]
fn after_its_close_frame_a_connection_neither_speaks_nor_keeps_the_shard_busy() {
    let house = House::new(CONFIG);
    let client = house.greeted();
    house.shard.drain(Instant::now() + PATIENCE);
    client.0.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    let mut socket = client.0.get_ref();
    let mut begin = [0; 4];
    std::io::Read::read_exact(&mut socket, &mut begin).unwrap();
    assert_eq!((begin[0], &begin[2..]), (0x88, &1001u16.to_be_bytes()[..]));
    let mut reason = vec![0; usize::from(begin[1]) - 2];
    std::io::Read::read_exact(&mut socket, &mut reason).unwrap();
    let before = house.shard.inbox.turns();
    std::io::Write::write_all(&mut socket, &[0x81, 0x82, 0, 0, 0, 0, b'{', b'}', 0x89, 0x80, 0, 0, 0, 0]).unwrap();
    let mut after = Vec::new();
    std::io::Read::read_to_end(&mut socket, &mut after).unwrap();
    assert_eq!(after, b"");
    assert!(house.shard.inbox.turns() - before < 50, "it went around for nothing");
}

#[test]
fn a_client_that_closes_gets_what_was_on_its_way() {
    let house = House::new(Config { outbox: 64 << 20, ..CONFIG });
    let bars = house.bars(Lag::Resync);
    let mut client = house.greeted();
    client.subscribe(json!({"type": "subscribe", "topic": "bars"}));
    flood(&bars, 3000, Flags::default(), &["A:1"]);
    let_it_turn(&house, 2);
    client.0.close(None).unwrap();
    let_it_turn(&house, 4);
    let mut events = 0;
    while let Message::Text(_) = client.0.read().unwrap() {
        events += 1;
    }
    assert_eq!(events, 3000);
}

#[test]
fn a_subscription_that_is_refused_leaves_the_present_ones() {
    let house = House::new(CONFIG);
    let bars = house.bars(Lag::Resync);
    let mut client = house.greeted();
    for number in 0..20 {
        client.subscribe(json!({"type": "subscribe", "topic": format!("bars:{number}:1")}));
    }
    client.say(&json!({"type": "subscribe", "stream": "bars", "params": {"symbol": [7, 20]}}));
    assert_eq!(client.next()["data"]["code"], "too_many_subscriptions");
    let seq = publish(&bars, "7:1", Flags::default(), "{}");
    assert_eq!(client.next()["seq"], seq);
}

#[test]
fn subscribing_again_is_no_news_for_the_broadcaster() {
    let house = House::new(CONFIG);
    let bars = house.bars(Lag::Resync);
    let signal = Arc::default();
    bars.set_owner(&signal);
    let mut client = house.greeted();
    client.subscribe(json!({"type": "subscribe", "topic": "bars:A:1"}));
    assert_eq!(bars.take_demand().len(), 1);
    client.subscribe(json!({"type": "subscribe", "topic": "bars:A:1"}));
    assert_eq!(bars.take_demand(), []);
}

#[test]
fn what_a_shard_cannot_re_read_is_told_once_with_its_range() {
    let house = House::new(CONFIG);
    let history = Bounds { events: 10, ..Bounds::default() };
    let settings = Settings { limits: Limits { history, ..Limits::default() }, ..Settings::default() };
    let bars = house.hub.declare("bars", settings);
    let mut client = house.greeted();
    for topic in ["bars:A:1", "bars:B:1"] {
        client.subscribe(json!({"type": "subscribe", "topic": topic}));
    }
    for _ in 0..5 {
        publish(&bars, "QUIET:1", Flags::default(), "{}");
    }
    // No event of this size is ever handed over; both are gone from the history when the shard looks for them.
    let huge = format!("\"{}\"", "x".repeat(super::inbox::MAX_QUEUED_BYTES));
    publish(&bars, "A:1", Flags::default(), &huge);
    let status = client.next();
    assert_eq!(status["data"]["status"], "lagged", "{status}");
    assert_eq!((&status["data"]["from"], &status["data"]["to"]), (&json!(6), &json!(6)));
    assert_eq!(client.next()["resync"], true);
    let seq = publish(&bars, "B:1", Flags::default(), "{}");
    assert_eq!(client.next()["seq"], seq, "it is told once");
}

/// A shard that turns only when it is told to, with a client that has been greeted and is subscribed to all bars.
fn standing() -> (super::Shard<super::poll::Epoll>, Arc<Stream>, Client) {
    let hub = Hub::new("epoch");
    let history = Bounds { bytes: 1 << 30, ..Bounds::default() };
    let settings = Settings { limits: Limits { history, ..Limits::default() }, ..Settings::default() };
    let bars = hub.declare("bars", settings);
    let queue = super::inbox::Inbox::new(0, super::inbox::MAX_QUEUED_BYTES).unwrap();
    let mut shard = super::Shard::new(0, Config { outbox: 1 << 30, ..CONFIG }, (hub, Arc::default()), queue).unwrap();
    let (newcomer, client) = newcomer();
    shard.inbox.hand(Inbound::Adopt(Box::new(newcomer)));
    shard.take_all_in(super::MAX_INBOUND_PER_TURN);
    hear(&mut shard, r#"{"type":"subscribe","stream":"bars"}"#);
    (shard, bars, client)
}

/// The only client says this, and is answered.
fn hear(shard: &mut super::Shard<super::poll::Epoll>, text: &str) {
    hear_at(shard, text, Instant::now());
}

fn hear_at(shard: &mut super::Shard<super::poll::Epoll>, text: &str, now: Instant) {
    shard.connections[0].waiting.extend(Dialect::Native.parse(text, &[]));
    shard.talking.push(0);
    shard.now = now;
    shard.answer_waiting();
}

/// The first messages with a number that a standing shard says when it goes on.
fn said_by(mut shard: super::Shard<super::poll::Epoll>, mut client: Client, count: usize) -> Vec<(String, u64)> {
    let inbox = shard.inbox.clone();
    let reader = std::thread::spawn(move || {
        let mut said = Vec::new();
        while said.len() < count {
            let message = client.next();
            if let Some(seq) = message["seq"].as_u64().filter(|seq| *seq > 0) {
                said.push((message["type"].as_str().unwrap().to_owned(), seq));
            }
        }
        inbox.hand(Inbound::Drain { deadline: Instant::now() });
        said
    });
    shard.run();
    reader.join().unwrap()
}

#[test]
fn nobody_lags_by_what_was_not_yet_offered_to_its_socket() {
    let (mut shard, bars, _client) = standing();
    let (newcomer, _other) = newcomer();
    shard.inbox.hand(Inbound::Adopt(Box::new(newcomer)));
    shard.take_all_in(super::MAX_INBOUND_PER_TURN);
    shard.connections[1].waiting.extend(Dialect::Native.parse(r#"{"type":"subscribe","stream":"bars"}"#, &[]));
    shard.answer_waiting();
    shard.flush();
    shard.config.outbox = 10_000;
    let log = shard.connections[0].subscriptions[0].log;
    shard.connections[0].miss(log, &crate::dialect::Loss { policy: "resync", events: 1, from: 1, to: 1 });
    flood(&bars, 30, Flags::default(), &["A:1"]); // the first one's fresh snapshot brings these before the other
    for token in [0, 1] {
        shard.dirty.mark(&mut shard.connections[token], token);
    }
    shard.flush();
    assert!(shard.connections[1].outbox.bytes() > 10_000 && shard.connections[1].lost.is_empty());
    shard.flush();
    assert!(shard.connections[1].outbox.is_empty() && shard.connections[1].lost.is_empty());
}

#[test]
fn who_comes_after_records_were_replaced_is_shown_them_once() {
    let (mut shard, bars, client) = standing();
    bars.begin_records();
    publish(&bars, "A:1", Flags::RECORD_ONLY, r#"{"close":1}"#);
    bars.end_records();
    hear(&mut shard, r#"{"type":"unsubscribe","stream":"bars"}"#);
    hear(&mut shard, r#"{"type":"subscribe","topic":"bars:A:1"}"#);
    shard.take_all_in(super::MAX_INBOUND_PER_TURN);
    publish(&bars, "A:1", Flags::default(), r#"{"close":2}"#);
    let said = said_by(shard, client, 3);
    assert_eq!(said, [("response".to_owned(), 2), ("full_update".to_owned(), 2), ("bar".to_owned(), 3)]);
}

#[test]
fn nothing_older_follows_a_snapshot_although_somebody_connects() {
    let (mut shard, bars, client) = standing();
    shard.inbox.hand(Inbound::Adopt(Box::new(newcomer().0)));
    publish(&bars, "A:1", Flags::default(), "{}");
    hear(&mut shard, r#"{"type":"snapshot","stream":"bars"}"#);
    let said = said_by(shard, client, 3);
    assert_eq!(said, [("bar".to_owned(), 1), ("response".to_owned(), 1), ("full_update".to_owned(), 1)]);
}

#[test]
fn nothing_older_follows_a_snapshot_although_the_inbox_was_full() {
    let (mut shard, bars, client) = standing();
    let large = format!("\"{}\"", "x".repeat(super::inbox::MAX_QUEUED_BYTES / 4));
    for _ in 0..6 {
        publish(&bars, "A:1", Flags::default(), &large); // the last three are not handed over
    }
    hear(&mut shard, r#"{"type":"snapshot","stream":"bars"}"#);
    let said = said_by(shard, client, 8);
    let numbers: Vec<u64> = said.iter().map(|(_, seq)| *seq).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 6, 6]);
}

/// Three commands at once, and fifty a second.
fn hurried() -> (super::Shard<super::poll::Epoll>, Client, Instant) {
    let (mut shard, _, client) = standing();
    shard.config.rate = Rate { per_second: NonZeroU32::new(50).unwrap(), burst: 3 };
    let rested = Instant::now() + Duration::from_secs(10);
    (shard, client, rested)
}

/// What the only client hears, from the `skip`th message on.
fn heard(shard: &mut super::Shard<super::poll::Epoll>, client: &mut Client, skip: usize, count: usize) -> Vec<String> {
    shard.flush();
    (0..skip + count).map(|_| stable(&client.next_text())).skip(skip).collect()
}

#[test]
fn commands_beyond_the_rate_are_refused_with_the_time_to_wait() {
    let (mut shard, mut client, now) = hurried();
    heard(&mut shard, &mut client, 3, 0); // greeting, reply and snapshot
    let pong = r#"{"type":"status","stream":"system","session_id":null,"data":{"status":"pong"},"timestamp":"TIME"}"#;
    let refused = r#"{"type":"error","stream":"system","session_id":null,"data":{"code":"rate_limited","message":"more than 50 commands a second (hub.rate); try again in 20 ms","retry_ms":20},"timestamp":"TIME","id":"x"}"#;
    hear_at(&mut shard, r#"{"type":"ping"} {"type":"ping"} {"type":"ping"} {"type":"ping","id":"x"}"#, now);
    assert_eq!(heard(&mut shard, &mut client, 0, 4), [pong, pong, pong, refused]);
    hear_at(&mut shard, r#"nonsense"#, now + Duration::from_millis(10));
    let unreadable = &heard(&mut shard, &mut client, 0, 1)[0];
    assert!(unreadable.contains("rate_limited") && unreadable.contains("in 10 ms"), "{unreadable}");
    hear_at(&mut shard, r#"{"type":"ping"}"#, now + Duration::from_millis(20));
    assert_eq!(heard(&mut shard, &mut client, 0, 1), [pong], "who waits as told is heard");
}

#[test]
fn a_client_that_does_not_care_about_its_rate_is_closed() {
    let (mut shard, mut client, now) = hurried();
    heard(&mut shard, &mut client, 3, 0);
    let pings = r#"{"type":"ping"}"#.repeat(32); // as many as are handled in a turn
    hear_at(&mut shard, &pings, now);
    assert!(shard.connections[0].is_open(), "three are answered, 29 refused, 30 would be put up with");
    hear_at(&mut shard, r#"{"type":"ping"}"#, now);
    assert!(shard.connections[0].is_open());
    hear_at(&mut shard, r#"{"type":"ping"}"#, now);
    shard.flush();
    let close = client.next_close();
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1008, "far too many commands (hub.rate)"));
}

#[test]
fn another_size_of_messages_holds_for_connections_that_are_there() {
    let house = House::new(CONFIG);
    let mut client = house.greeted();
    let message = |size: usize| Message::text(format!("{{\"type\":\"ping\"}}{}", " ".repeat(size - 15)));
    client.0.send(message(CONFIG.max_message)).unwrap();
    assert_eq!(client.next()["data"]["status"], "pong");
    house.shard.configure(Config { max_message: 1000, ..CONFIG });
    client.0.send(message(1000)).unwrap();
    assert_eq!(client.next()["data"]["status"], "pong");
    client.0.send(message(1001)).unwrap();
    assert_eq!(u16::from(client.next_close().code), 1009);
}

#[test]
fn different_patterns_with_a_star_are_bounded_for_all_clients_together() {
    let house = House::new(Config { max_subscriptions: 2000, ..CONFIG });
    let bars = house.bars(Lag::Resync);
    let outlet: Arc<dyn Outlet> = Inbox::new(7, usize::MAX).unwrap().0;
    let patterns: Vec<Pattern> =
        (0..MAX_PATTERNS).map(|number| Pattern::parse(&format!("bars:*:{number}")).unwrap()).collect();
    bars.subscribe(&Wish { patterns: &patterns, audience: "", reader: Reader::Client, since: None }, &outlet).unwrap();
    let mut client = house.greeted();
    client.say(&json!({"type": "subscribe", "topic": "bars:*:more", "id": 1}));
    let expected = r#"{"type":"error","stream":"bars","session_id":null,"data":{"code":"too_many_subscriptions","message":"the stream's subscribers use 1000 different patterns with * already; subscribe to topics, or to the whole stream"},"timestamp":"TIME","id":1}"#;
    assert_eq!(stable(&client.next_text()), expected);
    for topic in ["bars:*:7", "bars:A:more", "bars"] {
        client.subscribe(json!({"type": "subscribe", "topic": topic}));
    }
    bars.unsubscribe("", &patterns[..1], outlet.id());
    client.subscribe(json!({"type": "subscribe", "topic": "bars:*:more"}));
}

#[test]
fn no_more_requests_wait_than_one_read_brings() {
    const SMALLEST: [u8; 6] = [0x81, 0x80, 0, 0, 0, 0]; // no text at all, which is answered, too
    let (mut shard, _, client) = standing();
    let before = shard.connections[0].waiting.len();
    let frames = SMALLEST.repeat(2 * super::READ_BYTES / SMALLEST.len());
    let mut socket = client.0.get_ref();
    std::io::Write::write_all(&mut socket, &frames).unwrap();
    let readable = Ready { token: 0, readable: true, writable: false };
    shard.look_at(readable);
    assert_eq!(shard.connections[0].waiting.len() - before, super::READ_BYTES / SMALLEST.len());
    shard.look_at(readable); // as a socket does that broke
    assert_eq!(shard.connections[0].waiting.len() - before, super::READ_BYTES / SMALLEST.len());
}

#[test]
fn one_turn_takes_so_much_from_the_inbox_and_answers_so_many_requests() {
    let (mut shard, bars, _client) = standing();
    for _ in 0..=super::MAX_INBOUND_PER_TURN {
        publish(&bars, "A:1", Flags::default(), "{}");
    }
    shard.take_all_in(super::MAX_INBOUND_PER_TURN);
    assert!(shard.intake.take().is_some() && shard.intake.take().is_none(), "one is left for the next turn");
    hear(&mut shard, &r#"{"type":"ping"}"#.repeat(33));
    assert_eq!(shard.connections[0].waiting.len(), 1);
}

#[test]
fn a_connection_has_so_long_to_answer_a_close_and_is_told_so_often() {
    let now = Instant::now();
    let second = Duration::from_secs(1);
    let mut connection = Connection::new(newcomer().0, 0, &CONFIG, &Arc::default(), now);
    assert!(connection.may_be_told(now));
    assert!(!connection.may_be_told(now + second - Duration::from_nanos(1)) && connection.may_be_told(now + second));
    connection.close(1001, "", now);
    assert!(!connection.is_finished(now + 2 * second - Duration::from_nanos(1)));
    assert!(connection.is_finished(now + 2 * second), "it did not answer");
}

#[test]
fn a_connection_takes_so_many_bytes() {
    // There are tens of thousands; whoever adds a field thinks about them.
    assert_eq!(size_of::<Option<Connection>>(), 768, "also as it lies in its slab");
    let touched = offset_of!(Connection, number); // the first that no delivery asks for
    assert!(touched <= 6 * 64, "what every delivery touches has {touched} bytes");
    let (shard, ..) = standing();
    assert_eq!(shard.connections[0].subscriptions.capacity(), 1, "it has asked for one");
}
