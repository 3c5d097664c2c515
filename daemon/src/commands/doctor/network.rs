//! Addresses that are free or the daemon's, and descriptors for as many connections as are configured.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use rustix::process::{Resource, getrlimit};

use super::Finding;
use super::running::Running;
use crate::app::parts::SPARE_DESCRIPTORS;
use crate::config::schema::Config;
use crate::config::value::Address;

pub fn all(config: &Config, running: &Running) -> Vec<Finding> {
    let listening = config.server.listen.iter().map(|address| ("server.listen", address));
    let all = listening.chain([("admin.listen", &config.admin.listen)]);
    let ports = all.filter_map(|(key, address)| match address {
        Address::Tcp(address) => Some(port(key, *address, running)),
        Address::Unix(_) => None, // a file that is left over is taken over
    });
    ports.chain([descriptors(config, running)]).collect()
}

fn port(key: &str, address: SocketAddr, running: &Running) -> Finding {
    if address.port() == 0 {
        return Finding::ok("port", format!("{key} {address}: the kernel chooses one"));
    }
    let who = format!("to see by whom: ss -ltnp 'sport = {}'", address.port());
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok("port", format!("{key} {address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse && running.listens_at(&address.to_string()) => {
            Finding::ok("port", format!("{key} {address} is the daemon's"))
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse && running.is_there() && key == "admin.listen" => {
            Finding::ok("port", format!("{key} {address} is in use, as by the daemon that runs"))
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => Finding::fault(
            "port",
            format!("{key} {address} is taken by another program; stop it or choose another port; {who}"),
        ),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let advice = "a port below 1024 needs the two capability lines of the unit, or be above";
            Finding::warning("port", format!("{key} {address}: you may not listen there; {advice}"))
        }
        Err(error) => Finding::fault(
            "port",
            format!(
                "{key} {address} cannot be listened on: {error}; choose an address of this machine: ip -brief address"
            ),
        ),
    }
}

fn descriptors(config: &Config, running: &Running) -> Finding {
    let (whose, limit) = match running.descriptors() {
        Some(limit) => ("the daemon", limit),
        None => ("this shell", getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)),
    };
    judge_descriptors(whose, limit, u64::from(config.hub.max_connections))
}

fn judge_descriptors(whose: &str, limit: u64, wanted: u64) -> Finding {
    let needed = wanted + SPARE_DESCRIPTORS;
    let told = format!("{whose} may open {limit} files");
    if limit < needed {
        let rule = format!("hub.max_connections = {wanted} needs {needed}");
        let raise = format!("ulimit -n {needed}, or for the service LimitNOFILE={needed} by systemctl edit broadcastd");
        let advice = format!("{raise}; or lower hub.max_connections");
        return Finding::warning("descriptors", format!("{told}, and {rule}; {advice}"));
    }
    Finding::ok("descriptors", format!("{told}; {needed} are needed for {wanted} connections"))
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_port_is_free_taken_or_the_kernels() {
        let nobody = Running::nobody();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let told = port("server.listen", address, &nobody);
        assert_eq!(told.verdict, Verdict::Fault);
        let expected = format!("server.listen {address} is taken by another program; stop it or choose another port; ");
        assert!(told.text.starts_with(&expected), "{told:?}");
        drop(taken);
        assert_eq!(port("server.listen", address, &nobody).verdict, Verdict::Ok);
        assert_eq!(port("server.listen", "127.0.0.1:0".parse().unwrap(), &nobody).verdict, Verdict::Ok);
        assert_eq!(port("server.listen", "192.0.2.1:8080".parse().unwrap(), &nobody).verdict, Verdict::Fault);
    }

    #[test]
    fn there_are_descriptors_for_all_connections_and_the_rest() {
        let judge = |limit| judge_descriptors("the daemon", limit, 1000).verdict;
        assert!(judge_descriptors("this shell", 1, 1000).text.contains("; ulimit -n 1256, or "));
        assert_eq!([1255, 1256].map(judge), [Verdict::Warning, Verdict::Ok]);
    }
}
