//! Whatever comes in as samples of control charts.
#![no_main]

use spc::Charts;

#[path = "../properties/spc_sample.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::check(input));
