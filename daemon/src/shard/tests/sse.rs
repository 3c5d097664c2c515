//! What clients of server-sent events hear: comments on a quiet line, what they could not take, and after each block an
//! `id:` from which they go on exactly, wherever the line breaks. The clock and the kernel are the test's own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::driven::{Driven, Socket};
use super::*;
use crate::dialect::{Command, Target, sse};
use crate::identity::Identity;
use crate::shard::inbox::MAX_QUEUED_BYTES;

/// A comment comes this often, as the documentation promises.
const QUIET: Duration = Duration::from_secs(15);
/// Longer than a client waits to be told what it could not take.
const A_WHILE: Duration = Duration::from_secs(2);
/// The room of a socket whose client takes everything.
const PLENTY: usize = usize::MAX >> 1;
/// Four events of a kilobyte may wait.
const NARROW: Config = Config { outbox: 5000, ..CONFIG };

struct Stage {
    bars: Arc<Stream>,
    driven: Driven,
    now: Instant,
}

/// A browser's end of the line.
struct Page {
    socket: Rc<RefCell<Socket>>,
    /// The streams that it hears.
    streams: &'static [&'static str],
    /// The last `id:` that it saw.
    id: String,
}

/// A block as a browser reads it, and the last `id:` behind it.
#[derive(Clone, Debug)]
struct Block {
    what: String,
    data: Value,
    id: String,
}

impl Stage {
    fn new(config: Config, lag: Lag) -> Self {
        let hub = Hub::new("epoch");
        let spec = KindSpec { schema: json!({}), collection: Some("bars".to_owned()), record: None };
        let kinds = [("bar".to_owned(), spec)].into();
        let bars = hub.declare("bars", Settings { kinds, lag, ..Settings::default() });
        hub.declare("alerts", Settings::default());
        let driven = Driven::new(0, config, (hub, Arc::default()), MAX_QUEUED_BYTES);
        Self { bars, driven, now: Instant::now() }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        (0..3).for_each(|_| self.driven.turn(self.now));
    }

    /// Somebody comes who saw this `id:` last.
    fn come(&mut self, streams: &'static [&'static str], last: &str) -> Page {
        let socket = Socket::new(PLENTY);
        let wish = |stream: &&str| {
            let since = sse::positions(last).into_iter().find(|(named, _)| named == stream);
            let target = Target::Topic((*stream).to_owned());
            Command::Subscribe { target, since: since.map(|(_, position)| position), batch: None }
        };
        let endpoint = Endpoint::open("/v1/sse", Dialect::Sse);
        let mut newcomer = Newcomer::over(self.driven.open(&socket), endpoint.into());
        newcomer.identity = Some(Arc::new(Identity::of_user("user-1")));
        newcomer.wishes = streams.iter().map(wish).collect();
        self.driven.inbox.hand(Inbound::Adopt(Box::new(newcomer)));
        self.pass(Duration::ZERO);
        Page { socket, streams, id: last.to_owned() }
    }

    fn publish(&mut self, topics: &[&str], flags: Flags) {
        let payload = format!("{{\"pad\":\"{}\"}}", "x".repeat(1000));
        for topic in topics {
            publish(&self.bars, topic, flags, &payload);
            self.pass(Duration::ZERO);
        }
    }

    /// Whoever came back after each of these blocks would miss nothing and get nothing twice.
    fn check_returns(&mut self, page: &Page, said: &[Block]) {
        let end = self.bars.figures().seq;
        for count in 1..=said.len() {
            let (before, last) = (&said[..count], &said[count - 1].id);
            let after = self.come(page.streams, last).hear();
            let whole = [before, &after].concat();
            assert_eq!(covered(&whole), end, "after {last:?}: {:?}", words(&whole));
        }
    }
}

impl Page {
    fn take(&self, bytes: usize) {
        self.socket.borrow_mut().room = bytes;
    }

    /// The whole blocks that have come since the last time.
    fn hear(&mut self) -> Vec<Block> {
        let mut socket = self.socket.borrow_mut();
        let text = String::from_utf8(std::mem::take(&mut socket.to_client)).unwrap();
        let (whole, rest) = text.rsplit_once("\n\n").unwrap_or_default();
        socket.to_client = rest.as_bytes().to_vec();
        let id = &mut self.id;
        whole.split("\n\n").filter(|block| !block.is_empty()).map(|block| read(block, id)).collect()
    }
}

fn read(block: &str, id: &mut String) -> Block {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
    if let Some(moved) = field("id: ") {
        moved.clone_into(id);
    }
    let data: Value = field("data: ").map_or(Value::Null, |data| serde_json::from_str(data).unwrap());
    let what = match data["type"].as_str() {
        None => block.to_owned(),
        Some("bar") => data["seq"].to_string(),
        Some("status" | "response") => data["data"]["status"].as_str().unwrap().to_owned(),
        Some(other) => other.to_owned(),
    };
    Block { what, data, id: id.clone() }
}

fn words(said: &[Block]) -> Vec<&str> {
    said.iter().map(|block| &*block.what).collect()
}

/// Up to which number of the bars these blocks leave no gap and tell nothing twice.
fn covered(said: &[Block]) -> u64 {
    let of_bars = said.iter().filter(|block| block.data["stream"] == "bars");
    of_bars.fold(0, |at, block| match (&*block.what, block.data["seq"].as_u64()) {
        ("full_update", Some(seq)) => seq,
        (_, Some(seq)) if block.data["type"] == "bar" => {
            assert_eq!(seq, at + 1, "{:?}", words(said));
            seq
        }
        _ => at,
    })
}

#[test]
fn a_quiet_line_gets_a_comment_in_time_and_no_sooner() {
    let mut stage = Stage::new(CONFIG, Lag::Resync);
    let mut page = stage.come(&["bars"], "");
    assert_eq!(words(&page.hear()), ["connected", "subscribed", "full_update"]);
    for _ in 0..3 {
        stage.pass(QUIET - Duration::from_nanos(1));
        assert_eq!(words(&page.hear()), [""; 0]);
        stage.pass(Duration::from_nanos(1) + crate::shard::TICK);
        assert_eq!(&page.socket.borrow().to_client, b":\n\n", "nothing that a browser would take for an event");
        assert_eq!(words(&page.hear()), [":"]);
    }
}

#[test]
fn who_falls_behind_is_told_and_shown_and_may_come_back_at_any_moment() {
    let mut stage = Stage::new(NARROW, Lag::Resync);
    let mut page = stage.come(&["bars"], "");
    let mut said = page.hear();
    stage.publish(&["A"], Flags::default());
    page.take(500); // the next is on its way
    stage.publish(&["A"; 9], Flags::default());
    stage.bars.set_source(Source::Absent("stopped".into()));
    page.take(PLENTY);
    stage.pass(A_WHILE);
    stage.publish(&["A"; 2], Flags::default());
    said.extend(page.hear());
    let expected =
        ["connected", "subscribed", "full_update", "1", "2", "no_source", "lagged", "full_update", "11", "12"];
    assert_eq!(words(&said), expected);
    let told = &said[6].data["data"];
    assert_eq!((&told["policy"], &told["from"], &told["to"]), (&json!("resync"), &json!(3), &json!(10)));
    assert_eq!((&said[7].data["resync"], &*said[7].id), (&json!(true), "bars=epoch:10"));
    assert_eq!(said[9].id, "bars=epoch:12");
    stage.check_returns(&page, &said);
}

#[test]
fn who_is_disconnected_for_being_slow_goes_on_where_it_was() {
    for (lag, streams) in [(Lag::Disconnect, &["bars"][..]), (Lag::Resync, &["bars", "alerts"])] {
        let mut stage = Stage::new(NARROW, lag);
        let mut page = stage.come(streams, "");
        let mut said = page.hear();
        stage.publish(&["A"], Flags::default());
        page.take(500);
        stage.publish(&["A"; 9], Flags::default());
        page.take(PLENTY);
        stage.pass(A_WHILE);
        said.extend(page.hear());
        assert_eq!(words(&said)[said.len() - 2..], ["1", "2"], "what was on its way, and nothing more");
        assert!(page.socket.borrow().is_dropped && page.socket.borrow().to_client.is_empty());
        let back = stage.come(streams, &said.last().unwrap().id).hear();
        let first = back.iter().find(|block| block.data["type"] == "bar").unwrap();
        assert_eq!((&*first.what, &*back[1].data["data"]["recovered"].to_string()), ("3", "true"));
        stage.check_returns(&page, &said);
    }
}

#[test]
fn the_last_words_to_somebody_leave_it_where_it_was() {
    let mut stage = Stage::new(CONFIG, Lag::Resync);
    let mut page = stage.come(&["bars"], "");
    let mut said = page.hear();
    page.take(500);
    stage.publish(&["A"; 5], Flags::default());
    stage.driven.inbox.hand(Inbound::LogOut("user-1".into()));
    stage.pass(Duration::ZERO);
    page.take(PLENTY);
    stage.pass(A_WHILE);
    said.extend(page.hear());
    assert_eq!(words(&said)[3..], ["1", "logged_out"]);
    stage.check_returns(&page, &said);
}

#[test]
fn a_waiting_latest_event_is_replaced_and_the_rest_is_not_lost_on_return() {
    let mut stage = Stage::new(CONFIG, Lag::Disconnect);
    let mut page = stage.come(&["bars"], "");
    let mut said = page.hear();
    page.take(500);
    stage.publish(&["A", "A", "B", "A", "B", "C", "A"], Flags::LATEST);
    page.take(PLENTY);
    stage.pass(A_WHILE);
    said.extend(page.hear());
    assert_eq!(words(&said)[3..], ["1", "lagged", "5", "6", "7", "lagged"], "the newest of each, and what was begun");
    let told = |at: usize| &said[at].data["data"];
    assert_eq!((&told(4)["policy"], &told(8)["policy"]), (&json!("latest"), &json!("latest")));
    assert_eq!((&told(4)["replaced"], &told(8)["replaced"]), (&json!(1), &json!(2)));
    for count in 3..=said.len() {
        let id = &said[count - 1].id;
        let at = said[..count].iter().rev().find_map(|block| block.data["seq"].as_u64()).unwrap();
        assert_eq!(*id, format!("bars=epoch:{at}"));
        let back = stage.come(&["bars"], id).hear();
        let events = back.iter().filter(|block| block.data["type"] == "bar");
        let seqs: Vec<u64> = events.clone().map(|block| block.data["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs, (at + 1..=7).collect::<Vec<u64>>(), "all that is newer, and nothing twice");
        let newest: BTreeMap<String, &str> =
            said[..count].iter().chain(events).map(|block| (block.data["topic"].to_string(), &*block.what)).collect();
        let newest = |topic: &str| newest[&json!(format!("bars:{topic}")).to_string()];
        assert_eq!((newest("A"), newest("B"), newest("C")), ("7", "5", "6"));
    }
}
