//! The daemon's own folders: state that outlives it, and private copies of plugins. Locked, so that two daemons never
//! share one.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The file of the control socket.
const CONTROL: &str = "control.sock";
/// The folder that systemd makes for the service (RuntimeDirectory= of the unit).
const SYSTEM_RUNTIME: &str = "/run/broadcastd";

/// The environment, handed in.
pub type Env = BTreeMap<String, String>;

#[derive(Debug)]
pub struct Folders {
    pub state: PathBuf,
    pub cache: PathBuf,
    /// Where commands of this machine reach the daemon.
    pub control: PathBuf,
    /// Held as long as the process lives; nobody who only looks holds it.
    _lock: Option<File>,
}

impl Folders {
    /// Opens systemd's folders when it names them, else private ones of the user.
    pub fn open(env: &Env) -> Result<Self, String> {
        let folders = Self::shared(env)?;
        let lock = lock(&folders.state)?;
        Ok(Self { _lock: Some(lock), ..folders })
    }

    /// The same folders for somebody who runs nothing: a daemon may use them meanwhile.
    pub fn shared(env: &Env) -> Result<Self, String> {
        let state = choose(env, "STATE_DIRECTORY", "XDG_STATE_HOME", ".local/state");
        let cache = choose(env, "CACHE_DIRECTORY", "XDG_CACHE_HOME", ".cache");
        make(&state)?;
        make(&cache)?;
        let control =
            given(env, "RUNTIME_DIRECTORY").map_or_else(|| state.clone(), |folders| first(folders)).join(CONTROL);
        Ok(Self { state, cache, control, _lock: None })
    }

    /// Where a daemon may be listening to commands: one in the same surroundings first, then the service of the system.
    pub fn controls(env: &Env) -> Vec<PathBuf> {
        let own = given(env, "RUNTIME_DIRECTORY").map(|folders| first(folders));
        let state = choose(env, "STATE_DIRECTORY", "XDG_STATE_HOME", ".local/state");
        let mut folders: Vec<PathBuf> = own.into_iter().chain([state, PathBuf::from(SYSTEM_RUNTIME)]).collect();
        folders.dedup();
        folders.iter().map(|folder| folder.join(CONTROL)).collect()
    }
}

/// A variable that says something.
fn given<'a>(env: &'a Env, name: &str) -> Option<&'a String> {
    env.get(name).filter(|value| !value.is_empty())
}

/// Systemd lists folders where a unit has several.
fn first(folders: &str) -> PathBuf {
    folders.split(':').next().unwrap_or(folders).into()
}

/// `$STATE_DIRECTORY` and its like, else `$XDG_STATE_HOME/broadcastd` and its like, else below the home.
fn choose(env: &Env, systemd: &str, xdg: &str, below_home: &str) -> PathBuf {
    if let Some(folders) = given(env, systemd) {
        return first(folders);
    }
    if let Some(base) = given(env, xdg) {
        return Path::new(base).join("broadcastd");
    }
    match given(env, "HOME") {
        Some(home) => Path::new(home).join(below_home).join("broadcastd"),
        None => {
            std::env::temp_dir().join(format!("broadcastd-{}", rustix::process::getuid().as_raw())).join(below_home)
        }
    }
}

fn make(folder: &Path) -> Result<(), String> {
    // Others may not write here: what lies in these folders is trusted and executed.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| format!("cannot make the folder {}: {error}; set HOME, STATE_DIRECTORY or CACHE_DIRECTORY to a place that may be written to", folder.display()))
}

fn lock(state: &Path) -> Result<File, String> {
    let path = state.join("lock");
    let said = |error: &dyn std::fmt::Display| format!("cannot lock {}: {error}", path.display());
    let file = fs::OpenOptions::new().create(true).append(true).open(&path).map_err(|error| said(&error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(format!(
            "another broadcastd uses {}; stop it, or give this one a folder of its own by STATE_DIRECTORY",
            state.display()
        )),
        Err(error) => Err(said(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &Path)]) -> Env {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.display().to_string())).collect()
    }

    #[test]
    fn systemd_comes_before_the_user_and_the_user_before_nobody() {
        let pick = |pairs: &[(&str, &Path)]| choose(&env(pairs), "STATE_DIRECTORY", "XDG_STATE_HOME", ".local/state");
        let (a, b, c) = (Path::new("/a"), Path::new("/b"), Path::new("/c"));
        assert_eq!(pick(&[("STATE_DIRECTORY", a), ("XDG_STATE_HOME", b), ("HOME", c)]), Path::new("/a"));
        assert_eq!(pick(&[("XDG_STATE_HOME", b), ("HOME", c)]), Path::new("/b/broadcastd"));
        assert_eq!(pick(&[("HOME", c)]), Path::new("/c/.local/state/broadcastd"));
        assert!(pick(&[]).starts_with(std::env::temp_dir()));
    }

    #[test]
    fn commands_look_where_a_daemon_listens_and_for_the_service_last() {
        let home = tempfile::tempdir().unwrap();
        let state = home.path().join("state");
        let runtime = format!("{0}/run:{0}/other", home.path().display());
        let mut env = env(&[("HOME", home.path()), ("STATE_DIRECTORY", &state)]);
        let service = Path::new("/run/broadcastd/control.sock").to_owned();
        assert_eq!(Folders::shared(&env).unwrap().control, state.join("control.sock"));
        assert_eq!(Folders::controls(&env), [state.join("control.sock"), service.clone()]);
        env.insert("RUNTIME_DIRECTORY".to_owned(), runtime);
        let own = home.path().join("run/control.sock");
        assert_eq!(Folders::shared(&env).unwrap().control, own);
        assert_eq!(Folders::controls(&env), [own, state.join("control.sock"), service]);
    }

    #[test]
    fn a_second_daemon_is_refused_until_the_first_is_gone() {
        let home = tempfile::tempdir().unwrap();
        let env = env(&[("HOME", home.path())]);
        let first = Folders::open(&env).unwrap();
        let refused = Folders::open(&env).unwrap_err();
        assert!(refused.starts_with("another broadcastd uses "), "{refused}");
        drop(first);
        Folders::open(&env).unwrap();
    }
}
