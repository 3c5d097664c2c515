//! As much of RFC 6455 as a member of the crowd needs: a server's frames, each a whole message, and its own small ones.

pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub opcode: u8,
    pub payload: &'a [u8],
    /// Bytes of the whole frame.
    pub length: usize,
}

/// A server's frame, if it is whole; the error says what none may be.
pub fn read(bytes: &[u8]) -> Result<Option<Frame<'_>>, String> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if first & 0xf0 != 0x80 || *second > 127 {
        return Err(format!("a frame that begins with {first:#x} {second:#x}"));
    }
    let (head, length) = match (second, rest) {
        (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        (126, _) => return Ok(None),
        (127, _) => return Err("a message of more than 64 KiB".into()),
        (short, _) => (2, usize::from(*short)),
    };
    let frame = bytes.get(head..head + length);
    Ok(frame.map(|payload| Frame { opcode: first & 0x0f, payload, length: head + length }))
}

/// A client's frame of less than 64 KiB, with a mask that changes nothing.
pub fn write(opcode: u8, payload: &[u8], into: &mut Vec<u8>) {
    into.push(0x80 | opcode);
    match payload.len() {
        short @ ..126 => into.push(0x80 | short as u8),
        long => {
            into.push(0x80 | 126);
            into.extend((long as u16).to_be_bytes());
        }
    }
    into.extend([0; 4]);
    into.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_when_it_is_whole() {
        let long = [&[0x81, 126, 0, 126][..], &[b'x'; 126]].concat();
        for (whole, head) in [(&[0x89, 2, b'h', b'i'][..], 2), (&long, 4)] {
            for end in 0..whole.len() {
                assert_eq!(read(&whole[..end]), Ok(None), "{end} bytes of {whole:?}");
            }
            let frame = Frame { opcode: whole[0] & 0x0f, payload: &whole[head..], length: whole.len() };
            assert_eq!(read(&[whole, &[0x81]].concat()), Ok(Some(frame)));
        }
    }

    #[test]
    fn pieces_masks_and_what_is_reserved_are_refused() {
        for begin in [[0x01, 0], [0xc1, 0], [0x81, 0x80], [0x81, 127]] {
            assert!(read(&begin).is_err(), "{begin:?}");
        }
    }

    #[test]
    fn what_is_written_is_masked() {
        let mut written = Vec::new();
        write(PONG, b"hi", &mut written);
        assert_eq!(written, [0x8a, 0x82, 0, 0, 0, 0, b'h', b'i']);
    }
}
