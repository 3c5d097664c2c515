use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{Line, Trust};

/// Long enough for a busy machine, short enough that nobody waits.
const SHORT: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(20);

fn server(serve: impl FnOnce(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || serve(listener.accept().unwrap().0));
    port
}

/// Connected, however busy the machine is; from now on nobody waits.
fn impatient(port: u16) -> (Line, Instant) {
    let mut line = Line::dial("127.0.0.1", port, Instant::now() + PATIENCE).unwrap();
    let began = Instant::now();
    line.until(began + SHORT);
    (line, began)
}

/// That it ended at its deadline: not before, and not when the other side felt like it.
fn ended_in_time(began: Instant) {
    let took = began.elapsed();
    assert!(took >= SHORT && took < PATIENCE, "{took:?}");
}

#[test]
fn a_silent_server_is_left_at_the_deadline() {
    let port = server(|mut socket| drop(socket.read(&mut [0])));
    let (mut line, began) = impatient(port);
    assert_eq!(line.read(&mut [0; 10]).unwrap_err().kind(), ErrorKind::TimedOut);
    ended_in_time(began);
}

#[test]
fn one_that_drips_is_left_at_the_deadline() {
    let port = server(|mut socket| {
        while socket.write_all(b".").is_ok() {
            thread::sleep(SHORT / 10); // it drips
        }
    });
    let (mut line, began) = impatient(port);
    let error = line.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    ended_in_time(began);
}

#[test]
fn one_that_takes_nothing_is_left_at_the_deadline() {
    let port = server(|socket| {
        thread::sleep(PATIENCE);
        drop(socket);
    });
    let (mut line, began) = impatient(port);
    let error = line.write_all(&vec![0; 64 << 20]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    ended_in_time(began);
}

#[test]
fn a_name_and_a_closed_port_are_told() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let deadline = Instant::now() + PATIENCE;
    assert_eq!(Line::dial("127.0.0.1", free, deadline).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(Line::dial("no name at all", free, deadline).is_err());
    assert_eq!(Line::dial("127.0.0.1", free, Instant::now()).unwrap_err().kind(), ErrorKind::TimedOut);
}

/// A certificate for `localhost`, and a server that greets whoever believes it.
fn greeter() -> (tempfile::NamedTempFile, u16) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(made.cert.pem().as_bytes()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let port = server(move |socket| {
        let session = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = StreamOwned::new(session, socket);
        let mut word = [0; 5];
        if stream.read_exact(&mut word).is_ok() {
            stream.write_all(&word).unwrap();
        }
    });
    (file, port)
}

#[test]
fn an_encrypted_line_believes_its_file_alone() {
    let (file, port) = greeter();
    let trust = Trust::load(Some(file.path())).unwrap();
    let line = Line::dial("127.0.0.1", port, Instant::now() + PATIENCE).unwrap();
    let mut line = line.encrypt(&trust, "localhost").unwrap();
    assert!(line.is_encrypted());
    line.write_all(b"hello").unwrap();
    let mut word = [0; 5];
    line.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"hello");

    let (_, other) = greeter();
    let line = Line::dial("127.0.0.1", other, Instant::now() + PATIENCE).unwrap();
    let error = line.encrypt(&trust, "localhost").unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");

    let (file, port) = greeter();
    let trust = Trust::load(Some(file.path())).unwrap();
    let line = Line::dial("127.0.0.1", port, Instant::now() + PATIENCE).unwrap();
    let error = line.encrypt(&trust, "elsewhere.example").unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[test]
fn a_handshake_that_stalls_is_left_at_the_deadline() {
    let (file, _) = greeter();
    let trust = Trust::load(Some(file.path())).unwrap();
    let port = server(|mut socket| drop(socket.read_to_end(&mut Vec::new())));
    let (line, began) = impatient(port);
    assert_eq!(line.encrypt(&trust, "localhost").unwrap_err().kind(), ErrorKind::TimedOut);
    ended_in_time(began);
}

#[test]
fn a_file_without_certificates_is_told() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    let said = Trust::load(Some(empty.path())).unwrap_err();
    assert!(said.ends_with("it holds no certificate; give a file of certificates in PEM"), "{said}");
    assert!(Trust::load(Some("/nowhere/ca.pem".as_ref())).unwrap_err().starts_with("/nowhere/ca.pem: "));
}
