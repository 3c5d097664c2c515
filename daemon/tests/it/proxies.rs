//! Clients behind proxies, on the real daemon: who they are to it, what it believes of whom, and what it refuses. Nobody can
//! be said to be on this machine, so that what is told are addresses of elsewhere.

use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::house::{self, Client, until};
use crate::http::{self, PATIENCE};
use crate::limits::outer_address;
use crate::needs;
use crate::process::Daemon;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(a_trusted_proxy_says_who_its_client_is),
        needs::nothing(others_say_nothing_about_themselves),
        needs::nothing(a_reload_changes_whom_the_daemon_believes),
        needs::nothing(a_proxy_has_no_share_of_its_own_and_nobody_is_on_this_machine_by_a_header),
        needs::nothing(a_head_of_the_proxy_protocol_says_whose_connection_it_is),
        needs::nothing(a_connection_without_a_head_is_refused),
        needs::nothing(only_trusted_proxies_may_begin),
        needs::nothing(names_are_asked_for_behind_proxies_once_there_are_some),
        needs::program("haproxy", haproxy_forwards),
        needs::program("haproxy", haproxy_begins_connections),
    ]
}

pub const TRUSTED: &str = "BROADCASTD_SERVER__TRUSTED_PROXIES";
const PROTOCOL: &str = "BROADCASTD_SERVER__PROXY_PROTOCOL";
pub const LISTEN: &str = "BROADCASTD_SERVER__LISTEN";
pub const HOSTS: &str = "BROADCASTD_SERVER__HOSTS";
const TWO_EACH: &str = "[hub]\nmax_per_ip = 2\nheader_timeout = \"300ms\"\n";
const REFUSED: &str = r#"broadcastd_connections_refused_total{reason="proxy_protocol"}"#;

/// Whom the connections that there are count for, the oldest first.
fn peers(daemon: &Daemon) -> Vec<String> {
    let shown = http::get(&daemon.admin, "/v1/connections").json();
    let peer = |shown: &Value| shown["peer"].as_str().unwrap().to_owned();
    let mut peers: Vec<String> = shown["connections"].as_array().unwrap().iter().map(peer).collect();
    peers.sort();
    peers
}

fn through(daemon: &Daemon, forwarded: &str) -> Result<Client, http::Answer> {
    house::connect(&daemon.clients, &[("X-Forwarded-For", forwarded)])
}

/// A socket of another address of this machine.
fn from(source: &str, daemon: &Daemon) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let address = |text: &str| text.parse::<SocketAddr>().unwrap().into();
    socket.bind(&address(&format!("{source}:0"))).unwrap();
    socket.connect(&address(&daemon.clients)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

/// A client of a proxy that begins its connection with this head.
fn behind(daemon: &Daemon, head: &[u8]) -> Result<Client, http::Answer> {
    let mut socket = http::connect(&daemon.clients);
    socket.write_all(head).unwrap();
    house::open(socket, &format!("ws://{}/v1/ws", daemon.clients), &[])
}

/// Nothing is answered: the connection ends.
fn is_refused(mut socket: TcpStream, said: &[u8]) {
    socket.write_all(said).unwrap();
    // What was not read when the daemon closed makes the kernel say so harder.
    assert!(matches!(socket.read(&mut [0; 1]), Ok(0) | Err(_)), "{}", said.escape_ascii());
}

fn unknown(daemon: &Daemon, reason: &str) -> f64 {
    daemon.metric(&format!("broadcastd_clients_unknown_total{{reason=\"{reason}\"}}")).unwrap_or(0.0)
}

fn a_trusted_proxy_says_who_its_client_is() {
    let daemon = Daemon::start_with(TWO_EACH, &[(TRUSTED, "127.0.0.1,10.0.0.0/8")]);
    let of_one =
        [through(&daemon, "203.0.113.7").unwrap(), through(&daemon, "spoofed, 203.0.113.7, 10.1.2.3").unwrap()];
    let refused = through(&daemon, "127.0.0.1, 203.0.113.7").err().unwrap();
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (429, Some("too_many_connections")));
    let _of_another = through(&daemon, "2001:db8::8").unwrap();
    assert_eq!(peers(&daemon), ["2001:db8::8", "203.0.113.7", "203.0.113.7"]);
    drop(of_one);
    until("both have left", || peers(&daemon) == ["2001:db8::8"]);
    let _again = through(&daemon, "203.0.113.7").unwrap();
    let _unnamed =
        [through(&daemon, "203.0.113.7, nobody").unwrap(), daemon.connect(), through(&daemon, "::1").unwrap()];
    assert_eq!(peers(&daemon), ["127.0.0.1", "127.0.0.1", "127.0.0.1", "2001:db8::8", "203.0.113.7"]);
    assert_eq!(
        ["malformed", "missing", "local", "too_long"].map(|reason| unknown(&daemon, reason)),
        [1.0, 1.0, 1.0, 0.0]
    );
}

fn others_say_nothing_about_themselves() {
    let daemon = Daemon::start_with(TWO_EACH, &[(TRUSTED, "127.0.0.1/32,::1")]);
    let uri = format!("ws://{}/v1/ws", daemon.clients);
    let headers = [("X-Forwarded-For", "203.0.113.7")];
    let _client = house::open(from("127.0.0.2", &daemon), &uri, &headers).ok().unwrap();
    assert_eq!(peers(&daemon), ["127.0.0.2"]);
}

fn a_reload_changes_whom_the_daemon_believes() {
    let daemon = Daemon::start("");
    let ask = |socket: &mut TcpStream, forwarded: &str| {
        let line = r#"{"level":"ERROR","message":"said by a page"}"#;
        let headers =
            [("Connection", "keep-alive"), ("Content-Type", "application/json"), ("X-Forwarded-For", forwarded)];
        socket.write_all(&http::request("localhost", "POST /v1/log HTTP/1.1", &headers, line.as_bytes())).unwrap();
        http::read(socket).status
    };
    let mut kept = http::connect(&daemon.clients);
    let before = ask(&mut kept, "203.0.113.7");
    let whole =
        "[server]\nlisten = [\"127.0.0.1:0\"]\ntrusted_proxies = [\"127.0.0.1\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n";
    daemon.reload(|| daemon.configure_whole(whole));
    let after = ask(&mut kept, "203.0.113.8");
    assert_eq!(before, after);
    let _client = through(&daemon, "203.0.113.9").unwrap();
    assert_eq!(peers(&daemon), ["203.0.113.9"]);
    daemon.wait_for_log("203.0.113.8");
    let log = daemon.log_text();
    assert!(!log.contains("203.0.113.7"), "also on a connection from before:\n{log}");
}

fn a_proxy_has_no_share_of_its_own_and_nobody_is_on_this_machine_by_a_header() {
    let Some(outer) = outer_address() else {
        return eprintln!("this machine has no address but loopback: the unit tests stand alone");
    };
    let daemon = Daemon::start_with(TWO_EACH, &[(TRUSTED, &outer), (LISTEN, "0.0.0.0:0")]);
    let address = format!("{outer}:{}", daemon.clients.rsplit_once(':').unwrap().1);
    let through = |forwarded: &str| house::connect(&address, &[("X-Forwarded-For", forwarded)]);
    let ask = |socket: &mut TcpStream| {
        socket.write_all(&http::request(&address, "GET /nope HTTP/1.1", &[("Connection", "keep-alive")], b"")).unwrap();
        http::read(socket).status
    };
    let mut idle: Vec<TcpStream> = (0..5).map(|_| http::connect(&address)).collect();
    assert!(idle.iter_mut().all(|socket| ask(socket) == 404), "more than the share of one address");
    let _users: Vec<Client> = (1..=5).map(|user| through(&format!("203.0.113.{user}")).unwrap()).collect();
    let _claims = [through("127.0.0.1").unwrap(), through("::1").unwrap()];
    assert_eq!(through("::ffff:127.0.0.1").err().unwrap().status, 429, "these count for the proxy, and it has two");
    assert_eq!(peers(&daemon).iter().filter(|peer| **peer == outer).count(), 2);
}

fn a_head_of_the_proxy_protocol_says_whose_connection_it_is() {
    let daemon = Daemon::start_with(TWO_EACH, &[(PROTOCOL, "true")]);
    let v1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 8080\r\n";
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xcb\0\x71\x07\xc0\0\x02\x01\xdc\x04\x1f\x90\x04\0\x01\0";
    let _of_one = [behind(&daemon, v1).unwrap(), behind(&daemon, v2).unwrap()];
    assert_eq!(behind(&daemon, v1).err().unwrap().status, 429);
    let _of_another = behind(&daemon, b"PROXY TCP6 2001:db8::8 2001:db8::1 1 2\r\n").unwrap();
    let _own = [
        behind(&daemon, b"PROXY UNKNOWN\r\n").unwrap(),
        behind(&daemon, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").unwrap(),
        behind(&daemon, b"PROXY TCP4 127.9.9.9 192.0.2.1 1 2\r\n").unwrap(),
    ];
    assert_eq!(peers(&daemon), ["127.0.0.1", "127.0.0.1", "127.0.0.1", "2001:db8::8", "203.0.113.7", "203.0.113.7"]);
    assert_eq!((unknown(&daemon, "local"), daemon.metric(REFUSED)), (1.0, None));
}

fn a_connection_without_a_head_is_refused() {
    let daemon = Daemon::start_with(TWO_EACH, &[(PROTOCOL, "true")]);
    let request = http::request("localhost", "GET /v1/streams HTTP/1.1", &[], b"");
    for (nth, said) in
        [&request[..], b"PROXY TCP4 203.0.113.7\r\n", b"PROXY TCP4 nobody 192.0.2.1 1 2\r\n"].iter().enumerate()
    {
        is_refused(http::connect(&daemon.clients), said);
        until(REFUSED, || daemon.metric(REFUSED) == Some(nth as f64 + 1.0));
    }
    for (nth, begun) in [&b""[..], b"PROXY TCP4 203.0.113.7 "].iter().enumerate() {
        let began = Instant::now();
        is_refused(http::connect(&daemon.clients), begun);
        assert!(began.elapsed() >= Duration::from_millis(300), "there is time for it: hub.header_timeout");
        until(REFUSED, || daemon.metric(REFUSED) == Some(nth as f64 + 4.0));
    }
    behind(&daemon, b"PROXY UNKNOWN\r\n").unwrap();
}

fn only_trusted_proxies_may_begin() {
    let daemon = Daemon::start_with(TWO_EACH, &[(PROTOCOL, "true"), (TRUSTED, "127.0.0.1")]);
    let head = b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 8080\r\n";
    is_refused(from("127.0.0.2", &daemon), head);
    until(REFUSED, || daemon.metric(REFUSED) == Some(1.0));
    let _client = behind(&daemon, head).unwrap();
    assert_eq!(peers(&daemon), ["203.0.113.7"]);
}

fn names_are_asked_for_behind_proxies_once_there_are_some() {
    let hosts = (HOSTS, "push.example");
    let statuses = |way: &[(&str, &str)], head: &str| {
        let daemon = Daemon::start_with("", way);
        ["push.example", "localhost", "evil.example"].map(|host| {
            let mut socket = http::connect(&daemon.clients);
            let request = http::request("", "GET /v1/streams HTTP/1.1", &[("Host", host)], b"");
            socket.write_all(&[head.as_bytes(), &request].concat()).unwrap();
            http::read(&mut socket).status
        })
    };
    for (way, head) in [((TRUSTED, "127.0.0.1"), ""), ((PROTOCOL, "true"), "PROXY TCP4 203.0.113.7 192.0.2.1 1 2\r\n")]
    {
        assert_eq!(statuses(&[way], head), [200, 200, 200], "{way:?}: the proxy alone knows its names");
        assert_eq!(statuses(&[way, hosts], head), [200, 200, 421], "{way:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", folder.path().join("clients.sock").display());
    let daemon = Daemon::start_with("", &[hosts, (LISTEN, &format!("127.0.0.1:0,{socket}"))]);
    let asked = |host| {
        let mut socket = UnixStream::connect(socket.strip_prefix("unix:").unwrap()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(&http::request("", "GET /v1/streams HTTP/1.1", &[("Host", host)], b"")).unwrap();
        http::read(&mut socket).status
    };
    assert_eq!(["push.example", "localhost", "evil.example"].map(asked), [200, 200, 421], "{}", daemon.clients);
}

/// A real proxy with these sections, each of which listens on its own address in `FD`.
struct Haproxy {
    process: Child,
    addresses: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Haproxy {
    fn start(outer: &str, sections: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listeners: Vec<TcpListener> = sections.iter().map(|_| TcpListener::bind((outer, 0)).unwrap()).collect();
        let mut config = "defaults\n timeout connect 30s\n timeout client 30s\n timeout server 30s\n".to_owned();
        for (section, listener) in sections.iter().zip(&listeners) {
            rustix::io::fcntl_setfd(listener, rustix::io::FdFlags::empty()).unwrap(); // it is handed on
            config.push_str(&section.replace("FD", &format!("fd@{}", listener.as_raw_fd())));
        }
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, config).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let process = Command::new("haproxy").arg("-db").arg("-f").arg(file).spawn().unwrap();
        let addresses = listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
        Self { process, addresses, _folder: folder }
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

fn haproxy_forwards() {
    let Some(outer) = outer_address() else { return eprintln!("this machine has no address but loopback") };
    let daemon = Daemon::start_with(TWO_EACH, &[(TRUSTED, "127.0.0.1")]);
    let section = format!("listen web\n mode http\n bind FD\n option forwardfor\n server one {}\n", daemon.clients);
    let proxy = Haproxy::start(&outer, &[section]);
    let claims = [("X-Forwarded-For", "198.51.100.1, 127.0.0.1")];
    let mut clients = [(); 2].map(|()| house::connect(&proxy.addresses[0], &claims).unwrap());
    assert_eq!(house::connect(&proxy.addresses[0], &claims).err().unwrap().status, 429);
    assert_eq!(peers(&daemon), [outer.as_str(); 2]);
    for client in &mut clients {
        house::say(client, r#"{"type":"ping"}"#);
        assert_eq!(house::hear_json(client)["data"]["status"], "pong");
    }
}

fn haproxy_begins_connections() {
    let Some(outer) = outer_address() else { return eprintln!("this machine has no address but loopback") };
    let daemon = Daemon::start_with(TWO_EACH, &[(PROTOCOL, "true"), (TRUSTED, "127.0.0.1")]);
    let section = |how: &str| format!("listen {how}\n mode tcp\n bind FD\n server one {} {how}\n", daemon.clients);
    let proxy = Haproxy::start(&outer, &[section("send-proxy"), section("send-proxy-v2")]);
    let clients: Vec<Client> = proxy.addresses.iter().map(|address| house::connect(address, &[]).unwrap()).collect();
    assert_eq!(peers(&daemon), [outer.as_str(); 2]);
    assert_eq!(house::connect(&proxy.addresses[1], &[]).err().unwrap().status, 429);
    drop(clients);
}
