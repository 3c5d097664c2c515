//! Cuts what arrives in pieces into lines: the same lines, however the pieces were cut.

/// The bytes of one line. The largest event of a usual sort is a hundredth of it, and many connections may hold one each.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// What has arrived and was not taken yet: less than one line, after all whole ones were taken.
#[derive(Debug, Default)]
pub struct Lines {
    waiting: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// No line ends before this.
    searched: usize,
    /// The beginning of the next line was thrown away, because the line is longer than it may be.
    is_too_long: bool,
}

/// One line that is not empty, without its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    Text(&'a [u8]),
    TooLong,
}

impl Lines {
    pub fn push(&mut self, piece: &[u8]) {
        self.waiting.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.waiting.extend_from_slice(piece);
    }

    /// The next whole line.
    pub fn next_line(&mut self) -> Option<Line<'_>> {
        loop {
            let Some(found) = self.waiting[self.searched..].iter().position(|byte| *byte == b'\n') else {
                self.wait();
                return None;
            };
            let (start, end) = (self.start, self.searched + found);
            (self.start, self.searched) = (end + 1, end + 1);
            let is_too_long = std::mem::take(&mut self.is_too_long) || end - start > MAX_LINE_BYTES;
            if is_too_long {
                return Some(Line::TooLong);
            }
            if !self.waiting[start..end].trim_ascii().is_empty() {
                return Some(Line::Text(&self.waiting[start..end]));
            }
        }
    }

    /// What stands behind the last line end, when nothing more will come.
    pub fn rest(&mut self) -> Option<Line<'_>> {
        let rest = &self.waiting[self.start..];
        match self.is_too_long {
            true => Some(Line::TooLong),
            false if rest.trim_ascii().is_empty() => None,
            false => Some(Line::Text(rest)),
        }
    }

    /// No line ends in what there is: a part of one that is too long already is not kept.
    fn wait(&mut self) {
        if self.is_too_long || self.waiting.len() - self.start > MAX_LINE_BYTES {
            self.is_too_long = true;
            self.waiting.clear();
            self.start = 0;
        }
        self.searched = self.waiting.len();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All lines of these pieces, and the rest; `None` is one that is too long.
    fn lines(pieces: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
        let told = |line: Line<'_>| match line {
            Line::Text(text) => Some(text.to_vec()),
            Line::TooLong => None,
        };
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in pieces {
            lines.push(piece);
            while let Some(line) = lines.next_line() {
                found.push(told(line));
            }
        }
        found.extend(lines.rest().map(told));
        found
    }

    #[test]
    fn empty_lines_are_none_and_the_last_needs_no_end() {
        let expected = ["{}\r", "7", "x"].map(|text| Some(text.as_bytes().to_vec()));
        assert_eq!(lines(&[b"{}\r\n\n", b" \t\n7\n", b"x"]), expected);
        assert!(lines(&[b"", b"\n \n"]).is_empty());
    }

    #[test]
    fn a_line_has_a_longest_length_and_the_next_is_read() {
        let longest = vec![b'x'; MAX_LINE_BYTES];
        let longer = [&longest[..], b"x"].concat();
        let good = Some(b"y".to_vec());
        assert_eq!(lines(&[&longest, b"\ny\n"]), [Some(longest.clone()), good.clone()]);
        assert_eq!(lines(&[&longer, b"\ny\n"]), [None, good.clone()]);
        assert_eq!(lines(&[&longer, b"x", b"xx\ny\n"]), [None, good.clone()]);
        assert_eq!(lines(&[&[&longer[..], b"\ny"].concat()]), [None, good]);
        assert_eq!(lines(&[&longer]), [None]);
        let mut lines = Lines::default();
        for _ in 0..100 {
            lines.push(&longer);
            assert_eq!(lines.next_line(), None);
            assert!(lines.waiting.is_empty(), "what is too long is not kept");
        }
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_lines(bytes in "[ab\n\r ]{0,60}", cuts in prop::collection::vec(0..60usize, 0..8)) {
            let bytes = bytes.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&bytes[from..cut]);
                from = cut;
            }
            pieces.push(&bytes[from..]);
            prop_assert_eq!(lines(&pieces), lines(&[bytes]));
        }
    }
}
