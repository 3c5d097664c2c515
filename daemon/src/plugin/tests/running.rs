//! Broadcasters of a real library: they publish, fail, hang, are replaced, and go on where they were.

use super::*;

#[test]
fn a_loaded_plugin_publishes_into_the_hub() {
    let house = House::new();
    house.build("ticker", &[]);
    assert_eq!(house.reload(&[wanted("a", "ticker", "tick")]), Ok(vec![Change::Start("a".into())]));
    assert_eq!(house.stream("a").source(), Source::Running);
    for n in 1..=3 {
        house.clock.advance(Duration::from_secs(1));
        until("the timer's event is there", || house.numbers("a").len() == n);
    }
    assert_eq!(house.numbers("a"), [1, 2, 3]);
    assert_eq!(house.stream("a").figures().records, 1);
    house.supervisor.stop();
    assert_eq!(house.stream("a").source(), Source::Absent("the broadcaster was stopped".into()));
}

#[test]
fn a_failed_one_goes_on_from_its_checkpoint_and_repeats_nothing() {
    let house = House::new();
    house.build("worker", &[]);
    house.reload(&[listening(wanted("a", "worker", ""), &["in"])]).unwrap();
    let heard = house.subscribe("a");
    for what in ["x", "x"] {
        house.input(what);
    }
    until("both are handled", || house.numbers("a") == [1, 2]);
    house.clock.advance(Duration::from_secs(1)); // a checkpoint is due
    until("the inputs are let go", || house.stream("in").figures().input_bytes == 0);
    house.input("x");
    until("the third is handled", || house.numbers("a") == [1, 2, 3]);
    house.input("once"); // panics the first time
    until("it failed", || house.phase("a") == Phase::BackingOff);
    assert!(matches!(house.stream("a").source(), Source::Absent(why) if &*why == "starts again after a failure"));
    house.input("x");
    assert_eq!(house.shown("a"), r#"{"n":3}"#);
    house.clock.advance(Duration::from_millis(100));
    until("it runs and went on", || heard.numbers().last() == Some(&5));
    until("it runs", || house.phase("a") == Phase::Running);
    let status = house.supervisor.status_of("a").unwrap();
    assert_eq!((status.restarts, status.errors, status.is_running), (1, 1, true));
    // The first life published 1, 2 and 3; the second began at the checkpoint (2), was fed the third input again, whose
    // event the hub had, and went on.
    assert_eq!(heard.numbers(), [1, 2, 3, 4, 5]);
    assert_eq!(house.shown("a"), r#"{"n":5}"#, "its records are as new as what was heard");
}

#[test]
fn one_that_always_fails_is_quarantined_and_blocks_nobody() {
    let house = House::new();
    house.build("sick", &[]);
    house.reload(&[listening(wanted("a", "sick", ""), &["in"])]).unwrap();
    house.input("poison");
    for failures in 1..=5 {
        until("it failed once more", || house.has_failed("a", failures));
        house.clock.advance(Duration::from_secs(4));
    }
    until("it is quarantined", || house.phase("a") == Phase::Quarantined);
    let why = "quarantined after 5 failures in 60s";
    assert_eq!(house.stream("a").source(), Source::Absent(why.into()));
    let figures = house.stream("in").figures();
    assert_eq!((figures.listeners, figures.input_bytes), (0, 0), "nothing is kept for it");
    let status = house.supervisor.status_of("a").unwrap();
    assert_eq!((status.last_error.as_deref(), status.restarts), (Some("poisoned"), 4));
    house.supervisor.stop();
}

#[test]
fn one_that_cannot_try_again_keeps_no_reload_from_the_others() {
    let house = House::new();
    house.build("sick", &[]);
    let sick = listening(wanted("a", "sick", "only once"), &["in"]);
    house.reload(std::slice::from_ref(&sick)).unwrap();
    house.input("poison");
    until("it is quarantined", || {
        house.tick(Duration::from_secs(4));
        house.phase("a") == Phase::Quarantined
    });
    let changes = house.reload(&[sick.clone(), wanted("b", "sick", "tick")]);
    assert_eq!(changes, Ok(vec![Change::Retry("a".into()), Change::Start("b".into())]));
    assert_eq!((house.phase("a"), house.phase("b")), (Phase::Quarantined, Phase::Running));
    let problems = house.reload(&[Wanted { settings: json!({"mode": "only once, again"}), ..sick }]).unwrap_err();
    assert_eq!(problems[0].message, "one was made already", "what somebody changed is refused as ever");
}

#[test]
fn started_twice_it_runs_once_and_stopped_twice_it_stays_stopped() {
    let house = House::new();
    house.build("twice", &[]);
    let one = wanted("a", "twice", "tick");
    assert_eq!(house.reload(std::slice::from_ref(&one)), Ok(vec![Change::Start("a".into())]));
    let shared = house.supervisor.running.lock().unwrap()["a"].broadcaster.shared().clone();
    assert_eq!(house.reload(std::slice::from_ref(&one)), Ok(vec![Change::Keep("a".into())]));
    house.clock.advance(Duration::from_secs(1));
    until("it ticks", || house.numbers("a") == [1]);
    let now = house.supervisor.running.lock().unwrap()["a"].broadcaster.shared().clone();
    assert!(Arc::ptr_eq(&shared, &now), "there is no second one");
    drop((shared, now));
    for _ in 0..2 {
        house.supervisor.stop();
        assert_eq!(house.phase("a"), Phase::Stopped);
        assert_eq!(house.stream("a").source(), Source::Absent("the broadcaster was stopped".into()));
    }
    assert_eq!(house.reload(&[one]), Ok(vec![Change::Start("a".into())]));
    house.clock.advance(Duration::from_secs(1));
    until("it went on", || house.numbers("a").last() == Some(&2));
    assert_eq!(house.reload(&[]), Ok(vec![Change::Stop("a".into())]));
    assert_eq!(house.reload(&[]), Ok(vec![]));
    house.supervisor.stop();
}

#[test]
fn one_that_hangs_is_seen_left_behind_and_refused_afterwards() {
    let mut house = House::new();
    house.supervisor.config.timing.stop = Duration::from_millis(50);
    house.build("stuck", &[]);
    house.reload(&[listening(wanted("a", "stuck", ""), &["in"])]).unwrap();
    let release = house.dir.path().join("release");
    house.input(&format!("hang {}", release.display()));
    let shared = house.supervisor.running.lock().unwrap()["a"].broadcaster.shared().clone();
    let port = shared.lock().port.as_ref().unwrap().0.clone();
    until("the call hangs", || port.called_at().is_some());
    assert_eq!(house.phase("a"), Phase::Running);
    house.clock.advance(house.supervisor.config.timing.stuck_call);
    assert_eq!(house.phase("a"), Phase::Running, "at the bound it may still return");
    house.clock.advance(Duration::from_nanos(1));
    assert_eq!(house.phase("a"), Phase::Stuck);
    house.supervisor.stop();
    assert_eq!(house.stream("in").figures().listeners, 0);
    assert_eq!(house.supervisor.status_of("a").unwrap().threads_abandoned, 1);
    fs::write(release, "").unwrap();
    until("the late call returned and its thread ended", || Arc::strong_count(&shared) == 2); // here and in what is shown
    assert_eq!(house.numbers("a"), [0; 0], "what it published late was refused");
    assert!(!house.dir.path().join("state/a.state").exists(), "and nothing of it was saved");
}

#[test]
fn a_call_through_a_stale_handle_is_refused() {
    let house = House::new();
    house.build("ghost", &[]);
    house.reload(&[wanted("a", "ghost", "")]).unwrap();
    let shared = house.supervisor.running.lock().unwrap()["a"].broadcaster.shared().clone();
    let handle = shared.lock().port.as_ref().unwrap().1;
    assert!(handles::find(handle).is_some());
    house.reload(&[listening(wanted("b", "ghost", ""), &["in"])]).unwrap();
    assert!(handles::find(handle).is_none(), "its place is free again");
    assert!(house.hub.stream("a").is_none(), "a removed broadcaster's stream is removed");
    house.input("stale");
    until("it told what the stale handle answered", || !house.said("b", "said").is_empty());
    assert_eq!(house.said("b", "said"), [json!({"stale": abi_closed()})]);
}

fn abi_closed() -> i32 {
    broadcastd_plugin_api::abi::E_CLOSED
}

#[test]
fn a_changed_file_takes_over_state_and_inputs() {
    let house = House::new();
    house.build("swap", &[]);
    let one = listening(wanted("a", "swap", ""), &["in"]);
    house.reload(std::slice::from_ref(&one)).unwrap();
    assert_eq!(house.reload(std::slice::from_ref(&one)), Ok(vec![Change::Keep("a".into())]));
    house.input("x");
    house.input("x");
    until("both are handled", || house.numbers("a").last() == Some(&2));
    house.build("swap", &["VERSION=\"2.0.0\""]);
    assert_eq!(house.reload(std::slice::from_ref(&one)), Ok(vec![Change::Replace("a".into())]));
    assert_eq!(house.supervisor.status_of("a").unwrap().version, "2.0.0");
    assert!(!house.dir.path().join("state/a.state").exists(), "the old one does not write into its successor's file");
    house.input("x");
    until("the new one went on", || house.numbers("a").last() == Some(&3));
    assert_eq!(house.stream("in").figures().listeners, 2, "its inputs are kept while it is on probation");
    house.tick(Duration::from_secs(10));
    house.supervisor.watch();
    assert_eq!(house.stream("in").figures().listeners, 1);
}

#[test]
fn a_replacement_that_refuses_the_state_leaves_the_old_one_running() {
    let house = House::new();
    house.build("loyal", &[]);
    let one = listening(wanted("a", "loyal", ""), &["in"]);
    house.reload(std::slice::from_ref(&one)).unwrap();
    house.input("x");
    until("it is handled", || house.numbers("a") == [1]);
    house.build("loyal", &["VERSION=\"2.0.0\"", "REFUSE_STATE"]);
    let problems = house.reload(&[one, wanted("b", "loyal", "")]).unwrap_err();
    assert_eq!(problems[0].message, "it does not take over the state: state of version 1 is too old");
    assert_eq!((problems[0].broadcaster.as_str(), problems[0].pointer.as_str()), ("a", "/plugin"));
    assert!(house.supervisor.status_of("b").is_none() && house.hub.stream("b").is_none(), "nothing else came either");
    house.input("x");
    until("the old one goes on", || house.numbers("a") == [1, 2]);
    assert_eq!(house.supervisor.status_of("a").unwrap().version, "1.0.0");
}

#[test]
fn settings_are_taken_in_place_or_refused_at_their_line() {
    let house = House::new();
    house.build("plastic", &[]);
    house.reload(&[wanted("a", "plastic", "tick"), wanted("b", "plastic", "")]).unwrap();
    house.clock.advance(Duration::from_secs(1));
    until("it ticks", || house.numbers("a") == [1]);
    let refusal = |mode: &str| {
        let problems = house.reload(&[wanted("a", "plastic", "tick more"), wanted("b", "plastic", mode)]).unwrap_err();
        assert_eq!(problems.len(), 1);
        (problems[0].broadcaster.clone(), problems[0].pointer.clone(), problems[0].message.clone())
    };
    for (mode, message) in [("unwise", "\"unwise\" is not wise"), ("wrong", "\"wrong\" is wrong")] {
        assert_eq!(refusal(mode), ("b".to_owned(), "/settings/mode".to_owned(), message.to_owned()));
    }
    assert_eq!(house.supervisor.status_of("a").unwrap().settings["mode"], "tick", "a was set back");
    let changes = house.reload(&[wanted("a", "plastic", "tick more"), wanted("b", "plastic", "another")]).unwrap();
    assert_eq!(changes, [Change::Reconfigure("a".into()), Change::Reconfigure("b".into())]);
    assert_eq!(house.supervisor.status_of("a").unwrap().metrics["starts_total"], 1, "a took them while running");
    assert_eq!(house.supervisor.status_of("b").unwrap().metrics["starts_total"], 2, "b was replaced");
    let problems = house.reload(&[wanted("c", "plastic", "refused"), wanted("d", "none", "")]).unwrap_err();
    assert_eq!(problems.len(), 1, "a missing library is told before anything is made");
    let problems = house.reload(&[wanted("c", "plastic", "refused")]).unwrap_err();
    assert_eq!(
        (problems[0].pointer.as_str(), problems[0].message.as_str()),
        ("/settings/mode", "\"refused\" is refused")
    );
    assert_eq!(house.phase("a"), Phase::Running);
}

#[test]
fn what_is_odd_about_settings_is_told_at_its_place_and_refuses_nothing() {
    let house = House::new();
    house.build("plastic", &[]);
    let told = |mode: &str| {
        let prepared =
            house.supervisor.prepare(vec![wanted("a", "plastic", ""), wanted("b", "plastic", mode)], Aim::Exchange);
        prepared.map(|prepared| prepared.warnings)
    };
    let problem = |message: &str| Problem {
        broadcaster: "b".to_owned(),
        pointer: "/settings/mode".to_owned(),
        message: message.to_owned(),
    };
    assert_eq!(told("fine"), Ok(vec![]));
    assert_eq!(told("odd"), Ok(vec![problem("\"odd\" is odd")]));
    assert_eq!(told("odd and unwise"), Err(vec![problem("\"unwise\" is not wise")]), "first what is wrong");
}

#[test]
fn state_survives_the_daemon_and_a_gap_is_told_unless_it_ended_in_order() {
    let house = House::new();
    house.build("keeper", &[]);
    let one = listening(wanted("a", "keeper", ""), &["in"]);
    house.reload(std::slice::from_ref(&one)).unwrap();
    house.input("x");
    house.input("x");
    until("both are handled", || house.numbers("a").last() == Some(&2));
    let house = house.again();
    house.reload(std::slice::from_ref(&one)).unwrap();
    house.input("x");
    until("it went on counting", || house.numbers("a") == [3]);
    assert_eq!(house.said("a", "gap"), [] as [Value; 0], "the daemon ended in order, and everything was handled");
    house.supervisor.stop();
    let house = House::on(house.dir, "epoch-3");
    fs::remove_file(house.dir.path().join("state/streams.ended")).unwrap(); // it was killed
    house.reload(std::slice::from_ref(&one)).unwrap();
    house.input("x");
    until("it went on counting", || house.numbers("a") == [4]);
    assert_eq!(
        house.said("a", "gap"),
        [json!({"from": 0, "to": 0})],
        "what was left of another epoch cannot be counted"
    );
    let house = house.again();
    fs::write(house.dir.path().join("state/a.state"), "damaged").unwrap();
    house.reload(&[one]).unwrap();
    let status = house.supervisor.status_of("a").unwrap();
    assert_eq!((status.errors, status.is_running), (1, true));
    assert!(status.last_error.unwrap().starts_with("saved state is of no use and it starts empty: it is damaged"));
    house.input("x");
    until("it started empty", || house.numbers("a") == [1]);
}

#[test]
fn a_failure_is_told_before_the_instance_is_destroyed_which_may_never_end() {
    let house = House::new();
    house.build("lingers", &[]);
    let release = house.dir.path().join("release");
    let mode = format!("linger {}", release.display());
    house.reload(&[listening(wanted("a", "lingers", &mode), &["in"])]).unwrap();
    house.input("poison");
    let status = || house.supervisor.status_of("a").unwrap();
    until("it is told", || status().last_error.as_deref() == Some("poisoned"));
    until("its clients know", || matches!(house.stream("a").source(), Source::Absent(_)));
    until("the call into it runs for long", || {
        house.clock.advance(Duration::from_secs(1));
        house.phase("a") == Phase::Stuck
    });
    fs::write(release, "").unwrap();
    until("it is to be started again", || house.phase("a") == Phase::BackingOff);
}

#[test]
fn a_state_that_cannot_be_written_is_told_and_the_broadcaster_goes_on() {
    let house = House::new();
    house.build("unlucky", &[]);
    house.reload(&[listening(wanted("a", "unlucky", ""), &["in"])]).unwrap();
    fs::write(house.dir.path().join("state"), "no folder").unwrap();
    house.input("x");
    until("it is handled", || house.numbers("a") == [1]);
    until("it was to be saved", || {
        house.tick(Duration::from_secs(1));
        house.supervisor.status_of("a").unwrap().errors > 0
    });
    let status = house.supervisor.status_of("a").unwrap();
    assert!(status.last_error.unwrap().starts_with("state cannot be written: "));
    assert!(status.is_running);
}

#[test]
fn a_file_of_no_use_is_moved_only_when_its_broadcaster_begins() {
    let house = House::new();
    house.build("careful", &[]);
    let folder = house.dir.path().join("state");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.state"), "damaged").unwrap();
    let one = wanted("a", "careful", "");
    drop(house.supervisor.prepare(vec![one.clone()], Aim::Exchange).unwrap()); // as a check does
    house.reload(&[one.clone(), wanted("b", "careful", "refused")]).unwrap_err();
    assert!(folder.join("a.state").exists() && !folder.join("a.state.bad").exists());
    house.reload(&[one]).unwrap();
    assert!(!folder.join("a.state").exists() && folder.join("a.state.bad").exists());
}

#[test]
fn state_is_written_from_time_to_time() {
    let house = House::new();
    house.build("diary", &[]);
    house.reload(&[listening(wanted("a", "diary", ""), &["in"])]).unwrap();
    house.input("x");
    until("it is handled", || house.numbers("a") == [1]);
    house.clock.advance(Duration::from_secs(1));
    until("a checkpoint is taken", || house.stream("in").figures().input_bytes == 0);
    assert!(!house.dir.path().join("state/a.state").exists());
    house.clock.advance(Duration::from_secs(9));
    until("the file is there", || house.supervisor.saved().read("a", "diary").unwrap().is_some());
    let saved = house.supervisor.saved().read("a", "diary").unwrap().unwrap();
    assert_eq!(&*saved.state.unwrap().bytes, 1_u64.to_ne_bytes());
    assert_eq!(saved.positions["in"].seq, 1);
}

#[test]
fn what_cannot_be_listened_to_is_refused_before_anything_is_made() {
    let house = House::new();
    house.build("chain", &[]);
    house.build("silent", &["STREAM=\"\""]);
    house.build("secret", &["STREAM=\"{\\\"private\\\":true}\""]);
    let prepare = |wanted: &[Wanted]| house.supervisor.prepare(wanted.to_vec(), Aim::Exchange).map(drop);
    let told = |problems: Vec<Problem>| {
        problems.into_iter().map(|one| (one.broadcaster, one.pointer, one.message)).collect::<Vec<_>>()
    };
    let problems = prepare(&[listening(wanted("x", "chain", ""), &["x"])]).unwrap_err();
    assert_eq!(problems[0].message, "broadcasters listen to each other in a circle: x");
    let (hook, log) = (wanted("hook", "silent", ""), wanted("log", "secret", ""));
    let all = [hook, log, listening(wanted("x", "chain", ""), &["in", "hook", "log"])];
    let said = |pointer: &str, message: &str| ("x".to_owned(), pointer.to_owned(), message.to_owned());
    let both = [
        said("/listen/1", "broadcaster hook has no stream; listen to another one"),
        said("/listen/2", "stream \"log\" is private; set allow_private = true to listen to it"),
    ];
    assert_eq!(told(prepare(&all).unwrap_err()), both);
    let allowed = |one: &Wanted| Wanted { allow_private: true, ..one.clone() };
    assert_eq!(prepare(&all.each_ref().map(allowed)).unwrap_err().len(), 1);
    let (log, x) = (&all[1], listening(wanted("x", "chain", ""), &["log"]));
    house.reload(&[log.clone(), allowed(&x)]).unwrap();
    let rests = Wanted { disabled: true, ..log.clone() };
    house.reload(&[rests.clone(), allowed(&x)]).unwrap();
    assert_eq!(prepare(&[rests, x]).unwrap_err().len(), 1, "its stream is as it was");
}

#[test]
fn a_disabled_one_is_shown_and_its_stream_has_no_source() {
    let house = House::new();
    house.build("idle", &[]);
    let disabled = Wanted { disabled: true, ..wanted("a", "idle", "tick") };
    assert_eq!(house.reload(std::slice::from_ref(&disabled)), Ok(vec![]));
    let absent = Source::Absent("the broadcaster is disabled".into());
    let is_running = || house.supervisor.status_of("a").unwrap().is_running;
    assert_eq!((house.stream("a").source(), is_running()), (absent.clone(), false));
    house.reload(&[wanted("a", "idle", "tick")]).unwrap();
    assert_eq!((house.stream("a").source(), is_running()), (Source::Running, true));
    house.clock.advance(Duration::from_secs(1));
    until("it ticks", || house.numbers("a") == [1]);
    assert_eq!(house.reload(&[disabled]), Ok(vec![Change::Stop("a".into())]));
    assert_eq!((house.stream("a").source(), is_running()), (absent, false));
    house.reload(&[wanted("a", "idle", "tick")]).unwrap();
    house.clock.advance(Duration::from_secs(1));
    until("it went on from what it saved", || house.numbers("a") == [2]);
}

#[test]
fn the_last_words_of_a_disabled_one_come_before_the_news_that_it_is_disabled() {
    let house = House::new();
    house.build("talker", &[]);
    let talker = wanted("a", "talker", "last words");
    house.reload(std::slice::from_ref(&talker)).unwrap();
    let heard = house.subscribe("a");
    house.reload(&[Wanted { disabled: true, ..talker }]).unwrap();
    assert_eq!(heard.said("last_words").len(), 1);
    let absent = Source::Absent("the broadcaster is disabled".into());
    assert_eq!(*heard.sources.lock().unwrap(), [(1, absent)]);
}

#[test]
fn who_listens_hears_the_last_words_before_it_stops() {
    let house = House::new();
    house.build("talker", &[]);
    let chain = [
        listening(wanted("a", "talker", ""), &["b"]),
        listening(wanted("b", "talker", "last words"), &["in"]),
        listening(wanted("c", "talker", ""), &["a", "b"]),
    ];
    house.reload(&chain).unwrap();
    let heard = ["a", "c"].map(|name| house.subscribe(name));
    house.supervisor.stop();
    assert_eq!(heard.map(|heard| heard.said("n").len()), [1, 2], "b's last words, and what a made of them");
}

#[test]
fn demand_is_told_at_once_and_its_end_after_the_linger() {
    let house = House::new();
    house.build("shy", &[]);
    house.reload(&[wanted("a", "shy", "demand")]).unwrap();
    let pattern = [Pattern::parse("a:B").unwrap()];
    let wish = Wish { patterns: &pattern, audience: "", reader: Reader::Client, since: None };
    house.stream("a").subscribe(&wish, &(Arc::new(Deaf) as Arc<dyn crate::hub::targets::Outlet>)).unwrap();
    until("it was told", || house.said("a", "demand").len() == 1);
    house.stream("a").unsubscribe("", &pattern, 1);
    house.stream("a").subscribe(&wish, &(Arc::new(Deaf) as Arc<dyn crate::hub::targets::Outlet>)).unwrap();
    house.stream("a").unsubscribe("", &pattern, 1);
    until("the linger runs", || {
        house.clock.advance(Duration::from_secs(5));
        house.said("a", "demand").len() == 2
    });
    let told = |value: u64| json!({"topic": "B", "value": value});
    assert_eq!(house.said("a", "demand"), [told(1), told(0)]);
}

/// Takes everything and tells nobody.
struct Deaf;

#[test]
fn garbage_is_refused_and_counted_and_the_status_has_every_key() {
    let house = House::new();
    house.build("status", &[]);
    let settings = json!({"mode": "", "interval": 2.0, "symbols": ["AAPL"], "resolutions": ["1"], "is_running": "no"});
    house.reload(&[listening(Wanted { settings, ..wanted("bars", "status", "") }, &["in"])]).unwrap();
    house.input("garbage");
    let status = || house.supervisor.status_of("bars").unwrap().json();
    until("it is handled and counted", || house.numbers("bars") == [1] && status()["broadcasts_sent"] != 0);
    let status = status();
    let expected = json!({"is_running": true, "interval": 2.0, "symbols": ["AAPL"], "resolutions": ["1"],
        "broadcasts_sent": 1, "broadcasts_skipped": 0, "errors": 0, "refused": 1, "state": "running"});
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&status[key], value, "{key}");
    }
    assert!(house.supervisor.render_metrics().contains("broadcastd_plugin_starts_total{broadcaster=\"bars\"} 1\n"));
    house.reload(&[]).unwrap();
    assert_eq!(house.supervisor.render_metrics(), "", "its metrics vanish with it");
}

impl crate::hub::targets::Outlet for Deaf {
    fn id(&self) -> u64 {
        1
    }

    fn offer(&self, _: &Arc<Event>) -> Result<(), crate::hub::targets::Full> {
        Ok(())
    }

    fn records_replaced(&self, _: crate::event::LogId, _: u64, _: &crate::hub::records::Snapshot) {}

    fn source_changed(&self, _: crate::event::LogId, _: u64, _: &Source) {}
}

#[test]
fn one_that_never_began_leaves_no_metrics() {
    let house = House::new();
    house.build("early", &[]);
    let (early, refused) = (wanted("a", "early", "early"), wanted("b", "early", "early, but refused"));
    house.reload(std::slice::from_ref(&early)).unwrap();
    let shown = |line: &str| house.supervisor.render_metrics().contains(&format!("broadcastd_plugin_{line}\n"));
    let (before, of) = (house.supervisor.render_metrics(), "{broadcaster=\"a\"}");
    assert!(shown(&format!("early_total{of} 1")) && shown("early_seconds_bucket{broadcaster=\"a\",le=\"2\"} 1"));
    let again = Wanted { generation: 1, ..early.clone() };
    house.reload(&[again.clone(), refused]).unwrap_err();
    drop(house.supervisor.prepare(vec![again.clone(), wanted("c", "early", "early")], Aim::Exchange).unwrap());
    assert_eq!(house.supervisor.render_metrics(), before);
    house.reload(&[again]).unwrap();
    assert!(shown(&format!("early_total{of} 2")) && shown(&format!("early{of} 7")));
    assert!(shown(&format!("early_seconds_count{of} 2")), "{}", house.supervisor.render_metrics());
}
