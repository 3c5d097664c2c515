//! The charts, and the limits that each draws from where a process stands.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::constants;
use crate::sample::MIN_MAGNITUDE;

/// Distance of control limits from the centre in standard errors, unless rule 1 says otherwise.
///
/// Source: W. A. Shewhart, "Economic Control of Quality of Manufactured Product" (1931).
pub const USUAL_WIDTH: f64 = 3.0;

/// What is plotted, and how it varies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Chart {
    /// Means of subgroups; their ranges say how values vary.
    XbarR,
    /// Means of subgroups; their standard deviations say how values vary.
    XbarS,
    /// Single values; the differences from one to the next say how they vary.
    Imr,
    /// The share of units that are defective.
    P,
    /// The number of units that are defective.
    Np,
    /// Defects of one unit.
    C,
    /// Defects per unit of a sample of any size.
    U,
    /// The exponentially weighted moving average of values or means.
    Ewma,
    /// The cumulative sums of deviations of values or means.
    Cusum,
}

/// Where a process stands: mean and standard deviation of one value, or of one unit where something is counted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Level {
    pub center: f64,
    pub sigma: f64,
}

/// What one plotted point is held against; `sigma` is the standard error of that point.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    pub center: f64,
    pub sigma: f64,
    pub ucl: f64,
    pub lcl: f64,
}

impl Chart {
    /// Whether something is counted; else values are measured.
    pub fn counts(self) -> bool {
        matches!(self, Chart::P | Chart::Np | Chart::C | Chart::U)
    }

    /// Whether points are judged by limits of the chart's own alone: they depend on each other, so that no run is unusual.
    pub fn accumulates(self) -> bool {
        matches!(self, Chart::Ewma | Chart::Cusum)
    }
}

impl Level {
    /// Source: Montgomery, "Introduction to Statistical Quality Control", on control charts for attributes: √(p(1−p)) of
    /// one unit that is defective or not (binomial), √c of the defects of one unit (Poisson).
    pub fn of_counts(chart: Chart, center: f64) -> Self {
        let variance = if matches!(chart, Chart::P | Chart::Np) { center * (1.0 - center) } else { center };
        Self { center, sigma: variance.max(0.0).sqrt() }
    }

    /// Whether it varies by more than rounding: without that there are no limits to speak of.
    pub fn varies(&self) -> bool {
        self.sigma > (8.0 * f64::EPSILON * self.center.abs()).max(MIN_MAGNITUDE)
    }

    /// The limits of a point made of `n` values or units, `width` standard errors from the centre.
    ///
    /// Source: Montgomery: x̄̄ ± 3σ/√n for means and single values (n = 1), p̄ ± 3√(p̄(1−p̄)/n), ū ± 3√(ū/n), and for the
    /// number of defective units n p̄ ± 3√(n p̄(1−p̄)). A share lies between 0 and 1, no count below 0.
    pub fn bounds(&self, chart: Chart, n: f64, width: f64) -> Bounds {
        let (units, sigma) = match chart {
            Chart::Np => (n, self.sigma * n.sqrt()),
            _ => (1.0, self.sigma / n.sqrt()),
        };
        let center = self.center * units;
        let bounds = Bounds::around(center, sigma, width);
        match chart {
            Chart::P | Chart::Np => Bounds { ucl: bounds.ucl.min(units), ..bounds.not_below_0() },
            Chart::C | Chart::U => bounds.not_below_0(),
            _ => bounds,
        }
    }

    /// The limits of what says how values vary: range, standard deviation or moving range. None for the other charts.
    ///
    /// Source: Montgomery: (d2 ∓ 3d3)σ, which are D3R̄ and D4R̄, and (c4 ∓ 3√(1−c4²))σ, which are B3S̄ and B4S̄.
    pub fn dispersion(&self, chart: Chart, n: f64, width: f64) -> Option<Bounds> {
        let n = n.round() as usize;
        let (mean, deviation) = match chart {
            Chart::XbarR | Chart::Imr => {
                let range = constants::range(n);
                (range.d2, range.d3)
            }
            Chart::XbarS => {
                let c4 = constants::c4(n);
                (c4, (1.0 - c4 * c4).sqrt())
            }
            _ => return None,
        };
        Some(Bounds::around(mean * self.sigma, deviation * self.sigma, width).not_below_0())
    }
}

impl Bounds {
    pub fn around(center: f64, sigma: f64, width: f64) -> Self {
        Self { center, sigma, ucl: center + width * sigma, lcl: center - width * sigma }
    }

    fn not_below_0(self) -> Self {
        Self { lcl: self.lcl.max(0.0), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factors_of_the_tables_come_out() {
        let level = Level { center: 0.0, sigma: 1.0 };
        let close = |ours: f64, table: f64| assert!((ours - table).abs() < 1e-5, "{ours}, not {table}");
        for (n, a, d3, d4, b3, b4) in
            [(2.0, 2.12132, 0.0, 3.266532, 0.0, 3.266532), (10.0, 0.948683, 0.223023, 1.776977, 0.283706, 1.716294)]
        {
            close(level.bounds(Chart::XbarR, n, 3.0).ucl, a);
            let (r, s) =
                (level.dispersion(Chart::XbarR, n, 3.0).unwrap(), level.dispersion(Chart::XbarS, n, 3.0).unwrap());
            close(r.lcl / r.center, d3);
            close(r.ucl / r.center, d4);
            close(s.lcl / s.center, b3);
            close(s.ucl / s.center, b4);
        }
        assert_eq!(level.dispersion(Chart::P, 10.0, 3.0), None);
    }

    #[test]
    fn shares_and_counts_stay_where_they_can_be() {
        let (rare, common) = (Level::of_counts(Chart::P, 0.01), Level::of_counts(Chart::P, 0.99));
        assert_eq!((rare.bounds(Chart::P, 10.0, 3.0).lcl, common.bounds(Chart::P, 10.0, 3.0).ucl), (0.0, 1.0));
        assert_eq!(common.bounds(Chart::Np, 10.0, 3.0).ucl, 10.0);
        assert_eq!(Level::of_counts(Chart::C, 4.0).bounds(Chart::C, 1.0, 3.0).lcl, 0.0);
    }
}
