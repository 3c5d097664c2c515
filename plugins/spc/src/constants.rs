//! The constants of control charts, computed from the normal distribution.

use std::f64::consts::{PI, SQRT_2};
use std::sync::OnceLock;

/// Ranges of larger subgroups waste what the values say; published tables end here, too.
pub const MAX_RANGE_SIZE: usize = 25;

/// Half the width of the normal distribution that is integrated over; beyond it lies less than 1e-15.
const REACH: f64 = 8.0;
/// Step of the range's integral by Simpson's rule; its error is below 1e-9.
const STEP: f64 = 0.02;
/// Grid points from one place of the inner integral to the next. The trapezoidal rule is exact to the last digits here,
/// because the integrand and all its derivatives vanish at both ends.
const INNER: usize = 5;

/// Mean (`d2`) and standard deviation (`d3`) of the range of n standard normal values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    pub d2: f64,
    pub d3: f64,
}

/// The range's constants for n from 2 to 25; computed once for each n.
///
/// Source: the distribution of the range by L. H. C. Tippett, "On the extreme individuals and the range of samples taken
/// from a normal population", Biometrika 17 (1925): P(R ≤ r) = n ∫ φ(x) [Φ(x + r) − Φ(x)]^(n−1) dx.
pub fn range(n: usize) -> Range {
    static KNOWN: [OnceLock<Range>; MAX_RANGE_SIZE + 1] = [const { OnceLock::new() }; MAX_RANGE_SIZE + 1];
    *KNOWN[n.clamp(2, MAX_RANGE_SIZE)].get_or_init(|| integrate(n.clamp(2, MAX_RANGE_SIZE)))
}

/// The mean of the standard deviation (divisor n − 1) of n ≥ 2 standard normal values: √(2/(n−1)) Γ(n/2)/Γ((n−1)/2).
///
/// Source: D. C. Montgomery, "Introduction to Statistical Quality Control", on the S chart. The quotient q(n) of the
/// gamma functions follows from q(n) q(n+1) = (n−1)/2 and q(2) = 1/√π.
pub fn c4(n: usize) -> f64 {
    let mut quotient = 1.0 / PI.sqrt();
    for below in 2..n {
        quotient = (below as f64 - 1.0) / 2.0 / quotient;
    }
    (2.0 / (n as f64 - 1.0)).sqrt() * quotient
}

/// The standard normal distribution function.
///
/// Source: G. Marsaglia, "Evaluating the normal distribution", Journal of Statistical Software 11 (2004): the series
/// Φ(x) = 1/2 + φ(x) (x + x³/3 + x⁵/15 + …).
fn cumulative(x: f64) -> f64 {
    let (mut term, mut sum, mut odd) = (x, 0.0, 1.0);
    while sum + term != sum {
        sum += term;
        odd += 2.0;
        term *= x * x / odd;
    }
    0.5 + density(x) * sum
}

/// The standard normal density, φ(x) = e^(−x²/2)/√(2π).
///
/// Source: the definition of the distribution; Marsaglia writes it so.
fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (SQRT_2 * PI.sqrt())
}

/// Mean and mean square of the range from how often it is exceeded: E R = ∫ P(R > r) dr and E R² = ∫ 2r P(R > r) dr.
///
/// Source: Tippett, for P(R ≤ r) and the first integral; both are taken by Simpson's rule.
fn integrate(n: usize) -> Range {
    let steps = (2.0 * REACH / STEP).round() as usize;
    let at = |index: usize| -REACH + index as f64 * STEP;
    let phi: Vec<f64> = (0..=steps).map(|index| cumulative(at(index))).collect();
    let weights: Vec<f64> = (0..=steps).map(|index| density(at(index)) * INNER as f64 * STEP).collect();
    let exceeds = |r: usize| {
        let inner = (0..=steps).step_by(INNER);
        let within = |x: usize| weights[x] * (phi[(x + r).min(steps)] - phi[x]).powi(n as i32 - 1);
        1.0 - n as f64 * inner.map(within).sum::<f64>()
    };
    let (mut mean, mut square) = (0.0, 0.0);
    for r in 0..=steps {
        let weight = if r == 0 || r == steps { 1.0 } else { 2.0 + 2.0 * (r % 2) as f64 } * STEP / 3.0;
        let exceeding = exceeds(r);
        mean += weight * exceeding;
        square += weight * 2.0 * r as f64 * STEP * exceeding;
    }
    Range { d2: mean, d3: (square - mean * mean).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// d2, d3 and c4 for n = 2 to 25, by quadrature with 25 digits.
    #[expect(clippy::approx_constant, reason = "2/√π is d2(2), and is written here as the table has it")]
    const PUBLISHED: [(f64, f64, f64); 24] = [
        (1.128379, 0.852502, 0.797885),
        (1.692569, 0.888368, 0.886227),
        (2.058751, 0.879808, 0.921318),
        (2.325929, 0.864082, 0.939986),
        (2.534413, 0.848040, 0.951533),
        (2.704357, 0.833205, 0.959369),
        (2.847201, 0.819831, 0.965030),
        (2.970026, 0.807834, 0.969311),
        (3.077505, 0.797051, 0.972659),
        (3.172873, 0.787315, 0.975350),
        (3.258455, 0.778478, 0.977559),
        (3.335980, 0.770416, 0.979406),
        (3.406763, 0.763023, 0.980971),
        (3.471827, 0.756211, 0.982316),
        (3.531983, 0.749908, 0.983484),
        (3.587884, 0.744052, 0.984506),
        (3.640064, 0.738591, 0.985410),
        (3.688963, 0.733481, 0.986214),
        (3.734950, 0.728686, 0.986934),
        (3.778336, 0.724173, 0.987583),
        (3.819385, 0.719915, 0.988170),
        (3.858323, 0.715887, 0.988705),
        (3.895348, 0.712068, 0.989193),
        (3.930629, 0.708441, 0.989640),
    ];

    #[test]
    fn the_published_tables_come_out() {
        for (n, (d2, d3, c4_known)) in (2..).zip(PUBLISHED) {
            let Range { d2: ours, d3: spread } = range(n);
            for (name, ours, known) in [("d2", ours, d2), ("d3", spread, d3), ("c4", c4(n), c4_known)] {
                assert!((ours - known).abs() < 6e-7, "{name}({n}) = {ours}, not {known}");
            }
        }
        assert!((range(2).d2 - 2.0 / PI.sqrt()).abs() < 1e-8, "known in closed form");
        assert!((range(3).d2 - 3.0 / PI.sqrt()).abs() < 1e-8, "known in closed form");
    }

    #[test]
    fn c4_goes_on_beyond_the_tables() {
        for n in [26_usize, 100, 1_000] {
            let x = n as f64 - 1.0;
            let series = 1.0 - 1.0 / (4.0 * x) + 1.0 / (32.0 * x * x) + 5.0 / (128.0 * x.powi(3));
            assert!((c4(n) - series).abs() < 1e-6, "{n}: {} and {series}", c4(n));
        }
    }
}
