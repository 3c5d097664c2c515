//! The whole broadcaster under a virtual clock.

use std::time::Duration;

use broadcastd_plugin_api::testing::{Harness, Input, Published, Setup};
use broadcastd_plugin_api::{Flags, abi};
use serde_json::{Value, json};

use crate::feed::STATE_VERSION;
use crate::running::Bars;

/// 2026-01-01T00:00:00Z, where the harness starts; it opens a minute.
const START: i64 = 1_767_225_600_000;
const SECOND: Duration = Duration::from_secs(1);

fn start(settings: Value) -> Harness<Bars> {
    Harness::new(settings).unwrap()
}

fn ticks(settings: Value) -> Harness<Bars> {
    let mut all = json!({"source": "ticks", "symbols": ["A", "B"], "close_grace": "0s"});
    all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    start(all)
}

fn tick(bars: &mut Harness<Bars>, symbol: &str, after: i64, price: f64) {
    let data = json!({"symbol": symbol, "time": START + after, "price": price, "size": 1});
    bars.message(&format!("ticks:{symbol}"), "tick", &data).unwrap();
}

/// `topic key price`, with `~` before a record that nobody is told and `-` before one that is removed.
fn brief(bars: &mut Harness<Bars>) -> Vec<String> {
    bars.published().iter().map(line).collect()
}

fn line(event: &Published) -> String {
    let mark = match event.flags {
        flags if flags.has(Flags::DELETE) => return format!("-{} {}", event.topic, event.key),
        flags if flags.has(Flags::RECORD_ONLY) => "~",
        _ => "",
    };
    format!("{mark}{} {} {}", event.topic, event.key, event.payload["close"])
}

fn counted(bars: &Harness<Bars>, name: &str) -> f64 {
    bars.metrics().iter().filter(|metric| metric.name == name).flat_map(|metric| metric.values.clone()).sum()
}

#[test]
fn the_mock_updates_every_topic_once_an_interval() {
    let mut bars = start(json!({"interval": "2s", "symbols": ["A", "B"], "resolutions": ["1", "D"]}));
    bars.subscribe("").unwrap();
    bars.advance(7 * SECOND).unwrap();
    let published = bars.published();
    assert_eq!(published.len(), 4 * 4, "at 0, 2, 4 and 6 seconds");
    for round in published.chunks(4) {
        let topics: Vec<&str> = round.iter().map(|event| event.topic.as_str()).collect();
        assert_eq!(topics, ["A:1", "A:1D", "B:1", "B:1D"]);
        assert!(round.iter().all(|event| (event.kind.as_str(), event.key.as_str()) == ("bar", "current")));
        assert!(round.iter().all(|event| event.flags == Flags::LATEST && event.payload["final"] == false));
    }
}

#[test]
fn mock_bars_close_at_their_boundary() {
    let mut bars = start(json!({"interval": "7s", "symbols": ["A"]}));
    bars.subscribe("A:1").unwrap();
    bars.advance(59 * SECOND).unwrap();
    bars.published();
    bars.advance(SECOND).unwrap();
    let published = bars.published();
    assert_eq!((published[0].key.as_str(), published[0].flags), ("closed", Flags::NONE));
    assert_eq!((&published[0].payload["final"], &published[0].payload["time"]), (&json!(true), &json!(START)));
    assert_eq!(line(&published[1]), "-A:1 current", "a snapshot must not show the closed bar as open");
    assert_eq!(published.len(), 2);
}

#[test]
fn the_mock_does_not_trade_outside_of_sessions() {
    let mut bars = start(json!({"symbols": ["A"], "session": "0100-0200:1234567"}));
    bars.subscribe("").unwrap();
    bars.advance(3_599 * SECOND).unwrap();
    assert_eq!(brief(&mut bars), [""; 0]);
    bars.advance(10 * SECOND).unwrap();
    assert!(!bars.published().is_empty());
}

#[test]
fn nothing_is_delivered_to_topics_without_listeners() {
    let mut bars = start(json!({"symbols": ["A", "B"]}));
    bars.subscribe("B:*").unwrap();
    bars.advance(9 * SECOND).unwrap();
    let published = bars.published();
    assert!(published.iter().all(|event| event.flags.has(Flags::RECORD_ONLY) == (event.topic == "A:1")));
    let delivered = published.iter().filter(|event| event.topic == "B:1").count() as f64;
    assert_eq!((delivered, counted(&bars, "broadcasts_sent_total")), (5.0, 5.0));
    assert_eq!(counted(&bars, "broadcasts_skipped_total"), 5.0);
    bars.unsubscribe("B:*").unwrap();
    bars.advance(4 * SECOND).unwrap();
    assert!(bars.published().iter().all(|event| event.flags.has(Flags::RECORD_ONLY)));
}

#[test]
fn trades_make_exact_bars_and_the_final_one_comes_first() {
    let mut bars = ticks(json!({"resolutions": ["1", "5"]}));
    bars.subscribe("").unwrap();
    for (after, price) in [(1_000, 5.0), (2_000, 9.0), (3_000, 4.0)] {
        tick(&mut bars, "A", after, price);
    }
    bars.advance(60 * SECOND).unwrap();
    tick(&mut bars, "A", 60_000, 7.0);
    let published = bars.published();
    let lines: Vec<String> = published.iter().map(line).collect();
    let (open, next) = (["A:1 current 5.0", "A:5 current 5.0"], ["A:1 current 7.0", "A:5 current 7.0"]);
    assert_eq!((&lines[..2], &lines[8..]), (&open.map(String::from)[..], &next.map(String::from)[..]));
    assert_eq!(lines[6..8], ["A:1 closed 4.0", "-A:1 current"]);
    let expected = json!({"symbol": "A", "resolution": "1", "time": START, "open": 5.0, "high": 9.0, "low": 4.0,
        "close": 4.0, "volume": 3, "final": true, "revision": 0});
    assert_eq!(published[6].payload, expected);
    assert_eq!(published[6].cause, None, "time has closed it");
    assert_eq!(published[9].cause.as_ref().map(|cause| (cause.seq, cause.ordinal)), Some((4, 1)));
    assert_eq!((counted(&bars, "ticks_total"), counted(&bars, "bars_closed_total")), (4.0, 1.0));
}

#[test]
fn a_late_trade_amends_an_older_bar_without_a_record() {
    let mut bars = ticks(json!({"clock": "event", "allowed_lateness": "10m"}));
    bars.subscribe("").unwrap();
    for after in [0, 1_000, 2_000].map(|second| second * 60) {
        bars.advance(60 * SECOND).unwrap();
        tick(&mut bars, "A", after, 5.0);
    }
    bars.published();
    tick(&mut bars, "A", 1, 8.0);
    let amended = bars.published().remove(0);
    assert_eq!((amended.key.as_str(), amended.flags, &amended.payload["revision"]), ("", Flags::NONE, &json!(1)));
    assert_eq!(counted(&bars, "bars_amended_total"), 1.0);
}

#[test]
fn records_without_listeners_are_refreshed_in_time() {
    let mut bars = ticks(json!({"interval": "2s"}));
    tick(&mut bars, "A", 1, 5.0);
    tick(&mut bars, "A", 2, 6.0);
    assert_eq!(brief(&mut bars), [""; 0]);
    bars.advance(2 * SECOND).unwrap();
    assert_eq!(brief(&mut bars), ["~A:1 current 6.0"]);
    bars.advance(2 * SECOND).unwrap();
    assert_eq!(brief(&mut bars), [""; 0], "nothing has changed");
    bars.advance(60 * SECOND).unwrap();
    assert_eq!(brief(&mut bars), ["~A:1 closed 6.0", "-A:1 current"]);
}

#[test]
fn whoever_comes_is_told_what_the_records_did_not_yet_say() {
    let mut bars = ticks(json!({"interval": "10m"}));
    tick(&mut bars, "A", 1, 5.0);
    tick(&mut bars, "B", 1, 3.0);
    bars.advance(60 * SECOND).unwrap();
    tick(&mut bars, "A", 60_000, 6.0);
    bars.subscribe("A:1").unwrap();
    let told = ["A:1 closed 5.0", "A:1 current 6.0", "~B:1 closed 3.0", "-B:1 current"];
    assert_eq!(brief(&mut bars), told);
    bars.unsubscribe("A:1").unwrap();
    bars.subscribe("A:1").unwrap();
    assert_eq!(brief(&mut bars), [""; 0], "the records are right");
}

#[test]
fn a_flush_closes_every_open_bar() {
    let mut bars = ticks(json!({"resolutions": ["1", "1D"]}));
    bars.subscribe("").unwrap();
    tick(&mut bars, "A", 1, 5.0);
    bars.published();
    bars.message("ticks", "flush", &json!({})).unwrap();
    assert_eq!(brief(&mut bars), ["A:1 closed 5.0", "-A:1 current", "A:1D closed 5.0", "-A:1D current"]);
}

#[test]
fn wrong_inputs_are_counted_and_the_bars_go_on() {
    let mut bars = ticks(json!({}));
    bars.subscribe("").unwrap();
    tick(&mut bars, "C", 1, 5.0);
    tick(&mut bars, "A", 1, -5.0);
    bars.message("ticks:A", "tick", &json!({"symbol": "A"})).unwrap();
    bars.message("ticks:A", "quote", &json!({})).unwrap();
    bars.gap("ticks", 7, 9).unwrap();
    tick(&mut bars, "A", 1, 5.0);
    assert_eq!(brief(&mut bars), ["A:1 current 5.0"]);
    let rejected = |bars: &Harness<Bars>, reason: &str| {
        let of = |metric: &&broadcastd_plugin_api::testing::Metric| metric.labels == json!({"reason": reason});
        bars.metrics().iter().find(of).unwrap().values.iter().sum::<f64>()
    };
    for reason in ["unknown_symbol", "price", "malformed"] {
        assert_eq!(rejected(&bars, reason), 1.0, "{reason}");
    }
    assert_eq!((counted(&bars, "inputs_ignored_total"), counted(&bars, "input_gaps_total")), (1.0, 1.0));
    assert!(bars.logs().iter().any(|log| log.message.contains("trades are gone") && log.message.contains("from=7")));
}

#[test]
fn the_mock_takes_no_real_trades() {
    let mut bars = start(json!({"symbols": ["A"]}));
    tick(&mut bars, "A", 1, 5.0);
    assert_eq!((counted(&bars, "inputs_ignored_total"), counted(&bars, "ticks_total")), (1.0, 0.0));
}

#[test]
fn final_bars_wait_for_room_and_open_ones_catch_up() {
    let mut bars = ticks(json!({"clock": "event"}));
    bars.subscribe("").unwrap();
    bars.advance(200 * SECOND).unwrap();
    bars.room(Some(0));
    for (after, price) in [(0, 1.0), (1, 2.0), (60_000, 3.0), (120_000, 4.0), (120_001, 5.0)] {
        tick(&mut bars, "A", after, price);
    }
    bars.room(None);
    tick(&mut bars, "A", 120_002, 5.0);
    assert_eq!(brief(&mut bars), [""; 0], "nothing overtakes what waits");
    bars.room(Some(0));
    bars.advance(10 * SECOND).unwrap();
    bars.restart().unwrap();
    assert_eq!(brief(&mut bars), [""; 0]);
    bars.writable().unwrap();
    let published = bars.published();
    assert_eq!(published.iter().map(line).collect::<Vec<_>>(), ["A:1 closed 2.0", "A:1 closed 3.0"]);
    let causes: Vec<_> = published.iter().map(|event| event.cause.as_ref().unwrap().seq).collect();
    assert_eq!(causes, [3, 4], "the hub can tell whether it has them already");
    tick(&mut bars, "A", 120_002, 6.0);
    assert_eq!(brief(&mut bars), ["A:1 current 6.0"]);
}

#[test]
fn a_final_bar_has_the_same_cause_whoever_listens_and_whenever() {
    let cause = |at_once: &[&str], late: &[&str]| {
        let mut bars = ticks(json!({"clock": "event", "resolutions": ["1", "5"]}));
        at_once.iter().for_each(|topic| bars.subscribe(topic).unwrap());
        bars.advance(400 * SECOND).unwrap();
        tick(&mut bars, "A", 0, 1.0);
        tick(&mut bars, "A", 300_000, 2.0);
        late.iter().for_each(|topic| bars.subscribe(topic).unwrap());
        let published = bars.published();
        let bar = published.iter().find(|event| line(event) == "A:5 closed 1.0").unwrap();
        bar.cause.as_ref().map(|cause| (cause.seq, cause.ordinal))
    };
    let all = cause(&["A:1", "A:5"], &[]);
    assert_eq!(all, Some((2, 2)), "behind both updates of the one-minute bars");
    assert_eq!((cause(&["A:5"], &[]), cause(&[], &["A:5"])), (all, all));
}

#[test]
fn open_bars_are_told_when_there_is_room() {
    let mut bars = ticks(json!({}));
    bars.subscribe("").unwrap();
    bars.room(Some(0));
    tick(&mut bars, "A", 0, 1.0);
    bars.advance(60 * SECOND).unwrap();
    tick(&mut bars, "A", 60_000, 2.0);
    tick(&mut bars, "A", 60_001, 3.0);
    bars.writable().unwrap();
    assert_eq!(brief(&mut bars), ["A:1 closed 1.0", "A:1 current 3.0"]);
}

#[test]
fn a_restart_in_the_middle_of_a_bar_changes_nothing() {
    let mut bars = ticks(json!({}));
    bars.subscribe("").unwrap();
    tick(&mut bars, "A", 0, 5.0);
    let saved = bars.save().unwrap();
    tick(&mut bars, "A", 1, 9.0);
    bars.advance(61 * SECOND).unwrap();
    bars.published();
    bars.restart_from(Some(saved)).unwrap();
    bars.advance(SECOND).unwrap();
    let again = json!({"symbol": "A", "time": START + 1, "price": 9.0, "size": 1});
    let arrived = Some((START + 1) * 1_000_000);
    let input = broadcastd_plugin_api::testing::Input::new("ticks:A", "tick", &again);
    bars.input(&broadcastd_plugin_api::testing::Input { unix_ns: arrived, ..input }).unwrap();
    bars.advance(SECOND).unwrap();
    assert_eq!(brief(&mut bars), ["A:1 current 9.0", "A:1 closed 9.0", "-A:1 current"]);
    assert_eq!(counted(&bars, "late_ticks_total"), 0.0);
}

#[test]
fn records_are_those_of_every_topic() {
    let mut bars = ticks(json!({}));
    tick(&mut bars, "A", 0, 5.0);
    bars.advance(60 * SECOND).unwrap();
    tick(&mut bars, "A", 60_000, 6.0);
    tick(&mut bars, "B", 60_000, 7.0);
    bars.restart().unwrap();
    bars.published();
    let records: Vec<String> = bars.records().unwrap().iter().map(line).collect();
    assert_eq!(records, ["~A:1 closed 5.0", "~A:1 current 6.0", "~B:1 current 7.0"]);
}

#[test]
fn state_of_another_version_is_refused() {
    let state = Some((9, b"{}".to_vec()));
    let setup =
        broadcastd_plugin_api::testing::Setup { state, ..broadcastd_plugin_api::testing::Setup::new(json!({})) };
    let error = Harness::<Bars>::set_up(setup).unwrap_err();
    assert!(error.message.contains("version 9"), "{error}");
}

#[test]
fn new_settings_keep_the_open_bars_of_topics_that_stay() {
    let mut bars = ticks(json!({"interval": "2s"}));
    bars.subscribe("").unwrap();
    tick(&mut bars, "A", 1, 5.0);
    tick(&mut bars, "B", 1, 3.0);
    bars.published();
    let settings = |more: Value| {
        let mut all = json!({"source": "ticks", "symbols": ["B", "C"], "close_grace": "0s"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    assert!(bars.reconfigure(&settings(json!({"interval": "1s", "resolutions": ["1", "5"]}))).unwrap());
    assert_eq!(brief(&mut bars), ["-A:1 current"]);
    tick(&mut bars, "B", 2, 4.0);
    let published = bars.published();
    assert_eq!(published.iter().map(line).collect::<Vec<_>>(), ["B:1 current 4.0", "B:5 current 4.0"]);
    assert_eq!((&published[0].payload["open"], &published[1].payload["open"]), (&json!(3.0), &json!(4.0)));
    assert!(!bars.reconfigure(&json!({"source": "mock"})).unwrap(), "another source is another instance");
    let error = bars.reconfigure(&settings(json!({"resolutions": ["1", "m"]}))).unwrap_err();
    assert_eq!(error.pointer, "/resolutions/1");
    tick(&mut bars, "B", 3, 5.0);
    assert_eq!(brief(&mut bars).len(), 2, "the old settings hold");
    assert_eq!(counted(&bars, "ticks_total"), 4.0);
}

#[test]
fn the_mock_goes_on_from_its_prices() {
    let mut bars = start(json!({"symbols": ["A"]}));
    bars.subscribe("").unwrap();
    bars.advance(20 * SECOND).unwrap();
    let close = |bars: &mut Harness<Bars>| bars.published().last().unwrap().payload["close"].as_f64().unwrap();
    let before = close(&mut bars);
    bars.restart().unwrap();
    bars.advance(SECOND).unwrap();
    let restarted = close(&mut bars);
    bars.reconfigure(&json!({"symbols": ["B", "A"], "interval": "1s"})).unwrap();
    bars.advance(SECOND).unwrap();
    let published = bars.published();
    let reconfigured = published.iter().rfind(|event| event.topic == "A:1").unwrap().payload["close"].as_f64().unwrap();
    for after in [restarted, reconfigured] {
        assert!((after / before - 1.0).abs() < 0.02, "{before} became {after}");
    }
}

fn recording(name: &str, text: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("bars-{}-{name}.csv", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_replay_is_played_to_its_end_and_waits_for_room() {
    let lines = 3 * crate::source::STEP_LINES as i64;
    let text: String = (0..lines).map(|line| format!("{},{},1\n", line * 1_000, 100 + line % 7)).collect();
    let file = recording("max", &(text + "nonsense\n"));
    let mut bars = start(json!({"source": "replay", "replay": {"file": file, "symbol": "X", "speed": "max"}}));
    bars.subscribe("").unwrap();
    bars.room(Some(3));
    bars.advance(SECOND).unwrap();
    assert_eq!((bars.published().len(), counted(&bars, "ticks_total")), (3, 1_000.0), "it is blocked");
    bars.writable().unwrap();
    let mut published = bars.published();
    bars.restart().unwrap();
    bars.advance(SECOND).unwrap();
    published.extend(bars.published());
    let closed: Vec<_> = published.iter().filter(|event| event.key == "closed").collect();
    let times: Vec<i64> = closed.iter().map(|event| event.payload["time"].as_i64().unwrap()).collect();
    assert_eq!(times, (3..50).map(|minute| minute * 60_000).collect::<Vec<_>>(), "each once, none missing");
    assert_eq!((counted(&bars, "ticks_total"), counted(&bars, "replay_lines_skipped_total")), (3_000.0, 1.0));
    assert_eq!(bars.until_next_timer(), Some(SECOND), "only records are looked after");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_replay_with_a_factor_keeps_its_pace() {
    let file = recording("factor", "t,p,s\n1000,1,1\n21000,2,1\n");
    let mut bars = start(json!({"source": "replay", "replay": {"file": file, "symbol": "X", "speed": 2.0}}));
    bars.subscribe("").unwrap();
    bars.advance(Duration::from_millis(9_999)).unwrap();
    assert_eq!(brief(&mut bars), ["X:1 current 1.0"]);
    bars.advance(Duration::from_millis(1)).unwrap();
    assert_eq!(brief(&mut bars), ["X:1 current 2.0", "X:1 closed 2.0", "-X:1 current"]);
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let settings = json!({"source": "replay", "replay": {"file": "/nowhere.csv", "symbol": "X"}});
    let error = Harness::<Bars>::new(settings).unwrap_err();
    assert!(error.pointer == "/replay/file" && error.message.contains("/nowhere.csv cannot be read"), "{error}");
}

#[test]
fn the_stream_is_declared_with_other_spellings_and_a_schema() {
    use broadcastd_plugin_api::Broadcaster;
    let stream = Bars::stream().unwrap();
    assert_eq!(stream.aliases["resolution"]["D"], "1D");
    let schema = &stream.kinds["bar"].schema;
    let mut bars = start(json!({"symbols": ["A"]}));
    bars.subscribe("").unwrap();
    bars.advance(SECOND).unwrap();
    let event = bars.published().remove(0);
    let mut names: Vec<&String> = event.payload.as_object().unwrap().keys().collect();
    let mut declared: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    names.sort();
    declared.sort();
    assert_eq!(names, declared);
    assert_eq!(schema["required"].as_array().unwrap().len(), names.len());
}

#[test]
fn too_many_waiting_bars_are_a_failure_and_not_a_loss() {
    let mut bars = ticks(json!({"clock": "event", "resolutions": ["1T"], "max_future": "1d"}));
    bars.log_level(0);
    bars.subscribe("").unwrap();
    bars.room(Some(0));
    for after in 0..crate::publish::MAX_WAITING as i64 {
        tick(&mut bars, "A", after, 5.0);
    }
    let data = json!({"symbol": "A", "time": START + 1_000_000, "price": 5.0, "size": 1});
    let error = bars.message("ticks:A", "tick", &data).unwrap_err();
    assert!(error.message.contains("100000 final bars wait"), "{error}");
}

#[test]
fn what_was_made_up_is_forgotten_without_a_mock() {
    let mut bars = start(json!({"symbols": ["A"]}));
    assert!(bars.logs().iter().any(|log| log.message.contains("made up") && log.level == abi::LOG_INFO));
    bars.advance(90 * SECOND).unwrap();
    let saved = bars.save().unwrap();
    bars.restart_from(Some(saved.clone())).unwrap();
    assert_eq!(bars.records().unwrap().len(), 2, "a restart goes on with them");
    let mut without = ticks(json!({}));
    assert_eq!(without.logs().iter().filter(|log| log.message.contains("made up")).count(), 0);
    without.restart_from(Some(saved)).unwrap();
    assert_eq!(without.records().unwrap(), [], "open and closed bars are gone");
    tick(&mut without, "A", 1_000, 5.0);
    let real = without.save().unwrap();
    without.restart_from(Some(real)).unwrap();
    assert_eq!(without.records().unwrap().iter().map(line).collect::<Vec<_>>(), ["~A:1 current 5.0"]);
}

#[test]
fn made_up_trades_go_into_no_real_bar_and_on_from_its_price() {
    let mut real = ticks(json!({}));
    real.subscribe("").unwrap();
    real.room(Some(0));
    tick(&mut real, "A", 0, 999.0);
    real.advance(60 * SECOND).unwrap();
    tick(&mut real, "A", 60_000, 1_000.0);
    let state = Some((STATE_VERSION, real.save().unwrap()));
    let unix_ns = (START + 61_000) * 1_000_000;
    let mut made_up =
        Harness::<Bars>::set_up(Setup { unix_ns, state, ..Setup::new(json!({"symbols": ["A"]})) }).unwrap();
    made_up.subscribe("").unwrap();
    assert_eq!(brief(&mut made_up), ["A:1 closed 999.0"], "what waited for room is told");
    assert_eq!(made_up.records().unwrap(), []);
    made_up.advance(SECOND).unwrap();
    let published = made_up.published();
    let bar = &published[0].payload;
    assert_eq!(bar["volume"].as_f64().unwrap() % 10.0, 0.0, "of the trade of 1 before there is nothing in it: {bar}");
    assert!((bar["open"].as_f64().unwrap() / 1_000.0 - 1.0).abs() < 0.02, "{bar}");
}

#[test]
fn what_was_not_heard_while_bars_were_made_up_is_not_late() {
    let mut made_up = start(json!({"symbols": ["A"]}));
    made_up.advance(90 * SECOND).unwrap();
    let state = Some((STATE_VERSION, made_up.save().unwrap()));
    let settings = json!({"source": "ticks", "symbols": ["A"], "close_grace": "0s"});
    let unix_ns = (START + 90_000) * 1_000_000;
    let mut real = Harness::<Bars>::set_up(Setup { unix_ns, state, ..Setup::new(settings) }).unwrap();
    real.subscribe("").unwrap();
    for time in [START + 1_000, START + 2_000] {
        let data = json!({"symbol": "A", "time": time, "price": 5.0, "size": 1});
        real.input(&Input { unix_ns: Some(time * 1_000_000), ..Input::new("ticks:A", "tick", &data) }).unwrap();
        real.advance(SECOND / 2).unwrap();
    }
    assert_eq!(counted(&real, "late_ticks_total"), 0.0);
    real.advance(SECOND).unwrap();
    assert_eq!(brief(&mut real), ["A:1 current 5.0", "A:1 current 5.0", "A:1 closed 5.0", "-A:1 current"]);
}

#[test]
fn the_first_trade_that_is_refused_for_a_reason_is_a_warning() {
    let warnings = |bars: &mut Harness<Bars>| {
        let warned = bars.logs().into_iter().filter(|log| log.level == abi::LOG_WARN);
        warned.map(|log| log.message).collect::<Vec<_>>()
    };
    let mut bars = ticks(json!({}));
    for _ in 0..3 {
        bars.message("ticks:A", "tick", &json!({"symbol": "A", "price": 1})).unwrap();
        tick(&mut bars, "C", 0, 5.0);
        bars.message("ticks:A", "tick", &json!({"symbol": "A", "time": START, "price": 1, "size": 1, "id": 7}))
            .unwrap();
    }
    let told = warnings(&mut bars);
    assert_eq!(told.len(), 2, "a trade that comes again is none: {told:?}");
    assert!(told[0].contains("missing field `time`") && told[1].contains("not among the symbols"), "{told:?}");
    assert_eq!(counted(&bars, "ticks_rejected_total"), 8.0);
    let mut mock = start(json!({"symbols": ["A"]}));
    tick(&mut mock, "A", 0, 5.0);
    tick(&mut mock, "A", 0, 5.0);
    let told = warnings(&mut mock);
    assert!(told.len() == 1 && told[0].contains("the source is not \"ticks\""), "{told:?}");
    assert_eq!(counted(&mock, "inputs_ignored_total"), 2.0);
}
