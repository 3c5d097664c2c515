//! Server-sent events of the daemon, block by block as they arrive.

use std::collections::VecDeque;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::runtime::Runtime;

/// What the daemon says, for as long as it does. It is its own machine's daemon, so a message may be as long as it makes it.
pub struct Events {
    runtime: Runtime,
    body: Incoming,
    text: Text,
}

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Its kind.
    pub event: String,
    /// Where whoever has heard it goes on from.
    pub id: Option<String>,
    /// The message itself, on one line.
    pub data: String,
}

/// Blocks out of pieces, however those were cut.
#[derive(Debug, Default)]
struct Text {
    /// The beginning of a line.
    line: Vec<u8>,
    /// The block that the lines before it begin.
    block: Block,
    whole: VecDeque<Block>,
}

impl Events {
    pub(super) fn new(runtime: Runtime, body: Incoming) -> Self {
        Self { runtime, body, text: Text::default() }
    }
}

/// Ends when the daemon does.
impl Iterator for Events {
    type Item = Block;

    fn next(&mut self) -> Option<Block> {
        loop {
            if let Some(block) = self.text.whole.pop_front() {
                return Some(block);
            }
            let frame = self.runtime.block_on(self.body.frame())?.ok()?;
            if let Ok(piece) = frame.into_data() {
                self.text.push(&piece);
            }
        }
    }
}

impl Text {
    fn push(&mut self, piece: &[u8]) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.ends_with(b"\n") {
                let line = String::from_utf8_lossy(&self.line).into_owned();
                self.line.clear();
                self.take(line.trim_end_matches(['\n', '\r']));
            }
        }
    }

    fn take(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "" if line.is_empty() => {
                let block = std::mem::take(&mut self.block);
                self.whole.extend((!block.data.is_empty()).then_some(block));
            }
            "event" => value.clone_into(&mut self.block.event),
            "id" => self.block.id = Some(value.to_owned()),
            // A line end inside of JSON is as good as a space.
            "data" if !self.block.data.is_empty() => self.block.data.extend([" ", value]),
            "data" => value.clone_into(&mut self.block.data),
            _ => {} // a comment, or what a later daemon may say
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_the_same_however_they_are_cut() {
        let said =
            ":\n\nevent: tick\ndata: {\"a\":\ndata: 1}\nid: ticks=e:1\n\nid: ticks=e:2\n\ndata:x\r\n\r\nevent: half\n";
        let block = |event: &str, id: Option<&str>, data: &str| Block {
            event: event.to_owned(),
            id: id.map(str::to_owned),
            data: data.to_owned(),
        };
        let expected = [block("tick", Some("ticks=e:1"), "{\"a\": 1}"), block("", None, "x")];
        for size in 1..said.len() {
            let mut text = Text::default();
            said.as_bytes().chunks(size).for_each(|piece| text.push(piece));
            assert_eq!(text.whole, expected, "pieces of {size}");
        }
    }
}
