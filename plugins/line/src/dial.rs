//! From a name to a connected socket before the deadline.
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::bounded::{late, left};

/// Look-ups that may be under way at once in one plugin: a resolver that hangs for half a minute is asked anew by every
/// attempt, and each holds a thread.
const MAX_LOOKUPS: usize = 16;

/// Tries the addresses of a name in turn and tells why the last did not answer.
pub fn dial(host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let socket = in_turn(&resolve(host, port, deadline)?, deadline, TcpStream::connect_timeout)?;
    socket.set_nodelay(true)?; // what is said here waits for an answer
    Ok(socket)
}

/// Each address gets its share of what is left: one that takes everything and says nothing must leave time for the
/// others, and what an earlier one did not need goes to them.
fn in_turn<S>(
    addresses: &[SocketAddr],
    deadline: Instant,
    mut connect: impl FnMut(&SocketAddr, Duration) -> io::Result<S>,
) -> io::Result<S> {
    let mut why = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (remaining, address) in (1..=addresses.len() as u32).rev().zip(addresses) {
        let share = (left(deadline)? / remaining).max(Duration::from_nanos(1)); // zero is no timeout
        match connect(address, share) {
            Ok(socket) => return Ok(socket),
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
    fn an_address_that_says_nothing_leaves_time_for_the_others() {
        const PATIENCE: Duration = Duration::from_secs(60);
        let addresses: Vec<SocketAddr> = (1..=3).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
        let mut given = Vec::new();
        let answer = in_turn(&addresses, Instant::now() + PATIENCE, |address, share| {
            given.push(share);
            if address.port() == 3 { Ok("the last") } else { Err(late()) }
        });
        assert_eq!(answer.unwrap(), "the last");
        assert!(given[0] <= PATIENCE / 3 && given[1] <= PATIENCE / 2, "{given:?}");
        assert!(given[2] > PATIENCE / 2, "what the others did not need goes to it: {given:?}");
        let refused = || Err::<(), _>(io::ErrorKind::ConnectionRefused.into());
        let error = in_turn(&addresses, Instant::now() + PATIENCE, |_, _| refused()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

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
