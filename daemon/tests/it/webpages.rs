//! Web pages at every door of the client listeners: which may come, what their browsers are told, and by which names.

use std::io::{BufRead as _, BufReader, Write as _};

use libtest_mimic::Trial;

use crate::house;
use crate::http::{self, Answer, ask, request};
use crate::needs;
use crate::process::{Daemon, PORTS};
use crate::proxies::{HOSTS, LISTEN, TRUSTED};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(every_door_lets_the_same_pages_in),
        needs::nothing(a_page_that_does_not_ask_first_is_refused_all_the_same),
        needs::nothing(browsers_are_told_which_page_may_see_an_answer),
        needs::nothing(pages_of_this_machine_are_named_where_a_cookie_bears_the_token),
        needs::nothing(a_page_that_points_its_name_to_this_machine_is_shown_nothing),
        needs::nothing(proxies_and_given_names_are_let_through),
    ]
}

const HEARS: &str = "https://hears.example";
const ACTS: &str = "https://acts.example";
const OTHER: &str = "https://other.example";
const LOCAL: &str = "http://localhost:3000";
const PUBLISH: &str = "POST /v1/streams/ticks/publish HTTP/1.1";
const COMMAND: &str = "POST /v1/broadcasters/bars/commands/poke HTTP/1.1";
const EVENTS: &str = "GET /v1/sse?topic=ticks HTTP/1.1";
const LISTENING: [&str; 6] = [
    "GET /v1/streams HTTP/1.1",
    "GET /v1/streams/ticks/history HTTP/1.1",
    "GET /v1/asyncapi.json HTTP/1.1",
    "GET /v1/openapi.json HTTP/1.1",
    "POST /v1/log HTTP/1.1",
    EVENTS,
];

const TICKS: &str = "[streams.ticks]\nvisible = true\n";
const PAGES: [(&str, &str); 2] = [("BROADCASTD_SERVER__ORIGINS", HEARS), ("BROADCASTD_SERVER__CORS", ACTS)];

fn daemon(more: &[(&str, &str)]) -> Daemon {
    Daemon::start_with(TICKS, &[&PAGES, more].concat())
}

fn connects(daemon: &Daemon, origin: &str) -> bool {
    house::connect(&daemon.clients, &[("Origin", origin)]).is_ok()
}

/// The head of the answer alone: what follows may never end.
fn head(daemon: &Daemon, line: &str, headers: &[(&str, &str)]) -> Answer {
    let mut socket = http::connect(&daemon.clients);
    socket.write_all(&request(&daemon.clients, line, headers, b"{}")).unwrap();
    let lines = BufReader::new(socket).lines().map(Result::unwrap).take_while(|line| !line.is_empty());
    let head = lines.collect::<Vec<_>>().join("\n");
    Answer { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head, body: String::new() }
}

fn from(daemon: &Daemon, line: &str, origin: &str) -> Answer {
    head(daemon, line, &[("Origin", origin), ("Content-Type", "application/json")])
}

fn every_door_lets_the_same_pages_in() {
    let daemon = daemon(&[]);
    for line in LISTENING {
        let is_refused = |origin| from(&daemon, line, origin).status == 403;
        assert_eq!([HEARS, ACTS, LOCAL, OTHER, "null"].map(is_refused), [false, false, false, true, true], "{line}");
    }
    assert_eq!([HEARS, ACTS, LOCAL, OTHER].map(|origin| connects(&daemon, origin)), [true, true, true, false]);
    for line in [PUBLISH, COMMAND] {
        // Nobody has a token: 401 is as far as a page comes here.
        let status = |origin| from(&daemon, line, origin).status;
        assert_eq!([ACTS, HEARS, LOCAL, OTHER, "null"].map(status), [401, 403, 403, 403, 403], "{line}");
        let own = format!("http://{}", daemon.clients);
        assert_eq!((status(&own), head(&daemon, line, &[]).status), (401, 401), "its own page, and a program");
    }
}

fn a_page_that_does_not_ask_first_is_refused_all_the_same() {
    let daemon = daemon(&[]);
    for (line, content_type) in [(PUBLISH, "text/plain"), (COMMAND, "text/plain"), (PUBLISH, ""), (COMMAND, "")] {
        let headers = [("Origin", OTHER), ("Content-Type", content_type), ("Authorization", "Bearer any")];
        let refused = ask(&daemon.clients, line, &headers, b"{}");
        assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (403, Some("origin_refused")), "{line}");
    }
    let message = ask(&daemon.clients, PUBLISH, &[("Origin", HEARS)], b"{}").json()["error"]["message"].clone();
    assert_eq!(
        message,
        "pages of origin https://hears.example may not publish or give commands over HTTP; add it to server.cors in the configuration to allow it"
    );
}

fn browsers_are_told_which_page_may_see_an_answer() {
    let daemon = daemon(&[]);
    let told = |answer: &Answer| {
        let header = |name: &str| answer.header(&format!("access-control-allow-{name}")).map(str::to_owned);
        assert_eq!(answer.header("vary"), Some("Origin"), "{}", answer.head);
        (header("origin"), header("credentials").is_some())
    };
    for line in LISTENING {
        for (origin, with_cookies) in [(HEARS, true), (ACTS, true), (LOCAL, false)] {
            assert_eq!(told(&from(&daemon, line, origin)), (Some(origin.to_owned()), with_cookies), "{line}");
        }
        assert_eq!(told(&from(&daemon, line, OTHER)), (None, false), "{line}");
        assert_eq!(told(&head(&daemon, line, &[])), (None, false), "{line}");
    }
    let first = |path: &str, method: &str, origin: &str| {
        let headers = [("Origin", origin), ("Access-Control-Request-Method", method)];
        head(&daemon, &format!("OPTIONS {path} HTTP/1.1"), &headers).status
    };
    for (path, method) in [("/v1/streams", "GET"), ("/v1/sse?topic=ticks", "GET"), ("/v1/log", "POST")] {
        assert_eq!([HEARS, ACTS, OTHER].map(|origin| first(path, method, origin)), [204, 204, 403], "{path}");
    }
    let publish = [HEARS, ACTS, OTHER].map(|origin| first("/v1/streams/ticks/publish", "POST", origin));
    assert_eq!(publish, [403, 204, 403]);
}

fn pages_of_this_machine_are_named_where_a_cookie_bears_the_token() {
    let config = |origins: &[&str]| {
        let ports = PORTS.replace("[admin]", &format!("origins = {origins:?}\n[admin]"));
        format!("{ports}{TICKS}[auth]\ncookie = \"token\"\n")
    };
    let daemon = Daemon::start(TICKS);
    let may = || (connects(&daemon, LOCAL), from(&daemon, EVENTS, LOCAL).status);
    assert_eq!(may(), (true, 200));
    daemon.reload(|| daemon.configure_whole(&config(&[])));
    assert_eq!(may(), (false, 403));
    daemon.reload(|| daemon.configure_whole(&config(&[LOCAL])));
    assert_eq!(may(), (true, 200));
}

fn a_page_that_points_its_name_to_this_machine_is_shown_nothing() {
    let daemon = daemon(&[]);
    let evil = format!("evil.example:{}", daemon.clients.rsplit_once(':').unwrap().1);
    let own = format!("http://{evil}");
    for line in LISTENING.into_iter().chain([PUBLISH, COMMAND]) {
        // The browser takes the page for the listener's own, and so may leave the origin out.
        for headers in [&[("Host", &*evil)][..], &[("Host", &*evil), ("Origin", &*own)]] {
            assert_eq!(head(&daemon, line, headers).status, 421, "{line} {headers:?}");
        }
    }
    let misled = ask(&daemon.clients, LISTENING[0], &[("Host", &evil)], b"");
    assert_eq!(misled.json()["error"]["code"], "foreign_host");
    for name in ["localhost", "LocalHost:1", "127.0.0.1", "[::1]:9"] {
        assert_eq!(head(&daemon, LISTENING[0], &[("Host", name)]).status, 200, "{name}");
    }
}

fn proxies_and_given_names_are_let_through() {
    let named = (HOSTS, "push.example");
    let (behind, elsewhere) = ((TRUSTED, "127.0.0.1"), (TRUSTED, "192.0.2.1"));
    let everywhere = (LISTEN, "0.0.0.0:0");
    let names = ["push.example", "localhost", "evil.example"];
    for (more, expected) in [
        (&[named][..], [200, 200, 421]),
        (&[behind], [200, 200, 200]),        // what a proxy passes on
        (&[named, behind], [200, 200, 421]), // by given names only
        (&[elsewhere], [421, 200, 421]),     // another's
        (&[everywhere], [200, 200, 200]),    // other listeners have any name until some are given
        (&[everywhere, named], [200, 200, 421]),
    ] {
        let daemon = daemon(more);
        let address = daemon.clients.replace("0.0.0.0", "127.0.0.1");
        let status = |name| ask(&address, LISTENING[0], &[("Host", name)], b"").status;
        assert_eq!(names.map(status), expected, "{more:?}");
    }
}
