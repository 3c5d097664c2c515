//! When a message that was refused is tried again.
use std::time::Duration;

use broadcastd_plugin_api::{Failure, duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The shortest pause: below it a receiver that refuses would be asked without end.
const SHORTEST: Duration = Duration::from_millis(10);

/// When and how often a message is tried again; then it becomes a dead letter.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// The pause after the first refusal; each further one doubles it. At least 10ms.
    pub first: duration::Duration,
    /// The longest pause.
    pub max: duration::Duration,
    /// Attempts in all, from 1 to 10000.
    #[schemars(range(min = 1, max = 10_000))]
    pub attempts: u32,
    /// How long after its event was heard a message is still tried.
    pub age: duration::Duration,
}

impl Default for Retry {
    fn default() -> Self {
        let of = duration::Duration::from_ms;
        Retry { first: of(1_000), max: of(300_000), attempts: 400, age: of(86_400_000) }
    }
}

impl Retry {
    /// What a schema cannot say.
    pub fn validate(&self) -> Result<(), Failure> {
        if self.first.to_std() < SHORTEST {
            return Err(Failure::at("/retry/first", "the first pause is at least 10ms"));
        }
        if self.max < self.first {
            return Err(Failure::at("/retry/max", "the longest pause is no shorter than the first"));
        }
        if !(1..=10_000).contains(&self.attempts) {
            return Err(Failure::at("/retry/attempts", "from 1 to 10000"));
        }
        Ok(())
    }

    /// The pause after so many refused attempts: doubled each time, and between half of that and all of it, so that those
    /// that were refused together do not come back together. `random` is from 0 to 1.
    pub fn pause(&self, attempts: u32, random: f64) -> Duration {
        let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1).min(31));
        let whole = self.first.to_std().saturating_mul(doubled).min(self.max.to_std());
        whole.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0)).max(SHORTEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_spread() {
        let retry = Retry { max: duration::Duration::from_ms(10_000), ..Retry::default() };
        let whole: Vec<u64> = (1..=6).map(|attempts| retry.pause(attempts, 1.0).as_secs()).collect();
        assert_eq!(whole, [1, 2, 4, 8, 10, 10]);
        assert_eq!(retry.pause(3, 0.0), Duration::from_secs(2));
        assert_eq!(retry.pause(3, 0.5), Duration::from_secs(3));
        assert_eq!(retry.pause(u32::MAX, 1.0), Duration::from_secs(10));
    }

    #[test]
    fn what_makes_no_sense_is_refused_at_its_place() {
        let retry = |text: &str| serde_json::from_str::<Retry>(text).unwrap().validate();
        assert!(retry(r#"{"first":"10ms","max":"10ms","attempts":1}"#).is_ok());
        for (text, pointer) in [
            (r#"{"first":"9ms"}"#, "/retry/first"),
            (r#"{"first":"2s","max":"1s"}"#, "/retry/max"),
            (r#"{"attempts":0}"#, "/retry/attempts"),
            (r#"{"attempts":10001}"#, "/retry/attempts"),
        ] {
            assert_eq!(retry(text).unwrap_err().pointer(), pointer);
        }
    }
}
