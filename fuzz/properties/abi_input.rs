//! Whatever a plugin says about sizes, strides and lengths: what it hands over is read as a plain reading of the header says,
//! and never beyond what it says (under the address sanitizer a read beyond it is found).
#![expect(unsafe_code, reason = "this is about memory that belongs to the other side of the C border")]

use std::mem::{offset_of, size_of};

use broadcastd::plugin::message;
use broadcastd_plugin_api::abi::{BadText, Batch, HostApi, Msg, read_table};
use serde::de::IgnoredAny;

const POINTER: usize = size_of::<usize>();
/// Every text of a message, in the order of `texts`.
const TEXTS: [usize; 8] = [
    offset_of!(Msg<'_>, r#type),
    offset_of!(Msg<'_>, topic),
    offset_of!(Msg<'_>, key),
    offset_of!(Msg<'_>, record),
    offset_of!(Msg<'_>, audience),
    offset_of!(Msg<'_>, session_id),
    offset_of!(Msg<'_>, payload),
    offset_of!(Msg<'_>, cause_stream),
];
/// No memory is so long.
const ENDLESS: usize = 1 << (usize::BITS - 1);

/// A count, a stride (two bytes) and two bytes of advice for the texts; then what the items hold, texts apart; and that
/// once more is the memory that texts lie in.
pub fn check(input: &[u8]) {
    let Some((&[count, low, high, seed, step], rest)) = input.split_first_chunk() else { return };
    let stride = usize::from(u16::from_le_bytes([low, high])) % 512;
    let count = usize::from(count) % 9;
    let texts: Box<[u8]> = rest.into(); // apart, so that its end is known to the sanitizer
    let mut memory = Memory::new(rest, count * stride);
    memory.put_texts(stride, (seed, step), &texts);
    reads_what_was_written(&memory, count, stride);
    refuses_what_cannot_be(&memory, stride);
    reads_a_table_as_far_as_it_says(rest);
}

/// Bytes that begin at an odd address and end where their allocation ends.
struct Memory(Box<[u8]>);

impl Memory {
    fn new(content: &[u8], len: usize) -> Self {
        let mut bytes = vec![0; len + 1];
        bytes[1..].iter_mut().zip(content).for_each(|(to, from)| *to = *from);
        Self(bytes.into())
    }

    fn bytes(&self) -> &[u8] {
        &self.0[1..]
    }

    /// No pointer that came with the input may stay: the header's rule R3 says that they can be followed.
    fn put_texts(&mut self, stride: usize, (seed, step): (u8, u8), texts: &[u8]) {
        if stride == 0 {
            return;
        }
        let mut advice = seed;
        for item in self.0[1..].chunks_exact_mut(stride) {
            for offset in TEXTS {
                advice = advice.wrapping_mul(5).wrapping_add(step);
                let start = usize::from(advice) % (texts.len() + 1);
                let (text, len) = match advice >> 6 {
                    0 => (0, usize::from(advice)),
                    1 => (texts.as_ptr() as usize, ENDLESS),
                    _ => (texts[start..].as_ptr() as usize, texts.len() - start),
                };
                let pair = [text.to_ne_bytes(), len.to_ne_bytes()].concat();
                if let Some(place) = item.get_mut(offset..) {
                    place.iter_mut().zip(&pair).for_each(|(to, from)| *to = *from);
                }
            }
        }
    }
}

fn reads_what_was_written(memory: &Memory, count: usize, stride: usize) {
    let items = memory.bytes().as_ptr().cast::<Msg<'_>>();
    // SAFETY: so many bytes there are, and every pointer in them is NULL, or has its length in `texts`, or is not followed.
    let batch = unsafe { Batch::new(items, count, stride) };
    if count > 0 && stride < size_of::<u32>() {
        return assert!(batch.is_err());
    }
    let read: Vec<_> = batch.unwrap_or_else(|error| panic!("{error:?}")).collect();
    assert_eq!(read.len(), count);
    for (item, written) in read.into_iter().zip(memory.bytes().chunks_exact(stride.max(1))) {
        let size = u32::from_ne_bytes(*written.first_chunk().expect("a stride has room for a size"));
        let is_sound = (size_of::<u32>()..=stride).contains(&(size as usize));
        assert_eq!(item.err().map(|bad| bad.size), (!is_sound).then_some(size));
        if let Ok(message) = item {
            has_the_texts(&message, &whole_fields(written, size));
            // Whatever it is, the daemon takes it or says why not.
            match message::check(&message) {
                Ok(draft) => {
                    assert!(!draft.kind.is_empty() && serde_json::from_slice::<IgnoredAny>(draft.payload).is_ok())
                }
                Err(bad) => assert!(!bad.to_string().is_empty()),
            }
        }
    }
}

/// A message's bytes as far as it says, and not a part of a word: what is missing is zero.
fn whole_fields(written: &[u8], size: u32) -> [u8; size_of::<Msg<'_>>()] {
    let mut whole = [0; size_of::<Msg<'_>>()];
    let known = (size as usize / POINTER * POINTER).min(whole.len());
    whole[..known].copy_from_slice(&written[..known]);
    whole
}

fn has_the_texts(message: &Msg<'_>, bytes: &[u8]) {
    let word = |at: usize| usize::from_ne_bytes(*bytes[at..].first_chunk().expect("a text lies in its message"));
    let texts =
        [message.r#type, message.topic, message.key, message.audience, message.session_id, message.cause_stream];
    let places = [0, 1, 2, 4, 5, 7].map(|index| TEXTS[index]);
    for (text, at) in texts.into_iter().zip(places) {
        match (text.get(), expected(word(at), word(at + POINTER))) {
            (Ok(text), Ok(len)) => assert_eq!(text.len(), len),
            (Err(BadText::Encoding), Ok(len)) => assert!(len > 0),
            (read, expected) => assert_eq!(read.map(str::len), expected),
        }
    }
    for (bytes, at) in [(message.record, TEXTS[3]), (message.payload, TEXTS[6])] {
        assert_eq!(bytes.get().map(<[u8]>::len), expected(word(at), word(at + POINTER)));
    }
    let number = offset_of!(Msg<'_>, cause_seq);
    assert_eq!(message.cause_seq, u64::from_ne_bytes(*bytes[number..].first_chunk().expect("it lies in its message")));
}

fn expected(text: usize, len: usize) -> Result<usize, BadText> {
    match (text, len) {
        (_, 0) => Ok(0),
        (0, _) => Err(BadText::Null),
        (_, ENDLESS..) => Err(BadText::Length),
        (_, len) => Ok(len),
    }
}

fn refuses_what_cannot_be(memory: &Memory, stride: usize) {
    let items = memory.bytes().as_ptr().cast::<Msg<'_>>();
    // SAFETY: nothing is read of a batch that is refused, and nothing of one without items.
    let refused = |items, count, stride| unsafe { Batch::new(items, count, stride) }.is_err();
    assert!(refused(std::ptr::null(), 1, stride.max(8)) && !refused(std::ptr::null(), 0, stride));
    assert!(refused(items, usize::MAX / stride.max(1), stride), "longer than memory can be");
    assert!(refused(items, usize::MAX, stride.max(2)), "an overflow");
}

fn reads_a_table_as_far_as_it_says(content: &[u8]) {
    let Some(&said) = content.first_chunk() else { return };
    let size = u32::from_ne_bytes(said) as usize % 256;
    let mut memory = Memory::new(content, size.max(size_of::<u32>()));
    memory.0[1..5].copy_from_slice(&(size as u32).to_ne_bytes());
    // SAFETY: it has as many bytes as it says, and none of its functions is called.
    let table = unsafe { read_table(memory.bytes().as_ptr().cast::<HostApi>()) };
    let Some(table) = table else { return assert!(size < size_of::<u32>()) };
    let has = |at: usize| {
        let word = memory.bytes().get(at..at + POINTER).filter(|_| at + POINTER <= size);
        word.is_some_and(|word| word.iter().any(|byte| *byte != 0))
    };
    let functions = [
        (table.log.is_some(), offset_of!(HostApi, log)),
        (table.fail.is_some(), offset_of!(HostApi, fail)),
        (table.extension.is_some(), offset_of!(HostApi, extension)),
    ];
    for (is_there, at) in functions {
        assert_eq!(is_there, has(at), "a function at {at} in a table of {size} bytes");
    }
}
