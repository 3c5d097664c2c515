//! Published data sets: every figure that is known of them comes out.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::baseline::Baseline;
use crate::capability::{Indices, Spec};
use crate::chart::{Bounds, Chart, Level, USUAL_WIDTH};
use crate::cusum::{Cusum, CusumSettings};
use crate::ewma::{Ewma, EwmaSettings, Width};
use crate::id::Id;
use crate::point::Point;
use crate::rules::{NamedRules, RuleSet, Sides};
use crate::runs::{Rule, Runs};
use crate::sample::{Measure, Subgroup};

use super::whole::{sample, start};

/// Tables of factors have three decimals, so that figures that were printed with their help differ by this share.
const PRINTED: f64 = 5e-4;

fn cases() -> Vec<Value> {
    let mut all: Value = serde_json::from_str(include_str!("../../tests/spc-cases.json")).unwrap();
    serde_json::from_value(all["cases"].take()).unwrap()
}

fn case(id: &str) -> Value {
    cases().into_iter().find(|case| case["id"] == id).unwrap()
}

pub fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn close(ours: f64, known: &Value, tolerance: f64, what: &str) {
    let known = known.as_f64().unwrap();
    assert!((ours - known).abs() <= tolerance, "{what}: {ours}, not {known}");
}

/// A data set on its chart: its samples, where the process stands, and the limits of each sample.
struct Charted {
    chart: Chart,
    samples: Vec<Subgroup>,
    /// How many of them the limits are of.
    first: usize,
    level: Level,
    /// Values of a usual sample, of which the limits of dispersion are.
    size: f64,
}

impl Charted {
    fn new(case: &Value) -> Self {
        let input = &case["input"];
        let chart = match case["chart"].as_str().unwrap() {
            "i_mr" | "rules" => Chart::Imr,
            "xbar_known" => Chart::XbarR,
            other => serde_json::from_value(json!(other)).unwrap(),
        };
        let samples: Vec<Subgroup> =
            measures(input).iter().map(|measure| measure.subgroup(chart, None).unwrap().unwrap()).collect();
        let of_input =
            |mean: &str, sigma: &str| Some(Level { center: input[mean].as_f64()?, sigma: input[sigma].as_f64()? });
        let first = input["phase1"].as_u64().map_or(samples.len(), |first| first as usize);
        let level = of_input("mu0", "sigma0").or_else(|| of_input("center", "sigma"));
        let level = level.unwrap_or_else(|| baseline(&samples[..first]).level(chart).unwrap());
        let size = if chart == Chart::Imr { 2.0 } else { samples[0].spread.count() };
        Self { chart, samples, first, level, size }
    }

    fn bounds(&self, sample: &Subgroup) -> Bounds {
        self.level.bounds(self.chart, sample.spread.count(), USUAL_WIDTH)
    }

    /// By rule, the samples, counted from 1, at which it fires.
    fn fires(&self, rules: &[Rule]) -> BTreeMap<u8, Vec<usize>> {
        let mut runs = Runs::new(rules);
        let mut fires: BTreeMap<u8, Vec<usize>> = rules.iter().map(|rule| (rule.id, Vec::new())).collect();
        for (index, sample) in (1..).zip(&self.samples) {
            let point = Point { value: sample.statistic, bounds: self.bounds(sample) };
            for completed in runs.judge(&point) {
                fires.get_mut(&completed.rule).unwrap().push(index);
            }
        }
        fires
    }

    /// The same, as the whole broadcaster tells it.
    fn violations(&self, name: &str, measures: &[Measure]) -> BTreeMap<u8, Vec<usize>> {
        let Level { center, sigma } = self.level;
        let mut limits = json!({"mode": "standard", "mean": center});
        if !self.chart.counts() {
            limits["sigma"] = json!(sigma);
        }
        let mut plan = json!({"chart": self.chart, "limits": limits, "rules": name});
        if !matches!(self.chart, Chart::Imr | Chart::C) {
            plan["subgroup_size"] = json!(self.samples[0].spread.count());
        }
        let mut charts = start(json!({ "auto": plan }));
        for measure in measures {
            let mut data = match measure {
                Measure::Values { there, .. } => json!({"values": there}),
                Measure::Count { count, size: Some(size) } => json!({"count": count, "size": size}),
                Measure::Count { count, size: None } => json!({"count": count}),
                Measure::Missing => json!({"value": null}),
            };
            data["characteristic_id"] = json!(1);
            sample(&mut charts, data);
        }
        let mut all = BTreeMap::<u8, Vec<usize>>::new();
        for told in charts.published().into_iter().filter(|told| told.kind == "violation") {
            let number = |name: &str| told.payload[name].as_u64().unwrap() as usize;
            all.entry(number("rule_id") as u8).or_default().push(number("sample_id"));
        }
        all
    }

    /// Whether the rules of a name fire where they should; those that are not known of are not looked at.
    fn judge(&self, name: &str, known: &Value) {
        let (named, numbers) = match name {
            "western_electric" => (NamedRules::WesternElectric, [1, 5, 6, 2].as_slice()),
            _ => (NamedRules::Nelson, [1, 2, 3, 4, 5, 6, 7, 8].as_slice()),
        };
        let fires = self.fires(&RuleSet::Named(named).of(Chart::Imr, Sides::BothSides));
        for (number, known) in known.as_object().unwrap() {
            let rule = numbers[number.parse::<usize>().unwrap() - 1];
            assert_eq!(&json!(fires[&rule]), known, "{name} {number}");
        }
    }

    fn check(&self, name: &str, known: &Value) {
        let factor = if name.starts_with("mr_") || name.starts_with("r_") { Chart::XbarR } else { Chart::XbarS };
        let dispersion = || self.level.dispersion(factor, self.size, USUAL_WIDTH).unwrap();
        let each = |figure: &dyn Fn(&Subgroup) -> f64| match known.as_array() {
            None => close(figure(&self.samples[0]), known, tolerance(known, 1e-6), name),
            Some(known) => {
                assert_eq!(known.len(), self.samples.len());
                for (sample, known) in self.samples.iter().zip(known) {
                    close(figure(sample), known, tolerance(known, 1e-6), name);
                }
            }
        };
        let steps: Vec<f64> =
            self.samples.windows(2).map(|pair| (pair[1].statistic - pair[0].statistic).abs()).collect();
        match name {
            "center" => each(&|sample| self.bounds(sample).center),
            "ucl" | "xbar_ucl" => each(&|sample| self.bounds(sample).ucl),
            "lcl" | "xbar_lcl" => each(&|sample| self.bounds(sample).lcl),
            "statistic" | "means" => each(&|sample| sample.statistic),
            "ranges" => each(&|sample| sample.range),
            "stds" => each(&|sample| sample.spread.deviation().unwrap()),
            "sigma" | "sigma_within" => close(self.level.sigma, known, tolerance(known, 1e-6), name),
            "mr_bar" | "r_center" | "s_center" => close(dispersion().center, known, tolerance(known, 1e-6), name),
            "mr_ucl" | "r_ucl" | "s_ucl" => close(dispersion().ucl, known, tolerance(known, 1e-6), name),
            "mr_lcl" | "r_lcl" | "s_lcl" => close(dispersion().lcl, known, 0.0, name),
            "moving_ranges" => {
                let rounded: Vec<f64> = steps.iter().map(|step| (step * 1e9).round() / 1e9).collect();
                assert_eq!(rounded, numbers(known));
            }
            "r_out" => assert_eq!(json!(beyond(dispersion(), self.samples.iter().map(|one| one.range))), *known),
            "s_out" => {
                let deviations = self.samples.iter().filter_map(|one| one.spread.deviation());
                assert_eq!(json!(beyond(dispersion(), deviations)), *known);
            }
            "mr_out" => assert_eq!(json!(beyond(dispersion(), steps.into_iter())), *known),
            "out_of_limits" => self.judge("nelson", &json!({ "1": known })),
            "rules_1_4" | "western_electric" => self.judge(name, known),
            "rules" => known.as_object().unwrap().iter().for_each(|(name, known)| self.judge(name, known)),
            _ => panic!("nobody looks at {name}"),
        }
    }

    fn check_published(&self, name: &str, known: &Value) {
        match name {
            "out" => return assert_eq!(json!(self.out_in_phase_1()), *known),
            "qcc_western_electric" => return assert_eq!(self.outside_and_then_in_zone_a(), *known),
            "note" => return, // the other figures in words
            _ => {}
        }
        let bounds = self.bounds(&self.samples[0]);
        let range = self.level.dispersion(Chart::XbarR, self.size, USUAL_WIDTH);
        let ours = match name {
            "center" => bounds.center,
            "ucl" | "xbar_ucl" => bounds.ucl,
            "lcl" | "xbar_lcl" => bounds.lcl,
            "mr_bar" | "r_center" => range.unwrap().center,
            "r_ucl" => range.unwrap().ucl,
            "r_lcl" => range.unwrap().lcl,
            _ => panic!("nobody looks at the published {name}"),
        };
        // The last digit of what is printed, or the share by which rounded factors differ.
        close(ours, known, tolerance(known, PRINTED).max(5e-3 * f64::from(u8::from(name == "center"))), name);
    }

    /// The samples outside of the limits, of those that the limits are of: of the later ones nothing was published.
    fn out_in_phase_1(&self) -> Vec<usize> {
        let rules = RuleSet::Named(NamedRules::Nelson).of(self.chart, Sides::BothSides);
        let mut out = self.fires(&rules).remove(&1).unwrap();
        out.retain(|at| *at <= self.first);
        out
    }

    /// The samples of Western Electric's first rule, and those of its second one that the first one has not shown.
    fn outside_and_then_in_zone_a(&self) -> Value {
        let rules = RuleSet::Named(NamedRules::WesternElectric).of(self.chart, Sides::BothSides);
        let fires = self.fires(&rules);
        let new: Vec<usize> = fires[&5].iter().copied().filter(|at| !fires[&1].contains(at)).collect();
        json!({ "1": fires[&1], "2_new": new })
    }
}

fn measures(input: &Value) -> Vec<Measure> {
    let counts = |counts: &Value| {
        let sizes = input["sizes"].as_array();
        let count = |(index, count): (usize, f64)| Measure::Count {
            count,
            size: sizes.and_then(|sizes| sizes[index].as_f64()),
        };
        numbers(counts).into_iter().enumerate().map(count).collect()
    };
    if let Some(groups) = input["subgroups"].as_array() {
        return groups.iter().map(|group| measured(numbers(group))).collect();
    }
    match (&input["values"], &input["means"], &input["counts"]) {
        (values @ Value::Array(_), ..) => numbers(values).iter().map(|value| measured(vec![*value])).collect(),
        (_, means @ Value::Array(_), _) => {
            let size = input["limit_n"].as_u64().unwrap() as usize;
            numbers(means).iter().map(|mean| measured(vec![*mean; size])).collect()
        }
        (.., listed) => counts(listed),
    }
}

fn measured(there: Vec<f64>) -> Measure {
    Measure::Values { of: there.len(), there }
}

pub fn baseline(samples: &[Subgroup]) -> Baseline {
    let mut baseline = Baseline::default();
    for (id, sample) in (1..).zip(samples) {
        baseline.add(&Id::Number(id), sample, samples.len());
    }
    baseline
}

/// Which are outside of their limits, counted from 1.
fn beyond(bounds: Bounds, values: impl Iterator<Item = f64>) -> Vec<usize> {
    let outside = |(_, value): &(usize, f64)| Point { value: *value, bounds }.outside().is_some();
    (1..).zip(values).filter(outside).map(|(index, _)| index).collect()
}

fn tolerance(known: &Value, share: f64) -> f64 {
    known.as_f64().unwrap().abs() * share
}

#[test]
fn every_known_figure_of_every_data_set_comes_out() {
    let mut charted = 0;
    for case in cases() {
        let chart = case["chart"].as_str().unwrap();
        if ["ewma", "cusum", "capability"].contains(&chart) {
            continue;
        }
        charted += 1;
        let set = Charted::new(&case);
        println!("{}", case["id"]);
        case["expected"].as_object().unwrap().iter().for_each(|(name, known)| set.check(name, known));
        let published = case["published"].as_object();
        published.into_iter().flatten().for_each(|(name, known)| set.check_published(name, known));
    }
    assert_eq!(charted, 26 - 3, "the others have tests of their own");
}

#[test]
fn the_whole_broadcaster_violates_the_rules_where_it_is_known() {
    let mut judged = 0;
    for case in cases() {
        let chart = case["chart"].as_str().unwrap();
        if ["ewma", "cusum", "capability"].contains(&chart) {
            continue;
        }
        let (set, measures) = (Charted::new(&case), measures(&case["input"]));
        for name in ["nelson", "western_electric"] {
            let told = set.violations(name, &measures);
            let rules = RuleSet::Named(if name == "nelson" { NamedRules::Nelson } else { NamedRules::WesternElectric });
            let mut fires = set.fires(&rules.of(set.chart, Sides::BothSides));
            fires.retain(|_, at| !at.is_empty());
            assert_eq!(told, fires, "{} {name}", case["id"]);
            judged += fires.values().map(Vec::len).sum::<usize>();
        }
    }
    assert!(judged > 100, "{judged}");
}

#[test]
fn pistonrings_capability() {
    let case = case("pistonrings-capability");
    let groups: Vec<Vec<f64>> = case["input"]["subgroups"].as_array().unwrap().iter().map(numbers).collect();
    let indices = |offset: f64| {
        let moved = groups.iter().map(|group| group.iter().map(|value| value + offset).collect());
        let samples: Vec<Subgroup> =
            moved.map(|values| measured(values).subgroup(Chart::XbarR, None).unwrap().unwrap()).collect();
        let baseline = baseline(&samples);
        let spec = Spec { usl: Some(74.05 + offset), lsl: Some(73.95 + offset), target: Some(74.0 + offset) };
        let sigma = baseline.level(Chart::XbarR).map(|level| level.sigma);
        serde_json::to_value(Indices::new(&baseline.overall(), sigma, &spec)).unwrap()
    };
    let (ours, far) = (indices(0.0), indices(1e9));
    for (name, known) in case["expected"].as_object().unwrap() {
        close(ours[name].as_f64().unwrap(), known, tolerance(known, 1e-6), name);
        if name != "mean" {
            close(far[name].as_f64().unwrap(), known, 1e-4, &format!("{name} at an offset of 1e9"));
        }
    }
    for (name, known) in case["published"].as_object().unwrap() {
        close(ours[name].as_f64().unwrap(), known, 5e-3, name);
    }
}

#[test]
fn nist_ewma() {
    let case = case("nist-ewma");
    let (settings, sigma) = (EwmaSettings { lambda: 0.3, l: 3.0, limits: Width::Asymptotic }, 2.0539);
    let (mut ewma, mut signals) = (Ewma::new(50.0), Vec::new());
    for (index, value) in numbers(&case["input"]["values"]).into_iter().enumerate() {
        let plotted = ewma.add(value, 1.0, sigma, &settings);
        let bounds = Bounds::around(50.0, plotted.deviation, settings.l);
        close(plotted.average, &case["expected"]["ewma"][index], 1e-9 * 50.0, "average");
        close(bounds.ucl, &case["expected"]["ucl"][index], 1e-6, "ucl");
        close(bounds.lcl, &case["expected"]["lcl"][index], 1e-6, "lcl");
        close(plotted.average, &case["published"]["ewma"][index], 6e-3, "published average");
        close(bounds.ucl, &case["published"]["ucl"], 2e-4, "published ucl");
        close(bounds.lcl, &case["published"]["lcl"], 2e-4, "published lcl");
        if (Point { value: plotted.average, bounds }).outside().is_some() {
            signals.push(index + 1);
        }
    }
    for known in [&case["expected"], &case["published"]] {
        assert_eq!(json!(signals), known["signals"]);
    }
}

#[test]
fn nist_cusum() {
    let case = case("nist-cusum");
    let number = |name: &str| case["input"][name].as_f64().unwrap();
    let (target, sigma) = (number("target"), number("sigma"));
    let settings = CusumSettings { k: number("k"), h: number("h"), ..CusumSettings::default() };
    let mut cusum = Cusum::new(&settings);
    let (mut plus, mut minus) = (Vec::new(), Vec::new());
    for (index, value) in numbers(&case["input"]["values"]).into_iter().enumerate() {
        cusum.add((value - target) / sigma, &settings);
        if cusum.plotted().abs() > settings.h {
            if cusum.plotted() > 0.0 { &mut plus } else { &mut minus }.push(index + 1);
        }
        let known = |name: &str| &case["expected"][name][index];
        close(cusum.plus * sigma, known("c_plus"), 1e-9, "c_plus");
        close(cusum.minus * sigma, known("c_minus"), 1e-9, "c_minus");
        close(f64::from(cusum.n_plus), known("n_plus"), 0.0, "n_plus");
        close(f64::from(cusum.n_minus), known("n_minus"), 0.0, "n_minus");
        close(cusum.plus * sigma, &case["published"]["s_hi"][index], 6e-3, "published sum");
    }
    assert_eq!(json!(plus), case["expected"]["signals_plus"]);
    assert_eq!(json!(minus), case["expected"]["signals_minus"]);
    assert_eq!(json!(plus[0]), case["published"]["first_signal"]);
}
