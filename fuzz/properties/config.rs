//! Whatever stands in the configuration: it is taken, and then means the same when it is written anew, or refused with
//! mistakes that point into the text and can be shown.

use broadcastd::config::diagnostic::Diagnostic;
use broadcastd::config::{Config, Diagnostics, Paint, Source, code};

pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let source = Source { path: "config.toml".into(), ..Source::default() };
    match Config::from_text(&source, text) {
        Ok(loaded) => {
            assert_eq!(loaded.warnings.items, [], "nothing but the file was given");
            let anew = toml::to_string(&loaded.config).expect("what was read can be written");
            let again = Config::from_text(&source, &anew).unwrap_or_else(|refused| panic!("{}", shown(&refused)));
            assert_eq!(again.config, loaded.config, "{anew}");
        }
        Err(refused) => {
            assert!(!refused.items.is_empty());
            refused.items.iter().for_each(|mistake| points_somewhere(mistake, text));
            let shown = shown(&refused);
            assert!(refused.items.iter().all(|mistake| shown.contains(mistake.code)), "{shown}");
        }
    }
}

fn points_somewhere(mistake: &Diagnostic, text: &str) {
    assert!(code::ALL.iter().any(|(known, _)| *known == mistake.code), "{mistake:?}");
    assert!(!mistake.message.is_empty());
    let spans = mistake.at.span.iter().chain(mistake.suggestion.as_ref().map(|suggestion| &suggestion.span));
    for span in spans {
        assert!(text.get(span.clone()).is_some(), "{span:?} is no part of the text: {mistake:?}");
    }
    assert!(mistake.at.span.is_some() || mistake.pointer.is_empty(), "it has no place: {mistake:?}");
}

fn shown(refused: &Diagnostics) -> String {
    refused.render(Paint::Plain, "nothing was changed")
}
