//! What is done with each event, on both sides of the border: the plugin and the measure compile this same file.

/// Looks at every byte once, as reading a payload would at least.
#[inline(never)]
pub fn work(payload: &[u8]) -> u64 {
    payload.iter().map(|byte| u64::from(*byte)).sum()
}
