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
mod acknowledgements;
mod admin;
mod alerts;
mod aliases;
mod asks;
mod audit;
mod autobahn;
mod bad_input;
mod bad_reload;
mod broadcasters;
mod charts;
mod client_log;
mod clients;
mod closing;
mod codes;
mod command_line;
mod commands;
mod control;
mod conversation;
mod crashes;
mod descriptions;
mod dialect_pages;
mod dialogue;
mod diary;
mod documents;
mod echo;
mod email;
mod encrypted;
mod endpoints;
mod events;
mod first_words;
mod foreign;
mod fuzzing;
mod generator;
mod given;
mod guesses;
mod handshake;
mod hostile;
mod house;
mod http;
mod identity;
mod ingest;
mod ingest_lines;
mod ingest_rights;
mod ingest_socket;
mod inputs;
mod introspection;
mod journal;
mod last_good;
mod layers;
mod lifecycle;
mod limits;
mod main_job;
mod monitoring;
mod mqtt;
mod needs;
mod notifiers;
mod operator;
mod own_events;
mod payloads;
mod plugin_commands;
mod process;
mod programs;
mod proxies;
mod publishing;
mod raw;
mod reads;
mod real_trades;
mod reload;
mod sanitized;
mod secrets;
mod server;
mod signing;
mod slow;
mod spc;
mod standing;
mod state_machines;
mod steering;
mod strangers;
mod streams;
mod stumbling;
mod supervision;
mod tidy;
mod transcripts;
mod unit;
mod user_events;
mod vigil;
mod webhook;
mod webpages;
mod wishes;
mod withdrawn;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = libtest_mimic::Arguments::from_args();
    let tests = [
        abuse::tests(),
        accounting::tests(),
        acknowledgements::tests(),
        admin::tests(),
        alerts::tests(),
        aliases::tests(),
        asks::tests(),
        audit::tests(),
        autobahn::tests(),
        bad_input::tests(),
        bad_reload::tests(),
        broadcasters::tests(),
        charts::tests(),
        client_log::tests(),
        clients::tests(),
        closing::tests(),
        command_line::tests(),
        codes::tests(),
        commands::tests(),
        control::tests(),
        crashes::tests(),
        conversation::tests(),
        dialect_pages::tests(),
        diary::tests(),
        descriptions::tests(),
        documents::tests(),
        email::tests(),
        encrypted::tests(),
        endpoints::tests(),
        events::tests(),
        identity::tests(),
        first_words::tests(),
        foreign::tests(),
        fuzzing::tests(),
        generator::tests(),
        given::tests(),
        guesses::tests(),
        handshake::tests(),
        hostile::tests(),
        ingest::tests(),
        ingest_lines::tests(),
        ingest_rights::tests(),
        ingest_socket::tests(),
        inputs::tests(),
        introspection::tests(),
        journal::tests(),
        last_good::tests(),
        layers::tests(),
        lifecycle::tests(),
        limits::tests(),
        main_job::tests(),
        monitoring::tests(),
        mqtt::tests(),
        needs::tests(),
        notifiers::tests(),
        operator::tests(),
        own_events::tests(),
        payloads::tests(),
        plugin_commands::tests(),
        process::tests(),
        proxies::tests(),
        publishing::tests(),
        reads::tests(),
        real_trades::tests(),
        reload::tests(),
        sanitized::tests(),
        secrets::tests(),
        server::tests(),
        slow::tests(),
        spc::tests(),
        standing::tests(),
        strangers::tests(),
        state_machines::tests(),
        steering::tests(),
        streams::tests(),
        stumbling::tests(),
        supervision::tests(),
        tidy::tests(),
        transcripts::tests(),
        unit::tests(),
        user_events::tests(),
        vigil::tests(),
        webhook::tests(),
        webpages::tests(),
        wishes::tests(),
        withdrawn::tests(),
    ];
    libtest_mimic::run(&arguments, tests.into_iter().flatten().collect()).exit_code()
}
