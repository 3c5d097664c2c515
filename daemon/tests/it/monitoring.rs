//! What is shipped to watch the daemon with: alert rules, their test and a dashboard. Linters take all of it, and nothing
//! in it names a metric that there is not.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use broadcastd::metrics;
use broadcastd::metrics::labels::{FREE, LABELS};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::house;
use crate::http;
use crate::needs;
use crate::process::Daemon;
use crate::tidy::tree;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::program("promtool", the_rules_pass_their_linter_and_their_test),
        needs::program("promtool", prometheus_takes_the_configuration_that_is_shown),
        needs::nothing(every_alert_has_a_case_and_a_section),
        needs::nothing(only_metrics_that_there_are_are_named),
        needs::program("promtool", every_expression_of_the_dashboard_is_one),
        needs::nothing(every_panel_has_a_place_a_unit_and_a_source),
        needs::nothing(every_label_of_a_scrape_is_in_the_reference),
        needs::nothing(what_the_rules_ask_of_broadcasters_and_shards_is_there),
    ]
}

const RULES: &str = "packaging/prometheus/broadcastd.rules.yml";
const CASES: &str = "packaging/prometheus/broadcastd.rules.test.yml";
const DASHBOARD: &str = "packaging/grafana/broadcastd.json";
const PAGE: &str = "docs/monitoring.md";

fn the_rules_pass_their_linter_and_their_test() {
    promtool(&["check", "rules"], &tree::root().join(RULES));
    promtool(&["test", "rules"], &tree::root().join(CASES));
}

fn prometheus_takes_the_configuration_that_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let rules = tree::root().join(RULES).display().to_string();
    let token = folder.path().join("token");
    std::fs::write(&token, "secret").unwrap();
    let page = read(PAGE)
        .replace("/usr/share/broadcastd/prometheus/broadcastd.rules.yml", &rules)
        .replace("/etc/prometheus/broadcastd.token", token.to_str().unwrap());
    let shown: Vec<&str> = page.split("```yaml\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0)).collect();
    assert_eq!(shown.len(), 2);
    for configuration in shown {
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, configuration).unwrap();
        promtool(&["check", "config"], &file);
    }
}

fn every_alert_has_a_case_and_a_section() {
    let (rules, cases, page) = (read(RULES), read(CASES), read(PAGE));
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 20, "{alerts:?}");
    let expected: Vec<&str> = cases.lines().filter(|line| line.contains("- {labels:")).collect();
    for alert in &alerts {
        let fires = format!("alertname=\"{alert}\", instance=\"sick\"");
        assert!(expected.iter().any(|line| line.contains(&fires)), "no case makes {alert} fire");
        assert!(page.contains(&format!("\n### {alert}\n")), "{PAGE} does not say what to do about {alert}");
        let rule = rules.split(&format!("- alert: {alert}\n")).nth(1).unwrap().split("- alert: ").next().unwrap();
        let section = format!("{PAGE}#{}", alert.to_lowercase());
        let description = rule.lines().find(|line| line.trim().starts_with("description: ")).unwrap();
        assert!(description.contains(&section) && rule.contains("summary: "), "{alert} does not name {section}");
    }
    assert!(expected.iter().all(|line| !line.contains("\"well\"")), "what is within bounds fires");
    let sections = page.lines().filter_map(|line| line.strip_prefix("### ")).filter(|name| !alerts.contains(name));
    assert_eq!(sections.collect::<Vec<_>>(), [""; 0], "sections of alerts that are gone");
}

fn only_metrics_that_there_are_are_named() {
    for file in [RULES, CASES, DASHBOARD] {
        let text = read(file);
        let named = names(&text);
        assert!(named.len() > 10, "{file} names {named:?}");
        let unknown: Vec<&str> = named.into_iter().filter(|name| !is_metric(name)).collect();
        assert_eq!(unknown, [""; 0], "{file} names what docs/metrics.md does not");
    }
    assert!(!is_metric("broadcastd_events_publish_total") && !is_metric("broadcastd_memory_bytes_bucket"));
}

fn every_expression_of_the_dashboard_is_one() {
    let expressions: Vec<String> = panels().iter().flat_map(expressions).collect();
    assert!(expressions.len() > 30);
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (number, expression) in expressions.iter().enumerate() {
        let expression = Value::from(expression.replace("$__rate_interval", "5m"));
        rules.push_str(&format!("  - {{record: \"panel:{number}\", expr: {expression}}}\n"));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yml");
    std::fs::write(&file, rules).unwrap();
    promtool(&["check", "rules"], &file);
}

fn every_panel_has_a_place_a_unit_and_a_source() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|variable| variable["name"] == "datasource" && variable["type"] == "datasource"));
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title} has the id of another");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + w <= 24, "{title} is beside the page");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} lies on another");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["fieldConfig"]["defaults"]["unit"].as_str().is_some_and(|unit| !unit.is_empty()), "{title}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty());
        for source in targets.iter().chain([&panel]).map(|one| &one["datasource"]["uid"]) {
            assert_eq!(source, "${datasource}", "{title}");
        }
        let chosen = expressions(&panel).iter().all(|expression| expression.contains("instance=~\"$instance\""));
        assert!(chosen, "{title} shows more than was chosen");
    }
}

fn every_label_of_a_scrape_is_in_the_reference() {
    let quick = "restart = { max = 1, backoff = \"10ms..20ms\" }";
    let bad = format!("plugin = \"faulty\"\nsettings = {{ mode = \"panic\", interval_ms = 10 }}\n{quick}\n");
    let streams = "[streams.ticks]\nvisible = true\n[streams.mine]\nvisible = true\nprivate = true\n";
    let config = format!("{streams}[broadcasters.well]\nplugin = \"faulty\"\n[broadcasters.bad]\n{bad}");
    let daemon = Daemon::start(&config);
    let foreign = house::connect(&daemon.clients, &[("Origin", "https://example.com")]);
    assert_eq!(foreign.unwrap_err().status, 403);
    let mut client = daemon.subscriber("well");
    for said in
        [r#"{"type":"jump","id":"1"}"#, r#"{"type":"subscribe","stream":"nope","id":"2"}"#, r#"{"type":"ping"}"#]
    {
        house::say(&mut client, said);
    }
    http::post(&daemon.clients, "/v1/log", "application/json", b"[]");
    http::post(&daemon.clients, "/v1/log", "application/json", br#"{"level":"info","message":"x"}"#);
    for body in [&b"{"[..], b"{}", br#"{"type":"tick","data":{}}"#] {
        http::post(&daemon.admin, "/v1/streams/ticks/publish", "application/json", body);
    }
    http::post(&daemon.admin, "/v1/broadcasters/none/commands/any", "application/json", b"null");
    daemon.refuse(|| daemon.configure("[hub]\nrat = 1\n"));
    daemon.reload(|| daemon.configure(&format!("{config}[hub]\n")));
    daemon.wait_for_log("quarantined; correct it");
    let page = daemon.get("/metrics").body;
    let codes = read("docs/protocol.md");
    let mut seen = BTreeSet::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        if !is_metric(name) {
            continue; // a plugin's own
        }
        let metric = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
        let labels = line.split_once('{').map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
        for (label, value) in labels.split("\",").filter_map(|pair| pair.trim_end_matches('"').split_once("=\"")) {
            if FREE.iter().any(|(free, _)| *free == label) {
                continue;
            }
            let mut known = LABELS.iter().filter(|known| known.name == label && known.metrics.contains(&metric));
            let is_listed = known.any(|known| {
                let is_elsewhere = !known.others.is_empty() && codes.contains(&format!("| `{value}` |"));
                is_elsewhere || known.values.iter().any(|(listed, _)| *listed == value)
            });
            assert!(is_listed, "docs/metrics.md does not say what this is: {line}");
            seen.insert((metric, label));
        }
    }
    let all: BTreeSet<_> =
        LABELS.iter().flat_map(|label| label.metrics.iter().map(|metric| (*metric, label.name))).collect();
    // What falls behind, runs short of memory or goes wrong between daemon and proxies is no matter of a moment.
    assert!(all.is_superset(&seen) && seen.len() >= 10, "only {seen:?} of {all:?}");
}

fn what_the_rules_ask_of_broadcasters_and_shards_is_there() {
    let two = "[broadcasters.one]\nplugin = \"faulty\"\n[broadcasters.two]\nplugin = \"faulty\"\n";
    let daemon = Daemon::start(&format!("[hub]\nmemory = \"100MiB\"\n{two}"));
    let state = |name: &str, state: &str| {
        daemon.metric(&format!("broadcastd_broadcaster_state{{broadcaster=\"{name}\",state=\"{state}\"}}"))
    };
    assert_eq!((state("one", "running"), state("two", "running")), (Some(1.0), Some(1.0)));
    assert_eq!(daemon.metric("broadcastd_broadcaster_degraded{broadcaster=\"one\"}"), Some(0.0));
    assert_eq!(daemon.metric("broadcastd_memory_bound_bytes"), Some(100.0 * 1024.0 * 1024.0));
    let turns = || daemon.metric("broadcastd_shard_turns_total{shard=\"0\"}").unwrap();
    let before = turns();
    house::until("the shard turns with nothing to do", || turns() > before);
    let rest = "[broadcasters.one]\nplugin = \"faulty\"\nenabled = false\n";
    daemon.reload(|| daemon.configure(rest));
    assert_eq!((state("one", "stopped"), state("one", "running")), (Some(1.0), None));
    assert_eq!(state("two", "stopped").or(state("two", "running")), None, "it is not configured any more");
}

fn promtool(command: &[&str], file: &Path) {
    let said = Command::new("promtool").args(command).arg(file).output().unwrap();
    let text = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    assert!(said.status.success(), "{text}");
}

/// Everything in a text that looks like one of our metrics.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("broadcastd_") || word.starts_with("process_")).collect()
}

fn is_metric(name: &str) -> bool {
    let lists = [metrics::COUNTERS, metrics::GAUGES, metrics::PROCESS];
    let part = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
    let has = |list: &[(&str, &str)], name: &str| list.iter().any(|(listed, _)| *listed == name);
    lists.iter().any(|list| has(list, name)) || part.is_some_and(|histogram| has(metrics::HISTOGRAMS, histogram))
}

fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    dashboard["panels"].as_array().unwrap().clone()
}

fn expressions(panel: &Value) -> Vec<String> {
    let targets = panel["targets"].as_array().into_iter().flatten();
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(tree::root().join(path)).unwrap()
}
