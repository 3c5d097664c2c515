//! Lines that journald does not take at the moment, and the thread that waits for it in the place of those who log.

use std::collections::VecDeque;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SendFlags;
use tracing::Level;

use super::{Entry, Journal, Line, priority, send};
use crate::metrics;

/// Beyond what the kernel keeps for journald, lines of so many bytes wait: thousands, and nothing beside what clients may have
/// waiting.
const MAX_WAITING_BYTES: usize = 1 << 20;
/// A process that ends waits at most so long for lines that wait: why it ends may be among them, and a journald that stands
/// still for longer keeps no service from its restart.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// What waits, in order.
#[derive(Default)]
pub(super) struct Waiting {
    lines: VecDeque<Entry>,
    bytes: usize,
    /// Lines for which there was no room since that was told.
    lost: u64,
    /// There is a thread that sends them.
    is_sent: bool,
}

impl Line {
    pub(super) fn new(path: &Path, socket: UnixDatagram) -> Arc<Self> {
        let (path, waiting, rests) = (path.to_owned(), Mutex::default(), Condvar::new());
        Arc::new(Self { path, socket, waiting, rests })
    }

    /// Sends an entry, or has it wait behind those that do.
    pub(super) fn tell(self: &Arc<Self>, entry: Entry) {
        let mut waiting = self.lock();
        if !waiting.is_sent {
            // Where lines were lost and nobody has said so yet, this one goes with that.
            let sent = match waiting.lost {
                0 => send(&self.socket, &self.path, &entry.bytes, SendFlags::DONTWAIT),
                _ => Err(Errno::AGAIN),
            };
            match sent {
                Ok(()) => return,
                Err(Errno::AGAIN | Errno::NOBUFS) => {}
                Err(_) => {
                    drop(waiting);
                    return entry.write();
                }
            }
            let own = self.clone();
            let thread = thread::Builder::new().name("journal".to_owned()).spawn(move || own.send_waiting());
            waiting.is_sent = thread.is_ok();
        }
        let lost = waiting.take(entry);
        drop(waiting); // metrics have locks of their own
        if lost {
            metrics::log_line_lost();
        }
    }

    /// Waits for journald with one after the other, until nothing waits. What was lost is said behind them.
    fn send_waiting(&self) {
        while let Some(entry) = self.next() {
            if send(&self.socket, &self.path, &entry.bytes, SendFlags::empty()).is_err() {
                entry.write();
            }
            self.lock().bytes -= entry.bytes.len();
        }
        self.rests.notify_all();
    }

    fn next(&self) -> Option<Entry> {
        let mut waiting = self.lock();
        if waiting.lines.is_empty() && waiting.lost > 0 {
            let told = waiting.told();
            waiting.push(told); // there is room: nothing else waits
        }
        let next = waiting.lines.pop_front();
        waiting.is_sent = next.is_some();
        next
    }

    /// A panic while the lock was held leaves lines that are still sound: go on with them.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Has an entry wait, unless there is no room or nobody to send it; whether it is lost.
    fn take(&mut self, entry: Entry) -> bool {
        let is_lost = !self.is_sent || self.bytes + entry.bytes.len() > MAX_WAITING_BYTES;
        if is_lost {
            self.lost += 1;
        } else {
            self.push(entry);
        }
        is_lost
    }

    fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes.len();
        self.lines.push_back(entry);
    }

    /// Says how many were lost, once.
    fn told(&mut self) -> Entry {
        let lost = std::mem::take(&mut self.lost);
        let lines = if lost == 1 { "1 line is".to_owned() } else { format!("{lost} lines are") };
        let message = format!(
            "broadcastd: {lines} missing here: journald took nothing, and no more than {MAX_WAITING_BYTES} bytes wait for it; see why it stood still"
        );
        Entry::of(priority(Level::WARN), "broadcastd", message)
    }
}

impl Journal {
    /// The process is about to end: waits, within bounds, until nothing waits for journald.
    pub fn finish(&self) {
        let Some(line) = &self.0 else { return };
        // Longer is not waited for, and nobody is left to be told.
        _ = line.rests.wait_timeout_while(line.lock(), LAST_WAIT, |waiting| waiting.is_sent);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Long enough for a busy machine; a test that waits this long has failed.
    const PATIENCE: Duration = Duration::from_secs(30);
    /// So long that a hundred of them are too many.
    const LONG: usize = 20_000;

    fn journald() -> (UnixDatagram, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("socket")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        (socket, folder)
    }

    fn entry(number: usize, length: usize) -> Entry {
        Entry::of(6, "x", format!("{number:0length$}"))
    }

    /// The message of the next entry.
    fn heard(journald: &UnixDatagram) -> String {
        let mut bytes = vec![0; 1 << 16];
        let length = journald.recv(&mut bytes).unwrap();
        let message = bytes[..length].strip_prefix(b"MESSAGE\n").unwrap();
        let (length, rest) = message.split_at(8);
        let length = usize::try_from(u64::from_le_bytes(length.try_into().unwrap())).unwrap();
        String::from_utf8(rest[..length].to_vec()).unwrap()
    }

    #[test]
    fn nobody_waits_for_a_journald_that_stands_still_and_what_is_lost_is_told() {
        let (journald, folder) = journald();
        let line = Line::new(&folder.path().join("socket"), UnixDatagram::unbound().unwrap());
        let (told, logged) = mpsc::channel();
        let own = line.clone();
        thread::spawn(move || {
            let mut numbers = 0..;
            while own.lock().lost < 3 {
                own.tell(entry(numbers.next().unwrap(), LONG));
            }
            _ = told.send(numbers.start);
        });
        let logged: usize = logged.recv_timeout(PATIENCE).expect("who logs waits for journald");
        let (waits, length) = (line.lock().bytes, entry(0, LONG).bytes.len());
        assert!(waits <= MAX_WAITING_BYTES && waits + length > MAX_WAITING_BYTES, "{waits} bytes wait");
        for number in 0..logged - 3 {
            assert_eq!(heard(&journald).parse(), Ok(number), "in order, none twice");
        }
        let expected =
            "broadcastd: 3 lines are missing here: journald took nothing, and no more than 1048576 bytes wait";
        let lost = heard(&journald);
        assert!(lost.starts_with(expected), "{lost}");
        let (rests, _) = line.rests.wait_timeout_while(line.lock(), PATIENCE, |waiting| waiting.is_sent).unwrap();
        assert_eq!((rests.bytes, rests.lost), (0, 0));
        drop(rests);
        line.tell(entry(logged, 8));
        assert_eq!(heard(&journald).parse(), Ok(logged));
    }

    #[test]
    fn what_was_lost_because_nobody_could_send_it_is_told_with_the_next_line() {
        let (journald, folder) = journald();
        let line = Line::new(&folder.path().join("socket"), UnixDatagram::unbound().unwrap());
        assert!(line.lock().take(entry(1, 8)), "there is no thread");
        line.tell(entry(2, 8));
        assert_eq!(heard(&journald).parse(), Ok(2));
        let lost = heard(&journald);
        assert!(lost.starts_with("broadcastd: 1 line is missing here"), "{lost}");
    }

    #[test]
    fn what_waits_when_the_process_ends_is_waited_for() {
        let (journald, folder) = journald();
        let journal = Journal::at(&folder.path().join("socket"));
        let mut numbers = 0..;
        while !journal.0.as_ref().unwrap().lock().is_sent {
            journal.tell(entry(numbers.next().unwrap(), 8));
        }
        let all: Vec<usize> = (0..numbers.start).collect();
        let reader = thread::spawn({
            let count = all.len();
            move || (0..count).map(|_| heard(&journald).parse().unwrap()).collect::<Vec<usize>>()
        });
        journal.finish();
        assert!(!journal.0.as_ref().unwrap().lock().is_sent, "lines wait still");
        assert_eq!(reader.join().unwrap(), all);
    }
}
