//! Holds back what was told a moment ago, and counts it.
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Groups that are remembered; a notifier that tells more different things than that within a cool-down helps nobody.
const MAX_GROUPS: usize = 10_000;

/// By kind and group: when it was told, and how many were held back since.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Cooldowns(BTreeMap<String, Told>);

#[derive(Debug, Serialize, Deserialize)]
struct Told {
    unix_ns: i64,
    suppressed: u64,
}

impl Cooldowns {
    /// `Some`: tell it, and that so many were held back before it. `None`: it is held back itself. A clock that goes
    /// back ends the cool-down.
    pub fn admit(&mut self, group: &str, cooldown: Duration, now_ns: i64) -> Option<u64> {
        let is_over = |told: &Told| {
            let since = u64::try_from(now_ns.saturating_sub(told.unix_ns)).map(Duration::from_nanos);
            since.map_or(true, |since| since >= cooldown)
        };
        if let Some(told) = self.0.get_mut(group) {
            if !is_over(told) {
                told.suppressed += 1;
                return None;
            }
            told.unix_ns = now_ns;
            return Some(std::mem::take(&mut told.suppressed));
        }
        if cooldown.is_zero() {
            return Some(0);
        }
        if self.0.len() >= MAX_GROUPS {
            self.0.retain(|_, told| told.suppressed > 0 || !is_over(told));
        }
        if self.0.len() >= MAX_GROUPS {
            self.forget_oldest();
        }
        self.0.insert(group.to_owned(), Told { unix_ns: now_ns, suppressed: 0 });
        Some(0)
    }

    fn forget_oldest(&mut self) {
        let oldest = self.0.iter().min_by_key(|(_, told)| told.unix_ns).map(|(group, _)| group.clone());
        let Some(told) = oldest.and_then(|group| self.0.remove(&group)) else { return };
        if told.suppressed > 0 {
            tracing::warn!(
                suppressed = told.suppressed,
                "too many groups: nobody will be told how many were held back"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const COOLDOWN: Duration = Duration::from_secs(60);

    #[test]
    fn what_is_held_back_is_told_with_the_next() {
        let mut cooldowns = Cooldowns::default();
        assert_eq!(cooldowns.admit("a", COOLDOWN, 0), Some(0));
        assert_eq!(cooldowns.admit("a", COOLDOWN, 0), None);
        assert_eq!(cooldowns.admit("b", COOLDOWN, SECOND), Some(0));
        assert_eq!(cooldowns.admit("a", COOLDOWN, 60 * SECOND - 1), None);
        assert_eq!(cooldowns.admit("a", COOLDOWN, 60 * SECOND), Some(2));
        assert_eq!(cooldowns.admit("a", COOLDOWN, 61 * SECOND), None);
        assert_eq!(cooldowns.admit("a", COOLDOWN, 59 * SECOND), Some(1), "the clock went back");
        assert_eq!(cooldowns.admit("a", Duration::ZERO, 59 * SECOND), Some(0));
    }

    #[test]
    fn groups_are_bounded_and_what_is_over_goes_first() {
        let mut cooldowns = Cooldowns::default();
        for number in 0..MAX_GROUPS {
            cooldowns.admit(&format!("g{number}"), COOLDOWN, number as i64);
        }
        cooldowns.admit("g5", COOLDOWN, 10);
        cooldowns.admit("new", COOLDOWN, SECOND);
        assert_eq!(cooldowns.0.len(), MAX_GROUPS);
        assert!(!cooldowns.0.contains_key("g0"), "the oldest went");
        cooldowns.admit("later", COOLDOWN, 100 * SECOND);
        assert_eq!(cooldowns.0.keys().collect::<Vec<_>>(), ["g5", "later"], "and then all that were over");
    }
}
