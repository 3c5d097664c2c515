//! The payload of every event: which it is and when it was published, at fixed places, so that millions a second can be read.

/// Bytes of each payload.
pub const PAYLOAD: usize = 256;
const TOPIC: &[u8] = b"{\"c\":\"";
const NUMBER: &[u8] = b"\",\"n\":\"";
const STAMP: &[u8] = b"\",\"t\":\"";
const FILL: &[u8] = b"\",\"x\":\"";
const END: &[u8] = b"\"}";
const EIGHT: usize = 8;
const NUMBER_AT: usize = TOPIC.len() + EIGHT + NUMBER.len();
const STAMP_AT: usize = NUMBER_AT + EIGHT + STAMP.len();
const FILL_AT: usize = STAMP_AT + 2 * EIGHT;

/// What stands in a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub topic: u32,
    /// Of its topic, from 0 on.
    pub number: u64,
    /// Nanoseconds since the publisher began.
    pub stamp: u64,
}

/// Writes payloads, all in the same bytes.
#[derive(Debug)]
pub struct Writer([u8; PAYLOAD]);

impl Default for Writer {
    fn default() -> Self {
        let mut bytes = [b'x'; PAYLOAD];
        let pieces = [
            (0, TOPIC),
            (TOPIC.len() + EIGHT, NUMBER),
            (NUMBER_AT + EIGHT, STAMP),
            (FILL_AT, FILL),
            (PAYLOAD - END.len(), END),
        ];
        for (at, piece) in pieces {
            bytes[at..at + piece.len()].copy_from_slice(piece);
        }
        Self(bytes)
    }
}

impl Writer {
    pub fn write(&mut self, mark: Mark) -> &[u8] {
        write_digits(&mut self.0[TOPIC.len()..][..EIGHT], u64::from(mark.topic));
        write_digits(&mut self.0[NUMBER_AT..][..EIGHT], mark.number);
        write_digits(&mut self.0[STAMP_AT..][..2 * EIGHT], mark.stamp);
        &self.0
    }
}

/// Reads marks out of delivered texts. They stand at the same place in all texts of a server, so it is looked for once.
#[derive(Debug, Default)]
pub struct Reader {
    at: usize,
}

impl Reader {
    /// `None`: there is no payload in it.
    pub fn mark(&mut self, text: &[u8]) -> Option<Mark> {
        if !text.get(self.at..)?.starts_with(TOPIC) {
            self.at = text.windows(TOPIC.len()).position(|window| window == TOPIC)?;
        }
        let payload = text.get(self.at..self.at + FILL_AT)?;
        Some(Mark {
            topic: u32::try_from(eight_digits(&payload[TOPIC.len()..])?).ok()?,
            number: eight_digits(&payload[NUMBER_AT..])?,
            stamp: eight_digits(&payload[STAMP_AT..])? * 100_000_000 + eight_digits(&payload[STAMP_AT + EIGHT..])?,
        })
    }
}

fn write_digits(room: &mut [u8], mut value: u64) {
    for digit in room.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// All eight at once, pairs and pairs of pairs: one by one would be most of what the load does.
fn eight_digits(text: &[u8]) -> Option<u64> {
    let bytes = u64::from_le_bytes(text.get(..EIGHT)?.try_into().ok()?);
    let digits = bytes.wrapping_sub(0x3030_3030_3030_3030);
    // A byte that is no digit has a high bit before or after six is added.
    if (digits | digits.wrapping_add(0x0606_0606_0606_0606)) & 0xf0f0_f0f0_f0f0_f0f0 != 0 {
        return None;
    }
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_wherever_it_stands() {
        let mark = Mark { topic: 999, number: 12_345_678, stamp: 9_876_543_210_123_456 };
        let mut writer = Writer::default();
        let payload = writer.write(mark).to_vec();
        assert_eq!(payload.len(), PAYLOAD);
        assert!(serde_json::from_slice::<serde_json::Value>(&payload).is_ok());
        let around = [b"{\"data\":", &payload[..], b"}"].concat();
        let mut reader = Reader::default();
        for text in [&payload, &around, &payload] {
            assert_eq!(reader.mark(text), Some(mark));
        }
        for text in [&b"{}"[..], &payload[..FILL_AT - 1], b""] {
            assert_eq!(reader.mark(text), None);
        }
    }

    #[test]
    fn eight_digits_are_read_and_nothing_else() {
        for value in [0, 1, 9, 10, 12_345_678, 90_817_263, 99_999_999] {
            assert_eq!(eight_digits(format!("{value:08}").as_bytes()), Some(value));
        }
        for text in ["1234567", "1234567x", "/2345678", ":2345678", "1234 678", "-2345678"] {
            assert_eq!(eight_digits(text.as_bytes()), None, "{text}");
        }
    }
}
