//! The folders of the daemon, and those of plugins: there, private, and good for what lies in them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};
use rustix::process::geteuid;

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
        let name = dir.display();
        let whose = if places.dirs.contains(dir) { "plugins.dirs" } else { "BROADCASTD_PLUGIN_PATH" };
        let advice = if dir.exists() { format!("ls -ld {name}") } else { format!("mkdir -p {name}") };
        let advice = format!("{advice}, or take it out of {whose}; then broadcastd plugin list");
        return vec![Finding::warning("plugins", format!("{name} cannot be read{why}; {advice}"))];
    }
    let names: Vec<String> = places.names().into_iter().collect();
    vec![match names.len() {
        0 => Finding::warning(
            "plugins",
            "no plugin is found anywhere; name their folder in plugins.dirs, then broadcastd plugin list",
        ),
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
            let advice = "to ask as root: sudo broadcastd doctor";
            return Finding::fault(check, format!("{name} cannot be looked at: {error}; {advice}"));
        }
    };
    let mode = metadata.permissions().mode() & 0o7777;
    if !metadata.is_dir() {
        return Finding::fault(check, format!("{name} is no folder; mv {name} {name}.old"));
    }
    if mode & OTHERS_WRITE != 0 {
        let why = "and what lies there is trusted";
        return Finding::fault(
            check,
            format!("everybody may write to {name} (mode {mode:03o}), {why}; chmod o-w {name}"),
        );
    }
    if access(folder, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        return Finding::warning(check, not_writable(folder, mode, metadata.uid()));
    }
    Finding::ok(check, format!("{name} (mode {mode:03o})"))
}

fn not_writable(folder: &Path, mode: u32, owner: u32) -> String {
    let name = folder.display();
    let told = format!("you may not write to {name} (mode {mode:03o}), and the daemon's user must");
    let own = geteuid().as_raw();
    match owner == own {
        true => format!("{told}; chmod u+rwx {name}"),
        false => format!(
            "{told}; if that is its owner: sudo -u '#{owner}' broadcastd doctor; if you are: sudo chown {own} {name}"
        ),
    }
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
    fn who_may_not_write_is_told_by_which_command_one_may() {
        let own = geteuid().as_raw();
        let (ours, others) = (not_writable(Path::new("/s"), 0o555, own), not_writable(Path::new("/s"), 0o755, own + 7));
        assert_eq!(ours, "you may not write to /s (mode 555), and the daemon's user must; chmod u+rwx /s");
        let as_owner = format!("; if that is its owner: sudo -u '#{}' broadcastd doctor; ", own + 7);
        assert!(
            others.contains(&as_owner) && others.ends_with(&format!("if you are: sudo chown {own} /s")),
            "{others}"
        );
    }

    #[test]
    fn a_cache_where_nothing_runs_is_a_fault() {
        let told = |mount| executable(Finding::ok("cache", ""), Path::new("/cache"), mount).verdict;
        assert_eq!(told(StatVfsMountFlags::NOEXEC | StatVfsMountFlags::NODEV), Verdict::Fault);
        assert_eq!(told(StatVfsMountFlags::NODEV), Verdict::Ok);
    }
}
