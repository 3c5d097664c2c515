//! What is no plugin is refused with a reason, and never loaded.

use super::*;

fn refusal(house: &House, plugin: &str) -> String {
    house.supervisor.library(plugin, None).err().expect("it must be refused").to_string()
}

#[test]
fn a_right_one_is_loaded_once_and_from_a_private_copy() {
    let house = House::new();
    house.build("right", &[]);
    let first = house.supervisor.library("right", None).unwrap();
    let again = house.supervisor.library("right", Some(&first.sha256)).unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    assert_eq!((first.note.id.as_str(), first.note.version.as_str(), first.facts.state_version), ("right", "1.0.0", 1));
    assert!(house.dir.path().join("cache").join(format!("right-{}.so", &first.sha256[..16])).exists());
    let error = house.supervisor.library("right", Some("00")).err().unwrap().to_string();
    assert!(error.contains("but the configuration pins 00"), "{error}");
}

#[test]
fn every_prefix_of_a_plugin_is_refused() {
    let house = House::new();
    house.build("whole", &[]);
    let whole = fs::read(house.dir.path().join("libwhole.so")).unwrap();
    assert_eq!(Note::read(&whole).unwrap().id, "whole");
    for length in 0..whole.len() {
        assert!(Note::read(&whole[..length]).is_err(), "a prefix of {length} bytes was accepted");
    }
}

#[test]
fn a_stripped_plugin_is_still_known_to_be_cut() {
    let house = House::new();
    house.build("stripped", &[]);
    let mut file = fs::read(house.dir.path().join("libstripped.so")).unwrap();
    file[0x28..0x30].fill(0); // where the table of sections is
    file[0x3c..0x40].fill(0); // how many there are, and which one names them
    assert_eq!(Note::read(&file).unwrap().id, "stripped", "sections are not needed to run");
    let error = Note::read(&file[..file.len() / 2]).unwrap_err().to_string();
    assert!(error.starts_with("it is damaged or cut short"), "{error}");
}

#[test]
fn what_is_no_plugin_says_so() {
    let house = House::new();
    fs::write(house.dir.path().join("libtext.so"), "not a library").unwrap();
    let error = refusal(&house, "text");
    assert!(
        error.starts_with("plugin /") && error.contains("libtext.so: it is no dynamic library (no ELF header)"),
        "{error}"
    );
    house.build("noteless", &["WITHOUT_NOTE"]);
    assert!(refusal(&house, "noteless").contains("it carries no broadcastd note, so it is no plugin"));
    assert!(refusal(&house, "missing").starts_with("no libmissing.so in "));
    fs::create_dir(house.dir.path().join("libfolder.so")).unwrap();
    assert!(refusal(&house, "folder").contains("it is no file"));
}

/// Changes the note inside a plugin's file.
fn patch(house: &House, id: &str, at: usize, byte: u8) {
    let path = house.dir.path().join(format!("lib{id}.so"));
    let mut bytes = fs::read(&path).unwrap();
    let owner = bytes.windows(12).position(|window| window == b"broadcastd\0\0").unwrap();
    bytes[owner + 12 + at] = byte;
    fs::write(&path, bytes).unwrap();
}

#[test]
fn a_note_for_another_border_is_refused_before_anything_runs() {
    let house = House::new();
    house.build("future", &[]);
    patch(&house, "future", 0, 2);
    assert!(
        refusal(&house, "future")
            .contains("it was built for ABI 2, this daemon speaks 1; rebuild it with broadcastd-plugin-api 1.x")
    );
    house.build("aborts", &[]);
    patch(&house, "aborts", 8, 0);
    assert!(refusal(&house, "aborts").contains("it was built with panic = \"abort\""));
    house.build("other", &["NOTE_ID=\"somebody\""]);
    let error = refusal(&house, "other");
    assert!(error.contains("its note says it is plugin \"somebody\"; write plugin = \"somebody\""), "{error}");
}

#[test]
fn a_table_that_lies_is_refused() {
    let house = House::new();
    house.build("tiny", &["SIZE=3"]);
    assert!(refusal(&house, "tiny").contains("its table's size field is wrong"));
    house.build("short", &["SIZE=offsetof(bcd_plugin_api,create)"]);
    let error = refusal(&house, "short");
    assert!(error.contains("its table lacks create, on_events, destroy, save_state, restore_state"), "{error}");
    house.build("entryless", &["WITHOUT_ENTRY"]);
    assert!(refusal(&house, "entryless").contains("it does not export broadcastd_plugin_v1"));
    house.build("unwilling", &["REFUSE_LOAD"]);
    assert!(refusal(&house, "unwilling").contains("it refused to be loaded: not today"));
}
