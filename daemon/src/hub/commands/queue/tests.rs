//! Commands through the hub: whatever happens, each is answered exactly once, and nobody answers for another.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{LazyLock, Mutex};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::hub::Hub;
use crate::hub::commands::{Shape, Spec};
use crate::hub::names::Names;
use crate::hub::settings::Settings;
use crate::hub::signal::Wakes;

const NANOSECOND: Duration = Duration::from_nanos(1);

/// A hub with the broadcasters `alerts`, which takes three commands, and `bars`, which takes one.
fn hub() -> Arc<Hub> {
    let hub = Hub::new("epoch");
    hub.declare("alerts", taking(&["acknowledge", "list", "reset"]));
    hub.declare("bars", taking(&["refresh"]));
    hub.declare("ticks", Settings::default());
    hub
}

/// Each command has the permission of its name behind a dot.
fn taking(names: &[&str]) -> Settings {
    let schema = json!({"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}});
    let spec = |name: &str| Spec { shape: Shape::new(&schema).unwrap(), permission: format!(".{name}") };
    let declared: Declared = names.iter().map(|name| ((*name).to_owned(), spec(name))).collect();
    Settings { commands: Arc::new(declared), ..Settings::default() }
}

fn commands(hub: &Hub, name: &str) -> Arc<Commands> {
    hub.stream(name).unwrap().commands().clone()
}

fn ask<'a>(broadcaster: &'a str, command: &'a str, payload: &'static str) -> Ask<'a> {
    Ask {
        broadcaster,
        command,
        payload: Bytes::from_static(payload.as_bytes()),
        principal: "alice",
        names: Names::NONE,
    }
}

/// Alice asks `alerts` at this time; what becomes of it is heard later.
fn asked_at(commands: &Commands, now: Instant) -> Result<Receiver<Outcome>, Failure> {
    asked_by("alice", commands, now)
}

fn asked_by(principal: &str, commands: &Commands, now: Instant) -> Result<Receiver<Outcome>, Failure> {
    let (answered, answer) = channel();
    let ask = Ask { principal, ..ask("alerts", "acknowledge", "{\"id\":7}") };
    commands.submit(ask, &|_| true, Box::new(move |outcome| _ = answered.send(outcome)), now)?;
    Ok(answer)
}

fn reason(answer: &Receiver<Outcome>) -> Reason {
    answer.try_recv().expect("it is answered").unwrap_err().reason
}

fn ok() -> Outcome {
    Ok(Bytes::from_static(b"true"))
}

#[test]
fn what_is_wrong_is_refused_at_once_and_the_text_says_what_is_right() {
    let hub = hub();
    let _seat = commands(&hub, "alerts").open(&Arc::default());
    let may = |permission: &str| permission != ".reset" && permission != ".refresh";
    let large = "1".repeat(MAX_PAYLOAD_BYTES + 1).leak();
    let all = "alerts has no command \"nope\"; you may give it acknowledge, list";
    for (broadcaster, command, payload, reason, pointer, text) in [
        (
            "nope",
            "list",
            "{}",
            Reason::UnknownBroadcaster,
            "",
            "no broadcaster \"nope\" takes commands; you may ask alerts",
        ),
        (
            "ticks",
            "list",
            "{}",
            Reason::UnknownBroadcaster,
            "",
            "no broadcaster \"ticks\" takes commands; you may ask alerts",
        ),
        ("alerts", "nope", "{}", Reason::UnknownCommand, "", all),
        (
            "alerts",
            "reset",
            "{}",
            Reason::Forbidden,
            "",
            "this command needs the permission \".reset\", which you do not have",
        ),
        ("alerts", "list", large, Reason::TooLarge, "", "the payload of a command has at most 65536 bytes"),
        ("alerts", "list", "{", Reason::Invalid, "", "the payload is not JSON"),
        ("alerts", "list", "{}", Reason::Invalid, "", ""),
        ("alerts", "list", "", Reason::Invalid, "", ""),
        ("alerts", "list", "{\"id\":\"x\"}", Reason::Invalid, "/id", ""),
    ] {
        let never = Box::new(|outcome| panic!("answered although refused: {outcome:?}"));
        let failure = hub.command(ask(broadcaster, command, payload), may, never).unwrap_err();
        assert_eq!((failure.reason, &*failure.pointer), (reason, pointer), "{failure:?}");
        assert!(failure.message.starts_with(text), "{failure:?}");
    }
    let never = Box::new(|outcome| panic!("answered although refused: {outcome:?}"));
    let failure = hub.command(ask("bars", "refresh", "{\"id\":1}"), |_| true, never).unwrap_err();
    assert_eq!(failure.reason, Reason::Unavailable, "nobody is in office");
    let never = Box::new(|outcome| panic!("answered although refused: {outcome:?}"));
    let failure = hub.command(ask("\n".repeat(100).leak(), "x", "{}"), |_| false, never).unwrap_err();
    assert_eq!(failure.message, format!("no broadcaster \"{}\" takes commands; you may ask none", "\\n".repeat(64)));
}

#[test]
fn an_answer_reaches_whoever_asked_and_the_broadcaster_is_told_all_of_it() {
    let hub = hub();
    let (commands, signal, now) = (commands(&hub, "alerts"), Arc::new(Signal::default()), Instant::now());
    let seat = commands.open(&signal);
    assert_eq!(signal.take(), Wakes::default());
    let (first, second) = (asked_at(&commands, now).unwrap(), asked_at(&commands, now).unwrap());
    assert!(signal.take().has(Wakes::COMMAND));
    let asked = commands.take(seat, now + Duration::from_secs(1));
    let told: Vec<_> = asked.iter().map(|one| (&*one.command, &*one.principal, &*one.payload, one.left)).collect();
    let left = DEADLINE - Duration::from_secs(1);
    assert_eq!(told, [("acknowledge", "alice", b"{\"id\":7}".as_slice(), left); 2]);
    assert!(commands.take(seat, now).is_empty(), "it is told once");
    let failure = Failure::new(Reason::Conflict, "acknowledged by bob");
    assert_eq!(commands.reply(seat, asked[1].request, Err(failure.clone()), now), Ok(()));
    assert_eq!(commands.reply(seat, asked[0].request, ok(), now), Ok(()));
    assert_eq!((first.recv().unwrap(), second.recv().unwrap()), (ok(), Err(failure)));
    assert!(first.recv().is_err() && second.recv().is_err(), "and never again");
}

#[test]
fn the_deadline_holds_at_its_edge_whoever_looks_first() {
    let hub = hub();
    let (commands, now) = (commands(&hub, "alerts"), Instant::now());
    let seat = commands.open(&Arc::default());
    let tell = |now| commands.take(seat, now).first().map(|asked| asked.request);
    let due = now + DEADLINE;

    let answer = asked_at(&commands, now).unwrap();
    let request = tell(now).unwrap();
    assert_eq!(hub.expire_commands(due - NANOSECOND), Some(due));
    assert_eq!(commands.reply(seat, request, ok(), due - NANOSECOND), Ok(()));
    assert_eq!(answer.try_recv(), Ok(ok()));
    assert_eq!(hub.expire_commands(due), None, "nothing waits");

    let answer = asked_at(&commands, now).unwrap();
    let request = tell(now).unwrap();
    assert_eq!(commands.reply(seat, request, ok(), due), Err(Refused::Late));
    assert_eq!(reason(&answer), Reason::Deadline);

    let (answer, newer) = (asked_at(&commands, now).unwrap(), asked_at(&commands, now + NANOSECOND).unwrap());
    let request = tell(now).unwrap();
    assert_eq!(hub.expire_commands(due), Some(due + NANOSECOND));
    assert_eq!(reason(&answer), Reason::Deadline);
    assert!(newer.try_recv().is_err());
    assert_eq!(commands.reply(seat, request, ok(), due), Err(Refused::Late));

    assert_eq!(hub.expire_commands(due + NANOSECOND), None);
    let untold = asked_at(&commands, now).unwrap();
    assert_eq!(tell(due), None, "what nobody waits for is not told");
    assert_eq!(reason(&untold), Reason::Deadline);
}

#[test]
fn the_deadlines_are_waited_for_from_the_first_command_on() {
    let hub = hub();
    let (commands, signal) = (commands(&hub, "alerts"), hub.command_deadlines().clone());
    let seat = commands.open(&Arc::default());
    assert_eq!(signal.take(), Wakes::default());
    let _first = asked_at(&commands, Instant::now()).unwrap();
    assert_ne!(signal.take(), Wakes::default());
    let _second = asked_at(&commands, Instant::now()).unwrap();
    assert_eq!(signal.take(), Wakes::default(), "the first one's deadline comes first");
    commands.close(seat);
    commands.open(&Arc::default());
    let _third = asked_at(&commands, Instant::now()).unwrap();
    assert_ne!(signal.take(), Wakes::default());
}

#[test]
fn so_many_may_wait_and_no_more_until_one_is_answered() {
    let hub = hub();
    let (commands, now) = (commands(&hub, "alerts"), Instant::now());
    let seat = commands.open(&Arc::default());
    let ask = |number: usize| asked_by(&format!("user-{}", number / MAX_OPEN_OF_ONE), &commands, now);
    let waiting: Vec<_> = (0..MAX_OPEN).map(|number| ask(number).unwrap()).collect();
    let asked = commands.take(seat, now);
    assert_eq!(asked.len(), MAX_OPEN);
    assert_eq!(asked_at(&commands, now).unwrap_err().reason, Reason::Full, "those that were told count, too");
    commands.reply(seat, asked[0].request, ok(), now).unwrap();
    let _one_more = asked_at(&commands, now).unwrap();
    assert_eq!(asked_at(&commands, now).unwrap_err().reason, Reason::Full);
    assert_eq!(waiting.iter().filter(|answer| answer.try_recv().is_ok()).count(), 1);
}

#[test]
fn one_principal_has_so_many_places_and_leaves_the_others_theirs() {
    let hub = hub();
    let (commands, now) = (commands(&hub, "alerts"), Instant::now());
    let seat = commands.open(&Arc::default());
    let waiting: Vec<_> = (0..MAX_OPEN_OF_ONE).map(|_| asked_at(&commands, now).unwrap()).collect();
    let refused = asked_at(&commands, now).unwrap_err();
    assert_eq!(refused.reason, Reason::Full);
    assert_eq!(refused.message, "64 of your commands wait for the broadcaster already; try again later");
    assert!(asked_by("service:alice", &commands, now).is_ok(), "a service of the same name is another");
    let asked = commands.take(seat, now);
    commands.reply(seat, asked[0].request, ok(), now).unwrap();
    assert!(asked_at(&commands, now).is_ok() && asked_at(&commands, now).is_err());
    drop(waiting);
}

#[test]
fn payloads_count_until_they_were_told_and_none_is_taken_when_memory_is_full() {
    let hub = hub();
    let (commands, now) = (commands(&hub, "alerts"), Instant::now());
    let seat = commands.open(&Arc::default());
    let _answer = asked_at(&commands, now).unwrap();
    assert_eq!(hub.memory().used(), "{\"id\":7}".len());
    hub.memory().set_bound(1);
    assert_eq!(asked_at(&commands, now).unwrap_err().reason, Reason::Full);
    drop(commands.take(seat, now));
    assert_eq!(hub.memory().used(), 0);
}

#[test]
fn answers_that_nobody_waits_for_are_refused_each_with_its_reason() {
    let hub = hub();
    let (alerts, bars, now) = (commands(&hub, "alerts"), commands(&hub, "bars"), Instant::now());
    let (seat, other) = (alerts.open(&Arc::default()), bars.open(&Arc::default()));
    let answer = asked_at(&alerts, now).unwrap();
    let guessed = alerts.lock().asked;
    assert_eq!(alerts.reply(seat, guessed, ok(), now), Err(Refused::Foreign), "it was not told this yet");
    let request = alerts.take(seat, now)[0].request;
    for (commands, seat, request, refused) in [
        (&bars, other, request, Refused::Foreign),
        (&alerts, seat, 0, Refused::Foreign),
        (&alerts, seat, request + 1, Refused::Foreign),
        (&alerts, seat, request - 1, Refused::Foreign),
        (&alerts, seat, u64::MAX, Refused::Foreign),
        (&alerts, Seat(2), request, Refused::Closed),
    ] {
        assert_eq!(commands.reply(seat, request, ok(), now), Err(refused), "{request}");
    }
    assert!(answer.try_recv().is_err());
    assert_eq!(alerts.reply(seat, request, ok(), now), Ok(()));
    assert_eq!(alerts.reply(seat, request, ok(), now), Err(Refused::Double));
    let next = alerts.open(&Arc::default());
    assert_eq!(alerts.reply(seat, request, ok(), now), Err(Refused::Closed));
    assert_eq!(alerts.reply(next, request, ok(), now), Err(Refused::Foreign), "another instance was asked");
}

#[test]
fn a_second_answer_is_known_as_such_for_as_many_as_may_be_open() {
    let hub = hub();
    let (commands, now) = (commands(&hub, "alerts"), Instant::now());
    let seat = commands.open(&Arc::default());
    let mut requests = Vec::new();
    for _ in 0..=MAX_OPEN {
        asked_at(&commands, now).unwrap();
        let request = commands.take(seat, now)[0].request;
        commands.reply(seat, request, Err(Failure::new(Reason::Failed, "no")), now).unwrap_or_default();
        requests.push(request);
    }
    assert_eq!(commands.reply(seat, requests[0], ok(), now), Err(Refused::Late), "forgotten");
    assert_eq!(commands.reply(seat, requests[1], ok(), now), Err(Refused::Double));
}

#[test]
fn what_is_in_flight_when_the_instance_ends_is_unavailable() {
    let hub = hub();
    let (commands, now) = (commands(&hub, "alerts"), Instant::now());
    let seat = commands.open(&Arc::default());
    let told = asked_at(&commands, now).unwrap();
    let request = commands.take(seat, now)[0].request;
    let untold = asked_at(&commands, now).unwrap();
    commands.close(seat);
    assert_eq!((reason(&told), reason(&untold)), (Reason::Unavailable, Reason::Unavailable));
    assert_eq!(commands.reply(seat, request, ok(), now), Err(Refused::Closed));
    assert_eq!(asked_at(&commands, now).unwrap_err().reason, Reason::Unavailable);
    assert_eq!(hub.expire_commands(now + DEADLINE), None);
}

#[test]
fn a_successor_takes_over_what_waits_and_nothing_that_was_told() {
    let hub = hub();
    let (commands, now) = (commands(&hub, "alerts"), Instant::now());
    let old = commands.open(&Arc::default());
    let told = asked_at(&commands, now).unwrap();
    let before = commands.take(old, now)[0].request;
    let waiting = asked_at(&commands, now).unwrap();
    let signal = Arc::new(Signal::default());
    let new = commands.open(&signal);
    assert_eq!(reason(&told), Reason::Unavailable);
    assert!(signal.take().has(Wakes::COMMAND), "there is something to look at");
    assert!(commands.take(old, now).is_empty() && waiting.try_recv().is_err());
    commands.close(old);
    let asked = commands.take(new, now);
    assert_eq!(commands.reply(new, before, ok(), now), Err(Refused::Foreign));
    assert_eq!(commands.reply(new, asked[0].request, ok(), now), Ok(()));
    assert_eq!((asked.len(), waiting.try_recv()), (1, Ok(ok())));
}

#[test]
fn what_was_checked_by_another_declaration_is_not_told() {
    let hub = hub();
    let (commands, now) = (commands(&hub, "alerts"), Instant::now());
    let seat = commands.open(&Arc::default());
    let told = asked_at(&commands, now).unwrap();
    let request = commands.take(seat, now)[0].request;
    let untold = asked_at(&commands, now).unwrap();
    hub.declare("alerts", taking(&["acknowledge", "list", "reset"]));
    assert!(untold.try_recv().is_err(), "the same declaration changes nothing");
    hub.declare("alerts", taking(&["acknowledge"]));
    assert_eq!(reason(&untold), Reason::Unavailable);
    assert!(commands.take(seat, now).is_empty());
    assert_eq!(commands.reply(seat, request, ok(), now), Ok(()), "who was told may answer");
    assert_eq!(told.try_recv(), Ok(ok()));
    let between = |permission: &str| {
        hub.declare("alerts", taking(&["acknowledge", "more"]));
        permission == ".acknowledge"
    };
    let never = Box::new(|outcome| panic!("answered although refused: {outcome:?}"));
    let failure = hub.command(ask("alerts", "acknowledge", "{\"id\":1}"), between, never).unwrap_err();
    assert_eq!(failure.reason, Reason::Unavailable, "the declaration changed while it was checked");
}

#[test]
fn a_broadcaster_that_is_removed_answers_what_was_open() {
    let hub = hub();
    let commands = commands(&hub, "alerts");
    commands.open(&Arc::default());
    let answer = asked_at(&commands, Instant::now()).unwrap();
    hub.remove("alerts");
    assert_eq!(reason(&answer), Reason::Unavailable);
    let never = Box::new(|outcome| panic!("answered although refused: {outcome:?}"));
    let failure = hub.command(ask("alerts", "list", "{}"), |_| true, never).unwrap_err();
    assert_eq!(failure.reason, Reason::UnknownBroadcaster);
}

/// What the log says while something is done.
fn logged(act: impl FnOnce()) -> String {
    // Where there is but one subscriber, a line that another thread says first is asked for in that thread alone, and silent for ever.
    static ANOTHER: LazyLock<tracing::Dispatch> =
        LazyLock::new(|| tracing::Dispatch::new(tracing_subscriber::registry()));
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    LazyLock::force(&ANOTHER);
    let lines = Lines::default();
    let out = lines.clone();
    let subscriber = tracing_subscriber::fmt().without_time().with_ansi(false);
    let subscriber = subscriber.with_max_level(tracing::Level::TRACE).with_writer(move || out.clone()).finish();
    tracing::subscriber::with_default(subscriber, act);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_log_tells_who_asked_for_what_and_how_it_ended_and_nothing_else() {
    let hub = hub();
    let commands = commands(&hub, "alerts");
    let seat = commands.open(&Arc::default());
    let secret = "{\"id\":7,\"reason\":\"se-cret\"}";
    let text = logged(|| {
        hub.command(ask("alerts", "acknowledge", secret), |_| true, Box::new(drop)).unwrap();
        let request = commands.take(seat, Instant::now())[0].request;
        commands.reply(seat, request, Ok(Bytes::from_static(b"\"se-cret\"")), Instant::now()).unwrap();
        hub.command(ask("alerts", "acknowledge", secret), |_| true, Box::new(drop)).unwrap();
        let request = commands.take(seat, Instant::now())[0].request;
        let failure = Failure::new(Reason::Conflict, "se-cret");
        commands.reply(seat, request, Err(failure), Instant::now()).unwrap();
        hub.command(ask("alerts", "reset", secret), |_| false, Box::new(drop)).unwrap_err();
        hub.command(ask("alerts", "a\nb", secret), |_| true, Box::new(drop)).unwrap_err();
    });
    let line = |command: &str, outcome: &str| {
        format!(
            "INFO audit: command principal=\"alice\" broadcaster=\"alerts\" command=\"{command}\" outcome=\"{outcome}\""
        )
    };
    let expected = [
        line("acknowledge", "ok"),
        line("acknowledge", "conflict"),
        line("reset", "forbidden"),
        line("a\\\\nb", "unknown_command"),
    ];
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert_eq!(lines, expected);
}

#[test]
fn ten_thousand_from_many_threads_are_answered_exactly_once_each() {
    const CALLERS: u64 = 8;
    const EACH: u64 = 1250;
    let hub = hub();
    let commands = commands(&hub, "alerts");
    let (answers, ended) = (Arc::new(AtomicU64::new(0)), AtomicU64::new(0));
    // Asks until it is not refused for want of room or of somebody in office.
    let ask_once = || loop {
        let count = answers.clone();
        let counted = Box::new(move |_| _ = count.fetch_add(1, Ordering::Relaxed));
        match hub.command(ask("alerts", "acknowledge", "{\"id\":7}"), |_| true, counted) {
            Ok(()) => return,
            Err(failure) => assert!(matches!(failure.reason, Reason::Full | Reason::Unavailable), "{failure:?}"),
        }
        std::thread::yield_now();
    };
    let reply_to_all = |seat: Seat, asked: &[Asked]| {
        asked.iter().filter(|one| commands.reply(seat, one.request, ok(), Instant::now()).is_ok()).count()
    };
    let taken = std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                (0..EACH).for_each(|_| ask_once());
                ended.fetch_add(1, Ordering::Relaxed);
            });
        }
        // Instances come and go, and each answers everything from two threads.
        let mut taken = 0;
        while ended.load(Ordering::Relaxed) < CALLERS || hub.expire_commands(Instant::now()).is_some() {
            let seat = commands.open(&Arc::default());
            for _ in 0..50 {
                let asked = commands.take(seat, Instant::now());
                taken += std::thread::scope(|both| {
                    let other = both.spawn(|| reply_to_all(seat, &asked));
                    reply_to_all(seat, &asked) + other.join().unwrap()
                });
            }
            if fastrand::bool() {
                commands.take(seat, Instant::now());
                commands.close(seat);
            }
        }
        taken as u64
    });
    assert_eq!(answers.load(Ordering::Relaxed), CALLERS * EACH);
    assert!(taken > 0 && taken <= CALLERS * EACH, "{taken}");
}

/// What may happen next.
#[derive(Clone, Debug)]
enum Step {
    Ask,
    Take,
    /// By the newest instance or one before, to one of the last requests, told or not.
    Reply {
        seats_ago: u64,
        requests_ago: u64,
    },
    Pass(Duration),
    Expire,
    Open,
    Close {
        seats_ago: u64,
    },
    Declare(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Ask),
        3 => Just(Step::Take),
        6 => (0..2_u64, 0..12_u64).prop_map(|(seats_ago, requests_ago)| Step::Reply { seats_ago, requests_ago }),
        2 => (0..5000_u64).prop_map(|millis| Step::Pass(Duration::from_millis(millis))),
        1 => Just(Step::Expire),
        1 => Just(Step::Open),
        1 => (0..2_u64).prop_map(|seats_ago| Step::Close { seats_ago }),
        1 => (0..2_usize).prop_map(Step::Declare),
    ]
}

/// What a plain list would do.
#[derive(Default)]
struct Model {
    /// Number, seat that was told, when it is due, and where the answer must arrive.
    open: Vec<(u64, Option<u64>, Instant, Receiver<Outcome>)>,
    seats: u64,
    is_held: bool,
    declared: usize,
}

impl Model {
    /// Those that this is so of have this answer now; the others have none.
    fn end(&mut self, expected: &Outcome, is_so: impl Fn(u64, Option<u64>, Instant) -> bool) -> usize {
        let (ended, open) = self.open.drain(..).partition(|(number, told, due, _)| is_so(*number, *told, *due));
        self.open = open;
        let ended: Vec<_> = ended;
        for (number, _, _, answer) in &ended {
            let outcome = answer.try_recv().unwrap_or_else(|_| panic!("{number} has no answer"));
            assert_eq!(
                outcome.as_ref().map_err(|failure| failure.reason),
                expected.as_ref().map_err(|failure| failure.reason)
            );
        }
        assert!(self.open.iter().all(|(_, _, _, answer)| answer.try_recv().is_err()), "too early");
        ended.len()
    }
}

fn failed(reason: Reason) -> Outcome {
    Err(Failure::new(reason, ""))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_is_what_a_plain_list_would_do(steps in prop::collection::vec(step(), 1..120)) {
        let hub = hub();
        let (commands, mut now, mut model) = (commands(&hub, "alerts"), Instant::now(), Model::default());
        let declarations = [["acknowledge", "list", "reset"].as_slice(), &["acknowledge"]];
        for step in steps {
            match step {
                Step::Ask => match asked_at(&commands, now) {
                    Ok(answer) => {
                        assert!(model.is_held);
                        model.open.push((commands.lock().asked, None, now + DEADLINE, answer));
                    }
                    Err(failure) => assert_eq!((failure.reason, model.is_held), (Reason::Unavailable, false)),
                },
                Step::Take => {
                    let told: Vec<u64> = commands.take(Seat(model.seats), now).iter().map(|one| one.request).collect();
                    model.end(&failed(Reason::Deadline), |_, _, due| due <= now);
                    let untold = model.open.iter_mut().filter(|(_, told, ..)| told.is_none() && model.is_held);
                    let expected: Vec<u64> = untold.map(|one| {
                        one.1 = Some(model.seats);
                        one.0
                    }).collect();
                    assert_eq!(told, expected);
                }
                Step::Reply { seats_ago, requests_ago } => {
                    let seat = model.seats.wrapping_sub(seats_ago);
                    let request = commands.lock().asked - requests_ago;
                    let replied = commands.reply(Seat(seat), request, ok(), now);
                    let is_asked = |number, told: Option<u64>| model.is_held && seats_ago == 0 && number == request && told == Some(seat);
                    let known = model.open.iter().find(|(number, told, ..)| is_asked(*number, *told)).map(|one| one.2);
                    let is_known = |number, _, _| known.is_some() && number == request;
                    match known {
                        Some(due) if due > now => {
                            assert_eq!(replied, Ok(()));
                            model.end(&ok(), is_known);
                        }
                        Some(_) => {
                            assert_eq!(replied, Err(Refused::Late));
                            model.end(&failed(Reason::Deadline), is_known);
                        }
                        None => assert!(replied.is_err()),
                    }
                }
                Step::Pass(time) => now += time,
                Step::Expire => {
                    let next = hub.expire_commands(now);
                    model.end(&failed(Reason::Deadline), |_, _, due| due <= now);
                    assert_eq!(next, model.open.iter().map(|(_, _, due, _)| *due).min());
                }
                Step::Open => {
                    commands.open(&Arc::default());
                    (model.seats, model.is_held) = (model.seats + 1, true);
                    model.end(&failed(Reason::Unavailable), |_, told, _| told.is_some());
                }
                Step::Close { seats_ago } => {
                    commands.close(Seat(model.seats.wrapping_sub(seats_ago)));
                    if seats_ago == 0 && model.is_held {
                        model.is_held = false;
                        model.end(&failed(Reason::Unavailable), |_, _, _| true);
                    }
                }
                Step::Declare(which) => {
                    hub.declare("alerts", taking(declarations[which]));
                    let changes = std::mem::replace(&mut model.declared, which) != which;
                    model.end(&failed(Reason::Unavailable), |_, told, _| changes && told.is_none());
                }
            }
        }
        hub.remove("alerts");
        model.end(&failed(Reason::Unavailable), |_, _, _| true);
    }
}
