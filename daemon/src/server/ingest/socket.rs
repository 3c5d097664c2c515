//! The ingest socket: a unix socket to which programs of this machine write lines of events and read an answer for each.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::super::listen::{Accepting, ListenError, REST, SocketFile, bind_file, tell};
use super::talk::Talk;
use crate::hub::Hub;
use crate::metrics;
use crate::systemd::sockets::Sockets;

/// The key in config, for what an operator reads.
const KEY: &str = "ingest.socket";
/// Who may connect: the daemon's user and group.
const MODE: u32 = 0o660;
/// Producers at once: each holds a line and its answers, and a machine has few programs that publish. Further ones wait
/// in the kernel's queue.
pub const MAX_PRODUCERS: usize = 256;
/// The bytes that are read at once.
const PIECE_BYTES: usize = 64 << 10;
/// Answers that are gathered before they are written.
const ANSWER_BYTES: usize = 64 << 10;
/// Lines that are answered before other tasks of the thread have their turn: less than a millisecond of work.
const LINES_PER_TURN: usize = 256;
/// How long a producer may leave its answers unread: nothing of it is read meanwhile, and nobody else waits.
const UNREAD: Duration = Duration::from_secs(60);

/// The socket, if config wants one.
pub struct IngestSocket {
    hub: Arc<Hub>,
    runtime: Handle,
    given: Sockets,
    room: Arc<Semaphore>,
    open: Mutex<Option<Open>>,
}

struct Open {
    path: PathBuf,
    _accepting: Accepting,
    _file: Option<SocketFile>,
    /// Connections end when this is dropped.
    closing: watch::Sender<()>,
}

/// What the socket shall be; one that is new is bound already, and dropping this closes it again.
pub enum Prepared {
    Keep,
    Off,
    Fresh(PathBuf, UnixListener, Option<SocketFile>),
}

impl IngestSocket {
    pub fn new(hub: Arc<Hub>, runtime: Handle, given: Sockets) -> Self {
        Self { hub, runtime, given, room: Arc::new(Semaphore::new(MAX_PRODUCERS)), open: Mutex::default() }
    }

    /// Binds the first of these paths that can be bound. No path is no socket.
    pub fn prepare(&self, paths: &[PathBuf]) -> Result<Prepared, ListenError> {
        let _inside = self.runtime.enter(); // a socket is registered with the runtime that will serve it
        let mut refused = None;
        for path in paths {
            if self.lock().as_ref().is_some_and(|open| open.path == *path) {
                return Ok(Prepared::Keep);
            }
            match bind(path, &self.given) {
                Ok((listener, file)) => return Ok(Prepared::Fresh(path.clone(), listener, file)),
                Err(error) => {
                    tracing::debug!(path = %path.display(), %error, "no ingest socket here");
                    refused = Some(ListenError::new(KEY, &format!("unix:{}", path.display()), error));
                }
            }
        }
        refused.map_or(Ok(Prepared::Off), Err)
    }

    /// Serves what was prepared. Connections of a socket that goes are ended: what they sent is answered, the rest is
    /// theirs to send again.
    pub fn commit(&self, prepared: Prepared) {
        match prepared {
            Prepared::Keep => {}
            Prepared::Off => self.close(),
            Prepared::Fresh(path, listener, file) => {
                tracing::info!(path = %path.display(), "events are taken at the ingest socket");
                let (closing, closed) = watch::channel(());
                let accepting = accept_all(listener, self.hub.clone(), self.room.clone(), closed);
                let accepting = Accepting::new(self.runtime.spawn(accepting).abort_handle());
                *self.lock() = Some(Open { path, _accepting: accepting, _file: file, closing });
            }
        }
    }

    pub fn close(&self) {
        *self.lock() = None;
    }

    /// Where it is.
    pub fn path(&self) -> Option<PathBuf> {
        self.lock().as_ref().map(|open| open.path.clone())
    }

    /// Producers that are connected.
    pub fn producers(&self) -> usize {
        self.lock().as_ref().map_or(0, |open| open.closing.receiver_count().saturating_sub(1))
    }

    /// A panic while the lock was held leaves a socket that is still sound: go on with it.
    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bind(path: &Path, given: &Sockets) -> io::Result<(UnixListener, Option<SocketFile>)> {
    let (listener, file) = bind_file(path, Some(MODE), given)?;
    listener.set_nonblocking(true)?;
    Ok((UnixListener::from_std(listener)?, file))
}

async fn accept_all(listener: UnixListener, hub: Arc<Hub>, room: Arc<Semaphore>, closed: watch::Receiver<()>) {
    let mut is_told = false;
    loop {
        let place = room.clone().acquire_owned().await.expect("the room is never closed");
        match listener.accept().await {
            Ok((socket, _)) => {
                is_told = false;
                tokio::spawn(serve(socket, Talk::new(hub.clone()), closed.clone(), place));
            }
            Err(error) => {
                if !is_told {
                    tell(KEY, &error);
                }
                is_told = true;
                metrics::accept_rested();
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// Answers lines until the producer ends, leaves its answers unread, or the socket is closed.
async fn serve(mut socket: UnixStream, mut talk: Talk, mut closed: watch::Receiver<()>, _place: OwnedSemaphorePermit) {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = tokio::select! {
            read = socket.read(&mut piece) => read,
            _ = closed.changed() => return,
        };
        let Ok(count @ 1..) = read else { break };
        talk.hear(&piece[..count]);
        if answer(&mut socket, &mut talk).await.is_err() {
            return;
        }
    }
    talk.end();
    // A producer that has gone for good needs no answer.
    _ = write(&mut socket, talk.answers()).await;
}

/// Answers all whole lines.
async fn answer(socket: &mut UnixStream, talk: &mut Talk) -> io::Result<()> {
    let mut lines = 0;
    while talk.answer_next() {
        lines += 1;
        if talk.answers().len() >= ANSWER_BYTES {
            write(socket, talk.answers()).await?;
        } else if lines % LINES_PER_TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
    write(socket, talk.answers()).await
}

async fn write(socket: &mut UnixStream, answers: &mut Vec<u8>) -> io::Result<()> {
    tokio::time::timeout(UNREAD, socket.write_all(answers)).await??;
    answers.clear();
    Ok(())
}
