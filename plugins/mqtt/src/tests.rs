use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use broadcastd_notifier::{Carrier, Message, Refused};
use serde_json::{Value, json};

use crate::carrier::Mqtt;
use crate::settings::Settings;

/// Long enough for a busy machine, short enough that nobody waits.
const SHORT: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(20);

/// A broker of a few lines, and what was said to it: packets by their first byte and body.
struct Broker {
    port: u16,
    heard: Arc<Mutex<Vec<Packet>>>,
}

type Packet = (u8, Vec<u8>);

/// What the broker does about a packet.
enum Deed {
    Say(Vec<u8>),
    Stall,
    Close,
}

use Deed::{Close, Say, Stall};

impl Broker {
    /// `deed` answers packets, of which the first has the number 0; what it leaves open is answered as a good broker of
    /// 3.1.1 does.
    fn start(deed: impl Fn(usize, &Packet) -> Option<Deed> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::<Mutex<Vec<Packet>>>::default();
        let told = heard.clone();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let _it_left = serve(&socket.unwrap(), &deed, &told);
            }
        });
        Broker { port, heard }
    }

    /// By the upper half of the first byte: 1 CONNECT, 3 PUBLISH.
    fn count(&self, sort: u8) -> usize {
        self.heard.lock().unwrap().iter().filter(|(first, _)| first >> 4 == sort).count()
    }

    fn settings(&self, more: &Value) -> Settings {
        let mut settings = json!({"broker": format!("mqtt://127.0.0.1:{}", self.port), "version": "3.1.1"});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(settings).unwrap()
    }

    fn carrier(&self, more: &Value) -> Mqtt {
        Mqtt::open(self.settings(more)).unwrap()
    }
}

fn serve(
    mut socket: &TcpStream,
    deed: &dyn Fn(usize, &Packet) -> Option<Deed>,
    heard: &Mutex<Vec<Packet>>,
) -> std::io::Result<()> {
    loop {
        let packet = read(socket)?;
        let at = heard.lock().unwrap().len();
        heard.lock().unwrap().push(packet.clone());
        let (first, body) = &packet;
        let usual = match first >> 4 {
            1 => vec![0x20, 2, 0, 0],
            3 => acknowledged(*first, body),
            6 => vec![0x70, 2, body[0], body[1]],
            12 => vec![0xD0, 0],
            _ => vec![],
        };
        match deed(at, &packet).unwrap_or(Say(usual)) {
            Say(reply) => socket.write_all(&reply)?,
            Stall => drop(socket.read(&mut [0])),
            Close => return Ok(()),
        }
    }
}

fn read(mut socket: &TcpStream) -> std::io::Result<Packet> {
    let mut byte = || {
        let mut byte = [0];
        socket.read_exact(&mut byte).map(|()| usize::from(byte[0]))
    };
    let first = byte()? as u8;
    let mut length = byte()?;
    if length > 127 {
        length = length - 128 + (byte()? << 7);
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body)?;
    Ok((first, body))
}

/// The number of a message stands behind its topic.
fn acknowledged(first: u8, body: &[u8]) -> Vec<u8> {
    let at = 2 + usize::from(body[0]) * 256 + usize::from(body[1]);
    match first >> 1 & 3 {
        0 => vec![],
        1 => vec![0x40, 2, body[at], body[at + 1]],
        _ => vec![0x50, 2, body[at], body[at + 1]],
    }
}

fn message() -> Message {
    serde_json::from_value(json!({
        "id": "alerts-e1-7", "kind": "violation", "stream": "alerts", "topic": "alerts:7", "unix_ns": 5,
        "subject": "Shift", "body": "It shifted.\n", "suppressed": 2,
        "fields": {"stream": "alerts", "kind": "violation", "characteristic_id": "7"},
        "payload": {"characteristic_id": 7},
    }))
    .unwrap()
}

fn deliver(carrier: &Mqtt) -> Result<(), Refused> {
    carrier.deliver(&message(), PATIENCE)
}

#[test]
fn a_message_is_delivered_when_the_broker_says_so() {
    for (qos, conversation) in [(0, &[1, 3, 12][..]), (1, &[1, 3]), (2, &[1, 3, 6])] {
        let broker = Broker::start(|_, _| None);
        let carrier = broker.carrier(&json!({"qos": qos, "topic": "spc/{characteristic_id}"}));
        deliver(&carrier).unwrap();
        let heard = broker.heard.lock().unwrap().clone();
        assert_eq!(heard.iter().map(|(first, _)| first >> 4).collect::<Vec<_>>(), conversation);
        let (first, body) = &heard[1];
        assert_eq!(first & 15, qos << 1);
        assert!(body.starts_with(b"\0\x05spc/7"));
        let payload = &body[if qos == 0 { 7 } else { 9 }..];
        let told: BTreeMap<String, Value> = serde_json::from_slice(payload).unwrap();
        assert_eq!((&told["id"], &told["payload"]), (&json!("alerts-e1-7"), &json!({"characteristic_id": 7})));
    }
}

#[test]
fn version_5_carries_the_id_beside_the_payload() {
    let broker = Broker::start(|_, (first, body)| match first >> 4 {
        1 => Some(Say(vec![0x20, 3, 0, 0, 0])),
        3 => Some(Say(acknowledged(*first, body))),
        _ => None,
    });
    let carrier = broker.carrier(&json!({"version": "5", "payload": "text", "retain": true, "expiry": "1m"}));
    deliver(&carrier).unwrap();
    let (first, body) = broker.heard.lock().unwrap()[1].clone();
    let text = String::from_utf8_lossy(&body);
    assert_eq!(first, 0x33);
    assert!(text.contains("\0\x02id\0\x0Balerts-e1-7") && text.contains("\x02\0\0\0\x3C"), "{text:?}");
    assert!(text.ends_with("It shifted.\n"));
}

#[test]
fn whoever_is_not_let_in_comes_again() {
    for code in 1..=5 {
        let broker = Broker::start(move |_, _| Some(Say(vec![0x20, 2, 0, code])));
        let login = json!({"user": "me", "password": {"env": "PATH"}, "client_id": "line-7"});
        let refused = deliver(&broker.carrier(&login)).unwrap_err();
        assert!(matches!(&refused, Refused::Later { why, .. } if why.starts_with("the broker says ")), "{refused:?}");
    }
    let file = std::env::temp_dir().join(format!("mqtt-login-{}", std::process::id()));
    std::fs::write(&file, "hush\n").unwrap();
    let login = json!({"version": "5", "user": "me", "password": {"file": file}});
    for (words, told) in [("me", ": not me"), ("hush", "")] {
        let reply = [b"\x20\x00\x00\x86\x00\x1f\x00", &[4 + words.len() as u8][..], b"not ", words.as_bytes()].concat();
        let reply = with_lengths(reply);
        let broker = Broker::start(move |_, _| Some(Say(reply.clone())));
        let why = deliver(&broker.carrier(&login)).unwrap_err().why().to_owned();
        assert_eq!(why, format!("the broker says bad user name or password (0x86){told}"));
    }
    std::fs::remove_file(file).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = Broker { port, heard: Arc::default() };
    assert!(matches!(deliver(&nobody.carrier(&json!({}))), Err(Refused::Later { .. })));
}

/// A CONNACK whose lengths, of itself and of its properties, are still 0.
fn with_lengths(mut packet: Vec<u8>) -> Vec<u8> {
    (packet[1], packet[4]) = (packet.len() as u8 - 2, packet.len() as u8 - 5);
    packet
}

/// A broker of version 5 that grants these properties and says this about a message.
fn of_version_5(granted: &'static [u8], said: &'static [u8]) -> Broker {
    Broker::start(move |_, (first, _)| match first >> 4 {
        1 => Some(Say([&[0x20, 3 + granted.len() as u8, 0, 0, granted.len() as u8], granted].concat())),
        3 => Some(Say(said.to_vec())),
        _ => None,
    })
}

#[test]
fn a_broker_refuses_for_now_or_for_good() {
    let refusal = |granted, said, more: Value| {
        let broker = of_version_5(granted, said);
        let mut settings = json!({"version": "5"});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        deliver(&broker.carrier(&settings)).unwrap_err()
    };
    let is_later = |refused: &Refused| matches!(refused, Refused::Later { .. });
    for code in [&b"\x40\x03\0\x01\x87"[..], b"\x40\x03\0\x01\x97", b"\xE0\x01\x8B"] {
        assert!(is_later(&refusal(b"", code, json!({}))), "{code:?}");
    }
    for code in [&b"\x40\x03\0\x01\x90"[..], b"\x40\x03\0\x01\x99", b"\xE0\x01\x95"] {
        assert!(!is_later(&refusal(b"", code, json!({}))), "{code:?}");
    }
    assert!(is_later(&refusal(b"", b"\x50\x03\0\x01\x97", json!({"qos": 2}))), "PUBREC says no");
    assert!(is_later(&refusal(b"\x24\x01", b"", json!({"qos": 2}))), "QoS 1 at most");
    assert!(is_later(&refusal(b"\x25\0", b"", json!({"retain": true}))), "nothing is retained");
    assert!(!is_later(&refusal(b"\x27\0\0\0\x20", b"", json!({}))), "32 bytes at most");
}

#[test]
fn what_answers_nothing_ends_the_connection() {
    for reply in
        [&b"\x40\x02\0\x09"[..], b"\x50\x02\0\x01", b"\xD0\0", b"\x20\x02\0\0", b"\x30\x02ab", b"\x40\xff\xff\xff\xff"]
    {
        let broker = Broker::start(move |at, _| (at == 1).then(|| Say(reply.to_vec())));
        let carrier = broker.carrier(&json!({}));
        assert!(matches!(deliver(&carrier), Err(Refused::Later { .. })), "{reply:?}");
        deliver(&carrier).unwrap();
        assert_eq!(broker.count(1), 2);
    }
}

#[test]
fn a_broker_that_stalls_is_left_when_the_time_is_over() {
    for (qos, at) in [(1, 0), (0, 2), (1, 1), (2, 1), (2, 2)] {
        let broker = Broker::start(move |now, _| (now == at).then_some(Stall));
        let began = Instant::now();
        let refused = broker.carrier(&json!({"qos": qos})).deliver(&message(), SHORT).unwrap_err();
        assert!(matches!(&refused, Refused::Later { why, .. } if why.contains("within the time")), "{refused:?}");
        let took = began.elapsed();
        assert!(took >= SHORT && took < PATIENCE, "{took:?}");
    }
}

#[test]
fn a_connection_is_kept_for_the_next_message_and_made_anew_when_it_is_gone() {
    for qos in 0..=2 {
        let broker = Broker::start(|_, _| None);
        let carrier = broker.carrier(&json!({"qos": qos}));
        (0..3).for_each(|_| deliver(&carrier).unwrap());
        assert_eq!((broker.count(1), broker.count(3)), (1, 3));
        // The second message meets a broker that goes away; whether it has the message nobody knows.
        let messages = AtomicUsize::new(0);
        let is_second = move |first: u8| first >> 4 == 3 && messages.fetch_add(1, Ordering::Relaxed) == 1;
        let broker = Broker::start(move |_, (first, _)| is_second(*first).then_some(Close));
        let carrier = broker.carrier(&json!({"qos": qos}));
        (0..2).for_each(|_| deliver(&carrier).unwrap());
        assert_eq!((broker.count(1), broker.count(3)), (2, 3), "{qos}");
    }
}

#[test]
fn a_connection_is_kept_no_longer_than_the_broker_waits() {
    let broker = Broker::start(|_, _| None);
    let carrier = broker.carrier(&json!({"keep_alive": "1s"}));
    deliver(&carrier).unwrap();
    thread::sleep(Duration::from_secs(1)); // this is the time itself: then it is over
    deliver(&carrier).unwrap();
    assert_eq!(broker.count(1), 2);
    assert_eq!(&broker.heard.lock().unwrap()[0].1[8..10], [0, 1], "and the broker was told so");
}

#[test]
fn two_at_once_share_the_connection() {
    let broker = Broker::start(|_, _| None);
    let carrier = broker.carrier(&json!({}));
    thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| deliver(&carrier))).collect();
        all.into_iter().for_each(|one| one.join().unwrap().unwrap());
    });
    assert_eq!((broker.count(1), broker.count(3)), (1, 8));
}

#[test]
fn what_a_schema_cannot_say_is_told_with_its_place() {
    let broker = Broker { port: 1, heard: Arc::default() };
    let told = |more: Value| {
        let failure = Mqtt::validate(&broker.settings(&more)).err();
        failure.map(|failure| failure.pointer().to_owned()).unwrap_or_default()
    };
    assert_eq!(told(json!({})), "");
    assert_eq!(told(json!({"broker": "tcp://a"})), "/broker");
    assert_eq!(told(json!({"user": "me"})), "/user");
    assert_eq!(told(json!({"qos": 3})), "/qos");
    assert_eq!(told(json!({"topic": "a/#"})), "/topic");
    assert_eq!(told(json!({"client_id": "a\nb"})), "/client_id");
    assert_eq!(told(json!({"client_id": "a".repeat(65_535)})), "");
    assert_eq!(told(json!({"client_id": "a".repeat(65_536)})), "/client_id");
    assert_eq!(told(json!({"keep_alive": "500ms"})), "/keep_alive");
    assert_eq!(told(json!({"keep_alive": "65535s"})), "");
    assert_eq!(told(json!({"keep_alive": "65536s"})), "/keep_alive");
    assert_eq!(told(json!({"expiry": "1m"})), "/expiry");
    assert_eq!(told(json!({"expiry": "1m", "version": "5"})), "");
    assert_eq!(told(json!({"expiry": "10ms", "version": "5"})), "/expiry");
}

#[test]
fn nothing_goes_in_clear_that_was_meant_to_be_encrypted() {
    let told = |broker: &str, more: Value| {
        let mut settings = json!({"broker": broker});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let failure = Mqtt::validate(&serde_json::from_value(settings).unwrap()).err();
        failure.map(|failure| failure.pointer().to_owned()).unwrap_or_default()
    };
    let (here, away, encrypted) = ("mqtt://127.0.0.1", "mqtt://broker.example", "mqtts://broker.example");
    let ca = || json!({"ca": "/etc/ca.pem"});
    assert_eq!([here, away, encrypted].map(|broker| told(broker, ca())), ["/ca", "/ca", ""]);
    let login = || json!({"user": "me", "password": {"env": "PATH"}});
    assert_eq!([here, away, encrypted].map(|broker| told(broker, login())), ["", "/password", ""]);
    let accepted = || json!({"user": "me", "password": {"env": "PATH"}, "plaintext": true});
    assert_eq!([here, away, encrypted].map(|broker| told(broker, accepted())), ["", "", "/plaintext"]);
    assert_eq!([here, away, encrypted].map(|broker| told(broker, json!({}))), ["", "", ""]);
}
