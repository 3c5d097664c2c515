//! The side that operators see: metrics, health, what runs; on a listener, a thread and a runtime of its own, so that it
//! answers also when everything else is busy.

mod ask;
pub mod connections;
pub mod dashboard;
pub mod figures;
pub mod guard;
pub mod levels;
pub mod orders;
mod pages;
mod process;
pub mod streams;
pub mod users;

use std::fmt;
use std::io;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

pub use self::ask::Shards;
use self::guard::Guard;
pub use self::guard::Token;
use self::orders::Orders;
use crate::describe::Catalogue;
use crate::hub::Hub;
use crate::server::hosts::Hosts;
use crate::server::http::Front;
use crate::server::listen::{self, ListenError, Listeners};
use crate::server::token::Tokens;
use crate::server::upgrade::Gate;
use crate::systemd::sockets::Sockets;

/// How long a client may take to send the head of a request: operators' programs are near and quick.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The file of a socket lets in its user and its group, and nobody else.
const SOCKET_MODE: u32 = 0o660;
/// By which names operators ask where only this machine can.
const HOSTS: Hosts = Hosts {
    names: Vec::new(),
    refusal: "the admin listener answers to localhost, 127.0.0.1 and [::1] only; ask it by such a name",
};
/// How often the figures of histograms are drained into their buckets, so that they do not pile up unscraped.
const UPKEEP: Duration = Duration::from_secs(5);

/// What config says about the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `127.0.0.1:9180` or `unix:/run/broadcastd/admin.sock`.
    pub listen: String,
    /// Must be shown by whoever asks for more than health; needed off loopback.
    pub token: Option<Token>,
}

/// What the pages show of the rest of the daemon.
pub trait House: Send + Sync {
    /// All broadcasters, for `GET /v1/broadcasters`.
    fn broadcasters(&self) -> Value;
    /// One of them, for `GET /v1/broadcasters/NAME`.
    fn broadcaster(&self, name: &str) -> Option<Value>;
    fn readiness(&self) -> Readiness;
    /// The daemon as a whole, for `GET /v1/status`.
    fn status(&self) -> Value;
    /// Every setting in force with its value and who gave it, for `GET /v1/config`.
    fn configuration(&self) -> Value;
    /// The level of the log for each broadcaster and for the rest, for `GET /v1/log-levels`.
    fn log_levels(&self) -> Value;
    /// Changes one of them until the next start, or until a reload brings other levels.
    fn set_log_level(&self, name: &str, level: &str) -> Result<Value, levels::Unknown>;
    /// Metrics of other registries, such as those that plugins declare, in Prometheus' text format.
    fn extra_metrics(&self) -> String;
}

/// Whether clients can be served, and everything that an operator should know about why not, or why not wholly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    pub ready: bool,
    pub reasons: Vec<String>,
}

/// What the pages are made from.
#[derive(Clone)]
pub struct Parts {
    pub hub: Arc<Hub>,
    pub shards: Shards,
    pub house: Arc<dyn House>,
    /// What is told of streams and endpoints.
    pub catalogue: Arc<Catalogue>,
    /// Whose the tokens are that users have.
    pub tokens: Arc<Tokens>,
    pub metrics: PrometheusHandle,
    /// Where commands of this machine come in beside `admin.listen`, as `unix:/PATH`.
    pub control: Option<String>,
    /// Takes what the main thread shall do.
    pub orders: Orders,
    /// Addresses that are listened at already.
    pub given: Sockets,
}

/// The running listener.
pub struct Admin {
    guard: Arc<Guard>,
    gate: Arc<Gate>,
    listeners: Listeners,
    control: Option<String>,
    thread: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

/// A new configuration whose address is bound already.
pub struct Prepared {
    config: Config,
    listeners: listen::Prepared,
}

/// Why the listener cannot be as config wants it; the text says what to do.
#[derive(Debug)]
pub enum Error {
    /// The address can be reached from other machines, and no token protects it.
    NeedsToken(String),
    Listen(ListenError),
    Thread(io::Error),
}

impl Admin {
    pub fn start(config: Config, parts: Parts) -> Result<Self, Error> {
        let control = parts.control.clone();
        let guard = Arc::new(Guard::new(control.as_deref(), parts.tokens.clone()));
        let gate = Gate::for_operators(parts.shards.0.to_vec(), guard.clone());
        let doors = pages::Doors { guard: guard.clone(), gate: gate.clone() };
        let front = Front::new(pages::router(parts.clone(), doors), HEADER_TIMEOUT, HOSTS);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
        let listeners = Listeners::new("admin.listen", front, runtime.handle().clone(), parts.given);
        let listeners = listeners.with_mode(SOCKET_MODE);
        let prepared = prepare(&listeners, &control, config)?;
        let (stop, stopped) = oneshot::channel();
        runtime.spawn(keep_up(parts.metrics));
        let thread = std::thread::Builder::new().name("admin".to_owned());
        let thread = thread.spawn(move || run(&runtime, stopped)).map_err(Error::Thread)?;
        let admin = Self { guard, gate, listeners, control, thread, stop };
        admin.commit(prepared);
        Ok(admin)
    }

    /// The first half of a reload: binds what is new. Whether it works or not, nothing that runs is touched.
    pub fn prepare(&self, config: Config) -> Result<Prepared, Error> {
        prepare(&self.listeners, &self.control, config)
    }

    /// The second half, which cannot fail. Whoever came in by another token ends when the shards look who is still trusted.
    pub fn commit(&self, prepared: Prepared) {
        self.guard.set(prepared.config);
        self.listeners.commit(prepared.listeners);
    }

    /// The address as it was bound, with the port that the kernel chose where config says 0.
    pub fn address(&self) -> String {
        self.addresses().into_iter().next().unwrap_or_default()
    }

    /// The same, and where commands of this machine come in.
    pub fn addresses(&self) -> Vec<String> {
        self.listeners.addresses()
    }

    /// Lets nobody become a connection any more; the pages stay, so that the end can be watched.
    pub fn drain(&self, deadline: Instant) {
        self.gate.close();
        self.listeners.drain(deadline);
    }

    /// Waits until what was asked so far is answered, where a drain has begun, and little longer than until its deadline.
    pub fn finish(&self) {
        self.listeners.finish();
    }

    /// Ends the listener and its thread; requests under way are cut off.
    pub fn stop(self) {
        drop(self.stop);
        // A thread that panicked has printed why; there is nothing left to wait for.
        _ = self.thread.join();
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeedsToken(address) => write!(
                out,
                "admin.listen = \"{address}\" can be reached from other machines, and there is no admin.token; set one, or listen on 127.0.0.1"
            ),
            Self::Listen(error) => error.fmt(out),
            Self::Thread(error) => write!(out, "the admin listener's thread could not be started: {error}"),
        }
    }
}

impl std::error::Error for Error {}

fn prepare(listeners: &Listeners, control: &Option<String>, config: Config) -> Result<Prepared, Error> {
    if config.token.is_none() && !is_loopback(&config.listen) {
        return Err(Error::NeedsToken(config.listen));
    }
    let addresses: Vec<String> = [&config.listen].into_iter().chain(control).cloned().collect();
    let listeners = listeners.prepare(&addresses).map_err(Error::Listen)?;
    Ok(Prepared { config, listeners })
}

/// Whether only this machine reaches the address. A name that means several addresses must mean none but such.
fn is_loopback(address: &str) -> bool {
    if address.starts_with(listen::UNIX) {
        return true;
    }
    match address.to_socket_addrs() {
        Ok(mut all) => all.all(|address| address.ip().to_canonical().is_loopback()),
        Err(_) => true, // what cannot be resolved cannot be bound either, and binding says so better
    }
}

fn run(runtime: &Runtime, stopped: oneshot::Receiver<()>) {
    // Nothing is ever sent: the other end is dropped when the listener shall end.
    _ = runtime.block_on(stopped);
}

async fn keep_up(metrics: PrometheusHandle) {
    let mut due = tokio::time::interval(UPKEEP);
    loop {
        due.tick().await;
        metrics.run_upkeep();
    }
}
