//! The closed loop: a new event is published for each that everybody has got.

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
    pub window: u64,
    pub warm_up: Duration,
    pub measure: Duration,
}

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

pub fn run(mut crowd: Crowd, plan: &Plan) -> Result<String> {
    let mut publisher = Publisher::connect(crowd.kind, plan.publish)?;
    crowd.watch(publisher.socket())?;
    let mut tally = Tally::new(crowd.len(), plan.window);
    let mut sent = turn_until(&mut crowd, &mut publisher, &mut tally, (0, plan.window, plan.warm_up))?;
    let before = Clocks::read(plan.pid, &tally, &crowd)?;
    tally.micros = Histogram::default();
    sent = turn_until(&mut crowd, &mut publisher, &mut tally, (sent, plan.window, plan.measure))?;
    let after = Clocks::read(plan.pid, &tally, &crowd)?;
    let (p50, p99) = (tally.micros.quantile(0.5), tally.micros.quantile(0.99));
    // What is still on its way must come, too: nothing is lost.
    let began = Instant::now();
    while tally.done < sent {
        ensure!(began.elapsed() < SILENCE, "{} of {sent} events did not reach everybody", sent - tally.done);
        turn(&mut crowd, &mut publisher, &mut tally)?;
    }
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

/// Keeps the window full for so long. Answers how many events were published so far.
fn turn_until(
    crowd: &mut Crowd,
    publisher: &mut Publisher,
    tally: &mut Tally,
    (mut sent, window, time): (u64, u64, Duration),
) -> Result<u64> {
    let end = Instant::now() + time;
    let mut heard = (Instant::now(), tally.deliveries);
    loop {
        let now = Instant::now();
        if now >= end {
            return Ok(sent);
        }
        let missing = tally.done + window - sent;
        if missing > 0 {
            publisher.publish(sent..sent + missing)?;
            sent += missing;
        }
        turn(crowd, publisher, tally)?;
        if heard.1 != tally.deliveries {
            heard = (now, tally.deliveries);
        }
        ensure!(now - heard.0 < SILENCE, "nothing was delivered for {SILENCE:?}; {} of {sent} events came", tally.done);
    }
}

fn turn(crowd: &mut Crowd, publisher: &mut Publisher, tally: &mut Tally) -> Result<()> {
    let is_other_ready = crowd.turn(|client, text, now| tally.take(client, text, publisher.since(now)))?;
    if is_other_ready { publisher.attend() } else { Ok(()) }
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
    fn read(pid: u32, tally: &Tally, crowd: &Crowd) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            server: cpu_seconds(pid)?,
            own: cpu_seconds(std::process::id())?,
            deliveries: tally.deliveries,
            reads: crowd.reads,
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
