//! An error about the configuration as data: its code, its place, its rule, and the next step.

use std::ops::Range;

use serde_json::{Value, json};

use super::{
    document::{At, Document, Origin, dotted},
    words::is_secret,
};

pub use super::render::Paint;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable, from `code::ALL`.
    pub code: &'static str,
    /// What is wrong, one line.
    pub message: String,
    /// The setting, as a JSON pointer into the whole configuration; empty for the file itself.
    pub pointer: String,
    pub at: At,
    /// Stands beside the arrow: the rule that was broken.
    pub label: String,
    pub help: Vec<String>,
    pub notes: Vec<String>,
    pub suggestion: Option<Suggestion>,
}

/// A change of the file that would make the finding go away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    pub title: String,
    pub span: Range<usize>,
    pub replacement: String,
}

/// Findings about one file, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    pub file: String,
    pub text: String,
    pub items: Vec<Diagnostic>,
}

impl Diagnostic {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            pointer: String::new(),
            at: At::default(),
            label: String::new(),
            help: Vec::new(),
            notes: Vec::new(),
            suggestion: None,
        }
    }

    /// A finding about the value of a setting.
    pub fn of_value(code: &'static str, document: &Document, pointer: &str, message: impl Into<String>) -> Self {
        let at = document.at_value(pointer);
        Self { pointer: pointer.to_owned(), at, ..Self::new(code, message) }
    }

    /// A finding about the name of a setting or table.
    pub fn of_key(code: &'static str, document: &Document, pointer: &str, message: impl Into<String>) -> Self {
        let at = document.at_key(pointer);
        Self { pointer: pointer.to_owned(), at, ..Self::new(code, message) }
    }

    /// What a plugin says about its settings: `relative` points into them, empty for the settings as a whole.
    pub fn of_plugin(document: &Document, broadcaster: &str, relative: &str, message: &str) -> Self {
        let slash = if relative.is_empty() || relative.starts_with('/') { "" } else { "/" };
        let pointer = format!("/broadcasters/{broadcaster}/settings{slash}{relative}");
        let message = format!("`{}`: {message}", dotted(&pointer));
        let given = document.value(&pointer).is_some() || document.raw(&pointer).is_some();
        let here = if given { "refused here" } else { "not given here" };
        Self::of_value(super::code::PLUGIN_REFUSES, document, &pointer, message)
            .label(here)
            .note(format!("the plugin of broadcaster `{broadcaster}` says so"))
    }

    /// What a plugin finds odd about its settings, and takes all the same.
    pub fn odd(document: &Document, broadcaster: &str, relative: &str, message: &str) -> Self {
        Self {
            code: super::code::ODD,
            label: String::new(),
            ..Self::of_plugin(document, broadcaster, relative, message)
        }
    }

    pub fn at(self, at: At) -> Self {
        Self { at, ..self }
    }

    pub fn label(self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self }
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Proposes another text for what the finding points at. The text of an override is not ours to edit: there it
    /// becomes a help. So it does where the line would show a secret.
    pub fn suggest(mut self, title: &str, replacement: impl Into<String>) -> Self {
        let replacement = replacement.into();
        match self.at.span.clone().filter(|_| self.at.origin == Origin::File && !is_secret(&self.pointer)) {
            Some(span) => self.suggestion = Some(Suggestion { title: title.to_owned(), span, replacement }),
            None => self.help.push(match title.strip_suffix(" this?") {
                Some(question) => format!("{question} {replacement}?"),
                None => format!("{title} {replacement}"),
            }),
        }
        self
    }

    /// Proposes a text to insert elsewhere in the file.
    pub fn suggest_at(self, title: &str, at: usize, text: &str) -> Self {
        let suggestion = Suggestion { title: title.to_owned(), span: at..at, replacement: text.to_owned() };
        Self { suggestion: Some(suggestion), ..self }
    }

    /// Whether everything runs all the same.
    pub fn is_warning(&self) -> bool {
        [super::code::IGNORED, super::code::ODD].contains(&self.code)
    }
}

impl Diagnostics {
    pub fn new(file: &str, text: &str, mut items: Vec<Diagnostic>) -> Self {
        // In the order an editor is walked through; what comes from outside the file stands last.
        items.sort_by_key(|item| {
            let outside = item.at.origin != Origin::File;
            (outside, item.at.span.as_ref().map_or(0, |span| span.start))
        });
        Self { file: file.to_owned(), text: text.to_owned(), items }
    }

    pub fn about(document: &Document, items: Vec<Diagnostic>) -> Self {
        Self::new(document.name(), document.text(), items)
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// These findings and more about the same file.
    pub fn and(self, more: Vec<Diagnostic>) -> Self {
        Self::new(&self.file, &self.text, [self.items, more].concat())
    }

    /// The same as data: a list in the order of the file, byte spans and one-based lines and columns.
    pub fn to_json(&self) -> Value {
        let items: Vec<Value> = self.items.iter().map(|item| self.item_to_json(item)).collect();
        let errors = self.items.iter().filter(|item| !item.is_warning()).count();
        json!({ "file": self.file, "errors": errors, "diagnostics": items })
    }

    /// Line and column (in characters) of a byte of the text, both from one.
    pub fn line_column(&self, byte: usize) -> (usize, usize) {
        let before = &self.text[..byte.min(self.text.len())];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    fn item_to_json(&self, item: &Diagnostic) -> Value {
        let (environment, set) = match &item.at.origin {
            Origin::File => (None, None),
            Origin::Environment(variable) => (Some(variable), None),
            Origin::Set(key) => (None, Some(key)),
        };
        let position = item.at.span.as_ref().map(|span| self.line_column(span.start));
        let suggestion = item.suggestion.as_ref().map(
            |fix| json!({ "title": fix.title, "span": [fix.span.start, fix.span.end], "replacement": fix.replacement }),
        );
        json!({
            "code": item.code,
            "severity": if item.is_warning() { "warning" } else { "error" },
            "message": item.message,
            "pointer": item.pointer,
            "environment": environment,
            "set": set,
            "line": position.map(|(line, _)| line),
            "column": position.map(|(_, column)| column),
            "span": item.at.span.as_ref().map(|span| [span.start, span.end]),
            "label": item.label,
            "help": item.help,
            "notes": item.notes,
            "suggestion": suggestion,
        })
    }
}
