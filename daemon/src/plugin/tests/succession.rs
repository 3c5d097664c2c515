//! Of two instances of one broadcaster only the one in office touches the stream, whatever the other one does late.

use super::broadcaster::Order;
use super::*;

#[test]
fn one_whose_start_returns_too_late_touches_nothing_of_its_successor() {
    let mut house = House::new();
    house.supervisor.config.timing.hand_over = Duration::from_secs(1);
    house.supervisor.config.timing.stop = Duration::from_millis(50);
    house.build("late", &[]);
    let release = house.dir.path().join("release");
    let mode = format!("start at {}", release.display());
    house.reload(&[listening(wanted("a", "late", &mode), &["in"])]).unwrap();
    let old = house.supervisor.running.lock().unwrap()["a"].broadcaster.shared().clone();
    house.reload(&[listening(wanted("a", "late", "demand"), &["in"])]).unwrap();
    house.input("x");
    until("the successor works", || house.numbers("a") == [1]);
    assert_eq!(house.shown("a"), r#"{"n":1}"#);
    fs::write(release, "").unwrap();
    until("the late one has ended", || Arc::strong_count(&old) == 1);
    assert_eq!(house.shown("a"), r#"{"n":1}"#, "the records are the successor's");
    assert_eq!(house.stream("a").source(), Source::Running);
    let _subscribed = house.subscribe("a");
    until("the successor is told of demand", || !house.said("a", "demand").is_empty());
}

#[test]
fn one_that_rests_does_not_start_again_once_it_handed_over() {
    let house = House::new();
    house.build("rests", &[]);
    house.reload(&[listening(wanted("a", "rests", ""), &["in"])]).unwrap();
    house.input("once"); // panics the first time
    until("it failed", || house.phase("a") == Phase::BackingOff);
    let ask = |order: Order| {
        house.supervisor.running.lock().unwrap()["a"]
            .broadcaster
            .ask(order, "an answer", Duration::from_secs(20))
            .unwrap()
    };
    assert!(ask(Order::HandOver).is_some());
    house.clock.advance(Duration::from_secs(60));
    for _ in 0..2 {
        ask(Order::HandOver); // the second is answered after a whole turn in which it could have started
    }
    assert_eq!((house.phase("a"), house.supervisor.status_of("a").unwrap().restarts), (Phase::Quiet, 0));
    ask(Order::Resume);
    until("it runs", || house.phase("a") == Phase::Running);
    assert_eq!(house.supervisor.status_of("a").unwrap().restarts, 1);
}

#[test]
fn one_that_was_silenced_does_not_start_again_before_it_may() {
    let house = House::new();
    house.build("silent", &[]);
    house.reload(&[listening(wanted("a", "silent", ""), &["in"])]).unwrap();
    house.input("once");
    until("it failed", || house.phase("a") == Phase::BackingOff);
    house.supervisor.running.lock().unwrap()["a"].broadcaster.silence();
    let shared = house.supervisor.running.lock().unwrap()["a"].broadcaster.shared().clone();
    assert!(shared.lock().check_office().is_err());
    house.clock.advance(Duration::from_secs(60));
    let ask = |order: Order| {
        house.supervisor.running.lock().unwrap()["a"].broadcaster.ask(order, "an answer", Duration::from_secs(20))
    };
    for _ in 0..2 {
        ask(Order::Reconfigure("{}".into())).unwrap_err(); // it does not run
    }
    assert_eq!((house.phase("a"), house.supervisor.status_of("a").unwrap().restarts), (Phase::BackingOff, 0));
    ask(Order::Resume).unwrap();
    until("it runs", || house.phase("a") == Phase::Running);
}

#[test]
fn records_stay_when_telling_them_anew_fails() {
    let house = House::new();
    house.build("shy", &[]);
    house.reload(&[listening(wanted("a", "shy", "keep back"), &["in"])]).unwrap();
    house.input("x");
    house.input("once"); // panics the first time
    until("it failed", || house.phase("a") == Phase::BackingOff);
    house.clock.advance(Duration::from_millis(100));
    until("it failed to tell its records", || house.supervisor.status_of("a").unwrap().errors == 2);
    assert_eq!(house.shown("a"), r#"{"n":2}"#);
    until("it runs", || {
        house.tick(Duration::from_secs(1));
        house.phase("a") == Phase::Running
    });
    assert_eq!(house.shown("a"), r#"{"n":2}"#);
}
