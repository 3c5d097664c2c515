//! The way to one client: its socket, and what encrypts what goes over it.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustls::ServerConnection;

use super::outbox::Outbox;
use super::poll::{self, MAX_PIECES};

/// The most bytes that are encrypted ahead of the socket: what is encrypted can no longer be replaced or dropped.
const MAX_ENCRYPTED: usize = 64 << 10;

/// A socket that a shard can have, and the session that its handshake began, if it is encrypted.
pub struct Socket {
    pub fd: OwnedFd,
    pub tls: Option<Box<ServerConnection>>,
}

impl From<OwnedFd> for Socket {
    fn from(fd: OwnedFd) -> Self {
        Self { fd, tls: None }
    }
}

pub struct Line {
    fd: OwnedFd,
    tls: Option<Box<Tls>>,
}

struct Tls {
    session: ServerConnection,
    /// Encrypted and not yet taken by the kernel.
    unsent: Vec<u8>,
    sent: usize,
}

impl Line {
    pub fn new(socket: Socket) -> Self {
        let tls = socket.tls.map(|session| Box::new(Tls { session: *session, unsent: Vec::new(), sent: 0 }));
        Self { fd: socket.fd, tls }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether something is on its way that is no longer in the outbox.
    pub fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.sent < tls.unsent.len())
    }

    /// What was received, in clear: the bytes themselves, or what they decrypt to, which may be nothing yet.
    pub fn open<'b>(&mut self, received: &'b mut [u8], clear: &'b mut Vec<u8>) -> Result<&'b mut [u8], rustls::Error> {
        match &mut self.tls {
            None => Ok(received),
            Some(tls) => {
                clear.clear();
                tls.open(received, clear)?;
                Ok(clear)
            }
        }
    }

    /// Before the socket is offered something: encrypts as much of what waits as may be on its way.
    pub fn load(&mut self, outbox: &mut Outbox) {
        if let Some(tls) = &mut self.tls {
            tls.load(outbox);
        }
    }

    /// What is to be sent next, where that is one piece.
    pub fn only_piece<'a>(&'a self, outbox: &'a Outbox) -> Option<&'a [u8]> {
        match &self.tls {
            None => outbox.only_piece(),
            Some(tls) => Some(&tls.unsent[tls.sent..]).filter(|unsent| !unsent.is_empty()),
        }
    }

    /// Puts what is to be sent next into the room there is, and returns how many pieces these are.
    pub fn pieces<'a>(&'a self, outbox: &'a Outbox, room: &mut [IoSlice<'a>; MAX_PIECES]) -> usize {
        match &self.tls {
            None => outbox.slices(room),
            Some(tls) if tls.sent < tls.unsent.len() => {
                room[0] = IoSlice::new(&tls.unsent[tls.sent..]);
                1
            }
            Some(_) => 0,
        }
    }

    /// The kernel took this many bytes.
    pub fn sent(&mut self, outbox: &mut Outbox, count: usize) {
        match &mut self.tls {
            None => outbox.sent(count),
            Some(tls) => tls.sent(count),
        }
    }

    /// Tells the other side that nothing more comes; what it sends is still read.
    pub fn end_writing(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.session.send_close_notify();
            tls.take_encrypted();
            // The kernel takes these few bytes at once, or the client has stopped reading and misses nothing.
            _ = rustix::net::send(&self.fd, &tls.unsent[tls.sent..], rustix::net::SendFlags::NOSIGNAL);
            (tls.unsent, tls.sent) = (Vec::new(), 0);
        }
        poll::end_writing(self.fd.as_fd());
    }
}

impl Tls {
    fn open(&mut self, mut received: &[u8], clear: &mut Vec<u8>) -> Result<(), rustls::Error> {
        while !received.is_empty() {
            // Reading from memory fails only when what was decrypted before has not been taken, which is done below.
            match self.session.read_tls(&mut received) {
                Ok(0) => return Ok(()), // the peer has said that nothing follows: what does is nobody's
                Ok(_) => {}
                Err(_) => return Err(rustls::Error::General("more was received than a session holds".to_owned())),
            }
            let outcome = self.session.process_new_packets();
            // An error after some data leaves the data; nothing more to read is the end of what there is.
            _ = self.session.reader().read_to_end(clear);
            self.take_encrypted(); // answers of the protocol's own, such as an alert
            outcome?;
        }
        Ok(())
    }

    fn load(&mut self, outbox: &mut Outbox) {
        if self.sent < self.unsent.len() {
            return;
        }
        let mut room = [IoSlice::new(&[]); MAX_PIECES];
        let count = outbox.slices(&mut room);
        let mut taken = 0;
        for piece in &room[..count] {
            let piece = &piece[..piece.len().min(MAX_ENCRYPTED - taken)];
            taken += self.session.writer().write(piece).unwrap_or(0);
            if taken == MAX_ENCRYPTED {
                break;
            }
        }
        outbox.sent(taken);
        self.take_encrypted();
    }

    fn take_encrypted(&mut self) {
        while self.session.wants_write() {
            // Writing into memory cannot fail.
            _ = self.session.write_tls(&mut self.unsent);
        }
    }

    fn sent(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.unsent.len() {
            (self.unsent, self.sent) = (Vec::new(), 0);
        }
    }
}

/// What the session said before it came here: bytes of the client that were decrypted already.
pub fn take_clear(session: &mut ServerConnection) -> io::Result<Vec<u8>> {
    let mut clear = Vec::new();
    match session.reader().read_to_end(&mut clear) {
        Ok(_) => Ok(clear),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(clear),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use bytes::Bytes;
    use rcgen::CertifiedKey;
    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};

    use super::*;

    /// A line and who is at its other end, with the handshake behind them.
    fn agreed() -> (Line, ClientConnection) {
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
        let mut client = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = config.unwrap().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key);
        let mut session = ServerConnection::new(Arc::new(config.unwrap())).unwrap();
        while client.is_handshaking() || session.is_handshaking() || session.wants_write() {
            session.read_tls(&mut said(&mut client).as_slice()).unwrap();
            session.process_new_packets().unwrap();
            let mut answer = Vec::new();
            while session.wants_write() {
                session.write_tls(&mut answer).unwrap();
            }
            hear(&mut client, &answer);
        }
        let fd = UnixStream::pair().unwrap().0.into();
        (Line::new(Socket { fd, tls: Some(Box::new(session)) }), client)
    }

    /// What a client has to send.
    fn said(client: &mut ClientConnection) -> Vec<u8> {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// What these bytes are in clear.
    fn hear(client: &mut ClientConnection, mut bytes: &[u8]) -> Vec<u8> {
        let mut clear = Vec::new();
        while !bytes.is_empty() {
            client.read_tls(&mut bytes).unwrap();
            client.process_new_packets().unwrap();
            _ = client.reader().read_to_end(&mut clear); // that nothing more has come is no mistake
        }
        clear
    }

    fn unsent(line: &Line) -> Vec<u8> {
        let tls = line.tls.as_ref().unwrap();
        tls.unsent[tls.sent..].to_vec()
    }

    #[test]
    fn so_much_is_encrypted_ahead_of_a_client_that_takes_nothing_and_no_more_whatever_it_asks() {
        /// Of one record.
        const OVERHEAD: usize = 22;
        let all: Vec<u8> = (0..500_000_u32).map(|n| n as u8).collect();
        let mut outbox = Outbox::default();
        all.chunks(5_000).for_each(|piece| outbox.control(Bytes::copy_from_slice(piece)));
        let (mut line, mut client) = agreed();
        line.load(&mut outbox);
        let ahead = unsent(&line);
        let records = MAX_ENCRYPTED.div_ceil(5_000);
        assert!((MAX_ENCRYPTED - 5_000..=MAX_ENCRYPTED + records * OVERHEAD).contains(&ahead.len()), "{}", ahead.len());
        assert!(outbox.bytes() >= all.len() - MAX_ENCRYPTED, "the rest can still be dropped, and is counted");
        for _ in 0..20 {
            client.refresh_traffic_keys().unwrap(); // asks for the same in return
            line.open(&mut said(&mut client), &mut Vec::new()).unwrap();
            line.load(&mut outbox);
        }
        assert_eq!(unsent(&line), ahead, "and its wishes wait, too");
        line.sent(&mut outbox, 1000);
        line.load(&mut outbox);
        assert_eq!(unsent(&line), ahead[1000..]);

        let mut heard = hear(&mut client, &ahead);
        line.sent(&mut outbox, ahead.len() - 1000);
        assert_eq!(line.tls.as_ref().unwrap().unsent.capacity(), 0, "who takes all keeps no room");
        while !outbox.is_empty() {
            line.load(&mut outbox);
            let next = unsent(&line);
            assert!(next.len() <= MAX_ENCRYPTED + records * OVERHEAD, "{}", next.len());
            heard.extend(hear(&mut client, &next));
            line.sent(&mut outbox, next.len());
        }
        assert!(heard == all, "{} of {} bytes, or not in order", heard.len(), all.len());
    }
}
