//! A plugin's new file is watched for a while: if it fails, the one before comes back, and nobody who listens notices.

use super::*;
use crate::event::timestamp_of;
use crate::plugin::files::Files;
use crate::plugin::news::{News, State};
use crate::plugin::restart::Restart;

const BREAKS: &[&str] = &["VERSION=\"2.0.0\"", "BREAKS_AT=\"break\""];

/// One that counts its inputs runs its first file and has counted to two.
fn house() -> (House, Arc<Heard>) {
    let house = House::new();
    house.build("steady", &[]);
    house.reload(&[steady()]).unwrap();
    let heard = house.subscribe("a");
    house.input("x");
    house.input("x");
    until("it has counted", || heard.numbers() == [1, 2]);
    (house, heard)
}

fn steady() -> Wanted {
    listening(wanted("a", "steady", ""), &["in"])
}

/// Replaces the file and takes it.
fn swap(house: &House, definitions: &[&str]) -> String {
    let before = house.supervisor.status_of("a").unwrap();
    house.build("steady", definitions);
    assert_eq!(house.reload(&[steady()]).unwrap(), [Change::Replace("a".to_owned())]);
    until("it runs", || house.phase("a") == Phase::Running);
    let after = house.supervisor.status_of("a").unwrap().sha256;
    assert_ne!(after, before.sha256);
    before.sha256
}

fn version(house: &House) -> String {
    house.supervisor.status_of("a").unwrap().version
}

fn failed(house: &House) -> bool {
    house.supervisor.status_of("a").unwrap().errors > 0
}

#[test]
fn one_that_fails_is_rolled_back_and_nobody_who_listens_notices() {
    let (house, heard) = house();
    let first = swap(&house, BREAKS);
    house.input("x");
    until("the new one has counted", || heard.numbers() == [1, 2, 3]);
    house.input("break");
    until("the new one fails", || failed(&house));
    house.supervisor.watch();
    let status = house.supervisor.status_of("a").unwrap();
    assert_eq!((&*status.version, &status.sha256), ("1.0.0", &first));
    assert!(status.rolled_back.is_some_and(|why| why.contains("panicked") || why.contains("on_events")), "it says why");
    house.input("x");
    until("the old one goes on", || heard.numbers().len() == 5);
    assert_eq!(heard.numbers(), [1, 2, 3, 4, 5], "what the new one has told is not told again");
    let seqs: Vec<u64> = heard.events.lock().unwrap().iter().map(|event| event.seq).collect();
    assert!(seqs.is_sorted_by(|one, next| one < next), "{seqs:?}"); // records that are told anew take numbers, too
    assert_eq!(house.stream("a").source(), Source::Running);
}

#[test]
fn a_file_that_was_rolled_back_from_is_taken_when_an_operator_wants_it_and_another_one_at_once() {
    let (house, _) = house();
    let first = swap(&house, BREAKS);
    house.input("break");
    until("it fails", || failed(&house));
    house.supervisor.watch();
    assert_eq!(version(&house), "1.0.0");
    assert_eq!(house.reload(&[steady()]).unwrap(), [Change::Keep("a".to_owned())], "it is not tried by itself");
    let pinned = Wanted { sha256: Some(first), ..steady() };
    assert!(house.reload(std::slice::from_ref(&pinned)).is_err(), "the file is not the pinned one");
    house.supervisor.forgive("a");
    assert_eq!(house.reload(&[steady()]).unwrap(), [Change::Replace("a".to_owned())]);
    assert_eq!(version(&house), "2.0.0");
    house.input("break");
    until("it fails again", || failed(&house));
    house.supervisor.watch();
    house.build("steady", &["VERSION=\"3.0.0\""]);
    assert_eq!(house.reload(&[steady()]).unwrap(), [Change::Replace("a".to_owned())]);
    assert_eq!(version(&house), "3.0.0");
    assert_eq!(house.supervisor.status_of("a").unwrap().rolled_back, None);
}

#[test]
fn nothing_is_said_of_a_rollback_when_the_file_that_runs_is_in_its_place_again() {
    let (mut house, _) = house();
    let file = house.dir.path().join("libsteady.so");
    let first = fs::read(&file).unwrap();
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let tells = told.clone();
    house.supervisor.config.tell = Arc::new(move |news| {
        if let News::Changed(state) = news
            && state.name == "a"
        {
            tells.lock().unwrap().push(state);
        }
    });
    swap(&house, BREAKS);
    house.input("break");
    until("it fails", || failed(&house));
    house.supervisor.watch();
    until("the old one runs", || house.phase("a") == Phase::Running);
    let said = |house: &House| house.supervisor.status_of("a").unwrap().rolled_back.is_some();
    let elsewhere = wanted("b", "hello", "");
    assert!(said(&house));
    house.build("hello", &[]);
    house.reload(&[steady(), elsewhere.clone()]).unwrap();
    assert!(said(&house), "the file that failed is still there");
    fs::write(file.with_extension("new"), first).unwrap();
    fs::rename(file.with_extension("new"), &file).unwrap();
    drop(house.supervisor.prepare(vec![steady(), elsewhere.clone()], Aim::Plan).unwrap());
    house
        .supervisor
        .prepare_one(elsewhere.clone(), Files::Of("b"))
        .map(|one| house.supervisor.commit(one))
        .unwrap()
        .unwrap();
    assert!(said(&house), "neither a plan nor what is done to another one has looked at its file");
    assert_eq!(house.reload(&[steady(), elsewhere]).unwrap()[0], Change::Keep("a".to_owned()));
    assert!(!said(&house));
    let told = told.lock().unwrap();
    assert!(matches!(&told[..], [.., State { rolled_back: Some(_), .. }, State { rolled_back: None, .. }]), "{told:?}");
}

#[test]
fn one_that_hangs_is_rolled_back() {
    let (mut house, heard) = house();
    house.supervisor.config.timing.stop = Duration::from_millis(50);
    swap(&house, &["VERSION=\"2.0.0\""]);
    let release = house.dir.path().join("release");
    house.input(&format!("hang {}", release.display()));
    let port = house.supervisor.running.lock().unwrap()["a"].broadcaster.shared().lock().port.clone().unwrap().0;
    until("it hangs", || port.called_at().is_some());
    house.clock.advance(Duration::from_secs(6));
    house.supervisor.watch();
    assert_eq!(version(&house), "1.0.0");
    fs::write(release, "").unwrap(); // the input hangs nobody any more
    until("the old one goes on", || heard.numbers() == [1, 2, 3]);
    assert_eq!(house.supervisor.status_of("a").unwrap().threads_abandoned, 1);
}

#[test]
fn one_that_has_proven_itself_stays_and_can_be_taken_back_with_its_state() {
    let (house, heard) = house();
    swap(&house, BREAKS);
    house.tick(Duration::from_secs(10));
    house.supervisor.watch();
    house.input("break");
    until("it fails", || failed(&house));
    house.supervisor.watch();
    assert_eq!(version(&house), "2.0.0", "its time was over");
    until("it runs again", || {
        house.tick(Duration::from_millis(100));
        house.phase("a") == Phase::Quarantined
    });
    house.supervisor.roll_back("a", "an operator wanted it").unwrap();
    assert_eq!(version(&house), "1.0.0");
    house.input("x");
    until("the old one goes on", || heard.numbers() == [1, 2, 3]); // what broke it was left out for good
    let none = house.supervisor.roll_back("a", "again").unwrap_err();
    assert!(none.message.contains("no other file of its plugin ran before"), "{none:?}");
    assert_eq!(house.supervisor.roll_back("b", "x").unwrap_err().message, "it does not run");
}

#[test]
fn one_that_was_ill_before_is_not_gone_back_to() {
    let house = House::new();
    house.build("steady", BREAKS);
    house.reload(&[steady()]).unwrap();
    house.input("break");
    until("it fails", || failed(&house));
    house.build("steady", &["VERSION=\"3.0.0\"", "BREAKS_AT=\"other\""]);
    house.reload(&[steady()]).unwrap();
    assert_eq!(version(&house), "3.0.0");
    house.input("other");
    until("it fails, too", || failed(&house));
    house.supervisor.watch();
    assert_eq!(version(&house), "3.0.0");
}

#[test]
fn other_settings_or_another_start_are_no_reason_to_watch() {
    let house = House::new();
    house.build("steady", BREAKS);
    house.reload(&[steady()]).unwrap();
    let again = Wanted { generation: 1, ..steady() };
    assert_eq!(house.reload(&[again]).unwrap(), [Change::Replace("a".to_owned())]);
    house.input("break");
    until("it fails", || failed(&house));
    house.supervisor.watch();
    assert!(house.supervisor.status_of("a").unwrap().rolled_back.is_none());
    assert!(house.supervisor.roll_back("a", "x").is_err());
}

#[test]
fn what_it_handled_and_saved_before_it_failed_is_handled_again_by_the_old_one() {
    for max in [1, 5] {
        let house = House::new();
        house.build("steady", &[]);
        let steady = || Wanted { restart: Restart { max, ..Restart::default() }, ..steady() };
        house.reload(&[steady()]).unwrap();
        let heard = house.subscribe("a");
        house.build("steady", BREAKS);
        house.reload(&[steady()]).unwrap();
        for n in 1..=3 {
            house.input("x");
            until("it counts", || heard.numbers().len() == n);
            house.tick(Duration::from_secs(2)); // a checkpoint each time
        }
        house.input("break");
        until("the new one fails", || failed(&house));
        house.supervisor.watch();
        assert_eq!(version(&house), "1.0.0");
        house.input("x");
        until("the old one goes on", || heard.numbers().len() == 5);
        assert_eq!(heard.numbers(), [1, 2, 3, 4, 5]);
        assert!(heard.said("gap").is_empty());
    }
}

#[test]
fn one_that_is_well_hands_its_own_state_back() {
    let house = House::new();
    house.build("steady", &[]);
    let ticking = || wanted("a", "steady", "tick");
    house.reload(&[ticking()]).unwrap();
    let heard = house.subscribe("a");
    house.build("steady", BREAKS);
    house.reload(&[ticking()]).unwrap();
    for n in 1..=3 {
        house.tick(Duration::from_secs(1));
        until("it ticks", || heard.numbers().len() == n);
    }
    house.supervisor.roll_back("a", "an operator wanted it").unwrap();
    assert_eq!(version(&house), "1.0.0");
    assert!(!failed(&house), "what an operator wants is no failure");
    house.tick(Duration::from_secs(1));
    until("the old one goes on", || heard.numbers() == [1, 2, 3, 4]);
}

#[test]
fn one_that_comes_back_is_as_the_configuration_wants_it_now() {
    let (house, _) = house();
    swap(&house, BREAKS);
    let now = || Wanted { settings: json!({ "mode": "other" }), listen: Vec::new(), ..steady() };
    house.reload(&[now()]).unwrap();
    house.supervisor.roll_back("a", "an operator wanted it").unwrap();
    let running = house.supervisor.running.lock().unwrap();
    let wanted = &running["a"].wanted;
    assert_eq!((&wanted.settings, wanted.listen.is_empty()), (&json!({ "mode": "other" }), true));
}

#[test]
fn a_restart_does_not_end_the_probation_and_a_stop_does_not_forget_what_failed() {
    let (house, _) = house();
    swap(&house, BREAKS);
    house.reload(&[Wanted { generation: 1, ..steady() }]).unwrap();
    house.input("break");
    until("it fails", || failed(&house));
    house.supervisor.watch();
    assert_eq!(version(&house), "1.0.0");
    let steady = || Wanted { generation: 1, ..steady() };
    house.reload(&[Wanted { disabled: true, ..steady() }]).unwrap();
    house.reload(&[steady()]).unwrap();
    until("it runs again", || house.phase("a") == Phase::Running);
    assert_eq!(version(&house), "1.0.0", "the file failed");
}

#[test]
fn publishers_are_not_kept_out_for_the_sake_of_one_that_may_come_back() {
    let (house, heard) = house();
    swap(&house, BREAKS);
    house.input("x");
    until("it has counted", || heard.numbers().len() == 3);
    house.tick(Duration::from_secs(2));
    let kept = || house.stream("in").figures();
    let limit = |bytes: usize| house.hub.declare("in", Settings { listen_buffer: bytes, ..Settings::default() });
    assert!(kept().input_bytes > 0);
    limit(2 * kept().input_bytes);
    house.supervisor.watch();
    assert_eq!(kept().listeners, 2, "half of the buffer is not too much");
    limit(2 * kept().input_bytes - 1);
    house.supervisor.watch();
    assert_eq!(kept().listeners, 1);
    assert_eq!(version(&house), "2.0.0");
}

#[test]
fn until_when_a_file_is_on_probation_is_said_as_long_as_it_is() {
    let (mut house, _heard) = house();
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let tells = told.clone();
    house.supervisor.config.tell = Arc::new(move |news| {
        let News::Changed(state) = news else { return };
        tells.lock().unwrap().push((state.version, state.state, state.probation_until));
    });
    let until_when = |house: &House| house.supervisor.status_of("a").unwrap().probation_until;
    assert_eq!(until_when(&house), None);
    let until_then = timestamp_of(house.clock.unix_ns() + 10_000_000_000);
    swap(&house, BREAKS);
    assert_eq!(until_when(&house), Some(until_then.clone()));
    let again = Wanted { generation: 1, ..steady() };
    house.reload(std::slice::from_ref(&again)).unwrap();
    until("it runs", || house.phase("a") == Phase::Running);
    assert_eq!(until_when(&house), Some(until_then.clone()), "another start of it proves nothing");
    house.clock.advance(Duration::from_nanos(9_999_999_999));
    house.supervisor.watch();
    assert_eq!(until_when(&house), Some(until_then.clone()));
    house.clock.advance(Duration::from_nanos(1));
    house.supervisor.watch();
    assert_eq!(until_when(&house), None);
    let expected = [
        (Phase::Starting, Some(&until_then)),
        (Phase::Running, Some(&until_then)),
        (Phase::Starting, Some(&until_then)),
        (Phase::Running, Some(&until_then)),
        (Phase::Running, None),
    ];
    let told = told.lock().unwrap();
    let of_new = told.iter().filter(|(version, ..)| version == "2.0.0");
    let of_new: Vec<_> = of_new.map(|(_, state, until)| (*state, until.as_ref())).collect();
    assert_eq!(of_new.into_iter().filter(|(state, _)| *state != Phase::Quiet).collect::<Vec<_>>(), expected);
}
