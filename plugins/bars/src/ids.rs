//! The newest ids of a symbol's trades, so that a feed may repeat itself.

use std::collections::{HashSet, VecDeque};

use serde::{Deserialize, Serialize};

/// Ids remembered per symbol: feeds repeat trades after a reconnect, which is seconds of trade, not hours.
pub const MAX_IDS: usize = 4_096;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<u64>", into = "Vec<u64>")]
pub struct Ids {
    in_order: VecDeque<u64>,
    known: HashSet<u64>,
}

impl Ids {
    /// Whether the id is new.
    pub fn insert(&mut self, id: u64) -> bool {
        if !self.known.insert(id) {
            return false;
        }
        self.in_order.push_back(id);
        if self.in_order.len() > MAX_IDS
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

impl From<Vec<u64>> for Ids {
    fn from(saved: Vec<u64>) -> Self {
        let mut ids = Self::default();
        for id in saved {
            ids.insert(id);
        }
        ids
    }
}

impl From<Ids> for Vec<u64> {
    fn from(ids: Ids) -> Self {
        ids.in_order.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_id_goes_when_the_table_is_full() {
        let mut ids = Ids::default();
        let most = MAX_IDS as u64;
        assert!((0..most).all(|id| ids.insert(id)));
        assert!(!ids.insert(0), "the table is full, and holds its first");
        assert!(ids.insert(most));
        assert!(ids.insert(0), "one more has pushed the first out");
        assert_eq!((ids.in_order.len(), ids.known.len()), (MAX_IDS, MAX_IDS));
        let saved: Vec<u64> = ids.clone().into();
        assert_eq!(Ids::from(saved), ids);
    }
}
