//! Every client of the real daemon can account for every number: one that is quick, one with overlapping subscriptions,
//! one that does not read for a while, one that comes and goes. The same is tried with many more steps in `shard::tests::model`.

use std::collections::BTreeMap;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::house::{Client, hear_json, say};
use crate::needs;
use crate::process::Daemon;

pub fn tests() -> Vec<Trial> {
    vec![needs::nothing(every_client_accounts_for_every_number)]
}

/// More than the kernel holds for a client that does not read.
const EVENTS: u64 = 8_000;
const EVENTS_PER_REQUEST: u64 = 50;
const PAD: usize = 1000;
/// How many events the one that comes and goes reads of a connection.
const READ_BY_ONE_CONNECTION: usize = 700;
const TOPICS: [&str; 4] = ["ticks:A:1", "ticks:A:2", "ticks:B:1", "ticks:B:2"];

/// What a client knows, and what it may be told next. The event of number `n` says `n` and is of the topic `topic_of(n)`.
struct Account {
    patterns: &'static [&'static str],
    epoch: String,
    /// Everything up to here is delivered, shown, or told as lost.
    accounted: u64,
    /// Told as lost up to here: the fresh snapshot must come.
    owed: Option<u64>,
    losses: usize,
    records: BTreeMap<String, u64>,
}

impl Account {
    fn new(patterns: &'static [&'static str]) -> Self {
        Self { patterns, epoch: String::new(), accounted: 0, owed: None, losses: 0, records: BTreeMap::new() }
    }

    fn subscribe(&mut self, client: &mut Client) {
        for pattern in self.patterns {
            let since = json!({"epoch": self.epoch, "seq": self.accounted});
            let since = if self.epoch.is_empty() { Value::Null } else { since };
            say(client, &json!({"type": "subscribe", "topic": pattern, "since": since}).to_string());
        }
    }

    fn hear(&mut self, client: &mut Client) {
        let said = hear_json(client);
        let seq = said["seq"].as_u64();
        match said["type"].as_str().unwrap() {
            "response" => {
                assert_eq!(said["data"]["status"], "subscribed", "{said}");
                said["data"]["epoch"].as_str().unwrap().clone_into(&mut self.epoch);
            }
            "status" => {
                let data = &said["data"];
                assert_eq!((&data["status"], &data["policy"]), (&json!("lagged"), &json!("resync")), "{said}");
                let (from, to) = (data["from"].as_u64().unwrap(), data["to"].as_u64().unwrap());
                // The fresh snapshot may have been lost in its turn: then that is told from its number on.
                let known = self.owed.unwrap_or(self.next());
                assert!(from <= known && self.accounted <= to, "{said} at {} and {:?}", self.accounted, self.owed);
                self.owed = Some(to);
                self.losses += 1;
            }
            "full_update" => self.take_records(&said, seq.unwrap()),
            "tick" => self.take_event(&said, seq.unwrap()),
            other => panic!("{other}"),
        }
    }

    fn take_event(&mut self, said: &Value, seq: u64) {
        assert_eq!(self.owed, None, "{seq} comes before the fresh snapshot");
        assert_eq!((seq, &said["data"]["n"], &said["topic"]), (self.next(), &json!(seq), &json!(topic_of(seq))));
        assert_eq!(said["prev"].as_u64(), seq.checked_sub(TOPICS.len() as u64).filter(|prev| *prev > 0));
        self.accounted = seq;
        self.records.insert(topic_of(seq).to_owned(), seq);
    }

    fn take_records(&mut self, said: &Value, seq: u64) {
        if said["resync"] == true {
            assert_eq!(self.owed.take(), Some(seq), "{said}");
        }
        self.accounted = self.accounted.max(seq);
        let shown = said["data"]["records"].as_array().cloned().unwrap_or_default();
        let asked: Vec<&str> = match said["topic"].as_str() {
            Some(topic) => vec![topic],
            None => said["topics"].as_array().unwrap().iter().filter_map(Value::as_str).collect(),
        };
        let newest = |topic: &&&str| (1..=seq).rev().find(|seq| topic_of(*seq) == **topic);
        let meant = TOPICS.iter().filter(|topic| asked.iter().any(|pattern| covers(pattern, topic)));
        let expected: Vec<Value> = meant.filter_map(|topic| newest(&topic)).map(|seq| json!(seq)).collect();
        let numbers: Vec<Value> = shown.iter().map(|record| record["n"].clone()).collect();
        assert_eq!(numbers, expected, "the records at {seq}");
        for seq in numbers.iter().filter_map(Value::as_u64) {
            self.records.insert(topic_of(seq).to_owned(), seq);
        }
    }

    /// The next number that is the client's.
    fn next(&self) -> u64 {
        let is_meant = |seq: &u64| self.patterns.iter().any(|pattern| covers(pattern, topic_of(*seq)));
        (self.accounted + 1..).find(is_meant).unwrap()
    }

    fn is_complete(&self) -> bool {
        self.owed.is_none() && self.next() > EVENTS
    }

    fn check_records(&self) {
        let is_meant = |topic: &&&str| self.patterns.iter().any(|pattern| covers(pattern, topic));
        let newest = |topic: &&str| (1..=EVENTS).rev().find(|seq| topic_of(*seq) == *topic).unwrap();
        let expected = TOPICS.iter().filter(is_meant).map(|topic| ((*topic).to_owned(), newest(topic))).collect();
        assert_eq!(self.records, expected);
    }
}

fn topic_of(seq: u64) -> &'static str {
    TOPICS[(seq % TOPICS.len() as u64) as usize]
}

fn covers(pattern: &str, topic: &str) -> bool {
    !pattern.contains(':')
        || pattern.split(':').zip(topic.split(':')).all(|(asked, part)| asked == "*" || asked == part)
}

fn publish_all(daemon: &Daemon) {
    let pad = "x".repeat(PAD);
    for request in 0..EVENTS / EVENTS_PER_REQUEST {
        let first = request * EVENTS_PER_REQUEST + 1;
        let event = |n| json!({"type": "tick", "topic": topic_of(n), "key": "last", "data": {"n": n, "pad": pad}});
        let events: Vec<Value> = (first..first + EVENTS_PER_REQUEST).map(event).collect();
        let answer = daemon.publish("ticks", &Value::Array(events));
        assert_eq!(answer.status, 202, "{answer:?}");
    }
}

fn read_to_the_end(client: &mut Client, account: &mut Account) {
    while !account.is_complete() {
        account.hear(client);
    }
    account.check_records();
}

fn come_and_go(daemon: &Daemon) {
    let mut account = Account::new(&["ticks:*:2"]);
    while !account.is_complete() {
        let mut client = daemon.connect();
        account.subscribe(&mut client);
        account.owed = None; // what was lost is asked for again, by position
        let mut read = 0;
        while read < READ_BY_ONE_CONNECTION && !account.is_complete() {
            account.hear(&mut client);
            read += 1;
        }
    }
    account.check_records();
}

fn every_client_accounts_for_every_number() {
    let daemon = Daemon::start("[hub]\noutbox = \"64KiB\"\n[streams.ticks]\nvisible = true\n");
    let patterns: [&[&str]; 3] = [&["ticks"], &["ticks:*:1", "ticks:A:1", "ticks:A:*"], &["ticks:B:*"]];
    let mut clients = patterns.map(|patterns| (daemon.connect(), Account::new(patterns)));
    for (client, account) in &mut clients {
        account.subscribe(client);
        (0..2 * account.patterns.len()).for_each(|_| account.hear(client)); // a reply and records for each
    }
    let [mut quick, mut overlapping, mut slow] = clients;
    std::thread::scope(|scope| {
        scope.spawn(|| read_to_the_end(&mut quick.0, &mut quick.1));
        scope.spawn(|| read_to_the_end(&mut overlapping.0, &mut overlapping.1));
        scope.spawn(|| come_and_go(&daemon));
        publish_all(&daemon);
    });
    read_to_the_end(&mut slow.0, &mut slow.1);
    assert!(slow.1.losses > 0, "{EVENTS} events fitted into the kernel and the outbox");
}
