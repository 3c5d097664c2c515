//! What everything unsent and kept weighs together, each shared byte once: a weight is counted where bytes are made, and
//! let go where the last holder drops them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;

/// The scale that all bytes of one hub are on, and its bound.
#[derive(Debug)]
pub struct Memory {
    used: AtomicUsize,
    bound: AtomicUsize,
    refused: AtomicBool,
}

impl Default for Memory {
    fn default() -> Self {
        Self { used: AtomicUsize::new(0), bound: AtomicUsize::new(usize::MAX), refused: AtomicBool::new(false) }
    }
}

impl Memory {
    pub fn set_bound(&self, bound: usize) {
        self.bound.store(bound, Ordering::Relaxed);
    }

    pub fn bound(&self) -> usize {
        self.bound.load(Ordering::Relaxed)
    }

    /// Bytes held now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether somebody has to let go: a sixteenth of the bound is left, so that publishing goes on meanwhile.
    pub fn is_short(&self) -> bool {
        let bound = self.bound();
        self.used() > bound - bound / 16
    }

    /// Whether nothing more may be taken in.
    pub fn is_full(&self) -> bool {
        self.used() > self.bound()
    }

    /// Somebody was refused and wants to be told when there is room again.
    pub fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// Whether there is room again for somebody who was refused; told once.
    pub fn take_relief(&self) -> bool {
        self.refused.load(Ordering::Relaxed) && !self.is_full() && self.refused.swap(false, Ordering::Relaxed)
    }

    /// Counts bytes until the charge is dropped.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Charge { memory: self.clone(), bytes }
    }

    /// Counts these bytes, once, until their last clone is dropped.
    pub fn hold(self: &Arc<Self>, bytes: impl Into<Bytes>) -> Bytes {
        let bytes = bytes.into();
        let charge = self.charge(bytes.len());
        Bytes::from_owner(Held { bytes, _charge: charge })
    }
}

/// Bytes that count for as long as this lives.
pub struct Charge {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Charge {
    /// Where it counts.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Charge({})", self.bytes)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

struct Held {
    bytes: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_bytes_count_once_and_until_the_last_holder_is_gone() {
        let memory = Arc::new(Memory::default());
        let first = memory.hold(vec![0; 100]);
        let part = first.slice(10..20);
        let second = first.clone();
        assert_eq!(memory.used(), 100);
        drop((first, second));
        assert_eq!(memory.used(), 100, "a part keeps the whole");
        drop(part);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn it_is_short_before_it_is_full_and_says_once_that_there_is_room_again() {
        let memory = Arc::new(Memory::default());
        memory.set_bound(1600);
        let first = memory.charge(1500);
        assert!(!memory.is_short() && !memory.is_full());
        let second = memory.charge(1);
        assert!(memory.is_short() && !memory.is_full());
        let third = memory.charge(99);
        assert!(!memory.is_full(), "exactly the bound");
        let fourth = memory.charge(1);
        assert!(memory.is_full() && !memory.take_relief());
        memory.refuse();
        assert!(!memory.take_relief(), "still full");
        drop(fourth);
        assert!(memory.take_relief() && !memory.take_relief());
        drop((first, second, third));
    }
}
