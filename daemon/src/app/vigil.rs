//! Signs of life to systemd, from a thread of their own: a reload may take its time because of a plugin, but shards,
//! accept loops and the hub must move.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::hub::Hub;
use crate::server::Server;
use crate::shard::inbox::Inbox;
use crate::systemd::{self, Systemd};

/// Between two looks every shard has turned, however little happens: twice the longest nap of a shard.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Ends when it is dropped.
pub struct Vigil {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What must move.
pub struct Watched {
    pub hub: Arc<Hub>,
    pub server: Arc<Server>,
    pub shards: Vec<Arc<Inbox>>,
}

impl Vigil {
    /// Begins, if the service manager asked for signs of life.
    pub fn start(systemd: Systemd, watched: Watched) -> std::io::Result<Option<Self>> {
        let Some(interval) = systemd::watchdog_interval() else { return Ok(None) };
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::Builder::new().name("vigil".to_owned()).spawn(move || {
            let mut turns = watched.turns();
            let (mut looked_at, mut moves) = (Instant::now(), true);
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                if looked_at.elapsed() >= LOOK_EVERY {
                    let now = watched.turns();
                    moves = now.iter().zip(&turns).all(|(now, before)| now > before) && watched.answers();
                    (turns, looked_at) = (now, Instant::now());
                }
                if moves {
                    systemd.alive();
                }
            }
        })?;
        Ok(Some(Self { stop: Some(stop), thread: Some(thread) }))
    }
}

impl Drop for Vigil {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A thread that panicked has printed why.
        self.thread.take().map(JoinHandle::join);
    }
}

impl Watched {
    fn turns(&self) -> Vec<u64> {
        self.shards.iter().map(|shard| shard.turns()).collect()
    }

    /// Whether the accept loops run and every stream's lock can be had; a lock that cannot keeps the thread, and so the
    /// signs, from going on.
    fn answers(&self) -> bool {
        self.hub.streams().iter().for_each(|stream| drop(stream.source()));
        self.server.is_alive()
    }
}
