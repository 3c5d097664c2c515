//! The hub, two shards and the pages of the doors, with everybody who comes; and one random step after another.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use fastrand::Rng;

use super::client::{Client, Logout, PLENTY};
use super::desk::{COMMAND, DESKS, payload};
use super::pages::Pages;
use super::people::{NAMES, People, Person, Who, some_name};
use super::truth::{STREAMS, Truth};
use super::wishes::{TARGETS, wish};
use crate::dialect::Dialect;
use crate::dialect::fastws::Revision;
use crate::event::unix_now;
use crate::hub::Hub;
use crate::hub::names::Names;
use crate::hub::settings::Flush;
use crate::identity::Auth;
use crate::rate::Rate;
use crate::server::sse;
use crate::shard::Config;
use crate::shard::encoding::Deflation;
use crate::shard::inbox::{Endpoint, Inbound, Newcomer};
use crate::shard::tests::driven::{Driven, Socket};

const SHARDS: usize = 2;
const CLIENTS: usize = 10;

pub struct World {
    truth: Truth,
    people: People,
    pages: Pages,
    endpoints: Vec<Arc<Endpoint>>,
    shards: Vec<Driven>,
    clients: Vec<Client>,
    rng: Rng,
    now: Instant,
    /// Clients and requests so far that could ask something.
    asking: u64,
    heard: Heard,
}

/// What came to those that it is for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heard {
    pub private: usize,
    pub answers: usize,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        fastrand::seed(seed);
        let hub = Hub::new("epoch");
        let people = People::new(&mut rng);
        let max_queued = *rng.choice(&[3000, 1 << 20]).unwrap();
        let first = config(&mut rng);
        let knows = || (hub.clone(), people.verifier.clone());
        let shards: Vec<Driven> = (0..SHARDS).map(|index| Driven::new(index, first, knows(), max_queued)).collect();
        let endpoints = endpoints();
        let inboxes: Vec<_> = shards.iter().map(|driven| driven.inbox.clone()).collect();
        let at = |places: &[usize]| places.iter().map(|place| endpoints[*place].clone()).collect();
        let doors = vec![at(&[0, 4]), at(&[1, 5]), at(&[2]), at(&[2, 3]), at(&[0, 10]), at(&[12])];
        let pages = Pages::new(&hub, &inboxes, &people, doors);
        let truth = Truth::new(hub, rng.fork());
        let (clients, now, heard) = (Vec::new(), Instant::now(), Heard::default());
        let mut world = Self { truth, people, pages, endpoints, shards, clients, rng, now, asking: 0, heard };
        for number in 0..CLIENTS {
            let client = world.connect(number);
            world.clients.push(client);
        }
        world
    }

    pub fn heard(&self) -> Heard {
        let Heard { private, answers } = self.heard;
        Heard { private: private + self.pages.heard_private, answers: answers + self.pages.heard_answers }
    }

    pub fn step(&mut self) {
        self.truth.step += 1;
        let client = self.rng.usize(..CLIENTS);
        match self.rng.u32(..200) {
            0..80 => self.truth.publish(),
            80..86 => self.truth.answer(3),
            86..89 => self.command_by_page(),
            89 => self.truth.desks.open(),
            90..130 => self.turn(client % SHARDS),
            130..138 => self.make_room(client),
            138..168 => self.say_something(client),
            168..176 => self.pages.read(&mut self.truth, &self.people, &mut self.rng),
            176 => self.pages.inspect(&mut self.truth, &mut self.rng),
            177 => self.pages.look_as(&mut self.truth, &self.people, &mut self.rng),
            178..186 => self.now += Duration::from_millis(self.rng.u64(..500)),
            186..192 => self.reconnect(client),
            192..194 => self.truth.reload(),
            194 | 195 => self.log_out(),
            196 => {
                self.people.exchange_services(&mut self.rng);
                self.configure();
            }
            197 => self.configure(),
            _ => self.show_bad_token(client),
        }
    }

    /// Everybody hears what is left.
    pub fn rest(&mut self) {
        for _ in 0..8 {
            for client in &self.clients {
                client.socket.borrow_mut().room = PLENTY;
            }
            (0..SHARDS).for_each(|shard| self.turn(shard));
            self.now += Duration::from_millis(300);
        }
        self.clients.iter().for_each(|client| self.heard.add(client));
    }

    fn turn(&mut self, shard: usize) {
        let (unix_ns, generation) = (unix_now(), self.people.generation());
        let of_shard = |index: &usize| index % SHARDS == shard;
        for index in (0..CLIENTS).filter(of_shard) {
            self.clients[index].await_turn(&self.truth, self.now, generation);
        }
        self.shards[shard].turn(self.now);
        for index in (0..CLIENTS).filter(of_shard) {
            self.clients[index].hear(&mut self.truth, self.now, unix_ns);
        }
    }

    fn make_room(&mut self, client: usize) {
        let client = &self.clients[client];
        if !client.is_roomy {
            client.socket.borrow_mut().room = self.rng.usize(..9000);
        }
    }

    fn say_something(&mut self, index: usize) {
        if self.clients[index].is_gone() {
            return self.reconnect(index);
        }
        if self.rng.u32(..9) == 0 && self.clients[index].endpoint.dialect.can_authenticate() {
            return self.authenticate(index);
        }
        let (number, dialect) = (self.clients[index].number, self.clients[index].endpoint.dialect);
        let text = match dialect == Dialect::Native && self.rng.u32(..5) == 0 {
            true => self.command(number),
            false => wish(dialect, &mut self.rng),
        };
        self.clients[index].say(&text);
    }

    /// All marks are the same, so that only the daemon can tell whose answer is whose.
    fn command(&mut self, number: u64) -> String {
        let (stream, data) = (STREAMS[*self.rng.choice(&DESKS).unwrap()], payload(number));
        format!(r#"{{"type":"command","stream":"{stream}","command":"{COMMAND}","data":{data},"id":"note"}}"#)
    }

    fn command_by_page(&mut self) {
        self.asking += 1;
        self.pages.command(&mut self.truth, &self.people, &mut self.rng, self.asking);
    }

    /// Says who it is: somebody, itself with other rights, or somebody else.
    fn authenticate(&mut self, index: usize) {
        let rng = &mut self.rng;
        let (token, person) = match self.clients[index].person.who {
            Who::User(name) if rng.u32(..4) > 0 => self.people.user(name, rng),
            Who::User(_) | Who::Nobody => self.people.user(some_name(rng), rng),
            _ => match self.people.any(rng) {
                (Some(token), person) => (token, person),
                (None, _) => return,
            },
        };
        self.clients[index].claims.push_back(Some(person));
        self.clients[index].say(&shown(&token));
    }

    fn show_bad_token(&mut self, index: usize) {
        if self.clients[index].endpoint.dialect.can_authenticate() && !self.clients[index].is_gone() {
            let token = self.people.bad_token(&mut self.rng);
            self.clients[index].claims.push_back(None);
            self.clients[index].say(&shown(&token));
        }
    }

    fn log_out(&mut self) {
        let user = some_name(&mut self.rng);
        for client in &mut self.clients {
            if client.person.who == Who::User(user) {
                client.logout = Logout::Yes;
            } else if client.claims.iter().flatten().any(|claim| claim.who == Who::User(user)) {
                client.logout = client.logout.max(Logout::Perhaps);
            }
        }
        for driven in &self.shards {
            driven.inbox.hand(Inbound::LogOut(NAMES[user].into()));
        }
    }

    fn configure(&mut self) {
        let config = config(&mut self.rng);
        self.shards.iter().for_each(|driven| driven.inbox.hand(Inbound::Configure(config)));
    }

    /// Somebody hangs up, and somebody comes to the same shard, often to the same place there.
    fn reconnect(&mut self, index: usize) {
        self.clients[index].socket.borrow_mut().is_closed = true;
        self.heard.add(&self.clients[index]);
        self.clients[index] = self.connect(index);
    }

    fn connect(&mut self, index: usize) -> Client {
        let endpoint = self.rng.choice(&self.endpoints).unwrap().clone();
        let is_roomy = self.rng.u32(..3) > 0;
        let socket = Socket::new(if is_roomy { PLENTY } else { 500 });
        let (token, mut person) = match self.rng.u32(..12) {
            0 => (None, Person::operator(some_name(&mut self.rng))),
            _ => self.people.any(&mut self.rng),
        };
        if endpoint.auth == Auth::None {
            person = Person::nobody();
        }
        let must_be_known = endpoint.auth == Auth::Required && !endpoint.dialect.can_authenticate();
        let mut newcomer = Newcomer::over(self.shards[index % SHARDS].open(&socket), endpoint.clone());
        newcomer.identity = match person.who {
            Who::Nobody if must_be_known => {
                let (token, other) = self.people.user(some_name(&mut self.rng), &mut self.rng);
                person = other;
                self.people.identity(Some(&token), &person)
            }
            Who::Nobody => None,
            _ => self.people.identity(token.as_deref(), &person),
        };
        if endpoint.dialect == Dialect::Sse {
            newcomer.wishes = sse::wishes(&self.request(), Names::NONE).unwrap();
        }
        self.shards[index % SHARDS].inbox.hand(Inbound::Adopt(Box::new(newcomer)));
        self.asking += 1;
        Client::new(self.asking, socket, endpoint, person)
    }

    /// A request for server-sent events with the position of somebody else.
    fn request(&mut self) -> Request<Body> {
        let rng = &mut self.rng;
        let topics: Vec<String> = (0..rng.usize(1..4))
            .map(|_| format!("topic={}{}", rng.choice(&STREAMS).unwrap(), rng.choice(&TARGETS).unwrap()))
            .collect();
        let places = STREAMS.map(|stream| format!("{stream}=epoch:{}", rng.u32(..60))).join(";");
        Request::get(format!("/v1/sse?{}", topics.join("&")))
            .header("last-event-id", places)
            .body(Body::empty())
            .unwrap()
    }
}

impl Heard {
    fn add(&mut self, client: &Client) {
        self.private += client.heard_private;
        self.answers += client.heard_answers;
    }
}

fn shown(token: &str) -> String {
    serde_json::json!({"type": "auth", "token": token, "id": "auth"}).to_string()
}

fn endpoints() -> Vec<Arc<Endpoint>> {
    let open = |auth, dialect, streams: &[&str]| {
        let streams = streams.iter().map(|stream| (*stream).to_owned()).collect();
        Arc::new(Endpoint { auth, streams, ..Endpoint::open("/v1/ws", dialect) })
    };
    let named = Endpoint {
        aliases: [("letters".to_owned(), "mail".to_owned())].into(),
        ..Endpoint::open("/v1/ws", Dialect::Native)
    };
    // What `GET /api/state/snapshot` asks for by these names.
    let called = Endpoint {
        auth: Auth::None,
        aliases: [("positions", "mail"), ("signals", "known")]
            .map(|(own, name)| (own.to_owned(), name.to_owned()))
            .into(),
        ..Endpoint::open("/v1/ws", Dialect::Streams)
    };
    vec![
        open(Auth::Optional, Dialect::Native, &["*"]),
        open(Auth::Required, Dialect::Native, &["*"]),
        open(Auth::None, Dialect::Native, &["*"]),
        open(Auth::Optional, Dialect::Native, &["mail", "bars"]),
        open(Auth::Optional, Dialect::Sse, &["*"]),
        open(Auth::Required, Dialect::Sse, &["*"]),
        open(Auth::Required, Dialect::User, &["mail", "post"]),
        open(Auth::Optional, Dialect::Fastws(Revision::A), &["*"]),
        open(Auth::Optional, Dialect::Fastws(Revision::C), &["bars", "mail"]),
        Arc::new(named),
        open(Auth::Optional, Dialect::Streams, &["*"]),
        open(Auth::Required, Dialect::Streams, &["mail", "bars"]),
        Arc::new(called),
        open(Auth::Optional, Dialect::Spc, &["mail"]),
        open(Auth::Required, Dialect::Spc, &["bars"]),
    ]
}

fn config(rng: &mut Rng) -> Config {
    Config {
        outbox: *rng.choice(&[0, 2000, 1 << 20]).unwrap(),
        max_subscriptions: 9,
        max_message: 4000,
        deflation: Deflation { min_size: 512, level: 1 },
        ping_every: Duration::from_secs(1),
        drop_after: Duration::from_secs(1 << 20),
        rate: Rate { per_second: NonZeroU32::MAX, burst: u32::MAX },
        flush: Flush::Every(Duration::ZERO),
    }
}
