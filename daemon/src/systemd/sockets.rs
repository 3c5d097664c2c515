//! Sockets that the service manager opened before this process began and keeps open when it ends: whoever comes in
//! between waits in the kernel's queue and is not refused.

#![expect(unsafe_code, reason = "descriptors that were handed over by number have to be owned by somebody")]

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{SockAddr, Socket, Type};

/// Descriptors belong to whoever takes them, so they are taken once.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The listening sockets that were given, if any were. They stay open as long as this process lives, as they do at the
/// service manager's end: an address that a reload takes away can come back.
#[derive(Clone, Debug, Default)]
pub struct Sockets(Arc<[Given]>);

#[derive(Debug)]
struct Given {
    socket: Socket,
    address: SockAddr,
}

impl Sockets {
    /// Takes what the environment says was given to this very process. To be called before the process opens anything,
    /// since nothing but the environment tells which descriptors are meant. A second call finds none.
    pub fn take() -> io::Result<Self> {
        if TAKEN.swap(true, Ordering::Relaxed) {
            return Ok(Self::default());
        }
        let mut given = Vec::new();
        for (descriptor, name) in sd_notify::listen_fds_with_names()? {
            // SAFETY: `sd_notify` found it open, the service manager passed it to this process for its own, and `TAKEN` has
            // nobody take it twice.
            let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
            given.push(Given::new(owned).map_err(|error| told(&error, descriptor, &name))?);
        }
        Ok(Self(given.into()))
    }

    /// The one that listens at this address or, where it is a name, at one of its addresses.
    pub fn tcp(&self, address: &str) -> io::Result<Option<TcpListener>> {
        if self.0.is_empty() {
            return Ok(None); // nobody has to ask what a name means
        }
        let wanted: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
        let is_wanted = |given: &SockAddr| given.as_socket().is_some_and(|given| wanted.contains(&given));
        Ok(self.find(is_wanted)?.map(|socket| OwnedFd::from(socket).into()))
    }

    /// The one that listens at this path.
    pub fn unix(&self, path: &Path) -> io::Result<Option<UnixListener>> {
        let is_wanted = |given: &SockAddr| given.as_pathname() == Some(path);
        Ok(self.find(is_wanted)?.map(|socket| OwnedFd::from(socket).into()))
    }

    /// The addresses that are not among these, as `127.0.0.1:8080` or `unix:/PATH`: nobody is served there.
    pub fn beside<'a>(&'a self, served: &'a [String]) -> impl Iterator<Item = String> + 'a {
        self.0.iter().map(|given| spelled(&given.address)).filter(|address| !served.contains(address))
    }

    fn find(&self, is_wanted: impl Fn(&SockAddr) -> bool) -> io::Result<Option<Socket>> {
        self.0.iter().find(|given| is_wanted(&given.address)).map(|given| given.socket.try_clone()).transpose()
    }
}

impl Given {
    fn new(descriptor: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(descriptor);
        let listens = socket.r#type()? == Type::STREAM && socket.is_listener()?;
        if !listens {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen for connections"));
        }
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }
}

fn told(error: &io::Error, descriptor: i32, name: &str) -> io::Error {
    let text = format!(
        "descriptor {descriptor} ({name}), which the service manager gave, cannot be used: {error}; the socket unit needs ListenStream= and Accept=no"
    );
    io::Error::new(error.kind(), text)
}

fn spelled(address: &SockAddr) -> String {
    match (address.as_socket(), address.as_pathname()) {
        (Some(socket), _) => socket.to_string(),
        (None, Some(path)) => format!("unix:{}", path.display()),
        (None, None) => "a socket without a path".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(descriptors: Vec<OwnedFd>) -> Sockets {
        Sockets(descriptors.into_iter().map(|one| Given::new(one).unwrap()).collect())
    }

    #[test]
    fn each_is_found_by_its_address_and_as_often_as_it_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let sockets = given(vec![tcp.into(), UnixListener::bind(&path).unwrap().into()]);
        for _ in 0..2 {
            let found = sockets.tcp(&format!("localhost:{}", address.port())).unwrap().unwrap();
            assert_eq!(found.local_addr().unwrap(), address);
            let found = sockets.unix(&path).unwrap().unwrap();
            assert_eq!(found.local_addr().unwrap().as_pathname(), Some(&*path));
        }
        assert!(sockets.tcp(&format!("127.0.0.2:{}", address.port())).unwrap().is_none());
        assert!(sockets.unix(folder.path()).unwrap().is_none());
    }

    #[test]
    fn who_is_not_served_is_named() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap().to_string();
        let sockets = given(vec![tcp.into()]);
        let beside = |served: String| sockets.beside(&[served]).collect::<Vec<_>>();
        assert_eq!(beside("unix:/else".to_owned()), [&*address]);
        assert_eq!(beside(address), [""; 0]);
    }

    #[test]
    fn what_does_not_listen_is_refused() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for wrong in [OwnedFd::from(one), OwnedFd::from(datagrams)] {
            let error = told(&Given::new(wrong).unwrap_err(), 3, "clients");
            assert_eq!(
                error.to_string(),
                "descriptor 3 (clients), which the service manager gave, cannot be used: it does not listen for connections; the socket unit needs ListenStream= and Accept=no"
            );
        }
    }
}
