//! Price bars of a plugin to clients of two dialects, told apart by their place: native ones hear all symbols, the others
//! one each.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};

use super::crowd::{Crowd, Patience};
use super::{NAP, SILENCE};
use crate::dialect::{Kind, Step};
use crate::figures::Figures;
use crate::histogram::Histogram;
use crate::process::cpu_seconds;
use crate::wire;

pub struct Plan {
    pub address: SocketAddr,
    pub pid: u32,
    pub connections: usize,
    /// How many of them speak `fastws`; the others are native.
    pub fastws: usize,
    pub symbols: usize,
    pub warm_up: Duration,
    pub measure: Duration,
}

const DAY_MICROS: u64 = 86_400_000_000;
const BEFORE_TIME: &[u8] = b"\"timestamp\":\"";
const FASTWS_UPDATE: &[u8] = b"{\"type\":\"bars.update\"";
const NATIVE_BAR: &[u8] = b"{\"type\":\"bar\"";
/// What a client of the bare bars may be behind the others, in bars of its symbol.
const MOST_BEHIND: usize = 4096;

/// What came, and what did not.
struct Watch<'a> {
    plan: &'a Plan,
    /// Of native clients: the newest number of each topic, by client and topic.
    newest: Vec<HashMap<Vec<u8>, u64>>,
    /// Of the others: what a symbol's bars were, in the order of whoever heard them first, and where each client is.
    told: Vec<Vec<u64>>,
    place: Vec<Option<usize>>,
    lost: u64,
    doubled: u64,
    disorder: u64,
    native: u64,
    bare: u64,
    is_measuring: bool,
    micros: Histogram,
}

/// How far whoever was furthest had come at a moment: everybody is to come as far.
struct Goal {
    /// The newest number of each topic that a native client had heard.
    newest: HashMap<Vec<u8>, u64>,
    /// How many bars of each symbol the others had been told.
    told: Vec<usize>,
}

/// Ages are rounded up: the message says its time in milliseconds, so that up to one is added to each.
pub fn run(plan: &Plan) -> Result<Figures> {
    let mut crowd = Crowd::new(|_| Kind::Broadcastd.dialect(), plan.connections)?;
    let mut watch = Watch::new(plan);
    crowd.admit_all(plan.address, 100, &mut |index| plan.steps(index), |_, _, _| Ok(()))?;
    watch.go_on_for(&mut crowd, plan.warm_up)?;
    let known = watch.newest_of_all();
    watch.is_measuring = true;
    let (server, began) = (cpu_seconds(plan.pid)?, Instant::now());
    let before = watch.native + watch.bare;
    watch.go_on_for(&mut crowd, plan.measure)?;
    let wall = began.elapsed().as_secs_f64();
    let deliveries = (watch.native + watch.bare - before) as f64;
    let cpu = cpu_seconds(plan.pid)? - server;
    ensure!(watch.native > 0 || plan.fastws == plan.connections, "no native bar came");
    ensure!(watch.bare > 0 || plan.fastws == 0, "no bare bar came");
    let mut figures = Figures::default();
    figures.put("per_cpu", deliveries / cpu);
    figures.put("per_second", deliveries / wall);
    figures.put("server_busy", cpu / wall);
    for (name, part) in [("p50_us", 0.5), ("p99_us", 0.99)] {
        figures.put(name, watch.micros.quantile(part) as f64);
    }
    watch.wait_for_the_rest(&mut crowd, known)?;
    for (name, count) in [("lost", watch.lost), ("doubled", watch.doubled), ("disorder", watch.disorder)] {
        figures.put(name, count as f64);
    }
    Ok(figures)
}

impl Plan {
    fn is_bare(&self, index: usize) -> bool {
        // Mixed, so that no address has only one sort.
        index * self.fastws / self.connections != (index + 1) * self.fastws / self.connections
    }

    fn symbol(&self, index: usize) -> usize {
        index % self.symbols
    }

    fn steps(&self, index: usize) -> Vec<Step> {
        if self.is_bare(index) {
            let wish =
                format!("{{\"type\":\"bars.subscribe\",\"payload\":{{\"symbol\":\"S{}\"}}}}", self.symbol(index));
            return vec![
                Step { say: wire::upgrade("/api/v1/ws", ""), heard: wire::switched },
                Step { say: wire::masked_text_frame(wish.as_bytes()), heard: wire::text },
            ];
        }
        let wish = wire::masked_text_frame(b"{\"type\":\"subscribe\",\"stream\":\"bars\"}");
        vec![
            Step { say: wire::upgrade("/v1/ws", ""), heard: wire::switched },
            Step { say: Vec::new(), heard: wire::text },
            Step { say: wish, heard: wire::text },
            Step { say: Vec::new(), heard: wire::text },
        ]
    }
}

impl<'a> Watch<'a> {
    fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            newest: vec![HashMap::new(); plan.connections],
            told: vec![Vec::new(); plan.symbols],
            place: vec![None; plan.connections],
            lost: 0,
            doubled: 0,
            disorder: 0,
            native: 0,
            bare: 0,
            is_measuring: false,
            micros: Histogram::default(),
        }
    }

    fn go_on_for(&mut self, crowd: &mut Crowd, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        let mut heard = (Instant::now(), 0);
        while Instant::now() < end {
            self.turn(crowd)?;
            if heard.1 != self.native + self.bare {
                heard = (Instant::now(), self.native + self.bare);
            }
            ensure!(heard.0.elapsed() < SILENCE, "no bar came for {SILENCE:?}");
        }
        Ok(())
    }

    /// A client that hears nothing, or nothing more, misses no bar that another one tells of: so everybody has to come as far
    /// as whoever was furthest, or further, because publishing goes on. `known` is the newest number of before the measure.
    fn wait_for_the_rest(&mut self, crowd: &mut Crowd, known: u64) -> Result<()> {
        let goal = self.goal(known);
        let began = Instant::now();
        while self.missed(&goal) > 0 && began.elapsed() < SILENCE {
            self.turn(crowd)?;
        }
        self.lost += self.missed(&goal);
        Ok(())
    }

    fn turn(&mut self, crowd: &mut Crowd) -> Result<()> {
        crowd.turn(Patience::nap(NAP), |client, text, now| self.take(client, text, now))?;
        Ok(())
    }

    fn newest_of_all(&self) -> u64 {
        self.newest.iter().flat_map(HashMap::values).copied().max().unwrap_or(0)
    }

    /// Without the topics of which nothing came any more: who came last may have been shown their newest at the begin.
    fn goal(&self, known: u64) -> Goal {
        let mut newest: HashMap<Vec<u8>, u64> = HashMap::new();
        for (topic, seq) in self.newest.iter().flatten().filter(|(_, seq)| **seq > known) {
            let furthest = newest.entry(topic.clone()).or_default();
            *furthest = (*furthest).max(*seq);
        }
        Goal { newest, told: self.told.iter().map(Vec::len).collect() }
    }

    /// What clients have not come as far as: of a native one each such topic counts once.
    fn missed(&self, goal: &Goal) -> u64 {
        let of_native = |client: usize| {
            let has = |(topic, seq): &(&Vec<u8>, &u64)| self.newest[client].get(*topic) >= Some(*seq);
            goal.newest.iter().filter(|wanted| !has(wanted)).count()
        };
        let of_bare =
            |client: usize| goal.told[self.plan.symbol(client)].saturating_sub(self.place[client].unwrap_or(0));
        let of = |client| if self.plan.is_bare(client) { of_bare(client) } else { of_native(client) };
        (0..self.plan.connections).map(of).sum::<usize>() as u64
    }

    fn take(&mut self, client: usize, text: &[u8], now: Instant) -> Result<()> {
        if text.starts_with(FASTWS_UPDATE) {
            self.bare += 1;
            self.compare(client, text);
            return Ok(());
        }
        if !text.starts_with(NATIVE_BAR) {
            return Ok(()); // news of the source
        }
        self.native += 1;
        if self.is_measuring {
            // The wall clock of the read: what it has moved on since then is taken off again.
            let late = u64::try_from(now.elapsed().as_micros()).unwrap_or(u64::MAX);
            let published = time_of_day(text).context("a message without a time")?;
            self.micros.record((wall_micros() + DAY_MICROS - late.min(DAY_MICROS) - published) % DAY_MICROS);
        }
        self.follow(client, text)
    }

    /// Each event names the one before it of its topic.
    fn follow(&mut self, client: usize, text: &[u8]) -> Result<()> {
        let tail = Tail::of(text).with_context(|| format!("{:?}", String::from_utf8_lossy(text)))?;
        let newest = &mut self.newest[client];
        match newest.get_mut(tail.topic) {
            None => _ = newest.insert(tail.topic.to_vec(), tail.seq),
            Some(known) => {
                let before = *known;
                *known = tail.seq.max(before);
                match tail.seq.cmp(&before) {
                    Ordering::Less => self.disorder += 1,
                    Ordering::Equal => self.doubled += 1,
                    Ordering::Greater => self.lost += u64::from(tail.prev > Some(before)),
                }
            }
        }
        Ok(())
    }

    /// Bare bars have no number, and a bar that closes says the same as its last update: everybody has to hear the same ones in
    /// the same order. What only one client hears twice is lost to the others.
    fn compare(&mut self, client: usize, text: &[u8]) {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let hash = hasher.finish();
        let told = &mut self.told[self.plan.symbol(client)];
        let from = self.place[client];
        let search_from = from.unwrap_or_else(|| told.len().saturating_sub(MOST_BEHIND));
        let found = told[search_from..].iter().position(|known| *known == hash);
        let place = match found {
            Some(skipped) => {
                if from.is_some() {
                    self.lost += skipped as u64;
                }
                search_from + skipped
            }
            None => {
                if let Some(from) = from {
                    self.lost += (told.len() - from) as u64;
                }
                told.push(hash);
                told.len() - 1
            }
        };
        self.place[client] = Some(place + 1);
    }
}

/// What stands behind the payload of a native event.
struct Tail<'a> {
    seq: u64,
    prev: Option<u64>,
    topic: &'a [u8],
}

impl<'a> Tail<'a> {
    fn of(text: &'a [u8]) -> Result<Self> {
        let begin = text.windows(7).rposition(|window| window == b",\"seq\":").context("no number")? + 7;
        let (mut seq, mut prev, mut topic) = (None, None, None);
        for member in text[begin..].split(|byte| *byte == b',') {
            if let Some(digits) = member.strip_prefix(b"\"prev\":") {
                prev = Some(crate::wire::digits(digits));
            } else if let Some(name) = member.strip_prefix(b"\"topic\":") {
                topic = Some(name);
            } else if seq.is_none() {
                seq = Some(crate::wire::digits(member));
            }
        }
        match (seq, topic) {
            (Some(seq), Some(topic)) => Ok(Self { seq, prev, topic }),
            _ => bail!("neither number nor topic"),
        }
    }
}

fn wall_micros() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(0) % DAY_MICROS
}

/// Microseconds since midnight of the last `"timestamp":"2026-01-01T12:34:56.789Z"`.
fn time_of_day(text: &[u8]) -> Option<u64> {
    let at = text.windows(BEFORE_TIME.len()).rposition(|window| window == BEFORE_TIME)? + BEFORE_TIME.len();
    let field = |from: usize, to: usize| -> Option<u64> {
        std::str::from_utf8(text.get(at + from..at + to)?).ok()?.parse().ok()
    };
    let seconds = field(11, 13)? * 3600 + field(14, 16)? * 60 + field(17, 19)?;
    Some(seconds * 1_000_000 + field(20, 23)? * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan {
        address: SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0)),
        pid: 0,
        connections: 4,
        fastws: 2,
        symbols: 1,
        warm_up: Duration::ZERO,
        measure: Duration::ZERO,
    };

    fn native(seq: u64) -> String {
        format!("{{\"data\":{{}},\"seq\":{seq},\"topic\":\"bars:S0:1\"}}")
    }

    #[test]
    fn the_time_of_day_is_read_to_the_millisecond() {
        let text = br#"{"data":{"timestamp":"x"},"timestamp":"2026-11-21T01:02:03.004Z","seq":1}"#;
        assert_eq!(time_of_day(text), Some(3_723_004_000));
        assert_eq!(time_of_day(b"{}"), None);
    }

    #[test]
    fn half_of_the_clients_hear_bare_bars() {
        assert_eq!((0..4).filter(|index| PLAN.is_bare(*index)).count(), 2);
    }

    #[test]
    fn a_native_bar_that_was_left_out_is_lost() {
        let mut watch = Watch::new(&PLAN);
        let mut hear = |text: &str| watch.follow(0, text.as_bytes()).unwrap();
        hear(r#"{"data":{},"seq":1,"topic":"bars:S0:1"}"#);
        hear(r#"{"data":{},"seq":2,"prev":1,"topic":"bars:S0:1"}"#);
        hear(r#"{"data":{},"seq":5,"topic":"bars:S1:1"}"#);
        hear(r#"{"data":{},"seq":9,"prev":4,"topic":"bars:S0:1"}"#);
        assert_eq!((watch.lost, watch.doubled, watch.disorder), (1, 0, 0));
    }

    #[test]
    fn a_native_bar_that_comes_again_is_told_from_an_older_one() {
        let mut watch = Watch::new(&PLAN);
        for seq in [8, 9, 9, 7] {
            watch.follow(0, native(seq).as_bytes()).unwrap();
        }
        assert_eq!((watch.lost, watch.doubled, watch.disorder), (0, 1, 1));
    }

    #[test]
    fn whoever_never_comes_as_far_as_the_others_has_lost_something() {
        let mut watch = Watch::new(&PLAN);
        watch.follow(0, native(1).replace("S0", "S1").as_bytes()).unwrap();
        let known = watch.newest_of_all();
        watch.follow(0, native(2).as_bytes()).unwrap();
        watch.compare(1, b"a");
        watch.compare(1, b"b");
        let goal = watch.goal(known);
        assert_eq!(watch.missed(&goal), 1 + 2, "the second of either sort has heard nothing");
        watch.follow(2, native(1).as_bytes()).unwrap();
        watch.compare(3, b"a");
        assert_eq!(watch.missed(&goal), 1 + 1);
        watch.follow(2, native(3).as_bytes()).unwrap();
        watch.compare(3, b"b");
        assert_eq!(watch.missed(&goal), 0);
    }

    #[test]
    fn bare_bars_are_the_same_to_everybody() {
        let mut watch = Watch::new(&PLAN);
        for (client, text) in [(1, "a"), (1, "b"), (1, "c"), (3, "b"), (3, "c"), (3, "d"), (1, "d")] {
            watch.compare(client, text.as_bytes());
        }
        assert_eq!(watch.lost, 0);
        for (client, text) in [(1, "e"), (1, "f"), (3, "f")] {
            watch.compare(client, text.as_bytes());
        }
        assert_eq!(watch.lost, 1, "the third did not hear e");
    }
}
