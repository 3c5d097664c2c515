//! The herd: everybody comes at once and is shown what there is, is cut off while publishing goes on, comes back at once, and
//! resumes where it was.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::crowd::{Crowd, Patience};
use super::payload::{Mark, PAYLOAD, Reader, Writer};
use super::publisher::Publisher;
use super::story::{Faults, Story};
use super::{NAP, SILENCE};
use crate::dialect::{Kind, Step, broadcastd};
use crate::figures::Figures;
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
/// Published before anybody comes, each with a key of its own: what a snapshot shows, some 26 KB, which a socket's buffer takes
/// whole.
const RECORDS: u32 = 100;
const EVENT: &[u8] = b"{\"type\":\"tick\"";
const SNAPSHOT: &[u8] = b"{\"type\":\"full_update\"";

struct Herd {
    crowd: Crowd,
    publisher: Publisher,
    every: Duration,
    /// When the next event is; `None`: nothing is published.
    due: Option<Instant>,
    sent: u64,
    watch: Watch,
}

/// What everybody was told.
struct Watch {
    reader: Reader,
    members: Vec<Member>,
    faults: Faults,
    /// Subscriptions that were answered since the herd began to come, and those of them that go on where they were.
    answered: u64,
    recovered: u64,
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
    let crowd = Crowd::new(|_| dialect, plan.connections)?;
    let publisher = Publisher::connect_and_say(dialect, plan.address, records())?;
    crowd.watch(publisher.socket())?;
    let watch = Watch::new(plan.connections);
    let mut herd = Herd { crowd, publisher, every: plan.every, due: None, sent: 0, watch };
    // Nothing is published meanwhile, so that all are shown the same.
    herd.come(plan)?;
    herd.due = Some(Instant::now());
    herd.go_on_for(plan.measure)?;
    herd.crowd.break_all();
    let before = cpu_seconds(plan.pid)?;
    let back = herd.come(plan)?.as_secs_f64();
    let cpu = cpu_seconds(plan.pid)? - before;
    let resumed = herd.watch.recovered as f64;
    herd.go_on_for(plan.measure)?;
    herd.wait_for_the_rest()?;
    let mut figures = Figures::default();
    figures.put("resumed", resumed);
    figures.put("resumes_per_second", resumed / back);
    figures.put("resume_cpu_us", cpu * 1e6 / plan.connections as f64);
    figures.put("back_s", back);
    let Faults { lost, doubled, disorder } = herd.watch.faults;
    for (name, count) in [("lost", lost), ("doubled", doubled), ("disorder", disorder)] {
        figures.put(name, count as f64);
    }
    Ok(figures)
}

/// Each is there when it is answered: whoever comes then is shown all of them.
fn records() -> Vec<Step> {
    let mut writer = Writer::default();
    let mark = |key: u32| Mark { topic: TOPIC, number: u64::from(key), stamp: 0 };
    (0..RECORDS).map(|key| broadcastd::record(TOPIC, key, writer.write(mark(key)))).collect()
}

impl Herd {
    /// Everybody connects at once and subscribes behind what it knows; returns how long it took until all had their answer,
    /// whatever that was.
    fn come(&mut self, plan: &Plan) -> Result<Duration> {
        let began = Instant::now();
        (self.watch.answered, self.watch.recovered) = (0, 0);
        let (mut next, mut heard) = (0, (began, 0));
        let count = plan.connections as u64;
        while self.watch.answered < count {
            let answered = self.watch.answered;
            while next < plan.connections && next as u64 - answered < plan.at_once as u64 {
                let steps = self.watch.steps(next);
                self.crowd.admit(next, plan.address, steps).with_context(|| format!("client {next}"))?;
                next += 1;
            }
            self.turn()?;
            if heard.1 != answered {
                heard = (Instant::now(), answered);
            }
            ensure!(heard.0.elapsed() < 3 * SILENCE, "{answered} of {count} were answered");
        }
        Ok(began.elapsed())
    }

    fn go_on_for(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn()?;
        }
        Ok(())
    }

    fn wait_for_the_rest(&mut self) -> Result<()> {
        self.due = None;
        let began = Instant::now();
        while !self.watch.has_all(self.sent) && began.elapsed() < SILENCE {
            self.turn()?;
        }
        self.watch.end(self.sent);
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        let (now, mut nap) = (Instant::now(), NAP);
        if let Some(due) = &mut self.due {
            while *due <= now {
                // Nobody asks how old it is when it comes.
                self.publisher.add(Mark { topic: TOPIC, number: self.sent, stamp: 0 });
                self.sent += 1;
                *due += self.every;
            }
            nap = due.saturating_duration_since(now).min(NAP);
        }
        self.publisher.flush()?;
        let Self { crowd, publisher, watch, .. } = self;
        let turn = crowd.turn(Patience::nap(nap), |client, text, _| watch.take(client, text))?;
        if turn.is_other_ready { publisher.attend() } else { Ok(()) }
    }
}

impl Watch {
    fn new(members: usize) -> Self {
        Self {
            reader: Reader::default(),
            members: std::iter::repeat_with(Member::default).take(members).collect(),
            faults: Faults::default(),
            answered: 0,
            recovered: 0,
            epoch: None,
        }
    }

    /// How a member comes, or comes back.
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

    fn take(&mut self, client: usize, text: &[u8]) -> Result<()> {
        let member = &mut self.members[client];
        if text.starts_with(EVENT) {
            let Some(mark) = self.reader.mark(text) else { bail!("an event without a mark") };
            member.story.hear(mark.number, &mut self.faults);
            member.seq = number_behind(text, b"\"seq\":").context("an event without a number")?;
            return Ok(());
        }
        if text.starts_with(SNAPSHOT) {
            // The answer before it has said where it stands.
            ensure!(text.len() > RECORDS as usize * PAYLOAD, "a snapshot of {} bytes", text.len());
            return Ok(());
        }
        let said = String::from_utf8_lossy(text);
        if said.contains("\"recovered\":true") {
            self.recovered += 1;
        } else {
            ensure!(said.contains("\"recovered\":false"), "client {client} got {said}");
            member.seq = number_behind(text, b"\"seq\":").context("an answer without a position")?;
            // The stream counts the records, too, which nobody else publishes to.
            let next = member.seq.checked_sub(u64::from(RECORDS)).context("a position before the records")?;
            member.story.skip_to(next);
            let begin = said.find("\"epoch\":\"").context("an answer without an epoch")? + 9;
            self.epoch = said[begin..].split('"').next().map(str::to_owned);
        }
        self.answered += 1;
        Ok(())
    }

    fn has_all(&self, sent: u64) -> bool {
        self.members.iter().all(|member| member.story.next() >= sent)
    }

    /// Nothing more will come.
    fn end(&mut self, sent: u64) {
        for member in &mut self.members {
            member.story.end(sent, &mut self.faults);
        }
    }
}

/// The number behind the last place where this stands.
fn number_behind(text: &[u8], mark: &[u8]) -> Option<u64> {
    let at = text.windows(mark.len()).rposition(|window| window == mark)? + mark.len();
    Some(wire::digits(&text[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(recovered: bool, seq: u64) -> String {
        format!(
            "{{\"type\":\"response\",\"data\":{{\"status\":\"subscribed\",\"epoch\":\"k3\",\"recovered\":{recovered}}},\"seq\":{seq}}}"
        )
    }

    fn event(number: u64) -> Vec<u8> {
        let payload = Writer::default().write(Mark { topic: TOPIC, number, stamp: 0 }).to_vec();
        let seq = number + u64::from(RECORDS) + 1;
        [b"{\"type\":\"tick\",\"data\":", &payload[..], format!(",\"seq\":{seq},\"prev\":1}}").as_bytes()].concat()
    }

    #[test]
    fn whoever_is_subscribed_at_a_position_knows_what_stands_before_it_and_whoever_resumes_does_not() {
        let mut watch = Watch::new(2);
        watch.take(0, answer(false, 100).as_bytes()).unwrap();
        watch.take(0, &event(0)).unwrap();
        watch.take(1, answer(false, 103).as_bytes()).unwrap();
        assert_eq!((watch.members[0].story.next(), watch.members[1].story.next()), (1, 3));
        assert_eq!((watch.members[0].seq, watch.members[1].seq), (101, 103));
        // The first comes back and goes on at another place than where it was; the second is shown what it missed.
        watch.take(0, answer(true, 106).as_bytes()).unwrap();
        watch.take(0, &event(2)).unwrap();
        watch.take(1, answer(false, 105).as_bytes()).unwrap();
        watch.take(1, &event(5)).unwrap();
        assert_eq!((watch.answered, watch.recovered, watch.faults), (4, 1, Faults { lost: 1, ..Faults::default() }));
        assert!(watch.has_all(3) && !watch.has_all(6));
        watch.end(6);
        assert_eq!(watch.faults.lost, 4);
        assert!(watch.take(0, answer(false, 99).as_bytes()).is_err(), "before the records");
    }

    #[test]
    fn who_comes_back_says_where_it_was() {
        let mut watch = Watch::new(1);
        let wish = |watch: &Watch| String::from_utf8_lossy(&watch.steps(0)[2].say).into_owned();
        assert!(!wish(&watch).contains("since"));
        watch.take(0, answer(false, 100).as_bytes()).unwrap();
        watch.take(0, &event(0)).unwrap();
        assert!(wish(&watch).ends_with(",\"since\":{\"epoch\":\"k3\",\"seq\":101}}"));
    }

    #[test]
    fn a_snapshot_that_does_not_show_the_records_ends_the_measure() {
        let mut watch = Watch::new(1);
        let empty = b"{\"type\":\"full_update\",\"data\":{}}";
        assert!(watch.take(0, empty).is_err());
        let whole = [SNAPSHOT, &[b' '; RECORDS as usize * PAYLOAD]].concat();
        assert!(watch.take(0, &whole).is_ok() && watch.answered == 0);
    }

    #[test]
    fn there_are_so_many_records_and_each_has_its_own_key() {
        let mut said: Vec<Vec<u8>> = records().into_iter().map(|step| step.say).collect();
        said.dedup();
        assert_eq!(said.len(), RECORDS as usize);
    }
}
