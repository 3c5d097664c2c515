//! When things happen: the clock that broadcasters see, and every deadline of the supervisor.

use std::thread;
use std::time::{Duration, Instant};

use crate::event::unix_now;

/// The time that a broadcaster sees; virtual under test.
pub trait Clock: Send + Sync {
    /// Nanoseconds since some fixed moment; never goes back.
    fn mono_ns(&self) -> i64;
    /// Nanoseconds since 1970.
    fn unix_ns(&self) -> i64;
    /// Parks the current thread until it is unparked, or until the monotonic clock has reached `deadline`. It may return
    /// earlier, as parking may.
    fn park_until(&self, deadline: Option<i64>);
}

/// The clocks of the machine.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn mono_ns(&self) -> i64 {
        nanos(self.0.elapsed())
    }

    fn unix_ns(&self) -> i64 {
        unix_now()
    }

    fn park_until(&self, deadline: Option<i64>) {
        match deadline {
            None => thread::park(),
            Some(deadline) => match u64::try_from(deadline.saturating_sub(self.mono_ns())) {
                Ok(left) if left > 0 => thread::park_timeout(Duration::from_nanos(left)),
                _ => {}
            },
        }
    }
}

/// How long things may take, and how often they happen. The values below are the daemon's; tests hand in their own.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// A call into a plugin beyond this is logged and counted: at 100 ms a chart visibly stutters.
    pub slow_call: Duration,
    /// A call beyond this makes the broadcaster unhealthy: nothing that returns takes so long.
    pub stuck_call: Duration,
    /// Demand that went to zero is told only after this, so that a page reload does not stop and start a source.
    pub demand_linger: Duration,
    /// State is kept in memory at most this often while events come: it bounds what a restart repeats.
    pub checkpoint_every: Duration,
    /// … and after this many inputs, so that the streams listened to can let go of them.
    pub checkpoint_inputs: usize,
    /// State is written to disk this often: it bounds what a crash of the daemon loses.
    pub save_every: Duration,
    /// How long a plugin may take to make an instance before the reload is refused.
    pub create: Duration,
    /// How long a running instance may take to hand over its state, its inputs queueing meanwhile.
    pub hand_over: Duration,
    /// How long the new file of a plugin is watched: if it fails meanwhile, the one before comes back. Most of what a build
    /// breaks shows with the first events, and few operators have turned away by then.
    pub probation: Duration,
    /// How long an instance may take to stop before its thread is abandoned.
    pub stop: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            slow_call: Duration::from_millis(100),
            stuck_call: Duration::from_secs(5),
            demand_linger: Duration::from_secs(5),
            checkpoint_every: Duration::from_secs(1),
            checkpoint_inputs: 10_000,
            save_every: Duration::from_secs(10),
            create: Duration::from_secs(10),
            hand_over: Duration::from_secs(2),
            probation: Duration::from_secs(10),
            stop: Duration::from_secs(5),
        }
    }
}

/// A duration as the border counts it.
pub fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(super) mod virtual_clock {
    use std::sync::Mutex;
    use std::thread::Thread;

    use super::*;

    /// A clock that moves only when a test moves it.
    #[derive(Default)]
    pub struct VirtualClock(Mutex<(i64, Vec<Thread>)>);

    impl VirtualClock {
        pub fn advance(&self, by: Duration) {
            let mut inner = self.0.lock().unwrap();
            inner.0 += nanos(by);
            for thread in inner.1.drain(..) {
                thread.unpark();
            }
        }
    }

    impl Clock for VirtualClock {
        /// Uses up a wake-up of the thread that looks, as whatever waits for another thread may do.
        fn mono_ns(&self) -> i64 {
            thread::park_timeout(Duration::ZERO);
            self.0.lock().unwrap().0
        }

        fn unix_ns(&self) -> i64 {
            1_767_020_400_000_000_000 + self.mono_ns()
        }

        fn park_until(&self, deadline: Option<i64>) {
            let mut inner = self.0.lock().unwrap();
            if deadline.is_some_and(|deadline| inner.0 >= deadline) {
                return;
            }
            inner.1.push(thread::current());
            drop(inner);
            thread::park();
        }
    }
}
