//! From a name to a connected socket before the deadline.
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Instant;

use crate::bounded::{late, left};

/// Look-ups that may be under way at once in one plugin: a resolver that hangs for half a minute is asked anew by every
/// attempt, and each holds a thread.
const MAX_LOOKUPS: usize = 16;

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
    static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);
    let name = host.to_owned();
    look_up(&UNDER_WAY, deadline, move || (name.as_str(), port).to_socket_addrs().map(Vec::from_iter))
}

fn look_up<T: Send + 'static>(
    under_way: &'static AtomicUsize,
    deadline: Instant,
    ask: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let place = Place::take(under_way)?;
    let (sender, found) = mpsc::sync_channel(1);
    thread::Builder::new().name("plugin-resolve".into()).spawn(move || {
        let answer = ask();
        drop(place);
        let _nobody_waits_any_more = sender.send(answer);
    })?;
    match found.recv_timeout(left(deadline)?) {
        Ok(answer) => answer,
        Err(RecvTimeoutError::Timeout) => Err(late()),
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the look-up of the name ended without an answer")),
    }
}

/// One of the look-ups that may be under way, until it is dropped.
struct Place(&'static AtomicUsize);

impl Place {
    fn take(under_way: &'static AtomicUsize) -> io::Result<Place> {
        let one_more = |count: usize| (count < MAX_LOOKUPS).then_some(count + 1);
        match under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => Ok(Place(under_way)),
            Err(_) => {
                Err(io::Error::other(format!("{MAX_LOOKUPS} look-ups of names do not come back; see to the resolver")))
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_resolver_that_hangs_holds_so_many_threads_and_no_more() {
        static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);
        let (open, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let ask = |patience: u64| {
            let gate = gate.clone();
            let deadline = Instant::now() + Duration::from_millis(patience);
            look_up(&UNDER_WAY, deadline, move || {
                let _open_or_gone = gate.lock().unwrap().recv();
                Ok(())
            })
        };
        for _ in 0..MAX_LOOKUPS {
            assert_eq!(ask(5).unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
        assert!(ask(5).unwrap_err().to_string().contains("do not come back"));
        drop(open); // now they do
        while UNDER_WAY.load(Ordering::Relaxed) > 0 {
            thread::yield_now();
        }
        ask(20_000).unwrap();
        assert!(look_up::<()>(&UNDER_WAY, Instant::now() + Duration::from_secs(20), || panic!("it ends")).is_err());
        assert_eq!(UNDER_WAY.load(Ordering::Relaxed), 0, "whatever becomes of one, its place is free");
    }
}
