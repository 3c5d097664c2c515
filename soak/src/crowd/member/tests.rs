use super::*;

fn text(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 126];
    frame.extend((text.len() as u16).to_be_bytes());
    frame.extend(text.as_bytes());
    frame
}

/// An event as the daemon says it, with a number of its own in the payload.
fn event_that_says(seq: u64, n: u64, topic: &str) -> Vec<u8> {
    let pad = "x".repeat(CROWD_PAD);
    text(&format!(
        "{{\"type\":\"tick\",\"stream\":\"crowd\",\"session_id\":null,\"data\":{{\"n\":{n},\"pad\":\"{pad}\"}},\
         \"timestamp\":\"2026-01-01T00:00:00.000Z\",\"seq\":{seq},\"prev\":1,\"topic\":\"{topic}\"}}"
    ))
}

fn event(seq: u64) -> Vec<u8> {
    event_that_says(seq, seq, &Channel::of(seq).topic(CROWD))
}

fn answer(channel: Channel, seq: u64, recovered: bool) -> Vec<u8> {
    let data = json!({"status": "subscribed", "topic": channel.topic(CROWD), "epoch": "e", "recovered": recovered});
    text(&json!({"type": "response", "seq": seq, "data": data}).to_string())
}

fn snapshot(channel: Channel, seq: u64) -> Vec<u8> {
    text(&json!({"type": "full_update", "seq": seq, "topic": channel.topic(CROWD), "data": {}}).to_string())
}

fn fresh(seq: u64) -> Vec<u8> {
    text(&json!({"type": "full_update", "seq": seq, "resync": true, "data": {}}).to_string())
}

fn lagged(from: u64, to: u64) -> Vec<u8> {
    let data = json!({"status": "lagged", "from": from, "to": to, "policy": "resync"});
    text(&json!({"type": "status", "data": data}).to_string())
}

/// One that hears 17, 34, 51… and 7, 1007, 2007…, and has been let in.
fn newcomer() -> Member {
    let mut member = Member::new(7, &Arc::default());
    member.come();
    let mut said = Vec::new();
    member.hear(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", &mut said).unwrap();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("\"topic\":\"crowd:all\"") && said.contains("\"topic\":\"crowd:t7\""), "{said}");
    member
}

/// The same, after it was shown everything up to 0.
fn member() -> Member {
    let mut member = newcomer();
    for channel in [Channel::Shared, Channel::nth(7)] {
        hear(&mut member, &[answer(channel, 0, false), snapshot(channel, 0)].concat()).unwrap();
    }
    member
}

fn hear(member: &mut Member, bytes: &[u8]) -> Result<(), End> {
    member.hear(bytes, &mut Vec::new())
}

fn broken(outcome: Result<(), End>) -> String {
    match outcome {
        Err(End::Broken(why)) => why.split(';').next().unwrap().to_owned(),
        other => panic!("{other:?} breaks no promise"),
    }
}

#[test]
fn what_comes_in_pieces_is_accounted_for() {
    let mut one = member();
    for byte in [event(7), event(17)].concat() {
        hear(&mut one, &[byte]).unwrap();
    }
    assert!(one.has_all_up_to(33) && !one.has_all_up_to(34), "{}", one.describe());
    assert_eq!((one.tally.crowd_heard.get(), one.unread.capacity()), (2, 0));
}

#[test]
fn what_is_left_out_must_have_been_told() {
    let gap = |tell: Option<(u64, u64)>| {
        let mut one = member();
        hear(&mut one, &[event(7), event(17)].concat()).unwrap();
        match tell {
            None => hear(&mut one, &event(51)),
            Some((from, to)) => hear(&mut one, &lagged(from, to)),
        }
    };
    assert_eq!(broken(gap(None)), "34 was lost and is not told");
    assert_eq!(broken(gap(Some((35, 51)))), "34 was lost and is not told");
    assert_eq!(broken(gap(Some((34, 33)))), "a range ends before it begins");
    assert_eq!(gap(Some((34, 51))), Ok(()));
}

#[test]
fn after_a_loss_comes_a_snapshot_and_nothing_before_it() {
    let mut one = member();
    hear(&mut one, &[event(7), lagged(17, 51)].concat()).unwrap();
    assert_eq!(broken(hear(&mut one, &event(68))), "an event before the snapshot at 51");
    assert_eq!(broken(hear(&mut one, &fresh(50))), "a snapshot that nothing has announced");
    hear(&mut one, &[fresh(51), event(68)].concat()).unwrap();
    assert_eq!(broken(hear(&mut one, &fresh(68))), "a snapshot that nothing has announced");
    assert_eq!(one.tally.crowd_lagged.get(), 1);
}

#[test]
fn nothing_comes_twice_to_another_or_as_it_was_not_published() {
    let heard = |bytes: Vec<u8>| {
        let mut one = member();
        hear(&mut one, &[event(7), event(17)].concat()).unwrap();
        broken(hear(&mut one, &bytes))
    };
    assert_eq!(heard(event(17)), "a second time, or too late: 34 comes next");
    assert_eq!(heard(event(8)), "an event of a topic that it does not hear");
    assert_eq!(heard(event_that_says(34, 33, "crowd:all")), "not as it was published");
    assert_eq!(heard(event_that_says(34, 34, "crowd:t7")), "not under its topic");
}

#[test]
fn topics_of_one_stream_come_in_order() {
    let mut one = member();
    assert_eq!(broken(hear(&mut one, &event(17))), "7 of another topic comes first");
}

#[test]
fn who_comes_back_says_how_far_it_is_and_hears_what_it_missed() {
    let mut one = member();
    hear(&mut one, &[event(7), event(17)].concat()).unwrap();
    one.come();
    let mut said = Vec::new();
    one.hear(b"HTTP/1.1 101 \r\n\r\n", &mut said).unwrap();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("\"since\":{\"epoch\":\"e\",\"seq\":17}"), "{said}");
    assert_eq!(broken(hear(&mut one, &event(34))), "an event before the answer");
    hear(&mut one, &[answer(Channel::Shared, 40, true), event(34)].concat()).unwrap();
    assert_eq!(broken(hear(&mut one, &answer(Channel::Shared, 40, true))), "a second answer");
    one.forget();
    let unknown = hear(&mut one, &answer(Channel::nth(7), 40, true));
    assert_eq!(broken(unknown), "a position was resumed that is of another life");
}

#[test]
fn pings_are_answered_and_ends_are_told_apart() {
    let (mut one, mut said) = (member(), Vec::new());
    one.hear(&[0x89, 2, b'h', b'i'], &mut said).unwrap();
    assert_eq!(said[0], 0x8a);
    assert_eq!(hear(&mut one, &[0x88, 2, 0x03, 0xf5]), Err(End::LetGo)); // 1013
    assert_eq!(broken(hear(&mut one, &[0x88, 2, 0x03, 0xea])), "closed with [3, 234] ");
    assert_eq!(broken(hear(&mut one, &[0x88, 0])), "closed with [] ");
    one.come();
    assert_eq!(hear(&mut one, b"HTTP/1.1 503 No\r\n\r\n"), Err(End::Refused));
    assert_eq!(broken(hear(&mut one, b"HTTP/1.1 404 No\r\n\r\n")), "no WebSocket: HTTP/1.1 404 No");
}

#[test]
fn what_nobody_asked_for_is_refused() {
    let gone = json!({"type": "status", "data": {"status": "no_source"}}).to_string();
    assert_eq!(broken(hear(&mut member(), &text(&gone))), "nobody asked for this");
    let full = json!({"type": "full_update", "seq": 0, "topic": "crowd:all", "data": {"records": []}}).to_string();
    let mut one = newcomer();
    hear(&mut one, &answer(Channel::Shared, 0, false)).unwrap();
    assert_eq!(broken(hear(&mut one, &text(&full))), "nobody asked for this snapshot, or it shows something");
}
