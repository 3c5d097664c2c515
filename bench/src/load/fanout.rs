//! Events to everybody, either in a closed loop, where a new one is published for each that everybody has got, or at a pace.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::crowd::{Crowd, SILENCE};
use super::publisher::{Mark, Publisher, Reader};
use crate::histogram::Histogram;
use crate::process::cpu_seconds;

pub struct Plan {
    pub publish: SocketAddr,
    pub pid: u32,
    pub pace: Pace,
    pub warm_up: Duration,
    pub measure: Duration,
}

#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// So many events are always on their way.
    Closed { window: u64 },
    /// So many together, again and again after this time, whatever has come.
    Open { burst: u64, every: Duration },
}

/// The most events on their way at a pace: a server that is further behind cannot keep it.
const MOST_ON_THEIR_WAY: u64 = 4096;
/// How long a turn waits at most.
const NAP: Duration = Duration::from_millis(50);

/// What has come so far. Everybody gets every event, in order: anything else ends the measure.
struct Tally {
    reader: Reader,
    /// The number that each client is to get next.
    next: Vec<u64>,
    /// How many have got an event, by its number modulo the window.
    got: Vec<usize>,
    /// Events that everybody has got.
    done: u64,
    deliveries: u64,
    micros: Histogram,
}

/// The clocks at one end of the measured time.
struct Clocks {
    at: Instant,
    server: f64,
    own: f64,
    deliveries: u64,
    reads: u64,
}

/// The load while it runs.
struct Run {
    crowd: Crowd,
    publisher: Publisher,
    tally: Tally,
    pace: Pace,
    /// Events that were published so far.
    sent: u64,
    /// When the next burst is due.
    due: Instant,
}

pub fn run(crowd: Crowd, plan: &Plan) -> Result<String> {
    let publisher = Publisher::connect(crowd.kind, plan.publish)?;
    crowd.watch(publisher.socket())?;
    let tally = Tally::new(crowd.len(), plan.pace.most_on_their_way());
    let mut run = Run { crowd, publisher, tally, pace: plan.pace, sent: 0, due: Instant::now() };
    run.go_on_for(plan.warm_up)?;
    let before = Clocks::read(plan.pid, &run)?;
    run.tally.micros = Histogram::default();
    run.go_on_for(plan.measure)?;
    let after = Clocks::read(plan.pid, &run)?;
    let (p50, p99) = (run.tally.micros.quantile(0.5), run.tally.micros.quantile(0.99));
    run.wait_for_the_rest()?;
    let wall = (after.at - before.at).as_secs_f64();
    let deliveries = (after.deliveries - before.deliveries) as f64;
    Ok(format!(
        "per_cpu={:.0} per_second={:.0} server_busy={:.3} load_busy={:.3} per_read={:.2} p50_us={p50} p99_us={p99}",
        deliveries / (after.server - before.server),
        deliveries / wall,
        (after.server - before.server) / wall,
        (after.own - before.own) / wall,
        deliveries / (after.reads - before.reads) as f64,
    ))
}

impl Run {
    /// Publishes for so long.
    fn go_on_for(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        let mut heard = (Instant::now(), self.tally.deliveries);
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            let missing = self.missing(now)?;
            if missing > 0 {
                self.publisher.publish(self.sent..self.sent + missing)?;
                self.sent += missing;
            }
            self.turn()?;
            if heard.1 != self.tally.deliveries {
                heard = (now, self.tally.deliveries);
            }
            let done = self.tally.done;
            ensure!(now - heard.0 < SILENCE, "nothing came for {SILENCE:?}; {done} of {} events did", self.sent);
        }
    }

    /// What is still on its way must come, too: nothing is lost.
    fn wait_for_the_rest(&mut self) -> Result<()> {
        let began = Instant::now();
        while self.tally.done < self.sent {
            let missing = self.sent - self.tally.done;
            ensure!(began.elapsed() < SILENCE, "{missing} of {} events did not reach everybody", self.sent);
            self.turn()?;
        }
        Ok(())
    }

    /// How many events are to be published now.
    fn missing(&mut self, now: Instant) -> Result<u64> {
        let on_their_way = self.sent - self.tally.done;
        match self.pace {
            Pace::Closed { window } => Ok(window - on_their_way),
            Pace::Open { .. } if now < self.due => Ok(0),
            Pace::Open { burst, every } => {
                ensure!(on_their_way + burst <= MOST_ON_THEIR_WAY, "the server cannot keep the pace");
                self.due += every;
                Ok(burst)
            }
        }
    }

    fn turn(&mut self) -> Result<()> {
        let nap = match self.pace {
            Pace::Closed { .. } => NAP,
            Pace::Open { .. } => self.due.saturating_duration_since(Instant::now()).min(NAP),
        };
        let Self { crowd, publisher, tally, .. } = self;
        let is_other_ready = crowd.turn(nap, |client, text, now| tally.take(client, text, publisher.since(now)))?;
        if is_other_ready { self.publisher.attend() } else { Ok(()) }
    }
}

impl Pace {
    fn most_on_their_way(self) -> u64 {
        match self {
            Self::Closed { window } => window,
            Self::Open { .. } => MOST_ON_THEIR_WAY,
        }
    }
}

impl Tally {
    fn new(clients: usize, window: u64) -> Self {
        Self {
            reader: Reader::default(),
            next: vec![0; clients],
            got: vec![0; window as usize],
            done: 0,
            deliveries: 0,
            micros: Histogram::default(),
        }
    }

    fn take(&mut self, client: usize, text: &[u8], since: u64) -> Result<()> {
        let mark = self.reader.mark(text);
        let expected = self.next[client];
        let is_next = mark.is_some_and(|mark| mark.number == expected);
        ensure!(is_next, "client {client} got {} in place of {expected}", String::from_utf8_lossy(text));
        let Some(Mark { number, stamp }) = mark else { return Ok(()) };
        self.next[client] += 1;
        self.deliveries += 1;
        self.micros.record(since.saturating_sub(stamp) / 1000);
        let slot = (number % self.got.len() as u64) as usize;
        self.got[slot] += 1;
        if self.got[slot] == self.next.len() {
            self.got[slot] = 0;
            self.done += 1;
        }
        Ok(())
    }
}

impl Clocks {
    fn read(pid: u32, run: &Run) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            server: cpu_seconds(pid)?,
            own: cpu_seconds(std::process::id())?,
            deliveries: run.tally.deliveries,
            reads: run.crowd.reads,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: u64) -> Vec<u8> {
        format!("{{\"n\":\"{number:010}\",\"t\":\"{:020}\"", 5).into_bytes()
    }

    #[test]
    fn an_event_is_done_when_everybody_has_it() {
        let mut tally = Tally::new(2, 4);
        tally.take(0, &text(0), 9_005).unwrap();
        assert_eq!((tally.done, tally.deliveries), (0, 1));
        tally.take(1, &text(0), 9_005).unwrap();
        assert_eq!((tally.done, tally.micros.quantile(1.0)), (1, 9));
    }

    #[test]
    fn a_gap_a_double_and_a_stranger_end_the_measure() {
        let mut tally = Tally::new(1, 4);
        assert!(tally.take(0, &text(1), 0).is_err());
        tally.take(0, &text(0), 0).unwrap();
        assert!(tally.take(0, &text(0), 0).is_err());
        assert!(tally.take(0, b"{\"type\":\"status\"}", 0).is_err());
    }
}
