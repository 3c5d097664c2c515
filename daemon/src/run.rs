//! The daemon from its start until it is told to stop.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::orders::{Order, Orders};
use crate::app::{App, LastGood, StartError, Surroundings, parts};
use crate::cli::{Exit, Options};
use crate::commands::{exit_of, fail, say, source};
use crate::config::diagnostic::Diagnostics;
use crate::config::watch::{Timing, Watch};
use crate::config::{self, Config, Layers, Loaded, Paint, Source};
use crate::log::errors::{Errors, Opened};
use crate::log::{Levels, journal};
use crate::systemd::sockets::Sockets;
use crate::systemd::{self, Systemd};
use crate::{app, log, metrics};

/// How often the main thread looks after the rest when nothing else happens.
const TICK: Duration = Duration::from_secs(1);

/// What the main thread is asked to do.
enum Wish {
    /// The files changed: their new texts, or why they cannot be read.
    Changed(Result<Layers, Diagnostics>),
    Reload,
    /// What an operator asks for and waits for.
    Order(Order),
    Report,
    Drain,
}

/// What a start falls back on when the configuration is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resort {
    /// The one that took effect last.
    LastGood,
    None,
}

/// A process that has not started yet.
struct Starter {
    file: Option<PathBuf>,
    source: Source,
    given: Sockets,
    orders: Orders,
    /// Known from the first try on: a process has one log.
    around: Option<Surroundings>,
}

/// Runs the daemon.
pub fn run(options: &Options, resort: Resort) -> Exit {
    let given = Sockets::take(); // before anything else is opened
    let file = options.config_file();
    let source = source(options, file.as_deref());
    let read = config::read(file.as_deref());
    let given = match given {
        Ok(given) => given,
        Err(error) => return refuse(&source, read.ok(), Exit::Config, &error),
    };
    let (wish, wishes) = channel();
    let mut starter = Starter { file, source, given, orders: orders(wish.clone()), around: None };
    let exit = match starter.start(read.clone(), resort) {
        Ok((app, refused)) => serve(app, (&read, refused.as_ref()), wish, &wishes),
        Err(error) => refuse(&starter.source, read.ok(), exit_of(&error), &error),
    };
    starter.around.iter().for_each(|around| around.levels.finish());
    exit
}

/// Says why nothing runs where operators read it: in the journal as an error, else on standard error; and in the error log, as
/// far as the files say which that is.
fn refuse(source: &Source, layers: Option<Layers>, exit: Exit, why: &dyn Display) -> Exit {
    let said = layers.map(|layers| Config::log_of(source, layers)).unwrap_or_default();
    let is_journal = journal::is_stderr(source.env.get("JOURNAL_STREAM").map(String::as_str));
    let format = if is_journal { log::Format::Journald } else { app::log_format(&said, &source.env) };
    let errors = Errors::default();
    // Where it cannot be opened, that is among the reasons.
    errors.set(parts::error_log(&said).and_then(|path| Opened::at(path).ok()));
    let why = why.to_string();
    log::aside(format, errors, || tracing::error!("the daemon does not start\n{}", why.trim_end()));
    if is_journal { exit } else { fail(exit, &why) }
}

impl Starter {
    /// Starts with these files, or with the last good ones, and says then what was wrong with these.
    fn start(
        &mut self,
        read: Result<Layers, Diagnostics>,
        resort: Resort,
    ) -> Result<(App, Option<Diagnostics>), StartError> {
        let loaded = read.and_then(|layers| Config::from_layers(&self.source, layers));
        let refused = match loaded.map_err(StartError::Config).and_then(|loaded| self.start_with(loaded)) {
            Ok(app) => return Ok((app, None)),
            Err(StartError::Config(report)) => report,
            Err(error) => return Err(error),
        };
        let Some(file) = self.file.as_ref().filter(|_| resort == Resort::LastGood) else {
            return Err(StartError::Config(refused));
        };
        let why = match LastGood::of(file, &self.source.env).load(&self.source) {
            Ok(None) => return Err(StartError::Config(refused)),
            Ok(Some(loaded)) => match self.start_with(loaded) {
                Ok(app) => return Ok((app, Some(refused))),
                Err(error @ (StartError::Config(_) | StartError::Both(..))) => error.to_string(),
                Err(error) => return Err(error),
            },
            Err(why) => why,
        };
        Err(StartError::Both(refused, why))
    }

    fn start_with(&mut self, loaded: Loaded) -> Result<App, StartError> {
        let around = match &self.around {
            Some(around) => {
                around.levels.configure(&loaded.config.log.level);
                around.clone()
            }
            None => self.around.insert(self.surroundings(&loaded)?).clone(),
        };
        if !loaded.warnings.is_empty() {
            tracing::warn!("{}", loaded.warnings.render(Paint::Plain, "the daemon starts all the same"));
        }
        App::start(loaded, around)
    }

    fn surroundings(&self, loaded: &Loaded) -> Result<Surroundings, StartError> {
        let format = app::log_format(&loaded.config.log, &self.source.env);
        let errors = Errors::default();
        let levels = log::start(format, &loaded.config.log.level, errors.clone());
        let metrics = metrics::install()
            .map_err(|error| StartError::System(format!("cannot install the metrics recorder: {error}")))?;
        Ok(Surroundings {
            file: self.file.clone(),
            source: self.source.clone(),
            levels,
            errors,
            metrics,
            systemd: Systemd::from_env(),
            given: self.given.clone(),
            orders: self.orders.clone(),
        })
    }
}

/// What was read for the start, and why it was refused, if it was.
type Begin<'a> = (&'a Result<Layers, Diagnostics>, Option<&'a Diagnostics>);

fn serve(mut app: App, (read, refused): Begin<'_>, wish: Sender<Wish>, wishes: &Receiver<Wish>) -> Exit {
    let watch = match watch(&app, read, &wish) {
        Ok(watch) => watch,
        Err(error) => {
            tracing::error!(%error, "the configuration file cannot be watched; reload with SIGHUP");
            None
        }
    };
    if let Err(error) = listen_to_signals(&app, wish) {
        return fail(Exit::Internal, &format!("cannot listen to signals: {error}"));
    }
    app.tell_who_waits();
    app.systemd().ready();
    app.begun(refused);
    if !app.systemd().is_there() {
        say(&app.greeting());
    }
    obey(&mut app, watch.as_ref(), wishes);
    drop(watch);
    app.drain();
    Exit::Done
}

/// Does what is asked, one after the other, until it is asked to drain.
fn obey(app: &mut App, watch: Option<&Watch>, wishes: &Receiver<Wish>) {
    let tick = systemd::watchdog_interval().map_or(TICK, |interval| interval.min(TICK));
    let mut due = Instant::now() + tick;
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            app.tick(); // also when one wish follows the other
            due = Instant::now() + tick;
        }
        match wishes.recv_timeout(left) {
            Ok(Wish::Changed(read)) => _ = app.reload_seen(read),
            Ok(Wish::Reload) => _ = app.reload(app.read_files(watch)),
            Ok(Wish::Order(Order { reply, .. })) if reply.is_closed() => {} // it came too late, and was told so
            Ok(Wish::Order(Order { act, reply })) => _ = reply.send(app.obey(act, watch)),
            Ok(Wish::Report) => app.report(),
            Ok(Wish::Drain) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// When the main thread has gone to drain, the order is dropped and whoever waits for it is told.
fn orders(wish: Sender<Wish>) -> Orders {
    Arc::new(move |order| _ = wish.send(Wish::Order(order)))
}

fn watch(app: &App, read: &Result<Layers, Diagnostics>, wish: &Sender<Wish>) -> std::io::Result<Option<Watch>> {
    let Some(file) = app.file() else { return Ok(None) };
    let wish = wish.clone();
    // The main thread may have gone to drain; then nobody needs the texts.
    let on_change = move |read| _ = wish.send(Wish::Changed(read));
    Watch::start(file, read, Timing::default(), on_change).map(Some)
}

fn listen_to_signals(app: &App, wish: Sender<Wish>) -> std::io::Result<()> {
    let _inside = app.runtime().enter();
    let heard = |kind: SignalKind| signal(kind);
    let (reload, report) = (heard(SignalKind::hangup())?, heard(SignalKind::user_defined1())?);
    let (terminate, interrupt) = (heard(SignalKind::terminate())?, heard(SignalKind::interrupt())?);
    app.runtime().spawn(pass_on(reload, wish.clone(), || Wish::Reload));
    app.runtime().spawn(pass_on(report, wish.clone(), || Wish::Report));
    app.runtime().spawn(end(terminate, interrupt, wish, app.levels().clone()));
    Ok(())
}

async fn pass_on(mut signal: Signal, wish: Sender<Wish>, what: fn() -> Wish) {
    while signal.recv().await.is_some() {
        if wish.send(what()).is_err() {
            return;
        }
    }
}

/// The first of them asks to drain; with the second, whichever it is, everything ends at once.
async fn end(mut terminate: Signal, mut interrupt: Signal, wish: Sender<Wish>, levels: Levels) {
    let mut asked = async || tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} };
    asked().await;
    _ = wish.send(Wish::Drain);
    asked().await;
    tracing::warn!("asked twice: ending without draining");
    levels.finish();
    std::process::exit(i32::from(Exit::Done as u8));
}
