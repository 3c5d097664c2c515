//! The notifier `mqtt` in the real daemon with a real broker, mosquitto: every version, QoS and way in, and a broker that
//! ends in the middle.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use libtest_mimic::Trial;
use serde_json::Value;
use tempfile::TempDir;

use crate::house::until;
use crate::needs;
use crate::process::Daemon;
use crate::programs::{Program, certify, free_port};
use crate::webhook::{AGAIN_SOON, ALERTS, figure, publish, violation};

pub fn tests() -> Vec<Trial> {
    let needs = &["mosquitto", "mosquitto_passwd", "mosquitto_sub"];
    vec![
        needs::programs(needs, every_version_and_qos_arrives_and_is_retained),
        needs::programs(needs, an_encrypted_broker_with_passwords_is_told_nothing_in_clear),
        needs::programs(needs, every_alert_arrives_although_the_broker_ends_in_the_middle),
        needs::programs(needs, what_a_killed_broker_had_not_read_is_sent_again_without_acknowledgements_too),
    ]
}

/// A broker with two doors: one for everybody, one encrypted and for who has the password "hush".
pub struct Mosquitto {
    folder: TempDir,
    pub open: u16,
    closed: u16,
    certificate: PathBuf,
    process: Option<Program>,
}

impl Mosquitto {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = certify(folder.path(), "broker");
        let (open, closed) = (free_port(), free_port());
        let passwords = folder.path().join("passwords");
        let made =
            Command::new("mosquitto_passwd").args(["-b", "-c"]).arg(&passwords).args(["line-7", "hush"]).status();
        assert!(made.unwrap().success());
        let config = format!(
            "per_listener_settings true\nuser root\nlog_dest none\n\
             persistence true\npersistence_location {}/\n\
             listener {open} 127.0.0.1\nallow_anonymous true\n\
             listener {closed} 127.0.0.1\nallow_anonymous false\npassword_file {}\ncertfile {}\nkeyfile {}\n",
            folder.path().display(),
            passwords.display(),
            certificate.display(),
            key.display(),
        );
        std::fs::write(folder.path().join("mosquitto.conf"), config).unwrap();
        let mut broker = Mosquitto { folder, open, closed, certificate, process: None };
        broker.begin();
        broker
    }

    fn begin(&mut self) {
        self.process =
            Some(Program::start(Command::new("mosquitto").arg("-c").arg(self.folder.path().join("mosquitto.conf"))));
        until("the broker listens", || {
            [self.open, self.closed].iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
        });
    }

    /// Ends it in the middle of what it does. What it has acknowledged and retains, it will have again.
    fn end(&mut self) {
        self.process.take().unwrap().terminate();
    }

    /// Ends it without a chance to write or say anything: what it retained is gone, too.
    fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    /// Settings of who believes this broker, with the password of this name.
    fn login(&self, password: &str) -> String {
        let ca = self.certificate.display();
        format!(", ca = \"{ca}\", user = \"line-7\", password = {{ env = \"{password}\" }}")
    }

    /// A subscriber of everything below `topic`, at the door for everybody; it says what a format of mosquitto_sub says.
    pub fn subscriber(&self, topic: &str, format: &str) -> Program {
        self.subscribe("2", topic, format)
    }

    /// A subscriber that says each topic as soon as the broker tells it: behind more than QoS 0 there is more to come, which
    /// a broker that is killed leaves out.
    fn listener(&self, topic: &str) -> Program {
        self.subscribe("0", topic, "%t")
    }

    fn subscribe(&self, qos: &str, topic: &str, format: &str) -> Program {
        let port = self.open.to_string();
        let arguments = ["-h", "127.0.0.1", "-p", &port, "-V", "mqttv5", "-q", qos, "-t", topic, "-F", format];
        // Left to itself, mosquitto_sub 2.0.11 gives up when more retained messages come at once than it lets wait.
        let at_once = ["-D", "connect", "receive-maximum", "1000"];
        Program::start(Command::new("mosquitto_sub").args(arguments).args(at_once))
    }
}

const SECRETS: &[(&str, &str)] = &[("RIGHT", "hush"), ("WRONG", "shout")];

pub fn notifier(name: &str, broker: &str, settings: &str) -> String {
    format!(
        "[broadcasters.{name}]\nplugin = \"mqtt\"\nlisten = [\"alerts\"]\nsettings = {{ broker = \"{broker}\"{settings} }}\n"
    )
}

fn every_version_and_qos_arrives_and_is_retained() {
    let broker = Mosquitto::start();
    let url = format!("mqtt://127.0.0.1:{}", broker.open);
    let (mut config, mut names) = (ALERTS.to_owned(), vec!["text".to_owned()]);
    for (version, name) in [("3.1.1", "v3"), ("5", "v5")] {
        for qos in 0..=2 {
            let settings = format!(
                ", version = \"{version}\", qos = {qos}, retain = true, topic = \"{name}/{qos}/{{violation_id}}/{{rule_name}}\""
            );
            names.push(format!("{name}q{qos}"));
            config.push_str(&notifier(&names[names.len() - 1], &url, &settings));
        }
    }
    config.push_str(&notifier(
        "text",
        &url,
        ", topic = \"text/{characteristic_id}\", payload = \"text\", expiry = \"1h\", retain = true",
    ));
    let daemon = Daemon::start(&config);
    let mut odd = violation(11);
    odd["data"]["rule_name"] = "a/b+c#d é".into();
    publish(&daemon, [violation(10), odd]);
    // Whoever comes later has them all the same.
    let sent = |name| daemon.metric(&format!("broadcastd_plugin_notifier_sent_total{{broadcaster=\"{name}\"}}"));
    until("the broker has them", || names.iter().all(|name| sent(name) == Some(2.0)));
    let later = broker.subscriber("+/+/+/+", "%t %q %r %P %p");
    until("all are there", || later.lines().len() == 12);
    let mut lines = later.lines();
    lines.sort();
    for (version, lines) in ["v3", "v5"].into_iter().zip(lines.chunks(6)) {
        for (qos, lines) in lines.chunks(2).enumerate() {
            for (id, rule, line) in [(10, "Outlier", &lines[0]), (11, "a_b_c_d é", &lines[1])] {
                let (head, payload) = line.split_once('{').unwrap();
                let payload: Value = serde_json::from_str(&format!("{{{payload}")).unwrap();
                let message = payload["id"].as_str().unwrap();
                let properties = if version == "v5" { format!("id:{message} kind:violation") } else { String::new() };
                assert_eq!(head, format!("{version}/{qos}/{id}/{rule} {qos} 1 {properties} "));
                assert_eq!(payload["payload"]["violation_id"], id);
            }
        }
    }
    let texts = broker.subscriber("text/1", "%E %C %P %p");
    until("text is there, too", || !texts.lines().is_empty());
    let line = texts.lines().remove(0);
    let mut words = line.splitn(5, ' ');
    let mut word = || words.next().unwrap();
    assert!((3_000..=3_600).contains(&word().parse::<u32>().unwrap()), "it expires: {line}");
    assert_eq!(word(), "text/plain");
    assert!(word().starts_with("id:alerts-"), "{line}");
    assert_eq!((word(), word()), ("kind:violation", "Characteristic 1 broke rule 1, Outlier."));
}

fn an_encrypted_broker_with_passwords_is_told_nothing_in_clear() {
    let broker = Mosquitto::start();
    let url = format!("mqtts://localhost:{}", broker.closed);
    let (stranger, _) = certify(broker.folder.path(), "stranger");
    let config = |ca: &PathBuf, password: &str, version: &str| {
        let ca = ca.display();
        let settings = format!(
            "{AGAIN_SOON}, ca = \"{ca}\", user = \"line-7\", password = {{ env = \"{password}\" }}, version = \"{version}\", \
             retain = true, topic = \"closed/{{violation_id}}\"",
        );
        format!("{ALERTS}{}", notifier("ops", &url, &settings))
    };
    let daemon = Daemon::start_with(&config(&stranger, "RIGHT", "5"), SECRETS);
    let degraded = |what: &str| until(what, || daemon.get("/v1/broadcasters").body.contains(what));
    publish(&daemon, [violation(1)]);
    degraded("invalid peer certificate");
    daemon.reload(|| daemon.configure(&config(&broker.certificate, "WRONG", "5")));
    degraded("not authorized (0x87)");
    daemon.reload(|| daemon.configure(&config(&broker.certificate, "WRONG", "3.1.1")));
    degraded("not authorized (0x05)");
    daemon.reload(|| daemon.configure(&config(&broker.certificate, "RIGHT", "3.1.1")));
    let later = broker.subscriber("closed/#", "%t");
    until("it arrives when it is mended", || later.lines() == ["closed/1"]);
    daemon.reload(|| daemon.configure(&config(&broker.certificate, "RIGHT", "5")));
    publish(&daemon, [violation(2)]);
    until("version 5 arrives, too", || later.lines() == ["closed/1", "closed/2"]);
    assert!(!daemon.log_text().contains("hush") && !daemon.log_text().contains("shout"));
}

fn every_alert_arrives_although_the_broker_ends_in_the_middle() {
    const ALERTS_IN_ALL: u64 = 150;
    /// The others come when the broker has ended, so that something waits for it however fast the machine is.
    const BEFORE_THE_END: u64 = 100;
    for qos in 0..=2 {
        let mut broker = Mosquitto::start();
        let (url, way_in) = match qos {
            1 => (format!("mqtts://localhost:{}", broker.closed), broker.login("RIGHT")),
            _ => (format!("mqtt://127.0.0.1:{}", broker.open), String::new()),
        };
        // Slow enough that there is a middle.
        let settings = format!(
            "{AGAIN_SOON}{way_in}, qos = {qos}, retain = true, topic = \"all/{{violation_id}}\", rate = {{ per_minute = 9000, burst = 1 }}"
        );
        let daemon = Daemon::start_with(&format!("{ALERTS}{}", notifier("ops", &url, &settings)), SECRETS);
        let before = broker.subscriber("all/#", "%t");
        publish(&daemon, (0..BEFORE_THE_END).map(violation));
        until("some arrive", || before.lines().len() > 20);
        broker.end();
        publish(&daemon, (BEFORE_THE_END..ALERTS_IN_ALL).map(violation));
        until("it is told", || daemon.get("/v1/broadcasters").body.contains("messages are not delivered"));
        let delivered = figure(&daemon, "sent_total");
        // The newest that arrived may not have been acknowledged.
        assert!(delivered >= 20.0 && delivered < ALERTS_IN_ALL as f64, "it was the middle: {delivered}");
        broker.begin();
        until("all are delivered", || figure(&daemon, "sent_total") == ALERTS_IN_ALL as f64);
        let behind = broker.subscriber("all/#", "%t");
        let arrived = || behind.lines().into_iter().collect::<BTreeSet<String>>();
        until("all arrived", || arrived().len() as u64 == ALERTS_IN_ALL);
        assert_eq!(figure(&daemon, "dead_letters_total"), 0.0);
        println!("QoS {qos}: {delivered} delivered before the broker ended");
    }
}

/// QoS 0 has no acknowledgements: delivered is what the broker had read when it answered a ping behind it. Of the others,
/// it is what was acknowledged. The rest is sent again, and nothing twice but what was on its way.
fn what_a_killed_broker_had_not_read_is_sent_again_without_acknowledgements_too() {
    (0..=2).for_each(what_a_killed_broker_had_not_read_is_sent_again);
}

fn what_a_killed_broker_had_not_read_is_sent_again(qos: u8) {
    const ALERTS_IN_ALL: u64 = 150;
    const BEFORE_THE_END: u64 = 100;
    let mut broker = Mosquitto::start();
    let settings = format!(
        "{AGAIN_SOON}, qos = {qos}, retain = true, topic = \"all/{{violation_id}}\", rate = {{ per_minute = 9000, burst = 1 }}"
    );
    let url = format!("mqtt://127.0.0.1:{}", broker.open);
    let daemon = Daemon::start(&format!("{ALERTS}{}", notifier("ops", &url, &settings)));
    let mut before = broker.listener("all/#");
    publish(&daemon, (0..BEFORE_THE_END).map(violation));
    until("some arrive", || before.lines().len() > 20);
    broker.kill();
    publish(&daemon, (BEFORE_THE_END..ALERTS_IN_ALL).map(violation));
    until("it is told", || daemon.get("/v1/broadcasters").body.contains("messages are not delivered"));
    let delivered = figure(&daemon, "sent_total") as u64;
    assert!((20..ALERTS_IN_ALL).contains(&delivered), "it was the middle: {delivered}");
    until("who listened has heard what the broker had read", || before.lines().len() as u64 >= delivered);
    before.kill();
    broker.begin();
    until("all are delivered", || figure(&daemon, "sent_total") as u64 == ALERTS_IN_ALL);
    let behind = broker.subscriber("all/#", "%t");
    until("all that the broker had not read is there now", || behind.lines().len() as u64 == ALERTS_IN_ALL - delivered);
    let heard = |lines: Vec<String>| lines.into_iter().collect::<BTreeSet<String>>();
    let (before, behind) = (heard(before.lines()), heard(behind.lines()));
    assert_eq!(before.union(&behind).count() as u64, ALERTS_IN_ALL);
    assert!(before.intersection(&behind).count() <= 2, "two at most are on their way at a time");
    assert_eq!(figure(&daemon, "dead_letters_total"), 0.0);
    println!(
        "QoS {qos}: {delivered} delivered before the broker was killed, {} of them heard twice",
        before.intersection(&behind).count()
    );
}
