//! Questions to shards: an answer within a deadline, or that there is none.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::oneshot::{Receiver, Sender, channel};
use tokio::time::{Instant, timeout_at};

use crate::server::answer::Denied;
use crate::shard::census::Ask;
use crate::shard::inbox::{Inbound, Inbox};

/// How long a shard may take: it answers in its next turn, which is a matter of milliseconds also under load.
const DEADLINE: Duration = Duration::from_secs(2);

/// All shards, in the order of their numbers.
#[derive(Clone)]
pub struct Shards(pub Arc<[Arc<Inbox>]>);

impl Shards {
    /// Asks one shard, by its number.
    pub async fn ask<A>(&self, shard: usize, question: impl FnOnce(Sender<A>) -> Ask) -> Result<A, Denied> {
        let deadline = Instant::now() + DEADLINE;
        answered(shard, self.hand(shard, question), deadline).await
    }

    /// Asks all shards at once.
    pub async fn ask_all<A>(&self, question: impl Fn(Sender<A>) -> Ask) -> Result<Vec<A>, Denied> {
        let deadline = Instant::now() + DEADLINE;
        let asked: Vec<Receiver<A>> = (0..self.0.len()).map(|shard| self.hand(shard, &question)).collect();
        let mut answers = Vec::new();
        for (shard, answer) in asked.into_iter().enumerate() {
            answers.push(answered(shard, answer, deadline).await?);
        }
        Ok(answers)
    }

    fn hand<A>(&self, shard: usize, question: impl FnOnce(Sender<A>) -> Ask) -> Receiver<A> {
        let (sender, answer) = channel();
        self.0[shard].hand(Inbound::Ask(question(sender)));
        answer
    }
}

async fn answered<A>(shard: usize, answer: Receiver<A>, deadline: Instant) -> Result<A, Denied> {
    match timeout_at(deadline, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        // It may still do what it was asked.
        Ok(Err(_)) | Err(_) => {
            let message = format!("shard {shard} gave no answer within {} s; ask again", DEADLINE.as_secs());
            Err(Denied::new(StatusCode::SERVICE_UNAVAILABLE, "shard_silent", message).for_now())
        }
    }
}
