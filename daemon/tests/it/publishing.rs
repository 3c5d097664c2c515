//! What `docs/publishing.md` shows for publishers works as it is pasted: only the addresses are those of a test's daemon.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use serde_json::Value;
use tempfile::TempDir;

use crate::needs;
use crate::process::Daemon;
use crate::tidy::tree;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::program("curl", curl),
        needs::program("nc", netcat),
        needs::program("python3", python),
        needs::program("rustc", rust),
        needs::programs(&["node", "tsc"], typescript),
        needs::nothing(the_shown_schema_names_every_kind_that_is_shown),
    ]
}

const SOCKET: &str = "/run/broadcastd/ingest.sock";

struct Place {
    folder: TempDir,
    daemon: Daemon,
}

/// A daemon with the streams that the page shows, its schema file beside its configuration.
fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let home = tempfile::tempdir().unwrap();
    fs::copy(tree::root().join("docs/user-events.schema.json"), home.path().join("user-events.schema.json")).unwrap();
    let tables = blocks("toml").concat();
    let socket = folder.path().join("ingest.sock");
    let config = format!("[ingest]\nsocket = \"{}\"\n{tables}", socket.display());
    Place { daemon: Daemon::start_in(home, &config, &[]), folder }
}

impl Place {
    fn here(&self, code: &str) -> String {
        let socket = self.folder.path().join("ingest.sock").display().to_string();
        code.replace("127.0.0.1:9180", &self.daemon.admin).replace(SOCKET, &socket)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

fn page() -> String {
    fs::read_to_string(tree::root().join("docs/publishing.md")).unwrap()
}

/// The blocks of the page in this language, in its order.
fn blocks(language: &str) -> Vec<String> {
    let page = page();
    let begins = format!("```{language}\n");
    let blocks = page.split(&begins).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    blocks.collect()
}

/// Runs a program to its end and gives what it printed.
fn run(program: &str, arguments: &[&str]) -> String {
    let done = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{program} {arguments:?}: {told}\n{}", String::from_utf8_lossy(&done.stderr));
    told
}

fn curl() {
    let place = place();
    let shown: Vec<String> = blocks("sh").into_iter().filter(|block| block.contains("curl")).collect();
    let accepted = |block: &String| {
        let told = run("sh", &["-c", &place.here(block)]);
        serde_json::from_str::<Value>(&told).unwrap()["accepted"].as_u64().unwrap()
    };
    assert_eq!(shown.iter().map(accepted).collect::<Vec<_>>(), [1, 2]);
}

fn netcat() {
    let place = place();
    let shown = blocks("sh").into_iter().find(|block| block.contains("nc -U")).unwrap();
    let told: Value = serde_json::from_str(&run("sh", &["-c", &place.here(&shown)])).unwrap();
    assert_eq!((&told["accepted"], &told["position"]["seq"], &told["id"]), (&true.into(), &1.into(), &"1".into()));
}

fn python() {
    let place = place();
    let told: Vec<String> = blocks("python").iter().map(|block| run("python3", &["-c", &place.here(block)])).collect();
    assert!(told[0].starts_with("202 {'accepted': 3, 'rejected': [], "), "{told:?}");
    assert_eq!(told[1].matches("{\"accepted\":true,").count(), 2, "{told:?}");
}

fn rust() {
    let place = place();
    let [shown] = blocks("rust").try_into().unwrap();
    let source = place.file("publish.rs", &place.here(&shown));
    let program = place.folder.path().join("publish").display().to_string();
    run("rustc", &["--edition", "2024", "-D", "warnings", "-o", &program, &source]);
    assert_eq!(run(&program, &[]).matches("{\"accepted\":true,").count(), 2);
}

fn typescript() {
    let place = place();
    let folder = place.folder.path().display().to_string();
    let mut told = Vec::new();
    for (index, block) in blocks("ts").iter().enumerate() {
        let source = place.file(&format!("{index}.mts"), &place.here(block));
        let target = ["--target", "es2022", "--module", "es2022", "--lib", "es2022,dom", "--outDir", &folder];
        run("tsc", &[&["--strict", &source][..], &target].concat());
        told.push(run("node", &[&Path::new(&folder).join(format!("{index}.mjs")).display().to_string()]));
    }
    assert!(told[0].contains("accepted: 1"), "{told:?}");
    assert_eq!(told[1].trim(), "202 {\"accepted\":13,\"rejected\":[],\"position\":null}");
}

fn the_shown_schema_names_every_kind_that_is_shown() {
    let schema = fs::read_to_string(tree::root().join("docs/user-events.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let shown = blocks("ts").remove(1);
    let kinds: Vec<&String> = schema["$defs"].as_object().unwrap().keys().collect();
    assert_eq!(kinds.len(), 13);
    for kind in kinds {
        assert!(shown.contains(&format!("{{ type: \"{kind}\", ")), "no example of {kind}");
    }
}
