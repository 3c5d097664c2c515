//! One HTTP connection until it ends or goes on as something else, and how many of them there may be at once.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower_service::Service as _;

use super::answer::Denied;
use super::drain::Drain;
use super::hosts::{Hosts, Reach};
use super::proxies::Proxies;
use super::shares::{Exhausted, Shares};
use super::tls::Certificate;
use crate::identity::Identity;
use crate::metrics as count;
use crate::metrics::labels::Unwelcome;
use crate::shard::line::{self, Socket};

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
    pub reach: Reach,
    /// The client, also where a trusted proxy passes on what it says. `None`: a program on this machine, through a unix socket.
    pub peer: Option<IpAddr>,
    /// Who that program is, where the kernel knows.
    pub credentials: Option<Credentials>,
    /// The operator as whom it was let in, where whoever comes in is one.
    pub operator: Option<Arc<Identity>>,
    /// The user whose own token the operator shows, where it does: what is read is what that user may read.
    pub user: Option<Arc<Identity>>,
    /// The operator has shown that it is one, and so may change the daemon; being near is enough for the rest.
    pub is_proven: bool,
}

/// The process at the other end of a unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub uid: u32,
    pub pid: Option<i32>,
}

/// Where a request says that its connection is no longer HTTP; every request carries one.
#[derive(Clone, Default)]
pub struct Departure(Arc<Mutex<Option<Onward>>>);

/// Takes the bare socket.
type Onward = Box<dyn FnOnce(io::Result<Bare>) + Send>;

/// A socket without HTTP around it, and what the client has sent behind its request already.
pub struct Bare {
    pub socket: Socket,
    pub read_ahead: Vec<u8>,
}

/// A socket that can go on without a runtime.
pub trait Surrender {
    /// `read_ahead` are bytes that were read from it already.
    fn surrender(self, read_ahead: Vec<u8>) -> io::Result<Bare>;
}

/// Routes, and the room for connections that ask them.
pub struct Front {
    router: Router,
    header_timeout: RwLock<Duration>,
    proxies: RwLock<Arc<Proxies>>,
    hosts: RwLock<Arc<Hosts>>,
    certificate: RwLock<Option<Arc<Certificate>>>,
    room: Arc<Semaphore>,
    shares: Arc<Shares>,
    drain: Drain,
}

impl Front {
    pub fn new(router: Router, header_timeout: Duration, hosts: Hosts) -> Arc<Self> {
        let room = Arc::new(Semaphore::new(MAX_HTTP_CONNECTIONS));
        let shares = Shares::new(MAX_PER_ADDRESS);
        Arc::new(Self {
            router,
            header_timeout: RwLock::new(header_timeout),
            proxies: RwLock::default(),
            hosts: RwLock::new(Arc::new(hosts)),
            certificate: RwLock::default(),
            room,
            shares,
            drain: Drain::default(),
        })
    }

    /// For connections from now on.
    pub fn set_header_timeout(&self, timeout: Duration) {
        *self.header_timeout.write().unwrap_or_else(PoisonError::into_inner) = timeout;
    }

    /// For requests from now on, and connections that begin.
    pub fn set_proxies(&self, proxies: Proxies) {
        *self.proxies.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(proxies);
    }

    /// For requests from now on.
    pub fn set_hosts(&self, hosts: Hosts) {
        *self.hosts.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(hosts);
    }

    /// For TCP connections from now on.
    pub fn set_certificate(&self, certificate: Option<Arc<Certificate>>) {
        *self.certificate.write().unwrap_or_else(PoisonError::into_inner) = certificate;
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

    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Serves a connection over TCP, which a proxy may announce, and which is encrypted if there is a certificate.
    pub async fn receive(self: Arc<Self>, mut socket: TcpStream, arrival: Arrival, place: OwnedSemaphorePermit) {
        let Some(peer) = self.announced(&arrival, &mut socket).await else { return };
        let arrival = Arrival { peer, ..arrival };
        let certificate = self.certificate.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(certificate) = certificate else { return self.serve(socket, arrival, place).await };
        let handshake = TlsAcceptor::from(certificate.acceptor()).accept(socket);
        match tokio::time::timeout(self.header_timeout(), handshake).await {
            Ok(Ok(socket)) => self.serve(socket, arrival, place).await,
            Ok(Err(error)) => {
                count::connection_refused(Unwelcome::Tls);
                tracing::debug!(%error, ?arrival, "a client could not agree on encryption");
            }
            Err(_) => count::connection_refused(Unwelcome::HeaderTimeout),
        }
    }

    /// Answers requests until the connection ends, departs, or sends no head within the time-out.
    pub async fn serve<S>(self: Arc<Self>, socket: S, arrival: Arrival, _place: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Surrender + Unpin + Send + 'static,
    {
        // The many that come through a proxy do not share its places; each has those of its own address once it is upgraded.
        let counted = arrival.peer.filter(|_| !self.proxies().are_trusted(arrival.peer));
        let _share = match self.shares.take(counted) {
            Ok(share) => share,
            Err(exhausted) => return send_away(socket, exhausted).await,
        };
        let (has_asked, departure) = (OnceLock::new(), Departure::default());
        let service = hyper::service::service_fn(|request| {
            has_asked.get_or_init(|| self.drain.asking());
            self.answer(request, &arrival, &departure)
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout())
            .max_header_size(MAX_HEAD_BYTES)
            .max_buf_size(MAX_BUFFER_BYTES);
        let mut connection = http.serve_connection(TokioIo::new(socket), service);
        let (mut closing, mut is_told) = (pin!(self.drain.is_closing()), false);
        let ended = poll_fn(|context| {
            // What has arrived is read before it ends.
            let mut polled = Pin::new(&mut connection).poll(context);
            if polled.is_pending() && !is_told && closing.as_mut().poll(context).is_ready() {
                is_told = true;
                // Who has not asked yet may do so once: nobody waits for it.
                if has_asked.get().is_some() {
                    Pin::new(&mut connection).graceful_shutdown();
                    polled = Pin::new(&mut connection).poll(context);
                }
            }
            match polled {
                Poll::Pending if departure.is_due() => Poll::Ready(Ok(())),
                polled => polled,
            }
        });
        let ended = ended.await;
        if let Some(onward) = departure.take() {
            let parts = connection.into_parts();
            onward(parts.io.into_inner().surrender(parts.read_buf.into()));
        } else if let Err(error) = ended {
            if error.is_timeout() && has_asked.get().is_none() {
                count::connection_refused(Unwelcome::HeaderTimeout);
            }
            tracing::debug!(%error, ?arrival, "an HTTP connection ended early");
        }
    }

    /// The answer to one request, unless it departs.
    fn answer(
        &self,
        mut request: hyper::Request<Incoming>,
        arrival: &Arrival,
        departure: &Departure,
    ) -> impl Future<Output = Result<Response, Infallible>> + use<> {
        let peer = self.proxies().client(arrival.peer, request.headers());
        request.extensions_mut().insert(Arrival { peer, ..arrival.clone() });
        request.extensions_mut().insert(departure.clone());
        request.extensions_mut().insert(self.drain.clone());
        let misled = self.check_host(arrival, request.headers()).err();
        let (mut router, drain) = (self.router.clone(), self.drain.clone());
        let answer = async move {
            match misled {
                Some(denied) => Ok(denied.into_response()),
                None => router.call(request).await,
            }
        };
        let departure = departure.clone();
        async move {
            let answer = drain.answered(answer).await;
            // Who departs at the deadline is answered elsewhere, and not refused beside it.
            if departure.is_due() { std::future::pending().await } else { answer }
        }
    }

    /// Whose connection it is; `None`, and counted, where a proxy should have said so and did not.
    async fn announced(&self, arrival: &Arrival, socket: &mut TcpStream) -> Option<Option<IpAddr>> {
        let proxies = self.proxies();
        let refused = match tokio::time::timeout(self.header_timeout(), proxies.announced(arrival.peer, socket)).await {
            Ok(Ok(peer)) => return Some(peer),
            Ok(Err(unannounced)) => unannounced.to_string(),
            Err(_) => "its PROXY head did not come in time".to_owned(),
        };
        count::connection_refused(Unwelcome::ProxyProtocol);
        tracing::debug!(%refused, ?arrival, "a connection was refused");
        None
    }

    /// Whether the request asks by a name of the listener. A proxy passes on what anybody asked it, by a name that only its
    /// own configuration knows until `server.hosts` has some; and sockets that are files no browser reaches by itself.
    fn check_host(&self, arrival: &Arrival, headers: &HeaderMap) -> Result<(), Denied> {
        let proxies = self.proxies();
        let may_be_passed_on = arrival.peer.is_none() || proxies.begin || proxies.are_trusted(arrival.peer);
        let reach = if may_be_passed_on { Reach::Network } else { arrival.reach };
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner).clone();
        hosts.check(headers, reach)
    }

    fn proxies(&self) -> Arc<Proxies> {
        self.proxies.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn header_timeout(&self) -> Duration {
        *self.header_timeout.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Arrival {
    /// Somebody who has said nothing yet.
    pub fn at(listener: &Arc<str>, reach: Reach) -> Self {
        let listener = listener.clone();
        Self { listener, reach, peer: None, credentials: None, operator: None, user: None, is_proven: false }
    }

    /// The operator who asks, where only operators do.
    pub fn operator(&self) -> Result<Arc<Identity>, Denied> {
        self.operator.clone().ok_or_else(|| Denied::unauthorized("only operators may ask this"))
    }

    /// The operator who changes the daemon, where it has shown that it is one.
    pub fn changer(&self) -> Result<Arc<Identity>, Denied> {
        self.proven("this changes the daemon")
    }

    /// The operator who asks for `what`, where it has shown that it is one.
    pub fn proven(&self, what: &str) -> Result<Arc<Identity>, Denied> {
        let operator = self.operator()?;
        let unproven = || {
            let message = format!(
                "{what}: ask it by the control socket, as the commands of broadcastd do, or set admin.token and show it"
            );
            Denied::new(StatusCode::FORBIDDEN, "forbidden", message)
        };
        self.is_proven.then_some(operator).ok_or_else(unproven)
    }
}

impl Departure {
    /// Ends HTTP here: no answer is given, `onward` gives its own. Never returns; a client that leaves meanwhile is known
    /// by its socket.
    pub async fn leave(&self, onward: impl FnOnce(io::Result<Bare>) + Send + 'static) -> ! {
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
    fn surrender(self, read_ahead: Vec<u8>) -> io::Result<Bare> {
        let socket = self.into_std()?;
        set_tcp_user_timeout(&socket, 0)?; // from here on the shard decides how long a client may lag
        Ok(Bare { socket: Socket::from(OwnedFd::from(socket)), read_ahead })
    }
}

impl Surrender for UnixStream {
    fn surrender(self, read_ahead: Vec<u8>) -> io::Result<Bare> {
        Ok(Bare { socket: Socket::from(OwnedFd::from(self.into_std()?)), read_ahead })
    }
}

impl Surrender for TlsStream<TcpStream> {
    fn surrender(self, mut read_ahead: Vec<u8>) -> io::Result<Bare> {
        let (socket, mut session) = self.into_inner();
        read_ahead.append(&mut line::take_clear(&mut session)?);
        let bare = socket.surrender(read_ahead)?;
        Ok(Bare { socket: Socket { tls: Some(Box::new(session)), ..bare.socket }, ..bare })
    }
}

/// Answers before anything was asked: nothing of such a client is waited for.
async fn send_away<S: AsyncWrite + Unpin>(mut socket: S, Exhausted(max): Exhausted) {
    count::connection_refused(Unwelcome::HttpPerIp);
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
    use std::time::Instant;

    use axum::Extension;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[test]
    fn who_departs_at_the_deadline_is_not_refused_beside_it() {
        let leave = async |Extension(departure): Extension<Departure>| -> Response { departure.leave(drop).await };
        let front =
            Front::new(Router::new().fallback(leave), Duration::from_secs(1), Hosts { names: vec![], refusal: "" });
        front.drain().begin(Instant::now());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let said = runtime.block_on(async {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            ours.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
            let arrival = Arrival {
                listener: "here".into(),
                reach: Reach::Machine,
                peer: None,
                credentials: None,
                operator: None,
                user: None,
                is_proven: false,
            };
            let place = front.place().await;
            front.serve(theirs, arrival, place).await;
            let mut said = String::new();
            ours.read_to_string(&mut said).await.unwrap();
            said
        });
        assert_eq!(said, "");
    }

    #[test]
    fn an_address_has_its_share_before_config_says_anything() {
        let front = Front::new(Router::new(), Duration::from_secs(1), Hosts { names: vec![], refusal: "" });
        let take = || front.shares.take(Some("192.0.2.1".parse().unwrap()));
        let places: Vec<_> = (0..MAX_PER_ADDRESS).map(|_| take().unwrap()).collect();
        assert_eq!(take().err(), Some(Exhausted(MAX_PER_ADDRESS)));
        assert!(places.len() < MAX_HTTP_CONNECTIONS / 10);
    }

    #[test]
    fn there_is_room_for_so_many_connections_and_no_more() {
        let front = Front::new(Router::new(), Duration::from_secs(1), Hosts { names: vec![], refusal: "" });
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
