//! The shipped control charts, stopped by panics in the middle of their work.
#![forbid(unsafe_code)]

use broadcastd_plugin_api::export_plugin;

#[path = "../../spc/src/baseline.rs"]
mod baseline;
#[path = "../../spc/src/book.rs"]
mod book;
#[path = "../../spc/src/broadcaster.rs"]
mod broadcaster;
#[path = "../../spc/src/capability.rs"]
mod capability;
#[path = "../../spc/src/characteristic.rs"]
mod characteristic;
#[path = "../../spc/src/chart.rs"]
mod chart;
#[path = "../../spc/src/check.rs"]
mod check;
#[path = "../../spc/src/constants.rs"]
mod constants;
#[path = "../../spc/src/counters.rs"]
mod counters;
#[path = "../../spc/src/cusum.rs"]
mod cusum;
#[path = "../../spc/src/ewma.rs"]
mod ewma;
#[path = "../../spc/src/id.rs"]
mod id;
#[path = "../../spc/src/mock.rs"]
mod mock;
#[path = "../../spc/src/phase.rs"]
mod phase;
#[path = "../../spc/src/point.rs"]
#[expect(clippy::enum_variant_names, reason = "names of the charts, which are public at home")]
mod point;
#[path = "../../spc/src/process.rs"]
mod process;
#[path = "../../spc/src/publish.rs"]
mod publish;
#[path = "../../spc/src/rules.rs"]
mod rules;
#[path = "../../spc/src/running.rs"]
mod running;
#[path = "../../spc/src/runs.rs"]
mod runs;
#[path = "../../spc/src/sample.rs"]
mod sample;
#[path = "../../spc/src/settings.rs"]
mod settings;
#[path = "../../spc/src/spread.rs"]
mod spread;
#[path = "../../spc/src/stamp.rs"]
mod stamp;
#[path = "../../stumbling/src/stumble.rs"]
mod stumble;
#[path = "../../spc/src/told.rs"]
mod told;
#[path = "../../spc/src/waiting.rs"]
mod waiting;

export_plugin!(stumble::Stumbling<running::Charts>);
