//! The daemon as a process of its own, in a folder that goes with it unless something was found; what the kernel counts for it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

use crate::http::{self, PATIENCE};

/// Versions of the plugin file that are swapped. Each stays in memory until the daemon ends, so their number is bounded.
pub const VERSIONS: usize = 8;

/// Errors that a run asks for: plugins that fail on purpose, and bad configurations.
const EXPECTED: [&str; 2] = ["on purpose", "the configuration was refused"];
/// Broadcasters that are there to fail.
const FAILING: [&str; 2] = ["crashes", "fails"];
/// What none of them does: each call into them returns.
const NEVER: &str = "left behind";

pub struct Daemon {
    child: Child,
    pub folder: TempDir,
    pub clients: SocketAddr,
    pub admin: SocketAddr,
}

impl Daemon {
    /// Starts the daemon that lies beside this program, with copies of its plugins, and waits until it serves.
    pub fn start(config: impl FnOnce(&Path) -> String) -> Result<Self> {
        let programs = programs()?;
        let folder = tempfile::Builder::new().prefix("broadcastd-soak-").tempdir()?;
        fs::create_dir(plugins(folder.path()))?;
        for name in ["libbars.so", "libfaulty.so"] {
            let from = programs.join(name);
            let why = || format!("{} is missing; run `cargo xtask soak`, which builds it", from.display());
            fs::copy(&from, plugins(folder.path()).join(name)).with_context(why)?;
        }
        let file = folder.path().join("config.toml");
        fs::write(&file, config(folder.path()))?;
        let mut child = Command::new(programs.join("broadcastd"))
            .args(["--config".as_ref(), file.as_os_str()])
            .env_clear()
            .env("HOME", folder.path())
            .env("MALLOC_ARENA_MAX", "2") // as the unit has it
            // So that the allocator can be told otherwise when somebody looks for what grows.
            .envs(std::env::vars().filter(|(name, _)| name.starts_with("MALLOC_")))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.path().join("daemon.log"))?)
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().context("its output is piped")?).lines();
        let greeting = lines.map_while(Result::ok).take(5).collect::<Vec<_>>().join("\n");
        let address = |scheme: &str| -> Result<SocketAddr> {
            let rest = greeting.split_once(scheme).map(|(_, rest)| rest);
            let address = rest.and_then(|rest| rest.split('/').next());
            Ok(address.with_context(|| format!("the greeting names no {scheme} address: {greeting:?}"))?.parse()?)
        };
        let (clients, admin) = (address("ws://"), address("http://"));
        let (clients, admin) = match (clients, admin) {
            (Ok(clients), Ok(admin)) => (clients, admin),
            (Err(error), _) | (_, Err(error)) => {
                _ = child.kill();
                _ = child.wait();
                bail!("{error}; its log: {}", fs::read_to_string(folder.path().join("daemon.log"))?);
            }
        };
        Ok(Self { child, folder, clients, admin })
    }

    /// Replaces the configuration as an editor does: a new file renamed over the old one.
    pub fn configure(&self, text: &str) -> Result<()> {
        replace(&self.folder.path().join("config.toml"), text.as_bytes())
    }

    /// Replaces the file of the faulty plugin by another of its versions.
    pub fn swap_plugin(&self, version: usize) -> Result<()> {
        let mut bytes = fs::read(programs()?.join("libfaulty.so"))?;
        bytes.resize(bytes.len() + version % VERSIONS, b'\n');
        replace(&plugins(self.folder.path()).join("libfaulty.so"), &bytes)
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process has a number")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Asks it to end, and waits at most so long.
    pub fn stop(&mut self, within: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20)); // the system has no way to wait with a deadline
        }
        bail!("the daemon has not ended within {within:?}")
    }

    pub fn metrics(&self) -> Result<Metrics> {
        metrics(self.admin)
    }

    /// Asks for a page until it is as wanted.
    pub fn until(&self, what: &str, is_so: impl Fn(&Metrics) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.metrics()?;
            if is_so(&now) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "after {PATIENCE:?} it is not so that {what}");
            std::thread::sleep(Duration::from_millis(100)); // nobody tells what the daemon does in its own time
        }
    }

    pub fn usage(&self) -> Result<Usage> {
        let folder = PathBuf::from(format!("/proc/{}", self.child.id()));
        let status = fs::read_to_string(folder.join("status"))?;
        let rollup = fs::read_to_string(folder.join("smaps_rollup"))?;
        Ok(Usage {
            resident: kilobytes(&status, "VmRSS:")?,
            proportional: kilobytes(&rollup, "Pss:")?,
            threads: field(&status, "Threads:")?,
            descriptors: fs::read_dir(folder.join("fd"))?.count() as u64,
        })
    }

    /// The names of its threads.
    pub fn threads(&self) -> Result<Vec<String>> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id()))?;
        let name = |thread: std::io::Result<fs::DirEntry>| fs::read_to_string(thread?.path().join("comm"));
        let mut names: Vec<String> = threads.filter_map(|thread| Some(name(thread).ok()?.trim().to_owned())).collect();
        names.sort();
        Ok(names)
    }

    /// What its log says that it should not.
    pub fn complaints(&self) -> Result<Vec<String>> {
        let log = fs::read_to_string(self.folder.path().join("daemon.log"))?;
        Ok(log.lines().filter(|line| is_complaint(line)).map(str::to_owned).collect())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes, as the following one.
    pub resident: u64,
    pub proportional: u64,
    pub threads: u64,
    pub descriptors: u64,
}

/// A page of metrics.
pub struct Metrics(String);

impl Metrics {
    /// The sum of all series of a metric whose labels contain the text.
    pub fn sum_of(&self, name: &str, labels: &str) -> u64 {
        let series = self.0.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
        let wanted = series.filter(|(with, _)| (with.is_empty() || with.starts_with('{')) && with.contains(labels));
        wanted.filter_map(|(_, value)| value.parse::<f64>().ok()).sum::<f64>() as u64
    }

    pub fn sum(&self, name: &str) -> u64 {
        self.sum_of(name, "")
    }
}

pub fn metrics(admin: SocketAddr) -> Result<Metrics> {
    let answer = http::get(admin, "/metrics")?;
    ensure!(answer.status == 200, "/metrics answers {}", answer.status);
    Ok(Metrics(answer.body))
}

pub fn plugins(folder: &Path) -> PathBuf {
    folder.join("plugins")
}

fn programs() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.parent().context("a program lies in a folder")?.to_owned())
}

/// Whether a line of the log is an error that nothing here asks for, or none of the daemon's own.
fn is_complaint(line: &str) -> bool {
    let Ok(said) = serde_json::from_str::<Value>(line) else { return true };
    let is_expected = EXPECTED.iter().any(|text| line.contains(text))
        || FAILING.iter().any(|broadcaster| said["broadcaster"] == *broadcaster || said["target"] == *broadcaster);
    said["level"] == "ERROR" && (!is_expected || line.contains(NEVER))
}

fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, bytes)?;
    Ok(fs::rename(new, path)?)
}

fn kilobytes(text: &str, name: &str) -> Result<u64> {
    Ok(field(text, name)? << 10)
}

fn field(text: &str, name: &str) -> Result<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    value.with_context(|| format!("the kernel does not say {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_that_nothing_asks_for_are_complaints() {
        assert!(!is_complaint(r#"{"level":"INFO","message":"fine"}"#));
        assert!(!is_complaint(r#"{"level":"ERROR","message":"failed","broadcaster":"fails"}"#));
        assert!(is_complaint(r#"{"level":"ERROR","message":"failed","broadcaster":"bars"}"#));
        assert!(is_complaint(
            r#"{"level":"ERROR","message":"did not stop; its thread is left behind","broadcaster":"fails"}"#
        ));
        assert!(is_complaint("thread 'shard-0' panicked at daemon/src/shard.rs:1:1:"));
    }

    #[test]
    fn series_are_added_up_by_name_and_label() {
        let page = Metrics("# HELP a b\na{x=\"1\"} 2\na{x=\"2\"} 3\na 4\nab 100\n".into());
        assert_eq!((page.sum("a"), page.sum_of("a", "x=\"2\""), page.sum("c")), (9, 3, 0));
    }
}
