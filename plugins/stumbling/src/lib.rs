//! The shipped bars, stopped by panics in the middle of their work.
#![forbid(unsafe_code)]

use broadcastd_plugin_api::export_plugin;

#[path = "../../bars/src/bar.rs"]
pub mod bar;
#[path = "../../bars/src/book.rs"]
pub mod book;
#[path = "../../bars/src/broadcaster.rs"]
mod broadcaster;
#[path = "../../bars/src/calendar.rs"]
pub mod calendar;
#[path = "../../bars/src/counters.rs"]
mod counters;
#[path = "../../bars/src/feed.rs"]
pub mod feed;
#[path = "../../bars/src/ids.rs"]
pub mod ids;
#[path = "../../bars/src/mock.rs"]
pub mod mock;
#[path = "../../bars/src/publish.rs"]
mod publish;
#[path = "../../bars/src/replay.rs"]
pub mod replay;
#[path = "../../bars/src/resolution.rs"]
pub mod resolution;
#[path = "../../bars/src/running.rs"]
mod running;
#[path = "../../bars/src/series.rs"]
pub mod series;
#[path = "../../bars/src/session.rs"]
pub mod session;
#[path = "../../bars/src/settings.rs"]
pub mod settings;
#[path = "../../bars/src/source.rs"]
mod source;
#[path = "../../bars/src/tick.rs"]
pub mod tick;
#[path = "../../bars/src/update.rs"]
pub mod update;
#[path = "../../bars/src/waiting.rs"]
mod waiting;

mod stumble;

export_plugin!(stumble::Stumbling<running::Bars>);
