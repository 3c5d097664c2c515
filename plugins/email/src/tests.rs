use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use broadcastd_notifier::{Carrier, Message, Refused};
use serde_json::{Value, json};

use crate::carrier::Email;
use crate::session::MAX_REPLY_BYTES;
use crate::settings::{MAX_RECIPIENTS, Settings};

/// Long enough for a busy machine, short enough that nobody waits.
const SHORT: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(20);

/// A mail server of a few lines, and what was said to it: a line for each command, and each letter as one text.
struct Server {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

/// What the server does about a command.
#[derive(Clone, Copy)]
enum Deed {
    Say(&'static str),
    Stall,
    Close,
}

use Deed::{Close, Say, Stall};

impl Server {
    /// `deed` answers commands, `greeting` and `letter`; what it leaves open is answered as a good server does.
    fn start(deed: impl Fn(&str) -> Option<Deed> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let told = heard.clone();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let _it_left = serve(&socket.unwrap(), &deed, &told);
            }
        });
        Server { port, heard }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    fn count(&self, command: &str) -> usize {
        self.heard().iter().filter(|said| said.starts_with(command)).count()
    }

    fn carrier(&self, more: &Value) -> Email {
        let mut settings = json!({
            "smtp": format!("smtp://127.0.0.1:{}", self.port),
            "from": "Line 7 <alerts@example.com>",
            "to": ["quality@example.com"],
            "plaintext": "loopback",
        });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Email::open(serde_json::from_value(settings).unwrap()).unwrap()
    }
}

fn serve(socket: &TcpStream, deed: &dyn Fn(&str) -> Option<Deed>, heard: &Mutex<Vec<String>>) -> Option<()> {
    let mut lines = BufReader::new(socket);
    let mut text = "greeting".to_owned();
    loop {
        let usual = match text.split(' ').next() {
            Some("greeting") => "220 here",
            Some("EHLO") => "250-here\r\n250-\r\n250 auth login plain",
            Some("DATA") => "354 go on",
            Some("AUTH") => "235 welcome",
            _ => "250 fine",
        };
        match deed(&text).unwrap_or(Say(usual)) {
            Say(reply) => (&mut &*socket).write_all(format!("{reply}\r\n").as_bytes()).ok()?,
            Stall => drop(lines.read_line(&mut String::new())),
            Close => return None,
        }
        if text == "DATA" {
            text = "letter\n".to_owned();
            while !text.ends_with("\n.\r\n") {
                (lines.read_line(&mut text).ok()? > 0).then_some(())?;
            }
        } else {
            text.clear();
            (lines.read_line(&mut text).ok()? > 0).then_some(())?;
            text.truncate(text.trim_end().len());
        }
        heard.lock().unwrap().push(text.clone());
    }
}

fn message(subject: &str, body: &str) -> Message {
    serde_json::from_value(json!({
        "id": "alerts-e1-7", "kind": "violation", "stream": "alerts", "topic": "alerts:7", "unix_ns": 1_763_730_000_000_000_000_i64,
        "subject": subject, "body": body, "suppressed": 0, "fields": {}, "payload": {},
    }))
    .unwrap()
}

fn deliver(carrier: &Email) -> Result<(), Refused> {
    carrier.deliver(&message("Shift", "It shifted.\n"), PATIENCE)
}

#[test]
fn a_letter_says_who_when_and_what_whatever_the_letters() {
    let server = Server::start(|_| None);
    let carrier = server.carrier(&json!({"to": ["quality@example.com", "Zoë <zoe@example.com>"]}));
    carrier.deliver(&message("Größe: µ ≠ 5", "naïve ≥ 3\n"), PATIENCE).unwrap();
    let heard = server.heard();
    let commands = &heard[..heard.len() - 1];
    let recipients = ["RCPT TO:<quality@example.com>", "RCPT TO:<zoe@example.com>"];
    assert_eq!(commands, ["EHLO [127.0.0.1]", "MAIL FROM:<alerts@example.com>", recipients[0], recipients[1], "DATA"]);
    let letter = heard.last().unwrap();
    assert!(letter.is_ascii(), "{letter}");
    for line in [
        "From: \"Line 7\" <alerts@example.com>\r\n",
        "Date: Fri, 21 Nov 2025 13:00:00 +0000\r\n",
        "Message-ID: <alerts-e1-7@example.com>\r\n",
        "Auto-Submitted: auto-generated\r\n",
        "Content-Type: text/plain; charset=utf-8\r\n",
        "Subject: =?utf-8?b?",
        "=?utf-8?b?Wm/Dqw==?= <zoe@example.com>",
    ] {
        assert!(letter.contains(line), "{line} is not in\n{letter}");
    }
    let body = letter.split_once("\r\n\r\n").unwrap().1;
    assert_eq!(body, "bmHDr3ZlIOKJpSAzDQo=\r\n.\r\n");
}

#[test]
fn no_text_makes_another_header_field() {
    let server = Server::start(|_| None);
    let carrier = server.carrier(&json!({}));
    carrier
        .deliver(&message("a\r\nBcc: all@example.com\r\n\r\nhello", "b\r\n.\r\n..MAIL FROM:<x@y>\r\n"), PATIENCE)
        .unwrap();
    let heard = server.heard();
    assert_eq!(heard.len(), 5, "the body ended nothing: {heard:?}");
    let (head, body) = heard[4].split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("\r\nBcc:") && head.contains("Subject: a  Bcc: all@example.com    hello\r\n"), "{head}");
    assert_eq!(body, "b\r\n..\r\n...MAIL FROM:<x@y>\r\n.\r\n");
}

#[test]
fn the_server_says_whether_a_letter_is_refused_for_good_or_for_now() {
    for step in ["MAIL", "RCPT", "DATA", "letter"] {
        let refused = |reply: &'static str| {
            let server = Server::start(move |text| text.starts_with(step).then_some(Say(reply)));
            deliver(&server.carrier(&json!({}))).unwrap_err()
        };
        let never = refused("550-no\r\n550 never");
        assert!(
            matches!(&never, Refused::Never { why } if why.ends_with("the mail server says 550 no never")),
            "{never:?}"
        );
        assert!(matches!(refused("451 later"), Refused::Later { .. }), "{step}");
    }
}

#[test]
fn what_says_nothing_about_the_letter_is_tried_again() {
    for (step, reply) in [
        ("greeting", "554 closed"),
        ("EHLO", "550 who are you"),
        ("AUTH", "535 wrong password"),
        ("AUTH", "334 !"),
        ("EHLO", "250 here"), // offers no login
        ("MAIL", "nonsense"),
        ("MAIL", "530 5.7.0 authentication required"),
        ("MAIL", "421 good night"),
    ] {
        let server = Server::start(move |text| text.starts_with(step).then_some(Say(reply)));
        let carrier = server.carrier(&json!({"user": "me", "password": {"env": "PATH"}}));
        let refused = deliver(&carrier).unwrap_err();
        assert!(matches!(refused, Refused::Later { .. }), "{step} {reply}: {refused:?}");
        assert_eq!(server.count("DATA"), 0);
    }
    let nobody =
        Server { port: TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(), heard: Arc::default() };
    let refused = deliver(&nobody.carrier(&json!({}))).unwrap_err();
    assert!(matches!(&refused, Refused::Later { why, .. } if why.starts_with("connecting: ")), "{refused:?}");
}

#[test]
fn one_refused_recipient_keeps_no_other_from_the_letter() {
    let to = json!({"to": ["gone@example.com", "here@example.com"]});
    let refuse =
        |reply: &'static str| Server::start(move |text| text.starts_with("RCPT TO:<gone@").then_some(Say(reply)));
    let server = refuse("550 no such user");
    deliver(&server.carrier(&to)).unwrap();
    assert_eq!(server.count("letter"), 1);
    let server = refuse("450 try again");
    assert!(matches!(deliver(&server.carrier(&to)), Err(Refused::Later { .. })));
    assert_eq!(server.count("letter"), 0, "nobody has it, so nobody gets it twice");
    let server = refuse("550 no such user");
    assert!(matches!(deliver(&server.carrier(&json!({"to": ["gone@example.com"]}))), Err(Refused::Never { .. })));
    assert_eq!(server.count("DATA"), 0);
}

#[test]
fn a_server_that_stalls_is_left_when_the_time_is_over() {
    for step in ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "letter"] {
        let server = Server::start(move |text| text.starts_with(step).then_some(Stall));
        let began = Instant::now();
        let refused = server.carrier(&json!({})).deliver(&message("a", "b"), SHORT).unwrap_err();
        assert!(
            matches!(&refused, Refused::Later { why, .. } if why.contains("within the time")),
            "{step}: {refused:?}"
        );
        let took = began.elapsed();
        assert!(took >= SHORT && took < PATIENCE, "{step}: {took:?}");
    }
}

#[test]
fn nothing_goes_unencrypted_unless_that_is_allowed() {
    let server = Server::start(|_| None);
    let encrypted = json!({"plaintext": "never", "user": "me", "password": {"env": "PATH"}});
    let refused = deliver(&server.carrier(&encrypted)).unwrap_err();
    assert!(matches!(&refused, Refused::Later { why, .. } if why.contains("does not offer STARTTLS")), "{refused:?}");
    assert_eq!(server.heard(), ["EHLO [127.0.0.1]"]);
    let talks_on = Server::start(|text| match text {
        "EHLO [127.0.0.1]" => Some(Say("250-here\r\n250 starttls")),
        "STARTTLS" => Some(Say("220 go on\r\n250 trust me")),
        _ => None,
    });
    let refused = deliver(&talks_on.carrier(&encrypted)).unwrap_err();
    assert!(matches!(&refused, Refused::Later { why, .. } if why.contains("went on talking")), "{refused:?}");
}

#[test]
fn a_login_is_said_as_the_server_offers_it() {
    let file = std::env::temp_dir().join(format!("email-login-{}", std::process::id()));
    std::fs::write(&file, "hush\n").unwrap();
    let login = json!({"user": "me", "password": {"file": file}});
    let server = Server::start(|_| None);
    deliver(&server.carrier(&login)).unwrap();
    assert_eq!(server.heard()[1], "AUTH PLAIN AG1lAGh1c2g=");
    let server = Server::start(|text| match text {
        "EHLO [127.0.0.1]" => Some(Say("250-here\r\n250 AUTH LOGIN CRAM-MD5")),
        "AUTH LOGIN" => Some(Say("334 VXNlcm5hbWU6")),
        "bWU=" => Some(Say("334 UGFzc3dvcmQ6")),
        "aHVzaA==" => Some(Say("235 welcome")),
        _ => None,
    });
    deliver(&server.carrier(&login)).unwrap();
    let repeats = Server::start(|text| match text {
        "AUTH PLAIN AG1lAGh1c2g=" => Some(Say("500 what is \"AUTH PLAIN AG1lAGh1c2g=\"?")),
        _ => None,
    });
    let refused = deliver(&repeats.carrier(&login)).unwrap_err();
    assert_eq!(refused.why(), "logging in: the mail server says 500 and what it was told");
    std::fs::remove_file(file).unwrap();
    let asks_on = Server::start(|text| {
        text.contains("AUTH").then_some(Say("334 VXNlcm5hbWU6")).filter(|_| !text.contains("EHLO"))
    });
    let refused = deliver(&asks_on.carrier(&json!({"user": "me", "password": {"env": "PATH"}}))).unwrap_err();
    assert!(matches!(refused, Refused::Later { .. }));
}

#[test]
fn a_connection_is_kept_for_the_next_letter_and_made_anew_when_it_is_gone() {
    let server = Server::start(|_| None);
    let carrier = server.carrier(&json!({}));
    deliver(&carrier).unwrap();
    deliver(&carrier).unwrap();
    assert_eq!((server.count("EHLO"), server.count("letter")), (1, 2));
    let server = Server::start(|text| (text == "RSET").then_some(Close));
    let carrier = server.carrier(&json!({}));
    deliver(&carrier).unwrap();
    deliver(&carrier).unwrap();
    assert_eq!((server.count("EHLO"), server.count("letter")), (2, 2));
}

#[test]
fn an_answer_that_does_not_end_is_no_answer() {
    let outcome = |last: &'static str| {
        let server = Server::start(move |text| {
            let many = "250-x\r\n".repeat((MAX_REPLY_BYTES - 9) as usize / 7);
            let long: &'static str = Box::leak(format!("{many}{last}").into_boxed_str());
            text.starts_with("MAIL").then_some(Say(long))
        });
        deliver(&server.carrier(&json!({})))
    };
    assert_eq!(outcome("250 123"), Ok(()), "the longest");
    let refused = outcome("250 1234").unwrap_err();
    assert!(matches!(&refused, Refused::Later { why, .. } if why.contains("does not end")), "{refused:?}");
}

#[test]
fn what_a_schema_cannot_say_is_told_with_its_place() {
    let told = |more: Value| {
        let mut settings = json!({"smtp": "smtp://mail.example", "from": "a@example.com", "to": ["b@example.com"]});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let settings: Settings = serde_json::from_value(settings).unwrap();
        Email::validate(&settings).err().map(|failure| failure.pointer().to_owned()).unwrap_or_default()
    };
    assert_eq!(told(json!({})), "");
    assert_eq!(told(json!({"smtp": "http://mail.example"})), "/smtp");
    assert_eq!(told(json!({"from": "nobody"})), "/from");
    assert_eq!(told(json!({"to": ["a@example.com", "b\n@example.com"]})), "/to/1");
    assert_eq!(told(json!({"to": []})), "/to");
    assert_eq!(told(json!({"to": vec!["a@example.com"; MAX_RECIPIENTS]})), "");
    assert_eq!(told(json!({"to": vec!["a@example.com"; MAX_RECIPIENTS + 1]})), "/to");
    assert_eq!(told(json!({"user": "me"})), "/user");
    assert_eq!(told(json!({"plaintext": "loopback"})), "/plaintext");
    assert_eq!(told(json!({"plaintext": "anywhere"})), "");
    assert_eq!(told(json!({"plaintext": "loopback", "smtp": "smtp://localhost"})), "");
    assert_eq!(told(json!({"plaintext": "anywhere", "smtp": "smtps://mail.example"})), "/plaintext");
}
