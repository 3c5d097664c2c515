//! The one integration-test binary: every module lists its tests, this file runs them.
//!
//! The standard harness cannot say at run time that a test was left out, and a test that was left out must never look
//! like one that passed; `needs` can, on top of `libtest-mimic`. A new module is one `mod` line and one line in `main`.

#![expect(
    clippy::unwrap_used,
    reason = "a failed unwrap is a failed test; without the standard harness clippy cannot know"
)]

mod abuse;
mod accounting;
mod admin;
mod autobahn;
mod bad_input;
mod bad_reload;
mod broadcasters;
mod clients;
mod closing;
mod descriptions;
mod documents;
mod echo;
mod foreign;
mod fuzzing;
mod handshake;
mod house;
mod http;
mod ingest;
mod inputs;
mod lifecycle;
mod limits;
mod main_job;
mod needs;
mod process;
mod raw;
mod real_trades;
mod reload;
mod sanitized;
mod server;
mod slow;
mod stumbling;
mod supervision;
mod tidy;
mod unit;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = libtest_mimic::Arguments::from_args();
    let tests = [
        abuse::tests(),
        accounting::tests(),
        admin::tests(),
        autobahn::tests(),
        bad_input::tests(),
        bad_reload::tests(),
        broadcasters::tests(),
        clients::tests(),
        closing::tests(),
        descriptions::tests(),
        documents::tests(),
        foreign::tests(),
        fuzzing::tests(),
        handshake::tests(),
        ingest::tests(),
        inputs::tests(),
        lifecycle::tests(),
        limits::tests(),
        main_job::tests(),
        needs::tests(),
        process::tests(),
        real_trades::tests(),
        reload::tests(),
        sanitized::tests(),
        server::tests(),
        slow::tests(),
        stumbling::tests(),
        supervision::tests(),
        tidy::tests(),
        unit::tests(),
    ];
    libtest_mimic::run(&arguments, tests.into_iter().flatten().collect()).exit_code()
}
