//! `broadcastd doctor`: what commonly is wrong on a machine, found without changing anything, and what to do about it.

mod certificate;
mod folders;
mod network;
mod running;

use serde::Serialize;
use serde_json::json;

use self::running::Running;
use super::{environment, load, say};
use crate::app::{StartError, offline};
use crate::cli::{Exit, Format, Options, Reach};
use crate::config::{Loaded, Source, code};
use crate::event::unix_now;

/// What was found out about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    check: &'static str,
    verdict: Verdict,
    /// How it is, and what to do where that is not well.
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    /// The daemon works, and something is not as it should be.
    Warning,
    /// The daemon does not work, or will not at its next start.
    Fault,
}

/// Looks at everything, and says so; a fault makes it fail.
pub fn doctor(options: &Options, reach: &Reach) -> Exit {
    let findings = findings(options, reach);
    let has_fault = findings.iter().any(|finding| finding.verdict == Verdict::Fault);
    match reach.format {
        Format::Text => say(text(&findings).trim_end()),
        Format::Json => say(&format!("{:#}", json!({"healthy": !has_fault, "checks": findings}))),
    }
    if has_fault { Exit::Unavailable } else { Exit::Done }
}

impl Finding {
    fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, text: text.into() }
    }

    fn warning(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warning, text: text.into() }
    }

    fn fault(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fault, text: text.into() }
    }
}

fn findings(options: &Options, reach: &Reach) -> Vec<Finding> {
    let env = environment();
    let running = Running::ask(reach, &env);
    let mut all = folders::all(&env); // first: the check of the configuration makes folders
    let mut found = Vec::new();
    match load(options) {
        Ok((source, loaded)) => {
            found.push(configuration(&source, &loaded));
            found.append(&mut all);
            found.extend(folders::plugins(&loaded.config, &env));
            found.extend(network::all(&loaded.config, &running));
            found.extend(certificate::expiry(&loaded.config, unix_now()));
            found.extend(running.findings(options.config_file().as_deref()));
        }
        Err(report) => {
            found.push(wrong(&StartError::Config(report)));
            found.append(&mut all);
            found.extend(running.findings(options.config_file().as_deref()));
        }
    }
    found.push(running::clock(options.config_file().as_deref(), std::time::SystemTime::now()));
    found.extend(running::unit());
    found
}

fn configuration(source: &Source, loaded: &Loaded) -> Finding {
    match offline::check(source, loaded) {
        // That a file says nothing may be meant; what else there is tells more.
        Ok(odd) => match odd.items.iter().filter(|item| !item.is_note()).min_by_key(|item| item.code == code::SILENT) {
            None => {
                let notes: String = odd.items.iter().map(|note| format!("; {}", note.message)).collect();
                Finding::ok("configuration", format!("{}: no mistakes{notes}", loaded.document.layers().name()))
            }
            Some(first) => Finding::warning("configuration", format!("{}; all of it: broadcastd check", first.message)),
        },
        Err(error) => wrong(&error),
    }
}

fn wrong(error: &StartError) -> Finding {
    let text = match error {
        StartError::Config(report) => {
            let first = report.items.iter().find(|item| !item.is_warning()).map_or("", |item| &item.message);
            let more = report.items.len().saturating_sub(1);
            format!("{first}, and {more} more mistakes")
        }
        error => error.to_string(),
    };
    Finding::fault(
        "configuration",
        format!("{}; `broadcastd check` shows all", one_line(&text.replace(", and 0 more mistakes", ""))),
    )
}

fn text(findings: &[Finding]) -> String {
    let mut out = String::new();
    for Finding { check, verdict, text } in findings {
        let verdict = match verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Fault => "fault",
        };
        out += &format!("{verdict:<8} {check:<14} {}\n", one_line(text));
    }
    out
}

/// A check is a line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_a_line() {
        let findings = [
            Finding::ok("clock", "right"),
            Finding::warning("state", "others may write\n  to it"),
            Finding::fault("configuration", "wrong"),
        ];
        let expected = "ok       clock          right\nwarning  state          others may write to it\nfault    configuration  wrong\n";
        assert_eq!(text(&findings), expected);
    }
}
