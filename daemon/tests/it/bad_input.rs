//! What cannot be started or used: the exit code and the whole text, held against golden files.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use broadcastd_plugin_api::abi::NOTE_OWNER;
use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::needs;
use crate::process::{self, Daemon, Ended, PLUGINS, PORTS};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(every_unusable_plugin_is_refused_with_its_reason),
        needs::nothing(every_unusable_configuration_is_refused_with_its_reason),
        needs::nothing(every_command_line_ends_with_its_code),
        needs::nothing(check_says_whether_a_configuration_is_right),
        needs::nothing(a_port_that_is_taken_is_named),
        needs::nothing(a_state_folder_belongs_to_one_daemon),
    ]
}

/// Where the numbers of a note stand, counted from its owner's name: behind its twelve bytes.
const NOTE_ABI_MAJOR: usize = 12;
const NOTE_UNWINDS: usize = 20;
const NOTE_ID: usize = 24;

const BROADCASTER: &str = "[broadcasters.bad]\nplugin = \"faulty\"\n";

/// A folder with a configuration and, searched first, a folder of plugins.
struct Place(TempDir);

impl Place {
    fn new(config: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.0.path().join("plugins")).unwrap();
        place.configure(config);
        place
    }

    fn configure(&self, config: &str) {
        fs::write(self.0.path().join("config.toml"), format!("{PORTS}[plugins]\ndirs = [\"plugins\"]\n{config}"))
            .unwrap();
    }

    fn plugin(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.path().join("plugins").join(format!("lib{name}.so")), bytes).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        process::run(self.0.path(), arguments, &[])
    }

    /// Both commands refuse with code 78 and this golden text.
    fn refuses(&self, name: &str, arguments: &[&str]) {
        let run = self.run(arguments);
        let check = self.run(&[&["check"], arguments].concat());
        assert_eq!((run.code, run.stdout.as_str()), (Some(78), ""), "{name}: {}", run.stderr);
        assert_eq!((check.code, check.stdout.as_str()), (Some(78), ""), "{name}: {}", check.stderr);
        assert_eq!(run.stderr, check.stderr, "{name}");
        golden(name, &self.neutral(&run.stderr));
    }

    /// The text without what differs from machine to machine.
    fn neutral(&self, text: &str) -> String {
        let beside = Path::new(env!("CARGO_BIN_EXE_broadcastd")).parent().unwrap().display().to_string();
        text.replace(&PLUGINS.display().to_string(), "PATH")
            .replace(&beside, "PATH")
            .replace(&self.0.path().display().to_string(), "HOME")
    }
}

fn every_unusable_plugin_is_refused_with_its_reason() {
    let faulty = fs::read(PLUGINS.join("libfaulty.so")).unwrap();
    let note = note_of(&faulty);
    let patched = |at: usize, byte: u8| {
        let mut bytes = faulty.clone();
        bytes[note + at] = byte;
        bytes
    };
    let files: [(&str, Vec<u8>); 8] = [
        ("plugin-text", b"this is no library\n".to_vec()),
        ("plugin-empty", Vec::new()),
        ("plugin-truncated", faulty[..faulty.len() / 2].to_vec()),
        ("plugin-header-only", faulty[..64].to_vec()),
        ("plugin-other-abi", patched(NOTE_ABI_MAJOR, 2)),
        ("plugin-aborts", patched(NOTE_UNWINDS, 0)),
        ("plugin-other-id", patched(NOTE_ID, b'g')),
        ("plugin-without-note", patched(0, b'x')),
    ];
    let place = Place::new(BROADCASTER);
    for (name, bytes) in files {
        place.plugin("faulty", &bytes);
        place.refuses(name, &[]);
    }
    fs::remove_file(place.0.path().join("plugins/libfaulty.so")).unwrap();
    fs::create_dir(place.0.path().join("plugins/libfaulty.so")).unwrap();
    place.refuses("plugin-directory", &[]);
    let place = Place::new("[broadcasters.bad]\nplugin = \"falty\"\n");
    place.refuses("plugin-missing", &[]);
    let pin = "0".repeat(64);
    let place = Place::new(&format!("{BROADCASTER}sha256 = \"{pin}\"\n"));
    place.plugin("faulty", &[&faulty[..], b"\n"].concat());
    let ended = place.run(&[]);
    let found = ended.stderr.split_once("its sha256 is ").unwrap().1[..64].to_owned();
    assert_eq!(ended.code, Some(78));
    golden("plugin-pinned", &place.neutral(&ended.stderr).replace(&found, "FOUND"));
    place.configure(&format!("{BROADCASTER}sha256 = \"{found}\"\n"));
    assert_eq!(place.run(&["check"]).code, Some(0), "the pin that the error names is the right one");
}

fn every_unusable_configuration_is_refused_with_its_reason() {
    let place = Place::new("");
    let file = place.0.path().join("config.toml");
    place.refuses("config-missing", &["--config", "nowhere.toml"]);
    place.refuses("config-directory", &["--config", "plugins"]);
    place.refuses("config-below-a-file", &["--config", "config.toml/config.toml"]);
    place.refuses("config-no-file", &["--config", "/dev/null"]);
    fs::write(place.0.path().join("short"), "seventeen letters").unwrap();
    for (name, text) in [
        ("config-no-text", &b"[server]\nlisten = \"\xff\xfe\"\n"[..]),
        ("config-syntax", b"[server\nlisten = 127.0.0.1\n"),
        ("config-keys", b"[server]\nlisen = [\"127.0.0.1:0\"]\n[streems.ticks]\n[broadcasters.bars]\nplugin = 7\n"),
        (
            "config-settings",
            b"[broadcasters.bad]\nplugin = \"faulty\"\nsettings = { mode = \"wel\", interval_ms = \"soon\" }\n",
        ),
        (
            "config-refused-by-plugin",
            b"[broadcasters.bad]\nplugin = \"faulty\"\nsettings = { mode = \"invalid_settings\" }\n",
        ),
        ("config-schema", b"[streams.ticks]\nschema = \"gone.json\"\n"),
        ("config-large", &[b'#'; 1024 * 1024 + 1][..]),
        ("config-no-keys", b"[auth]\njwt = { keys = \"plugins\" }\n"),
        ("config-keys-missing", b"[auth]\njwt = { keys = \"jwks.json\" }\n"),
        ("config-keys-broken", b"[auth]\njwt = { keys = \"config.toml\" }\n"),
        ("config-keys-large", &[b"[auth]\njwt = { keys = \"config.toml\" }\n", &[b'#'; 64 << 10][..]].concat()),
        ("config-secret-missing", b"[auth]\njwt = { secret = { env = \"NOWHERE\" } }\n"),
        ("config-secret-short", b"[auth]\njwt = { secret = { file = \"short\" } }\n"),
        ("config-error-log", b"[log]\nerrors = \"/no-such-folder/errors.log\"\n"),
        ("config-admin-token", b"[admin]\ntoken = { file = \"no-such-token\" }\n"),
        (
            "config-no-pattern",
            b"[[auth.tokens]]\nname = \"ingest\"\npublish = [\"ticks\", \"*\"]\n\
              sha256 = \"a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e\"\n",
        ),
    ] {
        fs::write(&file, text).unwrap();
        place.refuses(name, &[]);
    }
    fs::write(&file, "").unwrap();
    assert_eq!(place.run(&["check"]).code, Some(0), "an empty file is all defaults and no streams");
    place.refuses("config-set", &["--set", "server.drain=soon", "--set", "nothing"]);
}

fn every_command_line_ends_with_its_code() {
    let place = Place::new("");
    for (arguments, code) in [(&["--help"][..], 0), (&["--version"], 0), (&["check", "--help"], 0)] {
        let ended = place.run(arguments);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(code), ""), "{arguments:?}");
        assert!(ended.stdout.contains("broadcastd"), "{}", ended.stdout);
    }
    golden("help", &place.run(&["--help"]).stdout);
    for (name, arguments) in [
        ("unknown-command", &["rnu"][..]),
        ("unknown-option", &["--confg", "x"]),
        ("option-without-value", &["--config"]),
        ("too-many-words", &["run", "now"]),
    ] {
        let ended = place.run(arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(64), ""), "{arguments:?}");
        golden(name, &ended.stderr);
    }
}

fn check_says_whether_a_configuration_is_right() {
    let place = Place::new(BROADCASTER);
    let ended = place.run(&["check"]);
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(0), "config.toml: no mistakes\n", ""));
    // What runs does not hinder a look at what shall run next.
    let daemon = Daemon::start_in(place.0, BROADCASTER, &[]);
    let beside = process::run(daemon.folder.path(), &["check"], &[]);
    assert_eq!((beside.code, beside.stdout.as_str()), (Some(0), "config.toml: no mistakes\n"), "{}", beside.stderr);
}

fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = Place::new("");
    for (key, other) in
        [("server.listen", "admin.listen=\"127.0.0.1:0\""), ("admin.listen", "server.listen=[\"127.0.0.1:0\"]")]
    {
        let value = if key == "admin.listen" { format!("\"{address}\"") } else { format!("[\"{address}\"]") };
        let ended = place.run(&["--set", &format!("{key}={value}"), "--set", other]);
        let expected = format!(
            "cannot listen on {address}: it is taken already; stop the program that listens there, or change {key} in the configuration\n"
        );
        assert_eq!((ended.code, ended.stderr, ended.stdout), (Some(69), expected, String::new()));
    }
}

fn a_state_folder_belongs_to_one_daemon() {
    let daemon = Daemon::start(BROADCASTER);
    let ended = process::run(daemon.folder.path(), &[], &[]);
    assert_eq!(ended.code, Some(77));
    let state = daemon.folder.path().join(".local/state/broadcastd");
    let expected = format!(
        "another broadcastd uses {}; stop it, or give this one a folder of its own by STATE_DIRECTORY\n",
        state.display()
    );
    assert_eq!(ended.stderr, expected);
    let below_a_file = daemon.folder.path().join("config.toml/state");
    let ended = process::run(daemon.folder.path(), &[], &[("STATE_DIRECTORY", below_a_file.to_str().unwrap())]);
    assert_eq!(ended.code, Some(77));
    assert!(
        ended.stderr.starts_with(&format!("cannot make the folder {}: ", below_a_file.display())),
        "{}",
        ended.stderr
    );
}

/// Where the note's owner stands in a library, behind the three numbers that every ELF note begins with.
pub fn note_of(library: &[u8]) -> usize {
    let owner = [NOTE_OWNER.as_bytes(), b"\0"].concat();
    let length = u32::try_from(owner.len()).unwrap().to_le_bytes();
    let is_note = |at: &usize| library[*at..].starts_with(&owner) && library[at - 12..].starts_with(&length);
    (12..library.len()).find(is_note).expect("the library has a note")
}

/// Compares with `golden/process/NAME.txt`; `UPDATE_GOLDEN=1` writes it.
pub fn golden(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/process/{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{name} reads otherwise now; UPDATE_GOLDEN=1 rewrites it\n{text}");
}
