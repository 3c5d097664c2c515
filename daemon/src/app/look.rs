//! A broadcaster that fails is looked after at once, and not when the main thread would look anyway: it may be on probation.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::admin::orders::{Act, Order, Orders};
use crate::plugin::broadcaster::Phase;
use crate::plugin::news::{News, State, Tell};

/// Tells the news as they come, and has the main thread look after broadcasters when one has failed.
pub fn tell(tell: Tell, orders: &Orders) -> Tell {
    let orders = orders.clone();
    // Whoever waits for the answer: an order that nobody waits for is not done. One look is as good as several.
    let last: Mutex<Option<oneshot::Receiver<_>>> = Mutex::default();
    Arc::new(move |news| {
        let has_failed = matches!(&news, News::Changed(State { state: Phase::BackingOff | Phase::Quarantined, .. }));
        tell(news);
        if has_failed {
            let (reply, outcome) = oneshot::channel();
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
            orders(Order { act: Act::Look, reply });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::news;

    #[test]
    fn a_failure_is_looked_after_at_once_and_several_once() {
        let ordered: Arc<Mutex<Vec<Order>>> = Arc::default();
        let keep = ordered.clone();
        let orders: Orders = Arc::new(move |order| keep.lock().unwrap().push(order));
        let tell = tell(news::nobody(), &orders);
        let changed = |state: Phase| tell(News::Changed(State { state, ..State::disabled("a") }));
        [Phase::Starting, Phase::Running, Phase::Quiet, Phase::Stopped].into_iter().for_each(changed);
        tell(News::Gone("a".to_owned()));
        assert_eq!(ordered.lock().unwrap().len(), 0);
        changed(Phase::BackingOff);
        changed(Phase::Quarantined);
        let ordered = ordered.lock().unwrap();
        assert!(ordered.iter().all(|order| order.act == Act::Look));
        assert_eq!(ordered.iter().map(|order| order.reply.is_closed()).collect::<Vec<_>>(), [true, false]);
    }
}
