//! How the hub wakes a broadcaster's thread: bits that say what to look at, never a queue that could fill.

use std::ops::BitOr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

/// What a broadcaster should look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wakes(u32);

impl Wakes {
    pub const INPUT: Wakes = Wakes(1);
    pub const DEMAND: Wakes = Wakes(2);
    pub const WRITABLE: Wakes = Wakes(4);
    pub const WAKE: Wakes = Wakes(8);
    pub const CONTROL: Wakes = Wakes(16);
    pub const COMMAND: Wakes = Wakes(32);

    pub fn has(self, other: Wakes) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Wakes {
    type Output = Wakes;

    fn bitor(self, other: Wakes) -> Wakes {
        Wakes(self.0 | other.0)
    }
}

/// Shared between the hub, which raises, and one thread, which takes. Raising never waits.
#[derive(Debug, Default)]
pub struct Signal {
    name: Arc<str>,
    raised: AtomicU32,
    thread: OnceLock<Thread>,
}

impl Signal {
    /// The signal of a broadcaster of this name.
    pub fn of(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub fn raise(&self, wakes: Wakes) {
        let before = self.raised.fetch_or(wakes.0, Ordering::Release);
        if before & wakes.0 != wakes.0
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Names the current thread as the one to wake. Only the first call counts.
    pub fn belongs_here(&self) {
        self.thread.get_or_init(std::thread::current);
    }

    /// Waits by `park`, unless something was raised that nobody has taken: whatever the thread waited for meanwhile may
    /// have used up the wake-up that came with it, and there is no second one.
    pub fn wait(&self, park: impl FnOnce()) {
        if self.raised.load(Ordering::Acquire) == 0 {
            park();
        }
    }

    /// What was raised since the last call.
    pub fn take(&self) -> Wakes {
        Wakes(self.raised.swap(0, Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_collect_until_taken() {
        let signal = Signal::default();
        signal.raise(Wakes::INPUT);
        signal.raise(Wakes::DEMAND);
        let taken = signal.take();
        assert!(taken.has(Wakes::INPUT) && taken.has(Wakes::DEMAND) && !taken.has(Wakes::WAKE));
        assert_eq!(signal.take(), Wakes::default());
    }

    #[test]
    fn a_raise_before_the_park_is_not_lost() {
        let signal = Signal::default();
        signal.belongs_here();
        signal.raise(Wakes::WAKE);
        std::thread::park(); // returns at once: the raise left its token
        assert!(signal.take().has(Wakes::WAKE));
    }

    #[test]
    fn a_wake_up_that_was_used_up_elsewhere_is_not_missed() {
        let signal = Signal::default();
        signal.belongs_here();
        signal.raise(Wakes::CONTROL);
        std::thread::park(); // as whatever waits for another thread does
        signal.wait(|| panic!("nobody would wake it"));
        signal.take();
        let mut waits = false;
        signal.wait(|| waits = true);
        assert!(waits);
    }
}
