//! The daemon as a library: the map of the house, in reading order.

pub mod run;

pub mod commands;

pub mod app;
pub mod control;

pub mod cli;
pub mod config;
pub mod folders;
pub mod log;

pub mod admin;
pub mod server;

pub mod describe;

pub mod plugin;
pub mod shard;

pub mod ingest;

pub mod identity;

pub mod dialect;
pub mod hub;

pub mod json_schema;

pub mod event;
pub mod memory;
pub mod metrics;
pub mod network;
pub mod rate;
pub mod systemd;
pub mod websocket;
