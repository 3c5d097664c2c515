//! What lies in the folder of state files, for somebody who runs no broadcaster.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{FORMAT, Header, OTHER_FORMAT};

/// The most that is read of a file: its first line, and a header with thousands of positions.
const MAX_HEAD: u64 = 1 << 20;

/// One file, by what its head says; whether the rest is whole is found out when it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub broadcaster: String,
    pub bytes: u64,
    pub modified: Option<SystemTime>,
    /// The plugin that saved it and the version of its state, if there is one; or why nobody can tell.
    pub head: Result<(String, Option<u32>), String>,
}

/// All files of the folder, by their names.
pub fn list(dir: &Path) -> io::Result<Vec<Summary>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(broadcaster) = name.to_str().and_then(|name| name.strip_suffix(".state")) else { continue };
        let metadata = entry.metadata()?;
        found.push(Summary {
            broadcaster: broadcaster.to_owned(),
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            head: head(&entry.path()),
        });
    }
    found.sort_by(|a, b| a.broadcaster.cmp(&b.broadcaster));
    Ok(found)
}

/// Moves a broadcaster's file to a name where nobody looks for it, and says which; `None`: there is no file.
pub fn put_aside(dir: &Path, broadcaster: &str) -> io::Result<Option<PathBuf>> {
    let path = dir.join(format!("{broadcaster}.state"));
    let names = (1..).map(|number| dir.join(format!("{broadcaster}.state.reset-{number}")));
    let Some(aside) = names.into_iter().find(|aside| !aside.exists()) else { return Ok(None) };
    match fs::rename(path, &aside) {
        Ok(()) => Ok(Some(aside)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn head(path: &Path) -> Result<(String, Option<u32>), String> {
    let unreadable = |error: io::Error| format!("it cannot be read: {error}");
    let mut lines = BufReader::new(File::open(path).map_err(unreadable)?.take(MAX_HEAD));
    let (mut format, mut header) = (Vec::new(), Vec::new());
    lines.read_until(b'\n', &mut format).map_err(unreadable)?;
    if !format.starts_with(FORMAT.as_bytes()) {
        return Err(OTHER_FORMAT.to_owned());
    }
    lines.read_until(b'\n', &mut header).map_err(unreadable)?;
    let header: Header = serde_json::from_slice(&header).map_err(|error| format!("its header is wrong: {error}"))?;
    Ok((header.plugin, header.state_version))
}

#[cfg(test)]
mod tests {
    use super::super::{Checkpoint, Saved, State};
    use super::*;

    #[test]
    fn each_file_is_told_by_its_head_and_moved_to_a_name_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let saved = Saved::new(dir.path().to_owned());
        let state = Some(State { version: 3, bytes: (*b"1234").into() });
        let checkpoint = Checkpoint { state, ..Checkpoint::default() };
        saved.write_if(("b", "bars"), &checkpoint, || true).unwrap();
        saved.write_if(("a", "spc"), &Checkpoint::default(), || true).unwrap();
        fs::write(dir.path().join("c.state"), "something else").unwrap();
        fs::write(dir.path().join("c.state.bad"), "not of interest").unwrap();
        let told: Vec<_> = list(dir.path()).unwrap().into_iter().map(|one| (one.broadcaster, one.head)).collect();
        let of = |plugin: &str, version| Ok((plugin.to_owned(), version));
        let expected = [("a", of("spc", None)), ("b", of("bars", Some(3))), ("c", Err(OTHER_FORMAT.to_owned()))];
        assert_eq!(told, expected.map(|(name, head)| (name.to_owned(), head)));
        for number in 1..=2 {
            saved.write_if(("b", "bars"), &checkpoint, || true).unwrap();
            let whole = fs::read(dir.path().join("b.state")).unwrap();
            let aside = dir.path().join(format!("b.state.reset-{number}"));
            assert_eq!(put_aside(dir.path(), "b").unwrap(), Some(aside.clone()));
            assert_eq!(fs::read(aside).unwrap(), whole);
        }
        assert_eq!(put_aside(dir.path(), "b").unwrap(), None, "nothing is there any more");
    }
}
