//! docs/plugins.md as it is pasted: a plugin is written, built, tested, run and heard by a client of a real daemon.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::house::hear_json;
use crate::process::Daemon;
use crate::tidy::tree;

/// The lines of the block that is marked so.
fn lines(mark: &str) -> Vec<String> {
    let page = fs::read_to_string(tree::root().join("docs/plugins.md")).unwrap();
    let block = page.split_once(&format!("```sh {mark}\n")).unwrap().1.split_once("```").unwrap().0;
    block.lines().map(str::to_owned).collect()
}

/// A terminal in which lines are pasted one by one.
struct Terminal {
    home: TempDir,
    folder: PathBuf,
}

impl Terminal {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("bin")).unwrap();
        symlink(env!("CARGO_BIN_EXE_broadcastd"), home.path().join("bin/broadcastd")).unwrap();
        let folder = home.path().join("work");
        fs::create_dir(&folder).unwrap();
        Self { home, folder }
    }

    /// What the line prints; it must succeed.
    fn paste(&mut self, line: &str) -> String {
        if let Some(folder) = line.strip_prefix("cd ") {
            self.folder.push(folder);
            assert!(self.folder.is_dir(), "{line}");
            return String::new();
        }
        let path = format!("{}:{}", self.home.path().join("bin").display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(&self.folder).env("PATH", path);
        // The crates are here already, and their own home is left alone.
        shell.env("CARGO_NET_OFFLINE", "true").env("STATE_DIRECTORY", self.home.path().join("state"));
        shell.env("CACHE_DIRECTORY", self.home.path().join("cache")).env_remove("CARGO_TARGET_DIR");
        let output = shell.output().unwrap();
        let (out, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success(), "{line}: {:?}\n{out}\n{errors}", output.status);
        out
    }

    /// Pastes all, and gives what each printed.
    fn paste_all(&mut self, mark: &str, after_new: impl Fn(&Path)) -> Vec<String> {
        let lines = lines(mark);
        assert!(lines.len() >= 6, "{lines:?}");
        let mut told = Vec::new();
        for line in lines {
            told.push(self.paste(&line));
            if line.starts_with("cd ") {
                after_new(&self.folder);
            }
        }
        told
    }

    /// A client of a daemon with this plugin hears its event.
    fn is_heard(&self, plugin: &str, dirs: &str, check: impl Fn(&Value) -> bool) {
        let config = fs::read_to_string(self.folder.join("config.toml")).unwrap();
        let here = self.folder.join(dirs).canonicalize().unwrap();
        let with_dirs =
            config.replace(&format!("dirs = [\"{dirs}\"]"), &format!("dirs = [{:?}]", here.display().to_string()));
        assert_ne!(config, with_dirs, "the folder of the plugin is named otherwise now");
        let daemon = Daemon::start(&with_dirs);
        let mut client = daemon.subscriber(plugin);
        let event = hear_json(&mut client);
        assert!(check(&event["data"]), "{event}");
    }
}

/// One event at least among the lines that it printed, of this kind.
fn has_event(told: &[String], kind: &str) -> bool {
    let lines = told.iter().flat_map(|text| text.lines());
    lines.filter_map(|line| serde_json::from_str::<Value>(line).ok()).any(|event| event["type"] == kind)
}

pub fn the_first_plugin_in_rust_is_made_as_the_page_shows_and_heard() {
    let mut terminal = Terminal::new();
    let told = terminal.paste_all("rust", |project| {
        // Built once for all runs of this test, and of the crates that are here.
        let target = tree::root().join("target/first-plugin");
        fs::create_dir_all(&target).unwrap();
        symlink(target, project.join("target")).unwrap();
        fs::copy(tree::root().join("Cargo.lock"), project.join("Cargo.lock")).unwrap();
    });
    assert!(told.iter().any(|text| text.contains("test result: ok. 2 passed")), "{told:?}");
    assert!(told.iter().any(|text| text.contains("this daemon would load it: plugin = \"weather\"")), "{told:?}");
    assert!(told.iter().any(|text| text.contains("17 passed, 0 failed, 1 not applicable")), "{told:?}");
    assert!(has_event(&told, "greeting"), "{told:?}");
    terminal.is_heard("weather", "target/release", |data| data["text"] == "good morning" && data["count"].is_u64());
    // What `new` says is done next is what the page shows.
    for line in told[0].lines().skip_while(|line| *line != "next:").skip(1).filter(|line| !line.contains("--config")) {
        let page = lines("rust");
        assert!(page.iter().any(|shown| shown.ends_with(line.trim())), "{line}");
    }
}

pub fn the_first_plugin_in_c_is_made_as_the_page_shows_and_heard() {
    let mut terminal = Terminal::new();
    let told = terminal.paste_all("c", |_| {});
    assert!(told.iter().any(|text| text.contains("16 passed, 0 failed, 2 not applicable")), "{told:?}");
    assert!(has_event(&told, "count"), "{told:?}");
    terminal.is_heard("counter", ".", |data| data["count"].is_u64());
    let strict = "cc -std=c99 -Wall -Wextra -Werror -pedantic -shared -fPIC -o strict.so counter.c";
    assert_eq!(terminal.paste(strict), "");
}
