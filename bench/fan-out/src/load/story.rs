//! What one subscriber was told: whether every event came once and in order.

/// What went wrong, of all subscribers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Never came.
    pub lost: u64,
    /// Came again.
    pub doubled: u64,
    /// Came behind a later one.
    pub disorder: u64,
}

/// The numbers that a subscriber got. All it needs is the next one, as long as nothing goes wrong.
#[derive(Debug, Default)]
pub struct Story {
    next: u64,
    /// Left out so far, ascending and apart: first and behind the last.
    missing: Vec<(u64, u64)>,
}

impl Story {
    /// One event came: returns which numbers are passed by it for the first time.
    pub fn hear(&mut self, number: u64, faults: &mut Faults) -> std::ops::Range<u64> {
        let passed = self.next..(number + 1).max(self.next);
        if number == self.next {
            self.next += 1;
        } else if number > self.next {
            self.missing.push((self.next, number));
            faults.lost += number - self.next;
            self.next = number + 1;
        } else {
            self.hear_late(number, faults);
        }
        passed
    }

    /// What stands before this number is known in another way, and is not to come.
    pub fn skip_to(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    /// The number that is to come next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Nothing more will come: what it has not got of so many events is lost.
    pub fn end(&mut self, sent: u64, faults: &mut Faults) {
        faults.lost += sent.saturating_sub(self.next);
        self.next = self.next.max(sent);
    }

    fn hear_late(&mut self, number: u64, faults: &mut Faults) {
        let Some(index) = self.missing.iter().position(|(first, behind)| (*first..*behind).contains(&number)) else {
            faults.doubled += 1;
            return;
        };
        faults.lost -= 1;
        faults.disorder += 1;
        let (first, behind) = self.missing.remove(index);
        let rest = [(first, number), (number + 1, behind)].into_iter().filter(|(first, behind)| first < behind);
        self.missing.splice(index..index, rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(numbers: &[u64]) -> (Vec<std::ops::Range<u64>>, Faults) {
        let (mut story, mut faults) = (Story::default(), Faults::default());
        (numbers.iter().map(|number| story.hear(*number, &mut faults)).collect(), faults)
    }

    #[test]
    fn in_order_nothing_is_wrong() {
        assert_eq!(told(&[0, 1, 2]), (vec![0..1, 1..2, 2..3], Faults::default()));
    }

    #[test]
    fn each_fault_is_told_from_the_others() {
        assert_eq!(told(&[0, 3]), (vec![0..1, 1..4], Faults { lost: 2, ..Faults::default() }));
        assert_eq!(told(&[0, 0]).1, Faults { doubled: 1, ..Faults::default() });
        assert_eq!(told(&[2, 0, 1]).1, Faults { disorder: 2, ..Faults::default() });
        assert_eq!(told(&[3, 1, 1]).1, Faults { lost: 2, doubled: 1, disorder: 1 });
        assert_eq!(told(&[3, 1]).0, [0..4, 4..4]);
    }

    #[test]
    fn what_was_skipped_is_not_lost_and_what_comes_all_the_same_is_doubled() {
        let (mut story, mut faults) = (Story::default(), Faults::default());
        story.skip_to(3);
        story.hear(3, &mut faults);
        assert_eq!((story.next(), faults), (4, Faults::default()));
        story.skip_to(2);
        story.hear(2, &mut faults);
        assert_eq!((story.next(), faults), (4, Faults { doubled: 1, ..Faults::default() }));
    }

    #[test]
    fn what_never_came_is_lost_at_the_end() {
        let (mut story, mut faults) = (Story::default(), Faults::default());
        story.hear(0, &mut faults);
        story.end(3, &mut faults);
        assert_eq!(faults.lost, 2);
    }
}
