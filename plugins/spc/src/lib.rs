//! Control charts: limits, run rules, violations and their acknowledgement.
#![forbid(unsafe_code)]

use broadcastd_plugin_api::export_plugin;

pub mod baseline;
mod book;
mod broadcaster;
pub mod capability;
mod characteristic;
pub mod chart;
mod check;
pub mod constants;
mod counters;
pub mod cusum;
pub mod ewma;
pub mod id;
mod mock;
mod phase;
pub mod point;
mod process;
mod publish;
pub mod rules;
mod running;
pub mod runs;
pub mod sample;
pub mod settings;
pub mod spread;
pub mod stamp;
mod told;
mod waiting;

pub use running::Charts;

export_plugin!(Charts);

#[cfg(test)]
mod tests;
