//! The daemon as a library: the map of the house, in reading order.
pub mod config;
