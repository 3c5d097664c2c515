//! A plugin in safe Rust that panics, hangs and floods: contained, told, and started again.

use std::sync::OnceLock;

use super::*;

/// A house with the faulty Rust plugin, built by cargo as a user builds it.
pub(super) fn house() -> House {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--lib", "--message-format=json", "--manifest-path"]);
        cargo.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/faulty/Cargo.toml"));
        let output = cargo.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let messages = output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
        let files = messages.flat_map(|message: Value| message["filenames"].as_array().cloned().unwrap_or_default());
        let mut paths = files.filter_map(|file| file.as_str().map(PathBuf::from));
        paths.find(|path| path.ends_with("libfaulty.so")).expect("cargo names the library it built")
    });
    let house = House::new();
    fs::copy(built, house.dir.path().join("libfaulty.so")).unwrap();
    house
}

pub(super) fn in_mode(mode: &str) -> Wanted {
    at(mode, "timer")
}

pub(super) fn at(mode: &str, moment: &str) -> Wanted {
    // The clock runs as fast as the machine allows, so that every failure has to be within the window.
    let restart = restart::Restart { within: Duration::from_secs(1_000_000_000), ..restart::Restart::default() };
    Wanted { settings: json!({"mode": mode, "at": moment, "interval_ms": 100}), restart, ..wanted("a", "faulty", "") }
}

fn errors(house: &House) -> u64 {
    house.supervisor.status_of("a").unwrap().errors
}

#[test]
fn a_panic_at_any_moment_is_contained_and_told() {
    for (mode, moment, pointer, message) in [
        ("panic", "validate", "/settings", "validate panics on purpose"),
        ("invalid_settings", "validate", "/settings/mode", "this mode is refused on purpose; choose another"),
        ("panic", "new", "/settings", "new panics on purpose"),
        ("error", "new", "/settings", "new fails on purpose"),
    ] {
        let problems = house().reload(&[at(mode, moment)]).unwrap_err();
        assert_eq!((problems[0].pointer.as_str(), problems.len()), (pointer, 1), "{mode}");
        assert!(problems[0].message.contains(message), "{mode}: {problems:?}");
    }
    for (mode, moment, message) in [
        ("error", "start", "start fails on purpose"),
        ("panic", "timer", "timer panics on purpose"),
        ("error", "timer", "timer fails on purpose"),
        ("panic", "save", "save panics on purpose"),
    ] {
        let house = house();
        house.reload(&[at(mode, moment)]).unwrap();
        until("it is quarantined", || {
            house.tick(Duration::from_millis(1000));
            house.phase("a") == Phase::Quarantined
        });
        let status = house.supervisor.status_of("a").unwrap();
        assert_eq!((status.errors, status.restarts), (5, 4), "{message}");
        assert!(status.last_error.unwrap().contains(message), "{message}");
        house.supervisor.stop();
    }
}

#[test]
fn what_only_looks_wrong_goes_on() {
    for (mode, moment) in [
        ("well", "timer"),
        ("panic", "drop"),
        ("flood", "timer"),
        ("garbage", "timer"),
        ("degraded", "timer"),
        ("slow", "timer"),
    ] {
        let house = house();
        house.reload(&[at(mode, moment)]).unwrap();
        until("timers fired", || {
            house.tick(Duration::from_millis(100));
            let status = house.supervisor.status_of("a").unwrap();
            mode == "slow" || status.broadcasts_sent + status.refused > 10
        });
        let status = house.supervisor.status_of("a").unwrap();
        assert_eq!((errors(&house), status.is_running, status.refused > 0), (0, true, mode == "garbage"), "{mode}");
        assert_eq!(status.degraded.is_some(), mode == "degraded");
        house.supervisor.stop();
        assert_eq!(house.phase("a"), Phase::Stopped, "{mode}");
    }
}

#[test]
fn one_that_never_returns_can_be_replaced_by_a_reload() {
    let mut house = house();
    house.supervisor.config.timing.hand_over = Duration::from_millis(300);
    house.supervisor.config.timing.stop = Duration::from_millis(50);
    house.reload(&[in_mode("hang")]).unwrap();
    until("it hangs", || {
        house.clock.advance(Duration::from_millis(5100));
        house.phase("a") == Phase::Stuck
    });
    house.supervisor.watch();
    let other = Wanted { settings: json!({"mode": "well", "interval_ms": 50}), ..in_mode("well") };
    house.reload(&[other]).unwrap();
    until("the new one publishes", || {
        house.tick(Duration::from_millis(50));
        house.supervisor.status_of("a").unwrap().broadcasts_sent > 1
    });
    assert_eq!(house.phase("a"), Phase::Running);
}

#[test]
fn one_that_hangs_before_it_runs_refuses_the_reload_and_holds_up_nobody() {
    for (moment, told) in
        [("validate", "did not return from validate within"), ("new", "did not return from create within")]
    {
        let mut house = house();
        house.reload(&[Wanted { name: "well".into(), ..in_mode("well") }]).unwrap();
        house.supervisor.config.timing.create = Duration::from_millis(100);
        let wanted = [Wanted { name: "well".into(), ..in_mode("well") }, at("hang", moment)];
        let problems = house.reload(&wanted).unwrap_err();
        assert!(problems[0].message.contains(told), "{problems:?}");
        until("the other goes on", || {
            house.clock.advance(Duration::from_millis(100));
            house.supervisor.status_of("well").unwrap().broadcasts_sent > 3
        });
        house.supervisor.stop();
    }
}

#[test]
fn those_that_hang_in_their_start_hold_up_no_other() {
    let mut house = house();
    house.supervisor.config.timing.hand_over = Duration::from_secs(4); // ten in a row would take longer than `until`
    house.supervisor.config.timing.stop = Duration::from_millis(50);
    let mut wanted: Vec<Wanted> = (0..10).map(|n| Wanted { name: format!("h{n}"), ..at("hang", "start") }).collect();
    wanted.push(Wanted { name: "last".into(), ..in_mode("well") });
    std::thread::scope(|scope| {
        let reload = scope.spawn(|| house.reload(&wanted));
        until("the last one runs", || house.hub.stream("last").is_some_and(|last| last.source() == Source::Running));
        assert!(!reload.is_finished(), "the others are still waited for");
        assert_eq!(reload.join().unwrap().unwrap().len(), 11);
    });
    house.supervisor.stop();
    let abandoned = |n: usize| house.supervisor.status_of(&format!("h{n}")).unwrap().threads_abandoned;
    assert!((0..10).all(|n| abandoned(n) == 1));
}
