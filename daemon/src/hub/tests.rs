//! The hub against a plain model: whatever is published, lost, resumed or overflowed, every subscriber can account for
//! every number.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use super::history::Bounds;
use super::inputs::Batch;
use super::log::{Answer, Limits};
use super::pattern::Pattern;
use super::records::Snapshot;
use super::settings::{Settings, Source};
use super::signal::{Signal, Wakes};
use super::stream::{MAX_AUDIENCES, Stream};
use super::targets::{Full, Outlet};
use super::{Accepted, Hub, Reader, Refused, Wish};
use crate::event::{Cause, Draft, Event, Flags, LogId, Position};

mod inputs;
mod private;

#[derive(Default)]
struct Recorder {
    id: u64,
    full: AtomicBool,
    events: Mutex<Vec<Arc<Event>>>,
    sources: Mutex<Vec<Source>>,
    replaced: Mutex<Vec<(LogId, u64)>>,
}

impl Outlet for Recorder {
    fn id(&self) -> u64 {
        self.id
    }

    fn offer(&self, event: &Arc<Event>) -> Result<(), Full> {
        if self.full.load(Ordering::Relaxed) {
            return Err(Full);
        }
        self.events.lock().unwrap().push(event.clone());
        Ok(())
    }

    fn records_replaced(&self, log: LogId, seq: u64, _: &Snapshot) {
        self.replaced.lock().unwrap().push((log, seq));
    }

    fn source_changed(&self, _: LogId, _: u64, source: &Source) {
        self.sources.lock().unwrap().push(source.clone());
    }
}

fn stream(settings: Settings) -> Arc<Stream> {
    Hub::new("epoch").declare("bars", settings)
}

fn draft<'a>(topic: &'a str, key: &'a str, payload: &'a str) -> Draft<'a> {
    Draft { kind: "bar", topic, key, payload: payload.as_bytes(), ..Draft::default() }
}

fn publish(stream: &Stream, topic: &str, payload: &str) -> u64 {
    stream.publish(&draft(topic, "", payload), None).unwrap().seq
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

fn since(seq: u64) -> Position {
    Position { epoch: "epoch".into(), seq }
}

/// What a resume of `pattern` behind `seq` gives: the missed numbers, or none for a snapshot.
fn resume(stream: &Stream, text: &str, seq: u64) -> Option<Vec<u64>> {
    let wish = Wish { patterns: &[pattern(text)], audience: "", reader: Reader::Client, since: Some(&since(seq)) };
    match stream.answer(&wish).unwrap().answer {
        Answer::Recovered(events) => Some(events.iter().map(|event| event.seq).collect()),
        Answer::Snapshot(_) => None,
    }
}

fn small_history(events: usize) -> Settings {
    let history = Bounds { events, ..Bounds::default() };
    Settings { limits: Limits { history, ..Limits::default() }, ..Settings::default() }
}

#[test]
fn a_quiet_topic_on_a_busy_stream_resumes_exactly() {
    let stream = stream(small_history(3));
    publish(&stream, "QUIET:1", "{}");
    for _ in 0..10 {
        publish(&stream, "BUSY:1", "{}");
    }
    assert_eq!(resume(&stream, "bars:QUIET:1", 1), Some(vec![]));
    assert_eq!(resume(&stream, "bars:QUIET:1", 0), None, "its only event left the history");
    assert_eq!(resume(&stream, "bars:BUSY:1", 8), Some(vec![9, 10, 11]));
    assert_eq!(resume(&stream, "bars:BUSY:1", 7), None);
    assert_eq!(resume(&stream, "bars", 7), None);
    assert_eq!(resume(&stream, "bars:NEW:1", 0), Some(vec![]), "a topic without events has lost none");
    assert_eq!(resume(&stream, "bars:BUSY:1", 12), None, "a number that was never given");
}

#[test]
fn a_topic_that_nothing_is_kept_of_makes_room_for_another() {
    let mut settings = small_history(2);
    settings.limits.max_topics = 4;
    let stream = stream(settings);
    publish(&stream, "QUIET:1", "{}");
    stream.publish(&draft("RECORD:1", "current", "{}"), None).unwrap();
    let events: Vec<u64> = (0..10_000).map(|session| publish(&stream, &format!("S{session}:1"), "{}")).collect();
    assert_eq!(events.len() as u64 + 2, stream.figures().seq);
    assert_eq!(resume(&stream, "bars:RECORD:1", 2), Some(vec![]));
    assert_eq!(resume(&stream, "bars:S9999:1", 10_001), Some(vec![10_002]));
    for topic in ["bars:QUIET:1", "bars:NEW:1", "bars", "bars:*:1"] {
        assert_eq!(resume(&stream, topic, 1), None, "{topic}: there may have been more");
    }
    stream.publish(&draft("S9998:1", "current", "{}"), None).unwrap();
    stream.publish(&draft("S9999:1", "current", "{}"), None).unwrap();
    stream.publish(&draft("S10000:1", "current", "{}"), None).unwrap();
    let one_more = draft("S10001:1", "", "{}");
    assert_eq!(stream.publish(&one_more, None), Err(Refused::TooManyTopics(4)), "all have a record");
    let delete = Draft { flags: Flags::DELETE, ..draft("S9998:1", "current", "{}") };
    stream.publish(&delete, None).unwrap();
    assert_eq!(stream.publish(&one_more, None), Err(Refused::TooManyTopics(4)), "its last event is in the history");
    (0..2).for_each(|_| _ = publish(&stream, "S9999:1", "{}"));
    assert!(stream.publish(&one_more, None).is_ok());
}

#[test]
fn records_that_are_replaced_make_room_for_topics() {
    let mut settings = small_history(0);
    settings.limits.max_topics = 2;
    let stream = stream(settings);
    stream.publish(&draft("A", "current", "{}"), None).unwrap();
    stream.publish(&draft("B", "current", "{}"), None).unwrap();
    assert_eq!(stream.publish(&draft("C", "", "{}"), None), Err(Refused::TooManyTopics(2)));
    stream.begin_records();
    stream.publish(&draft("A", "current", "{}"), None).unwrap();
    assert_eq!(stream.publish(&draft("C", "", "{}"), None), Err(Refused::TooManyTopics(2)), "they may stay");
    stream.end_records();
    stream.publish(&draft("C", "", "{}"), None).unwrap();
    assert_eq!(resume(&stream, "bars:B", 3), None, "who remembers its record must see that it is gone");
}

#[test]
fn another_epoch_gets_a_snapshot() {
    let stream = stream(Settings::default());
    publish(&stream, "A:1", "{}");
    let elsewhere = Position { epoch: "other".into(), seq: 1 };
    let wish = Wish { patterns: &[pattern("bars")], audience: "", reader: Reader::Client, since: Some(&elsewhere) };
    assert!(matches!(stream.answer(&wish).unwrap().answer, Answer::Snapshot(_)));
}

#[test]
fn a_stream_that_comes_back_counts_in_an_epoch_of_its_own() {
    let hub = Hub::new("epoch");
    let before = hub.declare("bars", Settings::default());
    publish(&before, "A:1", "{}");
    hub.remove("bars");
    let after = hub.declare("bars", Settings::default());
    publish(&after, "A:1", "{}");
    publish(&after, "A:1", "{}");
    assert_eq!(resume(&after, "bars", 1), None, "its number 1 is another event");
    let outlet: Arc<dyn Outlet> = Arc::new(Recorder::default());
    let wish = Wish { patterns: &[pattern("bars")], audience: "", reader: Reader::Client, since: None };
    assert_eq!(before.subscribe(&wish, &outlet).unwrap_err(), Refused::Removed);
}

#[test]
fn subscribers_are_sent_away_when_a_stream_becomes_private() {
    let hub = Hub::new("epoch");
    let public = hub.declare("bars", Settings::default());
    let recorder = Arc::new(Recorder::default());
    let outlet: Arc<dyn Outlet> = recorder.clone();
    let wish = Wish { patterns: &[pattern("bars")], audience: "", reader: Reader::Client, since: None };
    public.subscribe(&wish, &outlet).unwrap();
    hub.declare("bars", Settings::default());
    assert_eq!(*recorder.sources.lock().unwrap(), []);
    hub.declare("bars", Settings { private: true, ..Settings::default() });
    assert_eq!(*recorder.sources.lock().unwrap(), [Source::Removed]);
}

#[test]
fn record_only_events_take_a_number_and_count_as_evicted() {
    let stream = stream(Settings::default());
    let recorder = Arc::new(Recorder::default());
    let outlet: Arc<dyn Outlet> = recorder.clone();
    let wish = Wish { patterns: &[pattern("bars")], audience: "", reader: Reader::Client, since: None };
    stream.subscribe(&wish, &outlet).unwrap();
    publish(&stream, "A:1", "{}");
    let quiet = Draft { flags: Flags::RECORD_ONLY, ..draft("A:1", "current", "{\"n\":2}") };
    assert_eq!(stream.publish(&quiet, None).unwrap().seq, 2);
    publish(&stream, "A:1", "{}");
    let seen: Vec<(u64, u64)> = recorder.events.lock().unwrap().iter().map(|event| (event.seq, event.prev)).collect();
    assert_eq!(seen, [(1, 0), (3, 1)]);
    assert_eq!(resume(&stream, "bars:A:1", 1), None, "nobody is told recovered who missed a record");
    assert_eq!(resume(&stream, "bars:A:1", 2), Some(vec![3]));
    assert_eq!(stream.figures().records, 1);
}

#[test]
fn bounds_refuse_with_their_name() {
    let limits = Limits { max_topics: 2, max_records: 1, ..Limits::default() };
    let stream = stream(Settings { limits, ..Settings::default() });
    let refused = |draft: &Draft<'_>| stream.publish(draft, None).unwrap_err();
    publish(&stream, "A:1", "{}");
    publish(&stream, "B:1", "{}");
    assert_eq!(refused(&draft("C:1", "", "{}")), Refused::TooManyTopics(2));
    stream.publish(&draft("A:1", "k", "{}"), None).unwrap();
    assert_eq!(refused(&draft("B:1", "k", "{}")), Refused::TooManyRecords(1));
    stream.publish(&draft("A:1", "k", "{}"), None).unwrap();
    let delete = Draft { flags: Flags::DELETE, ..draft("A:1", "k", "{}") };
    stream.publish(&delete, None).unwrap();
    stream.publish(&draft("B:1", "k", "{}"), None).unwrap();
    assert!(matches!(refused(&draft("A*:1", "", "{}")), Refused::BadTopic(_)));
    assert!(matches!(refused(&draft("*", "", "{}")), Refused::BadTopic(_)));
    assert_eq!(refused(&Draft { audience: "user-1", ..draft("A:1", "", "{}") }), Refused::NotPrivate);
}

#[test]
fn history_is_bounded_by_bytes_and_age_too() {
    let history = Bounds { events: 100, bytes: 1000, age: Duration::from_secs(300) };
    let heavy = stream(Settings { limits: Limits { history, ..Limits::default() }, ..Settings::default() });
    for _ in 0..10 {
        publish(&heavy, "A:1", "{}");
    }
    assert!(heavy.figures().history_bytes <= 1000 && heavy.figures().history_events == 3);
    let history = Bounds { age: Duration::ZERO, ..history };
    let brief = stream(Settings { limits: Limits { history, ..Limits::default() }, ..Settings::default() });
    publish(&brief, "A:1", "{}");
    std::thread::yield_now();
    publish(&brief, "A:1", "{}");
    assert_eq!(brief.figures().history_events, 1, "the first is older than the second's moment");
}

#[test]
fn private_logs_are_apart() {
    let broadcast = ["NEWS".to_owned()].into();
    let stream = stream(Settings { private: true, broadcast, ..Settings::default() });
    let recorders: Vec<Arc<Recorder>> = (0..3).map(|id| Arc::new(Recorder { id, ..Recorder::default() })).collect();
    for (recorder, audience) in recorders.iter().zip(["user-1", "user-10", "user-2"]) {
        let outlet: Arc<dyn Outlet> = recorder.clone();
        stream
            .subscribe(&Wish { patterns: &[pattern("bars")], audience, reader: Reader::Client, since: None }, &outlet)
            .unwrap();
    }
    stream.publish(&Draft { audience: "user-1", ..draft("", "k", "{\"a\":1}") }, None).unwrap();
    stream.publish(&Draft { audience: "user-10", ..draft("", "k", "{\"a\":10}") }, None).unwrap();
    stream.publish(&draft("", "", "{\"nobody\":1}"), None).unwrap();
    stream.publish(&Draft { kind: "NEWS", ..draft("", "", "{\"all\":1}") }, None).unwrap();
    let seen = |index: usize| -> Vec<(String, u64)> {
        let events = recorders[index].events.lock().unwrap();
        events.iter().map(|event| (String::from_utf8(event.payload.to_vec()).unwrap(), event.seq)).collect()
    };
    assert_eq!(seen(0), [("{\"a\":1}".to_owned(), 1), ("{\"all\":1}".to_owned(), 2)]);
    assert_eq!(seen(1), [("{\"a\":10}".to_owned(), 1), ("{\"all\":1}".to_owned(), 2)]);
    assert_eq!(seen(2), [("{\"all\":1}".to_owned(), 1)]);
    let wish = Wish { patterns: &[pattern("bars")], audience: "user-10", reader: Reader::Client, since: None };
    let Answer::Snapshot(snapshot) = stream.answer(&wish).unwrap().answer else { panic!() };
    assert_eq!(snapshot.collections()[0].1, "{\"a\":10}");
}

#[test]
fn records_are_replaced_in_one_step() {
    let stream = stream(Settings::default());
    stream.publish(&draft("A:1", "k", "{\"old\":1}"), None).unwrap();
    stream.publish(&draft("B:1", "k", "{\"old\":2}"), None).unwrap();
    let shown = || {
        let wish = Wish { patterns: &[pattern("bars")], audience: "", reader: Reader::Client, since: None };
        let Answer::Snapshot(snapshot) = stream.answer(&wish).unwrap().answer else { panic!() };
        String::from_utf8(snapshot.collections().concat_records()).unwrap()
    };
    stream.begin_records();
    let new = Draft { flags: Flags::RECORD_ONLY, ..draft("A:1", "k", "{\"new\":1}") };
    stream.publish(&new, None).unwrap();
    assert_eq!(shown(), "{\"old\":1},{\"old\":2}");
    stream.end_records();
    assert_eq!(shown(), "{\"new\":1}");
    assert_eq!(resume(&stream, "bars:B:1", 2), None, "its record is gone without an event");
}

#[test]
fn a_part_of_the_records_never_replaces_the_whole() {
    let stream = stream(Settings::default());
    stream.publish(&draft("A:1", "k", "{\"old\":1}"), None).unwrap();
    let shown = || {
        let wish = Wish { patterns: &[pattern("bars")], audience: "", reader: Reader::Client, since: None };
        let Answer::Snapshot(snapshot) = stream.answer(&wish).unwrap().answer else { panic!() };
        String::from_utf8(snapshot.collections().concat_records()).unwrap()
    };
    stream.begin_records();
    let part = Draft { flags: Flags::RECORD_ONLY, ..draft("B:1", "k", "{\"new\":2}") };
    stream.publish(&part, None).unwrap();
    stream.abandon_records();
    assert_eq!(shown(), "{\"old\":1}");
    stream.end_records();
    assert_eq!(shown(), "{\"old\":1}", "there is nothing left to put in its place");
    stream.publish(&draft("B:1", "k", "{\"new\":3}"), None).unwrap();
    assert_eq!(shown(), "{\"old\":1},{\"new\":3}", "and records are kept again as ever");
}

#[test]
fn what_was_told_while_records_gathered_in_vain_is_not_gone_on_from() {
    for give_up in [Stream::abandon_records, Stream::begin_records] {
        let stream = stream(Settings::default());
        stream.begin_records();
        stream.publish(&draft("A:1", "k", "{\"told\":1}"), None).unwrap();
        give_up(&stream);
        assert!(resume(&stream, "bars:A:1", 1).is_some(), "nothing has taken its place yet");
        stream.begin_records();
        stream.end_records();
        assert_eq!(resume(&stream, "bars:A:1", 1), None, "who was told of it is shown that it is not there");
    }
}

#[test]
fn the_same_records_told_anew_change_nothing() {
    let stream = stream(Settings::default());
    let recorder = Arc::new(Recorder::default());
    let outlet: Arc<dyn Outlet> = recorder.clone();
    stream
        .subscribe(&Wish { patterns: &[pattern("bars")], audience: "", reader: Reader::Client, since: None }, &outlet)
        .unwrap();
    let tell = |payloads: &[&str]| {
        stream.begin_records();
        for (key, payload) in payloads.iter().enumerate() {
            let key = key.to_string();
            let record = Draft { flags: Flags::RECORD_ONLY, ..draft("A:1", &key, payload) };
            stream.publish(&record, None).unwrap();
        }
        stream.end_records();
        stream.figures().seq
    };
    assert_eq!(tell(&["{}", "{}"]), 3, "two refreshed records, and the change of the set");
    assert_eq!(tell(&["{}", "{}"]), 5, "no change, no number");
    assert_eq!(tell(&["{}"]), 7);
    assert_eq!(tell(&[]), 8);
    let told: Vec<u64> = recorder.replaced.lock().unwrap().iter().map(|(_, seq)| *seq).collect();
    assert_eq!(told, [3, 7, 8]);
    assert_eq!((resume(&stream, "bars:A:1", 7), resume(&stream, "bars:A:1", 8)), (None, Some(vec![])));
}

#[test]
fn when_memory_is_short_histories_let_go_and_beyond_it_publishing_is_refused() {
    let hub = Hub::new("epoch");
    let (large, small) = (hub.declare("large", Settings::default()), hub.declare("small", Settings::default()));
    let payload = format!("{{\"pad\":\"{}\"}}", "x".repeat(10_000));
    (0..100).for_each(|_| _ = publish(&large, "A:1", &payload));
    (0..10).for_each(|_| _ = publish(&small, "A:1", &payload));
    let used = hub.memory().used();
    hub.memory().set_bound(used);
    hub.cut_histories();
    assert_eq!((large.figures().history_events, small.figures().history_events), (50, 10));
    assert!(!hub.memory().is_short());

    small.publish(&draft("A:1", "kept", &payload), None).unwrap();
    hub.memory().set_bound(10_000);
    let signal = Arc::new(Signal::default());
    let refused = small.publish(&draft("A:1", "", "{}"), Some(&signal)).unwrap_err();
    assert_eq!(refused, Refused::NoMemory);
    let delete = Draft { flags: Flags::DELETE, ..draft("A:1", "kept", "{}") };
    small.publish(&delete, Some(&signal)).unwrap();
    hub.tell_relief();
    assert!(!signal.take().has(Wakes::WRITABLE), "there is no room yet");
    hub.memory().set_bound(usize::MAX);
    hub.tell_relief();
    assert!(signal.take().has(Wakes::WRITABLE));
    assert_eq!(publish(&small, "A:1", "{}"), 13);
}

#[test]
fn when_memory_is_full_what_follows_from_inputs_and_a_set_of_records_are_taken_all_the_same() {
    let hub = Hub::new("epoch");
    let stream = hub.declare("bars", Settings::default());
    publish(&stream, "A:1", "{}");
    hub.memory().set_bound(1);
    assert_eq!(stream.publish(&draft("A:1", "", "{}"), None), Err(Refused::NoMemory));
    let cause = Some(Cause { stream: "ticks", epoch: "e1", seq: 1, ordinal: 0 });
    assert_eq!(stream.publish(&Draft { cause, ..draft("A:1", "", "{}") }, None).map(|accepted| accepted.seq), Ok(2));
    let record = Draft { flags: Flags::RECORD_ONLY, ..draft("A:1", "k", "{}") };
    assert_eq!(stream.publish(&record, None), Err(Refused::NoMemory));
    stream.begin_records();
    assert!(stream.publish(&record, None).is_ok());
    stream.end_records();
    assert_eq!(stream.figures().records, 1);
}

#[test]
fn a_log_that_clients_may_not_read_takes_no_subscription() {
    let hub = Hub::new("epoch");
    let answered = |settings: Settings, audience| {
        let wish = Wish { patterns: &[pattern("bars")], audience, reader: Reader::Client, since: None };
        hub.declare("bars", settings).answer(&wish).map(|_| ())
    };
    let private = || Settings { private: true, ..Settings::default() };
    assert_eq!(answered(Settings::default(), ""), Ok(()));
    assert_eq!(answered(Settings::default(), "user-1"), Err(Refused::Removed));
    assert_eq!(answered(Settings { visible: false, ..Settings::default() }, ""), Err(Refused::Removed));
    assert_eq!(answered(private(), "user-1"), Ok(()));
    assert_eq!(answered(private(), ""), Err(Refused::Removed));
}

#[test]
fn an_invisible_stream_is_open_to_operators_until_it_becomes_private() {
    let hub = Hub::new("epoch");
    let invisible = || Settings { visible: false, ..Settings::default() };
    let stream = hub.declare("bars", invisible());
    let wish = Wish { patterns: &[pattern("bars")], audience: "", reader: Reader::Operator, since: None };
    let listener = Arc::new(Recorder::default());
    let outlet: Arc<dyn Outlet> = listener.clone();
    assert!(stream.subscribe(&wish, &outlet).is_ok());
    hub.declare("bars", invisible());
    assert_eq!(*listener.sources.lock().unwrap(), [], "nobody is sent away while nothing changes");
    hub.declare("bars", Settings { private: true, ..invisible() });
    assert_eq!(*listener.sources.lock().unwrap(), [Source::Removed]);
    assert_eq!(stream.answer(&wish).map(|_| ()), Err(Refused::Removed), "what was for nobody is no operator's");
}

trait ConcatRecords {
    fn concat_records(&self) -> Vec<u8>;
}

impl ConcatRecords for Vec<(Arc<str>, bytes::Bytes)> {
    fn concat_records(&self) -> Vec<u8> {
        self.iter().flat_map(|(_, records)| records.to_vec()).collect()
    }
}

#[test]
fn audiences_are_bounded() {
    let private = stream(Settings { private: true, ..small_history(1) });
    let name = |number: usize| number.to_string();
    for number in 0..MAX_AUDIENCES {
        private.publish(&Draft { audience: &name(number), ..draft("", "", "{}") }, None).unwrap();
    }
    let one_more = Draft { audience: "one more", ..draft("", "", "{}") };
    assert_eq!(private.publish(&one_more, None), Err(Refused::TooManyAudiences(MAX_AUDIENCES)));
    private.publish(&Draft { audience: "7", ..draft("", "", "{}") }, None).unwrap();
}

#[test]
fn repeated_causes_and_ids_make_no_second_event() {
    let stream = stream(Settings::default());
    let caused = |seq, ordinal| {
        let cause = Some(Cause { stream: "ticks", epoch: "e1", seq, ordinal });
        stream.publish(&Draft { cause, ..draft("A:1", "", "{}") }, None).unwrap()
    };
    assert_eq!(caused(5, 1), Accepted { seq: 1, repeated: false });
    assert_eq!(caused(4, 0), Accepted { seq: 2, repeated: false }, "a worker may be late with it");
    assert!(caused(5, 1).repeated && caused(4, 0).repeated);
    let identified = || stream.publish(&Draft { id: "x", ..draft("A:1", "", "{}") }, None).unwrap();
    assert_eq!(
        (identified(), identified()),
        (Accepted { seq: 3, repeated: false }, Accepted { seq: 3, repeated: true })
    );
    assert_eq!(stream.figures().seq, 3);
}

#[test]
fn inputs_are_kept_until_they_are_saved_and_then_refused_beyond_the_buffer() {
    let stream = stream(Settings { listen_buffer: 2000, ..small_history(1) });
    publish(&stream, "A", "{}");
    let (ours, theirs) = (Arc::new(Signal::default()), Arc::new(Signal::default()));
    let listener = stream.listen(ours.clone(), None);
    let accepted = (0..100).take_while(|_| stream.publish(&draft("A", "", "{}"), Some(&theirs)).is_ok()).count();
    assert!((5..10).contains(&accepted), "{accepted} events of at least 256 bytes in 2000");
    assert!(ours.take().has(Wakes::INPUT));
    let first = stream.read_inputs(listener, 2);
    assert_eq!((first.gap, first.events.iter().map(|input| input.number).collect()), (None, vec![2, 3]));
    assert_eq!(stream.publish(&draft("A", "", "{}"), Some(&theirs)), Err(Refused::Full), "read is not saved");
    assert!(!theirs.take().has(Wakes::WRITABLE));
    stream.rewind_inputs(listener);
    assert_eq!(stream.read_inputs(listener, 2), first);
    stream.saved_inputs(listener, 3);
    assert!(theirs.take().has(Wakes::WRITABLE));
    stream.publish(&draft("A", "", "{}"), Some(&theirs)).unwrap();
    stream.unlisten(listener);
    assert_eq!(stream.figures().input_bytes, 0);
}

#[test]
fn a_listener_of_another_epoch_or_too_far_behind_is_told_a_gap() {
    let stream = stream(Settings::default());
    for _ in 0..3 {
        publish(&stream, "A", "{}");
    }
    let gap = |position: &Position| {
        let listener = stream.listen(Arc::default(), Some(position));
        let batch = stream.read_inputs(listener, 10);
        stream.unlisten(listener);
        batch
    };
    assert_eq!(gap(&since(1)), Batch { gap: Some((2, 3)), events: vec![] });
    assert_eq!(gap(&since(3)), Batch::default());
    assert_eq!(gap(&Position { epoch: "other".into(), seq: 7 }).gap, Some((0, 3)));
}

#[test]
fn demand_tells_of_first_and_last_subscribers() {
    let stream = stream(Settings::default());
    let (owner, outlet): (_, Arc<dyn Outlet>) = (Arc::new(Signal::default()), Arc::new(Recorder::default()));
    stream.set_owner(&owner);
    let told = || stream.take_demand().iter().map(|(p, n)| (p.text().to_string(), *n)).collect::<Vec<_>>();
    let patterns = [pattern("bars:A:1"), pattern("bars:*:1")];
    stream
        .subscribe(&Wish { patterns: &patterns, audience: "", reader: Reader::Client, since: None }, &outlet)
        .unwrap();
    stream
        .subscribe(&Wish { patterns: &patterns[..1], audience: "", reader: Reader::Client, since: None }, &outlet)
        .unwrap();
    assert!(owner.take().has(Wakes::DEMAND));
    assert_eq!(told(), [("bars:A:1".to_owned(), 2), ("bars:*:1".to_owned(), 1)].into_iter().rev().collect::<Vec<_>>());
    assert_eq!((stream.demand("A:1"), stream.demand("B:1"), stream.demand("B:5")), (3, 1, 0));
    stream.unsubscribe("", &patterns, 0);
    assert_eq!(told(), [("bars:*:1".to_owned(), 0)]);
    stream.unsubscribe("", &patterns[..1], 0);
    assert_eq!(told(), [("bars:A:1".to_owned(), 0)]);
    stream.listen(Arc::default(), None);
    assert_eq!((told(), stream.demand("B:5")), (vec![("bars".to_owned(), 1)], 1));
}

#[test]
fn who_comes_and_goes_before_the_owner_looks_is_no_news() {
    let stream = stream(Settings::default());
    let (owner, outlet): (_, Arc<dyn Outlet>) = (Arc::new(Signal::default()), Arc::new(Recorder::default()));
    stream.set_owner(&owner);
    let enter = |text: &str| {
        stream
            .subscribe(&Wish { patterns: &[pattern(text)], audience: "", reader: Reader::Client, since: None }, &outlet)
            .unwrap();
    };
    let leave = |text: &str| stream.unsubscribe("", &[pattern(text)], 0);
    let told = || stream.take_demand().iter().map(|(p, n)| (p.text().to_string(), *n)).collect::<Vec<_>>();
    enter("bars:STAYS:1");
    assert_eq!(told(), [("bars:STAYS:1".to_owned(), 1)]);
    for number in 0..10_000 {
        enter(&format!("bars:{number}:1"));
        leave(&format!("bars:{number}:1"));
    }
    leave("bars:STAYS:1");
    enter("bars:STAYS:1");
    assert_eq!(told(), []);
    leave("bars:STAYS:1");
    assert_eq!(told(), [("bars:STAYS:1".to_owned(), 0)]);
    let listeners = [stream.listen(Arc::default(), None), stream.listen(Arc::default(), None)];
    assert_eq!(told(), [("bars".to_owned(), 2)]);
    stream.unlisten(listeners[0]);
    assert_eq!(told(), [], "one is left");
    stream.set_owner(&owner);
    assert_eq!(told(), [("bars".to_owned(), 1)], "a new owner knows of nothing");
}

#[test]
fn subscribers_hear_that_the_source_went_and_came() {
    let hub = Hub::new("epoch");
    let stream = hub.declare("bars", Settings::default());
    let recorder = Arc::new(Recorder::default());
    let outlet: Arc<dyn Outlet> = recorder.clone();
    stream
        .subscribe(&Wish { patterns: &[pattern("bars")], audience: "", reader: Reader::Client, since: None }, &outlet)
        .unwrap();
    stream.set_owner(&Arc::default());
    stream.set_source(Source::Absent("stopped".into()));
    stream.set_source(Source::Absent("stopped".into()));
    hub.remove("bars");
    let expected = [Source::Running, Source::Absent("stopped".into()), Source::Removed];
    assert_eq!(*recorder.sources.lock().unwrap(), expected);
    assert_eq!(stream.publish(&draft("A", "", "{}"), None), Err(Refused::Removed));
}

// ── The model ──

#[derive(Clone, Debug)]
enum Step {
    Publish {
        topic: usize,
        key: usize,
        flags: u32,
    },
    Subscribe {
        client: usize,
        patterns: Vec<usize>,
    },
    Leave {
        client: usize,
    },
    /// The outlet of this client refuses, or takes again.
    Fill {
        client: usize,
    },
    CatchUp {
        client: usize,
        max: usize,
    },
}

const TOPICS: [&str; 5] = ["", "A:1", "A:5", "B:1", "C"];
const PATTERNS: [&str; 5] = ["bars", "bars:A:1", "bars:*:1", "bars:B:1", "bars:C"];
const KEYS: [&str; 3] = ["", "x", "y"];
const CLIENTS: usize = 4;

fn step() -> impl Strategy<Value = Step> {
    let flags = prop_oneof![4 => Just(0), 2 => Just(1), 1 => Just(2), 2 => Just(4)];
    prop_oneof![
        12 => (0..TOPICS.len(), 0..KEYS.len(), flags).prop_map(|(topic, key, flags)| Step::Publish { topic, key, flags }),
        3 => (0..CLIENTS, prop::collection::vec(0..PATTERNS.len(), 1..3))
            .prop_map(|(client, patterns)| Step::Subscribe { client, patterns }),
        1 => (0..CLIENTS).prop_map(|client| Step::Leave { client }),
        1 => (0..CLIENTS).prop_map(|client| Step::Fill { client }),
        2 => (0..CLIENTS, 1..4usize).prop_map(|(client, max)| Step::CatchUp { client, max }),
    ]
}

/// One subscriber and what it has been able to account for.
#[derive(Default)]
struct Client {
    recorder: Arc<Recorder>,
    patterns: Vec<Pattern>,
    /// Everything that matches up to here has been seen, shown in a snapshot, or told as lost.
    accounted: u64,
}

/// What was published, in the plainest form.
#[derive(Default)]
struct Model {
    /// Every delivered event's number and topic.
    events: Vec<(u64, String)>,
    records: BTreeMap<(String, String), String>,
    seq: u64,
    limits: Limits,
    has_root: bool,
}

impl Model {
    /// Topics that something is left of.
    fn kept_topics(&self) -> BTreeSet<String> {
        let history = self.events.iter().rev().take(self.limits.history.events).map(|(_, topic)| topic);
        let records = self.records.keys().map(|(topic, _)| topic);
        history.chain(records).cloned().chain(self.has_root.then(|| "bars".to_owned())).collect()
    }

    fn publish(&mut self, stream: &Stream, (topic, key, flags): (usize, usize, u32)) {
        let payload = format!("{{\"n\":{}}}", self.seq + 1);
        let event = Draft { flags: Flags(flags), ..draft(TOPICS[topic], KEYS[key], &payload) };
        let full = if TOPICS[topic].is_empty() { "bars".to_owned() } else { format!("bars:{}", TOPICS[topic]) };
        let kept = self.kept_topics();
        if kept.len() >= self.limits.max_topics && !kept.contains(&full) {
            assert_eq!(stream.publish(&event, None), Err(Refused::TooManyTopics(self.limits.max_topics)));
            return;
        }
        self.seq += 1;
        assert_eq!(stream.publish(&event, None).unwrap().seq, self.seq);
        self.has_root |= TOPICS[topic].is_empty();
        if !KEYS[key].is_empty() {
            let name = (full.clone(), KEYS[key].to_owned());
            if flags == Flags::DELETE.0 {
                self.records.remove(&name)
            } else {
                self.records.insert(name, payload)
            };
        }
        if flags != Flags::RECORD_ONLY.0 {
            self.events.push((self.seq, full));
        }
    }

    fn matching(&self, patterns: &[Pattern], after: u64, up_to: u64) -> Vec<u64> {
        let wanted = |(seq, topic): &&(u64, String)| {
            *seq > after && *seq <= up_to && patterns.iter().any(|pattern| pattern.matches(topic))
        };
        self.events.iter().filter(wanted).map(|(seq, _)| *seq).collect()
    }

    fn snapshot(&self, patterns: &[Pattern]) -> String {
        let wanted = self.records.iter().filter(|((topic, _), _)| patterns.iter().any(|p| p.matches(topic)));
        wanted.map(|(_, payload)| payload.as_str()).collect::<Vec<_>>().join(",")
    }
}

impl Client {
    /// Takes what the recorder got. Every number in it must be the next that this client has to account for.
    fn take(&mut self, model: &Model) {
        let events: Vec<_> = std::mem::take(&mut *self.recorder.events.lock().unwrap());
        let Some(last) = events.last().map(|event| event.seq) else { return };
        let seen: Vec<u64> =
            events.iter().filter(|e| self.patterns.iter().any(|p| p.matches(&e.topic))).map(|e| e.seq).collect();
        assert_eq!(seen, model.matching(&self.patterns, self.accounted, last));
        self.accounted = last;
    }

    fn subscribe(&mut self, stream: &Stream, model: &Model, patterns: &[usize]) {
        self.leave(stream, model);
        let mut patterns: Vec<Pattern> = patterns.iter().map(|index| pattern(PATTERNS[*index])).collect();
        patterns.sort();
        patterns.dedup();
        let remembered = (patterns == self.patterns).then(|| since(self.accounted));
        let outlet: Arc<dyn Outlet> = self.recorder.clone();
        let wish = Wish { patterns: &patterns, audience: "", reader: Reader::Client, since: remembered.as_ref() };
        let subscribed = stream.subscribe(&wish, &outlet).unwrap();
        assert_eq!(subscribed.position.seq, model.seq);
        match subscribed.answer {
            Answer::Recovered(events) => {
                let missed: Vec<u64> = events.iter().map(|event| event.seq).collect();
                assert_eq!(missed, model.matching(&patterns, self.accounted, model.seq));
            }
            Answer::Snapshot(snapshot) => {
                let shown = String::from_utf8(snapshot.collections().concat_records()).unwrap();
                assert_eq!(shown, model.snapshot(&patterns));
            }
        }
        (self.patterns, self.accounted) = (patterns, model.seq);
    }

    fn leave(&mut self, stream: &Stream, model: &Model) {
        self.recorder.full.store(false, Ordering::Relaxed);
        self.take(model);
        stream.unsubscribe("", &self.patterns, self.recorder.id);
    }

    fn catch_up(&mut self, stream: &Stream, model: &Model, max: usize) {
        self.take(model);
        let Some(caught) = stream.catch_up("", self.recorder.id, u64::MAX, max) else { return };
        if let Some((_, to)) = caught.lost {
            self.accounted = self.accounted.max(to);
        }
        self.recorder.events.lock().unwrap().extend(caught.events);
        self.take(model);
        let unseen = model.matching(&self.patterns, self.accounted, caught.reached);
        assert_eq!(unseen, Vec::<u64>::new(), "reached says more than was given");
        self.accounted = self.accounted.max(caught.reached);
        if caught.reached == model.seq {
            self.recorder.full.store(false, Ordering::Relaxed);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_subscriber_accounts_for_every_number(
        steps in prop::collection::vec(step(), 1..120), events in 0..12usize, max_topics in 2..6usize,
    ) {
        let limits = Limits { max_topics, ..small_history(events).limits };
        let stream = stream(Settings { limits, ..Settings::default() });
        let mut model = Model { limits, ..Model::default() };
        let mut clients: Vec<Client> = (0..CLIENTS as u64)
            .map(|id| Client { recorder: Arc::new(Recorder { id, ..Recorder::default() }), ..Client::default() })
            .collect();
        for step in steps {
            match step {
                Step::Publish { topic, key, flags } => model.publish(&stream, (topic, key, flags)),
                Step::Subscribe { client, patterns } => clients[client].subscribe(&stream, &model, &patterns),
                Step::Leave { client } => clients[client].leave(&stream, &model),
                Step::Fill { client } => clients[client].recorder.full.store(true, Ordering::Relaxed),
                Step::CatchUp { client, max } => clients[client].catch_up(&stream, &model, max),
            }
        }
    }
}
