//! Bars of a plugin to clients of two dialects, told apart by their place: native ones hear all symbols, the others one each.

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
    disorder: u64,
    native: u64,
    bare: u64,
    is_measuring: bool,
    micros: Histogram,
}

/// Ages are rounded up: the message says its time in milliseconds, so that up to one is added to each.
pub fn run(plan: &Plan) -> Result<Figures> {
    let mut crowd = Crowd::new(|_| Kind::BroadcastdBare.dialect(), plan.connections)?;
    let mut watch = Watch::new(plan);
    let took = crowd.admit_all(plan.address, 100, &mut |index| plan.steps(index), |_, _, _| Ok(()))?;
    let mut figures = Figures::default();
    figures.put("connects_per_second", plan.connections as f64 / took.as_secs_f64());
    watch.go_on_for(&mut crowd, plan.warm_up)?;
    watch.is_measuring = true;
    let (server, idle, began) = (cpu_seconds(plan.pid)?, crowd.idle, Instant::now());
    let before = watch.native + watch.bare;
    watch.go_on_for(&mut crowd, plan.measure)?;
    let wall = began.elapsed().as_secs_f64();
    let deliveries = (watch.native + watch.bare - before) as f64;
    let cpu = cpu_seconds(plan.pid)? - server;
    ensure!(watch.native > 0 || plan.fastws == plan.connections, "no native bar came");
    ensure!(watch.bare > 0 || plan.fastws == 0, "no bare bar came");
    figures.put("per_cpu", deliveries / cpu);
    figures.put("per_second", deliveries / wall);
    figures.put("server_busy", cpu / wall);
    figures.put("load_busy", 1.0 - (crowd.idle - idle).as_secs_f64() / wall);
    for (name, part) in [("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999), ("max_us", 1.0)] {
        figures.put(name, watch.micros.quantile(part) as f64);
    }
    figures.put("lost", watch.lost as f64);
    figures.put("disorder", watch.disorder as f64);
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
            crowd.turn(Patience::nap(NAP), |client, text, now| self.take(client, text, now))?;
            if heard.1 != self.native + self.bare {
                heard = (Instant::now(), self.native + self.bare);
            }
            ensure!(heard.0.elapsed() < SILENCE, "no bar came for {SILENCE:?}");
        }
        Ok(())
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
                if tail.prev > Some(*known) {
                    self.lost += 1;
                } else if tail.seq <= *known {
                    self.disorder += 1;
                }
                *known = tail.seq.max(*known);
            }
        }
        Ok(())
    }

    /// Bare bars have no number: everybody has to hear the same ones in the same order.
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
        hear(r#"{"data":{},"seq":9,"prev":4,"topic":"bars:S0:1"}"#);
        assert_eq!((watch.lost, watch.disorder), (1, 1));
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
