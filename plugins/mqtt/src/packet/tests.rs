use proptest::prelude::*;

use super::reply::MAX_REPLY_BYTES;
use super::*;

fn read(mut bytes: &[u8], version: Version) -> io::Result<Reply> {
    Reply::read(&mut bytes, version)
}

fn reason(version: Version, code: u8, words: &str) -> Reason {
    Reason { version, code, words: words.to_owned() }
}

#[test]
fn a_connect_says_who_and_how_long() {
    let connect = |version, login| Connect { version, client_id: "me", keep_alive_seconds: 0x1234, login };
    let plain = connect(Version::V311, None).encode().unwrap();
    assert_eq!(plain, b"\x10\x0e\0\x04MQTT\x04\x02\x12\x34\0\x02me");
    let login = connect(Version::V5, Some(("u", "pw"))).encode().unwrap();
    assert_eq!(login, b"\x10\x16\0\x04MQTT\x05\xC2\x12\x34\0\0\x02me\0\x01u\0\x02pw");
}

#[test]
fn a_publish_has_its_flags_its_number_and_in_version_5_its_properties() {
    let mut publish = Publish {
        version: Version::V311,
        qos: 0,
        retain: true,
        topic: "a/b",
        payload: b"hi",
        expiry_seconds: Some(9),
        content_type: "x",
        user_properties: &[("id", "1")],
    };
    assert_eq!(publish.encode(7).unwrap(), b"\x31\x07\0\x03a/bhi");
    publish.qos = 2;
    publish.retain = false;
    assert_eq!(publish.encode(7).unwrap(), b"\x34\x09\0\x03a/b\0\x07hi");
    publish.version = Version::V5;
    publish.qos = 1;
    assert_eq!(
        publish.encode(0x102).unwrap(),
        b"\x32\x1d\0\x03a/b\x01\x02\x13\x01\x01\x02\0\0\0\x09\x03\0\x01x\x26\0\x02id\0\x011hi"
    );
    assert_eq!(pubrel(0x102), [0x62, 2, 1, 2]);
}

#[test]
fn lengths_and_texts_end_at_their_bounds() {
    for (length, bytes) in [(0, &[0][..]), (127, &[127]), (128, &[128, 1]), (MAX_PACKET_BYTES, &[255, 255, 255, 127])] {
        let mut out = Vec::new();
        put_length(&mut out, length).unwrap();
        assert_eq!(out, bytes);
    }
    assert!(put_length(&mut Vec::new(), MAX_PACKET_BYTES + 1).is_err());
    assert!(put_text(&mut Vec::new(), &"x".repeat(65_535)).is_ok());
    assert!(put_text(&mut Vec::new(), &"x".repeat(65_536)).is_err());
    assert!(put_text(&mut Vec::new(), "a\0b").is_err());
}

#[test]
fn replies_of_both_versions_are_read() {
    let ack = |ack, number, code| Reply::Ack(ack, number, reason(Version::V311, code, ""));
    assert_eq!(read(b"\x40\x02\x01\x02", Version::V311).unwrap(), ack(Ack::Published, 0x102, 0));
    assert_eq!(read(b"\x50\x02\0\x02", Version::V311).unwrap(), ack(Ack::Received, 2, 0));
    assert_eq!(read(b"\x70\x02\0\x02", Version::V311).unwrap(), ack(Ack::Completed, 2, 0));
    assert_eq!(read(b"\xD0\0", Version::V5).unwrap(), Reply::PingResp);
    let refused = Reply::ConnAck(reason(Version::V311, 5, ""), Granted::default());
    assert_eq!(read(b"\x20\x02\0\x05", Version::V311).unwrap(), refused);
    let said = Reply::Ack(Ack::Published, 3, reason(Version::V5, 0x97, "full "));
    assert_eq!(read(b"\x40\x13\0\x03\x97\x0f\x1f\0\x05full\n\x26\0\x01a\0\x01b", Version::V5).unwrap(), said);
    assert_eq!(read(b"\xE0\0", Version::V5).unwrap(), Reply::Disconnect(reason(Version::V5, 0, "")));
    assert_eq!(read(b"\xE0\x01\x8B", Version::V5).unwrap(), Reply::Disconnect(reason(Version::V5, 0x8B, "")));
}

#[test]
fn what_the_broker_grants_is_read() {
    let packet = b"\x20\x19\0\0\x16\x24\x01\x25\0\x27\0\0\x10\0\x13\0\x0a\x12\0\x02id\x22\0\x05\x2A\x01";
    let granted = Granted { max_qos: 1, retain: false, max_packet: 4_096, keep_alive_seconds: Some(10) };
    assert_eq!(read(packet, Version::V5).unwrap(), Reply::ConnAck(reason(Version::V5, 0, ""), granted));
}

#[test]
fn what_is_no_reply_is_refused() {
    for bytes in [
        &b"\x40\xff\xff\xff\xff\x01"[..], // a length that does not end
        b"\x40\x01\x01",                  // half a number
        b"\x30\x02ab",                    // a message, which nobody asked for
        b"HTTP/1.1 400",
        b"\x20\x04\0\0\x05\x24",     // properties beyond the packet
        b"\x20\x05\0\0\x02\x77\x01", // no such property
        b"",
    ] {
        assert!(read(bytes, Version::V5).is_err(), "{bytes:?}");
    }
    let sized = |size: usize| {
        let mut packet = vec![0xD0];
        put_length(&mut packet, size).unwrap();
        packet.resize(packet.len() + size, 0);
        packet
    };
    assert!(read(&sized(MAX_REPLY_BYTES), Version::V5).is_ok());
    assert!(read(&sized(MAX_REPLY_BYTES + 1), Version::V5).unwrap_err().to_string().contains("more than"));
}

#[test]
fn reasons_are_told_in_words() {
    assert_eq!(reason(Version::V311, 4, "").to_string(), "the broker says bad user name or password (0x04)");
    assert_eq!(reason(Version::V5, 0x97, "full").to_string(), "the broker says quota exceeded (0x97): full");
    assert!(!reason(Version::V5, 0x10, "").is_refusal(), "nobody subscribes, and that is fine");
    assert!(reason(Version::V5, 0x80, "").is_refusal() && !reason(Version::V5, 0x87, "").is_for_good());
    assert!(reason(Version::V5, 0x90, "").is_for_good());
}

proptest! {
    #[test]
    fn any_bytes_are_a_reply_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64), first in 0_u8..16) {
        for version in [Version::V311, Version::V5] {
            let _either = read(&bytes, version);
            let length = bytes.len() as u8;
            let _either = read(&[&[first << 4, length], &bytes[..]].concat(), version);
        }
    }
}
