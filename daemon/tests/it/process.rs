//! The real daemon as a process of its own: the built binary, the built plugins, a configuration in a folder that goes
//! with it, ports that the kernel chooses.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, LazyLock, Mutex, mpsc};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::Value;
use tempfile::TempDir;

use crate::house::{self, Client};
use crate::http::{self, PATIENCE};
use crate::needs;

/// What every configuration here begins with: nothing but ports that the kernel chooses.
pub const PORTS: &str = "[server]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n";

/// Where commands ask the daemon, in its folder.
pub const CONTROL: &str = ".local/state/broadcastd/control.sock";

/// The folder of the plugins, built once: `cargo test` alone does not build them. The example is there for what it needs: the
/// features of dependencies are resolved with those of the tests then, as `cargo test` does it. Without, most of what that has
/// compiled would be compiled a second time.
pub static PLUGINS: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--workspace", "--lib", "--example=tally", "--message-format=json", "--quiet"])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(built.status.success(), "the plugins do not build");
    let messages = String::from_utf8(built.stdout).unwrap();
    let files = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let bars = files.filter(|message| message["target"]["name"] == "bars").find_map(|message| {
        message["filenames"]
            .as_array()?
            .iter()
            .filter_map(Value::as_str)
            .find(|file| file.ends_with("libbars.so"))
            .map(PathBuf::from)
    });
    bars.unwrap().parent().unwrap().to_owned()
});

pub fn tests() -> Vec<Trial> {
    vec![needs::nothing(a_daemon_that_never_greets_is_waited_for_no_longer_than_patience)]
}

fn a_daemon_that_never_greets_is_waited_for_no_longer_than_patience() {
    let silent = |script: &str| {
        let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let greeting = read_greeting(child.stdout.take().unwrap(), Duration::from_millis(200));
        _ = child.kill();
        _ = child.wait();
        greeting
    };
    assert_eq!(silent("echo one; exec sleep 60"), Err("no greeting within 200ms".to_owned()));
    assert_eq!(silent("echo one; echo two"), Ok("one\ntwo".to_owned()), "one that ended is not waited for");
}

pub struct Daemon {
    child: Child,
    /// Where clients connect, `127.0.0.1:PORT`.
    pub clients: String,
    /// Where the operator connects.
    pub admin: String,
    pub folder: TempDir,
    log: Arc<Log>,
    greeting: String,
}

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

/// A daemon that ended by itself.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Daemon {
    /// Starts with this configuration behind `PORTS` and waits until it serves.
    pub fn start(config: &str) -> Self {
        Self::start_with(config, &[])
    }

    pub fn start_with(config: &str, env: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), config, env)
    }

    /// Starts in a folder that may have the state of an earlier daemon.
    pub fn start_in(folder: TempDir, config: &str, env: &[(&str, &str)]) -> Self {
        fs::write(folder.path().join("config.toml"), format!("{PORTS}{config}")).unwrap();
        let command = command(folder.path(), env);
        Self::start_by(command, folder)
    }

    /// Starts by a command, in a folder that has a configuration.
    pub fn start_by(mut command: Command, folder: TempDir) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Log::default());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let keep = log.clone();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                keep.lines.lock().unwrap().push(line);
                keep.more.notify_all();
            }
        });
        let greeting = read_greeting(child.stdout.take().unwrap(), PATIENCE).unwrap_or_else(|silence| {
            _ = child.kill();
            _ = child.wait();
            panic!("{silence}, but this log:\n{}", log.text())
        });
        let after = |word: &str| {
            let url = greeting.split_once(word).and_then(|(_, rest)| rest.split_once("://"));
            let rest = url.unwrap_or_else(|| panic!("{greeting}\n{}", log.text())).1;
            rest.split('/').next().unwrap().to_owned()
        };
        Self { clients: after("  clients "), admin: after("  operator "), greeting, child, folder, log }
    }

    pub fn greeting(&self) -> &str {
        &self.greeting
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Replaces the configuration (behind `PORTS`) as an editor does: a new file renamed over the old one.
    pub fn configure(&self, config: &str) {
        self.configure_whole(&format!("{PORTS}{config}"));
    }

    /// The same with a text that names its ports itself.
    pub fn configure_whole(&self, text: &str) {
        let (new, file) = (self.folder.path().join("config.toml.new"), self.folder.path().join("config.toml"));
        fs::write(&new, text).unwrap();
        fs::rename(new, file).unwrap();
    }

    /// Does what makes the daemon reload, and waits until it has.
    pub fn reload(&self, change: impl FnOnce()) {
        let skip = self.log_lines();
        change();
        self.wait_for_log_after(skip, "the configuration was reloaded");
    }

    /// Does what makes the daemon refuse a reload, and gives the whole refusal.
    pub fn refuse(&self, change: impl FnOnce()) -> String {
        let skip = self.log_lines();
        change();
        let line = self.wait_for_log_after(skip, "the configuration was refused");
        let told: Value = serde_json::from_str(&line).unwrap();
        told["message"].as_str().unwrap().to_owned()
    }

    /// Waits for a log line with this text and returns it.
    pub fn wait_for_log(&self, text: &str) -> String {
        self.wait_for_log_after(0, text)
    }

    /// The same, among the lines behind the first `skip`.
    pub fn wait_for_log_after(&self, skip: usize, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().skip(skip).find(|line| line.contains(text)) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no log line with {text:?} in:\n{}", lines.join("\n"));
            lines = self.log.more.wait_timeout(lines, left).unwrap().0;
        }
    }

    pub fn log_lines(&self) -> usize {
        self.log.lines.lock().unwrap().len()
    }

    pub fn log_text(&self) -> String {
        self.log.text()
    }

    pub fn connect(&self) -> Client {
        house::connect(&self.clients, &[]).unwrap()
    }

    /// A client that has heard the stream's records; what comes next are events.
    pub fn subscriber(&self, stream: &str) -> Client {
        let mut client = self.connect();
        house::subscribe(&mut client, stream);
        client
    }

    pub fn get(&self, path: &str) -> http::Answer {
        http::get(&self.admin, path)
    }

    /// The same by the control socket, which is proof enough of an operator.
    pub fn get_proven(&self, path: &str) -> http::Answer {
        let socket = UnixStream::connect(self.folder.path().join(CONTROL)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        http::ask_over(socket, "localhost", &format!("GET {path} HTTP/1.1"), &[], b"")
    }

    /// What `/readyz` gives as reasons, with its status.
    pub fn readiness(&self) -> (u16, Vec<String>) {
        let answer = self.get("/readyz");
        (answer.status, serde_json::from_value(answer.json()["reasons"].take()).unwrap())
    }

    /// One series of `/metrics`, named with its labels as it is written there.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let page = self.get("/metrics").body;
        page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    pub fn publish(&self, stream: &str, body: &Value) -> http::Answer {
        let path = format!("/v1/streams/{stream}/publish");
        http::post(&self.admin, &path, "application/json", body.to_string().as_bytes())
    }

    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits until the process has ended, and gives its folder back for a next one.
    pub fn wait(mut self) -> (ExitStatus, TempDir) {
        let status = wait(&mut self.child);
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        (status, folder)
    }

    pub fn stop(self) -> (ExitStatus, TempDir) {
        self.signal("TERM");
        self.wait()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Log {
    fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }
}

/// Sends a signal by its number's name, such as `TERM`.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Runs the daemon's binary in a folder with exactly this environment, and waits until it has ended.
pub fn run(folder: &Path, arguments: &[&str], env: &[(&str, &str)]) -> Ended {
    let mut command = command(folder, env);
    let child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let output = ended.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        signal(pid, "KILL");
        panic!("it should have ended, and runs: {arguments:?}")
    });
    let output = output.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The binary, with the folder as its working directory and home.
pub fn command(folder: &Path, env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_broadcastd"));
    command
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .env("BROADCASTD_PLUGIN_PATH", &*PLUGINS)
        .envs(env.iter().copied())
        .stdin(Stdio::null());
    command
}

/// Everything that the daemon says until it serves: five lines, or fewer when it ends before.
fn read_greeting(stdout: ChildStdout, patience: Duration) -> Result<String, String> {
    let (sender, greeting) = mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let said: Vec<String> = lines.by_ref().take(5).collect();
        _ = sender.send(said.join("\n"));
        lines.for_each(drop); // so that the daemon can always write
    });
    greeting.recv_timeout(patience).map_err(|_| format!("no greeting within {patience:?}"))
}

pub fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < deadline, "the daemon does not end");
        std::thread::sleep(Duration::from_millis(10)); // the system has no way to wait with a deadline
    }
}
