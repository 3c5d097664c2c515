//! The last configuration that took effect: kept for each configuration file, and what a start falls back on when the file
//! is refused.
//!
//! What is kept are the bytes of the files. The environment and `--set` are those of the process that starts, so that a
//! secret in them is never written down.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{App, reload};
use crate::config::diagnostic::Diagnostics;
use crate::config::files::LARGEST;
use crate::config::{Config, Layers, Loaded, Paint, Source};
use crate::event::unix_now;
use crate::folders::{self, Env, Folders};
use crate::metrics;

/// The largest file that is read: the largest configuration, each byte of which JSON may write with six.
const MAX_FILE: u64 = 6 * LARGEST + 64 * 1024;

/// Where the last good configuration of one file is kept.
pub struct LastGood {
    path: PathBuf,
}

/// What is kept: for whoever looks at it, also of which file.
#[derive(Serialize, Deserialize)]
struct Kept {
    config: PathBuf,
    layers: Layers,
}

impl LastGood {
    /// In the state folder that this environment names.
    pub fn of(file: &Path, env: &Env) -> Self {
        let [state, ..] = Folders::places(env);
        let whole = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let hash = Sha256::digest(whole.as_os_str().as_encoded_bytes());
        // Eight bytes tell the configuration files of one machine apart.
        let mut name = "last-good-".to_owned();
        hash[..8].iter().for_each(|byte| write!(name, "{byte:02x}").expect("writing into a string cannot fail"));
        Self { path: state.join(name + ".json") }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn keep(&self, file: &Path, layers: &Layers) -> io::Result<()> {
        let kept = Kept { config: std::path::absolute(file)?, layers: layers.clone() };
        folders::write_private(&self.path, &serde_json::to_vec(&kept)?)
    }

    /// The configuration, if one was kept, under the present environment; or why it is of no use.
    pub fn load(&self, source: &Source) -> Result<Option<Loaded>, String> {
        let mut bytes = Vec::new();
        match File::open(&self.path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{} cannot be read: {error}", self.path.display())),
            Ok(_) => {}
        }
        let kept: Kept = serde_json::from_slice(&bytes)
            .map_err(|error| format!("{} is damaged: {error}; remove it", self.path.display()))?;
        let loaded = Config::from_layers(source, named(kept.layers));
        loaded.map(Some).map_err(|report| report.render(Paint::Plain, "nothing runs"))
    }
}

impl App {
    /// The daemon runs, and says with what: with its file, or with the last good configuration in place of one that was
    /// refused.
    pub fn begun(&self, refused: Option<&Diagnostics>) {
        let Some(report) = refused else {
            metrics::reload_succeeded(unix_now() as f64 / 1e9);
            self.keep();
            return self.around.systemd.status("running");
        };
        metrics::reload_refused();
        metrics::last_good_runs();
        self.house.set_stand_in(reload::first_message(report));
        let text = report.render(Paint::Plain, "the last good configuration runs");
        tracing::error!("the configuration was refused, and the last good one runs in its place\n{text}");
        self.diary.reload_refused(report);
        self.around.systemd.status("runs with the last good configuration: the file was refused");
    }

    /// What runs is good from now on.
    pub(super) fn keep(&self) {
        let Some(file) = &self.around.file else { return };
        let last_good = LastGood::of(file, &self.around.source.env);
        if let Err(error) = last_good.keep(file, self.taken.document.layers()) {
            let path = last_good.path().display();
            tracing::warn!(%error, "the configuration cannot be kept in {path}: a start with a broken file would fail");
        }
    }
}

/// The same files under names that nobody takes for those that are there now.
fn named(mut layers: Layers) -> Layers {
    let all = [&mut layers.file].into_iter().chain(&mut layers.folder);
    all.for_each(|layer| layer.name.push_str(" (last good)"));
    layers
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::layers::Layer;

    fn layers() -> Layers {
        let above = Layer { name: "config.d/a.toml".to_owned(), text: "[hub]\nmax_topics = 7\n".to_owned() };
        Layers { folder: vec![above], ..Layers::of("config.toml", "[hub]\nmax_topics = 1\nmax_records = 2\n") }
    }

    fn state() -> (tempfile::TempDir, Env) {
        let state = tempfile::tempdir().unwrap();
        let env = Env::from([("STATE_DIRECTORY".to_owned(), state.path().display().to_string())]);
        (state, env)
    }

    #[test]
    fn what_is_kept_is_found_under_its_file_and_for_nobody_else() {
        let (state, env) = state();
        let file = Path::new("/etc/broadcastd/config.toml");
        let last_good = LastGood::of(file, &env);
        let source = Source { path: file.to_owned(), ..Source::default() };
        assert!(last_good.load(&source).unwrap().is_none());
        last_good.keep(file, &Layers::of("config.toml", "")).unwrap();
        last_good.keep(file, &layers()).unwrap();
        let hub = last_good.load(&source).unwrap().unwrap().config.hub;
        assert_eq!((hub.max_topics, hub.max_records), (7, 2));
        assert!(LastGood::of(Path::new("/etc/other.toml"), &env).load(&source).unwrap().is_none());
        let mode = fs::metadata(last_good.path()).unwrap().permissions().mode();
        assert_eq!((mode & 0o777, fs::read_dir(state.path()).unwrap().count()), (0o600, 1), "nothing else is left");
    }

    #[test]
    fn the_environment_is_that_of_the_start() {
        let (_state, env) = state();
        let last_good = LastGood::of(Path::new("config.toml"), &env);
        last_good.keep(Path::new("config.toml"), &layers()).unwrap();
        let with = |value: &str| {
            let env = [("BROADCASTD_HUB__MAX_RECORDS".to_owned(), value.to_owned())].into();
            last_good.load(&Source { path: "config.toml".into(), env, sets: Vec::new() })
        };
        assert_eq!(with("9").unwrap().unwrap().config.hub.max_records, 9);
        let why = with("many").unwrap_err();
        assert!(why.contains("this overrides config.toml (last good):3 (2)"), "{why}");
    }

    #[test]
    fn one_that_is_cut_short_says_so() {
        let (_state, env) = state();
        let last_good = LastGood::of(Path::new("config.toml"), &env);
        last_good.keep(Path::new("config.toml"), &layers()).unwrap();
        let whole = fs::read(last_good.path()).unwrap();
        fs::write(last_good.path(), &whole[..whole.len() - 1]).unwrap();
        let why = last_good.load(&Source::default()).unwrap_err();
        assert!(why.contains(" is damaged: ") && why.ends_with("; remove it"), "{why}");
    }

    #[test]
    fn the_largest_configuration_can_be_kept() {
        let (_state, env) = state();
        let last_good = LastGood::of(Path::new("config.toml"), &env);
        let text = "\u{1}".repeat(usize::try_from(LARGEST).unwrap()); // the longest in JSON, and no TOML
        last_good.keep(Path::new("config.toml"), &Layers::of("config.toml", &text)).unwrap();
        let why = last_good.load(&Source::default()).unwrap_err();
        assert!(why.contains("error[C001]"), "it is read whole: {}", &why[..200]);
    }
}
