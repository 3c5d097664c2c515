//! What a library says of itself, read from its bytes: nothing of it is loaded or run, so that it may hold anything.

use std::path::Path;

use broadcastd_plugin_api::abi;
use object::LittleEndian;
use object::elf::{DT_NEEDED, FileHeader64, SHN_UNDEF, SHT_DYNSYM};
use object::read::elf::{Dyn, FileHeader, SectionHeader, SectionTable, Sym};

use super::file::Image;
use super::note::{Note, Stated, Unusable};

/// Entries of a table in the file that are looked at: a large library has some thousand, and this bounds what a hostile
/// one costs.
const MAX_ENTRIES: usize = 1 << 20;
/// Names that are shown of a list, and letters of each: what is beyond helps nobody.
const MAX_SHOWN: usize = 16;
const MAX_LETTERS: usize = 120;

type Elf = FileHeader64<LittleEndian>;

/// A library that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    pub size: u64,
    pub sha256: String,
    /// What its note says, even when it is refused for it.
    pub stated: Option<Stated>,
    /// The machine, such as `x86_64`; `None`: it is no library.
    pub machine: Option<String>,
    /// Compilers and linkers that left their names.
    pub built_with: Vec<String>,
    /// Libraries that it needs beside itself.
    pub needs: Vec<String>,
    pub entry: Entry,
    /// The note, or why this daemon would not load the file.
    pub verdict: Result<Note, Unusable>,
}

/// Whether the function that the daemon calls first is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    There,
    Missing,
    /// The file has no table of symbols to look it up in before it is loaded.
    Unknown,
}

impl Inspection {
    /// Reads and looks through a file. The error is about reading it.
    pub fn read(path: &Path) -> Result<Self, Unusable> {
        let image = Image::read(path)?;
        let mut inspection = Self::of(&image);
        if let Ok(note) = &inspection.verdict
            && let Err(why) = note.check_name(path)
        {
            inspection.verdict = Err(why);
        }
        Ok(inspection)
    }

    /// Looks through bytes, whatever they are.
    pub fn of(image: &Image) -> Self {
        let file = &*image.bytes;
        let parts = Parts::of(file);
        let entry = parts.as_ref().map_or(Entry::Unknown, Parts::entry);
        let verdict = match (Note::read(file), entry) {
            (Ok(_), Entry::Missing) => Err(Unusable::without_entry()),
            (read, _) => read,
        };
        Self {
            size: file.len() as u64,
            sha256: image.sha256.clone(),
            stated: Stated::read(file),
            machine: machine(file),
            built_with: parts.as_ref().map(Parts::built_with).unwrap_or_default(),
            needs: parts.as_ref().map(Parts::needs).unwrap_or_default(),
            entry,
            verdict,
        }
    }
}

/// The sections of a file, as far as it has any that can be read.
struct Parts<'a> {
    file: &'a [u8],
    sections: SectionTable<'a, Elf>,
    names: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(file: &'a [u8]) -> Option<Self> {
        let header = Elf::parse(file).ok()?;
        let sections = header.sections(LittleEndian, file).ok()?;
        let names = header.section_strings_index(LittleEndian, file).ok()?;
        let names = sections.section(names).ok()?.data(LittleEndian, file).ok()?;
        Some(Self { file, sections, names })
    }

    fn entry(&self) -> Entry {
        let Ok(symbols) = self.sections.symbols(LittleEndian, self.file, SHT_DYNSYM) else { return Entry::Unknown };
        if symbols.is_empty() {
            return Entry::Unknown;
        }
        let names = self.sections.section(symbols.string_section());
        let names = names.and_then(|section| section.data(LittleEndian, self.file)).unwrap_or_default();
        let is_entry = |symbol: &&<Elf as FileHeader>::Sym| {
            symbol.st_shndx(LittleEndian) != SHN_UNDEF
                && is_at(names, symbol.st_name(LittleEndian), abi::ENTRY_SYMBOL.as_bytes())
        };
        match symbols.iter().take(MAX_ENTRIES).find(is_entry) {
            Some(_) => Entry::There,
            None => Entry::Missing,
        }
    }

    fn built_with(&self) -> Vec<String> {
        let is_comment = |section: &&<Elf as FileHeader>::SectionHeader| {
            is_at(self.names, section.sh_name(LittleEndian), b".comment")
        };
        let comment = self.sections.iter().find(is_comment);
        let text = comment.and_then(|section| section.data(LittleEndian, self.file).ok()).unwrap_or_default();
        text.split(|byte| *byte == 0).take(MAX_SHOWN).map(shown).filter(|name| !name.is_empty()).collect()
    }

    fn needs(&self) -> Vec<String> {
        let Ok(Some((entries, strings))) = self.sections.dynamic(LittleEndian, self.file) else { return Vec::new() };
        let names = self.sections.section(strings).and_then(|section| section.data(LittleEndian, self.file));
        let names = names.unwrap_or_default();
        let needed = entries.iter().take(MAX_ENTRIES).filter(|entry| entry.d_tag(LittleEndian) == DT_NEEDED);
        let name = |entry: &<Elf as FileHeader>::Dyn| {
            let start = usize::try_from(entry.d_val(LittleEndian)).ok()?;
            Some(shown(names.get(start..)?.split(|byte| *byte == 0).next()?))
        };
        needed.filter_map(name).take(MAX_SHOWN).collect()
    }
}

/// Whether exactly this name begins there. Only so much is read: a table of names may be one endless name.
fn is_at(names: &[u8], at: u32, name: &[u8]) -> bool {
    let rest = usize::try_from(at).ok().and_then(|at| names.get(at..));
    rest.and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.first() == Some(&0))
}

/// Text of a foreign file, safe to print.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_LETTERS)]);
    text.chars().filter(|letter| !letter.is_control()).collect()
}

/// The machine that an ELF file is for, and its word and byte order where they are not this daemon's.
fn machine(file: &[u8]) -> Option<String> {
    let [0x7f, b'E', b'L', b'F', class, order, ..] = file else { return None };
    let number = file.get(18..20).map_or(0, |bytes| match order {
        2 => u16::from_be_bytes([bytes[0], bytes[1]]),
        _ => u16::from_le_bytes([bytes[0], bytes[1]]),
    });
    let name = match number {
        3 => "x86".to_owned(),
        40 => "arm".to_owned(),
        62 => "x86_64".to_owned(),
        183 => "aarch64".to_owned(),
        243 => "riscv".to_owned(),
        other => format!("machine {other}"),
    };
    let word = if *class == 1 { ", 32 bits" } else { "" };
    Some(format!("{name}{word}{}", if *order == 2 { ", big-endian" } else { "" }))
}
