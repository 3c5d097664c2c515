//! Open-high-low-close bars from real or mocked trades.
#![forbid(unsafe_code)]

pub mod bar;
pub mod book;
pub mod calendar;
pub mod duration;
pub mod feed;
pub mod ids;
pub mod mock;
pub mod replay;
pub mod resolution;
pub mod series;
pub mod settings;
pub mod tick;
pub mod update;

#[cfg(test)]
mod properties;
