//! Threads for work that waits: mail, HTTP, brokers, files. Results come back through `on_wake`.
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::bridge;
use crate::entry::Host;

/// Threads of a worker: enough that one slow answer does not hold up the next job, few enough to forget about.
pub const WORKER_THREADS: usize = 2;

/// Jobs of a worker that are waiting, running, or done and not collected; the bound keeps an outside service that
/// does not answer from filling the memory.
pub const WORKER_JOBS: usize = 256;

/// Runs jobs that wait, away from the broadcaster's own thread.
///
/// ```text
/// self.worker = cx.worker();                                    // in `new`
/// self.worker.run(move || client.post(url, body))?;             // in any callback
/// for outcome in self.worker.done() { … }                       // in `on_wake`
/// ```
///
/// Jobs start in order; with [`WORKER_THREADS`] threads they may end in another. The threads start with the first
/// job. Dropping the worker forgets the jobs that have not begun and does not wait for the ones that have: a job that
/// must not be lost belongs into the saved state until its outcome is seen.
pub struct Worker<T> {
    shared: Arc<Shared<T>>,
}

/// How a job ended.
pub type Outcome<T> = Result<T, JobPanicked>;

/// A job panicked; the log has the place, this the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobPanicked(pub String);

impl fmt::Display for JobPanicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for JobPanicked {}

/// The job was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobRefused {
    /// [`WORKER_JOBS`] jobs are in hand; try again after the next `on_wake`.
    Full,
    /// The system has no thread for it.
    NoThread,
}

impl fmt::Display for JobRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobRefused::Full => write!(f, "{WORKER_JOBS} jobs are in hand; try again when some are done"),
            JobRefused::NoThread => f.write_str("no thread could be started; raise the limit of tasks"),
        }
    }
}

impl std::error::Error for JobRefused {}

type Job<T> = Box<dyn FnOnce() -> T + Send>;

struct Shared<T> {
    host: Host,
    state: Mutex<State<T>>,
    work: Condvar,
}

struct State<T> {
    waiting: VecDeque<Job<T>>,
    running: usize,
    done: Vec<Outcome<T>>,
    threads: usize,
    closed: bool,
}

impl<T: Send + 'static> Worker<T> {
    pub(crate) fn new(host: Host) -> Self {
        let state = State { waiting: VecDeque::new(), running: 0, done: Vec::new(), threads: 0, closed: false };
        Worker { shared: Arc::new(Shared { host, state: Mutex::new(state), work: Condvar::new() }) }
    }

    /// Takes a job; `on_wake` follows when it is done. Never waits.
    pub fn run(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<(), JobRefused> {
        let mut state = self.shared.lock();
        if state.in_hand() >= WORKER_JOBS {
            return Err(JobRefused::Full);
        }
        if state.threads < WORKER_THREADS {
            let shared = self.shared.clone();
            let started = thread::Builder::new().name("plugin-worker".into()).spawn(move || shared.work());
            match started {
                Ok(_ends_with_the_worker) => state.threads += 1,
                Err(_) if state.threads > 0 => {}
                Err(_) => return Err(JobRefused::NoThread),
            }
        }
        state.waiting.push_back(Box::new(job));
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }

    /// What is done since the last call, in the order it ended.
    pub fn done(&self) -> Vec<Outcome<T>> {
        std::mem::take(&mut self.shared.lock().done)
    }

    /// Jobs waiting, running, or done and not collected.
    pub fn in_hand(&self) -> usize {
        self.shared.lock().in_hand()
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        let forgotten = std::mem::take(&mut state.waiting);
        drop(state); // before the jobs: their destructors are the plugin's own code
        drop(forgotten);
        self.shared.work.notify_all();
    }
}

impl<T> State<T> {
    fn in_hand(&self) -> usize {
        self.waiting.len() + self.running + self.done.len()
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One thread: job after job until the worker is dropped.
    fn work(&self) {
        let _inside = bridge::enter(self.host);
        while let Some(job) = self.next() {
            let outcome = catch_unwind(AssertUnwindSafe(job)).map_err(|payload| {
                let text = bridge::panic_text(&*payload);
                std::mem::forget(payload); // its destructor could panic once more
                JobPanicked(text)
            });
            let mut state = self.lock();
            state.running -= 1;
            if state.closed {
                return;
            }
            state.done.push(outcome);
            drop(state);
            let _closed = self.host.wake();
        }
    }

    /// Waits for a job; `None` when the worker is dropped.
    fn next(&self) -> Option<Job<T>> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.waiting.pop_front() {
                state.running += 1;
                return Some(job);
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
