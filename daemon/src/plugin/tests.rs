//! Supervisor, hub and real libraries together: a house to try them in, with a plugin compiled for each test.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::broadcaster::Phase;
use super::plan::{Change, Wanted};
use super::reload::Aim;
use super::timing::virtual_clock::VirtualClock;
use super::*;
use crate::event::{Draft, Event, LogId, Position};
use crate::hub::log::Answer;
use crate::hub::pattern::Pattern;
use crate::hub::settings::Source;
use crate::hub::stream::Stream;
use crate::hub::targets::{Full, Outlet};
use crate::hub::{Reader, Wish};

mod alone;
mod commands;
mod declaring;
mod faulty;
mod inputs;
mod inspecting;
mod loading;
mod panics;
mod probation;
mod running;
mod succession;

/// A hub, a supervisor and a folder of plugins built for the test.
struct House {
    dir: tempfile::TempDir,
    clock: Arc<VirtualClock>,
    hub: Arc<Hub>,
    supervisor: Supervisor,
}

impl House {
    fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap(), "epoch-1")
    }

    fn on(dir: tempfile::TempDir, epoch: &str) -> Self {
        let clock = Arc::new(VirtualClock::default());
        let hub = Hub::new(epoch);
        hub.declare("in", Settings::default());
        let config = Config {
            places: Places { dirs: vec![dir.path().to_owned()], ..Places::default() },
            cache_dir: dir.path().join("cache"),
            state_dir: dir.path().join("state"),
            stream_defaults: Settings::default(),
            tell: crate::plugin::news::nobody(),
            timing: Timing {
                hand_over: Duration::from_secs(20),
                stop: Duration::from_secs(20),
                create: Duration::from_secs(20),
                ..Timing::default()
            },
            clock: clock.clone(),
        };
        let supervisor = Supervisor::new(hub.clone(), config);
        Self { dir, clock, hub, supervisor }
    }

    /// The daemon starts again: another epoch, the same folders.
    fn again(self) -> Self {
        self.supervisor.stop();
        Self::on(self.dir, "epoch-2")
    }

    fn reload(&self, wanted: &[Wanted]) -> Result<Vec<Change>, Vec<Problem>> {
        self.supervisor.prepare(wanted.to_vec(), Aim::Exchange).and_then(|prepared| self.supervisor.commit(prepared))
    }

    /// Publishes into the declared stream.
    fn input(&self, what: &str) {
        let payload = json!({ "do": what }).to_string();
        let draft = Draft { kind: "do", payload: payload.as_bytes(), ..Draft::default() };
        self.stream("in").publish(&draft, None).unwrap();
    }

    fn stream(&self, name: &str) -> Arc<Stream> {
        self.hub.stream(name).unwrap()
    }

    fn events(&self, name: &str) -> Vec<Arc<Event>> {
        let stream = self.stream(name);
        let since = Position { epoch: stream.epoch().clone(), seq: 0 };
        let wish = Wish {
            patterns: &[Pattern::parse(&format!("{name}:A")).unwrap()],
            audience: "",
            reader: Reader::Client,
            since: Some(&since),
        };
        match stream.answer(&wish).unwrap().answer {
            Answer::Recovered(events) => events,
            // RECORD_ONLY events count as evicted: begin behind the last of them.
            Answer::Snapshot(_) => {
                let all = (0..=stream.figures().seq).rev();
                let mut found = Vec::new();
                for seq in all {
                    let since = Position { epoch: stream.epoch().clone(), seq };
                    match stream.answer(&Wish { since: Some(&since), ..wish }).unwrap().answer {
                        Answer::Recovered(events) => found = events,
                        Answer::Snapshot(_) => break,
                    }
                }
                found
            }
        }
    }

    /// Payloads of a kind that a broadcaster published since its records were last told.
    fn said(&self, name: &str, kind: &str) -> Vec<Value> {
        let events = self.events(name);
        let payload = |event: &Arc<Event>| serde_json::from_slice(&event.payload).unwrap();
        events.iter().filter(|event| *event.kind == *kind).map(payload).collect()
    }

    fn numbers(&self, name: &str) -> Vec<u64> {
        self.said(name, "n").iter().map(|payload| payload["n"].as_u64().unwrap()).collect()
    }

    /// Subscribes to all that is published from here on.
    fn subscribe(&self, name: &str) -> Arc<Heard> {
        let heard = Arc::new(Heard::default());
        let outlet: Arc<dyn Outlet> = heard.clone();
        let wish =
            Wish { patterns: &[Pattern::parse(name).unwrap()], audience: "", reader: Reader::Client, since: None };
        self.stream(name).subscribe(&wish, &outlet).unwrap();
        heard
    }

    /// What a snapshot shows.
    fn shown(&self, name: &str) -> String {
        let wish =
            Wish { patterns: &[Pattern::parse(name).unwrap()], audience: "", reader: Reader::Client, since: None };
        let Answer::Snapshot(snapshot) = self.stream(name).answer(&wish).unwrap().answer else { panic!() };
        snapshot.collections().iter().map(|(_, records)| String::from_utf8_lossy(records).into_owned()).collect()
    }

    fn phase(&self, name: &str) -> Phase {
        self.supervisor.status_of(name).unwrap().state
    }

    /// Whether it has failed so often, and what follows is decided: until then the clock had better stand still.
    fn has_failed(&self, name: &str, times: u64) -> bool {
        let is_decided = || matches!(self.phase(name), Phase::BackingOff | Phase::Quarantined);
        self.supervisor.status_of(name).unwrap().errors == times && is_decided()
    }

    /// Moves the clock, but not while a call into the plugin runs: else every call would seem to take for ever.
    fn tick(&self, by: Duration) {
        let shared: Vec<_> = self.supervisor.shown().values().filter_map(|one| one.shared.clone()).collect();
        let ports = shared.iter().filter_map(|shared| shared.lock().port.as_ref().map(|(port, _)| port.clone()));
        if ports.into_iter().all(|port| port.called_at().is_none()) {
            self.clock.advance(by);
        }
    }

    fn build(&self, id: &str, definitions: &[&str]) {
        build(self.dir.path(), id, definitions);
    }
}

/// A subscriber that keeps what it hears, and behind how many events the source came or went.
#[derive(Default)]
struct Heard {
    events: Mutex<Vec<Arc<Event>>>,
    sources: Mutex<Vec<(usize, Source)>>,
}

impl Outlet for Heard {
    fn id(&self) -> u64 {
        0
    }

    fn offer(&self, event: &Arc<Event>) -> Result<(), Full> {
        self.events.lock().unwrap().push(event.clone());
        Ok(())
    }

    fn source_changed(&self, _: LogId, _: u64, source: &Source) {
        let behind = self.events.lock().unwrap().len();
        self.sources.lock().unwrap().push((behind, source.clone()));
    }

    fn records_replaced(&self, _: LogId, _: u64, _: &crate::hub::records::Snapshot) {}
}

impl Heard {
    fn numbers(&self) -> Vec<u64> {
        self.said("n").iter().map(|payload| payload["n"].as_u64().unwrap()).collect()
    }

    fn said(&self, kind: &str) -> Vec<Value> {
        let events = self.events.lock().unwrap();
        let payload = |event: &Arc<Event>| serde_json::from_slice(&event.payload).unwrap();
        events.iter().filter(|event| *event.kind == *kind).map(payload).collect()
    }
}

fn wanted(name: &str, plugin: &str, mode: &str) -> Wanted {
    Wanted { name: name.into(), plugin: plugin.into(), settings: json!({ "mode": mode }), ..Wanted::default() }
}

fn listening(wanted: Wanted, streams: &[&str]) -> Wanted {
    Wanted { listen: streams.iter().map(|name| (*name).to_owned()).collect(), ..wanted }
}

/// Compiles the test plugin as `libID.so`; `mv`d into place, as one replaces a plugin.
fn build(dir: &Path, id: &str, definitions: &[&str]) {
    let mut arguments = vec![format!("-DID=\"{id}\"")];
    let given = |name: &str| definitions.iter().any(|definition| definition.starts_with(name));
    if !given("VERSION") {
        arguments.push("-DVERSION=\"1.0.0\"".to_owned());
    }
    if !given("WITHOUT_NOTE") {
        arguments.push("-DWITH_NOTE".to_owned());
    }
    arguments.extend(definitions.iter().map(|definition| format!("-D{definition}")));
    compile("daemon/src/plugin/testing.c", &arguments, &dir.join(format!("lib{id}.so")));
}

/// Compiles a source of the workspace to a library; `mv`d into place, as one replaces a plugin.
fn compile(source: &str, arguments: &[String], library: &Path) {
    static BUILDS: AtomicU32 = AtomicU32::new(0);
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let temporary = library.with_extension(format!("build-{}", BUILDS.fetch_add(1, Ordering::Relaxed)));
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-Wall", "-Werror", "-Wno-unused-function", "-Wno-unused-variable", "-shared", "-fPIC"]);
    cc.args(["-pthread", "-o"]).arg(&temporary).arg("-I").arg(workspace.join("plugin-api/include")).args(arguments);
    let built = cc.arg(workspace.join(source)).output().expect("the tests need a C compiler called cc");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    fs::rename(temporary, library).unwrap();
}

/// Waits until something is so; it fails loudly when that does not come.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(1)); // others need the processor for it
    }
}
