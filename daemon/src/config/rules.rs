//! What a schema cannot say: names, listeners, endpoints and addresses that must fit each other.

mod dialects;
mod identity;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    code,
    diagnostic::Diagnostic,
    document::{Document, pointer_to},
    layers::Position,
    schema::{Config, Endpoint},
    value::Address,
    words::nearest,
};

/// The stream in which the daemon tells what it does itself.
pub const OWN_STREAM: &str = "daemon";

/// Names the daemon keeps for itself.
const RESERVED: [&str; 2] = [OWN_STREAM, "system"];

/// The longest name: it stands in metric labels, and thread names show its first letters.
const LONGEST_NAME: usize = 64;

/// The words `log.level` is made of.
pub const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// All that is wrong between settings that are each fine for themselves.
///
/// `config` has defaults where something is wrong for itself (`faults`, by pointer); so which names exist is asked of the
/// document, and no rule speaks about values that are not the operator's.
pub fn check(document: &Document, config: &Config, faults: &[String]) -> Vec<Diagnostic> {
    let rules = Rules { document, config, faults };
    let found = [
        rules.names(),
        rules.listening(),
        rules.circles(),
        rules.addresses(),
        rules.endpoints(),
        rules.dialects(),
        rules.identity(),
        rules.values(),
    ];
    found.concat()
}

struct Rules<'a> {
    document: &'a Document,
    config: &'a Config,
    faults: &'a [String],
}

impl Rules<'_> {
    /// Whether the value at `pointer` and all below it are what the operator wrote, or the default.
    fn sound(&self, pointer: &str) -> bool {
        !self
            .faults
            .iter()
            .any(|fault| fault.strip_prefix(pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }

    fn names(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for (section, what) in [("/streams", "stream"), ("/broadcasters", "broadcaster")] {
            for name in self.keys(section) {
                let pointer = pointer_to(section, name);
                let wrong = |code, message| Diagnostic::of_key(code, self.document, &pointer, message);
                if RESERVED.contains(&name) {
                    let message = format!("a {what} cannot be named `{name}`");
                    found.push(
                        wrong(code::RESERVED_NAME, message).label("the daemon's own").help("choose another name"),
                    );
                } else if !is_name(name) {
                    let message = format!("`{name}` is no name of a {what}");
                    let rule = format!(
                        "a name is a small letter, then small letters, digits and _, at most {LONGEST_NAME} in all"
                    );
                    found.push(wrong(code::NAME, message).label("not a name").help(rule));
                } else if what == "broadcaster" && self.keys("/streams").any(|stream| stream == name) {
                    let message = format!("`{name}` is a broadcaster and a declared stream");
                    let taken = wrong(code::NAME_TAKEN, message).label("its stream would have the same name");
                    let line = self.line_of(&pointer_to("/streams", name));
                    found
                        .push(taken.note(format!("`streams.{name}` is declared {line}")).help("rename one of the two"));
                }
            }
        }
        found
    }

    fn listening(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for (name, broadcaster) in &self.config.broadcasters {
            for (index, stream) in broadcaster.listen.iter().enumerate() {
                let pointer = format!("/broadcasters/{name}/listen/{index}");
                let wrong = |code, message| Diagnostic::of_value(code, self.document, &pointer, message);
                let mut known = self.keys("/streams").chain(self.keys("/broadcasters"));
                if !known.any(|one| one == stream) {
                    let message = format!("broadcaster `{name}` listens to `{stream}`, which nobody declares");
                    let unknown = wrong(code::UNKNOWN_STREAM, message).label("no such stream");
                    let known = self.keys("/streams").chain(self.keys("/broadcasters")).filter(|one| one != name);
                    found.push(match nearest(stream, known) {
                        Some(near) => unknown.suggest("did you mean this?", format!("\"{near}\"")),
                        None => unknown.help(format!("declare it with [streams.{stream}], or name a broadcaster")),
                    });
                } else if self.config.streams.get(stream).is_some_and(|one| one.private)
                    && !broadcaster.allow_private
                    && self.sound(&format!("/broadcasters/{name}/allow_private"))
                {
                    let message = format!("broadcaster `{name}` may not listen to the private stream `{stream}`");
                    let private = wrong(code::PRIVATE_STREAM, message).label("private");
                    let help =
                        format!("if it may see every user's events, add allow_private = true to [broadcasters.{name}]");
                    found.push(private.help(help));
                }
            }
        }
        found
    }

    /// Circles of listeners, each named once, from its alphabetically first member; of circles that share a member, one.
    fn circles(&self) -> Vec<Diagnostic> {
        let listens: BTreeMap<&str, &[String]> =
            self.config.broadcasters.iter().map(|(name, one)| (name.as_str(), one.listen.as_slice())).collect();
        let mut done = BTreeSet::new();
        let mut found = Vec::new();
        for start in listens.keys() {
            let Some(circle) = way_back(start, &listens) else { continue };
            if circle.iter().any(|name| !done.insert(*name)) {
                continue;
            }
            let next = circle.get(1).unwrap_or(start);
            let index = listens[start].iter().position(|stream| stream == next).unwrap_or_default();
            let pointer = format!("/broadcasters/{start}/listen/{index}");
            let message = match circle.len() {
                1 => format!("broadcaster `{start}` listens to itself"),
                _ => format!("broadcasters listen in a circle: {} → {start}", circle.join(" → ")),
            };
            let diagnostic = Diagnostic::of_value(code::CIRCLE, self.document, &pointer, message);
            found.push(diagnostic.label("closes the circle").help("an event would never end; take one `listen` away"));
        }
        found
    }

    fn addresses(&self) -> Vec<Diagnostic> {
        let server = self.config.server.listen.iter().enumerate();
        let listeners = server.map(|(index, address)| (format!("/server/listen/{index}"), address));
        let admin = ("/admin/listen".to_owned(), &self.config.admin.listen);
        let mut seen: BTreeMap<&Address, String> = BTreeMap::new();
        let mut found = Vec::new();
        for (pointer, address) in listeners.chain([admin]) {
            // Port 0 is another port every time.
            let any_port = matches!(address, Address::Tcp(tcp) if tcp.port() == 0);
            match seen.get(address).filter(|_| !any_port && self.sound("/server/listen") && self.sound("/admin/listen"))
            {
                Some(first) => {
                    let message = format!("`{address}` is listened on twice");
                    let twice = Diagnostic::of_value(code::SAME_ADDRESS, self.document, &pointer, message);
                    let note = format!("`{}` has it {}", super::document::dotted(first), self.line_of(first));
                    found.push(twice.label("taken").note(note).help("choose another port"));
                }
                None => drop(seen.insert(address, pointer)),
            }
        }
        let exposed = matches!(&self.config.admin.listen, Address::Tcp(tcp) if !tcp.ip().is_loopback());
        if exposed && self.config.admin.token.is_none() && self.sound("/admin/token") {
            let message = "`admin.listen` is open to other machines, but `admin.token` is not set";
            let open = Diagnostic::of_value(code::EXPOSED, self.document, "/admin/listen", message);
            let help = "set admin.token = \"credential:NAME\", or listen on 127.0.0.1";
            found.push(open.label("not loopback").help(help));
        }
        found
    }

    fn endpoints(&self) -> Vec<Diagnostic> {
        let endpoints = &self.config.server.endpoints;
        let listeners = &self.config.server.listen;
        let mut found = Vec::new();
        for (index, endpoint) in endpoints.iter().enumerate() {
            let at = |key: &str| format!("/server/endpoints/{index}/{key}");
            let together = |other: &&Endpoint| {
                other.listen.is_none() || endpoint.listen.is_none() || other.listen == endpoint.listen
            };
            let beside: Vec<&Endpoint> =
                endpoints[..index].iter().filter(|_| self.sound(&at("listen"))).filter(together).collect();
            if beside.iter().any(|other| other.path == endpoint.path) && self.sound(&at("path")) {
                let message = format!("the path `{}` is claimed by two endpoints of the same listener", endpoint.path);
                let same = Diagnostic::of_value(code::SAME_PATH, self.document, &at("path"), message);
                found.push(same.label("claimed before").help("choose another path, or give each its own `listen`"));
            }
            if let Some(address) =
                endpoint.listen.as_ref().filter(|one| !listeners.contains(one) && self.sound("/server/listen"))
            {
                let message = format!("the endpoint's `listen` is `{address}`, but `server.listen` does not have it");
                let lost = Diagnostic::of_value(code::UNKNOWN_LISTENER, self.document, &at("listen"), message);
                found.push(lost.label("nobody listens there").help("add it to `server.listen`"));
            }
            found.extend(self.served_streams(endpoint, &at("streams")));
            found.extend(self.aliases(endpoint, &at("aliases")));
            found.extend(self.unclear_aliases(endpoint, &beside, &at("aliases")));
        }
        found
    }

    /// The streams that an endpoint offers exist.
    fn served_streams(&self, endpoint: &Endpoint, pointer: &str) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for (nth, stream) in endpoint.streams.iter().enumerate().filter(|(_, stream)| *stream != "*") {
            let message = format!("the endpoint `{}` offers `{stream}`, which nobody declares", endpoint.path);
            let help = "name a stream or broadcaster, or \"*\" for all";
            found.extend(self.unknown_stream((&format!("{pointer}/{nth}"), stream), message, help));
        }
        found
    }

    /// What clients call a stream beside its name leads to a stream, and hides none.
    fn aliases(&self, endpoint: &Endpoint, pointer: &str) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for (alias, stream) in &endpoint.aliases {
            let pointer = pointer_to(pointer, alias);
            if self.streams().any(|known| known == alias) {
                let message = format!("the alias `{alias}` of the endpoint `{}` hides a stream", endpoint.path);
                let hides = Diagnostic::of_key(code::SHADOWED_STREAM, self.document, &pointer, message);
                found.push(hides.label("a stream has this name").help("choose another alias, or take it away"));
            }
            let message = format!("the alias `{alias}` stands for `{stream}`, which nobody declares");
            found.extend(self.unknown_stream((&pointer, stream), message, "name a stream or broadcaster"));
        }
        found
    }

    /// What is asked of a listener by plain requests belongs to no endpoint, and so an alias stands for one stream there.
    fn unclear_aliases(&self, endpoint: &Endpoint, beside: &[&Endpoint], pointer: &str) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for (alias, stream) in &endpoint.aliases {
            let has_another = |other: &&&Endpoint| other.aliases.get(alias).is_some_and(|meant| meant != stream);
            let Some(other) = beside.iter().find(has_another) else { continue };
            let (meant, there) = (&other.aliases[alias], &other.path);
            let message = format!("the alias `{alias}` stands for `{stream}` here, and for `{meant}` at `{there}`");
            let pointer = pointer_to(pointer, alias);
            let unclear = Diagnostic::of_key(code::UNCLEAR_ALIAS, self.document, &pointer, message);
            let help = "choose another alias, or give each endpoint its own `listen`";
            found.push(unclear.label("two meanings on one listener").help(help));
        }
        found
    }

    fn unknown_stream(&self, (pointer, stream): (&str, &str), message: String, help: &str) -> Option<Diagnostic> {
        if self.streams().any(|known| known == stream) {
            return None;
        }
        let unknown = Diagnostic::of_value(code::UNKNOWN_STREAM, self.document, pointer, message);
        let unknown = unknown.label("no such stream");
        Some(match nearest(stream, self.streams()) {
            Some(near) => unknown.suggest("did you mean this?", format!("\"{near}\"")),
            None => unknown.help(help),
        })
    }

    /// The names of all streams that there can be.
    fn streams(&self) -> impl Iterator<Item = &str> {
        self.keys("/streams").chain(self.keys("/broadcasters")).chain(RESERVED)
    }

    /// Settings whose text or relation has a rule of its own.
    fn values(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let ping = &self.config.hub.ping;
        if ping.drop_after <= ping.every && self.sound("/hub/ping") {
            let message = format!(
                "`hub.ping.drop_after` ({}) must be longer than `hub.ping.every` ({})",
                ping.drop_after, ping.every
            );
            let pointer = if self.document.value("/hub/ping/drop_after").is_some() { "drop_after" } else { "every" };
            let pointer = format!("/hub/ping/{pointer}");
            let short = Diagnostic::of_value(code::OUT_OF_RANGE, self.document, &pointer, message);
            found.push(short.label("every client would be dropped before it could answer"));
        }
        for part in self.config.log.level.split(',').map(str::trim) {
            let (name, level) = part.split_once('=').map_or((None, part), |(name, level)| (Some(name), level));
            if !LEVELS.contains(&level) || name.is_some_and(str::is_empty) {
                let message = format!("`log.level` cannot contain {part:?}");
                let wrong = Diagnostic::of_value(code::WRONG_FORMAT, self.document, "/log/level", message);
                let near =
                    nearest(level, LEVELS).filter(|near| *near != level).map(|near| format!("did you mean `{near}`?"));
                let rule =
                    "a level is off, error, warn, info, debug or trace; with a broadcaster's name: \"info,bars=debug\"";
                found.push(near.into_iter().fold(wrong.label("not understood").help(rule), Diagnostic::help));
            }
        }
        found
    }

    fn keys(&self, section: &str) -> impl Iterator<Item = &str> {
        let table = self.document.value(section).and_then(Value::as_object);
        table.into_iter().flat_map(Map::keys).map(String::as_str)
    }

    /// Where a setting stands, in words.
    fn line_of(&self, pointer: &str) -> String {
        let here = self.document.value(pointer).and(self.document.at_value(pointer).span);
        match here {
            Some(span) => {
                let Position { file, line, .. } = self.document.layers().position(span.start);
                if file == self.document.layers().name() {
                    format!("on line {line}")
                } else {
                    format!("at {file}:{line}")
                }
            }
            None => "by default".to_owned(),
        }
    }
}

/// Whether a name may be that of a stream or broadcaster.
pub fn is_name(name: &str) -> bool {
    let letters = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    letters && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.len() <= LONGEST_NAME
}

/// The shortest way from `start` through what is listened to back to `start`.
fn way_back<'a>(start: &'a str, listens: &BTreeMap<&'a str, &'a [String]>) -> Option<Vec<&'a str>> {
    let mut ways = std::collections::VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        let last = way.last()?;
        for next in listens.get(last).copied().unwrap_or_default() {
            if next == start {
                return Some(way);
            }
            if seen.insert(next.as_str()) {
                ways.push_back(way.iter().copied().chain([next.as_str()]).collect());
            }
        }
    }
    None
}
