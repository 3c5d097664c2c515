//! A running shard, as the rest of the daemon sees it.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use super::inbox::{Inbound, Inbox, MAX_QUEUED_BYTES};
use super::poll::{Backend, Epoll, Means, Uring};
use super::{Config, Shard};
use crate::hub::Hub;
use crate::identity::Verifier;

/// The running thread, as the rest of the daemon sees it.
pub struct Handle {
    pub inbox: Arc<Inbox>,
    thread: JoinHandle<()>,
}

impl Handle {
    /// Starts a shard; `index` names its thread and its metrics.
    pub fn start(
        index: usize,
        means: Means,
        config: Config,
        hub: Arc<Hub>,
        verifier: Arc<Verifier>,
    ) -> io::Result<Self> {
        let (inbox, receiver) = Inbox::new(index as u64, MAX_QUEUED_BYTES)?;
        let (started, outcome) = channel();
        let queue = (inbox.clone(), receiver);
        // The shard is made on its own thread: what its back end holds does not cross threads.
        let thread = std::thread::Builder::new().name(format!("shard-{index}")).spawn(move || match means {
            Means::Epoll => run(Shard::<Epoll>::new(index, config, (hub, verifier), queue), &started),
            Means::IoUring => run(Shard::<Uring>::new(index, config, (hub, verifier), queue), &started),
        })?;
        outcome.recv().map_err(|_| io::Error::other("the shard's thread ended before it began"))??;
        Ok(Self { inbox, thread })
    }

    /// Ends all connections, spread until the deadline; `wait` returns when that is done.
    pub fn drain(&self, deadline: Instant) {
        self.inbox.hand(Inbound::Drain { deadline });
    }

    /// Connections get this from now on, those that exist too.
    pub fn configure(&self, config: Config) {
        self.inbox.hand(Inbound::Configure(config));
    }

    pub fn wait(self) {
        // A shard that panicked has printed why; there is nothing left to wait for.
        _ = self.thread.join();
    }
}

fn run<B: Backend>(shard: io::Result<Shard<B>>, started: &Sender<io::Result<()>>) {
    match shard {
        Ok(mut shard) => {
            _ = started.send(Ok(()));
            shard.run();
        }
        Err(error) => _ = started.send(Err(error)),
    }
}
