//! The separate generator: whatever becomes of it, clients stay connected and miss nothing but new trades.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::house::{Client, hear_json};
use crate::needs;
use crate::process::{Daemon, signal};

/// The generator, built once: `cargo test` alone does not build other packages' programs.
static GENERATOR: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--package", "broadcastd-generator", "--message-format=json", "--quiet"])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(built.status.success(), "the generator does not build");
    let messages = String::from_utf8(built.stdout).unwrap();
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let executable = messages.into_iter().find_map(|message| message["executable"].as_str().map(PathBuf::from));
    executable.unwrap()
});

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(its_crash_shows_as_missing_trades_only),
        needs::nothing(it_publishes_over_http_and_makes_bars),
        needs::nothing(it_waits_for_a_daemon_that_restarts),
    ]
}

/// A generator that is killed with its test.
struct Generator(Child);

impl Generator {
    fn start(arguments: &[&str]) -> Self {
        let child = Command::new(&*GENERATOR).args(arguments).stderr(Stdio::null()).spawn().unwrap();
        Self(child)
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn config(daemon_folder: &Path) -> String {
    let socket = daemon_folder.join("ingest.sock");
    format!("[ingest]\nsocket = \"{}\"\n[streams.ticks]\nvisible = true\n", socket.display())
}

fn trade(client: &mut Client) -> (u64, u64) {
    let event = hear_json(client);
    assert_eq!(event["type"], "tick", "{event}");
    assert!(event["data"]["price"].as_f64() > Some(0.0), "{event}");
    (event["seq"].as_u64().unwrap(), event["data"]["time"].as_u64().unwrap())
}

fn its_crash_shows_as_missing_trades_only() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&config(folder.path()));
    let mut client = daemon.subscriber("ticks");
    let socket = folder.path().join("ingest.sock").display().to_string();
    let arguments = ["--to", &socket, "--symbols", "AAPL", "--every", "5"];
    let mut generator = Generator::start(&arguments);
    let mut last = (0, 0);
    for _ in 0..10 {
        last = trade(&mut client);
    }
    signal(generator.0.id(), "KILL");
    generator.0.wait().unwrap();
    // Everything that was on its way comes before the answer, so that nothing but silence is behind it.
    crate::house::say(&mut client, r#"{"type":"ping"}"#);
    loop {
        let said = hear_json(&mut client);
        if said["data"]["status"] == "pong" {
            break;
        }
        last = (said["seq"].as_u64().unwrap(), said["data"]["time"].as_u64().unwrap());
    }
    let _again = Generator::start(&arguments);
    for _ in 0..10 {
        let next = trade(&mut client);
        assert!(next.0 == last.0 + 1 && next.1 >= last.1, "{next:?} after {last:?}: no number is missing, only time");
        last = next;
    }
}

fn it_publishes_over_http_and_makes_bars() {
    let daemon = Daemon::start(
        "[streams.ticks]\n[broadcasters.bars]\nplugin = \"bars\"\nlisten = [\"ticks\"]\n\
         settings = { source = \"ticks\", resolutions = [\"1\"] }\n",
    );
    let mut client = daemon.connect();
    crate::house::say(&mut client, r#"{"type":"subscribe","topic":"bars:AAPL:1"}"#);
    assert_eq!(hear_json(&mut client)["data"]["status"], "subscribed");
    let admin = format!("http://{}", daemon.admin);
    let _generator = Generator::start(&["--to", &admin, "--symbols", "AAPL,MSFT", "--every", "5"]);
    let bar = loop {
        let said = hear_json(&mut client);
        if said["type"] == "bar" {
            break said;
        }
    };
    assert_eq!((&bar["topic"], &bar["data"]["symbol"]), (&json!("bars:AAPL:1"), &json!("AAPL")));
}

fn it_waits_for_a_daemon_that_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("ingest.sock").display().to_string();
    let mut generator = Generator::start(&["--to", &socket, "--every", "5"]);
    for _ in 0..2 {
        let daemon = Daemon::start(&config(folder.path()));
        let mut client = daemon.subscriber("ticks");
        trade(&mut client);
        daemon.stop();
    }
    assert!(generator.0.try_wait().unwrap().is_none(), "it lives longer than either");
}
