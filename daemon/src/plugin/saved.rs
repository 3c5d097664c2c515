//! State files: what a broadcaster saved, and up to which inputs, written so that a crash leaves the old or the new.

pub mod summary;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::file::sha256;
use super::library::MAX_STATE;
use crate::event::Position;

/// What a broadcaster continues from: its state, and the inputs that are in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// `None`: the plugin keeps none.
    pub state: Option<State>,
    /// By stream: the last input that was handled.
    pub positions: BTreeMap<String, Position>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub version: u32,
    pub bytes: Arc<[u8]>,
}

/// The folder of state files.
#[derive(Clone, Debug)]
pub struct Saved {
    dir: PathBuf,
    /// Files that were begun: each has a temporary name of its own, for a disk may hang while a successor writes.
    begun: Arc<AtomicU64>,
}

/// What a file's second line says; the first names the format and the checksum of everything behind it.
#[derive(Serialize, Deserialize)]
struct Header {
    broadcaster: String,
    plugin: String,
    state_version: Option<u32>,
    positions: BTreeMap<String, (String, u64)>,
}

/// First word of a state file, with the version of the format.
const FORMAT: &str = "broadcastd-state-1";
const OTHER_FORMAT: &str = "it is no state file of this version";
/// The largest file that is read: the largest state, and room for the lines before it with thousands of positions.
const MAX_FILE: u64 = MAX_STATE as u64 + (1 << 20);

impl Saved {
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, begun: Arc::default() }
    }

    /// Writes the file, unless it is no longer wanted when it is whole: a newer one may be there.
    pub fn write_if(
        &self,
        (broadcaster, plugin): (&str, &str),
        checkpoint: &Checkpoint,
        is_wanted: impl FnOnce() -> bool,
    ) -> io::Result<()> {
        let positions = checkpoint.positions.iter();
        let header = Header {
            broadcaster: broadcaster.to_owned(),
            plugin: plugin.to_owned(),
            state_version: checkpoint.state.as_ref().map(|state| state.version),
            positions: positions.map(|(stream, at)| (stream.clone(), (at.epoch.to_string(), at.seq))).collect(),
        };
        let mut body = serde_json::to_vec(&header)?;
        body.push(b'\n');
        body.extend_from_slice(checkpoint.state.as_ref().map_or(&[], |state| &state.bytes));
        fs::create_dir_all(&self.dir)?;
        let path = self.path(broadcaster);
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_extension(format!("state.{number}.tmp"));
        let written = write_file(&temporary, &body);
        if written.is_err() || !is_wanted() {
            let _not_there_is_as_well = fs::remove_file(&temporary);
            return written;
        }
        fs::rename(&temporary, &path)?;
        self.clear(broadcaster);
        File::open(&self.dir)?.sync_all() // or the rename may be forgotten in a power cut
    }

    /// Takes away what others began and did not finish. Nobody else who writes this file counts any more.
    fn clear(&self, broadcaster: &str) {
        let is_unfinished = |name: &str| {
            let rest = name.strip_prefix(broadcaster).and_then(|rest| rest.strip_prefix(".state."));
            rest.is_some_and(|rest| rest.ends_with("tmp"))
        };
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(is_unfinished) {
                let _the_next_write_tries_again = fs::remove_file(entry.path());
            }
        }
    }

    /// What was saved, if anything, or why that is of no use.
    pub fn read(&self, broadcaster: &str, plugin: &str) -> Result<Option<Checkpoint>, String> {
        let bytes = match read_file(&self.path(broadcaster)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(|error| format!("it cannot be read: {error}")),
        };
        bytes.and_then(|bytes| parse(&bytes, (broadcaster, plugin))).map(Some)
    }

    /// Moves a file that is of no use out of the way, for somebody to look at, and says what to tell the operator.
    pub fn set_aside(&self, broadcaster: &str, reason: &str) -> String {
        let path = self.path(broadcaster);
        let aside = path.with_extension("state.bad");
        let kept = match fs::rename(&path, &aside) {
            Ok(()) => format!("it is kept as {}", aside.display()),
            Err(error) => format!("{} cannot be moved aside: {error}", path.display()),
        };
        format!("saved state is of no use and it starts empty: {reason}; {kept}")
    }

    fn path(&self, broadcaster: &str) -> PathBuf {
        self.dir.join(Path::new(broadcaster).with_extension("state"))
    }
}

fn write_file(path: &Path, body: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(format!("{FORMAT} {}\n", sha256(body)).as_bytes())?;
    file.write_all(body)?;
    file.sync_all()
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(bytes: &[u8], (broadcaster, plugin): (&str, &str)) -> Result<Checkpoint, String> {
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("it has more than {} MiB, and no state is so large", MAX_FILE >> 20));
    }
    let cut = || "it is damaged or cut short".to_owned();
    let (first, body) = split_line(bytes).ok_or_else(cut)?;
    let checksum = first.strip_prefix(FORMAT.as_bytes()).ok_or(OTHER_FORMAT)?;
    if sha256(body).as_bytes() != checksum.trim_ascii() {
        return Err(cut());
    }
    let (header, state) = split_line(body).ok_or_else(cut)?;
    let header: Header = serde_json::from_slice(header).map_err(|error| format!("its header is wrong: {error}"))?;
    if header.broadcaster != broadcaster {
        return Err(format!("it was saved by broadcaster \"{}\", and this is \"{broadcaster}\"", header.broadcaster));
    }
    if state.len() > MAX_STATE {
        return Err(format!("its state has {} bytes; at most {MAX_STATE} are kept", state.len()));
    }
    if header.plugin != plugin {
        return Err(format!("it was saved by plugin \"{}\", and \"{plugin}\" runs now", header.plugin));
    }
    let positions = header.positions.into_iter();
    Ok(Checkpoint {
        state: header.state_version.map(|version| State { version, bytes: state.into() }),
        positions: positions.map(|(stream, (epoch, seq))| (stream, Position { epoch: epoch.into(), seq })).collect(),
    })
}

fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Saved {
        fn write(&self, broadcaster: &str, plugin: &str, checkpoint: &Checkpoint) -> io::Result<()> {
            self.write_if((broadcaster, plugin), checkpoint, || true)
        }
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            state: Some(State { version: 3, bytes: (*b"line\nline\0").into() }),
            positions: BTreeMap::from([("ticks".to_owned(), Position { epoch: "e1".into(), seq: 42 })]),
        }
    }

    /// A folder with the file of the broadcaster `bars`.
    fn folder() -> (tempfile::TempDir, Saved, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let saved = Saved::new(dir.path().to_owned());
        saved.write("bars", "bars", &checkpoint()).unwrap();
        let path = dir.path().join("bars.state");
        (dir, saved, path)
    }

    /// Why the file is of no use for the broadcaster `bars`.
    fn refusal(saved: &Saved) -> String {
        saved.read("bars", "bars").unwrap_err()
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let saved = Saved::new(dir.path().join("state"));
        assert_eq!(saved.read("bars", "bars"), Ok(None));
        for checkpoint in [checkpoint(), Checkpoint::default()] {
            saved.write("bars", "bars", &checkpoint).unwrap();
            assert_eq!(saved.read("bars", "bars"), Ok(Some(checkpoint)));
        }
        assert_eq!(fs::read_dir(dir.path().join("state")).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_write_that_was_cut_short_leaves_the_old_file() {
        let (dir, saved, path) = folder();
        let whole = fs::read(&path).unwrap();
        for left in ["state.tmp", "state.7.tmp"] {
            fs::write(path.with_extension(left), &whole[..whole.len() / 2]).unwrap();
        }
        assert_eq!(saved.read("bars", "bars"), Ok(Some(checkpoint())));
        saved.write("bars", "bars", &Checkpoint::default()).unwrap();
        assert_eq!(saved.read("bars", "bars"), Ok(Some(Checkpoint::default())));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "what was cut short is gone");
    }

    #[test]
    fn one_that_hung_neither_writes_over_nor_into_the_file_of_its_successor() {
        let (dir, saved, _path) = folder();
        let late = saved.write_if(("bars", "bars"), &checkpoint(), || {
            let begun = fs::read_dir(dir.path()).unwrap().count();
            saved.write("bars", "bars", &Checkpoint::default()).unwrap();
            assert_eq!(begun, 2, "the file, and one that is not finished");
            false
        });
        assert_eq!((late.is_ok(), saved.read("bars", "bars")), (true, Ok(Some(Checkpoint::default()))));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_file_cut_at_any_length_or_changed_anywhere_is_set_aside() {
        let (_dir, saved, path) = folder();
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(["it is damaged or cut short", OTHER_FORMAT].contains(&&*refusal(&saved)), "cut at {length}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            fs::write(&path, &changed).unwrap();
            assert!(["it is damaged or cut short", OTHER_FORMAT].contains(&&*refusal(&saved)), "changed at {at}");
        }
    }

    #[test]
    fn what_is_set_aside_is_kept_whole_and_told_with_its_place() {
        let (_dir, saved, path) = folder();
        let whole = fs::read(&path).unwrap();
        let aside = path.with_extension("state.bad");
        let told = saved.set_aside("bars", "why");
        assert_eq!(
            told,
            format!("saved state is of no use and it starts empty: why; it is kept as {}", aside.display())
        );
        assert_eq!((path.exists(), fs::read(&aside).unwrap()), (false, whole));
        let told = saved.set_aside("bars", "why");
        assert!(told.contains("bars.state cannot be moved aside: No such file"), "{told}");
    }

    #[test]
    fn a_foreign_file_is_not_used() {
        let (dir, saved, path) = folder();
        saved.write("bars", "spc", &checkpoint()).unwrap();
        assert_eq!(refusal(&saved), "it was saved by plugin \"spc\", and \"bars\" runs now");
        saved.write("other", "bars", &checkpoint()).unwrap();
        fs::rename(dir.path().join("other.state"), &path).unwrap();
        assert_eq!(refusal(&saved), "it was saved by broadcaster \"other\", and this is \"bars\"");
        let whole = |header: &str| format!("{FORMAT} {}\n{header}\n", sha256(format!("{header}\n").as_bytes()));
        fs::write(&path, whole("{\"plugin\": \"bars\"}")).unwrap();
        assert!(refusal(&saved).starts_with("its header is wrong: missing field `broadcaster`"));
        let later = whole("{}").replace(FORMAT, "broadcastd-state-2");
        fs::write(&path, later).unwrap();
        assert_eq!(refusal(&saved), OTHER_FORMAT);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(refusal(&saved).starts_with("it cannot be read: Is a directory"));
    }

    #[test]
    fn the_size_is_bounded_at_its_edge() {
        let (_dir, saved, path) = folder();
        let of = |size: usize| Checkpoint {
            state: Some(State { version: 1, bytes: vec![7; size].into() }),
            ..Checkpoint::default()
        };
        saved.write("bars", "bars", &of(MAX_STATE)).unwrap();
        assert_eq!(saved.read("bars", "bars"), Ok(Some(of(MAX_STATE))));
        saved.write("bars", "bars", &of(MAX_STATE + 1)).unwrap();
        assert_eq!(refusal(&saved), "its state has 67108865 bytes; at most 67108864 are kept");
        let sparse = File::create(&path).unwrap();
        sparse.set_len(MAX_FILE).unwrap();
        assert_eq!(refusal(&saved), "it is damaged or cut short");
        let sparse = File::create(&path).unwrap();
        sparse.set_len(MAX_FILE * 1000).unwrap(); // far more than is read
        assert_eq!(refusal(&saved), "it has more than 65 MiB, and no state is so large");
    }
}
