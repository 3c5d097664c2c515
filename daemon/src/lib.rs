//! The daemon as a library: the map of the house, in reading order.

pub mod event;
pub mod hub;
pub mod metrics;
pub mod plugin;
