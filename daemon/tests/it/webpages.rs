//! Web pages at every door of the client listeners: which may come, what their browsers are told, and by which names.

use std::io::{BufRead as _, BufReader, Write as _};

use broadcastd::dialect::Dialect;
use broadcastd::server::pages::Rules;
use broadcastd::server::proxies::Proxies;
use broadcastd::server::{Config, EndpointConfig};
use broadcastd::shard::inbox::Endpoint;
use libtest_mimic::Trial;

use crate::house::{self, House};
use crate::http::{self, Answer, ask, request};
use crate::needs;

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

fn config() -> Config {
    let pages = Rules { origins: vec![HEARS.into()], cors: vec![ACTS.into()], has_cookie: false };
    let mut config = Config { pages, ..house::config() };
    config.endpoints.push(EndpointConfig { listen: None, endpoint: Endpoint::open("/v1/sse", Dialect::Sse) });
    config
}

fn house(config: Config) -> House {
    House::with(config, house::shard_config())
}

/// The head of the answer alone: what follows may never end.
fn head(house: &House, line: &str, headers: &[(&str, &str)]) -> Answer {
    let mut socket = http::connect(&house.address());
    socket.write_all(&request(&house.address(), line, headers, b"{}")).unwrap();
    let lines = BufReader::new(socket).lines().map(Result::unwrap).take_while(|line| !line.is_empty());
    let head = lines.collect::<Vec<_>>().join("\n");
    Answer { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head, body: String::new() }
}

fn from(house: &House, line: &str, origin: &str) -> Answer {
    head(house, line, &[("Origin", origin), ("Content-Type", "application/json")])
}

fn every_door_lets_the_same_pages_in() {
    let house = house(config());
    for line in LISTENING {
        let is_refused = |origin| from(&house, line, origin).status == 403;
        assert_eq!([HEARS, ACTS, LOCAL, OTHER, "null"].map(is_refused), [false, false, false, true, true], "{line}");
    }
    let sockets = [HEARS, ACTS, LOCAL, OTHER].map(|origin| house.try_connect(&[("Origin", origin)]).is_ok());
    assert_eq!(sockets, [true, true, true, false]);
    for line in [PUBLISH, COMMAND] {
        // Nobody has a token: 401 is as far as a page comes here.
        let status = |origin| from(&house, line, origin).status;
        assert_eq!([ACTS, HEARS, LOCAL, OTHER, "null"].map(status), [401, 403, 403, 403, 403], "{line}");
        let own = format!("http://{}", house.address());
        assert_eq!((status(&own), head(&house, line, &[]).status), (401, 401), "its own page, and a program");
    }
}

fn a_page_that_does_not_ask_first_is_refused_all_the_same() {
    let house = house(config());
    for (line, content_type) in [(PUBLISH, "text/plain"), (COMMAND, "text/plain"), (PUBLISH, ""), (COMMAND, "")] {
        let headers = [("Origin", OTHER), ("Content-Type", content_type), ("Authorization", "Bearer any")];
        let refused = ask(&house.address(), line, &headers, b"{}");
        assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (403, Some("origin_refused")), "{line}");
    }
    let message = ask(&house.address(), PUBLISH, &[("Origin", HEARS)], b"{}").json()["error"]["message"].clone();
    assert_eq!(
        message,
        "pages of origin https://hears.example may not publish or give commands over HTTP; add it to server.cors in the configuration to allow it"
    );
}

fn browsers_are_told_which_page_may_see_an_answer() {
    let house = house(config());
    let told = |answer: &Answer| {
        let header = |name: &str| answer.header(&format!("access-control-allow-{name}")).map(str::to_owned);
        assert_eq!(answer.header("vary"), Some("Origin"), "{}", answer.head);
        (header("origin"), header("credentials").is_some())
    };
    for line in LISTENING {
        for (origin, with_cookies) in [(HEARS, true), (ACTS, true), (LOCAL, false)] {
            assert_eq!(told(&from(&house, line, origin)), (Some(origin.to_owned()), with_cookies), "{line}");
        }
        assert_eq!(told(&from(&house, line, OTHER)), (None, false), "{line}");
        assert_eq!(told(&head(&house, line, &[])), (None, false), "{line}");
    }
    let first = |path: &str, method: &str, origin: &str| {
        let headers = [("Origin", origin), ("Access-Control-Request-Method", method)];
        head(&house, &format!("OPTIONS {path} HTTP/1.1"), &headers).status
    };
    for (path, method) in [("/v1/streams", "GET"), ("/v1/sse?topic=ticks", "GET"), ("/v1/log", "POST")] {
        assert_eq!([HEARS, ACTS, OTHER].map(|origin| first(path, method, origin)), [204, 204, 403], "{path}");
    }
    let publish = [HEARS, ACTS, OTHER].map(|origin| first("/v1/streams/ticks/publish", "POST", origin));
    assert_eq!(publish, [403, 204, 403]);
}

fn pages_of_this_machine_are_named_where_a_cookie_bears_the_token() {
    let with_cookie = |origins: Vec<String>| {
        let pages = Rules { origins, has_cookie: true, ..Rules::default() };
        Config { pages, cookie: Some("token".into()), ..config() }
    };
    let house = house(with_cookie(vec![]));
    let may = |house: &House| (house.try_connect(&[("Origin", LOCAL)]).is_ok(), from(house, EVENTS, LOCAL).status);
    assert_eq!(may(&house), (false, 403));
    house.server.commit(house.server.prepare(with_cookie(vec![LOCAL.into()])).unwrap());
    assert_eq!(may(&house), (true, 200));
}

fn a_page_that_points_its_name_to_this_machine_is_shown_nothing() {
    let house = house(config());
    let evil = format!("evil.example:{}", house.address().rsplit_once(':').unwrap().1);
    let own = format!("http://{evil}");
    for line in LISTENING.into_iter().chain([PUBLISH, COMMAND]) {
        // The browser takes the page for the listener's own, and so may leave the origin out.
        for headers in [&[("Host", &*evil)][..], &[("Host", &*evil), ("Origin", &*own)]] {
            assert_eq!(head(&house, line, headers).status, 421, "{line} {headers:?}");
        }
    }
    let misled = ask(&house.address(), LISTENING[0], &[("Host", &evil)], b"");
    assert_eq!(misled.json()["error"]["code"], "foreign_host");
    for name in ["localhost", "LocalHost:1", "127.0.0.1", "[::1]:9"] {
        assert_eq!(head(&house, LISTENING[0], &[("Host", name)]).status, 200, "{name}");
    }
}

fn proxies_and_given_names_are_let_through() {
    let status = |config: Config, host: &str| head(&house(config), LISTENING[0], &[("Host", host)]).status;
    let named = || Config { hosts: vec!["push.example".into()], ..config() };
    assert_eq!(status(named(), "push.example"), 200);
    assert_eq!(status(named(), "evil.example"), 421);
    let trusted = |network: &str| Proxies { trusted: vec![network.parse().unwrap()], begin: false };
    let behind = |network| Config { proxies: trusted(network), ..config() };
    assert_eq!(status(behind("127.0.0.1"), "push.example"), 200, "what a proxy passes on");
    let named_behind = |host| status(Config { hosts: named().hosts, ..behind("127.0.0.1") }, host);
    assert_eq!(["push.example", "localhost", "evil.example"].map(named_behind), [200, 200, 421], "by given names only");
    assert_eq!(status(behind("192.0.2.1"), "push.example"), 421, "another's");
    let everywhere = |config: Config| Config { listen: vec!["0.0.0.0:0".into()], ..config };
    let asked = |config: Config| {
        let house = house(everywhere(config));
        let port = house.address().rsplit_once(':').unwrap().1.to_owned();
        ask(&format!("127.0.0.1:{port}"), LISTENING[0], &[("Host", "any.example")], b"").status
    };
    assert_eq!((asked(config()), asked(named())), (200, 421), "other listeners have any name until some are given");
}
