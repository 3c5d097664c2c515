//! The servers that are compared: how each is started, with a configuration of its own, and what its clients speak.

use std::any::Any;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::dialect::Kind;
use crate::dialect::broadcastd::{STREAM, TOKEN_SHA256};
use crate::process::{Daemon, ONE_SHARD, Seat, Started, program};

/// The scripts of servers that need one.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");
/// How often a server is started whose port may have been taken.
const TRIES: usize = 12;
/// Of what a server wrote that could not be started, so many lines are told.
const LAST_WORDS: usize = 3;
/// Below the hard limit of descriptors that a machine usually has.
const MOST_CONNECTIONS: usize = 19_700;
/// The daemon's back end where a row says no other. Left to itself the daemon takes what the machine allows, and a table would
/// not say which.
const IO_URING: &str = "io_uring";

/// A server of the comparison.
pub struct Peer {
    pub name: &'static str,
    /// In a table.
    pub label: &'static str,
    pub kind: Kind,
    start: fn(&Tools) -> Result<Server>,
}

/// A server that runs, and where it is reached.
pub struct Server {
    /// Keeps it running.
    process: Box<dyn Any>,
    pub pid: u32,
    pub address: SocketAddr,
}

/// Where the servers that others made are: see `fetch`.
pub struct Tools(pub PathBuf);

pub const PEERS: &[Peer] = &[
    Peer {
        name: "broadcastd",
        label: "broadcastd (io_uring)",
        kind: Kind::Broadcastd,
        start: |_| daemon(1, IO_URING, ""),
    },
    Peer {
        name: "broadcastd-epoll",
        label: "broadcastd (epoll)",
        kind: Kind::Broadcastd,
        start: |_| daemon(1, "epoll", ""),
    },
    Peer {
        name: "broadcastd-2",
        label: "broadcastd (io_uring), `shards = 2`",
        kind: Kind::Broadcastd,
        start: |_| daemon(2, IO_URING, ""),
    },
    Peer {
        name: "broadcastd-4",
        label: "broadcastd (io_uring), `shards = 4`",
        kind: Kind::Broadcastd,
        start: |_| daemon(4, IO_URING, ""),
    },
    Peer {
        name: "broadcastd-auto",
        label: "broadcastd (io_uring), `flush = \"auto\"`",
        kind: Kind::Broadcastd,
        start: |_| daemon(1, IO_URING, "flush = \"auto\"\n"),
    },
    Peer {
        name: "broadcastd-10ms",
        label: "broadcastd (io_uring), `flush = \"10ms\"`",
        kind: Kind::Broadcastd,
        start: |_| daemon(1, IO_URING, "flush = \"10ms\"\n"),
    },
    Peer {
        name: "limit-write",
        label: "limit: a write for each event",
        kind: Kind::Limit,
        start: |_| own("bench-limit", &["write"]),
    },
    Peer {
        name: "limit-batch",
        label: "limit: joined, one write",
        kind: Kind::Limit,
        start: |_| own("bench-limit", &["batch"]),
    },
    Peer {
        name: "limit-writev",
        label: "limit: one writev",
        kind: Kind::Limit,
        start: |_| own("bench-limit", &["writev"]),
    },
    Peer {
        name: "limit-uring",
        label: "limit: joined, io_uring",
        kind: Kind::Limit,
        start: |_| own("bench-limit", &["uring"]),
    },
    Peer {
        name: "uws",
        label: "uWebSockets (npm `uwebsockets`)",
        kind: Kind::Frames,
        start: |tools| script(tools, Runtime::Node, "uws.js"),
    },
    Peer { name: "bun", label: "Bun", kind: Kind::Frames, start: |tools| script(tools, Runtime::Bun, "bun.js") },
    Peer { name: "nats", label: "NATS (TCP)", kind: Kind::Nats, start: nats },
    Peer { name: "redis", label: "Redis pub/sub (TCP)", kind: Kind::Redis, start: redis },
    Peer { name: "nchan", label: "nginx + Nchan", kind: Kind::Nchan, start: nchan },
    Peer { name: "mosquitto", label: "Mosquitto (WebSocket)", kind: Kind::Mqtt, start: mosquitto },
    Peer {
        name: "ws",
        label: "`ws` on Node.js",
        kind: Kind::Frames,
        start: |tools| script(tools, Runtime::Node, "ws.js"),
    },
    Peer {
        name: "axum",
        label: "axum + `tokio::sync::broadcast`",
        kind: Kind::Frames,
        start: |_| own("bench-axum", &[]),
    },
];

impl Peer {
    pub fn start(&self, tools: &Tools) -> Result<Server> {
        (self.start)(tools).with_context(|| format!("{} cannot be started", self.name))
    }

    /// Ours, which need nothing that others made.
    pub fn is_own(&self) -> bool {
        self.name.starts_with("broadcastd") || self.kind == Kind::Limit || self.name == "axum"
    }
}

impl Server {
    pub fn daemon(&self) -> Option<&Daemon> {
        self.process.downcast_ref()
    }
}

enum Runtime {
    Bun,
    Node,
}

/// A daemon with streams for every workload. `hub` is a part of that table.
fn daemon(shards: usize, backend: &str, hub: &str) -> Result<Server> {
    let server = format!("shards = {shards}\nbackend = \"{backend}\"\n");
    let config = format!(
        "{hub}max_topics = 2000\n[streams.{STREAM}]\nvisible = true\n\
         [[auth.tokens]]\nname = \"bench\"\nsha256 = \"{TOKEN_SHA256}\"\npublish = [\"{STREAM}\"]\n"
    );
    started(Daemon::start(Seat::Server, &server, &config)?)
}

/// A daemon with a broadcaster of price bars and endpoints for two dialects.
pub fn daemon_with_bars(symbols: usize, every_ms: u64) -> Result<Server> {
    let symbols: Vec<String> = (0..symbols).map(|number| format!("\"S{number}\"")).collect();
    let symbols = symbols.join(", ");
    let config = format!(
        "[[server.endpoints]]\npath = \"/v1/ws\"\n\
         [[server.endpoints]]\npath = \"/api/v1/ws\"\ndialect = \"fastws\"\nstreams = [\"bars\"]\nauth = \"none\"\n\
         [broadcasters.bars]\nplugin = \"bars\"\n\
         settings = {{ source = \"mock\", interval = \"{every_ms}ms\", symbols = [{symbols}] }}\n"
    );
    started(Daemon::start(Seat::Server, ONE_SHARD, &config)?)
}

fn started(daemon: Daemon) -> Result<Server> {
    Ok(Server { pid: daemon.pid(), address: daemon.clients, process: Box::new(daemon) })
}

fn own(name: &str, arguments: &[&str]) -> Result<Server> {
    listening(Started::start(Seat::Server, &program(name)?, &words(arguments), &[])?, None)
}

fn script(tools: &Tools, runtime: Runtime, name: &str) -> Result<Server> {
    let modules = tools.0.join("node_modules");
    let program = match runtime {
        Runtime::Bun => there(modules.join("bun/bin/bun.exe"))?,
        Runtime::Node => {
            there(modules.join("ws"))?;
            in_path("node")?
        }
    };
    let script = Path::new(SCRIPTS).join(name).display().to_string();
    let folder = tempfile::tempdir()?;
    let env = [("NODE_PATH", modules.as_os_str()), ("HOME", folder.path().as_os_str())];
    listening(Started::start(Seat::Server, &program, &[script], &env)?, Some(folder))
}

fn nats(tools: &Tools) -> Result<Server> {
    let program = there(tools.0.join("python/bin/nats-server"))?;
    on_a_port(&program, tools, |port, folder| {
        let config = format!(
            "host: 127.0.0.1\nport: {port}\nmax_connections: {MOST_CONNECTIONS}\nmax_pending: 1GB\nwrite_deadline: \"60s\"\nping_interval: \"10m\"\n"
        );
        let file = folder.join("nats.conf");
        fs::write(&file, config)?;
        Ok(words(&["-c", &file.display().to_string()]))
    })
}

fn redis(tools: &Tools) -> Result<Server> {
    // Debian's redis-server is this program by another name, which it goes by.
    let program = there(tools.0.join("debian/usr/bin/redis-check-rdb"))?;
    let server = tools.0.join("redis-server");
    if !server.exists() {
        fs::copy(&program, &server)?;
    }
    on_a_port(&server, tools, |port, folder| {
        let clients = (MOST_CONNECTIONS - 100).to_string();
        let limit = "pubsub 0 0 0"; // nobody is cut off
        let folder = folder.display().to_string();
        Ok(words(&[
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--maxclients",
            &clients,
            "--client-output-buffer-limit",
            limit,
            "--tcp-backlog",
            "4096",
            "--dir",
            &folder,
            "--protected-mode",
            "no",
            "--loglevel",
            "warning",
        ]))
    })
}

fn mosquitto(tools: &Tools) -> Result<Server> {
    let program = there(tools.0.join("debian/usr/sbin/mosquitto"))?;
    on_a_port(&program, tools, |port, folder| {
        let config = format!(
            // It counts no WebSocket as a listener, and will not run without one.
            "listener {port} 127.0.0.1\nprotocol websockets\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n\
             max_queued_messages 0\nuser root\nlog_type error\nlistener 0 {}\n",
            folder.join("socket").display()
        );
        let file = folder.join("mosquitto.conf");
        fs::write(&file, config)?;
        Ok(words(&["-c", &file.display().to_string()]))
    })
}

fn nchan(tools: &Tools) -> Result<Server> {
    let program = there(tools.0.join("debian/usr/sbin/nginx"))?;
    let module = there(tools.0.join("debian/usr/lib/nginx/modules/ngx_nchan_module.so"))?;
    on_a_port(&program, tools, |port, folder| {
        let (file, folder) = (folder.join("nginx.conf"), folder.display());
        // When only a sixteenth of its connections is left, nginx closes those that have not asked for anything yet, to make
        // room: so it gets more than there can be. It warns that there are fewer descriptors, and goes on.
        let connections = MOST_CONNECTIONS + MOST_CONNECTIONS / 8;
        let config = format!(
            "load_module {};\nuser root;\ndaemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr crit;\n\
             events {{ worker_connections {connections}; multi_accept on; }}\nhttp {{\n access_log off;\n tcp_nodelay on;\n\
             keepalive_requests 1000000000;\n keepalive_timeout 1h;\n nchan_shared_memory_size 512m;\n\
             client_body_temp_path {folder}/body;\n proxy_temp_path {folder}/proxy;\n fastcgi_temp_path {folder}/fastcgi;\n\
             uwsgi_temp_path {folder}/uwsgi;\n scgi_temp_path {folder}/scgi;\n\
             server {{\n  listen 127.0.0.1:{port} backlog=4096;\n\
             location = /sub {{ nchan_subscriber websocket; nchan_channel_id $arg_id; }}\n\
             location = /pub {{ nchan_publisher http; nchan_channel_id $arg_id; nchan_message_buffer_length 1024; nchan_message_timeout 1m; }}\n }}\n}}\n",
            module.display()
        );
        fs::write(&file, config)?;
        Ok(words(&["-p", &folder.to_string(), "-c", &file.display().to_string()]))
    })
}

/// One that says itself where it listens.
fn listening(process: Started, folder: Option<TempDir>) -> Result<Server> {
    let line = process.line("listening on ")?;
    let address = line.split_whitespace().last().context("the line names an address")?.parse()?;
    Ok(Server { pid: process.pid(), address, process: Box::new((process, folder)) })
}

/// One that has to be told where to listen: on a port that was free a moment ago. Another program may have got it since.
fn on_a_port(program: &Path, tools: &Tools, arguments: impl Fn(u16, &Path) -> Result<Vec<String>>) -> Result<Server> {
    let libraries = tools.0.join("debian/usr/lib/x86_64-linux-gnu");
    let env = [("LD_LIBRARY_PATH", libraries.as_os_str())];
    let start = || -> Result<Server> {
        let folder = tempfile::tempdir()?;
        let (port, said) = (free_port()?, folder.path().join("said"));
        let arguments = arguments(port, folder.path())?;
        let mut process =
            Started::start(Seat::Server, Path::new("/bin/sh"), &writing(&said, program, arguments), &env)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        process.reach(address).with_context(|| format!("{}: {}", program.display(), last_words(&said)))?;
        Ok(Server { pid: process.pid(), address, process: Box::new((process, folder)) })
    };
    (1..TRIES).find_map(|_| start().ok()).map_or_else(start, Ok)
}

/// A port that nobody has on any address: Mosquitto listens on all of them for WebSockets, whatever it is told.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?.local_addr()?.port())
}

/// Arguments by which a shell becomes the program, with all that it says in a file.
fn writing(said: &Path, program: &Path, arguments: Vec<String>) -> Vec<String> {
    let mut all =
        words(&["-c", "exec \"$@\" >\"$0\" 2>&1", &said.display().to_string(), &program.display().to_string()]);
    all.extend(arguments);
    all
}

/// The end of what a server said, in one line.
fn last_words(said: &Path) -> String {
    let text = fs::read_to_string(said).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_WORDS)..].join(" | ")
}

fn there(path: PathBuf) -> Result<PathBuf> {
    ensure!(path.exists(), "{} is missing: `bench/fan-out/fetch` brings it", path.display());
    Ok(path)
}

fn in_path(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.exists());
    found.with_context(|| format!("{name} is not in PATH"))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_cannot_start_is_heard() {
        let folder = tempfile::tempdir().unwrap();
        let (said, shell) = (folder.path().join("what it said"), Path::new("/bin/sh"));
        assert_eq!(last_words(&said), "");
        let script = "echo 1; echo 2 >&2; echo 3; echo 4 >&2; exit 1";
        let arguments = writing(&said, shell, words(&["-c", script]));
        let output = std::process::Command::new(shell).args(arguments).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len() + output.stderr.len()), (Some(1), 0));
        assert_eq!(last_words(&said), "2 | 3 | 4");
    }

    #[test]
    fn every_row_of_the_daemon_says_what_sends() {
        for peer in PEERS.iter().filter(|peer| peer.kind == Kind::Broadcastd) {
            let backend = if peer.name == "broadcastd-epoll" { "broadcastd (epoll)" } else { "broadcastd (io_uring)" };
            assert!(peer.label.starts_with(backend), "{}", peer.label);
        }
    }
}
