//! Broadcasters of a real library: they publish, fail, hang, are replaced, and go on where they were.

use super::*;

#[test]
fn a_loaded_plugin_publishes_into_the_hub() {
    let house = House::new();
    house.build("ticker", &[]);
    assert_eq!(house.reload(&[wanted("a", "ticker", "tick")]), Ok(vec![Change::Start("a".into())]));
    assert_eq!(house.stream("a").source(), Source::Running);
    for n in 1..=3 {
        house.clock.advance(Duration::from_secs(1));
        until("the timer's event is there", || house.numbers("a").len() == n);
    }
    assert_eq!(house.numbers("a"), [1, 2, 3]);
    assert_eq!(house.stream("a").figures().records, 1);
    house.supervisor.stop();
    assert_eq!(house.stream("a").source(), Source::Absent("the broadcaster was stopped".into()));
}
