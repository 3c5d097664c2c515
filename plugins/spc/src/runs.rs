//! The run rules: which patterns of points are too unlikely for a process in control.

use serde::{Deserialize, Serialize};

use crate::point::{Point, Side};

/// The longest pattern that can be asked for; it has to fit into a register of 64 bits.
pub const MAX_RUN: u32 = 64;

/// The bits 0, 2, 4, …
const EVERY_OTHER: u64 = 0x5555_5555_5555_5555;

/// A rule and the number that its violations bear.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    pub id: u8,
    pub pattern: Pattern,
}

/// What is unlikely at a point. Only full windows are judged, and the point itself is always part of the pattern.
///
/// Sources: L. S. Nelson, "The Shewhart control chart: tests for special causes", Journal of Quality Technology 16
/// (1984), rules 1 to 8; Western Electric, "Statistical Quality Control Handbook" (1956), whose rules are 1, 5, 6 and,
/// with eight points, 2.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// One point outside of the limits.
    Outside,
    /// So many of the last so many points more than `sigmas` from the centre, on one side.
    OneSide { run: u32, of: u32, sigmas: f64 },
    /// So many points in a row rise, or fall.
    Trend { run: u32 },
    /// So many points in a row go up and down by turns.
    Alternating { run: u32 },
    /// So many points in a row at most 1σ from the centre.
    Near { run: u32 },
    /// So many points in a row more than 1σ from the centre, on both sides.
    FarOnBothSides { run: u32 },
    /// The same, on whatever side.
    Far { run: u32 },
}

/// Rules with what each has seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Runs(Vec<Watch>);

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Watch {
    rule: Rule,
    window: Window,
}

/// The last points, the newest in bit 0: which of them were on the upper side of what the pattern asks, and which on the
/// lower. Of trends and alternations it holds steps from one point to the next instead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Window {
    seen: u32,
    upper: u64,
    lower: u64,
    last: Option<f64>,
    /// Whether the last point completed the pattern.
    was_complete: bool,
}

/// A rule whose pattern a point completes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completed {
    pub rule: u8,
    /// The point before did not complete it.
    pub is_first: bool,
}

impl Runs {
    pub fn new(rules: &[Rule]) -> Self {
        Self(rules.iter().map(|rule| Watch { rule: *rule, window: Window::default() }).collect())
    }

    pub fn are_of(&self, rules: &[Rule]) -> bool {
        self.0.iter().map(|watch| &watch.rule).eq(rules)
    }

    /// The rules that this point completes.
    pub fn judge(&mut self, point: &Point) -> Vec<Completed> {
        self.0.iter_mut().filter_map(|watch| watch.judge(point)).collect()
    }

    /// A point is missing: nothing goes on behind it.
    pub fn interrupt(&mut self) {
        self.0.iter_mut().for_each(|watch| watch.window = Window::default());
    }

    /// What a rule has seen is used up: its next pattern consists of new points.
    pub fn restart(&mut self, rule: u8) {
        let watches = self.0.iter_mut().filter(|watch| watch.rule.id == rule);
        watches.for_each(|watch| watch.window = Window::default());
    }
}

impl Watch {
    fn judge(&mut self, point: &Point) -> Option<Completed> {
        let Watch { rule: Rule { id, pattern }, window } = self;
        let is_first = !window.was_complete;
        window.push(pattern, point);
        window.was_complete = window.completes(pattern);
        window.was_complete.then_some(Completed { rule: *id, is_first })
    }
}

impl Window {
    fn push(&mut self, pattern: &Pattern, point: &Point) {
        let side = match pattern {
            Pattern::Outside => point.outside(),
            Pattern::OneSide { sigmas, .. } => point.beyond(*sigmas),
            Pattern::Near { .. } | Pattern::Far { .. } | Pattern::FarOnBothSides { .. } => point.beyond(1.0),
            Pattern::Trend { .. } | Pattern::Alternating { .. } => match self.last.replace(point.value) {
                Some(last) => point.moved_from(last),
                None => return, // one point is no step
            },
        };
        self.seen = (self.seen + 1).min(MAX_RUN);
        self.upper = self.upper << 1 | u64::from(side == Some(Side::Upper));
        self.lower = self.lower << 1 | u64::from(side == Some(Side::Lower));
    }

    fn completes(&self, pattern: &Pattern) -> bool {
        let Self { seen, upper, lower, .. } = *self;
        let is_full = |length: u32| seen >= length;
        let all = |bits: u64, length: u32| bits & newest(length) == newest(length);
        match *pattern {
            Pattern::Outside => (upper | lower) & 1 == 1,
            Pattern::OneSide { run, of, .. } => {
                let has = |bits: u64| bits & 1 == 1 && (bits & newest(of)).count_ones() >= run;
                is_full(of) && (has(upper) || has(lower))
            }
            Pattern::Trend { run } => is_full(run - 1) && (all(upper, run - 1) || all(lower, run - 1)),
            Pattern::Alternating { run } => {
                let by_turns = |bits: u64, others: u64| all(bits & EVERY_OTHER | others & !EVERY_OTHER, run - 1);
                is_full(run - 1) && (by_turns(upper, lower) || by_turns(lower, upper))
            }
            Pattern::Near { run } => is_full(run) && (upper | lower) & newest(run) == 0,
            Pattern::Far { run } => is_full(run) && all(upper | lower, run),
            Pattern::FarOnBothSides { run } => {
                let both = upper & newest(run) != 0 && lower & newest(run) != 0;
                is_full(run) && all(upper | lower, run) && both
            }
        }
    }
}

/// The bits of so many newest points.
fn newest(length: u32) -> u64 {
    u64::MAX.checked_shr(u64::BITS - length.min(u64::BITS)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::Bounds;

    /// The indices, from 1, of the points that complete a pattern.
    fn fires(pattern: Pattern, values: &[f64]) -> Vec<usize> {
        let mut runs = Runs::new(&[Rule { id: 1, pattern }]);
        let point = |value: &f64| Point { value: *value, bounds: Bounds::around(0.0, 1.0, 3.0) };
        let judged = (1..).zip(values).filter(|(_, value)| !runs.judge(&point(value)).is_empty());
        judged.map(|(index, _)| index).collect()
    }

    #[test]
    fn the_longest_patterns_fit() {
        let ups = vec![1.5; MAX_RUN as usize];
        let rising: Vec<f64> = (0..MAX_RUN).map(f64::from).collect();
        let turns: Vec<f64> = (0..MAX_RUN).map(|index| f64::from(index % 2)).collect();
        let last = [MAX_RUN as usize];
        assert_eq!(fires(Pattern::OneSide { run: MAX_RUN, of: MAX_RUN, sigmas: 1.0 }, &ups), last);
        assert_eq!(fires(Pattern::Far { run: MAX_RUN }, &ups), last);
        assert_eq!(fires(Pattern::Trend { run: MAX_RUN }, &rising), last);
        assert_eq!(fires(Pattern::Alternating { run: MAX_RUN }, &turns), last);
        assert_eq!(fires(Pattern::Near { run: MAX_RUN }, &turns), last);
    }

    #[test]
    fn ten_of_eleven_is_a_rule_too() {
        let mut values = vec![0.5; 11];
        values[3] = -0.5;
        let pattern = |run| Pattern::OneSide { run, of: 11, sigmas: 0.0 };
        assert_eq!((fires(pattern(10), &values), fires(pattern(11), &values)), (vec![11], vec![]));
    }

    #[test]
    fn rounding_is_no_trend() {
        let values: Vec<f64> = (0..20).map(|index| f64::from(index) * 1e-10).collect();
        assert_eq!(fires(Pattern::Trend { run: 6 }, &values), [0_usize; 0]);
        assert_eq!(fires(Pattern::OneSide { run: 8, of: 8, sigmas: 0.0 }, &values[..11]), [0_usize; 0]);
    }

    #[test]
    fn a_window_begins_anew_after_an_interruption_or_when_it_is_used_up() {
        let mut runs = Runs::new(&[Rule { id: 2, pattern: Pattern::OneSide { run: 3, of: 3, sigmas: 0.0 } }]);
        let point = Point { value: 0.5, bounds: Bounds::around(0.0, 1.0, 3.0) };
        let judge = |runs: &mut Runs| runs.judge(&point).first().map(|completed| completed.is_first);
        assert_eq!(
            [judge(&mut runs), judge(&mut runs), judge(&mut runs), judge(&mut runs)],
            [None, None, Some(true), Some(false)]
        );
        runs.restart(1);
        assert_eq!(judge(&mut runs), Some(false), "that was another rule");
        runs.restart(2);
        assert_eq!([judge(&mut runs), judge(&mut runs)], [None, None]);
        runs.interrupt();
        assert_eq!([judge(&mut runs), judge(&mut runs), judge(&mut runs)], [None, None, Some(true)]);
    }
}
