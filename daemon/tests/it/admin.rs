//! The admin listener on a real socket: who may ask, what the pages say, and that a scrape is in order.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use broadcastd::admin::guard::Token;
use broadcastd::admin::orders::{MAX_ORDERS, Order, Orders};
use broadcastd::admin::{self, Admin, Parts, Readiness, Shards};
use broadcastd::describe::Catalogue;
use broadcastd::event::{Draft, Flags};
use broadcastd::hub::Hub;
use broadcastd::hub::settings::{Settings, Source};
use broadcastd::metrics::labels::{Call, Failure, Policy};
use libtest_mimic::Trial;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};

use crate::house::{self, House};
use crate::http::{Answer, ask, connect, get, post};
use crate::needs;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(health_readiness_and_reasons),
        needs::nothing(broadcasters_are_shown_as_the_house_tells),
        needs::nothing(streams_are_shown_with_figures),
        needs::nothing(unknown_paths_and_methods_are_told_the_right_ones),
        needs::nothing(the_dashboard_is_served_whole_and_kept_by_browsers),
        needs::nothing(a_foreign_host_is_refused),
        needs::nothing(a_foreign_origin_is_refused),
        needs::nothing(a_token_opens_all_but_health),
        needs::nothing(off_loopback_needs_a_token),
        needs::nothing(a_reload_moves_the_listener_and_changes_the_token),
        needs::nothing(a_port_in_use_names_the_key),
        needs::nothing(a_scrape_shows_what_there_is_now),
        needs::nothing(connections_are_counted_by_endpoint_for_as_long_as_they_live),
        needs::nothing(events_are_published_here_without_a_token),
        needs::nothing(stopping_ends_the_listener),
        needs::nothing(a_daemon_that_obeys_no_more_says_so),
        needs::nothing(so_many_orders_may_wait_and_no_more),
        needs::program("promtool", a_scrape_passes_the_linter),
    ]
}

/// The process has one recorder; all tests share it.
static METRICS: LazyLock<PrometheusHandle> = LazyLock::new(|| broadcastd::metrics::install().unwrap());

struct Told(Mutex<Readiness>);

impl admin::House for Told {
    fn broadcasters(&self) -> Value {
        json!([{"name": "bars"}])
    }

    fn broadcaster(&self, name: &str) -> Option<Value> {
        (name == "bars").then(|| json!({"name": "bars", "enabled": true}))
    }

    fn configuration(&self) -> Value {
        json!([{"key": "hub.outbox", "value": "1MiB", "origin": "default"}])
    }

    fn log_levels(&self) -> Value {
        json!({"daemon": "info"})
    }

    fn set_log_level(&self, _: &str, _: &str) -> Result<Value, admin::levels::Unknown> {
        Ok(json!({"level": "debug"}))
    }

    fn readiness(&self) -> Readiness {
        self.0.lock().unwrap().clone()
    }

    fn status(&self) -> Value {
        json!({"version": "1.2.3"})
    }

    fn extra_metrics(&self) -> String {
        "# HELP bars_ticks_total Ticks taken in.\n# TYPE bars_ticks_total counter\nbars_ticks_total 7\n".to_owned()
    }
}

fn a_daemon_that_obeys_no_more_says_so() {
    let config = admin::Config { listen: "127.0.0.1:0".into(), token: Some(Token::new("s3cret")) };
    let admin = Running::with(&Hub::new("epoch"), config);
    for path in ["/v1/reload", "/v1/plan"] {
        let answer = ask(&admin.address, &format!("POST {path} HTTP/1.1"), &[("Authorization", "Bearer s3cret")], b"");
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &json!("draining")), "{path}");
        assert_eq!(answer.header("retry-after"), Some("5"));
    }
    let answer = ask(&admin.address, "GET /v1/status HTTP/1.1", &[("Authorization", "Bearer s3cret")], b"");
    assert_eq!(answer.json(), json!({"version": "1.2.3"}));
}

fn so_many_orders_may_wait_and_no_more() {
    let config = admin::Config { listen: "127.0.0.1:0".into(), token: Some(Token::new("s3cret")) };
    let (keep, waiting) = std::sync::mpsc::channel();
    let orders: Orders = Arc::new(move |order| _ = keep.send(order));
    let hub = Hub::new("epoch");
    let admin = Running::begin(config, |house| Parts { orders, ..parts(&hub, house) });
    let head = "POST /v1/plan HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer s3cret\r\nContent-Length: 0\r\n\r\n";
    let begin = |_| {
        let mut socket = connect(&admin.address);
        socket.write_all(head.as_bytes()).unwrap();
        socket
    };
    let asked: Vec<_> = (0..MAX_ORDERS).map(begin).collect();
    let taken: Vec<_> = asked.iter().map(|_| waiting.recv().unwrap()).collect();
    let plan = || ask(&admin.address, "POST /v1/plan HTTP/1.1", &[("Authorization", "Bearer s3cret")], b"");
    assert_eq!((plan().status, &plan().json()["error"]["code"]), (503, &json!("busy")));
    drop(taken); // nobody obeys them
    crate::house::until("there is room again", || plan_is_draining(&admin.address, &waiting));
}

/// Whether an order is taken; it is dropped, as by a daemon that obeys no more.
fn plan_is_draining(address: &str, waiting: &std::sync::mpsc::Receiver<Order>) -> bool {
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| ask(address, "POST /v1/plan HTTP/1.1", &[("Authorization", "Bearer s3cret")], b""));
        while !asked.is_finished() {
            drop(waiting.try_recv());
        }
        asked.join().unwrap().json()["error"]["code"] == "draining"
    })
}

/// An admin listener that is stopped with its test.
pub struct Running {
    pub address: String,
    admin: Option<Admin>,
    house: Arc<Told>,
}

impl Running {
    pub fn start(hub: &Arc<Hub>) -> Self {
        Self::with(hub, admin::Config { listen: "127.0.0.1:0".into(), token: None })
    }

    fn with(hub: &Arc<Hub>, config: admin::Config) -> Self {
        Self::begin(config, |house| parts(hub, house))
    }

    fn begin(config: admin::Config, parts: impl FnOnce(Arc<Told>) -> Parts) -> Self {
        let house = Arc::new(Told(Mutex::new(Readiness { ready: true, reasons: vec![] })));
        let admin = Admin::start(config, parts(house.clone())).unwrap();
        Self { address: admin.address(), admin: Some(admin), house }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(admin) = self.admin.take() {
            admin.stop();
        }
    }
}

fn parts(hub: &Arc<Hub>, house: Arc<Told>) -> Parts {
    let catalogue = Catalogue::new(hub.clone());
    let orders: Orders = Arc::new(drop); // nobody obeys
    let shards = Shards(Arc::new([]));
    Parts {
        hub: hub.clone(),
        shards,
        house,
        catalogue,
        tokens: Default::default(),
        metrics: METRICS.clone(),
        control: None,
        orders,
        given: Default::default(),
    }
}

fn alone() -> Running {
    Running::start(&Hub::new(house::EPOCH))
}

fn health_readiness_and_reasons() {
    let admin = alone();
    let health = get(&admin.address, "/healthz");
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    let ready = get(&admin.address, "/readyz");
    assert_eq!((ready.status, ready.body.as_str()), (200, r#"{"ready":true,"reasons":[]}"#));
    let reason = "broadcaster bars is quarantined: it failed 5 times within a minute";
    *admin.house.0.lock().unwrap() = Readiness { ready: true, reasons: vec![reason.into()] };
    assert_eq!(get(&admin.address, "/readyz").json(), json!({"ready": true, "reasons": [reason]}));
    *admin.house.0.lock().unwrap() = Readiness { ready: false, reasons: vec!["draining".into()] };
    let ready = get(&admin.address, "/readyz");
    assert_eq!((ready.status, ready.body.as_str()), (503, r#"{"ready":false,"reasons":["draining"]}"#));
    assert_eq!(get(&admin.address, "/healthz").status, 200, "a daemon that drains is alive");
}

fn broadcasters_are_shown_as_the_house_tells() {
    let admin = alone();
    assert_eq!(get(&admin.address, "/v1/broadcasters").json(), json!([{"name": "bars"}]));
    assert_eq!(get(&admin.address, "/v1/broadcasters/bars").json(), json!({"name": "bars", "enabled": true}));
    let unknown = get(&admin.address, "/v1/broadcasters/nope");
    assert_eq!(
        (unknown.status, unknown.body.as_str()),
        (404, r#"{"error":{"code":"unknown_broadcaster","message":"no broadcaster is called \"nope\"; names: bars"}}"#)
    );
}

fn streams_are_shown_with_figures() {
    let house = House::start();
    let admin = Running::start(&house.hub);
    house.publish("ticks", "AAPL", "{}");
    house.publish("ticks", "GOOGL", "{}");
    let ticks = get(&admin.address, "/v1/streams/ticks").json();
    let mut expected = json!({
        "name": "ticks", "position": {"epoch": "e1", "seq": 2}, "source": "declared", "reason": null,
        "visible": true, "private": false, "view": null, "address": "ticks", "kinds": {}, "topics": 2, "records": 0, "subscriptions": 0, "listeners": 0,
        "listen_bytes": 0,
        "history": {"events": 2, "bytes": 516, "max_events": 1000, "max_bytes": 16 << 20, "max_age_s": 300.0},
    });
    let all = get(&admin.address, "/v1/streams").json();
    assert_eq!(all["streams"][1], expected);
    expected["history"]["oldest"] = json!(1);
    expected["topic_names"] = json!(["ticks:AAPL", "ticks:GOOGL"]);
    expected["more_topics"] = json!(false);
    assert_eq!(ticks, expected);
    assert_eq!(all["streams"][0]["source"], "absent");
    assert_eq!(all["streams"][0]["reason"], "broadcaster stopped");
    let unknown = get(&admin.address, "/v1/streams/nope");
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.json()["error"]["message"], r#"unknown stream "nope"; valid streams: bars, ticks"#);
}

fn unknown_paths_and_methods_are_told_the_right_ones() {
    let admin = alone();
    let unknown = get(&admin.address, "/nope?token=secret");
    assert_eq!(unknown.status, 404);
    assert_eq!(
        unknown.body,
        r#"{"error":{"code":"unknown_path","message":"nothing is at /nope; valid paths: /v1/ws (native), /v1/sse (sse), /metrics, /healthz, /readyz, /v1/broadcasters, /v1/broadcasters/{name}, /v1/config, /, /assets/{file}, /v1/streams, /v1/streams/{stream}, /v1/streams/{stream}/subscribers, /v1/streams/{stream}/listeners, /v1/connections, /v1/connections/{id}, DELETE /v1/connections/{id}, /v1/users, /v1/users/{id}, DELETE /v1/users/{id}/connections, /v1/queues, /v1/counters, POST /v1/log-levels/{name}, /v1/log-levels, POST /v1/reload, POST /v1/plan, POST /v1/broadcasters/{name}/{deed}, /v1/status, /v1/streams/{stream}/snapshot, /v1/streams/{stream}/history, POST /v1/streams/{stream}/publish, POST /v1/broadcasters/{broadcaster}/commands/{command}, POST /v1/log, /v1/asyncapi.json, /v1/openapi.json"}}"#
    );
    let wrong = post(&admin.address, "/v1/streams", "application/json", b"{}");
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(wrong.json()["error"]["message"], "this path is asked with GET, HEAD");
    let wrong = get(&admin.address, "/v1/streams/ticks/publish");
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("POST")));
}

fn the_dashboard_is_served_whole_and_kept_by_browsers() {
    let admin = alone();
    let page = get(&admin.address, "/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let assets: Vec<&str> = page.body.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert!(assets.len() >= 3, "{}", page.body);
    for path in assets {
        let asset = get(&admin.address, path);
        assert_eq!(asset.status, 200, "{path}");
        assert_eq!(asset.header("cache-control"), Some("public, max-age=31536000, immutable"), "{path}");
        assert!(asset.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"), "{path}");
    }
    let known = [("If-None-Match", page.header("etag").unwrap())];
    let again = ask(&admin.address, "GET / HTTP/1.1", &known, b"");
    assert_eq!((again.status, &*again.body), (304, ""));
    assert_eq!(get(&admin.address, "/assets/none.js").json()["error"]["code"], "not_found");
    assert_eq!(post(&admin.address, "/", "text/plain", b"").status, 405);
}

fn a_foreign_host_is_refused() {
    let admin = alone();
    let status = |host: &str| ask(&admin.address, "GET /metrics HTTP/1.1", &[("Host", host)], b"").status;
    for own in ["localhost", "LOCALHOST:9180", "127.0.0.1", "127.0.0.1:1", "[::1]:9180"] {
        assert_eq!(status(own), 200, "{own}");
    }
    for foreign in ["example.com", "localhost.example.com", "192.0.2.1", "127.0.0.1.example.com", "0.0.0.0", ""] {
        assert_eq!(status(foreign), 421, "{foreign}");
    }
    assert_eq!(
        ask(&admin.address, "GET /healthz HTTP/1.1", &[("Host", "example.com")], b"").json()["error"]["message"],
        "the admin listener answers to localhost, 127.0.0.1 and [::1] only; ask it by such a name"
    );
}

fn a_foreign_origin_is_refused() {
    let admin = alone();
    let host = admin.address.clone();
    let asked = |origin: &str| ask(&host, "GET /v1/streams HTTP/1.1", &[("Origin", origin)], b"");
    assert_eq!(asked(&format!("http://{host}")).status, 200);
    for foreign in ["http://example.com", "http://localhost:3000", "http://127.0.0.1:1", "null", ""] {
        let refused = asked(foreign);
        assert_eq!((refused.status, &refused.json()["error"]["code"]), (403, &json!("origin_refused")), "{foreign}");
    }
}

fn a_token_opens_all_but_health() {
    let config = admin::Config { listen: "127.0.0.1:0".into(), token: Some(Token::new("opener")) };
    assert!(!format!("{config:?}").contains("opener"));
    let admin = Running::with(&Hub::new(house::EPOCH), config);
    let asked =
        |path: &str, headers: &[(&str, &str)]| ask(&admin.address, &format!("GET {path} HTTP/1.1"), headers, b"");
    // The dashboard is the same for everybody, and asks for the token itself.
    for path in ["/healthz", "/readyz", "/", "/assets/licenses.txt"] {
        assert_eq!(asked(path, &[]).status, 200, "{path}");
    }
    for path in ["/metrics", "/v1/streams", "/v1/broadcasters", "/v1/config", "/assets/none.js", "/nope"] {
        let refused = asked(path, &[]);
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")), "{path}");
    }
    for wrong in ["Bearer opene", "Bearer openers", "Bearer", "Bearer ", "Basic opener", "opener"] {
        assert_eq!(asked("/v1/streams", &[("Authorization", wrong)]).status, 401, "{wrong}");
    }
    assert_eq!(asked("/v1/streams", &[("Authorization", "Bearer opener")]).status, 200);
    let twice = [("Authorization", "Bearer opener"), ("Authorization", "Bearer opener")];
    assert_eq!(asked("/v1/streams", &twice).status, 401);
    let publish = post(&admin.address, "/v1/streams/ticks/publish", "application/json", b"{}");
    assert_eq!(publish.status, 401);
}

fn off_loopback_needs_a_token() {
    let hub = Hub::new(house::EPOCH);
    let house = Arc::new(Told(Mutex::new(Readiness::default())));
    let start = |listen: &str, token: Option<&str>| {
        let config = admin::Config { listen: listen.into(), token: token.map(Token::new) };
        Admin::start(config, parts(&hub, house.clone()))
    };
    let refused = start("0.0.0.0:0", None).err().unwrap();
    assert_eq!(
        refused.to_string(),
        "admin.listen = \"0.0.0.0:0\" can be reached from other machines, and there is no admin.token; set one, or listen on 127.0.0.1"
    );
    assert!(start("[::]:0", None).is_err());
    let open = start("0.0.0.0:0", Some("opener")).unwrap();
    let port = open.address().rsplit_once(':').unwrap().1.to_owned();
    let headers = [("Host", "metrics.example.com"), ("Authorization", "Bearer opener")];
    assert_eq!(ask(&format!("127.0.0.1:{port}"), "GET /metrics HTTP/1.1", &headers, b"").status, 200);
    open.stop();
}

fn a_reload_moves_the_listener_and_changes_the_token() {
    let admin = alone();
    let running = admin.admin.as_ref().unwrap();
    let same = admin::Config { listen: "127.0.0.1:0".into(), token: Some(Token::new("new")) };
    running.commit(running.prepare(same).unwrap());
    assert_eq!(running.address(), admin.address, "the same address stays open");
    assert_eq!(get(&admin.address, "/v1/streams").status, 401);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let moved = admin::Config { listen: format!("unix:{}", path.display()), token: None };
    running.commit(running.prepare(moved).unwrap());
    let mut socket = std::os::unix::net::UnixStream::connect(&path).unwrap();
    socket.write_all(&crate::http::request("anything", "GET /v1/streams HTTP/1.1", &[], b"")).unwrap();
    assert_eq!(crate::http::read(&mut socket).status, 200);
    house::until("the old address is closed", || std::net::TcpStream::connect(&admin.address).is_err());
    assert!(running.prepare(admin::Config { listen: "0.0.0.0:0".into(), token: None }).is_err());
    assert!(path.exists(), "a refused reload changes nothing");
}

fn a_port_in_use_names_the_key() {
    let admin = alone();
    let config = admin::Config { listen: admin.address.clone(), token: None };
    let refused = Admin::start(config, parts(&Hub::new(house::EPOCH), admin.house.clone())).err().unwrap();
    assert_eq!(
        refused.to_string(),
        format!(
            "cannot listen on {}: it is taken already; stop the program that listens there, or change admin.listen in the configuration",
            admin.address
        )
    );
}

fn figure(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

fn a_scrape_shows_what_there_is_now() {
    LazyLock::force(&METRICS); // before the stream takes its handles
    let hub = Hub::new(house::EPOCH);
    let admin = Running::start(&hub);
    let stream = hub.declare("scraped", Settings::default());
    let draft = Draft { kind: "t", key: "k", payload: b"{}", ..Draft::default() };
    stream.publish(&draft, None).unwrap();
    let scrape = get(&admin.address, "/metrics");
    assert_eq!(scrape.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = scrape.body;
    assert_eq!(figure(&text, r#"broadcastd_stream_history_events{stream="scraped"}"#), Some(1.0), "{text}");
    assert_eq!(figure(&text, r#"broadcastd_stream_records{stream="scraped"}"#), Some(1.0));
    assert_eq!(figure(&text, "bars_ticks_total"), Some(7.0), "other registries are appended");
    assert!(figure(&text, "process_resident_memory_bytes") > Some(0.0));
    stream.publish(&Draft { flags: Flags::DELETE, ..draft }, None).unwrap();
    let text = get(&admin.address, "/metrics").body;
    assert_eq!(figure(&text, r#"broadcastd_stream_records{stream="scraped"}"#), Some(0.0));
    assert_eq!(figure(&text, r#"broadcastd_stream_history_events{stream="scraped"}"#), Some(2.0));
}

fn connections_are_counted_by_endpoint_for_as_long_as_they_live() {
    LazyLock::force(&METRICS);
    let mut config = house::config();
    config.endpoints[0].endpoint.path = "/counted".to_owned();
    let house = House::with(config, house::shard_config());
    let admin = Running::start(&house.hub);
    let address = house.address();
    let connect = || house::open(connect(&address), &format!("ws://{address}/counted"), &[]).unwrap();
    let counted = || {
        let series = r#"broadcastd_connections{endpoint="/counted",dialect="native"}"#;
        figure(&get(&admin.address, "/metrics").body, series)
    };
    let (first, _second) = (connect(), connect());
    assert_eq!(counted(), Some(2.0));
    drop(first);
    house::until("one is gone", || counted() == Some(1.0));
}

fn events_are_published_here_without_a_token() {
    let house = House::start();
    let admin = Running::start(&house.hub);
    let mut client = house.connect();
    house::say(&mut client, r#"{"type":"subscribe","topic":"ticks","id":"1"}"#);
    house::hear(&mut client);
    house::hear(&mut client);
    let event = br#"{"type":"tick","topic":"ticks:AAPL","data":{"price":1},"timestamp":"2025-12-29T15:00:00Z"}"#;
    let answer = post(&admin.address, "/v1/streams/ticks/publish", "application/json", event);
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (202, r#"{"accepted":1,"rejected":[],"position":{"epoch":"e1","seq":1}}"#)
    );
    assert!(
        house::hear(&mut client).contains(r#""type":"tick","stream":"ticks","session_id":null,"data":{"price":1}"#)
    );
}

fn stopping_ends_the_listener() {
    let mut admin = alone();
    admin.admin.take().unwrap().stop();
    assert!(std::net::TcpStream::connect(&admin.address).is_err());
}

/// Everything that the daemon counts has its help and a name as it should be.
fn a_scrape_passes_the_linter() {
    LazyLock::force(&METRICS);
    let house = House::start();
    let admin = Running::start(&house.hub);
    let counted = |answer: Result<house::Client, Answer>| answer.err().unwrap();
    counted(house.try_connect(&[("Origin", "https://example.com")]));
    let mut client = house.connect();
    house::say(&mut client, r#"{"type":"subscribe","topic":"ticks"}"#);
    post(&admin.address, "/v1/streams/ticks/publish", "application/json", br#"[{"type":"tick"},{}]"#);
    broadcastd::metrics::lagged("ticks", Policy::Latest);
    let broadcaster = broadcastd::metrics::Broadcaster::new("bars");
    broadcaster.started("bars", "1", "ff");
    broadcaster.failed(Failure::Panic);
    broadcaster.calls(Call::OnEvents).record(Duration::from_millis(3));
    broadcastd::metrics::reload_succeeded(1e9);
    broadcastd::metrics::plugin_generations(1);
    house.hub.stream("bars").unwrap().set_source(Source::Absent("stopped".into()));
    let text = get(&admin.address, "/metrics").body;
    let promtool =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut promtool = promtool.unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    assert!(said.status.success(), "{}\n{text}", String::from_utf8_lossy(&said.stderr));
    let unexplained: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split(' ').next().unwrap())
        .filter(|name| !text.contains(&format!("# HELP {name} ")))
        .collect();
    assert_eq!(unexplained, Vec::<&str>::new());
}
