//! Control charts: limits, run rules, violations and their acknowledgement.
#![forbid(unsafe_code)]

pub mod capability;
#[cfg(test)]
mod cases;
pub mod constants;
pub mod cusum;
pub mod ewma;
pub mod spread;
