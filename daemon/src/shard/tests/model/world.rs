//! A hub, shards on a kernel of the test's own, publishers and clients; and one random step after another.

use std::cell::RefCell;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broadcastd_plugin_api::KindSpec;
use fastrand::Rng;

use super::super::super::encoding::Deflation;
use super::super::super::inbox::{Endpoint, Inbound, Inbox, Newcomer};
use super::super::super::poll::Backend;
use super::super::super::{Config, Shard, TICK};
use super::client::{Asked, Client, Wish};
use super::kernel::{Kernel, Socket};
use super::tell;
use super::truth::{KINDS, Line, Publication};
use super::view::View;
use crate::dialect::Dialect;
use crate::event::Flags;
use crate::hub::Hub;
use crate::hub::history::Bounds;
use crate::hub::log::Limits;
use crate::hub::settings::{Flush, Lag, Settings, Source};
use crate::hub::template::Template;
use crate::rate::Rate;

const NAMES: [&str; 2] = ["bars", "more"];
const PARTS: [&str; 6] = ["", "A:1", "A:2", "B:1", "B:2", "C"];
const KEYS: [&str; 3] = ["", "k1", "k2"];
const SHARDS: usize = 2;
const CLIENTS: usize = 5;
/// A client is told at most once a second what it lost: of two streams and of what was replaced.
const TICKS_TO_REST: u32 = 16;
/// The room of a socket whose client takes everything.
const PLENTY: usize = usize::MAX >> 1;

/// Publishers and what they have published: everything but shards and clients.
pub struct Publishers {
    hub: Arc<Hub>,
    pub lines: Vec<Line>,
    rng: Rng,
    serials: u64,
    causes: u64,
    /// The most bytes of padding in an event.
    pad: usize,
}

pub struct World {
    publishers: Rc<RefCell<Publishers>>,
    shards: Vec<Standing>,
    clients: Vec<Client>,
    rng: Rng,
    now: Instant,
    config: Config,
}

/// A shard that turns when it is told to.
struct Standing {
    shard: Shard<Kernel>,
    inbox: Arc<Inbox>,
    /// Not before, unless something happens.
    sleeps_until: Option<Instant>,
    /// Of each stream, what was handed to the shard when it last looked: life and number.
    floors: Vec<(usize, u64)>,
}

impl Publishers {
    fn new(hub: Arc<Hub>, mut rng: Rng) -> Self {
        let lines = NAMES.iter().map(|name| Line::new(&hub, name, settings(&mut rng))).collect();
        let pad = *rng.choice(&[50, 500, 3000]).unwrap();
        Self { hub, lines, rng, serials: 0, causes: 0, pad }
    }

    fn publish(&mut self) {
        let rng = &mut self.rng;
        let line = rng.usize(..self.lines.len());
        let chance = |rng: &mut Rng, flag: Flags, one_in: u32| if rng.u32(..one_in) == 0 { flag.0 } else { 0 };
        let flags = chance(rng, Flags::LATEST, 2) | chance(rng, Flags::DELETE, 6) | chance(rng, Flags::RECORD_ONLY, 20);
        let most = if rng.u32(..8) == 0 { self.pad } else { 40 };
        let publication = Publication {
            part: PARTS[rng.usize(..PARTS.len())],
            kind: rng.usize(..KINDS.len()),
            key: KEYS[rng.usize(..KEYS.len())],
            flags: Flags(flags),
            session_id: if rng.bool() { "s1" } else { "" },
            pad: rng.usize(..most),
            has_record: rng.bool(),
        };
        let id = if rng.u32(..8) == 0 { format!("i{}", rng.u32(..40)) } else { String::new() };
        let cause = (rng.u32(..8) == 0).then(|| {
            self.causes += u64::from(rng.u32(..3) > 0);
            (self.causes.saturating_sub(rng.u64(..4)).max(1), rng.u32(..2)) // in any order
        });
        self.serials += 1;
        self.lines[line].publish(self.serials, publication, &id, cause);
    }

    /// What happens to a stream beside its events.
    fn happen(&mut self) {
        let line = self.rng.usize(..self.lines.len());
        let new_settings = settings(&mut self.rng);
        let line = &mut self.lines[line];
        let what = self.rng.u32(..12);
        tell(|| format!("happening {what} at {}", line.name));
        match what {
            0 => line.set_source(Source::Absent("stopped".into())),
            1 => line.set_source(Source::Running),
            2 | 3 => line.begin_records(),
            4 | 5 => line.end_records(),
            6 => {
                line.settings = Settings { visible: false, ..line.settings.clone() };
                line.stream.is_some().then(|| line.declare(&self.hub));
            }
            7 if line.stream.is_some() => line.remove(&self.hub),
            _ => {
                line.settings = new_settings;
                line.declare(&self.hub);
            }
        }
    }

    fn settle(&mut self) {
        for line in &mut self.lines {
            line.end_records();
            line.settings.visible = true;
            line.declare(&self.hub);
        }
    }
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        fastrand::seed(seed);
        let hub = Hub::new("epoch");
        let publishers = Publishers::new(hub.clone(), rng.fork());
        let config = config(&mut rng);
        let max_queued = *rng.choice(&[1500, 10_000, 1 << 20]).unwrap();
        let now = Instant::now();
        let shards = (0..SHARDS).map(|index| Standing::new(index, config, hub.clone(), max_queued)).collect();
        let publishers = Rc::new(RefCell::new(publishers));
        let mut world = Self { publishers, shards, clients: Vec::new(), rng, now, config };
        for number in 0..CLIENTS {
            let views = NAMES.iter().map(|_| View::default().remembered()).collect();
            let client = world.connect(number, views);
            world.clients.push(client);
        }
        world
    }

    pub fn step(&mut self) {
        match self.rng.u32(..100) {
            0..40 => {
                let events = if self.rng.u32(..20) == 0 { self.rng.usize(..60) } else { 1 };
                tell(|| format!("{events} events"));
                (0..events).for_each(|_| self.publishers.borrow_mut().publish());
            }
            40..65 => {
                let index = self.rng.usize(..SHARDS);
                tell(|| format!("turn of shard {index}"));
                self.publish_meanwhile(index);
                self.turn(index);
            }
            65..80 => self.make_room(),
            80..93 => self.say_something(),
            93..97 => {
                let time = Duration::from_millis(self.rng.u64(..400));
                tell(|| format!("{time:?} passes"));
                self.now += time;
            }
            97 => {
                let index = self.rng.usize(..CLIENTS);
                self.reconnect(index);
            }
            98 => {
                self.publishers.borrow_mut().happen();
            }
            _ => self.configure(),
        }
    }

    /// Lets everybody take everything and time pass, until nothing moves; then nobody may have missed anything untold.
    pub fn rest(&mut self) {
        tell(|| "everything comes to rest".to_owned());
        self.publishers.borrow_mut().settle();
        self.shards.iter_mut().for_each(|standing| standing.shard.backend.meanwhile = None);
        for _ in 0..TICKS_TO_REST {
            self.turn_until_asleep();
            self.now += TICK;
        }
        for client in &mut self.clients {
            client.hear(&self.publishers.borrow().lines);
            if client.is_connected() {
                client.check_at_rest(&self.publishers.borrow().lines);
            }
        }
        for client in &self.clients {
            client.socket.borrow_mut().room = 0;
        }
    }

    fn turn_until_asleep(&mut self) {
        const ENOUGH: usize = 10_000;
        for _ in 0..ENOUGH {
            for client in &self.clients {
                client.socket.borrow_mut().room = PLENTY;
            }
            let mut has_moved = false;
            for index in 0..SHARDS {
                has_moved |= self.turn(index);
            }
            if !has_moved {
                return;
            }
        }
        panic!("the shards do not come to rest");
    }

    /// One turn of a shard, if it would make one.
    fn turn(&mut self, index: usize) -> bool {
        let standing = &mut self.shards[index];
        let floors: Vec<_> = self.publishers.borrow().lines.iter().map(floor).collect();
        let has_turned = standing.turn(self.now, &floors);
        self.publishers.borrow_mut().lines.iter_mut().for_each(Line::observe);
        let publishers = self.publishers.borrow();
        self.clients.iter_mut().for_each(|client| client.hear(&publishers.lines));
        has_turned
    }

    /// Something may be published while the shard sends.
    fn publish_meanwhile(&mut self, index: usize) {
        let (publishers, events) = (self.publishers.clone(), self.rng.usize(..8).saturating_sub(4));
        let meanwhile = move || {
            let mut publishers = publishers.borrow_mut();
            publishers.lines.iter_mut().for_each(Line::observe); // answers may have let old events go
            (0..events).for_each(|_| publishers.publish());
        };
        self.shards[index].shard.backend.meanwhile = Some(Box::new(meanwhile));
    }

    fn make_room(&mut self) {
        let index = self.rng.usize(..CLIENTS);
        let most = *self.rng.choice(&[10, 200, 5000, PLENTY]).unwrap();
        let room = self.rng.usize(..=most);
        tell(|| format!("{index} has room for {room} bytes"));
        self.clients[index].socket.borrow_mut().room = room;
    }

    fn say_something(&mut self) {
        let index = self.rng.usize(..CLIENTS);
        if !self.clients[index].is_connected() {
            return self.reconnect(index);
        }
        let wish = self.wish();
        let kind = self.rng.u32(..10);
        let publishers = self.publishers.borrow();
        let view = &self.clients[index].views[wish.line];
        let asked = match kind {
            0..3 => Asked::Subscribe { wish, since: None, continued: vec![] },
            3..5 => {
                let life = if self.rng.u32(..8) == 0 { 0 } else { view.life };
                let newest = publishers.lines[wish.line].lives[life].seq() + 2;
                let seq = newest.saturating_sub(self.rng.u64(..60));
                Asked::Subscribe { wish, since: Some((life, seq)), continued: vec![] }
            }
            5..8 => {
                let floor = self.shards[index % SHARDS].floors[wish.line];
                Asked::Unsubscribe { wish, floor }
            }
            8 => Asked::Snapshot(wish),
            _ => Asked::Ping,
        };
        self.clients[index].ask(&publishers.lines, asked);
    }

    fn wish(&mut self) -> Wish {
        let line = self.rng.usize(..NAMES.len());
        let name = NAMES[line];
        let (fields, parts): (&str, &[&str]) = match self.rng.u32(..9) {
            0 => (r#""topic":"NAME:A:1""#, &[":A:1"]),
            1 => (r#""topic":"NAME:B:2""#, &[":B:2"]),
            2 => (r#""topic":"NAME:C""#, &[":C"]),
            3 => (r#""topic":"NAME:*:1""#, &[":*:1"]),
            4 => (r#""topic":"NAME:%41:*""#, &[":A:*"]),
            5 => (r#""topic":"NAME""#, &[""]),
            6 => (r#""stream":"NAME","params":{"symbol":["B","A"]}"#, &[":A:1", ":B:1"]),
            7 => (r#""stream":"NAME","params":{"resolution":2}"#, &[":*:2"]),
            _ => (r#""stream":"NAME""#, &[":*:1"]),
        };
        let patterns = parts.iter().map(|part| format!("{name}{part}")).collect();
        let mut fields = fields.replace("NAME", name);
        if self.rng.u32(..3) == 0 {
            let batch_ms = self.rng.choice(&[1, 50, 300, 1500]).unwrap();
            fields += &format!(r#","batch_ms":{batch_ms}"#); // a mere unknown field where nothing is subscribed to
        }
        Wish { line, fields, patterns }
    }

    fn connect(&mut self, name: usize, views: Vec<View>) -> Client {
        let socket = Socket::new(self.rng.usize(..2000));
        let standing = &mut self.shards[name % SHARDS];
        let fd = standing.shard.backend.open(&socket);
        let newcomer = Newcomer::over(fd, Endpoint::open("/v1/ws", Dialect::Native).into());
        standing.inbox.hand(Inbound::Adopt(Box::new(newcomer)));
        Client::new(name, socket, views, self.config.max_subscriptions)
    }

    /// Somebody hangs up, comes back and goes on where it was.
    fn reconnect(&mut self, index: usize) {
        tell(|| format!("{index} comes back"));
        let client = &mut self.clients[index];
        client.hear(&self.publishers.borrow().lines);
        client.socket.borrow_mut().is_closed = true;
        let sound: Vec<Vec<(String, u64)>> = client.views.iter().map(View::sound_patterns).collect();
        let views = client.views.iter().map(View::remembered).collect();
        let mut client = self.connect(index, views);
        let lines = &self.publishers.borrow().lines;
        for (line, patterns) in sound.iter().enumerate() {
            for (pattern, position) in patterns {
                let fields = format!(r#""topic":"{pattern}""#);
                let since = Some((client.views[line].life, *position));
                let wish = Wish { line, fields, patterns: vec![pattern.clone()] };
                client.ask(lines, Asked::Subscribe { wish, since, continued: vec![pattern.clone()] });
            }
        }
        self.clients[index] = client;
    }

    fn configure(&mut self) {
        let max_subscriptions = self.config.max_subscriptions;
        self.config = Config { max_subscriptions, ..config(&mut self.rng) };
        tell(|| format!("{:?}", self.config));
        self.shards.iter().for_each(|standing| standing.inbox.hand(Inbound::Configure(self.config)));
    }
}

impl Standing {
    fn new(index: usize, config: Config, hub: Arc<Hub>, max_queued: usize) -> Self {
        let queue = Inbox::new(index as u64, max_queued).unwrap();
        let inbox = queue.0.clone();
        let shard = Shard::new(index, config, (hub, Arc::default()), queue).unwrap();
        Self { shard, inbox, sleeps_until: None, floors: vec![(0, 0); NAMES.len()] }
    }

    fn turn(&mut self, now: Instant, floors: &[(usize, u64)]) -> bool {
        if self.sleeps_until.is_none() {
            self.sleeps_until = Some(now + self.shard.nap(now));
        }
        let mut ready = Vec::new();
        self.shard.backend.wait(Duration::ZERO, &mut ready).unwrap();
        if ready.is_empty() && self.sleeps_until.is_some_and(|until| now < until) {
            return false;
        }
        self.sleeps_until = None;
        self.floors = floors.to_vec();
        self.shard.turn(&mut ready, now);
        true
    }
}

fn floor(line: &Line) -> (usize, u64) {
    (line.lives.len() - 1, line.life().seq())
}

fn settings(rng: &mut Rng) -> Settings {
    let age = if rng.u32(..8) == 0 { Duration::ZERO } else { Duration::from_secs(3600) };
    let (events, bytes) = (*rng.choice(&[3, 30, 1000]).unwrap(), *rng.choice(&[2000, 20_000, 1 << 20]).unwrap());
    let history = Bounds { events, bytes, age };
    let max_topics = *rng.choice(&[4, 100]).unwrap();
    let max_records = *rng.choice(&[5, 100]).unwrap();
    let collections = KINDS.iter().filter(|(_, collection)| *collection == "bars");
    Settings {
        template: Template::parse("{symbol}:{resolution=1}").unwrap(),
        lag: if rng.u32(..4) == 0 { Lag::Disconnect } else { Lag::Resync },
        limits: Limits { history, max_topics, max_records },
        kinds: collections.map(|(kind, collection)| (kind.to_string(), collected(collection))).collect(),
        ..Settings::default()
    }
}

fn collected(collection: &str) -> KindSpec {
    KindSpec { schema: true.into(), collection: Some(collection.to_owned()), record: None }
}

fn config(rng: &mut Rng) -> Config {
    Config {
        outbox: *rng.choice(&[0, 1000, 6000, 1 << 20]).unwrap(),
        max_subscriptions: 6,
        max_message: 1000,
        deflation: Deflation { min_size: 512, level: 1 },
        ping_every: Duration::from_secs(1),
        drop_after: Duration::from_secs(1 << 20),
        rate: Rate { per_second: NonZeroU32::MAX, burst: u32::MAX },
        flush: Flush::Every(*rng.choice(&[Duration::ZERO, Duration::ZERO, Duration::from_millis(300)]).unwrap()),
    }
}
