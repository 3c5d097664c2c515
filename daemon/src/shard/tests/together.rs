//! What comes together goes together: all that a publisher has sent, and what a stream's `flush` gathers. The clock is the
//! test's own.

use std::cell::RefCell;
use std::rc::Rc;

use super::super::groups::MAX_BATCH_BYTES;
use super::super::{MAX_READS_PER_TURN, READ_BYTES};
use super::batching::{Stage, heard};
use super::driven::{Driven, Socket};
use super::*;
use crate::identity::grants::{Grants, Lists};
use crate::identity::service::{Hash, Service};

const MILLI: Duration = Duration::from_millis(1);

impl Stage {
    fn gather(&self, flush: Option<Flush>) {
        let settings = Settings { flush, ..(*self.bars.settings()).clone() };
        self.hub.declare("bars", settings);
    }
}

/// A shard and a client that may publish, whose socket takes whatever there is.
struct Feed {
    hub: Arc<Hub>,
    driven: Driven,
    socket: Rc<RefCell<Socket>>,
}

impl Feed {
    fn new() -> Self {
        let hub = Hub::new("epoch");
        let mut driven = Driven::new(0, CONFIG, (hub.clone(), Arc::default()), usize::MAX);
        let socket = Socket::new(usize::MAX);
        let lists = Lists { publish: vec!["ticks".to_owned()], ..Lists::default() };
        let (grants, token) = (Grants::read(lists).unwrap(), Hash::of("token"));
        let service = Service { name: "feed".to_owned(), token, grants, rate: None };
        let identity = Some(Arc::new(service.identity(Instant::now())));
        let newcomer = Newcomer::over(driven.open(&socket), Endpoint::open("/", Dialect::Native).into());
        driven.inbox.hand(Inbound::Adopt(Box::new(Newcomer { identity, ..newcomer })));
        driven.turn(Instant::now());
        Self { hub, driven, socket }
    }

    /// It will have said this when the daemon reads.
    fn says(&self, text: &str) {
        let mut socket = self.socket.borrow_mut();
        socket.to_daemon.extend([0x81, 0x80 | 126]);
        socket.to_daemon.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        socket.to_daemon.extend([0; 4]); // a mask that changes nothing
        socket.to_daemon.extend(text.as_bytes());
    }
}

#[test]
fn all_that_a_publisher_has_sent_goes_out_in_the_same_turn() {
    const EVENTS: usize = 300;
    let mut feed = Feed::new();
    let ticks = feed.hub.declare("ticks", Settings::default());
    feed.says(&json!({"type": "subscribe", "topic": "ticks", "pad": "x".repeat(150)}).to_string());
    feed.driven.turn(Instant::now());
    let pad = "x".repeat(300);
    for number in 0..EVENTS {
        feed.says(
            &json!({"type": "publish", "topic": "ticks:A", "kind": "tick", "data": {"fill": pad, "number": number}})
                .to_string(),
        );
    }
    assert!((READ_BYTES..MAX_READS_PER_TURN * READ_BYTES).contains(&feed.socket.borrow().to_daemon.len()));
    feed.socket.borrow_mut().to_client.clear();
    feed.driven.turn(Instant::now());
    assert_eq!(ticks.figures().seq, EVENTS as u64);
    let heard = String::from_utf8_lossy(&feed.socket.borrow().to_client).into_owned();
    let numbers: Vec<usize> = (0..EVENTS).filter(|number| heard.contains(&format!("\"number\":{number}}}"))).collect();
    assert_eq!(numbers, (0..EVENTS).collect::<Vec<_>>());
}

#[test]
fn one_turn_reads_so_much_of_one_client() {
    let mut feed = Feed::new();
    let pong = [0x8a, 0x80, 0, 0, 0, 0]; // nobody answers it
    let all = 2 * MAX_READS_PER_TURN * READ_BYTES;
    feed.socket.borrow_mut().to_daemon.extend(pong.repeat(all / pong.len()));
    let sent = feed.socket.borrow().to_daemon.len();
    feed.driven.turn(Instant::now());
    assert_eq!(sent - feed.socket.borrow().to_daemon.len(), MAX_READS_PER_TURN * READ_BYTES);
    feed.driven.turn(Instant::now());
    assert_eq!(feed.socket.borrow().to_daemon.len(), 0, "and the rest with the next");
}

#[test]
fn a_stream_says_itself_how_long_its_events_are_gathered() {
    let mut stage = Stage::new();
    let mut client = stage.subscriber(&[("bars", 0)]);
    let nothing: [&str; 0] = [];
    stage.gather(Some(Flush::Every(50 * MILLI)));
    stage.publish(&["A"]);
    assert_eq!(heard(&mut client), ["1"], "after a pause it goes at once");
    stage.publish(&["A", "B"]);
    assert_eq!((heard(&mut client), stage.nap()), (vec![], 50 * MILLI), "it wakes up for them");
    stage.turn_after(49);
    assert_eq!(heard(&mut client), nothing);
    stage.turn_after(1);
    assert_eq!(heard(&mut client), ["2", "3"]);

    stage.gather(None);
    stage.publish(&["A"]);
    assert_eq!(heard(&mut client), ["4"], "as all streams: every turn");
    stage.shard.configure(Config { flush: Flush::Every(20 * MILLI), ..CONFIG });
    stage.turn_after(20);
    stage.publish(&["A"]);
    stage.publish(&["B"]);
    assert_eq!((heard(&mut client), stage.nap()), (vec!["5".to_owned()], 20 * MILLI), "as all streams from now on");
    stage.gather(Some(Flush::Every(Duration::ZERO)));
    stage.turn_after(20);
    stage.publish(&["A"]);
    stage.publish(&["B"]);
    assert_eq!(heard(&mut client), ["6", "7", "8"], "or not, as it says itself");
}

#[test]
fn what_is_gathered_goes_before_its_time_when_it_is_much() {
    let mut stage = Stage::new();
    let mut client = stage.subscriber(&[("bars", 0)]);
    stage.gather(Some(Flush::Every(50 * MILLI)));
    stage.publish(&["A"]);
    let half = format!("\"{}\"", "x".repeat(MAX_BATCH_BYTES / 2));
    publish(&stage.bars, "A", Flags::default(), &half);
    stage.turn_after(0);
    assert_eq!(heard(&mut client), ["1"]);
    publish(&stage.bars, "A", Flags::default(), &half);
    stage.turn_after(0);
    assert_eq!(heard(&mut client), ["2", "3"]);
}
