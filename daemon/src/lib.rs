//! The daemon as a library: the map of the house, in reading order.

pub mod event;
pub mod metrics;
pub mod systemd;
pub mod websocket;

pub mod dialect;
pub mod hub;

pub mod shard;

pub mod server;

pub mod admin;
