//! The thread that answers commands whose broadcasters did not: theirs may hang in the plugin just then.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::hub::Hub;
use crate::hub::signal::Wakes;

/// Ends when it is dropped.
pub struct Deadlines {
    hub: Arc<Hub>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Deadlines {
    pub fn start(hub: Arc<Hub>) -> io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let (watched, ends) = (hub.clone(), is_over.clone());
        let thread = thread::Builder::new().name("deadlines".to_owned()).spawn(move || keep(&watched, &ends))?;
        Ok(Self { hub, is_over, thread: Some(thread) })
    }
}

impl Drop for Deadlines {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        self.hub.command_deadlines().raise(Wakes::CONTROL);
        // A thread that panicked has printed why.
        self.thread.take().map(JoinHandle::join);
    }
}

fn keep(hub: &Hub, is_over: &AtomicBool) {
    let signal = hub.command_deadlines();
    signal.belongs_here();
    loop {
        signal.take(); // before looking: what comes from here on raises it again
        if is_over.load(Ordering::Acquire) {
            return;
        }
        let now = Instant::now();
        let next = hub.expire_commands(now);
        signal.wait(|| match next {
            Some(next) => thread::park_timeout(next.saturating_duration_since(now)),
            None => thread::park(),
        });
    }
}
