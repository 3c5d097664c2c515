//! `plugin run`: events out, inputs in, and an end in order.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::{Value, json};

use super::{place, so};
use crate::process::{self, signal, wait};

/// A plugin that runs by itself.
struct Alone {
    child: Child,
    out: BufReader<ChildStdout>,
    input: Option<ChildStdin>,
}

impl Alone {
    fn start(place: &Path, plugin: &str, settings: &Value) -> Self {
        let mut command = process::command(place, &[]);
        command.args(["plugin", "run", so(plugin).to_str().unwrap(), "--settings", &settings.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Self { out: BufReader::new(child.stdout.take().unwrap()), input: child.stdin.take(), child }
    }

    fn say(&mut self, line: &Value) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// What it says until it ends, its exit code, and its errors.
    fn end(mut self) -> (Vec<Value>, i32, String) {
        drop(self.input.take());
        let lines: Vec<String> = self.out.by_ref().lines().map(Result::unwrap).collect();
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        let code = wait(&mut self.child).code().unwrap();
        (lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect(), code, errors)
    }
}

fn tick(price: f64) -> Value {
    let data = json!({ "symbol": "AAPL", "price": price, "size": 1, "time": 1_767_625_200_000_i64 });
    json!({ "stream": "ticks", "topic": "ticks:AAPL", "type": "tick", "data": data })
}

pub fn events_come_out_as_they_would_go_in() {
    let place = place();
    let settings = json!({ "source": "ticks", "symbols": ["*"], "resolutions": ["2T"], "clock": "event" });
    let mut bars = Alone::start(place.path(), "bars", &settings);
    bars.say(&tick(150.5));
    let first = bars.hear();
    assert_eq!(
        (&first["stream"], &first["topic"], &first["type"]),
        (&"bars".into(), &"bars:AAPL:2T".into(), &"bar".into())
    );
    assert_eq!(first["data"]["close"], 150.5, "{first}");
    bars.say(&tick(151.5));
    let (rest, code, errors) = bars.end();
    assert_eq!((code, errors.as_str()), (0, ""), "{rest:?}");
    assert_eq!(rest.last().unwrap()["data"]["close"], 151.5, "what was given before the end is taken: {rest:?}");
    // What one says another takes: the form is the same.
    let mut faulty = Alone::start(place.path(), "faulty", &json!({ "interval_ms": 3_600_000 }));
    faulty.say(&first);
    let heard = faulty.hear();
    assert_eq!((&heard["type"], &heard["data"]["count"]), (&"count".into(), &1.into()));
    assert_eq!(faulty.end().1, 0);
}

pub fn a_signal_ends_it_in_order_and_a_second_at_once() {
    let place = place();
    for name in ["INT", "TERM"] {
        let mut faulty = Alone::start(place.path(), "faulty", &json!({ "interval_ms": 5 }));
        faulty.hear();
        signal(faulty.child.id(), name);
        let input = faulty.input.take(); // it is still open when it ends
        let (_, code, errors) = faulty.end();
        drop(input);
        assert_eq!((code, errors.as_str()), (0, ""), "{name}");
    }
    let mut hangs = Alone::start(place.path(), "faulty", &json!({ "interval_ms": 5, "mode": "hang", "at": "stop" }));
    hangs.hear();
    // Signals that come together are one: it is asked until it has ended.
    let mut asked = 0;
    while hangs.child.try_wait().unwrap().is_none() {
        signal(hangs.child.id(), "INT");
        asked += 1;
        std::thread::sleep(std::time::Duration::from_millis(50)); // nothing tells that a signal was heard
    }
    let (_, code, errors) = hangs.end();
    assert_eq!((code, errors.as_str()), (70, "ended at once: what it had to save is lost\n"), "asked {asked} times");
}

pub fn inputs_that_are_wrong_are_told_and_the_others_taken() {
    let place = place();
    let mut faulty = Alone::start(place.path(), "faulty", &json!({ "interval_ms": 3_600_000 }));
    for line in
        [json!("text"), json!({}), json!({ "stream": "faulty", "type": "x", "data": {} }), json!({ "stream": "in" })]
    {
        faulty.say(&line);
    }
    writeln!(faulty.input.as_mut().unwrap(), "{{not json\n").unwrap();
    faulty.say(&json!({ "stream": "in", "type": "x", "data": {} }));
    assert_eq!(faulty.hear()["data"]["count"], 1);
    let (rest, code, errors) = faulty.end();
    assert_eq!((rest.len(), code), (0, 64), "{errors}");
    crate::bad_input::golden("plugin-run-inputs", &errors);
}

pub fn one_that_fails_or_hangs_ends_with_its_reason() {
    let place = place();
    let mut told = String::new();
    for settings in [
        json!({ "mode": "panic", "at": "timer", "interval_ms": 5 }),
        json!({ "mode": "error", "at": "new" }),
        json!({ "mode": "panic", "at": "drop" }),
        json!({ "mode": "hang", "at": "stop" }),
        json!({ "mode": "invalid_settings" }),
        json!({ "mode": "wel", "interval_ms": "soon" }),
    ] {
        let mut faulty = Alone::start(place.path(), "faulty", &settings);
        let held = (settings["at"] == "timer").then(|| faulty.input.take()); // it does not end by its input
        let (_, code, errors) = faulty.end();
        drop(held);
        let own = errors.lines().filter(|line| !line.contains("\"timestamp\"")); // its log
        told += &format!("── {settings}: {code}\n{}\n", own.collect::<Vec<_>>().join("\n"));
    }
    crate::bad_input::golden("plugin-run-failed", &told);
}
