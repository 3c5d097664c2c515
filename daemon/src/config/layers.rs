//! The files of one configuration laid end to end, so that a byte of any of them has a number of its own.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// One file: what messages call it, and its text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    pub name: String,
    pub text: String,
}

/// The configuration file and those of its folder. What spans count is the bytes of all of them, with one between two
/// files, so that the end of one is not the beginning of the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    pub file: Layer,
    /// Each wins over those before it.
    pub folder: Vec<Layer>,
}

/// A place as an operator looks it up; line and column (in characters) count from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position<'a> {
    pub file: &'a str,
    pub line: usize,
    pub column: usize,
}

impl Layers {
    /// A configuration of one file.
    pub fn of(name: &str, text: &str) -> Self {
        Self { file: Layer { name: name.to_owned(), text: text.to_owned() }, folder: Vec::new() }
    }

    /// What the configuration as a whole is called: the name of the file.
    pub fn name(&self) -> &str {
        &self.file.name
    }

    /// Every file with the number of its first byte, the weakest first.
    pub fn all(&self) -> impl Iterator<Item = (usize, &Layer)> {
        [&self.file].into_iter().chain(&self.folder).scan(0, |next, layer| {
            let start = *next;
            *next += layer.text.len() + 1;
            Some((start, layer))
        })
    }

    /// The file that a byte is in, and the number of that file's first byte.
    pub fn around(&self, byte: usize) -> (usize, &Layer) {
        self.all().take_while(|(start, _)| *start <= byte).last().unwrap_or((0, &self.file))
    }

    /// The text of a span; it lies in one file.
    pub fn text(&self, span: &Range<usize>) -> Option<&str> {
        let (start, layer) = self.around(span.start);
        layer.text.get(span.start - start..span.end.checked_sub(start)?)
    }

    pub fn position(&self, byte: usize) -> Position<'_> {
        let (start, layer) = self.around(byte);
        let before = &layer.text[..(byte - start).min(layer.text.len())];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let (line, column) = (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1);
        Position { file: &layer.name, line, column }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_in_one_file_and_the_end_of_one_is_not_the_next() {
        let second = Layer { name: "b".to_owned(), text: "é=1\ny".to_owned() };
        let layers = Layers { folder: vec![second], ..Layers::of("a", "x\n") };
        let at = |byte| {
            let Position { file, line, column } = layers.position(byte);
            format!("{file}:{line}:{column}")
        };
        assert_eq!([at(0), at(2), at(3), at(5), at(8), at(9)], ["a:1:1", "a:2:1", "b:1:1", "b:1:2", "b:2:1", "b:2:2"]);
        assert_eq!(layers.text(&(3..5)), Some("é"));
        assert_eq!(layers.text(&(1..5)), None, "no text goes from one file into the next");
    }
}
