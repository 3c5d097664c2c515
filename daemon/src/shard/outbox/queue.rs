//! A queue whose first item lies in the queue itself: where one waits at most, as mostly here, nothing is allocated, and
//! nothing beside the queue is touched.

use std::collections::{VecDeque, vec_deque};
use std::iter::Chain;
use std::option;

#[derive(Debug)]
pub struct Queue<T> {
    first: Option<T>,
    /// Empty where there is no first.
    rest: VecDeque<T>,
}

impl<T> Queue<T> {
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    pub fn front(&self) -> Option<&T> {
        self.first.as_ref()
    }

    /// The first, where no other waits.
    pub fn only(&self) -> Option<&T> {
        self.first.as_ref().filter(|_| self.rest.is_empty())
    }

    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        match index.checked_sub(1) {
            None => self.first.as_mut(),
            Some(index) => self.rest.get_mut(index),
        }
    }

    pub fn push_back(&mut self, item: T) {
        match self.first {
            None => self.first = Some(item),
            Some(_) => self.rest.push_back(item),
        }
    }

    pub fn pop_front(&mut self) -> Option<T> {
        std::mem::replace(&mut self.first, self.rest.pop_front())
    }

    pub fn truncate(&mut self, count: usize) {
        self.rest.truncate(count.saturating_sub(1));
        if count == 0 {
            self.first = None;
        }
    }

    pub fn retain(&mut self, mut is_kept: impl FnMut(&T) -> bool) {
        self.first = self.first.take().filter(&mut is_kept);
        self.rest.retain(is_kept);
        if self.first.is_none() {
            self.first = self.rest.pop_front();
        }
    }

    pub fn iter(&self) -> Chain<option::Iter<'_, T>, vec_deque::Iter<'_, T>> {
        self.first.iter().chain(&self.rest)
    }

    pub fn iter_mut(&mut self) -> Chain<option::IterMut<'_, T>, vec_deque::IterMut<'_, T>> {
        self.first.iter_mut().chain(&mut self.rest)
    }

    /// Gives back the room that is not used.
    pub fn shrink(&mut self) {
        if self.rest.is_empty() {
            self.rest = VecDeque::new();
        }
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { first: None, rest: VecDeque::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same done to it and to what it stands for.
    #[test]
    fn it_does_what_a_queue_does() {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
        println!("SEED={seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut queue, mut model) = (Queue::default(), VecDeque::new());
        for number in 0..100_000 {
            match random.u8(..100) {
                0..45 => {
                    queue.push_back(number);
                    model.push_back(number);
                }
                45..90 => assert_eq!(queue.pop_front(), model.pop_front()),
                90..93 => {
                    let divisor = random.u32(1..4);
                    queue.retain(|known| known % divisor == 0);
                    model.retain(|known| known % divisor == 0);
                }
                93..95 => {
                    let count = random.usize(..4);
                    queue.truncate(count);
                    model.truncate(count);
                }
                95..97 => {
                    queue.iter_mut().for_each(|known| *known += 1);
                    model.iter_mut().for_each(|known| *known += 1);
                }
                97..99 => {
                    let index = random.usize(..4);
                    assert_eq!(queue.get_mut(index), model.get_mut(index));
                }
                _ => queue.shrink(),
            }
            assert!(queue.iter().eq(&model), "{queue:?} is not {model:?}");
            assert_eq!((queue.len(), queue.is_empty()), (model.len(), model.is_empty()));
            assert_eq!((queue.front(), queue.only()), (model.front(), model.front().filter(|_| model.len() == 1)));
        }
    }

    #[test]
    fn one_item_takes_no_room_and_what_is_given_back_is() {
        let mut queue = Queue::default();
        (0..3).for_each(|_| {
            queue.push_back([0_u64; 8]);
            queue.pop_front();
        });
        assert_eq!(queue.rest.capacity(), 0);
        (0..2).for_each(|_| queue.push_back([0; 8]));
        queue.pop_front();
        queue.shrink();
        assert_eq!((queue.rest.capacity(), queue.len()), (0, 1));
    }
}
