//! The main job through the real process: broadcasters from config.toml, events to clients, reload, signals.

use std::process::Command;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::alerts::{blocks, is_shown};
use crate::house::{self, until};
use crate::needs;
use crate::process::Daemon;
use crate::programs::Program;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(a_relay_delivers_what_is_published),
        needs::nothing(a_reload_keeps_connections),
        needs::nothing(the_mock_market_runs_as_shipped),
        needs::program("curl", the_five_minutes_of_bars_are_as_the_page_shows),
    ]
}

fn say(client: &mut house::Client, message: &Value) {
    house::say(client, &message.to_string());
}

fn next(client: &mut house::Client) -> Value {
    serde_json::from_str(&house::hear(client)).unwrap()
}

fn a_relay_delivers_what_is_published() {
    let daemon = Daemon::start("[streams.ticks]\nvisible = true\n");
    let mut client = daemon.connect();
    say(&mut client, &json!({"type": "subscribe", "stream": "ticks"}));
    assert_eq!(next(&mut client)["data"]["status"], "subscribed");
    assert_eq!(next(&mut client)["type"], "full_update");
    let answer = daemon.publish("ticks", &json!({"type": "tick", "topic": "ticks:AAPL", "data": {"price": 1.5}}));
    assert_eq!((answer.status, answer.json()["accepted"].clone()), (202, json!(1)));
    let event = next(&mut client);
    assert_eq!((&event["topic"], &event["data"]), (&json!("ticks:AAPL"), &json!({"price": 1.5})));
    let (status, _) = daemon.stop();
    assert_eq!(status.code(), Some(0));
}

fn the_mock_market_runs_as_shipped() {
    let daemon = Daemon::start(
        "[broadcasters.bars]\nplugin = \"bars\"\nenv = \"BAR_BROADCASTER\"\n\
         settings = { source = \"mock\", interval = \"20ms\", symbols = [\"AAPL\"], resolutions = [\"1\", \"D\"] }\n",
    );
    let mut client = daemon.connect();
    let params = json!({"symbol": "AAPL", "resolution": "D"});
    say(&mut client, &json!({"type": "subscribe", "stream": "bars", "params": params, "id": "1"}));
    let reply = next(&mut client);
    assert_eq!((&reply["data"]["topic"], &reply["data"]["params"]), (&json!("bars:AAPL:1D"), &params));
    assert_eq!(next(&mut client)["type"], "full_update");
    for _ in 0..5 {
        let event = next(&mut client);
        let price = |key: &str| event["data"][key].as_f64().unwrap();
        assert!(
            price("low") <= price("open").min(price("close")) && price("open").max(price("close")) <= price("high")
        );
        assert_eq!((&event["type"], &event["data"]["resolution"]), (&json!("bar"), &json!("1D")));
    }
    let status = daemon.get("/v1/broadcasters/bars").json();
    for key in ["is_running", "interval", "symbols", "resolutions", "broadcasts_sent", "broadcasts_skipped", "errors"] {
        assert!(!status[key].is_null(), "{key} in {status}");
    }
    assert!(status["broadcasts_skipped"].as_u64() > Some(0), "nobody listens to bars:AAPL:1");
}

fn a_reload_keeps_connections() {
    let config = |interval: u32| {
        format!(
            "[streams.ticks]\nvisible = true\n[broadcasters.hello]\nplugin = \"faulty\"\nsettings = {{ mode = \"well\", interval_ms = {interval} }}\n"
        )
    };
    let daemon = Daemon::start(&config(20));
    let mut client = daemon.connect();
    say(&mut client, &json!({"type": "subscribe", "stream": "hello"}));
    next(&mut client);
    let mut seq = next(&mut client)["seq"].as_u64().unwrap();
    daemon.configure(&config(10));
    daemon.wait_for_log("the configuration was reloaded");
    for _ in 0..20 {
        let event = next(&mut client);
        assert!(event["seq"].as_u64().unwrap() > seq);
        seq = event["seq"].as_u64().unwrap();
    }
    let skip = daemon.log_lines();
    daemon.configure("[broadcasters.hello]\nplugin = 7\n");
    let line = daemon.wait_for_log_after(skip, "the configuration was refused");
    assert!(line.contains("config.toml:6:10"), "{line}");
    assert!(next(&mut client)["seq"].as_u64().unwrap() > seq);
}

fn the_five_minutes_of_bars_are_as_the_page_shows() {
    let page = blocks("docs/bars.md", "\n## In five minutes");
    let [config, listen, trade, shown] = &page[..] else { panic!("{page:?}") };
    let daemon = Daemon::start(&config.1);
    let here = |text: &str| text.replace("127.0.0.1:9180", &daemon.admin).replace("127.0.0.1:8080", &daemon.clients);
    let listener = Program::start(Command::new("sh").args(["-c", &format!("exec {}", here(&listen.1))]));
    until("it listens", || listener.lines().iter().any(|line| line == "event: full_update"));
    let traded = Command::new("sh").args(["-c", &here(&trade.1)]).output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&traded.stdout).unwrap()["accepted"], 1);
    let shown = shown.1.replace("1767225600000", "…"); // the page was written in another minute
    let is_told = |line: &str| listener.lines().iter().any(|told| is_shown(told, line));
    until("the bar is told as the page shows it", || shown.lines().all(is_told));
}
