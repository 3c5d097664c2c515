//! Client frames in raw bytes and what becomes of them, however they are cut; and the same against a foreign client.

mod deflated;

use std::io::{self, Read, Write};

use proptest::prelude::*;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::{CloseFrame, Role, WebSocket};

use super::*;

const MAX_MESSAGE: usize = 70_000;
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// An input that outlives its buffer, or the violation that ended the connection.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Violation(u16),
}

use Said::{Binary, Close, Ping, Pong, Text};

impl From<Input<'_>> for Said {
    fn from(input: Input<'_>) -> Said {
        match input {
            Input::Text(text) => Text(text.to_owned()),
            Input::Binary(bytes) => Binary(bytes.to_owned()),
            Input::Ping(payload) => Ping(payload.to_owned()),
            Input::Pong(payload) => Pong(payload.to_owned()),
            Input::Close { code, reason } => Close(code, reason.to_owned()),
        }
    }
}

fn decode<'p>(mut decoder: Decoder, parts: impl IntoIterator<Item = &'p [u8]>) -> Vec<Said> {
    let mut said = Vec::new();
    for part in parts {
        let mut part = part.to_vec();
        let mut rest = part.as_mut_slice();
        loop {
            match decoder.next(&mut rest) {
                Ok(Some(input)) => said.push(input.into()),
                Ok(None) => break,
                Err(violation) => said.push(Said::Violation(violation.code)),
            }
        }
        assert!(rest.is_empty(), "bytes were left behind");
    }
    said
}

/// A client frame with its first byte as given and the length in its shortest form.
fn frame_of(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(MASKED | length as u8),
        length @ 126..=65_535 => {
            bytes.push(MASKED | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(MASKED | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(KEY);
    bytes.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

fn close_payload(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), reason].concat()
}

struct Case {
    name: String,
    bytes: Vec<u8>,
    said: Vec<Said>,
}

fn case(name: impl Into<String>, frames: &[Vec<u8>], said: &[Said]) -> Case {
    Case { name: name.into(), bytes: frames.concat(), said: said.to_vec() }
}

const PROTOCOL: Said = Said::Violation(1002);
const NOT_UTF8: Said = Said::Violation(1007);
const TOO_BIG: Said = Said::Violation(1009);

/// In the order of the sections of the Autobahn test suite: 1 framing, 2 pings, 3 reserved bits, 4 opcodes,
/// 5 fragmentation, 6 UTF-8, 7 closing, and 9 limits.
fn cases() -> Vec<Case> {
    [sizes(), pings(), reserved(), lengths(), fragments(), texts(), closes(), limits()].into_iter().flatten().collect()
}

fn sizes() -> Vec<Case> {
    let sizes = [0, 1, 7, 8, 9, 125, 126, 127, 128, 65_535, 65_536];
    let texts = sizes.map(|size| {
        let text = "*".repeat(size);
        case(format!("text of {size}"), &[frame_of(0x81, text.as_bytes())], &[Text(text)])
    });
    let binaries = sizes.map(|size| {
        let bytes: Vec<u8> = (0..size).map(|at| at as u8).collect();
        case(format!("binary of {size}"), &[frame_of(0x82, &bytes)], &[Binary(bytes)])
    });
    texts.into_iter().chain(binaries).collect()
}

fn pings() -> Vec<Case> {
    let longest = vec![0xfe; 125];
    let ten = vec![Ping(b"p".to_vec()); 10];
    vec![
        case("empty ping", &[frame_of(0x89, b"")], &[Ping(vec![])]),
        case("ping with binary", &[frame_of(0x89, &[0, 255, 254])], &[Ping(vec![0, 255, 254])]),
        case("longest ping", &[frame_of(0x89, &longest)], &[Ping(longest.clone())]),
        case("too long ping", &[frame_of(0x89, &[0; 126])], &[PROTOCOL]),
        case("too long close", &[frame_of(0x88, &close_payload(1000, &[b'a'; 124]))], &[PROTOCOL]),
        case("unasked pong", &[frame_of(0x8a, b"x"), frame_of(0x89, b"")], &[Pong(b"x".to_vec()), Ping(vec![])]),
        case("ten pings", &vec![frame_of(0x89, b"p"); 10], &ten),
    ]
}

fn reserved() -> Vec<Case> {
    let bits = [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70];
    let reserved_bits = bits.into_iter().flat_map(|bits| {
        [0x81, 0x82, 0x88, 0x89, 0x8a, 0x01].map(|first| {
            let frames = [frame_of(0x81, b"before"), frame_of(first | bits, b""), frame_of(0x89, b"after")];
            case(format!("reserved bits {bits:#x} on {first:#x}"), &frames, &[Text("before".into()), PROTOCOL])
        })
    });
    let opcodes = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map(|opcode| {
        let frames = [frame_of(0x80 | opcode, b"x"), frame_of(0x89, b"")];
        case(format!("reserved opcode {opcode}"), &frames, &[PROTOCOL])
    });
    reserved_bits.chain(opcodes).collect()
}

fn lengths() -> Vec<Case> {
    let raw = |name, bytes: &[u8], said| case(name, &[[bytes, &KEY].concat(), vec![0; 4]], &[said]);
    vec![
        raw("no mask", &[0x81, 4], PROTOCOL),
        raw("no mask on a ping", &[0x89, 4], PROTOCOL),
        raw("16-bit length of 125", &[0x82, 0xfe, 0, 125], PROTOCOL),
        raw("16-bit length of 0", &[0x82, 0xfe, 0, 0], PROTOCOL),
        raw("64-bit length of 65535", &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], PROTOCOL),
        raw("64-bit length with the top bit", &[0x82, 0xff, 0x80, 0, 0, 0, 0, 1, 0, 0], PROTOCOL),
        raw("64-bit length without the top bit", &[0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255], TOO_BIG),
        raw("16-bit length on a ping", &[0x89, 0xfe, 0, 4], PROTOCOL),
        raw("zero key", &[0x82, 0x84, 0, 0, 0, 0], Binary(KEY.to_vec())).cut_to(10),
        case("half a frame", &[frame_of(0x81, b"never whole")[..9].to_vec()], &[]),
    ]
}

impl Case {
    fn cut_to(mut self, length: usize) -> Case {
        self.bytes.truncate(length);
        self
    }
}

fn fragments() -> Vec<Case> {
    let ping = || frame_of(0x89, b"between");
    let pinged = || Ping(b"between".to_vec());
    vec![
        case("fragmented ping", &[frame_of(0x09, b"a"), frame_of(0x80, b"b")], &[PROTOCOL]),
        case("fragmented pong", &[frame_of(0x0a, b"a")], &[PROTOCOL]),
        case("fragmented close", &[frame_of(0x08, b"")], &[PROTOCOL]),
        case("two fragments", &[frame_of(0x01, b"ab"), frame_of(0x80, b"cd")], &[Text("abcd".into())]),
        case("binary fragments", &[frame_of(0x02, b"\xff"), frame_of(0x80, b"\xfe")], &[Binary(vec![255, 254])]),
        case(
            "control frames between fragments, then another message",
            &[
                frame_of(0x01, b"a"),
                ping(),
                frame_of(0x00, b"b"),
                frame_of(0x8a, b""),
                frame_of(0x80, b"c"),
                frame_of(0x81, b"d"),
            ],
            &[pinged(), Pong(vec![]), Text("abc".into()), Text("d".into())],
        ),
        case("empty fragments", &[frame_of(0x01, b""), frame_of(0x00, b""), frame_of(0x80, b"")], &[Text("".into())]),
        case("final continuation of nothing", &[frame_of(0x80, b"x"), ping()], &[PROTOCOL]),
        case("continuation of nothing", &[frame_of(0x00, b"x")], &[PROTOCOL]),
        case(
            "continuation after a whole message",
            &[frame_of(0x81, b"x"), frame_of(0x80, b"y")],
            &[Text("x".into()), PROTOCOL],
        ),
        case("text inside a message", &[frame_of(0x01, b"a"), frame_of(0x81, b"b")], &[PROTOCOL]),
        case("binary inside a text", &[frame_of(0x01, b"a"), ping(), frame_of(0x02, b"b")], &[pinged(), PROTOCOL]),
    ]
}

fn texts() -> Vec<Case> {
    let word = "Hellö-µ@ßöäüàá-UTF-8!! \u{10ffff}";
    let bytewise: Vec<_> = word.bytes().map(|byte| frame_of(0x00, &[byte])).collect();
    let bytewise = [vec![frame_of(0x01, b"")], bytewise, vec![frame_of(0x80, b"")]].concat();
    let bad: [&[u8]; 9] = [
        b"\xce\xba\xed\xa0\x80edited", // a surrogate
        b"\x80",
        b"\xbf",
        b"\xc0\xaf", // longer than needed
        b"\xe0\x80\xaf",
        b"\xf4\x90\x80\x80", // beyond U+10FFFF
        b"\xf8\x88\x80\x80\x80",
        b"\xff",
        b"cut short \xce",
    ];
    let bad = bad.into_iter().flat_map(|text| {
        let (head, tail) = text.split_at(text.len() / 2);
        [
            case(format!("not utf-8: {text:x?}"), &[frame_of(0x81, text), frame_of(0x89, b"")], &[NOT_UTF8]),
            case(format!("fragments not utf-8: {text:x?}"), &[frame_of(0x01, head), frame_of(0x80, tail)], &[NOT_UTF8]),
        ]
    });
    let good = [
        case("utf-8", &[frame_of(0x81, word.as_bytes())], &[Text(word.into())]),
        case("utf-8 in fragments of one byte", &bytewise, &[Text(word.into())]),
        case("nul and non-characters", &[frame_of(0x81, b"\0\xef\xbf\xbe")], &[Text("\0\u{fffe}".into())]),
        case(
            "wrong in the first fragment, told before the last",
            &[frame_of(0x01, b"\xce\xba\xf4\x90"), frame_of(0x89, b"")],
            &[NOT_UTF8],
        ),
        case(
            "a character over three fragments, wrong in the third",
            &[frame_of(0x01, b"\xf0\x9f"), frame_of(0x00, b"\x98"), frame_of(0x00, b"a"), frame_of(0x89, b"")],
            &[NOT_UTF8],
        ),
    ];
    bad.chain(good).collect()
}

fn closes() -> Vec<Case> {
    let allowed = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
    let allowed = allowed.map(|code| {
        case(format!("close {code}"), &[frame_of(0x88, &close_payload(code, b""))], &[Close(Some(code), "".into())])
    });
    let refused = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
    let refused =
        refused.map(|code| case(format!("close {code}"), &[frame_of(0x88, &close_payload(code, b""))], &[PROTOCOL]));
    let longest = "*".repeat(MAX_REASON);
    let others = [
        case("close without a code", &[frame_of(0x88, b"")], &[Close(None, "".into())]),
        case("close of one byte", &[frame_of(0x88, b"a")], &[PROTOCOL]),
        case(
            "close with a reason",
            &[frame_of(0x88, &close_payload(1000, b"bye"))],
            &[Close(Some(1000), "bye".into())],
        ),
        case(
            "longest reason",
            &[frame_of(0x88, &close_payload(1000, longest.as_bytes()))],
            &[Close(Some(1000), longest.clone())],
        ),
        case("reason not utf-8", &[frame_of(0x88, &close_payload(1000, b"\xce\xba\xed\xa0\x80"))], &[NOT_UTF8]),
        case(
            "anything after a close",
            &[frame_of(0x88, b""), frame_of(0x81, b"x"), frame_of(0x89, b""), frame_of(0x88, b""), vec![0xff; 20]],
            &[Close(None, "".into())],
        ),
        case(
            "close inside a message",
            &[frame_of(0x01, b"a"), frame_of(0x88, b""), frame_of(0x80, b"b")],
            &[Close(None, "".into())],
        ),
    ];
    allowed.into_iter().chain(refused).chain(others).collect()
}

fn limits() -> Vec<Case> {
    let (full, half) = (vec![0; MAX_MESSAGE], vec![0; MAX_MESSAGE / 2]);
    vec![
        case("the longest message", &[frame_of(0x82, &full)], &[Binary(full.clone())]),
        case("one byte too long", &[frame_of(0x82, &[0; MAX_MESSAGE + 1])], &[TOO_BIG]),
        case("the longest in fragments", &[frame_of(0x02, &half), frame_of(0x80, &half)], &[Binary(full)]),
        case(
            "one byte too long in fragments",
            &[frame_of(0x02, &half), frame_of(0x89, b""), frame_of(0x00, &half), frame_of(0x80, b"x")],
            &[Ping(vec![]), TOO_BIG],
        ),
    ]
}

#[test]
fn every_case_fed_whole() {
    for case in cases() {
        assert!(decode(Decoder::new(MAX_MESSAGE), [case.bytes.as_slice()]) == case.said, "{}", case.name);
    }
}

#[test]
fn every_case_fed_byte_by_byte() {
    for case in cases() {
        assert!(decode(Decoder::new(MAX_MESSAGE), case.bytes.chunks(1)) == case.said, "{}", case.name);
    }
}

proptest! {
    // Each run feeds every case, so a few of them are many.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_case_fed_at_random_cuts(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        for case in cases() {
            // Most cuts fall near the start, where the headers are.
            let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(case.bytes.len().min(40) + 1)).collect();
            at.extend(cuts.first().map(|cut| cut.index(case.bytes.len() + 1)));
            at.sort_unstable();
            prop_assert!(decode(Decoder::new(MAX_MESSAGE), cut(&case.bytes, &at)) == case.said, "{}", case.name);
        }
    }
}

proptest! {
    #[test]
    fn unmasking_is_byte_for_byte_the_same(payload in prop::collection::vec(any::<u8>(), 0..70), key: [u8; 4]) {
        let expected: Vec<u8> = payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect();
        let mut unmasked = payload;
        unmask(&mut unmasked, key);
        prop_assert_eq!(unmasked, expected);
    }
}

fn cut<'b>(bytes: &'b [u8], at: &[usize]) -> Vec<&'b [u8]> {
    let starts = std::iter::once(&0).chain(at);
    starts.zip(at.iter().chain([&bytes.len()])).map(|(start, end)| &bytes[*start..*end]).collect()
}

#[test]
fn an_idle_decoder_is_small_and_holds_no_heap() {
    assert!(size_of::<Decoder>() <= 112, "{} bytes times ten thousand connections", size_of::<Decoder>());
    assert_eq!(Decoder::new(MAX_MESSAGE).held(), 0);
}

#[test]
fn whole_frames_are_handed_out_from_the_read_buffer() {
    let mut bytes = [frame_of(0x81, b"text"), frame_of(0x89, b"ping"), frame_of(0x82, b"binary")].concat();
    let buffer = bytes.as_ptr_range();
    let mut decoder = Decoder::new(MAX_MESSAGE);
    let mut rest = bytes.as_mut_slice();
    let mut inputs = 0;
    while let Some(input) = decoder.next(&mut rest).unwrap() {
        let payload = match input {
            Input::Text(text) => text.as_bytes(),
            Input::Binary(payload) | Input::Ping(payload) => payload,
            other => panic!("{other:?} was not sent"),
        };
        assert!(buffer.contains(&payload.as_ptr()));
        inputs += 1;
        assert_eq!(decoder.held(), 0);
    }
    assert_eq!(inputs, 3);
}

#[test]
fn heap_is_held_only_while_a_message_is_on_its_way() {
    let frames = [frame_of(0x01, b"first, "), frame_of(0x80, b"second")].concat();
    let mut decoder = Decoder::new(MAX_MESSAGE);
    for part in cut(&frames, &[1, 8, 20]) {
        let is_last = part.as_ptr_range().end == frames.as_ptr_range().end;
        assert_eq!(feed(&mut decoder, part), usize::from(is_last));
        assert_eq!(decoder.held() == 0, is_last);
    }
}

#[test]
fn a_close_or_a_violation_frees_what_was_pending() {
    for last in [frame_of(0x88, b""), frame_of(0x83, b"")] {
        let mut decoder = Decoder::new(MAX_MESSAGE);
        feed(&mut decoder, &frame_of(0x02, &[0; 1000]));
        assert!(decoder.held() >= 1000);
        feed(&mut decoder, &last);
        assert_eq!(decoder.held(), 0);
    }
}

#[test]
fn a_length_that_is_only_announced_costs_nothing() {
    let mut decoder = Decoder::new(usize::MAX);
    feed(&mut decoder, &[0x82, 0xff, 0, 0, 0, 0, 0xff, 0, 0, 0, 1, 2, 3, 4]);
    assert!(decoder.held() < 64, "{} bytes held for 14 that came", decoder.held());
}

/// How many inputs, or a violation, came of `part`.
fn feed(decoder: &mut Decoder, part: &[u8]) -> usize {
    let mut part = part.to_vec();
    let mut rest = part.as_mut_slice();
    let mut count = 0;
    while !matches!(decoder.next(&mut rest), Ok(None)) {
        count += 1;
    }
    count
}

#[test]
fn what_does_not_fit_a_control_frame_is_cut() {
    let payload = [b'x'; 200];
    assert_eq!(ping(&payload).as_ref(), [&[0x89, 125], &payload[..125]].concat());
    assert_eq!(pong(&payload).as_ref(), [&[0x8a, 125], &payload[..125]].concat());
    // 122 bytes and a character of two: the character goes, too.
    let reason = format!("{}é", "x".repeat(122));
    assert_eq!(close(1001, &reason).as_ref(), [&[0x88, 124, 3, 233], &payload[..122]].concat());
    let reason = format!("{}é", "x".repeat(121));
    assert_eq!(close(1001, &reason).len(), 2 + MAX_CONTROL);
}

#[test]
fn frames_encoded_into_one_buffer_follow_each_other() {
    let mut joined = Vec::new();
    encode(Opcode::Text, b"a", &mut joined);
    encode(Opcode::Binary, b"b", &mut joined);
    assert_eq!(joined, [0x81, 1, b'a', 0x82, 1, b'b']);
}

/// A socket in memory: what the foreign client reads and what it has written.
#[derive(Default)]
struct Wire {
    inbound: io::Cursor<Vec<u8>>,
    outbound: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inbound.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            length => Ok(length),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outbound.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn any_said() -> impl Strategy<Value = Said> {
    let payload = || prop::collection::vec(any::<u8>(), 0..=MAX_CONTROL);
    prop_oneof![
        "\\PC{0,300}".prop_map(Text),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Binary),
        (126usize..70_000).prop_map(|size| Binary(vec![7; size])),
        payload().prop_map(Ping),
        payload().prop_map(Pong),
    ]
}

fn to_foreign(said: &Said) -> tungstenite::Message {
    match said.clone() {
        Text(text) => tungstenite::Message::text(text),
        Binary(bytes) => tungstenite::Message::binary(bytes),
        Ping(payload) => tungstenite::Message::Ping(payload.into()),
        Pong(payload) => tungstenite::Message::Pong(payload.into()),
        Close(code, reason) => tungstenite::Message::Close(
            code.map(|code| CloseFrame { code: CloseCode::from(code), reason: reason.into() }),
        ),
        Said::Violation(_) => panic!("nobody sends a violation"),
    }
}

proptest! {
    #[test]
    fn what_a_foreign_client_sends_is_understood(
        said in prop::collection::vec(any_said(), 0..6),
        stride in 1usize..5000,
    ) {
        let mut client = WebSocket::from_raw_socket(Wire::default(), Role::Client, None);
        for said in &said {
            client.write(to_foreign(said)).unwrap();
        }
        for (opcode, payload, is_final) in
            [(Data::Text, "in ", false), (Data::Continue, "three ", false), (Data::Continue, "parts", true)]
        {
            let frame = Frame::message(payload, OpCode::Data(opcode), is_final);
            client.write(tungstenite::Message::Frame(frame)).unwrap();
        }
        let goodbye = Close(Some(1001), "the page is left".into());
        client.write(to_foreign(&goodbye)).unwrap();
        client.flush().unwrap();
        let sent = &client.get_ref().outbound;
        let expected = [said, vec![Text("in three parts".into()), goodbye]].concat();
        prop_assert!(decode(Decoder::new(MAX_MESSAGE), sent.chunks(stride)) == expected);
    }

    #[test]
    fn what_is_encoded_is_understood_by_a_foreign_client(said in prop::collection::vec(any_said(), 0..6)) {
        let mut bytes = Vec::new();
        for said in &said {
            match said {
                Text(payload) => bytes.extend(text(payload.as_bytes())),
                Binary(payload) => encode(Opcode::Binary, payload, &mut bytes),
                Ping(payload) => bytes.extend(ping(payload)),
                Pong(payload) => bytes.extend(pong(payload)),
                Close(..) | Said::Violation(_) => unreachable!("any_said makes none"),
            }
        }
        let goodbye = Close(Some(1012), "back in 3 s".into());
        bytes.extend(close(1012, "back in 3 s"));
        let wire = Wire { inbound: io::Cursor::new(bytes), ..Wire::default() };
        let mut client = WebSocket::from_raw_socket(wire, Role::Client, None);
        for said in said.iter().chain([&goodbye]) {
            prop_assert!(client.read().unwrap() == to_foreign(said));
        }
    }
}
