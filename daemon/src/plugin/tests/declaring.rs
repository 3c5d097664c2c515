//! What a plugin declares of its stream with its settings.

use super::*;
use crate::plugin::library::MAX_STREAM;
use crate::plugin::port::Fault;

fn kinds(house: &House, name: &str) -> Vec<String> {
    house.stream(name).settings().kinds.keys().cloned().collect()
}

#[test]
fn a_stream_has_the_kinds_that_the_settings_add_and_loses_them_with_these() {
    let house = House::new();
    house.build("growing", &[]);
    house.reload(&[wanted("a", "growing", ""), wanted("b", "growing", "more")]).unwrap();
    assert_eq!((kinds(&house, "a"), kinds(&house, "b")), (vec!["n".to_owned()], vec!["m".to_owned(), "n".to_owned()]));
    let changes = house.reload(&[wanted("a", "growing", "more"), wanted("b", "growing", "")]).unwrap();
    assert_eq!(changes, ["a", "b"].map(|name| Change::Reconfigure(name.into())), "neither was made anew");
    assert_eq!((kinds(&house, "a"), kinds(&house, "b")), (vec!["m".to_owned(), "n".to_owned()], vec!["n".to_owned()]));
    let prepared = house.supervisor.prepare(vec![wanted("c", "growing", "more")], Aim::Exchange).unwrap();
    let [(_, settings)] = house.supervisor.streams(&prepared).try_into().ok().unwrap();
    assert_eq!(settings.kinds["m"].collection.as_deref(), Some("more"), "nothing need run for it");
}

#[test]
fn one_that_does_not_say_what_it_declares_changes_nothing() {
    let house = House::new();
    house.build("vague", &[]);
    house.reload(&[wanted("a", "vague", "more")]).unwrap();
    let refused = |mode: &str| house.reload(&[wanted("a", "vague", mode)]).unwrap_err();
    let problem = |pointer: &str, message: &str| Problem {
        broadcaster: "a".into(),
        pointer: pointer.into(),
        message: message.into(),
    };
    assert_eq!(refused("vague"), [problem("/settings/mode", "\"vague\" says nothing")]);
    assert_eq!(refused("mute"), [problem("/settings", "the declaration of its stream is empty with these settings")]);
    assert_eq!(kinds(&house, "a"), ["m", "n"]);
}

#[test]
fn a_declaration_is_bounded_at_its_edge() {
    let house = House::new();
    house.build("long", &[]);
    let library = house.supervisor.library("long", None).unwrap();
    let declared = |bytes: usize| {
        let settings = json!({"mode": format!("blanks {bytes}")}).to_string();
        library.stream_with("a", settings, Duration::from_secs(60)).map(|text| text.len())
    };
    assert_eq!(declared(MAX_STREAM), Ok(MAX_STREAM));
    let message = "the declaration of its stream has more than 4 MiB".to_owned();
    assert_eq!(declared(MAX_STREAM + 1), Err(Fault { status: abi_limit(), pointer: String::new(), message }));
}

fn abi_limit() -> i32 {
    broadcastd_plugin_api::abi::E_LIMIT
}
