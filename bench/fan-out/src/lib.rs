//! Fan-out, side by side: a load generator, servers to compare with, and what measures share. docs/bench.md says how it is used.

pub mod bar;
pub mod dialect;
pub mod figures;
pub mod histogram;
pub mod load;
pub mod page;
pub mod peer;
pub mod process;
pub mod results;
pub mod table;
pub mod wire;
pub mod workload;
