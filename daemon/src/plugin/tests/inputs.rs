//! What broadcasters listen to reaches them once, through failures, narrow buffers and other lives of the daemon.

use std::collections::BTreeMap;

use super::*;
use crate::hub::Refused;
use crate::hub::repeats::MAX_INPUTS;
use crate::hub::signal::Signal;
use crate::plugin::inputs::Inputs;
use crate::plugin::told::Told;

#[test]
fn a_full_stream_says_again_and_then_writable_and_nothing_is_lost_or_doubled() {
    let mut house = House::new();
    house.supervisor.config.timing.checkpoint_every = Duration::from_secs(10); // until then nothing is let go
    house.build("chain", &[]);
    let narrow = Wanted {
        stream: stream::Overrides { listen_buffer: Some(1), ..stream::Overrides::default() },
        ..wanted("first", "chain", "tick")
    };
    house.reload(&[narrow, listening(wanted("second", "chain", ""), &["first"])]).unwrap();
    let [first, second] = ["first", "second"].map(|name| house.subscribe(name));
    let count = |name: &str| house.supervisor.status_of("first").unwrap().metrics[name].as_u64().unwrap();
    house.clock.advance(Duration::from_secs(1));
    until("the second heard the first", || second.numbers() == [1]);
    for refused in 1..=3 {
        house.clock.advance(Duration::from_secs(1));
        until("the first is told AGAIN", || count("again_total") == refused);
    }
    assert_eq!((count("writable_total"), first.numbers()), (0, vec![1]));
    house.clock.advance(Duration::from_secs(6));
    until("room is told and used", || count("writable_total") == 1 && first.numbers().len() == 2);
    for written in 2..=5 {
        let refused = count("again_total");
        house.clock.advance(Duration::from_secs(1));
        until("it is full once more", || count("again_total") > refused);
        house.clock.advance(Duration::from_secs(10));
        until("room is told once more", || count("writable_total") >= written);
    }
    until("the second heard all of the first", || second.numbers().len() == first.numbers().len());
    assert!(first.numbers().into_iter().eq(1..=first.numbers().len() as u64), "{:?}", first.numbers());
    assert_eq!(second.numbers(), first.numbers());
}

#[test]
fn records_are_told_once_after_each_start_and_are_as_new_as_what_was_heard() {
    let house = House::new();
    house.build("teller", &[]);
    let one = listening(wanted("a", "teller", "tell"), &["in"]);
    house.reload(std::slice::from_ref(&one)).unwrap();
    let heard = house.subscribe("a");
    house.input("x");
    until("one is handled", || heard.numbers() == [1]);
    house.clock.advance(Duration::from_secs(1));
    until("a checkpoint is taken", || house.stream("in").figures().input_bytes == 0);
    house.input("x");
    until("two are handled", || heard.numbers() == [1, 2]);
    house.input("once"); // panics the first time
    until("it failed", || house.phase("a") == Phase::BackingOff);
    assert_eq!(house.shown("a"), r#"{"n":2}"#, "what was heard is shown meanwhile");
    house.clock.advance(Duration::from_millis(100));
    until("it runs again", || house.phase("a") == Phase::Running);
    assert_eq!(heard.said("records"), [json!({"n": 3})], "it had caught up with what was heard");
    house.build("teller", &["VERSION=\"2.0.0\""]);
    house.reload(std::slice::from_ref(&one)).unwrap();
    until("the new one runs", || house.phase("a") == Phase::Running);
    assert_eq!(heard.said("records"), [json!({"n": 3}), json!({"n": 3})]);
    assert_eq!(heard.numbers(), [1, 2, 3]);
    let house = house.again();
    house.reload(&[one]).unwrap();
    house.input("x");
    until("it went on", || house.numbers("a") == [4]);
    assert_eq!(house.shown("a"), r#"{"n":4}"#);
}

#[test]
fn one_that_was_quarantined_is_told_what_is_gone_until_it_has_saved_that() {
    let house = House::new();
    house.build("patient", &[]);
    let one = listening(wanted("a", "patient", ""), &["in"]);
    house.reload(std::slice::from_ref(&one)).unwrap();
    let heard = house.subscribe("a");
    house.input("x");
    until("one is handled", || heard.numbers() == [1]);
    house.clock.advance(Duration::from_secs(1));
    until("a checkpoint is taken", || house.stream("in").figures().input_bytes == 0);
    house.input("poison");
    for failures in 1..=5 {
        until("it failed once more", || house.has_failed("a", failures));
        house.clock.advance(Duration::from_secs(4));
    }
    until("it is quarantined", || house.phase("a") == Phase::Quarantined);
    house.input("x"); // nobody keeps it
    house.reload(std::slice::from_ref(&one)).unwrap();
    until("it is told", || heard.said("gap") == [json!({"from": 2, "to": 3})]);
    house.input("once"); // panics before that is saved
    until("it failed", || house.phase("a") == Phase::BackingOff);
    house.clock.advance(Duration::from_millis(100));
    until("it is told again", || heard.said("gap").len() == 2);
    until("it goes on behind the gap", || heard.numbers() == [1, 2]);
    house.clock.advance(Duration::from_secs(1));
    until("a checkpoint is taken", || house.stream("in").figures().input_bytes == 0);
    house.build("patient", &["VERSION=\"2.0.0\""]);
    house.reload(&[one]).unwrap();
    house.input("x");
    until("the new one goes on", || heard.numbers() == [1, 2, 3]);
    assert_eq!(heard.said("gap"), [json!({"from": 2, "to": 3}), json!({"from": 2, "to": 3})]);
}

#[test]
fn listeners_of_one_stream_stand_where_each_of_them_saved() {
    let house = House::new();
    house.build("steady", &[]);
    house.build("shaky", &[]);
    let both = [listening(wanted("a", "steady", ""), &["in"]), listening(wanted("b", "shaky", ""), &["in"])];
    house.reload(&both).unwrap();
    let [a, b] = ["a", "b"].map(|name| house.subscribe(name));
    for what in ["x", "x", "once", "x"] {
        house.input(what); // `failed_once` is the library's own, so that each fails once, at the third
    }
    for name in ["a", "b"] {
        until("it failed", || house.has_failed(name, 1));
    }
    house.clock.advance(Duration::from_millis(100));
    for heard in [&a, &b] {
        until("all is handled", || heard.numbers() == [1, 2, 3, 4]);
    }
    assert_eq!(house.reload(&both[..1]), Ok(vec![Change::Keep("a".into()), Change::Stop("b".into())]));
    house.input("x");
    until("the first goes on alone", || a.numbers().len() == 5);
    house.reload(&both).unwrap();
    house.input("x");
    until("the second goes on with what the first has not saved", || house.numbers("b") == [5, 6]);
    assert_eq!(house.said("b", "gap"), [json!(null); 0]);
    until("the first heard all", || a.numbers() == [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_disk_that_hangs_holds_up_no_event_and_what_it_refused_is_written_again() {
    let house = House::new();
    house.build("patient", &[]);
    house.reload(&[listening(wanted("a", "patient", ""), &["in"])]).unwrap();
    let heard = house.subscribe("a");
    let state = house.dir.path().join("state");
    let pipe = state.join("a.state.0.tmp"); // whoever opens it for writing hangs until somebody reads
    fs::create_dir_all(&state).unwrap();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (number, seconds) in (1..).zip([1, 9, 10, 10]) {
        house.input("x");
        until("it is handled", || heard.numbers().last() == Some(&number));
        house.clock.advance(Duration::from_secs(seconds));
        until("a checkpoint is taken", || house.stream("in").figures().input_bytes == 0);
    }
    let written = fs::read(&pipe).unwrap(); // what hung goes on, and fails, for a pipe cannot be flushed
    assert!(written.ends_with(&2_u64.to_ne_bytes()));
    until("the newest state is there", || {
        house.tick(Duration::from_secs(1));
        house.supervisor.saved().read("a", "patient").unwrap().is_some_and(|saved| saved.positions["in"].seq == 4)
    });
    assert_eq!((house.supervisor.status_of("a").unwrap().errors, pipe.exists()), (1, false));
    house.input("x");
    until("it is handled", || heard.numbers() == [1, 2, 3, 4, 5]);
    house.supervisor.stop();
    assert_eq!(
        house.supervisor.saved().read("a", "patient").unwrap().unwrap().positions["in"].seq,
        5,
        "a stop waits for it"
    );
}

#[test]
fn a_stream_knows_all_that_a_restart_repeats_three_times_over() {
    assert!(Timing::default().checkpoint_inputs * 3 <= MAX_INPUTS);
    let header = include_str!("../../../../plugin-api/include/broadcastd_plugin.h");
    assert!(header.contains("newest 32,768 inputs") && MAX_INPUTS == 32_768);
}

#[test]
fn a_position_stays_where_it_was_saved_until_the_gap_behind_it_is_handled() {
    let house = House::new();
    (0..3).for_each(|_| house.input("x"));
    let stream = house.stream("in");
    let old = Position { epoch: "of another life".into(), seq: 7 };
    let saved = BTreeMap::from([("in".to_owned(), old.clone())]);
    let mut inputs = Inputs::listen(std::slice::from_ref(&stream), &Arc::new(Signal::default()), &saved);
    let mut told = Vec::new();
    inputs.read(10, &mut told);
    assert!(matches!(told[..], [Told::Gap { first: 0, last: 3, .. }]));
    assert_eq!(inputs.positions()["in"], old, "told is not handled");
    inputs.rewind(&saved);
    told.clear();
    inputs.read(10, &mut told);
    assert_eq!((told.len(), inputs.handled(&told)), (1, 1));
    assert_eq!(inputs.positions()["in"], Position { epoch: stream.epoch().clone(), seq: 3 });
}

#[test]
fn what_was_not_handled_when_the_daemon_ended_is_told_as_a_gap() {
    let house = House::new();
    house.build("patient", &[]);
    let one = listening(wanted("a", "patient", ""), &["in"]);
    house.reload(std::slice::from_ref(&one)).unwrap();
    let heard = house.subscribe("a");
    house.input("x");
    until("one is handled", || heard.numbers() == [1]);
    house.input("poison");
    until("it failed", || house.phase("a") == Phase::BackingOff);
    let house = house.again();
    house.reload(&[one]).unwrap();
    until("it is told", || house.said("a", "gap") == [json!({"from": 0, "to": 0})]);
}

#[test]
fn a_stream_that_was_heard_takes_nothing_more_once_the_daemon_ends() {
    let house = House::new();
    house.build("steady", &[]);
    house.hub.declare("unheard", Settings::default());
    house.reload(&[listening(wanted("a", "steady", ""), &["in"])]).unwrap();
    house.supervisor.stop();
    let publish = |name: &str| {
        let draft = Draft { kind: "do", payload: b"{}", ..Draft::default() };
        house.stream(name).publish(&draft, None).map(|_| ())
    };
    assert_eq!((publish("in"), publish("unheard")), (Err(Refused::Ended), Ok(())));
}

/// Publishes one input more for each event of a kind that it hears.
struct Echo {
    into: Arc<Stream>,
    kind: &'static str,
    accepted: Mutex<Vec<Result<(), Refused>>>,
}

impl Echo {
    /// Hears the stream `a`, and answers on the stream `in`.
    fn new(house: &House, kind: &'static str) -> Arc<Self> {
        let echo = Arc::new(Self { into: house.stream("in"), kind, accepted: Mutex::default() });
        let outlet: Arc<dyn Outlet> = echo.clone();
        let patterns = &[Pattern::parse("a").unwrap()];
        let wish = Wish { patterns, audience: "", reader: Reader::Client, since: None };
        house.stream("a").subscribe(&wish, &outlet).unwrap();
        echo
    }
}

impl Outlet for Echo {
    fn id(&self) -> u64 {
        1
    }

    fn offer(&self, event: &Arc<Event>) -> Result<(), Full> {
        if *event.kind == *self.kind {
            let accepted = self.into.publish(&Draft { kind: "do", payload: b"{}", ..Draft::default() }, None);
            self.accepted.lock().unwrap().push(accepted.map(|_| ()));
        }
        Ok(())
    }

    fn source_changed(&self, _: LogId, _: u64, _: &Source) {}

    fn records_replaced(&self, _: LogId, _: u64, _: &crate::hub::records::Snapshot) {}
}

#[test]
fn one_that_stops_takes_what_was_published_before_and_not_what_never_ends() {
    let house = House::new();
    house.build("busy", &[]);
    house.reload(&[listening(wanted("a", "busy", ""), &["in"])]).unwrap();
    let heard = house.subscribe("a");
    let echo = Echo::new(&house, "n");
    let release = house.dir.path().join("release");
    house.input(&format!("hang {}", release.display()));
    let shared = house.supervisor.shown()["a"].shared.clone().unwrap();
    let is_called = || shared.lock().port.as_ref().is_some_and(|(port, _)| port.called_at().is_some());
    until("it is in the call", || is_called() && house.stream("in").listeners()[0].waiting == 0);
    (0..9).for_each(|_| house.input("x"));
    std::thread::scope(|scope| {
        scope.spawn(|| house.reload(&[]).unwrap());
        until("it is to stop", || !shared.lock().orders.is_empty());
        fs::write(&release, "").unwrap();
    });
    // Ten were published before, and the first led to one more; each of those leads to another, which nobody takes.
    assert_eq!(heard.numbers(), (1..=11).collect::<Vec<u64>>());
    assert_eq!(house.stream("in").figures().seq, 21);
    assert_eq!(*echo.accepted.lock().unwrap(), vec![Ok(()); 11]);
}

#[test]
fn nothing_is_accepted_for_a_listener_that_stops_with_the_daemon() {
    let house = House::new();
    house.build("speaker", &[]);
    let one = listening(wanted("a", "speaker", "last words"), &["in"]);
    house.reload(std::slice::from_ref(&one)).unwrap();
    let heard = house.subscribe("a");
    let echo = Echo::new(&house, "last_words");
    house.input("x");
    until("one is handled", || heard.numbers() == [1]);
    let house = house.again();
    assert_eq!(*echo.accepted.lock().unwrap(), [Err(Refused::Ended)], "it came when the last input had been handled");
    house.reload(&[one]).unwrap();
    house.input("x");
    until("it goes on", || house.numbers("a") == [2]);
    assert_eq!(house.said("a", "gap"), [json!(null); 0]);
}
