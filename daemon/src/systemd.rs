//! What the daemon tells systemd: ready, reloading, stopping, how it fares, and that it is alive; in `sockets`, what systemd
//! gives it.
//!
//! Outside systemd every word is heard by nobody and costs nothing. A word that systemd does not take is logged and the
//! daemon goes on: telling is never worth more than serving.

pub mod sockets;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;

/// A datagram waits this long for a place in systemd's queue: systemd empties it in milliseconds, and a second is far
/// below every watchdog.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// Signs of life per watchdog period: two may come late and the third still saves the daemon.
const SIGNS_PER_PERIOD: u32 = 3;

/// The way to the service manager that started this process, if one did.
#[derive(Clone, Debug, Default)]
pub struct Systemd {
    socket: Option<OsString>,
}

impl Systemd {
    /// The socket that the environment names.
    pub fn from_env() -> Self {
        Self { socket: std::env::var_os("NOTIFY_SOCKET") }
    }

    /// Whether a service manager listens.
    pub fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// A socket by its path, or by its abstract name with `@` in front.
    pub fn at(socket: impl AsRef<OsStr>) -> Self {
        Self { socket: Some(socket.as_ref().to_owned()) }
    }

    /// The daemon serves: at the end of a start, and of every reload, also of a refused one.
    pub fn ready(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// A reload begins. The time says which reload `ready` ends; without it systemd waits for ever.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(error) => {
                tracing::warn!(%error, "the monotonic clock cannot be read; systemd is not told of the reload")
            }
        }
    }

    /// The drain has begun.
    pub fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// One line for `systemctl status`.
    pub fn status(&self, text: &str) {
        // A line break would begin a new assignment, and whoever wrote the text would speak for the daemon.
        self.tell(&[NotifyState::Status(&text.replace(['\n', '\r'], " "))]);
    }

    /// A sign of life; due every [`watchdog_interval`].
    pub fn alive(&self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    fn tell(&self, words: &[NotifyState<'_>]) {
        let Some(socket) = &self.socket else { return };
        let message: String = words.iter().map(|word| format!("{word}\n")).collect();
        if let Err(error) = send(socket, message.as_bytes()) {
            tracing::warn!(%error, ?socket, message = message.trim_end(), "systemd could not be told");
        }
    }
}

/// How often systemd wants a sign of life from this very process, if it watches at all.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|period| !period.is_zero()).map(|period| period / SIGNS_PER_PERIOD)
}

/// A fresh socket each time: systemd may have been replaced by its successor since the last word.
fn send(socket: &OsStr, message: &[u8]) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let sender = UnixDatagram::unbound()?;
    sender.set_write_timeout(Some(SEND_TIMEOUT))?;
    sender.send_to_addr(message, &address).map(|_| ()) // a datagram goes whole or not at all
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Long enough for a busy machine; a test that waits this long has failed.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// The end that systemd holds.
    struct Listener {
        socket: UnixDatagram,
        folder: tempfile::TempDir,
    }

    impl Listener {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            Self { socket, folder }
        }

        fn systemd(&self) -> Systemd {
            Systemd::at(self.folder.path().join("notify"))
        }

        fn heard(&self) -> String {
            heard(&self.socket)
        }
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 1024];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn every_word_arrives_as_systemd_spells_it() {
        let listener = Listener::new();
        let systemd = listener.systemd();
        systemd.ready();
        assert_eq!(listener.heard(), "READY=1\n");
        systemd.status("3 broadcasters, 12 connections");
        assert_eq!(listener.heard(), "STATUS=3 broadcasters, 12 connections\n");
        systemd.alive();
        assert_eq!(listener.heard(), "WATCHDOG=1\n");
        systemd.stopping();
        assert_eq!(listener.heard(), "STOPPING=1\n");
    }

    #[test]
    fn a_reload_carries_the_monotonic_time() {
        let now = || {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
            i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000
        };
        let listener = Listener::new();
        let before = now();
        listener.systemd().reloading();
        let message = listener.heard();
        let time = message.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&message);
        let time: i128 = time.trim_end().parse().unwrap();
        assert!((before..=now()).contains(&time), "{message}");
    }

    #[test]
    fn a_status_cannot_smuggle_in_another_assignment() {
        let listener = Listener::new();
        listener.systemd().status("config refused\nSTOPPING=1\r\nREADY=1");
        assert_eq!(listener.heard(), "STATUS=config refused STOPPING=1  READY=1\n");
    }

    #[test]
    fn an_abstract_socket_is_reached() {
        let name = format!("broadcastd-test-{}-{:x}", std::process::id(), fastrand::u64(..));
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Systemd::at(format!("@{name}")).ready();
        assert_eq!(heard(&socket), "READY=1\n");
    }

    #[test]
    fn a_lost_or_silent_service_manager_stops_nobody() {
        let listener = Listener::new();
        let systemd = listener.systemd();
        drop(listener);
        systemd.ready();
        Systemd::default().ready();
    }

    #[test]
    fn a_full_queue_is_given_up_on() {
        let listener = Listener::new();
        let socket = listener.systemd().socket.unwrap();
        // Nobody reads: the kernel's queue takes a few datagrams and then none.
        let error = (0..10_000).find_map(|_| send(&socket, b"STATUS=again\n").err()).expect("the queue has no bound");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    /// Environment variables belong to the whole process, so a process of its own reads them: this test again.
    #[test]
    fn the_environment_names_the_socket_and_the_watchdog() {
        const CHILD: &str = "BROADCASTD_TEST_SYSTEMD_CHILD";
        if std::env::var_os(CHILD).is_some() {
            Systemd::from_env().status(&format!("{:?}", watchdog_interval()));
            return;
        }
        let this = "systemd::tests::the_environment_names_the_socket_and_the_watchdog";
        let listener = Listener::new();
        let other = std::process::id().to_string();
        let cases: [(&[(&str, &str)], &str); 4] = [
            (&[("WATCHDOG_USEC", "15000000")], "STATUS=Some(5s)\n"),
            (&[("WATCHDOG_USEC", "15000000"), ("WATCHDOG_PID", &other)], "STATUS=None\n"),
            (&[("WATCHDOG_USEC", "0")], "STATUS=None\n"),
            (&[], "STATUS=None\n"),
        ];
        for (environment, told) in cases {
            let status = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", this])
                .env_remove("WATCHDOG_USEC")
                .env_remove("WATCHDOG_PID")
                .env("NOTIFY_SOCKET", listener.folder.path().join("notify"))
                .env(CHILD, "1")
                .envs(environment.iter().copied())
                .output()
                .unwrap()
                .status;
            assert!(status.success());
            assert_eq!(listener.heard(), told, "{environment:?}");
        }
    }
}
