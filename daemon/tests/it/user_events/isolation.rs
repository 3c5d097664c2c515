//! Nobody hears what is another's: not by any door, wish, position or page, and whatever becomes of others.

use serde_json::{Value, json};
use tungstenite::Message;

use super::{TRUST, heard, life_cycle, page_of, says_nothing_of_users, shipped, start, tell, token_of};
use crate::events::Events;
use crate::house::{self, Client, say};
use crate::http::{ask, get};
use crate::process::Daemon;

/// Names that somebody might take for one another.
const USERS: [&str; 6] = ["zaphod-1", "zaphod-10", "zaphod-", "Zaphod-1", "zaphod-1 ", " zaphod-1"];
const ROUNDS: usize = 20;

fn native(daemon: &Daemon, user: &str) -> Client {
    let bearer = format!("Bearer {}", token_of(user));
    house::connect(&daemon.clients, &[("Authorization", &bearer)]).unwrap()
}

fn subscriber(daemon: &Daemon, user: &str) -> Client {
    let mut client = native(daemon, user);
    house::subscribe(&mut client, "user");
    client
}

fn events(daemon: &Daemon, user: &str, headers: &[(&str, &str)]) -> Events {
    let bearer = format!("Bearer {}", token_of(user));
    Events::open(&daemon.clients, "topic=user", &[&[("Authorization", &*bearer)], headers].concat())
}

pub fn users_hear_their_own_in_order_on_every_connection() {
    let daemon = start(&shipped(TRUST));
    let mut pages: Vec<_> =
        USERS.iter().flat_map(|user| [(*user, page_of(&daemon, user)), (*user, page_of(&daemon, user))]).collect();
    let mut natives: Vec<_> = USERS.iter().map(|user| (*user, subscriber(&daemon, user))).collect();
    let mut listeners: Vec<_> = USERS.iter().map(|user| (*user, events(&daemon, user, &[]))).collect();
    for (_, listener) in &mut listeners {
        while listener.next().event != "full_update" {}
    }
    for n in 0..ROUNDS {
        for user in USERS {
            tell(&daemon, user, "LIFECYCLE_EVENT", &life_cycle(user, n));
        }
    }
    for n in 0..ROUNDS {
        for (user, page) in &mut pages {
            assert_eq!(heard(page)["data"]["event"], life_cycle(user, n), "{user:?}");
        }
        for (user, native) in &mut natives {
            let event = heard(native);
            assert_eq!((&event["data"], &event["seq"]), (&life_cycle(user, n), &json!(n + 1)), "{user:?}");
        }
        for (user, listener) in &mut listeners {
            assert_eq!(listener.next().data["data"], life_cycle(user, n), "{user:?}");
        }
    }
    says_nothing_of_users(&daemon);
}

/// Wishes of somebody who wants what is another's; `EPOCH` stands for that of the stream.
const WISHES: &[&str] = &[
    r#"{"type":"subscribe","topic":"user"}"#,
    r#"{"type":"subscribe","topic":"user:*"}"#,
    r#"{"type":"subscribe","topic":"user:zaphod-1"}"#,
    r#"{"type":"subscribe","topic":"user:LIFECYCLE_EVENT:zaphod-1"}"#,
    r#"{"type":"subscribe","topic":"*"}"#,
    r#"{"type":"subscribe","topic":"*:*"}"#,
    r#"{"type":"subscribe","stream":"*"}"#,
    r#"{"type":"subscribe","stream":"user","params":{"kind":"LIFECYCLE_EVENT"}}"#,
    r#"{"type":"subscribe","stream":"user","params":{"kind":["LIFECYCLE_EVENT","CHAIN_UPDATE"],"user":"zaphod-1"}}"#,
    r#"{"type":"subscribe","stream":"user","params":{"audience":"zaphod-1"}}"#,
    r#"{"type":"subscribe","stream":"user","audience":"zaphod-1"}"#,
    r#"{"type":"subscribe","stream":"user","user_id":"zaphod-1","client_id":"zaphod-1"}"#,
    r#"{"type":"subscribe","stream":"user","since":{"epoch":"EPOCH","seq":0}}"#,
    r#"{"type":"subscribe","topic":"user:*","since":{"epoch":"EPOCH","seq":1}}"#,
    r#"{"type":"subscribe","stream":"user_events"}"#,
    r#"{"type":"subscribe","topic":"user_events:*"}"#,
    r#"{"type":"subscribe","stream":"bars","params":{"symbol":"user:zaphod-1"}}"#,
    r#"{"type":"subscribe","topic":"bars:user:CHAIN_UPDATE"}"#,
    r#"{"type":"subscribe","stream":"daemon"}"#,
    r#"{"type":"snapshot","stream":"user"}"#,
    r#"{"type":"snapshot","stream":"user","params":{"user":"zaphod-1"}}"#,
    r#"{"type":"snapshot","stream":"user_events"}"#,
    r#"{"type":"command","stream":"user","command":"records","data":{"user":"zaphod-1"},"id":"1"}"#,
    r#"{"type":"publish","topic":"user","kind":"LIFECYCLE_EVENT","data":{},"id":"2"}"#,
];

/// What else somebody asks by plain requests.
const PAGES: &[&str] = &[
    "/v1/streams",
    "/v1/streams/user",
    "/v1/streams/user/snapshot",
    "/v1/streams/user/history",
    "/v1/streams/user/history?topic=user:*",
    "/v1/streams/user/history?audience=zaphod-1",
    "/v1/streams/user/snapshot?audience=zaphod-1&user=zaphod-1",
    "/v1/streams/user_events/history",
    "/v1/streams/user_events/snapshot",
    "/v1/streams/bars/history?topic=user",
    "/v1/asyncapi.json",
    "/v1/openapi.json",
];

pub fn nobody_reaches_what_is_anothers() {
    let daemon = start(&shipped(TRUST));
    let mut owner = subscriber(&daemon, "zaphod-1");
    let chain = json!({"chainId": "c-8675309", "orders": [], "status": "active", "of": "zaphod-1"});
    let (mut epoch, mut seq) = (String::new(), 0);
    for n in 0..3 {
        tell(&daemon, "zaphod-1", "LIFECYCLE_EVENT", &life_cycle("zaphod-1", n));
        tell(&daemon, "zaphod-1", "CHAIN_UPDATE", &chain);
    }
    for _ in 0..6 {
        seq = heard(&mut owner)["seq"].as_u64().unwrap();
    }
    say(&mut owner, r#"{"type":"snapshot","stream":"user"}"#);
    while epoch.is_empty() {
        epoch = heard(&mut owner)["data"]["epoch"].as_str().unwrap_or_default().to_owned();
    }
    let strangers = [Some("zaphod-10"), Some("zaphod-"), None];
    let mut clients: Vec<Client> =
        strangers.iter().map(|user| user.map_or_else(|| daemon.connect(), |user| native(&daemon, user))).collect();
    let mut said = Vec::new();
    for client in &mut clients {
        for wish in WISHES {
            say(client, &wish.replace("EPOCH", &epoch));
        }
        said.extend(until_pong(client));
    }
    let position = format!("user={epoch}:{seq}");
    let earlier = format!("user={epoch}:1");
    let mut listeners = [&position, &earlier].map(|id| events(&daemon, "zaphod-10", &[("Last-Event-ID", id)]));
    tell(&daemon, "zaphod-1", "LIFECYCLE_EVENT", &life_cycle("zaphod-1", 3));
    tell(&daemon, "zaphod-1", "CHAIN_UPDATE", &chain);
    tell(&daemon, "zaphod-10", "LIFECYCLE_EVENT", &life_cycle("nobody else", 0));
    let own = json!("nobody else");
    for listener in &mut listeners {
        loop {
            let block = listener.next();
            if block.data["data"]["of"] == own {
                break;
            }
            said.push(block.data.to_string());
        }
    }
    for (user, client) in strangers.iter().zip(&mut clients) {
        while *user == Some("zaphod-10") && !said.last().is_some_and(|text: &String| text.contains("nobody else")) {
            said.push(heard(client).to_string());
        }
        said.extend(until_pong(client));
    }
    for user in strangers {
        for path in PAGES {
            let bearer = user.map(|user| format!("Bearer {}", token_of(user)));
            let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("Authorization", &**bearer)).collect();
            said.push(ask(&daemon.clients, &format!("GET {path} HTTP/1.1"), &headers, b"").body);
            said.push(get(&daemon.admin, path).body); // whoever is here has not shown to be an operator
        }
    }
    assert!(said.iter().any(|text| text.contains("authentication_required")), "who has no name is told so");
    let foreign = said.iter().find(|text| text.contains("8675309") && !text.contains("nobody else"));
    assert_eq!(foreign, None, "somebody was shown it");
    let heard_by_owner = until_pong(&mut owner).join("\n");
    assert!(heard_by_owner.contains("8675309"), "the owner hears it: {heard_by_owner}");
    says_nothing_of_users(&daemon);
}

/// Everything that is said up to the answer to a ping.
fn until_pong(client: &mut Client) -> Vec<String> {
    say(client, r#"{"type":"ping","id":"the end"}"#);
    let mut said = Vec::new();
    loop {
        let message = heard(client);
        if message["id"] == "the end" {
            return said;
        }
        said.push(message.to_string());
    }
}

pub fn an_event_for_nobody_is_counted_and_heard_by_nobody() {
    let daemon = start(&shipped(TRUST));
    let mut pages = ["zaphod-1", "null", "undefined"].map(|user| (user, page_of(&daemon, user)));
    let nobody = [json!(null), json!("")];
    for audience in &nobody {
        for kind in ["LIFECYCLE_EVENT", "SYSTEM_STATUS_UPDATE"] {
            let payload = life_cycle("nobody", 0);
            let event = json!({"type": kind, "audience": audience, "data": payload});
            assert_eq!(daemon.publish("user_events", &event).status, 202);
        }
    }
    let absent = json!({"type": "LIFECYCLE_EVENT", "data": life_cycle("nobody", 0)});
    assert_eq!(daemon.publish("user_events", &absent).status, 202);
    for (user, page) in &mut pages {
        tell(&daemon, user, "LIFECYCLE_EVENT", &life_cycle(user, 1));
        assert_eq!(heard(page)["data"]["of"], *user);
    }
    let counted = daemon.metric("broadcastd_events_unaddressed_total{stream=\"user_events\"}");
    assert_eq!(counted, Some(5.0));
    says_nothing_of_users(&daemon);
}

pub fn only_named_kinds_go_to_everybody() {
    let config = shipped(TRUST).replace("broadcast = []", "broadcast = [\"SYSTEM_STATUS_UPDATE\"]");
    assert_eq!(config.matches("broadcast = [\"SYSTEM").count(), 2);
    let daemon = start(&config);
    let mut pages = ["zaphod-1", "zaphod-10", "zaphod-1"].map(|user| page_of(&daemon, user));
    let everybody = |kind: &str, n: usize| {
        let event = json!({"type": kind, "data": {"uptime": n, "eventType": "STEP", "totalPnL": 1, "dailyPnL": 1, "positionPnL": 1}});
        assert_eq!(daemon.publish("user_events", &event).status, 202);
    };
    everybody("PNL_UPDATE", 1);
    everybody("LIFECYCLE_EVENT", 2);
    everybody("SYSTEM_STATUS_UPDATE", 3);
    for page in &mut pages {
        let event = heard(page);
        assert_eq!((&event["type"], &event["data"]["status"]["uptime"]), (&json!("SYSTEM_STATUS_UPDATE"), &json!(3)));
    }
    assert_eq!(daemon.metric("broadcastd_events_unaddressed_total{stream=\"user_events\"}"), Some(2.0));
    let mut fresh = page_of(&daemon, "zaphod-1");
    assert_eq!(heard(&mut fresh)["data"]["status"]["uptime"], 3, "who was there is shown it again");
    // The stream that clients hear has to name the kind, too.
    let input_only = config.replacen("stream   = { broadcast = [\"SYSTEM_STATUS_UPDATE\"] }", "", 1);
    daemon.reload(|| daemon.configure(&input_only));
    everybody("SYSTEM_STATUS_UPDATE", 4);
    house::until("it is counted", || {
        daemon.metric("broadcastd_events_unaddressed_total{stream=\"user\"}") == Some(1.0)
    });
    tell(&daemon, "zaphod-10", "LIFECYCLE_EVENT", &life_cycle("zaphod-10", 5));
    let said: Vec<Value> = std::iter::from_fn(|| Some(heard(&mut pages[1])))
        .take_while(|event| event["type"] != "LIFECYCLE_EVENT")
        .collect();
    assert!(said.iter().all(|event| event["data"]["status"]["uptime"] != 4), "{said:?}");
}

pub fn each_user_has_a_history_of_their_own() {
    let history = "[broadcasters.user.stream]\nbroadcast = []\nhistory = { events = 5 }\n";
    let config = shipped(TRUST).replace("stream   = { broadcast = [] }\n", "") + history;
    let daemon = start(&config);
    let mut quiet = subscriber(&daemon, "zaphod-1");
    let mut busy = subscriber(&daemon, "zaphod-10");
    for n in 0..10 {
        tell(&daemon, "zaphod-1", "LIFECYCLE_EVENT", &life_cycle("zaphod-1", n));
    }
    for n in 0..100 {
        tell(&daemon, "zaphod-10", "LIFECYCLE_EVENT", &life_cycle("zaphod-10", n));
    }
    let last = |client: &mut Client, count: usize| (0..count).map(|_| heard(client)).last().unwrap();
    assert_eq!(last(&mut quiet, 10)["seq"], 10);
    assert_eq!(last(&mut busy, 100)["seq"], 100);
    say(&mut quiet, r#"{"type":"snapshot","stream":"user"}"#);
    let epoch = heard(&mut quiet)["data"]["epoch"].clone();
    let resumed = |user: &str, seq: u64| {
        let mut client = native(&daemon, user);
        let wish = json!({"type": "subscribe", "stream": "user", "since": {"epoch": epoch, "seq": seq}, "id": "1"});
        say(&mut client, &wish.to_string());
        let answer = heard(&mut client);
        (answer["data"]["recovered"].clone(), until_pong(&mut client))
    };
    let (recovered, said) = resumed("zaphod-1", 6);
    assert_eq!((recovered, said.len()), (json!(true), 4), "what others were told took nothing of it: {said:?}");
    assert!(said.iter().all(|text| text.contains("\"of\":\"zaphod-1\"")));
    let (recovered, said) = resumed("zaphod-1", 3);
    assert_eq!(recovered, false, "five are kept: {said:?}");
    let (recovered, said) = resumed("zaphod-10", 7);
    assert_eq!(recovered, false, "another's position says nothing of the own log");
    assert!(!said.join("").contains("zaphod-1\""), "{said:?}");
    let (recovered, said) = resumed("zaphod-100", 6);
    assert!(recovered == false && !said.join("").contains("8675309"), "a log of its own begins empty: {said:?}");
}

/// Bytes of each event for the slow user: few of them fill the sockets and an outbox.
const PAYLOAD: usize = 256 << 10;

pub fn a_slow_user_delays_nobody() {
    let daemon = start(&shipped(TRUST));
    let mut slow = page_of(&daemon, "zaphod-1");
    let mut fast = page_of(&daemon, "zaphod-10");
    let pad = json!({"eventType": "STEP", "pad": "x".repeat(PAYLOAD)});
    let lagged = || daemon.metric("broadcastd_lagged_total{stream=\"user\",policy=\"disconnect\"}") == Some(1.0);
    let mut told = 0;
    while !lagged() {
        tell(&daemon, "zaphod-1", "LIFECYCLE_EVENT", &pad);
        tell(&daemon, "zaphod-10", "LIFECYCLE_EVENT", &life_cycle("zaphod-10", told));
        assert_eq!(heard(&mut fast)["data"]["n"], told, "it comes while the other one does not read");
        told += 1;
    }
    let mut events = 0;
    let code = loop {
        match slow.read() {
            Ok(Message::Text(_)) => events += 1,
            Ok(Message::Close(frame)) => break Some(u16::from(frame.unwrap().code)),
            Ok(_) => {}
            Err(_) => break None, // it began to read too late for the reason
        }
    };
    assert!(code.is_none_or(|code| code == 1013) && events < told, "{code:?} after {events} of {told}");
    tell(&daemon, "zaphod-1", "LIFECYCLE_EVENT", &life_cycle("zaphod-1", 1));
    tell(&daemon, "zaphod-10", "LIFECYCLE_EVENT", &life_cycle("zaphod-10", told));
    assert_eq!(heard(&mut fast)["data"]["n"], told);
}
