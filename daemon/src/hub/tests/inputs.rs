//! What listeners are fed: each input until it is saved, nothing twice, and what is gone is told.

use super::*;
use crate::hub::inputs::Input;
use crate::hub::repeats::MAX_INPUTS;

fn numbers(batch: &Batch) -> Vec<u64> {
    batch.events.iter().map(|input| input.number).collect()
}

fn shown(stream: &Stream) -> String {
    let wish = Wish { patterns: &[pattern("bars")], audience: "", reader: Reader::Client, since: None };
    let Answer::Snapshot(snapshot) = stream.answer(&wish).unwrap().answer else { panic!() };
    String::from_utf8(snapshot.collections().concat_records()).unwrap()
}

#[test]
fn a_cause_that_is_forgotten_is_refused_and_never_dropped() {
    let stream = stream(small_history(1));
    let caused = |seq| {
        let cause = Some(Cause { stream: "ticks", epoch: "e1", seq, ordinal: 0 });
        stream.publish(&Draft { cause, ..draft("A:1", "", "{}") }, None)
    };
    let inputs = MAX_INPUTS as u64;
    (2..=inputs + 1).for_each(|seq| _ = caused(seq).unwrap());
    assert_eq!(caused(1).map(|accepted| accepted.repeated), Ok(false), "as many as it knows, and one that is new");
    assert_eq!(caused(1), Err(Refused::OldCause(MAX_INPUTS)));
    assert!(caused(2).unwrap().repeated);
    let why = Refused::OldCause(MAX_INPUTS).to_string();
    assert!(why.ends_with("32768 later inputs led to events; publish it earlier, or without a cause"), "{why}");
}

#[test]
fn a_repeated_event_refreshes_its_record_once_the_records_are_told() {
    let stream = stream(Settings::default());
    let caused = |payload| {
        let cause = Some(Cause { stream: "ticks", epoch: "e1", seq: 1, ordinal: 0 });
        stream.publish(&Draft { cause, ..draft("A", "k", payload) }, None).unwrap().repeated
    };
    assert!(!caused("{\"n\":2}"));
    stream.set_source(Source::Absent("it failed".into()));
    assert!(caused("{\"n\":1}"));
    assert_eq!(shown(&stream), "{\"n\":2}", "subscribers have seen it, and nothing older follows");
    stream.begin_records();
    stream.end_records();
    stream.set_owner(&Arc::default());
    assert!(caused("{\"n\":2}"));
    assert_eq!(shown(&stream), "{\"n\":2}", "the state that the records were told from did not have it");
}

#[test]
fn a_gap_reaches_to_what_is_kept_and_no_further() {
    let stream = stream(Settings::default());
    (0..3).for_each(|_| _ = publish(&stream, "A", "{}"));
    let told = |position: &Position| {
        let listener = stream.listen(Arc::default(), Some(position));
        let batch = stream.read_inputs(listener, 10);
        stream.unlisten(listener);
        (batch.gap, numbers(&batch))
    };
    let other = Position { epoch: "other".into(), seq: 7 };
    let keeps = stream.listen(Arc::default(), None);
    publish(&stream, "A", "{}");
    stream.publish(&Draft { flags: Flags::RECORD_ONLY, ..draft("A", "k", "{}") }, None).unwrap();
    publish(&stream, "A", "{}");
    assert_eq!(told(&other), (Some((0, 3)), vec![4, 6]), "what is kept for somebody else is not gone");
    assert_eq!(told(&since(2)), (Some((3, 3)), vec![4, 6]));
    stream.saved_inputs(keeps, 4);
    assert_eq!(told(&since(4)), (None, vec![6]), "a refreshed record is no input, and no gap");
}

#[test]
fn a_gap_is_told_until_it_is_saved() {
    let stream = stream(Settings::default());
    (0..3).for_each(|_| _ = publish(&stream, "A", "{}"));
    let listener = stream.listen(Arc::default(), Some(&since(1)));
    let gap = || stream.read_inputs(listener, 10).gap;
    assert_eq!((gap(), gap()), (Some((2, 3)), None));
    stream.rewind_inputs(listener);
    assert_eq!(gap(), Some((2, 3)), "whoever was told failed before it was saved");
    stream.saved_inputs(listener, 3);
    stream.rewind_inputs(listener);
    assert_eq!(gap(), None);
}

#[test]
fn listeners_stand_where_they_saved_each_for_itself() {
    let stream = stream(Settings::default());
    let [slow, fast] = [(); 2].map(|()| stream.listen(Arc::default(), None));
    (0..4).for_each(|_| _ = publish(&stream, "A", "{}"));
    let read = |listener| numbers(&stream.read_inputs(listener, 10));
    assert_eq!((read(slow), read(fast)), (vec![1, 2, 3, 4], vec![1, 2, 3, 4]));
    stream.saved_inputs(fast, 4);
    stream.saved_inputs(slow, 1);
    [slow, fast].into_iter().for_each(|listener| stream.rewind_inputs(listener));
    assert_eq!((read(slow), read(fast)), (vec![2, 3, 4], vec![]));
    stream.unlisten(slow);
    assert_eq!(stream.figures().input_bytes, 0, "nobody else needs them");
    let back = stream.listen(Arc::default(), Some(&since(1)));
    assert_eq!(stream.read_inputs(back, 10), Batch { gap: Some((2, 4)), events: vec![] });
}

#[test]
fn inputs_of_a_private_stream_have_one_number_across_audiences() {
    let broadcast = ["news".to_owned()].into();
    let stream = stream(Settings { private: true, broadcast, ..Settings::default() });
    let audiences = ["ann", "bob", "ann", "cyd"];
    let publish = |audience: &'static str| {
        stream.publish(&Draft { audience, ..draft("A", "k", "{}") }, None).unwrap();
    };
    publish("ann");
    let listener = stream.listen(Arc::default(), Some(&since(0)));
    audiences.into_iter().for_each(publish);
    let first = stream.read_inputs(listener, 2);
    let told = |batch: &Batch| {
        let of = |input: &Input| (input.number, input.event.audience.to_string());
        batch.events.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!((first.gap, told(&first)), (Some((1, 1)), vec![(2, "ann".into()), (3, "bob".into())]));
    stream.saved_inputs(listener, 2);
    stream.rewind_inputs(listener);
    let again = told(&stream.read_inputs(listener, 10));
    assert_eq!(again, [(3, "bob".into()), (4, "ann".into()), (5, "cyd".into())]);
    stream.publish(&draft("A", "", "{}"), None).unwrap();
    stream.publish(&Draft { kind: "news", ..draft("A", "", "{}") }, None).unwrap();
    let news = stream.read_inputs(listener, 10);
    assert_eq!(told(&news), [(6, String::new())], "what is for nobody is for no listener either");
    stream.unlisten(listener);
    publish("bob");
    let back = stream.listen(Arc::default(), Some(&since(3)));
    assert_eq!(stream.read_inputs(back, 10).gap, Some((4, 7)));
    stream.apply(Settings::default());
    assert_eq!(stream.publish(&draft("A", "", "{}"), None).unwrap().seq, 3);
    assert_eq!(numbers(&stream.read_inputs(back, 10)), [8], "numbers go on when it is private no more");
}

#[test]
fn who_was_refused_is_told_when_the_buffer_grows() {
    let stream = stream(Settings { listen_buffer: 1, ..Settings::default() });
    let _listener = stream.listen(Arc::default(), None);
    publish(&stream, "A", "{}");
    let signal = Arc::new(Signal::default());
    assert_eq!(stream.publish(&draft("A", "", "{}"), Some(&signal)), Err(Refused::Full));
    stream.apply(Settings::default());
    assert!(signal.take().has(Wakes::WRITABLE));
    assert!(stream.publish(&draft("A", "", "{}"), Some(&signal)).is_ok());
}
