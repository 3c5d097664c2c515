//! Sockets that the service manager opened: they are served, wait for the next daemon when one ends, and who comes where
//! nobody serves is told of.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::house::{self, hear_json};
use crate::http;
use crate::needs;
use crate::process::{self, Daemon};
use crate::raw::{self, Raw};

const HELLO: &str = "[broadcasters.hello]\nplugin = \"faulty\"\nsettings = { interval_ms = 10 }\n";

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(who_comes_while_the_daemon_restarts_waits_and_is_served),
        needs::nothing(an_address_that_nobody_serves_is_told_of_and_can_come_back),
        needs::nothing(the_file_of_a_given_socket_stays_where_it_is),
        needs::nothing(what_does_not_listen_ends_the_start),
    ]
}

fn who_comes_while_the_daemon_restarts_waits_and_is_served() {
    let given = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = given.local_addr().unwrap().to_string();
    let config = format!("[server]\nlisten = [\"{address}\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n{HELLO}");
    let first = start(tempfile::tempdir().unwrap(), &config, given.try_clone().unwrap());
    assert_eq!(first.clients, address);
    first.subscriber("hello");
    let (status, folder) = first.stop();
    assert!(status.success(), "{status}");

    let mut early = Raw::on(http::connect(&address)); // nobody runs
    early.send(&raw::request(&address));
    let second = start(folder, &config, given);
    assert!(early.head().starts_with("HTTP/1.1 101"), "who came early is let in");
    second.subscriber("hello");
}

fn an_address_that_nobody_serves_is_told_of_and_can_come_back() {
    let given = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = given.local_addr().unwrap().to_string();
    let config = |listen: &str| format!("[server]\nlisten = [{listen}]\n[admin]\nlisten = \"127.0.0.1:0\"\n{HELLO}");
    let daemon = start(tempfile::tempdir().unwrap(), &config("\"127.0.0.1:0\""), given);
    let told = daemon.wait_for_log("clients wait in vain");
    assert!(told.contains(&address), "{told}");

    daemon.reload(|| daemon.configure_whole(&config(&format!("\"{address}\""))));
    let mut client = house::connect(&address, &[]).unwrap();
    house::subscribe(&mut client, "hello");
    let skip = daemon.log_lines();
    daemon.reload(|| daemon.configure_whole(&config("\"127.0.0.1:0\"")));
    daemon.wait_for_log_after(skip, "clients wait in vain");
    hear_json(&mut client); // whoever was connected stays

    let waiting = http::connect(&address); // the kernel lets in whom the daemon does not
    daemon.reload(|| daemon.configure_whole(&config(&format!("\"{address}\""))));
    let mut waiting = Raw::on(waiting);
    waiting.send(&raw::request(&address));
    assert!(waiting.head().starts_with("HTTP/1.1 101"));
}

fn the_file_of_a_given_socket_stays_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clients.sock");
    let given = UnixListener::bind(&path).unwrap();
    let config = format!(
        "[server]\nlisten = [\"127.0.0.1:0\", \"unix:{}\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n{HELLO}",
        path.display()
    );
    let daemon = start(folder, &config, given);
    UnixStream::connect(&path).unwrap();
    let (_, folder) = daemon.stop();
    assert!(path.exists(), "it is not the daemon's: {folder:?}");
}

fn what_does_not_listen_ends_the_start() {
    let (one, _other) = UnixStream::pair().unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.toml"), process::PORTS).unwrap();
    let ended = command(&folder, one).output().unwrap();
    assert_eq!(ended.status.code(), Some(78));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("descriptor 3 (clients)") && said.contains("Accept=no"), "{said}");
}

fn start(folder: TempDir, config: &str, given: impl Into<OwnedFd>) -> Daemon {
    fs::write(folder.path().join("config.toml"), config).unwrap();
    Daemon::start_by(command(&folder, given), folder)
}

/// The daemon as a service manager starts it: the socket is its third descriptor, and the environment says so. The shell
/// gets it where a child may get one, and moves it.
fn command(folder: &TempDir, given: impl Into<OwnedFd>) -> Command {
    const HAND_OVER: &str = r#"exec 3<&0 0</dev/null
LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=clients exec "$@""#;
    let daemon = process::command(folder.path(), &[]);
    let mut command = Command::new("sh");
    command
        .env_clear()
        .args(["-c", HAND_OVER, "sh"])
        .arg(daemon.get_program())
        .args(daemon.get_args())
        .stdin(Stdio::from(given.into()));
    for (name, value) in daemon.get_envs() {
        command.env(name, value.expect("nothing is taken away"));
    }
    command.current_dir(daemon.get_current_dir().unwrap());
    command
}
