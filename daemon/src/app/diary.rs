//! The daemon's own stream: what happens to broadcasters, what became of reloads, figures once a second. For operators,
//! and without a word about users, topics or payloads.

mod figures;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use broadcastd_plugin_api::KindSpec;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};

use self::figures::{Counted, Figures};
use super::reload::Done;
use crate::config::OWN_STREAM;
use crate::config::diagnostic::Diagnostics;
use crate::event::{Draft, Flags};
use crate::hub::Hub;
use crate::hub::log::Limits;
use crate::hub::settings::{Settings, Source};
use crate::hub::stream::Stream;
use crate::plugin::news::{News, Tell};
use crate::plugin::plan::Change;

/// How often figures are told: as often as a dashboard moves.
const FIGURES_EVERY: Duration = Duration::from_secs(1);
/// News that wait to be told. A broadcaster that fails has a few and then rests; beyond the bound it waits for the thread
/// that tells them, which itself waits for nobody.
const MAX_WAITING: usize = 1024;
/// The mistakes of a refused reload that are told; all are in the log.
const MAX_MESSAGES: usize = 5;

/// Kinds, each with the collection of its records, which is also its topic.
const BROADCASTER: (&str, &str) = ("broadcaster", "broadcasters");
const RELOAD: (&str, &str) = ("reload", "reloads");
const FIGURES: (&str, &str) = ("figures", "figures");
/// Without a topic, so that it reaches every subscription.
const DRAINING: (&str, &str) = ("draining", "");

/// Ends when it is dropped.
pub struct Diary {
    hub: Arc<Hub>,
    stream: Arc<Stream>,
    queue: SyncSender<Entry>,
    thread: Option<JoinHandle<()>>,
}

enum Entry {
    News(News),
    End,
}

impl Diary {
    pub fn start(hub: &Arc<Hub>, limits: Limits, metrics: PrometheusHandle) -> io::Result<Self> {
        let stream = declare(hub, limits);
        let (queue, entries) = sync_channel(MAX_WAITING);
        let (own, memory) = (stream.clone(), hub.memory().clone());
        let count = move || Counted::read(&metrics.render(), memory.used());
        let thread = thread::Builder::new().name("diary".to_owned());
        let thread = thread.spawn(move || keep(&own, &entries, count))?;
        Ok(Self { hub: hub.clone(), stream, queue, thread: Some(thread) })
    }

    /// What the stream keeps from now on.
    pub fn configure(&self, limits: Limits) {
        declare(&self.hub, limits);
    }

    /// For the supervisor.
    pub fn tell(&self) -> Tell {
        let queue = self.queue.clone();
        Arc::new(move |news| _ = queue.send(Entry::News(news))) // when the daemon has ended nobody reads it
    }

    pub fn reload_applied(&self, done: &Done) {
        let changes: Vec<&Change> = done.changes.iter().filter(|change| !matches!(change, Change::Keep(_))).collect();
        let text = done.plan.text();
        self.reload(&json!({"outcome": "applied", "changes": changes, "waiting": done.waiting, "text": text}));
    }

    pub fn reload_refused(&self, report: &Diagnostics) {
        let messages: Vec<&str> = report.items.iter().take(MAX_MESSAGES).map(|item| item.message.as_str()).collect();
        self.reload(&json!({"outcome": "refused", "mistakes": report.items.len(), "messages": messages}));
    }

    /// To be told before connections end, so that it is heard.
    pub fn draining(&self, deadline: Duration) {
        publish(&self.stream, DRAINING, &Draft::default(), &json!({"deadline_s": deadline.as_secs_f64()}));
    }

    fn reload(&self, result: &Value) {
        publish(&self.stream, RELOAD, &Draft { key: "last_reload", ..Draft::default() }, result);
    }
}

impl Drop for Diary {
    fn drop(&mut self) {
        _ = self.queue.send(Entry::End);
        // A thread that panicked has printed why.
        self.thread.take().map(JoinHandle::join);
    }
}

fn declare(hub: &Hub, limits: Limits) -> Arc<Stream> {
    let spec = |collection: &str| KindSpec {
        schema: json!({"type": "object"}),
        collection: Some(collection.to_owned()),
        record: None,
    };
    let kinds = [BROADCASTER, RELOAD, FIGURES].map(|(kind, topic)| (kind.to_owned(), spec(topic)));
    let settings = Settings { visible: false, limits, kinds: BTreeMap::from(kinds), ..Settings::default() };
    let stream = hub.declare(OWN_STREAM, settings);
    stream.set_source(Source::Running); // so nobody else publishes here
    stream
}

/// Tells news as they come, and figures when they are due.
fn keep(stream: &Stream, entries: &Receiver<Entry>, count: impl Fn() -> Counted) {
    let mut due = Instant::now() + FIGURES_EVERY;
    let mut figures = Figures::new(Instant::now(), count());
    loop {
        let now = Instant::now();
        if due <= now {
            let draft = Draft { key: FIGURES.0, flags: Flags::LATEST, ..Draft::default() };
            publish(stream, FIGURES, &draft, &figures.next(now, count()));
            due += FIGURES_EVERY;
            due = if due > now { due } else { now + FIGURES_EVERY };
        }
        match entries.recv_timeout(due.saturating_duration_since(now)) {
            Ok(Entry::News(news)) => tell(stream, &news),
            Ok(Entry::End) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn tell(stream: &Stream, news: &News) {
    match news {
        News::Changed(state) => {
            publish(stream, BROADCASTER, &Draft { key: &state.name, ..Draft::default() }, &json!(state));
        }
        News::Gone(name) => {
            let draft = Draft { key: name, flags: Flags::DELETE, ..Draft::default() };
            publish(stream, BROADCASTER, &draft, &json!({"name": name, "state": "removed"}));
        }
    }
}

fn publish(stream: &Stream, (kind, topic): (&str, &str), draft: &Draft<'_>, payload: &Value) {
    let payload = payload.to_string();
    let draft = Draft { kind, topic, payload: payload.as_bytes(), ..*draft };
    if let Err(refused) = stream.publish(&draft, None) {
        tracing::warn!(kind, %refused, payload, "the daemon's own stream does not take this");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Reader;
    use crate::hub::pattern::Pattern;
    use crate::hub::stream::reads::Sight;
    use crate::plugin::news::State;

    /// What a newcomer is shown of a topic, as the collection's text.
    fn shown(stream: &Stream, topic: &str) -> String {
        let sight = Sight { reader: Reader::Operator, audience: "" };
        let pattern = Pattern::parse(&format!("{OWN_STREAM}:{topic}")).unwrap();
        let (_, snapshot) = stream.show(&sight, &[pattern]).unwrap();
        let collections = snapshot.collections().into_iter().filter(|(name, _)| &**name == topic);
        collections.map(|(_, records)| String::from_utf8(records.to_vec()).unwrap()).collect()
    }

    fn changed(name: &str, restarts: u64) -> News {
        News::Changed(State { restarts, ..State::disabled(name) })
    }

    #[test]
    fn each_broadcaster_has_one_record_until_it_is_gone() {
        let stream = declare(&Hub::new("epoch"), Limits::default());
        for news in [changed("a", 0), changed("b", 0), changed("a", 7)] {
            tell(&stream, &news);
        }
        let both = shown(&stream, "broadcasters");
        assert!(both.contains("\"restarts\":7") && both.matches("\"name\":\"a\"").count() == 1, "{both}");
        assert!(both.contains("\"name\":\"b\""), "{both}");
        tell(&stream, &News::Gone("a".to_owned()));
        let left = shown(&stream, "broadcasters");
        assert!(!left.contains("\"name\":\"a\"") && left.contains("\"name\":\"b\""), "{left}");
    }

    #[test]
    fn figures_and_reloads_have_one_record_each() {
        let stream = declare(&Hub::new("epoch"), Limits::default());
        for mistakes in 1..=3 {
            let draft = Draft { key: "last_reload", ..Draft::default() };
            publish(&stream, RELOAD, &draft, &json!({"mistakes": mistakes}));
        }
        assert_eq!(shown(&stream, "reloads"), r#"{"mistakes":3}"#);
        assert_eq!(shown(&stream, "figures"), "");
    }

    #[test]
    fn news_come_in_order_and_whoever_tells_more_than_fits_waits() {
        let stream = declare(&Hub::new("epoch"), Limits::default());
        let (queue, entries) = sync_channel(MAX_WAITING);
        for number in 0..MAX_WAITING {
            assert!(queue.try_send(Entry::News(changed("a", number as u64))).is_ok());
        }
        assert!(queue.try_send(Entry::End).is_err(), "it is full");
        let one_more = thread::spawn(move || queue.send(Entry::News(changed("a", MAX_WAITING as u64))).is_ok());
        keep(&stream, &entries, Counted::default);
        assert!(one_more.join().unwrap());
        let last = shown(&stream, "broadcasters");
        assert!(last.contains(&format!("\"restarts\":{MAX_WAITING}")), "{last}");
        assert!(stream.figures().seq > MAX_WAITING as u64);
    }
}
