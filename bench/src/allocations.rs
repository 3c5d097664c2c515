//! Counts what each thread allocates, and on demand what all of them do.
#![expect(unsafe_code, reason = "an allocator can only be wrapped by an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What was allocated so far.
#[derive(Clone, Copy, Debug)]
pub struct Allocations {
    pub count: u64,
    pub bytes: u64,
    /// Given back of them.
    pub freed: u64,
}

impl Allocations {
    /// By this thread.
    pub fn own() -> Self {
        Self { count: COUNT.get(), bytes: BYTES.get(), freed: FREED.get() }
    }

    /// By all other threads since `count_others`.
    pub fn others() -> Self {
        let [count, bytes, freed] =
            [&OTHERS_COUNT, &OTHERS_BYTES, &OTHERS_FREED].map(|sum| sum.load(Ordering::Relaxed));
        Self { count, bytes, freed }
    }

    /// From now on allocations of all threads but this one are counted together. That costs each of them a little, so it
    /// is left out where it is not needed.
    pub fn count_others() {
        IS_COUNTER.set(true);
        COUNTS_OTHERS.store(true, Ordering::Relaxed);
    }
}

static COUNTS_OTHERS: AtomicBool = AtomicBool::new(false);
static OTHERS_COUNT: AtomicU64 = AtomicU64::new(0);
static OTHERS_BYTES: AtomicU64 = AtomicU64::new(0);
static OTHERS_FREED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    // Constant and without destructor, so that looking at them allocates nothing.
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<u64> = const { Cell::new(0) };
    static FREED: Cell<u64> = const { Cell::new(0) };
    static IS_COUNTER: Cell<bool> = const { Cell::new(false) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Counting;

fn count(bytes: usize) {
    COUNT.set(COUNT.get() + 1);
    BYTES.set(BYTES.get() + bytes as u64);
    if counts_this() {
        OTHERS_COUNT.fetch_add(1, Ordering::Relaxed);
        OTHERS_BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

fn count_freed(bytes: usize) {
    FREED.set(FREED.get() + bytes as u64);
    if counts_this() {
        OTHERS_FREED.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

fn counts_this() -> bool {
    COUNTS_OTHERS.load(Ordering::Relaxed) && !IS_COUNTER.get()
}

// SAFETY: everything is passed on to the system's allocator, which keeps the rules.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count_freed(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        count_freed(layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}
