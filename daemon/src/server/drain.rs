//! How HTTP ends when the daemon drains: who hears of it, what is still answered, and who is waited for.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::watch;
use tokio::time::sleep_until;

use super::answer::Denied;

/// When a drain begins, so long may a connection that has its answer ask once more; when it ends, so long may the last answers
/// take to be read. Whoever publishes one event behind the other does so in a fraction of it, and no operator notices.
pub const LAST_WORDS: Duration = Duration::from_millis(200);

/// The drain of one front, for all who take part in it.
#[derive(Clone, Debug, Default)]
pub struct Drain(Arc<State>);

#[derive(Debug, Default)]
struct State {
    times: watch::Sender<Option<Times>>,
    is_closing: watch::Sender<bool>,
    /// Connections that have asked something.
    asking: watch::Sender<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    began: Instant,
    deadline: Instant,
}

/// A connection that has asked something and is waited for, until this is dropped.
#[derive(Debug)]
pub struct Asking(Drain);

impl Drain {
    /// From now on each answer is the last one of its connection; what is not done at the deadline is refused.
    pub fn begin(&self, deadline: Instant) {
        self.0.times.send_replace(Some(Times { began: Instant::now(), deadline }));
    }

    /// Waits until it begins.
    pub async fn begun(&self) {
        self.times().await;
    }

    /// Waits until connections shall end that wait for no answer.
    pub async fn is_closing(&self) {
        let mut is_closing = self.0.is_closing.subscribe();
        _ = is_closing.wait_for(|is_closing| *is_closing).await.expect("it is held here");
    }

    pub fn asking(&self) -> Asking {
        self.0.asking.send_modify(|asking| *asking += 1);
        Asking(self.clone())
    }

    /// The answer, if there is one before the deadline.
    pub async fn answered<E>(&self, answer: impl Future<Output = Result<Response, E>>) -> Result<Response, E> {
        let mut answer = tokio::select! {
            biased;
            answer = answer => answer?,
            () = self.is_over() => over().into_response(),
        };
        if self.0.times.borrow().is_some() {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(answer)
    }

    /// Waits until whoever has asked is answered and has gone; `false` where somebody has not in time.
    pub async fn finish(&self) -> bool {
        let Times { began, deadline } = self.times().await;
        let mut asking = self.0.asking.subscribe();
        let mut all_have_gone = async || _ = asking.wait_for(|asking| *asking == 0).await.expect("it is held here");
        _ = tokio::time::timeout_at((began + LAST_WORDS).into(), all_have_gone()).await;
        self.0.is_closing.send_replace(true);
        // Also where others have used up the time, what is closed needs a moment.
        let end = deadline.max(Instant::now()) + LAST_WORDS;
        tokio::time::timeout_at(end.into(), all_have_gone()).await.is_ok()
    }

    async fn is_over(&self) {
        let Times { deadline, .. } = self.times().await;
        sleep_until(deadline.into()).await;
    }

    async fn times(&self) -> Times {
        let mut times = self.0.times.subscribe();
        let times = times.wait_for(Option::is_some).await.expect("it is held here");
        times.expect("it was waited for")
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.0.asking.send_modify(|asking| *asking -= 1);
    }
}

fn over() -> Denied {
    Denied::draining("the daemon is stopping and waits no longer; come back in a moment and look what became of this")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{pending, ready};

    use axum::http::StatusCode;

    use super::*;

    fn now<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    async fn said(drain: &Drain, answer: impl Future<Output = Result<Response, Infallible>>) -> (StatusCode, bool) {
        let answer = drain.answered(answer).await.unwrap();
        (answer.status(), answer.headers().get(header::CONNECTION).is_some_and(|said| said == "close"))
    }

    #[test]
    fn what_is_not_done_at_the_deadline_is_refused_and_each_answer_is_the_last() {
        let drain = Drain::default();
        let done = || ready(Ok("done".into_response()));
        assert_eq!(now(said(&drain, done())), (StatusCode::OK, false));
        let deadline = Instant::now() + Duration::from_millis(50);
        drain.begin(deadline);
        assert_eq!(now(said(&drain, done())), (StatusCode::OK, true));
        assert_eq!(now(said(&drain, pending())), (StatusCode::SERVICE_UNAVAILABLE, true));
        assert!(Instant::now() >= deadline);
        assert_eq!(now(said(&drain, done())), (StatusCode::OK, true), "what is there is told all the same");
    }

    #[test]
    fn who_has_asked_may_do_so_once_more_for_so_long_and_nobody_else_is_waited_for() {
        let (drain, began) = (Drain::default(), Instant::now());
        let asking = drain.asking();
        drain.begin(began + Duration::from_secs(3600));
        let goes_when_told = async {
            drain.is_closing().await;
            assert!(began.elapsed() >= LAST_WORDS);
            drop(asking);
        };
        let (is_whole, ()) = now(async { tokio::join!(drain.finish(), goes_when_told) });
        assert!(is_whole && now(drain.finish()), "nobody is left");
    }

    #[test]
    fn who_does_not_go_is_waited_for_so_long_behind_the_deadline() {
        let drain = Drain::default();
        let _stays = drain.asking();
        let deadline = Instant::now() + 2 * LAST_WORDS;
        drain.begin(deadline);
        assert!(!now(drain.finish()));
        assert!(Instant::now() >= deadline + LAST_WORDS);
    }
}
