//! What a page hears, which is nothing, while its stream has no source; and when the stream is gone.

use serde_json::{Value, json};

use super::{TRUST, heard, page_of, shipped, start, tell};
use crate::house::{Client, hear_close, hear_json, until};
use crate::process::Daemon;

const UNTOLD: &str = "broadcastd_no_source_untold_total{stream=\"user\",dialect=\"user\"}";
const PLUGIN: &str = "plugin   = \"user_events\"";

/// Tells a profit, which stays the newest of its user.
fn earn(daemon: &Daemon, profit: u32) {
    let payload = json!({"totalPnL": profit, "dailyPnL": 0, "positionPnL": null});
    tell(daemon, "zaphod-1", "PNL_UPDATE", &payload);
}

/// The profit that the page is told next, and nothing else before it.
fn profit(page: &mut Client) -> Value {
    let mut said = heard(page);
    assert_eq!(said["type"], "PNL_UPDATE", "{said}");
    said["data"]["pnl"]["totalPnL"].take()
}

/// A native client, which is told of sources.
fn watcher(daemon: &Daemon) -> Client {
    let bearer = format!("Bearer {}", super::token_of("zaphod-2"));
    let mut client = crate::house::connect(&daemon.clients, &[("Authorization", &bearer)]).unwrap();
    crate::house::subscribe(&mut client, "user");
    client
}

pub fn a_source_that_goes_and_comes_again_is_counted_and_told_in_no_words() {
    let enabled = shipped(TRUST);
    let disabled = enabled.replace(PLUGIN, &format!("{PLUGIN}\nenabled = false"));
    let daemon = start(&enabled);
    let (mut page, mut watcher) = (page_of(&daemon, "zaphod-1"), watcher(&daemon));
    earn(&daemon, 1);
    assert_eq!((profit(&mut page), daemon.metric(UNTOLD)), (json!(1), None));

    daemon.reload(|| daemon.configure(&disabled));
    let told = hear_json(&mut watcher)["data"].take();
    assert_eq!(told, json!({"status": "no_source", "reason": "the broadcaster is disabled"}));
    until("it is counted", || daemon.metric(UNTOLD) == Some(1.0));
    daemon.wait_for_log("connections whose dialect has no words for it were not told");
    let mut newcomer = page_of(&daemon, "zaphod-1");
    assert_eq!(profit(&mut newcomer), 1, "what was told last stays the newest");
    until("who comes meanwhile is counted", || daemon.metric(UNTOLD) == Some(2.0));

    daemon.reload(|| daemon.configure(&enabled));
    assert_eq!(hear_json(&mut watcher)["data"]["status"], "source");
    earn(&daemon, 2);
    assert_eq!([&mut page, &mut newcomer].map(profit), [2, 2], "nothing was said in between");

    // A stream that is gone is another matter: who waits there would wait for ever.
    daemon.reload(|| daemon.configure(&format!("[auth]\n{TRUST}\n[streams.user_events]\n")));
    for page in [&mut page, &mut newcomer] {
        assert_eq!(hear_close(page), (1013, "the stream was removed; come back later".to_owned()));
    }
}

pub fn a_page_stays_while_its_broadcaster_is_quarantined_and_goes_on_behind_that() {
    let settings = "[broadcasters.user.settings";
    let failing = shipped(TRUST)
        .replace(PLUGIN, "plugin = \"faltering\"\nrestart = { max = 0 }")
        .replace(settings, &format!("{settings}]\npanics = 1\nevery = 1\n{settings}.settings"));
    let daemon = start(&failing);
    let (mut page, mut watcher) = (page_of(&daemon, "zaphod-1"), watcher(&daemon));
    earn(&daemon, 1);
    let told = hear_json(&mut watcher)["data"].take();
    assert_eq!((&told["status"], told["reason"].is_string()), (&json!("no_source"), true), "{told}");
    until("it is counted", || daemon.metric(UNTOLD) == Some(1.0));

    let again = failing.replace("restart = { max = 0 }", "restart = { max = 1 }");
    daemon.reload(|| daemon.configure(&again));
    assert_eq!(hear_json(&mut watcher)["data"]["status"], "source");
    earn(&daemon, 2);
    assert_eq!(profit(&mut page), 2, "what it failed of is a gap for it, and no word to the page");
}
