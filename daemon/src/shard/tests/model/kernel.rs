//! A kernel of the test's own: its sockets take exactly as many bytes as they are told to.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::super::super::poll::{Backend, Interest, MAX_PIECES, Next, Ready, Sink, WAKE_TOKEN, wake_fd};
use super::super::super::slabs::Slabs;

/// One connection as both ends see it.
pub struct Socket {
    /// How many more bytes the kernel takes from the daemon.
    pub room: usize,
    pub to_client: Vec<u8>,
    pub to_daemon: Vec<u8>,
    /// The client is gone.
    pub is_closed: bool,
    /// The daemon has let go of it.
    pub is_dropped: bool,
    watched: Option<(usize, Interest)>,
}

#[derive(Default)]
pub struct Kernel {
    sockets: HashMap<RawFd, Rc<RefCell<Socket>>>,
    wake: Option<OwnedFd>,
    /// What happens elsewhere while the shard sends.
    pub meanwhile: Option<Box<dyn FnOnce()>>,
}

impl Socket {
    pub fn new(room: usize) -> Rc<RefCell<Self>> {
        let (to_client, to_daemon) = (Vec::new(), Vec::new());
        let socket = Self { room, to_client, to_daemon, is_closed: false, is_dropped: false, watched: None };
        Rc::new(RefCell::new(socket))
    }

    fn ready(&self) -> Option<Ready> {
        let (token, interest) = self.watched?;
        let readable = self.is_closed || (interest != Interest::Write && !self.to_daemon.is_empty());
        let writable = self.is_closed || (interest != Interest::Read && self.room > 0);
        (readable || writable).then_some(Ready { token, readable, writable })
    }

    fn send(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let waiting: usize = pieces.iter().map(|piece| piece.len()).sum();
        if self.is_closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if waiting > 0 && self.room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = waiting.min(self.room);
        self.room -= taken;
        let end = self.to_client.len() + taken;
        pieces.iter().for_each(|piece| self.to_client.extend_from_slice(piece));
        self.to_client.truncate(end);
        Ok(taken)
    }
}

impl Kernel {
    /// The daemon's end of a socket.
    pub fn open(&mut self, socket: &Rc<RefCell<Socket>>) -> OwnedFd {
        let fd = wake_fd().unwrap(); // any descriptor: only its number counts
        self.sockets.insert(fd.as_raw_fd(), socket.clone());
        fd
    }

    fn is_rung(&self) -> bool {
        let wake = self.wake.as_ref().unwrap();
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(wake, PollFlags::IN)], Some(&at_once)).unwrap() > 0
    }

    fn socket(&self, fd: BorrowedFd<'_>) -> &Rc<RefCell<Socket>> {
        &self.sockets[&fd.as_raw_fd()]
    }
}

impl Backend for Kernel {
    fn new(wake: &OwnedFd) -> io::Result<Self> {
        Ok(Self { wake: Some(wake.as_fd().try_clone_to_owned()?), ..Self::default() })
    }

    fn wait(&mut self, _: Duration, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.extend(self.sockets.values().filter_map(|socket| socket.borrow().ready()));
        ready.sort_by_key(|socket| socket.token);
        if self.is_rung() {
            ready.push(Ready { token: WAKE_TOKEN, readable: true, writable: false });
        }
        Ok(())
    }

    fn add(&mut self, fd: BorrowedFd<'_>, token: usize) -> io::Result<()> {
        self.socket(fd).borrow_mut().watched = Some((token, Interest::Read));
        Ok(())
    }

    fn change(&mut self, fd: BorrowedFd<'_>, token: usize, interest: Interest) -> io::Result<()> {
        self.socket(fd).borrow_mut().watched = Some((token, interest));
        Ok(())
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) {
        let socket = self.sockets.remove(&fd.as_raw_fd()).unwrap();
        let mut socket = socket.borrow_mut();
        (socket.watched, socket.is_dropped) = (None, true);
    }

    fn receive(&mut self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        let mut socket = self.socket(fd).borrow_mut();
        let count = socket.to_daemon.len().min(buffer.len());
        if count == 0 && !socket.is_closed {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        buffer[..count].copy_from_slice(&socket.to_daemon[..count]);
        socket.to_daemon.drain(..count);
        Ok(count)
    }

    fn flush<S: Sink>(&mut self, sinks: &mut Slabs<S>, dirty: &[usize]) -> u64 {
        let mut written = 0;
        for token in dirty {
            let sink = &mut sinks[*token];
            sink.prepare();
            let socket = self.socket(sink.fd()).clone();
            loop {
                let mut room = [IoSlice::new(&[]); MAX_PIECES];
                let count = sink.pieces(&mut room);
                let outcome = socket.borrow_mut().send(&room[..count]);
                written += *outcome.as_ref().unwrap_or(&0) as u64;
                if sink.sent(outcome) == Next::Stop {
                    break;
                }
            }
        }
        if let Some(happen) = self.meanwhile.take() {
            happen();
        }
        written
    }
}
