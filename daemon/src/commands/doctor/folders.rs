//! The folders of the daemon, and those of plugins: there, private, and good for what lies in them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};

use super::Finding;
use crate::app::parts;
use crate::config::schema::Config;
use crate::folders::{Env, Folders};

/// Whoever is neither the owner nor of the group.
const OTHERS_WRITE: u32 = 0o002;

/// State, cache and control socket.
pub fn all(env: &Env) -> Vec<Finding> {
    let [state, cache, runtime] = Folders::in_use(env);
    vec![own("state", &state), executable(own("cache", &cache), &cache, mount(&cache)), own("runtime", &runtime)]
}

/// Where plugins are looked for.
pub fn plugins(config: &Config, env: &Env) -> Vec<Finding> {
    let places = parts::places(&config.plugins, env);
    let unreadable = |dir: &&std::path::PathBuf| fs::read_dir(dir).is_err();
    if let Some(dir) = places.dirs.iter().chain(&places.path_variable).find(unreadable) {
        let why = fs::read_dir(dir).err().map_or_else(String::new, |error| format!(": {error}"));
        let advice = "mend plugins.dirs or BROADCASTD_PLUGIN_PATH, or let the daemon's user read it";
        return vec![Finding::warning("plugins", format!("{} cannot be read{why}; {advice}", dir.display()))];
    }
    let names: Vec<String> = places.names().into_iter().collect();
    vec![match names.len() {
        0 => Finding::warning("plugins", "no plugin is found anywhere; name their folder in plugins.dirs"),
        count => Finding::ok("plugins", format!("{count} found: {}", names.join(", "))),
    }]
}

/// A folder of the daemon's own.
fn own(check: &'static str, folder: &Path) -> Finding {
    let name = folder.display();
    let metadata = match fs::metadata(folder) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Finding::ok(check, format!("{name} is not there yet; the daemon makes it when it starts"));
        }
        Err(error) => {
            return Finding::fault(check, format!("{name} cannot be looked at: {error}; be root or the daemon's user"));
        }
    };
    let mode = metadata.permissions().mode() & 0o7777;
    if !metadata.is_dir() {
        return Finding::fault(check, format!("{name} is no folder; move it away"));
    }
    if mode & OTHERS_WRITE != 0 {
        let why = "and what lies there is trusted";
        return Finding::fault(
            check,
            format!("everybody may write to {name} (mode {mode:03o}), {why}; chmod o-w {name}"),
        );
    }
    if access(folder, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let advice = "the daemon's user must; ask as that user, or chown the folder";
        return Finding::warning(check, format!("you may not write to {name} (mode {mode:03o}): {advice}"));
    }
    Finding::ok(check, format!("{name} (mode {mode:03o})"))
}

/// How the file system is mounted that a folder lies in, or will.
fn mount(folder: &Path) -> StatVfsMountFlags {
    let there = folder.ancestors().find(|folder| folder.exists());
    there.and_then(|folder| statvfs(folder).ok()).map_or(StatVfsMountFlags::empty(), |mount| mount.f_flag)
}

/// Plugins are copied into the cache and run from there.
fn executable(finding: Finding, folder: &Path, mount: StatVfsMountFlags) -> Finding {
    if mount.contains(StatVfsMountFlags::NOEXEC) {
        let advice = "mount it without noexec, or set CACHE_DIRECTORY to another folder";
        let why = "plugins cannot be loaded from a file system that is mounted noexec";
        return Finding::fault("cache", format!("{}: {why}; {advice}", folder.display()));
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_folder_that_others_may_write_to_is_a_fault() {
        let dir = tempfile::tempdir().unwrap();
        let at = |mode: u32| {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            own("state", dir.path()).verdict
        };
        assert_eq!([0o700, 0o755, 0o775, 0o777].map(at), [Verdict::Ok, Verdict::Ok, Verdict::Ok, Verdict::Fault]);
        assert_eq!(own("state", &dir.path().join("none")).verdict, Verdict::Ok, "it is made");
        fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(own("state", &dir.path().join("file")).verdict, Verdict::Fault);
        assert_eq!(own("state", &dir.path().join("file/below")).verdict, Verdict::Fault);
    }

    #[test]
    fn a_cache_where_nothing_runs_is_a_fault() {
        let told = |mount| executable(Finding::ok("cache", ""), Path::new("/cache"), mount).verdict;
        assert_eq!(told(StatVfsMountFlags::NOEXEC | StatVfsMountFlags::NODEV), Verdict::Fault);
        assert_eq!(told(StatVfsMountFlags::NODEV), Verdict::Ok);
    }
}
