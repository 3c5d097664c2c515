//! What comes in from programs of this machine: events over the ingest socket and over HTTP, until each is answered.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use broadcastd_fan_out::figures::{Spread, Table, count, ratio};
use broadcastd_fan_out::process::{Daemon, ONE_SHARD, Seat, cpu_seconds, take_seat};

use super::Effort;

/// Events that are under way before their answers are read: what the kernel holds in either direction takes them.
const TOGETHER: usize = 256;
const STREAM: &str = "ticks";

struct Way {
    label: &'static str,
    open: fn(&Daemon) -> Result<Door>,
    together: usize,
}

const WAYS: &[Way] = &[
    Way { label: "ingest socket, 256 lines at once", open: Door::socket, together: TOGETHER },
    Way { label: "ingest socket, one by one", open: Door::socket, together: 1 },
    Way { label: "HTTP, 256 events a request", open: Door::http, together: TOGETHER },
    Way { label: "HTTP, one event a request", open: Door::http, together: 1 },
];

/// What one run of a way has shown.
struct Rates {
    per_second: f64,
    per_cpu: f64,
}

pub fn run(effort: &Effort) -> Result<String> {
    let mut rates: Vec<Vec<Rates>> = WAYS.iter().map(|_| Vec::new()).collect();
    for _ in 0..effort.runs {
        for (way, rates) in WAYS.iter().zip(&mut rates) {
            let (measure, warm_up) = (effort.measure, effort.warm_up);
            // A thread of its own, because it stays on the load's processor.
            let run = std::thread::scope(|scope| scope.spawn(|| way.run_once(warm_up, measure)).join());
            rates.push(run.ok().context("the load has panicked")??);
        }
    }
    let per_second: Vec<Vec<f64>> = rates.iter().map(|runs| runs.iter().map(|run| run.per_second).collect()).collect();
    let per_cpu: Vec<Vec<f64>> = rates.iter().map(|runs| runs.iter().map(|run| run.per_cpu).collect()).collect();
    let mut table = Table::new(&["256-byte payload, by", "events/s", "events per CPU-second", "× first row"]);
    for (index, way) in WAYS.iter().enumerate() {
        table.row([
            way.label.to_owned(),
            Spread::of(per_second[index].iter().copied()).with(count),
            Spread::of(per_cpu[index].iter().copied()).with(count),
            Spread::of_ratios(&per_cpu[index], &per_cpu[0]).with(ratio),
        ]);
    }
    Ok(table.to_string())
}

impl Way {
    fn run_once(&self, warm_up: Duration, measure: Duration) -> Result<Rates> {
        let daemon = Daemon::start(Seat::Server, ONE_SHARD, &format!("[streams.{STREAM}]\nvisible = true\n"))?;
        take_seat(Seat::Load)?; // not before: the daemon would inherit it
        let mut door = (self.open)(&daemon)?;
        self.publish_for(&mut door, warm_up)?;
        let (began, before) = (Instant::now(), cpu_seconds(daemon.pid())?);
        let events = self.publish_for(&mut door, measure)? as f64;
        let (took, cpu) = (began.elapsed(), cpu_seconds(daemon.pid())? - before);
        Ok(Rates { per_second: events / took.as_secs_f64(), per_cpu: events / cpu })
    }

    fn publish_for(&self, door: &mut Door, time: Duration) -> Result<usize> {
        let (began, mut events) = (Instant::now(), 0);
        let lines = line().repeat(self.together);
        while began.elapsed() < time {
            door.publish(&lines, self.together)?;
            events += self.together;
        }
        Ok(events)
    }
}

enum Door {
    Socket(BufReader<UnixStream>),
    Http(BufReader<TcpStream>),
}

impl Door {
    fn socket(daemon: &Daemon) -> Result<Self> {
        Ok(Self::Socket(BufReader::new(UnixStream::connect(&daemon.ingest)?)))
    }

    fn http(daemon: &Daemon) -> Result<Self> {
        let socket = TcpStream::connect(daemon.admin)?;
        socket.set_nodelay(true)?;
        Ok(Self::Http(BufReader::new(socket)))
    }

    /// Publishes so many lines, and returns when each has been accepted.
    fn publish(&mut self, lines: &str, count: usize) -> Result<()> {
        match self {
            Self::Socket(socket) => {
                socket.get_mut().write_all(lines.as_bytes())?;
                let mut answer = String::new();
                for _ in 0..count {
                    answer.clear();
                    socket.read_line(&mut answer)?;
                    ensure!(answer.starts_with("{\"accepted\":true"), "an event was not accepted: {answer}");
                }
            }
            Self::Http(socket) => {
                let mut request = format!("POST /v1/streams/{STREAM}/publish HTTP/1.1\r\nHost: localhost\r\n");
                write!(
                    request,
                    "Content-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n{lines}",
                    lines.len()
                )?;
                socket.get_mut().write_all(request.as_bytes())?;
                let answer = answer(socket)?;
                let all = format!("{{\"accepted\":{count},");
                ensure!(answer.starts_with(&all), "events were not accepted: {answer}");
            }
        }
        Ok(())
    }
}

/// One event as a line of either door.
fn line() -> String {
    let pad = "x".repeat(256 - r#"{"pad":""}"#.len());
    format!("{{\"stream\":\"{STREAM}\",\"topic\":\"{STREAM}:A\",\"type\":\"tick\",\"data\":{{\"pad\":\"{pad}\"}}}}\n")
}

/// The body of the next answer.
fn answer(socket: &mut BufReader<TcpStream>) -> Result<String> {
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        ensure!(socket.read_line(&mut line)? > 0, "the daemon has hung up");
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut body = String::new();
    socket.take(length).read_to_string(&mut body)?;
    Ok(body)
}
