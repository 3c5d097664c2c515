//! The state machines of trading sessions, followed as their programs report them.
#![forbid(unsafe_code)]

use broadcastd_plugin_api::export_plugin;

mod book;
mod broadcaster;
mod check;
mod clock;
mod figures;
mod follow;
mod guard;
mod guard_text;
mod input;
mod machine;
mod machines;
mod mock;
mod origin;
mod publish;
mod running;
mod settings;
mod time;
mod told;
mod waiting;

use running::StateMachines;

export_plugin!(StateMachines);

#[cfg(test)]
mod tests;
