//! By what a client shows that it lives of which nothing is read: it takes what waits for it. The clock and the kernel are the
//! test's own.

use std::cell::RefCell;
use std::rc::Rc;

use super::driven::{Driven, Socket};
use super::*;
use crate::dialect::{Command, Target};
use crate::shard::TICK;
use crate::shard::inbox::MAX_QUEUED_BYTES;

/// A client that takes as much of a large answer as it is given room for. Of a WebSocket nothing is read as long as more of it
/// waits than an outbox holds.
struct Stage {
    driven: Driven,
    socket: Rc<RefCell<Socket>>,
    now: Instant,
}

impl Stage {
    fn new(path: &'static str, dialect: Dialect) -> Self {
        let hub = Hub::new("epoch");
        let kind = KindSpec { schema: json!({}), collection: Some("bars".to_owned()), record: None };
        let bars = hub.declare("bars", Settings { kinds: [("bar".to_owned(), kind)].into(), ..Settings::default() });
        publish(&bars, "A", Flags::default(), &json!({"pad": "x".repeat(4 * CONFIG.outbox)}).to_string());
        let mut driven = Driven::new(0, CONFIG, (hub, Arc::default()), MAX_QUEUED_BYTES);
        let socket = Socket::new(CONFIG.outbox);
        let wish = Command::Subscribe { target: Target::Topic("bars".to_owned()), since: None, batch: None };
        let newcomer = Newcomer::over(driven.open(&socket), Endpoint::open(path, dialect).into());
        driven.inbox.hand(Inbound::Adopt(Box::new(Newcomer { wishes: vec![wish], ..newcomer })));
        let mut stage = Self { driven, socket, now: Instant::now() };
        stage.pass(TICK);
        stage
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        (0..3).for_each(|_| self.driven.turn(self.now));
    }

    fn is_there(&self) -> bool {
        !self.socket.borrow().is_dropped
    }
}

#[test]
fn who_takes_a_little_now_and_then_stays_and_who_takes_nothing_goes() {
    for (path, dialect) in [("/v1/ws", Dialect::Native), ("/v1/sse", Dialect::Sse)] {
        let mut stage = Stage::new(path, dialect);
        assert!(stage.is_there() && stage.socket.borrow().room == 0, "there is more for it than it takes");
        for _ in 0..5 {
            stage.pass(CONFIG.drop_after - TICK);
            assert!(stage.is_there(), "{dialect:?}");
            stage.socket.borrow_mut().room = 1;
            stage.pass(TICK);
        }
        stage.pass(CONFIG.drop_after);
        stage.pass(Duration::from_secs(2)); // as long as it has for its end
        assert!(!stage.is_there(), "{dialect:?}");
    }
}

#[test]
fn who_is_read_again_and_takes_the_rest_slowly_stays() {
    let mut stage = Stage::new("/v1/ws", Dialect::Native);
    stage.socket.borrow_mut().room = 2 * CONFIG.outbox + CONFIG.outbox / 2;
    stage.pass(TICK);
    assert_eq!(stage.socket.borrow().room, 0, "half an outbox waits");
    for _ in 0..5 {
        stage.pass(CONFIG.drop_after - TICK);
        assert!(stage.is_there());
        stage.socket.borrow_mut().room = 1;
        stage.pass(TICK);
    }
}
