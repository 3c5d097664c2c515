//! The handles that plugins hold: numbers with a generation, looked up at every call and never followed as pointers.

use std::sync::{Arc, PoisonError, RwLock};

use super::port::Port;

/// Names one port for as long as it is open. A handle whose port was closed names nothing, ever again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(u64);

impl Handle {
    /// As it crosses the border. It is never 0, because generations start at 1.
    pub fn to_bits(self) -> usize {
        usize::try_from(self.0).expect("plugins are loaded on 64-bit machines only")
    }

    pub fn from_bits(bits: usize) -> Self {
        Self(bits as u64)
    }

    fn new(index: usize, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | index as u64)
    }

    fn index(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Opens a port to plugins.
pub fn open(port: Arc<Port>) -> Handle {
    let mut slots = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    if let Some((index, slot)) = slots.iter_mut().enumerate().find(|(_, slot)| slot.port.is_none()) {
        slot.port = Some(port);
        return Handle::new(index, slot.generation);
    }
    slots.push(Slot { generation: 1, port: Some(port) });
    Handle::new(slots.len() - 1, 1)
}

/// The port behind a handle, if it is still open.
pub fn find(handle: Handle) -> Option<Arc<Port>> {
    let slots = TABLE.read().unwrap_or_else(PoisonError::into_inner);
    let slot = slots.get(handle.index())?;
    slot.port.clone().filter(|_| slot.generation == handle.generation())
}

/// Closes a port; calls with this handle are refused from here on. Closing twice is harmless.
pub fn close(handle: Handle) {
    let mut slots = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    let closed = slots.get_mut(handle.index()).filter(|slot| slot.generation == handle.generation());
    let port = closed.and_then(|slot| {
        slot.generation += 1;
        slot.port.take()
    });
    drop(slots);
    drop(port); // what a port drops takes other locks
}

/// As many slots as instances ever ran at once. One table for the process: a plugin's call brings nothing but its handle.
static TABLE: RwLock<Vec<Slot>> = RwLock::new(Vec::new());

struct Slot {
    generation: u32,
    port: Option<Arc<Port>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_handle_finds_nothing_even_when_its_slot_is_in_use_again() {
        let stale = open(Port::detached("old"));
        close(stale);
        let fresh: Vec<Handle> = (0..64).map(|_| open(Port::detached("new"))).collect();
        assert!(find(stale).is_none());
        close(stale);
        assert!(fresh.iter().all(|handle| find(*handle).is_some()), "closing a stale handle closes nobody else's");
        fresh.into_iter().for_each(close);
    }

    #[test]
    fn garbage_is_refused() {
        for bits in [0, 1, usize::MAX, 0xdead_beef, 1 << 32 | 0xffff] {
            assert!(find(Handle::from_bits(bits)).is_none(), "{bits:#x}");
        }
    }
}
