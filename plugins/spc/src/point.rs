//! One plotted point and where it lies: on which side of what, and in which zone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::chart::Bounds;

/// Differences below this share of a standard error are rounding: subgroups of equal content must make no trend, and a
/// point on a limit is not beyond it.
const TOLERANCE: f64 = 1e-9;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Upper,
    Lower,
}

/// Where a point lies: the zones A, B and C are 2 to 3, 1 to 2 and up to 1 standard errors from the centre. A point on
/// the centre line is shown as upper, and belongs to no side for the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Zone {
    BeyondUcl,
    ZoneAUpper,
    ZoneBUpper,
    ZoneCUpper,
    ZoneCLower,
    ZoneBLower,
    ZoneALower,
    BeyondLcl,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub value: f64,
    pub bounds: Bounds,
}

impl Point {
    /// The side on which it is more than so many standard errors from the centre.
    pub fn beyond(&self, sigmas: f64) -> Option<Side> {
        let Bounds { center, sigma, .. } = self.bounds;
        self.side(center + sigmas * sigma, center - sigmas * sigma)
    }

    /// The side on which it is outside of its limits.
    pub fn outside(&self) -> Option<Side> {
        self.side(self.bounds.ucl, self.bounds.lcl)
    }

    /// Whether it is higher or lower than an earlier value.
    pub fn moved_from(&self, earlier: f64) -> Option<Side> {
        self.side(earlier, earlier)
    }

    pub fn zone(&self) -> Zone {
        let nearer = |side, zone, other| if side == Side::Upper { zone } else { other };
        if let Some(side) = self.outside() {
            return nearer(side, Zone::BeyondUcl, Zone::BeyondLcl);
        }
        if let Some(side) = self.beyond(2.0) {
            return nearer(side, Zone::ZoneAUpper, Zone::ZoneALower);
        }
        if let Some(side) = self.beyond(1.0) {
            return nearer(side, Zone::ZoneBUpper, Zone::ZoneBLower);
        }
        nearer(self.beyond(0.0).unwrap_or(Side::Upper), Zone::ZoneCUpper, Zone::ZoneCLower)
    }

    /// Strictly: on a line is not beyond it.
    fn side(&self, upper: f64, lower: f64) -> Option<Side> {
        let Bounds { center, sigma, .. } = self.bounds;
        let tolerance = (TOLERANCE * sigma).max(8.0 * f64::EPSILON * center.abs());
        if self.value > upper + tolerance {
            Some(Side::Upper)
        } else {
            (self.value < lower - tolerance).then_some(Side::Lower)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_end_on_their_outer_line() {
        let zone = |value: f64| Point { value, bounds: Bounds::around(0.0, 1.0, 3.0) }.zone();
        for (value, upper, lower) in [
            (3.001, Zone::BeyondUcl, Zone::BeyondLcl),
            (3.0 + 1e-10, Zone::ZoneAUpper, Zone::ZoneALower),
            (2.001, Zone::ZoneAUpper, Zone::ZoneALower),
            (2.0, Zone::ZoneBUpper, Zone::ZoneBLower),
            (1.0, Zone::ZoneCUpper, Zone::ZoneCLower),
        ] {
            assert_eq!((zone(value), zone(-value)), (upper, lower), "{value}");
        }
        assert_eq!((zone(0.0), zone(-1e-10)), (Zone::ZoneCUpper, Zone::ZoneCUpper));
    }

    #[test]
    fn limits_that_are_not_at_three_sigma_have_the_last_word() {
        let bounds = Bounds { ucl: 1.5, lcl: -9.0, ..Bounds::around(0.0, 1.0, 3.0) };
        let zone = |value: f64| Point { value, bounds }.zone();
        assert_eq!((zone(1.6), zone(-5.0), zone(-9.1)), (Zone::BeyondUcl, Zone::ZoneALower, Zone::BeyondLcl));
    }
}
