//! The composition root, the only file that knows everyone: start what the configuration says, run, drain.

mod deadlines;
mod declared;
mod diary;
mod greeting;
mod house;
mod last_good;
mod look;
pub mod offline;
pub mod parts;
mod plan;
mod reload;
mod steering;
mod trust;
mod vigil;
mod waiting;

pub use self::last_good::LastGood;
pub use self::parts::log_format;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::runtime::{Builder, Runtime};

use self::deadlines::Deadlines;
use self::diary::Diary;
use self::house::{House, Phase};
use self::plan::Plan;
use self::steering::Steering;
use self::trust::Trust;
use self::vigil::{Vigil, Watched};
use crate::admin::orders::{Act, Orders, Outcome};
use crate::admin::{self, Admin};
use crate::config::diagnostic::Diagnostics;
use crate::config::watch::Watch;
use crate::config::{self, Layers, Loaded, Paint, Source, schema};
use crate::folders::{Env, Folders};
use crate::hub::Hub;
use crate::identity::Verifier;
use crate::log::Levels;
use crate::log::errors::{Errors, Opened};
use crate::plugin::reload::Aim;
use crate::plugin::timing::{SystemClock, Timing};
use crate::plugin::trial::Trial;
use crate::plugin::{self, Supervisor};
use crate::server::listen::{self, ListenError};
use crate::server::{self, Server};
use crate::shard::Handle;
use crate::shard::poll::Means;
use crate::systemd::Systemd;
use crate::systemd::sockets::Sockets;

/// How long the threads of the HTTP runtime may take to end what they do when everything else has ended.
const RUNTIME_TIMEOUT: Duration = Duration::from_secs(1);
/// The part of the drain time that clients get to hear of it; the rest is for broadcasters to save and stop.
const CLIENTS_PART: f64 = 0.7;

/// Why the daemon does not start.
pub enum StartError {
    Config(Diagnostics),
    /// A configuration that is refused, and why the last good one cannot take its place.
    Both(Diagnostics, String),
    Listen(ListenError),
    Admin(admin::Error),
    /// A folder that cannot be made or is in use by another daemon.
    Folder(String),
    System(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(report) => out.write_str(&report.render(Paint::Plain, "nothing runs")),
            Self::Both(report, why) => {
                let text = report.render(Paint::Plain, "nothing runs");
                write!(out, "{text}\nthe last good configuration cannot take its place:\n{why}")
            }
            Self::Listen(error) => error.fmt(out),
            Self::Admin(error) => error.fmt(out),
            Self::Folder(error) | Self::System(error) => out.write_str(error),
        }
    }
}

/// What a process knows before it starts.
#[derive(Clone)]
pub struct Surroundings {
    /// The file that is in use, if any: it is watched.
    pub file: Option<PathBuf>,
    pub source: Source,
    pub levels: Levels,
    /// Where warnings and errors go as well.
    pub errors: Errors,
    pub metrics: PrometheusHandle,
    pub systemd: Systemd,
    /// Addresses that the service manager listens at for this process.
    pub given: Sockets,
    /// Takes what operators want of the main thread.
    pub orders: Orders,
}

/// The running daemon.
pub struct App {
    around: Surroundings,
    /// What is in force.
    config: schema::Config,
    /// The configuration as it was taken last, without what operators want beside it.
    taken: Loaded,
    steering: Steering,
    hub: Arc<Hub>,
    /// Whose tokens are trusted.
    trust: Trust,
    shards: Vec<Handle>,
    supervisor: Arc<Supervisor>,
    server: Arc<Server>,
    admin: Admin,
    house: Arc<House>,
    diary: Diary,
    /// What the last reload did that did something, and when.
    last_done: Option<(Instant, Plan)>,
    runtime: Runtime,
    /// Answers commands that nobody else answers in time.
    _deadlines: Deadlines,
    /// Gives systemd signs of life for as long as it is there.
    _vigil: Option<Vigil>,
    folders: Folders,
}

impl App {
    /// Starts everything in order: hub, broadcasters, shards, then the listeners, so that the first client finds all. What
    /// the configuration is to blame for comes first, and leaves nothing behind.
    pub fn start(loaded: Loaded, around: Surroundings) -> Result<Self, StartError> {
        let folders = Folders::open(&around.source.env).map_err(StartError::Folder)?;
        let config = loaded.config.clone();
        around.errors.set(reload::error_log(&loaded, Opened::at).map_err(StartError::Config)?);
        let hub = Hub::new(&epoch());
        let trust = Trust::new(trust::prepare(&loaded, &around.source.env).map_err(StartError::Config)?);
        let certificate = reload::certificate(&loaded, &around.source.env).map_err(StartError::Config)?;
        let admin_config = reload::admin(&loaded, &around.source.env).map_err(StartError::Config)?;
        let deadlines = Deadlines::start(hub.clone()).map_err(|error| no_thread(&error))?;
        let diary = start_diary(&config, &hub, &around)?;
        let tell = look::tell(diary.tell(), &around.orders);
        let supervised = plugin::Config { tell, ..supervisor_config(&config, &around.source.env, &folders) };
        let supervisor = Arc::new(Supervisor::new(hub.clone(), supervised));
        let broadcasters = prepare(&supervisor, &loaded)?;
        let verifier = trust.verifier().clone();
        let (shards, means) = start_shards(&config, &hub, &verifier)?;
        let runtime = runtime()?;
        let inboxes: Vec<_> = shards.iter().map(|shard| shard.inbox.clone()).collect();
        let limit = parts::max_connections(&config.hub);
        let settings = server::Config { certificate, ..parts::server(&config, limit, &folders.state) };
        let closed = server::Config { listen: Vec::new(), ingest: Vec::new(), ..settings.clone() };
        let served = server::Parts { hub: hub.clone(), shards: inboxes.clone(), verifier, given: around.given.clone() };
        let server = Arc::new(Server::start(closed, served, runtime.handle().clone()).map_err(StartError::Listen)?);
        // Addresses are taken before broadcasters begin, since that may fail, and served after, so that the first client
        // finds every record.
        let listening = server.prepare(settings).map_err(StartError::Listen)?;
        let house = House::new(supervisor.clone(), hub.clone(), server.clone(), &around);
        let shown = (house.clone(), admin::Shards(inboxes.clone().into()), &*server);
        let admin_parts = admin_parts(&hub, shown, &around, &folders);
        let admin = Admin::start(admin_config, admin_parts).map_err(StartError::Admin)?;
        reload::commit(&supervisor, &hub, broadcasters).map_err(|problems| {
            StartError::Config(Diagnostics::about(&loaded.document, reload::diagnostics(&loaded.document, problems)))
        })?;
        supervisor.try_new_files(Trial::by_this_program());
        server.commit(listening);
        house.set_configuration(&loaded);
        house.set_phase(Phase::Ready);
        tracing::info!(shards = shards.len(), backend = means.name(), "ready");
        let watched = Watched { hub: hub.clone(), server: server.clone(), shards: inboxes };
        let vigil = Vigil::start(around.systemd.clone(), watched).map_err(|error| no_thread(&error))?;
        Ok(Self {
            around,
            config,
            taken: loaded,
            steering: Steering::default(),
            hub,
            trust,
            shards,
            supervisor,
            server,
            admin,
            house,
            diary,
            last_done: None,
            runtime,
            _deadlines: deadlines,
            _vigil: vigil,
            folders,
        })
    }

    pub fn source(&self) -> &Source {
        &self.around.source
    }

    pub fn file(&self) -> Option<&PathBuf> {
        self.around.file.as_ref()
    }

    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub fn levels(&self) -> &Levels {
        &self.around.levels
    }

    pub fn systemd(&self) -> &Systemd {
        &self.around.systemd
    }

    /// The configuration's files as they are now; who watches them need not hand them over.
    pub fn read_files(&self, watch: Option<&Watch>) -> Result<Layers, Diagnostics> {
        let read = config::read(self.around.file.as_deref());
        if let Some(watch) = watch {
            watch.saw(&read);
        }
        read
    }

    /// What has to be done now and then: stuck broadcasters are noticed, and keys that have changed.
    pub fn tick(&mut self) {
        self.supervisor.watch();
        self.trust.look(&self.config.auth, &self.around.source.env);
    }

    /// Says of addresses that were given and are not served that whoever comes there waits: the service manager keeps them
    /// open, whatever the configuration says.
    pub fn tell_who_waits(&self) {
        let served = self.server.addresses().into_iter().chain(self.admin.addresses());
        let ingest = self.server.ingest_socket().map(|path| format!("{}{}", listen::UNIX, path.display()));
        let served: Vec<String> = served.chain(ingest).collect();
        for address in self.around.given.beside(&served) {
            tracing::warn!(
                address,
                "the service manager listens here for this daemon, which does not: clients wait in vain; name the address in server.listen, or stop the socket unit"
            );
        }
    }

    /// Does what an operator wants, and says what came of it.
    pub fn obey(&mut self, act: Act, watch: Option<&Watch>) -> Outcome {
        match act {
            Act::Reload => self.reload_asked(self.read_files(watch)),
            Act::Plan(candidate) => self.plan(candidate),
            Act::Steer(name, deed) => self.steer(&name, deed),
            Act::Look => {
                self.supervisor.watch();
                Outcome { is_done: true, report: serde_json::Value::Null }
            }
        }
    }

    /// Writes how everything is into the log.
    pub fn report(&self) {
        for stream in self.hub.streams() {
            tracing::info!(stream = %stream.name(), figures = ?stream.figures(), "stream");
        }
        for broadcaster in self.supervisor.status() {
            tracing::info!(broadcaster = %broadcaster.name, status = %broadcaster.json(), "broadcaster");
        }
    }

    /// Ends in order: nobody is let in, clients are told in a spread, broadcasters save and stop.
    pub fn drain(self) {
        let began = Instant::now();
        let time = self.config.server.drain.0;
        self.around.systemd.stopping();
        self.house.set_phase(Phase::Draining);
        tracing::info!(deadline_s = time.as_secs_f64(), "draining");
        self.diary.draining(time);
        let deadline = began + time.mul_f64(CLIENTS_PART);
        self.server.drain(deadline);
        self.admin.drain(deadline);
        for shard in &self.shards {
            shard.drain(deadline);
        }
        self.shards.into_iter().for_each(Handle::wait);
        // Before broadcasters stop: some of it is for them.
        self.server.finish();
        self.admin.finish();
        self.supervisor.stop();
        self.admin.stop();
        self.runtime.shutdown_timeout(RUNTIME_TIMEOUT);
        tracing::info!(took_s = began.elapsed().as_secs_f64(), "stopped");
    }
}

fn no_thread(error: &std::io::Error) -> StartError {
    StartError::System(format!("cannot start a thread: {error}"))
}

/// Eight letters and digits that no earlier start had, in all likelihood.
fn epoch() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(8).collect()
}

fn start_shards(
    config: &schema::Config,
    hub: &Arc<Hub>,
    verifier: &Arc<Verifier>,
) -> Result<(Vec<Handle>, Means), StartError> {
    hub.memory().set_bound(parts::memory(&config.hub));
    let granted = parts::shard(&config.hub);
    let (count, means) = (parts::shard_count(&config.server), means(&config.server)?);
    let shards: Result<_, _> =
        (0..count).map(|index| Handle::start(index, means, granted, hub.clone(), verifier.clone())).collect();
    let shards = shards.map_err(|error| StartError::System(format!("cannot start a shard: {error}")))?;
    Ok((shards, means))
}

/// The back end that the file asks for, or else the better one of those that this system allows.
fn means(server: &schema::Server) -> Result<Means, StartError> {
    let io_uring = || Means::IoUring.probe();
    match server.backend {
        schema::Backend::Epoll => Ok(Means::Epoll),
        schema::Backend::IoUring => io_uring().map(|()| Means::IoUring).map_err(|error| {
            let next = "write \"auto\", or allow the system calls io_uring_setup and io_uring_enter";
            StartError::System(format!("server.backend = \"io_uring\" cannot be had here: {error}; {next}"))
        }),
        schema::Backend::Auto => Ok(io_uring().map_or_else(
            |error| {
                tracing::debug!(%error, "io_uring cannot be had here");
                Means::Epoll
            },
            |()| Means::IoUring,
        )),
    }
}

fn prepare(supervisor: &Supervisor, loaded: &Loaded) -> Result<reload::Broadcasters, StartError> {
    let prepared = reload::prepare(supervisor, loaded, &Steering::default(), Aim::Exchange);
    let mut broadcasters = prepared.map_err(StartError::Config)?;
    let odd = Diagnostics::about(&loaded.document, std::mem::take(&mut broadcasters.odd));
    reload::warn(&odd, "the daemon starts all the same");
    Ok(broadcasters)
}

fn start_diary(config: &schema::Config, hub: &Arc<Hub>, around: &Surroundings) -> Result<Diary, StartError> {
    let limits = parts::own_stream(&config.hub);
    Diary::start(hub, limits, around.metrics.clone()).map_err(|error| no_thread(&error))
}

fn supervisor_config(config: &schema::Config, env: &Env, folders: &Folders) -> plugin::Config {
    plugin::Config {
        places: parts::places(&config.plugins, env),
        cache_dir: folders.cache.clone(),
        state_dir: folders.state.clone(),
        stream_defaults: crate::hub::settings::Settings::default(),
        timing: Timing::default(),
        clock: Arc::new(SystemClock::default()),
        tell: plugin::news::nobody(),
    }
}

fn admin_parts(
    hub: &Arc<Hub>,
    (house, shards, server): (Arc<House>, admin::Shards, &Server),
    around: &Surroundings,
    folders: &Folders,
) -> admin::Parts {
    admin::Parts {
        hub: hub.clone(),
        shards,
        house,
        catalogue: server.catalogue(),
        tokens: server.tokens(),
        metrics: around.metrics.clone(),
        control: control(folders),
        orders: around.orders.clone(),
        given: around.given.clone(),
    }
}

/// The control socket's address, unless the kernel has no room for it.
fn control(folders: &Folders) -> Option<String> {
    const MAX_PATH_BYTES: usize = 107; // sun_path of unix(7), which ends with a zero
    let path = &folders.control;
    if path.as_os_str().len() > MAX_PATH_BYTES {
        tracing::warn!(path = %path.display(), "commands cannot reach this daemon: a socket's path has at most {MAX_PATH_BYTES} bytes; set RUNTIME_DIRECTORY to a shorter folder");
        return None;
    }
    Some(format!("{}{}", listen::UNIX, path.display()))
}

fn runtime() -> Result<Runtime, StartError> {
    let built = Builder::new_multi_thread().worker_threads(2).thread_name("http").enable_all().build();
    built.map_err(|error| StartError::System(format!("cannot start the HTTP runtime: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_socket_is_where_the_kernel_has_room_for_its_path() {
        let home = tempfile::tempdir().unwrap();
        let at = |bytes: usize| {
            let folder = format!("/{}", "r".repeat(bytes - "//control.sock".len()));
            let home = home.path().display().to_string();
            let env = Env::from([("HOME".to_owned(), home), ("RUNTIME_DIRECTORY".to_owned(), folder)]);
            control(&Folders::shared(&env).unwrap())
        };
        assert_eq!(at(107).map(|address| address.len()), Some("unix:".len() + 107));
        assert_eq!(at(108), None);
    }
}
