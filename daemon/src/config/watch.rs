//! Sees every kind of save of the configuration file, and hands over its text once it has changed and settled.
//!
//! Editors write in place, rename over, or delete and create; Kubernetes swaps a symlink two hops away. So the folder of
//! every component and every symlink hop on the way to the file is watched, the way is walked anew after every event,
//! and what counts is the hash of the text, never a time stamp. A poll covers what the kernel does not tell: network
//! file systems, single-file mounts, lost events.

use std::{
    collections::{BTreeSet, VecDeque},
    ffi::OsString,
    io,
    path::{Component, Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use sha2::{Digest, Sha256};

use super::{diagnostic::Diagnostics, source};

/// How many symlinks lead on before they are taken for a circle; the kernel's own limit.
const MAX_HOPS: usize = 40;

/// How often the way to the file is walked again when it changed while the watches were being placed.
const MAX_WALKS: usize = 5;

/// When a save counts as finished.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Nothing must happen for this long before the file is read: longer than editors take between two writes.
    pub quiet: Duration,
    /// A file that never rests is read after this long all the same.
    pub longest: Duration,
    /// The hash is compared this often even when the kernel reports nothing.
    pub poll: Duration,
}

/// A running watch; it ends when dropped.
#[derive(Debug)]
pub struct Watch {
    seen: Arc<Mutex<Seen>>,
    wake: SyncSender<()>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Default for Timing {
    fn default() -> Self {
        Self { quiet: Duration::from_millis(250), longest: Duration::from_secs(2), poll: Duration::from_secs(30) }
    }
}

impl Watch {
    /// Watches `path` in a thread of its own and calls `on_change` with the text whenever it differs from the last one,
    /// or with what is wrong with the file when it can no longer be read. `known` is the text in force, `None` when
    /// there was no file; a change between reading it and this call is not missed.
    ///
    /// A text that is no TOML, an empty one, and an unreadable file are only reported after one more quiet period.
    pub fn start(
        path: &Path,
        known: Option<&str>,
        timing: Timing,
        on_change: impl Fn(Result<String, Diagnostics>) + Send + 'static,
    ) -> io::Result<Self> {
        Self::start_with(path, known, timing, Sight::Kernel, on_change)
    }

    fn start_with(
        path: &Path,
        known: Option<&str>,
        timing: Timing,
        sight: Sight,
        on_change: impl Fn(Result<String, Diagnostics>) + Send + 'static,
    ) -> io::Result<Self> {
        // One wake that has not been seen yet says as much as a hundred.
        let (wake, woken) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(known.map(hash)));
        let observer = Observer {
            path: std::path::absolute(path)?,
            shown: path.to_owned(),
            seen: seen.clone(),
            timing,
            sight,
            wake: wake.clone(),
            woken,
            stop: stop.clone(),
            on_change,
        };
        let thread = std::thread::Builder::new().name("config-watch".to_owned()).spawn(move || observer.run())?;
        Ok(Self { seen, wake, stop, thread: Some(thread) })
    }

    /// The file was read elsewhere, and what was in it is known: it is not handed over, and what comes after it is.
    pub fn saw(&self, found: &Result<String, Diagnostics>) {
        *lock(&self.seen) = found.as_deref().ok().map(hash);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // A full channel wakes the thread just as well.
        let _ = self.wake.try_send(());
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

/// The folders on the way to the file, and the entries in them that are steps of it.
#[derive(Debug, PartialEq, Eq)]
struct Way {
    folders: BTreeSet<PathBuf>,
    steps: BTreeSet<PathBuf>,
}

/// The hash of the text that is known; `None` when the file could not be read.
type Seen = Option<[u8; 32]>;

/// The thread behind a `Watch`.
struct Observer<F> {
    path: PathBuf,
    shown: PathBuf,
    seen: Arc<Mutex<Seen>>,
    timing: Timing,
    sight: Sight,
    wake: SyncSender<()>,
    woken: Receiver<()>,
    stop: Arc<AtomicBool>,
    on_change: F,
}

impl<F: Fn(Result<String, Diagnostics>)> Observer<F> {
    fn run(mut self) {
        let mut watcher = self.watch();
        self.settle();
        while !self.stop.load(Ordering::Acquire) {
            match self.woken.recv_timeout(self.timing.poll) {
                Ok(()) => self.wait_for_quiet(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            // New watches before the old ones go: folders may have been replaced by others of the same name.
            let next = self.watch();
            drop(std::mem::replace(&mut watcher, next));
            self.settle();
        }
    }

    /// Returns when nothing has happened for a while, or too much for too long.
    fn wait_for_quiet(&self) {
        let start = Instant::now();
        while !self.stop.load(Ordering::Acquire) {
            let left = self.timing.longest.saturating_sub(start.elapsed());
            if left.is_zero() || self.woken.recv_timeout(self.timing.quiet.min(left)).is_err() {
                return;
            }
        }
    }

    /// Reads the file and hands it over if it changed.
    fn settle(&mut self) {
        let mut found = source::read(&self.shown);
        if self.is_seen(&found) {
            return;
        }
        if is_doubtful(&found) {
            // Perhaps caught half-written, or between delete and create.
            self.wait_for_quiet();
            found = source::read(&self.shown);
            if self.is_seen(&found) || self.stop.load(Ordering::Acquire) {
                return;
            }
        }
        *lock(&self.seen) = found.as_deref().ok().map(hash);
        (self.on_change)(found);
    }

    fn is_seen(&self, found: &Result<String, Diagnostics>) -> bool {
        found.as_deref().ok().map(hash) == *lock(&self.seen)
    }

    /// Watches every folder on the way to the file as the way is now. Without the kernel's help the poll must do.
    fn watch(&self) -> Option<RecommendedWatcher> {
        if self.sight != Sight::Kernel {
            return None;
        }
        let mut way = walk(&self.path);
        for _ in 0..MAX_WALKS {
            let watcher = self.watch_way(&way);
            let now = walk(&self.path);
            // Only a way that is still the same after the watches stand is surely watched.
            if now == way {
                return watcher;
            }
            way = now;
        }
        // It changes faster than it can be followed: look again right after the next quiet period.
        let _ = self.wake.try_send(());
        self.watch_way(&way)
    }

    fn watch_way(&self, way: &Way) -> Option<RecommendedWatcher> {
        let wake = self.wake.clone();
        let paths: BTreeSet<PathBuf> = way.folders.union(&way.steps).cloned().collect();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.map_or(true, |event| concerns(&event, &paths)) {
                // Full means that a wake is already on its way.
                let _ = wake.try_send(());
            }
        });
        let mut watcher = watcher
            .inspect_err(
                |error| tracing::warn!(%error, poll = ?self.timing.poll, "config changes are only seen by polling"),
            )
            .ok()?;
        for folder in &way.folders {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                // A folder above may be closed to us, and one may vanish in this moment; the poll covers both.
                tracing::debug!(%error, folder = %folder.display(), "a folder on the way to the config is not watched");
            }
        }
        Some(watcher)
    }
}

/// It is one value: whoever panicked while holding it left it whole.
fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// What a save in progress may look like: gone, empty, or cut off.
fn is_doubtful(found: &Result<String, Diagnostics>) -> bool {
    found.as_deref().map_or(true, |text| text.trim().is_empty() || !source::parses(text))
}

/// Whether an event is about the way to the file. Reading is not: we read ourselves.
fn concerns(event: &Event, paths: &BTreeSet<PathBuf>) -> bool {
    let reading = matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write));
    let lost = event.need_rescan() || event.paths.is_empty();
    lost || (!reading && event.paths.iter().any(|path| paths.contains(path)))
}

/// Follows the path component by component, through every symlink, as far as it exists.
fn walk(path: &Path) -> Way {
    let mut way = Way { folders: BTreeSet::new(), steps: BTreeSet::new() };
    let mut here = PathBuf::from("/");
    let mut ahead: VecDeque<OsString> = components(path).collect();
    let mut hops = 0;
    while let Some(part) = ahead.pop_front() {
        if part == ".." {
            here.pop();
            continue;
        }
        let step = here.join(&part);
        way.folders.insert(here.clone());
        way.steps.insert(step.clone());
        match std::fs::read_link(&step) {
            Ok(target) => {
                hops += 1;
                if hops > MAX_HOPS {
                    return way;
                }
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                components(&target).collect::<Vec<_>>().into_iter().rev().for_each(|part| ahead.push_front(part));
            }
            // Not a symlink, or not there: what is missing ends the way where it will appear.
            Err(_) if step.symlink_metadata().is_err() => return way,
            Err(_) => here = step,
        }
    }
    way
}

fn components(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(part) => Some(part.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
