//! The watchdog of systemd is fed while shards and accept loops move, and only then: threads of a running daemon are
//! stopped one by one, as a debugger stops them.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;

use crate::house;
use crate::lifecycle::Service;
use crate::needs;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::programs(&["python3", "ptrace"], a_shard_that_stops_ends_the_signs_of_life),
        needs::programs(&["python3", "ptrace"], a_listener_whose_threads_stop_ends_the_signs_of_life),
        needs::nothing(a_plugin_that_hangs_ends_no_sign_of_life),
    ]
}

/// How long systemd waits for a sign of life here; three come in that time.
const PERIOD: Duration = Duration::from_secs(3);

/// Stops the threads of a process that have a name, until its input ends.
const STOP: &str = r#"
import ctypes, os, sys

SEIZE, INTERRUPT = 0x4206, 0x4207
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
tasks = f"/proc/{sys.argv[1]}/task"
threads = [int(thread) for thread in os.listdir(tasks) if open(f"{tasks}/{thread}/comm").read().strip() == sys.argv[2]]
for thread in threads:
    for request in (SEIZE, INTERRUPT):
        if ptrace(request, thread, None, None) != 0:
            sys.exit(f"{thread}: {os.strerror(ctypes.get_errno())}")
    os.waitpid(thread, 0x40000000)
print(len(threads), flush=True)
sys.stdin.read()
"#;

/// Threads that do not move until this is dropped.
pub struct Stopped(Child);

impl Stopped {
    pub fn threads(process: u32, name: &str, many: usize) -> Self {
        let mut debugger = Command::new("python3")
            .args(["-c", STOP, &process.to_string(), name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stopped = String::new();
        BufReader::new(debugger.stdout.take().unwrap()).read_line(&mut stopped).unwrap();
        assert_eq!(stopped.trim(), many.to_string(), "threads called {name}");
        Self(debugger)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        _ = self.0.wait();
    }
}

fn a_shard_that_stops_ends_the_signs_of_life() {
    stops_with("shard-1", 1);
}

fn a_listener_whose_threads_stop_ends_the_signs_of_life() {
    stops_with("http", 2);
}

/// The signs of life end with these threads, and come back with them.
fn stops_with(threads: &str, many: usize) {
    let service = watched("", &[("BROADCASTD_SERVER__SHARDS", "2")]);
    let stopped = Stopped::threads(service.pid(), threads, many);
    let ends = (0..5).any(|_| service.heard_within(PERIOD).is_none());
    assert!(ends, "systemd hears signs of life although {threads} stands still");
    drop(stopped);
    assert_eq!(service.heard(), "WATCHDOG=1\n");
}

fn a_plugin_that_hangs_ends_no_sign_of_life() {
    let hangs = "[broadcasters.hangs]\nplugin = \"faulty\"\nsettings = { mode = \"hang\", at = \"timer\" }\n";
    let service = watched(hangs, &[]);
    house::until("the call is known not to return", || readyz(&service).contains("hangs is stuck"));
    while service.heard_within(Duration::from_millis(1)).is_some() {}
    for _ in 0..3 {
        assert_eq!(service.heard_within(PERIOD).as_deref(), Some("WATCHDOG=1\n"));
    }
}

/// A daemon that systemd watches and has had a sign of life from.
fn watched(more: &str, env: &[(&str, &str)]) -> Service {
    let period = PERIOD.as_micros().to_string();
    let service = Service::start_with(more, &[env, &[("WATCHDOG_USEC", &period)]].concat());
    for word in ["READY=1\n", "STATUS=running\n", "WATCHDOG=1\n"] {
        assert_eq!(service.heard(), word);
    }
    service
}

fn readyz(service: &Service) -> String {
    let mut socket = UnixStream::connect(service.folder().join("admin.sock")).unwrap();
    socket.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}
