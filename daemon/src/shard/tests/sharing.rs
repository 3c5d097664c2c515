//! Who asks at once for the same is shown the same bytes, made once; and nobody is ever shown what is another's.

use std::cell::RefCell;
use std::rc::Rc;

use fastrand::Rng;
use metrics_exporter_prometheus::PrometheusBuilder;

use super::driven::{Driven, Socket};
use super::model::next_frame;
use super::*;
use crate::dialect::fastws::Revision;
use crate::dialect::{Command, Target};
use crate::identity::Identity;
use crate::shard::TICK;
use crate::shard::inbox::MAX_QUEUED_BYTES;
use crate::websocket::deflate::Compression;

/// The room of a socket whose client takes everything.
const PLENTY: usize = usize::MAX >> 1;
/// The forms in which a snapshot can be asked for.
const FORMS: [(Dialect, Compression); 5] = [
    (Dialect::Native, Compression::Off),
    (Dialect::Native, Compression::On),
    (Dialect::Sse, Compression::Off),
    (Dialect::Streams, Compression::Off),
    (Dialect::Fastws(Revision::A), Compression::Off),
];

struct Stage {
    hub: Arc<Hub>,
    driven: Driven,
    now: Instant,
}

impl Stage {
    fn new() -> Self {
        let hub = Hub::new("epoch");
        let driven = Driven::new(0, CONFIG, (hub.clone(), Arc::default()), MAX_QUEUED_BYTES);
        Self { hub, driven, now: Instant::now() }
    }

    fn turn(&mut self) {
        self.driven.turn(self.now);
    }

    /// Somebody comes who asks for a topic with the request.
    fn come(&mut self, topic: &str, form: (Dialect, Compression), user: Option<&str>) -> Rc<RefCell<Socket>> {
        let socket = Socket::new(PLENTY);
        let (dialect, compression) = form;
        let streams = vec![topic.split(':').next().unwrap().to_owned()];
        let mut newcomer =
            Newcomer::over(self.driven.open(&socket), Endpoint { streams, ..Endpoint::open("/", dialect) }.into());
        newcomer.compression = compression;
        newcomer.identity = user.map(|user| Arc::new(Identity::of_user(user)));
        let wish = Command::Subscribe { target: Target::Topic(topic.to_owned()), since: None, batch: None };
        newcomer.wishes = if dialect == Dialect::User { vec![] } else { vec![wish] };
        self.driven.inbox.hand(Inbound::Adopt(Box::new(newcomer)));
        socket
    }
}

/// How often the records of `bars` were put into bytes.
fn made(metrics: &str) -> usize {
    let line = metrics.lines().find_map(|line| line.strip_prefix("broadcastd_snapshots_made_total{stream=\"bars\"} "));
    line.map_or(0, |count| count.parse().unwrap())
}

#[test]
fn a_thousand_who_come_at_once_cost_one_encoding_of_each_form() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        let mut stage = Stage::new();
        let bars = stage.hub.declare("bars", Settings::default());
        let tell = |price: u32| {
            publish(&bars, "A", Flags::default(), &json!({"close": price, "pad": "x".repeat(600)}).to_string());
        };
        tell(1);
        let come = |stage: &mut Stage| -> Vec<_> {
            let sockets = (0..1000).map(|number| stage.come("bars:A", FORMS[number % FORMS.len()], None)).collect();
            (0..3).for_each(|_| stage.turn());
            sockets
        };
        let first = come(&mut stage);
        let shown = |price: &str, sockets: &[Rc<RefCell<Socket>>]| {
            let plain = |number: &usize| FORMS[number % FORMS.len()].1 == Compression::Off;
            (0..sockets.len())
                .filter(plain)
                .all(|number| String::from_utf8_lossy(&sockets[number].borrow().to_client).contains(price))
        };
        assert!(shown("\"close\":1", &first));
        assert_eq!(made(&handle.render()), FORMS.len());
        tell(2);
        stage.now += TICK; // and some time later
        let second = come(&mut stage);
        assert!(shown("\"close\":2", &second) && !shown("\"close\":1", &second));
        assert_eq!(made(&handle.render()), 2 * FORMS.len());
    });
}

#[test]
fn a_log_that_forgot_shows_nothing_of_what_was_although_its_number_is_the_same() {
    let mut stage = Stage::new();
    let settings = |private| Settings { private, ..Settings::default() };
    let bars = stage.hub.declare("bars", settings(false));
    publish(&bars, "A", Flags::default(), "\"before\"");
    let shown = |stage: &mut Stage| {
        let socket = stage.come("bars:A", FORMS[0], None);
        stage.turn();
        let text = String::from_utf8_lossy(&socket.borrow().to_client).into_owned();
        assert!(text.contains("full_update") && text.contains("\"seq\":1"), "{text}");
        text.contains("before")
    };
    assert!(shown(&mut stage) && shown(&mut stage));
    for private in [true, false] {
        stage.hub.declare("bars", settings(private));
    }
    assert!(!shown(&mut stage));
}

/// Letters to users who come, ask, go and come back: each is shown the newest of its own, and nothing else.
struct Post {
    stage: Stage,
    mail: Arc<Stream>,
    rng: Rng,
    /// Of each user, the newest letter under each key.
    newest: [[u64; 2]; USERS],
    people: Vec<Person>,
}

struct Person {
    user: usize,
    dialect: Dialect,
    socket: Rc<RefCell<Socket>>,
}

const USERS: usize = 3;
const PEOPLE: usize = 9;
const STEPS: usize = 3000;

impl Post {
    fn new(seed: u64) -> Self {
        let mut stage = Stage::new();
        let mail = stage.hub.declare("mail", Settings { private: true, ..Settings::default() });
        stage.turn();
        Self { stage, mail, rng: Rng::with_seed(seed), newest: [[0; 2]; USERS], people: Vec::new() }
    }

    fn step(&mut self, serial: u64) {
        match self.rng.u32(..10) {
            0..3 => {
                let (user, key) = (self.rng.usize(..USERS), self.rng.usize(..2));
                let (audience, payload) = (user.to_string(), json!({"for": user, "key": key, "n": serial}).to_string());
                let name = ["a", "b"][key];
                let draft = Draft { audience: &audience, kind: "letter", key: name, ..Draft::default() };
                self.mail.publish(&Draft { payload: payload.as_bytes(), ..draft }, None).unwrap();
                self.newest[user][key] = serial;
            }
            3..6 if self.people.len() < PEOPLE => {
                let user = self.rng.usize(..USERS);
                let dialect = *self.rng.choice(&[Dialect::Native, Dialect::User]).unwrap();
                let socket = self.stage.come("mail", (dialect, Compression::Off), Some(&user.to_string()));
                self.stage.turn();
                self.people.push(Person { user, dialect, socket });
                self.check(self.people.len() - 1);
            }
            6 if !self.people.is_empty() => {
                let gone = self.people.swap_remove(self.rng.usize(..self.people.len()));
                gone.socket.borrow_mut().is_closed = true;
            }
            7 => self.stage.now += TICK,
            _ => self.stage.turn(),
        }
    }

    /// Whoever has just come has been shown exactly what is there for it.
    fn check(&self, index: usize) {
        let person = &self.people[index];
        let letters = person.hear();
        let newest = self.newest[person.user].iter().enumerate().filter(|(_, n)| **n > 0);
        let expected: Vec<Value> = newest.map(|(key, n)| json!({"for": person.user, "key": key, "n": n})).collect();
        assert_eq!(letters, expected, "{:?}", person.dialect);
    }
}

impl Person {
    /// The letters that have come, by themselves or in a snapshot.
    fn hear(&self) -> Vec<Value> {
        let unread = std::mem::take(&mut self.socket.borrow_mut().to_client);
        let (mut rest, mut letters) = (&unread[..], Vec::new());
        while let Some((_, text, after)) = next_frame(rest) {
            rest = after;
            let mut said: Value = serde_json::from_slice(text).unwrap();
            let data = said["data"].take();
            match said["type"].as_str().unwrap() {
                "letter" => letters.push(data),
                "full_update" => letters.extend(data["records"].as_array().cloned().unwrap_or_default()),
                _ => {}
            }
        }
        letters
    }
}

#[test]
fn whoever_comes_is_shown_the_newest_of_its_own_and_nothing_of_anothers() {
    for seed in (0..20).chain([fastrand::u64(..)]) {
        println!("seed {seed}");
        let mut post = Post::new(seed);
        for serial in 1..=STEPS as u64 {
            post.step(serial);
            for person in &post.people {
                assert!(person.hear().iter().all(|letter| letter["for"] == person.user), "of another user");
            }
        }
    }
}
