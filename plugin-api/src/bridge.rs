//! What a plugin logs, counts and panics with goes to its host: nothing global is shared over the border (rule R9).
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, PanicHookInfo};
use std::sync::{Mutex, Once, PoisonError};

use tracing_subscriber::layer::SubscriberExt;

use crate::abi;
use crate::entry::Host;

mod log;
mod metric;

thread_local! {
    /// The broadcaster that this thread works for now.
    static CURRENT: Cell<Option<Host>> = const { Cell::new(None) };
    /// What the panic hook saw last on this thread, for the failure that follows.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The broadcaster called last: threads that a plugin started by itself are counted for it.
static NEWEST: Mutex<Option<Host>> = Mutex::new(None);

/// Installs log, metrics and panic hook once per library. A test program that has its own keeps them.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(log::HostLog);
        let _has_its_own = tracing::subscriber::set_global_default(subscriber);
        let _has_its_own = metrics::set_global_recorder(metric::HostMetrics::default());
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            if !report(panicked) {
                previous(panicked);
            }
        }));
    });
}

/// Gives the histograms of this name other upper bounds than the usual ones, which end at 10 seconds: 1 to 32 numbers that
/// rise. To be said where the histogram is described, before one is opened; it holds for this broadcaster.
///
/// ```
/// metrics::describe_histogram!("wait_seconds", "How long customers wait.");
/// broadcastd_plugin_api::histogram_bounds("wait_seconds", &[1.0, 60.0, 3_600.0]);
/// ```
pub fn histogram_bounds(name: &str, bounds: &[f64]) {
    metric::bounds(name, bounds);
}

/// From here to the drop of the result this thread works for `host`.
pub(crate) fn enter(host: Host) -> Inside {
    let outside = CURRENT.try_with(|current| current.replace(Some(host))).ok().flatten();
    if outside != Some(host) {
        *NEWEST.lock().unwrap_or_else(PoisonError::into_inner) = Some(host);
    }
    Inside { outside }
}

/// Restores whom the thread worked for before.
pub(crate) struct Inside {
    outside: Option<Host>,
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _thread_ends = CURRENT.try_with(|current| current.set(self.outside));
    }
}

/// The broadcaster is destroyed: nothing of it is kept.
pub(crate) fn forget(host: Host) {
    NEWEST.lock().unwrap_or_else(PoisonError::into_inner).take_if(|newest| *newest == host);
    metric::forget(host);
}

/// Whom to log and count for.
fn host() -> Option<Host> {
    let current = CURRENT.try_with(Cell::get).ok().flatten();
    current.or_else(|| *NEWEST.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What a caught panic said, with its place when the hook saw it.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let seen = PANIC.try_with(|panic| panic.take()).ok().flatten();
    seen.unwrap_or_else(|| format!("panicked: {}", payload_text(payload)))
}

/// Logs a panic for the broadcaster that this thread works for; false when it works for none.
fn report(panicked: &PanicHookInfo<'_>) -> bool {
    let Some(host) = CURRENT.try_with(Cell::get).ok().flatten() else { return false };
    let place = panicked.location().map_or_else(String::new, |place| format!(" at {place}"));
    let text = format!("panicked{place}: {}", payload_text(panicked.payload()));
    host.log(abi::LOG_ERROR, "panic", &text);
    let _thread_ends = PANIC.try_with(|panic| panic.replace(Some(text)));
    true
}

fn payload_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("for a reason that is no text")
}
