//! What those who come, and those who come back, cost the hub; and what is kept for them costs memory.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Result, ensure};
use broadcastd::event::{Draft, Position};
use broadcastd::hub::history::Bounds;
use broadcastd::hub::log::Limits;
use broadcastd::hub::pattern::Pattern;
use broadcastd::hub::settings::Settings;
use broadcastd::hub::stream::Stream;
use broadcastd::hub::targets::Outlet;
use broadcastd::hub::{Hub, Reader, Wish};

use super::publish::{Counting, payload};

/// Each step publishes to the next of so many topics, which all have events already.
pub fn publish_in_turn(topics: u64) -> Result<impl FnMut()> {
    let stream = roomy();
    let names: Vec<String> = (0..topics).map(|number| format!("T{number}")).collect();
    let payload = payload();
    names.iter().try_for_each(|topic| publish(&stream, topic, "", &payload))?;
    let mut next = 0;
    Ok(move || {
        publish(&stream, &names[next], "", &payload).expect("nothing limits it");
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

/// Somebody asks for all of so many records.
pub fn snapshot(records: u64) -> Result<impl FnMut()> {
    let stream = recorded(records)?;
    let patterns = [pattern("ticks")?];
    Ok(move || {
        let wish = Wish { patterns: &patterns, audience: "", reader: Reader::Client, since: None };
        black_box(stream.answer(&wish)).expect("nothing limits it");
    })
}

/// Somebody comes back who has missed so many events.
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

/// Each step keeps one thing more.
pub fn keep(what: Kept) -> impl FnMut() {
    let stream = roomy();
    let payload = payload();
    let mut number = 0;
    move || {
        number += 1;
        let name = format!("T{number}");
        let (topic, key) = match what {
            Kept::Event => ("A", ""),
            Kept::Topic => (&*name, ""),
            Kept::Record => (&*name, "current"),
        };
        publish(&stream, topic, key, &payload).expect("nothing limits it");
    }
}

/// A stream that gives nothing back.
fn roomy() -> Arc<Stream> {
    let history = Bounds { events: 1 << 22, bytes: 1 << 40, ..Bounds::default() };
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
    stream.publish(&draft, None).map(drop).map_err(|refused| anyhow::anyhow!("{refused}"))
}

fn pattern(text: &str) -> Result<Pattern> {
    Pattern::parse(text).map_err(anyhow::Error::msg)
}
