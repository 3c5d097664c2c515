//! Server-sent events of the real daemon: what a client is sent as bytes, and how it comes back.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::http;
use crate::needs;
use crate::process::Daemon;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(what_a_client_is_sent_reads_so),
        needs::nothing(who_comes_back_gets_exactly_what_was_missed_of_each_stream),
        needs::nothing(who_hears_several_topics_of_a_stream_comes_back_to_all_of_them),
        needs::nothing(what_is_gathered_comes_when_its_time_is_over),
        needs::nothing(who_comes_back_from_a_gathered_block_gets_what_came_after_it),
        needs::nothing(a_position_that_means_nothing_gets_a_snapshot),
        needs::nothing(a_request_that_cannot_be_served_is_told_why),
        needs::nothing(a_stream_that_is_removed_is_told),
        needs::program("curl", curl_hears_events_as_they_come),
    ]
}

const CONFIG: &str = "[streams.ticks]\nvisible = true\ntemplate = \"{symbol}\"\n[streams.news]\nvisible = true\n";

/// One block of the stream: its fields, and its data as JSON.
#[derive(Debug)]
pub struct Block {
    pub event: String,
    pub id: Option<String>,
    pub data: Value,
}

/// A client of server-sent events that reads them as browsers do.
pub struct Events(BufReader<TcpStream>);

impl Events {
    pub fn open(address: &str, query: &str, headers: &[(&str, &str)]) -> Self {
        Self::open_on(http::connect(address), address, query, headers)
    }

    pub fn open_on(mut socket: TcpStream, address: &str, query: &str, headers: &[(&str, &str)]) -> Self {
        let line = format!("GET /v1/sse?{query} HTTP/1.1");
        socket.write_all(&http::request(address, &line, headers, b"")).unwrap();
        let mut events = Self(BufReader::new(socket));
        let head = events.lines_to_blank();
        assert_eq!(head[0], "HTTP/1.1 200 OK", "{head:?}");
        assert!(head.contains(&"content-type: text/event-stream".to_owned()), "{head:?}");
        events
    }

    pub fn socket(&self) -> &TcpStream {
        self.0.get_ref()
    }

    /// The next block that has data. What keeps the connection alive has none, and would keep this waiting for ever.
    pub fn next(&mut self) -> Block {
        let asked = Instant::now();
        loop {
            assert!(asked.elapsed() < http::PATIENCE, "nothing was said in {:?}", http::PATIENCE);
            let lines = self.lines_to_blank();
            let field = |name: &str| lines.iter().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            let Some(data) = field("data: ") else { continue };
            let data = serde_json::from_str(&data).unwrap();
            return Block { event: field("event: ").unwrap(), id: field("id: "), data };
        }
    }

    /// The next block of an event, past what is said about subscriptions.
    fn next_tick(&mut self) -> Block {
        loop {
            let block = self.next();
            if block.event == "tick" {
                return block;
            }
        }
    }

    fn lines_to_blank(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream ended after {lines:?}");
            match line.trim_end_matches(['\r', '\n']) {
                "" => return lines,
                line => lines.push(line.to_owned()),
            }
        }
    }
}

fn publish(daemon: &Daemon, stream: &str, topic: &str, n: u64) {
    let event = json!({"type": "tick", "topic": format!("{stream}:{topic}"), "key": topic, "data": {"n": n}});
    assert_eq!(daemon.publish(stream, &event).status, 202);
}

fn what_a_client_is_sent_reads_so() {
    let daemon = Daemon::start(CONFIG);
    publish(&daemon, "ticks", "A", 1);
    let mut events = Events::open(&daemon.clients, "topic=ticks:A&topic=news", &[]);
    let greeting = events.next();
    assert_eq!((greeting.event.as_str(), &greeting.data["data"]["status"]), ("status", &json!("connected")));
    assert_eq!(greeting.id, None, "it is at no place yet");
    let answer = events.next();
    assert_eq!((answer.event.as_str(), &answer.data["data"]["status"]), ("response", &json!("subscribed")));
    let epoch = answer.data["data"]["epoch"].as_str().unwrap().to_owned();
    assert_eq!(answer.id, None, "who comes back from here has not been shown the records");
    let records = events.next();
    assert_eq!(records.id, Some(format!("ticks={epoch}:1")));
    assert_eq!((records.event.as_str(), &records.data["data"]), ("full_update", &json!({"records": [{"n": 1}]})));
    let others: Vec<String> = (0..2).map(|_| events.next().event).collect();
    assert_eq!(others, ["response", "full_update"]);
    publish(&daemon, "news", "N", 7);
    publish(&daemon, "ticks", "B", 8);
    publish(&daemon, "ticks", "A", 9);
    let news = events.next();
    assert_eq!((&news.data["data"]["n"], news.id), (&json!(7), Some(format!("ticks={epoch}:1;news={epoch}:1"))));
    let tick = events.next();
    assert_eq!((&tick.data["data"]["n"], tick.id), (&json!(9), Some(format!("ticks={epoch}:3;news={epoch}:1"))));
}

fn who_comes_back_gets_exactly_what_was_missed_of_each_stream() {
    let daemon = Daemon::start(CONFIG);
    let open = |headers: &[(&str, &str)]| Events::open(&daemon.clients, "topic=ticks&topic=news:*", headers);
    let number = |block: Block| block.data["data"]["n"].as_u64().unwrap();
    let mut events = open(&[]);
    for n in 1..=20 {
        publish(&daemon, if n % 3 == 0 { "news" } else { "ticks" }, "A", n);
    }
    let heard: Vec<Block> = (0..20).map(|_| events.next_tick()).collect();
    let places: Vec<String> = heard.iter().map(|block| block.id.clone().unwrap()).collect();
    let heard: Vec<u64> = heard.into_iter().map(number).collect();
    for (left_at, place) in places.iter().enumerate() {
        let mut back = open(&[("Last-Event-ID", place)]);
        assert_eq!(back.next().data["data"]["status"], "connected");
        assert_eq!(back.next().data["data"]["recovered"], true, "{place}");
        // Of each stream what was missed, one stream after the other.
        let mut seen = heard[..=left_at].to_vec();
        seen.extend((left_at + 1..20).map(|_| number(back.next_tick())));
        seen.sort_unstable();
        assert_eq!(seen, (1..=20).collect::<Vec<u64>>(), "left at {place}");
    }
}

fn who_hears_several_topics_of_a_stream_comes_back_to_all_of_them() {
    let daemon = Daemon::start(CONFIG);
    let open = |headers: &[(&str, &str)]| Events::open(&daemon.clients, "topic=ticks:A&topic=ticks:B", headers);
    publish(&daemon, "ticks", "A", 1);
    publish(&daemon, "ticks", "B", 2);
    let mut events = open(&[]);
    let placed = std::iter::repeat_with(|| events.next()).find(|block| block.id.is_some()).unwrap();
    assert_eq!(placed.data["data"], json!({"records": [{"n": 1}, {"n": 2}]}), "no place before all is shown");
    for n in 3..=8 {
        publish(&daemon, "ticks", if n % 2 == 0 { "B" } else { "A" }, n);
    }
    let place = placed.id.unwrap();
    let mut back = open(&[("Last-Event-ID", &place)]);
    let epoch = place.rsplit_once(':').unwrap().0;
    for n in 3..=8 {
        let tick = back.next_tick();
        assert_eq!((&tick.data["data"]["n"], tick.id), (&json!(n), Some(format!("{epoch}:{n}"))));
    }
}

/// The numbers in a block that was gathered.
fn gathered(block: &Block) -> Vec<u64> {
    assert_eq!(block.event, "batch", "{block:?}");
    let messages = block.data["data"]["messages"].as_array().unwrap();
    messages.iter().map(|message| message["data"]["n"].as_u64().unwrap()).collect()
}

fn what_is_gathered_comes_when_its_time_is_over() {
    let daemon = Daemon::start(CONFIG);
    let mut events = Events::open(&daemon.clients, "topic=ticks:A&batch_ms=1", &[]);
    while events.next().event != "full_update" {}
    let mut heard = Vec::new();
    for n in 1..=3 {
        publish(&daemon, "ticks", "B", 0);
        publish(&daemon, "ticks", "A", n);
        heard.extend(gathered(&events.next())); // nothing else is said that could bring it
    }
    assert_eq!(heard, [1, 2, 3]);
}

fn who_comes_back_from_a_gathered_block_gets_what_came_after_it() {
    let daemon = Daemon::start(CONFIG);
    let mut events = Events::open(&daemon.clients, "topic=news&topic=ticks&batch_ms=500", &[]);
    for _ in 0..2 {
        while events.next().event != "full_update" {}
    }
    let news = json!({"type": "tick", "topic": "news:A", "data": {"n": 0}});
    let ticks = (1..=3).map(|n| json!({"type": "tick", "topic": "ticks:A", "data": {"n": n}}));
    assert_eq!(daemon.publish("news", &news).status, 202);
    assert_eq!(daemon.publish("ticks", &json!(ticks.collect::<Vec<_>>())).status, 202);
    let blocks = [(); 2].map(|()| events.next());
    assert_eq!(blocks.each_ref().map(gathered), [vec![0], vec![1, 2, 3]]);
    publish(&daemon, "ticks", "A", 4);
    for (block, missed) in blocks.into_iter().zip([1..=4, 4..=4]) {
        let mut back =
            Events::open(&daemon.clients, "topic=news&topic=ticks", &[("Last-Event-ID", &block.id.unwrap())]);
        for n in missed {
            assert_eq!(back.next_tick().data["data"]["n"], n);
        }
    }
}

fn a_position_that_means_nothing_gets_a_snapshot() {
    let daemon = Daemon::start(CONFIG);
    publish(&daemon, "ticks", "A", 1);
    for last in ["ticks=another:1", "ticks=", "nonsense", "ticks=x:-1", "news=x:1;;=;:", "ticks=x:99999999999999999999"]
    {
        let mut events = Events::open(&daemon.clients, "topic=ticks", &[("Last-Event-ID", last)]);
        assert_eq!(events.next().event, "status");
        assert_eq!(events.next().data["data"]["recovered"], false, "{last}");
        assert_eq!(events.next().data["data"], json!({"records": [{"n": 1}]}), "{last}");
    }
}

fn a_request_that_cannot_be_served_is_told_why() {
    let daemon = Daemon::start(CONFIG);
    let none = http::get(&daemon.clients, "/v1/sse");
    assert_eq!((none.status, none.json()["error"]["code"].as_str()), (400, Some("invalid_params")));
    for time in ["0", "10001", "-1", "1.5", "soon", ""] {
        let odd = http::get(&daemon.clients, &format!("/v1/sse?topic=ticks&batch_ms={time}"));
        assert_eq!((odd.status, odd.json()["error"]["code"].as_str()), (400, Some("invalid_params")), "{time:?}");
    }
    let post = http::ask(&daemon.clients, "POST /v1/sse?topic=ticks HTTP/1.1", &[], b"");
    assert_eq!((post.status, post.header("allow")), (405, Some("GET")));
    let foreign = [("Origin", "https://example.com")];
    let foreign = http::ask(&daemon.clients, "GET /v1/sse?topic=ticks HTTP/1.1", &foreign, b"");
    assert_eq!((foreign.status, foreign.json()["error"]["code"].as_str()), (403, Some("origin_refused")));
    let mut events = Events::open(&daemon.clients, "topic=nope&topic=ticks", &[]);
    assert_eq!(events.next().event, "status");
    let refused = events.next();
    assert_eq!((refused.event.as_str(), &refused.data["data"]["code"]), ("refused", &json!("unknown_stream")));
    assert_eq!(events.next().data["data"]["topic"], "ticks", "the others are served");
}

fn a_stream_that_is_removed_is_told() {
    let daemon = Daemon::start(CONFIG);
    let mut events = Events::open(&daemon.clients, "topic=ticks", &[]);
    assert_eq!(events.next().event, "status");
    assert_eq!((events.next().event, events.next().event), ("response".to_owned(), "full_update".to_owned()));
    daemon.reload(|| daemon.configure("[streams.news]\nvisible = true\n"));
    assert_eq!(events.next().data["data"]["status"], "no_source");
}

fn curl_hears_events_as_they_come() {
    let daemon = Daemon::start(CONFIG);
    let url = format!("http://{}/v1/sse?topic=ticks", daemon.clients);
    let mut curl = std::process::Command::new("curl")
        .args(["--no-buffer", "--silent", &url])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(curl.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "event: full_update"));
    publish(&daemon, "ticks", "A", 42);
    assert!(lines.any(|line| line == "event: tick"));
    let data = lines.next().unwrap();
    assert!(data.starts_with("data: ") && data.contains("\"n\":42"), "{data}");
    curl.kill().unwrap();
    curl.wait().unwrap();
}
