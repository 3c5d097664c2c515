//! Clients that nobody here wrote, and the linter of metrics, on the real daemon.

use std::io::Write;
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::needs;
use crate::process::Daemon;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::program("python3-websockets", the_python_client_hears_events),
        needs::program("node-ws", the_javascript_client_hears_events),
        needs::program("promtool", a_scrape_of_the_whole_daemon_passes_the_linter),
    ]
}

const CONFIG: &str =
    "[streams.ticks]\nvisible = true\n[broadcasters.hello]\nplugin = \"faulty\"\nsettings = { interval_ms = 10 }\n";

/// Connects, subscribes, prints every message up to the third event as a line, and closes.
const PYTHON: &str = r#"
import asyncio, json, sys, websockets

async def main():
    async with websockets.connect(sys.argv[1], subprotocols=["broadcastd.v1"]) as socket:
        await socket.send('{"type":"subscribe","stream":"hello","id":"1"}')
        events = 0
        async for text in socket:
            print(text)
            events += json.loads(text)["type"] == "count"
            if events == 3:
                break

asyncio.run(main())
"#;

const JAVASCRIPT: &str = r#"
const WebSocket = require("ws");
const socket = new WebSocket(process.argv[1], "broadcastd.v1");
let events = 0;
socket.on("open", () => socket.send('{"type":"subscribe","stream":"hello","id":"1"}'));
socket.on("message", data => {
    if (events === 3) return;
    console.log(data.toString());
    events += JSON.parse(data).type === "count";
    if (events === 3) socket.close(1000);
});
socket.on("close", code => process.exit(code === 1000 ? 0 : 1));
socket.on("error", error => { console.error(error); process.exit(1); });
"#;

fn the_python_client_hears_events() {
    hears_events("python3", &["-c", PYTHON]);
}

fn the_javascript_client_hears_events() {
    hears_events("node", &["-e", JAVASCRIPT]);
}

fn hears_events(program: &str, arguments: &[&str]) {
    let daemon = Daemon::start(CONFIG);
    let url = format!("ws://{}/v1/ws", daemon.clients);
    let ended = Command::new(program).args(arguments).arg(url).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let text = String::from_utf8(ended.stdout).unwrap();
    let heard: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let types: Vec<&str> = heard.iter().map(|message| message["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["status", "response", "full_update", "count", "count", "count"]);
    assert_eq!(heard[1]["id"], "1");
    let counts: Vec<u64> = heard[3..].iter().map(|event| event["data"]["count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [counts[0], counts[0] + 1, counts[0] + 2]);
}

fn a_scrape_of_the_whole_daemon_passes_the_linter() {
    let daemon = Daemon::start(CONFIG);
    let mut client = daemon.subscriber("hello");
    crate::house::hear(&mut client);
    assert_eq!(daemon.publish("ticks", &json!({"type": "tick", "data": {}})).status, 202);
    assert_eq!(daemon.publish("ticks", &json!({"data": {}})).status, 422);
    let scrape = daemon.get("/metrics").body;
    let mut linter = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    linter.stdin.take().unwrap().write_all(scrape.as_bytes()).unwrap();
    let said = linter.wait_with_output().unwrap();
    let text = [said.stdout, said.stderr].concat();
    assert!(said.status.success() && text.is_empty(), "{}", String::from_utf8_lossy(&text));
}
