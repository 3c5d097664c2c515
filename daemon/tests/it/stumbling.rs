//! A listener that panics a hundred times amid a million ticks: every bar comes out once and exact, and the records of
//! the end are those of the bars.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::house::{self, Client};
use crate::http;
use crate::needs;
use crate::process::Daemon;

const TICKS: usize = 1_000_000;
const PANICS: u64 = 100;
/// Ticks per request: what a feed collects in a second or two.
const BATCH: usize = 2000;
const SYMBOLS: [&str; 4] = ["ANT", "BEE", "CAT", "DOG"];
/// Resolutions with their length in milliseconds.
const RESOLUTIONS: [(&str, i64); 2] = [("1", 60_000), ("15", 900_000)];
const START: i64 = 1_700_000_000_000;
/// What the client listens to: bars that nobody hears are in the records only.
const HEARD: [&str; 2] = ["bars:*:1", "bars:ANT:15"];
/// The bar of one tick after all others: what is doubled would come before it.
const LAST: &str = "END:1";
const SEED: u64 = 42;
/// What the answer to a full stream asks for.
const RETRY_AFTER: Duration = Duration::from_secs(1);

pub fn tests() -> Vec<Trial> {
    vec![needs::nothing(a_listener_that_panics_a_hundred_times_loses_and_doubles_no_bar)]
}

#[derive(Clone, Copy)]
struct Tick {
    symbol: &'static str,
    time: i64,
    price: f64,
    size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
struct Bar {
    time: i64,
    open: f64,
    high: f64,
    low: f64,
    close: f64,
    volume: u64,
}

/// The final bars of each topic, in the order in which they came.
type Bars = BTreeMap<String, Vec<Bar>>;

/// What a client heard up to the last bar that it waited for.
struct Heard {
    bars: Bars,
    /// Times that the source of the stream went.
    absences: u64,
}

fn a_listener_that_panics_a_hundred_times_loses_and_doubles_no_bar() {
    // The listener's buffer is narrow, so that publishers are refused, too; every failure is within the policy.
    let daemon = Daemon::start(&format!(
        "[streams.ticks]\n[hub]\nlisten_buffer = \"16MiB\"\n[broadcasters.bars]\nplugin = \"stumbling\"\n\
         listen = [\"ticks\"]\nrestart = {{ max = 1000, backoff = \"1ms..10ms\" }}\n\
         settings = {{ panics = {PANICS}, every = 8000, settings = {{ source = \"ticks\", clock = \"event\", \
         symbols = [\"*\"], resolutions = [\"1\", \"15\"] }} }}\n"
    ));
    let mut client = daemon.connect();
    HEARD.iter().for_each(|topic| assert_eq!(records(&mut client, topic), Bars::new()));
    let mut ticks = ticks();
    let expected = aggregate(&ticks);
    let listener = thread::spawn(move || hear(&mut client));
    let refused: usize = ticks.chunks(BATCH).map(|batch| publish(&daemon, batch)).sum();
    flush(&daemon);
    let last = Tick { symbol: "END", ..ticks[TICKS - 1] };
    ticks = vec![last];
    publish(&daemon, &ticks);
    flush(&daemon);
    let mut heard = listener.join().unwrap();
    assert_eq!(heard.bars.remove(LAST).map(|bars| bars.len()), Some(1));
    let is_heard = |topic: &str| topic.ends_with(":1") || topic == "ANT:15";
    same(&heard.bars, &expected.clone().into_iter().filter(|(topic, _)| is_heard(topic)).collect());
    house::until("the records are those of the last bars, heard or not", || {
        let mut shown = records(&mut daemon.connect(), "bars:*:*");
        shown.retain(|topic, _| !topic.starts_with("END"));
        shown == newest(&expected)
    });
    let status = daemon.get("/v1/broadcasters/bars").json();
    assert_eq!((&status["restarts"], &status["errors"]), (&json!(PANICS), &json!(PANICS)), "{status}");
    assert!(heard.absences > 0 && refused > 0, "{} absences, {refused} ticks refused", heard.absences);
    let repeated = daemon.metric(r#"broadcastd_events_repeated_total{stream="bars"}"#);
    assert!(repeated > Some(1000.0), "{repeated:?} repeated events were not published again");
}

/// Ticks as a feed gives them: in time, of symbols that take turns at random, sizes and prices that sum exactly.
fn ticks() -> Vec<Tick> {
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut time = START;
    let mut prices = [400.0; SYMBOLS.len()];
    let mut tick = |_| {
        let which = random.usize(..SYMBOLS.len());
        time += random.i64(0..200);
        prices[which] = f64::clamp(prices[which] + 0.25 * random.i32(-4..=4) as f64, 1.0, 1000.0);
        Tick { symbol: SYMBOLS[which], time, price: prices[which], size: random.u64(1..1000) }
    };
    (0..TICKS).map(&mut tick).collect()
}

/// Bars straight from the ticks, in the plainest way.
fn aggregate(ticks: &[Tick]) -> Bars {
    let mut all = Bars::new();
    for tick in ticks {
        for (resolution, length) in RESOLUTIONS {
            let bars = all.entry(format!("{}:{resolution}", tick.symbol)).or_default();
            let time = tick.time.div_euclid(length) * length;
            let Tick { price, size, .. } = *tick;
            match bars.last_mut().filter(|bar| bar.time == time) {
                None => bars.push(Bar { time, open: price, high: price, low: price, close: price, volume: size }),
                Some(bar) => {
                    (bar.high, bar.low) = (bar.high.max(price), bar.low.min(price));
                    (bar.close, bar.volume) = (price, bar.volume + size);
                }
            }
        }
    }
    all
}

fn same(got: &Bars, expected: &Bars) {
    assert_eq!(got.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (topic, expected) in expected {
        let got = &got[topic];
        let first_wrong = got.iter().zip(expected).position(|(got, expected)| got != expected);
        assert_eq!(first_wrong, None, "{topic}: {:?}", first_wrong.map(|at| (got[at], expected[at])));
        assert_eq!(got.len(), expected.len(), "{topic}");
        let volume = |bars: &[Bar]| bars.iter().map(|bar| bar.volume).sum::<u64>();
        assert_eq!(volume(got), volume(expected), "{topic}");
    }
}

fn newest(bars: &Bars) -> Bars {
    bars.iter().map(|(topic, bars)| (topic.clone(), bars[bars.len() - 1..].to_vec())).collect()
}

/// Publishes ticks in order. How many were refused for want of room before they were taken.
fn publish(daemon: &Daemon, ticks: &[Tick]) -> usize {
    let mut rest = ticks;
    let mut refused = 0;
    loop {
        let mut lines = String::new();
        for Tick { symbol, time, price, size } in rest {
            let data = format!(r#"{{"symbol":"{symbol}","time":{time},"price":{price},"size":{size}}}"#);
            writeln!(lines, r#"{{"type":"tick","topic":"ticks:{symbol}","data":{data}}}"#).unwrap();
        }
        let answer = send(daemon, &lines);
        let accepted = answer.json()["accepted"].as_u64().unwrap() as usize;
        match answer.status {
            202 if accepted == rest.len() => return refused,
            207 if 0 < accepted && accepted < rest.len() => {}
            429 if accepted == 0 => assert_eq!(answer.header("retry-after"), Some("1")),
            _ => panic!("{} for {accepted} of {}", answer.status, rest.len()),
        }
        rest = &rest[accepted..]; // once full, nothing more of a request is tried
        refused += rest.len();
        thread::sleep(RETRY_AFTER);
    }
}

fn flush(daemon: &Daemon) {
    house::until("there is room", || send(daemon, "{\"type\":\"flush\",\"data\":{}}\n").status == 202);
}

fn send(daemon: &Daemon, lines: &str) -> http::Answer {
    http::post(&daemon.admin, "/v1/streams/ticks/publish", "application/x-ndjson", lines.as_bytes())
}

/// Hears all final bars up to those of the last tick. An open bar may be replaced by a newer state of it; nothing else
/// may be missing.
fn hear(client: &mut Client) -> Heard {
    let mut heard = Heard { bars: Bars::new(), absences: 0 };
    let mut seq = 0;
    while !heard.bars.contains_key(LAST) {
        let text = house::hear(client);
        if text.starts_with("{\"type\":\"bar\"") {
            if text.contains("\"final\":true") {
                let event: Value = serde_json::from_str(&text).unwrap();
                assert!(event["seq"].as_u64() > Some(seq), "{text} after {seq}");
                seq = event["seq"].as_u64().unwrap();
                assert_eq!(event["data"]["revision"], 0, "{text}");
                let (topic, bar) = bar(&event["data"]);
                heard.bars.entry(topic).or_default().push(bar);
            }
        } else if text.contains("\"no_source\"") {
            heard.absences += 1;
        } else if text.contains("\"lagged\"") {
            assert!(text.contains("\"policy\":\"latest\""), "{text}");
        } else {
            // A restarted broadcaster's records may be newer than those of bars that nobody hears.
            assert!(text.contains("\"source\"") || text.starts_with("{\"type\":\"full_update\""), "{text}");
        }
    }
    heard
}

/// Subscribes, and what is shown of the final bars.
fn records(client: &mut Client, topic: &str) -> Bars {
    house::say(client, &json!({"type": "subscribe", "topic": topic}).to_string());
    let shown = loop {
        let message = house::hear_json(client);
        if message["type"] == "full_update" {
            break message;
        }
    };
    let mut bars = Bars::new();
    let records = shown["data"]["bars"].as_array().unwrap_or_else(|| panic!("{shown}"));
    for record in records.iter().filter(|record| record["final"] == true) {
        let (topic, bar) = bar(record);
        bars.entry(topic).or_default().push(bar);
    }
    bars
}

fn bar(data: &Value) -> (String, Bar) {
    let text = |field: &str| data[field].as_str().unwrap();
    (format!("{}:{}", text("symbol"), text("resolution")), Bar::deserialize(data).unwrap())
}
