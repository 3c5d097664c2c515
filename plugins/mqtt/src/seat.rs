//! Room for one: what must not be used by two at once waits here, and so do those who want it, until their deadline.
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Holds a thing, or nothing; one at a time may have it.
pub struct Seat<T> {
    state: Mutex<State<T>>,
    free: Condvar,
}

struct State<T> {
    taken: bool,
    kept: Option<T>,
}

/// The right to the seat, until it is dropped.
pub struct Taken<'a, T> {
    seat: &'a Seat<T>,
    /// What was found, and what will be found next.
    pub kept: Option<T>,
}

impl<T> Seat<T> {
    pub fn new() -> Self {
        Seat { state: Mutex::new(State { taken: false, kept: None }), free: Condvar::new() }
    }

    /// Waits for whoever has it; `None` when that takes until the deadline.
    pub fn take(&self, deadline: Instant) -> Option<Taken<'_, T>> {
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self.free.wait_timeout_while(self.lock(), left, |state| state.taken);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.taken {
            return None;
        }
        state.taken = true;
        Some(Taken { seat: self, kept: state.kept.take() })
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        let mut state = self.seat.lock();
        state.taken = false;
        state.kept = self.kept.take();
        drop(state);
        self.seat.free.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_has_it_the_next_waits_and_a_third_gives_up() {
        let seat = Seat::new();
        let mut first = seat.take(Instant::now()).unwrap();
        assert_eq!(first.kept, None);
        assert!(seat.take(Instant::now() + Duration::from_millis(10)).is_none());
        thread::scope(|scope| {
            let next = scope.spawn(|| seat.take(Instant::now() + Duration::from_secs(20)).unwrap().kept.take());
            first.kept = Some("left");
            drop(first);
            assert_eq!(next.join().unwrap(), Some("left"));
        });
        assert_eq!(seat.take(Instant::now()).unwrap().kept, None);
    }
}
