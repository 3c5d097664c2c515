//! Control charts: limits, run rules, violations and their acknowledgement.
#![forbid(unsafe_code)]

pub mod baseline;
pub mod capability;
#[cfg(test)]
mod cases;
pub mod chart;
pub mod check;
pub mod constants;
pub mod cusum;
pub mod ewma;
pub mod id;
pub mod point;
pub mod rules;
pub mod runs;
pub mod sample;
pub mod settings;
pub mod spread;
