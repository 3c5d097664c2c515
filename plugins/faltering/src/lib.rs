//! The shipped user events, stopped by panics in the middle of their work.
#![forbid(unsafe_code)]

use broadcastd_plugin_api::export_plugin;

#[path = "../../user_events/src/board.rs"]
mod board;
#[path = "../../user_events/src/broadcaster.rs"]
mod broadcaster;
#[path = "../../user_events/src/counters.rs"]
mod counters;
#[path = "../../user_events/src/event.rs"]
mod event;
#[path = "../../user_events/src/outlet.rs"]
mod outlet;
#[path = "../../user_events/src/payload.rs"]
mod payload;
#[path = "../../user_events/src/rules.rs"]
mod rules;
#[path = "../../user_events/src/running.rs"]
mod running;
#[path = "../../user_events/src/settings.rs"]
mod settings;
#[path = "../../stumbling/src/stumble.rs"]
mod stumble;

export_plugin!(stumble::Stumbling<running::UserEvents>);
