//! Whatever a client of server-sent events asks for, and wherever it says that it was.
#![no_main]

#[path = "../properties/sse_request.rs"]
mod property;
#[path = "../query.rs"]
mod query;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::check(input));
