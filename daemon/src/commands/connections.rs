//! `broadcastd connections`: who is connected, what each hears, and what waits for it.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::daemon::{lasted, unreachable};
use super::table::Table;
use super::{environment, fail, say};
use crate::cli::{Connections, Exit, Format};
use crate::control::{self, Answer, Control, encoded};

/// The topics that a line has room for.
const TOPICS: usize = 3;

/// Some of those that are connected, and whether there are more.
#[derive(Default)]
struct Found {
    connections: Vec<Value>,
    more: bool,
}

/// Prints who is connected.
pub fn connections(wanted: &Connections) -> Exit {
    let found = match find(wanted) {
        Ok(found) => found,
        Err(control::Error::Refused(answer)) => return refused(&answer),
        Err(error) => return unreachable(&error),
    };
    match wanted.reach.format {
        Format::Text => say(text(&found).trim_end()),
        Format::Json => say(&format!("{:#}", json!({"connections": found.connections, "more": found.more}))),
    }
    Exit::Done
}

/// What is wrong is what was asked for, or the daemon.
fn refused(answer: &Answer) -> Exit {
    let exit = match answer.status {
        StatusCode::BAD_REQUEST => Exit::Usage,
        StatusCode::NOT_FOUND => Exit::Data,
        _ => Exit::Unavailable,
    };
    fail(exit, &answer.refusal())
}

fn find(wanted: &Connections) -> Result<Found, control::Error> {
    let mut control = Control::find(wanted.reach.socket.as_deref(), &environment())?;
    gather(wanted, |path| match control.ask(Method::GET, path, Vec::new())? {
        answer if answer.status == StatusCode::OK => Ok(answer.body),
        refused => Err(control::Error::Refused(refused)),
    })
}

/// Asks for page after page, until there are enough.
fn gather<E>(wanted: &Connections, mut ask: impl FnMut(&str) -> Result<Value, E>) -> Result<Found, E> {
    let (mut found, limit) = (Found::default(), usize::try_from(wanted.limit).unwrap_or(usize::MAX));
    let mut after = None;
    loop {
        let answer = ask(&path(wanted, after.as_deref()))?;
        let page = answer["connections"].as_array().into_iter().flatten();
        let came_by = |one: &&Value| wanted.endpoint.as_ref().is_none_or(|path| one["endpoint"] == path.as_str());
        found.connections.extend(page.filter(came_by).cloned());
        after = answer["next"].as_str().map(str::to_owned);
        found.more = after.is_some() || found.connections.len() > limit;
        found.connections.truncate(limit);
        if after.is_none() || found.connections.len() == limit {
            return Ok(found);
        }
    }
}

fn path(wanted: &Connections, after: Option<&str>) -> String {
    let Connections { stream, topic, user, .. } = wanted;
    let given =
        [("stream", stream.as_deref()), ("topic", topic.as_deref()), ("user", user.as_deref()), ("after", after)];
    let given = given.into_iter().filter_map(|(key, value)| Some(format!("&{key}={}", encoded(value?))));
    given.fold("/v1/connections?limit=1000".to_owned(), |path, part| path + &part)
}

fn text(found: &Found) -> String {
    let word = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.replace(|sign: char| sign.is_control(), " "),
        other => other.to_string(),
    };
    if found.connections.is_empty() {
        return "nobody of these is connected".to_owned();
    }
    let mut table = Table::new(&["ID", "USER", "PEER", "SINCE", "ENDPOINT", "DIALECT", "WAITING", "LAGGED", "TOPICS"]);
    for one in &found.connections {
        let since = lasted(one["age_s"].as_f64().unwrap_or_default());
        let row = [word(&one["id"]), word(&one["user"]), word(&one["peer"]), since];
        let rest = ["endpoint", "dialect", "outbox_bytes", "lagged"].map(|key| word(&one[key]));
        table.row([row.to_vec(), rest.to_vec(), vec![topics(one)]].concat());
    }
    let more = if found.more { "there are more; --limit N shows so many\n" } else { "" };
    format!("{table}{more}")
}

fn topics(one: &Value) -> String {
    let all: Vec<&str> = one["topics"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let count = one["subscriptions"].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(all.len());
    let shown = all.iter().take(TOPICS).copied().collect::<Vec<_>>().join(" ");
    if count > TOPICS { format!("{shown} and {} more", count - TOPICS) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(user: Option<&str>, topics: &[&str]) -> Value {
        json!({"id": "e-0-7", "peer": "192.0.2.7", "user": user, "age_s": 61.0, "endpoint": "/v1/ws", "dialect": "native",
            "subscriptions": topics.len(), "topics": topics, "outbox_bytes": 120, "lagged": 2, "replaced": 0})
    }

    #[test]
    fn each_is_a_line_and_what_is_left_out_is_said() {
        let all = vec![one(Some("ann\n"), &["bars:A:1"]), one(None, &["a", "b", "c", "d", "e"])];
        let expected = "\
ID     USER  PEER       SINCE      ENDPOINT  DIALECT  WAITING  LAGGED  TOPICS
e-0-7  ann   192.0.2.7  1 min 1 s  /v1/ws    native       120       2  bars:A:1
e-0-7  -     192.0.2.7  1 min 1 s  /v1/ws    native       120       2  a b c and 2 more
";
        assert_eq!(
            text(&Found { connections: all.clone(), more: false }).replace("ann ", "ann"),
            expected.replace("ann ", "ann")
        );
        let more = text(&Found { connections: all, more: true });
        assert!(more.ends_with("more\nthere are more; --limit N shows so many\n"), "{more}");
        assert_eq!(text(&Found::default()), "nobody of these is connected");
    }

    fn at_most(limit: u64, endpoint: Option<&str>) -> Connections {
        let reach = crate::cli::Reach { socket: None, format: Format::Text };
        Connections { stream: None, topic: None, user: None, endpoint: endpoint.map(str::to_owned), limit, reach }
    }

    /// How many are found on pages of two, whether there are more, and how many pages were asked for.
    fn found(wanted: &Connections, pages: &[(&str, [&str; 2])]) -> (usize, bool, usize) {
        let mut asked = Vec::new();
        let found = gather(wanted, |path| {
            let (after, page) = pages[asked.len()];
            assert!(path.ends_with(&if after.is_empty() { "1000".to_owned() } else { format!("&after={after}") }));
            asked.push(path.to_owned());
            let connections = page.map(|endpoint| json!({"endpoint": endpoint})).to_vec();
            let next = pages.get(asked.len()).map(|(after, _)| *after);
            Ok::<Value, ()>(json!({"connections": connections, "next": next}))
        });
        let found = found.unwrap();
        (found.connections.len(), found.more, asked.len())
    }

    #[test]
    fn page_after_page_is_asked_for_until_there_are_enough() {
        let pages = [("", ["/a", "/b"]), ("e-0-2", ["/a", "/a"]), ("e-0-4", ["/b", "/b"])];
        assert_eq!(found(&at_most(1000, None), &pages), (6, false, 3));
        assert_eq!(found(&at_most(6, None), &pages), (6, false, 3), "these are all");
        assert_eq!(found(&at_most(5, None), &pages), (5, true, 3));
        assert_eq!(found(&at_most(4, None), &pages), (4, true, 2), "there is a page that was not asked for");
        assert_eq!(found(&at_most(1000, Some("/a")), &pages), (3, false, 3));
        assert_eq!(found(&at_most(2, Some("/a")), &pages), (2, true, 2));
    }

    #[test]
    fn what_is_asked_for_stands_for_itself() {
        let wanted =
            Connections { stream: Some("bars".to_owned()), user: Some("a&b".to_owned()), ..at_most(1, Some("/v1/ws")) };
        assert_eq!(path(&wanted, Some("e-0-1")), "/v1/connections?limit=1000&stream=bars&user=a%26b&after=e-0-1");
    }
}
