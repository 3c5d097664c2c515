//! Open-high-low-close bars from real or mocked trades.
#![forbid(unsafe_code)]

pub mod bar;
pub mod calendar;
pub mod resolution;
