//! Events to everybody, either in a closed loop, where a new one is published for each that everybody has got, or at a pace.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::crowd::{Crowd, Patience};
use super::payload::{Mark, Reader};
use super::publisher::Publisher;
use super::story::{Faults, Story};
use super::{NAP, SILENCE};
use crate::dialect::Dialect;
use crate::figures::Figures;
use crate::histogram::Histogram;
use crate::process::cpu_seconds;

pub struct Plan {
    pub dialect: &'static dyn Dialect,
    pub address: SocketAddr,
    pub pid: u32,
    pub connections: usize,
    pub topics: u32,
    /// Connections that may be on their way in at the same time.
    pub at_once: usize,
    pub pace: Pace,
    pub warm_up: Duration,
    pub measure: Duration,
}

#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// So many events of each topic are always on their way.
    Closed { window: u64 },
    /// One after the other in this time, to each topic in turn, whatever has come.
    Open { every: Duration },
}

/// The most events of a topic on their way at a pace: a server that is further behind cannot keep it.
const MOST_ON_THEIR_WAY: u64 = 4096;

/// In a closed loop nobody reads until the server has said nothing for so long: longer than what it does between two sends of
/// a turn. Readers on the same machine would else hold the locks of the sockets that the server is about to send to, the more
/// often the nearer its pace is to theirs, and answer in its time; those of another machine do not.
const LULL: Duration = Duration::from_micros(400);

impl Pace {
    fn most_on_their_way(self) -> u64 {
        match self {
            Self::Closed { window } => window,
            Self::Open { .. } => MOST_ON_THEIR_WAY,
        }
    }
}

/// The load while it runs.
struct Run<'a> {
    plan: &'a Plan,
    crowd: Crowd,
    publisher: Publisher,
    tally: Tally,
    /// When the next event of an open loop is due, and how many were.
    due: (Instant, u64),
}

/// What has come so far.
pub struct Tally {
    reader: Reader,
    stories: Vec<Story>,
    topics: Vec<Topic>,
    /// Topics of which everybody got an event since somebody looked.
    moved: Vec<u32>,
    pub deliveries: u64,
    pub micros: Histogram,
    pub faults: Faults,
}

struct Topic {
    subscribers: u32,
    sent: u64,
    /// Events that everybody has got.
    done: u64,
    /// How many have got an event, by its number modulo the most on their way.
    got: Vec<u32>,
}

/// The clocks at one end of the measured time, and what had been done by then.
struct Clocks {
    at: Instant,
    server: f64,
    idle: Duration,
    deliveries: u64,
    reads: u64,
    /// That were due at a time; none in a closed loop.
    events: u64,
}

pub fn run(plan: &Plan) -> Result<Figures> {
    let mut crowd = Crowd::new(|_| plan.dialect, plan.connections)?;
    let topic_of = |index: usize| index as u32 % plan.topics;
    let nobody_speaks = |_: usize, text: &[u8], _: Instant| {
        anyhow::bail!("before anything was published {:?} came", String::from_utf8_lossy(text))
    };
    let took = crowd.admit_all(
        plan.address,
        plan.at_once,
        &mut |index| plan.dialect.subscribe(topic_of(index)),
        nobody_speaks,
    )?;
    let publisher = Publisher::connect(plan.dialect, plan.address)?;
    crowd.watch(publisher.socket())?;
    let tally = Tally::new(plan.connections, plan.topics, plan.pace.most_on_their_way());
    let mut run = Run { plan, crowd, publisher, tally, due: (Instant::now(), 0) };
    run.begin()?;
    let mut figures = Figures::default();
    figures.put("connects_per_second", plan.connections as f64 / took.as_secs_f64());
    if !run.go_on_for(plan.warm_up)? {
        return Ok(run.stalled(figures));
    }
    let before = Clocks::read(&run)?;
    run.tally.micros = Histogram::default();
    let goes = run.go_on_for(plan.measure)?;
    let after = Clocks::read(&run)?;
    for (name, part) in [("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999)] {
        figures.put(name, run.tally.micros.quantile(part) as f64);
    }
    before.put_what_was_done_until(&after, &mut figures);
    if !goes || !run.wait_for_the_rest()? {
        return Ok(run.stalled(figures));
    }
    Ok(run.faults(figures))
}

impl Run<'_> {
    /// Fills every topic's window.
    fn begin(&mut self) -> Result<()> {
        if let Pace::Closed { .. } = self.plan.pace {
            self.tally.moved = (0..self.plan.topics).collect();
        }
        self.due = (Instant::now(), 0);
        Ok(())
    }

    /// Publishes for so long. `false`: nothing came any more.
    fn go_on_for(&mut self, time: Duration) -> Result<bool> {
        let end = Instant::now() + time;
        let mut heard = (Instant::now(), self.tally.deliveries);
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(true);
            }
            self.publish(now)?;
            self.turn()?;
            if heard.1 != self.tally.deliveries {
                heard = (now, self.tally.deliveries);
            }
            if now - heard.0 > SILENCE {
                return Ok(false);
            }
        }
    }

    /// What is still on its way must come, too.
    fn wait_for_the_rest(&mut self) -> Result<bool> {
        let mut heard = (Instant::now(), self.tally.deliveries);
        while !self.tally.has_all() {
            if heard.0.elapsed() > SILENCE {
                return Ok(false);
            }
            self.turn()?;
            if heard.1 != self.tally.deliveries {
                heard = (Instant::now(), self.tally.deliveries);
            }
        }
        Ok(true)
    }

    /// Publishes what is to be published now.
    fn publish(&mut self, now: Instant) -> Result<()> {
        match self.plan.pace {
            Pace::Closed { window } => {
                let stamp = self.publisher.since(now);
                while let Some(topic) = self.tally.moved.pop() {
                    let state = &mut self.tally.topics[topic as usize];
                    while state.sent < state.done + window {
                        self.publisher.add(Mark { topic, number: state.sent, stamp });
                        state.sent += 1;
                    }
                }
            }
            Pace::Open { every } => {
                self.tally.moved.clear();
                while self.due.0 <= now {
                    let topic = (self.due.1 % u64::from(self.plan.topics)) as u32;
                    let state = &mut self.tally.topics[topic as usize];
                    ensure!(state.sent - state.done < MOST_ON_THEIR_WAY, "the server cannot keep the pace");
                    // The time at which it was due: a load that is late must not make a server look fast.
                    let stamp = self.publisher.since(self.due.0);
                    self.publisher.add(Mark { topic, number: state.sent, stamp });
                    state.sent += 1;
                    self.due = (self.due.0 + every, self.due.1 + 1);
                }
            }
        }
        self.publisher.flush()
    }

    fn turn(&mut self) -> Result<()> {
        let patience = match self.plan.pace {
            Pace::Closed { .. } => Patience { nap: NAP, lull: LULL },
            Pace::Open { .. } => Patience::nap(self.due.0.saturating_duration_since(Instant::now()).min(NAP)),
        };
        let Self { crowd, publisher, tally, .. } = self;
        let turn = crowd.turn(patience, |client, text, now| tally.take(client, text, publisher.since(now)))?;
        if turn.is_other_ready { self.publisher.attend() } else { Ok(()) }
    }

    /// What came until nothing came any more.
    fn stalled(mut self, mut figures: Figures) -> Figures {
        figures.put("stalled", 1.0);
        self.tally.end();
        self.faults(figures)
    }

    fn faults(self, mut figures: Figures) -> Figures {
        let Faults { lost, doubled, disorder } = self.tally.faults;
        for (name, count) in [("lost", lost), ("doubled", doubled), ("disorder", disorder)] {
            figures.put(name, count as f64);
        }
        figures
    }
}

impl Tally {
    pub fn new(clients: usize, topics: u32, most_on_their_way: u64) -> Self {
        let topic = |topic: u32| Topic {
            subscribers: (clients as u32 - topic).div_ceil(topics),
            sent: 0,
            done: 0,
            got: vec![0; most_on_their_way as usize],
        };
        Self {
            reader: Reader::default(),
            stories: std::iter::repeat_with(Story::default).take(clients).collect(),
            topics: (0..topics).map(topic).collect(),
            moved: Vec::new(),
            deliveries: 0,
            micros: Histogram::default(),
            faults: Faults::default(),
        }
    }

    fn take(&mut self, client: usize, text: &[u8], since: u64) -> Result<()> {
        let mark = self.reader.mark(text);
        let own = client as u32 % self.topics.len() as u32;
        let Some(Mark { number, stamp, topic }) = mark.filter(|mark| mark.topic == own) else {
            anyhow::bail!("client {client} got {:?}", String::from_utf8_lossy(text));
        };
        self.deliveries += 1;
        self.micros.record(since.saturating_sub(stamp) / 1000);
        let state = &mut self.topics[topic as usize];
        ensure!(number < state.sent, "event {number} of topic {topic} came before it was published");
        for passed in self.stories[client].hear(number, &mut self.faults) {
            let slot = (passed % state.got.len() as u64) as usize;
            state.got[slot] += 1;
            if state.got[slot] == state.subscribers {
                state.got[slot] = 0;
                state.done += 1;
                self.moved.push(topic);
            }
        }
        Ok(())
    }

    fn has_all(&self) -> bool {
        self.topics.iter().all(|topic| topic.done == topic.sent)
    }

    /// Nothing more will come.
    fn end(&mut self) {
        let topics = self.topics.len();
        for (client, story) in self.stories.iter_mut().enumerate() {
            story.end(self.topics[client % topics].sent, &mut self.faults);
        }
    }
}

impl Clocks {
    fn read(run: &Run) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            server: cpu_seconds(run.plan.pid)?,
            idle: run.crowd.idle,
            deliveries: run.tally.deliveries,
            reads: run.crowd.reads,
            events: run.due.1,
        })
    }

    fn put_what_was_done_until(&self, end: &Self, figures: &mut Figures) {
        let wall = (end.at - self.at).as_secs_f64();
        let deliveries = (end.deliveries - self.deliveries) as f64;
        let (server, own) = (end.server - self.server, wall - (end.idle - self.idle).as_secs_f64());
        figures.put("per_cpu", deliveries / server);
        figures.put("per_second", deliveries / wall);
        figures.put("server_busy", server / wall);
        figures.put("load_share", own / server);
        figures.put("per_read", deliveries / (end.reads - self.reads) as f64);
        if end.events > 0 {
            figures.put("events_per_second", (end.events - self.events) as f64 / wall);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::payload::Writer;

    fn tally(clients: usize, topics: u32) -> Tally {
        let mut tally = Tally::new(clients, topics, 4);
        tally.topics.iter_mut().for_each(|topic| topic.sent = 4);
        tally
    }

    fn text(topic: u32, number: u64) -> Vec<u8> {
        Writer::default().write(Mark { topic, number, stamp: 5 }).to_vec()
    }

    #[test]
    fn an_event_is_done_when_everybody_has_it() {
        let mut tally = tally(3, 2); // two of the first topic, one of the second
        tally.take(0, &text(0, 0), 9_005).unwrap();
        assert_eq!((tally.topics[0].done, tally.deliveries, tally.moved.len()), (0, 1, 0));
        tally.take(2, &text(0, 0), 9_005).unwrap();
        assert_eq!((tally.topics[0].done, tally.micros.quantile(1.0), &tally.moved[..]), (1, 9, &[0][..]));
        tally.take(1, &text(1, 0), 9_005).unwrap();
        assert_eq!(tally.topics[1].done, 1);
    }

    #[test]
    fn what_was_left_out_is_told_and_the_loop_goes_on() {
        let mut tally = tally(1, 1);
        tally.take(0, &text(0, 2), 0).unwrap();
        assert_eq!((tally.topics[0].done, tally.faults.lost), (3, 2));
        assert!(!tally.has_all());
        tally.end();
        assert_eq!(tally.faults.lost, 3);
    }

    #[test]
    fn what_was_done_in_between_counts_and_a_pace_is_told_where_there_is_one() {
        let figures = |events: u64| {
            let idle = Duration::from_secs;
            let before =
                Clocks { at: Instant::now(), server: 1.0, idle: idle(1), deliveries: 50, reads: 5, events: events / 3 };
            let at = before.at + Duration::from_secs(4);
            let after = Clocks { at, server: 3.0, idle: idle(4), deliveries: 450, reads: 105, events };
            let mut figures = Figures::default();
            before.put_what_was_done_until(&after, &mut figures);
            figures.to_string()
        };
        let same = "load_share=0.5 per_cpu=200 per_read=4 per_second=100 server_busy=0.5";
        assert_eq!(figures(0), same);
        assert_eq!(figures(300), format!("events_per_second=50 {same}"));
    }

    #[test]
    fn a_stranger_ends_the_measure() {
        let mut tally = tally(1, 1);
        assert!(tally.take(0, b"{\"type\":\"status\"}", 0).is_err());
        assert!(tally.take(0, &text(1, 0), 0).is_err(), "another topic's");
        assert!(tally.take(0, &text(0, 4), 0).is_err(), "not published yet");
    }
}
