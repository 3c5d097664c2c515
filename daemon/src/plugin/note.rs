//! The ELF note of a plugin file: who it is and for which border it was built, read from bytes before anything runs.

use std::fmt;
use std::path::Path;

use broadcastd_plugin_api::abi;
use object::LittleEndian;
use object::elf::{ELFCLASS64, EM_AARCH64, EM_X86_64, ET_DYN, FileHeader64, Machine, NoteType};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};

use super::find;

/// Bytes of the note as ABI 1.0 writes it; a later minor may append.
const NOTE_BYTES: usize = 12 + abi::NOTE_ID_MAX as usize + abi::NOTE_VERSION_MAX as usize;
/// The machine that this daemon runs on.
const MACHINE: Machine = if cfg!(target_arch = "aarch64") { EM_AARCH64 } else { EM_X86_64 };

/// Notes of all owners that are looked through for ours: a library has a handful, and this bounds what a hostile file costs.
const MAX_NOTES: usize = 4096;

/// What a plugin file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub id: String,
    pub version: String,
    pub abi_minor: u32,
}

/// What can be read of a note that may be refused: to be shown, never to be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stated {
    /// Major and minor.
    pub abi: (u32, u32),
    /// Where the note's layout is known, which is the major's.
    pub id: Option<String>,
    pub version: Option<String>,
}

/// Why a file cannot be used as a plugin. The text says the rule and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable(String);

impl Unusable {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn without_entry() -> Self {
        Self(format!("it does not export {}; export it with export_plugin!(…) or BCD_EXPORT", abi::ENTRY_SYMBOL))
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Note {
    /// Reads the note of a whole plugin file and refuses what this daemon must not load.
    pub fn read(file: &[u8]) -> Result<Self, Unusable> {
        let descriptor = descriptor(file)?;
        let number = |at| number(descriptor, at);
        let major = number(0);
        if major != abi::ABI_MAJOR {
            return Err(Unusable(format!(
                "it was built for ABI {major}, this daemon speaks {}; rebuild it with broadcastd-plugin-api {}.x",
                abi::ABI_MAJOR,
                abi::ABI_MAJOR
            )));
        }
        let Some(descriptor) = descriptor.get(..NOTE_BYTES) else {
            return Err(Unusable(format!(
                "its note has {} bytes where ABI {major} has {NOTE_BYTES}; rebuild it with the header of this daemon",
                descriptor.len()
            )));
        };
        if number(8) != 1 {
            return Err(Unusable::new(
                "it was built with panic = \"abort\", so that a mistake in it would end the daemon; remove that line from \
                 its Cargo profile and rebuild it",
            ));
        }
        let (id, version) = descriptor[12..].split_at(abi::NOTE_ID_MAX as usize);
        Ok(Self { id: padded(id, "id")?, version: padded(version, "version")?, abi_minor: number(4) })
    }
}

impl Note {
    /// Whether the file is called as `plugin = "…"` asks for it.
    pub fn check_name(&self, path: &Path) -> Result<(), Unusable> {
        let wanted = find::file_name(&self.id);
        if path.file_name().is_some_and(|name| *name == *wanted) {
            return Ok(());
        }
        Err(Unusable(format!(
            "its note says it is plugin \"{}\", which is looked for in {wanted}; rename the file",
            self.id
        )))
    }
}

impl Stated {
    /// `None`: there is no note, or no library to have one.
    pub fn read(file: &[u8]) -> Option<Self> {
        let descriptor = descriptor(file).ok()?;
        let abi = (number(descriptor, 0), number(descriptor, 4));
        let names = descriptor.get(12..NOTE_BYTES).filter(|_| abi.0 == abi::ABI_MAJOR);
        let (id, version) = names.map(|names| names.split_at(abi::NOTE_ID_MAX as usize)).unzip();
        let text = |bytes: Option<&[u8]>, what| padded(bytes?, what).ok();
        Some(Self { abi, id: text(id, "id"), version: text(version, "version") })
    }
}

fn number(descriptor: &[u8], at: usize) -> u32 {
    let bytes = descriptor.get(at..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// The note's bytes, after making sure that the file is a whole dynamic library for this machine: the dynamic loader maps
/// a truncated one without complaint, and the first touch of what is missing would end the daemon.
fn descriptor(file: &[u8]) -> Result<&[u8], Unusable> {
    if !file.starts_with(b"\x7fELF") {
        return Err(Unusable::new(
            "it is no dynamic library (no ELF header); give the .so that `cargo build` made, not its source or an archive",
        ));
    }
    if file.get(4) != Some(&ELFCLASS64.0) && file.len() > 4 {
        return Err(Unusable::new(OF_ANOTHER_MACHINE));
    }
    let header = FileHeader64::<LittleEndian>::parse(file).map_err(|_| Unusable::new(DAMAGED))?;
    let endian = header.endian().map_err(|_| Unusable::new("it was built for a machine of the other byte order"))?;
    if header.e_type(endian) != ET_DYN || header.e_machine(endian) != MACHINE {
        return Err(Unusable::new(OF_ANOTHER_MACHINE));
    }
    let damaged = |_| Unusable::new(DAMAGED);
    let within = |offset: u64, size: u64| offset.checked_add(size).is_some_and(|end| end <= file.len() as u64);
    let sections = header.section_headers(endian, file).map_err(damaged)?;
    let segments = header.program_headers(endian, file).map_err(damaged)?;
    let whole = segments.iter().all(|segment| within(segment.p_offset(endian), segment.p_filesz(endian)))
        && sections.iter().filter_map(|section| section.file_range(endian)).all(|(offset, size)| within(offset, size));
    if !whole {
        return Err(Unusable::new(DAMAGED));
    }
    let mut seen = 0;
    for segment in segments {
        let Some(mut notes) = segment.notes(endian, file).map_err(damaged)? else { continue };
        while let Some(note) = notes.next().map_err(damaged)? {
            seen += 1;
            if seen > MAX_NOTES {
                return Err(Unusable::new(DAMAGED));
            }
            if note.name() == abi::NOTE_OWNER.as_bytes() && note.n_type(endian) == NoteType(abi::NOTE_TYPE) {
                return Ok(note.desc());
            }
        }
    }
    Err(Unusable::new(
        "it carries no broadcastd note, so it is no plugin; export one with export_plugin!(…) or BCD_PLUGIN_NOTE(…)",
    ))
}

const OF_ANOTHER_MACHINE: &str = "it is no dynamic library for this machine; build it as a cdylib for this target";
const DAMAGED: &str =
    "it is damaged or cut short; build or copy it again (replace a plugin by `mv`, never by writing into it)";

fn padded(bytes: &[u8], what: &str) -> Result<String, Unusable> {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    match str::from_utf8(text) {
        Ok(text) if !text.is_empty() && !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => Err(Unusable(format!("the {what} in its note is empty or no text; rebuild it"))),
    }
}
