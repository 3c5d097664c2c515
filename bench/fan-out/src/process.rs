//! Processes that a measure starts, each ended with it; what the kernel counts for them.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, Rlimit, Signal};
use rustix::thread::CpuSet;
use tempfile::TempDir;

use crate::figures::Figures;

/// How long a process may take to say that it is ready, or to end after it was asked to.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a process is left alone before its memory is looked at: the same for all, for some give back within a moment what
/// they took for a rush, and some after seconds.
const REST: Duration = Duration::from_secs(5);
/// Between two tries to reach a server that is about to listen.
const RETRY: Duration = Duration::from_millis(20);
/// The first word of our own command line when it stands in front of a program to start.
pub const UNDER: &str = "under";

/// Which processor a process has. With one processor everybody shares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    Server,
    Load,
    Anywhere,
}

/// A running process. It is killed when this is dropped, and by the kernel when we end without dropping anything.
#[derive(Debug)]
pub struct Started {
    name: String,
    child: Child,
    lines: Receiver<String>,
}

impl Started {
    /// Starts a program in an environment that is empty but for `env`.
    pub fn start(seat: Seat, program: &Path, arguments: &[String], env: &[(&str, &OsStr)]) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([UNDER, &format!("{seat:?}")])
            .arg(program)
            .args(arguments)
            .env_clear()
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        let output = BufReader::new(child.stdout.take().context("its output is piped")?);
        let (said, lines) = channel();
        std::thread::spawn(move || {
            // Reading goes on when nobody listens, so that the process can always write.
            output.lines().map_while(Result::ok).for_each(|line| _ = said.send(line));
        });
        Ok(Self { name: program.display().to_string(), child, lines })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it can be reached.
    pub fn reach(&mut self, address: SocketAddr) -> Result<()> {
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}", self.name);
            }
            ensure!(began.elapsed() < PATIENCE, "{} does not listen on {address}", self.name);
            sleep(RETRY);
        }
        Ok(())
    }

    /// The next line of its output that contains the text.
    pub fn line(&self, text: &str) -> Result<String> {
        self.line_within(text, PATIENCE)
    }

    /// Waits until it has ended well, and reads the figures of its last line.
    pub fn figures(mut self, within: Duration) -> Result<Figures> {
        let line = self.line_within("=", within + PATIENCE)?;
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(Figures::read(&line))
    }

    pub fn line_within(&self, text: &str, within: Duration) -> Result<String> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(text) => return Ok(line),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => bail!("{} did not say {text:?} within {within:?}", self.name),
                Err(RecvTimeoutError::Disconnected) => bail!("{} ended before it said {text:?}", self.name),
            }
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // One that has ended by itself is what was wanted.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A server has one processor here, and so have those that it is compared with.
pub const ONE_SHARD: &str = "shards = 1\n";

/// The daemon with a configuration of its own, on ports that the kernel chose.
#[derive(Debug)]
pub struct Daemon {
    process: Started,
    pub clients: SocketAddr,
    pub admin: SocketAddr,
    /// The ingest socket.
    pub ingest: PathBuf,
    _folders: [TempDir; 2],
}

impl Daemon {
    /// `server` is a part of that table, and `config` begins inside of `[hub]`.
    pub fn start(seat: Seat, server: &str, config: &str) -> Result<Self> {
        let plugins = programs()?;
        // Not among temporary files: the daemon looks at whatever changes in a folder on the way to its configuration, and
        // others' work would be counted as its own.
        let folder = tempfile::tempdir_in(&plugins)?;
        let file = folder.path().join("config.toml");
        // Among temporary files, because the path of a socket may be no longer than some hundred bytes.
        let doors = tempfile::tempdir()?;
        let ingest = doors.path().join("ingest.sock");
        let ports = "[server]\nlisten = [\"127.0.0.1:0\"]\n";
        let door = format!("[ingest]\nsocket = \"{}\"\n", ingest.display());
        let quiet = format!("[admin]\nlisten = \"127.0.0.1:0\"\n{door}[log]\nlevel = \"error\"\n");
        fs::write(&file, format!("{ports}{server}{quiet}[hub]\nmax_connections = 20000\n{config}"))?;
        let env = [("HOME", folder.path().as_os_str()), ("BROADCASTD_PLUGIN_PATH", plugins.as_os_str())];
        let arguments = ["--config".to_owned(), file.display().to_string()];
        let process = Started::start(seat, &plugins.join("broadcastd"), &arguments, &env)?;
        let address = |line: &str| -> Result<SocketAddr> {
            let rest = line.split_once("://").map(|(_, rest)| rest);
            let address = rest.and_then(|rest| rest.split('/').next()).context("the greeting names no address")?;
            Ok(address.parse()?)
        };
        let clients = address(&process.line("  clients ")?)?;
        let admin = address(&process.line("  operator ")?)?;
        Ok(Self { process, clients, admin, ingest, _folders: [folder, doors] })
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The sum of a metric over its labels.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let page = self.metrics()?;
        let lines = page.lines().filter_map(|line| line.strip_prefix(name));
        let lines = lines.filter(|rest| rest.starts_with(['{', ' ']));
        let values = lines.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok());
        values.reduce(|sum, value| sum + value).with_context(|| format!("there is no metric {name}"))
    }

    pub fn metrics(&self) -> Result<String> {
        let mut stream = TcpStream::connect(self.admin)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        Ok(page)
    }
}

/// The folder that all programs of the measures lie in: the one of this program.
pub fn programs() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.parent().context("a program lies in a folder")?.to_owned())
}

pub fn program(name: &str) -> Result<PathBuf> {
    let path = programs()?.join(name);
    ensure!(path.exists(), "{} is missing; run `cargo xtask bench`, which builds it", path.display());
    Ok(path)
}

/// Becomes the program that the arguments name: on its processor, with as many descriptors as there may be, and ended by
/// the kernel when whoever started it ends.
pub fn become_program(arguments: &[String]) -> Result<()> {
    let [seat, program, arguments @ ..] = arguments else { bail!("a seat and a program are needed") };
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    raise_descriptors()?;
    let seats = [Seat::Server, Seat::Load, Seat::Anywhere];
    take_seat(seats.into_iter().find(|known| format!("{known:?}") == *seat).context("there is no such seat")?)?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("{program} cannot be run"))
}

/// From here on this thread runs on the processor of the seat. What it starts then inherits that, and finds no other.
pub fn take_seat(seat: Seat) -> Result<()> {
    let processors = processors()?;
    let own = match seat {
        Seat::Server => processors.first(),
        Seat::Load => processors.last(),
        Seat::Anywhere => None,
    };
    if let Some(own) = own {
        let mut set = CpuSet::new();
        set.set(*own);
        rustix::thread::sched_setaffinity(None, &set)?;
    }
    Ok(())
}

/// The processors that we may use.
pub fn processors() -> Result<Vec<usize>> {
    let set = rustix::thread::sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|processor| set.is_set(*processor)).collect())
}

/// As many connections as the hard limit of descriptors leaves room for, at most `wanted`.
pub fn possible_connections(wanted: usize) -> usize {
    /// Listeners, files, wake-ups, and those that the daemon keeps for itself.
    const OTHERS: u64 = 400;
    let limit = rustix::process::getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    wanted.min(usize::try_from(limit.saturating_sub(OTHERS)).unwrap_or(usize::MAX))
}

/// Processor time since the process and its children began, in seconds: user and system as the kernel counts them in ticks.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    family(pid)?.into_iter().map(own_cpu_seconds).sum()
}

/// A process and all that came of it and still runs.
fn family(pid: u32) -> Result<Vec<u32>> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(pid) = all.get(next) {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread that ended meanwhile has no children.
            let children = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        next += 1;
    }
    Ok(all)
}

fn own_cpu_seconds(pid: u32) -> Result<f64> {
    stat_seconds(&pid.to_string(), &[USER, SYSTEM])
}

/// What we and all children that have ended took so far.
pub fn cpu_seconds_of_the_run() -> Result<f64> {
    stat_seconds("self", &[USER, SYSTEM, USER_OF_CHILDREN, SYSTEM_OF_CHILDREN])
}

/// Fields of `/proc/PID/stat`, counted behind the name of the program.
const USER: usize = 11;
const SYSTEM: usize = 12;
const USER_OF_CHILDREN: usize = 13;
const SYSTEM_OF_CHILDREN: usize = 14;

fn stat_seconds(process: &str, fields: &[usize]) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let all: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: &usize| all.get(*index).and_then(|field| field.parse::<u64>().ok()).context("a short stat");
    Ok(seconds(fields.iter().map(ticks).sum::<Result<u64>>()?))
}

/// Of the kernel's ticks.
pub fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// The same of the threads that run now, in nanoseconds of the scheduler: for processes that use next to none.
pub fn fine_cpu_seconds(pid: u32) -> Result<f64> {
    let mut total = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedstat = fs::read_to_string(thread?.path().join("schedstat"))?;
        let ran = schedstat.split_whitespace().next().and_then(|field| field.parse::<u64>().ok());
        total += ran.context("a short schedstat")?;
    }
    Ok(total as f64 / 1e9)
}

/// Memory of a process in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub resident: f64,
    /// Pages that others share count in part.
    pub proportional: f64,
}

/// Of a process and its children.
pub fn memory(pid: u32) -> Result<Memory> {
    let mut all = Memory { resident: 0.0, proportional: 0.0 };
    for pid in family(pid)? {
        let own = own_memory(pid)?;
        all.resident += own.resident;
        all.proportional += own.proportional;
    }
    Ok(all)
}

/// The memory of a process that nobody has asked for anything for a while.
pub fn memory_at_rest(pid: u32) -> Result<Memory> {
    sleep(REST);
    memory(pid)
}

fn own_memory(pid: u32) -> Result<Memory> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let field = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kilobytes.map(|kilobytes| kilobytes * 1024.0).with_context(|| format!("no {name} in smaps_rollup"))
    };
    Ok(Memory { resident: field("Rss:")?, proportional: field("Pss:")? })
}

fn raise_descriptors() -> Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    Ok(())
}
