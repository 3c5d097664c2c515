//! The sends of a turn through io_uring: one system call for many sockets, and no completion for what went whole. What is
//! ready is still asked of epoll, and whoever has several pieces, or takes only a part, is sent to by itself.
#![expect(unsafe_code, reason = "the ring takes addresses, and who fills it sees to it that they stay")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use io_uring::squeue::{Entry, Flags};
use io_uring::{IoUring, opcode, types};
use rustix::net::{RecvFlags, SendFlags};

use super::{Backend, Epoll, FLUSHED_TOGETHER, Interest, Next, Ready, Sink, send_all};
use crate::shard::slabs::Slabs;

/// Sends of one submission.
const ENTRIES: u32 = FLUSHED_TOGETHER as u32;

pub struct Uring {
    epoll: Epoll,
    /// `None` when it failed: all is sent as without it.
    ring: Option<IoUring>,
    outcomes: Vec<Outcome>,
}

/// What became of a sink's bytes.
#[derive(Clone, Copy)]
enum Outcome {
    /// They were not given to the ring.
    Apart,
    /// What the kernel's `send` returned: the bytes that went, or the negative number of an error.
    Sent(i32),
}

impl Backend for Uring {
    fn new(wake: &OwnedFd) -> io::Result<Self> {
        Ok(Self { epoll: Epoll::new(wake)?, ring: Some(ring()?), outcomes: Vec::with_capacity(ENTRIES as usize) })
    }

    fn wait(&mut self, timeout: Duration, ready: &mut Vec<Ready>) -> io::Result<()> {
        self.epoll.wait(timeout, ready)
    }

    fn add(&mut self, fd: BorrowedFd<'_>, token: usize) -> io::Result<()> {
        self.epoll.add(fd, token)
    }

    fn change(&mut self, fd: BorrowedFd<'_>, token: usize, interest: Interest) -> io::Result<()> {
        self.epoll.change(fd, token, interest)
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) {
        self.epoll.remove(fd);
    }

    fn receive(&mut self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        self.epoll.receive(fd, buffer)
    }

    fn flush<S: Sink>(&mut self, sinks: &mut Slabs<S>, dirty: &[usize]) -> u64 {
        dirty.chunks(ENTRIES as usize).map(|batch| self.flush_batch(sinks, batch)).sum()
    }
}

impl Uring {
    #[cfg(test)]
    pub fn without_its_ring(self) -> Self {
        Self { ring: None, ..self }
    }

    fn flush_batch<S: Sink>(&mut self, sinks: &mut Slabs<S>, batch: &[usize]) -> u64 {
        for token in batch {
            if let Some(sink) = sinks.get_mut(*token) {
                sink.prepare();
            }
        }
        self.offer(sinks, batch);
        let mut written = 0;
        for (token, outcome) in batch.iter().zip(&self.outcomes) {
            if let Some(sink) = sinks.get_mut(*token) {
                written += take_outcome(sink, *outcome);
            }
        }
        written
    }

    /// Sends what waits in one piece, and notes what became of each.
    fn offer<S: Sink>(&mut self, sinks: &Slabs<S>, batch: &[usize]) {
        self.outcomes.clear();
        self.outcomes.resize(batch.len(), Outcome::Apart);
        let Some(ring) = &mut self.ring else { return };
        for (place, token) in batch.iter().enumerate() {
            let Some((sink, piece)) = sinks.get(*token).and_then(|sink| Some((sink, sink.only_piece()?))) else {
                continue;
            };
            let Ok(length) = i32::try_from(piece.len()) else { continue };
            let entry = send(sink.fd(), piece, length).user_data(place as u64);
            // SAFETY: the socket and the bytes are borrowed from the sinks for the whole of this call. None of the sends
            // waits, so the kernel is done with them when `enter` returns; what it has not taken goes with the ring.
            if unsafe { ring.submission().push(&entry) }.is_ok() {
                self.outcomes[place] = Outcome::Sent(length);
            }
        }
        let entered = enter(ring);
        for done in ring.completion() {
            self.outcomes[done.user_data() as usize] = Outcome::Sent(done.result());
        }
        if let Err(error) = entered {
            tracing::error!(%error, "io_uring takes nothing any more; what is sent goes without it");
            let given = self.outcomes.iter_mut().rev().filter(|outcome| matches!(outcome, Outcome::Sent(_)));
            given.take(ring.submission().len()).for_each(|untaken| *untaken = Outcome::Apart);
            self.ring = None;
        }
    }
}

fn take_outcome<S: Sink>(sink: &mut S, outcome: Outcome) -> u64 {
    let outcome = match outcome {
        Outcome::Apart => return send_all(sink),
        Outcome::Sent(result) => usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result)),
    };
    let written = outcome.as_ref().map_or(0, |count| *count as u64);
    match sink.sent(outcome) {
        Next::Continue => written + send_all(sink),
        Next::Stop => written,
    }
}

pub fn ring() -> io::Result<IoUring> {
    // Before Linux 6.0 a ring cannot be told that one thread alone has it.
    let ring = IoUring::builder().setup_single_issuer().build(ENTRIES).or_else(|_| IoUring::new(ENTRIES))?;
    if !ring.params().is_feature_skip_cqe_on_success() {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "it needs Linux 5.17"));
    }
    Ok(ring)
}

/// A send that takes nothing rather than wait, and says so when it could not take all: as a success it says nothing.
fn send(fd: BorrowedFd<'_>, piece: &[u8], length: i32) -> Entry {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let flags = flags.bits() | RecvFlags::WAITALL.bits(); // a short send fails
    opcode::Send::new(types::Fd(fd.as_raw_fd()), piece.as_ptr(), length.cast_unsigned())
        .flags(flags.cast_signed())
        .build()
        .flags(Flags::SKIP_SUCCESS)
}

fn enter(ring: &mut IoUring) -> io::Result<()> {
    while !ring.submission().is_empty() {
        match ring.submit() {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
