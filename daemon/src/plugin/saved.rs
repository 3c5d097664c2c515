//! State files: what a broadcaster saved, and up to which inputs, written so that a crash leaves the old or the new.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::file::sha256;
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
}

/// What a file's second line says; the first names the format and the checksum of everything behind it.
#[derive(Serialize, Deserialize)]
struct Header {
    plugin: String,
    state_version: Option<u32>,
    positions: BTreeMap<String, (String, u64)>,
}

/// First word of a state file, with the version of the format.
const FORMAT: &str = "broadcastd-state-1";

impl Saved {
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub fn write(&self, broadcaster: &str, plugin: &str, checkpoint: &Checkpoint) -> io::Result<()> {
        let positions = checkpoint.positions.iter();
        let header = Header {
            plugin: plugin.to_owned(),
            state_version: checkpoint.state.as_ref().map(|state| state.version),
            positions: positions.map(|(stream, at)| (stream.clone(), (at.epoch.to_string(), at.seq))).collect(),
        };
        let mut body = serde_json::to_vec(&header)?;
        body.push(b'\n');
        body.extend_from_slice(checkpoint.state.as_ref().map_or(&[], |state| &state.bytes));
        fs::create_dir_all(&self.dir)?;
        let path = self.path(broadcaster);
        let temporary = path.with_extension("state.tmp");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(format!("{FORMAT} {}\n", sha256(&body)).as_bytes())?;
        file.write_all(&body)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(&self.dir)?.sync_all() // or the rename may be forgotten in a power cut
    }

    /// What was saved, if anything. A file that cannot be used is moved aside and told; it never keeps a broadcaster
    /// from starting.
    pub fn read(&self, broadcaster: &str, plugin: &str) -> Option<Checkpoint> {
        let path = self.path(broadcaster);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::error!(broadcaster, path = %path.display(), %error, "state cannot be read; starting empty");
                return None;
            }
        };
        match parse(&bytes, plugin) {
            Ok(checkpoint) => Some(checkpoint),
            Err(reason) => {
                self.set_aside(broadcaster, &reason);
                None
            }
        }
    }

    /// Moves a state that is of no use out of the way, for somebody to look at.
    pub fn set_aside(&self, broadcaster: &str, reason: &str) {
        let path = self.path(broadcaster);
        let aside = path.with_extension("state.bad");
        match fs::rename(&path, &aside) {
            Ok(()) => {
                let kept = aside.display();
                tracing::error!(broadcaster, reason, %kept, "saved state is of no use; starting empty, it is kept aside");
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::error!(broadcaster, reason, %error, "saved state is of no use and cannot be moved"),
        }
    }

    fn path(&self, broadcaster: &str) -> PathBuf {
        self.dir.join(Path::new(broadcaster).with_extension("state"))
    }
}

fn parse(bytes: &[u8], plugin: &str) -> Result<Checkpoint, String> {
    let cut = || "it is damaged or cut short".to_owned();
    let (first, body) = split_line(bytes).ok_or_else(cut)?;
    let checksum = first.strip_prefix(FORMAT.as_bytes()).ok_or("it is no state file of this version")?;
    if sha256(body).as_bytes() != checksum.trim_ascii() {
        return Err(cut());
    }
    let (header, state) = split_line(body).ok_or_else(cut)?;
    let header: Header = serde_json::from_slice(header).map_err(|error| error.to_string())?;
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

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            state: Some(State { version: 3, bytes: (*b"line\nline\0").into() }),
            positions: BTreeMap::from([("ticks".to_owned(), Position { epoch: "e1".into(), seq: 42 })]),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let saved = Saved::new(dir.path().join("state"));
        assert_eq!(saved.read("bars", "bars"), None);
        for checkpoint in [checkpoint(), Checkpoint::default()] {
            saved.write("bars", "bars", &checkpoint).unwrap();
            assert_eq!(saved.read("bars", "bars"), Some(checkpoint));
        }
        assert_eq!(fs::read_dir(dir.path().join("state")).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_file_cut_at_any_length_or_changed_anywhere_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let saved = Saved::new(dir.path().to_owned());
        saved.write("bars", "bars", &checkpoint()).unwrap();
        let path = dir.path().join("bars.state");
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(saved.read("bars", "bars"), None, "cut at {length}");
            assert!(!path.exists() && dir.path().join("bars.state.bad").exists());
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            fs::write(&path, &changed).unwrap();
            assert_eq!(saved.read("bars", "bars"), None, "changed at {at}");
        }
    }

    #[test]
    fn what_a_kill_left_half_written_is_not_read_and_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let saved = Saved::new(dir.path().to_owned());
        saved.write("bars", "bars", &checkpoint()).unwrap();
        let whole = fs::read(dir.path().join("bars.state")).unwrap();
        fs::write(dir.path().join("bars.state.tmp"), &whole[..whole.len() / 2]).unwrap();
        assert_eq!(saved.read("bars", "bars"), Some(checkpoint()));
        saved.write("bars", "bars", &Checkpoint::default()).unwrap();
        assert_eq!(saved.read("bars", "bars"), Some(Checkpoint::default()));
    }

    #[test]
    fn the_state_of_another_plugin_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let saved = Saved::new(dir.path().to_owned());
        saved.write("bars", "spc", &checkpoint()).unwrap();
        assert_eq!(saved.read("bars", "bars"), None);
        assert!(dir.path().join("bars.state.bad").exists());
    }
}
