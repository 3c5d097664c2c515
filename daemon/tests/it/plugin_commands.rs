//! `broadcastd plugin`: what authors of plugins see, from a new project to one that is held to the rules of the border.

mod conformance;
mod page;
mod running;
mod stories;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use serde_json::Value;
use tempfile::TempDir;

use crate::bad_input::{golden, note_of};
use crate::needs;
use crate::process::{self, Ended, PLUGINS};
use crate::tidy::tree;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(a_library_is_shown_and_judged_without_being_run),
        needs::nothing(programs_read_what_a_library_is),
        needs::nothing(what_is_found_is_what_the_daemon_would_find),
        needs::nothing(a_plugin_that_is_wanted_and_nowhere_is_told),
        needs::nothing(what_cannot_be_written_is_refused_with_its_rule),
        needs::nothing(everything_is_told_by_help),
        needs::nothing(conformance::shipped_plugins_keep_the_rules),
        needs::nothing(conformance::one_that_misbehaves_fails_where_it_does),
        needs::nothing(conformance::each_broken_rule_of_the_border_is_named),
        needs::nothing(conformance::shipped_ones_that_panic_are_caught_at_their_first_input),
        needs::nothing(conformance::programs_read_how_each_check_went),
        needs::nothing(stories::whatever_they_are_told_they_say_what_they_declare),
        needs::nothing(running::events_come_out_as_they_would_go_in),
        needs::nothing(running::a_signal_ends_it_in_order_and_a_second_at_once),
        needs::nothing(running::inputs_that_are_wrong_are_told_and_the_others_taken),
        needs::nothing(running::one_that_fails_or_hangs_ends_with_its_reason),
        needs::nothing(page::the_first_plugin_in_rust_is_made_as_the_page_shows_and_heard),
        needs::program("make", page::the_first_plugin_in_c_is_made_as_the_page_shows_and_heard),
    ]
}

/// Runs the daemon's binary in a folder until it ends, however long its checks take.
fn run(folder: &Path, arguments: &[&str]) -> Ended {
    let output = process::command(folder, &[]).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Compiles a source of the workspace to a library.
fn compile(source: &str, arguments: &[&str], library: &Path) {
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-shared", "-fPIC", "-pthread"]).args(arguments);
    cc.arg("-I").arg(tree::root().join("plugin-api/include")).arg("-o").arg(library);
    assert!(cc.arg(tree::root().join(source)).status().unwrap().success(), "{source} does not build: {arguments:?}");
}

fn place() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("config.toml"), "").unwrap();
    place
}

/// The text without what differs from machine to machine and from build to build.
fn neutral(text: &str, place: &TempDir) -> String {
    let differs =
        |line: &&str| !["size ", "sha256 ", "built with", "target "].iter().any(|name| line.starts_with(name));
    let text: Vec<&str> = text.lines().filter(differs).collect();
    text.join("\n")
        .replace(&place.path().display().to_string(), "HOME")
        .replace(&PLUGINS.display().to_string(), "PLUGINS")
}

fn a_library_is_shown_and_judged_without_being_run() {
    let place = place();
    let file = place.path().join("libhello.so");
    compile("plugins/hello-c/hello.c", &[], &file);
    let good = fs::read(&file).unwrap();
    let note = note_of(&good);
    let patched = |at: usize, bytes: &[u8]| {
        let mut patched = good.clone();
        patched[at..at + bytes.len()].copy_from_slice(bytes);
        patched
    };
    let renamed = place.path().join("libother.so");
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("as it was built", good.clone()),
        ("a text", b"this is no library\n".to_vec()),
        ("nothing", Vec::new()),
        ("cut short", good[..good.len() / 2].to_vec()),
        ("the header alone", good[..64].to_vec()),
        ("of another machine", patched(18, &[40, 0])),
        ("of 32 bits", patched(4, &[1])),
        ("of the other byte order", patched(5, &[2])),
        ("a program", patched(16, &[2, 0])),
        ("with sections beyond its end", patched(0x28, &u64::MAX.to_le_bytes())),
        ("for another ABI", patched(note + 12, &[2])),
        ("that aborts", patched(note + 20, &[0])),
        ("without an id", patched(note + 24, &[0; 5])),
        ("with rubbish for an id", patched(note + 24, b"\x1b[2J\xff")),
        ("of somebody else's note", patched(note, b"x")),
        ("without the entry", replaced(&good, b"broadcastd_plugin_v1", b"broadcastd_plugin_v9")),
    ];
    let mut told = String::new();
    for (what, bytes) in cases {
        fs::write(&file, bytes).unwrap();
        let ended = run(place.path(), &["plugin", "inspect", "libhello.so"]);
        assert_eq!(ended.stderr, "", "{what}");
        told += &format!("── {what}: {}\n{}\n", ended.code.unwrap(), neutral(&ended.stdout, &place));
    }
    fs::write(&renamed, &good).unwrap();
    let ended = run(place.path(), &["plugin", "inspect", "libother.so"]);
    told += &format!("── under another name: {}\n{}\n", ended.code.unwrap(), neutral(&ended.stdout, &place));
    for file in ["nowhere.so", "."] {
        let ended = run(place.path(), &["plugin", "inspect", file]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(64), ""));
        told += &format!("── {file}: 64\n{}", ended.stderr);
    }
    golden("plugin-inspect", &told);
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
    bytes
}

fn programs_read_what_a_library_is() {
    let place = place();
    let bars = PLUGINS.join("libbars.so");
    let told = run(place.path(), &["plugin", "inspect", bars.to_str().unwrap(), "--format", "json"]);
    let found: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(
        (&found["plugin"], &found["would_load"], &found["reason"]),
        (&"bars".into(), &true.into(), &Value::Null)
    );
    assert_eq!(found["size"], fs::metadata(&bars).unwrap().len());
    assert_eq!((&found["abi"]["major"], &found["entry"]["found"]), (&1.into(), &"there".into()));
    let built_with = found["built_with"].as_array().unwrap();
    assert!(built_with.iter().any(|name| name.as_str().unwrap().starts_with("rustc ")), "{found:#}");
    let summed = Command::new("sha256sum").arg(&bars).output().unwrap();
    assert!(String::from_utf8(summed.stdout).unwrap().starts_with(found["sha256"].as_str().unwrap()));
}

fn what_is_found_is_what_the_daemon_would_find() {
    let place = place();
    let folder = |name: &str| {
        let folder = place.path().join(name);
        fs::create_dir(&folder).unwrap();
        folder
    };
    let (first, second) = (folder("first"), folder("second"));
    for folder in [&first, &second] {
        compile("plugins/hello-c/hello.c", &[], &folder.join("libhello.so"));
    }
    compile("plugins/faulty-c/faulty.c", &["-DID=\"pinned\""], &second.join("libpinned.so"));
    fs::write(second.join("libbroken.so"), "no library").unwrap();
    fs::copy(first.join("libhello.so"), second.join("libmisnamed.so")).unwrap();
    let config = format!(
        "[plugins]\ndirs = [\"first\", \"second\"]\n[broadcasters.a]\nplugin = \"hello\"\n[broadcasters.b]\nplugin = \"hello\"\n\
         [broadcasters.c]\nplugin = \"pinned\"\nsha256 = \"{}\"\n[broadcasters.d]\nplugin = \"gone\"\n",
        "0".repeat(64)
    );
    fs::write(place.path().join("config.toml"), config).unwrap();
    let told = run(place.path(), &["plugin", "list"]);
    assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""));
    // What lies beside the executable and in the variable's folder differs from build to build.
    let beside = Path::new(env!("CARGO_BIN_EXE_broadcastd")).parent().unwrap().display().to_string();
    let mut is_own = true;
    let own = |line: &&str| {
        let is_row = !line.starts_with(' ');
        is_own =
            if is_row { !line.contains(&beside) && !line.contains(&PLUGINS.display().to_string()) } else { is_own };
        is_own
    };
    let narrow: Vec<String> = told.stdout.lines().filter(own).map(squeezed).collect();
    golden("plugin-list", &format!("{}\n", narrow.join("\n")));
    let told = run(place.path(), &["plugin", "list", "--format", "json"]);
    let found: Value = serde_json::from_str(&told.stdout).unwrap();
    let of = |name: &str| -> Vec<&Value> {
        found["plugins"].as_array().unwrap().iter().filter(|one| one["plugin"] == name).collect()
    };
    let hello = of("hello");
    assert_eq!(
        (&hello[0]["path"], &hello[0]["used_by"]),
        (&"first/libhello.so".into(), &serde_json::json!(["a", "b"]))
    );
    assert_eq!(hello[1]["shadowed_by"], "first/libhello.so");
    assert_eq!(of("bars").len(), 1, "the folder of the variable is the executable's, too, and counts once");
    assert_eq!(found["missing"][0], serde_json::json!({ "plugin": "gone", "wanted_by": ["d"] }));
    // The daemon agrees.
    let refused = run(place.path(), &["check"]).stderr;
    for why in ["pins 0000", "no libgone.so in first, second"] {
        assert!(refused.contains(why), "{refused}");
    }
}

/// Without the width of columns, which the longest path of a machine decides.
fn squeezed(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let indent = if line.starts_with(' ') { "    " } else { "" };
    format!("{indent}{}", words.join(" "))
}

fn a_plugin_that_is_wanted_and_nowhere_is_told() {
    let place = place();
    fs::write(place.path().join("config.toml"), "[broadcasters.a]\nplugin = \"barz\"\n").unwrap();
    let told = run(place.path(), &["plugin", "list"]).stdout;
    assert!(told.contains("\nbarz is wanted by a and found nowhere\n"), "{told}");
    fs::write(place.path().join("config.toml"), "[broadcasters.a]\nplugin = 7\n").unwrap();
    let refused = run(place.path(), &["plugin", "list"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(78), ""));
}

fn what_cannot_be_written_is_refused_with_its_rule() {
    let place = place();
    fs::create_dir(place.path().join("taken")).unwrap();
    fs::write(place.path().join("taken/notes"), "mine").unwrap();
    fs::write(place.path().join("file"), "").unwrap();
    let mut told = String::new();
    for arguments in [
        &["My-Plugin"][..],
        &["7up"],
        &["match"],
        &["serde"],
        &["../up"],
        &[""],
        &["taken"],
        &["file"],
        &["good", "--path", "taken"],
        &["good", "--api", "nowhere"],
        &["good", "--lang", "c", "--api", "0.1"],
        &["good", "--lang", "zig"],
    ] {
        let ended = run(place.path(), &[&["plugin", "new"], arguments].concat());
        assert_eq!(ended.stdout, "", "{arguments:?}");
        told += &format!("── plugin new {}: {}\n{}", arguments.join(" "), ended.code.unwrap(), ended.stderr);
    }
    assert!(!place.path().join("good").exists() && !place.path().join("../up").exists());
    assert_eq!(fs::read_dir(place.path().join("taken")).unwrap().count(), 1);
    golden("plugin-new-refused", &told);
}

fn everything_is_told_by_help() {
    let place = place();
    let mut told = String::new();
    for command in ["", "list", "inspect", "new", "test", "run"] {
        let arguments: Vec<&str> = ["plugin", command, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
        let ended = run(place.path(), &arguments);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        told += &format!("── {}\n{}", arguments.join(" "), ended.stdout);
    }
    assert!(!told.contains("--scratch"), "the check is a matter of its own");
    golden("plugin-help", &told);
}

fn so(name: &str) -> PathBuf {
    PLUGINS.join(format!("lib{name}.so"))
}
