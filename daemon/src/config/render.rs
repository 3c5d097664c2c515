//! Diagnostics as text, in the manner of rustc.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin as Header, Patch, Renderer, Snippet};

use super::{
    diagnostic::{Diagnostic, Diagnostics},
    document::Origin,
    layers::Position,
};

/// Whether the text may carry terminal colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    Plain,
    Coloured,
}

impl Diagnostics {
    /// The findings, then one line that counts them and says what stays active (`active`, a sentence). Nothing at all
    /// when there are none.
    pub fn render(&self, paint: Paint, active: &str) -> String {
        if self.is_empty() {
            return String::new();
        }
        let renderer = match paint {
            Paint::Plain => Renderer::plain(),
            Paint::Coloured => Renderer::styled(),
        };
        let mut out = String::new();
        for item in &self.items {
            out.push_str(&renderer.render(&self.groups(item)));
            out.push_str("\n\n");
        }
        let count = |severity: &str| self.items.iter().filter(|item| item.severity() == severity).count();
        let words: Vec<String> = ["error", "warning", "note"]
            .map(|severity| (count(severity), severity))
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}{}", if *count == 1 { "" } else { "s" }))
            .collect();
        out.push_str(&format!("{}: {}. {active}", self.file(), words.join(", ")));
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }

    fn groups<'a>(&'a self, item: &'a Diagnostic) -> Vec<Group<'a>> {
        let level = match item.severity() {
            "note" => Level::NOTE,
            "warning" => Level::WARNING,
            _ => Level::ERROR,
        };
        let title = level.primary_title(item.message.as_str()).id(item.code);
        let mut group = match (&item.at.origin, &item.at.span) {
            (Origin::File, Some(span)) if self.is_shown(span.start) => {
                let mut annotation = AnnotationKind::Primary.span(self.in_file(span));
                if !item.label.is_empty() {
                    annotation = annotation.label(item.label.as_str());
                }
                title.element(self.snippet(span.start).annotation(annotation))
            }
            (origin, span) => {
                let header = match (origin, span) {
                    (Origin::File, Some(span)) => self.header(span.start),
                    (Origin::File, None) => Header::path(self.file()),
                    (Origin::Environment(variable), _) => Header::path(format!("environment: {variable}")),
                    (Origin::Set(key), _) => Header::path(format!("command line: --set {key}")),
                };
                let group = title.element(header);
                if item.label.is_empty() { group } else { group.element(Level::NOTE.message(item.label.as_str())) }
            }
        };
        if let Some(overridden) = self.overridden(item) {
            group = group.element(Level::NOTE.message(overridden));
        }
        for note in &item.notes {
            group = group.element(Level::NOTE.message(note.as_str()));
        }
        for help in &item.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let (shown, hidden): (Vec<_>, Vec<_>) = item.suggestion.iter().partition(|fix| self.is_shown(fix.span.start));
        for fix in hidden {
            group = group.element(Level::HELP.message(format!("{} {}", fix.title, fix.replacement)));
        }
        let fix = shown.first().map(|fix| {
            let patch = Patch::new(self.in_file(&fix.span), fix.replacement.as_str());
            Level::HELP.secondary_title(fix.title.as_str()).element(self.snippet(fix.span.start).patch(patch))
        });
        [Some(group), fix].into_iter().flatten().collect()
    }

    /// The file that a byte is in, to show lines of.
    fn snippet<'a, T: Clone>(&'a self, byte: usize) -> Snippet<'a, T> {
        let (_, layer) = self.layers.around(byte);
        Snippet::source(layer.text.as_str()).path(layer.name.as_str())
    }

    /// Where a byte is, without its line; of a file that could not be read, its name.
    fn header(&self, byte: usize) -> Header<'_> {
        let Position { file, line, column } = self.layers.position(byte);
        match self.layers.around(byte) {
            (_, layer) if layer.text.is_empty() => Header::path(file),
            _ => Header::path(file).line(line).char_column(column),
        }
    }

    fn in_file(&self, span: &Range<usize>) -> Range<usize> {
        let (start, _) = self.layers.around(span.start);
        span.start - start..span.end - start
    }

    /// Whether the line of a byte can be shown. One with a secret where none may stand, which is a finding of its own, must
    /// not spread into logs as well; and a file that could not be read has none.
    fn is_shown(&self, byte: usize) -> bool {
        let line = |byte: usize| (self.layers.position(byte).file, self.layers.position(byte).line);
        let secrets = self.items.iter().filter(|item| item.is_about_a_secret());
        let has_text = !self.layers.around(byte).1.text.is_empty();
        has_text && !secrets.filter_map(|item| item.at.span.as_ref()).any(|span| line(span.start) == line(byte))
    }

    /// What an override overrides, if a file says anything there.
    fn overridden(&self, item: &Diagnostic) -> Option<String> {
        let span = item.at.span.as_ref().filter(|_| item.at.origin != Origin::File)?;
        let Position { file, line, .. } = self.layers.position(span.start);
        let overridden = if item.is_about_a_secret() { "not shown" } else { self.layers.text(span)?.trim() };
        Some(format!("this overrides {file}:{line} ({overridden})"))
    }
}
