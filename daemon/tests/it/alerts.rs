//! From a sample to whoever is told of it: control charts, a broker, a mailbox and a receiver that others wrote; and what the
//! documents show of that works as it is pasted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::charts;
use crate::email::{self, Mailbox};
use crate::house::{hear_json, until};
use crate::mqtt::{self, Mosquitto};
use crate::needs;
use crate::process::Daemon;
use crate::programs::{Program, free_port};
use crate::tidy::tree;
use crate::user_events::shipped;
use crate::webhook::{self, Receiver, TAKE};

pub fn tests() -> Vec<Trial> {
    let broker = &["mosquitto", "mosquitto_passwd", "mosquitto_sub", "python3-aiosmtpd", "curl"];
    vec![
        needs::programs(broker, a_violation_and_its_acknowledgement_reach_a_broker_a_mailbox_and_a_receiver),
        needs::programs(&["mosquitto", "curl-mqtt"], the_way_to_a_message_is_as_the_page_shows),
        needs::program("curl", the_five_minutes_of_control_charts_are_as_the_page_shows),
    ]
}

/// A payload without its time, as clients here hear it.
fn timeless(payload: &Value) -> Value {
    let mut payload = payload.clone();
    payload["timestamp"] = "…".into();
    payload
}

/// Has `curl` post this to the operator's listener, and gives what is answered.
fn curl(daemon: &Daemon, path: &str, body: &Value) -> Value {
    let file = daemon.folder.path().join("body.json");
    fs::write(&file, body.to_string()).unwrap();
    let (url, data) = (format!("http://{}{path}", daemon.admin), format!("@{}", file.display()));
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-H", "Content-Type: application/json", "--data-binary", &data, &url]);
    serde_json::from_slice(&curl.output().unwrap().stdout).unwrap()
}

fn acknowledge(daemon: &Daemon, violation: &Value, reason: &str) {
    let body = json!({"violation_id": violation, "reason": reason});
    let answer = curl(daemon, "/v1/broadcasters/alerts/commands/acknowledge", &body);
    assert_eq!((&answer["result"]["user"], &answer["result"]["reason"]), (&json!("operator:admin"), &json!(reason)));
}

fn a_violation_and_its_acknowledgement_reach_a_broker_a_mailbox_and_a_receiver() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, mailbox) = (Mosquitto::start(), Mailbox::start(folder.path(), "starttls"));
    let receiver = Receiver::start(|_| TAKE);
    let critical = ", match = { severity = [\"CRITICAL\"] }";
    let topics = ", retain = true, topic = \"spc/{characteristic_id}/{violation_id}\"";
    let config = [
        charts::config(r#"{ auto = { chart = "xbar_r", rules = "nelson" } }"#),
        webhook::notifier("pager", &receiver.url(), critical),
        mailbox.notifier("office", &format!("{}{critical}, cooldown = \"1h\"", mailbox.login())),
        mqtt::notifier("floor", &format!("mqtt://127.0.0.1:{}", broker.open), topics),
    ];
    let daemon = Daemon::start_with(&config.concat(), email::SECRETS);
    let mut client = daemon.subscriber("alerts");
    let floor = broker.subscriber("spc/#", "%t %p");
    let (mut samples, known) = charts::piston_rings();
    samples.push(charts::sample(json!(7), json!({"values": [74.0, 74.0, 74.0, 74.0, 74.0]})));
    assert_eq!(curl(&daemon, "/v1/streams/samples/publish", &json!(samples))["accepted"], 41);
    let heard = charts::hear_until(&mut client, 41, "data");
    charts::are_the_published(&heard, &known);

    let told: Vec<&Value> = heard.iter().filter(|(kind, _)| kind == "violation").map(|(_, data)| data).collect();
    let (grave, slight): (Vec<&Value>, Vec<&Value>) = told.iter().partition(|data| data["severity"] == "CRITICAL");
    let at_floor = || {
        let mut all = BTreeMap::<String, Vec<Value>>::new();
        for line in floor.lines().iter().filter(|line| line.starts_with("spc/7/")) {
            let (topic, payload) = line.split_once(' ').unwrap();
            all.entry(topic.to_owned()).or_default().push(serde_json::from_str(payload).unwrap());
        }
        all
    };
    until("the floor is told of each", || at_floor().len() == told.len());
    let topics: BTreeSet<String> = told.iter().map(|data| format!("spc/7/{}", data["violation_id"])).collect();
    assert_eq!(at_floor().into_keys().collect::<BTreeSet<_>>(), topics);
    let payloads = || receiver.taken().iter().map(|request| timeless(&request.json()["payload"])).collect::<Vec<_>>();
    until("the pager is told of what is grave", || payloads().len() == grave.len());
    assert_eq!(payloads().iter().collect::<Vec<_>>(), grave, "as it was told, in its order");
    until("the office has a letter", || mailbox.letters().len() == 1);
    let letter = mailbox.letters().remove(0);
    assert_eq!(letter["subject"], "CRITICAL: Outlier (rule 1) at characteristic 7");
    assert!(letter["body"].to_string().contains(&format!("Violation: {}", grave[0]["violation_id"])), "{letter}");

    // The pager and the office hear of what they were told of, the floor of everything.
    for (data, reason) in [(slight[0], "False Alarm"), (grave[0], "Tool Change")] {
        acknowledge(&daemon, &data["violation_id"], reason);
        let said = hear_json(&mut client);
        let update = (&said["type"], &said["data"]["violation_id"], &said["data"]["reason"]);
        assert_eq!(update, (&json!("ack_update"), &data["violation_id"], &json!(reason)));
        let topic = format!("spc/7/{}", data["violation_id"]);
        until("the floor is told of it", || at_floor()[&topic].len() == 2);
        let message = &at_floor()[&topic][1];
        assert_eq!((&message["kind"], timeless(&message["payload"])), (&json!("ack_update"), timeless(&said["data"])));
    }
    until("the pager is told of it", || payloads().len() == grave.len() + 1);
    let last = receiver.taken().pop().unwrap().json();
    let subject = format!("Acknowledged: violation {} by operator:admin", grave[0]["violation_id"]);
    assert_eq!((&last["kind"], &last["subject"]), (&json!("ack_update"), &json!(subject)));
    until("the office has another letter", || mailbox.letters().len() == 2);
    assert_eq!(mailbox.letters()[1]["subject"], subject);
    assert_eq!(daemon.readiness(), (200, vec![]));
}

/// The blocks of a page from this heading to the next one, each with its language.
pub fn blocks(page: &str, from: &str) -> Vec<(String, String)> {
    let page = fs::read_to_string(tree::root().join(page)).unwrap();
    let section = page.split_once(from).unwrap().1;
    let section = section.split("\n## ").next().unwrap();
    let mut all = Vec::new();
    for block in section.split("\n```").skip(1).step_by(2) {
        let (language, text) = block.split_once('\n').unwrap();
        all.push((language.to_owned(), text.to_owned()));
    }
    all
}

/// Whether a text is as shown, where `…` stands for anything.
pub fn is_shown(told: &str, shown: &str) -> bool {
    let (told, mut parts) = (told.trim(), shown.trim().split('…').collect::<Vec<_>>());
    let (first, last) = (parts.remove(0), parts.pop());
    let Some(last) = last else { return told == first };
    let Some(rest) = told.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else { return false };
    let behind = |rest: &str, part: &str| rest.find(part).map(|at| at + part.len());
    parts.iter().try_fold(rest, |rest, part| Some(&rest[behind(rest, part)?..])).is_some()
}

/// A page that is followed: its commands are run, what it shows of answers is compared.
struct Reader {
    daemon: Daemon,
    blocks: std::vec::IntoIter<(String, String)>,
    /// The number of the violation that the page shows, and the one that was told.
    number: (String, String),
    /// Other addresses that the page names, and those of the test.
    places: Vec<(&'static str, String)>,
}

impl Reader {
    fn new(daemon: Daemon, blocks: Vec<(String, String)>, places: Vec<(&'static str, String)>) -> Self {
        let shown = blocks.iter().find_map(|(_, text)| text.split_once("\"violation_id\":")).unwrap().1;
        let shown: String = shown.chars().take_while(char::is_ascii_digit).collect();
        Reader { daemon, blocks: blocks.into_iter(), number: (shown.clone(), shown), places }
    }

    /// The next block, which is of this language.
    fn next(&mut self, language: &str) -> String {
        let (found, mut text) = self.blocks.next().unwrap();
        assert_eq!(found, language, "{text}");
        let here = [("127.0.0.1:9180", &self.daemon.admin), ("127.0.0.1:8080", &self.daemon.clients)];
        let there = self.places.iter().map(|(shown, own)| (*shown, own));
        for (shown, own) in here.into_iter().chain(there) {
            text = text.replace(shown, own);
        }
        text.replace(&self.number.0, &self.number.1)
    }

    /// A program that goes on beside everything else.
    fn start(&mut self) -> Program {
        let script = self.next("sh");
        Program::start(Command::new("sh").args(["-c", &format!("exec {script}")]))
    }

    /// Runs the next command, and its answer is that of the block behind it.
    fn run(&mut self) {
        let script = self.next("sh");
        let done = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
        let (told, shown) = (String::from_utf8(done.stdout).unwrap(), self.next("json"));
        assert!(is_shown(&told, &shown), "{script}answers {told}\nand not {shown}");
    }

    /// The lines of the next block are said one after the other, whatever is said between them. Where the page shows the
    /// number of a violation for the first time, the one that is said is learnt.
    fn hear(&mut self, language: &str, program: &Program) {
        let shown = self.next(language);
        until(&format!("this is said:\n{shown}"), || self.finds(&shown, &program.lines().join("\n")));
    }

    fn finds(&mut self, shown: &str, said: &str) -> bool {
        let (mut said, mut number) = (said.lines(), self.number.1.clone());
        let is_found = shown.lines().all(|line| match said.find_map(|said| self.number_in(said, line)) {
            Some(found) => {
                number = found;
                true
            }
            None => false,
        });
        if is_found {
            self.number.1 = number;
        }
        is_found
    }

    /// The number of the violation, if this was said as shown: that of the line where it shows one.
    fn number_in(&self, said: &str, shown: &str) -> Option<String> {
        let is_new = self.number.0 == self.number.1;
        let number = match shown.split_once(&*self.number.1).filter(|_| is_new) {
            Some((before, _)) => {
                let (_, behind) = said.split_once(before.rsplit('…').next()?)?;
                behind.chars().take_while(char::is_ascii_digit).collect()
            }
            None => self.number.1.clone(),
        };
        is_shown(said, &shown.replace(&self.number.1, &number)).then_some(number)
    }
}

fn the_way_to_a_message_is_as_the_page_shows() {
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mosquitto.conf");
    fs::write(&file, format!("user root\nlistener {port} 127.0.0.1\nallow_anonymous true\n")).unwrap();
    let _broker = Program::start(Command::new("mosquitto").arg("-c").arg(file));
    until("the broker listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let place = format!("127.0.0.1:{port}");
    let mut blocks = blocks("docs/alerts.md", "# From a sample to a message");
    let config = blocks.remove(0).1.replace("127.0.0.1:1883", &place);
    let mut reader = Reader::new(Daemon::start(&config), blocks, vec![("127.0.0.1:1883", place)]);
    let floor = reader.start();
    reader.run();
    reader.run();
    reader.hear("text", &floor);
    reader.run();
    reader.hear("text", &floor);
    reader.run();
    assert_eq!(reader.blocks.len(), 0, "all of the page was followed");
}

fn the_five_minutes_of_control_charts_are_as_the_page_shows() {
    let blocks = blocks("docs/spc.md", "\n## In five minutes");
    let mut reader = Reader::new(Daemon::start(&shipped("")), blocks, Vec::new());
    let look = reader.start();
    until("it listens", || look.lines().iter().any(|line| line == "event: full_update"));
    reader.run();
    reader.hear("text", &look);
    reader.run();
    reader.hear("text", &look);
    reader.run();
    reader.hear("text", &look);
    reader.run();
    assert_eq!(reader.blocks.len(), 0, "all of it was followed");
}
