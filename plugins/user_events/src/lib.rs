//! Events that are for one user each, with the newest of everything for pages that open.
#![forbid(unsafe_code)]

use broadcastd_plugin_api::export_plugin;

mod board;
mod broadcaster;
mod counters;
mod event;
mod outlet;
mod payload;
#[cfg(test)]
mod properties;
mod rules;
mod running;
mod settings;

use running::UserEvents;

export_plugin!(UserEvents);

#[cfg(test)]
mod tests;
