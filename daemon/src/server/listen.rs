//! Where connections come in: every new address is bound before anything changes, and removing one leaves the
//! connections that came through it alone.

use std::fmt;
use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt as _};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_user_timeout;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::hosts::Reach;
use super::http::{Arrival, Credentials, Front};
use crate::metrics as count;
use crate::systemd::sockets::Sockets;

/// What begins the address of a socket that is a file.
pub const UNIX: &str = "unix:";
/// Connections that may wait to be accepted, as far as the kernel agrees: a crowd that comes back together after a
/// restart. The standard library asks for 128, and clients beyond it would wait for seconds.
const QUEUE: i32 = 4096;
/// The bytes that a socket takes before they can be on their way. Without a bound the kernel would hold up to several megabytes
/// for each client that stops reading; one joined piece is enough to keep a line busy.
const MAX_UNSENT_IN_KERNEL: u32 = 64 << 10;
/// How long an accept loop rests after a failure, such as too few descriptors: they do not come back by asking at once.
pub(super) const REST: Duration = Duration::from_millis(100);

/// The open listeners of one front, in the order of config.
pub struct Listeners {
    /// The key in config, for what an operator reads.
    key: &'static str,
    runtime: Handle,
    front: Arc<Front>,
    /// What the files of sockets are created with; without it the process' mask decides.
    mode: Option<u32>,
    /// Those that are open already, before anything is bound.
    given: Sockets,
    open: Mutex<Vec<Open>>,
}

struct Open {
    /// As config has it.
    address: String,
    bound: String,
    accepting: Accepting,
    _file: Option<SocketFile>,
}

/// An accept loop; it ends when this is dropped.
pub(super) struct Accepting(AbortHandle);

/// The file of a unix socket that is ours; it goes with its listener.
pub struct SocketFile(PathBuf);

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

struct Fresh {
    address: String,
    bound: String,
    listener: Listener,
    file: Option<SocketFile>,
}

/// New addresses, bound but not yet served. Dropping it closes them again.
pub struct Prepared {
    wanted: Vec<String>,
    fresh: Vec<Fresh>,
}

/// Why an address cannot be listened on; the text names the address and says what to do.
#[derive(Debug)]
pub struct ListenError {
    key: &'static str,
    address: String,
    error: io::Error,
}

impl Listeners {
    pub fn new(key: &'static str, front: Arc<Front>, runtime: Handle, given: Sockets) -> Self {
        Self { key, runtime, front, mode: None, given, open: Mutex::default() }
    }

    /// The same with files of sockets that have this mode.
    pub fn with_mode(self, mode: u32) -> Self {
        Self { mode: Some(mode), ..self }
    }

    /// Binds the addresses that are not open yet. Nothing that runs is touched.
    pub fn prepare(&self, wanted: &[String]) -> Result<Prepared, ListenError> {
        let _inside = self.runtime.enter(); // sockets are registered with the runtime that will serve them
        let mut fresh: Vec<Fresh> = Vec::new();
        for address in wanted {
            let is_known = self.lock().iter().any(|open| open.address == *address)
                || fresh.iter().any(|known| known.address == *address);
            if !is_known {
                let bound = bind(address, self.mode, &self.given);
                let error = |error| ListenError { key: self.key, address: address.clone(), error };
                fresh.push(bound.map_err(error)?);
            }
        }
        Ok(Prepared { wanted: wanted.to_vec(), fresh })
    }

    /// Serves the new addresses and closes those that are no longer wanted. Connections are not touched.
    pub fn commit(&self, prepared: Prepared) {
        let mut open = self.lock();
        open.retain(|known| prepared.wanted.contains(&known.address));
        for Fresh { address, bound, listener, file } in prepared.fresh {
            let name: Arc<str> = address.as_str().into();
            let accepting = self.runtime.spawn(accept_all(listener, name, self.front.clone())).abort_handle();
            open.push(Open { address, bound, accepting: Accepting(accepting), _file: file });
        }
        open.sort_by_key(|known| prepared.wanted.iter().position(|wanted| *wanted == known.address));
    }

    /// Closes every address.
    pub fn close(&self) {
        self.lock().clear();
    }

    /// What is asked at them is answered until the deadline.
    pub fn drain(&self, deadline: Instant) {
        self.front.drain().begin(deadline);
    }

    /// Waits until all who have asked are answered and gone, where a drain has begun. Not from a thread of a runtime.
    pub fn finish(&self) {
        if !self.runtime.block_on(self.front.drain().finish()) {
            tracing::warn!("{}: clients that do not take their answers are cut off", self.key);
        }
    }

    /// The addresses as they were bound, in the order of config, with the port that the kernel chose where config says 0.
    pub fn addresses(&self) -> Vec<String> {
        self.lock().iter().map(|open| open.bound.clone()).collect()
    }

    /// Whether every accept loop still runs.
    pub fn are_alive(&self) -> bool {
        self.lock().iter().all(|open| !open.accepting.0.is_finished())
    }

    /// A panic while the lock was held leaves a list that is still sound: go on with it.
    fn lock(&self) -> MutexGuard<'_, Vec<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accepting {
    pub(super) fn new(accepting: AbortHandle) -> Self {
        Self(accepting)
    }
}

impl Listener {
    /// Who can reach it; where the kernel does not say, everybody.
    fn reach(&self) -> Reach {
        let is_local = |address: SocketAddr| address.ip().to_canonical().is_loopback();
        match self {
            Self::Tcp(tcp) if tcp.local_addr().is_ok_and(is_local) => Reach::Machine,
            Self::Tcp(_) => Reach::Network,
            Self::Unix(_) => Reach::Machine,
        }
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A file that is gone already is what was wanted.
        _ = std::fs::remove_file(&self.0);
    }
}

impl ListenError {
    pub(super) fn new(key: &'static str, address: &str, error: io::Error) -> Self {
        Self { key, address: address.to_owned(), error }
    }

    /// The setting that has the address, as config writes it: `server.listen`.
    pub fn key(&self) -> &'static str {
        self.key
    }

    pub fn kind(&self) -> ErrorKind {
        self.error.kind()
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, address, error } = self;
        write!(out, "cannot listen on {address}: ")?;
        match error.kind() {
            ErrorKind::AddrInUse => {
                write!(
                    out,
                    "it is taken already; stop the program that listens there, or change {key} in the configuration"
                )
            }
            ErrorKind::AddrNotAvailable => {
                write!(out, "this machine has no such address; change {key} in the configuration")
            }
            ErrorKind::PermissionDenied => write!(
                out,
                "permission denied; take a port from 1024 on or a folder that may be written to, or grant the right, and see {key} in the configuration"
            ),
            _ => write!(out, "{error}; see {key} in the configuration"),
        }
    }
}

impl std::error::Error for ListenError {}

fn bind(address: &str, mode: Option<u32>, given: &Sockets) -> io::Result<Fresh> {
    if let Some(path) = address.strip_prefix(UNIX).filter(|path| path.starts_with('/')) {
        let (listener, file) = bind_file(Path::new(path), mode, given)?;
        listener.set_nonblocking(true)?;
        let listener = Listener::Unix(UnixListener::from_std(listener)?);
        return Ok(Fresh { address: address.to_owned(), bound: address.to_owned(), listener, file });
    }
    if !address.contains(':') || address.starts_with(UNIX) {
        let message = "an address is HOST:PORT, like 127.0.0.1:8080, or unix:/PATH";
        return Err(io::Error::new(ErrorKind::InvalidInput, message));
    }
    let listener = match given.tcp(address)? {
        Some(given) => given,
        None => std::net::TcpListener::bind(address)?,
    };
    rustix::net::listen(&listener, QUEUE)?; // a second time, with room
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?.to_string();
    let listener = Listener::Tcp(TcpListener::from_std(listener)?);
    Ok(Fresh { address: address.to_owned(), bound, listener, file: None })
}

/// Listens at a socket file. One that was given stays as it is; a new one has this mode before anybody can connect. A file
/// that nobody answers at is left from a daemon that ended hard, and gives way.
pub(super) fn bind_file(
    path: &Path,
    mode: Option<u32>,
    given: &Sockets,
) -> io::Result<(StdUnixListener, Option<SocketFile>)> {
    if let Some(given) = given.unix(path)? {
        return Ok((given, None));
    }
    let (listener, file) = bind_own(path, mode)?;
    Ok((listener, Some(file)))
}

fn bind_own(path: &Path, mode: Option<u32>) -> io::Result<(StdUnixListener, SocketFile)> {
    match bind_free(path, mode) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
            let asked = std::os::unix::net::UnixStream::connect(path);
            if is_socket && asked.is_err_and(|asked| asked.kind() == ErrorKind::ConnectionRefused) {
                std::fs::remove_file(path)?;
                return bind_free(path, mode);
            }
            Err(error)
        }
        bound => bound,
    }
}

fn bind_free(path: &Path, mode: Option<u32>) -> io::Result<(StdUnixListener, SocketFile)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile(path.into());
    if let Some(mode) = mode {
        std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    socket.listen(QUEUE)?;
    Ok((OwnedFd::from(socket).into(), file))
}

async fn accept_all(listener: Listener, name: Arc<str>, front: Arc<Front>) {
    let reach = listener.reach();
    let mut rests = 0; // since a connection was last accepted
    loop {
        let place = front.place().await;
        let outcome = match &listener {
            Listener::Tcp(tcp) => tcp.accept().await.and_then(|(socket, peer)| {
                socket.set_nodelay(true)?; // an event is one send; waiting for a second one helps nobody
                // Without it a client that never reads its answers would keep its place for ever.
                set_tcp_user_timeout(&socket, front.unread_millis())?;
                // What a client is slow for waits in its outbox, where it can be replaced, dropped and counted.
                socket2::SockRef::from(&socket).set_tcp_notsent_lowat(MAX_UNSENT_IN_KERNEL)?;
                let arrival = Arrival { peer: Some(peer.ip().to_canonical()), ..Arrival::at(&name, reach) };
                tokio::spawn(front.clone().receive(socket, arrival, place));
                Ok(())
            }),
            Listener::Unix(unix) => unix.accept().await.map(|(socket, _)| {
                let arrival = Arrival { credentials: credentials(&socket), ..Arrival::at(&name, reach) };
                tokio::spawn(front.clone().serve(socket, arrival, place));
            }),
        };
        match outcome {
            Ok(()) if rests > 0 => {
                tracing::info!(address = %name, rests, "connections are accepted again");
                rests = 0;
            }
            Ok(()) => {}
            Err(error) => {
                if rests == 0 {
                    tell(&name, &error);
                }
                rests += 1;
                count::accept_rested();
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// Who is at the other end, where the kernel knows.
fn credentials(socket: &UnixStream) -> Option<Credentials> {
    let known = socket.peer_cred().ok()?;
    Some(Credentials { uid: known.uid(), pid: known.pid() })
}

/// Says once that connections have to wait; they do so in the kernel's queue.
pub(super) fn tell(address: &str, error: &io::Error) {
    if matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE)) {
        tracing::warn!(address, %error, "new connections wait: there are too few descriptors; raise their limit (LimitNOFILE=)");
    } else {
        tracing::warn!(address, %error, "new connections wait: none can be accepted");
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_crowd_can_wait_to_be_accepted() {
        const CROWD: usize = 500;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let _inside = runtime.enter();
        let nobody_accepts = bind("127.0.0.1:0", None, &Sockets::default()).unwrap();
        let address: SocketAddr = nobody_accepts.bound.parse().unwrap();
        // Without room in the queue the kernel would drop the attempt, and try again after a second.
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(900)).unwrap();
        let waiting: Vec<TcpStream> = (0..CROWD).map(connect).collect();
        assert_eq!(waiting.len(), CROWD);
    }
}
