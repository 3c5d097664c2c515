//! The daemon's own folders: state that outlives it, and private copies of plugins. Locked, so that two daemons never
//! share one.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// The file of the control socket.
const CONTROL: &str = "control.sock";
/// The file that a daemon holds locked.
const LOCK: &str = "lock";
/// The folder that systemd makes for the service (RuntimeDirectory= of the unit).
const SYSTEM_RUNTIME: &str = "/run/broadcastd";
/// All that it makes: StateDirectory=, CacheDirectory= and that one.
const SYSTEM: [&str; 3] = ["/var/lib/broadcastd", "/var/cache/broadcastd", SYSTEM_RUNTIME];

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
    _scratch: Option<Scratch>,
}

/// A folder for one look, which goes with it.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Folders {
    /// Opens systemd's folders when it names them, else private ones of the user.
    pub fn open(env: &Env) -> Result<Self, String> {
        let [state, cache, runtime] = Self::places(env);
        make(&state)?;
        make(&cache)?;
        let lock = lock(&state)?;
        Ok(Self { state, cache, control: runtime.join(CONTROL), _lock: Some(lock), _scratch: None })
    }

    /// The same folders for somebody who only looks: a daemon may use them meanwhile, and none is made that would be there
    /// afterwards.
    pub fn shared(env: &Env) -> Result<Self, String> {
        let [state, cache, runtime] = Self::places(env);
        let scratch = if cache.is_dir() { None } else { Some(Scratch::new()?) };
        let cache = scratch.as_ref().map_or(cache, |scratch| scratch.0.clone());
        Ok(Self { state, cache, control: runtime.join(CONTROL), _lock: None, _scratch: scratch })
    }

    /// The folders of state, cache and control socket, whether they are there or not.
    pub fn places(env: &Env) -> [PathBuf; 3] {
        let state = choose(env, "STATE_DIRECTORY", "XDG_STATE_HOME", ".local/state");
        let cache = choose(env, "CACHE_DIRECTORY", "XDG_CACHE_HOME", ".cache");
        let runtime = given(env, "RUNTIME_DIRECTORY").map_or_else(|| state.clone(), |folders| first(folders));
        [state, cache, runtime]
    }

    /// Those of a daemon in the same surroundings, if one ever ran there, else those of the service of the system.
    pub fn in_use(env: &Env) -> [PathBuf; 3] {
        let own = Self::places(env);
        let system = SYSTEM.map(PathBuf::from);
        if !own[0].join(LOCK).exists() && system[0].exists() { system } else { own }
    }

    /// Keeps daemons away from a folder of state for as long as the file is open; `None` where one uses it already.
    pub fn hold(state: &Path) -> io::Result<Option<File>> {
        let file = fs::OpenOptions::new().create(true).append(true).open(state.join(LOCK))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
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

impl Scratch {
    fn new() -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("broadcastd-{:016x}", fastrand::u64(..)));
        // Not one that is there: somebody else may have put plugins into it.
        let made = DirBuilder::new().mode(0o700).create(&folder);
        made.map(|()| Self(folder.clone())).map_err(|error| unmade(&folder, &error))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be taken away lies where the system clears up.
        _ = fs::remove_dir_all(&self.0);
    }
}

/// Writes a file that only this user may read, so that a crash leaves the old or the new.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)?.sync_all() // or the rename may be forgotten in a power cut
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
    made.map_err(|error| unmade(folder, &error))
}

fn unmade(folder: &Path, error: &io::Error) -> String {
    let folder = folder.display();
    format!(
        "cannot make the folder {folder}: {error}; set HOME, STATE_DIRECTORY or CACHE_DIRECTORY to a place that may be written to"
    )
}

fn lock(state: &Path) -> Result<File, String> {
    match Folders::hold(state) {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err(format!(
            "another broadcastd uses {}; stop it, or give this one a folder of its own by STATE_DIRECTORY",
            state.display()
        )),
        Err(error) => Err(format!("cannot lock {}: {error}", state.join(LOCK).display())),
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
    fn who_looks_leaves_nothing_behind() {
        let home = tempfile::tempdir().unwrap();
        let env = env(&[("HOME", home.path())]);
        let looking = Folders::shared(&env).unwrap();
        let scratch = looking.cache.clone();
        assert!(scratch.is_dir() && !scratch.starts_with(home.path()));
        drop(looking);
        assert!(!scratch.exists());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
        drop(Folders::open(&env).unwrap());
        assert!(Folders::shared(&env).unwrap().cache.starts_with(home.path()), "the daemon's own, where there is one");
    }

    #[test]
    fn a_folder_in_which_no_daemon_ran_is_in_nobodys_use() {
        let home = tempfile::tempdir().unwrap();
        let env = env(&[("HOME", home.path())]);
        let own = Folders::places(&env);
        fs::create_dir_all(&own[0]).unwrap();
        let expected = if Path::new(SYSTEM[0]).exists() { SYSTEM.map(PathBuf::from) } else { own.clone() };
        assert_eq!(Folders::in_use(&env), expected);
        drop(Folders::open(&env).unwrap());
        assert_eq!(Folders::in_use(&env), own);
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
