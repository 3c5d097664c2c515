//! The system calls of a shard, behind a seam: what is ready, and one send per connection and turn.

#[cfg(test)]
mod tests;
mod uring;

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

pub use self::uring::Uring;
use super::slabs::Slabs;

/// The most pieces that one system call sends; the kernel takes 1,024, and more pieces cost more than a second call.
pub const MAX_PIECES: usize = 64;
/// The most readiness events that one call returns; what remains comes with the next turn.
const MAX_READY: usize = 1024;
/// Sinks that are sent to before they are looked after: a ring takes as many in one submission. The kernel goes from one to the
/// next the cheaper, the fewer of our own steps are between them: with a quarter of these, deliveries took up to a tenth longer.
pub const FLUSHED_TOGETHER: usize = 1024;
/// Sinks that are prepared before the first of them is sent to: what they keep is then fetched from memory side by side, and
/// not one after the other between system calls. Few enough that it is still near when its turn comes.
const PREPARED_TOGETHER: usize = 32;
/// The token that no connection has: the wake-up of the shard itself.
pub const WAKE_TOKEN: usize = usize::MAX;

/// What a connection's socket is ready for.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    pub token: usize,
    pub readable: bool,
    pub writable: bool,
}

/// What a shard wants to hear of a socket, beside that it broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    Read,
    ReadAndWrite,
    Write,
}

/// Something that has bytes to send.
pub trait Sink {
    fn fd(&self) -> BorrowedFd<'_>;
    /// Comes before anything else of a turn, for several sinks before the first of them is sent to.
    fn prepare(&mut self);
    /// What waits, where that is one piece: mostly it is.
    fn only_piece(&self) -> Option<&[u8]>;
    /// Puts the waiting pieces from the front on into the room there is, and returns how many these are.
    fn pieces<'a>(&'a self, room: &mut [IoSlice<'a>; MAX_PIECES]) -> usize;
    /// What became of them; whether to go on at once with what still waits.
    fn sent(&mut self, outcome: io::Result<usize>) -> Next;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Continue,
    Stop,
}

/// Which back end shards have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    Epoll,
    IoUring,
}

impl Means {
    pub fn name(self) -> &'static str {
        match self {
            Self::Epoll => "epoll",
            Self::IoUring => "io_uring",
        }
    }

    /// Whether the kernel, and whoever confines this process, allow it.
    pub fn probe(self) -> io::Result<()> {
        match self {
            Self::Epoll => Ok(()),
            Self::IoUring => {
                // A ring that goes interrupts what the thread waits in that made it, some time later: it had better be none.
                let probe = std::thread::Builder::new().name("probe".into()).spawn(|| uring::ring().map(drop))?;
                probe.join().map_err(|_| io::Error::other("the probe has panicked"))?
            }
        }
    }
}

/// One way of asking the kernel. `flush` gets all connections of a turn.
pub trait Backend: Sized {
    fn new(wake: &OwnedFd) -> io::Result<Self>;
    /// Waits until something is ready, at most `timeout`.
    fn wait(&mut self, timeout: Duration, ready: &mut Vec<Ready>) -> io::Result<()>;
    fn add(&mut self, fd: BorrowedFd<'_>, token: usize) -> io::Result<()>;
    fn change(&mut self, fd: BorrowedFd<'_>, token: usize, interest: Interest) -> io::Result<()>;
    fn remove(&mut self, fd: BorrowedFd<'_>);
    /// Reads what is there into the buffer; 0 is the end.
    fn receive(&mut self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize>;
    /// Sends what the named sinks have waiting, and says how many bytes went.
    fn flush<S: Sink>(&mut self, sinks: &mut Slabs<S>, dirty: &[usize]) -> u64;
}

/// Level-triggered epoll and one `sendmsg` per connection.
pub struct Epoll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Backend for Epoll {
    fn new(wake: &OwnedFd) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let token = epoll::EventData::new_u64(WAKE_TOKEN as u64);
        epoll::add(&epoll, wake, token, epoll::EventFlags::IN)?;
        Ok(Self { epoll, events: Vec::with_capacity(MAX_READY) })
    }

    fn wait(&mut self, timeout: Duration, ready: &mut Vec<Ready>) -> io::Result<()> {
        self.events.clear();
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        ready.extend(self.events.iter().map(|event| {
            let flags = event.flags;
            let broken = flags.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP);
            Ready {
                token: usize::try_from(event.data.u64()).unwrap_or(WAKE_TOKEN),
                readable: broken || flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::RDHUP),
                writable: broken || flags.contains(epoll::EventFlags::OUT),
            }
        }));
        Ok(())
    }

    fn add(&mut self, fd: BorrowedFd<'_>, token: usize) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token as u64), flags(Interest::Read))?)
    }

    fn change(&mut self, fd: BorrowedFd<'_>, token: usize, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(token as u64), flags(interest))?)
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) {
        // A socket that is not there any more is what was wanted.
        _ = epoll::delete(&self.epoll, fd);
    }

    fn receive(&mut self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        let (read, _) = rustix::net::recv(fd, buffer, RecvFlags::DONTWAIT)?;
        Ok(read)
    }

    fn flush<S: Sink>(&mut self, sinks: &mut Slabs<S>, dirty: &[usize]) -> u64 {
        let mut written = 0;
        for some in dirty.chunks(PREPARED_TOGETHER) {
            for token in some {
                if let Some(sink) = sinks.get_mut(*token) {
                    sink.prepare();
                }
            }
            for token in some {
                written += sinks.get_mut(*token).map_or(0, send_all);
            }
        }
        written
    }
}

fn flags(interest: Interest) -> epoll::EventFlags {
    let read = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
    match interest {
        Interest::Read => read,
        Interest::ReadAndWrite => read | epoll::EventFlags::OUT,
        Interest::Write => epoll::EventFlags::OUT,
    }
}

/// As much as the socket takes, and how many bytes that was.
fn send_all<S: Sink>(sink: &mut S) -> u64 {
    let mut written = 0;
    loop {
        let outcome = send(sink);
        written += outcome.as_ref().map_or(0, |count| *count as u64);
        if sink.sent(outcome) == Next::Stop {
            return written;
        }
    }
}

fn send<S: Sink>(sink: &S) -> io::Result<usize> {
    const FLAGS: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);
    if let Some(only) = sink.only_piece() {
        return Ok(rustix::net::send(sink.fd(), only, FLAGS)?);
    }
    let mut room = [IoSlice::new(&[]); MAX_PIECES];
    match sink.pieces(&mut room) {
        0 => Ok(0),
        count => Ok(rustix::net::sendmsg(sink.fd(), &room[..count], &mut SendAncillaryBuffer::default(), FLAGS)?),
    }
}

/// Tells the other side that nothing more comes; what it sends is still read.
pub fn end_writing(fd: BorrowedFd<'_>) {
    // A socket that is lost already says so by itself.
    _ = rustix::net::shutdown(fd, Shutdown::Write);
}

/// A wake-up that other threads can ring.
pub fn wake_fd() -> io::Result<OwnedFd> {
    Ok(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

pub fn ring(wake: &OwnedFd) {
    // A full counter rings already.
    _ = rustix::io::write(wake.as_fd(), &1u64.to_ne_bytes());
}

pub fn silence(wake: &OwnedFd) {
    // An empty counter is silent already.
    _ = rustix::io::read(wake.as_fd(), &mut [0u8; 8]);
}
