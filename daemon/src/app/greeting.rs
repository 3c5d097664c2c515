//! What the daemon says when it serves: five lines, the last thing before it is silent.

use super::App;
use crate::config::schema::Dialect;

impl App {
    /// What to open, and a client to paste.
    pub fn greeting(&self) -> String {
        let config = match &self.around.file {
            Some(file) if self.house.is_stand_in() => format!("the last good {}", file.display()),
            Some(file) => file.display().to_string(),
            None => "the shipped configuration".to_owned(),
        };
        let streams = self.hub.streams();
        let visible = streams.iter().filter(|stream| stream.settings().visible && !stream.settings().private);
        let names: Vec<&str> = visible.map(|stream| &**stream.name()).collect();
        let address = self.server.addresses().into_iter().next().unwrap_or_default();
        let secured = if self.config.server.tls.is_some() { "s" } else { "" };
        let endpoint = self.config.server.endpoints.first();
        let (path, dialect) = endpoint.map_or(("/v1/ws", Dialect::Native), |one| (&one.path, one.dialect));
        let admin = self.admin.address();
        // One that is silent until somebody publishes elsewhere would be a poor first impression.
        let speaks = |name: &&str| self.config.broadcasters.get(*name).is_some_and(|one| one.listen.is_empty());
        let is_served =
            |name: &&str| endpoint.is_none_or(|one| one.streams.iter().any(|all| all == "*" || all == name));
        let served = || names.iter().copied().filter(is_served);
        let stream = served().find(speaks).or(served().next()).unwrap_or("bars");
        format!(
            "broadcastd {version} runs with {config}\n  \
             clients   ws{secured}://{address}{path}   streams: {names}\n  \
             operator  http://{admin}/  http://{admin}/readyz  http://{admin}/metrics\n  \
             try       {line}\n  \
             reload    save the configuration file; stop with Ctrl-C",
            version = env!("CARGO_PKG_VERSION"),
            names = names.join(", "),
            line = to_paste(dialect, &format!("{secured}://{address}{path}"), stream),
        )
    }
}

/// A client on a command line, which hears the stream where its dialect can name it. The URL lacks its first letters.
fn to_paste(dialect: Dialect, url: &str, stream: &str) -> String {
    let says = match dialect {
        Dialect::Sse => return format!("curl -N 'http{url}?topic={stream}'"),
        Dialect::User => return format!("npx wscat -c 'ws{url}?token=TOKEN' -w 60"),
        Dialect::Native | Dialect::Streams => format!(r#"{{"type":"subscribe","stream":"{stream}"}}"#),
        Dialect::Spc => r#"{"type":"subscribe","characteristic_ids":[1]}"#.to_owned(),
        Dialect::Fastws => format!(r#"{{"type":"{stream}.subscribe","payload":{{"symbol":"AAPL"}}}}"#),
    };
    format!("npx wscat -c ws{url} -w 60 -x '{says}'")
}
