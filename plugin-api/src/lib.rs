//! The border between broadcastd and its plugins: write a broadcaster as a safe Rust type and export it.
//!
//! ```
//! #![forbid(unsafe_code)]
//! use std::time::Duration;
//!
//! use broadcastd_plugin_api::{Broadcaster, Context, Failure, StreamSpec, TimerId, export_plugin};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! const TICK: TimerId = TimerId(1);
//!
//! /// Says how often it spoke.
//! #[derive(Deserialize, JsonSchema)]
//! struct Config {
//!     /// Pause between two events, in seconds.
//!     interval_seconds: f64,
//! }
//!
//! #[derive(Serialize, JsonSchema)]
//! struct Hello {
//!     count: u64,
//! }
//!
//! struct Ticker {
//!     interval: Duration,
//!     count: u64,
//! }
//!
//! impl Broadcaster for Ticker {
//!     type Config = Config;
//!
//!     fn stream() -> Option<StreamSpec> {
//!         Some(StreamSpec::new("").kind::<Hello>("hello").collected("hellos"))
//!     }
//!
//!     fn new(config: Config, _: &mut Context<'_>) -> Result<Self, Failure> {
//!         let interval = Duration::try_from_secs_f64(config.interval_seconds)
//!             .map_err(|error| Failure::at("/interval_seconds", error.to_string()))?;
//!         Ok(Ticker { interval, count: 0 })
//!     }
//!
//!     fn start(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
//!         cx.timer_every(TICK, self.interval, self.interval)
//!     }
//!
//!     fn on_timer(&mut self, _: TimerId, cx: &mut Context<'_>) -> Result<(), Failure> {
//!         self.count += 1;
//!         let hello = Hello { count: self.count };
//!         if let Err(error) = cx.event("hello").key("current").latest().publish(&hello) {
//!             tracing::warn!(%error, "not published");
//!         }
//!         Ok(())
//!     }
//! }
//!
//! export_plugin!(Ticker);
//! # fn main() {}
//! ```
//!
//! The whole contract, for any language, is `include/broadcastd_plugin.h`; [`abi`] is its mirror.

pub mod abi;
mod bridge;
mod broadcaster;
mod context;
pub mod duration;
#[doc(hidden)]
pub mod entry;
mod failure;
mod input;
mod publish;
mod stream;
pub mod testing;
mod time;
mod worker;

pub use self::bridge::histogram_bounds;
pub use self::broadcaster::Broadcaster;
pub use self::context::{Context, EventBuilder, Waker};
pub use self::failure::{Failure, FailureKind};
pub use self::input::{Answer, Command, Demand, Gap, Message, Reconfigured, RequestId, TimerId};
pub use self::publish::{Cause, Flags, Outgoing, PartlyPublished, PublishError, topic_part};
pub use self::stream::{CommandSpec, KindSpec, Lag, StreamSpec};
pub use self::worker::{JobPanicked, JobRefused, Outcome, WORKER_JOBS, WORKER_THREADS, Worker};
