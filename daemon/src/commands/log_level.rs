//! `broadcastd log-level`: how much the running daemon logs of each broadcaster, read and changed.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::daemon::ask;
use super::table::Table;
use super::{fail, say};
use crate::cli::{Exit, Format, LogLevel};
use crate::control::encoded;

/// The name of all that has no level of its own.
const REST: &str = "daemon";

/// Shows levels, or changes one.
pub fn log_level(wish: &LogLevel) -> Exit {
    let told = match (&wish.name, &wish.level) {
        (Some(name), Some(level)) => change(wish, name, level),
        (name, _) => show(wish, name.as_deref()),
    };
    match told {
        Ok(text) => {
            say(text.trim_end());
            Exit::Done
        }
        Err(exit) => exit,
    }
}

fn change(wish: &LogLevel, name: &str, level: &str) -> Result<String, Exit> {
    let path = format!("/v1/log-levels/{}", encoded(name));
    let answer = ask(&wish.reach, Method::POST, &path, json!({"level": level}).to_string().into_bytes())?;
    let told = match answer.status {
        StatusCode::OK => answer.body,
        _ => return Err(fail(Exit::Data, &answer.refusal())),
    };
    Ok(match wish.reach.format {
        Format::Json => format!("{told:#}"),
        Format::Text => {
            let word = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
            format!(
                "{name}: {} (was {}); until the daemon starts anew or a reload finds another log.level",
                word("level"),
                word("before")
            )
        }
    })
}

fn show(wish: &LogLevel, name: Option<&str>) -> Result<String, Exit> {
    let answer = ask(&wish.reach, Method::GET, "/v1/log-levels", Vec::new())?;
    if answer.status != StatusCode::OK {
        return Err(fail(Exit::Internal, &answer.refusal()));
    }
    let levels = answer.body;
    let all: Vec<(&str, &Value)> = [(REST, &levels["daemon"])]
        .into_iter()
        .chain(levels["broadcasters"].as_object().into_iter().flatten().map(|(name, level)| (name.as_str(), level)))
        .collect();
    let Some(name) = name else {
        return Ok(match wish.reach.format {
            Format::Json => format!("{levels:#}"),
            Format::Text => table(&all),
        });
    };
    let Some((_, level)) = all.iter().find(|(known, _)| *known == name) else {
        let known: Vec<&str> = all.iter().map(|(known, _)| *known).collect();
        let message = format!("no broadcaster is called \"{}\"; names: {}", name.escape_debug(), known.join(", "));
        return Err(fail(Exit::Data, &message));
    };
    Ok(match wish.reach.format {
        Format::Json => format!("{:#}", json!({"name": name, "level": level})),
        Format::Text => level.as_str().unwrap_or_default().to_owned(),
    })
}

fn table(all: &[(&str, &Value)]) -> String {
    let mut table = Table::new(&["NAME", "LEVEL"]);
    for (name, level) in all {
        table.row(vec![(*name).to_owned(), level.as_str().unwrap_or_default().to_owned()]);
    }
    table.to_string()
}
