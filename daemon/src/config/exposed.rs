//! Says of a listener that everybody on the network reaches that nobody is asked there who it is, in clear.

use super::{
    code,
    diagnostic::Diagnostic,
    document::Document,
    schema::{Auth, Broadcaster, Config, DeclaredStream, Endpoint},
    value::Address,
};

/// One sentence about the first such listener, with the first endpoint there that shows a stream to whoever comes. Behind
/// proxies that are trusted nothing is said: they encrypt, and their network is the operator's matter.
pub fn look(document: &Document, config: &Config) -> Option<Diagnostic> {
    let server = &config.server;
    if server.tls.is_some() || !server.trusted_proxies.is_empty() {
        return None;
    }
    let is_open = |address: &Address| matches!(address, Address::Tcp(tcp) if !tcp.ip().is_loopback());
    let open = server.listen.iter().enumerate().filter(|(_, address)| is_open(address));
    let mut doors = open.filter_map(|(index, address)| {
        let is_there = |endpoint: &&Endpoint| endpoint.listen.as_ref().is_none_or(|only| only == address);
        let door = server.endpoints.iter().filter(is_there).find(|endpoint| asks_nobody(endpoint, config))?;
        Some((index, address, door))
    });
    let (index, address, door) = doors.next()?;
    let message = format!("other machines reach {address} in clear, and `{}` asks nobody who they are", door.path);
    let open = Diagnostic::of_value(code::OPEN, document, &format!("/server/listen/{index}"), message);
    let help = "set server.tls, and auth = \"required\" at the endpoint or the streams; or listen on 127.0.0.1";
    Some(open.help(help))
}

/// Whether somebody without identity can hear a stream there. What a plugin declares private is not known here.
fn asks_nobody(endpoint: &Endpoint, config: &Config) -> bool {
    let serves = |name: &String| endpoint.streams.iter().any(|served| served == "*" || served == name);
    let declared = config.streams.iter().filter(|(name, _)| serves(name)).any(|(_, stream)| is_shown(stream));
    let published = config.broadcasters.iter().filter(|(name, _)| serves(name)).any(|(_, one)| is_told(one));
    endpoint.auth != Auth::Required && (declared || published)
}

fn is_shown(stream: &DeclaredStream) -> bool {
    stream.visible && !stream.private && stream.auth != Auth::Required
}

fn is_told(broadcaster: &Broadcaster) -> bool {
    let stream = &broadcaster.stream;
    broadcaster.enabled && stream.visible != Some(false) && stream.auth != Some(Auth::Required)
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Paint, Source, code};

    /// What is said of a configuration, and of which value.
    fn told(text: &str) -> Vec<(String, String)> {
        let source = Source { path: "config.toml".into(), ..Source::default() };
        let loaded =
            Config::from_text(&source, text).unwrap_or_else(|report| panic!("{}", report.render(Paint::Plain, "")));
        assert!(loaded.warnings.items.iter().all(|item| item.code == code::OPEN && item.is_warning()));
        loaded.warnings.items.into_iter().map(|item| (item.message, item.pointer)).collect()
    }

    /// What is said of a configuration.
    fn said(text: &str) -> Vec<String> {
        told(text).into_iter().map(|(message, _)| message).collect()
    }

    #[test]
    fn a_door_in_clear_that_asks_nobody_is_told_with_its_address() {
        let with = |listen: &str, more: &str| said(&format!("[server]\nlisten = [{listen}]\n{more}"));
        let ticks = "[streams.ticks]\nvisible = true\n";
        for address in ["0.0.0.0:8080", "[::]:8080", "192.0.2.7:8080"] {
            let expected = format!("other machines reach {address} in clear, and `/v1/ws` asks nobody who they are");
            assert_eq!(with(&format!("\"127.0.0.1:1\", \"{address}\""), ticks), [expected]);
        }
        let open = "\"0.0.0.0:8080\"";
        assert_eq!(with(open, "[broadcasters.bars]\nplugin = \"bars\"\n").len(), 1);
        let door = "[[server.endpoints]]\npath = \"/v1/ws\"\n";
        assert_eq!(with(open, &format!("{door}{ticks}")).len(), 1);
        let nothing: [String; 0] = [];
        for (listen, more) in [
            ("\"127.0.0.1:8080\", \"[::1]:8080\", \"unix:/run/a.sock\"", ticks.to_owned()),
            (open, String::new()),
            (open, "[streams.ticks]\n".to_owned()),
            (open, format!("{ticks}private = true\n")),
            (open, "[broadcasters.bars]\nplugin = \"bars\"\nenabled = false\n".to_owned()),
            (open, "[broadcasters.bars]\nplugin = \"bars\"\nstream = { visible = false }\n".to_owned()),
            (
                open,
                "[broadcasters.bars]\nplugin = \"bars\"\nstream = { auth = \"required\" }\n[auth.jwt]\nkeys = \"keys.pem\"\n"
                    .to_owned(),
            ),
            (open, format!("trusted_proxies = [\"192.0.2.1\"]\n{ticks}")),
            (open, format!("tls = {{ cert = \"a\", key = {{ file = \"b\" }} }}\n{ticks}")),
            (open, format!("{ticks}auth = \"required\"\n[auth.jwt]\nkeys = \"keys.pem\"\n")),
            (open, format!("{door}auth = \"required\"\n{ticks}[auth.jwt]\nkeys = \"keys.pem\"\n")),
            (open, format!("{door}streams = [\"news\"]\n{ticks}[streams.news]\n")),
            ("\"127.0.0.1:1\", \"0.0.0.0:2\"", format!("{door}listen = \"127.0.0.1:1\"\n{ticks}")),
        ] {
            assert_eq!(with(listen, &more), nothing, "{more}");
        }
    }

    #[test]
    fn the_first_of_several_open_doors_is_told_at_its_address() {
        let text = |only: &str| {
            format!(
                "[server]\nlisten = [\"127.0.0.1:1\", \"0.0.0.0:2\", \"0.0.0.0:3\"]\n\
                 [[server.endpoints]]\npath = \"/v1/ws\"\n{only}[streams.ticks]\nvisible = true\n"
            )
        };
        let at = |address: &str, index: usize| {
            let message = format!("other machines reach {address} in clear, and `/v1/ws` asks nobody who they are");
            vec![(message, format!("/server/listen/{index}"))]
        };
        assert_eq!(told(&text("")), at("0.0.0.0:2", 1), "of two, one");
        assert_eq!(told(&text("listen = \"0.0.0.0:3\"\n")), at("0.0.0.0:3", 2), "one that has no door is no reason");
    }
}
