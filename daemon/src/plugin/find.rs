//! Where the file of a plugin is: `plugin = "bars"` means the first `libbars.so` in a few folders.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::note::Unusable;

/// A plugin's name further away than this is no suggestion.
const NEAR: f64 = 0.75;

/// The folders that are searched, in this order.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// `plugins.dirs` of the configuration.
    pub dirs: Vec<PathBuf>,
    /// The folders of `$BROADCASTD_PLUGIN_PATH`.
    pub path_variable: Vec<PathBuf>,
    /// Where the daemon's own file lies; plugins lie beside it in a source tree, in `../lib` when installed.
    pub executable_dir: Option<PathBuf>,
}

impl Places {
    pub fn find(&self, plugin: &str) -> Result<PathBuf, Unusable> {
        if !is_name(plugin) {
            return Err(Unusable::new(format!(
                "\"{}\" is no plugin's name (a-z, 0-9, _, -); write plugin = \"bars\" and put its folder into plugins.dirs",
                plugin.escape_debug()
            )));
        }
        let file = file_name(plugin);
        let found = self.all().into_iter().map(|dir| dir.join(&file)).find(|path| path.exists());
        found.ok_or_else(|| self.not_found(plugin))
    }

    /// Every file that `find` could answer, whatever it holds: plugin and path, in the order of the search. Of several
    /// with one name the first is found.
    pub fn files(&self) -> Vec<(String, PathBuf)> {
        let mut files = Vec::new();
        for dir in self.all() {
            let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
            let names: BTreeSet<String> =
                entries.filter_map(|entry| plugin_name(&entry.file_name().to_string_lossy())).collect();
            let paths = names.into_iter().map(|name| (dir.join(file_name(&name)), name));
            files.extend(paths.filter(|(path, _)| path.exists()).map(|(path, name)| (name, path)));
        }
        files
    }

    /// Names of all plugins that could be found, whatever their files hold.
    pub fn names(&self) -> BTreeSet<String> {
        self.files().into_iter().map(|(name, _)| name).collect()
    }

    /// The folders, in the order of the search.
    pub fn all(&self) -> Vec<PathBuf> {
        let beside = self.executable_dir.iter().flat_map(|dir| [dir.clone(), dir.join("../lib/broadcastd/plugins")]);
        self.dirs.iter().chain(&self.path_variable).cloned().chain(beside).collect()
    }

    fn not_found(&self, plugin: &str) -> Unusable {
        let places: Vec<String> = self.all().iter().map(|dir| dir.display().to_string()).collect();
        let names = self.names();
        let mut near: Vec<(f64, &String)> = names
            .iter()
            .map(|name| (strsim::jaro_winkler(plugin, name), name))
            .filter(|(score, _)| *score > NEAR)
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        let suggestion = near.first().map_or(String::new(), |(_, name)| format!("did you mean \"{name}\"? else "));
        let get = if self.is_built_here() { "run `cargo build` at the top of the workspace" } else { "copy it there" };
        Unusable::new(format!(
            "no lib{plugin}.so in {}; {suggestion}{get}, or name its folder in plugins.dirs",
            if places.is_empty() { "any place".to_owned() } else { places.join(", ") }
        ))
    }

    /// Whether the daemon lies where cargo puts what it builds; on a machine that only runs it, there is nothing to build.
    fn is_built_here(&self) -> bool {
        self.executable_dir.iter().any(|dir| dir.iter().any(|part| part == "target"))
    }
}

/// What `plugin = "…"` may say.
pub fn is_name(plugin: &str) -> bool {
    let may_be = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !plugin.is_empty() && plugin.bytes().all(may_be)
}

/// How the file of a plugin is called.
pub fn file_name(plugin: &str) -> String {
    format!("lib{plugin}.so")
}

fn plugin_name(file: &str) -> Option<String> {
    let name = file.strip_prefix("lib")?.strip_suffix(".so")?;
    is_name(name).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(files: &[&str]) -> (tempfile::TempDir, Places) {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let place = |name: &str| dir.path().join(name);
        let places =
            Places { dirs: vec![place("dirs")], path_variable: vec![place("var")], executable_dir: Some(place("bin")) };
        (dir, places)
    }

    #[test]
    fn places_are_searched_in_their_order() {
        let all = ["dirs/liba.so", "var/liba.so", "bin/liba.so", "lib/broadcastd/plugins/liba.so"];
        for first in 0..all.len() {
            let (dir, places) = places(&all[first..]);
            fs::create_dir_all(dir.path().join("bin")).unwrap(); // `bin/..` needs a `bin`
            let found = places.find("a").unwrap().canonicalize().unwrap();
            assert_eq!(found, dir.path().join(all[first]).canonicalize().unwrap());
        }
    }

    #[test]
    fn of_the_files_of_a_name_the_first_is_found() {
        let all = ["var/liba.so", "dirs/libb.so", "dirs/liba.so", "lib/broadcastd/plugins/libb.so", "bin/libc.so.1"];
        let (dir, places) = places(&all);
        fs::create_dir_all(dir.path().join("bin")).unwrap();
        std::os::unix::fs::symlink("gone.so", dir.path().join("dirs/libd.so")).unwrap();
        let files = places.files();
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b", "a", "b"]);
        for name in places.names() {
            let first = files.iter().find(|(found, _)| *found == name).unwrap();
            assert_eq!(places.find(&name).as_ref(), Ok(&first.1));
        }
        assert!(places.find("d").is_err(), "a link that leads nowhere is none of them");
    }

    #[test]
    fn a_missing_plugin_is_answered_with_places_a_near_name_and_a_command() {
        let (dir, places) = places(&["dirs/libbars.so", "var/libspc.so"]);
        let error = places.find("brs").unwrap_err().to_string();
        let at = dir.path().display();
        assert_eq!(
            error,
            format!(
                "no libbrs.so in {at}/dirs, {at}/var, {at}/bin, {at}/bin/../lib/broadcastd/plugins; did you mean \
                 \"bars\"? else copy it there, or name its folder in plugins.dirs"
            )
        );
        let built = Places { executable_dir: Some(dir.path().join("target/debug")), ..places.clone() };
        let error = built.find("brs").unwrap_err().to_string();
        assert!(error.contains("else run `cargo build` at the top of the workspace, or name"), "{error}");
        assert!(!places.find("zebra").unwrap_err().to_string().contains("did you mean"));
    }

    #[test]
    fn a_path_is_no_name() {
        let (_dir, places) = places(&[]);
        for name in ["../bars", "/usr/lib/libbars.so", "", "bars.so"] {
            assert!(places.find(name).unwrap_err().to_string().contains("is no plugin's name"), "{name}");
        }
    }
}
