//! What the pages of the dialects show works as it is pasted: the tables into the configuration, the line of `curl` into a
//! shell, the line of a client into a WebSocket. Only addresses and tokens are those of a test.

use std::fs;
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::dialogue;
use crate::house::{Client, hear_json, say};
use crate::needs;
use crate::process::Daemon;
use crate::tidy::tree;
use crate::user_events::shipped;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::program("curl", what_the_page_of_streams_shows_works),
        needs::program("curl", what_the_page_of_spc_shows_works),
        needs::programs(&["curl", "openssl"], what_the_page_of_users_shows_works),
        needs::nothing(what_the_page_of_fastws_shows_works),
        needs::nothing(what_the_protocol_shows_in_short_works),
    ]
}

fn what_the_page_of_streams_shows_works() {
    let [table, listen, publish] = blocks("dialect-streams.md", "## What is said");
    let daemon = Daemon::start(&table);
    let mut client = paste(&daemon, &listen, "");
    assert_eq!(kinds(&mut client, 3), ["status", "response", "full_update"]);
    shell(&daemon, &publish);
    let event = hear_json(&mut client);
    assert_eq!((&event["type"], &event["data"]["state"]), (&json!("state_change"), &json!("S1")), "{event}");
}

fn what_the_page_of_spc_shows_works() {
    let [table, listen, publish] = blocks("dialect-spc.md", "## What is said");
    let daemon = Daemon::start(&table);
    let mut client = paste(&daemon, &listen, "");
    assert_eq!(hear_json(&mut client)["type"], "subscribed");
    shell(&daemon, &publish);
    assert_eq!(kinds(&mut client, 2), ["violation", "ack_update"]);
}

fn what_the_page_of_users_shows_works() {
    let [table, listen, publish] = blocks("dialect-user.md", "## What is said");
    let [make, ..]: [String; 2] = blocks_of("identity.md", "### A token to try", "In Python");
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("sh").args(["-ec", &make]).current_dir(folder.path()).output().unwrap();
    let token = String::from_utf8(made.stdout).unwrap();
    let auth = "[auth]\njwt = { secret = { file = \"jwt.secret\" } }\n";
    let daemon = Daemon::start_in(folder, &format!("{auth}{table}"), &[]);
    let mut client = paste(&daemon, &listen, token.trim());
    let mut next = || serde_json::from_str::<Value>(client.read().unwrap().to_text().unwrap()).unwrap();
    let greeting = next(); // its time has nine decimals
    assert_eq!((&greeting["type"], &greeting["user_id"]), (&json!("CONNECTED"), &json!("user-1")), "{greeting}");
    shell(&daemon, &publish);
    let event = next();
    assert_eq!((&event["type"], &event["data"]["pnl"]["totalPnL"]), (&json!("PNL_UPDATE"), &json!(101.5)), "{event}");
}

fn what_the_page_of_fastws_shows_works() {
    let [_table, _page, listen] = blocks("dialect-fastws.md", "## What is said");
    let daemon = Daemon::start(&shipped(""));
    let mut client = paste(&daemon, &listen.replace("localhost:8000", "127.0.0.1:8080"), "");
    assert_eq!(hear_json(&mut client)["type"], "bars.subscribe.response");
    let bar = hear_json(&mut client);
    assert!(bar["type"] == "bars.update" && bar["payload"]["close"].is_f64(), "{bar}");
}

fn what_the_protocol_shows_in_short_works() {
    let [listen] = blocks_of("protocol.md", "\n## In short", "\n## ");
    let daemon = Daemon::start(&shipped(""));
    let mut client = paste(&daemon, &listen, "");
    let mut heard = kinds(&mut client, 4);
    heard.dedup();
    assert_eq!(heard[..3], ["status", "response", "full_update"]);
    assert_eq!(heard.last().unwrap(), "bar", "{heard:?}");
}

/// The blocks of a page up to a heading, whatever language they are in.
fn blocks<const COUNT: usize>(page: &str, end: &str) -> [String; COUNT] {
    blocks_of(page, "", end)
}

fn blocks_of<const COUNT: usize>(page: &str, begin: &str, end: &str) -> [String; COUNT] {
    let text = fs::read_to_string(tree::root().join("docs").join(page)).unwrap();
    let part = text.split_once(begin).unwrap().1.split(end).next().unwrap();
    let blocks =
        part.split("\n```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap().1.to_owned() + "\n");
    let blocks: Vec<String> = blocks.collect();
    blocks.try_into().unwrap_or_else(|found: Vec<String>| panic!("{page}: {found:#?}"))
}

/// A client as `npx wscat -c URL -w 60 -x 'WISH'` makes one; without a wish it only listens.
fn paste(daemon: &Daemon, line: &str, token: &str) -> Client {
    let line = line.trim().replace("$TOKEN", token);
    let (url, rest) =
        line.strip_prefix("npx wscat -c ").unwrap().split_once(' ').unwrap_or((&line["npx wscat -c ".len()..], ""));
    let path = url.trim_matches('"').strip_prefix("ws://127.0.0.1:8080").unwrap_or_else(|| panic!("{url}"));
    let mut client = dialogue::open(&daemon.clients, path);
    if let Some((_, wish)) = rest.split_once("-x '") {
        say(&mut client, wish.strip_suffix('\'').unwrap());
    }
    client
}

/// Has a shell publish what the page does; all of it is taken.
fn shell(daemon: &Daemon, script: &str) {
    let script = script.replace("127.0.0.1:9180", &daemon.admin);
    let said = Command::new("sh").args(["-ec", &script]).stdin(Stdio::null()).stderr(Stdio::null()).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let answer: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert!(answer["accepted"].as_u64() > Some(0) && answer["rejected"] == json!([]), "{answer}");
}

fn kinds(client: &mut Client, count: usize) -> Vec<String> {
    (0..count).map(|_| hear_json(client)["type"].as_str().unwrap().to_owned()).collect()
}
