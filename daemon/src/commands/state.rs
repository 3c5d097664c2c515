//! `broadcastd state`: what broadcasters have saved, listed, and moved aside for one that shall begin anew.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::daemon::{ask, lasted};
use super::table::Table;
use super::{environment, fail, say};
use crate::cli::{Exit, Format, Place, State};
use crate::control::encoded;
use crate::folders::Folders;
use crate::plugin::saved::summary::{Summary, list, put_aside};

/// Lists, or moves aside.
pub fn state(act: &State) -> Exit {
    let done = match act {
        State::List(place) => show(place),
        State::Reset { name, place } => reset(name, place),
    };
    match done {
        Ok(text) => {
            say(text.trim_end());
            Exit::Done
        }
        Err(exit) => exit,
    }
}

fn show(place: &Place) -> Result<String, Exit> {
    let folder = folder(place);
    let all = match list(&folder) {
        Ok(all) => all,
        Err(error) if error.kind() == ErrorKind::NotFound && place.state.is_none() => Vec::new(),
        Err(error) => return Err(inaccessible(&folder, &error)),
    };
    let now = SystemTime::now();
    Ok(match place.reach.format {
        Format::Json => {
            let files: Vec<Value> = all.iter().map(|one| told(one, now)).collect();
            format!("{:#}", json!({"folder": folder, "states": files}))
        }
        Format::Text if all.is_empty() => format!("no broadcaster has saved anything in {}", folder.display()),
        Format::Text => format!("{}\n{}", folder.display(), table(&all, now)),
    })
}

fn age(one: &Summary, now: SystemTime) -> Option<f64> {
    one.modified.map(|then| now.duration_since(then).unwrap_or_default().as_secs_f64())
}

fn told(one: &Summary, now: SystemTime) -> Value {
    let (plugin, version, error) = match &one.head {
        Ok((plugin, version)) => (Some(plugin), *version, None),
        Err(error) => (None, None, Some(error)),
    };
    json!({
        "broadcaster": one.broadcaster, "plugin": plugin, "version": version, "bytes": one.bytes,
        "age_seconds": age(one, now), "error": error,
    })
}

fn table(all: &[Summary], now: SystemTime) -> Table {
    let mut table = Table::new(&["BROADCASTER", "PLUGIN", "VERSION", "BYTES", "AGE"]);
    for one in all {
        let (plugin, version) = match &one.head {
            Ok((plugin, version)) => (plugin.clone(), version.map_or("none".to_owned(), |version| version.to_string())),
            Err(error) => ("?".to_owned(), error.clone()),
        };
        let age = age(one, now).map_or("?".to_owned(), lasted);
        table.row(vec![one.broadcaster.clone(), plugin, version, one.bytes.to_string(), age]);
    }
    table
}

fn reset(name: &str, place: &Place) -> Result<String, Exit> {
    let folder = folder(place);
    if name.contains(['/', '\0']) {
        return Err(fail(Exit::Usage, "a broadcaster's name has no / in it; `broadcastd state list` shows them"));
    }
    // Held until the file is moved: no daemon begins meanwhile.
    let _lock = match Folders::hold(&folder) {
        Ok(Some(lock)) => Some(lock),
        Ok(None) => {
            let beside = place.state.as_deref().map(|_| folder.as_path());
            is_idle(name, place, beside)?;
            None
        }
        Err(error) => return Err(inaccessible(&folder, &error)),
    };
    let aside = put_aside(&folder, name).map_err(|error| inaccessible(&folder, &error))?;
    let Some(aside) = aside else {
        let message = format!(
            "broadcaster \"{}\" has saved nothing in {}; `broadcastd state list` shows who has",
            name.escape_debug(),
            folder.display()
        );
        return Err(fail(Exit::Data, &message));
    };
    Ok(match place.reach.format {
        Format::Json => format!("{:#}", json!({"broadcaster": name, "moved_to": aside})),
        Format::Text => format!("{name} begins anew when it starts; what it had saved is kept as {}", aside.display()),
    })
}

/// A daemon uses the folder: whether it leaves the broadcaster alone.
fn is_idle(name: &str, place: &Place, beside: Option<&Path>) -> Result<(), Exit> {
    let mut reach = place.reach.clone();
    let own = beside.map(|folder| folder.join("control.sock")).filter(|socket| socket.exists());
    reach.socket = reach.socket.or(own);
    let answer = ask(&reach, Method::GET, &format!("/v1/broadcasters/{}", encoded(name)), Vec::new())?;
    match answer.status {
        StatusCode::NOT_FOUND => Ok(()),
        StatusCode::OK if answer.body["state"] == "stopped" => Ok(()),
        StatusCode::OK => {
            let state = answer.body["state"].as_str().unwrap_or("running").to_owned();
            let message = format!(
                "broadcaster \"{name}\" is {state} in a daemon, which would save its state again; set enabled = false in [broadcasters.{name}], or stop the daemon, and then reset it"
            );
            Err(fail(Exit::Unavailable, &message))
        }
        _ => Err(fail(Exit::Unavailable, &answer.refusal())),
    }
}

fn folder(place: &Place) -> PathBuf {
    place.state.clone().unwrap_or_else(|| Folders::in_use(&environment())[0].clone())
}

fn inaccessible(folder: &Path, error: &std::io::Error) -> Exit {
    let message = format!("the state in {} cannot be used: {error}", folder.display());
    match error.kind() {
        ErrorKind::PermissionDenied => {
            fail(Exit::Permission, &format!("{message}; be root or the daemon's user: sudo -u broadcastd"))
        }
        _ => fail(Exit::Unavailable, &format!("{message}; name another folder with --state FOLDER")),
    }
}
