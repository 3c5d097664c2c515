//! The journal: each line of the log is an entry of journald, whose MESSAGE says all that a line of text says.
//!
//! Fields are in the message for who reads it and beside it, as `F_NAME`, for who asks for them. Where journald is not there
//! its stream is written to, which is standard error under systemd: no line is lost because journald starts anew. Where it is
//! there and takes nothing, nobody who logs waits for it (`waiting`).

mod waiting;

use std::fmt::{Debug, Write as _};
use std::fs::File;
use std::io::{self, IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::FormatFields as _;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::layer::Context;

use self::waiting::Waiting;

/// Where journald takes entries.
pub const SOCKET: &str = "/run/systemd/journal/socket";
/// What the log is called in the journal, whatever the program's file is called.
const IDENTIFIER: &str = "broadcastd";
/// What our fields begin with, so that none is taken for one of the journal's own.
const PREFIX: &str = "F_";
/// What records of the `log` crate bring along about themselves; it is no field.
const OF_LOG: &str = "log.";

/// Whether standard error goes to the journal, as `$JOURNAL_STREAM` says: device and inode of a stream, which may be another
/// one for a program that was started below a service.
pub fn is_stderr(journal_stream: Option<&str>) -> bool {
    let Ok(found) = rustix::fs::fstat(rustix::stdio::stderr()) else { return false };
    journal_stream == Some(format!("{}:{}", found.st_dev, found.st_ino).as_str())
}

/// Writes lines into the journal.
#[derive(Clone)]
pub struct Journal(Option<Arc<Line>>);

/// The way to journald.
struct Line {
    path: PathBuf,
    socket: UnixDatagram,
    waiting: Mutex<Waiting>,
    /// Somebody waits until nothing waits any more.
    rests: Condvar,
}

/// One line of the log.
struct Entry {
    priority: u8,
    message: String,
    /// As the journal takes it, with all fields.
    bytes: Vec<u8>,
}

impl Journal {
    /// With journald at this socket.
    pub fn at(path: &Path) -> Self {
        Self(UnixDatagram::unbound().ok().map(|socket| Line::new(path, socket)))
    }

    fn tell(&self, entry: Entry) {
        match &self.0 {
            Some(line) => line.tell(entry),
            None => entry.write(),
        }
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.tell(Entry::new(event));
    }
}

impl Entry {
    fn new(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let target = fields.target.as_deref().unwrap_or_else(|| metadata.target());
        let mut message = format!("{target}: ");
        // The same that makes the fields of the text format; a string takes whatever is written.
        _ = DefaultFields::new().format_fields(Writer::new(&mut message), event);
        let mut entry = Self::of(priority(*metadata.level()), target, message);
        let bytes = &mut entry.bytes;
        if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
            put(bytes, "CODE_FILE", file);
            put(bytes, "CODE_LINE", &line.to_string());
        }
        bytes.append(&mut fields.bytes);
        entry
    }

    /// One without further fields.
    fn of(priority: u8, target: &str, message: String) -> Self {
        let mut bytes = Vec::with_capacity(512);
        put(&mut bytes, "MESSAGE", &message);
        put(&mut bytes, "PRIORITY", &priority.to_string());
        put(&mut bytes, "SYSLOG_IDENTIFIER", IDENTIFIER);
        put(&mut bytes, "TARGET", target);
        Self { priority, message, bytes }
    }

    /// To the stream, in the place of journald.
    fn write(&self) {
        // Nobody reads what cannot be written here either.
        _ = io::stderr().lock().write_all(prefixed(self.priority, &self.message).as_bytes());
    }
}

/// Fields as they are gathered.
#[derive(Default)]
struct Fields {
    bytes: Vec<u8>,
    /// The target of a record of the `log` crate, whose metadata are the same for all.
    target: Option<String>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => {}
            "log.target" => self.target = Some(value.to_owned()),
            name if name.starts_with(OF_LOG) => {}
            name => put(&mut self.bytes, &named(name), value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// As syslog counts it, and `journalctl -p` with it.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// A field's name in the journal: capitals, digits and underscores.
fn named(field: &str) -> String {
    let plain = |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte.to_ascii_uppercase()) } else { '_' };
    PREFIX.chars().chain(field.bytes().map(plain)).collect()
}

/// One field with its length before it, so that it may have any bytes.
fn put(bytes: &mut Vec<u8>, name: &str, value: &str) {
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(b'\n');
    bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(b'\n');
}

/// For the stream of the journal, which knows the priority of a line by what it begins with.
fn prefixed(priority: u8, message: &str) -> String {
    message.lines().fold(String::new(), |mut lines, line| {
        _ = writeln!(lines, "<{priority}>{line}"); // a string takes whatever is written
        lines
    })
}

/// As a datagram, or in a file where it is too large for one. With `DONTWAIT` it is an error where journald takes nothing.
fn send(socket: &UnixDatagram, journald: &Path, entry: &[u8], flags: SendFlags) -> rustix::io::Result<()> {
    let address = SocketAddrUnix::new(journald)?;
    match rustix::net::sendto(socket, entry, flags, &address) {
        Err(Errno::MSGSIZE) => send_file(socket, &address, entry, flags),
        sent => sent.map(|_| ()),
    }
}

/// The file is sealed, so that journald may read it without a copy.
fn send_file(
    socket: &UnixDatagram,
    journald: &SocketAddrUnix,
    entry: &[u8],
    flags: SendFlags,
) -> rustix::io::Result<()> {
    let file = rustix::fs::memfd_create("journal-entry", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(file);
    file.write_all(entry).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    let descriptors = [file.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    beside.push(SendAncillaryMessage::ScmRights(&descriptors));
    rustix::net::sendmsg_addr(socket, journald, &[IoSlice::new(&[])], &mut beside, flags)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{Read as _, Seek as _};
    use std::time::Duration;

    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Long enough for a busy machine; a test that waits this long has failed.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// The end that journald holds.
    struct Journald {
        socket: UnixDatagram,
        folder: tempfile::TempDir,
    }

    impl Journald {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let socket = UnixDatagram::bind(folder.path().join("socket")).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            Self { socket, folder }
        }

        /// What is in the journal of that which this logs.
        fn heard(&self, log: impl FnOnce()) -> BTreeMap<String, String> {
            let journal = Journal::at(&self.folder.path().join("socket"));
            tracing::subscriber::with_default(tracing_subscriber::registry().with(journal), log);
            let mut bytes = vec![0; 1 << 16];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut beside = RecvAncillaryBuffer::new(&mut space);
            let into = &mut [std::io::IoSliceMut::new(&mut bytes)];
            let length = rustix::net::recvmsg(&self.socket, into, &mut beside, RecvFlags::empty()).unwrap().bytes;
            bytes.truncate(length);
            for message in beside.drain() {
                let RecvAncillaryMessage::ScmRights(files) = message else { continue };
                for mut file in files.map(File::from) {
                    assert!(rustix::fs::fcntl_get_seals(&file).unwrap().contains(SealFlags::WRITE | SealFlags::SEAL));
                    file.rewind().unwrap();
                    file.read_to_end(&mut bytes).unwrap();
                }
            }
            fields(&bytes)
        }
    }

    fn fields(mut bytes: &[u8]) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
            let (name, rest) = (&bytes[..end], &bytes[end + 1..]);
            let length = usize::try_from(u64::from_le_bytes(rest[..8].try_into().unwrap())).unwrap();
            let (value, rest) = rest[8..].split_at(length);
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            assert_eq!(fields.insert(text(name), text(value)), None, "twice");
            bytes = rest.strip_prefix(b"\n").unwrap();
        }
        fields
    }

    #[test]
    fn a_message_says_all_that_a_line_of_text_says() {
        let error = io::Error::other("the disk is full");
        let heard = Journald::new().heard(|| {
            tracing::error!(target: "audit", broadcaster = "bars", %error, tries = 3, "failed: it\npanicked");
        });
        let of = |name: &str| heard[name].as_str();
        assert_eq!(of("MESSAGE"), "audit: failed: it\npanicked broadcaster=\"bars\" error=the disk is full tries=3");
        assert_eq!((of("PRIORITY"), of("SYSLOG_IDENTIFIER"), of("TARGET")), ("3", "broadcastd", "audit"));
        assert_eq!((of("F_BROADCASTER"), of("F_ERROR"), of("F_TRIES")), ("bars", "the disk is full", "3"));
        assert!(of("CODE_FILE").ends_with("journal.rs") && of("CODE_LINE").parse::<u32>().is_ok());
    }

    #[test]
    fn each_level_has_the_priority_of_its_name() {
        let journald = Journald::new();
        let heard = [
            journald.heard(|| tracing::error!("x")),
            journald.heard(|| tracing::warn!("x")),
            journald.heard(|| tracing::info!("x")),
            journald.heard(|| tracing::debug!("x")),
            journald.heard(|| tracing::trace!("x")),
        ];
        assert_eq!(heard.map(|entry| entry["PRIORITY"].clone()), ["3", "4", "6", "7", "7"]);
    }

    #[test]
    fn one_that_is_too_large_for_a_datagram_comes_in_a_file() {
        let report = "x".repeat(1 << 20);
        let heard = Journald::new().heard(|| tracing::warn!(of = "config.toml", "{report}"));
        assert!(heard["MESSAGE"].ends_with("xxx of=\"config.toml\"") && heard["MESSAGE"].len() > report.len());
        assert_eq!(heard["F_OF"], "config.toml");
    }

    #[test]
    fn what_a_line_of_the_log_crate_says_of_itself_is_no_field() {
        let heard = Journald::new().heard(|| {
            tracing::event!(target: "log", Level::WARN, { log.target = "rustls::conn", log.line = 7 }, "no certificate");
        });
        assert_eq!(
            (heard["MESSAGE"].as_str(), heard["TARGET"].as_str()),
            ("rustls::conn: no certificate", "rustls::conn")
        );
        assert!(heard.keys().all(|name| !name.starts_with(PREFIX)), "{heard:?}");
    }

    #[test]
    fn every_line_for_the_stream_has_the_priority() {
        assert_eq!(prefixed(3, "refused\n  at line 7\n"), "<3>refused\n<3>  at line 7\n");
    }

    #[test]
    fn a_stream_is_the_journals_where_it_is_the_one_that_is_named() {
        let found = rustix::fs::fstat(rustix::stdio::stderr()).unwrap();
        let named = |device: u64, inode: u64| is_stderr(Some(&format!("{device}:{inode}")));
        assert!(named(found.st_dev, found.st_ino));
        assert!(!named(found.st_dev, found.st_ino + 1), "another one of the same device");
        assert!(!named(found.st_dev + 1, found.st_ino), "the same number on another device");
        assert!(!is_stderr(None));
    }
}
