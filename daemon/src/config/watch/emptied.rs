//! Tells a file that somebody may have emptied by saving it from one that says something.

use crate::config::{
    code,
    diagnostic::{Diagnostic, Diagnostics},
    document::{At, Origin},
    layers::{Layer, Layers},
    source::says_nothing,
};

/// What was seen in the files, unless one that says something in the running configuration says nothing any more. An editor
/// that cuts a file off before it writes it leaves it so for as long as it takes, and who only watches cannot know what was
/// meant: to end all that runs is for somebody to order.
pub fn unless_emptied(running: &Layers, seen: Layers) -> Result<Layers, Diagnostics> {
    let found: Vec<Diagnostic> = emptied(running, &seen).map(refused).collect();
    if found.is_empty() { Ok(seen) } else { Err(Diagnostics::new(seen, found)) }
}

/// A warning for each file that would be refused if it were saved so.
pub fn warn_of_emptied(running: &Layers, files: &Layers) -> Vec<Diagnostic> {
    emptied(running, files).map(warned).collect()
}

/// A warning for each file that says nothing, for who looks at files beside a daemon whose configuration is not known.
pub fn warn_of_silence(files: &Layers) -> Vec<Diagnostic> {
    silent(files).map(warned).collect()
}

fn emptied<'a>(running: &Layers, files: &'a Layers) -> impl Iterator<Item = (usize, &'a Layer)> {
    let before = |start: usize, name: &str| match start {
        0 => Some(&running.file), // by whatever name: who plans puts another one in its place
        _ => running.folder.iter().find(|layer| layer.name == name),
    };
    silent(files)
        .filter(move |(start, layer)| before(*start, &layer.name).is_some_and(|before| !says_nothing(&before.text)))
}

fn silent(files: &Layers) -> impl Iterator<Item = (usize, &Layer)> {
    files.all().filter(|(_, layer)| says_nothing(&layer.text))
}

fn refused((start, layer): (usize, &Layer)) -> Diagnostic {
    let message = format!("`{}` was saved without any setting, and it had some", layer.name);
    let help = "save it with its settings; if none are meant, order it: `broadcastd reload` takes the file as it is";
    Diagnostic::new(code::EMPTIED, message).at(beginning(start)).help(help)
}

fn warned((start, layer): (usize, &Layer)) -> Diagnostic {
    let message = format!("`{}` has no setting", layer.name);
    let note = format!(
        "saved so in the place of one that has some, it is not taken by the daemon that runs with those ({})",
        code::EMPTIED
    );
    let help =
        "save it with its settings; if none are meant, `broadcastd reload` then takes it as it is, and so does a start";
    Diagnostic::new(code::SILENT, message).at(beginning(start)).note(note).help(help)
}

fn beginning(start: usize) -> At {
    At { origin: Origin::File, span: Some(start..start) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_folder(text: &str, folder: &str) -> Layers {
        let layer = Layer { name: "config.d/a.toml".to_owned(), text: folder.to_owned() };
        Layers { folder: vec![layer], ..Layers::of("config.toml", text) }
    }

    #[test]
    fn a_file_that_says_nothing_any_more_is_refused_by_its_name() {
        let some = "[streams.ticks]\n";
        for nothing in ["", " \n\t\n", "# [streams.ticks]\n"] {
            let running = with_folder(some, some);
            for (seen, name) in
                [(with_folder(nothing, some), "config.toml"), (with_folder(some, nothing), "config.d/a.toml")]
            {
                let report = unless_emptied(&running, seen).unwrap_err();
                let told: Vec<_> = report.items.iter().map(|item| (item.code, &*item.message)).collect();
                let message = format!("`{name}` was saved without any setting, and it had some");
                assert_eq!(told, [(code::EMPTIED, &*message)], "{nothing:?}");
            }
            assert!(
                unless_emptied(&with_folder(nothing, some), with_folder("", some)).is_ok(),
                "it said nothing before"
            );
        }
        assert!(
            unless_emptied(&with_folder(some, some), Layers::of("config.toml", "[hub]\n")).is_ok(),
            "one that is gone"
        );
        assert!(unless_emptied(&Layers::of("config.toml", some), with_folder(some, "")).is_ok(), "one that is new");
        assert!(
            unless_emptied(&Layers::of("config.toml", some), Layers::of("next.toml", "")).is_err(),
            "another in its place"
        );
        assert!(unless_emptied(&Layers::of("config.toml", some), Layers::of("config.toml", "[")).is_ok(), "no TOML");
    }
}
