//! `broadcastd log-level`: a broadcaster's debug lines appear when somebody wants them, without a restart.

use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{printed, run};
use crate::http::ask;
use crate::needs;
use crate::process::Daemon;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(debug_lines_appear_after_and_not_before),
        needs::nothing(a_level_that_is_not_there_is_told_those_that_are),
        needs::nothing(only_a_proven_operator_changes_it),
    ]
}

const CONFIG: &str = "[log]
level = \"info\"
[streams.ticks]
[broadcasters.bars]
plugin = \"bars\"
listen = [\"ticks\"]
settings.source = \"ticks\"
[broadcasters.bars2]
plugin = \"bars\"
";

/// Has the broadcaster say a line of level debug, if anybody wants it, and waits until it has counted what that is about.
fn say_something(daemon: &Daemon) {
    let malformed = || daemon.get("/v1/broadcasters/bars").json()["metrics"].to_string().matches("malformed").count();
    let series = || daemon.get("/metrics").body.lines().find(|line| line.contains("malformed")).map(str::to_owned);
    let before = (malformed(), series());
    assert_eq!(daemon.publish("ticks", &json!({"type": "tick", "data": {"symbol": 7}})).status, 202);
    crate::house::until("the broadcaster has refused it", || (malformed(), series()) != before);
}

fn debug_lines_appear_after_and_not_before() {
    let daemon = Daemon::start(CONFIG);
    assert_eq!(printed(&daemon, &["log-level"]), "NAME    LEVEL\ndaemon  info\nbars    info\nbars2   info\n");
    say_something(&daemon);
    say_something(&daemon);
    let changed = printed(&daemon, &["log-level", "bars", "debug"]);
    assert_eq!(changed, "bars: debug (was info); until the daemon starts anew or a reload finds another log.level\n");
    assert_eq!(printed(&daemon, &["log-level", "bars"]), "debug\n");
    assert_eq!(printed(&daemon, &["log-level", "bars2"]), "info\n", "its name begins alike");
    assert!(!daemon.log_text().contains("a further trade is refused"));
    say_something(&daemon);
    daemon.wait_for_log("a further trade is refused");
    assert_eq!(daemon.log_text().matches("a further trade is refused").count(), 1, "and nothing of what was before");
    let noted: Value = serde_json::from_str(&daemon.wait_for_log("change a log level")).unwrap();
    assert_eq!((&noted["target"], &noted["outcome"]), (&json!("audit"), &json!("bars: \"debug\" instead of \"info\"")));
    daemon.reload(|| daemon.configure(&format!("{CONFIG}[streams.more]\n")));
    assert_eq!(printed(&daemon, &["log-level", "bars"]), "debug\n", "that reload said nothing new of levels");
    daemon.reload(|| daemon.configure(&CONFIG.replace("level = \"info\"", "level = \"info,bars=warn,bars2=info\"")));
    assert_eq!(printed(&daemon, &["log-level"]), "NAME    LEVEL\ndaemon  info\nbars    warn\nbars2   info\n");
    let told = printed(&daemon, &["log-level", "daemon", "warn", "--format", "json"]);
    let expected = json!({"name": "daemon", "level": "warn", "before": "info"});
    assert_eq!(serde_json::from_str::<Value>(&told).unwrap(), expected);
}

fn a_level_that_is_not_there_is_told_those_that_are() {
    let daemon = Daemon::start(CONFIG);
    for arguments in [&["log-level", "bar"][..], &["log-level", "bar", "info"]] {
        let refused = run(&daemon, arguments);
        let expected = "no broadcaster is called \"bar\"; names: daemon, bars, bars2\n";
        assert_eq!((refused.code, refused.stderr.as_str()), (Some(65), expected));
    }
    let refused = run(&daemon, &["log-level", "bars", "loud"]);
    let expected = "\"loud\" is no level; levels: off, error, warn, info, debug, trace\n";
    assert_eq!((refused.code, refused.stderr.as_str()), (Some(65), expected));
}

fn only_a_proven_operator_changes_it() {
    let daemon = Daemon::start(CONFIG);
    let headers = [("Content-Type", "application/json")];
    let asked = ask(&daemon.admin, "POST /v1/log-levels/bars HTTP/1.1", &headers, b"{\"level\":\"debug\"}");
    assert_eq!((asked.status, &asked.json()["error"]["code"]), (403, &json!("forbidden")));
    let levels = daemon.get("/v1/log-levels").json();
    assert_eq!(
        levels,
        json!({"daemon": "info", "broadcasters": {"bars": "info", "bars2": "info"}, "configured": "info"})
    );
}
