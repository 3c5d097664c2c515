//! The time in which one set of limits is in force: each sample becomes a point that is held against them.

use serde::{Deserialize, Serialize};

use crate::baseline::Baseline;
use crate::chart::{Bounds, Chart, Level, USUAL_WIDTH};
use crate::cusum::Cusum;
use crate::ewma::Ewma;
use crate::point::Point;
use crate::runs::{Completed, Runs};
use crate::sample::Subgroup;
use crate::settings::{LimitSettings, Mode, Plan, Repeat};
use crate::spread::Spread;
use crate::stamp::Stamp;
use crate::told::Dispersion;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    standing: Standing,
    memory: Memory,
    runs: Runs,
    /// Of all values since, those that the limits were computed of included.
    overall: Spread,
    /// How many samples the limits were computed of.
    pub sample_count: usize,
    pub since: Stamp,
    /// Values, or units, of a usual sample.
    pub size: f64,
}

/// What limits come from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Standing {
    Level(Level),
    Fixed(Bounds),
}

/// What a chart that accumulates has seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Memory {
    None,
    Ewma(Ewma),
    Cusum(Cusum),
}

/// What became of a sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    pub point: Point,
    /// The rules that hold something against it.
    pub completed: Vec<Completed>,
    /// Those of them that are to be told.
    pub violated: Vec<u8>,
    /// CUSUM: where the mean seems to have gone.
    pub estimate: Option<f64>,
}

impl Phase {
    /// With limits that are set, if they are.
    ///
    /// Source of the standard error where none is given: Shewhart's limits are three of them from the centre, so it is a
    /// sixth of their distance.
    pub fn set(plan: &Plan, chart: Chart, since: Stamp) -> Option<Self> {
        let LimitSettings { mode, mean, sigma, center, ucl, lcl, .. } = plan.limits;
        let standing = match mode {
            Mode::Baseline => return None,
            Mode::Standard if chart.counts() => Standing::Level(Level::of_counts(chart, mean?)),
            Mode::Standard => Standing::Level(Level { center: mean?, sigma: sigma? }),
            Mode::Fixed => {
                let (center, ucl, lcl) = (center?, ucl?, lcl?);
                let sigma = sigma.unwrap_or((ucl - lcl) / (2.0 * USUAL_WIDTH));
                Standing::Fixed(Bounds { center, sigma, ucl, lcl })
            }
        };
        let size = plan.subgroup_size.unwrap_or(1.0);
        Some(Self { size, ..Self::new(standing, plan, chart, since) })
    }

    /// With limits that are computed; none of too few samples, or while nothing varies.
    pub fn computed(baseline: &Baseline, plan: &Plan, chart: Chart, since: Stamp) -> Option<Self> {
        let standing = Standing::Level(baseline.level(chart)?);
        let size = plan.subgroup_size.or(baseline.newest_size()).unwrap_or(1.0);
        let (sample_count, overall) = (baseline.count(), baseline.overall());
        Some(Self { size, sample_count, overall, ..Self::new(standing, plan, chart, since) })
    }

    fn new(standing: Standing, plan: &Plan, chart: Chart, since: Stamp) -> Self {
        let memory = match (chart, standing) {
            (Chart::Ewma, Standing::Level(level)) => Memory::Ewma(Ewma::new(level.center)),
            (Chart::Cusum, _) => Memory::Cusum(Cusum::new(&plan.cusum())),
            _ => Memory::None,
        };
        let runs = Runs::new(&plan.rules.of(chart, plan.rule8));
        Self { standing, memory, runs, overall: Spread::default(), sample_count: 0, since, size: 1.0 }
    }

    pub fn judge(&mut self, subgroup: &Subgroup, plan: &Plan, chart: Chart) -> Judged {
        let (point, estimate) = self.plot(subgroup, plan, chart);
        self.overall = self.overall.and(subgroup.spread);
        let completed = self.runs.judge(&point);
        let is_told = |completed: &&Completed| plan.repeat != Repeat::Onset || completed.is_first;
        let violated: Vec<u8> = completed.iter().filter(is_told).map(|completed| completed.rule).collect();
        if plan.repeat == Repeat::Restart {
            violated.iter().for_each(|rule| self.runs.restart(*rule));
        }
        if let Memory::Cusum(cusum) = &mut self.memory
            && plan.cusum().reset
            && !completed.is_empty()
        {
            *cusum = Cusum::new(&plan.cusum());
        }
        Judged { point, completed, violated, estimate }
    }

    /// A sample is missing: no run goes on behind it.
    pub fn interrupt(&mut self) {
        self.runs.interrupt();
    }

    /// The plan has changed, and not where limits come from. Their distance from the centre may have.
    pub fn follow(&mut self, old: &Plan, new: &Plan, chart: Chart) {
        let rules = new.rules.of(chart, new.rule8);
        if !self.runs.are_of(&rules) || old.rules.width() != new.rules.width() {
            self.runs = Runs::new(&rules);
        }
    }

    /// The limits of a usual sample; those of a moving average are where they end.
    ///
    /// Source: Montgomery, on each chart; of the moving average μ0 ± Lσ√(λ/((2−λ)n)) by Roberts.
    pub fn bounds(&self, plan: &Plan, chart: Chart) -> Bounds {
        match (self.standing, chart) {
            (Standing::Fixed(bounds), _) => bounds,
            (Standing::Level(level), Chart::Ewma) => {
                let settings = plan.ewma();
                Bounds::around(level.center, level.sigma * settings.asymptotic(self.size).sqrt(), settings.l)
            }
            (Standing::Level(level), Chart::Cusum) => self.bounds_of_sums(level, plan),
            (Standing::Level(level), _) => level.bounds(chart, self.size, plan.rules.width()),
        }
    }

    /// The limits of what says how the values of a usual sample vary.
    pub fn dispersion(&self, plan: &Plan, chart: Chart) -> Option<Dispersion> {
        let Standing::Level(level) = self.standing else { return None };
        let size = if chart == Chart::Imr { 2.0 } else { self.size };
        let Bounds { center, ucl, lcl, .. } = level.dispersion(chart, size, plan.rules.width())?;
        Some(Dispersion { center_line: center, ucl, lcl })
    }

    /// Of one value; none where limits are fixed.
    pub fn sigma(&self) -> Option<f64> {
        match self.standing {
            Standing::Level(level) => Some(level.sigma),
            Standing::Fixed(_) => None,
        }
    }

    pub fn overall(&self) -> &Spread {
        &self.overall
    }

    /// Source: as [`Ewma::add`] and [`Cusum::add`] say; both are of means, whose standard error is σ/√n (Montgomery).
    fn plot(&mut self, subgroup: &Subgroup, plan: &Plan, chart: Chart) -> (Point, Option<f64>) {
        let Subgroup { statistic, spread, .. } = *subgroup;
        let level = match self.standing {
            Standing::Fixed(bounds) => return (Point { value: statistic, bounds }, None),
            Standing::Level(level) => level,
        };
        let n = spread.count();
        let usual = self.bounds_of_sums(level, plan);
        let usual_error = level.sigma / self.size.sqrt();
        match &mut self.memory {
            Memory::None => (Point { value: statistic, bounds: level.bounds(chart, n, plan.rules.width()) }, None),
            Memory::Ewma(ewma) => {
                let settings = plan.ewma();
                let plotted = ewma.add(statistic, n, level.sigma, &settings);
                let bounds = Bounds::around(level.center, plotted.deviation, settings.l);
                (Point { value: plotted.average, bounds }, None)
            }
            Memory::Cusum(cusum) => {
                let settings = plan.cusum();
                cusum.add((statistic - level.center) / (level.sigma / n.sqrt()), &settings);
                let estimate = level.center + cusum.estimate(&settings) * usual_error;
                (Point { value: cusum.plotted() * usual_error, bounds: usual }, Some(estimate))
            }
        }
    }

    /// Sums are shown in the unit of the values, as of samples of the usual size; their zones are thirds of the limit.
    ///
    /// Source: Page and Montgomery: H = hσ, of means hσ/√n.
    fn bounds_of_sums(&self, level: Level, plan: &Plan) -> Bounds {
        let limit = plan.cusum().h * level.sigma / self.size.sqrt();
        Bounds::around(0.0, limit / USUAL_WIDTH, USUAL_WIDTH)
    }
}
