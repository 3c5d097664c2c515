//! Diagnostics as text, in the manner of rustc.

use annotate_snippets::{AnnotationKind, Group, Level, Origin as Header, Patch, Renderer, Snippet};

use super::{
    diagnostic::{Diagnostic, Diagnostics},
    document::Origin,
    words::is_secret,
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
        let warnings = self.items.iter().filter(|item| item.is_warning()).count();
        let counted = [(self.items.len() - warnings, "error"), (warnings, "warning")];
        let words: Vec<String> = counted
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}{}", if *count == 1 { "" } else { "s" }))
            .collect();
        out.push_str(&format!("{}: {}. {active}", self.file, words.join(", ")));
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }

    fn groups<'a>(&'a self, item: &'a Diagnostic) -> Vec<Group<'a>> {
        let level = if item.is_warning() { Level::WARNING } else { Level::ERROR };
        let title = level.primary_title(item.message.as_str()).id(item.code);
        let mut group = match (&item.at.origin, &item.at.span) {
            (Origin::File, Some(span)) if self.shows_a_secret(span.start) => {
                // The line would show what should not have been written there; it must not spread into logs as well.
                let (line, column) = self.line_column(span.start);
                let header = Header::path(self.file.as_str()).line(line).char_column(column);
                let group = title.element(header);
                if item.label.is_empty() { group } else { group.element(Level::NOTE.message(item.label.as_str())) }
            }
            (Origin::File, Some(span)) => {
                let mut annotation = AnnotationKind::Primary.span(span.clone());
                if !item.label.is_empty() {
                    annotation = annotation.label(item.label.as_str());
                }
                title.element(Snippet::source(self.text.as_str()).path(self.file.as_str()).annotation(annotation))
            }
            (origin, _) => {
                let header = match origin {
                    Origin::File => self.file.clone(),
                    Origin::Environment(variable) => format!("environment: {variable}"),
                    Origin::Set(key) => format!("command line: --set {key}"),
                };
                let group = title.element(Header::path(header));
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
        let (shown, hidden): (Vec<_>, Vec<_>) =
            item.suggestion.iter().partition(|fix| !self.shows_a_secret(fix.span.start));
        for fix in hidden {
            group = group.element(Level::HELP.message(format!("{} {}", fix.title, fix.replacement)));
        }
        let fix = shown.first().map(|fix| {
            let patch = Patch::new(fix.span.clone(), fix.replacement.as_str());
            let source = Snippet::source(self.text.as_str()).path(self.file.as_str()).patch(patch);
            Level::HELP.secondary_title(fix.title.as_str()).element(source)
        });
        [Some(group), fix].into_iter().flatten().collect()
    }

    /// Whether a secret was written on this line of the file where none may stand, which is a finding of its own.
    fn shows_a_secret(&self, at: usize) -> bool {
        let line = |at: usize| self.line_column(at).0;
        let secrets = self.items.iter().filter(|item| is_secret(&item.pointer));
        secrets.filter_map(|item| item.at.span.as_ref()).any(|span| line(span.start) == line(at))
    }

    /// What an override overrides, if the file says anything there.
    fn overridden(&self, item: &Diagnostic) -> Option<String> {
        let span = item.at.span.clone().filter(|_| item.at.origin != Origin::File)?;
        let (line, _) = self.line_column(span.start);
        let overridden = if is_secret(&item.pointer) { "not shown" } else { self.text.get(span)?.trim() };
        Some(format!("this overrides {}:{line} ({overridden})", self.file))
    }
}
