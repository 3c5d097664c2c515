//! The hand-over itself: a queue without a lock, bounded in bytes, and a bell that rings only for a sleeper.
//!
//! It takes its primitives from `super::sync`, so that the tests can compile it a second time with primitives that try
//! one order of the threads after another.

use std::collections::VecDeque;

use super::sync::{AtomicBool, AtomicUsize, Ordering, Receiver, Sender, channel};
use crate::hub::targets::Full;

/// What wakes the owner of the queue. It stays rung until the owner has heard it.
pub trait Bell {
    fn ring(&self);
}

/// The side of the queue that everybody has; the owner also has the receiver.
pub struct Handover<T, B> {
    sender: Sender<T>,
    queued_bytes: AtomicUsize,
    max_queued_bytes: usize,
    asleep: AtomicBool,
    overflowed: AtomicBool,
    bell: B,
}

impl<T, B: Bell> Handover<T, B> {
    /// A queue in which at most this many bytes may wait.
    pub fn new(max_queued_bytes: usize, bell: B) -> (Self, Receiver<T>) {
        let (sender, receiver) = channel();
        let handover = Self {
            sender,
            queued_bytes: AtomicUsize::new(0),
            max_queued_bytes,
            asleep: AtomicBool::new(false),
            overflowed: AtomicBool::new(false),
            bell,
        };
        (handover, receiver)
    }

    pub fn bell(&self) -> &B {
        &self.bell
    }

    /// Hands something over that is not counted in bytes.
    pub fn hand(&self, item: T) {
        // The receiver lives as long as its owner; an owner that has ended needs nothing more.
        _ = self.sender.send(item);
        self.ring();
    }

    /// Hands something over that weighs this much, unless too much waits already: then the owner is told to look
    /// elsewhere for it.
    pub fn offer(&self, weight: usize, item: T) -> Result<(), Full> {
        if self.queued_bytes.fetch_add(weight, Ordering::Relaxed) + weight > self.max_queued_bytes {
            self.queued_bytes.fetch_sub(weight, Ordering::Relaxed);
            self.overflowed.store(true, Ordering::SeqCst);
            self.ring();
            return Err(Full);
        }
        self.hand(item);
        Ok(())
    }

    /// What was handed over with a weight and has not been taken.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes.load(Ordering::Relaxed)
    }

    pub fn ring(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.bell.ring();
        }
    }

    /// The owner is about to wait: whoever hands something over from now on rings. Whether it may really wait, because
    /// nothing was handed over before; else the first of it is in `taken`.
    pub fn fall_asleep(&self, receiver: &Receiver<T>, taken: &mut VecDeque<T>) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        if taken.is_empty() {
            taken.extend(receiver.try_recv().ok());
        }
        taken.is_empty() && !self.has_overflowed()
    }

    pub fn wake_up(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// The owner has taken something of this weight from the queue.
    pub fn taken(&self, weight: usize) {
        self.queued_bytes.fetch_sub(weight, Ordering::Relaxed);
    }

    /// Whether something was refused that nobody has looked for since, or is to be looked for again.
    pub fn has_overflowed(&self) -> bool {
        self.overflowed.load(Ordering::SeqCst)
    }

    /// The same, until the next refusal.
    pub fn take_overflow(&self) -> bool {
        self.overflowed.swap(false, Ordering::SeqCst)
    }

    /// The owner has not found all that was refused, and will not wait before it has looked once more.
    pub fn look_again(&self) {
        self.overflowed.store(true, Ordering::SeqCst);
    }
}
