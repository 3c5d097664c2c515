//! The daemon from its start until it is told to stop.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::orders::{Order, Orders};
use crate::app::{App, Surroundings};
use crate::cli::{Exit, Options};
use crate::commands::{exit_of, fail, load, refuse, say};
use crate::config::Paint;
use crate::config::diagnostic::Diagnostics;
use crate::config::watch::{Timing, Watch};
use crate::event::unix_now;
use crate::systemd::{self, Systemd};
use crate::{app, log, metrics};

/// How often the main thread looks after the rest when nothing else happens.
const TICK: Duration = Duration::from_secs(1);

/// What the main thread is asked to do.
enum Wish {
    /// The file changed: its new text, or why it cannot be read.
    Changed(Result<String, Diagnostics>),
    Reload,
    /// What an operator asks for and waits for.
    Order(Order),
    Report,
    Drain,
}

/// Runs the daemon.
pub fn run(options: &Options) -> Exit {
    let (source, loaded) = match load(options) {
        Ok(found) => found,
        Err(report) => return refuse(&report),
    };
    let text = loaded.document.text().to_owned();
    let levels = log::start(app::log_format(&loaded.config.log, &source.env), &loaded.config.log.level);
    if !loaded.warnings.is_empty() {
        tracing::warn!("{}", loaded.warnings.render(Paint::Plain, "the daemon starts all the same"));
    }
    let metrics = match metrics::install() {
        Ok(metrics) => metrics,
        Err(error) => return fail(Exit::Internal, &format!("cannot install the metrics recorder: {error}")),
    };
    let (wish, wishes) = channel();
    let around = Surroundings {
        file: options.config_file(),
        source,
        levels,
        metrics,
        systemd: Systemd::from_env(),
        orders: orders(wish.clone()),
    };
    match App::start(loaded, around) {
        Ok(app) => serve(app, &text, wish, &wishes),
        Err(error) => fail(exit_of(&error), &error.to_string()),
    }
}

fn serve(mut app: App, text: &str, wish: Sender<Wish>, wishes: &Receiver<Wish>) -> Exit {
    let watch = match watch(&app, text, &wish) {
        Ok(watch) => watch,
        Err(error) => {
            tracing::error!(%error, "the configuration file cannot be watched; reload with SIGHUP");
            None
        }
    };
    if let Err(error) = listen_to_signals(&app, wish) {
        return fail(Exit::Internal, &format!("cannot listen to signals: {error}"));
    }
    app.systemd().ready();
    app.systemd().status("running");
    metrics::reload_succeeded(unix_now() as f64 / 1e9);
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
            Ok(Wish::Changed(read)) => _ = app.reload(read),
            Ok(Wish::Reload) => _ = app.reload(app.read_file(watch)),
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

fn watch(app: &App, text: &str, wish: &Sender<Wish>) -> std::io::Result<Option<Watch>> {
    let Some(file) = app.file() else { return Ok(None) };
    let wish = wish.clone();
    // The main thread may have gone to drain; then nobody needs the text.
    let on_change = move |text| _ = wish.send(Wish::Changed(text));
    Watch::start(file, Some(text), Timing::default(), on_change).map(Some)
}

fn listen_to_signals(app: &App, wish: Sender<Wish>) -> std::io::Result<()> {
    let _inside = app.runtime().enter();
    let heard = |kind: SignalKind| signal(kind);
    let (reload, report) = (heard(SignalKind::hangup())?, heard(SignalKind::user_defined1())?);
    let (terminate, interrupt) = (heard(SignalKind::terminate())?, heard(SignalKind::interrupt())?);
    app.runtime().spawn(pass_on(reload, wish.clone(), || Wish::Reload));
    app.runtime().spawn(pass_on(report, wish.clone(), || Wish::Report));
    app.runtime().spawn(end(terminate, wish.clone()));
    app.runtime().spawn(end(interrupt, wish));
    Ok(())
}

async fn pass_on(mut signal: Signal, wish: Sender<Wish>, what: fn() -> Wish) {
    while signal.recv().await.is_some() {
        if wish.send(what()).is_err() {
            return;
        }
    }
}

/// The first time it asks to drain, the second time everything ends at once.
async fn end(mut signal: Signal, wish: Sender<Wish>) {
    signal.recv().await;
    _ = wish.send(Wish::Drain);
    signal.recv().await;
    tracing::warn!("asked twice: ending without draining");
    std::process::exit(i32::from(Exit::Done as u8));
}
