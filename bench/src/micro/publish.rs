//! From `Stream::publish` to an outlet, and the least that keeping a payload can cost.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use broadcastd::event::{Draft, Event, LogId};
use broadcastd::hub::pattern::Pattern;
use broadcastd::hub::records::Snapshot;
use broadcastd::hub::settings::{Settings, Source};
use broadcastd::hub::stream::Stream;
use broadcastd::hub::targets::{Full, Outlet};
use broadcastd::hub::{Hub, Reader, Wish};

/// Events that the history keeps by default.
const HISTORY: usize = 1000;

/// A JSON object of 256 bytes, of digits as prices have them.
pub fn payload() -> Arc<[u8]> {
    let digits = (1_u32..).map(|number| (number * 7919 % 10_007).to_string());
    let fill: String = digits.flat_map(|digits| digits.into_bytes()).map(char::from).take(245).collect();
    let payload = format!("{{\"fill\":\"{fill}\"}}");
    assert_eq!(payload.len(), 256);
    payload.into_bytes().into()
}

/// So large that a copy of it cannot hide among the rest.
pub fn large() -> Arc<[u8]> {
    format!("{{\"fill\":\"{}\"}}", "7919".repeat(4096)).into_bytes().into()
}

/// A copy that is thrown away at once.
pub fn copy() -> impl FnMut() {
    let payload = payload();
    move || drop(black_box(Arc::<[u8]>::from(black_box(&payload[..]))))
}

/// A copy that is kept until a thousand newer ones are there: a history with nothing around it.
pub fn copy_kept() -> impl FnMut() {
    let payload = payload();
    let mut kept = VecDeque::with_capacity(HISTORY + 1);
    move || {
        kept.push_back(black_box(Arc::<[u8]>::from(black_box(&payload[..]))));
        if kept.len() > HISTORY {
            kept.pop_front();
        }
    }
}

/// `Stream::publish` with so many outlets; with a key it leaves a record, too.
pub fn publish(outlets: u64, key: &'static str, payload: Arc<[u8]>) -> Result<impl FnMut()> {
    let stream = stream("ticks")?;
    for id in 0..outlets {
        let outlet: Arc<dyn Outlet> = Arc::new(Counting::new(id));
        let patterns = [Pattern::parse("ticks:A").map_err(anyhow::Error::msg)?];
        let wish = Wish { patterns: &patterns, audience: "", reader: Reader::Client, since: None };
        stream.subscribe(&wish, &outlet).map_err(|refused| anyhow::anyhow!("{refused}"))?;
    }
    Ok(move || {
        let draft = Draft { kind: "tick", topic: "A", key, payload: &payload, ..Draft::default() };
        black_box(stream.publish(black_box(&draft), None)).expect("nothing limits it");
    })
}

/// A stream of a hub of its own.
pub fn stream(name: &str) -> Result<Arc<Stream>> {
    Ok(Hub::new("bench").declare(name, Settings::default()))
}

/// As cheap as an outlet can be.
pub struct Counting {
    id: u64,
    offered: AtomicU64,
}

impl Counting {
    pub fn new(id: u64) -> Self {
        Self { id, offered: AtomicU64::new(0) }
    }
}

impl Outlet for Counting {
    fn id(&self) -> u64 {
        self.id
    }

    fn offer(&self, event: &Arc<Event>) -> Result<(), Full> {
        self.offered.fetch_max(event.seq, Ordering::Relaxed);
        Ok(())
    }

    fn records_replaced(&self, _: LogId, _: u64, _: &Snapshot) {}

    fn source_changed(&self, _: LogId, _: u64, _: &Source) {}
}
