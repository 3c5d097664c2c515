//! What a library says of itself is shown whatever it is, and nothing that a file can hold ends the one who looks.

use broadcastd_plugin_api::abi;
use proptest::prelude::*;

use super::*;
use crate::plugin::inspect::{Entry, Inspection};

fn image(bytes: Vec<u8>) -> Image {
    Image { sha256: file::sha256(&bytes), bytes }
}

/// A plugin of this name, as its bytes.
fn built(id: &str, definitions: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    build(dir.path(), id, definitions);
    fs::read(dir.path().join(format!("lib{id}.so"))).unwrap()
}

#[test]
fn a_plugin_says_who_it_is_and_what_it_needs() {
    let bytes = built("right", &[]);
    let found = Inspection::of(&image(bytes.clone()));
    assert_eq!((found.size, found.sha256), (bytes.len() as u64, file::sha256(&bytes)));
    assert_eq!(found.verdict.map(|note| (note.id, note.version)), Ok(("right".to_owned(), "1.0.0".to_owned())));
    assert_eq!((found.entry, found.stated.unwrap().abi), (Entry::There, (1, 0)));
    assert_eq!(found.machine.as_deref(), Some(std::env::consts::ARCH));
    assert!(
        found.built_with.iter().any(|name| name.contains("GCC") || name.contains("clang")),
        "{:?}",
        found.built_with
    );
    assert!(found.needs.iter().any(|name| name.starts_with("libc.so")), "{:?}", found.needs);
}

#[test]
fn a_refused_one_says_who_it_is_all_the_same() {
    let found = |definitions: &[&str]| Inspection::of(&image(built("other", definitions)));
    let entryless = found(&["WITHOUT_ENTRY"]);
    assert_eq!(entryless.entry, Entry::Missing);
    assert!(entryless.verdict.unwrap_err().to_string().starts_with("it does not export broadcastd_plugin_v1"));
    assert_eq!(entryless.stated.unwrap().id.as_deref(), Some("other"));
    let noteless = found(&["WITHOUT_NOTE"]);
    assert_eq!((noteless.stated, noteless.entry), (None, Entry::There));
    let mut future = built("future", &[]);
    let owner = future.windows(12).position(|window| window == b"broadcastd\0\0").unwrap();
    future[owner + 12] = 2;
    let future = Inspection::of(&image(future)).stated.unwrap();
    assert_eq!((future.abi, future.id), ((2, 0), None), "nobody knows how the note of another major is laid out");
}

#[test]
fn without_a_table_of_symbols_the_entry_is_unknown_and_the_note_is_not() {
    let mut bytes = built("stripped", &[]);
    bytes[0x28..0x30].fill(0); // where the table of sections is
    bytes[0x3c..0x40].fill(0); // how many there are, and which one names them
    let found = Inspection::of(&image(bytes));
    assert_eq!((found.entry, found.verdict.map(|note| note.id)), (Entry::Unknown, Ok("stripped".to_owned())));
}

/// A library that has nothing but notes: so many of somebody else's, then a plugin's.
fn of_notes(others: usize) -> Vec<u8> {
    let mut notes = [&[4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0][..], b"abc\0"].concat().repeat(others);
    notes.extend([11_u32, 108, abi::NOTE_TYPE].map(u32::to_le_bytes).concat());
    notes.extend(b"broadcastd\0\0");
    notes.extend([abi::ABI_MAJOR, 0, 1].map(u32::to_le_bytes).concat());
    notes.extend([&b"many"[..], &[0; 60], b"1.0", &[0; 29]].concat());
    let machine = if cfg!(target_arch = "aarch64") { 183_u16 } else { 62 };
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([3_u16.to_le_bytes(), machine.to_le_bytes()].concat());
    file.extend(1_u32.to_le_bytes());
    file.extend([0, 64, 0].map(u64::to_le_bytes).concat()); // the segments follow the header
    file.extend(0_u32.to_le_bytes());
    file.extend([64_u16, 56, 1, 0, 0, 0].map(u16::to_le_bytes).concat());
    file.extend([4_u32, 4].map(u32::to_le_bytes).concat()); // one, of notes
    file.extend([120, 0, 0, notes.len() as u64, notes.len() as u64, 4].map(u64::to_le_bytes).concat());
    file.extend(notes);
    file
}

#[test]
fn so_many_notes_of_others_are_passed_over_and_no_more() {
    let read = |others| Note::read(&of_notes(others)).map(|note| note.id).map_err(|why| why.to_string());
    assert_eq!(read(4095), Ok("many".to_owned()));
    assert!(read(4096).unwrap_err().starts_with("it is damaged or cut short"));
}

#[test]
fn every_prefix_is_shown_and_refused() {
    let whole = built("whole", &[]);
    for length in (0..whole.len()).step_by(7) {
        let found = Inspection::of(&image(whole[..length].to_vec()));
        assert!(found.verdict.is_err(), "a prefix of {length} bytes was taken");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// The header, the tables and the note are hit most: there the offsets and sizes are.
    #[test]
    fn a_damaged_file_is_judged_and_no_more(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u64>(), 0..4_u8), 1..12),
    ) {
        static WHOLE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| built("damaged", &[]));
        let mut bytes = WHOLE.clone();
        let sections = usize::try_from(u64::from_le_bytes(*bytes[0x28..].first_chunk().unwrap())).unwrap();
        let owner = bytes.windows(12).position(|window| window == b"broadcastd\0\0").unwrap();
        for (place, value, kind) in changes {
            let range = match kind {
                0 => 0..0x400,
                1 => sections..bytes.len(),
                2 => owner - 12..owner + 120,
                _ => 0..bytes.len(),
            };
            let at = range.start + place.index(range.len());
            let end = bytes.len().min(at + 8);
            bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
        }
        let found = Inspection::of(&image(bytes));
        for text in found.built_with.iter().chain(&found.needs).chain(&found.machine) {
            prop_assert!(text.len() < 500 && !text.contains(char::is_control), "{text:?}");
        }
    }

    #[test]
    fn rubbish_is_no_plugin(mut bytes in prop::collection::vec(any::<u8>(), 0..300), is_elf in any::<bool>()) {
        if is_elf {
            bytes.splice(0..bytes.len().min(6), *b"\x7fELF\x02\x01");
        }
        prop_assert!(Inspection::of(&image(bytes)).verdict.is_err());
    }
}
