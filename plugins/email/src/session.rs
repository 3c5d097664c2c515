//! One dialogue with a mail server (RFC 5321): greeting, encryption, login, then letters one after the other.
//!
//! The words are lettre's, the connection is not: its transport gives each answer a time of its own, so that a server
//! which drips would hold an attempt for ever.
use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::time::Instant;

use broadcastd_notifier::Refused;
use lettre::Message as Letter;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS, Mechanism};
use lettre::transport::smtp::commands::{Auth, Data, Ehlo, Mail, Rcpt, Rset, Starttls};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter, ServerInfo};
use lettre::transport::smtp::response::{Response, Severity};
use line::{Line, Place, Trust};

use crate::settings::Encryption;

/// Bytes of one answer; a longer one is no mail server's.
pub const MAX_REPLY_BYTES: u64 = 64 << 10;
/// Questions of one login; PLAIN has none, LOGIN two.
const MAX_CHALLENGES: usize = 4;
/// A server that wants a login or encryption before letters (RFC 4954, 6; RFC 3207, 4): the settings can be mended while
/// letters wait.
const LOG_IN_FIRST: u16 = 530;

/// The server, and how to come in.
pub struct Server {
    pub place: Place,
    pub encryption: Encryption,
    pub trust: Option<Trust>,
    pub credentials: Option<Credentials>,
}

/// A connection on which letters can be sent.
pub struct Session {
    line: BufReader<Line>,
    offers: ServerInfo,
}

/// Why a step went wrong.
#[derive(Debug)]
enum Trouble {
    Lost(io::Error),
    Said(Response),
}

impl Session {
    /// Whatever fails here says nothing about a letter, not even a wrong password: it can be mended while letters wait.
    pub fn open(server: &Server, deadline: Instant) -> Result<Session, Refused> {
        let place = &server.place;
        let step = |what: &'static str| move |trouble: Trouble| Refused::later(format!("{what}: {trouble}"));
        let mut line =
            Line::dial(&place.host, place.port, deadline).map_err(Trouble::Lost).map_err(step("connecting"))?;
        if server.encryption == Encryption::Implicit {
            line = encrypt(server, line).map_err(step("encrypting"))?;
        }
        let mut session = greeted(line).map_err(step("the greeting"))?;
        if server.encryption == Encryption::StartTls {
            session = session.start_tls(server)?;
        }
        if let Some(credentials) = &server.credentials {
            session.log_in(credentials)?;
        }
        Ok(session)
    }

    /// The next steps end at another deadline.
    pub fn until(&mut self, deadline: Instant) {
        self.line.get_mut().until(deadline);
    }

    /// Whether the server is still there, and ready for a next letter.
    pub fn is_alive(&mut self) -> bool {
        self.command(Rset).is_ok()
    }

    /// Sends one letter; after a failure the session is of no use. Who is refused for good is left out while others are
    /// taken; when somebody is refused for now nobody has it yet, and all get it later.
    pub fn send(&mut self, letter: &Letter) -> Result<(), Refused> {
        let envelope = letter.envelope();
        let mut parameters = Vec::new();
        let all_ascii = |address: &lettre::Address| AsRef::<str>::as_ref(address).is_ascii();
        if !envelope.from().into_iter().chain(envelope.to()).all(all_ascii) {
            if !self.offers.supports_feature(Extension::SmtpUtfEight) {
                return Err(Refused::never("an address is not ASCII, and the server does not offer SMTPUTF8"));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        self.command(Mail::new(envelope.from().cloned(), parameters)).map_err(about_letter("the sender"))?;
        let mut refused = None;
        let mut taken = 0;
        for recipient in envelope.to() {
            match self.command(Rcpt::new(recipient.clone(), Vec::new())) {
                Ok(_) => taken += 1,
                Err(trouble) => match about_letter(&format!("the recipient {recipient}"))(trouble) {
                    Refused::Never { why } => {
                        tracing::warn!("left out, as the mail server will not have it: {why}");
                        refused = Some(Refused::Never { why });
                    }
                    later => return Err(later),
                },
            }
        }
        if let (0, Some(refused)) = (taken, refused) {
            return Err(refused);
        }
        self.command(Data).map_err(about_letter("the letter"))?;
        self.say(&stuffed(&letter.formatted())).map_err(Trouble::Lost).map_err(about_letter("the letter"))?;
        self.reply().map_err(about_letter("the letter"))?;
        Ok(())
    }

    fn start_tls(mut self, server: &Server) -> Result<Session, Refused> {
        if !self.offers.supports_feature(Extension::StartTls) {
            return Err(Refused::later(
                "the mail server does not offer STARTTLS, and nothing goes unencrypted; set `smtp` to another port or to \
                 smtps://, or allow it by `plaintext`",
            ));
        }
        let step = |trouble: Trouble| Refused::later(format!("encrypting: {trouble}"));
        self.command(Starttls).map_err(step)?;
        if !self.line.buffer().is_empty() {
            // What came before the encryption was not said by the server that will prove itself.
            return Err(Refused::later("encrypting: the mail server went on talking before it was encrypted"));
        }
        let line = encrypt(server, self.line.into_inner()).map_err(step)?;
        introduced(BufReader::new(line)).map_err(step)
    }

    fn log_in(&mut self, credentials: &Credentials) -> Result<(), Refused> {
        let Some(mechanism) = self.offers.get_auth_mechanism(DEFAULT_MECHANISMS) else {
            return Err(Refused::later("logging in: the mail server offers neither PLAIN nor LOGIN"));
        };
        let mut reply = self.confide(&auth(mechanism, credentials, None)?)?;
        for _ in 0..MAX_CHALLENGES {
            if !reply.has_code(334) {
                return Ok(());
            }
            reply = self.confide(&auth(mechanism, credentials, Some(&reply))?)?;
        }
        Err(Refused::later("logging in: the mail server does not stop asking"))
    }

    /// One step of a login. A server may repeat what it does not understand, and that is told to nobody.
    fn confide(&mut self, step: &Auth) -> Result<Response, Refused> {
        let said = step.to_string();
        let secret = said.split_whitespace().last().filter(|word| !["PLAIN", "LOGIN"].contains(word));
        self.command(&said).map_err(|trouble| match (trouble, secret) {
            (Trouble::Said(reply), Some(secret)) if reply.message().any(|line| line.contains(secret)) => {
                Refused::later(format!("logging in: the mail server says {} and what it was told", reply.code()))
            }
            (trouble, _) => Refused::later(format!("logging in: {trouble}")),
        })
    }

    fn command(&mut self, command: impl Display) -> Result<Response, Trouble> {
        self.say(command.to_string().as_bytes()).map_err(Trouble::Lost)?;
        self.reply()
    }

    fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        let line = self.line.get_mut();
        line.write_all(bytes)?;
        line.flush()
    }

    /// One whole answer, a good one.
    fn reply(&mut self) -> Result<Response, Trouble> {
        let reply = read_reply(&mut self.line).map_err(Trouble::Lost)?;
        if reply.is_positive() { Ok(reply) } else { Err(Trouble::Said(reply)) }
    }
}

impl Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Lost(error) => error.fmt(f),
            Trouble::Said(reply) => {
                let text: Vec<&str> = reply.message().collect();
                write!(f, "the mail server says {} {}", reply.code(), text.join(" "))
            }
        }
    }
}

/// A refusal of what belongs to the letter itself: for good or for now, as the server says.
fn about_letter(what: &str) -> impl Fn(Trouble) -> Refused {
    move |trouble| {
        let why = format!("{what}: {trouble}");
        match trouble {
            Trouble::Said(reply) if reply.has_code(LOG_IN_FIRST) => Refused::later(why),
            Trouble::Said(reply) if reply.code().severity == Severity::PermanentNegativeCompletion => {
                Refused::never(why)
            }
            _ => Refused::later(why),
        }
    }
}

fn encrypt(server: &Server, line: Line) -> Result<Line, Trouble> {
    let trust = server.trust.as_ref().expect("a server that is to be encrypted is opened with its trust");
    line.encrypt(trust, &server.place.host).map_err(Trouble::Lost)
}

fn greeted(line: Line) -> Result<Session, Trouble> {
    let mut line = BufReader::new(line);
    let greeting = read_reply(&mut line).map_err(Trouble::Lost)?;
    if greeting.is_positive() { introduced(line) } else { Err(Trouble::Said(greeting)) }
}

/// Says who we are, by our address, and hears what the server can do.
fn introduced(line: BufReader<Line>) -> Result<Session, Trouble> {
    let me = match line.get_ref().local_ip().map_err(Trouble::Lost)?.to_canonical() {
        IpAddr::V4(address) => ClientId::Ipv4(address),
        IpAddr::V6(address) => ClientId::Ipv6(address),
    };
    let mut session = Session { line, offers: ServerInfo::default() };
    let hello = session.command(Ehlo::new(me))?;
    // Keywords may come in small letters, and an empty line names none; lettre wants neither.
    let lines = hello.message().map(str::to_uppercase).filter(|line| !line.trim().is_empty()).collect();
    let told = Response::new(hello.code(), lines);
    session.offers = ServerInfo::from_response(&told).map_err(|_| Trouble::Said(hello))?;
    Ok(session)
}

fn auth(mechanism: Mechanism, credentials: &Credentials, asked: Option<&Response>) -> Result<Auth, Refused> {
    let made = match asked {
        None => Auth::new(mechanism, credentials.clone(), None),
        Some(asked) => Auth::new_from_response(mechanism, credentials.clone(), asked),
    };
    made.map_err(|_| Refused::later("logging in: the mail server asks something strange"))
}

fn read_reply(line: &mut BufReader<Line>) -> io::Result<Response> {
    let mut bytes = Vec::new();
    loop {
        let start = bytes.len();
        let room = MAX_REPLY_BYTES - start as u64;
        line.by_ref().take(room).read_until(b'\n', &mut bytes)?;
        if bytes.last() != Some(&b'\n') {
            let long = bytes.len() as u64 == MAX_REPLY_BYTES;
            let why = if long { "its answer does not end" } else { "it closed the connection" };
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
        }
        if bytes.get(start + 3) != Some(&b'-') {
            break;
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    text.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "what it says is no SMTP"))
}

/// The letter as it goes over the wire: a dot at the start of a line is doubled, and one alone ends it.
fn stuffed(letter: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(letter.len() + 16);
    for line in letter.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}
