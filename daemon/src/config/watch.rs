//! Sees every kind of save of the configuration file and of those in its folder, and hands over their texts once they have
//! changed and settled.
//!
//! Editors write in place, rename over, or delete and create; Kubernetes swaps a symlink two hops away. So the folder of
//! every component and every symlink hop on the way to each file is watched (`way`), the ways are walked anew after every
//! event, and what counts is the hash of the texts, never a time stamp. A poll covers what the kernel does not tell:
//! network file systems, single-file mounts, lost events.

mod emptied;
mod kernel;
mod way;

use std::{
    collections::BTreeMap,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use sha2::{Digest, Sha256};

pub use self::emptied::{unless_emptied, warn_of_emptied, warn_of_silence};

use self::{kernel::Kernel, way::Way};
use super::{diagnostic::Diagnostics, files, layers::Layers, source};

/// How often the ways to the files are walked again when they changed while the watches were being placed.
const MAX_WALKS: usize = 5;

/// When a save counts as finished.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Nothing must happen for this long before the files are read: longer than editors take between two writes.
    pub quiet: Duration,
    /// Files that never rest are read after this long all the same.
    pub longest: Duration,
    /// The hashes are compared this often even when the kernel reports nothing.
    pub poll: Duration,
}

/// A running watch; it ends when dropped.
#[derive(Debug)]
pub struct Watch {
    seen: Arc<Mutex<Seen>>,
    bell: Arc<OwnedFd>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Default for Timing {
    fn default() -> Self {
        Self { quiet: Duration::from_millis(250), longest: Duration::from_secs(2), poll: Duration::from_secs(30) }
    }
}

impl Watch {
    /// Watches `path` and its folder in a thread of its own and calls `on_change` with the texts whenever they differ from
    /// the last ones, or with what is wrong with the files when they can no longer be read. `known` is what was read last;
    /// a change between that and this call is not missed.
    ///
    /// A text that is no TOML, an empty one, a file that has gone, and unreadable ones are only reported after one more
    /// quiet period.
    pub fn start(
        path: &Path,
        known: &Result<Layers, Diagnostics>,
        timing: Timing,
        on_change: impl Fn(Result<Layers, Diagnostics>) + Send + 'static,
    ) -> io::Result<Self> {
        Self::start_with(path, known, timing, Sight::Kernel, on_change)
    }

    fn start_with(
        path: &Path,
        known: &Result<Layers, Diagnostics>,
        timing: Timing,
        sight: Sight,
        on_change: impl Fn(Result<Layers, Diagnostics>) + Send + 'static,
    ) -> io::Result<Self> {
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(seen(known)));
        let observer = Observer {
            path: std::path::absolute(path)?,
            shown: path.to_owned(),
            seen: seen.clone(),
            timing,
            sight,
            bell: bell.clone(),
            kernel: None,
            stop: stop.clone(),
            on_change,
        };
        let thread = std::thread::Builder::new().name("config-watch".to_owned()).spawn(move || observer.run())?;
        Ok(Self { seen, bell, stop, thread: Some(thread) })
    }

    /// The files were read elsewhere, and what was in them is known: it is not handed over, and what comes after it is.
    pub fn saw(&self, found: &Result<Layers, Diagnostics>) {
        *lock(&self.seen) = seen(found);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        ring(&self.bell);
        let Some(thread) = self.thread.take() else { return };
        // Dropped from inside `on_change`, the thread ends after it; it cannot wait for itself.
        if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
            tracing::error!("the config watch ended by a panic");
        }
    }
}

/// Whether the kernel reports changes, or only the poll sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    Kernel,
    #[cfg(test)]
    PollOnly,
}

/// The hash of every file's text by its name; or what is said of the files while they cannot be read.
type Seen = Result<BTreeMap<String, [u8; 32]>, Vec<String>>;

/// The thread behind a `Watch`.
struct Observer<F> {
    path: PathBuf,
    shown: PathBuf,
    seen: Arc<Mutex<Seen>>,
    timing: Timing,
    sight: Sight,
    /// Rung when it is to end, or to look again.
    bell: Arc<OwnedFd>,
    kernel: Option<Kernel>,
    stop: Arc<AtomicBool>,
    on_change: F,
}

impl<F: Fn(Result<Layers, Diagnostics>)> Observer<F> {
    fn run(mut self) {
        self.kernel = self.watch();
        self.settle();
        while !self.stop.load(Ordering::Acquire) {
            if self.is_woken(self.timing.poll) {
                self.wait_for_quiet();
            }
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            // New watches before the old ones go: folders may have been replaced by others of the same name.
            self.kernel = self.watch();
            self.settle();
        }
    }

    /// Returns when nothing has happened for a while, or too much for too long.
    fn wait_for_quiet(&mut self) {
        let start = Instant::now();
        while !self.stop.load(Ordering::Acquire) {
            // A file that has just come may be written for longer than this: what is written into it is to be seen, too.
            self.kernel = self.watch();
            let left = self.timing.longest.saturating_sub(start.elapsed());
            if left.is_zero() || !self.is_woken(self.timing.quiet.min(left)) {
                return;
            }
        }
    }

    /// Waits for something that concerns us, and says whether it came within this time.
    fn is_woken(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let time = Timespec::try_from(left).ok();
            let mut fds: Vec<PollFd<'_>> = vec![PollFd::new(&self.bell, PollFlags::IN)];
            fds.extend(self.kernel.iter().map(|kernel| PollFd::new(kernel, PollFlags::IN)));
            // A signal is no more than one more turn.
            _ = poll(&mut fds, time.as_ref());
            if is_rung(&self.bell) || self.kernel.as_ref().is_some_and(Kernel::is_concerned) {
                return true;
            }
            if left.is_zero() {
                return false;
            }
        }
    }

    /// Reads the files and hands them over if they changed.
    fn settle(&mut self) {
        let mut found = files::read(&self.shown);
        if self.is_seen(&found) {
            return;
        }
        if self.is_doubtful(&found) {
            // Perhaps caught half-written, or between delete and create.
            self.wait_for_quiet();
            found = files::read(&self.shown);
            if self.is_seen(&found) || self.stop.load(Ordering::Acquire) {
                return;
            }
        }
        *lock(&self.seen) = seen(&found);
        (self.on_change)(found);
    }

    fn is_seen(&self, found: &Result<Layers, Diagnostics>) -> bool {
        seen(found) == *lock(&self.seen)
    }

    /// Whether a save in progress may look like it: gone, empty, or cut off.
    fn is_doubtful(&self, found: &Result<Layers, Diagnostics>) -> bool {
        let Ok(layers) = found else { return true };
        let is_half = |text: &str| source::says_nothing(text) || !source::parses(text);
        let is_there = |name: &String| layers.all().any(|(_, layer)| layer.name == *name);
        let has_gone = lock(&self.seen).as_ref().is_ok_and(|known| !known.keys().all(is_there));
        has_gone || layers.all().any(|(_, layer)| is_half(&layer.text))
    }

    /// Watches every step on the ways to the files as they are now. Without the kernel's help the poll must do.
    fn watch(&self) -> Option<Kernel> {
        if self.sight != Sight::Kernel {
            return None;
        }
        let mut way = Way::to(&self.path);
        for _ in 0..MAX_WALKS {
            let kernel = self.watch_way(&way);
            let now = Way::to(&self.path);
            // Only a way that is still the same after the watches stand is surely watched.
            if now == way {
                return kernel;
            }
            way = now;
        }
        // It changes faster than it can be followed: look again right after the next quiet period.
        ring(&self.bell);
        self.watch_way(&way)
    }

    fn watch_way(&self, way: &Way) -> Option<Kernel> {
        Kernel::watch(way)
            .inspect_err(
                |error| tracing::warn!(%error, poll = ?self.timing.poll, "config changes are only seen by polling"),
            )
            .ok()
    }
}

/// One ring that has not been heard yet says as much as a hundred.
fn ring(bell: &OwnedFd) {
    _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
}

fn is_rung(bell: &OwnedFd) -> bool {
    rustix::io::read(bell, &mut [0_u8; 8]).is_ok()
}

/// It is one value: whoever panicked while holding it left it whole.
fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn seen(found: &Result<Layers, Diagnostics>) -> Seen {
    let hash = |text: &str| Sha256::digest(text.as_bytes()).into();
    match found {
        Ok(layers) => Ok(layers.all().map(|(_, layer)| (layer.name.clone(), hash(&layer.text))).collect()),
        Err(report) => Err(report.items.iter().map(|item| item.message.clone()).collect()),
    }
}

#[cfg(test)]
mod tests;
