//! What those who come, and those who come back, cost the hub; and what is kept for them costs memory.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use broadcastd::dialect::{About, Cause, Dialect, Reply, Said};
use broadcastd::event::{Draft, Position, unix_now};
use broadcastd::hub::history::Bounds;
use broadcastd::hub::log::{Answer, Limits};
use broadcastd::hub::pattern::Pattern;
use broadcastd::hub::settings::Settings;
use broadcastd::hub::stream::Stream;
use broadcastd::hub::targets::Outlet;
use broadcastd::hub::{Hub, Reader, Wish};
use broadcastd::memory::Memory;
use broadcastd::shard::encoding::frames;
use broadcastd::shard::unasked::Show;

use super::publish::{Counting, payload};

/// Each step publishes to the next of so many topics, which all have events already. All that a hub does is in it: a number,
/// a history from which the oldest event leaves, a record that is replaced, and an outlet that is told.
pub fn publish_in_turn(topics: u64) -> Result<impl FnMut()> {
    let stream = stream(Bounds::default());
    let (outlet, patterns): (Arc<dyn Outlet>, _) = (Arc::new(Counting::new(1)), [pattern("ticks")?]);
    let wish = Wish { patterns: &patterns, audience: "", reader: Reader::Client, since: None };
    stream.subscribe(&wish, &outlet).map_err(|refused| anyhow!("{refused}"))?;
    let names = names(topics);
    let payload = payload();
    names.iter().try_for_each(|topic| publish(&stream, topic, "current", &payload))?;
    let mut next = 0;
    Ok(move || {
        publish(&stream, &names[next], "current", &payload).expect("nothing limits it");
        next = (next + 1) % names.len();
    })
}

/// Somebody subscribes to one of so many topics with a record each, is answered with its snapshot, and leaves.
pub fn subscribe(topics: u64) -> Result<impl FnMut()> {
    let stream = recorded(topics)?;
    let outlet: Arc<dyn Outlet> = Arc::new(Counting::new(1));
    let patterns = [pattern("ticks:T0")?];
    Ok(move || {
        let wish = Wish { patterns: &patterns, audience: "", reader: Reader::Client, since: None };
        black_box(stream.subscribe(&wish, &outlet)).expect("nothing limits it");
        stream.unsubscribe("", &patterns, outlet.id());
    })
}

/// Somebody asks for all of so many records, which are put into bytes as a shard does it for the first of its native clients who
/// asks. All others who ask for the same within a few seconds are given these bytes.
pub fn snapshot(records: u64) -> Result<impl FnMut()> {
    let stream = recorded(records)?;
    let (patterns, memory) = ([pattern("ticks")?], Arc::new(Memory::default()));
    let topics: [Arc<str>; 1] = ["ticks".into()];
    Ok(move || {
        let wish = Wish { patterns: &patterns, audience: "", reader: Reader::Client, since: None };
        let answered = stream.answer(&wish).expect("nothing limits it");
        let Answer::Snapshot(records) = &answered.answer else { unreachable!("it remembers no position") };
        let about = About { stream: "ticks", topics: &topics, target: None, session_id: None, id: &None };
        let (position, shown, cause) = (&answered.position, &Show(records), Cause::Asked);
        let reply = Reply::FullUpdate { about, position, shown, cause };
        let Said::Texts(texts) = Dialect::Native.reply(&reply, unix_now()) else {
            unreachable!("no answer of the native dialect ends a connection")
        };
        black_box(frames(&texts, Dialect::Native, &memory));
    })
}

/// Somebody comes back who has missed so many events. Their bytes are kept with them, since others got them.
pub fn resume(missed: u64) -> Result<impl FnMut()> {
    let stream = roomy();
    let payload = payload();
    (0..missed).try_for_each(|_| publish(&stream, "A", "", &payload))?;
    let patterns = [pattern("ticks")?];
    let since = Position { epoch: stream.epoch().clone(), seq: 0 };
    Ok(move || {
        let wish = Wish { patterns: &patterns, audience: "", reader: Reader::Client, since: Some(&since) };
        black_box(stream.answer(&wish)).expect("nothing limits it");
    })
}

/// What grows.
#[derive(Clone, Copy, Debug)]
pub enum Kept {
    /// An event of a topic that has some.
    Event,
    /// An event of a new topic.
    Topic,
    /// A record of a new topic, and its event.
    Record,
}

/// Each of so many steps keeps one thing more.
pub fn keep(what: Kept, steps: u64) -> impl FnMut() {
    let stream = roomy();
    let (names, payload) = (names(steps), payload());
    let mut next = 0;
    move || {
        let (topic, key) = match what {
            Kept::Event => ("A", ""),
            Kept::Topic => (&*names[next], ""),
            Kept::Record => (&*names[next], "current"),
        };
        publish(&stream, topic, key, &payload).expect("nothing limits it");
        next += 1;
    }
}

/// Made before the steps, which allocate nothing of their own then.
fn names(count: u64) -> Vec<String> {
    (0..count).map(|number| format!("T{number}")).collect()
}

/// A stream that gives nothing back.
fn roomy() -> Arc<Stream> {
    stream(Bounds { events: 1 << 22, bytes: 1 << 40, ..Bounds::default() })
}

/// A stream that keeps so many events, and any number of topics and records.
fn stream(history: Bounds) -> Arc<Stream> {
    let limits = Limits { history, max_topics: 1 << 22, max_records: 1 << 22 };
    Hub::new("bench").declare("ticks", Settings { limits, ..Settings::default() })
}

fn recorded(topics: u64) -> Result<Arc<Stream>> {
    let stream = roomy();
    let payload = payload();
    for number in 0..topics {
        publish(&stream, &format!("T{number}"), "current", &payload)?;
    }
    let records = stream.figures().records;
    ensure!(records as u64 == topics, "{records} records");
    Ok(stream)
}

fn publish(stream: &Stream, topic: &str, key: &str, payload: &[u8]) -> Result<()> {
    let draft = Draft { kind: "tick", topic, key, payload, ..Draft::default() };
    stream.publish(&draft, None).map(drop).map_err(|refused| anyhow!("{refused}"))
}

fn pattern(text: &str) -> Result<Pattern> {
    Pattern::parse(text).map_err(anyhow::Error::msg)
}
