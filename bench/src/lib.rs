//! What the measures share.

pub mod measures;
