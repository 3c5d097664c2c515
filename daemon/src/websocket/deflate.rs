//! Permessage-deflate (RFC 7692) without context takeover: each message is compressed by itself, so what was compressed
//! once serves every client.

use std::cell::RefCell;

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

/// What a sync flush ends with. It is left out of the message and put back before inflating (RFC 7692 §7.2).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// An empty last block: it ends what is whole, and cannot end what is not.
const LAST_BLOCK: [u8; 5] = [0x01, 0x00, 0x00, 0xff, 0xff];

/// The least room for an inflated message: most commands of clients fit in.
const FIRST_ROOM: usize = 256;

/// The most last blocks in one message, ours included. A sender has a reason for one with each of its frames; each costs us a
/// microsecond or two for two bytes of the client's.
const MAX_STREAMS: usize = 1024;

thread_local! {
    /// With the level it was made for. It has some 370 KiB, so there is one for each thread that compresses.
    static DEFLATER: RefCell<Option<(u8, Compress)>> = const { RefCell::new(None) };
    /// It has some 46 KiB, so there is one for each thread that inflates, not for each client.
    static INFLATER: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// Whether a client and the daemon have agreed on it, or may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    #[default]
    Off,
    On,
}

/// Why a message could not be inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotInflated {
    /// It has more bytes than the caller takes.
    TooBig,
    /// It is no deflated message, or not a whole one.
    Malformed,
}

/// The payload of a compressed message, at a level of zlib from 1, the fastest, to 9. It depends on nothing that was
/// compressed before.
pub fn compress(text: &[u8], level: u8) -> Vec<u8> {
    DEFLATER.with_borrow_mut(|slot| {
        let mut deflater = match slot.take() {
            Some((known, mut deflater)) if known == level => {
                deflater.reset();
                deflater
            }
            _ => Compress::new(flate2::Compression::new(level.into()), false),
        };
        let mut deflated = deflate_whole(&mut deflater, text);
        *slot = Some((level, deflater));
        deflated.truncate(deflated.len() - TAIL.len());
        deflated
    })
}

fn deflate_whole(deflater: &mut Compress, mut text: &[u8]) -> Vec<u8> {
    let mut deflated = Vec::with_capacity(longest_deflated(text.len()));
    loop {
        let before = deflater.total_in();
        let flushed = deflater.compress_vec(text, &mut deflated, FlushCompress::Sync);
        flushed.expect("deflating into memory fails only out of order, and each message begins anew");
        text = &text[(deflater.total_in() - before) as usize..];
        if deflated.len() < deflated.capacity() {
            return deflated; // with room left, everything is flushed
        }
        deflated.reserve(deflated.len());
    }
}

/// The message that was compressed, if it has at most `max` bytes; never more room than for one byte beyond is used.
pub fn inflate(deflated: &[u8], max: usize) -> Result<Vec<u8>, NotInflated> {
    INFLATER.with_borrow_mut(|inflater| {
        inflater.reset(false);
        let wanted = deflated.len().saturating_mul(4).max(FIRST_ROOM);
        let message = Vec::with_capacity(wanted.min(max.saturating_add(1)));
        let mut inflating = Inflating { inflater, message, max, streams: 0 };
        inflating.feed(deflated)?;
        inflating.feed(&TAIL)?;
        let length = inflating.message.len();
        let ended = inflating.feed(&LAST_BLOCK)?;
        let is_whole = ended == Status::StreamEnd && inflating.message.len() == length;
        if is_whole { Ok(inflating.message) } else { Err(NotInflated::Malformed) }
    })
}

/// A message that has come out of the inflater so far.
struct Inflating<'i> {
    inflater: &'i mut Decompress,
    message: Vec<u8>,
    max: usize,
    /// How many last blocks have come.
    streams: usize,
}

impl Inflating<'_> {
    /// Inflates all of `part`; `StreamEnd` says that it ended with a last block.
    fn feed(&mut self, mut part: &[u8]) -> Result<Status, NotInflated> {
        loop {
            let before = self.inflater.total_in();
            let inflated = self.inflater.decompress_vec(part, &mut self.message, FlushDecompress::None);
            let status = inflated.map_err(|_| NotInflated::Malformed)?;
            part = &part[(self.inflater.total_in() - before) as usize..];
            if self.message.len() > self.max {
                return Err(NotInflated::TooBig);
            }
            let has_room = self.message.len() < self.message.capacity();
            match status {
                Status::StreamEnd => self.begin_stream()?,
                Status::Ok | Status::BufError if !has_room => self.make_room(),
                Status::BufError if !part.is_empty() => return Err(NotInflated::Malformed),
                Status::Ok | Status::BufError => {}
            }
            if part.is_empty() && has_room {
                return Ok(status);
            }
        }
    }

    /// Other blocks may follow a last one, padded to a whole byte (RFC 7692 §7.2.1).
    fn begin_stream(&mut self) -> Result<(), NotInflated> {
        self.streams += 1;
        self.inflater.reset(false);
        if self.streams > MAX_STREAMS { Err(NotInflated::Malformed) } else { Ok(()) }
    }

    fn make_room(&mut self) {
        let missing = self.max.saturating_add(1) - self.message.len();
        self.message.reserve_exact(self.message.len().min(missing));
    }
}

/// The most bytes that a message of `length` has when it was compressed: literals of 9 bits, as the fastest levels make
/// of what cannot be compressed, and the heads of a few blocks. A client that sends more wastes them.
pub const fn longest_deflated(length: usize) -> usize {
    const HEADS: usize = 64;
    length.saturating_add(length / 8).saturating_add(HEADS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::NotInflated::{Malformed, TooBig};
    use super::*;

    const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    /// The same as the last block of a stream; what should follow begins with another byte.
    const HELLO_LAST: [u8; 7] = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

    fn inflated(deflated: &[u8]) -> Result<String, NotInflated> {
        inflate(deflated, 1000).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn the_examples_of_the_rfc() {
        for level in 1..=9 {
            assert_eq!(compress(b"Hello", level), HELLO, "§7.2.3.1, and §7.2.3.2 without a window");
            assert_eq!(compress(b"", level), [0x00], "§7.2.3.6");
        }
        let two_blocks = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
        let examples: [(&str, &[u8]); 4] = [
            ("§7.2.3.1: one block", &HELLO),
            ("§7.2.3.3: not compressed", &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00]),
            ("§7.2.3.4: a last block", &[&HELLO_LAST[..], &[0x00]].concat()),
            ("§7.2.3.5: two blocks", &two_blocks),
        ];
        for (name, deflated) in examples {
            assert_eq!(inflated(deflated).as_deref(), Ok("Hello"), "{name}");
        }
        assert_eq!(inflated(&[0x00]).as_deref(), Ok(""), "§7.2.3.6");
    }

    #[test]
    fn others_write_the_same_in_other_ways() {
        let last_and_more = [&HELLO_LAST[..], &HELLO_LAST, &HELLO].concat();
        assert_eq!(inflated(&last_and_more).as_deref(), Ok("HelloHelloHello"));
        assert_eq!(inflated(&[0x02, 0x00]).as_deref(), Ok(""), "as Chromium says nothing");
    }

    #[test]
    fn a_window_that_was_to_be_forgotten_is_not_there() {
        // The second "Hello" of §7.2.3.2, which points into the first.
        assert_eq!(inflated(&HELLO).as_deref(), Ok("Hello"));
        assert_eq!(inflated(&[0xf2, 0x00, 0x11, 0x00, 0x00]), Err(Malformed));
    }

    #[test]
    fn what_is_not_whole_or_no_deflate_is_refused() {
        let bad: [(&str, &[u8]); 9] = [
            ("nothing at all", &[]),
            ("a block of a reserved type", &[0x06, 0x00]),
            ("the end of a message that was not begun", &[0xff, 0xff]),
            ("a stored block of wrong length", &[0x00, 0x05, 0x00, 0xfa, 0xfe, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00]),
            ("a stored block that is cut", &[0x00, 0x50, 0x00, 0xaf, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00]),
            ("a block that is cut where it names its codes", &[0x14, 0x2a]),
            ("a last block with nothing behind it", &HELLO_LAST),
            ("the tail twice", &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00, 0x00, 0xff, 0xff]),
            ("a distance into what was never said", &[0x4a, 0x02, 0x51, 0x00]),
        ];
        for (name, deflated) in bad {
            assert_eq!(inflated(deflated), Err(Malformed), "{name}");
        }
        assert_eq!(inflated(&HELLO).as_deref(), Ok("Hello"), "what was refused leaves nothing behind");
    }

    #[test]
    fn a_message_may_have_exactly_what_is_taken() {
        for length in [0, 1, 255, 256, 257, 1000, 5000] {
            let text = vec![b'x'; length];
            let deflated = compress(&text, 1);
            assert_eq!(inflate(&deflated, length).as_deref(), Ok(text.as_slice()), "{length}");
            assert_eq!(inflate(&deflated, usize::MAX).as_deref(), Ok(text.as_slice()), "{length}");
            if let Some(less) = length.checked_sub(1) {
                assert_eq!(inflate(&deflated, less), Err(TooBig), "{length}");
            }
        }
    }

    #[test]
    fn a_bomb_takes_no_more_room_than_a_message_may() {
        const MAX: usize = 64 << 10;
        let bomb = compress(&vec![0; 64 << 20], 9);
        assert!(bomb.len() < longest_deflated(MAX), "{} bytes would come through", bomb.len());
        let mut inflater = Decompress::new(false);
        let message = Vec::with_capacity(FIRST_ROOM);
        let mut inflating = Inflating { inflater: &mut inflater, message, max: MAX, streams: 0 };
        assert_eq!(inflating.feed(&bomb), Err(TooBig));
        assert_eq!(inflating.message.capacity(), MAX + 1);
        assert_eq!(inflate(&bomb, MAX), Err(TooBig));
    }

    #[test]
    fn last_blocks_are_bounded() {
        let last_blocks = |count: usize| [[0x03, 0x00].repeat(count), HELLO.to_vec()].concat();
        assert_eq!(inflated(&last_blocks(MAX_STREAMS - 1)).as_deref(), Ok("Hello"));
        assert_eq!(inflated(&last_blocks(MAX_STREAMS)), Err(Malformed));
    }

    #[test]
    fn no_level_makes_more_than_is_taken_from_a_client() {
        let mut rng = fastrand::Rng::with_seed(1);
        for length in [0, 1, 100, 10_000, 100_000] {
            let noise: Vec<u8> = (0..length).map(|_| rng.u8(144..)).collect();
            for level in 0..=9 {
                let deflated = compress(&noise, level);
                assert!(deflated.len() <= longest_deflated(length), "{} of {length} at {level}", deflated.len());
                assert_eq!(inflate(&deflated, length).as_deref(), Ok(noise.as_slice()));
            }
        }
    }

    #[test]
    fn json_shrinks() {
        let bar = r#"{"type":"bar","stream":"bars","data":{"symbol":"AAPL","open":150.0,"close":150.5}}"#;
        let bars = bar.repeat(20);
        assert!(compress(bars.as_bytes(), 1).len() * 5 < bars.len());
    }

    fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..2000),
            prop::collection::vec(prop::sample::select(b"{}\":,a1".to_vec()), 0..20_000),
            ("[a-z]{1,20}", 0usize..5000).prop_map(|(word, times)| word.repeat(times).into_bytes()),
        ]
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(bytes in any_bytes(), level in 0u8..=9, spare in 0usize..3) {
            prop_assert_eq!(inflate(&compress(&bytes, level), bytes.len() + spare), Ok(bytes));
        }

        #[test]
        fn what_was_compressed_before_changes_nothing(
            before in any_bytes(),
            bytes in any_bytes(),
            levels in (0u8..=9, 0u8..=9),
        ) {
            let fresh = std::thread::scope(|scope| scope.spawn(|| compress(&bytes, levels.1)).join().unwrap());
            compress(&before, levels.0);
            prop_assert_eq!(&compress(&bytes, levels.1), &fresh);
            compress(&before, levels.1);
            prop_assert_eq!(&compress(&bytes, levels.1), &fresh);
        }

        #[test]
        fn whatever_comes_is_inflated_within_its_bound_or_refused(
            mut bytes in any_bytes(),
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in any::<prop::sample::Index>(),
            max in 0usize..3000,
        ) {
            bytes = compress(&bytes, 1);
            for (at, bits) in flips {
                let at = at.index(bytes.len());
                bytes[at] ^= bits;
            }
            bytes.truncate(cut.index(bytes.len()) + 1);
            if let Ok(message) = inflate(&bytes, max) {
                prop_assert!(message.len() <= max);
                prop_assert_eq!(inflate(&bytes, max), Ok(message), "the same again");
            }
        }
    }
}
