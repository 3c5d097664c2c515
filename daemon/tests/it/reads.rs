//! Streams read with plain requests: what the answers are, who gets them, and what hostile ones are told.

use std::collections::BTreeSet;

use broadcastd::event::{Draft, Flags, unix_now};
use broadcastd::server::routes::table::TABLE;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::house::{self, House};
use crate::http::{Answer, ask, get, post};
use crate::needs;
use crate::process::{Daemon, PORTS};
use crate::raw::UPGRADE;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(a_stream_and_its_records_and_events_are_read),
        needs::nothing(a_history_is_read_page_by_page_while_it_grows),
        needs::nothing(a_position_that_cannot_be_gone_on_from_is_told_why),
        needs::nothing(a_record_that_changed_unseen_cannot_be_gone_on_from),
        needs::nothing(a_hidden_stream_is_answered_as_an_unknown_one),
        needs::nothing(a_private_stream_wants_a_token_and_shows_nothing_without),
        needs::nothing(an_endpoint_that_requires_a_token_shows_nothing_without),
        needs::nothing(plain_requests_show_what_the_endpoints_of_the_listener_show),
        needs::nothing(operators_read_private_logs_by_name_only_and_that_is_noted),
        needs::nothing(no_door_shows_what_is_private_to_who_is_merely_near),
        needs::nothing(a_token_shows_its_own_log_and_what_it_grants_and_no_more),
        needs::nothing(hostile_parameters_are_refused_and_harm_nobody),
        needs::nothing(a_path_that_is_no_text_is_refused_by_every_route),
        needs::nothing(pages_of_foreign_origins_read_nothing),
        needs::nothing(a_long_list_of_topics_is_cut),
    ]
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["error"]["code"].as_str().unwrap().to_owned())
}

fn message(answer: &Answer) -> String {
    answer.json()["error"]["message"].as_str().unwrap().to_owned()
}

fn seqs(page: &Value) -> Vec<u64> {
    page["events"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect()
}

/// With the streams `ticks` (outside programs) and `bars` (a broadcaster that does not run).
const STREAMS: &str = "[streams.ticks]\nvisible = true\n[broadcasters.bars]\nplugin = \"faulty\"\nenabled = false\n";

fn publish(daemon: &Daemon, stream: &str, events: &Value) {
    let answer = daemon.publish(stream, events);
    assert_eq!(answer.status, 202, "{answer:?}");
}

fn tick(topic: &str) -> Value {
    json!({"type": "tick", "topic": format!("ticks:{topic}")})
}

/// The epoch of a stream.
fn epoch(daemon: &Daemon, stream: &str) -> String {
    daemon.get(&format!("/v1/streams/{stream}")).json()["position"]["epoch"].as_str().unwrap().to_owned()
}

fn a_stream_and_its_records_and_events_are_read() {
    let daemon = Daemon::start(STREAMS);
    let priced = |topic: &str, price: u32| json!({"type": "tick", "topic": format!("ticks:{topic}"), "key": "last", "data": {"price": price}});
    publish(&daemon, "ticks", &json!([priced("AAPL", 1), priced("GOOG", 2), priced("AAPL", 3)]));
    let read = |path: &str| get(&daemon.clients, path);
    let epoch = epoch(&daemon, "ticks");
    let body = |path: &str| {
        let answer = read(path);
        assert_eq!(answer.status, 200, "{answer:?}");
        house::without_time(&answer.body).replace(&epoch, "e1")
    };
    let described = read("/v1/streams/ticks").json();
    assert_eq!(described["history"]["bytes"].as_u64().map(|bytes| bytes > 0), Some(true));
    assert_eq!(
        (&described["position"], &described["topic_names"], &described["more_topics"]),
        (&json!({"epoch": epoch, "seq": 3}), &json!(["ticks:AAPL", "ticks:GOOG"]), &json!(false))
    );
    let listed = read("/v1/streams").json();
    let names: Vec<&str> = listed["streams"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["bars", "ticks"]);
    assert_eq!(
        (&listed["streams"][0]["source"], &listed["streams"][0]["reason"]),
        (&json!("absent"), &json!("the broadcaster is disabled"))
    );
    assert_eq!(
        body("/v1/streams/ticks/snapshot"),
        r#"{"type":"full_update","stream":"ticks","session_id":null,"data":{"records":[{"price":3},{"price":2}]},"timestamp":"…","seq":3,"epoch":"e1","topic":"ticks"}"#
    );
    assert_eq!(
        body("/v1/streams/ticks/snapshot?topic=ticks:GOOG&topic=ticks:*:1"),
        r#"{"type":"full_update","stream":"ticks","session_id":null,"data":{"records":[{"price":2}]},"timestamp":"…","seq":3,"epoch":"e1","topics":["ticks:*:1","ticks:GOOG"]}"#
    );
    assert_eq!(
        body(&format!("/v1/streams/ticks/history?topic=ticks:GOOG&since={epoch}:0")),
        r#"{"stream":"ticks","position":{"epoch":"e1","seq":3},"since":"e1:3","more":false,"events":[{"type":"tick","stream":"ticks","session_id":null,"data":{"price":2},"timestamp":"…","seq":2,"topic":"ticks:GOOG"}]}"#
    );
    let snapshot = read("/v1/streams/ticks/snapshot");
    assert_eq!(
        (snapshot.header("content-type"), snapshot.header("cache-control")),
        (Some("application/json"), Some("no-store"))
    );
    let wrong = post(&daemon.clients, "/v1/streams/ticks/history", "application/json", b"{}");
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET, HEAD")));
}

fn a_history_is_read_page_by_page_while_it_grows() {
    const EVENTS: u64 = 140;
    let daemon = Daemon::start(STREAMS);
    let event = |number: u64| tick(if number.is_multiple_of(2) { "even" } else { "odd" });
    publish(&daemon, "ticks", &(1..=EVENTS / 2).map(event).collect());
    let epoch = epoch(&daemon, "ticks");
    let (mut since, mut seen, mut published) = (format!("{epoch}:0"), Vec::new(), EVENTS / 2);
    loop {
        let page =
            get(&daemon.clients, &format!("/v1/streams/ticks/history?topic=ticks:even&since={since}&limit=7")).json();
        let events = seqs(&page);
        assert!(events.len() == 7 || page["more"] == json!(false), "{page}");
        seen.extend(events);
        since = page["since"].as_str().unwrap().to_owned();
        if published < EVENTS {
            let next = (published + 10).min(EVENTS);
            publish(&daemon, "ticks", &(published + 1..=next).map(event).collect());
            published = next;
        } else if page["more"] == json!(false) {
            break;
        }
    }
    assert_eq!(seen, (2..=EVENTS).step_by(2).collect::<Vec<_>>(), "each once, in order, none left out");
    assert_eq!(since, format!("{epoch}:{EVENTS}"));
    let latest = get(&daemon.clients, "/v1/streams/ticks/history").json();
    assert_eq!((seqs(&latest).len(), &latest["more"]), (100, &json!(true)), "a page is as long as the default says");
    assert_eq!(seqs(&get(&daemon.clients, "/v1/streams/ticks/history?limit=1000").json()).len(), EVENTS as usize);
}

fn a_position_that_cannot_be_gone_on_from_is_told_why() {
    let daemon = Daemon::start("[streams.ticks]\nvisible = true\nhistory = { events = 3 }\n");
    publish(&daemon, "ticks", &["A", "A", "A", "A", "A", "quiet"].map(tick).into_iter().collect());
    let epoch = epoch(&daemon, "ticks");
    let read =
        |query: &str| get(&daemon.clients, &format!("/v1/streams/ticks/history?{}", query.replace("e1", &epoch)));
    assert_eq!(seqs(&read("since=e1:3").json()), [4, 5, 6], "the edge of what is kept");
    let gone = read("since=e1:2");
    assert_eq!(code(&gone), (410, "history_gone".to_owned()));
    assert_eq!(
        message(&gone).replace(&epoch, "e1"),
        "something behind \"since\" is no longer in the history; take a snapshot, and go on from its position (the stream is at e1:6)"
    );
    assert_eq!(seqs(&read("since=e1:2&topic=ticks:quiet").json()), [6], "nothing of this topic is gone");
    assert_eq!(code(&read("since=other:3")), (410, "other_epoch".to_owned()));
    assert_eq!(seqs(&read("since=e1:6").json()), [] as [u64; 0]);
    assert_eq!(code(&read("since=e1:7")), (409, "future_position".to_owned()));
    assert_eq!(seqs(&read("").json()), [4, 5, 6], "without a position from the oldest");
}

/// Only a broadcaster refreshes records in silence, and none here does so on demand: the stream is this process's.
fn a_record_that_changed_unseen_cannot_be_gone_on_from() {
    let house = House::start();
    house.publish("ticks", "quiet", "{}");
    let draft = Draft { kind: "t", topic: "quiet", key: "k", payload: b"{}", ..Draft::default() };
    house.hub.stream("ticks").unwrap().publish(&Draft { flags: Flags::RECORD_ONLY, ..draft }, None).unwrap();
    let read =
        |since: u64| get(&house.address(), &format!("/v1/streams/ticks/history?topic=ticks:quiet&since=e1:{since}"));
    assert_eq!(code(&read(1)), (410, "history_gone".to_owned()));
    assert_eq!(read(2).status, 200);
}

fn a_hidden_stream_is_answered_as_an_unknown_one() {
    let daemon = Daemon::start(&format!("{STREAMS}[streams.secret]\nvisible = false\n"));
    publish(&daemon, "secret", &json!({"type": "tick", "topic": "secret:A", "data": {"hidden": 1}}));
    for path in ["", "/snapshot", "/history", "/history?since=x", "/snapshot?topic=%00", "?nonsense=1"] {
        let hidden = get(&daemon.clients, &format!("/v1/streams/secret{path}"));
        let unknown = get(&daemon.clients, &format!("/v1/streams/nobody{path}"));
        assert_eq!(hidden.status, 404, "{path}");
        assert_eq!(hidden.body.replace("secret", "nobody"), unknown.body, "{path}");
        let masked = |answer: &Answer| answer.head.replace(&answer.header("date").unwrap_or_default().to_owned(), "");
        assert_eq!(masked(&hidden), masked(&unknown), "{path}");
    }
    assert_eq!(
        message(&get(&daemon.clients, "/v1/streams/secret")),
        r#"unknown stream "secret"; valid streams: bars, ticks"#
    );
    assert!(!get(&daemon.clients, "/v1/streams").body.contains("secret"));
    assert_eq!(seqs(&daemon.get("/v1/streams/secret/history").json()), [1], "operators read it");
}

fn a_private_stream_wants_a_token_and_shows_nothing_without() {
    let daemon = Daemon::start(&format!("{STREAMS}{MAIL}"));
    publish(&daemon, "mail", &json!({"type": "m", "audience": "user-1", "data": {"for": "user-1"}}));
    for path in ["", "/snapshot", "/history", "/history?audience=user-1", "/snapshot?topic=mail"] {
        let refused = get(&daemon.clients, &format!("/v1/streams/mail{path}"));
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")), "{path}");
        assert!(!refused.body.contains("user-1"), "{}", refused.body);
    }
    assert!(!get(&daemon.clients, "/v1/streams").body.contains("mail"));
    let shown = [("Authorization", "Bearer nonsense")];
    for path in ["/v1/streams", "/v1/streams/ticks", "/v1/streams/ticks/history"] {
        let refused = ask(&daemon.clients, &format!("GET {path} HTTP/1.1"), &shown, b"");
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")), "{path}");
    }
    assert_eq!(daemon.get("/v1/streams/mail").json()["topics"], 1, "asking makes no log");
}

fn an_endpoint_that_requires_a_token_shows_nothing_without() {
    const CLOSED: &str = "[[server.endpoints]]\npath = \"/v1/ws\"\nauth = \"required\"\n";
    const OPEN: &str = "[[server.endpoints]]\npath = \"/open\"\nauth = \"none\"\nstreams = [\"bars\"]\n";
    let streams = format!("{STREAMS}[auth]\njwt = {{ secret = {{ env = \"SIGNED_WITH\" }} }}\n");
    let daemon = Daemon::start_with(&format!("{CLOSED}{streams}"), &[("SIGNED_WITH", SECRET)]);
    for path in ["/v1/streams", "/v1/streams/ticks", "/v1/streams/nobody", "/v1/streams/ticks/snapshot"] {
        let refused = get(&daemon.clients, path);
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")), "{path}");
    }
    daemon.reload(|| daemon.configure(&format!("{CLOSED}{OPEN}{streams}")));
    assert_eq!(get(&daemon.clients, "/v1/streams/bars").status, 200);
    assert_eq!(message(&get(&daemon.clients, "/v1/streams/ticks")), r#"unknown stream "ticks"; valid streams: bars"#);
}

fn plain_requests_show_what_the_endpoints_of_the_listener_show() {
    let daemon = Daemon::start(STREAMS);
    daemon.reload(|| {
        let listen = "[server]\nlisten = [\"127.0.0.1:0\", \"127.0.0.2:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n";
        let endpoint = |listen: &str, streams: &str| {
            format!("[[server.endpoints]]\npath = \"/v1/ws\"\nlisten = \"{listen}\"\nstreams = {streams}\n")
        };
        let endpoints = endpoint("127.0.0.2:0", "[\"*\"]") + &endpoint("127.0.0.1:0", "[\"ticks\"]");
        daemon.configure_whole(&format!("{listen}{endpoints}{STREAMS}"));
    });
    let addresses: Vec<String> = serde_json::from_value(daemon.get("/v1/status").json()["listen"].take()).unwrap();
    let told = addresses.iter().map(|address| {
        let mut client = house::connect(address, &[]).unwrap();
        house::say(&mut client, r#"{"type":"streams"}"#);
        let heard: BTreeSet<String> =
            serde_json::from_value(house::hear_json(&mut client)["data"]["streams"].take()).unwrap();
        let listed = get(address, "/v1/streams").json();
        let listed =
            listed["streams"].as_array().unwrap().iter().map(|stream| stream["name"].as_str().unwrap().to_owned());
        assert_eq!(listed.collect::<BTreeSet<_>>(), heard, "{address}");
        heard.len()
    });
    assert_eq!(told.collect::<Vec<_>>(), [1, 2]);
    assert_eq!(get(&addresses[0], "/v1/streams/bars").status, 404);
}

fn operators_read_private_logs_by_name_only_and_that_is_noted() {
    let daemon = Daemon::start(MAIL);
    let event = |user: &str| json!({"type": "note", "data": {"for": user}, "key": "k", "audience": user});
    assert_eq!(daemon.publish("mail", &json!([event("user-1"), event("user-10")])).status, 202);
    for path in ["/snapshot", "/history"] {
        let refused = daemon.get_proven(&format!("/v1/streams/mail{path}"));
        assert_eq!(message(&refused), "stream \"mail\" is private: say whose log of it is meant, ?audience=USER");
    }
    assert!(!daemon.log_text().contains("audit"), "nothing was read yet");
    let own = daemon.get_proven("/v1/streams/mail/history?audience=user-1").json();
    assert_eq!((seqs(&own), &own["events"][0]["data"]), (vec![1], &json!({"for": "user-1"})));
    let line: Value = serde_json::from_str(&daemon.wait_for_log("\"target\":\"audit\"")).unwrap();
    assert_eq!((&line["act"], &line["whom"]), (&json!("read a private log"), &json!("user-1")));
    let shown = daemon.get_proven("/v1/streams/mail/snapshot?audience=user-10").json();
    assert_eq!(shown["data"], json!({"records": [{"for": "user-10"}]}));
    let nobodys = daemon.get_proven("/v1/streams/mail/snapshot?audience=user").json();
    assert_eq!(nobodys["data"], json!({}), "nobody's log");
    let one = daemon.get_proven("/v1/streams/mail?audience=user-1").json();
    assert_eq!((&one["topics"], &one["position"]["seq"]), (&json!(1), &json!(1)));
    let all = daemon.get("/v1/streams/mail").json();
    assert_eq!((&all["topics"], all.get("topic_names")), (&json!(2), None));
    let refused = get(&daemon.clients, "/v1/streams/mail/history?audience=user-1");
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
}

const MAIL: &str = "[streams.mail]\nprivate = true\nvisible = true\n";

/// Every door that shows an operator what is private of a user.
const REVEALING: [&str; 5] = [
    "/v1/streams/mail?audience=user-1",
    "/v1/streams/mail/snapshot?audience=user-1",
    "/v1/streams/mail/history?audience=user-1&topic=mail",
    "/v1/sse?topic=mail&audience=user-1",
    "/v1/ws?audience=user-1",
];

fn no_door_shows_what_is_private_to_who_is_merely_near() {
    let daemon = Daemon::start(MAIL);
    let event = json!({"type": "note", "topic": "mail:secret", "audience": "user-1"});
    assert_eq!(daemon.publish("mail", &event).status, 202);
    let asked = |path: &str, headers: &[(&str, &str)]| {
        let upgrade = if path.starts_with("/v1/ws") { &UPGRADE[..] } else { &[] };
        ask(&daemon.admin, &format!("GET {path} HTTP/1.1"), &[upgrade, headers].concat(), b"")
    };
    for path in REVEALING {
        let refused = asked(path, &[]);
        assert_eq!(code(&refused), (403, "forbidden".to_owned()), "{path}");
        let next = "this shows what is private: ask it by the control socket, as the commands of broadcastd do, or set admin.token and show it";
        assert_eq!(message(&refused), next, "{path}");
    }
    assert_eq!(daemon.get("/v1/streams/mail").status, 200, "what names nobody is shown as before");
    assert!(!daemon.log_text().contains("audit"), "nothing was shown");
    std::fs::write(daemon.folder.path().join("secret"), "s3cret").unwrap();
    let token = "token = { file = \"secret\" }\n";
    daemon.reload(|| daemon.configure_whole(&format!("{PORTS}{token}{MAIL}")));
    let bearer = [("Authorization", "Bearer s3cret")];
    let statuses = REVEALING.map(|path| (asked(path, &[]).status, asked(path, &bearer).status));
    assert_eq!(statuses, [(401, 200), (401, 200), (401, 200), (401, 200), (401, 101)]);
    let noted = || daemon.log_text().matches("\"target\":\"audit\"").count();
    house::until("each is noted", || noted() == REVEALING.len());
}

/// What tokens are signed with here.
pub const SECRET: &str = "a secret of tests with forty letters ....";

/// A token of a user that is good for an hour from `from`, with further claims.
pub fn token(user: &str, from: i64, more: &Value) -> String {
    let mut claims = json!({"sub": user, "exp": from / 1_000_000_000 + 3600});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

fn a_token_shows_its_own_log_and_what_it_grants_and_no_more() {
    const SERVICE: &str = "token-of-a-program";
    let sha256: String = sha2::Sha256::digest(SERVICE).iter().map(|byte| format!("{byte:02x}")).collect();
    let config = format!(
        "[streams.ticks]\nvisible = true\n[streams.alerts]\nvisible = true\n[streams.mail]\nprivate = true\nvisible = true\n\
         [auth]\njwt = {{ secret = {{ env = \"SIGNED_WITH\" }} }}\ntokens = [{{ name = \"user-1\", sha256 = \"{sha256}\" }}]\n"
    );
    let daemon = Daemon::start_with(&config, &[("SIGNED_WITH", SECRET)]);
    for user in ["user-1", "user-10", "user"] {
        let event = json!({"type": "note", "data": {"for": user}, "key": "k", "audience": user});
        assert_eq!(daemon.publish("mail", &event).status, 202);
    }
    for topic in ["ticks:A", "ticks:B"] {
        assert_eq!(daemon.publish("ticks", &json!({"type": "tick", "topic": topic})).status, 202);
    }
    let asked = |token: &str, path: &str| {
        let bearer = format!("Bearer {token}");
        ask(&daemon.clients, &format!("GET {path} HTTP/1.1"), &[("Authorization", &bearer)], b"")
    };
    let own = token("user-1", unix_now(), &json!({}));
    let mail = asked(&own, "/v1/streams/mail/history").json();
    assert_eq!((seqs(&mail), &mail["events"][0]["data"]), (vec![1], &json!({"for": "user-1"})));
    assert_eq!(asked(&own, "/v1/streams/mail/snapshot").json()["data"], json!({"records": [{"for": "user-1"}]}));
    assert_eq!(asked(&own, "/v1/streams/mail").json()["history"]["events"], 1, "counts of its own log");
    for other in ["?audience=user-10", "?user=user-10", "?topic=mail:user-10&audience=user-10"] {
        assert_eq!(code(&asked(&own, &format!("/v1/streams/mail/history{other}"))), (400, "invalid_params".to_owned()));
    }
    assert_eq!(
        get(&daemon.clients, &format!("/v1/streams/mail/history?token={own}")).json(),
        mail,
        "in the query, too"
    );
    let some = token("user-2", unix_now(), &json!({"streams": ["ticks:A"]}));
    assert_eq!(
        asked(&some, "/v1/streams").json()["streams"][2],
        json!({"name": "ticks"}),
        "no figures of what it may not read"
    );
    assert_eq!(asked(&some, "/v1/streams/ticks").json()["topic_names"], json!(["ticks:A"]));
    assert_eq!(seqs(&asked(&some, "/v1/streams/ticks/history?topic=ticks:A").json()), [1]);
    for path in [
        "ticks/history",
        "ticks/history?topic=ticks:*",
        "ticks/snapshot?topic=ticks:A&topic=ticks:B",
        "alerts/snapshot",
    ] {
        assert_eq!(code(&asked(&some, &format!("/v1/streams/{path}"))), (403, "forbidden".to_owned()), "{path}");
    }
    assert_eq!(seqs(&asked(&some, "/v1/streams/mail/history").json()), [] as [u64; 0], "its own log is empty");
    for path in ["mail", "mail/history", "mail/snapshot"] {
        let refused = asked(SERVICE, &format!("/v1/streams/{path}"));
        assert_eq!(code(&refused), (403, "forbidden".to_owned()), "a service of a user's name is not that user");
    }
    let late = token("user-1", unix_now() - 7_200_000_000_000, &json!({}));
    assert_eq!(asked(&late, "/v1/streams/ticks").status, 401, "a token that has ended proves nothing");
}

fn hostile_parameters_are_refused_and_harm_nobody() {
    let daemon = Daemon::start(STREAMS);
    publish(&daemon, "ticks", &tick("A"));
    let epoch = epoch(&daemon, "ticks");
    let long = "A".repeat(10_000);
    let hostile = [
        format!("/snapshot?topic=ticks:{long}"),
        "/snapshot?topic=ticks:%00".to_owned(),
        "/snapshot?topic=".to_owned(),
        "/snapshot?topic=bars".to_owned(),
        "/snapshot?topic=ticks:A*".to_owned(),
        "/snapshot?topic=ticks:%2525".replace("%2525", "%25zz"),
        "/snapshot?topic=%ff".to_owned(),
        format!("/snapshot?{}", "topic=ticks:A&".repeat(101)),
        format!("/snapshot?{long}=1"),
        "/history?since=e1:-1".to_owned(),
        "/history?since=e1:18446744073709551616".to_owned(),
        "/history?since=".to_owned(),
        "/history?since=e1:1&since=e1:0".to_owned(),
        "/history?limit=0".to_owned(),
        "/history?limit=1001".to_owned(),
        "/history?limit=99999999999999999999".to_owned(),
        "/history?limit=-1".to_owned(),
        "/history?audience=u".to_owned(),
    ];
    for path in &hostile {
        for address in [&daemon.clients, &daemon.admin] {
            let refused = get(address, &format!("/v1/streams/ticks{}", path.replace("e1", &epoch)));
            let short = &path[..path.len().min(60)];
            assert_eq!(code(&refused), (400, "invalid_params".to_owned()), "{short}");
            assert!(refused.body.len() < 1000, "{short}: {} bytes", refused.body.len());
        }
    }
    assert_eq!(
        message(&get(&daemon.clients, "/v1/streams/ticks/history?limit=1001")),
        "\"limit\" is a number from 1 to 1000, 100 if it is left out"
    );
    for name in ["%00", "%ff", "..", "ticks%2Fx", &long, "tick%73%00"] {
        for address in [&daemon.clients, &daemon.admin] {
            let unknown = get(address, &format!("/v1/streams/{name}/snapshot"));
            assert_eq!(code(&unknown).0, 404, "{}", &name[..name.len().min(20)]);
            assert!(unknown.body.len() < 1000);
        }
    }
    assert_eq!(get(&daemon.clients, "/v1/streams/tick%73").status, 200, "the same name, percent-encoded");
}

fn a_path_that_is_no_text_is_refused_by_every_route() {
    let daemon = Daemon::start("");
    for route in TABLE.into_iter().filter(|route| route.path.contains('{')) {
        let parts = route.path.split('/').map(|part| if part.starts_with('{') { "quotes:%c3%22" } else { part });
        let method = format!("{:?}", route.method).to_uppercase();
        let line = format!("{method} {} HTTP/1.1", parts.collect::<Vec<_>>().join("/"));
        let messages = [&daemon.admin, &daemon.clients].map(|address| {
            let refused = ask(address, &line, &[("Content-Type", "application/json")], b"{}");
            assert_eq!(code(&refused), (404, "unknown_path".to_owned()), "{line}");
            message(&refused)
        });
        // A route of one listener is none of the other.
        assert!(messages.iter().any(|message| message.ends_with("has to be UTF-8")), "{line}: {messages:?}");
    }
}

fn pages_of_foreign_origins_read_nothing() {
    let daemon = Daemon::start(STREAMS);
    let asked = |origin: &str| ask(&daemon.clients, "GET /v1/streams HTTP/1.1", &[("Origin", origin)], b"");
    assert_eq!(code(&asked("https://example.com")), (403, "origin_refused".to_owned()));
    assert_eq!(asked("http://localhost:3000").status, 200);
}

fn a_long_list_of_topics_is_cut() {
    let daemon = Daemon::start(STREAMS);
    let topics = || {
        let told = get(&daemon.clients, "/v1/streams/ticks").json();
        (told["topic_names"].as_array().unwrap().len(), told["more_topics"].clone(), told["topics"].clone())
    };
    publish(&daemon, "ticks", &(0..1000).map(|number| tick(&number.to_string())).collect());
    assert_eq!(topics(), (1000, json!(false), json!(1000)));
    publish(&daemon, "ticks", &tick("one-more"));
    assert_eq!(topics(), (1000, json!(true), json!(1001)));
}
