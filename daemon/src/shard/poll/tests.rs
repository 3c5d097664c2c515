//! What every back end must do: all that waits goes, whole and in order, however much the sockets take at a time.

use std::collections::VecDeque;
use std::io::Read as _;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use super::*;

/// More than two submissions of a ring.
const SINKS: usize = 2 * FLUSHED_TOGETHER + 50;

/// Bytes for a socket, in pieces.
struct Heap {
    socket: UnixStream,
    pieces: VecDeque<Vec<u8>>,
    sent_of_first: usize,
    is_prepared: bool,
    error: Option<io::ErrorKind>,
}

impl Sink for Heap {
    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn prepare(&mut self) {
        self.is_prepared = true;
    }

    fn only_piece(&self) -> Option<&[u8]> {
        assert!(self.is_prepared, "prepare comes first");
        Some(&self.pieces.front()?[self.sent_of_first..]).filter(|_| self.pieces.len() == 1)
    }

    fn pieces<'a>(&'a self, room: &mut [IoSlice<'a>; MAX_PIECES]) -> usize {
        assert!(self.is_prepared, "prepare comes first");
        let waiting = self.pieces.iter().enumerate().take(MAX_PIECES);
        waiting.map(|(n, piece)| room[n] = IoSlice::new(&piece[if n == 0 { self.sent_of_first } else { 0 }..])).count()
    }

    fn sent(&mut self, outcome: io::Result<usize>) -> Next {
        match outcome {
            Ok(count) => {
                self.sent_of_first += count;
                while self.pieces.front().is_some_and(|first| first.len() <= self.sent_of_first) {
                    self.sent_of_first -= self.pieces.pop_front().unwrap().len();
                }
                if count > 0 && !self.pieces.is_empty() { Next::Continue } else { Next::Stop }
            }
            Err(error) => {
                self.error = Some(error.kind());
                Next::Stop
            }
        }
    }
}

/// Sinks with these pieces each, and the other ends of their sockets.
fn heaps(count: usize, pieces: impl Fn(usize) -> Vec<Vec<u8>>) -> (Slabs<Heap>, Vec<UnixStream>) {
    let mut sinks = Slabs::default();
    let ends = (0..count).map(|index| {
        let (socket, end) = UnixStream::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        end.set_nonblocking(true).unwrap();
        let pieces = pieces(index).into();
        sinks.insert(Heap { socket, pieces, sent_of_first: 0, is_prepared: false, error: None });
        end
    });
    let ends = ends.collect();
    (sinks, ends)
}

/// Piece by piece other bytes, so that none can stand for another.
fn text(index: usize, piece: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| (index * 31 + piece * 7 + at) as u8).collect()
}

fn read(end: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match end.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
    }
    bytes
}

/// Every third has nothing, one piece, or more than one call takes; every tenth more than its socket takes.
fn all_arrives<B: Backend>(mut backend: B) {
    let length = |index: usize| if index.is_multiple_of(10) { 1_000_000 } else { 100 };
    let pieces = |index: usize| -> Vec<Vec<u8>> {
        let count = [0, 1, MAX_PIECES + 5][index % 3];
        (0..count).map(|piece| text(index, piece, length(index) / count)).collect()
    };
    let (mut sinks, mut ends) = heaps(SINKS, pieces);
    let mut heard: Vec<Vec<u8>> = vec![Vec::new(); SINKS];
    let everybody: Vec<usize> = sinks.iter().map(|(token, _)| token).collect();
    let (mut written, mut turns) = (0, 0);
    while turns < 2 || sinks.iter().any(|(_, sink)| !sink.pieces.is_empty()) {
        written += backend.flush(&mut sinks, &everybody);
        heard.iter_mut().zip(&mut ends).for_each(|(heard, end)| heard.extend(read(end)));
        turns += 1;
    }
    assert!(turns > 2, "some took only a part at a time");
    for (index, heard) in heard.iter().enumerate() {
        assert!(*heard == pieces(index).concat(), "{index}: {} bytes, or not in order", heard.len());
    }
    assert_eq!(written, heard.iter().map(|heard| heard.len() as u64).sum::<u64>(), "as it says");
    assert!(sinks.iter().all(|(_, sink)| matches!(sink.error, None | Some(io::ErrorKind::WouldBlock))));
}

fn who_is_gone_harms_nobody<B: Backend>(mut backend: B) {
    let (mut sinks, mut ends) = heaps(5, |index| vec![text(index, 0, 100)]);
    drop(ends.remove(2));
    sinks.remove(4);
    let written = backend.flush(&mut sinks, &[0, 1, 2, 3, 4]);
    assert_eq!(written, 300);
    let errors: Vec<_> = sinks.iter().map(|(_, sink)| sink.error).collect();
    assert_eq!(errors, [None, None, Some(io::ErrorKind::BrokenPipe), None]);
    assert_eq!(read(&mut ends[2]), text(3, 0, 100));
}

fn epoll() -> Epoll {
    Epoll::new(&wake_fd().unwrap()).unwrap()
}

/// `None` where the system does not allow it.
fn io_uring() -> Option<Uring> {
    match Uring::new(&wake_fd().unwrap()) {
        Ok(backend) => Some(backend),
        Err(error) => {
            assert_ne!(std::env::var("BROADCASTD_TEST_REQUIRE").as_deref(), Ok("all"), "no io_uring: {error}");
            None
        }
    }
}

#[test]
fn by_epoll_all_arrives() {
    all_arrives(epoll());
}

#[test]
fn by_io_uring_all_arrives() {
    io_uring().into_iter().for_each(all_arrives);
}

#[test]
fn when_the_ring_has_failed_all_arrives_without_it() {
    io_uring().map(Uring::without_its_ring).into_iter().for_each(all_arrives);
}

#[test]
fn by_epoll_who_is_gone_harms_nobody() {
    who_is_gone_harms_nobody(epoll());
}

#[test]
fn by_io_uring_who_is_gone_harms_nobody() {
    io_uring().into_iter().for_each(who_is_gone_harms_nobody);
}
