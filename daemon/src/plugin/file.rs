//! A plugin's file: read once, hashed, and loaded only as a private copy that nobody writes into.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::note::Unusable;

/// The largest plugin that is read: far above any real one, and it bounds what a wrong path can cost.
pub const MAX_PLUGIN_BYTES: u64 = 256 << 20;

/// A plugin file as it was when it was read.
#[derive(Debug)]
pub struct Image {
    pub bytes: Vec<u8>,
    /// Of the bytes, in lower-case hexadecimal.
    pub sha256: String,
}

impl Image {
    pub fn read(path: &Path) -> Result<Self, Unusable> {
        let failed = |error: io::Error| Unusable::new(format!("it cannot be read: {error}"));
        let file = File::open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(Unusable::new("it is no file; a plugin is a dynamic library"));
        }
        let mut bytes = Vec::new();
        file.take(MAX_PLUGIN_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_PLUGIN_BYTES {
            return Err(Unusable::new(format!(
                "it is larger than {} MiB, the most a plugin may have",
                MAX_PLUGIN_BYTES >> 20
            )));
        }
        let sha256 = sha256(&bytes);
        Ok(Self { bytes, sha256 })
    }

    /// Compares with the `sha256` of the configuration.
    pub fn check_pin(&self, pin: &str) -> Result<(), Unusable> {
        if pin.eq_ignore_ascii_case(&self.sha256) {
            return Ok(());
        }
        Err(Unusable::new(format!(
            "its sha256 is {}, but the configuration pins {pin}; change the pin if you trust this file",
            self.sha256
        )))
    }

    /// The copy that is loaded: named by content, because the dynamic loader knows libraries by name and would answer a
    /// changed file with the old one; private, because writing into a loaded file kills the process.
    pub fn private_copy(&self, cache: &Path, id: &str) -> Result<PathBuf, Unusable> {
        let path = cache.join(format!("{id}-{}.so", &self.sha256[..16]));
        let failed = |error: io::Error| {
            Unusable::new(format!(
                "its private copy {} cannot be written: {error}; see cache directory",
                path.display()
            ))
        };
        if !self.is_at(&path) {
            fs::create_dir_all(cache).map_err(failed)?;
            self.write_to(&path, cache).map_err(failed)?;
        }
        if !self.is_at(&path) {
            return Err(Unusable::new(format!(
                "its private copy {} changed while it was written; let nobody else write into that folder",
                path.display()
            )));
        }
        Ok(path)
    }

    fn is_at(&self, path: &Path) -> bool {
        fs::read(path).is_ok_and(|bytes| bytes == self.bytes)
    }

    fn write_to(&self, path: &Path, dir: &Path) -> io::Result<()> {
        let temporary = dir.join(format!(".{}.{}.tmp", self.sha256, std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&self.bytes)?;
        file.set_permissions(Permissions::from_mode(0o555))?;
        fs::rename(&temporary, path)
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").expect("writing into a string cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(bytes: &[u8]) -> Image {
        Image { bytes: bytes.to_vec(), sha256: sha256(bytes) }
    }

    #[test]
    fn a_copy_is_named_by_content_and_read_only() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache");
        let copy = image(b"abc").private_copy(&cache, "bars").unwrap();
        assert_eq!(copy, cache.join("bars-ba7816bf8f01cfea.so"));
        assert_eq!(fs::read(&copy).unwrap(), b"abc");
        assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o555);
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_tampered_copy_is_replaced_not_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bars-ba7816bf8f01cfea.so");
        fs::write(&path, "evil").unwrap();
        let copy = image(b"abc").private_copy(dir.path(), "bars").unwrap();
        assert_eq!((&copy, fs::read(&copy).unwrap().as_slice()), (&path, b"abc".as_slice()));
    }

    #[test]
    fn a_pin_that_does_not_fit_names_both() {
        let image = image(b"abc");
        assert_eq!(image.check_pin(&image.sha256.to_uppercase()), Ok(()));
        let error = image.check_pin("00").unwrap_err().to_string();
        assert!(error.starts_with("its sha256 is ba7816bf") && error.contains("pins 00"), "{error}");
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = |path: &Path| Image::read(path).unwrap_err().to_string();
        assert_eq!(error(dir.path()), "it is no file; a plugin is a dynamic library");
        assert!(error(&dir.path().join("none.so")).starts_with("it cannot be read: No such file"));
        let large = File::create(dir.path().join("large.so")).unwrap();
        large.set_len(MAX_PLUGIN_BYTES + 1).unwrap();
        assert_eq!(error(&dir.path().join("large.so")), "it is larger than 256 MiB, the most a plugin may have");
    }
}
