//! Files that are laid over the configuration file: they come, change, break and go while the daemon runs, and every value
//! and every mistake names the one that it is from.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::needs;
use crate::process::{self, Daemon, Ended, PORTS};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(files_of_the_folder_are_taken_while_the_daemon_runs),
        needs::nothing(a_mistake_in_the_folder_names_its_file_and_changes_nothing),
        needs::nothing(the_folder_may_go_and_come_and_be_swapped),
        needs::nothing(a_plan_of_another_file_keeps_the_folder),
        needs::nothing(each_value_names_the_file_it_is_from),
        needs::nothing(check_tells_every_mistake_of_every_file),
        needs::nothing(another_file_has_another_folder),
        needs::program("setpriv", a_file_that_may_no_longer_be_read_is_told_and_taken_when_it_may),
    ]
}

const BASE: &str = "[streams.base]\nvisible = true\n";

/// A daemon with a folder beside its file.
struct Place {
    daemon: Daemon,
    folder: PathBuf,
}

impl Place {
    fn new() -> Self {
        Self::of(Daemon::start(BASE))
    }

    fn of(daemon: Daemon) -> Self {
        let folder = daemon.folder.path().join("config.d");
        Self { daemon, folder }
    }

    fn has(&self, stream: &str) -> bool {
        self.daemon.publish(stream, &json!({"type": "tick", "data": {}})).status == 202
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        write(&self.folder, name, text);
    }

    /// How many reloads were applied.
    fn applied(&self) -> f64 {
        self.daemon.metric(r#"broadcastd_config_reloads_total{outcome="applied"}"#).unwrap_or_default()
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(name), text).unwrap();
}

fn stream(name: &str) -> String {
    format!("[streams.{name}]\n")
}

fn files_of_the_folder_are_taken_while_the_daemon_runs() {
    let place = Place::new();
    place.daemon.reload(|| place.write("10-a.toml", &stream("a")));
    assert!(place.has("base") && place.has("a"));
    place.daemon.reload(|| fs::write(place.path("10-a.toml"), stream("changed")).unwrap());
    assert!(place.has("changed") && !place.has("a"));
    for left in ["20-b.toml~", ".20-b.toml", "20-b.toml.dpkg-new", "4913", ".#20-b.toml"] {
        place.write(left, "[");
    }
    place.daemon.reload(|| {
        fs::write(place.path("new"), stream("b")).unwrap();
        fs::rename(place.path("new"), place.path("20-b.toml")).unwrap();
    });
    assert!(place.has("changed") && place.has("b"));
    assert_eq!(place.applied(), 4.0, "the start and three files: what editors leave was never read");
    place.daemon.reload(|| fs::remove_file(place.path("10-a.toml")).unwrap());
    assert!(place.has("b") && !place.has("changed"));
    place.daemon.reload(|| place.write("30-b.toml", "[streams.b]\nvisible = true\ntemplate = \"{x}\"\n"));
    place.daemon.reload(|| place.write("40-b.toml", "[streams.b]\ntemplate = \"{y}\"\n"));
    let shown = process::run(place.daemon.folder.path(), &["config", "show", "--origin"], &[]).stdout;
    let of_b = shown.split_once("[streams.b]").unwrap().1;
    let line =
        |key: &str| of_b.lines().find(|line| line.starts_with(key)).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(line("template").join(" "), "template = \"{y}\" # config.d/40-b.toml:2");
    assert_eq!(line("visible").join(" "), "visible = true # config.d/30-b.toml:2");
}

fn a_mistake_in_the_folder_names_its_file_and_changes_nothing() {
    let place = Place::new();
    place.daemon.reload(|| place.write("10-a.toml", &stream("a")));
    let told = place.daemon.refuse(|| place.write("20-b.toml", "[streams.b]\nvisble = true\n"));
    assert!(told.contains("--> config.d/20-b.toml:2:1\n"), "{told}");
    assert!(place.has("a") && !place.has("b"));
    let (status, reasons) = place.daemon.readiness();
    assert_eq!((status, &*reasons[0]), (200, "the last reload was refused: unknown key `streams.b.visble`"));
    // A half-written file is waited for, and told when it stays so.
    let told = place.daemon.refuse(|| place.write("20-b.toml", "[streams.b"));
    assert!(told.contains("error[C001]: unclosed table\n --> config.d/20-b.toml:1:11\n"), "{told}");
    // What the plugin itself says has its place as well.
    let faulty =
        "[broadcasters.other]\nplugin = \"faulty\"\nsettings = { mode = \"invalid_settings\", at = \"validate\" }\n";
    let told = place.daemon.refuse(|| place.write("20-b.toml", faulty));
    assert!(told.contains("error[C013]") && told.contains("--> config.d/20-b.toml:3:"), "{told}");
    // A file that vanishes is a change as any other.
    place.daemon.reload(|| fs::remove_file(place.path("20-b.toml")).unwrap());
    assert_eq!(place.daemon.readiness(), (200, vec![]));
    assert!(place.has("a"));
}

fn the_folder_may_go_and_come_and_be_swapped() {
    let place = Place::new();
    place.daemon.reload(|| place.write("a.toml", &stream("first")));
    place.daemon.reload(|| fs::remove_dir_all(&place.folder).unwrap());
    assert!(!place.has("first"));
    let (one, two) = (place.daemon.folder.path().join("one"), place.daemon.folder.path().join("two"));
    write(&one, "a.toml", &stream("one"));
    write(&two, "b.toml", &stream("two"));
    place.daemon.reload(|| fs::rename(&one, &place.folder).unwrap());
    assert!(place.has("one"));
    place.daemon.reload(|| {
        fs::rename(&place.folder, &one).unwrap();
        symlink("two", &place.folder).unwrap();
    });
    assert!(place.has("two") && !place.has("one"));
    // As a volume is mounted into a container: hidden folders, and a link that is swapped.
    for (version, name) in [("..v1", "v1"), ("..v2", "v2")] {
        write(&two.join(version), "b.toml", &stream(name));
    }
    symlink("..v1", two.join("..data")).unwrap();
    place.daemon.reload(|| {
        symlink("..data/b.toml", two.join("new")).unwrap();
        fs::rename(two.join("new"), two.join("b.toml")).unwrap();
    });
    assert!(place.has("v1") && !place.has("two"));
    place.daemon.reload(|| {
        symlink("..v2", two.join("..tmp")).unwrap();
        fs::rename(two.join("..tmp"), two.join("..data")).unwrap();
        fs::remove_dir_all(two.join("..v1")).unwrap();
    });
    assert!(place.has("v2") && !place.has("v1"));
}

fn a_plan_of_another_file_keeps_the_folder() {
    let place = Place::new();
    place.daemon.reload(|| place.write("a.toml", "[streams.a]\n[hub]\nmax_records = 5\n"));
    let next = place.daemon.folder.path().join("next.toml");
    let plan = |text: &str| {
        fs::write(&next, format!("{PORTS}{text}")).unwrap();
        process::run(place.daemon.folder.path(), &["plan", "next.toml"], &[])
    };
    let planned = plan("[streams.other]\n[hub]\nmax_records = 7\n").stdout;
    assert!(planned.contains("stream base") && planned.contains("stream other"), "{planned}");
    assert!(!planned.contains("stream a ") && !planned.contains("max_records"), "{planned}");
    let refused = plan("[streams.a]\nvisible = 3\n[streams.b]\nvisble = 1\n");
    assert!(refused.stderr.contains("--> next.toml:6:11\n"), "{}", refused.stderr);
    assert!(refused.stderr.contains("--> next.toml:8:1\n"), "{}", refused.stderr);
}

/// Runs a command beside a file and a folder.
fn run(files: &[(&str, &str)], arguments: &[&str], env: &[(&str, &str)]) -> Ended {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("config.d")).unwrap();
    for (name, text) in files {
        fs::write(place.path().join(name), text).unwrap();
    }
    process::run(place.path(), arguments, env)
}

fn each_value_names_the_file_it_is_from() {
    let files = [
        (
            "config.toml",
            "[hub]\nmax_topics = 1\nmax_records = 2\nmax_per_ip = 3\n[broadcasters.bars]\nplugin = \"bars\"\n",
        ),
        ("config.d/10-a.toml", "[hub]\nmax_records = 3\nmax_per_ip = 4\n"),
        ("config.d/20-b.toml", "# twice\n[hub]\nmax_records = 4\n[broadcasters.bars.settings]\ninterval = \"9s\"\n"),
    ];
    let env = [("BROADCASTD_HUB__MAX_PER_IP", "5")];
    let told = run(&files, &["config", "show", "--origin", "--set", "hub.max_subscriptions=6"], &env).stdout;
    let source = |key: &str| {
        let line = told.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
        line.split_once(" # ").unwrap().1.to_owned()
    };
    assert_eq!(source("max_topics"), "config.toml:2");
    assert_eq!(source("max_records"), "config.d/20-b.toml:3");
    assert_eq!(source("interval"), "config.d/20-b.toml:5");
    assert_eq!(source("max_per_ip"), "BROADCASTD_HUB__MAX_PER_IP");
    assert_eq!(source("max_subscriptions"), "--set hub.max_subscriptions");
    assert_eq!(source("outbox"), "default");
    let told = run(&files, &["config", "show", "--format", "json"], &env).stdout;
    let all: Vec<Value> = serde_json::from_str(&told).unwrap();
    let records = all.iter().find(|one| one["key"] == "hub.max_records").unwrap();
    assert_eq!(
        records,
        &json!({"key": "hub.max_records", "value": 4, "origin": "file", "file": "config.d/20-b.toml", "line": 3})
    );
}

fn check_tells_every_mistake_of_every_file() {
    let files = [
        ("config.toml", "[hub]\nmax_topics = 0\n"),
        ("config.d/a.toml", "[hub]\nmax_record = 3\n"),
        ("config.d/b.toml", "[hub]\noutbox = \"1 elephant\"\n"),
    ];
    let env = [("BROADCASTD_HUB__MAX_PER_IP", "many")];
    let arguments = ["check", "--format", "json", "--set", "hub.max_subscriptions=0"];
    let ended = run(&files, &arguments, &env);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let place = |one: &Value| json!([one["code"], one["file"], one["line"], one["environment"], one["set"]]);
    let mut places: Vec<Value> = report["diagnostics"].as_array().unwrap().iter().map(place).collect();
    let expected = [
        json!(["C006", "config.toml", 2, null, null]),
        json!(["C002", "config.d/a.toml", 2, null, null]),
        json!(["C008", "config.d/b.toml", 2, null, null]),
        json!(["C004", null, null, "BROADCASTD_HUB__MAX_PER_IP", null]),
        json!(["C006", null, null, null, "hub.max_subscriptions"]),
    ];
    places[3..].sort_by_key(ToString::to_string);
    assert_eq!((ended.code, places), (Some(78), expected.to_vec()));
    let suggestion = &report["diagnostics"][1]["suggestion"];
    assert_eq!((&suggestion["replacement"], &suggestion["span"]), (&json!("max_records"), &json!([6, 16])));
}

fn another_file_has_another_folder() {
    let files = [("next.toml", "[streams.ticks]\n"), ("config.toml", "["), ("config.d/a.toml", "[")];
    let ended = run(&files, &["check", "--config", "next.toml"], &[]);
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "next.toml: no mistakes\n"));
}

/// As root that may not read everything, which is what the service is: root reads files of any mode otherwise.
fn daemon_without_privileges() -> Daemon {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.toml"), format!("{PORTS}{BASE}")).unwrap();
    let plain = process::command(folder.path(), &[]);
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return Daemon::start_by(plain, folder);
    }
    let mut command = Command::new("setpriv");
    command.arg("--bounding-set=-dac_override,-dac_read_search").arg(plain.get_program()).current_dir(folder.path());
    command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Daemon::start_by(command, folder)
}

fn a_file_that_may_no_longer_be_read_is_told_and_taken_when_it_may() {
    let place = Place::of(daemon_without_privileges());
    place.daemon.reload(|| place.write("a.toml", &stream("a")));
    let allow = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let file = place.daemon.folder.path().join("config.toml");
    for path in [place.path("a.toml"), file.clone()] {
        let told = place.daemon.refuse(|| allow(&path, 0o000));
        let name = path.strip_prefix(place.daemon.folder.path()).unwrap().display().to_string();
        assert!(told.contains(&format!("error[C030]: `{name}` may not be read by this user\n--> {name}\n")), "{told}");
        assert!(told.contains("give the user that runs the daemon read permission"), "{told}");
        assert!(place.has("a") && place.has("base"));
        place.daemon.reload(|| allow(&path, 0o600));
        assert_eq!(place.daemon.readiness(), (200, vec![]));
    }
    let told = place.daemon.refuse(|| allow(&place.folder, 0o000));
    assert!(told.contains("the folder `config.d` cannot be read: Permission denied"), "{told}");
    assert!(place.has("a"));
    place.daemon.reload(|| allow(&place.folder, 0o700));
    assert_eq!(place.daemon.readiness(), (200, vec![]));
}
