//! The herd: everybody is cut off at once while publishing goes on, comes back at once, and resumes where it was.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::crowd::{Crowd, Patience};
use super::payload::{Mark, Reader};
use super::publisher::Publisher;
use super::story::{Faults, Story};
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
    pub at_once: usize,
    /// Between two events.
    pub every: Duration,
    /// Before the cut, and after everybody is back.
    pub measure: Duration,
}

const PATH: &str = "/v1/ws";
const TOPIC: u32 = 0;

struct Herd {
    crowd: Crowd,
    publisher: Publisher,
    due: Instant,
    every: Duration,
    sent: u64,
    reader: Reader,
    members: Vec<Member>,
    faults: Faults,
    /// How the daemon answered subscriptions, by what it said.
    answers: BTreeMap<&'static str, u64>,
    micros: Histogram,
    epoch: Option<String>,
}

#[derive(Default)]
struct Member {
    story: Story,
    /// The number in the stream of the newest that it was told.
    seq: u64,
}

pub fn run(plan: &Plan) -> Result<Figures> {
    let dialect = Kind::Broadcastd.dialect();
    let crowd = Crowd::new(|_| Kind::BroadcastdBare.dialect(), plan.connections)?;
    let mut publisher = Publisher::connect(dialect, plan.address)?;
    publisher.add(Mark { topic: TOPIC, number: 0, stamp: 0 }); // so that there is something to show
    publisher.flush()?;
    crowd.watch(publisher.socket())?;
    let members = std::iter::repeat_with(Member::default).take(plan.connections).collect();
    let mut herd = Herd {
        crowd,
        publisher,
        due: Instant::now(),
        every: plan.every,
        sent: 1,
        reader: Reader::default(),
        members,
        faults: Faults::default(),
        answers: BTreeMap::new(),
        micros: Histogram::default(),
        epoch: None,
    };
    let mut figures = Figures::default();
    let first = herd.come(plan, "subscribed")?;
    figures.put("connects_per_second", plan.connections as f64 / first.as_secs_f64());
    // What was shown to somebody is nothing that an event has to tell again.
    for member in &mut herd.members {
        member.story = Story::behind(1);
    }
    herd.due = Instant::now();
    herd.go_on_for(plan.measure)?;
    herd.crowd.break_all();
    let before = cpu_seconds(plan.pid)?;
    let back = herd.come(plan, "recovered")?;
    let cpu = cpu_seconds(plan.pid)? - before;
    herd.go_on_for(plan.measure)?;
    herd.wait_for_the_rest()?;
    figures.put("resumed", herd.answers.get("recovered").copied().unwrap_or(0) as f64);
    figures.put("resumes_per_second", plan.connections as f64 / back.as_secs_f64());
    figures.put("resume_cpu_us", cpu * 1e6 / plan.connections as f64);
    figures.put("back_s", back.as_secs_f64());
    figures.put("p99_us", herd.micros.quantile(0.99) as f64);
    let Faults { lost, doubled, disorder } = herd.faults;
    for (name, count) in [("lost", lost), ("doubled", doubled), ("disorder", disorder)] {
        figures.put(name, count as f64);
    }
    Ok(figures)
}

impl Herd {
    /// Everybody connects at once and subscribes behind what it knows; returns how long it took until all had their answer.
    fn come(&mut self, plan: &Plan, expected: &'static str) -> Result<Duration> {
        let began = Instant::now();
        self.answers.clear();
        let (mut next, mut heard) = (0, (began, 0));
        let count = plan.connections as u64;
        loop {
            let there = self.answers.get(expected).copied().unwrap_or(0);
            if there == count {
                return Ok(began.elapsed());
            }
            let all: u64 = self.answers.values().sum();
            ensure!(all < count, "not everybody was {expected}: {:?}", self.answers);
            while next < plan.connections && next as u64 - all < plan.at_once as u64 {
                let steps = self.steps(next);
                self.crowd.admit(next, plan.address, steps).with_context(|| format!("client {next}"))?;
                next += 1;
            }
            self.turn(expected == "recovered")?;
            if heard.1 != all {
                heard = (Instant::now(), all);
            }
            ensure!(heard.0.elapsed() < 3 * SILENCE, "{all} of {count} were answered: {:?}", self.answers);
        }
    }

    fn steps(&self, index: usize) -> Vec<Step> {
        let since = self.epoch.as_ref().map_or_else(String::new, |epoch| {
            format!(",\"since\":{{\"epoch\":\"{epoch}\",\"seq\":{}}}", self.members[index].seq)
        });
        let wish =
            wire::masked_text_frame(format!("{{\"type\":\"subscribe\",\"topic\":\"ticks:t0\"{since}}}").as_bytes());
        // The answer is looked at like everything behind it.
        let nothing = |_: &[u8]| Ok(Some(0));
        vec![
            Step { say: wire::upgrade(PATH, ""), heard: wire::switched },
            Step { say: Vec::new(), heard: wire::text },
            Step { say: wish, heard: nothing },
        ]
    }

    fn go_on_for(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn(true)?;
        }
        Ok(())
    }

    fn wait_for_the_rest(&mut self) -> Result<()> {
        let began = Instant::now();
        while self.members.iter().any(|member| member.story.next() < self.sent) && began.elapsed() < SILENCE {
            self.turn(false)?;
        }
        for member in &mut self.members {
            member.story.end(self.sent, &mut self.faults);
        }
        Ok(())
    }

    fn turn(&mut self, publishes: bool) -> Result<()> {
        let now = Instant::now();
        while publishes && self.due <= now {
            let stamp = self.publisher.since(self.due);
            self.publisher.add(Mark { topic: TOPIC, number: self.sent, stamp });
            self.sent += 1;
            self.due += self.every;
        }
        self.publisher.flush()?;
        let nap = if publishes { self.due.saturating_duration_since(now).min(NAP) } else { NAP };
        let Self { crowd, publisher, reader, members, faults, answers, micros, epoch, .. } = self;
        let turn = crowd.turn(Patience::nap(nap), |client, text, now| {
            let member = &mut members[client];
            if text.starts_with(b"{\"type\":\"tick\"") {
                let Some(mark) = reader.mark(text) else { bail!("an event without a mark") };
                member.story.hear(mark.number, faults);
                member.seq = number_behind(text, b"\"seq\":").context("an event without a number")?;
                micros.record(publisher.since(now).saturating_sub(mark.stamp) / 1000);
                return Ok(());
            }
            let said = String::from_utf8_lossy(text);
            let kind = match () {
                () if said.contains("\"recovered\":true") => "recovered",
                () if said.contains("\"recovered\":false") => "subscribed",
                // What a snapshot shows is known from then on.
                () if said.starts_with("{\"type\":\"full_update\"") => return Ok(()),
                () => bail!("client {client} got {said}"),
            };
            *answers.entry(kind).or_default() += 1;
            if kind == "subscribed" {
                member.seq = number_behind(text, b"\"seq\":").context("an answer without a position")?;
                let begin = said.find("\"epoch\":\"").context("an answer without an epoch")? + 9;
                *epoch = said[begin..].split('"').next().map(str::to_owned);
            }
            Ok(())
        })?;
        if turn.is_other_ready { self.publisher.attend() } else { Ok(()) }
    }
}

/// The number behind the last place where this stands.
fn number_behind(text: &[u8], mark: &[u8]) -> Option<u64> {
    let at = text.windows(mark.len()).rposition(|window| window == mark)? + mark.len();
    Some(wire::digits(&text[at..]))
}
