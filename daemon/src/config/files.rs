//! Reads the configuration file and the folder beside it: `config.d/*.toml` for `config.toml`.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, ErrorKind, Read},
    path::{Path, PathBuf},
};

use super::{
    code,
    diagnostic::{Diagnostic, Diagnostics},
    document::{At, Origin},
    layers::{Layer, Layers},
};

/// The largest configuration read, all files together: a hundred times the shipped one, and small enough to read whole at
/// every change.
pub const LARGEST: u64 = 1024 * 1024;

/// The most files of the folder that are read: one for each broadcaster of a large house, and a folder that was meant to
/// hold something else is noticed.
pub const MOST_FILES: usize = 100;

/// What to do about a file, which depends on who names it.
struct Advice {
    missing: &'static str,
    directory: &'static str,
}

/// Of the file, which the operator names.
const NAMED: Advice = Advice {
    missing: "name one that is there with --config, or leave --config out to run with ./config.toml or the shipped one",
    directory: "name the file in it, such as config.toml",
};

/// Of one that is only found in the folder.
const FOUND: Advice = Advice {
    missing: "it is a link that leads nowhere, or was just taken away; mend the link or remove it",
    directory: "only files are read; move it elsewhere, or give it another ending than .toml",
};

/// Reads the file and its folder whole. The error says what is wrong with the files themselves, all of it.
pub fn read(path: &Path) -> Result<Layers, Diagnostics> {
    let name = path.display().to_string();
    let mut reading = Reading::default();
    match bounded(path, LARGEST, &NAMED) {
        Ok(text) => reading.layers.file = Layer { name, text },
        Err(wrong) => {
            reading.layers.file.name = name;
            reading.found.push(*wrong);
        }
    }
    reading.folder(path)
}

/// The same with another text in the place of the file.
pub fn read_around(path: &Path, file: Layer) -> Result<Layers, Diagnostics> {
    let reading = Reading { layers: Layers { file, folder: Vec::new() }, found: Vec::new() };
    reading.folder(path)
}

/// Reads one file alone.
pub fn read_alone(path: &Path) -> Result<String, Diagnostics> {
    let name = path.display().to_string();
    bounded(path, LARGEST, &NAMED).map_err(|wrong| Diagnostics::new(Layers::of(&name, ""), vec![*wrong]))
}

/// The folder whose files are laid over the file: `config.d` of `config.toml`.
pub fn folder_of(path: &Path) -> PathBuf {
    path.with_extension("d")
}

/// Whether a file of the folder is read. What editors and package managers leave beside it has other endings, or is hidden.
pub fn is_layer(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.ends_with(b".toml") && !name.starts_with(b".")
}

/// What has been read so far, and what could not be.
#[derive(Default)]
struct Reading {
    layers: Layers,
    found: Vec<Diagnostic>,
}

impl Reading {
    fn folder(mut self, path: &Path) -> Result<Layers, Diagnostics> {
        let folder = folder_of(path);
        match list(&folder) {
            Ok(files) => self.files(&files),
            Err(wrong) => self.found.push(*wrong),
        }
        if self.found.is_empty() { Ok(self.layers) } else { Err(Diagnostics::new(self.layers, self.found)) }
    }

    fn files(&mut self, files: &[PathBuf]) {
        let mut left = LARGEST.saturating_sub(self.layers.file.text.len() as u64);
        for path in files {
            let read = bounded(path, left, &FOUND);
            let name = path.display().to_string();
            let (text, wrong) = read.map_or_else(|wrong| (String::new(), Some(wrong)), |text| (text, None));
            left -= text.len() as u64;
            self.layers.folder.push(Layer { name, text });
            let Some(wrong) = wrong else { continue };
            let start = self.layers.all().last().map_or(0, |(start, _)| start);
            let is_full = wrong.code == code::TOO_LARGE;
            self.found.push(wrong.at(At { origin: Origin::File, span: Some(start..start) }));
            if is_full {
                return; // what comes behind it would be refused for its sake
            }
        }
    }
}

/// The files of the folder that are read, in the order of their names; none where there is no folder.
fn list(folder: &Path) -> Result<Vec<PathBuf>, Box<Diagnostic>> {
    let name = folder.display();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        // Below something that is no folder is no file either, which is told already.
        Err(error) if error.kind() == ErrorKind::NotADirectory && !folder.exists() => return Ok(Vec::new()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            let message = format!("`{name}` is no folder");
            let help = "files that are laid over the configuration lie in a folder of this name; rename what is there";
            return Err(Box::new(Diagnostic::new(code::UNREADABLE, message).help(help)));
        }
        entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>),
    };
    let entries = entries.map_err(|error| {
        let message = format!("the folder `{name}` cannot be read: {error}");
        let help = "let the user that runs the daemon read and enter it, for example with chgrp and chmod g+rx";
        Box::new(Diagnostic::new(code::UNREADABLE, message).help(help))
    })?;
    let mut names: Vec<_> = entries.iter().map(fs::DirEntry::file_name).filter(|name| is_layer(name)).collect();
    if names.len() > MOST_FILES {
        let message = format!("`{name}` has {} files that end in .toml; at most {MOST_FILES} are read", names.len());
        let help = "put several together, or move those that are no configuration elsewhere";
        return Err(Box::new(Diagnostic::new(code::TOO_LARGE, message).help(help)));
    }
    names.sort();
    Ok(names.iter().map(|name| folder.join(name)).collect())
}

/// Reads a file whole, which may have so many bytes.
fn bounded(path: &Path, most: u64, advice: &Advice) -> Result<String, Box<Diagnostic>> {
    let name = path.display();
    let unreadable = |message: String, help: &str| Box::new(Diagnostic::new(code::UNREADABLE, message).help(help));
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::NotFound => unreadable(format!("there is no file `{name}`"), advice.missing),
        ErrorKind::PermissionDenied => unreadable(
            format!("`{name}` may not be read by this user"),
            "give the user that runs the daemon read permission, for example with chgrp and chmod g+r",
        ),
        _ => unreadable(format!("`{name}` cannot be read: {error}"), "check the path and the file system"),
    };
    let kind = fs::metadata(path).map_err(failed)?;
    if kind.is_dir() {
        return Err(unreadable(format!("`{name}` is a directory"), advice.directory));
    }
    if !kind.is_file() {
        return Err(unreadable(format!("`{name}` is not a regular file"), "name a regular file"));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed tells a full file from one that is too large, even if it grows meanwhile.
    File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > most {
        let kib = LARGEST / 1024;
        let message = match most {
            LARGEST => format!("`{name}` is larger than {kib} KiB"),
            _ => format!("with `{name}` the configuration is larger than {kib} KiB"),
        };
        return Err(Box::new(Diagnostic::new(code::TOO_LARGE, message).help("check that it is the right file")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..good].iter().filter(|byte| **byte == b'\n').count();
        let message = format!("`{name}` is not UTF-8 text: byte {good}, on line {line}, belongs to no character");
        Box::new(Diagnostic::new(code::NOT_UTF8, message).help("save the file as UTF-8"))
    })
}
