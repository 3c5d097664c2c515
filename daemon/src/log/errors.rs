//! The error log: a file for warnings and errors alone, whatever else is logged and wherever that goes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

/// A file that would be larger is put beside as `PATH.1` and begun anew: there are never more than two of this size, and a
/// year of an ordinary daemon fits into one.
const MAX_BYTES: u64 = 16 << 20;
/// Operators read it; others have no business with what clients and plugins complain of.
const MODE: u32 = 0o640;

/// Where warnings and errors are also written to; nowhere until a file is set.
#[derive(Clone, Default)]
pub struct Errors(Arc<Mutex<Option<Opened>>>);

/// A file that is ready to be written to. One that was made for it goes again unless it is set.
pub struct Opened {
    path: PathBuf,
    file: File,
    bytes: u64,
    max_bytes: u64,
    is_unwanted: bool,
}

/// The right to write one line.
pub struct Line<'a>(MutexGuard<'a, Option<Opened>>);

impl Errors {
    /// Writes to this file from now on, or with `None` nowhere.
    pub fn set(&self, opened: Option<Opened>) {
        *self.lock() = opened.map(Opened::wanted);
    }

    /// A panic while the lock was held leaves a file that is still sound: go on with it.
    fn lock(&self) -> MutexGuard<'_, Option<Opened>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opened {
    /// Opens the file to write behind what is there, or makes it.
    pub fn at(path: &Path) -> io::Result<Self> {
        let is_unwanted = !path.try_exists()?;
        let file = OpenOptions::new().append(true).create(true).mode(MODE).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, bytes, max_bytes: MAX_BYTES, is_unwanted })
    }

    /// Whether it could be opened, as far as anybody can tell who is not the daemon.
    pub fn look(path: &Path) -> io::Result<()> {
        if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is no file"));
        }
        std::fs::read_dir(path.parent().unwrap_or(path)).map(|_| ())
    }

    fn wanted(mut self) -> Self {
        self.is_unwanted = false;
        self
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        if self.bytes > 0 && self.bytes + length > self.max_bytes {
            let mut beside = self.path.clone().into_os_string();
            beside.push(".1");
            std::fs::rename(&self.path, beside)?;
            let max_bytes = self.max_bytes;
            *self = Self::at(&self.path)?.wanted();
            self.max_bytes = max_bytes;
        }
        self.file.write_all(line)?;
        self.bytes += length;
        Ok(())
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if self.is_unwanted {
            // A file that is gone already is what was wanted.
            _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(opened) = &mut *self.0 {
            opened.write(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // nothing is held back
    }
}

impl<'a> MakeWriter<'a> for Errors {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(path: &Path, max_bytes: u64) -> Opened {
        let mut opened = Opened::at(path).unwrap();
        opened.max_bytes = max_bytes;
        opened
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn what_is_there_stays_and_a_full_file_is_put_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("errors.log");
        std::fs::write(&path, "earlier\n").unwrap();
        let errors = Errors::default();
        errors.set(Some(opened(&path, 16)));
        let write = |line: &str| errors.make_writer().write_all(line.as_bytes()).unwrap();
        write("exactly\n"); // sixteen bytes
        assert_eq!(read(&path), "earlier\nexactly\n");
        write("one more\n");
        let beside = folder.path().join("errors.log.1");
        assert_eq!((read(&path), read(&beside)), ("one more\n".to_owned(), "earlier\nexactly\n".to_owned()));
        write("a line that is longer than a file may be\n");
        assert_eq!(read(&path), "a line that is longer than a file may be\n");
        assert_eq!(read(&beside), "one more\n", "the oldest is gone");
    }

    #[test]
    fn nothing_is_written_where_no_file_is_set() {
        let errors = Errors::default();
        errors.make_writer().write_all(b"heard by nobody\n").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("errors.log");
        errors.set(Some(Opened::at(&path).unwrap()));
        errors.set(None);
        errors.make_writer().write_all(b"heard by nobody\n").unwrap();
        assert_eq!(read(&path), "");
    }

    #[test]
    fn a_file_that_was_made_and_is_not_set_goes_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("errors.log");
        drop(Opened::at(&path).unwrap());
        assert!(!path.exists());
        std::fs::write(&path, "earlier\n").unwrap();
        drop(Opened::at(&path).unwrap());
        assert_eq!(read(&path), "earlier\n");
    }

    #[test]
    fn what_cannot_be_put_beside_is_an_error_and_no_longer_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("errors.log");
        let mut opened = opened(&path, 4);
        opened.write(b"four").unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(opened.write(b"more").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
