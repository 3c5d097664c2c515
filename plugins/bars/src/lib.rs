//! Open-high-low-close bars from real or mocked trades.
#![forbid(unsafe_code)]

pub mod bar;
pub mod book;
pub mod calendar;
pub mod feed;
pub mod ids;
#[cfg(test)]
mod properties;
pub mod resolution;
pub mod series;
pub mod tick;
