//! What the commands do that a running daemon answers.

use std::path::Path;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::table::Table;
use super::{environment, fail, refuse, say};
use crate::admin::orders::Deed;
use crate::cli::{Exit, Format, Options, Reach};
use crate::config::files;
use crate::control::{self, Answer, Body, Control};

/// Has the daemon take its configuration file, and prints what came of it.
pub fn reload(options: &Options, reach: &Reach) -> Exit {
    order(options, reach, "/v1/reload", Vec::new())
}

/// Prints what a reload would do, of the daemon's file or of this one in its place.
pub fn plan(options: &Options, file: Option<&Path>, reach: &Reach) -> Exit {
    match file.map(|file| files::read_alone(file).map(|text| (file, text))).transpose() {
        Ok(None) => order(options, reach, "/v1/plan", Vec::new()),
        Ok(Some((file, text))) => {
            let candidate = json!({"config": text, "name": file.display().to_string()});
            order(options, reach, "/v1/plan", candidate.to_string().into_bytes())
        }
        Err(report) => refuse(&report),
    }
}

/// Does something to one broadcaster, and prints what came of it.
pub fn steer(name: &str, deed: Deed, reach: &Reach) -> Exit {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_name) {
        return fail(Exit::Usage, "a broadcaster's name has a-z, 0-9, _ and -; `broadcastd status` lists them");
    }
    tell(reach, ask(reach, Method::POST, &format!("/v1/broadcasters/{name}/{}", deed.name()), Vec::new()))
}

/// Prints how the daemon is.
pub fn status(reach: &Reach) -> Exit {
    match ask(reach, Method::GET, "/v1/status", Vec::new()) {
        Ok(answer) if answer.status != StatusCode::OK => fail(Exit::Internal, &answer.refusal()),
        Ok(Answer { body, .. }) => {
            match reach.format {
                Format::Text => say(overview(&body).trim_end()),
                Format::Json => say(&format!("{body:#}")),
            }
            Exit::Done
        }
        Err(exit) => exit,
    }
}

fn order(options: &Options, reach: &Reach, path: &str, body: Vec<u8>) -> Exit {
    if options.config.is_some() || !options.sets.is_empty() {
        let message = "the daemon takes the file that it was started with; --config and --set belong to the start, and `broadcastd check` takes them, too";
        return fail(Exit::Usage, message);
    }
    tell(reach, ask(reach, Method::POST, path, body))
}

/// Prints what came of an order.
fn tell(reach: &Reach, answer: Result<Answer, Exit>) -> Exit {
    let answer = match answer {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    let exit = match answer.status {
        StatusCode::OK => Exit::Done,
        StatusCode::UNPROCESSABLE_ENTITY if answer.body["diagnostics"].is_null() => Exit::Unavailable,
        StatusCode::UNPROCESSABLE_ENTITY => Exit::Config,
        StatusCode::NOT_FOUND => return fail(Exit::Data, &answer.refusal()),
        _ => return fail(Exit::Unavailable, &answer.refusal()),
    };
    match (reach.format, answer.body["text"].as_str()) {
        (Format::Json, _) | (_, None) => say(&format!("{:#}", answer.body)),
        (Format::Text, Some(text)) if exit == Exit::Done => say(text.trim_end()),
        (Format::Text, Some(text)) => return fail(exit, text),
    }
    exit
}

/// Asks the daemon; where there is none, says so and gives the code to end with.
pub fn ask(reach: &Reach, method: Method, path: &str, body: impl Into<Body>) -> Result<Answer, Exit> {
    let control = Control::find(reach.socket.as_deref(), &environment());
    control.and_then(|mut control| control.ask(method, path, body)).map_err(|error| unreachable(&error))
}

/// Says why there is no answer, and gives the code to end with.
pub fn unreachable(error: &control::Error) -> Exit {
    let exit = match error {
        control::Error::Denied(_) => Exit::Permission,
        control::Error::Refused(_) => Exit::Data,
        control::Error::Nobody(_) | control::Error::Lost(..) => Exit::Unavailable,
    };
    fail(exit, &error.to_string())
}

fn overview(status: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let list = |value: &Value| value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
    let config = status["config"].as_str().unwrap_or("the shipped configuration");
    let uptime = lasted(status["uptime_seconds"].as_f64().unwrap_or_default());
    let mut out = format!("broadcastd {} with {config}\n", text(&status["version"]));
    out += &format!("  process   {}, up {uptime}\n", status["pid"]);
    let ready = if status["ready"] == true { "ready" } else { "not ready" };
    out += &format!("  state     {}\n", [&[ready.to_owned()][..], &list(&status["reasons"])].concat().join("; "));
    let connections = if status["connections"] == 1 { "connection" } else { "connections" };
    out += &format!("  clients   {} {connections} at {}\n", status["connections"], list(&status["listen"]).join(", "));
    out += &format!("  reload    {}\n", last_reload(&status["last_reload"]));
    let mut broadcasters =
        Table::new(&["BROADCASTER", "STATE", "PLUGIN", "UP", "SENT", "SKIPPED", "ERRORS", "RESTARTS"]);
    for one in status["broadcasters"].as_array().into_iter().flatten() {
        let plugin = format!("{} {}", text(&one["plugin"]), text(&one["version"]));
        let up = lasted(one["uptime_seconds"].as_f64().unwrap_or_default());
        let counts = ["broadcasts_sent", "broadcasts_skipped", "errors", "restarts"].map(|count| text(&one[count]));
        broadcasters.row([vec![text(&one["name"]), state(one), plugin, up], counts.to_vec()].concat());
    }
    let mut streams = Table::new(&["STREAM", "SEQ", "SUBSCRIPTIONS", "RECORDS", "HISTORY"]);
    for one in status["streams"].as_array().into_iter().flatten() {
        streams.row(["name", "seq", "subscriptions", "records", "history_events"].map(|key| text(&one[key])).to_vec());
    }
    format!("{out}\n{broadcasters}\n{streams}")
}

/// The state of a broadcaster where there is room for some words.
pub fn state(one: &Value) -> String {
    let state = one["state"].as_str().unwrap_or_default().replace(|sign: char| sign.is_control(), " ");
    if one["probation_until"].is_string() { format!("{state}, on probation") } else { state }
}

fn last_reload(reload: &Value) -> String {
    let Some(outcome) = reload["outcome"].as_str() else { return "none since the start".to_owned() };
    let ago = lasted(reload["seconds_ago"].as_f64().unwrap_or_default());
    match reload["message"].as_str() {
        Some(message) => format!("{outcome} {ago} ago: {message}; `broadcastd reload` says all of it"),
        None => format!("{outcome} {ago} ago"),
    }
}

/// A time as people say it, in its two largest units.
pub fn lasted(seconds: f64) -> String {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let mut left = seconds.max(0.0) as u64;
    let mut parts = Vec::new();
    for (unit, length) in UNITS {
        if left >= length || (unit == "s" && parts.is_empty()) {
            parts.push(format!("{} {unit}", left / length));
        }
        left %= length;
    }
    parts.truncate(2);
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_connection_is_not_said_to_be_several() {
        for (number, said) in [(0, "0 connections at 1"), (1, "1 connection at 1"), (2, "2 connections at 1")] {
            let text = overview(&json!({"connections": number, "listen": ["127.0.0.1:8080"]}));
            assert!(text.contains(&format!("clients   {said}")), "{text}");
        }
    }

    #[test]
    fn times_are_said_in_two_units() {
        let said = [0.4, 59.9, 60.0, 3_661.0, 90_061.0, 86_400.0].map(lasted);
        assert_eq!(said, ["0 s", "59 s", "1 min", "1 h 1 min", "1 d 1 h", "1 d"]);
    }
}
