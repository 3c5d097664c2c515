//! Tells a file that somebody may have emptied by saving it from one that says something.

use crate::config::{
    code,
    diagnostic::{Diagnostic, Diagnostics},
    document::{At, Origin},
    layers::{Layer, Layers},
    source,
};

/// What was seen in the files, unless one that says something in the running configuration says nothing any more. An editor
/// that cuts a file off before it writes it leaves it so for as long as it takes, and who only watches cannot know what was
/// meant: to end all that runs is for somebody to order.
pub fn unless_emptied(running: &Layers, seen: Layers) -> Result<Layers, Diagnostics> {
    let spoke = |name: &str| running.all().any(|(_, layer)| layer.name == name && !source::says_nothing(&layer.text));
    let emptied = seen.all().filter(|(_, layer)| source::says_nothing(&layer.text) && spoke(&layer.name));
    let found: Vec<Diagnostic> = emptied.map(|(start, layer)| refused(start, layer)).collect();
    if found.is_empty() { Ok(seen) } else { Err(Diagnostics::new(seen, found)) }
}

fn refused(start: usize, layer: &Layer) -> Diagnostic {
    let message = format!("`{}` was saved without any setting, and it had some", layer.name);
    let at = At { origin: Origin::File, span: Some(start..start) };
    let help = "save it with its settings; if none are meant, order it: `broadcastd reload` takes the file as it is";
    Diagnostic::new(code::EMPTIED, message).at(at).help(help)
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
        assert!(unless_emptied(&Layers::of("config.toml", some), Layers::of("config.toml", "[")).is_ok(), "no TOML");
    }
}
