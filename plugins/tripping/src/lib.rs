//! The shipped state machines on a clock that inputs set, stopped by panics in the middle of their work.
#![forbid(unsafe_code)]

use broadcastd_plugin_api::export_plugin;

#[path = "../../state_machines/src/book.rs"]
mod book;
#[path = "../../state_machines/src/broadcaster.rs"]
mod broadcaster;
#[path = "../../state_machines/src/check.rs"]
mod check;
mod clock;
mod clocked;
#[path = "../../state_machines/src/figures.rs"]
mod figures;
#[path = "../../state_machines/src/follow.rs"]
mod follow;
#[path = "../../state_machines/src/guard.rs"]
mod guard;
#[path = "../../state_machines/src/guard_text.rs"]
mod guard_text;
#[path = "../../state_machines/src/input.rs"]
mod input;
#[path = "../../state_machines/src/machine.rs"]
mod machine;
#[path = "../../state_machines/src/machines.rs"]
mod machines;
#[path = "../../state_machines/src/mock.rs"]
mod mock;
#[path = "../../state_machines/src/origin.rs"]
mod origin;
#[path = "../../state_machines/src/publish.rs"]
mod publish;
#[path = "../../state_machines/src/running.rs"]
mod running;
#[path = "../../state_machines/src/settings.rs"]
mod settings;
#[path = "../../stumbling/src/stumble.rs"]
mod stumble;
#[path = "../../state_machines/src/time.rs"]
mod time;
#[path = "../../state_machines/src/told.rs"]
mod told;
#[path = "../../state_machines/src/waiting.rs"]
mod waiting;

export_plugin!(stumble::Stumbling<clocked::Clocked>);
