//! One HTTP connection until it ends or goes on as something else, and how many of them there may be at once.

use std::future::{Future as _, poll_fn};
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_service::Service as _;

use super::answer::Denied;
use super::shares::{Exhausted, Shares};
use crate::metrics as count;

/// Connections that speak HTTP at once: those that become WebSockets leave in milliseconds, the rest ask now and then.
/// Beyond it new ones wait in the kernel's queue, so that idle ones cannot take all descriptors.
pub const MAX_HTTP_CONNECTIONS: usize = 1024;
/// How many of them one address may have unless config says otherwise: more than the browsers of an office.
const MAX_PER_ADDRESS: usize = 100;
/// The bytes of a request's head; browsers send about one tenth of it.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// The bytes that hyper reads ahead of a connection's requests; bodies are read in pieces of this size.
const MAX_BUFFER_BYTES: usize = 64 << 10;

/// How a connection came in; every request carries it.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The listener's address as config has it.
    pub listener: Arc<str>,
    /// `None`: a program on this machine, through a unix socket.
    pub peer: Option<IpAddr>,
}

/// Where a request says that its connection is no longer HTTP; every request carries one.
#[derive(Clone, Default)]
pub struct Departure(Arc<Mutex<Option<Onward>>>);

/// Takes the bare socket, and what the client has sent behind its request already.
type Onward = Box<dyn FnOnce(io::Result<OwnedFd>, Vec<u8>) + Send>;

/// A socket that can go on without a runtime.
pub trait Surrender {
    fn surrender(self) -> io::Result<OwnedFd>;
}

/// Routes, and the room for connections that ask them.
pub struct Front {
    router: Router,
    header_timeout: RwLock<Duration>,
    room: Arc<Semaphore>,
    shares: Arc<Shares>,
}

impl Front {
    pub fn new(router: Router, header_timeout: Duration) -> Arc<Self> {
        let room = Arc::new(Semaphore::new(MAX_HTTP_CONNECTIONS));
        let shares = Shares::new(MAX_PER_ADDRESS);
        Arc::new(Self { router, header_timeout: RwLock::new(header_timeout), room, shares })
    }

    /// For connections from now on.
    pub fn set_header_timeout(&self, timeout: Duration) {
        *self.header_timeout.write().unwrap_or_else(PoisonError::into_inner) = timeout;
    }

    /// For connections from now on; loopback is exempt.
    pub fn set_max_per_address(&self, max: usize) {
        self.shares.set(max);
    }

    /// How long answers may lie unread, for the kernel to watch: as long as a head may take to arrive.
    pub fn unread_millis(&self) -> u32 {
        u32::try_from(self.header_timeout().as_millis()).unwrap_or(u32::MAX)
    }

    /// A place for one connection, as soon as there is one.
    pub async fn place(&self) -> OwnedSemaphorePermit {
        self.room.clone().acquire_owned().await.expect("the room is never closed")
    }

    /// Answers requests until the connection ends, departs, or sends no head within the time-out.
    pub async fn serve<S>(self: Arc<Self>, socket: S, arrival: Arrival, _place: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Surrender + Unpin + Send + 'static,
    {
        let _share = match self.shares.take(arrival.peer) {
            Ok(share) => share,
            Err(exhausted) => return send_away(socket, exhausted).await,
        };
        let (has_asked, departure) = (AtomicBool::new(false), Departure::default());
        let service = hyper::service::service_fn(|mut request: hyper::Request<Incoming>| {
            has_asked.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(arrival.clone());
            request.extensions_mut().insert(departure.clone());
            self.router.clone().call(request)
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout())
            .max_header_size(MAX_HEAD_BYTES)
            .max_buf_size(MAX_BUFFER_BYTES);
        let mut connection = http.serve_connection(TokioIo::new(socket), service);
        let ended = poll_fn(|context| match Pin::new(&mut connection).poll(context) {
            Poll::Pending if departure.is_due() => Poll::Ready(Ok(())),
            polled => polled,
        });
        let ended = ended.await;
        if let Some(onward) = departure.take() {
            let parts = connection.into_parts();
            onward(parts.io.into_inner().surrender(), parts.read_buf.into());
        } else if let Err(error) = ended {
            if error.is_timeout() && !has_asked.load(Ordering::Relaxed) {
                count::connection_refused("header_timeout");
            }
            tracing::debug!(%error, ?arrival, "an HTTP connection ended early");
        }
    }

    fn header_timeout(&self) -> Duration {
        *self.header_timeout.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Departure {
    /// Ends HTTP here: no answer is given, `onward` gives its own. Never returns; a client that leaves meanwhile is known
    /// by its socket.
    pub async fn leave(&self, onward: impl FnOnce(io::Result<OwnedFd>, Vec<u8>) + Send + 'static) -> ! {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(onward));
        std::future::pending().await
    }

    fn is_due(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn take(&self) -> Option<Onward> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Surrender for TcpStream {
    fn surrender(self) -> io::Result<OwnedFd> {
        let socket = self.into_std()?;
        set_tcp_user_timeout(&socket, 0)?; // from here on the shard decides how long a client may lag
        Ok(socket.into())
    }
}

impl Surrender for UnixStream {
    fn surrender(self) -> io::Result<OwnedFd> {
        Ok(self.into_std()?.into())
    }
}

/// Answers before anything was asked: nothing of such a client is waited for.
async fn send_away<S: AsyncWrite + Unpin>(mut socket: S, Exhausted(max): Exhausted) {
    count::connection_refused("http_per_ip");
    let message = format!(
        "your address has {max} connections that speak HTTP already, the most it may have (hub.max_per_ip); close one"
    );
    let denied = Denied::new(StatusCode::TOO_MANY_REQUESTS, "too_many_connections", message).for_now();
    // A client that has left needs no answer.
    _ = socket.write_all(&denied.into_bytes()).await;
    _ = socket.shutdown().await;
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn an_address_has_its_share_before_config_says_anything() {
        let front = Front::new(Router::new(), Duration::from_secs(1));
        let take = || front.shares.take(Some("192.0.2.1".parse().unwrap()));
        let places: Vec<_> = (0..MAX_PER_ADDRESS).map(|_| take().unwrap()).collect();
        assert_eq!(take().err(), Some(Exhausted(MAX_PER_ADDRESS)));
        assert!(places.len() < MAX_HTTP_CONNECTIONS / 10);
    }

    #[test]
    fn there_is_room_for_so_many_connections_and_no_more() {
        let front = Front::new(Router::new(), Duration::from_secs(1));
        let mut context = Context::from_waker(Waker::noop());
        let mut places: Vec<_> = (0..MAX_HTTP_CONNECTIONS)
            .map(|_| match pin!(front.place()).poll(&mut context) {
                std::task::Poll::Ready(place) => place,
                std::task::Poll::Pending => panic!("too little room"),
            })
            .collect();
        let mut next = pin!(front.place());
        assert!(next.as_mut().poll(&mut context).is_pending());
        places.pop();
        assert!(next.poll(&mut context).is_ready());
    }
}
