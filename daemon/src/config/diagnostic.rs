//! An error about the configuration as data: its code, its place, its rule, and the next step.

use std::ops::Range;

use serde_json::{Value, json};

use super::{
    code,
    document::{At, Document, Origin, dotted},
    layers::Layers,
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
    /// Whether a schema calls the value secret.
    pub hides: bool,
}

/// A change of the file that would make the finding go away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    pub title: String,
    pub span: Range<usize>,
    pub replacement: String,
}

/// Findings about the files of a configuration, in the order of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    pub layers: Layers,
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
            hides: false,
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
        Self::of_value(code::PLUGIN_REFUSES, document, &pointer, message)
            .label(here)
            .note(format!("the plugin of broadcaster `{broadcaster}` says so"))
    }

    /// What a plugin finds odd about its settings, and takes all the same.
    pub fn odd(document: &Document, broadcaster: &str, relative: &str, message: &str) -> Self {
        Self { code: code::ODD, label: String::new(), ..Self::of_plugin(document, broadcaster, relative, message) }
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

    /// The same finding in a file whose first byte has another number.
    pub fn moved(mut self, by: usize) -> Self {
        let spans = self.at.span.iter_mut().chain(self.suggestion.as_mut().map(|fix| &mut fix.span));
        spans.for_each(|span| *span = span.start + by..span.end + by);
        self
    }

    /// Whether what it is about must not be shown.
    pub fn is_about_a_secret(&self) -> bool {
        self.hides || is_secret(&self.pointer)
    }

    /// Whether everything runs all the same.
    pub fn is_warning(&self) -> bool {
        [code::IGNORED, code::ODD, code::OPEN, code::SILENT].contains(&self.code) || self.is_note()
    }

    /// Whether nothing is odd about it either: it only says what was not looked at.
    pub fn is_note(&self) -> bool {
        self.code == code::UNCHECKED
    }

    /// What it is called.
    pub fn severity(&self) -> &'static str {
        match (self.is_note(), self.is_warning()) {
            (true, _) => "note",
            (_, true) => "warning",
            _ => "error",
        }
    }
}

impl Diagnostics {
    pub fn new(layers: Layers, mut items: Vec<Diagnostic>) -> Self {
        // In the order an editor is walked through; what comes from outside the files stands last.
        items.sort_by_key(|item| {
            let outside = item.at.origin != Origin::File;
            (outside, item.at.span.as_ref().map_or(0, |span| span.start))
        });
        Self { layers, items }
    }

    pub fn about(document: &Document, items: Vec<Diagnostic>) -> Self {
        Self::new(document.layers().clone(), items)
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// What the configuration is called.
    pub fn file(&self) -> &str {
        self.layers.name()
    }

    /// These findings and more about the same files.
    pub fn and(self, more: Vec<Diagnostic>) -> Self {
        Self::new(self.layers, [self.items, more].concat())
    }

    /// The same as data: a list in the order of the files, with bytes, lines and columns of the file that is named.
    pub fn to_json(&self) -> Value {
        let items: Vec<Value> = self.items.iter().map(|item| self.item_to_json(item)).collect();
        let errors = self.items.iter().filter(|item| !item.is_warning()).count();
        json!({ "file": self.file(), "errors": errors, "diagnostics": items })
    }

    fn item_to_json(&self, item: &Diagnostic) -> Value {
        let (environment, set) = match &item.at.origin {
            Origin::File => (None, None),
            Origin::Environment(variable) => (Some(variable), None),
            Origin::Set(key) => (None, Some(key)),
        };
        let position = item.at.span.as_ref().map(|span| self.layers.position(span.start));
        let in_file = |span: &Range<usize>| {
            let (start, _) = self.layers.around(span.start);
            [span.start - start, span.end - start]
        };
        let suggestion = item
            .suggestion
            .as_ref()
            .map(|fix| json!({ "title": fix.title, "span": in_file(&fix.span), "replacement": fix.replacement }));
        json!({
            "code": item.code,
            "severity": item.severity(),
            "message": item.message,
            "pointer": item.pointer,
            "environment": environment,
            "set": set,
            "file": position.map(|at| at.file),
            "line": position.map(|at| at.line),
            "column": position.map(|at| at.column),
            "span": item.at.span.as_ref().map(in_file),
            "label": item.label,
            "help": item.help,
            "notes": item.notes,
            "suggestion": suggestion,
        })
    }
}
