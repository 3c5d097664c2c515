//! From a name to a connected socket before the deadline.
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Instant;

use crate::bounded::{late, left};

/// Tries the addresses of a name in turn and tells why the last did not answer.
pub fn dial(host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let mut why = io::Error::new(io::ErrorKind::NotFound, format!("`{host}` has no address"));
    for address in resolve(host, port, deadline)? {
        match TcpStream::connect_timeout(&address, left(deadline)?) {
            Ok(socket) => {
                socket.set_nodelay(true)?; // what is said here waits for an answer
                return Ok(socket);
            }
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// The system's resolver cannot be given a deadline, so a name is looked up on a thread of its own, which is left to
/// itself when it is late: the resolver gives up by its own rules.
fn resolve(host: &str, port: u16, deadline: Instant) -> io::Result<Vec<SocketAddr>> {
    let (sender, found) = mpsc::sync_channel(1);
    let name = host.to_owned();
    thread::Builder::new().name("plugin-resolve".into()).spawn(move || {
        let addresses = (name.as_str(), port).to_socket_addrs().map(Vec::from_iter);
        let _nobody_waits_any_more = sender.send(addresses);
    })?;
    match found.recv_timeout(left(deadline)?) {
        Ok(addresses) => addresses,
        Err(RecvTimeoutError::Timeout) => Err(late()),
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the look-up of the name ended without an answer")),
    }
}
