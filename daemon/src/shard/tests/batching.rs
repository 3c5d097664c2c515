//! Batches: what is gathered for how long, and what goes before its time. The clock is the test's own.

use std::collections::BTreeSet;
use std::io::Read;

use super::super::groups::MAX_BATCH_BYTES;
use super::super::poll::{Backend, Epoll, MAX_PIECES};
use super::super::{Shard, TICK};
use super::*;
use crate::dialect::{Command, Target};
use crate::event::LogId;
use crate::websocket::deflate::Compression;

/// A shard that turns when it is told to.
pub struct Stage {
    pub hub: Arc<Hub>,
    pub bars: Arc<Stream>,
    pub inbox: Arc<Inbox>,
    pub shard: Shard<Epoll>,
    pub now: Instant,
}

impl Stage {
    pub fn new() -> Self {
        let hub = Hub::new("epoch");
        let spec = KindSpec { schema: json!({}), collection: Some("bars".to_owned()), record: None };
        let kinds = [("bar".to_owned(), spec)].into();
        let bars = hub.declare("bars", Settings { kinds, ..Settings::default() });
        let queue = Inbox::new(0, 1 << 20).unwrap();
        let inbox = queue.0.clone();
        let shard = Shard::new(0, CONFIG, (hub.clone(), Arc::default()), queue).unwrap();
        Self { hub, bars, inbox, now: shard.now, shard }
    }

    /// Time passes, then the shard turns, as often as somebody has said something.
    pub fn turn_after(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        let mut ready = Vec::new();
        for _ in 0..3 {
            self.shard.backend.wait(Duration::ZERO, &mut ready).unwrap();
            self.shard.turn(&mut ready, self.now);
        }
    }

    pub fn nap(&mut self) -> Duration {
        self.shard.nap(self.now)
    }

    pub fn publish(&mut self, topics: &[&str]) {
        for topic in topics {
            publish(&self.bars, topic, Flags::LATEST, r#"{"pad":"again again again again again again again again"}"#);
        }
        self.turn_after(0);
    }

    fn connect(&mut self, compression: Compression) -> Client {
        let (newcomer, mut client) = newcomer();
        self.inbox.hand(Inbound::Adopt(Box::new(Newcomer { compression, ..newcomer })));
        self.turn_after(0);
        assert_eq!(client.next()["data"]["status"], "connected");
        client.0.get_ref().set_nonblocking(true).unwrap();
        client
    }

    fn ask(&mut self, client: &mut Client, kind: &str, topic: &str, batch_ms: Option<u64>) -> Vec<String> {
        client.say(&json!({"type": kind, "topic": topic, "batch_ms": batch_ms}));
        self.turn_after(0);
        heard(client)
    }

    /// A client that is subscribed to these, and has heard so.
    pub fn subscriber(&mut self, wishes: &[(&str, u64)]) -> Client {
        let mut client = self.connect(Compression::Off);
        for (topic, batch_ms) in wishes {
            let said = self.ask(&mut client, "subscribe", topic, Some(*batch_ms).filter(|batch_ms| *batch_ms > 0));
            assert_eq!(said.last().unwrap(), "full_update");
        }
        client
    }

    fn log(&self) -> LogId {
        self.shard.groups.logs().next().unwrap().0
    }

    /// Where the bytes are that wait for each connection.
    fn waiting(&self) -> Vec<Vec<(*const u8, usize)>> {
        let pieces = |connection: &Connection| {
            let mut room = [std::io::IoSlice::new(&[]); MAX_PIECES];
            let count = connection.outbox.slices(&mut room);
            room[..count].iter().map(|piece| (piece.as_ptr(), piece.len())).collect()
        };
        self.shard.connections.iter().map(|(_, connection)| pieces(connection)).collect()
    }
}

/// What has come, in short: numbers of events, those of a batch in brackets; of anything else its status or type.
pub fn heard(client: &mut Client) -> Vec<String> {
    let mut all = Vec::new();
    while let Ok(message) = client.0.read() {
        let Message::Text(text) = message else { continue };
        let message: Value = serde_json::from_str(&text).unwrap();
        all.push(match message["type"].as_str().unwrap() {
            "bar" => message["seq"].to_string(),
            "batch" => {
                let fields: BTreeSet<&str> = message.as_object().unwrap().keys().map(String::as_str).collect();
                assert_eq!(fields, ["data", "session_id", "stream", "timestamp", "type"].into(), "{text}");
                let messages = message["data"]["messages"].as_array().unwrap();
                assert_eq!(messages.last().unwrap()["timestamp"], message["timestamp"]);
                let seqs: Vec<String> = messages.iter().map(|message| message["seq"].to_string()).collect();
                format!("[{}]", seqs.join(" "))
            }
            "status" | "response" => message["data"]["status"].as_str().unwrap().to_owned(),
            other => other.to_owned(),
        });
    }
    all
}

#[test]
fn nothing_comes_before_its_time_and_then_all_in_one_message() {
    let mut stage = Stage::new();
    let mut client = stage.subscriber(&[("bars:A", 50)]);
    stage.publish(&["A", "B", "A"]);
    assert_eq!(stage.nap(), Duration::from_millis(50), "it wakes up for the batch");
    stage.turn_after(49);
    stage.publish(&["A"]);
    assert_eq!((heard(&mut client), stage.nap()), (vec![], Duration::from_millis(1)));
    stage.turn_after(1);
    assert_eq!(heard(&mut client), ["[1 3 4]"], "also those of one key: none waits that a newer one could replace");
    stage.turn_after(TICK.as_millis() as u64);
    assert_eq!((heard(&mut client), stage.nap()), (vec![], TICK), "nothing is due any more");
    stage.publish(&["A"]);
    stage.turn_after(49);
    assert_eq!(heard(&mut client), [""; 0], "the time is counted from the first event");
    stage.turn_after(1);
    assert_eq!(heard(&mut client), ["[5]"]);
}

#[test]
fn a_batch_is_made_once_for_all_who_get_the_same() {
    let mut stage = Stage::new();
    let mut clients = Vec::new();
    for (compression, batch_ms) in [Compression::Off, Compression::On]
        .into_iter()
        .flat_map(|compression| [(compression, 50), (compression, 50), (compression, 51)])
    {
        let mut client = stage.connect(compression);
        client.say(&json!({"type": "subscribe", "topic": "bars", "batch_ms": batch_ms}));
        stage.turn_after(0);
        clients.push(client);
    }
    stage.publish(&["A"; 20]);
    stage.shard.now += Duration::from_millis(51);
    stage.shard.distribute();
    let waiting = stage.waiting();
    assert!(waiting.iter().all(|pieces| pieces.len() == 1), "{waiting:?}");
    assert!(waiting[0] == waiting[1] && waiting[3] == waiting[4], "the same bytes");
    assert!(waiting[0] != waiting[2], "another interval is another batch");
    assert!(waiting[3][0].1 * 4 < waiting[0][0].1, "compressed as a whole");
}

#[test]
fn who_comes_in_the_middle_gets_what_is_newer_than_its_snapshot() {
    let mut stage = Stage::new();
    let mut first = stage.subscriber(&[("bars", 50)]);
    stage.publish(&["A", "B"]);
    let mut second = stage.subscriber(&[("bars", 50)]);
    stage.publish(&["A"]);
    let mut third = stage.subscriber(&[("bars", 50)]);
    stage.turn_after(50);
    assert_eq!((heard(&mut first), heard(&mut second)), (vec!["[1 2 3]".to_owned()], vec!["[3]".to_owned()]));
    assert_eq!(heard(&mut third), [""; 0]);
}

#[test]
fn what_is_pending_comes_before_whatever_else_is_said_of_the_stream() {
    let mut stage = Stage::new();
    let mut client = stage.subscriber(&[("bars:A", 9000)]);
    let mut other = stage.subscriber(&[("bars:A", 9000)]);
    stage.publish(&["A"]);
    assert_eq!(stage.ask(&mut client, "subscribe", "bars:B", Some(50)), ["[1]", "subscribed", "full_update"]);
    stage.publish(&["A"]);
    assert_eq!(stage.ask(&mut client, "snapshot", "bars:B", None), ["[2]", "snapshot", "full_update"]);
    stage.publish(&["A"]);
    assert_eq!(stage.ask(&mut client, "unsubscribe", "bars:B", None), ["[3]", "unsubscribed"]);
    stage.publish(&["A"]);
    assert_eq!(stage.ask(&mut client, "subscribe", "bars:A", Some(8000)), ["[4]", "subscribed", "full_update"]);
    stage.publish(&["A"]);
    assert_eq!(heard(&mut other), [""; 0], "nobody else's batch is cut for that");
    stage.bars.set_source(Source::Absent("stopped".into()));
    stage.turn_after(0);
    assert_eq!((heard(&mut client), heard(&mut other)), (words("[5] no_source"), words("[1 2 3 4 5]#no_source")));
    stage.publish(&["A"]);
    stage.bars.begin_records();
    stage.bars.end_records();
    stage.turn_after(0);
    assert_eq!(heard(&mut client), ["[6]", "full_update"]);
    stage.publish(&["A"]);
    assert_eq!(stage.ask(&mut client, "unsubscribe", "bars:A", None), ["[8]", "unsubscribed"]);
    stage.publish(&["A"]);
    stage.hub.remove("bars");
    stage.turn_after(0);
    assert_eq!(heard(&mut other), ["[6]", "full_update", "[8 9]", "no_source"]);
    assert_eq!(heard(&mut client), [""; 0]);
}

/// Words between which there is `#`, or a blank where that is in none of them.
fn words(text: &str) -> Vec<String> {
    let separator = if text.contains('#') { '#' } else { ' ' };
    text.split(separator).map(str::to_owned).collect()
}

#[test]
fn of_several_subscriptions_the_shortest_time_counts() {
    let mut stage = Stage::new();
    let mut client = stage.subscriber(&[("bars:A", 50), ("bars:*", 200), ("bars:B", 9000)]);
    stage.publish(&["B", "C"]);
    stage.turn_after(100);
    assert_eq!(heard(&mut client), [""; 0]);
    stage.publish(&["A", "B"]);
    stage.turn_after(50);
    assert_eq!(heard(&mut client), ["[1 2 3 4]"], "in order, each once, with what would have waited");
    stage.publish(&["C"]);
    stage.turn_after(60);
    assert_eq!(heard(&mut client), ["[5]"], "the group of 200 ms is due, and holds nothing twice");
    stage.turn_after(10_000);
    assert_eq!(heard(&mut client), [""; 0]);
    stage.publish(&["B"]);
    stage.ask(&mut client, "subscribe", "bars:D", None);
    stage.publish(&["B", "D"]);
    assert_eq!(heard(&mut client), ["7", "8"], "with one that gathers nothing they come one by one");
}

#[test]
fn a_batch_goes_before_its_time_when_it_is_full() {
    let mut stage = Stage::new();
    let mut client = stage.subscriber(&[("bars", 9000)]);
    let draft = |bytes: usize| format!("{{\"pad\":\"{}\"}}", "x".repeat(bytes - 10));
    let beside = crate::event::Event::weight_beside_payload("current");
    publish(&stage.bars, "A", Flags::default(), &draft(MAX_BATCH_BYTES / 2 - beside));
    publish(&stage.bars, "A", Flags::default(), &draft(MAX_BATCH_BYTES / 2 - beside - 1));
    stage.turn_after(0);
    assert_eq!(heard(&mut client), [""; 0], "a byte is missing");
    stage.publish(&["A"]);
    assert_eq!(heard(&mut client), ["[1 2]", "[3]"], "none is larger");
    let is_timed = |stage: &Stage| stage.shard.groups.next_due().is_some();
    assert!(!is_timed(&stage), "nothing is left for later");
    publish(&stage.bars, "A", Flags::default(), &draft(2 * MAX_BATCH_BYTES));
    stage.publish(&["A"]);
    assert_eq!(heard(&mut client), ["[4]", "[5]"], "one alone may be larger");
}

#[test]
fn who_lags_is_told_also_what_was_pending() {
    let mut stage = Stage::new();
    let mut client = stage.subscriber(&[("bars", 50)]);
    stage.publish(&["A", "A"]);
    let log = stage.log();
    stage.shard.lag(0, log, None);
    let (_, loss) = &stage.shard.connections[0].lost[0];
    assert_eq!((loss.events, loss.from, loss.to), (2, 1, 2));
    stage.turn_after(1000);
    assert_eq!(heard(&mut client), ["lagged", "full_update"]);
    stage.turn_after(1000);
    stage.publish(&["A"]);
    stage.turn_after(50);
    assert_eq!(heard(&mut client), ["[3]"]);
}

#[test]
fn missed_events_come_one_by_one_and_the_rest_is_gathered() {
    let mut stage = Stage::new();
    stage.publish(&["A", "A"]);
    let mut client = stage.connect(Compression::Off);
    client.say(&json!({"type": "subscribe", "topic": "bars", "batch_ms": 50, "since": {"epoch": "epoch", "seq": 0}}));
    stage.turn_after(0);
    stage.publish(&["A", "A"]);
    stage.turn_after(50);
    assert_eq!(heard(&mut client), ["subscribed", "1", "2", "[3 4]"]);
}

#[test]
fn server_sent_events_come_in_batches_that_leave_the_client_at_the_last() {
    let mut stage = Stage::new();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let batch = Some(Duration::from_millis(50));
    let wish = Command::Subscribe { target: Target::Topic("bars".to_owned()), since: None, batch };
    let endpoint = Endpoint { snapshot: false, ..Endpoint::open("/v1/sse", Dialect::Sse) };
    let newcomer = Newcomer { wishes: vec![wish], ..Newcomer::over(ours, endpoint.into()) };
    stage.inbox.hand(Inbound::Adopt(Box::new(newcomer)));
    stage.turn_after(0);
    stage.publish(&["A", "B"]);
    stage.turn_after(50);
    drop(stage);
    let mut all = String::new();
    theirs.read_to_string(&mut all).unwrap();
    let block = all.split("\n\n").find(|block| block.starts_with("event: batch\n")).unwrap();
    assert!(block.starts_with("event: batch\ndata: {\"type\":\"batch\",\"stream\":\"bars\",\"session_id\":null,"));
    assert!(block.ends_with("\nid: bars=epoch:2") && block.matches("\"seq\":").count() == 2, "{block}");
}
