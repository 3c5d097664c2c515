//! A receiver in the test's own threads: what is posted, and what each answer leads to.
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::*;

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers each connection with the next of `answers`; what was asked, head and body.
fn receiver(answers: Vec<String>) -> (String, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let (sender, asked) = channel();
    thread::spawn(move || {
        for answer in answers {
            let (socket, _) = listener.accept().unwrap();
            let mut socket = BufReader::new(socket);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(socket.read_line(&mut head).unwrap() > 0);
            }
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            socket.read_exact(&mut body).unwrap();
            sender.send((head, body)).unwrap();
            socket.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    (origin, asked)
}

fn answer(status: u16, headers: &str) -> String {
    format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: 2\r\n\r\nok")
}

fn settings(json: Value) -> Settings {
    serde_json::from_value(json).unwrap()
}

fn webhook(url: &str) -> Webhook {
    Webhook::open(settings(json!({ "url": url }))).unwrap_or_else(|failure| panic!("{failure:?}"))
}

fn message() -> Message {
    Message {
        id: "alerts-e-7".into(),
        kind: "violation".into(),
        stream: "alerts".into(),
        topic: "alerts:1".into(),
        unix_ns: 5,
        subject: "é\"".into(),
        body: "a\nb".into(),
        suppressed: 2,
        fields: BTreeMap::new(),
        payload: RawValue::from_string("{\"value\": 1.50}".into()).unwrap(),
    }
}

fn deliver(url: &str) -> Result<(), Refused> {
    webhook(url).deliver(&message(), PATIENCE)
}

#[test]
fn a_message_is_posted_with_its_id_and_signature() {
    let (origin, asked) = receiver(vec![answer(204, "")]);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        json!({ "file": folder.path().join(name) })
    };
    let (secret, bearer) = (file("secret", "0123456789abcdef\n"), file("bearer", "t0ken\n"));
    let settings = settings(json!({ "url": format!("{origin}/in?x=1"), "secret": secret, "bearer": bearer }));
    Webhook::validate(&settings).unwrap();
    let webhook = Webhook::open(settings).unwrap_or_else(|failure| panic!("{failure:?}"));
    let now = UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    webhook.deliver_at(&message(), Instant::now() + PATIENCE, now).unwrap();
    let (head, body) = asked.recv().unwrap();
    let whole = "{\"id\":\"alerts-e-7\",\"kind\":\"violation\",\"stream\":\"alerts\",\"topic\":\"alerts:1\",\"unix_ns\":5,\
                 \"subject\":\"é\\\"\",\"body\":\"a\\nb\",\"suppressed\":2,\"payload\":{\"value\": 1.50}}";
    assert_eq!(String::from_utf8(body.clone()).unwrap(), whole, "the payload byte for byte");
    let signed = Signer::new("0123456789abcdef").unwrap().sign(1_767_225_600, &body);
    for line in [
        "POST /in?x=1 HTTP/1.1",
        &format!("Host: {}", origin.trim_start_matches("http://")),
        "Content-Type: application/json",
        "Authorization: Bearer t0ken",
        "X-Broadcastd-Id: alerts-e-7",
        "X-Broadcastd-Timestamp: 1767225600",
        &format!("X-Broadcastd-Signature: {signed}"),
    ] {
        assert!(head.lines().any(|found| found == line), "{line} is not in {head}");
    }
}

#[test]
fn a_pause_that_the_receiver_asks_for_is_told() {
    let (origin, _asked) = receiver(vec![answer(429, "Retry-After: 7\r\n"), answer(404, "")]);
    let why = format!("{origin}: it answers 429");
    assert_eq!(deliver(&format!("{origin}/s3cret")), Err(Refused::Later { why, after: Some(Duration::from_secs(7)) }));
    assert_eq!(deliver(&format!("{origin}/s3cret")), Err(Refused::never(format!("{origin}: it answers 404"))));
}

#[test]
fn a_pause_is_that_of_a_host_and_a_port() {
    let receiver = |url: &str| webhook(url).receiver();
    assert_eq!(receiver("http://127.0.0.1:9/hush?key=1"), "http://127.0.0.1:9", "a path may be secret");
    assert_ne!(receiver("http://127.0.0.1:9"), receiver("http://127.0.0.1:10"));
}

#[test]
fn redirects_are_followed_on_the_same_host_and_not_for_ever() {
    let moved = |to: &str| answer(307, &format!("Location: {to}\r\n"));
    let (origin, asked) = receiver(vec![moved("/a"), moved("/b"), moved("/c"), answer(200, "")]);
    assert_eq!(deliver(&origin), Ok(()));
    let posted: Vec<_> = asked.iter().map(|(head, body)| (head.lines().next().unwrap().to_owned(), body)).collect();
    let lines: Vec<_> = posted.iter().map(|(line, _)| line.as_str()).collect();
    assert_eq!(lines, ["POST / HTTP/1.1", "POST /a HTTP/1.1", "POST /b HTTP/1.1", "POST /c HTTP/1.1"]);
    assert!(posted.iter().all(|(_, body)| *body == posted[0].1 && !body.is_empty()));

    let (origin, _asked) = receiver(vec![moved("/a"); 4]);
    assert_eq!(deliver(&origin), Err(Refused::never(format!("{origin}: it redirects more than 3 times"))));

    let (other, asked) = receiver(vec![answer(200, "")]);
    let (origin, _asked) = receiver(vec![moved(&other)]);
    assert!(matches!(deliver(&origin), Err(Refused::Never { why }) if why.contains("no other host gets messages")));
    assert!(asked.try_recv().is_err(), "the other host heard nothing");
}

#[test]
fn what_comes_behind_an_answer_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let (left, is_left) = channel();
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut asked = [0; 4096];
        _ = socket.read(&mut asked).unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").unwrap();
        while socket.write_all(b".").is_ok() {
            thread::sleep(Duration::from_millis(5)); // it drips
        }
        left.send(()).unwrap();
    });
    let began = Instant::now();
    assert_eq!(webhook(&origin).deliver(&message(), PATIENCE * 10), Ok(()));
    assert!(began.elapsed() < PATIENCE, "16 KiB of drips take longer");
    is_left.recv_timeout(PATIENCE).expect("the connection is closed");
}

#[test]
fn nobody_there_and_no_answer_are_later() {
    let (origin, _asked) = receiver(vec!["".to_owned()]);
    assert!(matches!(deliver(&origin), Err(Refused::Later { why, after: None }) if why.contains("without an answer")));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(matches!(deliver(&format!("http://{closed}")), Err(Refused::Later { .. })));

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let began = Instant::now();
    let refused = webhook(&url).deliver(&message(), Duration::from_millis(200)).unwrap_err();
    assert!(matches!(&refused, Refused::Later { why, .. } if why.contains("within the time")), "{refused:?}");
    assert!(began.elapsed() < PATIENCE);
}

#[test]
fn an_encrypted_receiver_must_prove_who_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, key.cert.pem()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], key.signing_key.serialize_der().try_into().unwrap())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let config = std::sync::Arc::new(config);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let session = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(session, socket.unwrap());
            let mut read = [0; 8192];
            if stream.read(&mut read).is_ok() {
                let _who_does_not_believe_has_gone = stream.write_all(answer(200, "").as_bytes());
            }
        }
    });
    let known =
        Webhook::open(settings(json!({ "url": url, "ca": file }))).unwrap_or_else(|failure| panic!("{failure:?}"));
    assert_eq!(known.deliver(&message(), PATIENCE), Ok(()));
    let refused = deliver(&url).unwrap_err();
    assert!(matches!(&refused, Refused::Later { why, .. } if why.contains("certificate")), "{refused:?}");
}

#[test]
fn settings_that_would_not_work_are_refused_at_their_place() {
    let refused = |json: Value| Webhook::validate(&settings(json)).unwrap_err().pointer().to_owned();
    assert_eq!(refused(json!({ "url": "a.example" })), "/url");
    assert_eq!(refused(json!({ "url": "http://a.example", "bearer": { "env": "X" } })), "/bearer");
    assert!(Webhook::validate(&settings(json!({ "url": "https://a.example", "bearer": { "env": "X" } }))).is_ok());
    assert!(Webhook::validate(&settings(json!({ "url": "http://127.0.0.1", "bearer": { "env": "X" } }))).is_ok());
    let opened = |json: Value| Webhook::open(settings(json)).err().map(|failure| failure.pointer().to_owned());
    let folder = tempfile::tempdir().unwrap();
    let short = folder.path().join("short");
    std::fs::write(&short, "x".repeat(MIN_SECRET - 1)).unwrap();
    assert_eq!(opened(json!({ "url": "http://a", "secret": { "file": short } })).as_deref(), Some("/secret"));
    assert_eq!(opened(json!({ "url": "http://a", "ca": folder.path().join("none") })).as_deref(), Some("/ca"));
    assert_eq!(opened(json!({ "url": "http://a" })), None);
}
