//! A million real trades through the whole way: HTTP ingest, hub, the bars plugin, hub, WebSocket; and out come exactly
//! the bars that the trades make.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread;

use libtest_mimic::Trial;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::house;
use crate::http;
use crate::needs;
use crate::process::Daemon;

/// The data that `tests/trades/Cargo.toml` brings into the registry folder.
const FILE: &str = "trade_aggregation-13.1.0/data/Bitmex_XBTUSD_1M.csv";
const SHA256: &str = "b3e4dda28a453d2547b47086eac6240a508dbd5eb60e64e51bf943b69eb49e40";
/// Trades per request: what a feed collects in a second or two.
const BATCH: usize = 1000;
const SYMBOL: &str = "XBTUSD";
/// Resolutions with their length in milliseconds. The market never closes, so that days are 24 hours from midnight UTC.
const RESOLUTIONS: [(&str, i64); 5] =
    [("1", 60_000), ("5", 300_000), ("15", 900_000), ("60", 3_600_000), ("1D", 86_400_000)];

pub fn tests() -> Vec<Trial> {
    vec![needs::program("trade-data", real_trades_make_exactly_their_bars)]
}

#[derive(Clone, Copy)]
struct Trade {
    time: i64,
    price: f64,
    size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
struct Bar {
    time: i64,
    open: f64,
    high: f64,
    low: f64,
    close: f64,
    volume: u64,
}

/// The final bars of each resolution, in the order in which they came.
type Bars = BTreeMap<String, Vec<Bar>>;

fn real_trades_make_exactly_their_bars() {
    let trades = read_trades();
    // Room for all of them: a client slower than the daemon would get a fresh snapshot in place of some.
    let daemon = Daemon::start(
        "[hub]\noutbox = \"256MiB\"\n[streams.ticks]\n[broadcasters.bars]\nplugin = \"bars\"\nlisten = [\"ticks\"]\n\
         settings = { source = \"ticks\", clock = \"event\", symbols = [\"XBTUSD\"], \
         resolutions = [\"1\", \"5\", \"15\", \"60\", \"1D\"] }\n",
    );
    let expected: Bars =
        RESOLUTIONS.iter().map(|(name, length)| ((*name).to_owned(), aggregate(&trades, *length))).collect();
    let mut client = daemon.connect();
    house::say(&mut client, &json!({"type": "subscribe", "topic": format!("bars:{SYMBOL}:*")}).to_string());
    assert!(house::hear(&mut client).contains("\"subscribed\""));
    let wanted: usize = expected.values().map(Vec::len).sum();
    let listener = thread::spawn(move || collect(&mut client, wanted));
    for batch in trades.chunks(BATCH) {
        publish(&daemon, batch.iter().map(tick).collect());
    }
    publish(&daemon, vec![json!({"type": "flush", "data": {}})]);
    let bars = listener.join().unwrap();
    for (resolution, expected) in &expected {
        let got = &bars[resolution];
        let first_wrong = got.iter().zip(expected).position(|(got, expected)| got != expected);
        assert_eq!(first_wrong, None, "{resolution}: {:?}", first_wrong.map(|at| (got[at], expected[at])));
        assert_eq!(got.len(), expected.len(), "{resolution}");
        assert_eq!(got.iter().map(|bar| bar.volume).sum::<u64>(), 3_240_640_714, "{resolution}");
    }
    assert_eq!((bars["1"].len(), bars["1D"].len()), (5954, 5));
    let first =
        Bar { time: 1_514_764_800_000, open: 13873.0, high: 13905.5, low: 13869.0, close: 13869.0, volume: 252_517 };
    assert_eq!(bars["1"][0], first);
    let status = daemon.get("/v1/broadcasters/bars").json();
    assert_eq!((&status["errors"], &status["restarts"]), (&json!(0), &json!(0)));
}

/// All trades of the file; a negative size is a sale.
fn read_trades() -> Vec<Trade> {
    let bytes = std::fs::read(data_file()).unwrap();
    let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash, SHA256, "other data than the figures here are about");
    let text = String::from_utf8(bytes).unwrap();
    let trades: Vec<Trade> = text.lines().skip(1).map(parse_trade).collect();
    assert_eq!(trades.len(), 1_000_000);
    trades
}

fn data_file() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME")
        .map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cargo"), PathBuf::from);
    let registries = std::fs::read_dir(home.join("registry/src")).unwrap();
    let files = registries.map(|registry| registry.unwrap().path().join(FILE));
    files.into_iter().find(|file| file.exists()).unwrap()
}

fn parse_trade(line: &str) -> Trade {
    let mut fields = line.split(',');
    let mut next = || fields.next().unwrap();
    let time = next().parse().unwrap();
    let price = next().parse().unwrap();
    let size = next().parse::<f64>().unwrap().abs();
    Trade { time, price, size: size as u64 }
}

/// Bars straight from the trades, in the plainest way.
fn aggregate(trades: &[Trade], length: i64) -> Vec<Bar> {
    let mut bars: Vec<Bar> = Vec::new();
    for trade in trades {
        let time = trade.time.div_euclid(length) * length;
        match bars.last_mut().filter(|bar| bar.time == time) {
            None => {
                let Trade { price, size, .. } = *trade;
                bars.push(Bar { time, open: price, high: price, low: price, close: price, volume: size });
            }
            Some(bar) => {
                (bar.high, bar.low) = (bar.high.max(trade.price), bar.low.min(trade.price));
                (bar.close, bar.volume) = (trade.price, bar.volume + trade.size);
            }
        }
    }
    bars
}

fn tick(trade: &Trade) -> Value {
    let data = json!({"symbol": SYMBOL, "time": trade.time, "price": trade.price, "size": trade.size});
    json!({"type": "tick", "topic": format!("ticks:{SYMBOL}"), "data": data})
}

/// Publishes a batch; what finds the stream full is published again, exactly that and in order.
fn publish(daemon: &Daemon, mut events: Vec<Value>) {
    while !events.is_empty() {
        let answer: http::Answer = daemon.publish("ticks", &Value::Array(events.clone()));
        assert!(matches!(answer.status, 202 | 207 | 429), "{answer:?}");
        let rejected = answer.json()["rejected"].as_array().unwrap().clone();
        assert!(rejected.iter().all(|one| one["error"] == "full"), "{rejected:?}");
        events = rejected.iter().map(|one| events[one["index"].as_u64().unwrap() as usize].clone()).collect();
    }
}

/// Reads until that many final bars have come. An open bar may be replaced by a newer state of it; nothing else may be
/// missing.
fn collect(client: &mut house::Client, wanted: usize) -> Bars {
    let mut bars = Bars::new();
    let mut count = 0;
    while count < wanted {
        let text = house::hear(client);
        if text.contains("\"final\":true") && text.starts_with("{\"type\":\"bar\"") {
            let data = &serde_json::from_str::<Value>(&text).unwrap()["data"];
            assert_eq!(data["revision"], 0, "{text}");
            let resolution = data["resolution"].as_str().unwrap().to_owned();
            bars.entry(resolution).or_default().push(Bar::deserialize(data).unwrap());
            count += 1;
        } else if text.contains("\"lagged\"") {
            assert!(text.contains("\"policy\":\"latest\""), "{text}");
        }
    }
    bars
}
