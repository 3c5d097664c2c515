//! Open-high-low-close bars from real or mocked trades.
#![forbid(unsafe_code)]

use broadcastd_plugin_api::export_plugin;

pub mod bar;
pub mod book;
mod broadcaster;
pub mod calendar;
mod counters;
pub mod feed;
pub mod ids;
pub mod mock;
#[cfg(test)]
mod properties;
mod publish;
pub mod replay;
pub mod resolution;
mod running;
pub mod series;
pub mod session;
pub mod settings;
mod source;
pub mod tick;
pub mod update;
mod waiting;

use running::Bars;

export_plugin!(Bars);

#[cfg(test)]
mod tests;
