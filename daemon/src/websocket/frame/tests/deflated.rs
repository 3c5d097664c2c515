//! Compressed messages: what a client with whom compression was agreed on may send, and what it gets.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// "Hello" of RFC 7692 §7.2.3.1.
const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

fn decoder() -> Decoder {
    Decoder::new(MAX_MESSAGE).with(Compression::On)
}

fn deflate(text: impl AsRef<[u8]>) -> Vec<u8> {
    deflate::compress(text.as_ref(), 6)
}

fn deflated_cases() -> Vec<Case> {
    [whole(), fragmented(), reserved_bits(), senseless(), too_long()].into_iter().flatten().collect()
}

fn whole() -> Vec<Case> {
    let hello = || Text("Hello".into());
    vec![
        case("one frame", &[frame_of(0xc1, &HELLO)], &[hello()]),
        case("a binary message", &[frame_of(0xc2, &HELLO)], &[Binary(b"Hello".to_vec())]),
        case("one after the other", &[frame_of(0xc1, &HELLO), frame_of(0xc1, &HELLO)], &[hello(), hello()]),
        case(
            "among plain ones",
            &[frame_of(0x81, b"a"), frame_of(0xc1, &HELLO), frame_of(0x81, b"b")],
            &[Text("a".into()), hello(), Text("b".into())],
        ),
        case("nothing", &[frame_of(0xc1, &[0x00]), frame_of(0xc2, &[0x02, 0x00])], &[Text("".into()), Binary(vec![])]),
        case("a last block", &[frame_of(0xc1, &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00])], &[hello()]),
    ]
}

fn fragmented() -> Vec<Case> {
    let word = "Hellö-µ@ß\u{10ffff}".repeat(30);
    let deflated = deflate(&word);
    let bytewise: Vec<_> = deflated.iter().map(|byte| frame_of(0x00, &[*byte])).collect();
    vec![
        case(
            "§7.2.3.1: in two frames",
            &[frame_of(0x41, &HELLO[..3]), frame_of(0x80, &HELLO[3..])],
            &[Text("Hello".into())],
        ),
        case(
            "control frames between",
            &[frame_of(0x41, &HELLO[..3]), frame_of(0x89, b"p"), frame_of(0x8a, b""), frame_of(0x80, &HELLO[3..])],
            &[Ping(b"p".to_vec()), Pong(vec![]), Text("Hello".into())],
        ),
        case("byte by byte", &[vec![frame_of(0x41, b"")], bytewise, vec![frame_of(0x80, b"")]].concat(), &[Text(word)]),
        case(
            "then a plain one",
            &[frame_of(0x42, &HELLO), frame_of(0x80, b""), frame_of(0x81, b"plain")],
            &[Binary(b"Hello".to_vec()), Text("plain".into())],
        ),
        case(
            "then a plain one in fragments, judged as they come",
            &[frame_of(0xc1, &HELLO), frame_of(0x01, b"\xff"), frame_of(0x89, b"")],
            &[Text("Hello".into()), NOT_UTF8],
        ),
    ]
}

fn reserved_bits() -> Vec<Case> {
    let whole = [0x91, 0xa1, 0xb1, 0xd1, 0xe1, 0xf1, 0xc8, 0xc9, 0xca, 0xc3, 0xcb].map(|first| {
        case(format!("first byte {first:#x}"), &[frame_of(first, &HELLO), frame_of(0x89, b"")], &[PROTOCOL])
    });
    let continued = [(0x41, 0xc0), (0x41, 0x40), (0x01, 0xc0)].map(|(first, second)| {
        let frames = [frame_of(first, b""), frame_of(second, &HELLO), frame_of(0x89, b"")];
        case(format!("{first:#x}, then {second:#x}"), &frames, &[PROTOCOL])
    });
    let misplaced = [
        case("a continuation of nothing", &[frame_of(0xc0, &HELLO)], &[PROTOCOL]),
        case("a message inside another", &[frame_of(0x41, &HELLO), frame_of(0xc1, &HELLO)], &[PROTOCOL]),
    ];
    whole.into_iter().chain(continued).chain(misplaced).collect()
}

fn senseless() -> Vec<Case> {
    let half = "ö".as_bytes()[..1].to_vec();
    vec![
        case("no deflate", &[frame_of(0xc1, b"Hello"), frame_of(0x89, b"")], &[NOT_UTF8]),
        case("a binary message that is no deflate", &[frame_of(0xc2, b"Hello")], &[NOT_UTF8]),
        case("cut", &[frame_of(0xc1, &HELLO[..6])], &[NOT_UTF8]),
        case("no bytes", &[frame_of(0x41, b""), frame_of(0x80, b"")], &[NOT_UTF8]),
        case("a text not utf-8", &[frame_of(0xc1, &deflate(b"a\xff")), frame_of(0x89, b"")], &[NOT_UTF8]),
        case("half a character", &[frame_of(0xc1, &deflate(&half))], &[NOT_UTF8]),
        case("a binary message need not be utf-8", &[frame_of(0xc2, &deflate(&half))], &[Binary(half)]),
    ]
}

fn too_long() -> Vec<Case> {
    let full = "x".repeat(MAX_MESSAGE);
    let longer = deflate(format!("{full}x"));
    let room = deflate::longest_deflated(MAX_MESSAGE);
    let noise: Vec<u8> = {
        let mut rng = fastrand::Rng::with_seed(1);
        (0..MAX_MESSAGE).map(|_| rng.u8(..)).collect()
    };
    let stored = deflate::compress(&noise, 1);
    assert!(stored.len() > MAX_MESSAGE);
    vec![
        case("the longest message", &[frame_of(0xc1, &deflate(&full))], &[Text(full)]),
        case("one byte too long", &[frame_of(0xc1, &longer), frame_of(0x89, b"")], &[TOO_BIG]),
        case(
            "one byte too long in two frames",
            &[frame_of(0x41, &longer[..20]), frame_of(0x80, &longer[20..])],
            &[TOO_BIG],
        ),
        case("the longest that compression makes longer", &[frame_of(0xc2, &stored)], &[Binary(noise.clone())]),
        case("the same in two frames", &[frame_of(0x42, &stored[..9]), frame_of(0x80, &stored[9..])], &[Binary(noise)]),
        case("more frames than any message needs", &[frame_of(0x42, &vec![0; room]), frame_of(0x00, b"x")], &[TOO_BIG]),
        case("a longer frame than any message needs", &[frame_of(0xc2, &vec![0; room + 1])], &[TOO_BIG]),
        case("a plain message has no more room", &[frame_of(0x82, &vec![0; MAX_MESSAGE + 1])], &[TOO_BIG]),
        case("a bomb", &[frame_of(0xc1, &deflate(vec![b'x'; 16 << 20])), frame_of(0x89, b"")], &[TOO_BIG]),
    ]
}

#[test]
fn every_compressed_case_fed_whole_and_byte_by_byte() {
    for case in deflated_cases() {
        assert!(decode(decoder(), [case.bytes.as_slice()]) == case.said, "{}", case.name);
        assert!(decode(decoder(), case.bytes.chunks(1)) == case.said, "{} byte by byte", case.name);
    }
}

/// What is not compressed means what it means without the extension.
#[test]
fn every_plain_case_stays_as_it_is() {
    let is_plain = |case: &Case| !case.name.starts_with("reserved bits 0x40");
    for case in cases().into_iter().filter(is_plain) {
        assert!(decode(decoder(), [case.bytes.as_slice()]) == case.said, "{}", case.name);
    }
}

#[test]
fn compression_that_was_not_agreed_on_is_refused() {
    assert_eq!(decode(Decoder::new(MAX_MESSAGE), [frame_of(0xc1, &HELLO).as_slice()]), [PROTOCOL]);
    let off = Decoder::new(MAX_MESSAGE).with(Compression::Off);
    assert_eq!(decode(off, [frame_of(0x41, &HELLO).as_slice()]), [PROTOCOL]);
}

#[test]
fn nothing_is_held_of_a_compressed_message_that_was_handed_out() {
    let frames = [frame_of(0x41, &HELLO[..3]), frame_of(0x80, &HELLO[3..]), frame_of(0xc1, &HELLO)].concat();
    let mut decoder = decoder();
    assert_eq!((feed(&mut decoder, &frames), decoder.held()), (2, 0));
    let bomb = frame_of(0xc1, &deflate(vec![b'x'; 16 << 20]));
    assert_eq!((feed(&mut decoder, &bomb), decoder.held()), (1, 0));
}

#[test]
fn a_compressed_frame_is_made_only_where_it_is_smaller() {
    let text = br#"{"type":"bar","type":"bar","type":"bar"}"#;
    let frame = text_deflated(text, 1).unwrap();
    assert_eq!((frame[0], usize::from(frame[1])), (0xc1, frame.len() - 2));
    assert_eq!(deflate::inflate(&frame[2..], text.len()).as_deref(), Ok(&text[..]));
    for incompressible in ["", "a", "Hello"] {
        assert_eq!(text_deflated(incompressible.as_bytes(), 9), None, "{incompressible}");
    }
    for length in 0..40 {
        let text = "a".repeat(length);
        let is_smaller = deflate::compress(text.as_bytes(), 1).len() < length;
        assert_eq!(text_deflated(text.as_bytes(), 1).is_some(), is_smaller, "{length}");
    }
}

/// A message as frames, compressed or not, cut where `cuts` say and with a ping behind each but the last.
fn frames_of(said: &Said, first: u8, payload: &[u8], cuts: &[Index]) -> (Vec<u8>, Vec<Said>) {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
    at.sort_unstable();
    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
    for (index, part) in cut(payload, &at).into_iter().enumerate() {
        let opcode = if index == 0 { first } else { 0x00 };
        let is_last = index == at.len();
        bytes.extend(frame_of(if is_last { opcode | 0x80 } else { opcode }, part));
        if !is_last {
            bytes.extend(frame_of(0x89, b"between"));
            expected.push(Ping(b"between".to_vec()));
        }
    }
    expected.push(said.clone());
    (bytes, expected)
}

fn any_message() -> impl Strategy<Value = Said> {
    prop_oneof![
        "\\PC{0,300}".prop_map(Text),
        ("\\PC{1,8}", 1usize..500).prop_map(|(word, times)| Text(word.repeat(times))),
        prop::collection::vec(any::<u8>(), 0..3000).prop_map(Binary),
    ]
}

proptest! {
    #[test]
    fn messages_come_back_however_they_were_compressed_and_cut(
        messages in prop::collection::vec((any_message(), 0u8..=10, prop::collection::vec(any::<Index>(), 0..4)), 0..6),
        stride in 1usize..3000,
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for (said, level, cuts) in &messages {
            let (opcode, payload) = match said {
                Text(text) => (0x01, text.as_bytes()),
                Binary(payload) => (0x02, payload.as_slice()),
                other => panic!("{other:?} is not made"),
            };
            // One level beyond stands for a plain message.
            let (first, payload) = match level {
                10 => (opcode, payload.to_vec()),
                _ => (opcode | 0x40, deflate::compress(payload, *level)),
            };
            let (frames, heard) = frames_of(said, first, &payload, cuts);
            bytes.extend(frames);
            expected.extend(heard);
        }
        prop_assert!(decode(decoder(), bytes.chunks(stride)) == expected);
    }
}
